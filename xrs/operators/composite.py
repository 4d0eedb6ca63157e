"""One image per month, or any other period, from all that was seen in it."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import pandas as pd
import xarray as xr
from pandas.tseries.frequencies import to_offset

from xrs.cube import check_time, is_lazy, provenance, to_array, to_dataset, with_all_dims
from xrs.errors import GridMismatchError, ParameterError, TimeAxisError
from xrs.indices import match_bands
from xrs.kernels.composite import highest, mean, median, medoid, ndvi_score, pick
from xrs.kernels.types import Float32, Float64
from xrs.lazy import joined_dates, map_series
from xrs.operators._fusion import check_floats
from xrs.operators._pairs import days_since

__all__ = ["composite"]

Cube = TypeVar("Cube", xr.DataArray, xr.Dataset)

_DOIS = {"medoid": "10.3390/rs5126481", "max_ndvi": "10.1080/01431168608948945"}
_WEIGHTED = ("median", "mean", "medoid")
_CHOOSING = ("medoid", "max_ndvi", "best")
_METHODS = ("median", "mean", *_CHOOSING)


def composite(
    cube: Cube,
    freq: str = "MS",
    *,
    times: Any = None,
    method: str = "median",
    score: xr.DataArray | None = None,
    weights: xr.DataArray | None = None,
    details: bool = False,
) -> Cube | xr.Dataset:
    """Make one image of all observations of each period.

    Parameters
    ----------
    cube : xarray.DataArray or xarray.Dataset, (time, [band,] y, x)
        Floating point, ascending dates, NaN where nothing was seen: mask clouds before.
    freq : str
        A pandas frequency of starts: months ``"MS"``, quarters ``"QS"``, years ``"YS"``, weeks from Monday
        ``"W-MON"``, ``"10D"`` counted from the midnight before the first date.
    times : sequence of datetime64, optional
        Edges of the periods in place of ``freq``, one more than periods: each begins at an edge and ends
        before the next one. What lies outside is left out.
    method : {"median", "mean", "medoid", "max_ndvi", "best"}
        ``median`` and ``mean`` go by band. The others take a whole observation, so that the bands belong together:
        ``medoid`` the one with the least sum of Euclidean distances to all others of its period [1]_;
        ``max_ndvi`` the one with the highest NDVI [2]_; ``best`` the one with the highest ``score``.
        Ties go to the date nearest to the middle of the period, then to the earlier one.
    score : xarray.DataArray, optional
        For ``best``: higher is better, such as the distance to the nearest cloud; NaN leaves an observation out.
        Dims ``time`` or (time, y, x).
    weights : xarray.DataArray, optional
        For ``median``, ``mean`` and ``medoid`` (of the distances), from 0 on; 0 or NaN leaves an observation out. Dims
        as ``score``.
    details : bool
        Whether to tell how the image was made: the result is then a Dataset with the further variables ``count``
        and, for methods that take whole observations, ``date``.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        As ``cube``, float32, ``time`` the first moment of each period; lazy if the cube is. NaN where nothing was seen:
        a period without dates is an image of NaN. ``count`` (time, y, x) is the number of dates with any band, for
        methods that take whole observations of those with all bands; ``date`` (time, y, x) is NaT where there is none.

    Raises
    ------
    TimeAxisError
        If dates are missing, unsorted or doubled, or the periods hold none of them.
    ParameterError
        If the method or the frequency is unknown, or score or weights do not belong to the method.
    GridMismatchError
        If score or weights have other dims, dates or pixels.
    BandNotFoundError
        If ``max_ndvi`` finds no red or near-infrared band.
    RadiometryError
        If values are integers.

    Notes
    -----
    A task reads the dates of one period, wherever the chunks along time end, so nothing need be rechunked.
    ``max_ndvi`` takes negative reflectance as zero, as NDVI is unbounded there.

    References
    ----------
    .. [1] Flood, Seasonal composite Landsat TM/ETM+ images using the medoid (a multi-dimensional median). Remote
       Sensing 5, 2013. 10.3390/rs5126481
    .. [2] Holben, Characteristics of maximum-value composite images from temporal AVHRR data. International Journal
       of Remote Sensing 7, 1986. 10.1080/01431168608948945

    Examples
    --------
    >>> import numpy as np, pandas as pd, xarray as xr
    >>> from xrs import composite
    >>> dates = pd.to_datetime(["2024-01-03", "2024-01-09", "2024-01-21", "2024-03-02"])
    >>> values = np.array([0.1, 0.9, 0.2, 0.3], "float32")
    >>> cube = xr.DataArray(values[:, None, None], dims=("time", "y", "x"), coords={"time": dates})
    >>> composite(cube)[:, 0, 0].values.tolist()
    [0.20000000298023224, nan, 0.30000001192092896]
    >>> composite(cube, method="medoid", details=True)["date"][:, 0, 0].dt.day.values.tolist()
    [21.0, nan, 2.0]
    """
    values = to_array(cube)
    check_time(values)
    check_floats("the cube", values)
    _check_method(method, score, weights)
    dates = pd.DatetimeIndex(values["time"].values)
    edges = _edges(freq, times, dates)
    layers = _computed(values, dates, edges, method, score if method == "best" else weights, details)
    image = _labelled(values, layers[0], edges[:-1])
    told: dict[str, Any] = {"method": method, "freq": freq} if times is None else {"method": method}
    image.attrs = provenance(values, "composite", told, doi=_DOIS.get(method, ""))
    result = to_dataset(image) if isinstance(cube, xr.Dataset) else image
    return _with_details(result, values, layers, edges, method) if details else result


def _check_method(method: str, score: Any, weights: Any) -> None:
    if method not in _METHODS:
        raise ParameterError(f"the method {method!r}", f"one of {_METHODS}")
    if (score is None) == (method == "best"):
        raise ParameterError(
            f"method={method!r} {'without' if score is None else 'with'} a score", "score= with method='best' alone"
        )
    if weights is not None and method not in _WEIGHTED:
        raise ParameterError(
            f"weights with method={method!r}", f"one of {_WEIGHTED}", "mask what is of no use: cube.where(weights > 0)"
        )


def _edges(freq: str, times: Any, dates: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """The first moments of all periods, and the end of the last."""
    if times is not None:
        edges = pd.DatetimeIndex(np.asarray(times, "datetime64[ns]"))
        if edges.size < 2 or not (edges.is_monotonic_increasing and edges.is_unique):
            raise TimeAxisError("times are fewer than two, unsorted or doubled", "ascending edges of periods")
    else:
        try:
            offset = to_offset(freq)
        except ValueError:
            offset = None
        if offset is None or offset.name.split("-")[0].endswith("E"):
            raise ParameterError(
                f"the frequency {freq!r}", "a pandas frequency of the starts of periods", "'MS', 'QS', 'YS' or '10D'"
            )
        starts = pd.Series(0, dates).resample(freq, closed="left", label="left").count().index
        edges = pd.DatetimeIndex([*starts, starts[-1] + offset])
    if not np.diff(dates.searchsorted(edges)).any():
        raise TimeAxisError(
            f"no date of the cube ({dates[0]} to {dates[-1]}) lies from {edges[0]} to before {edges[-1]}",
            "periods with dates",
        )
    return edges


def _computed(
    values: xr.DataArray,
    dates: pd.DatetimeIndex,
    edges: pd.DatetimeIndex,
    method: str,
    beside: xr.DataArray | None,
    details: bool,
) -> list[Any]:
    """The image; and, with details, the count and the index of the chosen date: each (period, band, y, x)."""
    full = with_all_dims(values)
    given = None if beside is None else with_all_dims(_on_every_pixel(beside, values))
    bands = full.sizes["band"]
    params: dict[str, Any] = {"method": method, "bands": bands}
    if method == "max_ndvi":
        keys = match_bands(values, ["R", "N"])
        params["visible"] = tuple(list(values["band"].values).index(keys[name]) for name in ("R", "N"))
    bounds = dates.searchsorted(edges)
    days, middles = days_since(dates, dates[0]), _middles(edges, dates[0])
    layers = 3 if details else 1
    parts = []
    for p, middle in enumerate(middles):
        inside = slice(bounds[p], bounds[p + 1])
        if inside.start == inside.stop:
            parts.append(_nothing(full))
            continue
        parts.append(
            map_series(
                _of_period,
                full.isel(time=inside).data,
                days[inside] - middle,
                np.zeros(layers),
                weights=None if given is None else given.isel(time=inside).data,
                params=params | {"first": int(inside.start)},
                name=f"xrs-composite-{method}",
            )
        )
    return [joined_dates([part[k : k + 1] if part.shape[0] > 1 else part for part in parts]) for k in range(layers)]


def _nothing(full: xr.DataArray) -> Any:
    """An image of NaN, as lazy as the cube, all bands in one chunk."""
    one = full.isel(time=slice(0, 1))
    return xr.full_like(one.chunk(band=-1) if is_lazy(one) else one, np.nan, np.float32).data


def _middles(edges: pd.DatetimeIndex, start: pd.Timestamp) -> Float64:
    days = days_since(edges, start)
    return (days[:-1] + days[1:]) / 2


def _on_every_pixel(beside: xr.DataArray, values: xr.DataArray) -> xr.DataArray:
    """Score or weights with a value for each date and pixel, after a check that they are the cube's."""
    pixels = values.isel(band=0, drop=True) if "band" in values.dims else values
    sizes = {str(d): n for d, n in beside.sizes.items()}
    if "time" not in sizes or any(pixels.sizes.get(d) != n for d, n in sizes.items()):
        raise GridMismatchError(
            f"score or weights have the sizes {sizes}", f"time, or all of {dict(pixels.sizes)}, as the cube has"
        )
    for dim in sizes:
        if dim in beside.coords and dim in pixels.coords and not _same(beside[dim].values, pixels[dim].values):
            raise GridMismatchError(
                f"score or weights have other coordinates along {dim} than the cube",
                "the same dates and pixels",
                f"select those of the cube: .sel({dim}=cube.{dim})",
            )
    bare = beside.drop_vars(list(beside.coords))
    return (xr.zeros_like(pixels.drop_vars(list(pixels.coords)), np.float32) + bare).transpose(*pixels.dims)


