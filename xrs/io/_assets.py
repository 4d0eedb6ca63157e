"""From items and bands to what is read: one source for each asset, and what to do with assets that are missing."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from xrs.errors import AssetReadError, StacItemError
from xrs.io._bands import Band
from xrs.io._grids import asset_grid
from xrs.io._radiometry import radiometry_of, raster_facts
from xrs.io._reader import AssetSource, MissingAssetWarning

if TYPE_CHECKING:
    import pystac

__all__ = ["check_complete", "item_sources"]


def check_complete(items: Sequence[pystac.Item], bands: Sequence[Band], *, skip: bool) -> None:
    """Tell, by error or warning, of assets that an item lacks and its collection's other items have."""
    offered = {(item.collection_id, band.asset) for item in items for band in bands if band.asset in item.assets}
    for item in items:
        expected = [band.asset for band in bands if (item.collection_id, band.asset) in offered]
        if lacking := sorted({asset for asset in expected if asset not in item.assets}):
            problem = f"item {item.id!r} has no asset {', '.join(map(repr, lacking))}"
            if not skip:
                raise AssetReadError(
                    problem, "the bands of its collection", "bands=[...] without them, or on_missing='skip'"
                )
            warnings.warn(f"{problem}; its pixels are missing", MissingAssetWarning, stacklevel=4)


def item_sources(item: pystac.Item, bands: Sequence[Band], *, skip: bool) -> dict[str, AssetSource]:
    """What an item has of some bands."""
    return {band.key: _source(item, band, skip=skip) for band in bands if band.asset in item.assets}


def _source(item: pystac.Item, band: Band, *, skip: bool) -> AssetSource:
    grid = asset_grid(item, band.asset)
    facts = raster_facts(item.assets[band.asset].to_dict(), band.index)
    radiometry = radiometry_of(item, facts, spectral=band.spectral)
    quality = band.quality
    return AssetSource(
        item=item.id,
        href=_href(item, band.asset),
        band=band.index + 1,
        transform=tuple(float(v) for v in tuple(grid.affine)[:6]),
        shape=(int(grid.shape[0]), int(grid.shape[1])),
        scale=radiometry.scale,
        offset=radiometry.offset,
        nodata=radiometry.nodata,
        dtype="float32" if quality is None else quality.dtype,
        fill=np.nan if quality is None else quality.fill,
        reflectance=band.spectral and band.unit is None,
        skip=skip,
    )


def _href(item: pystac.Item, asset: str) -> str:
    href = item.assets[asset].get_absolute_href()
    if href is None:
        raise StacItemError(
            f"asset {asset!r} of item {item.id!r} has the relative href {item.assets[asset].href!r}, and the item "
            "does not tell where it stands",
            "absolute hrefs, or a link 'self'",
            "open the JSON file itself instead of its content, or item.set_self_href(...)",
        )
    return str(href)
