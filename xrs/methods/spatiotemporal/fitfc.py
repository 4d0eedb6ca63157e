"""Fit-FC: local regression of the coarse images, filtering with similar pixels, residuals compensated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from xrs.kernels import upsample
from xrs.kernels.types import Bool, Float32, Float64
from xrs.methods.base import Method, Param, Reference, State, Tile
from xrs.methods.spatiotemporal._grids import own_ratio, seen_in_all_bands, to_fine, trimmed
from xrs.methods.spatiotemporal._nearest_similar import Search, average_similar
from xrs.methods.spatiotemporal._scene import WINDOW

__all__ = ["METHOD"]

#: Cubic convolution reaches so many coarse pixels.
_CUBIC = 2

#: A window whose variance is a smaller share of its sum of squares is constant.
_CONSTANT = 1e-12


def apply(tile: Tile, _state: State, *, window: int, similar: int, coarse_window: int) -> Float32:
    """Predict one tile.

    Parameters
    ----------
    tile : Tile
        ``fine`` and ``coarse`` (1, band, y, x), ``target`` (target, band, y, x).
    window, similar, coarse_window
        See the parameters of the record.

    Returns
    -------
    ndarray, float32, (target, band, y, x)
        On the fine grid, without halo. NaN where the fine image was not seen, or none of the similar pixels lies in a
        coarse pixel seen on both dates.
    """
    ratio = tile.factors["fine"] // tile.factors["target"]
    radius = coarse_window // 2
    coarse_seen = seen_in_all_bands(tile, "coarse")[0] & seen_in_all_bands(tile, "target")
    # Whatever a regression reaches, then what similar pixels and the interpolation of residuals reach.
    fine, fine_seen = (
        trimmed(tile["fine"][0], radius * ratio),
        trimmed(seen_in_all_bands(tile, "fine")[0], radius * ratio),
    )
    values = np.empty((coarse_seen.shape[0], *fine.shape), np.float32)
    for t, image in enumerate(tile["target"]):
        values[t] = _regress(fine, tile["coarse"][0], image, coarse_seen[t], radius, ratio)
    usable = to_fine(trimmed(coarse_seen, radius), ratio) & fine_seen
    beyond = (tile.halo - radius) * ratio - window // 2
    guide, found, values, usable = (trimmed(a, beyond) for a in (fine, fine_seen, values, usable))
    return average_similar(guide, found, values, usable, Search(window // 2, similar, scale=window / 2))


def _regress(fine: Float32, before: Float32, after: Float32, seen: Bool, radius: int, ratio: int) -> Float32:
    """The fine image through the local regressions of the coarse ones, with their residuals (band, y, x)."""
    slope, constant = _local_lines(before.astype(np.float64), after.astype(np.float64), seen, radius)
    gap = trimmed(after, radius) - (slope * trimmed(before, radius) + constant)
    residual = np.where(trimmed(seen, radius), gap, 0.0).astype(np.float32)
    out = upsample(slope.astype(np.float32), ratio, "nearest")
    out *= fine
    out += upsample(constant.astype(np.float32), ratio, "nearest")
    out += upsample(residual, ratio, "cubic")
    return out


def _local_lines(x: Float64, y: Float64, seen: Bool, radius: int) -> tuple[Float64, Float64]:
    """Slope and constant of y on x over the pixels seen in each window; without ``radius`` pixels at the edges."""
    weight = seen.astype(np.float64)
    count = np.maximum(_window_sums(weight, radius), 1.0)
    mean_x, mean_y = (_window_sums(weight * image, radius) / count for image in (x, y))
    squares = _window_sums(weight * x * x, radius) / count
    variance = squares - mean_x**2
    varies = variance > _CONSTANT * squares
    covariance = _window_sums(weight * x * y, radius) / count - mean_x * mean_y
    slope = np.where(varies, covariance / np.where(varies, variance, 1.0), 1.0)
    return slope, mean_y - slope * mean_x


def _window_sums(image: Float64, radius: int) -> Float64:
    """Sums over windows, added in one order wherever the tile begins."""
    height, width = (n - 2 * radius for n in image.shape[-2:])
    rows, out = np.zeros((*image.shape[:-2], height, image.shape[-1])), np.zeros((*image.shape[:-2], height, width))
    for k in range(2 * radius + 1):
        rows += image[..., k : k + height, :]
    for k in range(2 * radius + 1):
        out += rows[..., k : k + width]
    return out


def _halo(factors: Mapping[str, int], *, window: int, coarse_window: int, **_: Any) -> int:
    return -(-(window // 2) // own_ratio(factors, "fitfc")) + _CUBIC + coarse_window // 2


METHOD = Method(
    name="fitfc",
    family="spatiotemporal",
    summary="Local regression of the coarse images, filtering with similar pixels, residuals compensated.",
    apply=apply,
    reference=Reference(
        "Wang and Atkinson 2018, Spatio-temporal fusion for daily Sentinel-2 images, Remote Sensing of Environment "
        "204:31-42",
        "10.1016/j.rse.2017.10.046",
    ),
    params=(
        replace(WINDOW, default=31),
        Param("similar", 30, "how many of the most similar pixels are averaged", "1 or more", lambda n: n > 0),
        replace(WINDOW, name="coarse_window", default=5, doc="side of the window of a regression, in coarse pixels"),
    ),
    halo=_halo,
    needs=("fine", "coarse", "target"),
    pairs=(1, 1),
    differs=(
        "Where the coarse image does not vary in a window, the slope is 1. The residual of a coarse pixel that was "
        "not seen is zero, and fine pixels in it are not averaged. Of equally similar pixels the nearest is taken. At "
        "the scene's edge windows see the mirrored scene."
    ),
)
