"""Morphological filters: high-pass modulation with a half-gradient morphological pyramid.

``F_b = M_b P_b / L_b`` with the interpolated bands ``M``, the pan matched to each band,
``P_b = (P - mean P) std M_b / std P + mean M_b``, and ``L_b`` the top of its pyramid. A level is the mean of dilation
and erosion by the cross of five pixels, halved in size; there are ``ceil(log2 ratio)`` of them above the pan, and the
top is interpolated bilinearly, level by level.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import njit

from xrs.kernels import Moments, box_taps, decimate, merge_moments, upsample
from xrs.kernels.resample import reach_of_kernel
from xrs.kernels.types import Float32
from xrs.methods.base import Method, Pass, Reference, State, Tile
from xrs.methods.pansharpen._common import KERNEL, covariance_of, modulation, quotient, summarise_bands
from xrs.methods.pansharpen._layers import layers_of, modulate


def _levels(ratio: int) -> int:
    return int(np.ceil(np.log2(ratio)))


def _halo(factors: Mapping[str, int], *, kernel: str, **_: Any) -> int:
    # In pixels of the top level: one for the elements, two for interpolation, one where the tile cuts a pixel.
    step = 2 ** _levels(factors["pan"])
    return max(reach_of_kernel(kernel), -(-4 * step // factors["pan"]))


def _top(tile: Tile) -> Float32:
    """The low-passed pan. The levels are aligned with the scene, whatever the tile."""
    pan, ratio = tile["pan"], tile.factors["pan"]
    levels = _levels(ratio)
    before = [(start - tile.halo) * ratio % 2**levels for start in tile.origin]
    after = [-(size + margin) % 2**levels for size, margin in zip(pan.shape[1:], before, strict=True)]
    image = np.pad(pan, [(0, 0), *zip(before, after, strict=True)], mode="symmetric")
    for _ in range(levels):
        image = decimate(_half_gradient(image[0])[None], box_taps(2), 2)
    for _ in range(levels):
        image = upsample(image, 2, "bilinear")
    (top, left), (height, width) = before, pan.shape[1:]
    return image[:, top : top + height, left : left + width]


@njit(nogil=True, cache=True, fastmath=True, error_model="numpy")
def _half_gradient(image: Float32) -> Float32:
    """Mean of dilation and erosion by the cross of five pixels."""
    height, width = image.shape
    out = np.empty_like(image)
    for y in range(height):
        up, here, down = image[max(y - 1, 0)], image[y], image[min(y + 1, height - 1)]
        for x in range(width):
            left, right = here[max(x - 1, 0)], here[min(x + 1, width - 1)]
            high = max(up[x], down[x], left, right, here[x])
            low = min(up[x], down[x], left, right, here[x])
            out[y, x] = np.float32(0.5) * (high + low)
    return out


def _solve(moments: Moments, _state: State, **_: Any) -> State:
    bands = moments.mean.size - 1
    std = np.sqrt(np.diag(covariance_of(moments)))
    match = quotient(std[:bands], std[bands])
    constant = moments.mean[:bands] - match * moments.mean[bands]
    return modulation(bands + 2, bands, np.full(bands, bands + 1), match, constant)


def _apply(tile: Tile, state: State, *, kernel: str, **_: Any) -> Float32:
    layers = layers_of(tile, kernel, fine=[_top(tile)])
    return modulate(layers, state["numerator"], state["denominator"], np.zeros(tile["ms"].shape[0]))


METHOD = Method(
    name="mf",
    family="pansharpen",
    summary="Scales each band by the ratio of the matched pan to the top of its morphological pyramid.",
    apply=_apply,
    reference=Reference(
        "Restaino, Vivone, Dalla Mura and Chanussot 2016, Fusion of multispectral and panchromatic images based on "
        "morphological operators, IEEE Transactions on Image Processing 25(6):2882-2895",
        "10.1109/TIP.2016.2556944",
    ),
    passes=(Pass(summarise_bands, merge_moments, _solve),),
    params=(KERNEL,),
    halo=_halo,
    bandwise=True,
    differs=(
        "A level halves the image by means of 2 by 2 pixels, not by taking every second one, so that it stays centred. "
        "Where the denominator is not above 1e-6 the bands stay as interpolated."
    ),
)
