"""Halve images: the mean of what is known in each 2 by 2 block."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xrs.kernels.types import Float32

__all__ = ["halve"]


def halve(values: NDArray[Any]) -> NDArray[Any]:
    """Halve the last two dims, rounding sizes up.

    Parameters
    ----------
    values : ndarray (..., y, x)
        Floats are averaged without NaN (in float64; NaN only where all four pixels are); integers and
        booleans are classes or flags, of which the first pixel of a block stands for it.

    Returns
    -------
    ndarray (..., ceil(y / 2), ceil(x / 2))
        float32, or the type of the integers.

    Examples
    --------
    >>> halve(np.array([[1.0, 3.0, 5.0], [np.nan, 2.0, np.nan]]))
    array([[2., 5.]], dtype=float32)
    """
    if values.dtype.kind != "f":
        return np.ascontiguousarray(values[..., ::2, ::2])
    *lead, height, width = values.shape
    planes = np.ascontiguousarray(values, dtype=np.float32).reshape(-1, height, width)
    out = np.empty((len(planes), -(-height // 2), -(-width // 2)), np.float32)
    _halve(planes, out)
    return out.reshape(*lead, *out.shape[1:])


@njit(nogil=True, cache=True)
def _halve(planes: Float32, out: Float32) -> None:
    depth, height, width = planes.shape
    for p in range(depth):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                total, known = 0.0, 0
                for y in range(2 * i, min(2 * i + 2, height)):
                    for x in range(2 * j, min(2 * j + 2, width)):
                        value = planes[p, y, x]
                        if not np.isnan(value):
                            total += value
                            known += 1
                out[p, i, j] = total / known if known else np.nan
