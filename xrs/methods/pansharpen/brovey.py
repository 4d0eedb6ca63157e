"""Brovey: scale the bands so that their intensity is the pan.

``F_b = M_b P / I`` with the interpolated bands ``M``, the pan ``P`` and ``I = sum_b w_b M_b``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xrs.kernels.types import Float32
from xrs.methods.base import Method, Param, Reference, State, Tile
from xrs.methods.pansharpen._common import KERNEL, kernel_halo
from xrs.methods.pansharpen._layers import layers_of, modulate


def _apply(tile: Tile, _state: State, *, weights: Sequence[float] | None, kernel: str, **_: Any) -> Float32:
    bands = tile["ms"].shape[0]
    denominator = np.zeros((1, bands + 2))
    denominator[0, :bands] = 1.0 / bands if weights is None else weights
    numerator = np.zeros((1, bands + 2))
    numerator[0, bands] = 1.0
    return modulate(layers_of(tile, kernel), numerator, denominator, np.zeros(bands))


METHOD = Method(
    name="brovey",
    family="pansharpen",
    summary="Scales the bands so that their weighted mean is the pan.",
    apply=_apply,
    reference=Reference(
        "Gillespie, Kahle and Walker 1987, Color enhancement of highly correlated images. II. Channel ratio and "
        "chromaticity transformation techniques, Remote Sensing of Environment 22(3):343-365",
        "10.1016/0034-4257(87)90088-5",
    ),
    params=(Param("weights", None, "weight of each band in the intensity; all equal, with sum 1"), KERNEL),
    halo=kernel_halo,
    differs="Any number of bands and weights; where the intensity is not above 1e-6 the bands stay as interpolated.",
)
