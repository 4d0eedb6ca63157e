"""Local linear models: a coarse image as a linear function of fine ones, whose slopes change slowly over the scene.

In each window of coarse pixels the target is regressed on the guides as its sensor would see them. The slopes, averaged
over the windows that hold a pixel, then lead from the guides themselves to the target on their grid, after the guided
filter of He, Sun and Tang 2013 (10.1109/TPAMI.2012.213) and Fit-FC of Wang and Atkinson 2018
(10.1016/j.rse.2017.10.046).
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter

from xrs.kernels import decimate, reach_of, upsample
from xrs.kernels.resample import reach_of_kernel
from xrs.kernels.types import Bool, Float32, Float64

__all__ = ["local_fit", "reach_of_fit", "with_residual"]

_KERNEL = "lanczos"
#: Windows in which a smaller share was seen take their slopes from none.
_LEAST_SEEN = 0.05


def local_fit(
    guide: Float32, target: Float32, seen: Bool, taps: Float64, ratio: int, *, window: int, ridge: float
) -> Float32:
    """The target (band, y, x) on the grid of its guides (guide, y, x), ``ratio`` times finer.

    Parameters
    ----------
    guide, target : ndarray
        Without gaps.
    seen : ndarray of bool (y, x)
        Pixels of the target that count.
    taps : ndarray (band, tap)
        Point spread from the fine to the coarse grid of each band of the target.
    ratio : int
    window : int
        Side of a window in coarse pixels, odd.
    ridge : float
        Added to the guides' variances: that of their noise.
    """
    coarse = decimate(guide, taps.mean(axis=0), ratio).astype(np.float64)
    slopes, offset = _slopes(coarse, target.astype(np.float64), seen, window, ridge)
    count, bands = len(guide), len(target)
    fine = upsample(slopes.reshape(-1, *target.shape[1:]).astype(np.float32), ratio, "bilinear")
    fitted = upsample(offset.astype(np.float32), ratio, "bilinear")
    for g in range(count):
        fitted += fine[g * bands : (g + 1) * bands] * guide[g]
    return fitted


def with_residual(
    image: Float32, target: Float32, seen: Bool, taps: Float64, ratio: int, *, times: int, share: float = 1.0
) -> Float32:
    """An image (band, y, x) to which what the target shows beyond it was added, interpolated, some times over."""
    for _ in range(times):
        left = np.where(seen, target - decimate(image, taps, ratio), np.float32(0))
        image = image + np.float32(share) * upsample(left, ratio, _KERNEL)
    return image


def reach_of_fit(taps: Float64, ratio: int, window: int, times: int) -> int:
    """Fine pixels beyond its own on which a pixel of :func:`local_fit` and :func:`with_residual` depends."""
    spread = reach_of(taps, ratio) + 1
    return ratio * (window + spread + times * (spread + reach_of_kernel(_KERNEL)))


def _slopes(guide: Float64, target: Float64, seen: Bool, window: int, ridge: float) -> tuple[Float64, Float64]:
    """Slopes (guide, band, y, x) and offsets (band, y, x), averaged over the windows around each pixel."""
    weight = seen.astype(np.float64)
    share = _box(weight, window)
    enough = share > _LEAST_SEEN
    scale = np.where(enough, 1.0 / np.maximum(share, _LEAST_SEEN), 0.0)

    def mean(image: Float64) -> Float64:
        return _box(image * weight, window) * scale

    first, second = mean(guide), mean(target)
    count = len(guide)
    products = np.empty((*guide.shape[1:], count, count))
    for i in range(count):
        for j in range(i + 1):
            products[..., i, j] = products[..., j, i] = mean(guide[i] * guide[j]) - first[i] * first[j]
    products[..., range(count), range(count)] += ridge
    crossed = np.stack([mean(g * target) - f * second for g, f in zip(guide, first, strict=True)])
    slopes = np.moveaxis(np.linalg.solve(products, np.moveaxis(crossed, (0, 1), (2, 3))), (2, 3), (0, 1))
    offset = second - np.einsum("gbyx,gyx->byx", slopes, first)
    known = enough.astype(np.float64)
    total = np.maximum(_box(known, window), 1.0 / window**2)
    return _box(slopes * known, window) / total, _box(offset * known, window) / total


def _box(image: Float64, window: int) -> Float64:
    """Means over windows of the last two dims, edges mirrored."""
    found: Float64 = uniform_filter(image, (1,) * (image.ndim - 2) + (window, window), mode="reflect")
    return found
