"""What methods of this family ask of a tile: the ratio of its grids, and where it was seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xrs.errors import ParameterError
from xrs.kernels.types import Bool
from xrs.methods.base import Tile

__all__ = ["inside_scene", "own_ratio", "seen_in_all_bands", "to_fine", "trimmed"]


def own_ratio(factors: Mapping[str, int], method: str) -> int:
    """Fine pixels along the side of a coarse one, for a method that works on the coarse sensor's own pixels.

    Raises
    ------
    ParameterError
        If the coarse cube lies on the fine grid.
    """
    ratio = factors["fine"] // factors["target"]
    if ratio == 1:
        raise ParameterError(
            f"found coarse images on the grid of the fine ones, and {method} works on the coarse sensor's own pixels",
            "a coarse cube on a coarser grid",
            "ratio= of fuse_spatiotemporal averages a resampled coarse cube to its own grid",
        )
    return ratio


def seen_in_all_bands(tile: Tile, name: str) -> Bool:
    """Where every band of each date of an observation was seen (date, y, x), halo included."""
    valid, image = tile.valid[name], tile[name]
    if valid is None:
        return np.ones((image.shape[0], *image.shape[2:]), np.bool_)
    return np.asarray(valid.all(axis=1))


def inside_scene(tile: Tile, name: str, end: tuple[int, int]) -> Bool:
    """Where a tile does not mirror the scene (y, x), on the grid of an observation, halo included.

    ``end`` is the number of rows and columns of the scene, in coarsest pixels.
    """
    factor = tile.factors[name]
    rows, columns = (
        (place >= 0) & (place < last * factor)
        for place, last in (
            (np.arange(side) + (start - tile.halo) * factor, last)
            for side, start, last in zip(tile[name].shape[-2:], tile.origin, end, strict=True)
        )
    )
    return np.asarray(rows[:, None] & columns)


def to_fine(coarse: Bool, ratio: int) -> Bool:
    """A mask (..., y, x) of coarse pixels as one of the fine pixels in them."""
    return coarse.repeat(ratio, axis=-2).repeat(ratio, axis=-1)


def trimmed(array: NDArray[Any], margin: int) -> NDArray[Any]:
    """An array (..., y, x) without ``margin`` pixels at each edge."""
    inner = slice(margin, -margin or None)
    return array[..., inner, inner]
