"""The conditional mean of a Gaussian process for many series."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xrs.kernels.types import Float32, Float64
from xrs.methods.temporal._solve import factorise, solve_factorised

__all__ = ["predict"]


@njit(nogil=True, cache=True, error_model="numpy")
def predict(
    series: Float32,
    weights: Float32 | None,
    dates: NDArray[np.int64],
    targets: NDArray[np.int64],
    mean: Float64,
    covariance: Float64,
    target_mean: Float64,
    across: Float64,
    noise: float,
    least: int,
    out: Float32,
) -> None:
    """Fill the rows ``targets`` of ``out`` (t, n) from the rows ``dates`` of ``series``.

    ``mean`` and ``covariance`` are those of the dates, ``target_mean`` and ``across`` (target, date) those of the
    targets. A series with fewer than ``least`` values stays as it is.
    """
    seen, before = np.empty(dates.size, np.int64), np.empty(dates.size, np.int64)
    system, x = np.empty((dates.size, dates.size)), np.empty(dates.size)
    known = -1
    for j in range(series.shape[1]):
        count = _seen(series, weights, dates, j, seen)
        if count < least:
            continue
        # Neighbours mostly have the same clear dates, and then the same factors.
        if weights is not None or count != known or not (seen[:count] == before[:count]).all():
            _fill_system(covariance, weights, dates, j, seen, count, noise, system)
            known = count if factorise(system, count) else -1
            before[:count] = seen[:count]
        if known < 0:
            continue
        for a in range(count):
            x[a] = series[dates[seen[a]], j] - mean[seen[a]]
        solve_factorised(system, count, x)
        for i in range(targets.size):
            total = target_mean[i]
            for a in range(count):
                total += across[i, seen[a]] * x[a]
            out[targets[i], j] = total


@njit(nogil=True, cache=True)
def _seen(series: Float32, weights: Float32 | None, dates: NDArray[np.int64], j: int, seen: NDArray[np.int64]) -> int:
    count = 0
    for k in range(dates.size):
        clear = np.isfinite(series[dates[k], j])
        if clear and (weights is None or weights[dates[k], j] > 0.0):
            seen[count] = k
            count += 1
    return count


@njit(nogil=True, cache=True, error_model="numpy")
def _fill_system(
    covariance: Float64,
    weights: Float32 | None,
    dates: NDArray[np.int64],
    j: int,
    seen: NDArray[np.int64],
    count: int,
    noise: float,
    system: Float64,
) -> None:
    for a in range(count):
        for b in range(a + 1):
            system[a, b] = covariance[seen[a], seen[b]]
        system[a, a] += noise if weights is None else noise / weights[dates[seen[a]], j]
