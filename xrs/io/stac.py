"""Cubes from STAC: items to a tree with a group for each native grid, in physical values, lazily."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import xarray as xr
from odc.geo.geobox import GeoBox

from xrs.cube import to_json
from xrs.errors import ParameterError
from xrs.io._bands import Band, offered_bands, select_bands
from xrs.io._chunks import Chunks, plan_chunks
from xrs.io._engines import check_engine
from xrs.io._items import find_items
from xrs.io._masks import usable_qa_pixel, usable_scl
from xrs.io._quality import Mask, check_mask, quality_layer
from xrs.io._radiometry import baseline_of
from xrs.io._reader import MissingAssetWarning
from xrs.io._scenes import Scenes
from xrs.io._times import DuplicateItemWarning, check_groupby, group_items
from xrs.io._view import view_coords

if TYPE_CHECKING:
    import pystac

__all__ = ["DuplicateItemWarning", "MissingAssetWarning", "open_stac", "usable_qa_pixel", "usable_scl"]


def open_stac(
    source: Any,
    *,
    collections: Sequence[str] | None = None,
    bbox: Sequence[float] | None = None,
    datetime: str | None = None,
    bands: Sequence[str] | None = None,
    mask: Mask = None,
    groupby: Literal["time", "solar_day"] = "time",
    engine: Literal["odc", "stackstac"] = "odc",
    on_missing: Literal["raise", "skip"] = "raise",
    chunks: Chunks = "auto",
    search: Mapping[str, Any] | None = None,
) -> xr.DataTree:
    """Open the scenes of a STAC catalogue as lazy cubes on their native grids.

    Only JSON is read; pixels are read when values are computed.

    Parameters
    ----------
    source : str, Path, mapping, pystac object or iterable of items
        Path or URL of a static catalogue, collection, item collection or item; the URL of a STAC API; or such objects
        themselves.
    collections : sequence of str, optional
        Only items of these collections.
    bbox : sequence of float, optional
        West, south, east, north in degrees: only items that overlap it, and of their pixels those it touches,
        widened to whole pixels of the coarsest grid.
    datetime : str, optional
        As in the STAC API: ``"2018"``, ``"2018-03"``, ``"2018-03-01/2018-04-30"``, ``"2018-03-01/.."``. Both
        ends count.
    bands : sequence of str, optional
        Asset keys, band names or common names. By default all spectral bands. Of copies of one band (resampled
        products, other formats) the finest is taken, GeoTIFF first.
    mask : callable or "auto", optional
        Where bands become NaN. ``"auto"`` masks clouds, their shadows and faulty pixels by the product's own layer:
        Sentinel-2's SCL (see :func:`usable_scl`) or Landsat's QA_PIXEL (see :func:`usable_qa_pixel`). A callable
        gets a Dataset with that layer and returns True where pixels are usable. On a finer grid a quality pixel counts
        for all pixels in it; a pixel of a coarser grid is usable if all quality pixels in it are.
    groupby : {"time", "solar_day"}
        What makes one date: items of the same moment, or of the same day at their longitude. Where items of
        a date overlap, the earlier one that has data is seen.
    engine : {"odc", "stackstac"}
        What builds the graph; stackstac is an extra. Pixels are the same.
    on_missing : {"raise", "skip"}
        What to do with assets that are not there or cannot be read: an error, or NaN and a warning that names them.
    chunks : mapping of str to int, or "auto"
        Sizes along ``time``, ``y`` and ``x`` in pixels of the finest grid; coarser groups get chunks of the same
        ground. ``"auto"``: about 2048 pixels, and up to 16 dates of small scenes.
    search : mapping, optional
        Further arguments of a STAC API's search, such as ``query``, ``filter``, ``limit`` (items a page) or
        ``max_items``, as pystac-client takes them.

    Returns
    -------
    xarray.DataTree
        A group for each pixel size, named by it (``r10m``, ``r20m``), with a float32 variable (time, y, x) for each
        band, NaN where nothing was seen, and the quality layer, if the items have one, as an integer variable with CF
        flags, never masked. Times ascend (UTC); ``wavelength`` and ``fwhm`` of bands are in nm. The attribute
        ``xrs:sources`` holds the identifiers of the items. Angles of sun and view that items tell
        (``view:sun_elevation``, ``view:sun_azimuth``, ``view:off_nadir``, ``view:incidence_angle``, ``view:azimuth``)
        are coordinates along ``time`` in degrees: the mean of a date's items, NaN for a date whose items tell none.

    Raises
    ------
    StacItemError
        If no item is found, an item lacks its projection, baseline, or an address, or an angle is not a number.
    BandNotFoundError
        If a band is unknown or its name fits several.
    GridMismatchError
        If items differ in CRS, pixel size or phase, or ``bbox`` misses them.
    AssetReadError
        If an asset is missing; on computing, if a file is missing, damaged or not on the grid its item tells.
    RadiometryError
        On computing, if a spectral band holds integers and nobody tells their scale.
    ParameterError
        If an argument is wrong or the engine is not installed.

    Notes
    -----
    Values are ``stored * scale + offset`` with scale, offset and nodata of the item (raster extension, or STAC 1.1
    bands), else of the file. A Sentinel-2 item without an offset gets -0.1 if its processing baseline is
    04.00 or higher, whenever it was sensed; where ``earthsearch:boa_offset_applied`` is true the offset is zero, since
    it is in the pixels already.

    Examples
    --------
    >>> item = {
    ...     "type": "Feature",
    ...     "stac_version": "1.1.0",
    ...     "id": "S2A_31UDS_20230601",
    ...     "collection": "sentinel-2-l2a",
    ...     "geometry": None,
    ...     "links": [],
    ...     "properties": {
    ...         "datetime": "2023-06-01T10:56:21Z",
    ...         "proj:code": "EPSG:32631",
    ...         "s2:processing_baseline": "05.09",
    ...     },
    ...     "assets": {
    ...         "B04": {
    ...             "href": "https://example.com/B04.tif",
    ...             "type": "image/tiff; application=geotiff",
    ...             "proj:shape": [10980, 10980],
    ...             "proj:transform": [10, 0, 399960, 0, -10, 5700000],
    ...             "eo:bands": [{"name": "B04", "common_name": "red", "center_wavelength": 0.665}],
    ...         }
    ...     },
    ... }
    >>> tree = open_stac([item])
    >>> dict(tree["r10m"].sizes), tree["r10m"]["B04"].attrs["wavelength"]
    ({'time': 1, 'y': 10980, 'x': 10980}, 665.0)
    """
    if on_missing not in {"raise", "skip"}:
        raise ParameterError(f"on_missing={on_missing!r}", "'raise' or 'skip'", "leave on_missing out")
    check_groupby(groupby)
    check_engine(engine)
    items = find_items(source, collections=collections, bbox=bbox, datetime=datetime, search=search)
    chosen, quality = select_bands(offered_bands(items), bands)
    scenes = Scenes.of(items, chosen, quality, groupby=groupby, engine=engine, skip=on_missing == "skip")
    check_mask(mask, scenes)
    grids, quality_grid = scenes.grids(bbox)
    sizes = plan_chunks(grids, chunks)
    return xr.DataTree.from_dict(
        {name: _group(scenes, name, grids[name], quality_grid, sizes[name], mask) for name in grids}
    )


def _group(
    scenes: Scenes, name: str, grid: GeoBox, quality_grid: GeoBox | None, chunks: tuple[int, int, int], mask: Mask
) -> xr.Dataset:
    """The bands of one grid, masked, and the quality layer."""
    bands = scenes.bands[name]
    arrays = scenes.load(name, bands, grid, chunks)
    layer, usable = quality_layer(scenes, name, grid, quality_grid, chunks, mask)
    if usable is not None:
        arrays = {key: array.where(usable) for key, array in arrays.items()}
    items = scenes.of_group(name)
    for band in bands:
        arrays[band.key].attrs = _band_attrs(band, items) | ({"ancillary_variables": " ".join(layer)} if layer else {})
        arrays[band.key].encoding["grid_mapping"] = "spatial_ref"
    _, dates = group_items(items, scenes.groupby)
    return xr.Dataset(arrays | layer, view_coords(items, dates), _attrs(items))


def _band_attrs(band: Band, items: Sequence[pystac.Item]) -> dict[str, Any]:
    """A band's attributes; what level 1 products hold is seen from above the atmosphere."""
    levels = [f"{item.properties.get('processing:level', '')} -{item.collection_id}".lower() for item in items]
    if "standard_name" in band.attrs and any(level.startswith("l1") or "-l1" in level for level in levels):
        return band.attrs | {"standard_name": "toa_bidirectional_reflectance"}
    return band.attrs


def _attrs(items: Sequence[pystac.Item]) -> dict[str, Any]:
    """What a group says of its sources."""
    facts = {
        "platform": {item.properties.get("platform") for item in items},
        "constellation": {item.properties.get("constellation") for item in items},
        "processing_baseline": {baseline_of(item) for item in items},
        "xrs:collections": {item.collection_id for item in items},
    }
    told = {name: ", ".join(sorted(str(v) for v in values if v is not None)) for name, values in facts.items()}
    known = {name: text for name, text in told.items() if text}
    return {"Conventions": "CF-1.11"} | known | {"xrs:sources": to_json([item.id for item in items])}
