"""Spectral indices of a cube."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import spyndex
import xarray as xr

from xrs.cube import band_keys, check_reflectance, provenance, wavelengths, with_all_dims
from xrs.errors import LayoutError, ParameterError
from xrs.indices import Index, get_index, match_bands
from xrs.kernels.types import Float32
from xrs.lazy import Source, map_tiles
from xrs.methods import Tile
from xrs.operators._fusion import check_floats

__all__ = ["index"]

#: Bands of spyndex's that are no reflectance: thermal ones, and radar's.
_NO_LIGHT = frozenset({"T", "T1", "T2", "VV", "VH", "HV", "HH"})


def index(
    cube: xr.DataArray | xr.Dataset,
    names: str | Sequence[str],
    *,
    bands: Mapping[str, str | float] | None = None,
    **constants: float,
) -> xr.Dataset:
    """Compute spectral indices.

    Parameters
    ----------
    cube : xarray.DataArray or xarray.Dataset
        Reflectance from 0 to about 1, all bands on one grid.
    names : str or sequence of str
        Names of the catalogue, see ``xrs.list_indices()``.
    bands : mapping, optional
        Bands where names do not settle it, e.g. ``{"N": "B8A"}``: spyndex's name to a key, a common
        name or a wavelength in nm.
    **constants
        Constants of the formulas (``L=0.5``); spyndex's defaults otherwise. Central wavelengths
        (``lambdaN``) are taken from the cube.

    Returns
    -------
    xarray.Dataset
        A float32 variable for each index, lazy if the cube is. NaN where a band it needs is missing
        or a denominator is zero.

    Raises
    ------
    RadiometryError
        For integers, or where a band that is needed holds values beyond 10 in magnitude, which reflectance cannot have
        (lazy values when they are computed); thermal and radar bands may hold any.
    BandNotFoundError
        If a band is missing or ambiguous.
    ParameterError
        For an unknown index or constant.

    Examples
    --------
    >>> import numpy as np, xarray as xr, xrs
    >>> ds = xr.Dataset(
    ...     {"red": (("y", "x"), np.full((1, 1), 0.1)), "nir": (("y", "x"), np.full((1, 1), 0.3))},
    ...     coords={"y": [0.5], "x": [0.5]},
    ... )
    >>> ds = ds.astype("float32").map(lambda v: v.assign_attrs(common_name=v.name))
    >>> round(xrs.index(ds, "NDVI").NDVI.item(), 3)
    0.5
    """
    wanted = [get_index(name) for name in ([names] if isinstance(names, str) else names)]
    if not wanted:
        raise ParameterError("no index was named", "at least one name", "xrs.list_indices()")
    _check_constants(wanted, constants)
    if isinstance(cube, xr.DataArray) and "band" not in cube.dims:
        raise LayoutError("the cube has no dim 'band'", "several bands on one grid")
    computed = {i.name: _compute(i, cube, bands, constants) for i in wanted}
    result = xr.Dataset(computed)
    result.attrs = provenance(cube, "index", {"names": [i.name for i in wanted], **constants}, same_quantity=False)
    return result


def _compute(
    wanted: Index,
    cube: xr.DataArray | xr.Dataset,
    bands: Mapping[str, str | float] | None,
    constants: Mapping[str, float],
) -> xr.DataArray:
    matched = match_bands(cube, wanted.bands, bands)
    used = {name: _band(cube, key) for name, key in matched.items()}
    for name, band in used.items():
        check_floats(name, band)
        if name not in _NO_LIGHT:
            check_reflectance(band)
    fixed = {c: _constant(c, wanted, cube, bands, constants) for c in wanted.constants}
    first = next(iter(used.values()))
    data = map_tiles(
        partial(_evaluate, wanted, fixed),
        {n: Source(with_all_dims(band).data, reflectance=n not in _NO_LIGHT) for n, band in used.items()},
        bands=1,
        factor=1,
        name=f"xrs-index-{wanted.name}",
    )
    result = xr.DataArray(data, dims=("time", "band", "y", "x"), name=wanted.name).isel(band=0)
    result = result if "time" in first.dims else result.isel(time=0)
    result = result.assign_coords({n: c for n, c in first.coords.items() if set(c.dims) <= set(result.dims)})
    result = result.drop_vars(["band", "common_name", "wavelength", "fwhm"], errors="ignore")
    told = {"name": wanted.name, "bands": matched, **fixed}
    result.attrs = provenance(cube, "index", told, same_quantity=False) | {
        "long_name": wanted.long_name,
        "units": "1",
        "references": wanted.reference,
    }
    return result


def _evaluate(wanted: Index, fixed: Mapping[str, float], tile: Tile, state: Any) -> Float32:
    values: dict[str, Any] = {name: array[0] for name, array in tile.arrays.items()}
    result = wanted.evaluate(values | dict(fixed))
    shape = next(iter(values.values())).shape
    return np.broadcast_to(np.where(np.isfinite(result), result, np.float32(np.nan)), (1, *shape))


def _band(cube: xr.DataArray | xr.Dataset, key: str) -> xr.DataArray:
    return cube[key] if isinstance(cube, xr.Dataset) else cube.sel(band=key)


def _constant(
    name: str,
    wanted: Index,
    cube: xr.DataArray | xr.Dataset,
    bands: Mapping[str, str | float] | None,
    given: Mapping[str, float],
) -> float:
    if name in given:
        return float(given[name])
    if name.startswith("lambda"):
        key = match_bands(cube, [name.removeprefix("lambda")], bands).popitem()[1]
        centre = float(wavelengths(cube)[band_keys(cube).index(key)])
        if np.isfinite(centre):
            return centre
    default = spyndex.constants[name].default
    if default is None:
        raise ParameterError(f"{wanted.name} needs {name}, which has no default", f"{name}=<value>")
    return float(default)


def _check_constants(wanted: Sequence[Index], given: Mapping[str, float]) -> None:
    known = {c for i in wanted for c in i.constants}
    unknown = sorted(set(given) - known)
    if unknown:
        raise ParameterError(
            f"{', '.join(i.name for i in wanted)} have no constant {unknown[0]!r}",
            f"one of {sorted(known)}" if known else "no constants",
        )
