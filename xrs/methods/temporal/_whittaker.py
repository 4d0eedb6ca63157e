"""Penalised least squares for many series abreast: one loop over the nodes, lanes of pixels inside.

Every buffer is (node, lane) float64, so that each step of the recursions is a vector operation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xrs.kernels.types import Float32, Float64
from xrs.methods.temporal._series import LANES

__all__ = ["GCV", "GIVEN", "GO_ON", "HOLD", "STOP", "VCURVE", "Choice", "Penalty", "smooth"]

GIVEN, VCURVE, GCV = 0, 1, 2
GO_ON, HOLD, STOP = 0, 1, 2
_ENVELOPE_PASSES = 10
_TINY = 1e-300
_BISECTIONS = 32


class Penalty(NamedTuple):
    """``DᵀD``: the rows of D (m - order, order + 1), and the bands of the product.

    ``upper`` and ``outer``, the first and second superdiagonal, begin with two zeros.
    """

    rows: Float64
    diagonal: Float64
    upper: Float64
    outer: Float64


class Choice(NamedTuple):
    """The rule, and the λ to choose from: only one if it is given."""

    rule: int
    grid: Float64


class _Solution(NamedTuple):
    """The factors and the curve of each lane (m + 4, lane), two rows of zeros at both ends; its λ (lane,).

    ``pivot`` holds the inverse pivots, ``lower`` the first subdiagonal of L; the second is ``outer * pivot``.
    """

    pivot: Float64
    lower: Float64
    curve: Float64
    lam: Float64


@njit(nogil=True, cache=True, error_model="numpy")
def smooth(
    series: Float32,
    weights: Float32 | None,
    at: NDArray[np.int64],
    to: NDArray[np.int64],
    penalty: Penalty,
    choice: Choice,
    robust: int,
    envelope: float,
    ends: int,
    out: Float32,
) -> None:
    """Fill ``out`` (t, n) with the smoothed series; ``at`` and ``to`` are the nodes of its dates and of ``out``'s."""
    nodes, need = penalty.diagonal.size, penalty.rows.shape[1]
    y, w, reweighted, trust = _buffer(nodes), _buffer(nodes), _buffer(nodes), _buffer(nodes)
    fit = _Solution(_buffer(nodes + 4), _buffer(nodes + 4), _buffer(nodes + 4), np.empty(LANES))
    passes = max(robust, _ENVELOPE_PASSES if envelope != 0.5 else 0)
    count = np.empty(LANES, np.int64)
    for start in range(0, series.shape[1], LANES):
        _load(series, weights, at, start, y, w, count)
        _make_determined(w, count, need)
        _fit(w, y, penalty, choice, fit)
        trust[:] = 1.0
        for k in range(passes):
            if k < robust:
                _bisquare(w, y, fit.curve, trust)
            _reweight(w, y, fit.curve, trust, envelope, reweighted)
            _fit(reweighted, y, penalty, choice, fit)
        if ends != GO_ON:
            _end(w, fit.curve, ends)
        _store(fit.curve, to, start, count, need, out)


@njit(nogil=True, cache=True)
def _buffer(rows: int) -> Float64:
    return np.zeros((rows, LANES))


@njit(nogil=True, cache=True, error_model="numpy")
def _load(
    series: Float32,
    weights: Float32 | None,
    at: NDArray[np.int64],
    start: int,
    y: Float64,
    w: Float64,
    count: NDArray[np.int64],
) -> None:
    """Bring the lanes' observations onto the nodes; what was not seen has weight and value zero."""
    lanes = min(LANES, series.shape[1] - start)
    if lanes < LANES or at.size < y.shape[0]:
        y[:] = 0.0
        w[:] = 0.0
    count[:] = 0
    for k in range(at.size):
        to_y, to_w = y[at[k]], w[at[k]]
        values = series[k, start : start + lanes]
        given = values if weights is None else weights[k, start : start + lanes]
        for j in range(lanes):
            v = values[j]
            g = np.float32(1.0) if weights is None else given[j]
            seen = (abs(v) < np.inf) & (g > 0.0)
            to_y[j] = v if seen else 0.0
            to_w[j] = g if seen else 0.0
            count[j] += 1 if seen else 0


@njit(nogil=True, cache=True)
def _make_determined(w: Float64, count: NDArray[np.int64], need: int) -> None:
    """Give lanes without enough observations unit weights, so that their arithmetic stays finite."""
    for j in range(LANES):
        if count[j] < need:
            w[:, j] = 1.0


