"""Bring a cube into the form a product stores: one Dataset on one grid, with clean attributes and coordinates."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from xrs.cube import DIMS, assign_geobox, check_time, geobox_of, is_lazy, package_version
from xrs.errors import LayoutError
from xrs.io._geozarr import overview_geobox

__all__ = ["coordinates_of", "is_cube", "prepare", "variable_attrs"]

#: Facts of stored numbers or of the grid, which the product writes itself.
_OWN_ATTRS = {
    "scale_factor", "add_offset", "_FillValue", "missing_value", "nodata", "scale", "offset", "grid_mapping",
    "coordinates", "dtype",
}  # fmt: skip

_GLOBAL = re.compile(r"history|references|source|institution|comment|summary|processing_baseline|xrs:.*")

_NAME = re.compile(r"(?!\.)(?!__)[^/]+")

#: Coarsest first.
_TIME_UNITS = {
    "days": np.timedelta64(1, "D"),
    "seconds": np.timedelta64(1, "s"),
    "milliseconds": np.timedelta64(1, "ms"),
    "microseconds": np.timedelta64(1, "us"),
}


def prepare(cube: xr.DataArray | xr.Dataset, title: str | None) -> tuple[xr.Dataset, GeoBox]:
    """A Dataset ready to be stored, and its grid; nothing lazy is read but coordinates.

    Raises
    ------
    LayoutError, GridMismatchError, TimeAxisError
        If it is no cube, has no regular grid, or its dates are not sorted and unique.
    """
    dataset = _as_dataset(cube)
    geobox = geobox_of(dataset)
    if "time" in dataset.dims:
        check_time(dataset)
    for name, variable in dataset.data_vars.items():
        _check_variable(str(name), variable)
    held = _on_grid(_without_dangling(dataset), geobox)
    held.attrs = _global_attrs(cube, dataset, title)
    return held, geobox


def _without_dangling(dataset: xr.Dataset) -> xr.Dataset:
    """Let no variable name an ancillary one that is not there."""
    changed = {}
    for name, variable in dataset.data_vars.items():
        named = str(variable.attrs.get("ancillary_variables", "")).split()
        there = " ".join(one for one in named if one in dataset.data_vars)
        if named != there.split():
            changed[name] = variable.copy(deep=False)
            changed[name].attrs = {k: v for k, v in variable.attrs.items() if k != "ancillary_variables"}
            changed[name].attrs |= {"ancillary_variables": there} if there else {}
    return dataset.assign(changed)


def _on_grid(dataset: xr.Dataset, geobox: GeoBox) -> xr.Dataset:
    """Put the exact grid and one ``spatial_ref`` on a Dataset, in place of what it had of them."""
    old = [
        str(n)
        for n, c in dataset.coords.items()
        if n == "spatial_ref" or {"crs_wkt", "grid_mapping_name"} & set(c.attrs)
    ]
    bare = dataset.drop_vars(old)
    kept = bare.coords.to_dataset().drop_vars(["y", "x"])
    coords = _grid_coords(geobox) | {str(n): c for n, c in kept.coords.items()}
    ordered = {
        n: v.drop_vars(list(v.coords)).transpose(*[d for d in DIMS if d in v.dims]) for n, v in bare.data_vars.items()
    }
    return xr.Dataset(ordered, coords=coords)


def coordinates_of(dataset: xr.Dataset, geobox: GeoBox, level: int) -> xr.Dataset:
    """The coordinates of a level as a Dataset of its own, with the encoding they are stored in."""
    coords = {str(n): c.variable for n, c in dataset.coords.items() if not {"y", "x"} & set(c.dims)}
    if level == 0:
        coords |= {str(n): c.variable for n, c in dataset.coords.items() if {"y", "x"} & set(c.dims)}
    else:
        coords |= {n: c.variable for n, c in _grid_coords(overview_geobox(geobox, level)).items()}
    return xr.Dataset(coords={n: _encoded(n, v) for n, v in coords.items()})


def variable_attrs(variable: xr.DataArray, geobox: GeoBox) -> dict[str, Any]:
    """Attributes of a stored variable."""
    attrs = {k: _plain(v) for k, v in variable.attrs.items() if k not in _OWN_ATTRS}
    return attrs | ({} if geobox.crs is None else {"grid_mapping": "spatial_ref"})


def is_cube(variable: xr.DataArray) -> bool:
    """Whether a variable has the dims of an image."""
    return {"y", "x"} <= set(variable.dims)


def _as_dataset(cube: xr.DataArray | xr.Dataset) -> xr.Dataset:
    if isinstance(cube, xr.DataArray):
        # Xarray names an unnamed lazy array after its graph.
        unnamed = cube.name is None or cube.name in cube.coords or (is_lazy(cube) and cube.name == cube.data.name)
        return cube.to_dataset(name="data" if unnamed else str(cube.name))
    if not isinstance(cube, xr.Dataset):
        raise LayoutError(
            f"found a {type(cube).__name__}", "a DataArray or a Dataset",
            "of a DataTree, write each grid: to_product(tree['r10m'].to_dataset(), ...)",
        )  # fmt: skip
    if not any(is_cube(v) for v in cube.data_vars.values()):
        raise LayoutError("found a Dataset without a variable over y and x", "at least one such variable")
    return cube


def _check_variable(name: str, variable: xr.DataArray) -> None:
    extra = set(map(str, variable.dims)) - set(DIMS)
    if extra or not is_cube(variable):
        raise LayoutError(
            f"{name} has dims {tuple(map(str, variable.dims))}", "y and x, and optionally time and band",
            "rename dims, or keep what has no y and x as a coordinate with set_coords",
        )  # fmt: skip
    if variable.dtype.kind not in "fiub":
        raise LayoutError(f"{name} holds {variable.dtype}", "numbers or booleans", f"cube.drop_vars({name!r})")
    if 0 in variable.shape:
        raise LayoutError(f"{name} has shape {variable.shape}", "at least one value along each dim")
    if not _NAME.fullmatch(name):
        raise LayoutError(f"a variable is named {name!r}", "a name without '/' that does not begin with '.' or '__'")


def _grid_coords(geobox: GeoBox) -> dict[str, xr.DataArray]:
    height, width = geobox.shape
    carrier = xr.DataArray(np.empty((height, width), np.bool_), dims=("y", "x"))
    return {str(n): c for n, c in assign_geobox(carrier, geobox).coords.items()}


def _global_attrs(cube: xr.DataArray | xr.Dataset, dataset: xr.Dataset, title: str | None) -> dict[str, Any]:
    kept = {k: v for k, v in dataset.attrs.items() if k not in _OWN_ATTRS}
    if isinstance(cube, xr.DataArray):
        kept = {k: v for k, v in cube.attrs.items() if _GLOBAL.fullmatch(str(k))}
    own = {"Conventions": "CF-1.11", "xrs:version": package_version()} | ({"title": title} if title else {})
    return {str(k): _plain(v) for k, v in kept.items()} | own


def _encoded(name: str, variable: xr.Variable) -> xr.Variable:
    attrs = {str(k): _plain(v) for k, v in variable.attrs.items() if k not in _OWN_ATTRS}
    values = np.asarray(variable.values)
    encoding: dict[str, Any] = {}
    if values.dtype.kind == "M":
        encoding = {
            "units": f"{_time_unit(values)} since 1970-01-01",
            "calendar": "proleptic_gregorian",
            "dtype": "int64",
        }
        attrs = {k: v for k, v in attrs.items() if k not in ("units", "calendar")}
        attrs |= {"standard_name": "time"} if name == "time" else {}
    elif values.dtype.kind in "UST":
        # Zarr v3 specifies strings of any length, but none of fixed length.
        values = values.astype(object)
    return xr.Variable(variable.dims, values, attrs, encoding)


def _time_unit(values: np.ndarray[Any, Any]) -> str:
    since = values - np.datetime64("1970-01-01")
    return next(
        (name for name, unit in _TIME_UNITS.items() if not (since % unit).astype("int64").any()),
        "nanoseconds",
    )


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(v) for v in value.tolist()]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value if isinstance(value, str | bool | int | float) or value is None else str(value)
