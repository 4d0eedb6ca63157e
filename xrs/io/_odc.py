"""Lazy arrays from assets by odc-stac's loader, which builds the graph, mosaics items and carries GDAL's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox, GeoboxTiles
from odc.loader import (
    RasterBandMetadata,
    RasterGroupMetadata,
    RasterLoadParams,
    RasterSource,
    RioDriver,
    chunked_load,
)

from xrs.io._layer import Layer
from xrs.io._reader import AssetSource, read_pixels

__all__ = ["load"]


def load(layer: Layer) -> dict[str, xr.DataArray]:
    """A lazy array (time, y, x) without coordinates for each band of a layer."""
    meta = RasterBandMetadata(layer.dtype, layer.fill)
    tiles = GeoboxTiles(layer.geobox, layer.chunks[1:])
    driver = _Driver()
    loaded = chunked_load(
        {band: RasterLoadParams(layer.dtype, fill_value=layer.fill, meta=meta) for band in layer.bands},
        RasterGroupMetadata({(band, 1): meta for band in layer.bands}),
        [{band: RasterSource(source.to_json(), meta=meta) for band, source in item.items()} for item in layer.sources],
        _bins(layer, tiles),
        tiles,
        list(layer.times.floor("us").to_pydatetime()),
        driver.capture_env(),
        driver,
        chunks=dict(zip(("time", "y", "x"), layer.chunks, strict=True)),
    )
    return {band: xr.DataArray(loaded[band].data, dims=("time", "y", "x")) for band in layer.bands}


class _Driver(RioDriver):  # type: ignore[misc]
    """The rasterio driver with a reader that gives physical values and names what it cannot read."""

    def open(self, src: RasterSource, ctx: Any) -> _Reader:
        del ctx
        return _Reader(src.uri)


class _Reader:
    def __init__(self, description: str) -> None:
        self._description = description

    def read(
        self, cfg: RasterLoadParams, dst_geobox: GeoBox, *, dst: np.ndarray | None = None, selection: Any = None
    ) -> tuple[tuple[slice, slice], np.ndarray]:
        """The pixels of the whole grid; the loader lays them below those of earlier items."""
        del cfg, dst, selection
        return (slice(None), slice(None)), read_pixels(AssetSource.from_json(self._description), dst_geobox)


def _bins(layer: Layer, tiles: GeoboxTiles) -> dict[tuple[int, int, int], list[int]]:
    """The items of each time and tile."""
    known: dict[GeoBox, list[tuple[int, int]]] = {}
    touched = [_touched(item, tiles, known) for item in layer.sources]
    bins: dict[tuple[int, int, int], list[int]] = {}
    for t, group in enumerate(layer.groups):
        for i in group:
            for row, column in touched[i]:
                bins.setdefault((t, row, column), []).append(i)
    return bins


def _touched(
    item: Mapping[str, AssetSource], tiles: GeoboxTiles, known: dict[GeoBox, list[tuple[int, int]]]
) -> list[tuple[int, int]]:
    """The tiles an item's assets touch; most items share their grids, so these are remembered in ``known``."""
    found: set[tuple[int, int]] = set()
    for source in item.values():
        grid = GeoBox(source.shape, Affine(*source.transform), tiles.base.crs)
        if grid not in known:
            known[grid] = list(tiles.tiles(grid.extent))
        found.update(known[grid])
    return sorted(found)
