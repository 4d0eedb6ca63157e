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
    weights : ndarray (f + 1,)
        Of the fine bands, then the constant.
    precision : ndarray (f, f)
        How firmly a window's weights are drawn to them, in units of the window's covariance.
    """

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
    seen = np.ones(band.shape, np.bool_) if valid is None else np.ascontiguousarray(valid)
    out = np.empty((guides.shape[0] + 1, *band.shape), np.float32)
    _fit(guides, np.ascontiguousarray(band), seen, prior.weights, prior.precision, radius, out)
    return out


def predict_locally(fine: Float32, weights: Float32, out: Float32) -> None:
    """Apply weights of coarse pixels (f + 1, y, x) to the fine pixels (f, y ratio, x ratio) in them."""
    _spread(fine, weights, fine.shape[1] // weights.shape[1], out)


@njit(nogil=True, cache=True, error_model="numpy")
def _fit(guides, band, valid, prior, precision, radius, out):  # type: ignore[no-untyped-def]
    n, height, width = guides.shape
    system = np.empty((n, n))
    target = np.empty(n)
    mean = np.empty(n + 1)
    gap = np.empty(n + 1)
    for i in range(height):
        for j in range(width):
            count = _window_sums(guides, band, valid, i, j, radius, system, target, mean, gap)
            if count == 0:
                for k in range(n + 1):
                    out[k, i, j] = prior[k]
                continue
            for k in range(n):
                for h in range(n):
                    system[k, h] += precision[k, h]
                    target[k] += precision[k, h] * prior[h]
            _solve(system, target)
            constant = mean[n]
            for k in range(n):
                out[k, i, j] = target[k]
                constant -= target[k] * mean[k]
            out[n, i, j] = constant


@njit(nogil=True, cache=True, error_model="numpy")
def _window_sums(guides, band, valid, i, j, radius, system, target, mean, gap):  # type: ignore[no-untyped-def]
    """Means, covariances of the guides and of them with the band; the number of pixels."""
    n, height, width = guides.shape
    system[:] = 0.0
    target[:] = 0.0
    mean[:] = 0.0
    count = 0
    for y in range(max(0, i - radius), min(height, i + radius + 1)):
        for x in range(max(0, j - radius), min(width, j + radius + 1)):
            if not valid[y, x]:
                continue
            count += 1
            # Differences from the middle pixel keep the squares free of cancellation.
            for k in range(n):
                gap[k] = guides[k, y, x] - guides[k, i, j]
            gap[n] = band[y, x] - band[i, j]
            for k in range(n):
                target[k] += gap[k] * gap[n]
                mean[k] += gap[k]
                for h in range(k + 1):
                    system[k, h] += gap[k] * gap[h]
            mean[n] += gap[n]
    if count == 0:
        return count
    for k in range(n + 1):
        mean[k] /= count
    for k in range(n):
        target[k] = target[k] / count - mean[k] * mean[n]
        for h in range(k + 1):
            system[k, h] = system[k, h] / count - mean[k] * mean[h]
            system[h, k] = system[k, h]
    for k in range(n):
        mean[k] += guides[k, i, j]
    mean[n] += band[i, j]
    return count


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
