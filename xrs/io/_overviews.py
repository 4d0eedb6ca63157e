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


@njit(nogil=True, cache=True, error_model="numpy")
def _halve(planes: Float32, out: Float32) -> None:
    depth, height, width = planes.shape
    for p in range(depth):
        for i in range(out.shape[1]):
            upper = planes[p, 2 * i]
            # At an odd edge the last pixels count twice, which leaves the mean of those that are there.
            lower = planes[p, min(2 * i + 1, height - 1)]
            row = out[p, i]
            for j in range(width // 2):
                row[j] = _mean(upper[2 * j], upper[2 * j + 1], lower[2 * j], lower[2 * j + 1])
            if width % 2:
                row[width // 2] = _mean(upper[width - 1], upper[width - 1], lower[width - 1], lower[width - 1])


@njit(nogil=True, inline="always", error_model="numpy")
def _mean(a: float, b: float, c: float, d: float) -> float:
    """Mean of those that are not NaN, without branches, so that it vectorises; NaN (0 / 0) of none."""
    known = (
        np.float64(not np.isnan(a))
        + np.float64(not np.isnan(b))
        + np.float64(not np.isnan(c))
        + np.float64(not np.isnan(d))
    )
    total = _or_zero(a) + _or_zero(b) + _or_zero(c) + _or_zero(d)
    return total / known


@njit(nogil=True, inline="always")
def _or_zero(value: float) -> float:
    return 0.0 if np.isnan(value) else np.float64(value)
