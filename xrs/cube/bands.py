"""Bands by the provider's key, by common name or by wavelength; never by position."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xrs.errors import BandNotFoundError, LayoutError

__all__ = [
    "BAND_COORDS",
    "ancillaries",
    "assign_bands",
    "band_fact",
    "band_keys",
    "band_variables",
    "band_widths",
    "common_names",
    "find_band",
    "find_bands",
    "is_flag",
    "wavelengths",
    "with_known_bands",
    "without_quality",
]

#: What stands beside a band's key, and its type; lengths in nm.
BAND_COORDS: Mapping[str, str] = {"common_name": "str", "wavelength": "float64", "fwhm": "float64"}


def band_keys(cube: xr.DataArray | xr.Dataset) -> list[str]:
    """The keys of a cube's bands, in order.

    Parameters
    ----------
    cube : xarray.DataArray or xarray.Dataset
        Of a Dataset, variables with dims ``y`` and ``x`` are bands, but for flags and what :func:`ancillaries` gives.

    Returns
    -------
    list of str

    Raises
    ------
    LayoutError
        If a DataArray has no coordinate ``band``, or two bands have one key.
    """
    if isinstance(cube, xr.Dataset):
        return list(band_variables(cube))
    if "band" not in cube.coords:
        raise LayoutError(
            f"found no coordinate 'band' (dims {tuple(map(str, cube.dims))})",
            "band keys such as 'B8A' along dim 'band'",
            "xrs.cube.assign_bands(cube, ['B02', ...])",
        )
    keys = [str(k) for k in np.atleast_1d(cube["band"].values)]
    if len(set(keys)) < len(keys):
        twice = sorted({key for key in keys if keys.count(key) > 1})
        raise LayoutError(
            f"found the band keys {twice[:5]} more than once",
            "a key of its own for each band",
            "xrs.cube.assign_bands(cube, [...]) with other names, or cube.drop_duplicates('band')",
        )
    return keys


def is_flag(variable: xr.DataArray) -> bool:
    """Whether a variable holds flags, such as a quality layer, by CF's attributes; it is no band then."""
    return "flag_values" in variable.attrs or "flag_masks" in variable.attrs


def ancillaries(cube: xr.Dataset, kind: str | None = None) -> xr.Dataset:
    """Variables that tell of others: those that a variable names in CF's ``ancillary_variables``. They are no bands.

    Parameters
    ----------
    cube : xarray.Dataset
    kind : str, optional
        Only those named ``<band>_<kind>``, under the names of their bands, so that they are a cube like that of the
        bands: ``"std"`` or ``"residual"``.

    Returns
    -------
    xarray.Dataset

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> grid = {"y": [1.5, 0.5], "x": [0.5, 1.5]}
    >>> ds = xr.Dataset({n: (("y", "x"), np.zeros((2, 2))) for n in ("B11", "B11_std")}, grid)
    >>> ds["B11"].attrs["ancillary_variables"] = "B11_std"
    >>> band_keys(ds), list(ancillaries(ds)), list(ancillaries(ds, "std"))
    (['B11'], ['B11_std'], ['B11'])
    """
    owners = {
        name: str(key)
        for key, variable in cube.data_vars.items()
        for name in str(variable.attrs.get("ancillary_variables", "")).split()
        if name in cube.data_vars
    }
    if kind is None:
        return cube[list(owners)]
    named = {f"{key}_{kind}": key for key in owners.values()}
    found = cube[[name for name in owners if name in named]]
    return found.rename({name: named[str(name)] for name in found.data_vars})


def band_variables(cube: xr.Dataset) -> dict[str, xr.DataArray]:
    """The variables of a Dataset that are bands, by key."""
    told = {name for v in cube.data_vars.values() for name in str(v.attrs.get("ancillary_variables", "")).split()}
    return {
        str(k): v for k, v in cube.data_vars.items() if {"y", "x"} <= set(v.dims) and not is_flag(v) and k not in told
    }


def without_quality(cube: xr.Dataset, known: Iterable[str] = ()) -> xr.Dataset:
    """A Dataset without its quality layers: variables of other types than floating point beside some that are.

    Integers that have a wavelength or one of the keys ``known`` stay: they are bands that were not scaled.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> ds = xr.Dataset({"B04": (("y", "x"), np.zeros((2, 2))), "SCL": (("y", "x"), np.zeros((2, 2), "uint8"))})
    >>> list(without_quality(ds))
    ['B04']
    """
    others = {key: variable for key, variable in band_variables(cube).items() if variable.dtype.kind != "f"}
    if len(others) == len(band_variables(cube)):
        return cube
    keys = set(known)
    quality = [
        key for key, v in others.items() if key not in keys and ("band" in v.dims or band_fact(v, "wavelength") is None)
    ]
    return cube.drop_vars(quality)


def with_known_bands(cube: xr.DataArray) -> xr.DataArray:
    """A cube that has in memory what stands beside its bands: chunking a cube makes these few values lazy too."""
    lazy = {name: cube.coords[name].variable for name in BAND_COORDS if name in cube.coords}
    # Whatever scheduler the user has, metadata are no work for it.
    known = {name: v.compute(scheduler="synchronous") for name, v in lazy.items() if v.chunks is not None}
    return cube.assign_coords(known) if known else cube


def band_fact(variable: xr.DataArray, name: str) -> Any:
    """What stands beside the one band of a variable, its attribute or its coordinate; None if nothing does."""
    if name in variable.attrs or name not in variable.coords:
        return variable.attrs.get(name)
    return with_known_bands(variable).coords[name].item()


