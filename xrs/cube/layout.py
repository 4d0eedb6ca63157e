"""The layout of a cube: ``time, band, y, x`` with values in float32 and NaN where nothing was seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import xarray as xr

from xrs.cube.bands import BAND_COORDS, band_fact, band_keys, band_variables, with_known_bands
from xrs.errors import LayoutError, RadiometryError, TimeAxisError

__all__ = [
    "DIMS",
    "check_reflectance",
    "check_time",
    "is_lazy",
    "to_array",
    "to_dataset",
    "with_all_dims",
]

DIMS = ("time", "band", "y", "x")

Cube = TypeVar("Cube", xr.DataArray, xr.Dataset)


def to_array(cube: xr.DataArray | xr.Dataset) -> xr.DataArray:
    """Bring a cube to one DataArray with dims in the order ``time, band, y, x``.

    Parameters
    ----------
    cube : xarray.DataArray or xarray.Dataset
        A DataArray with ``y`` and ``x`` and, if it has them, ``time`` and ``band``; or a Dataset
        with a variable for each band, or with a single one that has dim ``band``. Variables without
        ``y`` and ``x``, those with CF flags (quality layers) and those that another names as
        ancillary (standard deviations) are left out.

    Returns
    -------
    xarray.DataArray
        The same values, transposed; ``common_name``, ``wavelength`` and ``fwhm`` of a Dataset's
        variables become coordinates along ``band``.

    Raises
    ------
    LayoutError
        If ``y`` or ``x`` is missing, there are dims a cube does not have, or two bands have one key.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> ds = xr.Dataset({"B04": (("y", "x"), np.zeros((2, 2))), "B08": (("y", "x"), np.ones((2, 2)))})
    >>> to_array(ds).dims
    ('band', 'y', 'x')
    """
    if isinstance(cube, xr.DataArray):
        return _ordered(cube)
    if not isinstance(cube, xr.Dataset):
        raise LayoutError(
            f"found a {type(cube).__name__}",
            "an xarray.DataArray with dims (time, band, y, x) or a Dataset with a variable for each band",
            _remedy(cube),
        )
    bands = band_variables(cube)
    if not bands:
        raise LayoutError(
            f"found a Dataset whose variables {list(map(str, cube.data_vars))} have no dims y and x",
            "a variable for each band with dims ([time,] y, x)",
            "rename the spatial dims with ds.rename({...})",
        )
    if any("band" in v.dims for v in bands.values()):
        return _ordered(_only_variable(bands))
    stacked = xr.concat(
        [v.drop_vars(BAND_COORDS, errors="ignore").drop_attrs(deep=False) for v in bands.values()],
        dim=xr.Variable("band", np.array(list(bands), dtype=object).astype(str)),
        coords="minimal",
        compat="override",
        join="exact",
    )
    stacked = stacked.assign_coords(_band_coords(bands))
    stacked.attrs = dict(cube.attrs)
    stacked.name = None
    return _ordered(stacked)


def to_dataset(cube: xr.DataArray) -> xr.Dataset:
    """Split a DataArray into a Dataset with a variable for each band.

    The inverse of :func:`to_array`: coordinates along ``band`` become attributes of the variables.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> da = xr.DataArray(np.zeros((2, 3, 3)), dims=("band", "y", "x"), coords={"band": ["B04", "B08"]})
    >>> list(to_dataset(da).data_vars)
    ['B04', 'B08']
    """
    if "band" not in cube.dims:
        return cube.to_dataset(name=str(cube.name or "band"))
    cube = with_known_bands(cube)
    along_band = [name for name in BAND_COORDS if name in cube.coords]
    variables = {}
    for i, key in enumerate(cube["band"].values):
        one = cube.isel(band=i)
        attrs = {k: v for k, v in cube.attrs.items() if not k.startswith("xrs:") and k != "history"}
        attrs |= {name: one[name].item() for name in along_band if not _is_missing(one[name].item())}
        variables[str(key)] = one.drop_vars(["band", *along_band]).assign_attrs(attrs)
        variables[str(key)].name = str(key)
    dataset = xr.Dataset(variables)
    dataset.attrs = dict(cube.attrs)
    return dataset


def with_all_dims(cube: xr.DataArray) -> xr.DataArray:
    """Give a cube of any of the four dims all of them, in order; new ones have length one."""
    missing = [dim for dim in ("time", "band") if dim not in cube.dims]
    return _transposed(cube.expand_dims(missing) if missing else cube, DIMS)


def is_lazy(cube: xr.DataArray | xr.Dataset) -> bool:
    """Whether any value of the cube is still a Dask graph."""
    return cube.chunks is not None and len(cube.chunks) > 0


def check_reflectance(cube: xr.DataArray | xr.Dataset) -> None:
    """Refuse integers, and in-memory values that cannot be reflectance.

    Lazy values are not read here but where they are computed, tile by tile, by the same rule. Quality layers (variables
    with CF flags) pass. Values that are not finite are missing.

    Raises
    ------
    RadiometryError
        If values are integers, or in memory one of them is beyond 10 in magnitude: digital numbers, percent, or fill
        values.
    """
    from xrs.kernels.plausible import check_magnitudes

    arrays = [cube] if isinstance(cube, xr.DataArray) else list(band_variables(cube).values())
    for array in arrays:
        name = array.name or "the cube"
        if array.dtype.kind not in "f":
            raise RadiometryError(
                f"{name} holds {array.dtype}",
                "floating-point reflectance",
                "apply the product's scale and offset first, e.g. da.astype('float32') * 1e-4",
            )
        if not is_lazy(array):
            check_magnitudes(array.values, str(name))


def check_time(cube: xr.DataArray | xr.Dataset, *, least: int = 1) -> None:
    """Refuse a time axis that is missing, unsorted, has duplicates or is too short.

    Raises
    ------
    TimeAxisError
        With the dates at fault.
    """
    if "time" not in cube.dims:
        raise TimeAxisError(f"found dims {tuple(map(str, cube.dims))}", "a dim 'time'", "cube.expand_dims('time')")
    if "time" not in cube.coords:
        raise TimeAxisError(
            "dim 'time' has no coordinate", "datetime64 dates along time", "cube.assign_coords(time=...)"
        )
    times = cube["time"].values
    if not np.issubdtype(times.dtype, np.datetime64):
        raise TimeAxisError(f"time holds {times.dtype}", "datetime64", "cube.assign_coords(time=pd.to_datetime(...))")
    if times.size < least:
        raise TimeAxisError(f"found {times.size} dates", f"at least {least}", "take a longer period")
    steps = np.diff(times)
    if (steps < np.timedelta64(0)).any():
        first = int(np.argmax(steps < np.timedelta64(0)))
        raise TimeAxisError(
            f"time is unsorted: {times[first + 1]} follows {times[first]}", "ascending dates", "cube.sortby('time')"
        )
    if (steps == np.timedelta64(0)).any():
        twice = times[int(np.argmax(steps == np.timedelta64(0)))]
        raise TimeAxisError(
            f"time holds {twice} more than once", "each date once", "cube.groupby('time').mean() or drop_duplicates"
        )


def _remedy(found: object) -> str:
    """What to do with what is no cube."""
    if isinstance(found, xr.DataTree):
        return "take a group, tree['r10m'].to_dataset(), or bring all to one grid: tree.rsfuse.sharpen()"
    return "wrap the values in xarray.DataArray with coordinates y and x"


def _ordered(cube: xr.DataArray) -> xr.DataArray:
    dims = {str(d) for d in cube.dims}
    if not {"y", "x"} <= dims or dims - set(DIMS):
        raise LayoutError(
            f"found dims {tuple(map(str, cube.dims))}",
            "y and x, and optionally time and band",
            "rename dims, e.g. da.rename({'lat': 'y', 'lon': 'x'})",
        )
    if "band" in cube.coords:
        band_keys(cube)
    return _transposed(with_known_bands(cube), [d for d in DIMS if d in dims])


def _transposed(cube: xr.DataArray, dims: Sequence[str]) -> xr.DataArray:
    # A transposition that moves nothing would still put a task on every chunk.
    return cube if list(cube.dims) == list(dims) else cube.transpose(*dims)


def _only_variable(variables: dict[str, xr.DataArray]) -> xr.DataArray:
    if len(variables) > 1:
        raise LayoutError(
            f"found a Dataset with the variables {list(variables)}, some with dim 'band'",
            "a variable for each band, or a single one with dim 'band'",
            "select one: ds['<name>']",
        )
    only = next(iter(variables.values())).copy(deep=False)
    # The variables it names stay behind.
    only.attrs.pop("ancillary_variables", None)
    return only


def _band_coords(bands: dict[str, xr.DataArray]) -> dict[str, xr.Variable]:
    coords = {}
    for name, dtype in BAND_COORDS.items():
        values = [band_fact(v, name) for v in bands.values()]
        if any(value is not None for value in values):
            missing = "" if dtype == "str" else np.nan
            filled = np.array([missing if value is None else value for value in values], dtype=dtype)
            coords[name] = xr.Variable("band", filled, {"units": "nm"} if dtype == "float64" else {})
    return coords


def _is_missing(value: object) -> bool:
    return value == "" or (isinstance(value, float) and np.isnan(value))
