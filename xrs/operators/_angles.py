"""Angles of sun and view: given, or told by a cube."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from xrs.cube import is_lazy, with_all_dims
from xrs.errors import GridMismatchError, LayoutError, ParameterError

__all__ = ["cosines"]

Angle = float | xr.DataArray | None

#: Where nothing tells: the view from above, in whose case the azimuth has no meaning.
_NADIR, _ACROSS = 0.0, 90.0


def cosines(
    cube: xr.DataArray, *, sun_zenith: Angle = None, view_zenith: Angle = None, relative_azimuth: Angle = None
) -> xr.DataArray:
    """Cosines of the view zenith, the sun's zenith and the relative azimuth (time, 3, y, x) on the grid of a cube.

    Parameters
    ----------
    cube : xarray.DataArray
        Its coordinates or attributes may tell angles, under the names of the arguments or STAC's.
    sun_zenith, view_zenith, relative_azimuth : float or xarray.DataArray, optional
        Degrees, for all pixels or by time, or on the cube's grid.

    Raises
    ------
    ParameterError
        If an angle is not possible, or nothing tells of the sun.
    LayoutError, GridMismatchError
        If an angle has other dims, dates or a grid than the cube.
    """
    full = with_all_dims(cube)
    angles = {
        "view_zenith": _first(
            view_zenith, _told(cube, "view_zenith", "view:incidence_angle", "view:off_nadir"), _NADIR
        ),
        "sun_zenith": _first(sun_zenith, _told(cube, "sun_zenith"), _from_elevation(cube)),
        "relative_azimuth": _first(relative_azimuth, _told(cube, "relative_azimuth"), _from_azimuths(cube), _ACROSS),
    }
    lazy = is_lazy(full) or any(isinstance(angle, xr.DataArray) and is_lazy(angle) for angle in angles.values())
    return xr.concat([_layer(name, angle, full, lazy) for name, angle in angles.items()], dim="band")


def _first(*found: Any) -> Any:
    return next((one for one in found if one is not None), None)


def _told(cube: xr.DataArray, *names: str) -> Any:
    """A coordinate of the cube, or an attribute, that has one of these names."""
    for name in names:
        if name in cube.coords:
            return cube.coords[name].reset_coords(drop=True)
        if name in cube.attrs:
            return float(cube.attrs[name])
    return None


def _from_elevation(cube: xr.DataArray) -> Any:
    elevation = _told(cube, "view:sun_elevation")
    return None if elevation is None else 90.0 - elevation


def _from_azimuths(cube: xr.DataArray) -> Any:
    sun, view = _told(cube, "view:sun_azimuth"), _told(cube, "view:azimuth")
    return None if sun is None or view is None else sun - view


def _layer(name: str, angle: Any, full: xr.DataArray, lazy: bool) -> xr.DataArray:
    """The cosine of an angle (time, 1, y, x), without coordinates."""
    if angle is None:
        raise ParameterError(
            f"nothing tells {name}",
            "degrees, as an argument, a coordinate or an attribute of the cube",
            f"{name}=35.0, or 90 minus the item's view:sun_elevation as a DataArray by time",
        )
    values = angle if isinstance(angle, xr.DataArray) else xr.DataArray(np.float64(angle))
    _check(name, values, full)
    degrees = values.drop_vars(list(values.coords)).astype(np.float64)
    # Chunked before it is spread over the grid, a number stays one number in memory.
    degrees = degrees.chunk() if lazy else degrees
    cosine = degrees.copy(data=np.cos(np.deg2rad(degrees.data)).astype(np.float32))
    sizes = {dim: 1 if dim == "band" else size for dim, size in full.sizes.items() if dim not in cosine.dims}
    wide = cosine.expand_dims(sizes).transpose(*full.dims)
    return wide.chunk({dim: full.chunksizes[dim] for dim in ("time", "y", "x")}) if is_lazy(full) else wide


def _check(name: str, values: xr.DataArray, full: xr.DataArray) -> None:
    strange = [str(dim) for dim in values.dims if dim not in ("time", "y", "x")]
    if strange:
        raise LayoutError(f"{name} has dim {strange[0]!r}", "one number, or dims among time, y and x")
    for dim in values.dims:
        same = values.sizes[dim] == full.sizes[dim]
        if same and dim in values.coords and dim in full.coords:
            same = bool((values[dim].values == full[dim].values).all())
        if not same:
            raise GridMismatchError(
                f"{name} has other coordinates along {dim!r} than the cube", "the same", "angles.reindex_like(cube)"
            )
    if is_lazy(values):
        return
    degrees = np.asarray(values.values, np.float64)
    highest = 360.0 if name == "relative_azimuth" else 90.0
    wrong = degrees[(np.abs(degrees) > highest) | ((degrees < 0) & (highest == 90.0))]
    if wrong.size:
        raise ParameterError(f"{name} of {wrong.flat[0]:g} degrees", f"{name} up to {highest:g} degrees, zenith from 0")
