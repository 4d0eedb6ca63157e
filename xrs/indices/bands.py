"""Which band of a cube an index means by ``N``, ``R`` or ``RE1``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import spyndex
import xarray as xr

from xrs.cube import band_keys, find_band, wavelengths
from xrs.errors import BandNotFoundError

__all__ = ["match_bands"]


def match_bands(
    cube: xr.DataArray | xr.Dataset, needed: Sequence[str], chosen: Mapping[str, str | float] | None = None
) -> dict[str, str]:
    """The key of the cube's band for each of spyndex's band names.

    A band chosen by the caller comes first, then a key of that very name, then the one common name
    that fits, then the one band whose centre lies in the name's range of wavelengths.

    Raises
    ------
    BandNotFoundError
        If no band or several fit.
    """
    given = dict(chosen or {})
    return {name: find_band(cube, given[name]) if name in given else _match(cube, name) for name in needed}


def _match(cube: xr.DataArray | xr.Dataset, name: str) -> str:
    keys = band_keys(cube)
    if name in keys:
        return name
    known = spyndex.bands.get(name)
    if known is None:
        raise BandNotFoundError(f"no band {name!r} among {keys}", f"a band with the key {name!r}", _remedy(name))
    for common in (known.common_name, _EO_NAMES.get(name)):
        try:
            return find_band(cube, common) if common else _by_wavelength(cube, name, keys)
        except BandNotFoundError:
            continue
    return _by_wavelength(cube, name, keys)


#: Common names of STAC's EO extension before 2.0 where spyndex's differ.
_EO_NAMES: Mapping[str, str] = {"A": "coastal", "N2": "nir08", "S1": "swir16", "S2": "swir22", "WV": "nir09"}


def _by_wavelength(cube: xr.DataArray | xr.Dataset, name: str, keys: list[str]) -> str:
    known = spyndex.bands[name]
    low, high = float(known.min_wavelength), float(known.max_wavelength)
    centres = wavelengths(cube)
    inside = [k for k, c in zip(keys, centres, strict=True) if low <= c <= high]
    if len(inside) == 1:
        return inside[0]
    if inside:
        middle = (low + high) / 2
        hyperspectral = len(inside) > 4
        if hyperspectral:
            return keys[int(np.nanargmin(np.abs(centres - middle)))]
        raise BandNotFoundError(
            f"the bands {inside} all lie in the range of {name} ({low:g} to {high:g} nm)", "one band", _remedy(name)
        )
    raise BandNotFoundError(
        f"no band for {name} ({known.long_name}, {low:g} to {high:g} nm) among {keys}",
        f"a band with the common name {known.common_name!r} or a wavelength in that range",
        _remedy(name),
    )


def _remedy(name: str) -> str:
    return f"name it: index(..., bands={{{name!r}: '<key>'}})"
