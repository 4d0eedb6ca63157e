"""Linear interpolation between valid observations, lanes of pixels abreast."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xrs.kernels.types import Float32, Float64
from xrs.methods.temporal._series import LANES

__all__ = ["interpolate", "interpolate_lanes", "store_lanes"]


@njit(nogil=True, cache=True, error_model="numpy")
def interpolate(
    series: Float32,
    weights: Float32 | None,
    days: Float64,
    targets: Float64,
    interval: NDArray[np.int64],
    nearest: bool,
    out: Float32,
) -> None:
    """Fill ``out`` (t, n); ``interval`` is the last date at or before each target, -1 before the first."""
    value, day = np.empty((days.size + 1, LANES)), np.empty((days.size + 1, LANES))
    block = np.empty((targets.size, LANES))
    for start in range(0, series.shape[1], LANES):
        interpolate_lanes(series, weights, days, targets, interval, nearest, start, value, day, block)
        store_lanes(block, start, out)


@njit(nogil=True, cache=True, error_model="numpy")
def interpolate_lanes(
    series: Float32,
    weights: Float32 | None,
    days: Float64,
    targets: Float64,
    interval: NDArray[np.int64],
    nearest: bool,
    start: int,
    value: Float64,
    day: Float64,
    block: Float64,
) -> None:
    """Interpolate the lanes from pixel ``start`` on into ``block`` (t, lane).

    ``value`` and ``day`` (time + 1, lane) receive the last valid observation before each date.
    """
    _look_back(series, weights, days, start, value, day)
    next_value, next_day = np.zeros(LANES), np.full(LANES, np.inf)
    k = days.size
    for i in range(targets.size - 1, -1, -1):
        while k > interval[i] + 1:
            k -= 1
            _look_ahead(value[k + 1], day[k + 1], days[k], next_value, next_day)
        _between(value[k], day[k], next_value, next_day, targets[i], nearest, block[i])


@njit(nogil=True, cache=True, error_model="numpy")
def _look_back(
    series: Float32, weights: Float32 | None, days: Float64, start: int, value: Float64, day: Float64
) -> None:
    lanes = min(LANES, series.shape[1] - start)
    value[:] = 0.0
    day[:] = -np.inf
    for k in range(days.size):
        values = series[k, start : start + lanes]
        given = values if weights is None else weights[k, start : start + lanes]
        for j in range(lanes):
            v, last, before = np.float64(values[j]), value[k, j], day[k, j]
            seen = (abs(v) < np.inf) & (True if weights is None else given[j] > 0.0)
            value[k + 1, j] = v if seen else last
            day[k + 1, j] = days[k] if seen else before


@njit(nogil=True, cache=True, error_model="numpy")
def _look_ahead(value: Float64, day: Float64, date: float, next_value: Float64, next_day: Float64) -> None:
    for j in range(LANES):
        v, ahead, after = value[j], next_value[j], next_day[j]
        seen = day[j] == date
        next_value[j] = v if seen else ahead
        next_day[j] = date if seen else after


@njit(nogil=True, cache=True, error_model="numpy")
def _between(
    value: Float64, day: Float64, next_value: Float64, next_day: Float64, target: float, nearest: bool, out: Float64
) -> None:
    for j in range(LANES):
        v0, v1, d0, d1 = value[j], next_value[j], day[j], next_day[j]
        after, before = d0 > -np.inf, d1 < np.inf
        between = v0 + (v1 - v0) * ((target - d0) / (d1 - d0))
        v = between if after else v1
        inside = after & (before | (d0 == target))
        out[j] = v if inside | (nearest & (after | before)) else np.nan


@njit(nogil=True, cache=True)
def store_lanes(block: Float64, start: int, out: Float32) -> None:
    """Write the lanes of ``block`` (t, lane) to the pixels of ``out`` (t, n) from ``start`` on."""
    lanes = min(LANES, out.shape[1] - start)
    for i in range(out.shape[0]):
        row = out[i, start : start + lanes]
        for j in range(lanes):
            row[j] = np.float32(block[i, j])
