"""Angles of sun and view: given, or told by a cube."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import xarray as xr

from xrs.cube import is_lazy, with_all_dims
from xrs.errors import LayoutError, ParameterError
from xrs.kernels.types import Float64
from xrs.operators._quantities import as_array, check_place

__all__ = ["cosines"]

Angle = float | xr.DataArray | None

#: Where nothing tells: the view from above, in whose case the azimuth has no meaning.
_NADIR, _ACROSS = 0.0, 90.0

_DEGREES = ("degree", "degrees", "deg", "°")
_RADIANS = ("radian", "radians", "rad")

#: No image is taken with the sun this near (degrees) to the zenith or the horizon, and in radians no sun is farther.
_RIGHT_ANGLE = 1.58
_OF_THE_SUN = ("sun_zenith", "view:sun_elevation")


def cosines(
    cube: xr.DataArray,
    *,
    sun_zenith: Angle = None,
    view_zenith: Angle = None,
    relative_azimuth: Angle = None,
    known: Mapping[str, tuple[float, float]] = MappingProxyType({}),
) -> xr.DataArray:
    """Cosines of the view zenith, the sun's zenith and the relative azimuth (time, 3, y, x) on the grid of a cube.

    Parameters
    ----------
    cube : xarray.DataArray
        Its coordinates or attributes may tell angles, under the names of the arguments or STAC's.
    sun_zenith, view_zenith, relative_azimuth : float or xarray.DataArray, optional
        Degrees, or radians if the attribute ``units`` says so, for all pixels or by time, or on the cube's grid.
    known : mapping of str to (float, float), optional
        Lowest and highest cosine of each angle that a method has values for.

    Raises
    ------
    ParameterError
        If an angle is not possible, looks like radians and does not say so, or nothing tells of the sun: for lazy
        angles, what their values tell is raised when they are computed. If no value in memory is ``known``.
    LayoutError, GridMismatchError
        If an angle has other dims, dates or a grid than the cube.
    """
    full = with_all_dims(cube)
    angles = {
        "view_zenith": _first(
            lambda: _angle("view_zenith", view_zenith),
            lambda: _told(cube, "view_zenith", "view:incidence_angle", "view:off_nadir"),
            lambda: xr.DataArray(_NADIR),
        ),
        "sun_zenith": _first(
            lambda: _angle("sun_zenith", sun_zenith),
            lambda: _told(cube, "sun_zenith"),
            lambda: _from_elevation(cube),
        ),
        "relative_azimuth": _first(
            lambda: _angle("relative_azimuth", relative_azimuth),
            lambda: _told(cube, "relative_azimuth"),
            lambda: _from_azimuths(cube),
            lambda: xr.DataArray(_ACROSS),
        ),
    }
    found = {name: _cosine(name, angle, full) for name, angle in angles.items()}
    for name, (low, high) in known.items():
        _check_known(name, found[name], low, high)
    lazy = is_lazy(full) or any(cosine.chunks is not None for cosine in found.values())
    return xr.concat([_spread(cosine, full, lazy) for cosine in found.values()], dim="band")


def _first(*ways: Callable[[], xr.DataArray | None]) -> xr.DataArray | None:
    return next((found for way in ways if (found := way()) is not None), None)


def _told(cube: xr.DataArray, *names: str) -> xr.DataArray | None:
    """A coordinate of the cube, or an attribute, that has one of these names."""
    for name in names:
        if name in cube.coords:
            return _angle(name, cube.coords[name].reset_coords(drop=True))
        if name in cube.attrs:
            return _angle(name, cube.attrs[name])
    return None


def _from_elevation(cube: xr.DataArray) -> xr.DataArray | None:
    elevation = _told(cube, "view:sun_elevation")
    return None if elevation is None else 90.0 - elevation


def _from_azimuths(cube: xr.DataArray) -> xr.DataArray | None:
    sun, view = _told(cube, "view:sun_azimuth"), _told(cube, "view:azimuth")
    return None if sun is None or view is None else sun - view


def _angle(name: str, found: Any) -> xr.DataArray | None:
    """An angle in degrees, checked: a lazy one when it is computed."""
    if found is None:
        return None
    values = as_array(name, found, "a number of degrees, or a DataArray of numbers")
    units = str(values.attrs.get("units", "")).lower()
    if units not in ("", *_DEGREES, *_RADIANS):
        raise ParameterError(f"{name} in {units!r}", f"one of {[*_DEGREES, *_RADIANS]}", "convert it to degrees")
    return xr.apply_ufunc(
        _checked,
        values,
        kwargs={"name": name, "units": units},
        dask="parallelized",
        output_dtypes=[np.float64],
        keep_attrs=False,
    )


def _checked(values: Any, *, name: str, units: str) -> Float64:
    """Degrees of values in a unit, or in degrees if none is told."""
    degrees = np.asarray(values, np.float64)
    degrees = np.rad2deg(degrees) if units in _RADIANS else degrees
    low, high = (-360.0, 360.0) if "azimuth" in name else (0.0, 90.0)
    wrong = degrees[(degrees < low) | (degrees > high)]
    if wrong.size:
        raise ParameterError(f"{name} of {wrong.flat[0]:g} degrees", f"{low:g} to {high:g} degrees")
    if not units and name in _OF_THE_SUN:
        _refuse_radians(name, degrees)
    return degrees


def _refuse_radians(name: str, degrees: Float64) -> None:
    """All of a whole image or tile: single pixels may have the sun overhead."""
    highest = degrees[np.isfinite(degrees)].max(initial=0.0)
    if 0.0 < highest < _RIGHT_ANGLE:
        raise ParameterError(
            f"{name} of at most {highest:g}, which looks like radians",
            "degrees",
            f"np.rad2deg({name}), or say so: xr.DataArray({name}, attrs={{'units': 'radian'}}), or 'degree'",
        )


def _cosine(name: str, angle: xr.DataArray | None, full: xr.DataArray) -> xr.DataArray:
    """The cosine of an angle, without coordinates, on the dims it has."""
    if angle is None:
        raise ParameterError(
            f"nothing tells {name}",
            "degrees, as an argument, a coordinate or an attribute of the cube",
            f"{name}=35.0, or 90 minus the item's view:sun_elevation as a DataArray by time",
        )
    _check_place(name, angle, full)
    degrees = angle.drop_vars(list(angle.coords))
    return degrees.copy(data=np.cos(np.deg2rad(degrees.data)).astype(np.float32))


def _spread(cosine: xr.DataArray, full: xr.DataArray, lazy: bool) -> xr.DataArray:
    """A cosine (time, 1, y, x) on the whole grid."""
    # Chunked before it is spread over the grid, a number stays one number in memory.
    cosine = cosine.chunk() if lazy else cosine
    sizes = {dim: 1 if dim == "band" else size for dim, size in full.sizes.items() if dim not in cosine.dims}
    wide = cosine.expand_dims(sizes).transpose(*full.dims)
    return wide.chunk({dim: full.chunksizes[dim] for dim in ("time", "y", "x")}) if is_lazy(full) else wide


def _check_known(name: str, cosine: xr.DataArray, low: float, high: float) -> None:
    """Refuse angles of which none lies in the range: all would be NaN."""
    if cosine.chunks is not None:
        return
    there = cosine.values[np.isfinite(cosine.values)]
    if there.size == 0 or ((there >= np.float32(low)) & (there <= np.float32(high))).any():
        return
    ends = [float(np.rad2deg(np.arccos(np.clip(end, -1.0, 1.0)))) for end in (there.max(), there.min(), high, low)]
    told = f"{ends[0]:.3g}" if np.isclose(ends[0], ends[1]) else f"{ends[0]:.3g} to {ends[1]:.3g}"
    raise ParameterError(
        f"{name} of {told} degrees, which the model does not know: all would be NaN",
        f"{name} of {ends[2]:.1f} to {ends[3]:.1f} degrees for a pixel at least",
        "other dates, or method='snap', which does not check angles",
    )


def _check_place(name: str, values: xr.DataArray, full: xr.DataArray) -> None:
    strange = [str(dim) for dim in values.dims if dim not in ("time", "y", "x")]
    if strange:
        raise LayoutError(f"{name} has dim {strange[0]!r}", "one number, or dims among time, y and x")
    check_place(name, values, full)
