"""Sentinel-2's bands among those observed, by key, with their wavelengths checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from xrs.errors import BandNotFoundError
from xrs.kernels.types import Float32
from xrs.methods.base import Tile
from xrs.models import Observed
from xrs.sensors import get_sensor

__all__ = ["find_sentinel2", "reflectance"]

#: Centres farther apart than this many nm, or this share of the wavelength, are other bands: 2A and 2B differ by 17 nm
#: at 2200 nm.
_NM, _SHARE = 10.0, 0.02


def find_sentinel2(observed: Mapping[str, Observed], keys: Sequence[str]) -> tuple[int, ...]:
    """Where bands of Sentinel-2 stand in ``observed["ms"]``.

    Raises
    ------
    BandNotFoundError
        If one is missing or its wavelength is another.
    """
    seen = observed["ms"]
    missing = [key for key in keys if key not in seen.bands]
    if missing:
        raise BandNotFoundError(
            f"no band {', '.join(missing)} among {list(seen.bands)}",
            f"Sentinel-2's bands {', '.join(keys)} on one grid",
            "bring all bands to one grid with xrs.sharpen or xrs.regrid, and name them with xrs.cube.assign_bands",
        )
    places = tuple(seen.bands.index(key) for key in keys)
    for key, place in zip(keys, places, strict=True):
        _check_centre(key, seen.wavelengths[place])
    return places


def _check_centre(key: str, found: float) -> None:
    centre = get_sensor("sentinel-2a")[key].wavelength
    if np.isfinite(found) and abs(found - centre) > max(_NM, _SHARE * centre):
        raise BandNotFoundError(
            f"band {key} is centred at {found:g} nm",
            f"Sentinel-2's {key} at {centre:g} nm",
            "use a method made for this sensor, or correct the coordinate 'wavelength' (nm)",
        )


def reflectance(tile: Tile, bands: Sequence[int]) -> Float32:
    """Bands of ``ms`` (band, y, x)."""
    return np.ascontiguousarray(tile["ms"][list(bands)])