def _same(one: Any, other: Any) -> bool:
    if one.dtype.kind not in "fiu":
        return bool((one == other).all())
    step = float(np.abs(np.diff(other)).min(initial=np.inf))
    return bool(np.allclose(one, other, rtol=1e-9, atol=1e-3 * step if np.isfinite(step) else 0.0))


def _of_period(
    series: Float32,
    beside: Float32 | None,
    away: Float64,
    targets: Float64,
    *,
    method: str,
    bands: int,
    first: int,
    visible: tuple[int, int] = (0, 0),
) -> Float32:
    """The layers (targets, band * n) of one period; ``away`` are days from its middle."""
    series = series.reshape(series.shape[0], bands, -1)
    weights = np.ones(series[:, 0].shape, np.float32) if beside is None else beside
    order = np.argsort(np.abs(away), kind="stable")
    chosen = None
    if method == "medoid":
        chosen = medoid(series, weights, order)
    elif method == "best":
        chosen = highest(series, weights, order)
    elif method == "max_ndvi":
        chosen = highest(series, ndvi_score(*(np.ascontiguousarray(series[:, b]) for b in visible)), order)
    out = np.empty((targets.size, *series.shape[1:]), np.float32)
    out[0] = (mean if method == "mean" else median)(series, weights) if chosen is None else pick(series, chosen)
    if targets.size > 1:
        seen = np.isfinite(series)
        usable = ~np.isnan(weights) if method == "best" else weights > 0
        out[1] = ((seen.any(axis=1) if chosen is None else seen.all(axis=1)) & usable).sum(axis=0)
        out[2] = np.nan if chosen is None else np.where(chosen < 0, np.nan, chosen + first)
    return out.reshape(targets.size, -1)


