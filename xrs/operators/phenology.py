"""When plants green up, peak and fade."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xrs.cube import check_time, provenance, to_array, with_all_dims
from xrs.errors import ParameterError
from xrs.kernels.phenology import METRICS, find_seasons
from xrs.kernels.types import Float32, Float64
from xrs.lazy import map_series
from xrs.operators._fusion import check_floats
from xrs.operators._pairs import days_since

__all__ = ["phenology"]

_DOIS = {"threshold": "10.1016/j.cageo.2004.05.006", "derivative": "10.1111/j.1365-2486.2009.01910.x"}

#: Long name and units of each metric. Not "days": readers would decode such variables to timedelta.
_TOLD = {
    "start": ("start of season, day 1 is 1 January of `year`", "day"),
    "peak": ("day of the highest value, day 1 is 1 January of `year`", "day"),
    "end": ("end of season, day 1 is 1 January of `year`", "day"),
    "length": ("length of season", "day"),
    "base": ("mean of the lowest values before and after the peak", ""),
    "peak_value": ("highest value", ""),
    "amplitude": ("highest value above the base", ""),
    "greenup_rate": ("mean rise between 20 and 80 % of the amplitude, a day", ""),
    "senescence_rate": ("mean fall between 80 and 20 % of the amplitude, a day", ""),
    "large_integral": ("integral over the days from start to end", ""),
    "small_integral": ("integral over the days from start to end, above the base", ""),
}


def phenology(
    cube: xr.DataArray | xr.Dataset,
    method: str = "threshold",
    *,
    threshold: float = 0.5,
    base: str = "sides",
    year_start: int = 1,
    months: int = 12,
    max_gap: float = 90.0,
    min_amplitude: float = 0.05,
) -> xr.Dataset:
    """Find start, peak and end of each year's season in the series of every pixel.

    Nothing is smoothed here: noise moves the dates. Smooth first, to dates a few days apart, as by
    ``xrs.smooth(ndvi, times="5D")``.

    A year has one season: around the peak to which the curve rises, and from which it falls, most. Its sides reach to
    the ends of the year's window, or to where the curve is higher than the peak.

    Parameters
    ----------
    cube : xarray.DataArray or xarray.Dataset, (time, [band,] y, x)
        A vegetation index or leaf area, floating point; ascending dates, at any distance. NaN is missing. Between
        dates, values are interpolated linearly.
    method : {"threshold", "derivative"}
        ``threshold``: the season starts where the curve, coming from its lowest value before the peak, first reaches
        a share of the rise to the peak, and ends likewise [1]_. ``derivative``: at the steepest rise and the steepest
        fall [3]_, found by a parabola through the greatest slope between dates and its neighbours.
    threshold : float
        The share, between 0 and 1; not used by ``derivative``.
    base : {"sides", "year"}
        What the rise is measured from: on each side its own lowest value, as in [1]_; or the lowest of the year's
        window on both, as in [2]_.
    year_start : int
        The month in which years begin: one when plants rest, such as 7 on the southern hemisphere.
    months : int
        How long a season's window is. With two crops a year, call twice: ``year_start=1, months=6`` and
        ``year_start=7, months=6``.
    max_gap : float
        Days. A side with a longer stretch without values is not determined; so a record must begin and end near the
        ends of a year.
    min_amplitude : float
        A peak counts if the curve rises to it and falls from it by this much, in units of the cube.

    Returns
    -------
    xarray.Dataset, (year, [band,] y, x)
        float32, lazy if the cube is; NaN where not determined. ``year`` is that in which the window begins.

        - ``start``, ``peak``, ``end``: days counted from 1 January of ``year``, which begins with day 1.0; those beyond
          366 are in the year after;
        - ``length``: ``end - start`` in days;
        - ``base`` (mean of both sides), ``peak_value``, ``amplitude`` (their difference);
        - ``greenup_rate``, ``senescence_rate``: mean slopes between 20 and 80 % of each side's rise, a day, both
          positive;
        - ``large_integral``, ``small_integral``: of the curve, and of the curve above the base, from start to end.

        Where no peak counts, all are NaN: in flat series, and where growth goes on at the end of the record.

    Raises
    ------
    TimeAxisError
        If dates are missing, unsorted or doubled.
    ParameterError
        If an argument is out of its range.
    RadiometryError
        If values are integers.

    References
    ----------
    .. [1] Jönsson and Eklundh, TIMESAT: a program for analyzing time-series of satellite sensor data. Computers &
       Geosciences 30, 2004. 10.1016/j.cageo.2004.05.006
    .. [2] White, Thornton and Running, A continental phenology model for monitoring vegetation responses to interannual
       climatic variability. Global Biogeochemical Cycles 11, 1997. 10.1029/97GB00330
    .. [3] White et al., Intercomparison, interpretation, and assessment of spring phenology in North America estimated
       from remote sensing for 1982-2006. Global Change Biology 15, 2009. 10.1111/j.1365-2486.2009.01910.x

    Examples
    --------
    >>> import numpy as np, pandas as pd, xarray as xr
    >>> from xrs import phenology
    >>> dates = pd.date_range("2023-01-01", "2024-01-01", freq="D")
    >>> wave = 0.5 - 0.3 * np.cos(2 * np.pi * np.arange(366) / 365)
    >>> ndvi = xr.DataArray(wave[:, None, None].astype("float32"), dims=("time", "y", "x"), coords={"time": dates})
    >>> season = phenology(ndvi).sel(year=2023)
    >>> [round(season[name].item(), 1) for name in ("start", "end", "amplitude")]
    [92.2, 274.8, 0.6]
    """
    values = to_array(cube)
    check_time(values)
    check_floats("the cube", values)
    _check(method, threshold, base, year_start, months, max_gap, min_amplitude)
    dates = pd.DatetimeIndex(values["time"].values)
    years = _years(dates, year_start)
    params = {
        "windows": _windows(years, year_start, months, dates[0]),
        "threshold": float(threshold) if method == "threshold" else np.nan,
        "one_base": base == "year",
        "max_gap": float(max_gap),
        "min_amplitude": float(min_amplitude),
    }
    found = map_series(
        _of_series,
        with_all_dims(values).data,
        days_since(dates, dates[0]),
        np.zeros(len(METRICS) * years.size),
        params=params,
        name="xrs-phenology",
    )
    told: dict[str, Any] = {"method": method, "threshold": threshold} if method == "threshold" else {"method": method}
    told |= {"base": base, "year_start": year_start, "months": months, "max_gap": max_gap}
    told |= {"min_amplitude": min_amplitude}
    result = _labelled(values, found, years)
    result.attrs = provenance(values, "phenology", told, doi=_DOIS[method], same_quantity=False)
    alone = isinstance(cube, xr.Dataset) and result.sizes.get("band") == 1
    return result.isel(band=0) if alone else result


def _check(
    method: str, threshold: float, base: str, year_start: int, months: int, max_gap: float, min_amplitude: float
) -> None:
    wrong = {
        f"method={method!r}": (method in _DOIS, f"one of {tuple(_DOIS)}"),
        f"threshold={threshold!r}": (0.0 < threshold < 1.0, "a share between 0 and 1"),
        f"base={base!r}": (base in ("sides", "year"), "'sides' or 'year'"),
        f"year_start={year_start!r}": (year_start in range(1, 13), "a month from 1 to 12"),
        f"months={months!r}": (months in range(1, 13), "from 1 to 12"),
        f"max_gap={max_gap!r}": (max_gap > 0.0, "days above 0"),
        f"min_amplitude={min_amplitude!r}": (min_amplitude >= 0.0, "a number from 0"),
    }
    for found, (right, expected) in wrong.items():
        if not right:
            raise ParameterError(found, expected)


def _years(dates: pd.DatetimeIndex, year_start: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The years in which the windows from the first to the last date begin."""
    first, last = (date.year - (date.month < year_start) for date in (dates[0], dates[-1]))
    return np.arange(first, last + 1)


