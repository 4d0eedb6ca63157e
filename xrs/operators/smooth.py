"""Smoothing and gap filling along time."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import pandas as pd
import xarray as xr

from xrs.cube import check_time, provenance, to_array, to_dataset, with_all_dims
from xrs.errors import GridMismatchError, RadiometryError, TimeAxisError
from xrs.lazy import map_series
from xrs.methods import Method, get_method, resolve_params

__all__ = ["smooth"]

Cube = TypeVar("Cube", xr.DataArray, xr.Dataset)


def smooth(
    cube: Cube,
    method: str | Method = "whittaker",
    *,
    times: Any = None,
    weights: xr.DataArray | None = None,
    **params: Any,
) -> Cube:
    """Smooth the series of every pixel and fill its gaps.

    Parameters
    ----------
    cube : xarray.DataArray or xarray.Dataset
        Floating point with dim ``time``: ascending dates, each once. NaN is missing.
    method : str or Method
        See ``xrs.list_methods("temporal")``.
    times : str, sequence of datetime64 or pandas.DatetimeIndex, optional
        Dates of the result; those of the cube if not given. A string is a pandas frequency (``"5D"``)
        from the first date to the last.
    weights : xarray.DataArray, optional
        From 0 on, dims ``time`` or those of the cube; 0 leaves a value out, as NaN does.
    **params
        Parameters of the method.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        As ``cube``, float32; NaN where a series has too few values. Lazy if the cube is; chunks along
        time are joined within the tasks, so rechunking beforehand is not needed.

    Raises
    ------
    TimeAxisError
        If dates are missing, unsorted or doubled.
    RadiometryError
        If values are integers.

    Examples
    --------
    >>> import numpy as np, pandas as pd, xarray as xr, xrs
    >>> dates = pd.date_range("2024-01-01", periods=12, freq="10D")
    >>> line = np.linspace(0.2, 0.8, 12, dtype="float32")
    >>> cube = xr.DataArray(line[:, None, None], dims=("time", "y", "x"), coords={"time": dates})
    >>> gappy = cube.where(cube.time.dt.month != 2)
    >>> bool(abs(xrs.smooth(gappy, method="whittaker", lmbda=10.0) - cube).max() < 1e-5)
    True
    """
    record = get_method(method, "temporal")
    params = resolve_params(record, params)
    values = to_array(cube)
    check_time(values)
    if values.dtype.kind != "f":
        raise RadiometryError(f"the cube holds {values.dtype}", "floating point with NaN", "cube.astype('float32')")
    dates = pd.DatetimeIndex(values["time"].values)
    targets = _targets(times, dates)
    data = map_series(
        record.apply,
        with_all_dims(values).data,
        _days(dates, dates[0]),
        _days(targets, dates[0]),
        weights=None if weights is None else _weights(weights, values),
        params=params,
        name=f"xrs-{record.name}",
    )
    result = xr.DataArray(data, dims=("time", "band", "y", "x"), name=values.name)
    result = result.isel({d: 0 for d in ("band",) if d not in values.dims})
    kept = {n: c for n, c in values.coords.items() if "time" not in c.dims}
    result = result.assign_coords(kept | {"time": ("time", targets.values, values["time"].attrs)})
    result.attrs = provenance(values, "smooth", {"method": record.name, **params}, doi=record.reference.doi)
    result.attrs["xrs:method"] = record.name
    return to_dataset(result) if isinstance(cube, xr.Dataset) else result


def _targets(times: Any, dates: pd.DatetimeIndex) -> pd.DatetimeIndex:
    if times is None:
        return dates
    if isinstance(times, str):
        return pd.date_range(dates[0].normalize(), dates[-1], freq=times)
    targets = pd.DatetimeIndex(np.asarray(times))
    if not (targets.is_monotonic_increasing and targets.is_unique):
        raise TimeAxisError("times are unsorted or doubled", "ascending dates, each once", "sorted(set(times))")
    return targets


def _days(dates: pd.DatetimeIndex, start: pd.Timestamp) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.asarray((dates - start) / pd.Timedelta(days=1), dtype=np.float64)


def _weights(weights: xr.DataArray, values: xr.DataArray) -> Any:
    for dim in weights.dims:
        if weights.sizes[dim] != values.sizes.get(dim):
            raise GridMismatchError(
                f"weights have {weights.sizes[dim]} along {dim} and the cube {values.sizes.get(dim, 'none')}",
                "weights with dim time, or the dims of the cube",
            )
    fitted = weights.drop_vars(list(weights.coords)).broadcast_like(values.drop_vars(list(values.coords)))
    return with_all_dims(fitted.transpose(*values.dims)).data
