"""Sensors by name, from tables of published numbers in ``xrs/sensors/data``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any

import pandas as pd

from xrs.errors import ParameterError
from xrs.sensors.model import Sensor, sensor_from_table

__all__ = ["get_sensor", "known_sensor", "list_sensors"]

_DATA = files("xrs.sensors") / "data"


def get_sensor(name: str | Sensor) -> Sensor:
    """A sensor by its name or one of its aliases; a :class:`Sensor` is handed back as it is.

    Case, blanks, hyphens and underscores do not matter: ``"Sentinel 2A"`` is ``"sentinel-2a"``.

    Parameters
    ----------
    name : str or Sensor
        A name of :func:`list_sensors`, or an alias such as ``"WV2"``.

    Returns
    -------
    Sensor

    Raises
    ------
    ParameterError
        If there is no such sensor.

    Examples
    --------
    >>> get_sensor("WV2").pan.mtf
    0.11
    """
    if isinstance(name, Sensor):
        return name
    plain, known = _plain(name), _names()
    if plain not in known:
        close = get_close_matches(plain, known, n=3, cutoff=0.5)
        raise ParameterError(
            f"no sensor {name!r}",
            f"one of {list(_catalogue())}",
            f"did you mean {sorted({known[c] for c in close})}?"
            if close
            else "describe it with xrs.sensors.sensor_from_table",
        )
    return _load(known[plain])


def known_sensor(platform: str, keys: Iterable[str] = ()) -> str | None:
    """The name of the sensor on a platform; None if it is not known or lacks one of the bands ``keys``.

    For cubes that say where they come from, such as STAC's property ``platform``.

    Examples
    --------
    >>> known_sensor("Sentinel-2B"), known_sensor("landsat-8", ["B4", "B99"]), known_sensor("")
    ('sentinel-2b', None, None)
    """
    name = _names().get(_plain(platform))
    if name is None or not all(key in _load(name) for key in keys):
        return None
    return name


def list_sensors() -> pd.DataFrame:
    """All sensors: title, number of bands, range in nm, ground sampling in m, revisit in days, reference.

    Returns
    -------
    pandas.DataFrame
        A row for each sensor, by name: title, bands, pan, from_nm, to_nm, gsd_m, revisit_days, reference.

    Examples
    --------
    >>> int(list_sensors().loc["eo1-hyperion", "bands"])
    242
    """
    rows = [_row(_load(name)) for name in _catalogue()]
    return pd.DataFrame(rows).set_index("name")


@cache
def _catalogue() -> dict[str, dict[str, Any]]:
    catalogue: dict[str, dict[str, Any]] = json.loads((_DATA / "sensors.json").read_text(encoding="utf-8"))
    return catalogue


@cache
def _names() -> dict[str, str]:
    names = {_plain(alias): name for name, entry in _catalogue().items() for alias in entry.get("aliases", ())}
    return names | {_plain(name): name for name in _catalogue()}


def _plain(name: str) -> str:
    return "".join(c for c in str(name).lower() if c not in " _-")


@cache
def _load(name: str) -> Sensor:
    entry = _catalogue()[name]
    with (_DATA / f"{name}.csv").open(encoding="utf-8") as table:
        sensor = sensor_from_table(
            pd.read_csv(table), name=name, title=entry["title"], pan=entry.get("pan"), reference=entry["reference"]
        )
    satellite, instrument = entry.get("library", (None, None))
    library = None if satellite is None else (satellite, instrument)
    return replace(sensor, revisit=entry.get("revisit"), library=library)


def _row(sensor: Sensor) -> dict[str, Any]:
    centres = [b.wavelength for b in sensor.all_bands]
    return {
        "name": sensor.name,
        "title": sensor.title,
        "bands": len(sensor.bands),
        "pan": sensor.pan is not None,
        "from_nm": min(centres),
        "to_nm": max(centres),
        "gsd_m": tuple(sorted({b.gsd for b in sensor.all_bands})),
        "revisit_days": sensor.revisit,
        "reference": sensor.reference,
    }
