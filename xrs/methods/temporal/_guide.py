"""Series predicted from those of another sensor: a line through the dates both are known, and the residual from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xrs.kernels.types import Bool, Float32, Float64
from xrs.methods.temporal.linear import linear

__all__ = ["fill_from_guide", "gap_lengths"]

#: Dates that a line needs: with two it would go through both and tell nothing of the guide.
_LEAST = 3


def fill_from_guide(
    series: Float32,
    weights: Float32 | None,
    days: Float64,
    guide: Float32,
    guide_days: Float64,
    residuals: Callable[..., Float32],
    **params: Any,
) -> Float32:
    """Every series (time, n) on its dates: its line on the guide, plus the residuals completed by a temporal method.

    NaN where the guide has no value on both sides of a date, or fewer than three clear dates lie within it.
    """
    other = linear(guide, None, guide_days, days).astype(np.float64)
    own = series.astype(np.float64)
    given = np.ones_like(own) if weights is None else weights.astype(np.float64)
    both = np.isfinite(own) & np.isfinite(other) & (given > 0)
    predicted = _line(own, other, np.where(both, given, 0.0), both)
    left = np.where(both, own - predicted, np.nan).astype(np.float32)
    return (predicted + residuals(left, weights, days, days, **params)).astype(np.float32)


def gap_lengths(seen: Bool, days: Float64) -> Float64:
    """Days from the last value before each date (time, n) to the next after it; or to the ends of the series."""
    day = days[:, None]
    before = np.maximum.accumulate(np.where(seen, day, days[0]), axis=0)
    after = np.minimum.accumulate(np.where(seen, day, days[-1])[::-1], axis=0)[::-1]
    return np.asarray(after - before)


def _line(own: Float64, other: Float64, weight: Float64, both: Bool) -> Float64:
    """The weighted least squares line of each series on the other, at all dates; level where the other is constant."""
    total = weight.sum(axis=0)
    known = both.sum(axis=0) >= _LEAST
    x, y = (np.where(both, v, 0.0) for v in (other, own))
    scale = np.where(known, 1.0 / np.where(total > 0, total, 1.0), np.nan)
    mean_x, mean_y = (weight * x).sum(axis=0) * scale, (weight * y).sum(axis=0) * scale
    dx, dy = np.where(both, other - mean_x, 0.0), np.where(both, own - mean_y, 0.0)
    variance = (weight * dx**2).sum(axis=0)
    varies = variance > 1e-12 * (weight * x**2).sum(axis=0)
    slope = np.where(varies, (weight * dx * dy).sum(axis=0) / np.where(varies, variance, 1.0), 0.0)
    return np.asarray(mean_y + slope * (other - mean_x))
