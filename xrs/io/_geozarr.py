"""The three GeoZarr conventions (proj, spatial, multiscales); they still move, so all of them is here.

Written after their releases v0.1, https://github.com/zarr-conventions.
"""

from __future__ import annotations

from typing import Any

from affine import Affine
from odc.geo.geobox import GeoBox

__all__ = ["group_attrs", "multiscale_attrs", "overview_geobox"]

_RAW = "https://raw.githubusercontent.com/zarr-conventions"
_WEB = "https://github.com/zarr-conventions"

#: Name: identity of the convention, and what it says of itself.
_CONVENTIONS = {
    "proj": ("f17cb550-5864-4468-aeb7-f3180cfb622f", "Coordinate reference system information for geospatial data"),
    "spatial": ("689b58e2-cf7b-45e0-9fff-9cfc0883d6b4", "Spatial coordinate information"),
    "multiscales": ("d35379db-88df-4056-af3a-620245f8e347", "Multiscale layout of zarr datasets"),
}


def group_attrs(geobox: GeoBox) -> dict[str, Any]:
    """Attributes of a group that holds one grid."""
    names = ["spatial"] if geobox.crs is None else ["proj", "spatial"]
    return {"zarr_conventions": [_convention(name) for name in names]} | _proj(geobox) | _spatial(geobox)


def multiscale_attrs(geobox: GeoBox, levels: int) -> dict[str, Any]:
    """Attributes of the root: base in child ``0``, each overview from the level before it."""
    layout: list[dict[str, Any]] = [{"asset": "0", "transform": {"scale": [1.0, 1.0]}} | _placed(geobox)]
    layout += [
        {
            "asset": str(level),
            "derived_from": str(level - 1),
            "transform": {"scale": [2.0, 2.0]},
            "resampling_method": "average",
        }
        | _placed(overview_geobox(geobox, level))
        for level in range(1, levels + 1)
    ]
    attrs = group_attrs(geobox)
    attrs["zarr_conventions"].append(_convention("multiscales"))
    return attrs | {"multiscales": {"layout": layout}}


def overview_geobox(geobox: GeoBox, level: int) -> GeoBox:
    """The grid of an overview: pixels ``2**level`` times larger from the same corner, sizes rounded up."""
    height, width = (-(-n // 2**level) for n in geobox.shape)
    a, b, c, d, e, f = geobox.affine[:6]
    step = 2**level
    return GeoBox((height, width), Affine(a * step, b * step, c, d * step, e * step, f), geobox.crs)


def _convention(name: str) -> dict[str, str]:
    uuid, description = _CONVENTIONS[name]
    return {
        "uuid": uuid,
        "schema_url": f"{_RAW}/{name}/refs/tags/v0.1/schema.json",
        "spec_url": f"{_WEB}/{name}/blob/v0.1/README.md",
        "name": name,
        "description": description,
    }


def _proj(geobox: GeoBox) -> dict[str, Any]:
    if geobox.crs is None:
        return {}
    epsg = geobox.crs.epsg
    return {"proj:code": f"EPSG:{epsg}"} if epsg else {"proj:wkt2": geobox.crs.to_wkt()}


def _placed(geobox: GeoBox) -> dict[str, Any]:
    return {"spatial:shape": list(map(int, geobox.shape)), "spatial:transform": list(geobox.affine)[:6]}


def _spatial(geobox: GeoBox) -> dict[str, Any]:
    box = geobox.boundingbox
    return {
        "spatial:dimensions": ["y", "x"],
        "spatial:bbox": [box.left, box.bottom, box.right, box.top],
        "spatial:transform_type": "affine",
        "spatial:registration": "pixel",
    } | _placed(geobox)
