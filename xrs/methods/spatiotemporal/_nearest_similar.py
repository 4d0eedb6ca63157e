"""The most similar pixels of a window, and means over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from xrs.kernels.types import Bool, Float32, Float64

__all__ = ["Search", "average_similar"]

#: What a pixel's value counts for at least where differences are divided by it: one digital number of 1e-4.
_LEAST = 1e-4


@dataclass(frozen=True)
class Search:
    """Which pixels of a window are similar to its centre, and what they count.

    Attributes
    ----------
    radius : int
        The window is ``2 radius + 1`` wide.
    number : int
        The most similar ones are kept; of equally similar ones the nearest.
    scale : float
        A distance d counts ``1 / (1 + d / scale)``.
    limits : ndarray (band,) or None
        Pixels that differ by more in any band are no candidates.
    relative : bool
        Whether differences are summed over bands as shares of the centre's value, and count ``1 / (1 + sum)``
        beside the distance; else it is their squares that are summed, and they count nothing.
    """

    radius: int
    number: int
    scale: float
    limits: Float64 | None = None
    relative: bool = False


def average_similar(guide: Float32, seen: Bool, values: Float32, usable: Bool, search: Search) -> Float32:
    """Weighted means of values over the pixels most similar to each pixel.

    The search is done once for all dates. Where a date lacks some of the pixels found, the others share its weight.

    Parameters
    ----------
    guide : ndarray (band, y, x)
        What similarity is measured on; with a margin of ``search.radius`` pixels.
    seen : ndarray of bool (y, x)
        Pixels that may be found.
    values : ndarray (date, band, y, x)
    usable : ndarray of bool (date, y, x)
        Where they are known.
    search : Search

    Returns
    -------
    ndarray, float32, (date, band, y, x)
        Without the margin; NaN where the centre was not seen or no usable pixel is similar to it.
    """
    bands, height, width = guide.shape
    radius = search.radius
    limits = np.full(bands, np.inf) if search.limits is None else search.limits
    offsets = np.arange(-radius, radius + 1)
    squares = (offsets[:, None] ** 2 + offsets**2).ravel()
    out = np.empty((*values.shape[:2], height - 2 * radius, width - 2 * radius), np.float32)
    closed = np.where(seen, np.float32(0.0), np.float32(np.inf))
    _average(
        guide, closed, values, usable, radius, search.number, search.scale, limits.astype(np.float32),
        search.relative, squares, out,
    )  # fmt: skip
    return out


@njit(nogil=True, cache=True, error_model="numpy")
def _average(guide, closed, values, usable, radius, number, scale, limits, relative, squares, out):  # type: ignore[no-untyped-def]
    side = 2 * radius + 1
    unlike = np.empty(side * side, np.float32)
    least, place = np.empty(number, np.float32), np.empty(number, np.int64)
    weight = np.empty(number)
    for i in range(out.shape[2]):
        for j in range(out.shape[3]):
            if closed[i + radius, j + radius] > 0.0:
                out[:, :, i, j] = np.nan
                continue
            _differences(guide, closed, i, j, radius, limits, relative, unlike)
            found = _nearest(unlike, squares, side, least, place)
            for n in range(found):
                weight[n] = 1.0 / (1.0 + np.sqrt(squares[place[n]]) / scale)
                if relative:
                    weight[n] /= 1.0 + least[n]
            _mean(values, usable, i, j, side, place[:found], weight, out)


@njit(nogil=True, cache=True, error_model="numpy")
def _differences(guide, closed, i, j, radius, limits, relative, unlike):  # type: ignore[no-untyped-def]
    """How unlike each pixel of the window is to its centre; infinite where it is no candidate."""
    side = 2 * radius + 1
    for y in range(side):
        row = unlike[y * side : (y + 1) * side]
        row[:] = closed[i + y, j : j + side]
        for b in range(guide.shape[0]):
            centre, limit = guide[b, i + radius, j + radius], limits[b]
            share = np.float32(1.0 / max(abs(centre), _LEAST))
            source = guide[b, i + y, j : j + side]
            for x in range(side):
                gap = abs(source[x] - centre)
                cost = gap * share if relative else gap * gap
                row[x] += cost if gap <= limit else np.float32(np.inf)


@njit(nogil=True, cache=True, error_model="numpy")
def _nearest(unlike, squares, side, least, place):  # type: ignore[no-untyped-def]
    """Sort the places of the least values into ``place``, these into ``least``; returns how many there are."""
    found = 0
    last = np.float32(np.inf)
    for step in range(side):
        # From the centre's row outwards: what is near is mostly similar, and what is found first need not be moved.
        y = side // 2 + (step + 1) // 2 * (1 if step % 2 else -1)
        for k in range(y * side, (y + 1) * side):
            value = unlike[k]
            if value > last or value == np.inf:
                continue
            if found == place.size:
                if value == last and squares[k] >= squares[place[found - 1]]:
                    continue
                n = found - 1
            else:
                n = found
                found += 1
            while n > 0 and (least[n - 1] > value or (least[n - 1] == value and squares[place[n - 1]] > squares[k])):
                least[n], place[n] = least[n - 1], place[n - 1]
                n -= 1
            least[n], place[n] = value, k
            if found == place.size:
                last = least[found - 1]
    return found


@njit(nogil=True, cache=True, error_model="numpy")
def _mean(values, usable, i, j, side, place, weight, out):  # type: ignore[no-untyped-def]
    for t in range(values.shape[0]):
        total = 0.0
        for n in range(place.size):
            if usable[t, i + place[n] // side, j + place[n] % side]:
                total += weight[n]
        for b in range(values.shape[1]):
            value = 0.0
            for n in range(place.size):
                y, x = i + place[n] // side, j + place[n] % side
                if usable[t, y, x]:
                    value += weight[n] * values[t, b, y, x]
            # Without any usable pixel this is 0 / 0.
            out[t, b, i, j] = value / total
