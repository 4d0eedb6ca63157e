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
        "Persistence; Murphy 1992, Climatology, persistence, and their linear combination as standards of reference in "
        "skill scores, Weather and Forecasting 7:692-698"
    ),
    needs=("fine", "coarse", "target"),
    pairs=(1, 8),
    engines=("numpy",),
)
