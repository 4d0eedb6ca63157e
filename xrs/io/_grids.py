"""The native grids of items, from their projection metadata, and the part of them that was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from odc.geo.geom import box

from xrs.cube import describe
from xrs.errors import GridMismatchError, StacItemError

if TYPE_CHECKING:
    import pystac

__all__ = ["asset_grid", "crop", "group_name", "same_crs", "union"]

#: Of a pixel; transforms in metadata are often rounded.
_TOLERANCE = 1e-3


def asset_grid(item: pystac.Item, asset: str) -> GeoBox:
    """The grid of an asset, from the projection extension at the asset or its item.

    Raises
    ------
    StacItemError
        If CRS, shape or transform are missing, or the grid is rotated or not north up.
    """
    own, shared = item.assets[asset].extra_fields, item.properties
    facts = {name: own.get(f"proj:{name}", shared.get(f"proj:{name}")) for name in _FIELDS}
    crs = next((_crs(facts[name]) for name in ("code", "epsg", "wkt2", "projjson") if facts[name] is not None), None)
    transform = _transform(facts)
    lacking = [n for n, v in (("code", crs), ("shape", facts["shape"]), ("transform", transform)) if v is None]
    if lacking:
        raise StacItemError(
            f"asset {asset!r} of item {item.id!r} lacks {', '.join('proj:' + name for name in lacking)}",
            "the projection extension: proj:code, proj:shape and proj:transform",
            "write them into the item, e.g. with rio-stac's create_stac_item(..., with_proj=True), and open it again",
        )
    assert transform is not None
    if transform.b or transform.d or transform.a <= 0 or transform.e >= 0:
        raise StacItemError(
            f"asset {asset!r} of item {item.id!r} has proj:transform {tuple(transform)[:6]}",
            "a grid with north up and no rotation",
            "warp the file, e.g. with gdalwarp, and describe the warped file",
        )
    height, width = facts["shape"]
    return GeoBox((int(height), int(width)), transform, crs)


_FIELDS = ("code", "epsg", "wkt2", "projjson", "shape", "transform", "bbox")


def _crs(value: Any) -> CRS:
    return CRS(f"EPSG:{value}" if isinstance(value, int) else value)


def _transform(facts: Mapping[str, Any]) -> Affine | None:
    if facts["transform"] is not None:
        return Affine(*facts["transform"][:6])
    if facts["bbox"] is None or facts["shape"] is None:
        return None
    (west, south, east, north), (height, width) = facts["bbox"], facts["shape"]
    return Affine((east - west) / width, 0, west, 0, (south - north) / height, north)


def same_crs(items: Sequence[pystac.Item], grids: Sequence[GeoBox]) -> None:
    """Refuse items whose grids differ in CRS."""
    members: dict[str, list[str]] = {}
    for item, grid in zip(items, grids, strict=True):
        members.setdefault(str(grid.crs), []).append(item.id)
    if len(members) > 1:
        told = "; ".join(f"{crs}: {len(ids)} items, e.g. {ids[0]!r}" for crs, ids in members.items())
        raise GridMismatchError(
            f"the items have {len(members)} CRS ({told})",
            "items of one CRS",
            "open the items of each CRS by itself, e.g. open_stac([i for i in items if "
            f"i.properties['proj:code'] == {next(iter(members))!r}]), and reproject one result to the other",
        )


def union(grids: Iterable[GeoBox], name: str) -> GeoBox:
    """The grid that holds all pixels of grids with one pixel size and phase.

    Raises
    ------
    GridMismatchError
        If pixel sizes or phases differ.
    """
    distinct = list(dict.fromkeys(grids))
    first = distinct[0]
    windows = np.array([_window(grid, first, name) for grid in distinct])
    (row, column), (bottom, right) = windows[:, :2].min(axis=0), windows[:, 2:].max(axis=0)
    return _part(first, int(row), int(column), int(bottom), int(right))


def crop(grids: Mapping[str, GeoBox], bbox: Sequence[float] | None) -> dict[str, GeoBox]:
    """The pixels that a box touches, widened to whole pixels of the coarsest grid so that the grids stay nested.

    Parameters
    ----------
    grids : mapping of str to GeoBox
        Grids with one CRS.
    bbox : sequence of float, optional
        West, south, east, north in degrees; None keeps everything.

    Raises
    ------
    GridMismatchError
        If the box misses the grids.
    """
    if bbox is None:
        return dict(grids)
    coarsest = max(grids.values(), key=lambda grid: grid.affine.a)
    # The sides of the box are curves in the grids' CRS.
    step = max(bbox[2] - bbox[0], bbox[3] - bbox[1]) / 64
    area = box(*bbox, "EPSG:4326").to_crs(coarsest.crs, resolution=step).boundingbox
    area = _pixels(coarsest, tuple(area)).boundingbox
    cropped = {name: _clip(grid, _pixels(grid, tuple(area))) for name, grid in grids.items()}
    if any(grid is None for grid in cropped.values()):
        raise GridMismatchError(
            f"bbox={tuple(bbox)} (west, south, east, north in degrees) misses {describe(coarsest)}",
            "a box that touches the items' pixels",
            "check the order of the coordinates, or leave bbox out",
        )
    return {name: grid for name, grid in cropped.items() if grid is not None}


def group_name(grid: GeoBox) -> str:
    """``"r10m"`` for pixels of 10 m; ``"r0.1deg"`` in a geographic CRS."""
    unit = "deg" if grid.crs is not None and grid.crs.geographic else "m"
    return f"r{round(grid.affine.a, 6):g}{unit}"


def _window(grid: GeoBox, like: GeoBox, name: str) -> tuple[int, int, int, int]:
    """Rows and columns of a grid, counted from the corner of another: top, left, bottom, right."""
    height, width = grid.shape
    ends = [~like.affine @ (grid.affine @ corner) for corner in ((0, 0), (width, height))]
    exact = np.array([ends[0][1], ends[0][0], ends[1][1], ends[1][0]])
    whole = np.round(exact)
    if np.abs(exact - whole).max() > _TOLERANCE or tuple(whole[2:] - whole[:2]) != (height, width):
        raise GridMismatchError(
            f"the grids of {name} do not share their pixels: {describe(like)} and {describe(grid)}",
            "one pixel size and phase",
            "open the items of each grid by themselves",
        )
    top, left, bottom, right = (int(v) for v in whole)
    return top, left, bottom, right


def _part(grid: GeoBox, top: int, left: int, bottom: int, right: int) -> GeoBox:
    return GeoBox((bottom - top, right - left), grid.affine @ Affine.translation(left, top), grid.crs)


def _pixels(grid: GeoBox, area: tuple[float, ...]) -> GeoBox:
    """The pixels of a grid, continued beyond its edges, that an area in its CRS touches."""
    west, south, east, north = area
    (left, top), (right, bottom) = ~grid.affine @ (west, north), ~grid.affine @ (east, south)
    # An edge on a pixel's edge, up to rounding, must not take in the pixel beyond it.
    first, last = np.floor([top + _TOLERANCE, left + _TOLERANCE]), np.ceil([bottom - _TOLERANCE, right - _TOLERANCE])
    return _part(grid, *(int(v) for v in first), *(int(v) for v in last))


def _clip(grid: GeoBox, wanted: GeoBox) -> GeoBox | None:
    (top, left, bottom, right), (height, width) = _window(wanted, grid, "bbox"), grid.shape
    top, left, bottom, right = max(top, 0), max(left, 0), min(bottom, height), min(right, width)
    return _part(grid, top, left, bottom, right) if bottom > top and right > left else None
