"""Quantities of light, weather and growth: numbers or arrays, brought to one unit and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from xrs.errors import GridMismatchError, LayoutError, ParameterError, RadiometryError
from xrs.kernels.types import Float64

__all__ = ["Quantity", "as_array", "check_array", "check_place", "in_unit", "number"]

Quantity = float | xr.DataArray

#: For each quantity, what one of a unit is in the first one, with which is computed: factor and offset.
_UNITS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "par": {"MJ m-2 d-1": (1.0, 0.0), "kJ m-2 d-1": (1e-3, 0.0), "J m-2 d-1": (1e-6, 0.0), "W m-2": (0.0864, 0.0)},
    "tmin": {"degC": (1.0, 0.0), "K": (1.0, -273.15)},
    "vpd": {"Pa": (1.0, 0.0), "hPa": (100.0, 0.0), "kPa": (1000.0, 0.0)},
    "fapar": {"1": (1.0, 0.0), "%": (0.01, 0.0)},
    "production": {"kg m-2 d-1": (1.0, 0.0), "g m-2 d-1": (1e-3, 0.0), "kg m-2 s-1": (86_400.0, 0.0)},
}

#: Values beyond are in another unit.
_POSSIBLE = {
    "par": (0.0, 25.0),
    "tmin": (-90.0, 60.0),
    "vpd": (0.0, 15_000.0),
    "fapar": (0.0, 1.0001),
    "production": (-0.1, 0.2),
}

#: Where no value is higher, all are in another unit: air is this near to saturation on few days, and in few places.
_LOW = {"vpd": 20.0}

#: Energy that tells no time: the sum of a day, of an hour, or since a forecast began.
_OF_NO_TIME = ("J m-2", "kJ m-2", "MJ m-2")

_SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "d": ("day", "days"),
    "s": ("sec", "second", "seconds"),
    "degC": ("C", "°C", "celsius", "Celsius", "deg_C", "degree_C", "degree_Celsius", "degrees_Celsius"),
    "K": ("kelvin", "Kelvin", "degK"),
    "Pa": ("pascal", "Pascal"),
    "hPa": ("mbar", "mb", "millibar"),
    "%": ("percent",),
}
_NAMES = {spelling: name for name, spellings in _SPELLINGS.items() for spelling in spellings}

_TERM = re.compile(r"(/?)([^\d\s/+-]+)([+-]?\d+)?")


def in_unit(name: str, values: Any, on: xr.DataArray) -> xr.DataArray:
    """Values in the unit computed with, on the dates and the grid of ``on``; lazy ones are checked when computed.

    Raises
    ------
    ParameterError
        If they are no numbers.
    RadiometryError
        If the unit or values are not possible.
    GridMismatchError
        If they have other dims, dates or a grid than ``on``.
    """
    given = as_array(name, values, "a number or a DataArray of numbers")
    check_place(name, given, on)
    told = str(given.attrs.get("units", "")).strip()
    factor, offset = _conversion(name, told)
    converted = xr.apply_ufunc(
        _converted,
        given,
        kwargs={"name": name, "factor": factor, "offset": offset},
        dask="parallelized",
        output_dtypes=[np.float64],
        keep_attrs=False,
    )
    if name in _LOW and not told:
        _check_high(name, converted)
    return converted


def check_array(name: str, found: Any) -> None:
    """Refuse what is no DataArray.

    Raises
    ------
    LayoutError
        With how to take it from a Dataset.
    """
    if isinstance(found, xr.DataArray):
        return
    remedy = f"{name}[name], one of {list(map(str, found.data_vars))}" if isinstance(found, xr.Dataset) else ""
    raise LayoutError(f"{name} is a {type(found).__name__}", "an xarray.DataArray ([time,] y, x)", remedy)


def number(name: str, found: Any, expected: str) -> float:
    """A finite number.

    Raises
    ------
    ParameterError
        If it is none.
    """
    value = _numbers(name, found, expected)
    if value.ndim or not np.isfinite(value):
        raise ParameterError(f"{name}={found!r}", expected)
    return float(value)


def as_array(name: str, found: Any, expected: str) -> xr.DataArray:
    """A number, or numbers, as a DataArray; one that is given as it is.

    Raises
    ------
    ParameterError
        If they are no numbers.
    """
    values = found if isinstance(found, xr.DataArray) else xr.DataArray(_numbers(name, found, expected))
    if values.dtype.kind not in "iuf":
        raise ParameterError(f"{name} holds {values.dtype}", expected)
    return values


def _numbers(name: str, found: Any, expected: str) -> Float64:
    try:
        if found is not None:  # of which NumPy makes NaN
            return np.asarray(found, np.float64)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{name}={found!r}", expected) from error
    raise ParameterError(f"{name}={found!r}", expected)


def _conversion(name: str, told: str) -> tuple[float, float]:
    """Factor and offset from a unit, however it is spelt, to the one computed with."""
    known = _UNITS[name]
    terms = _terms(told or next(iter(known)))
    if terms in [_terms(unit) for unit in _OF_NO_TIME]:
        raise RadiometryError(
            f"{name} in {told!r}, an energy without a time",
            f"one of {list(known)}",
            f"sum it up to days (ERA5's is of one hour), then {name}.attrs['units'] = 'J m-2 d-1'",
        )
    for unit, conversion in known.items():
        if _terms(unit) == terms:
            return conversion
    raise RadiometryError(f"{name} in {told!r}", f"one of {list(known)}", "convert it, and name its unit")


def _terms(unit: str) -> tuple[tuple[str, int], ...]:
    """A unit's symbols and their powers: ``W/m2``, ``W m-2`` and ``W m**-2`` have the same."""
    text = re.sub(r"\s*/\s*", " /", re.sub(r"\*\*|\^", "", unit))
    found = [_TERM.fullmatch(term) for term in re.split(r"[\s.·*]+", text) if term != "1"]
    if not all(found):
        return ((unit, 1),)
    parts = [(one[2], int(one[3] or 1) * (-1 if one[1] else 1)) for one in found if one]
    return tuple(sorted((_NAMES.get(symbol, symbol), power) for symbol, power in parts))