@njit(nogil=True, cache=True)
def _end(w: Float64, z: Float64, ends: int) -> None:
    """Hold the curve's value outside the first and last observation of each lane, or make it NaN there."""
    for j in range(LANES):
        seen = np.flatnonzero(w[:, j])
        first, last = seen[0] + 2, seen[-1] + 2
        z[2:first, j] = z[first, j] if ends == HOLD else np.nan
        z[last + 1 : -2, j] = z[last, j] if ends == HOLD else np.nan


@njit(nogil=True, cache=True)
def _store(z: Float64, to: NDArray[np.int64], start: int, count: NDArray[np.int64], need: int, out: Float32) -> None:
    lanes = min(LANES, out.shape[1] - start)
    for k in range(to.size):
        curve, row = z[to[k] + 2], out[k, start : start + lanes]
        for j in range(lanes):
            row[j] = np.float32(curve[j]) if count[j] >= need else np.float32(np.nan)


@njit(nogil=True, cache=True, error_model="numpy")
def _fit(w: Float64, y: Float64, penalty: Penalty, choice: Choice, fit: _Solution) -> None:
    """Fit with the λ given, or with the one each lane's rule prefers."""
    if choice.rule == GIVEN:
        fit.lam[:] = choice.grid[0]
    elif choice.rule == VCURVE:
        _choose_vcurve(w, y, penalty, choice.grid, fit)
    else:
        _choose_gcv(w, y, penalty, choice.grid, fit)
    _solve(w, y, penalty, fit)


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz"})
def _solve(w: Float64, y: Float64, penalty: Penalty, fit: _Solution) -> None:
    """Solve (W / λ + DᵀD) z = W y / λ by LDLᵀ of the pentadiagonal matrix."""
    diagonal, e, f = penalty.diagonal, penalty.upper, penalty.outer
    r, c, z = fit.pivot, fit.lower, fit.curve
    inverse = 1.0 / fit.lam
    for i in range(w.shape[0]):
        e0, e1, f1, f2, p = e[i + 2], e[i + 1], f[i + 1], f[i], diagonal[i]
        for j in range(LANES):
            g = w[i, j] * inverse[j]
            u1 = e1 - c[i, j] * f2
            pivot = 1.0 / (g + p - c[i + 1, j] * u1 - f2 * f2 * r[i, j])
            c[i + 2, j] = (e0 - c[i + 1, j] * f1) * pivot
            z[i + 2, j] = (g * y[i, j] - u1 * z[i + 1, j] - f2 * z[i, j]) * pivot
            r[i + 2, j] = pivot
    for i in range(w.shape[0] + 1, 1, -1):
        f0 = f[i]
        for j in range(LANES):
            z[i, j] -= c[i, j] * z[i + 1, j] + f0 * r[i, j] * z[i + 2, j]


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz"})
def _residual(w: Float64, y: Float64, z: Float64, out: Float64) -> None:
    """Weighted sum of squared residuals of each lane."""
    out[:] = 0.0
    for i in range(w.shape[0]):
        for j in range(LANES):
            d = y[i, j] - z[i + 2, j]
            out[j] += w[i, j] * d * d


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz"})
def _roughness(rows: Float64, z: Float64, out: Float64) -> None:
    """Sum of squared differences of each lane, ``|D z|²``."""
    out[:] = 0.0
    for i in range(rows.shape[0]):
        a, b = rows[i, 0], rows[i, 1]
        d = rows[i, 2] if rows.shape[1] > 2 else 0.0
        for j in range(LANES):
            v = a * z[i + 2, j] + b * z[i + 3, j] + d * z[i + 4, j]
            out[j] += v * v


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz"})
def _trace(w: Float64, penalty: Penalty, fit: _Solution, out: Float64) -> None:
    """Trace of the hat matrix: the inverse's diagonal from its central band, from the last node up."""
    f, c, r = penalty.outer, fit.lower, fit.pivot
    near = np.zeros(LANES)  # inverse at (i + 1, i + 1)
    off = np.zeros(LANES)  # at (i + 1, i + 2)
    far = np.zeros(LANES)  # at (i + 2, i + 2)
    out[:] = 0.0
    for i in range(w.shape[0] - 1, -1, -1):
        f0 = f[i + 2]
        for j in range(LANES):
            l1, l2 = c[i + 2, j], f0 * r[i + 2, j]
            second = -l1 * off[j] - l2 * far[j]
            first = -l1 * near[j] - l2 * off[j]
            own = r[i + 2, j] - l1 * first - l2 * second
            far[j], off[j], near[j] = near[j], first, own
            out[j] += w[i, j] * own
    for j in range(LANES):
        out[j] /= fit.lam[j]


