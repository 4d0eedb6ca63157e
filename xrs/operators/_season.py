"""The integral of a series over a season."""

from __future__ import annotations

import numpy as np
from numba import njit

from xrs.kernels.types import Float32, Float64

__all__ = ["season_integral"]


def season_integral(series: Float32, weights: None, days: Float64, targets: Float64, *, until: float) -> Float32:
    """Integrals (1, n) of series (time, n) from day 0 to ``until``, by the trapezoidal rule; for ``lazy.map_series``.

    Missing values are bridged by straight lines. NaN where the known ones do not reach from 0 to ``until``.
    """
    out = np.empty((1, series.shape[1]), np.float32)
    _integrate(series, days, until, out[0])
    return out


@njit(nogil=True, cache=True, error_model="numpy")
def _integrate(series: Float32, days: Float64, until: float, out: Float32) -> None:
    for n in range(series.shape[1]):
        before, total, ended = -1, 0.0, False
        for t in range(days.size):
            if not np.isfinite(series[t, n]):
                continue
            if before < 0 and days[t] > 0.0:
                break
            if before >= 0:
                low, high = max(days[before], 0.0), min(days[t], until)
                if high > low:
                    slope = (series[t, n] - series[before, n]) / (days[t] - days[before])
                    middle = series[before, n] + slope * (0.5 * (low + high) - days[before])
                    total += middle * (high - low)
                ended = days[t] >= until
                if ended:
                    break
            before = t
        out[n] = total if ended else np.nan
