"""Least squares in a window around each coarse pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from xrs.kernels.types import Bool, Float32, Float64

__all__ = ["Prior", "local_weights", "predict_locally"]


@dataclass(frozen=True)
class Prior:
    """What the whole scene says of one band's regression.

    Attributes
    ----------
    mean : ndarray (f + 1,)
        Of the fine bands, then of the band: what sums of squares are taken about.
    weights : ndarray (f + 1,)
        Of the fine bands, then the constant.
    precision : ndarray (f, f)
        How firmly a window's weights are drawn to them, in units of the window's covariance.
    """

    mean: Float64
    weights: Float64
    precision: Float64


def local_weights(guides: Float32, band: Float32, valid: Bool | None, prior: Prior, radius: int) -> Float32:
    """Weights of the guides and a constant (f + 1, y, x), fitted in the window around each pixel.

    Parameters
    ----------
    guides : ndarray (f, y, x)
    band : ndarray (y, x)
    valid : ndarray of bool (y, x) or None
        Pixels that take part.
    prior : Prior
    radius : int
        The window is ``2 radius + 1`` wide, cut at the edges.
    """
    layers = np.concatenate([guides, band[None]])
    seen = np.ones(band.shape) if valid is None else valid.astype(np.float64)
    out = np.empty(layers.shape, np.float32)
    _fit(layers, seen, prior.mean, prior.weights, prior.precision, radius, out)
    return out


def predict_locally(fine: Float32, weights: Float32, out: Float32) -> None:
    """Apply weights of coarse pixels (f + 1, y, x) to the fine pixels (f, y ratio, x ratio) in them."""
    _spread(fine, weights, fine.shape[1] // weights.shape[1], out)


@njit(nogil=True, cache=True, error_model="numpy")
def _fit(layers, seen, shift, prior, precision, radius, out):  # type: ignore[no-untyped-def]
    height, width = seen.shape
    n = layers.shape[0] - 1
    # Products of any two layers, sums of each, and the count: first of columns, then of windows.
    planes = (n + 1) * (n + 2) // 2 + n + 2
    columns = np.empty((planes, width))
    windows = np.empty((planes, width))
    row = np.empty((n + 1, width))
    system = np.empty((n, n))
    target = np.empty(n)
    mean = np.empty(n + 1)
    for i in range(height):
        columns[:] = 0.0
        for y in range(max(0, i - radius), min(height, i + radius + 1)):
            _add_row(layers[:, y], seen[y], shift, row, columns)
        _sum_windows(columns, radius, windows)
        for j in range(width):
            if not _statistics(windows[:, j], system, target, mean):
                out[:, i, j] = prior
                continue
            for k in range(n):
                for h in range(n):
                    system[k, h] += precision[k, h]
                    target[k] += precision[k, h] * prior[h]
            _solve(system, target)
            constant = mean[n] + shift[n]
            for k in range(n):
                out[k, i, j] = target[k]
                constant -= target[k] * (mean[k] + shift[k])
            out[n, i, j] = constant


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def _add_row(layers, seen, shift, row, columns):  # type: ignore[no-untyped-def]
    count, width = layers.shape
    plane = 0
    for k in range(count):
        for x in range(width):
            row[k, x] = seen[x] * (layers[k, x] - shift[k])
    for k in range(count):
        for h in range(k + 1):
            for x in range(width):
                columns[plane, x] += row[k, x] * row[h, x]
            plane += 1
    for k in range(count):
        for x in range(width):
            columns[plane, x] += row[k, x]
        plane += 1
    for x in range(width):
        columns[plane, x] += seen[x]


@njit(nogil=True, cache=True, error_model="numpy")
def _sum_windows(columns, radius, windows):  # type: ignore[no-untyped-def]
    width = columns.shape[1]
    windows[:] = 0.0
    for plane in range(columns.shape[0]):
        for step in range(-radius, radius + 1):
            for x in range(max(0, -step), min(width, width - step)):
                windows[plane, x] += columns[plane, x + step]


@njit(nogil=True, cache=True, error_model="numpy")
def _statistics(sums, system, target, mean):  # type: ignore[no-untyped-def]
    """Means, and covariances of the guides and of them with the band; whether there is a pixel."""
    n = target.size
    pixels = sums[-1]
    if pixels == 0.0:
        return False
    first = (n + 1) * (n + 2) // 2
    for k in range(n + 1):
        mean[k] = sums[first + k] / pixels
    plane = 0
    for k in range(n):
        for h in range(k + 1):
            system[k, h] = sums[plane] / pixels - mean[k] * mean[h]
            system[h, k] = system[k, h]
            plane += 1
    for k in range(n):
        target[k] = sums[plane + k] / pixels - mean[k] * mean[n]
    return True


@njit(nogil=True, cache=True, error_model="numpy")
def _solve(system, target):  # type: ignore[no-untyped-def]
    """Solve a symmetric positive semidefinite system in place; directions without variance get zero."""
    n = target.size
    largest = 0.0
    for k in range(n):
        largest = max(largest, system[k, k])
    least = 1e-10 * largest
    for k in range(n):
        for h in range(k):
            system[k, k] -= system[k, h] ** 2
        usable = system[k, k] > least
        system[k, k] = np.sqrt(system[k, k]) if usable else 0.0
        for m in range(k + 1, n):
            for h in range(k):
                system[m, k] -= system[m, h] * system[k, h]
            system[m, k] = system[m, k] / system[k, k] if usable else 0.0
        for h in range(k):
            target[k] -= system[k, h] * target[h]
        target[k] = target[k] / system[k, k] if usable else 0.0
    for k in range(n - 1, -1, -1):
        for m in range(k + 1, n):
            target[k] -= system[m, k] * target[m]
        target[k] = target[k] / system[k, k] if system[k, k] > 0.0 else 0.0


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def _spread(fine, weights, ratio, out):  # type: ignore[no-untyped-def]
    n, height, width = fine.shape
    for y in range(height):
        i = y // ratio
        for j in range(width // ratio):
            for x in range(j * ratio, (j + 1) * ratio):
                value = weights[n, i, j]
                for k in range(n):
                    value += weights[k, i, j] * fine[k, y, x]
                out[y, x] = value
