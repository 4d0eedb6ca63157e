"""The STAC item that lies beside a product."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from odc.geo.geobox import GeoBox

from xrs.cube import band_keys, package_version
from xrs.cube.bands import BAND_COORDS
from xrs.io._packing import Packing

__all__ = ["stac_item"]

_EXTENSIONS = [
    "https://stac-extensions.github.io/eo/v2.0.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
]

_ZARR = "application/vnd.zarr; version=3"


def stac_item(
    dataset: xr.Dataset, geobox: GeoBox, href: str, packing: Packing | None, title: str | None
) -> dict[str, Any] | None:
    """A STAC 1.1 item with one asset, the product; None for a cube without dates, as an item needs one.

    Parameters
    ----------
    dataset : xarray.Dataset
        The product's base level.
    geobox : GeoBox
        Its grid; without a CRS the item has no geometry.
    href : str
        Of the product, relative to the item.
    packing : Packing, optional
        How floats are stored.
    title : str, optional
    """
    import pystac

    if "time" not in dataset.coords:
        return None
    times = pd.DatetimeIndex(np.atleast_1d(dataset["time"].values))
    first, last = (t.to_pydatetime(warn=False).replace(tzinfo=UTC) for t in (times.min(), times.max()))
    geometry, bbox = _footprint(geobox)
    item = pystac.Item(
        id=href.rsplit("/", 1)[-1].removesuffix(".zarr"),
        geometry=geometry,
        bbox=bbox,
        datetime=first if first == last else None,
        start_datetime=None if first == last else first,
        end_datetime=None if first == last else last,
        properties=_properties(dataset, geobox, title),
        stac_extensions=list(_EXTENSIONS),
    )
    item.add_asset("data", pystac.Asset(href, title, None, _ZARR, ["data"], {"bands": _bands(dataset, packing)}))
    for source in _sources(dataset):
        item.add_link(pystac.Link("derived_from", source, media_type="application/json"))
    return item.to_dict(include_self_link=False, transform_hrefs=False)


def _properties(dataset: xr.Dataset, geobox: GeoBox, title: str | None) -> dict[str, Any]:
    attrs = dataset.attrs
    made: dict[str, Any] = {
        "proj:code": f"EPSG:{geobox.crs.epsg}" if geobox.crs is not None and geobox.crs.epsg else None,
        "proj:shape": list(map(int, geobox.shape)),
        "proj:transform": list(geobox.affine)[:6],
        "processing:software": {"xrs": package_version()},
    }
    if geobox.crs is not None and not geobox.crs.epsg:
        made["proj:wkt2"] = geobox.crs.to_wkt()
    if attrs.get("history"):
        made["processing:lineage"] = str(attrs["history"])
    if title:
        made["title"] = title
    # A clock time would make equal inputs give different bytes.
    if "SOURCE_DATE_EPOCH" in os.environ:
        made["created"] = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), UTC).strftime(
            "%Y-%m-%dT%H:%M:%SZ"
        )
    return made


def _footprint(geobox: GeoBox) -> tuple[dict[str, Any] | None, list[float] | None]:
    if geobox.crs is None:
        return None, None
    shape = geobox.footprint("EPSG:4326", npoints=16)
    return json.loads(json.dumps(shape.json)), [float(v) for v in shape.boundingbox.bbox]


def _bands(dataset: xr.Dataset, packing: Packing | None) -> list[dict[str, Any]]:
    bands = []
    for name in band_keys(dataset):
        cube = dataset[name]
        if "band" in cube.coords:
            along = {c: np.atleast_1d(cube[c].values).tolist() for c in BAND_COORDS if c in cube.coords}
            facts = [{c: values[i] for c, values in along.items()} for i in range(len(band_keys(cube)))]
            bands += [_band(key, cube, fact, packing) for key, fact in zip(band_keys(cube), facts, strict=True)]
        else:
            bands.append(_band(name, cube, cube.attrs, packing))
    return bands


def _band(key: str, cube: xr.DataArray, facts: Any, packing: Packing | None) -> dict[str, Any]:
    band: dict[str, Any] = {"name": key}
    if facts.get("common_name"):
        band["eo:common_name"] = str(facts["common_name"])
    # STAC counts in micrometres.
    for ours, theirs in (("wavelength", "eo:center_wavelength"), ("fwhm", "eo:full_width_half_max")):
        if facts.get(ours) is not None and np.isfinite(facts[ours]):
            band[theirs] = round(float(facts[ours]) / 1000, 9)
    return band | _storage(cube, packing)


def _storage(cube: xr.DataArray, packing: Packing | None) -> dict[str, Any]:
    unit = {"unit": str(cube.attrs["units"])} if "units" in cube.attrs else {}
    if cube.dtype.kind != "f":
        return {"data_type": "uint8" if cube.dtype.kind == "b" else str(cube.dtype)} | unit
    if packing is None:
        return {"data_type": "float32", "nodata": "nan"} | unit
    stored = {"raster:scale": packing.scale, "raster:offset": packing.offset}
    return {"data_type": "int16", "nodata": packing.fill} | stored | unit


def _sources(dataset: xr.Dataset) -> list[str]:
    """``xrs:sources`` as a list: of the cube or of any variable, a list or JSON of one."""
    held = [dataset.attrs, *(v.attrs for v in dataset.data_vars.values())]
    names: dict[str, None] = {}
    for attrs in held:
        found = attrs.get("xrs:sources", [])
        if isinstance(found, str):
            try:
                found = json.loads(found)
            except ValueError:
                found = [found]
        names |= dict.fromkeys(map(str, [found] if isinstance(found, str) else found))
    return list(names)
