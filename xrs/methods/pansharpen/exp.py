"""Plain cubic interpolation: what every fusion method must beat."""

from __future__ import annotations

from typing import Any

from xrs.kernels import upsample
from xrs.kernels.types import Float32
from xrs.methods.base import Method, Reference, State, Tile

__all__ = ["METHOD"]


def apply(tile: Tile, state: State, **params: Any) -> Float32:
    """The bands interpolated to the pan's grid; the pan only tells the grid."""
    return tile.core("pan", upsample(tile["ms"], tile.factors["pan"] // tile.factors["ms"]))


def halo(factors: Any, **params: Any) -> int:
    """Cubic convolution reaches two coarse pixels."""
    return 2


METHOD = Method(
    name="exp",
    family="pansharpen",
    summary="Cubic interpolation without the pan: the baseline of every table",
    apply=apply,
    reference=Reference(
        "R. G. Keys, Cubic convolution interpolation for digital image processing, "
        "IEEE Trans. Acoust. Speech Signal Process. 29(6), 1981",
        "10.1109/TASSP.1981.1163711",
    ),
    halo=halo,
    bandwise=True,
)
