"""What the methods share: a tile's images on the fine grid, and the scene's spread and extent from a pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from xrs.errors import RadiometryError
from xrs.kernels import Moments, merge_moments, moments_of, upsample
from xrs.kernels.resample import reach_of_kernel
from xrs.kernels.types import Bool, Float32, Float64
from xrs.methods.base import Param, Pass, State, Tile
from xrs.methods.spatiotemporal._grids import inside_scene, to_fine, trimmed

__all__ = [
    "KERNEL",
    "SCENE",
    "VALID_RANGE",
    "WINDOW",
    "Images",
    "images_of",
    "nothing",
    "ratio_of",
    "window_distance",
    "window_halo",
]

WINDOW = Param(
    "window",
    51,
    "side of the window around each pixel, in fine pixels",
    "an odd number from 3 on",
    lambda n: n >= 3 and n % 2 == 1,
)

KERNEL = Param(
    "kernel",
    "cubic",
    "how coarse images are brought to the fine grid, if they are not on it",
    "'nearest', 'bilinear' or 'cubic'",
    lambda name: name in ("nearest", "bilinear", "cubic"),
)

VALID_RANGE = Param(
    "valid_range",
    (0.0, 1.0),
    "predictions that are not between fall back to the similar pixels' own values; a coarse change of 2 % of its upper "
    "end is large enough to fit conversion coefficients",
    "two ascending numbers, such as (250.0, 350.0) for temperatures",
    lambda ends: len(ends) == 2 and ends[0] < ends[1],
)


@dataclass(frozen=True)
class Images:
    """A tile on the fine grid, with a margin of the window's radius on each side.

    Attributes
    ----------
    fine, coarse : ndarray, float32, (pair, band, y, x)
    target : ndarray, float32, (target, band, y, x)
    fine_seen, coarse_seen, target_seen : ndarray of bool
        Of the same shapes; nothing is seen beyond the scene's edges.
    """

    fine: Float32
    coarse: Float32
    target: Float32
    fine_seen: Bool
    coarse_seen: Bool
    target_seen: Bool


@dataclass(frozen=True)
class _Summary:
    moments: tuple[Moments, ...]
    end: tuple[int, int]


def ratio_of(factors: Mapping[str, int]) -> int:
    """Fine pixels along the side of a coarse one."""
    return factors["fine"] // factors["target"]


def window_halo(factors: Mapping[str, int], *, window: int, kernel: str, **_: Any) -> int:
    """The margin, in coarse pixels, of a window of fine pixels and of interpolation."""
    ratio = ratio_of(factors)
    return -(-(window // 2) // ratio) + (reach_of_kernel(kernel) if ratio > 1 else 0)


def images_of(tile: Tile, state: State, radius: int, kernel: str) -> Images:
    """All images of a tile on the fine grid, with a margin of ``radius``."""
    ratio = ratio_of(tile.factors)
    cut = tile.halo * ratio - radius
    sides = tile["fine"].shape[-2:]
    inner: tuple[Any, ...] = (..., *(slice(cut, side - cut) for side in sides))
    # Windows end at the scene's edges, beyond which tiles are mirrored.
    within = trimmed(inside_scene(tile, "fine", state["end"]), cut)

    def image(name: str) -> Float32:
        values = tile[name]
        if tile.factors[name] != tile.factors["fine"]:
            values = np.stack([upsample(one, ratio, kernel) for one in values])
        return np.ascontiguousarray(values[inner])

    def seen(name: str) -> Bool:
        valid, values = tile.valid[name], tile[name]
        if valid is None:
            return np.broadcast_to(within, (*values.shape[:2], *within.shape))
        if tile.factors[name] != tile.factors["fine"]:
            valid = to_fine(valid, ratio)
        return np.asarray(valid[inner] & within)

    return Images(image("fine"), image("coarse"), image("target"), seen("fine"), seen("coarse"), seen("target"))


def nothing(tile: Tile) -> Float32:
    """The result where nothing was seen at all."""
    dates, bands = tile["target"].shape[:2]
    height, width = tile.core("fine").shape[-2:]
    return np.full((dates, bands, height, width), np.nan, np.float32)


def window_distance(radius: int) -> Float64:
    """Distance of each pixel of a window from its centre (y, x), in pixels."""
    offset = np.arange(-radius, radius + 1)
    return np.asarray(np.hypot(offset[:, None], offset))


def _summarise(tile: Tile, _state: State, **_: Any) -> _Summary:
    fine, valid = tile.core("fine"), tile.valid["fine"]
    seen = None if valid is None else tile.core("fine", valid)
    pairs, bands = fine.shape[:2]
    moments = tuple(
        moments_of(fine[k, b][None], None if seen is None else seen[k, b]) for k in range(pairs) for b in range(bands)
    )
    ratio = tile.factors["fine"]
    (top, left), (height, width) = tile.origin, fine.shape[-2:]
    return _Summary(moments, (top + height // ratio, left + width // ratio))


def _merge(one: _Summary, other: _Summary) -> _Summary:
    moments = tuple(merge_moments(a, b) for a, b in zip(one.moments, other.moments, strict=True))
    return _Summary(moments, (max(one.end[0], other.end[0]), max(one.end[1], other.end[1])))


def _solve(summary: _Summary, _state: State, *, valid_range: tuple[float, float] | None = None, **_: Any) -> State:
    seen = [m for m in summary.moments if m.count]
    if valid_range is not None and not all(valid_range[0] <= m.mean[0] <= valid_range[1] for m in seen):
        found = ", ".join(f"{m.mean[0]:.4g}" for m in seen)
        raise RadiometryError(
            f"means of the fine images' bands: {found}",
            f"values between {valid_range[0]:g} and {valid_range[1]:g}, or all predictions would be thrown away",
            "valid_range= of the data's unit, such as (0, 10000), or (250, 350) for temperatures",
        )
    spread = [m.std[0] * np.sqrt(m.count / (m.count - 1)) if m.count > 1 else 0.0 for m in summary.moments]
    return {"std": np.array(spread), "end": summary.end}


#: State ``std`` (pair band), of the fine images over the scene, and ``end``, the scene's rows and columns in coarsest
#: pixels.
SCENE = Pass(_summarise, _merge, _solve)
