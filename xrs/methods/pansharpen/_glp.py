"""Generalised Laplacian pyramid: the pan less itself as each band's sensor would see it.

The layers are the bands ``M``, the low-passed pans ``L`` (one for each distinct point spread), and the pan ``P``:
``L`` is the pan decimated with the band's modulation transfer function and interpolated again
(Aiazzi et al. 2006, 10.14358/PERS.72.5.591).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xrs.kernels import Moments
from xrs.kernels.types import Float32, Float64
from xrs.methods.base import State, Tile
from xrs.methods.pansharpen._common import Psf, covariance_of, decimated_pans, modulation, seen_fine
from xrs.methods.pansharpen._layers import Layers, layer_moments, layers_of, mix, modulate

__all__ = ["Pyramid", "add_detail", "apply_ratio", "apply_sum", "pyramid_of", "scale_detail", "summarise"]


class Pyramid(NamedTuple):
    """Statistics of one scene: of the pan, and for each band (band,) of the band and its low-passed pan."""

    layers: int
    low: NDArray[np.intp]  # which layer is a band's low-passed pan
    mean: Float64
    pan_mean: float
    std: Float64
    low_std: Float64
    band_low: Float64  # covariances
    band_pan: Float64
    low_pan: Float64


def summarise(tile: Tile, _state: State, *, kernel: str, psf: Psf, **_: Any) -> Moments:
    """Moments of all layers."""
    return layer_moments(_layers(tile, kernel, psf), seen_fine(tile))


def pyramid_of(moments: Moments, psf: Psf) -> Pyramid:
    """Statistics by name."""
    layers = moments.mean.size
    # The rows of the point spread say how the layers divide into bands and low-passed pans.
    rows = np.atleast_2d(psf["ms"])
    distinct, whose = np.unique(rows, axis=0, return_inverse=True)
    bands = layers - 1 - len(distinct)
    band, low, pan = np.arange(bands), bands + np.broadcast_to(whose, bands), layers - 1
    covariance = covariance_of(moments)
    std = np.sqrt(np.diag(covariance))
    return Pyramid(
        layers,
        low,
        moments.mean[:bands],
        float(moments.mean[pan]),
        std[:bands],
        std[low],
        covariance[band, low],
        covariance[band, pan],
        covariance[low, pan],
    )


def add_detail(pyramid: Pyramid, gains: Float64) -> State:
    """State for ``F_b = M_b + gains_b (P - L_b)``."""
    bands = np.arange(gains.size)
    weights = np.eye(gains.size, pyramid.layers + 1)
    weights[bands, pyramid.low] = -gains
    weights[:, pyramid.layers - 1] = gains
    return {"weights": weights}


def scale_detail(pyramid: Pyramid, match: Float64) -> State:
    """State for ``F_b = M_b P_b / L_b`` with the pan matched as ``P_b = match_b (P - mean P) + mean M_b``."""
    constant = pyramid.mean - match * pyramid.pan_mean
    return modulation(pyramid.layers, pyramid.layers - 1, pyramid.low, match, constant)


def apply_sum(tile: Tile, state: State, *, kernel: str, psf: Psf, **_: Any) -> Float32:
    """Sums of the layers."""
    return mix(_layers(tile, kernel, psf), state["weights"])


def apply_ratio(tile: Tile, state: State, *, kernel: str, psf: Psf, **_: Any) -> Float32:
    """Bands scaled by ratios of sums of the layers."""
    offset = np.zeros(tile["ms"].shape[0])
    return modulate(_layers(tile, kernel, psf), state["numerator"], state["denominator"], offset)


def _layers(tile: Tile, kernel: str, psf: Psf) -> Layers:
    return layers_of(tile, kernel, coarse=[decimated_pans(tile, psf)[0]])
