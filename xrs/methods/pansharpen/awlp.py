"""Additive wavelet luminance proportional.

``F_b = M_b + (M_b / I) (P_b - A(P_b))`` with the interpolated bands ``M``, ``I`` their mean, the pan matched to each
band, ``P_b = (P - mean P) std M_b / std L + mean M_b`` with ``L`` the pan as the coarse sensor sees it, interpolated,
and ``A`` the starlet approximation: the B3 spline filter [1 4 6 4 1]/16 with holes, ``ceil(log2 ratio)`` times.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from xrs.kernels import Moments, decimate, merge_moments
from xrs.kernels.types import Float32, Float64
from xrs.methods.base import Method, Pass, Reference, State, Tile
from xrs.methods.pansharpen._common import (
    KERNEL,
    PSF,
    Psf,
    covariance_of,
    decimated_pan,
    filter_halo,
    psf_halo,
    quotient,
    seen_fine,
)
from xrs.methods.pansharpen._layers import layer_moments, layers_of, modulate

_SPLINE = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16.0


def _starlet(ratio: int) -> Float64:
    taps = np.ones(1)
    for level in range(int(np.ceil(np.log2(ratio)))):
        holed = np.zeros(4 * 2**level + 1)
        holed[:: 2**level] = _SPLINE
        taps = np.convolve(taps, holed)
    return taps


def _halo(factors: Mapping[str, int], *, kernel: str, psf: Psf, **_: Any) -> int:
    ratio = factors["pan"]
    return max(filter_halo(_starlet(ratio).size, ratio, kernel), psf_halo(factors, kernel=kernel, psf=psf))


def _summarise(tile: Tile, _state: State, *, kernel: str, psf: Psf, **_: Any) -> Moments:
    """Moments of the bands, the low-passed pan and the pan."""
    return layer_moments(layers_of(tile, kernel, coarse=[decimated_pan(tile, psf)]), seen_fine(tile))


def _solve(moments: Moments, _state: State, **_: Any) -> State:
    bands = moments.mean.size - 2
    std = np.sqrt(np.diag(covariance_of(moments)))
    match = quotient(std[:bands], std[bands])
    mean = np.zeros((1, bands + 3))
    mean[0, :bands] = 1.0 / bands
    detail = np.zeros((bands, bands + 3))
    detail[:, bands], detail[:, bands + 1] = match, -match
    return {"numerator": mean + detail, "denominator": mean}


def _apply(tile: Tile, state: State, *, kernel: str, **_: Any) -> Float32:
    approximation = decimate(tile["pan"], _starlet(tile.factors["pan"]), 1)
    layers = layers_of(tile, kernel, fine=[approximation])
    return modulate(layers, state["numerator"], state["denominator"], np.zeros(tile["ms"].shape[0]))


METHOD = Method(
    name="awlp",
    family="pansharpen",
    summary="Adds wavelet detail of the matched pan in proportion to each band's share of the luminance.",
    apply=_apply,
    reference=Reference(
        "Otazu, González-Audícana, Fors and Núñez 2005, Introduction of sensor spectral response into image fusion "
        "methods. Application to wavelet-based methods, IEEE Transactions on Geoscience and Remote Sensing "
        "43(10):2376-2385",
        "10.1109/TGRS.2005.856106",
    ),
    passes=(Pass(_summarise, merge_moments, _solve),),
    params=(KERNEL, PSF),
    halo=_halo,
    differs=(
        "The pan is matched to each band through the spread of its low-passed version, after Alparone et al. 2017 "
        "(10.1109/TGRS.2017.2697943). Where the luminance is not above 1e-6 the bands stay as interpolated."
    ),
)
