"""Local polynomials as fixed filters on filled series, and Chen's upper envelope, lanes of pixels abreast."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xrs.kernels.types import Float32, Float64
from xrs.methods.temporal._interpolate import interpolate_lanes, store_lanes
from xrs.methods.temporal._series import LANES

__all__ = ["filter_series", "local_fit"]


def local_fit(days: Float64, targets: Float64, window: int, degree: int) -> tuple[Float64, NDArray[np.int64]]:
    """What the ``window`` dates around each target are multiplied by to give the fitted polynomial there.

    Returns
    -------
    taps : ndarray, float64, (t, window)
        NaN for targets outside the dates.
    first : ndarray, int64, (t,)
        The window's first date. Windows are shifted inwards at both ends.
    """
    middle = (days[1:] + days[:-1]) / 2
    first = np.clip(np.searchsorted(middle, targets, side="left") - window // 2, 0, days.size - window)
    x = days[first[:, None] + np.arange(window)] - targets[:, None]
    x /= np.abs(x).max(axis=1, keepdims=True, initial=1e-300)
    taps = np.linalg.pinv(x[:, :, None] ** np.arange(degree + 1))[:, 0]
    taps[(targets < days[0]) | (targets > days[-1])] = np.nan
    return np.ascontiguousarray(taps), first


@njit(nogil=True, cache=True, error_model="numpy")
def filter_series(
    series: Float32,
    weights: Float32 | None,
    days: Float64,
    taps: Float64,
    first: NDArray[np.int64],
    trend_taps: Float64,
    trend_first: NDArray[np.int64],
    fit_taps: Float64,
    fit_first: NDArray[np.int64],
    passes: int,
    need: int,
    out: Float32,
) -> None:
    """Fill gaps linearly, lift to the upper envelope if asked, and filter with ``taps`` into ``out`` (t, n).

    ``trend_taps`` and ``fit_taps`` are the two filters of the envelope, on the observation dates.
    """
    dates = days.size
    value, day = np.empty((dates + 1, LANES)), np.empty((dates + 1, LANES))
    filled, block = np.empty((dates, LANES)), np.empty((taps.shape[0], LANES))
    own = np.arange(dates)
    for start in range(0, series.shape[1], LANES):
        interpolate_lanes(series, weights, days, days, own, True, start, value, day, filled)
        if passes > 0:
            _lift(filled, trend_taps, trend_first, fit_taps, fit_first, passes)
        _filter(filled, taps, first, block)
        _drop_undetermined(day, days, need, block)
        store_lanes(block, start, out)


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _filter(source: Float64, taps: Float64, first: NDArray[np.int64], out: Float64) -> None:
    out[:] = 0.0
    for i in range(taps.shape[0]):
        row = out[i]
        for s in range(taps.shape[1]):
            tap = taps[i, s]
            values = source[first[i] + s]
            for j in range(LANES):
                row[j] += tap * values[j]


@njit(nogil=True, cache=True, error_model="numpy")
def _lift(
    filled: Float64,
    trend_taps: Float64,
    trend_first: NDArray[np.int64],
    fit_taps: Float64,
    fit_first: NDArray[np.int64],
    passes: int,
) -> None:
    """Replace each lane by the series, lifted to its fitted curve, whose fit has the least fitting-effect index."""
    curve = np.empty_like(filled)
    _filter(filled, trend_taps, trend_first, curve)
    importance = _importance(filled, curve)
    lifted, fitted, best = np.empty_like(filled), np.empty_like(filled), filled.copy()
    least, going = np.full(LANES, np.inf), np.ones(LANES, np.bool_)
    for _ in range(passes):
        lifted[:] = np.maximum(filled, curve)
        _filter(lifted, fit_taps, fit_first, fitted)
        index = np.zeros(LANES)
        for i in range(filled.shape[0]):
            index += np.abs(fitted[i] - filled[i]) * importance[i]
        going &= index <= least
        least[:] = np.where(going, index, least)
        for i in range(filled.shape[0]):
            best[i] = np.where(going, lifted[i], best[i])
            curve[i] = np.where(going, fitted[i], curve[i])
    filled[:] = best


@njit(nogil=True, cache=True, error_model="numpy")
def _importance(filled: Float64, trend: Float64) -> Float64:
    """One on or above the trend; below it less, down to zero for the farthest value of the lane."""
    farthest = np.zeros(LANES)
    for i in range(filled.shape[0]):
        farthest[:] = np.maximum(farthest, np.abs(filled[i] - trend[i]))
    out = np.ones_like(filled)
    for i in range(filled.shape[0]):
        for j in range(LANES):
            below = trend[i, j] - filled[i, j]
            out[i, j] = 1.0 - below / farthest[j] if below > 0.0 else 1.0
    return out


@njit(nogil=True, cache=True)
def _drop_undetermined(day: Float64, days: Float64, need: int, block: Float64) -> None:
    """Make lanes with fewer than ``need`` observations NaN; ``day`` tells the last one before each date."""
    count = np.zeros(LANES, np.int64)
    for k in range(days.size):
        for j in range(LANES):
            count[j] += day[k + 1, j] == days[k]
    for j in range(LANES):
        if count[j] < need:
            block[:, j] = np.nan
