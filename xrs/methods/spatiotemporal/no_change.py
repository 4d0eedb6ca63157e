"""The fine image nearest in time, as it was: what any fusion must beat."""

from __future__ import annotations

import numpy as np

from xrs.kernels.types import Float32
from xrs.methods.base import Method, Reference, State, Tile

__all__ = ["METHOD"]


def apply(tile: Tile, _state: State) -> Float32:
    """Repeat each pixel's fine value of the pair nearest in time that saw it; of two as near, the earlier.

    Returns
    -------
    ndarray, float32, (target, band, y, x)
        On the fine grid, without halo. NaN where no pair saw the pixel.
    """
    fine, valid = tile.core("fine"), tile.valid["fine"]
    if valid is not None:
        fine = np.where(tile.core("fine", valid), fine, np.float32(np.nan))
    targets = tile.days["target"]
    out = np.full((targets.size, *fine.shape[1:]), np.nan, np.float32)
    for image, day in zip(out, targets, strict=True):
        for k in np.argsort(np.abs(tile.days["fine"] - day), kind="stable"):
            np.copyto(image, fine[k], where=np.isnan(image))
    return out


METHOD = Method(
    name="no_change",
    family="spatiotemporal",
    summary="The fine image nearest in time: a baseline.",
    apply=apply,
    reference=Reference(
        "Emelyanova, McVicar, Van Niel, Li and van Dijk 2013, Assessing the accuracy of blending Landsat-MODIS surface "
        "reflectances in two landscapes with contrasting spatial and temporal dynamics: a framework for algorithm "
        "selection, Remote Sensing of Environment 133:193-209",
        "10.1016/j.rse.2013.02.007",
    ),
    needs=("fine", "coarse", "target"),
    pairs=(1, 8),
    engines=("numpy",),
)
