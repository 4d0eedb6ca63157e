"""Every pansharpening method, with a pan made of the fine bands for each coarse band.

Two ways to make the pan are known for Sentinel-2: its synthesis by the regression of the coarse
band on the fine ones, and the selection of the fine band most like it. Component substitution then sees
all bands of the group and keeps the one the pan was made for; multiresolution analysis sees that band alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from xrs.kernels.types import Float32, Float64
from xrs.methods._linear import combine
from xrs.methods.base import Method, Param, Pass, Reference, State, Tile
from xrs.methods.registry import methods_of
from xrs.methods.sharpen._groups import PSF, Psf, coarse_names, halo_for, taps_of
from xrs.methods.sharpen._regression import best_guide, merge_bands, regress, summarise_bands

__all__ = ["METHODS", "adapt"]

_MAKERS = {"synthesised": regress, "selected": best_guide}

#: The papers that bring pansharpening to the bands of one sensor.
_SCHEMES = Reference(
    "Wang, Shi, Li, Atkinson (2016), Fusion of Sentinel-2 images, Remote Sensing of Environment 187, 241-252; "
    "Vaiopoulos, Karantzalos (2016), Pansharpening on the narrow VNIR and SWIR spectral bands of Sentinel-2, "
    "ISPRS Archives XLI-B7, 723-730 (10.5194/isprs-archives-XLI-B7-723-2016)",
    "10.1016/j.rse.2016.10.030",
)

_PAN = Param(
    "pan",
    "synthesised",
    "how the pan of a coarse band is made: regression on the fine bands, or the fine band most correlated with it",
    f"one of {', '.join(map(repr, _MAKERS))}",
    lambda value: value in _MAKERS,
)


def adapt(method: Method) -> Method:
    """A pansharpening method as one of family ``sharpen``.

    The record keeps name and reference; parameter ``pan`` is new, and ``psf`` names the groups.
    """
    own = tuple(p for p in method.params if p.name != "psf")
    return Method(
        name=method.name,
        family="sharpen",
        summary=f"{method.summary.rstrip('.')}; with a pan made of the fine bands for each coarse band.",
        apply=_Apply(method),
        reference=method.reference,
        passes=(
            Pass(_moments, merge_bands, _Assign(method)),
            *(Pass(_Summarise(method, n), _Merge(one), _Solve(method, one)) for n, one in enumerate(method.passes)),
        ),
        params=(_PAN, PSF, *own),
        halo=_Halo(method),
        bandwise=method.bandwise,
        needs=("fine", "coarse"),
        engines=method.engines,
        differs=" ".join(filter(None, (method.differs, f"The pan is made as in {_SCHEMES.text} ({_SCHEMES.doi})."))),
    )


@dataclass(frozen=True)
class _Job:
    """One run of the pansharpening method: a pan, the bands it sees, and those of them that are kept."""

    group: str
    pan: Float64
    seen: tuple[int, ...]
    kept: tuple[int, ...]

    def tile(self, tile: Tile) -> Tile:
        """The tile the pansharpening method sees."""
        factor = tile.factors[self.group]
        bands = list(self.seen)
        seen, fine_seen = tile.valid[self.group], tile.valid["fine"]
        return Tile(
            {"ms": np.ascontiguousarray(tile[self.group][bands]), "pan": combine(self.pan[None], tile["fine"])},
            {
                "ms": None if seen is None else seen[bands],
                "pan": None if fine_seen is None else np.asarray(fine_seen.all(axis=0))[None],
            },
            {"ms": 1, "pan": tile.factors["fine"] // factor},
            tile.halo * factor,
            (tile.origin[0] * factor, tile.origin[1] * factor),
        )


@dataclass(frozen=True)
class _Apply:
    """``(tile, state, **params) -> (band, y, x)``: run each job and keep its bands."""

    method: Method

    def __call__(self, tile: Tile, state: State, *, psf: Psf, **given: Any) -> Float32:
        size = tile.core("fine").shape[1:]
        out = {name: np.empty((tile[name].shape[0], *size), np.float32) for name in coarse_names(tile.arrays)}
        for job, inner in zip(state["jobs"], state["inner"], strict=True):
            kept = list(job.kept)
            if inner is None:
                out[job.group][kept] = np.nan
                continue
            part = job.tile(tile)
            bands = self.method.apply(part, inner, **_inner_params(self.method, job, psf, given))
            out[job.group][kept] = bands[[job.seen.index(b) for b in kept]]
        return np.concatenate(list(out.values()))


@dataclass(frozen=True)
class _Assign:
    """Solve the first pass: which pan for which bands. Bands of one pan and one point spread share a job."""

    method: Method

    def __call__(self, summary: Any, _state: State, *, pan: str, psf: Psf, **_: Any) -> State:
        jobs = []
        for group, moments in summary.items():
            found: dict[tuple[bytes, bytes], tuple[Float64, list[int]]] = {}
            for band, one in enumerate(moments):
                weights = _MAKERS[pan](one)
                key = weights.tobytes(), _row(psf, group, band).tobytes()
                found.setdefault(key, (weights, []))[1].append(band)
            for weights, kept in found.values():
                seen = kept if self.method.bandwise else range(len(moments))
                jobs.append(_Job(group, weights, tuple(seen), tuple(kept)))
        return {"jobs": jobs, "inner": [{} for _ in jobs]}


@dataclass(frozen=True)
class _Summarise:
    """One pass of the pansharpening method over a tile: a summary for each job, None if it saw nothing."""

    method: Method
    number: int

    def __call__(self, tile: Tile, state: State, *, psf: Psf, **given: Any) -> list[Any]:
        summarise = self.method.passes[self.number].summarise
        found = []
        for job, inner in zip(state["jobs"], state["inner"], strict=True):
            part = job.tile(tile)
            blank = inner is None or _nothing_seen(part)
            found.append(None if blank else summarise(part, inner, **_inner_params(self.method, job, psf, given)))
        return found


@dataclass(frozen=True)
class _Merge:
    one: Pass

    def __call__(self, left: list[Any], right: list[Any]) -> list[Any]:
        return [self._pair(a, b) for a, b in zip(left, right, strict=True)]

    def _pair(self, left: Any, right: Any) -> Any:
        if left is None or right is None:
            return right if left is None else left
        return self.one.merge(left, right)


@dataclass(frozen=True)
class _Solve:
    method: Method
    one: Pass

    def __call__(self, summary: list[Any], state: State, *, psf: Psf, **given: Any) -> State:
        inner = [
            None if found is None else self.one.solve(found, before, **_inner_params(self.method, job, psf, given))
            for job, found, before in zip(state["jobs"], summary, state["inner"], strict=True)
        ]
        return {**state, "inner": inner}


@dataclass(frozen=True)
class _Halo:
    """Margin of the pansharpening method in every group, and of the point spread of the fine bands."""

    method: Method

    def __call__(self, factors: Mapping[str, int], *, psf: Psf, **given: Any) -> int:
        widths = [halo_for(factors, psf, 0)]
        for name in coarse_names(factors):
            ratio = factors["fine"] // factors[name]
            params = _inner_params(self.method, _Job(name, np.zeros(0), (0,), (0,)), psf, given)
            widths.append(-(-self.method.halo({"ms": 1, "pan": ratio}, **params) // factors[name]))
        return max(widths)


def _moments(tile: Tile, _state: State, *, psf: Psf, **_: Any) -> Any:
    return summarise_bands(tile, psf)


def _inner_params(method: Method, job: _Job, psf: Psf, given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of the pansharpening method for one job."""
    names = {p.name for p in method.params}
    params = {name: value for name, value in given.items() if name in names}
    if "psf" in names:
        rows = {"ms": job.seen, "pan": job.kept[:1]}
        params["psf"] = {name: np.stack([_row(psf, job.group, band) for band in bands]) for name, bands in rows.items()}
    return params


def _row(psf: Psf, group: str, band: int) -> Float64:
    taps = taps_of(psf, group)
    return np.asarray(taps[band if taps.shape[0] > 1 else 0])


def _nothing_seen(tile: Tile) -> bool:
    return any(v is not None and not tile.core(name, v).all(axis=0).any() for name, v in tile.valid.items())


METHODS = tuple(adapt(method) for method in methods_of("pansharpen", models=False).values())
