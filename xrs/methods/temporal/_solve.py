"""Small symmetric systems inside kernels."""

from __future__ import annotations

import numpy as np
from numba import njit

from xrs.kernels.types import Float64

__all__ = ["factorise", "solve_factorised"]

#: A pivot below this share of its diagonal is rounding: the system is singular.
_SINGULAR = 1e-10


@njit(nogil=True, cache=True, error_model="numpy")
def factorise(a: Float64, size: int) -> bool:
    """Cholesky factor of the leading ``size`` rows of ``a`` into its lower triangle; False if it is singular."""
    for i in range(size):
        limit = _SINGULAR * a[i, i]
        for j in range(i + 1):
            total = a[i, j]
            for k in range(j):
                total -= a[i, k] * a[j, k]
            if i > j:
                a[i, j] = total / a[j, j]
            elif total > limit:
                a[i, i] = np.sqrt(total)
            else:
                return False
    return True


@njit(nogil=True, cache=True, error_model="numpy")
def solve_factorised(a: Float64, size: int, x: Float64) -> None:
    """Solve ``L Lᵀ x = b`` in place; ``x`` holds b."""
    for i in range(size):
        total = x[i]
        for k in range(i):
            total -= a[i, k] * x[k]
        x[i] = total / a[i, i]
    for i in range(size - 1, -1, -1):
        total = x[i]
        for k in range(i + 1, size):
            total -= a[k, i] * x[k]
        x[i] = total / a[i, i]
