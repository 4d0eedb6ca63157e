"""What the sensors saw on a date itself, weighed against a network's result for it by the noise of both.

The step of :mod:`xrs.methods.sts.map_sts` with another prior: its mean is the network's result, its covariance that of
the network's errors. Carried images of other dates are no observations here: the network has seen them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from xrs.kernels import decimate
from xrs.kernels.types import Bool, Float32, Float64
from xrs.methods._inversion import Observation
from xrs.methods._linear import combine
from xrs.methods.base import Tile
from xrs.methods.sts._blocks import MARGIN, Solver, mean_taps, seen_pixels
from xrs.methods.sts._evidence import SAME_DAY

__all__ = ["Prior", "refined"]

#: Weight of the gradients' penalty on the correction: chosen on simulated scenes.
_REGULARISATION = 1.0
_TOLERANCE, _ITERATIONS = 1e-5, 60
#: Share of what a coarse pixel sees that must be there.
_WHOLE = 0.999
#: Of the largest variance, the least one of the prior.
_LEAST = 1e-8


@dataclass(frozen=True)
class Prior:
    """The network's errors, in the unit of the images.

    Attributes
    ----------
    basis, variances : ndarray (band, component), (component,)
        Principal directions of the errors, and how large they are there.
    spread : float
        Standard deviation of the scene, of which noise is a share.
    """

    basis: Float64
    variances: Float64
    spread: float

    @classmethod
    def of(cls, basis: Float64, covariance: Float64, spread: float) -> Prior | None:
        """From the covariance of errors of components; None if that is not known."""
        values, directions = np.linalg.eigh(covariance)
        if not values[-1] > 0:
            return None
        return cls(basis @ directions, np.maximum(values, _LEAST * values[-1]), spread)


def refined(
    tile: Tile,
    image: Float32,
    target: int,
    prior: Prior,
    *,
    noise: float,
    psf: Mapping[str, Float64],
    srf: Mapping[str, Float64 | None],
) -> Float32:
    """The result (band, y, x) of one date of a tile with halo, refined, without it.

    A sensor whose response is unknown has no say, nor have pixels that are NaN, and these stay NaN.
    """
    seen: Bool = np.asarray(np.isfinite(image).all(axis=0))
    whole = np.where(seen, image, np.float32(0))
    found = _observations(tile, target, whole, seen, prior, noise, psf, srf)
    out: Float32 = np.ascontiguousarray(tile.core("ms", image))
    if found:
        solver = Solver(prior.variances, _REGULARISATION, _TOLERANCE, _ITERATIONS)
        out = out + combine(prior.basis, solver.components(tile, found, tile.halo - MARGIN))
    return out


def _observations(
    tile: Tile,
    target: int,
    image: Float32,
    seen: Bool,
    prior: Prior,
    noise: float,
    psf: Mapping[str, Float64],
    srf: Mapping[str, Float64 | None],
) -> dict[str, Observation]:
    """What each sensor saw on a date beyond what it would see of the network's result."""
    root = np.float32(1.0 / (noise * prior.spread))
    found = {}
    for name, role in (("target", "wide"), ("hs", "hs"), ("ms", "ms")):
        date = target if name == "target" else _own(tile, name, target)
        response = prior.basis.T if role == "hs" else srf[role]
        if date is None or response is None:
            continue
        ratio = tile.factors["ms"] // tile.factors[name]
        taps = mean_taps(psf, len(response)) if role == "hs" else psf.get(role) if ratio > 1 else None
        expected, there = combine(response, image), seen
        if taps is not None:
            expected = decimate(expected, taps, ratio)
            there = decimate(seen[None].astype(np.float32), taps.mean(axis=0, keepdims=True), ratio)[0] > _WHOLE
        observed = combine(response, tile[name][date]) if role == "hs" else tile[name][date]
        roots = np.broadcast_to((there & seen_pixels(tile, name, date)) * root, observed.shape)
        basis = np.eye(len(response)) if role == "hs" else response @ prior.basis
        found[name] = Observation(observed - expected, roots, basis, taps, ratio)
    return found


def _own(tile: Tile, name: str, target: int) -> int | None:
    """Which image of a sensor is of the target's date, if one is."""
    away = np.abs(tile.days[name] - tile.days["target"][target])
    nearest = int(away.argmin())
    return nearest if away[nearest] < SAME_DAY else None
