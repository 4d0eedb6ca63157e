"""Gram-Schmidt adaptive for many bands: each group of them takes the detail of the band of ``ms`` most like them.

A band of ``hs`` belongs to the band ``P_g`` of ``ms`` with which it correlates best on the coarse grid. Within a group
``F_b = M_b + g_b (P_g - mean P_g - (I - mean I))`` with the interpolated bands ``M``, the intensity ``I = a . M`` of
the group that comes nearest to ``P_g`` on the coarse grid, and ``g_b = cov(I, M_b) / var(I)``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xrs.kernels import Moments, merge_moments, upsample
from xrs.kernels.types import Float32, Float64
from xrs.methods.base import Method, Pass, Reference, State, Tile
from xrs.methods.hsms._common import PSF, Psf, coarse_moments, inject, linear_halo, regression
from xrs.methods.pansharpen._common import KERNEL, covariance_of

__all__ = ["METHOD"]

#: Directions of a group's bands that hold less than this share of its variance are noise, which must not be fitted.
_NOISE = 1e-4


def _summarise(tile: Tile, _state: State, *, psf: Psf, **_: Any) -> Moments:
    return coarse_moments(tile, psf)


def _solve(moments: Moments, _state: State, *, psf: Psf, **_: Any) -> State:
    """Weights of the bands in each group's intensity (ms band, hs band), gains (hs band, ms band) and constants."""
    c = len(psf["ms"])
    bands = moments.mean.size - c
    covariance = covariance_of(moments)
    group = _groups(covariance, bands)
    intensity, gains = np.zeros((c, bands)), np.zeros((bands, c))
    for pan in range(c):
        own = np.flatnonzero(group == pan)
        if own.size:
            weights = regression(covariance[np.ix_(own, own)], covariance[own, bands + pan], _NOISE)
            intensity[pan, own] = weights
            shared = covariance[np.ix_(own, own)] @ weights
            gains[own, pan] = shared / (weights @ shared) if weights @ shared > 0 else 0.0
    return {
        "intensity": intensity,
        "gains": gains,
        "constant": intensity @ moments.mean[:bands] - moments.mean[bands:],
    }


def _groups(covariance: Float64, bands: int) -> Any:
    """Which band of ``ms`` each band of ``hs`` (band,) correlates best with."""
    spread = np.sqrt(np.diag(covariance))
    spread[spread == 0] = 1.0
    correlation = covariance / np.outer(spread, spread)
    return correlation[:bands, bands:].argmax(axis=1)


def _apply(tile: Tile, state: State, *, kernel: str, **_: Any) -> Float32:
    hs = tile["hs"]
    coarse = state["intensity"].astype(np.float32) @ hs.reshape(len(hs), -1)
    intensity = upsample(coarse.reshape(-1, *hs.shape[1:]), tile.factors["ms"], kernel)
    detail = tile["ms"] - intensity + state["constant"].astype(np.float32)[:, None, None]
    return inject(tile, state["gains"], detail, kernel)


METHOD = Method(
    name="gsa_hs",
    family="hsms",
    summary="Gram-Schmidt for each group of bands with the band of ms most like them.",
    apply=_apply,
    reference=Reference(
        "Yokoya, Grohnfeldt and Chanussot 2017, Hyperspectral and multispectral data fusion: a comparative review of "
        "the recent literature, IEEE Geoscience and Remote Sensing Magazine 5(2):29-56",
        "10.1109/MGRS.2016.2637824",
    ),
    passes=(Pass(_summarise, merge_moments, _solve),),
    params=(KERNEL, PSF),
    halo=linear_halo,
    needs=("hs", "ms"),
    differs=(
        "Gains are those of the coarse grid, not of the interpolated bands. The intensity is regressed in the "
        "directions that hold 1e-4 or more of the strongest one's variance of the group."
    ),
)