@njit(nogil=True, cache=True, error_model="numpy")
def _choose_gcv(w: Float64, y: Float64, penalty: Penalty, grid: Float64, fit: _Solution) -> None:
    """The λ of the grid with the least residual / (observations - trace)²."""
    count = np.zeros(LANES)
    for i in range(w.shape[0]):
        count += w[i] > 0.0
    best, chosen = np.full(LANES, np.inf), np.full(LANES, grid[0])
    residual, trace = np.empty(LANES), np.empty(LANES)
    for k in range(grid.size):
        fit.lam[:] = grid[k]
        _solve(w, y, penalty, fit)
        _residual(w, y, fit.curve, residual)
        _trace(w, penalty, fit, trace)
        _keep_best(residual / (count - trace) ** 2, grid[k], best, chosen)
    fit.lam[:] = chosen


@njit(nogil=True, cache=True, error_model="numpy")
def _choose_vcurve(w: Float64, y: Float64, penalty: Penalty, grid: Float64, fit: _Solution) -> None:
    """The λ midway on the shortest step of the curve (log residual, log roughness)."""
    best, chosen = np.full(LANES, np.inf), np.full(LANES, grid[0])
    misfit, rough = np.empty(LANES), np.empty(LANES)
    last_misfit, last_rough = np.empty(LANES), np.empty(LANES)
    for k in range(grid.size):
        fit.lam[:] = grid[k]
        _solve(w, y, penalty, fit)
        _residual(w, y, fit.curve, misfit)
        _roughness(penalty.rows, fit.curve, rough)
        misfit[:] = np.log(misfit + _TINY)
        rough[:] = np.log(rough + _TINY)
        if k > 0:
            step = np.log(grid[k] / grid[k - 1])
            length = np.hypot(misfit - last_misfit, rough - last_rough) / step
            _keep_best(length, np.sqrt(grid[k] * grid[k - 1]), best, chosen)
        last_misfit[:] = misfit
        last_rough[:] = rough
    fit.lam[:] = chosen


@njit(nogil=True, cache=True)
def _keep_best(score: Float64, lam: float, best: Float64, chosen: Float64) -> None:
    for j in range(LANES):
        if score[j] < best[j]:
            best[j] = score[j]
            chosen[j] = lam


@njit(nogil=True, cache=True, error_model="numpy")
def _bisquare(w: Float64, y: Float64, z: Float64, trust: Float64) -> None:
    """Bisquare weights of residuals in units of six times their median size."""
    for i in range(w.shape[0]):
        for j in range(LANES):
            size = abs(y[i, j] - z[i + 2, j])
            trust[i, j] = size if w[i, j] > 0.0 else np.inf
    scale = 6.0 * _lane_medians(trust)
    for i in range(w.shape[0]):
        for j in range(LANES):
            u = trust[i, j] / scale[j] if scale[j] > 0.0 else 0.0
            trust[i, j] = (1.0 - u * u) ** 2 if u < 1.0 else 0.0


@njit(nogil=True, cache=True)
def _lane_medians(sizes: Float64) -> Float64:
    """The (lower) median of the finite values of each lane, none below zero, by bisection: lanes stay abreast."""
    half, low, high = np.zeros(LANES), np.zeros(LANES), np.zeros(LANES)
    for i in range(sizes.shape[0]):
        for j in range(LANES):
            size = sizes[i, j]
            seen = size < np.inf
            half[j] += 0.5 if seen else 0.0
            high[j] = max(high[j], size if seen else 0.0)
    below = np.empty(LANES)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        below[:] = 0.0
        for i in range(sizes.shape[0]):
            for j in range(LANES):
                below[j] += 1.0 if sizes[i, j] <= middle[j] else 0.0
        for j in range(LANES):
            enough = below[j] >= half[j]
            high[j] = middle[j] if enough else high[j]
            low[j] = low[j] if enough else middle[j]
    return high


@njit(nogil=True, cache=True)
def _reweight(w: Float64, y: Float64, z: Float64, trust: Float64, envelope: float, out: Float64) -> None:
    """Weights times trust, and times ``2 p`` above the curve or ``2 (1 - p)`` below it."""
    for i in range(w.shape[0]):
        for j in range(LANES):
            side = envelope if y[i, j] > z[i + 2, j] else 1.0 - envelope
            out[i, j] = w[i, j] * trust[i, j] * 2.0 * side
