"""Conjugate gradients, and the smoothing term of a quadratic gradient penalty."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit

from xrs.kernels.types import Float32, Float64

__all__ = ["add_smoothing", "conjugate_gradients", "forward_gradient"]


def conjugate_gradients(
    normal: Callable[[Float32], Float32],
    right: Float32,
    precondition: Callable[[Float32], Float32],
    tolerance: float,
    iterations: int,
) -> Float32:
    """Solve ``normal(z) = right`` for a symmetric positive definite operator, from zero.

    Parameters
    ----------
    normal, precondition : callable
        The operator and an approximate inverse.
    right : ndarray
    tolerance : float
        Stops when the residual's norm is below this share of that of ``right``.
    iterations : int
        Stops after so many at the latest.
    """
    z = np.zeros_like(right)
    residual = right.copy()
    goal = tolerance * _norm(right)
    step = precondition(residual)
    energy = _dot(residual, step)
    for _ in range(iterations):
        if _norm(residual) <= goal:
            break
        image = normal(step)
        length = np.float32(energy / _dot(step, image))
        z += length * step
        residual -= length * image
        better = precondition(residual)
        energy, before = _dot(residual, better), energy
        step = better + np.float32(energy / before) * step
    return z


def forward_gradient(image: Float32) -> Float32:
    """Magnitude of forward differences of bands (band, y, x); zero across the last row and column."""
    down = np.diff(image, axis=1, append=image[:, -1:])
    right = np.diff(image, axis=2, append=image[:, :, -1:])
    return np.asarray(np.hypot(down, right), np.float32)


def add_smoothing(image: Float32, weights: Float32, strength: Float64, out: Float32) -> None:
    """Add the gradient of ``sum_k strength[k] / 2 sum weights (forward differences of image[k])²``, in place.

    Parameters
    ----------
    image, out : ndarray (k, y, x)
    weights : ndarray (y, x)
    strength : ndarray (k,)
    """
    for k, factor in enumerate(strength.astype(np.float32)):
        _smooth(image[k], weights, factor, out[k])


def _dot(one: Float32, other: Float32) -> float:
    return float(np.vdot(one, other))


def _norm(array: Float32) -> float:
    return float(np.sqrt(_dot(array, array)))


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def _smooth(image, weights, factor, out):  # type: ignore[no-untyped-def]
    height, width = image.shape
    for y in range(height):
        for x in range(width - 1):
            flow = factor * weights[y, x] * (image[y, x + 1] - image[y, x])
            out[y, x] -= flow
            out[y, x + 1] += flow
        if y + 1 < height:
            for x in range(width):
                flow = factor * weights[y, x] * (image[y + 1, x] - image[y, x])
                out[y, x] -= flow
                out[y + 1, x] += flow
