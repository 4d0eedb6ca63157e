"""Smoothing and gap filling along time."""

from __future__ import annotations

from typing import Any, TypeVar

import xarray as xr

from xrs.cube import to_dataset
from xrs.methods import Method, get_method, resolve_params
from xrs.operators._series import check_cube, labelled, over_series, targets_of

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
    values = check_cube(cube)
    targets = targets_of(times, values)
    data = over_series(values, targets, record.apply, record, params, weights=weights)
    result = labelled(data, values, targets, "smooth", record, params)
    return to_dataset(result) if isinstance(cube, xr.Dataset) else result
