"""Count, mean, covariance and range of pixels, in float64, joined from parts in any order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["Moments", "merge_moments", "moments_of"]


@dataclass(frozen=True)
class Moments:
    """First and second moments of ``k`` features over the pixels seen so far.

    Attributes
    ----------
    count : float
        Number of pixels.
    mean : ndarray (k,)
    comoment : ndarray (k, k)
        Sum of products of deviations from the mean.
    low, high : ndarray (k,)
        Smallest and largest value.
    """

    count: float
    mean: NDArray[np.float64]
    comoment: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Covariance of the population (divided by the count); NaN without pixels."""
        return self.comoment / self.count if self.count else np.full_like(self.comoment, np.nan)

    @property
    def std(self) -> NDArray[np.float64]:
        """Standard deviation of the population."""
        return np.sqrt(np.diag(self.covariance))


def moments_of(features: NDArray[np.float32], valid: NDArray[np.bool_] | None = None) -> Moments:
    """Moments of features (k, y, x) over valid pixels (y, x) where all of them are finite."""
    k = features.shape[0]
    flat = np.ascontiguousarray(features).reshape(k, -1)
    usable = np.isfinite(flat).all(axis=0)
    if valid is not None:
        usable &= valid.reshape(-1)
    if not usable.all():
        flat = np.ascontiguousarray(flat[:, usable])
    if flat.shape[1] == 0:
        return Moments(0.0, np.zeros(k), np.zeros((k, k)), np.full(k, np.inf), np.full(k, -np.inf))
    # A shift near the mean keeps float64 sums of float32 squares free of cancellation.
    shift = flat[:, :: max(1, flat.shape[1] // 1024)].mean(axis=1, dtype=np.float64)
    total, products, low, high = _sums(flat, shift)
    count = float(flat.shape[1])
    offset = total / count
    return Moments(count, shift + offset, products - count * np.outer(offset, offset), low, high)


def merge_moments(one: Moments, other: Moments) -> Moments:
    """Moments of the union of two sets of pixels (Chan, Golub and LeVeque, 10.1080/00031305.1983.10483115)."""
    if one.count == 0:
        return other
    if other.count == 0:
        return one
    count = one.count + other.count
    gap = other.mean - one.mean
    return Moments(
        count,
        one.mean + gap * (other.count / count),
        one.comoment + other.comoment + np.outer(gap, gap) * (one.count * other.count / count),
        np.minimum(one.low, other.low),
        np.maximum(one.high, other.high),
    )


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nnan", "nsz"}, error_model="numpy")
def _sums(flat, shift):  # type: ignore[no-untyped-def]
    k, n = flat.shape
    total = np.zeros(k)
    products = np.zeros((k, k))
    low = np.full(k, np.inf)
    high = np.full(k, -np.inf)
    block = 1024
    centred = np.empty((k, block))
    for start in range(0, n, block):
        m = min(block, n - start)
        for i in range(k):
            s = 0.0
            lo = np.float32(np.inf)
            hi = np.float32(-np.inf)
            for j in range(m):
                v = flat[i, start + j]
                lo = min(lo, v)
                hi = max(hi, v)
                d = v - shift[i]
                centred[i, j] = d
                s += d
            total[i] += s
            low[i] = min(low[i], lo)
            high[i] = max(high[i], hi)
        for i in range(k):
            for h in range(i + 1):
                s = 0.0
                for j in range(m):
                    s += centred[i, j] * centred[h, j]
                products[i, h] += s
    for i in range(k):
        for h in range(i):
            products[h, i] = products[i, h]
    return total, products, low, high
