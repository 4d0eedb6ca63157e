"""All sensors and dates in one maximum a posteriori estimate: what is seen, what has changed since, and a prior.

On each date to predict, the spectra are ``mean + E a`` with components ``a`` on the fine grid, and minimise

``sum_n sum_pixels |y_n - M_n B_n S_n (mean + E a)|² / v_n + sum_j a_j² / e_j + penalty sum_j |grad a_j|² / e_j``

over the observations ``n``: the wide-swath image of that date; the hyperspectral and the fine multispectral images of
other dates, each plus the change that the wide-swath sensor saw since, as its regression on their bands tells it. The
variance ``v_n`` of such an image is that of the noise, plus the share of a change of that size that the regression
leaves open. ``e_j`` are the variances of the components.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xrs.errors import ParameterError
from xrs.kernels import Moments, decimate, merge_moments, moments_of, upsample
from xrs.kernels.types import Bool, Float32, Float64
from xrs.methods._inversion import Observation
from xrs.methods._linear import combine
from xrs.methods.base import Method, Param, Pass, Reference, State, Tile
from xrs.methods.sts._blocks import BLOCK, MARGIN, Solver, is_positive, mean_taps, seen_pixels

__all__ = ["METHOD"]

#: Variance, over that of the scene, of what was not seen on the date to predict.
_UNKNOWN = 1.0

Spreads = Mapping[str, Float64]
Responses = Mapping[str, Float64 | None]


def apply(
    tile: Tile,
    state: State,
    *,
    noise: float,
    regularisation: float,
    tolerance: float,
    iterations: int,
    psf: Spreads,
    srf: Responses,
    **_: Any,
) -> Float32:
    """The estimate of one tile, date by date and block by block; see the family's contract."""
    size = tile.core("ms").shape[-2:]
    out = np.full((len(tile["target"]), tile["hs"].shape[1], *size), np.nan, np.float32)
    if state["basis"] is None:
        return out
    scene = _Scene(tile, state, noise, psf, srf)
    solver = Solver(state["variances"], regularisation, tolerance, iterations)
    extra = _reach(tile.factors, psf)
    for t, image in enumerate(out):
        found = solver.components(tile, scene.observations(t), extra)
        image[:] = combine(scene.spectra, found)
        image[:, ~tile.core("ms", scene.determined(t))] = np.nan
    return out


@dataclass(frozen=True)
class _Scene:
    """A tile, and what is known of the place: how its observations follow from the components."""

    tile: Tile
    state: State
    noise: float
    psf: Spreads
    srf: Responses

    @property
    def spectra(self) -> Float64:
        """Basis and mean (band, component + 1) in the unit of the images."""
        return np.column_stack([self.state["basis"], self.state["mean"]])

    def ratio(self, name: str) -> int:
        """Fine pixels along a pixel of an observation."""
        return self.tile.factors["ms"] // self.tile.factors[name]

    def observations(self, t: int) -> dict[str, Observation]:
        """What is known of a date: the wide-swath image, and those of other dates with the change since."""
        basis, mean = self.state["basis"], self.state["mean"]
        wide = self.tile["target"][t]
        response = _known(self.srf, "wide")
        scale = np.float32(1.0 / (self.noise * self.state["spread"]))
        found = {
            "target": Observation(
                wide - (response @ mean).astype(np.float32)[:, None, None],
                np.broadcast_to(seen_pixels(self.tile, "target", t) * scale, wide.shape).astype(np.float32),
                response @ basis,
                self.psf.get("wide"),
                self.ratio("target"),
            )
        }
        for role in ("hs", "ms"):
            image, precision = self._carried(role, t)
            if role == "hs":
                # The components hold what the images of all bands tell of them.
                image = combine(basis.T, image - mean.astype(np.float32)[:, None, None])
                own: Float64 = np.eye(basis.shape[1])
                spread: Float64 | None = mean_taps(self.psf, basis.shape[1])
            else:
                response = _known(self.srf, "ms")
                image = image - (response @ mean).astype(np.float32)[:, None, None]
                own, spread = response @ basis, None
            roots = np.broadcast_to(np.sqrt(precision), image.shape).astype(np.float32)
            found[role] = Observation(image, roots, own, spread, self.ratio(role))
        return found

    def determined(self, t: int) -> Bool:
        """Fine pixels of which something fine, or the date itself, was seen, and some spectrum."""
        fine = _any_seen(self.tile, "ms")
        now = _repeated(seen_pixels(self.tile, "target", t), self.ratio("target"))
        spectrum = _repeated(_any_seen(self.tile, "hs"), self.ratio("hs"))
        return (fine | now) & spectrum

    def _carried(self, role: str, t: int) -> tuple[Float32, Float32]:
        """The images of a sensor carried to a date, the likelier the more they weigh, and their precision (y, x)."""
        slopes, open_share = self.state[role]
        total = np.zeros(self.tile[role].shape[1:], np.float32)
        precision = np.zeros(total.shape[1:], np.float32)
        spread = self.state["spread"]
        now = seen_pixels(self.tile, "target", t)
        for k, image in enumerate(self.tile[role]):
            change = self._on_grid(self.tile["target"][t] - self.tile[f"wide_{role}"][k], role)
            then = seen_pixels(self.tile, f"wide_{role}", k)
            told = self._on_grid((now & then)[None].astype(np.float32), role)[0] > 0.99
            moved = combine(slopes, change)
            size = np.where(told, np.square(moved).mean(axis=0), np.float32(_UNKNOWN * spread**2))
            share = np.where(told, np.float32(open_share), np.float32(1.0))
            variance = np.float32((self.noise * spread) ** 2) + share * size
            weight = (seen_pixels(self.tile, role, k) / variance).astype(np.float32)
            total += weight * (image + moved * told)
            precision += weight
        return (total / np.maximum(precision, np.float32(1e-20))).astype(np.float32), precision

    def _on_grid(self, wide: Float32, role: str) -> Float32:
        return _wide_on(wide, self.ratio("target"), self.ratio(role), self.psf, role)


