"""Where a tile lies in the scene, so that windows and blocks are those of the scene, not of the tile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xrs.kernels.types import Float32, Float64
from xrs.methods.base import Tile

__all__ = ["Place", "place_of", "with_gaps"]


@dataclass(frozen=True)
class Place:
    """A tile's core and halo on one grid of the scene, in pixels of that grid.

    A window or block belongs to the tile whose core holds its first pixel, so every one of the scene
    is met once at any tiling. Its other pixels may lie in the halo, which must be at least its size less one.

    Attributes
    ----------
    halo : int
        Width of the margin around the core.
    origin : tuple of int
        Row and column of the core's first pixel in the scene.
    core, scene : tuple of int
        Rows and columns of the core and of the whole scene.
    """

    halo: int
    origin: tuple[int, int]
    core: tuple[int, int]
    scene: tuple[int, int]

    def pixels(self, array: Float32) -> Float32:
        """The core of an array (band, y, x)."""
        rows, columns = (slice(self.halo, self.halo + n) for n in self.core)
        return np.ascontiguousarray(array[:, rows, columns])

    def windows(self, array: Float32, size: int) -> Float32:
        """The pixels of all windows of ``size`` by ``size`` that begin in the core and lie inside the scene."""
        rows, columns = (
            slice(self.halo, self.halo + min(n + size - 1, whole - first))
            for n, whole, first in zip(self.core, self.scene, self.origin, strict=True)
        )
        return np.ascontiguousarray(array[:, rows, columns])

    def blocks(self, array: Float32, size: int, *, partial: bool) -> Iterator[Float64]:
        """Blocks that begin at multiples of ``size`` in the core, row by row: float64 (block, band, pixel).

        ``partial`` blocks reach beyond the scene, into the mirrored halo; else only whole ones are given.
        """
        rows, columns = (self._starts(axis, size, partial) for axis in (0, 1))
        if not columns:
            return
        for row in rows:
            strip = array[:, row : row + size, columns[0] : columns[-1] + size].astype(np.float64)
            bands = strip.shape[0]
            cut = strip.reshape(bands, size, len(columns), size).transpose(2, 0, 1, 3)
            yield cut.reshape(len(columns), bands, size * size)

    def _starts(self, axis: int, size: int, partial: bool) -> list[int]:
        """First index of each block along an axis of the array with halo."""
        first, length, whole = self.origin[axis], self.core[axis], self.scene[axis]
        last = first + length if partial else min(first + length, whole - size + 1)
        return [start - first + self.halo for start in range(-(-first // size) * size, last, size)]


def place_of(tile: Tile, name: str, scene: tuple[int, int]) -> Place:
    """The place of a tile on the grid of one observation; ``scene`` is that grid's size."""
    factor = tile.factors[name]
    halo = tile.halo * factor
    height, width = tile.arrays[name].shape[1:]
    return Place(halo, (tile.origin[0] * factor, tile.origin[1] * factor), (height - 2 * halo, width - 2 * halo), scene)


def with_gaps(tile: Tile, name: str) -> NDArray[Any]:
    """An observation with halo, NaN where it was not seen."""
    valid = tile.valid[name]
    return tile.arrays[name] if valid is None else np.where(valid, tile.arrays[name], np.float32(np.nan))
