"""Fill what was not seen from its neighbourhood, so that linear filters need not know of gaps."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xrs.kernels.types import Float32

__all__ = ["fill_gaps"]


def fill_gaps(image: Float32, valid: NDArray[np.bool_], reach: int) -> Float32:
    """Grow the valid area by ``reach`` pixels with means of its 3 by 3 neighbours; zero beyond.

    A filled pixel depends on valid pixels at most ``reach`` away, so tiles whose halo is that much
    wider agree on it.

    Parameters
    ----------
    image : ndarray, float32, (band, y, x)
    valid : ndarray of bool, (band, y, x)
    reach : int
    """
    out = np.where(valid, image, np.float32(0.0))
    for b in range(image.shape[0]):
        _grow(out[b], valid[b].copy(), reach)
    return out


@njit(nogil=True, cache=True, error_model="numpy")
def _grow(image, valid, reach):  # type: ignore[no-untyped-def]
    height, width = image.shape
    # The front: unseen pixels; each step fills those that touch a filled one.
    ys, xs = np.nonzero(~valid)
    for _ in range(reach):
        kept = 0
        filled = 0
        values = np.empty(ys.size, np.float32)
        at = np.empty(ys.size, np.int64)
        for n in range(ys.size):
            y, x = ys[n], xs[n]
            total = 0.0
            count = 0
            for i in range(max(0, y - 1), min(height, y + 2)):
                for j in range(max(0, x - 1), min(width, x + 2)):
                    if valid[i, j]:
                        total += image[i, j]
                        count += 1
            if count:
                values[filled] = total / count
                at[filled] = y * width + x
                filled += 1
            else:
                ys[kept], xs[kept] = y, x
                kept += 1
        if filled == 0:
            return
        for n in range(filled):
            y, x = at[n] // width, at[n] % width
            image[y, x] = values[n]
            valid[y, x] = True
        ys, xs = ys[:kept], xs[:kept]