def _labelled(values: xr.DataArray, data: Any, starts: pd.DatetimeIndex) -> xr.DataArray:
    """Images (period, band, y, x) with the coordinates of the cube."""
    result = xr.DataArray(data, dims=("time", "band", "y", "x")).rename(values.name)
    result = result.isel({d: 0 for d in ("band",) if d not in values.dims})
    kept = {n: c for n, c in values.coords.items() if "time" not in c.dims}
    return result.assign_coords(kept | {"time": ("time", starts.values, values["time"].attrs)})


def _with_details(
    result: xr.DataArray | xr.Dataset, values: xr.DataArray, layers: list[Any], edges: pd.DatetimeIndex, method: str
) -> xr.Dataset:
    pixels = values.isel(band=0, drop=True) if "band" in values.dims else values
    count, index = (_labelled(pixels, layer[:, :1], edges[:-1]) for layer in layers[1:])
    beside = {"count": count.fillna(0).astype(np.uint16)}
    beside["count"].attrs = {"long_name": "number of observations", "units": "1"}
    if method in _CHOOSING:
        beside["date"] = xr.apply_ufunc(
            _dates_at,
            index,
            dask="parallelized",
            output_dtypes=[values["time"].dtype],
            kwargs={"dates": values["time"].values},
        ).assign_attrs(long_name="date of the observation")
    dataset = result if isinstance(result, xr.Dataset) else result.to_dataset(name=str(result.name or "composite"))
    named = {name: band.assign_attrs(ancillary_variables=" ".join(beside)) for name, band in dataset.data_vars.items()}
    return dataset.assign(named | beside)


def _dates_at(index: Any, *, dates: Any) -> Any:
    known = np.isfinite(index)
    return np.where(known, dates[np.where(known, index, 0).astype(np.intp)], np.datetime64("NaT"))
