"""Start, peak and end of the season of a vegetation index."""

from __future__ import annotations

import numpy as np
from numba import njit

from xrs.kernels.types import Float32, Float64

__all__ = ["METRICS", "find_seasons"]

#: What :func:`find_seasons` gives, in its order.
METRICS = (
    "start",
    "peak",
    "end",
    "length",
    "base",
    "peak_value",
    "amplitude",
    "greenup_rate",
    "senescence_rate",
    "large_integral",
    "small_integral",
)


@njit(nogil=True, cache=True, error_model="numpy")
def find_seasons(
    series: Float32,
    days: Float64,
    windows: Float64,
    threshold: float,
    one_base: bool,
    max_gap: float,
    min_amplitude: float,
) -> Float32:
    """Metrics of one season in each window of each series.

    Parameters
    ----------
    series : ndarray, float32, (time, n)
        Values that are not finite are missing; between dates, values are interpolated linearly.
    days : ndarray, float64, (time,)
        Strictly increasing.
    windows : ndarray, float64, (window, 3)
        First and last-plus-one day of each, and the day from which its dates are counted.
    threshold : float
        Share of the amplitude at which the season starts and ends; NaN for the steepest slopes.
    one_base : bool
        Whether both sides rise from the lowest value of the window.
    max_gap : float
        A side with a longer stretch without values, in days, is not determined.
    min_amplitude : float
        A peak counts if the curve rises to it and falls from it by as much.

    Returns
    -------
    ndarray, float32, (metric, window, n)
        In the order of ``METRICS``; NaN where not determined.
    """
    out = np.full((11, windows.shape[0], series.shape[1]), np.nan, np.float32)
    x, y = np.empty(days.size), np.empty(days.size)
    for j in range(series.shape[1]):
        seen = 0
        for t in range(days.size):
            if np.isfinite(series[t, j]):
                x[seen], y[seen] = days[t], series[t, j]
                seen += 1
        for w in range(windows.shape[0]):
            first, last = windows[w, 0], windows[w, 1]
            px, py, before, after = _cut(x[:seen], y[:seen], first, last)
            if px.size > 2:
                _season(px, py, before, after, threshold, one_base, max_gap, min_amplitude, windows[w, 2], out[:, w, j])
    return out


@njit(nogil=True, cache=True)
def _cut(x: Float64, y: Float64, first: float, last: float) -> tuple[Float64, Float64, float, float]:
    """The curve inside a window, interpolated at its ends; and how far the nearest values lie apart around the ends."""
    lo, hi = int(np.searchsorted(x, first)), int(np.searchsorted(x, last))
    px, py = np.empty(hi - lo + 2), np.empty(hi - lo + 2)
    if lo == hi:
        return px[:0], py[:0], np.inf, np.inf
    count, before, after = 0, float(x[lo] - first), float(last - x[hi - 1])
    if lo > 0 and x[lo] > first:
        px[0], py[0] = first, _between(x[lo - 1], y[lo - 1], x[lo], y[lo], first)
        count, before = 1, x[lo] - x[lo - 1]
    px[count : count + hi - lo], py[count : count + hi - lo] = x[lo:hi], y[lo:hi]
    count += hi - lo
    if hi < x.size:
        px[count], py[count] = last, _between(x[hi - 1], y[hi - 1], x[hi], y[hi], last)
        count, after = count + 1, x[hi] - x[hi - 1]
    return px[:count], py[:count], before, after


@njit(nogil=True, cache=True)
def _between(x0: float, y0: float, x1: float, y1: float, x: float) -> float:
    return y0 + (y1 - y0) * ((x - x0) / (x1 - x0))


@njit(nogil=True, cache=True)
def _season(
    x: Float64,
    y: Float64,
    before: float,
    after: float,
    threshold: float,
    one_base: bool,
    max_gap: float,
    min_amplitude: float,
    origin: float,
    out: Float32,
) -> None:
    first, top, last = _main_peak(y, min_amplitude)
    if top == 0:
        return
    # The right side is the left one of the mirrored curve.
    left_x, left_y = x[first : top + 1], y[first : top + 1]
    right_x, right_y = -x[top : last + 1][::-1], y[top : last + 1][::-1].copy()
    left_base, right_base = left_y.min(), right_y.min()
    if one_base:
        left_base = right_base = y.min()
    left_known = _reaches(left_x, before if first == 0 else 0.0, max_gap)
    right_known = _reaches(right_x, after if last == y.size - 1 else 0.0, max_gap)
    start = end = np.nan
    if left_known:
        start = _date(left_x, left_y, left_base, threshold)
        out[7] = _rate(left_x, left_y, left_base)
    if right_known:
        end = -_date(right_x, right_y, right_base, threshold)
        out[8] = _rate(right_x, right_y, right_base)
    if left_known or right_known:
        out[1], out[5] = x[top] - origin + 1.0, y[top]
    out[0], out[2], out[3] = start - origin + 1.0, end - origin + 1.0, end - start
    if left_known and right_known:
        base = 0.5 * (left_base + right_base)
        out[4], out[6] = base, y[top] - base
        area = _area(x, y, start, end)
        out[9], out[10] = area, area - base * (end - start)


