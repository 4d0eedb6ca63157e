"""Small STAC items with real GeoTIFFs, written by the tests of xrs.io.stac."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import rasterio
from odc.geo.geom import box
from rasterio.transform import Affine

CORNER = (500_000.0, 5_600_040.0)
PROJ = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
EO = "https://stac-extensions.github.io/eo/v1.1.0/schema.json"

ENGINES = ["odc", "stackstac"]
BASELINE = {"s2:processing_baseline": "02.14"}

NAMES = {
    "B02": ("blue", 0.4924, 0.066),
    "B04": ("red", 0.6646, 0.031),
    "B08": ("nir", 0.8328, 0.106),
    "B11": ("swir16", 1.6137, 0.091),
}


def write_tiff(
    path: Path,
    values: np.ndarray,
    pixel: float,
    *,
    corner: tuple[float, float] = CORNER,
    epsg: int = 32631,
    **profile: Any,
) -> None:
    """A GeoTIFF of (y, x) or (band, y, x) values."""
    stack = values if values.ndim == 3 else values[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=stack.shape[0],
        height=stack.shape[1],
        width=stack.shape[2],
        dtype=stack.dtype,
        crs=f"EPSG:{epsg}",
        transform=Affine(pixel, 0, corner[0], 0, -pixel, corner[1]),
        **profile,
    ) as file:
        file.write(stack)


def asset(
    name: str, href: str, shape: tuple[int, int], pixel: float, *, corner: tuple[float, float] = CORNER, **fields: Any
) -> dict[str, Any]:
    """An asset with its grid, and EO metadata where the band is known."""
    document: dict[str, Any] = {
        "href": href,
        "type": "image/tiff; application=geotiff",
        "roles": ["data"],
        "proj:shape": list(shape),
        "proj:transform": [pixel, 0, corner[0], 0, -pixel, corner[1]],
        "gsd": pixel,
    }
    if name in NAMES:
        common, centre, width = NAMES[name]
        document["eo:bands"] = [
            {"name": name, "common_name": common, "center_wavelength": centre, "full_width_half_max": width}
        ]
    return document | fields


def write_item(
    folder: Path,
    name: str,
    datetime: str,
    bands: Mapping[str, tuple[np.ndarray, float]],
    *,
    corner: tuple[float, float] = CORNER,
    epsg: int = 32631,
    collection: str = "sentinel-2-l2a",
    properties: Mapping[str, Any] | None = None,
    fields: Mapping[str, Mapping[str, Any]] | None = None,
    profile: Mapping[str, Any] | None = None,
) -> pystac.Item:
    """An item and its files; ``bands`` gives values and pixel size, ``fields`` more of each asset's metadata."""
    assets = {}
    for key, (values, pixel) in bands.items():
        write_tiff(folder / name / f"{key}.tif", values, pixel, corner=corner, epsg=epsg, **(profile or {}))
        assets[key] = asset(key, f"./{key}.tif", values.shape[-2:], pixel, corner=corner, **(fields or {}).get(key, {}))
    values, pixel = next(iter(bands.values()))
    height, width = values.shape[-2:]
    area = box(corner[0], corner[1] - height * pixel, corner[0] + width * pixel, corner[1], f"EPSG:{epsg}").to_crs(
        "EPSG:4326"
    )
    document = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [PROJ, EO],
        "id": name,
        "collection": collection,
        "geometry": area.boundingbox.polygon.json,
        "bbox": list(area.boundingbox),
        "properties": {
            "datetime": datetime,
            "proj:code": f"EPSG:{epsg}",
            "platform": "sentinel-2a",
            **(properties or {}),
        },
        "links": [],
        "assets": assets,
    }
    path = folder / name / f"{name}.json"
    path.write_text(json.dumps(document))
    return pystac.Item.from_file(path)


def collection_of(items: list[pystac.Item], name: str = "sentinel-2-l2a") -> pystac.Collection:
    """A collection that holds items, in memory."""
    extent = pystac.Extent.from_items(items)
    collection = pystac.Collection(name, name, extent)
    collection.add_items([item.clone() for item in items])
    return collection


def reflectance(seed: int = 0, side: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.0, 0.6, (side, side)).round(4)


def numbers(values: np.ndarray, scale: float = 1e-4, offset: float = 0.0) -> np.ndarray:
    """The uint16 that a producer stores for reflectances."""
    return np.round((values - offset) / scale).astype("uint16")


def s2(folder: Path, name: str, date: str, stored: np.ndarray, **options: Any) -> pystac.Item:
    return write_item(folder, name, date, {"B04": (stored, 10.0)}, **options)
