"""Weighted sums of bands. A kernel of our own: BLAS would start threads of its own inside Dask's."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xrs.kernels.types import Float32

__all__ = ["combine"]

_COLUMNS = 2048  # so many pixels of every band fit the second cache


def combine(weights: NDArray[np.floating], bands: Float32) -> Float32:
    """Sums of bands (k, y, x) with weights (n, k), or (n, k + 1) where the last is a constant: (n, y, x)."""
    count = bands.shape[0]
    matrix = np.zeros((weights.shape[0], count + 1), np.float32)
    matrix[:, : weights.shape[1]] = weights
    out = np.empty((weights.shape[0], bands[0].size), np.float32)
    _combine(matrix, np.ascontiguousarray(bands).reshape(count, -1), out)
    return out.reshape(-1, *bands.shape[1:])


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def _combine(matrix, bands, out):  # type: ignore[no-untyped-def]
    count, size = bands.shape
    for left in range(0, size, _COLUMNS):
        right = min(left + _COLUMNS, size)
        for n in range(out.shape[0]):
            row = out[n, left:right]
            row[:] = matrix[n, count]
            for k in range(count):
                w = matrix[n, k]
                if w != 0.0:
                    band = bands[k, left:right]
                    for x in range(row.size):
                        row[x] += w * band[x]