def _windows(years: Any, year_start: int, months: int, origin: pd.Timestamp) -> Float64:
    """First and last-plus-one day of each year's window, and its 1 January (year, 3)."""
    begin = pd.DatetimeIndex([pd.Timestamp(year, year_start, 1) for year in years])
    january = pd.DatetimeIndex([pd.Timestamp(year, 1, 1) for year in years])
    return np.stack([days_since(one, origin) for one in (begin, begin + pd.DateOffset(months=months), january)], axis=1)


def _of_series(series: Float32, weights: None, days: Float64, targets: Float64, **params: Any) -> Float32:
    return find_seasons(series, days, **params).reshape(targets.size, -1)


def _labelled(values: xr.DataArray, data: Any, years: Any) -> xr.Dataset:
    """The metrics (metric and year, band, y, x) as variables with the coordinates of the cube."""
    kept = {n: c for n, c in values.coords.items() if "time" not in c.dims}
    variables = {}
    for m, name in enumerate(METRICS):
        part = data[m * years.size : (m + 1) * years.size]
        metric = xr.DataArray(part, dims=("year", "band", "y", "x"))
        metric = metric.isel({d: 0 for d in ("band",) if d not in values.dims})
        title, units = _TOLD[name]
        metric.attrs = {"long_name": title} | ({"units": units} if units else {})
        variables[name] = metric.assign_coords(kept | {"year": years})
    return xr.Dataset(variables)
