"""Conformal risk control: scale a standard deviation so that its interval covers what it says it covers.

The pixels of a patch are anything but independent, so the patch is the unit: its loss is the share of its pixels
outside of the interval. With n patches of other places and R their mean loss, the smallest factor with

    n / (n + 1) R(factor) + 1 / (n + 1) <= 1 - level

keeps the expected loss of a further patch under 1 - level, whatever the errors are like, if that patch is
exchangeable with those (Angelopoulos, Bates, Fisch, Lei and Schuster 2022, Conformal risk control,
arXiv:2208.02814). For images: Angelopoulos et al. 2022, Image-to-image regression with distribution-free uncertainty
quantification, arXiv:2202.05265.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from xrs.errors import ParameterError
from xrs.kernels.types import Float32, Float64

__all__ = ["check_count", "conformal_factors", "covered_share", "quantile_of", "split_places"]


def quantile_of(level: float) -> float:
    """Standard deviations on either side of the mean that hold ``level`` of a normal distribution; 1.645 of 0.9.

    Examples
    --------
    >>> round(quantile_of(0.9), 3)
    1.645
    """
    return NormalDist().inv_cdf((1 + level) / 2)


def check_count(places: int, level: float) -> None:
    """Refuse fewer places than with which any interval could be said to cover ``level``.

    Raises
    ------
    ParameterError
    """
    least = math.ceil(1 / (1 - level) - 1 - 1e-9)
    if places < least:
        raise ParameterError(
            f"{places} places to calibrate an interval of {level:.0%} with",
            f"{least} or more in each half of the held-out places",
            "a larger scene or held_out=, more patches=, or a smaller patch_size=",
        )


def split_places(spots: NDArray[np.int64], seed: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Split patches into two halves that share no place.

    Parameters
    ----------
    spots : ndarray of int, (patch, 3)
        Date, row and column of each; the same row and column on other dates is the same place.
    seed : int

    Returns
    -------
    (ndarray of int, ndarray of bool), each (patch,)
        The number of each patch's place, from zero on, and whether the patch is of the first half; if places are
        odd in number, that has one more.
    """
    _, place = np.unique(spots[:, 1:], axis=0, return_inverse=True)
    count = int(place.max()) + 1
    shuffled = np.random.default_rng([seed, 2]).permutation(count)[place.reshape(-1)]
    return shuffled, shuffled < -(-count // 2)


def conformal_factors(
    error: Float32, std: Float32, mask: NDArray[np.bool_], places: NDArray[np.int64], level: float
) -> Float64:
    """The smallest factor of each band's standard deviation with which intervals cover ``level``.

    Parameters
    ----------
    error, std : ndarray (patch, band, y, x)
        Signed or absolute errors, and standard deviations above zero.
    mask : ndarray of bool (patch, band, y, x)
        The pixels that count.
    places : ndarray of int (patch,)
        Patches of one place, on several dates, are one unit.
    level : float
        Share to cover, above 0 and below 1.

    Returns
    -------
    ndarray, float64, (band,)

    Raises
    ------
    ParameterError
        If there are too few places for the level.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> shape = (200, 1, 16, 16)
    >>> error = rng.normal(0, 2, shape).astype("float32")
    >>> std, mask = np.ones(shape, "float32"), np.ones(shape, bool)
    >>> conformal_factors(error, std, mask, np.arange(200), 0.9).round(1)
    array([2.])
    """
    scores = np.abs(error.astype(np.float64)) / (quantile_of(level) * std)
    bands = range(error.shape[1])
    return np.array([_factor(scores[:, b], mask[:, b], places, level) for b in bands])


def covered_share(
    error: Float32, half_width: Float32, mask: NDArray[np.bool_], places: NDArray[np.int64]
) -> tuple[Float64, Float64]:
    """Share of pixels inside their interval and its mean width by band (band,), each place weighing the same."""
    inside, width = [], []
    for band in range(error.shape[1]):
        weights = _weights(mask[:, band], places)
        inside.append(float((weights * (np.abs(error[:, band]) <= half_width[:, band])).sum()))
        width.append(float((weights * 2.0 * half_width[:, band]).sum()))
    return np.array(inside), np.array(width)


def _factor(scores: Float64, mask: NDArray[np.bool_], places: NDArray[np.int64], level: float) -> float:
    """Of one band (patch, y, x): the least factor at which few enough weighted scores lie above it."""
    weights = _weights(mask, places)
    count = np.unique(places[mask.any(axis=(1, 2))]).size
    check_count(count, level)
    allowed = max((1 - level) * (count + 1) / count - 1 / count, 0.0)
    order = np.argsort(scores[mask])
    # What lies above each score, were it the factor.
    above = 1.0 - np.cumsum(weights[mask][order])
    above[-1] = 0.0
    return float(scores[mask][order][np.argmax(above <= allowed)])


def _weights(mask: NDArray[np.bool_], places: NDArray[np.int64]) -> Float64:
    """Weights (patch, y, x) of sum 1 with which a sum over pixels is the mean over places of their means."""
    pixels = np.bincount(places, mask.sum(axis=(1, 2)))
    seen = max(int((pixels > 0).sum()), 1)
    return np.asarray(mask / (np.maximum(pixels[places], 1) * seen)[:, None, None], np.float64)
