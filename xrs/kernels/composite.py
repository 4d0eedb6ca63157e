"""One image from several: means and medians of what was seen, or the one observation that stands for all."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xrs.kernels.types import Float32, Float64

__all__ = ["highest", "mean", "median", "medoid", "ndvi_score", "pick"]


@njit(nogil=True, cache=True, error_model="numpy")
def mean(series: Float32, weights: Float32) -> Float32:
    """Weighted means of the finite values.

    Parameters
    ----------
    series : ndarray, float32, (time, band, n)
    weights : ndarray, float32, (time, n)
        Above zero; any other leaves the observation out.

    Returns
    -------
    ndarray, float32, (band, n)
        NaN where nothing was seen.
    """
    dates, bands, n = series.shape
    total = np.zeros((bands, n))
    weight = np.zeros((bands, n))
    for t in range(dates):
        for b in range(bands):
            for j in range(n):
                value, w = np.float64(series[t, b, j]), np.float64(weights[t, j])
                if np.isfinite(value) and w > 0.0:
                    total[b, j] += w * value
                    weight[b, j] += w
    return (total / weight).astype(np.float32)


@njit(nogil=True, cache=True, error_model="numpy")
def median(series: Float32, weights: Float32) -> Float32:
    """Weighted medians of the finite values: half of the weight lies on either side.

    Where a value splits the weight evenly, the mean of it and the next: with equal weights, the ordinary median.
    Arguments and result are those of :func:`mean`.
    """
    dates, bands, n = series.shape
    out = np.empty((bands, n), np.float32)
    values = np.empty(dates)
    given = np.empty(dates)
    for b in range(bands):
        for j in range(n):
            seen = 0
            for t in range(dates):
                value, w = np.float64(series[t, b, j]), np.float64(weights[t, j])
                if np.isfinite(value) and w > 0.0:
                    _insert(values, given, seen, value, w)
                    seen += 1
            out[b, j] = _middle(values[:seen], given[:seen])
    return out


@njit(nogil=True, cache=True)
def _insert(values: Float64, weights: Float64, count: int, value: float, weight: float) -> None:
    """Insert into the first ``count`` values, which ascend: quicker than sorting the few dates of a period."""
    k = count
    while k > 0 and values[k - 1] > value:
        values[k], weights[k] = values[k - 1], weights[k - 1]
        k -= 1
    values[k], weights[k] = value, weight


@njit(nogil=True, cache=True)
def _middle(values: Float64, weights: Float64) -> float:
    """The weighted median of ascending values; NaN of none."""
    half = 0.5 * weights.sum()
    below = 0.0
    for k in range(values.size - 1):
        below += weights[k]
        if below > half:
            return float(values[k])
        if below == half:
            return float(0.5 * (values[k] + values[k + 1]))
    return float(values[-1]) if values.size else np.nan


@njit(nogil=True, cache=True)
def medoid(series: Float32, weights: Float32, order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which observation has the least sum of weighted distances to all others (Flood 2013, 10.3390/rs5126481).

    Parameters
    ----------
    series : ndarray, float32, (time, band, n)
    weights : ndarray, float32, (time, n)
        Above zero; any other leaves the observation out.
    order : ndarray, int64, (time,)
        Dates, those first that win ties.

    Returns
    -------
    ndarray, int64, (n,)
        Of those with all bands; -1 where there is none.
    """
    dates, bands, n = series.shape
    chosen = np.full(n, -1, np.int64)
    spectra = np.empty((dates, bands))
    which = np.empty(dates, np.int64)
    total = np.empty(dates)
    for j in range(n):
        seen = 0
        for t in order:
            if weights[t, j] > 0.0 and _complete(series, t, j):
                spectra[seen] = series[t, :, j]
                which[seen] = t
                seen += 1
        total[:seen] = 0.0
        for a in range(seen):
            for b in range(a + 1, seen):
                distance = np.sqrt(((spectra[a] - spectra[b]) ** 2).sum())
                total[a] += distance * weights[which[b], j]
                total[b] += distance * weights[which[a], j]
        if seen:
            chosen[j] = which[np.argmin(total[:seen])]
    return chosen


@njit(nogil=True, cache=True)
def highest(series: Float32, score: Float32, order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which observation with all bands has the highest score.

    Parameters
    ----------
    series : ndarray, float32, (time, band, n)
    score : ndarray, float32, (time, n)
        NaN leaves the observation out.
    order : ndarray, int64, (time,)
        Dates, those first that win ties.

    Returns
    -------
    ndarray, int64, (n,)
        -1 where there is none.
    """
    n = series.shape[2]
    chosen = np.full(n, -1, np.int64)
    for t in order:
        for j in range(n):
            best = chosen[j]
            if not np.isnan(score[t, j]) and _complete(series, t, j) and (best < 0 or score[t, j] > score[best, j]):
                chosen[j] = t
    return chosen


@njit(nogil=True, cache=True, error_model="numpy")
def ndvi_score(red: Float32, nir: Float32) -> Float32:
    """NDVI as a score: negative reflectance counts as zero, and where both are zero it comes last."""
    out = np.empty(red.shape, np.float32)
    for t in range(red.shape[0]):
        for j in range(red.shape[1]):
            r, n = max(red[t, j], np.float32(0.0)), max(nir[t, j], np.float32(0.0))
            out[t, j] = (n - r) / (n + r) if n + r > 0.0 else -np.inf
    return out


@njit(nogil=True, cache=True)
def pick(series: Float32, chosen: NDArray[np.int64]) -> Float32:
    """The spectra (band, n) of the chosen observations (n,); NaN where none is."""
    bands, n = series.shape[1:]
    out = np.full((bands, n), np.nan, np.float32)
    for b in range(bands):
        for j in range(n):
            if chosen[j] >= 0:
                out[b, j] = series[chosen[j], b, j]
    return out


@njit(nogil=True, cache=True)
def _complete(series: Float32, t: int, j: int) -> bool:
    complete = True
    for b in range(series.shape[1]):
        complete &= np.isfinite(series[t, b, j])
    return complete
