"""Parameters, margins, masks and the injection of detail that the methods share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from xrs.errors import ParameterError
from xrs.kernels import Moments, decimate, moments_of, reach_of, upsample
from xrs.kernels.resample import reach_of_kernel
from xrs.kernels.types import Bool, Float32, Float64
from xrs.methods.base import Param, Tile

__all__ = [
    "CONSTANT",
    "PSF",
    "SRF",
    "Psf",
    "coarse_moments",
    "degraded_ms",
    "inject",
    "linear_halo",
    "regression",
    "seen_coarse",
    "taps_of",
]

Psf = Mapping[str, Float64]

#: A coarse pixel counts as seen if at least this share of its point spread was.
_SEEN = 0.999

#: Relative variance below which an image counts as constant: float32 rounding makes as much.
CONSTANT = 1e-12

PSF = Param(
    "psf",
    None,
    "separable point spread (band, tap) from the grid of `ms` to that of `hs`, for `hs` and `ms`",
    "a mapping with the taps of 'hs' and 'ms'",
    lambda value: value is None or {"hs", "ms"} <= set(value),
)

SRF = Param(
    "srf",
    None,
    "response (ms band, hs band) of each band of `ms` over those of `hs`; that of the sensors, or estimated",
    "an array with rows that sum to 1",
)


def taps_of(psf: Psf | None, name: str) -> Float64:
    """Taps (band, tap) that lead from the fine grid to the coarse one."""
    if psf is None:
        raise ParameterError("found no point spread", "taps for 'hs' and 'ms'", "pass psf={'hs': ..., 'ms': ...}")
    return np.atleast_2d(np.asarray(psf[name], np.float64))


def linear_halo(factors: Mapping[str, int], *, kernel: str, psf: Psf | None, **_: Any) -> int:
    """Margin of a method that interpolates what it has decimated."""
    return reach_of_kernel(kernel) + reach_of(taps_of(psf, "ms"), factors["ms"])


def degraded_ms(tile: Tile, psf: Psf | None) -> Float32:
    """What the sensor of ``hs`` would make of ``ms``: (band, y, x), halo included."""
    return decimate(tile["ms"], taps_of(psf, "ms"), tile.factors["ms"])


def seen_coarse(tile: Tile, psf: Psf | None) -> Bool | None:
    """Pixels of ``hs`` (y, x) where all bands and all of ``ms`` under the point spread were seen; None: everywhere."""
    seen, fine = tile.seen("hs"), tile.valid["ms"]
    if fine is None:
        return seen
    share = decimate(
        np.asarray(fine.all(axis=0, keepdims=True), np.float32), taps_of(psf, "ms")[:1], tile.factors["ms"]
    )
    whole = np.asarray(tile.core("hs", share)[0] > _SEEN)
    return whole if seen is None else whole & seen


def coarse_moments(tile: Tile, psf: Psf | None) -> Moments:
    """Moments of the bands of ``hs`` and, after them, the degraded ones of ``ms``."""
    layers = tile.core("hs", np.concatenate([tile["hs"], degraded_ms(tile, psf)]))
    return moments_of(layers, seen_coarse(tile, psf))


def regression(gram: Float64, target: Float64, least: float) -> Float64:
    """Least squares from normal equations, in directions of at least that share of the strongest one's variance."""
    return np.asarray(np.linalg.lstsq(gram, target, rcond=least)[0], np.float64)


def inject(tile: Tile, gains: Float64, detail: Float32, kernel: str) -> Float32:
    """The interpolated bands and ``gains`` (hs band, layer) times ``detail`` (layer, y, x), given with halo."""
    out: Float32 = np.ascontiguousarray(tile.core("ms", upsample(tile["hs"], tile.factors["ms"], kernel)))
    layers = np.ascontiguousarray(tile.core("ms", detail))
    flat = out.reshape(len(out), -1)
    flat += gains.astype(np.float32) @ layers.reshape(len(layers), -1)
    return out
