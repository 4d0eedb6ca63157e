"""What the methods for series share: the check of their input and the width of a block of pixels."""

from __future__ import annotations

from typing import Literal

import numpy as np

from xrs.errors import LayoutError, TimeAxisError
from xrs.kernels.types import Float32, Float64
from xrs.methods.base import Tile

__all__ = ["LANES", "Extrapolate", "band_series", "band_weights", "check_series"]

#: Pixels that a kernel works on side by side: wide enough for vector units and for whole cache lines of a
#: date's row, narrow enough that a block's buffers stay in the second-level cache.
LANES = 128

Extrapolate = Literal["nan", "nearest"]


def check_series(series: Float32, weights: Float32 | None, days: Float64) -> None:
    """Refuse shapes that do not fit and dates that do not increase.

    Raises
    ------
    LayoutError
        If ``series`` is not (time, n) or ``weights`` has another shape.
    TimeAxisError
        If ``days`` does not strictly increase, is not finite or has another length.
    """
    if series.ndim != 2:
        raise LayoutError(f"found series of shape {series.shape}", "two dimensions: time, n")
    if weights is not None and weights.shape != series.shape:
        raise LayoutError(f"found weights of shape {weights.shape}", f"that of the series: {series.shape}")
    if days.shape != series.shape[:1]:
        raise TimeAxisError(f"found days of shape {days.shape}", f"one for each date: ({series.shape[0]},)")
    if not (np.isfinite(days).all() and (np.diff(days) > 0).all()):
        raise TimeAxisError("found days that do not increase from date to date", "increasing finite dates", "sort them")


def band_series(tile: Tile, band: int, name: str = "series") -> Float32:
    """Series (time, n) of one band of a tile of all dates, NaN where not seen."""
    values, valid = tile[name][:, band], tile.valid[name]
    if valid is not None:
        values = np.where(valid[:, band], values, np.float32(np.nan))
    return values.reshape(values.shape[0], -1)


def band_weights(tile: Tile, band: int) -> Float32 | None:
    """The weights of these series, if there are any."""
    if "weights" not in tile.arrays:
        return None
    values = tile["weights"][:, band]
    return values.reshape(values.shape[0], -1)