@njit(nogil=True, cache=True)
def _main_peak(y: Float64, min_amplitude: float) -> tuple[int, int, int]:
    """The peak with the greatest rise and fall, and how far its sides go: to the ends or a higher value; else zeros."""
    found, most = (0, 0, 0), 0.0
    for i in range(1, y.size - 1):
        if not y[i - 1] < y[i] >= y[i + 1]:
            continue
        first, left = _side(y, i, -1)
        last, right = _side(y, i, 1)
        rise, fall = y[i] - left, y[i] - right
        if rise + fall > most and _rises(left, y[i], min_amplitude) and _rises(right, y[i], min_amplitude):
            found, most = (first, i, last), rise + fall
    return found


@njit(nogil=True, cache=True)
def _side(y: Float64, top: int, step: int) -> tuple[int, float]:
    """How far one gets from a peak without meeting a higher value, and the lowest value on the way."""
    i, low = top, y[top]
    while 0 <= i + step < y.size and y[i + step] <= y[top]:
        i += step
        low = min(low, y[i])
    return i, low


@njit(nogil=True, cache=True)
def _reaches(x: Float64, edge: float, max_gap: float) -> bool:
    """Whether nothing on a side of the peak is unseen for longer than ``max_gap``."""
    return edge <= max_gap and np.diff(x).max() <= max_gap


@njit(nogil=True, cache=True)
def _rises(base: float, top: float, min_amplitude: float) -> bool:
    # Less than this is the rounding of float32.
    return top - base >= min_amplitude and top - base > 1e-6 * max(abs(top), abs(base))


@njit(nogil=True, cache=True)
def _date(x: Float64, y: Float64, base: float, threshold: float) -> float:
    """When a rising side passes the threshold, or rises most."""
    if np.isnan(threshold):
        return _steepest(x, y)
    return _passing(x, y, base + threshold * (y[-1] - base))


@njit(nogil=True, cache=True)
def _passing(x: Float64, y: Float64, level: float) -> float:
    """When the curve first passes a level after its lowest value."""
    for i in range(_lowest(y), y.size - 1):
        if y[i] < level <= y[i + 1]:
            return _between(y[i], x[i], y[i + 1], x[i + 1], level)
    return np.nan


@njit(nogil=True, cache=True)
def _lowest(y: Float64) -> int:
    """The last of the lowest values."""
    return y.size - 1 - int(np.argmin(y[::-1]))


@njit(nogil=True, cache=True)
def _steepest(x: Float64, y: Float64) -> float:
    """When the slope is greatest after the lowest value: the top of the parabola through three slopes."""
    middle, slope = 0.5 * (x[1:] + x[:-1]), np.diff(y) / np.diff(x)
    first = _lowest(y)
    k = first + np.argmax(slope[first:])
    if k in (0, slope.size - 1):
        return middle[k]
    rise = (slope[k] - slope[k - 1]) / (middle[k] - middle[k - 1])
    fall = (slope[k + 1] - slope[k]) / (middle[k + 1] - middle[k])
    bend = (fall - rise) / (middle[k + 1] - middle[k - 1])
    if bend >= 0.0:
        return middle[k]
    # The slope of the parabola is `rise` midway between the first two.
    top = 0.5 * (middle[k - 1] + middle[k]) - 0.5 * rise / bend
    return min(max(top, middle[k - 1]), middle[k + 1])


@njit(nogil=True, cache=True)
def _rate(x: Float64, y: Float64, base: float) -> float:
    """Mean slope between a fifth and four fifths of the rise."""
    rise = y[-1] - base
    low, high = _passing(x, y, base + 0.2 * rise), _passing(x, y, base + 0.8 * rise)
    return 0.6 * rise / (high - low)


@njit(nogil=True, cache=True)
def _area(x: Float64, y: Float64, start: float, end: float) -> float:
    """The integral of the curve between two days."""
    if np.isnan(start) or np.isnan(end):
        return np.nan
    total = 0.0
    for i in range(x.size - 1):
        a, b = max(x[i], start), min(x[i + 1], end)
        if a < b:
            middle = _between(x[i], y[i], x[i + 1], y[i + 1], 0.5 * (a + b))
            total += middle * (b - a)
    return total
