"""Which instrument a cube is from: told, named by the cube, or known by its bands."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from xrs.cube import band_keys, band_widths, wavelengths
from xrs.cube.bands import without_quality
from xrs.sensors import Sensor, get_sensor, known_sensor, sensor_from_table

__all__ = ["keys_of", "sensor_of", "without_layers"]


def keys_of(cube: xr.DataArray) -> list[str | None]:
    """The keys of a cube's bands, None for bands without."""
    return list(band_keys(cube)) if "band" in cube.coords else [None] * cube.sizes.get("band", 1)


def sensor_of(cube: xr.DataArray, given: str | Sensor | None) -> Sensor | None:
    """The sensor given, or that of the attribute ``platform``, or one of the bands' own centres and widths."""
    keys = keys_of(cube)
    if given is not None:
        return get_sensor(given)
    if None in keys:
        return None
    name = known_sensor(str(cube.attrs.get("platform", "")), band_keys(cube))
    if name is not None:
        return get_sensor(name)
    widths, centres = band_widths(cube), wavelengths(cube)
    if not (np.isfinite(widths).all() and np.isfinite(centres).all()):
        return None
    return sensor_from_table({"key": band_keys(cube), "wavelength": centres, "fwhm": widths})


def without_layers(cube: Any, given: str | Sensor | None = None) -> Any:
    """A Dataset without quality layers; bands of the sensor given, or named by ``platform``, stay whatever their type.

    Anything else is handed back as it is.
    """
    if not isinstance(cube, xr.Dataset):
        return cube
    name = given or known_sensor(str(cube.attrs.get("platform", "")))
    return without_quality(cube, get_sensor(name).keys if name is not None else ())
