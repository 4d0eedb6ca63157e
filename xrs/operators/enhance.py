"""Complete vegetation series by learnt growth curves."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import xarray as xr

from xrs.cube import to_dataset
from xrs.errors import LayoutError
from xrs.methods import get_method, resolve_params
from xrs.methods.temporal.enhance import GrowthModel, growth_model
from xrs.operators._series import check_cube, days_of, labelled, over_series, targets_of

__all__ = ["enhance", "learn_growth"]

Cube = TypeVar("Cube", xr.DataArray, xr.Dataset)


def enhance(
    cube: Cube,
    library: xr.DataArray | GrowthModel | None = None,
    *,
    times: Any = None,
    weights: xr.DataArray | None = None,
    **params: Any,
) -> Cube:
    """Complete and smooth vegetation series by growth curves learnt from a library, or from the scene itself.

    Neighbours that grow alike are clear on different dates. What they share, the mean curve and how values of different
    days vary together, is learnt once, and each series becomes the most probable curve given its own clear dates. Where
    the library or scene has few curves, simulated ones stand in for what they do not tell.

    Parameters
    ----------
    cube : xarray.DataArray or xarray.Dataset
        An index or another vegetation product, floating point with dim ``time``: ascending dates, each once. NaN is
        missing. Bands are treated apart.
    library : xarray.DataArray or GrowthModel, optional
        Curves (curve, time) in the cube's units, of any years, with or without gaps; or what was learnt from such by
        :func:`learn_growth`. If not given, curves of the cube are drawn at random, with a pass over the whole scene.
    times : str, sequence of datetime64 or pandas.DatetimeIndex, optional
        Dates of the result, as in :func:`xrs.smooth`.
    weights : xarray.DataArray, optional
        From 0 on, dims ``time`` or those of the cube; 0 leaves a value out, as NaN does.
    **params
        Parameters of method ``enhance``: ``curves``, ``start``, ``least``, ``seed``.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        As ``cube``, float32; NaN in years of a series with fewer than ``least`` clear dates. Lazy if the cube is.

    Raises
    ------
    TimeAxisError, RadiometryError
        As in :func:`xrs.smooth`.
    LayoutError
        If the library has other dims.

    References
    ----------
    Our own design, after Yao, Müller and Wang 2005 (10.1198/016214504000001745); see
    :func:`xrs.methods.temporal.enhance.enhance`.

    Examples
    --------
    >>> import numpy as np, pandas as pd, xarray as xr
    >>> dates = pd.date_range("2024-01-01", periods=36, freq="10D")
    >>> peaks = xr.DataArray(np.linspace(150, 210, 64).reshape(8, 8), dims=("y", "x"))
    >>> day = xr.DataArray(np.arange(0.0, 360.0, 10.0), dims="time", coords={"time": dates})
    >>> cube = np.exp(-0.5 * ((day - peaks) / 30) ** 2).astype("float32")
    >>> gappy = cube.where(np.random.default_rng(0).random(cube.shape) < 0.5)
    >>> filled = enhance(gappy)
    >>> bool(np.sqrt(((filled - cube) ** 2).mean()) < 0.02)
    True
    """
    record = get_method("enhance", "temporal")
    params = resolve_params(record, params | {"library": as_growth(library, params.get("start", 1))})
    values = check_cube(cube)
    targets = targets_of(times, values)
    data = over_series(values, targets, record.apply, record, params, weights=weights)
    result = labelled(data, values, targets, "enhance", record, params)
    return to_dataset(result) if isinstance(cube, xr.Dataset) else result


def learn_growth(library: xr.DataArray, *, start: int = 1, curves: int = 2000, seed: int = 0) -> GrowthModel:
    """Learn growth curves from a library once, for use on many cubes.

    Parameters
    ----------
    library : xarray.DataArray
        Dims ``curve`` and ``time``; NaN is missing. A curve of several years is one for each.
    start : int
        First day of the growth year, as day of the calendar year.
    curves : int
        How many are learnt from, at most, drawn at random.
    seed : int
        Of the draw.

    Returns
    -------
    GrowthModel

    Raises
    ------
    LayoutError
        If the library has other dims.
    ParameterError
        If no curve has at least four values in a year.

    Examples
    --------
    >>> import numpy as np, pandas as pd, xarray as xr
    >>> dates = pd.date_range("2023-01-01", periods=73, freq="5D")
    >>> curves = np.cos(np.linspace(-3, 3, 73) + np.linspace(0, 1, 30)[:, None])
    >>> str(learn_growth(xr.DataArray(curves, dims=("curve", "time"), coords={"time": dates})))
    'growth model of 30 curves'
    """
    if set(library.dims) != {"curve", "time"}:
        raise LayoutError(
            f"the library has dims {tuple(map(str, library.dims))}", "curve and time", "library.stack(curve=('y', 'x'))"
        )
    ordered = library.sortby("time").transpose("time", "curve")
    series = np.ascontiguousarray(ordered.values, dtype=np.float32)
    return growth_model(series, days_of(ordered["time"].values), start=start, curves=curves, seed=seed)


def as_growth(library: xr.DataArray | GrowthModel | None, start: int = 1) -> GrowthModel | None:
    """What a library teaches, if it is one."""
    return learn_growth(library, start=start) if isinstance(library, xr.DataArray) else library
