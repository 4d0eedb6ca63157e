"""Smoothing filter-based intensity modulation.

``F_b = M_b P / L`` with the interpolated bands ``M`` and ``L`` the box mean of the pan ``P``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from xrs.kernels import box_taps, decimate
from xrs.kernels.types import Float32
from xrs.methods.base import Method, Reference, State, Tile
from xrs.methods.pansharpen._common import KERNEL, SIZE, box_size, filter_halo
from xrs.methods.pansharpen._layers import layers_of, modulate


def _halo(factors: Mapping[str, int], *, size: int | None, kernel: str, **_: Any) -> int:
    return filter_halo(box_size(size, factors["pan"]), factors["pan"], kernel)


def _apply(tile: Tile, _state: State, *, size: int | None, kernel: str, **_: Any) -> Float32:
    bands = tile["ms"].shape[0]
    smooth = decimate(tile["pan"], box_taps(box_size(size, tile.factors["pan"])), 1)
    numerator, denominator = np.eye(bands + 3)[bands : bands + 2]
    layers = layers_of(tile, kernel, fine=[smooth])
    return modulate(layers, numerator[None], denominator[None], np.zeros(bands))


METHOD = Method(
    name="sfim",
    family="pansharpen",
    summary="Scales every band by the ratio of the pan to its local mean.",
    apply=_apply,
    reference=Reference(
        "Liu 2000, Smoothing filter-based intensity modulation: a spectral preserve image fusion technique "
        "for improving spatial details, International Journal of Remote Sensing 21(18):3461-3472",
        "10.1080/014311600750037499",
    ),
    params=(SIZE, KERNEL),
    halo=_halo,
    bandwise=True,
    differs="Where the local mean is not above 1e-6 the bands stay as interpolated.",
)
