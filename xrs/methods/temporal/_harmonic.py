"""Harmonic regression of many series, with damping and the rejection of outliers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from xrs.kernels.types import Float32, Float64
from xrs.methods.temporal._solve import factorise, solve_factorised

__all__ = ["BOTH", "HIGH", "LOW", "Rejection", "fit_harmonics", "terms"]

LOW, HIGH, BOTH = -1, 1, 0


class Rejection(NamedTuple):
    """Outliers: farther than ``tolerance`` from the curve on ``side``; ``spare`` dates above the coefficients stay."""

    tolerance: float
    side: int
    spare: int


def terms(days: Float64, harmonics: int, period: float, trend: bool, middle: float) -> Float64:
    """Regressors (date, coefficient): one, years from ``middle`` if asked for, cosine and sine of each harmonic."""
    angle = 2.0 * np.pi * days / period
    waves = [wave(k * angle) for k in range(1, harmonics + 1) for wave in (np.cos, np.sin)]
    return np.stack([np.ones_like(days), *([(days - middle) / 365.25] if trend else []), *waves], axis=1)


@njit(nogil=True, cache=True, error_model="numpy")
def fit_harmonics(
    series: Float32, weights: Float32 | None, design: Float64, ridge: Float64, reject: Rejection, out: Float64
) -> None:
    """Fill ``out`` (coefficient + 2, n) with the coefficients, the root mean square residual and the dates used.

    NaN where there are fewer dates than coefficients, or they do not determine them.
    """
    dates, size = design.shape
    y, w, residual = np.empty(dates), np.empty(dates), np.empty(dates)
    system, x = np.empty((size, size)), np.empty(size)
    for j in range(series.shape[1]):
        count = _load(series, weights, j, y, w)
        out[:, j] = np.nan
        out[size + 1, j] = count
        least = size + reject.spare
        while count >= size and _solve(design, y, w, ridge, system, x):
            _residuals(design, y, x, residual)
            removed = _drop(residual, w, reject, count - least) if reject.tolerance < np.inf else 0
            if removed == 0:
                out[:size, j] = x
                out[size, j] = np.sqrt((w * residual**2).sum() / w.sum())
                out[size + 1, j] = count
                break
            count -= removed


@njit(nogil=True, cache=True)
def _load(series: Float32, weights: Float32 | None, j: int, y: Float64, w: Float64) -> int:
    count = 0
    for t in range(y.size):
        v = series[t, j]
        g = np.float32(1.0) if weights is None else weights[t, j]
        seen = np.isfinite(v) and g > 0.0
        y[t] = v if seen else 0.0
        w[t] = g if seen else 0.0
        count += 1 if seen else 0
    return count


@njit(nogil=True, cache=True, error_model="numpy")
def _solve(design: Float64, y: Float64, w: Float64, ridge: Float64, system: Float64, x: Float64) -> bool:
    size = x.size
    for a in range(size):
        x[a] = 0.0
        for b in range(a + 1):
            system[a, b] = ridge[a] if a == b else 0.0
    for t in range(y.size):
        if w[t] > 0.0:
            for a in range(size):
                part = w[t] * design[t, a]
                x[a] += part * y[t]
                for b in range(a + 1):
                    system[a, b] += part * design[t, b]
    if not factorise(system, size):
        return False
    solve_factorised(system, size, x)
    return True


@njit(nogil=True, cache=True)
def _residuals(design: Float64, y: Float64, x: Float64, out: Float64) -> None:
    for t in range(y.size):
        total = y[t]
        for a in range(x.size):
            total -= design[t, a] * x[a]
        out[t] = total


@njit(nogil=True, cache=True)
def _drop(residual: Float64, w: Float64, reject: Rejection, most: int) -> int:
    """Give weight zero to the dates with more than half of the largest error, worst first; returns how many."""
    error = np.abs(residual) if reject.side == BOTH else reject.side * residual
    error = np.where(w > 0.0, error, -np.inf)
    order = np.argsort(error)[::-1]
    largest = error[order[0]]
    removed = 0
    if largest > reject.tolerance:
        while removed < min(most, order.size) and error[order[removed]] > 0.5 * largest:
            w[order[removed]] = 0.0
            removed += 1
    return removed