def _wide_on(wide: Float32, ratio: int, ratio_of_role: int, psf: Spreads, role: str) -> Float32:
    """Wide-swath bands on the grid of another observation."""
    fine = upsample(np.ascontiguousarray(wide), ratio, "bilinear") if ratio > 1 else wide
    if role == "ms":
        return fine
    return decimate(fine, mean_taps(psf, len(fine)), ratio_of_role)


def _known(srf: Responses, role: str) -> Float64:
    response = srf[role]
    assert response is not None  # refused by the halo
    return response


def _any_seen(tile: Tile, name: str) -> Bool:
    return np.asarray(np.any([seen_pixels(tile, name, k) for k in range(len(tile[name]))], axis=0))


def _repeated(mask: Bool, ratio: int) -> Bool:
    return mask.repeat(ratio, axis=0).repeat(ratio, axis=1)


def _summarise(tile: Tile, _state: State, *, psf: Spreads, **_: Any) -> dict[str, Moments]:
    """Moments of each sensor's bands and of the wide-swath ones on the same grid and dates."""
    return {role: _moments(tile, role, psf) for role in ("hs", "ms")}


def _moments(tile: Tile, role: str, psf: Spreads) -> Moments:
    fine = tile.factors["ms"]
    ratios = fine // tile.factors["target"], fine // tile.factors[role]
    parts = []
    for k, image in enumerate(tile[role]):
        wide = f"wide_{role}"
        beside = _wide_on(tile[wide][k], *ratios, psf, role)
        told = _wide_on(seen_pixels(tile, wide, k)[None].astype(np.float32), *ratios, psf, role)[0] > 0.99
        valid = tile.core(role, seen_pixels(tile, role, k) & told)
        parts.append(moments_of(np.ascontiguousarray(tile.core(role, np.concatenate([image, beside]))), valid))
    return _merged(parts)


def _merged(parts: list[Moments]) -> Moments:
    total = parts[0]
    for part in parts[1:]:
        total = merge_moments(total, part)
    return total


def _merge(one: Mapping[str, Moments], other: Mapping[str, Moments]) -> dict[str, Moments]:
    return {role: merge_moments(one[role], other[role]) for role in one}


