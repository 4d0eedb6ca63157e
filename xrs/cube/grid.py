"""Grids as GeoBoxes, and how a fine grid nests in a coarse one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from xrs.errors import GridMismatchError

__all__ = [
    "Nesting",
    "assign_geobox",
    "coarsen",
    "crs_of",
    "describe",
    "geobox_of",
    "nest",
    "refine",
    "same_grid",
    "shared_pixels",
]

#: Tolerance of phases and ratios, in fine pixels: coordinates are float64 but often written rounded.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Nesting:
    """How a fine grid lies in a coarse one, over the area both cover.

    Attributes
    ----------
    ratio : int
        Fine pixels along the side of a coarse pixel.
    fine, coarse : GeoBox
        The common area on each grid; ``fine.shape == ratio * coarse.shape``.
    fine_window, coarse_window : dict of str to slice
        Where that area lies in each input, for ``isel``.
    """

    ratio: int
    fine: GeoBox
    coarse: GeoBox
    fine_window: dict[str, slice]
    coarse_window: dict[str, slice]


def geobox_of(cube: xr.DataArray | xr.Dataset) -> GeoBox:
    """The grid of a cube from its coordinates ``y`` and ``x`` (pixel centres) and its CRS, if any.

    Parameters
    ----------
    cube : xarray.DataArray or xarray.Dataset

    Returns
    -------
    odc.geo.geobox.GeoBox
        Without a CRS if the cube has none.

    Raises
    ------
    GridMismatchError
        If coordinates are missing, unevenly spaced, or ``y`` does not descend.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> cube = xr.DataArray(np.zeros((2, 2)), dims=("y", "x"), coords={"y": [15.0, 5.0], "x": [5.0, 15.0]})
    >>> geobox_of(cube).resolution.x
    10.0
    """
    missing = [d for d in ("y", "x") if d not in cube.coords]
    if missing:
        raise GridMismatchError(
            f"the cube has no coordinate {' and '.join(missing)}",
            "pixel centres along y and x",
            "xrs.cube.assign_geobox(cube, geobox), or cube.assign_coords(y=..., x=...)",
        )
    y, x = (np.asarray(cube[d].values, dtype="float64") for d in ("y", "x"))
    if y.size == 0 or x.size == 0:
        raise GridMismatchError(f"the grid is empty: {y.size} by {x.size} pixels", "at least one pixel")
    written = _written_resolution(cube)
    step_x, step_y = _step(x, "x"), _step(y, "y")
    step_x = step_x or written[0] or abs(step_y)
    step_y = step_y or written[1] or -abs(step_x)
    if not step_x or not step_y:
        raise GridMismatchError(
            "a single pixel's coordinates do not tell its size",
            "a GeoTransform in spatial_ref",
            "xrs.cube.assign_geobox(cube, geobox)",
        )
    if step_y > 0 or step_x < 0:
        raise GridMismatchError(
            f"y steps by {step_y:g} and x by {step_x:g}",
            "y descending and x ascending",
            "cube.sortby('y', ascending=False)",
        )
    transform = Affine(step_x, 0, x[0] - step_x / 2, 0, step_y, y[0] - step_y / 2)
    return GeoBox((y.size, x.size), transform, crs_of(cube))


def crs_of(cube: xr.DataArray | xr.Dataset) -> CRS | None:
    """The CRS that a grid mapping coordinate (or variable) tells, by CF's or GDAL's attributes."""
    variables = {str(k): v for k, v in (cube.variables if isinstance(cube, xr.Dataset) else cube.coords).items()}
    holders = [cube, *cube.data_vars.values()] if isinstance(cube, xr.Dataset) else [cube]
    named = [str(h.encoding.get("grid_mapping", h.attrs.get("grid_mapping", ""))) for h in holders]
    for name in [*named, "spatial_ref", *variables]:
        attrs = variables[name].attrs if name in variables else {}
        text = attrs.get("crs_wkt") or attrs.get("spatial_ref")
        if text:
            return CRS(str(text))
    return None


def assign_geobox(cube: xr.DataArray, geobox: GeoBox) -> xr.DataArray:
    """Put a grid's coordinates (and CRS) on a cube of the same size.

    Parameters
    ----------
    cube : xarray.DataArray
        With dims ``y`` and ``x``.
    geobox : odc.geo.geobox.GeoBox

    Returns
    -------
    xarray.DataArray
        With pixel centres as ``y`` and ``x`` and, for a grid with a CRS, ``spatial_ref``.

    Raises
    ------
    GridMismatchError
        If the sizes differ.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> grid = GeoBox((2, 3), Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 5_600_000.0), "EPSG:32631")
    >>> assign_geobox(xr.DataArray(np.zeros((2, 3)), dims=("y", "x")), grid).x.values
    array([500005., 500015., 500025.])
    """
    height, width = geobox.shape
    if (cube.sizes["y"], cube.sizes["x"]) != (height, width):
        raise GridMismatchError(
            f"the cube has {cube.sizes['y']} by {cube.sizes['x']} pixels", f"{height} by {width}, as the grid has"
        )
    grid = geobox.affine
    coords: dict[str, object] = {
        "y": ("y", grid.f + grid.e * (np.arange(height) + 0.5)),
        "x": ("x", grid.c + grid.a * (np.arange(width) + 0.5)),
    }
    bare = cube.drop_vars([name for name in ("y", "x", "spatial_ref") if name in cube.coords])
    if geobox.crs is None:
        return bare.assign_coords(coords)
    crs_coord = xr_coords(geobox)["spatial_ref"]
    units = "degrees" if geobox.crs.geographic else "m"
    for dim, name in (("y", "projection_y_coordinate"), ("x", "projection_x_coordinate")):
        if not geobox.crs.geographic:
            coords[dim] = (*coords[dim], {"units": units, "standard_name": name})  # type: ignore[misc]
    result = bare.assign_coords(coords | {"spatial_ref": crs_coord})
    result.encoding["grid_mapping"] = "spatial_ref"
    return result


def nest(fine: GeoBox, coarse: GeoBox, *, ratio: int | None = None) -> Nesting:
    """Check that a fine grid nests in a coarse one and find the area both cover.

    Parameters
    ----------
    fine, coarse : GeoBox
        Two grids with the same CRS, or both without one.
    ratio : int, optional
        The ratio expected; taken from the pixel sizes if not given.

    Raises
    ------
    GridMismatchError
        If CRS differ, the ratio is no integer, the phase is off or there is no overlap.

    Examples
    --------
    >>> from affine import Affine
    >>> from odc.geo.geobox import GeoBox
    >>> fine = GeoBox((8, 8), Affine(10, 0, 0, 0, -10, 80), "EPSG:32631")
    >>> coarse = GeoBox((4, 4), Affine(20, 0, 0, 0, -20, 80), "EPSG:32631")
    >>> nest(fine, coarse).ratio
    2
    """
    _check_crs(fine, coarse)
    found = _ratio(fine, coarse)
    if ratio is not None and ratio != found:
        raise GridMismatchError(f"the grids have ratio {found}", f"ratio {ratio}", "leave ratio out, or regrid one")
    corner_x, corner_y = ~fine.affine @ (coarse.affine.c, coarse.affine.f)
    _check_phase(corner_x, corner_y, found, fine, coarse)
    column, row = round(corner_x), round(corner_y)
    (f0y, c0y, ny), (f0x, c0x, nx) = (
        _common(start, found, n_fine, n_coarse)
        for start, n_fine, n_coarse in (
            (row, fine.shape[0], coarse.shape[0]),
            (column, fine.shape[1], coarse.shape[1]),
        )
    )
    if ny <= 0 or nx <= 0:
        raise GridMismatchError(
            f"the grids do not share one whole coarse pixel: {describe(fine)} and {describe(coarse)}",
            "grids that overlap",
            "check the bbox of both, and their CRS",
        )
    fine_window = {"y": slice(f0y, f0y + ny * found), "x": slice(f0x, f0x + nx * found)}
    coarse_window = {"y": slice(c0y, c0y + ny), "x": slice(c0x, c0x + nx)}
    return Nesting(
        found,
        fine[fine_window["y"], fine_window["x"]],
        coarse[coarse_window["y"], coarse_window["x"]],
        fine_window,
        coarse_window,
    )


def refine(geobox: GeoBox, ratio: int) -> GeoBox:
    """The grid whose pixels are ``ratio`` times smaller over the same area."""
    height, width = geobox.shape
    return GeoBox((height * ratio, width * ratio), geobox.affine @ Affine.scale(1 / ratio), geobox.crs)


def coarsen(geobox: GeoBox, ratio: int) -> GeoBox:
    """The grid whose pixels are ``ratio`` times larger; sides must be multiples of ``ratio``."""
    height, width = geobox.shape
    if height % ratio or width % ratio:
        raise GridMismatchError(
            f"the grid has {height} by {width} pixels", f"multiples of {ratio}", "crop it with isel"
        )
    return GeoBox((height // ratio, width // ratio), geobox.affine @ Affine.scale(ratio), geobox.crs)


def same_grid(one: GeoBox, other: GeoBox) -> bool:
    """Whether two grids have the same pixels, up to rounding of coordinates."""
    if one.shape != other.shape or one.crs != other.crs:
        return False
    scale = abs(one.affine.a)
    height, width = one.shape
    corners = [(0, 0), (width, height)]
    gaps = [np.subtract(one.affine @ c, other.affine @ c) for c in corners]
    return bool(np.abs(gaps).max() <= _TOLERANCE * scale)


def shared_pixels(one: GeoBox, other: GeoBox) -> tuple[dict[str, slice], dict[str, slice]]:
    """Where the pixels that two grids share lie in each, for ``isel``.

    Raises
    ------
    GridMismatchError
        If CRS or pixel sizes differ, pixels do not lie on each other, or none is shared.

    Examples
    --------
    >>> from affine import Affine
    >>> from odc.geo.geobox import GeoBox
    >>> wide = GeoBox((4, 8), Affine(30, 0, 0, 0, -30, 120), "EPSG:32631")
    >>> shared_pixels(wide, wide[1:3, 2:4])[0]
    {'y': slice(1, 3, None), 'x': slice(2, 4, None)}
    """
    _check_crs(one, other)
    corner = np.array(~one.affine @ (other.affine.c, other.affine.f))
    last = np.array(~one.affine @ (other.affine @ (other.shape[1], other.shape[0])))
    whole = np.rint(corner).astype(int)
    size = np.array([other.shape[1], other.shape[0]])
    if max(np.abs(corner - whole).max(), np.abs(last - whole - size).max()) > _TOLERANCE:
        raise GridMismatchError(
            f"{describe(one)} and {describe(other)} have other pixels",
            "pixels of one size that lie on each other",
            "xrs.sharpen({...}) of the two if one is coarser, or xrs.regrid of one of them",
        )
    (first_x, own_x, width), (first_y, own_y, height) = (
        _common(int(start), 1, mine, theirs)
        for start, mine, theirs in zip(whole, reversed(one.shape), reversed(other.shape), strict=True)
    )
    if height <= 0 or width <= 0:
        raise GridMismatchError(
            f"the grids do not overlap: {describe(one)} and {describe(other)}",
            "grids that share pixels",
            "check the bbox of both, and their CRS",
        )
    return (
        {"y": slice(first_y, first_y + height), "x": slice(first_x, first_x + width)},
        {"y": slice(own_y, own_y + height), "x": slice(own_x, own_x + width)},
    )


def describe(geobox: GeoBox) -> str:
    """One line that names a grid: CRS, pixel size, shape and top-left corner."""
    grid = geobox.affine
    crs = "no CRS" if geobox.crs is None else _crs_name(geobox.crs)
    height, width = geobox.shape
    return f"[{crs}, {grid.a:g} x {abs(grid.e):g}, {height} by {width}, corner ({grid.c:.10g}, {grid.f:.10g})]"


def _crs_name(crs: CRS) -> str:
    return f"EPSG:{crs.epsg}" if crs.epsg else str(crs)[:60]


def _step(values: np.ndarray, name: str) -> float:
    if values.size < 2:
        return 0.0
    step = (values[-1] - values[0]) / (values.size - 1)
    if step == 0 or np.abs(np.diff(values) - step).max() > _TOLERANCE * abs(step):
        raise GridMismatchError(
            f"{name} is unevenly spaced (steps {np.diff(values).min():g} to {np.diff(values).max():g})",
            "a regular grid",
            "resample to a regular grid, e.g. with rioxarray's reproject",
        )
    return float(step)


def _written_resolution(cube: xr.DataArray | xr.Dataset) -> tuple[float, float]:
    mapping = cube.coords.get("spatial_ref")
    text = "" if mapping is None else str(mapping.attrs.get("GeoTransform", ""))
    parts = [float(p) for p in text.split()]
    return (parts[1], parts[5]) if len(parts) == 6 else (0.0, 0.0)


def _check_crs(fine: GeoBox, coarse: GeoBox) -> None:
    if fine.crs == coarse.crs:
        return
    if fine.crs is None or coarse.crs is None:
        raise GridMismatchError(
            f"one grid has a CRS and the other has none: {describe(fine)} and {describe(coarse)}",
            "the same CRS on both, or none on either",
            "write the missing one, e.g. da.rio.write_crs(32631), or drop it from both with drop_vars('spatial_ref')",
        )
    raise GridMismatchError(
        f"the CRS differ: {describe(fine)} and {describe(coarse)}",
        "one CRS",
        "xrs.regrid(fine, like=coarse, ratio=...), which reprojects it",
    )


def _ratio(fine: GeoBox, coarse: GeoBox) -> int:
    rx, ry = coarse.affine.a / fine.affine.a, coarse.affine.e / fine.affine.e
    ratio = round(rx)
    # A ratio's error adds up along the grid, so it is judged at the far corner.
    slack = _TOLERANCE / max(*coarse.shape, 1)
    if ratio < 2 or abs(rx - ratio) > max(slack, 1e-9) or abs(ry - ratio) > max(slack, 1e-9):
        raise GridMismatchError(
            f"pixel sizes have the ratio {ry:.6g} (y) and {rx:.6g} (x): {describe(fine)} and {describe(coarse)}",
            "one integer above 1 for both axes",
            "xrs.regrid(fine, like=coarse, ratio=<integer>)",
        )
    return ratio


def _check_phase(corner_x: float, corner_y: float, ratio: int, fine: GeoBox, coarse: GeoBox) -> None:
    off = (corner_y - round(corner_y), corner_x - round(corner_x))
    if max(map(abs, off)) <= _TOLERANCE:
        return
    hint = ""
    if all(abs(abs(o) - 0.5) <= _TOLERANCE for o in off):
        hint = f"; taking every {ratio}th pixel from index {ratio // 2} ([{ratio // 2}::{ratio}]) gives this phase"
    raise GridMismatchError(
        f"coarse pixel edges lie {off[0]:+.3g} (y) and {off[1]:+.3g} (x) fine pixels off the fine pixel edges{hint}: "
        f"{describe(fine)} and {describe(coarse)}",
        "coarse pixels that are whole blocks of fine pixels",
        f"xrs.regrid(fine, like=coarse, ratio={ratio})",
    )


def _common(start: int, ratio: int, n_fine: int, n_coarse: int) -> tuple[int, int, int]:
    """First fine pixel, first coarse pixel and number of coarse pixels of the common interval."""
    first = max(0, -(start // ratio)) if start < 0 else 0
    last = min(n_coarse, (n_fine - start) // ratio)
    return start + first * ratio, first, last - first
