"""Move images between nested grids: decimate with a point spread, its adjoint, interpolate.

All images are float32 (band, y, x) and free of NaN; edges mirror (half-sample symmetric), which
maps blocks of fine pixels onto blocks. Arithmetic is float32 with float64 taps folded to float32.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xrs.kernels.types import Float32

__all__ = [
    "blend_rows",
    "cubic",
    "decimate",
    "decimate_adjoint",
    "lanczos",
    "phase_weights",
    "reach_of_kernel",
    "upsample",
    "widen_row",
]


def decimate(fine: Float32, taps: NDArray[np.float64], ratio: int) -> Float32:
    """Blur with separable taps and keep one value for each block of ``ratio`` by ``ratio`` pixels.

    Parameters
    ----------
    fine : ndarray (band, y, x)
        Sides are multiples of ``ratio``.
    taps : ndarray (tap,) or (band, tap)
        Symmetric; as many as has the ratio's parity (see :mod:`xrs.kernels.psf`).
    ratio : int
        Fine pixels along the side of a coarse pixel.

    Returns
    -------
    ndarray (band, y / ratio, x / ratio)
    """
    bands, height, width = fine.shape
    weights = _per_band(taps, bands)
    out = np.empty((bands, height // ratio, width // ratio), np.float32)
    for b in range(bands):
        _decimate_band(fine[b], weights[b], ratio, out[b])
    return out


def decimate_adjoint(coarse: Float32, taps: NDArray[np.float64], ratio: int) -> Float32:
    """The transpose of :func:`decimate`: ``<decimate(u), v> == <u, decimate_adjoint(v)>``."""
    bands, height, width = coarse.shape
    weights = _per_band(taps, bands)
    out = np.zeros((bands, height * ratio, width * ratio), np.float32)
    for b in range(bands):
        _adjoint_band(coarse[b], weights[b], ratio, out[b])
    return out


def upsample(coarse: Float32, ratio: int, kernel: str = "cubic") -> Float32:
    """Interpolate to the grid nested ``ratio`` times, centres aligned.

    Parameters
    ----------
    coarse : ndarray (band, y, x)
    ratio : int
    kernel : {"nearest", "bilinear", "cubic", "lanczos"}
        ``cubic`` is Keys' with a = -1/2 (10.1109/TASSP.1981.1163711), ``lanczos`` has three lobes.
    """
    bands, height, width = coarse.shape
    weights, first = phase_weights(ratio, kernel)
    out = np.empty((bands, height * ratio, width * ratio), np.float32)
    for b in range(bands):
        _upsample_band(coarse[b], weights, first, ratio, out[b])
    return out


def reach_of_kernel(kernel: str) -> int:
    """How many coarse pixels beyond its own an interpolated pixel depends on."""
    return _KERNELS[kernel][0]


@lru_cache(maxsize=64)
def phase_weights(ratio: int, kernel: str) -> tuple[Float32, NDArray[np.int64]]:
    """Polyphase weights (phase, tap) and the offset of each phase's first tap, in coarse pixels."""
    support, shape = _KERNELS[kernel]
    weights = np.empty((ratio, 2 * support if support else 1))
    first = np.empty(ratio, np.int64)
    for phase in range(ratio):
        centre = (phase + 0.5) / ratio - 0.5
        start = int(np.floor(centre)) - support + 1 if support else 0
        row = shape(centre - (start + np.arange(weights.shape[1], dtype=np.float64)))
        weights[phase], first[phase] = row / row.sum(), start
    return weights.astype(np.float32), first


