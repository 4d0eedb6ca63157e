"""Linear interpolation in time between the fine images; the coarse ones are not looked at."""

from __future__ import annotations

import numpy as np

from xrs.kernels.types import Float32
from xrs.methods.base import Method, Reference, State, Tile
from xrs.methods.temporal.linear import linear

__all__ = ["METHOD"]


def apply(tile: Tile, _state: State) -> Float32:
    """Interpolate each pixel between the pairs that saw it; outside of them the nearest stands.

    Returns
    -------
    ndarray, float32, (target, band, y, x)
        On the fine grid, without halo. NaN where no pair saw the pixel.
    """
    fine, valid = tile.core("fine"), tile.valid["fine"]
    weights = None if valid is None else tile.core("fine", valid).reshape(len(fine), -1).astype(np.float32)
    series = np.ascontiguousarray(fine).reshape(len(fine), -1)
    targets = tile.days["target"]
    predicted = linear(series, weights, tile.days["fine"], targets, extrapolate="nearest")
    return predicted.reshape(targets.size, *fine.shape[1:])


METHOD = Method(
    name="interpolate",
    family="spatiotemporal",
    summary="Linear interpolation in time between the fine images: a baseline.",
    apply=apply,
    reference=Reference(
        "Emelyanova, McVicar, Van Niel, Li and van Dijk 2013, Assessing the accuracy of blending Landsat-MODIS surface "
        "reflectances in two landscapes with contrasting spatial and temporal dynamics: a framework for algorithm "
        "selection, Remote Sensing of Environment 133:193-209",
        "10.1016/j.rse.2013.02.007",
    ),
    needs=("fine", "coarse", "target"),
    pairs=(1, 8),
)
