"""High-pass filtering: add what a box filter takes from the pan.

``F_b = M_b + weight (P - L)`` with the interpolated bands ``M`` and ``L`` the box mean of the pan ``P``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from xrs.kernels import box_taps, decimate
from xrs.kernels.types import Float32
from xrs.methods.base import Method, Param, Reference, State, Tile
from xrs.methods.pansharpen._common import KERNEL, SIZE, box_size, filter_halo
from xrs.methods.pansharpen._layers import layers_of, mix


def _halo(factors: Mapping[str, int], *, size: int | None, kernel: str, **_: Any) -> int:
    return filter_halo(box_size(size, factors["pan"]), factors["pan"], kernel)


def _apply(tile: Tile, _state: State, *, size: int | None, weight: float, kernel: str, **_: Any) -> Float32:
    bands = tile["ms"].shape[0]
    smooth = decimate(tile["pan"], box_taps(box_size(size, tile.factors["pan"])), 1)
    weights = np.eye(bands, bands + 3)
    weights[:, bands : bands + 2] = weight, -weight
    return mix(layers_of(tile, kernel, fine=[smooth]), weights)


METHOD = Method(
    name="hpf",
    family="pansharpen",
    summary="Adds the high-passed pan to every band.",
    apply=_apply,
    reference=Reference(
        "Chavez, Sides and Anderson 1991, Comparison of three different methods to merge multiresolution and "
        "multispectral data: Landsat TM and SPOT panchromatic, Photogrammetric Engineering and Remote Sensing "
        "57(3):295-303"
    ),
    params=(SIZE, Param("weight", 1.0, "factor of the detail"), KERNEL),
    halo=_halo,
    bandwise=True,
)
