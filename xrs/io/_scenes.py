"""The items to load, complete and of one CRS, with the bands wanted of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from xrs.cube import assign_geobox
from xrs.io._assets import check_complete, item_sources
from xrs.io._bands import Band
from xrs.io._engines import load_layer
from xrs.io._grids import asset_grid, crop, group_name, same_crs, union
from xrs.io._layer import Layer
from xrs.io._times import distinct, group_items

if TYPE_CHECKING:
    import pystac

__all__ = ["Scenes"]


@dataclass(frozen=True)
class Scenes:
    """Items and bands, and how to load them.

    Attributes
    ----------
    items : tuple of pystac.Item
        Each acquisition and grid once, in one CRS.
    bands : mapping of str to list of Band
        The bands of each group, finest grid first.
    quality : Band or None
        The quality layer.
    groupby, engine : str
        As in ``open_stac``.
    skip : bool
        Whether assets that cannot be read are missing.
    """

    items: tuple[pystac.Item, ...]
    bands: Mapping[str, list[Band]]
    quality: Band | None
    groupby: str
    engine: str
    skip: bool

    @classmethod
    def of(
        cls,
        items: Sequence[pystac.Item],
        bands: Sequence[Band],
        quality: Band | None,
        *,
        groupby: str,
        engine: str,
        skip: bool,
    ) -> Scenes:
        """Check items against bands, drop scenes that come twice and sort bands by grid."""
        check_complete(items, [*bands, quality] if quality is not None else bands, skip=skip)
        having = [item for item in items if any(band.asset in item.assets for band in bands)]
        first = [asset_grid(item, next(b.asset for b in bands if b.asset in item.assets)) for item in having]
        same_crs(having, first)
        kept = distinct(having, first)
        grids = {band: _native(kept, band) for band in bands}
        members: dict[str, list[Band]] = {}
        for band in sorted(bands, key=lambda band: float(grids[band].affine.a)):
            members.setdefault(group_name(grids[band]), []).append(band)
        return cls(tuple(kept), members, quality, groupby, engine, skip)

    def grids(self, bbox: Sequence[float] | None) -> tuple[dict[str, GeoBox], GeoBox | None]:
        """The grid of each group, and that of the quality layer, cut to a box."""
        natives = {
            name: union([_native(self.items, band) for band in bands], f"group {name!r}")
            for name, bands in self.bands.items()
        }
        if self.quality is None:
            return crop(natives, bbox), None
        cut = crop(natives | {"": _native(self.items, self.quality)}, bbox)
        return cut, cut.pop("")

    def of_group(self, name: str) -> list[pystac.Item]:
        """The items of the collections that have any band of a group."""
        assets = {band.asset for band in self.bands[name]}
        having = {item.collection_id for item in self.items if assets & set(item.assets)}
        return [item for item in self.items if item.collection_id in having]

    def load(
        self, name: str, bands: Sequence[Band], grid: GeoBox, chunks: tuple[int, int, int]
    ) -> dict[str, xr.DataArray]:
        """Lazy arrays on a grid, a date for each acquisition of a group's items; the bands have one type."""
        items = self.of_group(name)
        times, groups = group_items(items, self.groupby)
        quality = bands[0].quality
        layer = Layer(
            grid,
            times,
            groups,
            tuple(item_sources(item, bands, skip=self.skip) for item in items),
            tuple(band.key for band in bands),
            "float32" if quality is None else quality.dtype,
            np.nan if quality is None else quality.fill,
            chunks,
        )
        arrays = load_layer(layer, self.engine)
        return {key: assign_geobox(array.assign_coords(time=times), grid) for key, array in arrays.items()}


def _native(items: Sequence[pystac.Item], band: Band) -> GeoBox:
    return union([asset_grid(item, band.asset) for item in items if band.asset in item.assets], f"band {band.key!r}")
