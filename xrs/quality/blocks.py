"""Quality of blocks of pixels: the hypercomplex index Q2n and the quality index of pairs of bands.

Blocks are float64 (block, band, pixel); a block that holds a NaN gives NaN.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from xrs.kernels.types import Float64
from xrs.quality.windows import NO_VARIANCE

__all__ = ["BLOCK", "pairwise_uiqi", "q2n_of_blocks", "q2n_sums"]

#: Side of a block in pixels, in Q2n and QNR alike.
BLOCK = 32


def q2n_of_blocks(estimate: Float64, reference: Float64) -> Float64:
    """Q2n of each block, (block,): modulus of the hypercomplex correlation times its bias of means.

    Both are standardised by the reference's mean and standard deviation of each band and block, plus one.
    """
    bands, pixels = reference.shape[1:]
    padded = 1 << (bands - 1).bit_length()
    mean = reference.mean(axis=2, keepdims=True)
    std = reference.std(axis=2, ddof=1, keepdims=True)
    std[std == 0] = np.finfo(np.float64).eps
    deviation_r = (reference - mean) / std
    standard_e = (estimate - mean) / std + 1.0
    mean_e = standard_e.mean(axis=2)
    deviation_e = standard_e - mean_e[:, :, None]
    covariance = deviation_r @ deviation_e.transpose(0, 2, 1) / (pixels - 1)
    modulus = np.linalg.norm(_times_conjugate(covariance, padded), axis=1)
    spread = (np.square(deviation_r).sum(axis=(1, 2)) + np.square(deviation_e).sum(axis=(1, 2))) / (pixels - 1)
    # The reference's mean is one in each band, and so is that of the bands that fill up to a power of two.
    power_e = np.square(mean_e).sum(axis=1) + (padded - bands)
    bias = 2.0 * np.sqrt(padded * power_e) / (padded + power_e)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(spread == 0, bias, bias * 2.0 * modulus / spread)


def q2n_sums(estimate: Iterable[Float64], reference: Iterable[Float64]) -> Float64:
    """Sum of Q2n over rows of blocks without NaN, and the number of blocks, (2,)."""
    sums = np.zeros(2)
    for e, r in zip(estimate, reference, strict=True):
        values = q2n_of_blocks(e, r)
        sums += np.nansum(values), np.isfinite(values).sum()
    return sums


def pairwise_uiqi(bands: Float64) -> Float64:
    """Universal quality index of each pair of bands in each block, (block, band, band)."""
    mean = bands.mean(axis=2)
    deviation = bands - mean[:, :, None]
    covariance = deviation @ deviation.transpose(0, 2, 1) / bands.shape[2]
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    variances, squares = _pair_sums(variance), _pair_sums(mean**2)
    product = mean[:, :, None] * mean[:, None, :]
    with np.errstate(invalid="ignore", divide="ignore"):
        luminance = np.where(squares == 0, 1.0, 2.0 * product / squares)
        likeness = np.where(variances <= NO_VARIANCE * (variances + squares), 1.0, 2.0 * covariance / variances)
    # As in Wang's code, a pair with variance but without means counts as one.
    return np.where(squares == 0, 1.0, luminance * likeness)


def _pair_sums(values: Float64) -> Float64:
    return values[:, :, None] + values[:, None, :]


def _times_conjugate(covariance: Float64, padded: int) -> Float64:
    """Components of the hypercomplex product that a matrix (block, i, j) of component products makes up."""
    bands = covariance.shape[1]
    i, j = np.indices((bands, bands))
    signed = covariance * _signs(padded)[:bands, :bands]
    out = np.zeros((covariance.shape[0], padded))
    np.add.at(out.T, (i ^ j).ravel(), signed.reshape(len(signed), -1).T)
    return out


@cache
def _signs(size: int) -> NDArray[np.int8]:
    """Sign of unit i times the conjugate of unit j, which is unit i xor j (Cayley and Dickson's doubling)."""
    conjugate = np.where(np.arange(size) > 0, -1, 1).astype(np.int8)
    return _unit_signs(size) * conjugate[None, :]


def _unit_signs(size: int) -> NDArray[np.int8]:
    if size == 1:
        return np.ones((1, 1), np.int8)
    half = _unit_signs(size // 2)
    conjugate = np.where(np.arange(size // 2) > 0, -1, 1).astype(np.int8)
    # (a, b)(c, d) = (a c - d* b, d a + b c*)
    return np.block([[half, half.T], [half * conjugate[None, :], -half.T * conjugate[None, :]]])
