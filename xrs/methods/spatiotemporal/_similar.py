"""Similar pixels of a window in several pairs: which they are, what they weigh, how they convert the coarse change."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = [
    "UNDEFINED",
    "VECTOR",
    "candidates",
    "conversions",
    "most_similar",
    "positions",
    "shifts",
    "weigh",
    "weigh_shifted",
    "weighted_mean",
]

#: Added to distances before they are inverted.
_LEAST = 1e-7

#: What stands for a correlation, and for its difference from 1, that is not defined.
UNDEFINED = 0.5

#: Float32 values in the processor's longest vector: rows of a window are read to a whole number of them.
VECTOR = 16

#: Conversion coefficients are above 0 and at most this.
_MOST_CONVERSION = 5.0


@njit(nogil=True, cache=True, error_model="numpy")
def candidates(fine, closed, centre, thresholds, first, side, columns, cost, place):  # type: ignore[no-untyped-def]
    """List the pixels of a window that are near the centre in every pair and band; returns how many there are.

    Images (pair, band, pixel) have their pixels in one row, the window's first one at ``first``. ``cost`` gets the sum
    of differences in thresholds, ``place`` where in the window a pixel is. ``closed`` is infinite where one is not to
    be used.
    """
    pairs, bands, pixels = fine.shape
    score = np.empty(-(-side // VECTOR) * VECTOR, np.float32)
    count = np.uint64(0)
    for i in range(side):
        start = first + i * columns
        lanes = min(score.size, pixels - start)
        score[:lanes] = closed[start : start + lanes]
        for k in range(pairs):
            for b in range(bands):
                source = fine[k, b, start : start + lanes]
                value, threshold = centre[b, k], thresholds[k, b]
                share = np.float32(1.0) / (threshold + np.float32(1e-8))
                for j in range(lanes):
                    gap = abs(source[j] - value)
                    score[j] += gap * share if gap < threshold else np.float32(np.inf)
        for j in range(side):
            cost[count], place[count] = score[j], i * side + j
            count += np.uint64(score[j] < np.float32(np.inf))
    return np.int64(count)


@njit(nogil=True, cache=True, error_model="numpy")
def most_similar(cost, place, count, number):  # type: ignore[no-untyped-def]
    """Keep the cheapest candidates at the head of the lists, of equals the first; in the order of their cost."""
    for n in range(1, count):
        value, where = cost[n], place[n]
        if n >= number and value >= cost[number - 1]:
            continue
        k = min(n, number - 1)
        while k > 0 and cost[k - 1] > value:
            cost[k], place[k] = cost[k - 1], place[k - 1]
            k -= 1
        cost[k], place[k] = value, where
    return min(count, number)


@njit(nogil=True, cache=True, error_model="numpy")
def positions(place, count, first, side, columns, at):  # type: ignore[no-untyped-def]
    """Where in a flat image the listed pixels of the window are whose first pixel is ``first``."""
    for n in range(count):
        where = np.int64(place[n])
        at[n] = first + where // side * (columns - side) + where


@njit(nogil=True, cache=True, error_model="numpy")
def weigh(unlike, at, distance, place, weight):  # type: ignore[no-untyped-def]
    """Inverse of the product of unlikeness and distance, not normalised."""
    for n in range(at.size):
        weight[n] = 1.0 / (unlike[at[n]] * distance[place[n]] + _LEAST)


@njit(nogil=True, cache=True, error_model="numpy")
def weigh_shifted(fine, coarse, at, shift, distance, place, weight):  # type: ignore[no-untyped-def]
    """The same with the relative difference of the shifted fine images (pair, band, pixel) and the coarse ones."""
    bands, pairs = shift.shape
    for n in range(at.size):
        weight[n] = 0.0
    for k in range(pairs):
        for b in range(bands):
            for n in range(at.size):
                f, c = fine[k, b, at[n]] + shift[b, k], np.float64(coarse[k, b, at[n]])
                weight[n] += abs((f - c) / (f + c))
    for n in range(at.size):
        # A relative difference above 2 means a similarity below -1, which is none.
        unlike = weight[n] / (pairs * bands)
        unlike = unlike if unlike <= 2.0 else UNDEFINED
        weight[n] = 1.0 / (unlike * distance[place[n]] + _LEAST)


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")
def _mean(image, at):  # type: ignore[no-untyped-def]
    """Mean of a flat image over the listed pixels."""
    total = 0.0
    for n in range(at.size):
        total += image[at[n]]
    return total / at.size


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")
def weighted_mean(image, at, weight):  # type: ignore[no-untyped-def]
    """Weighted mean of a flat image over the listed pixels."""
    total, norm = 0.0, 0.0
    for n in range(at.size):
        total += np.float64(weight[n]) * image[at[n]]
        norm += weight[n]
    return total / norm


@njit(nogil=True, cache=True, error_model="numpy")
def conversions(fine, coarse, at, change, least_r2, conversion):  # type: ignore[no-untyped-def]
    """Slopes of the fine images (pair, band, pixel) on the coarse ones over the listed pixels of all pairs, by band.

    A slope is 1 where the coarse images differ by less than ``change``, where the regression is not significant, and
    where it would be negative or larger than 5.
    """
    for b in range(conversion.size):
        low, high, middle_f, middle_c = np.inf, -np.inf, 0.0, 0.0
        for k in range(fine.shape[0]):
            level = _mean(coarse[k, b], at)
            low, high = min(low, level), max(high, level)
            middle_c += level / fine.shape[0]
            middle_f += _mean(fine[k, b], at) / fine.shape[0]
        conversion[b] = 1.0
        if high - low < change or fine.shape[0] == 1:
            continue
        cc, cf, ff = 0.0, 0.0, 0.0
        for k in range(fine.shape[0]):
            more = _products(fine[k, b], coarse[k, b], at, middle_f, middle_c)
            cc, cf, ff = cc + more[0], cf + more[1], ff + more[2]
        if 0.0 < cf <= _MOST_CONVERSION * cc and cf * cf >= least_r2 * cc * ff:
            conversion[b] = cf / cc


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")
def _products(fine, coarse, at, middle_f, middle_c):  # type: ignore[no-untyped-def]
    cc, cf, ff = 0.0, 0.0, 0.0
    for n in range(at.size):
        f, c = fine[at[n]] - middle_f, coarse[at[n]] - middle_c
        cc += c * c
        cf += c * f
        ff += f * f
    return cc, cf, ff


@njit(nogil=True, cache=True, error_model="numpy")
def shifts(fine, coarse, at, shift):  # type: ignore[no-untyped-def]
    """What brings the mean of the fine images (pair, band, pixel) over the listed pixels to that of the coarse ones."""
    for k in range(fine.shape[0]):
        for b in range(fine.shape[1]):
            shift[b, k] = _mean(coarse[k, b], at) - _mean(fine[k, b], at)
