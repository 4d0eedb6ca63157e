"""What ESTARFM and its kin do to a tile.

What depends on the pairs alone (the search, the weights, the conversion coefficients) is done once for all dates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xrs.kernels.types import Bool, Float32, Float64
from xrs.methods.spatiotemporal._scene import Images, window_distance
from xrs.methods.spatiotemporal._similar import (
    UNDEFINED,
    VECTOR,
    candidates,
    conversions,
    most_similar,
    positions,
    shifts,
    weigh,
    weigh_shifted,
    weighted_mean,
)

__all__ = ["Rules", "predict"]

#: With so many similar pixels or fewer, the mean change of the whole window is taken.
_FEWEST = 5

#: Added to differences of window means before they are inverted.
_LEAST_CHANGE = 1e-10

#: Significance of the regression that gives a conversion coefficient.
_SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Rules:
    """How similar pixels are chosen and used.

    Attributes
    ----------
    thresholds : ndarray, float32, (pair, band)
        A similar pixel differs from the centre by less, in every pair and band.
    radius : int
        The window is ``2 radius + 1`` wide.
    number : int
        How many of the most similar pixels are kept; 0 keeps all.
    valid_range : tuple of float
        Predictions lie between.
    change : float
        Conversion coefficients are sought where the coarse images differ by this much; else they are 1.
    unbiased : bool
        Whether the fine images are shifted to the mean of the coarse ones, and not converted.
    """

    thresholds: Float32
    radius: int
    number: int
    valid_range: tuple[float, float]
    change: float
    unbiased: bool


def predict(images: Images, rules: Rules) -> Float32:
    """Predict all dates (target, band, y, x); NaN where no pair saw the centre, or nothing tells of the change.

    Each pixel is predicted from the pairs that saw it, in all bands.
    """
    radius = rules.radius
    core = (..., slice(radius, -radius), slice(radius, -radius))
    seen: Bool = np.asarray((images.fine_seen & images.coarse_seen).all(axis=1))
    target_seen: Bool = np.asarray(images.target_seen.all(axis=1))
    out = np.full((*images.target.shape[:2], *seen[core].shape[1:]), np.nan, np.float32)
    # Pixels seen in the same pairs go together.
    powers = 1 << np.arange(len(seen))
    member = np.asarray(np.tensordot(powers, seen[core], 1))
    for group in np.unique(member[member > 0]):
        chosen = np.flatnonzero(group & powers)
        _predict_group(images, chosen, seen, target_seen, np.asarray(member == group), rules, out)
    return out


def _predict_group(
    images: Images,
    chosen: NDArray[np.intp],
    seen: Bool,
    target_seen: Bool,
    centres: Bool,
    rules: Rules,
    out: Float32,
) -> None:
    """Predict the centres that were seen in the chosen pairs."""
    side = 2 * rules.radius + 1
    spare = -side % VECTOR
    fine, coarse, target = (_widened(a, spare) for a in (images.fine[chosen], images.coarse[chosen], images.target))
    closed = np.where(_widened(seen[chosen].all(axis=0), spare), np.float32(0.0), np.float32(np.inf))
    distance = (1.0 + window_distance(rules.radius) / rules.radius).astype(np.float32)
    _predict(
        _flat(fine), _flat(coarse), _flat(target), closed.ravel(), _flat(_widened(target_seen, spare)), centres,
        rules.thresholds[chosen], distance.ravel(), (1.0 - _likeness(fine, coarse)).ravel(), rules.number,
        rules.change, _least_determination(len(chosen), side * side), *rules.valid_range, rules.unbiased, out,
    )  # fmt: skip


def _flat(images: NDArray[Any]) -> NDArray[Any]:
    """Pixels in one row: a place in the window is then one number."""
    return images.reshape(*images.shape[:-2], -1)


def _widened(array: Any, spare: int) -> NDArray[Any]:
    """With more columns on the right, so that rows of windows are read in whole vectors."""
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, spare)])


def _likeness(fine: Float32, coarse: Float32) -> Float32:
    """How alike both sensors see each pixel (y, x): by correlation over bands and pairs, by difference in one band."""
    pairs, bands = fine.shape[:2]
    with np.errstate(invalid="ignore", divide="ignore"):
        if bands == 1:
            alike = 1.0 - np.abs((fine - coarse) / (fine + coarse)).mean(axis=(0, 1), dtype=np.float64)
        else:
            f, c = (a.reshape(pairs * bands, *a.shape[2:]).astype(np.float64) for a in (fine, coarse))
            f, c = f - f.mean(axis=0), c - c.mean(axis=0)
            alike = (f * c).sum(axis=0) / np.sqrt((f * f).sum(axis=0) * (c * c).sum(axis=0))
    return np.where(np.isfinite(alike), alike, UNDEFINED).astype(np.float32)


@lru_cache(maxsize=16)
def _least_determination(pairs: int, most: int) -> Float64:
    """The coefficient of determination from which on a regression over so many pixels of all pairs is significant."""
    from scipy.special import stdtrit

    freedom = np.maximum(pairs * np.arange(most + 1) - 2.0, 1.0)
    squared = stdtrit(freedom, 1.0 - _SIGNIFICANCE / 2.0) ** 2
    return np.asarray(squared / (squared + freedom))


@njit(nogil=True, cache=True, error_model="numpy")
def _predict(  # type: ignore[no-untyped-def]
    fine, coarse, target, closed, target_seen, centres, thresholds, distance, unlike, number, change, least_r2, low,
    high, unbiased, out,
):  # fmt: skip
    (pairs, bands, pixels), (height, width), targets = fine.shape, centres.shape, target.shape[0]
    side = round(np.sqrt(distance.size))
    columns = pixels // (height + side - 1)
    middle = (side // 2) * (columns + 1)
    cost, weight, kept = np.empty(distance.size), np.empty(distance.size), np.empty(distance.size)
    # Indices without a sign cannot count from the end, which need not be tested then.
    place, at = np.empty(distance.size, np.uint32), np.empty(distance.size, np.uint32)
    counts, steps = np.empty((targets, width)), np.empty((targets, bands, width, pairs))
    offsets = np.zeros((targets, bands, width, pairs))
    centre, shift = np.empty((bands, pairs), np.float32), np.zeros((bands, pairs))
    conversion, share = np.ones(bands), np.empty(pairs)
    for y in range(height):
        summed = False
        for x in range(width):
            if not centres[y, x]:
                continue
            if not summed:
                _window_means(
                    fine, coarse, target, closed, target_seen, y * columns, side, columns, unbiased, counts, steps,
                    offsets,
                )  # fmt: skip
                summed = True
            first = y * columns + x
            for k in range(pairs):
                for b in range(bands):
                    centre[b, k] = fine[k, b, first + middle]
            count = candidates(fine, closed, centre, thresholds, first, side, columns, cost, place)
            if 0 < number < count:
                count = most_similar(cost, place, count, number)
            positions(place, count, first, side, columns, at)
            here = at[:count]
            if count > _FEWEST and unbiased:
                shifts(fine, coarse, here, shift)
                weigh_shifted(fine, coarse, here, shift, distance, place, weight)
            elif count > _FEWEST:
                weigh(unlike, here, distance, place, weight)
                conversions(fine, coarse, here, change, least_r2[count], conversion)
            _put_out(
                fine, coarse, target, target_seen, centre, here, weight, kept, share, shift, conversion, low, high,
                counts[:, x], steps[:, :, x], offsets[:, :, x], out[:, :, y, x],
            )  # fmt: skip


@njit(nogil=True, cache=True, error_model="numpy")
def _put_out(  # type: ignore[no-untyped-def]
    fine, coarse, target, target_seen, centre, at, weight, kept, share, shift, conversion, low, high, counts, steps,
    offsets, out,
):  # fmt: skip
    """One pixel: all bands on all dates."""
    for t in range(out.shape[0]):
        seen = _keep_seen(target_seen[t], at, weight, kept)
        for b in range(out.shape[1]):
            _share(steps[t, b], share)
            if seen > _FEWEST:
                out[t, b] = _from_similar(
                    fine, coarse, target[t, b], b, centre[b], at, kept, share, shift[b], conversion[b], low, high
                )
            elif counts[t] > 0:
                out[t, b] = _from_window(centre[b], share, offsets[t, b], steps[t, b])


@njit(nogil=True, cache=True, error_model="numpy")
def _from_similar(  # type: ignore[no-untyped-def]
    fine, coarse, target, b, centre, at, weight, share, shift, conversion, low, high
):  # fmt: skip
    """One band on one date from the weighted change of similar pixels; their weighted mean where that is not valid."""
    now = weighted_mean(target, at, weight)
    value = 0.0
    for k in range(share.size):
        step = conversion * (now - weighted_mean(coarse[k, b], at, weight))
        value += share[k] * (centre[k] + shift[k] + step)
    if low < value < high:
        return value
    value = 0.0
    for k in range(share.size):
        value += share[k] * (weighted_mean(fine[k, b], at, weight) + shift[k])
    return value


@njit(nogil=True, cache=True, error_model="numpy")
def _from_window(centre, share, offset, step):  # type: ignore[no-untyped-def]
    """One band on one date from the mean change of the window."""
    value = 0.0
    for k in range(share.size):
        value += share[k] * (centre[k] + offset[k] + step[k])
    return value


@njit(nogil=True, cache=True, error_model="numpy")
def _share(step, share):  # type: ignore[no-untyped-def]
    """What each pair counts: the less the coarse window has changed since, the more."""
    total = 0.0
    for k in range(step.size):
        share[k] = 1.0 / (abs(step[k]) + _LEAST_CHANGE)
        total += share[k]
    for k in range(step.size):
        share[k] /= total


@njit(nogil=True, cache=True, error_model="numpy")
def _keep_seen(seen, at, weight, kept):  # type: ignore[no-untyped-def]
    """Weights of the pixels seen on a date, zero of the others; returns how many there are."""
    count = 0
    for n in range(at.size):
        kept[n] = weight[n] if seen[at[n]] else 0.0
        count += seen[at[n]]
    return count


@njit(nogil=True, cache=True, error_model="numpy")
def _window_means(  # type: ignore[no-untyped-def]
    fine, coarse, target, closed, target_seen, first, side, columns, unbiased, counts, steps, offsets
):  # fmt: skip
    """Of the windows of one row, over pixels seen on all dates: their number, and the mean change since each pair."""
    pairs, bands, _ = fine.shape
    span = slice(first, first + side * columns)
    for t in range(target.shape[0]):
        seen = target_seen[t, span]
        _row_counts(closed[span], seen, side, columns, counts[t])
        for k in range(pairs):
            for b in range(bands):
                before, after = coarse[k, b, span], target[t, b, span]
                _row_means(after, before, closed[span], seen, side, columns, counts[t], steps[t, b, :, k])
                if unbiased:
                    own = fine[k, b, span]
                    _row_means(before, own, closed[span], seen, side, columns, counts[t], offsets[t, b, :, k])


@njit(nogil=True, cache=True, error_model="numpy")
def _row_counts(closed, seen, side, columns, out):  # type: ignore[no-untyped-def]
    """Pixels that count in each window along a strip as high as they are."""
    total = np.zeros(columns)
    for i in range(side):
        for x in range(columns):
            total[x] += 1.0 if seen[i * columns + x] & (closed[i * columns + x] == 0.0) else 0.0
    for x in range(out.size):
        out[x] = total[x : x + side].sum()


@njit(nogil=True, cache=True, error_model="numpy")
def _row_means(image, other, closed, seen, side, columns, counts, out):  # type: ignore[no-untyped-def]
    """Mean differences of two images over those pixels."""
    # Summed anew for each row and window: running sums would depend on where the tile begins.
    total = np.zeros(columns)
    for i in range(side):
        for x in range(columns):
            n = i * columns + x
            known = seen[n] & (closed[n] == 0.0)
            total[x] += np.float64(image[n]) - np.float64(other[n]) if known else 0.0
    for x in range(out.size):
        out[x] = total[x : x + side].sum() / counts[x]
