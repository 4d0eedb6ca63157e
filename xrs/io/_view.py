"""Where sun and sensor stood on each date, as the items tell it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xrs.errors import StacItemError

if TYPE_CHECKING:
    import pystac

__all__ = ["view_coords"]

#: STAC's names and CF's. CF has none for ``view:azimuth``, which STAC measures from below the sensor to the scene.
_NAMES = {
    "view:sun_elevation": "solar_elevation_angle",
    "view:sun_azimuth": "solar_azimuth_angle",
    "view:off_nadir": "sensor_view_angle",
    "view:incidence_angle": "sensor_zenith_angle",
    "view:azimuth": None,
}


def view_coords(items: Sequence[pystac.Item], groups: Sequence[Sequence[int]]) -> dict[str, xr.Variable]:
    """The angles (time) that any item tells, in degrees; NaN for a date of which no item tells one.

    Parameters
    ----------
    items : sequence of pystac.Item
        Items.
    groups : sequence of sequence of int
        The positions of the items that make each date's image. Their mean is taken, of azimuths as directions.

    Raises
    ------
    StacItemError
        If an angle is not a number.
    """
    told = {name: np.array([_told(item, name) for item in items]) for name in _NAMES}
    return {
        name: xr.Variable("time", [_mean(angles[list(group)], name) for group in groups], _attrs(name))
        for name, angles in told.items()
        if not np.isnan(angles).all()
    }


def _attrs(name: str) -> dict[str, str]:
    standard = _NAMES[name]
    return {"units": "degree"} | ({"standard_name": standard} if standard else {})


def _told(item: pystac.Item, name: str) -> float:
    """An angle of an item, of Sentinel-2's also by the names of the extension ``s2``; NaN where it tells none."""
    if item.properties.get(name) is not None:
        return _number(item, name)
    if name == "view:sun_elevation":
        return 90.0 - _number(item, "s2:mean_solar_zenith")
    return _number(item, "s2:mean_solar_azimuth") if name == "view:sun_azimuth" else np.nan


def _number(item: pystac.Item, name: str) -> float:
    value = item.properties.get(name)
    try:
        return np.nan if value is None else float(value)
    except (TypeError, ValueError):
        raise StacItemError(
            f"item {item.id!r} has {name}={value!r}", "a number of degrees", f"del item.properties[{name!r}]"
        ) from None


def _mean(degrees: NDArray[np.float64], name: str) -> float:
    known = degrees[~np.isnan(degrees)]
    if not known.size:
        return np.nan
    if not name.endswith("azimuth"):
        return float(known.mean())
    sine, cosine = np.sin(np.deg2rad(known)).mean(), np.cos(np.deg2rad(known)).mean()
    opposed = np.hypot(sine, cosine) < 1e-9
    # Rounded, as north can come out a hair west of itself, which would be 360.
    return np.nan if opposed else float(np.rad2deg(np.arctan2(sine, cosine)).round(9) % 360)