def _nearest(_: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.ones(1)


def _bilinear(t: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(1.0 - np.abs(t), 0.0)


def cubic(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution with a = -1/2 at distances ``t`` in pixels."""
    t = np.abs(t)
    near = 1.5 * t**3 - 2.5 * t**2 + 1.0
    far = -0.5 * t**3 + 2.5 * t**2 - 4.0 * t + 2.0
    return np.where(t <= 1, near, np.where(t < 2, far, 0.0))


def lanczos(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """The Lanczos kernel of three lobes at distances ``t`` in pixels."""
    return np.where(np.abs(t) < 3, np.sinc(t) * np.sinc(t / 3), 0.0)


_KERNELS = {"nearest": (0, _nearest), "bilinear": (1, _bilinear), "cubic": (2, cubic), "lanczos": (3, lanczos)}


def _per_band(taps: NDArray[np.float64], bands: int) -> Float32:
    taps = np.atleast_2d(taps)
    return np.ascontiguousarray(np.broadcast_to(taps, (bands, taps.shape[1])), dtype=np.float32)


@njit(nogil=True, cache=True, inline="always")
def _mirror(index: int, size: int) -> int:
    """Half-sample symmetric reflection, however far outside."""
    period = 2 * size
    index = index % period
    return index if index < size else period - 1 - index


@njit(nogil=True, cache=True, fastmath=True, error_model="numpy")
def _decimate_band(fine, taps, ratio, out):  # type: ignore[no-untyped-def]
    height, width = fine.shape
    n = taps.size
    start = -((n - ratio) // 2)
    left = -start if start < 0 else 0
    row = np.empty(width, np.float32)
    padded = np.empty(width + n, np.float32)
    for i in range(out.shape[0]):
        row[:] = 0.0
        top = i * ratio + start
        whole = n - n % 4
        for t in range(0, whole, 4):
            w0, w1, w2, w3 = taps[t], taps[t + 1], taps[t + 2], taps[t + 3]
            r0, r1 = fine[_mirror(top + t, height)], fine[_mirror(top + t + 1, height)]
            r2, r3 = fine[_mirror(top + t + 2, height)], fine[_mirror(top + t + 3, height)]
            for x in range(width):
                row[x] += w0 * r0[x] + w1 * r1[x] + (w2 * r2[x] + w3 * r3[x])
        for t in range(whole, n):
            _add_scaled(fine[_mirror(top + t, height)], taps[t], row)
        _mirror_row(row, left, padded)
        target = out[i]
        target[:] = 0.0
        for t in range(n):
            first = start + left + t
            if ratio == 1:
                _add_scaled(padded[first : first + target.size], taps[t], target)
            else:
                _add_scaled(padded[first::ratio], taps[t], target)


@njit(nogil=True, cache=True, fastmath=True, error_model="numpy")
def _add_scaled(source, weight, target):  # type: ignore[no-untyped-def]
    for j in range(target.size):
        target[j] += weight * source[j]


@njit(nogil=True, cache=True, error_model="numpy")
def _mirror_row(row, margin, padded):  # type: ignore[no-untyped-def]
    """Copy a row to where its first pixel has index ``margin``, and reflect it into what is left at either end."""
    padded[margin : margin + row.size] = row
    for x in range(margin):
        padded[x] = row[_mirror(x - margin, row.size)]
    for x in range(margin + row.size, padded.size):
        padded[x] = row[_mirror(x - margin, row.size)]


@njit(nogil=True, cache=True, error_model="numpy")
def _fold(spread, margin, row):  # type: ignore[no-untyped-def]
    """Add the margins of a row to the pixels they mirror."""
    width = row.size
    for x in range(width):
        row[x] = spread[x + margin]
    for k in range(margin):
        row[_mirror(-1 - k, width)] += spread[margin - 1 - k]
        row[_mirror(width + k, width)] += spread[margin + width + k]


@njit(nogil=True, cache=True, fastmath=True, error_model="numpy")
def _adjoint_band(coarse, taps, ratio, out):  # type: ignore[no-untyped-def]
    height, width = out.shape
    n = taps.size
    start = -((n - ratio) // 2)
    # What each row spreads to, before what lies beyond the edges is folded back by the mirror.
    spread = np.empty(width - ratio + n, np.float32)
    row = np.empty(width, np.float32)
    for i in range(coarse.shape[0]):
        spread[:] = 0.0
        for t in range(n):
            w = taps[t]
            for j in range(coarse.shape[1]):
                spread[j * ratio + t] += w * coarse[i, j]
        _fold(spread, -start, row)
        for t in range(n):
            y = _mirror(i * ratio + start + t, height)
            w = taps[t]
            for x in range(width):
                out[y, x] += w * row[x]


@njit(nogil=True, cache=True, fastmath=True, error_model="numpy")
def _upsample_band(coarse, weights, first, ratio, out):  # type: ignore[no-untyped-def]
    height, width = coarse.shape
    n = weights.shape[1]
    # Along x first: those rows are the fewer, and the second step runs along contiguous rows.
    margin = n + 1
    rows = np.empty((height + 2 * margin, width * ratio), np.float32)
    padded = np.empty(width + 2 * margin, np.float32)
    phase = np.empty(width, np.float32)
    for i in range(height):
        _mirror_row(coarse[i], margin, padded)
        widen_row(padded, weights, first, ratio, margin, phase, rows[margin + i])
    for i in range(margin):
        rows[i] = rows[margin + _mirror(i - margin, height)]
        rows[margin + height + i] = rows[margin + _mirror(height + i, height)]
    for i in range(height):
        for p in range(ratio):
            blend_rows(rows, margin + i + first[p], weights[p], 0, width * ratio, out[i * ratio + p])


@njit(nogil=True, cache=True, fastmath=True, error_model="numpy")
def widen_row(padded, weights, first, ratio, margin, phase, out):  # type: ignore[no-untyped-def]
    """Interpolate one row, given with ``margin`` pixels at either end; ``phase`` is room for one pixel in ``ratio``."""
    n = weights.shape[1]
    width = phase.size
    for p in range(ratio):
        phase[:] = 0.0
        for t in range(n):
            w = weights[p, t]
            # A slice, since an index that might be negative would keep the loop from vectorising.
            start = margin + first[p] + t
            source = padded[start : start + width]
            for j in range(width):
                phase[j] += w * source[j]
        target = out[p::ratio]
        for j in range(width):
            target[j] = phase[j]


@njit(nogil=True, cache=True, fastmath=True, error_model="numpy")
def blend_rows(rows, top, weights, left, right, out):  # type: ignore[no-untyped-def]
    """Weighted sum of the rows from ``top`` on, columns ``left`` to ``right``, into the beginning of ``out``."""
    width = right - left
    done = 0
    if weights.size < 4:
        out[:width] = 0.0
    else:
        # Four rows at once: a quarter of the traffic to and from the sum.
        w0, w1, w2, w3 = weights[0], weights[1], weights[2], weights[3]
        r0, r1 = rows[top, left:right], rows[top + 1, left:right]
        r2, r3 = rows[top + 2, left:right], rows[top + 3, left:right]
        for x in range(width):
            out[x] = w0 * r0[x] + w1 * r1[x] + (w2 * r2[x] + w3 * r3[x])
        done = 4
    for t in range(done, weights.size):
        _add_scaled(rows[top + t, left:right], weights[t], out[:width])