def _converted(values: Any, *, name: str, factor: float, offset: float) -> Float64:
    converted = np.asarray(values, np.float64) * factor + offset
    low, high = _POSSIBLE[name]
    wrong = converted[(converted < low) | (converted > high)]
    if wrong.size:
        raise RadiometryError(
            f"{name} of {wrong.flat[0]:g}",
            f"{low:g} to {high:g} {next(iter(_UNITS[name]))}".removesuffix(" 1"),
            f"name its unit: {name}.attrs['units'] = ..., one of {list(_UNITS[name])}",
        )
    return converted


def _check_high(name: str, values: xr.DataArray) -> None:
    """Refuse values whose unit nobody told if they are low, or cannot be looked at before they are computed."""
    unit, *others = _UNITS[name]
    remedy = f"name its unit: {name}.attrs['units'] = {unit!r}, or one of {others}"
    if values.chunks is not None:
        raise RadiometryError(f"{name} is lazy and names no unit", f"one of {[unit, *others]}", remedy)
    highest = values.values[np.isfinite(values.values)].max(initial=0.0)
    if 0.0 < highest < _LOW[name]:
        raise RadiometryError(f"{name} of at most {highest:g}, which looks like {' or '.join(others)}", unit, remedy)


def check_place(name: str, values: xr.DataArray, on: xr.DataArray) -> None:
    """Refuse values that do not lie on the dates and the grid of another cube.

    Raises
    ------
    GridMismatchError
        If a dim, its length or its coordinates are others.
    """
    for dim in values.dims:
        if dim not in on.dims:
            raise GridMismatchError(f"{name} has dim {dim!r}", f"dims among {tuple(map(str, on.dims))}")
        same = values.sizes[dim] == on.sizes[dim]
        if same and dim in values.coords and dim in on.coords:
            same = bool((values[dim].values == on[dim].values).all())
        if not same:
            raise GridMismatchError(
                f"{name} has other coordinates along {str(dim)!r} than {on.name or 'the other'}",
                "the same dates and grid",
                f"{name}.interp_like(...) or {name}.sel(time=...)",
            )