def find_band(cube: xr.DataArray | xr.Dataset, query: str | float) -> str:
    """The key of the one band that a key, a common name or a wavelength names.

    Parameters
    ----------
    cube : xarray.DataArray or xarray.Dataset
        A cube with bands.
    query : str or float
        A key (``"B8A"``), a common name (``"nir"``), or a wavelength in nm, which takes the band
        whose centre is nearest among those whose full width at half maximum covers it.

    Raises
    ------
    BandNotFoundError
        If no band fits, or a common name fits several.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> cube = xr.DataArray(np.zeros((2, 1, 1)), dims=("band", "y", "x"))
    >>> cube = assign_bands(cube, ["B04", "B08"], common_name=["red", "nir"], wavelength=[665.0, 833.0])
    >>> find_band(cube, "nir")
    'B08'
    """
    keys = band_keys(cube)
    if isinstance(query, str):
        if query in keys:
            return query
        matches = [k for k, name in zip(keys, _along_band(cube, "common_name", keys), strict=True) if name == query]
        return _only(query, matches, keys)
    return _nearest(cube, float(query), keys)


def find_bands(cube: xr.DataArray | xr.Dataset, queries: Iterable[str | float]) -> list[str]:
    """The keys of several bands, each as :func:`find_band` finds it.

    Parameters
    ----------
    cube : xarray.DataArray or xarray.Dataset
    queries : iterable of str or float
        Keys, common names or wavelengths in nm.

    Returns
    -------
    list of str
    """
    return [find_band(cube, q) for q in queries]


def wavelengths(cube: xr.DataArray | xr.Dataset) -> np.ndarray:
    """Centre wavelengths in nm along ``band``; NaN where unknown.

    Parameters
    ----------
    cube : xarray.DataArray or xarray.Dataset

    Returns
    -------
    numpy.ndarray, float64, (band,)
    """
    return _numbers(cube, "wavelength")


def band_widths(cube: xr.DataArray | xr.Dataset) -> np.ndarray:
    """Full widths at half maximum in nm along ``band``, float64; NaN where unknown."""
    return _numbers(cube, "fwhm")


def common_names(cube: xr.DataArray | xr.Dataset) -> list[str]:
    """Names shared between sensors along ``band``; empty where unknown."""
    return [str(name or "") for name in _along_band(cube, "common_name", band_keys(cube))]


def assign_bands(
    cube: xr.DataArray,
    keys: Sequence[str],
    *,
    common_name: Sequence[str] | None = None,
    wavelength: Sequence[float] | None = None,
    fwhm: Sequence[float] | None = None,
) -> xr.DataArray:
    """Name the bands of a DataArray.

    Parameters
    ----------
    cube : xarray.DataArray
        With dim ``band``.
    keys : sequence of str
        The provider's names, such as ``B8A``.
    common_name : sequence of str, optional
        Names shared between sensors, such as ``red``.
    wavelength, fwhm : sequence of float, optional
        Centre and full width at half maximum in nm.

    Returns
    -------
    xarray.DataArray
        With these as coordinates along ``band``.

    Raises
    ------
    LayoutError
        If there is not a key for each band.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> cube = xr.DataArray(np.zeros((2, 1, 1)), dims=("band", "y", "x"))
    >>> assign_bands(cube, ["B04", "B08"], wavelength=[665.0, 833.0]).wavelength.values
    array([665., 833.])
    """
    if "band" not in cube.dims or cube.sizes["band"] != len(keys):
        raise LayoutError(
            f"found {cube.sizes.get('band', 'no')} bands and {len(keys)} keys", "a key for each band of dim 'band'"
        )
    coords: dict[str, xr.Variable] = {"band": xr.Variable("band", np.array(keys, dtype=str))}
    for name, values in (("common_name", common_name), ("wavelength", wavelength), ("fwhm", fwhm)):
        if values is not None:
            attrs = {} if name == "common_name" else {"units": "nm"}
            coords[name] = xr.Variable("band", np.asarray(values, dtype=BAND_COORDS[name]), attrs)
    return cube.assign_coords(coords)


def _numbers(cube: xr.DataArray | xr.Dataset, name: str) -> np.ndarray:
    values = _along_band(cube, name, band_keys(cube))
    return np.array([np.nan if v is None else v for v in values], dtype="float64")


def _along_band(cube: xr.DataArray | xr.Dataset, name: str, keys: list[str]) -> list[Any]:
    if isinstance(cube, xr.Dataset):
        return [band_fact(cube[k], name) for k in keys]
    if name not in cube.coords:
        return [None] * len(keys)
    return list(np.atleast_1d(with_known_bands(cube)[name].values))


def _only(query: str, matches: list[str], keys: list[str]) -> str:
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise BandNotFoundError(
            f"the name {query!r} fits the bands {matches}", "a name that fits one band", f"use a key: one of {matches}"
        )
    raise BandNotFoundError(
        f"no band {query!r} among {keys}", "a band key, a common name or a wavelength in nm", "rename or load the band"
    )


def _nearest(cube: xr.DataArray | xr.Dataset, query: float, keys: list[str]) -> str:
    centres = wavelengths(cube)
    widths = band_widths(cube)
    if np.isnan(centres).all():
        raise BandNotFoundError(
            f"asked for {query:g} nm, but the bands {keys} have no wavelengths",
            "a coordinate 'wavelength' in nm",
            "xrs.cube.assign_bands(cube, keys, wavelength=[...])",
        )
    distance = np.abs(centres - query)
    covered = distance <= np.where(np.isnan(widths), 10.0, np.maximum(widths / 2, 1.0))
    if not covered.any():
        known = ", ".join(f"{k} {w:g}" for k, w in zip(keys, centres, strict=True))
        raise BandNotFoundError(f"no band covers {query:g} nm (centres: {known})", "a wavelength within a band")
    return keys[int(np.argmin(np.where(covered, distance, np.inf)))]
