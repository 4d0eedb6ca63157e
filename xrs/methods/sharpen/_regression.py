"""Regression of each coarse band on the fine bands as its detector would see them, over the scene."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from xrs.kernels import Moments, merge_moments, moments_of
from xrs.kernels.types import Float64
from xrs.methods.base import Tile
from xrs.methods.sharpen._groups import Group, Psf, groups_of

__all__ = ["best_guide", "merge_bands", "regress", "summarise_bands"]

#: Moments of each band of each group: the fine bands first, the coarse band last.
BandMoments = Mapping[str, tuple[Moments, ...]]

#: Singular values below this share of the largest are taken for zero.
_RCOND = 1e-10


def summarise_bands(tile: Tile, psf: Psf) -> dict[str, tuple[Moments, ...]]:
    """Moments of (fine bands, coarse band) at the coarse grid, for each band of each group."""
    return {g.name: tuple(_moments(g, b) for b in range(len(g.guides))) for g in groups_of(tile, psf)}


def merge_bands(one: BandMoments, other: BandMoments) -> dict[str, tuple[Moments, ...]]:
    """Moments of two parts of a scene together."""
    return {name: tuple(map(merge_moments, bands, other[name])) for name, bands in one.items()}


def regress(moments: Moments) -> Float64:
    """Least-squares weights of the fine bands, then the constant; zeros if no pixel was seen."""
    n = moments.mean.size - 1
    if moments.count == 0:
        return np.zeros(n + 1)
    covariance = moments.covariance
    # The bands may differ by orders of magnitude, so the rank is judged on correlations.
    scale = np.sqrt(np.diag(covariance)[:n])
    scale[scale == 0] = 1.0
    inner = covariance[:n, :n] / np.outer(scale, scale)
    weights = np.linalg.lstsq(inner, covariance[:n, n] / scale, rcond=_RCOND)[0] / scale
    return np.append(weights, moments.mean[n] - weights @ moments.mean[:n])


def best_guide(moments: Moments) -> Float64:
    """Weights that pick the fine band with the highest correlation, then a zero constant."""
    n = moments.mean.size - 1
    weights = np.zeros(n + 1)
    if moments.count:
        with np.errstate(invalid="ignore", divide="ignore"):
            correlation = moments.covariance[:n, n] / moments.std[:n]
        weights[int(np.argmax(np.nan_to_num(correlation, nan=-np.inf)))] = 1.0
    return weights


def _moments(group: Group, band: int) -> Moments:
    valid = group.valid[band]
    features = np.concatenate([group.guides[band], group.bands[band : band + 1]])
    return moments_of(group.core(features), None if valid is None else group.core(valid))
