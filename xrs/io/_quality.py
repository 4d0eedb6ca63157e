"""The quality layer on the grid of a group, and which pixels it leaves usable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import xarray as xr
from odc.geo.geobox import GeoBox

from xrs.cube import assign_geobox, nest, refine
from xrs.errors import ParameterError, StacItemError
from xrs.io._bands import Band
from xrs.io._scenes import Scenes

__all__ = ["Mask", "check_mask", "quality_layer"]

Mask = Callable[[xr.Dataset], xr.DataArray] | Literal["auto"] | None

Layers = dict[str, xr.DataArray]


def check_mask(mask: Mask, scenes: Scenes) -> None:
    """Refuse a mask that is no rule, or that items cannot fill."""
    if mask is None:
        return
    if mask != "auto" and not callable(mask):
        raise ParameterError(
            f"mask={mask!r}", "None, 'auto' or a callable", "e.g. mask=xrs.io.usable_scl((0, 3, 8, 9, 10))"
        )
    lacking = [i.id for i in scenes.items if scenes.quality is None or scenes.quality.asset not in i.assets]
    # An item whose own collection has the layer was told of before; there the mask covers the whole image.
    offering = {i.collection_id for i in scenes.items if i.id not in lacking}
    if any(item.id in lacking and item.collection_id not in offering for item in scenes.items):
        raise StacItemError(
            f"a mask is asked for, but item {lacking[0]!r} has no quality layer",
            "an asset SCL or QA_PIXEL",
            "mask=None, or open only collections that have the layer",
        )


def quality_layer(
    scenes: Scenes, name: str, grid: GeoBox, native: GeoBox | None, chunks: tuple[int, int, int], mask: Mask
) -> tuple[Layers, xr.DataArray | None]:
    """The quality layer on a group's grid (none on a coarser grid), and where pixels are usable (None: no mask)."""
    band = scenes.quality
    if band is None or native is None:
        return {}, None
    if grid.affine.a > native.affine.a:
        return {}, None if mask is None else _usable_blocks(scenes, name, band, grid, native, chunks, mask)
    if grid.affine.a < native.affine.a:
        nest(grid, native)
    layer = _load(scenes, name, band, grid, chunks)
    return layer, None if mask is None else _usable(layer, band, mask)


def _usable_blocks(
    scenes: Scenes,
    name: str,
    band: Band,
    grid: GeoBox,
    native: GeoBox,
    chunks: tuple[int, int, int],
    mask: Mask,
) -> xr.DataArray:
    """Where all quality pixels in a coarse pixel are usable."""
    ratio = nest(native, grid).ratio
    dates, rows, columns = chunks
    layer = _load(scenes, name, band, refine(grid, ratio), (dates, rows * ratio, columns * ratio))
    blocks = _usable(layer, band, mask).coarsen(y=ratio, x=ratio).all()
    return assign_geobox(blocks.drop_vars(["y", "x"]), grid)


def _load(scenes: Scenes, name: str, band: Band, grid: GeoBox, chunks: tuple[int, int, int]) -> Layers:
    quality = band.quality
    assert quality is not None
    array = scenes.load(name, [band], grid, chunks)[band.key]
    array.attrs = dict(quality.attrs)
    array.encoding["grid_mapping"] = "spatial_ref"
    return {quality.name: array}


def _usable(layer: Layers, band: Band, mask: Mask) -> xr.DataArray:
    assert band.quality is not None
    rule = mask if callable(mask) else band.quality.usable
    usable = rule(xr.Dataset(layer))
    if not isinstance(usable, xr.DataArray) or usable.dtype != bool:
        kind = usable.dtype if isinstance(usable, xr.DataArray) else type(usable).__name__
        raise ParameterError(
            f"mask returned {kind}", "a DataArray of bool, True where usable", "compare the layer's values"
        )
    return usable