def _solve(moments: Mapping[str, Moments], _state: State, *, components: int, srf: Responses, **_: Any) -> State:
    """Mean, basis and variances of spectra; how the bands of each sensor change with the wide-swath ones."""
    if moments["hs"].count == 0:
        return {"basis": None}
    bands = {role: moments[role].mean.size - _known(srf, "wide").shape[0] for role in moments}
    count = bands["hs"]
    covariance = moments["hs"].covariance[:count, :count]
    values, vectors = np.linalg.eigh(covariance)
    kept = min(components, count)
    # Components that the scene does not have would have no variance at all.
    floor = 1e-8 * max(values[-1], 1e-12)
    return {
        "mean": moments["hs"].mean[:count],
        "basis": np.ascontiguousarray(vectors[:, ::-1][:, :kept]),
        "variances": np.maximum(values[::-1][:kept], floor),
        "spread": float(np.sqrt(max(np.diag(covariance).mean(), 1e-12))),
        **{role: _regression(moments[role], bands[role]) for role in moments},
    }


def _regression(moments: Moments, bands: int) -> tuple[Float64, float]:
    """Slopes (band, wide band) of least squares, and the variance left open over that explained."""
    if moments.count == 0:
        return np.zeros((bands, moments.mean.size - bands)), 1.0
    total = moments.covariance
    inner = total[bands:, bands:]
    ridge = 1e-6 * max(float(np.trace(inner)) / len(inner), 1e-12)
    slopes = np.linalg.solve(inner + ridge * np.eye(len(inner)), total[bands:, :bands]).T
    explained = float(np.trace(slopes @ inner @ slopes.T))
    left = max(float(np.trace(total[:bands, :bands])) - explained, 0.0)
    return slopes.astype(np.float64), left / max(explained, 1e-12)


def _reach(factors: Mapping[str, int], psf: Spreads) -> int:
    """Margin in pixels of the common grid that carrying images from date to date needs."""
    pixels = 2 * factors["ms"] // factors["target"] + psf["hs"].shape[1] // 2
    return -(-pixels // factors["ms"])


def _halo(factors: Mapping[str, int], *, psf: Spreads, srf: Responses, **_: Any) -> int:
    unknown = [role for role in ("ms", "wide") if srf[role] is None]
    if unknown:
        raise ParameterError(
            f"an unknown spectral response of {' and '.join(unknown)}",
            "sensors whose response over the hyperspectral bands is known",
            "sensors=Sensors(ms=..., wide=...), or coordinates wavelength and fwhm on the cubes",
        )
    return MARGIN + _reach(factors, psf)


def _is_count(value: NDArray[Any] | int) -> bool:
    return isinstance(value, int) and value >= 1


METHOD = Method(
    name="map_sts",
    family="sts",
    summary="Maximum a posteriori estimate from all sensors and dates, by conjugate gradients.",
    apply=apply,
    reference=Reference(
        "Shen, Meng, Zhang (2016), An integrated framework for the spatio-temporal-spectral fusion of remote sensing "
        "images, IEEE Transactions on Geoscience and Remote Sensing 54(12):7135-7148",
        "10.1109/TGRS.2016.2596290",
    ),
    passes=(Pass(_summarise, _merge, _solve),),
    params=(
        Param("components", 10, "principal components of the spectra", "1 or more", _is_count),
        Param("noise", 0.02, "standard deviation of noise over that of the scene", "a number above 0", is_positive),
        Param("regularisation", 0.2, "weight of the gradients' penalty", "a number above 0", is_positive),
        Param("tolerance", 1e-5, "relative residual at which a block is solved", "a number above 0", is_positive),
        Param("iterations", 60, "steps after which a block is left as it is", "1 or more", _is_count),
        Param("psf", None, "separable point spreads (band, tap)"),
        Param("srf", None, "spectral responses (band, hs band)"),
    ),
    halo=_halo,
    block=BLOCK,
    needs=("hs", "ms", "wide_hs", "wide_ms", "target"),
    differs=(
        "After the framework of the paper, whose relation between dates is not told in enough detail: here other "
        "dates are carried over by the change that the wide-swath sensor saw, regressed on their bands over the "
        "scene, with a variance that grows with the change. Spectra are a Gaussian prior in principal components, the "
        "spatial prior is quadratic, and all hyperspectral bands share the mean point spread. All sensors must be in "
        "one radiometry. Solved in blocks of 16 pixels of the common grid with a margin of 4."
    ),
)
