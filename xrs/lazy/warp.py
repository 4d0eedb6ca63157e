"""Resample a cube to any other grid, tile by tile, without seams.

The warping itself is GDAL's (through odc-geo). Each task reads the part of the source its tile needs with a
margin as wide as the resampling kernel, so pixels do not depend on the chunks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask._task_spec import Task, TaskRef
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.warp import rio_reproject

from xrs.lazy.plan import Interval, touched
from xrs.lazy.window import Window, read_window

__all__ = ["warp"]

#: Source pixels that the widest kernel (Lanczos) reaches, with one to spare.
_REACH = 4

#: Points along each side of a tile that are followed into the source's CRS.
_BORDER_POINTS = 21


def warp(array: Any, source: GeoBox, target: GeoBox, resampling: str = "cubic") -> Any:
    """Resample (time, band, y, x) from one grid to another.

    Parameters
    ----------
    array : ndarray or dask array, (time, band, y, x)
        Floating point, NaN where missing.
    source, target : GeoBox
        Both with a CRS.
    resampling : str
        A name of GDAL's.

    Returns
    -------
    numpy.ndarray or dask.array.Array
        float32 on ``target``; chunks in space as large as those of the source.
    """
    if not dask.is_dask_collection(array):
        whole = _Warp(source, target, resampling)
        return whole(np.ascontiguousarray(array, np.float32))
    chunks = (*array.chunks[:2], *_chunks_like(array, target))
    key = f"xrs-warp-{tokenize(array.name, source, target, resampling)}"
    graph = {}
    for index in np.ndindex(*(len(c) for c in chunks)):
        place = [_bounds(c, i) for c, i in zip(chunks, index, strict=True)]
        graph[key, *index] = _task((key, *index), array, place, source, target, resampling)
    layers = HighLevelGraph.from_collections(key, graph, dependencies=[array])
    return da.Array(layers, key, chunks=chunks, dtype=np.float32, meta=np.empty((0,) * 4, np.float32))


@dataclass(frozen=True)
class _Warp:
    source: GeoBox
    target: GeoBox
    resampling: str

    def __call__(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        height, width = self.target.shape
        out = np.full((*values.shape[:2], height, width), np.nan, np.float32)
        if values.size == 0:
            return out
        for image, result in zip(values.reshape(-1, *values.shape[2:]), out.reshape(-1, height, width), strict=True):
            # No approximation of the transformation: its error would depend on the tile.
            rio_reproject(
                image,
                result,
                self.source,
                self.target,
                resampling=self.resampling,
                src_nodata=np.nan,
                dst_nodata=np.nan,
                tolerance=0.0,
            )
        return out


@dataclass(frozen=True)
class _WarpTile:
    warp: _Warp
    window: Window

    def __call__(self, *chunks: NDArray[Any]) -> NDArray[np.float32]:
        if not self.window.pieces:
            return self.warp(np.empty((*self.window.shape[:2], 0, 0), np.float32))
        return self.warp(read_window(self.window, chunks))


def _task(
    key: Any, array: da.Array, place: Sequence[Interval], source: GeoBox, target: GeoBox, resampling: str
) -> Task:
    tile = target[slice(*place[2]), slice(*place[3])]
    rows, columns = _needed(tile, source)
    bounds = [*place[:2], rows, columns]
    empty = rows[0] >= rows[1] or columns[0] >= columns[1]
    pieces = () if empty else tuple(touched(array.chunks, bounds))
    shape = tuple(b - a for a, b in bounds)
    part = source if empty else source[slice(*rows), slice(*columns)]
    run = _WarpTile(_Warp(part, tile, resampling), Window(pieces, shape, (0, 0), (0, 0)))  # type: ignore[arg-type]
    return Task(key, run, *(TaskRef((array.name, *p.index)) for p in pieces))


def _needed(tile: GeoBox, source: GeoBox) -> tuple[Interval, Interval]:
    """Rows and columns of the source under a tile, with the kernel's margin."""
    height, width = tile.shape
    t = np.linspace(0, 1, _BORDER_POINTS)
    zero, one = np.zeros_like(t), np.ones_like(t)
    x = np.concatenate([t, t, zero, one]) * width
    y = np.concatenate([zero, one, t, t]) * height
    world_x, world_y = tile.affine.a * x + tile.affine.c, tile.affine.e * y + tile.affine.f
    if tile.crs != source.crs:
        world_x, world_y = tile.crs.transformer_to_crs(source.crs)(world_x, world_y)
    grid = source.affine
    columns, rows = (world_x - grid.c) / grid.a, (world_y - grid.f) / grid.e
    found = []
    for values, n, side in ((rows, source.shape[0], height), (columns, source.shape[1], width)):
        extent = float(values.max() - values.min())
        margin = _REACH * max(1.0, extent / side) + 1
        found.append((max(0, math.floor(values.min() - margin)), min(n, math.ceil(values.max() + margin))))
    return found[0], found[1]


def _chunks_like(array: da.Array, target: GeoBox) -> tuple[tuple[int, ...], tuple[int, ...]]:
    sides = [min(max(c), n) for c, n in zip(array.chunks[2:], target.shape, strict=True)]
    return da.core.normalize_chunks(tuple(sides), tuple(target.shape))


def _bounds(sizes: Sequence[int], index: int) -> Interval:
    start = sum(sizes[:index])
    return start, start + sizes[index]
