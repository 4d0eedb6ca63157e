"""Losses that networks of spatio-temporal fusion were published with, on masked images (N, band, y, x)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

from xrs.learning.losses import Loss

__all__ = ["PAIR_LOSSES", "ms_ssim", "mse"]

#: Of the five scales, from fine to coarse (Wang et al. 2003).
_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW, _SIGMA = 11, 1.5
#: Squares of 1 and 3 % of the values' range, which is taken to be 1, the mean magnitude of what networks see.
_C1, _C2 = 1e-4, 9e-4


def mse(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean square error of the pixels in the mask."""
    return ((prediction - target).square() * mask).sum() / mask.sum().clamp(min=1)


def ms_ssim(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """One less the structural similarity over as many of five scales as the window of 11 pixels fits into.

    Outside of the mask the prediction counts as right.

    Wang, Simoncelli and Bovik 2003, Multiscale structural similarity, 10.1109/ACSSC.2003.1292216
    """
    one, other = torch.where(mask, prediction, target), target
    side = min(one.shape[2:])
    scales = [weight for n, weight in enumerate(_SCALES) if n == 0 or side // 2**n >= _WINDOW]
    product = one.new_ones(())
    for n, weight in enumerate(scales):
        luminance, structure = _similarities(one, other, min(_WINDOW, side))
        value = structure * luminance if n == len(scales) - 1 else structure
        product = product * value.mean(dim=(2, 3)).clamp(min=1e-4) ** (weight / sum(scales))
        one, other = avg_pool2d(one, 2), avg_pool2d(other, 2)
    return 1.0 - product.mean()


def _similarities(one: Tensor, other: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Similarity of the means, and of contrast and structure, in each window."""
    bands = one.shape[1]
    place = torch.arange(size, dtype=one.dtype, device=one.device) - (size - 1) / 2
    taps = torch.softmax(-(place**2) / (2 * _SIGMA**2), dim=0)
    window = torch.outer(taps, taps).expand(bands, 1, size, size)
    mean, mean_other, square, square_other, product = (
        conv2d(image, window, groups=bands) for image in (one, other, one * one, other * other, one * other)
    )
    variances = square - mean**2 + square_other - mean_other**2
    covariance = product - mean * mean_other
    luminance = (2 * mean * mean_other + _C1) / (mean**2 + mean_other**2 + _C1)
    return luminance, (2 * covariance + _C2) / (variances + _C2)


PAIR_LOSSES: Mapping[str, Loss] = {"mse": mse, "ms_ssim": ms_ssim}
