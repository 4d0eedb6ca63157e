"""Sums over sliding windows of two images: structural similarity, quality index, gradients.

Images are float32 (band, y, x) with NaN where nothing was seen; a window that holds a NaN is left out,
because NaN runs through its sums. Arithmetic is float64.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from xrs.kernels.types import Float32, Float64

__all__ = [
    "GRADIENT_WINDOW",
    "NO_VARIANCE",
    "SSIM_WINDOW",
    "gradient_correlation",
    "gradient_sums",
    "mean_of_windows",
    "ssim_sums",
    "uiqi_sums",
]

SSIM_WINDOW = 11
GRADIENT_WINDOW = 3

_SSIM_SIGMA = 1.5
_SSIM_K1 = 0.01
_SSIM_K2 = 0.03

#: A variance this small against the squared mean is below what float32 resolves.
NO_VARIANCE = 1e-14


def ssim_sums(estimate: Float32, reference: Float32, data_range: float) -> Float64:
    """Sum of SSIM over 11 by 11 Gaussian windows inside the image, and their number, (2, band)."""
    offsets = np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2
    weights = np.exp(-0.5 * (offsets / _SSIM_SIGMA) ** 2)
    weights /= weights.sum()
    c1, c2 = (_SSIM_K1 * data_range) ** 2, (_SSIM_K2 * data_range) ** 2
    return _over_bands([_ssim_band(e, r, weights, c1, c2) for e, r in zip(estimate, reference, strict=True)])


def uiqi_sums(estimate: Float32, reference: Float32, window: int) -> Float64:
    """Sum of the universal quality index over uniform windows inside the image, and their number, (2, band)."""
    weights = np.full(window, 1.0 / window)
    return _over_bands([_uiqi_band(e, r, weights) for e, r in zip(estimate, reference, strict=True)])


def mean_of_windows(sums: Float64) -> Float64:
    """Mean of what was summed, first row by second; NaN of nothing."""
    with np.errstate(invalid="ignore"):
        return np.asarray(sums[0] / sums[1])


def gradient_sums(estimate: Float32, reference: Float32) -> Float64:
    """Sums over all bands of products of Sobel magnitudes: with itself, with itself, with each other, (3,)."""
    return np.sum([_gradient_band(e, r) for e, r in zip(estimate, reference, strict=True)], axis=0)


def gradient_correlation(sums: Float64) -> Float64:
    """Correlation without removal of means, (); NaN if either image has no gradients."""
    with np.errstate(invalid="ignore"):
        return np.asarray(sums[2] / np.sqrt(sums[0] * sums[1]))


def _over_bands(sums: list[tuple[float, float]]) -> Float64:
    return np.array(sums, dtype=np.float64).reshape(-1, 2).T.copy()


@njit(nogil=True, cache=True, error_model="numpy")
def _row_moments(
    estimate: Float32, reference: Float32, weights: Float64, y: int, columns: Float64, moments: Float64
) -> None:
    """Weighted means of e, r, e², r² and e r over the windows whose first row is ``y``, into (5, x)."""
    width = reference.shape[1]
    columns[:] = 0.0
    for t in range(weights.size):
        w = weights[t]
        for x in range(width):
            e, r = np.float64(estimate[y + t, x]), np.float64(reference[y + t, x])
            columns[0, x] += w * e
            columns[1, x] += w * r
            columns[2, x] += w * e * e
            columns[3, x] += w * r * r
            columns[4, x] += w * e * r
    moments[:] = 0.0
    for k in range(5):
        for t in range(weights.size):
            w = weights[t]
            for x in range(moments.shape[1]):
                moments[k, x] += w * columns[k, x + t]


@njit(nogil=True, cache=True, error_model="numpy")
def _ssim_band(estimate: Float32, reference: Float32, weights: Float64, c1: float, c2: float) -> tuple[float, float]:
    height, width = reference.shape
    n = weights.size
    columns, moments = np.empty((5, width)), np.empty((5, max(width - n + 1, 0)))
    total, count = 0.0, 0.0
    for y in range(height - n + 1):
        _row_moments(estimate, reference, weights, y, columns, moments)
        for x in range(moments.shape[1]):
            e, r = moments[0, x], moments[1, x]
            variances = moments[2, x] - e * e + moments[3, x] - r * r
            covariance = moments[4, x] - e * r
            value = (2.0 * e * r + c1) * (2.0 * covariance + c2) / ((e * e + r * r + c1) * (variances + c2))
            if not np.isnan(value):
                total += value
                count += 1.0
    return total, count


@njit(nogil=True, cache=True, error_model="numpy")
def _uiqi_band(estimate: Float32, reference: Float32, weights: Float64) -> tuple[float, float]:
    height, width = reference.shape
    n = weights.size
    columns, moments = np.empty((5, width)), np.empty((5, max(width - n + 1, 0)))
    total, count = 0.0, 0.0
    for y in range(height - n + 1):
        _row_moments(estimate, reference, weights, y, columns, moments)
        for x in range(moments.shape[1]):
            e, r = moments[0, x], moments[1, x]
            squares = e * e + r * r
            variances = moments[2, x] + moments[3, x] - squares
            value = 1.0
            if np.isnan(squares):
                continue
            if variances <= NO_VARIANCE * (moments[2, x] + moments[3, x]):
                if squares > 0.0:
                    value = 2.0 * e * r / squares
            elif squares > 0.0:
                value = 4.0 * (moments[4, x] - e * r) * e * r / (variances * squares)
            total += value
            count += 1.0
    return total, count


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _sobel(image: Float32, y: int, x: int) -> float:
    """Magnitude of the Sobel gradient of the 3 by 3 window that begins at (y, x)."""
    nw, n, ne = np.float64(image[y, x]), np.float64(image[y, x + 1]), np.float64(image[y, x + 2])
    w, e = np.float64(image[y + 1, x]), np.float64(image[y + 1, x + 2])
    sw, s, se = np.float64(image[y + 2, x]), np.float64(image[y + 2, x + 1]), np.float64(image[y + 2, x + 2])
    down = sw + 2.0 * s + se - nw - 2.0 * n - ne
    right = ne + 2.0 * e + se - nw - 2.0 * w - sw
    # A gap in the middle has no weight in the gradient, but leaves the window out all the same.
    return np.sqrt(down * down + right * right) + 0.0 * np.float64(image[y + 1, x + 1])


@njit(nogil=True, cache=True, error_model="numpy")
def _gradient_band(estimate: Float32, reference: Float32) -> Float64:
    height, width = reference.shape
    sums = np.zeros(3)
    for y in range(height - 2):
        for x in range(width - 2):
            e, r = _sobel(estimate, y, x), _sobel(reference, y, x)
            if not np.isnan(e + r):
                sums[0] += e * e
                sums[1] += r * r
                sums[2] += e * r
    return sums
