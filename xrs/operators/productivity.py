"""From absorbed light to growth and yield: gross and net primary production, and what is harvested of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xrs.cube import check_time, provenance, to_array, with_all_dims
from xrs.errors import ParameterError, TimeAxisError
from xrs.lazy import map_series
from xrs.operators._quantities import Quantity, check_array, in_unit, number
from xrs.operators._season import season_integral

__all__ = ["BIOMES", "Biome", "crop_yield", "gpp", "npp"]


@dataclass(frozen=True)
class Biome:
    """How plants of a biome turn light into carbon.

    Attributes
    ----------
    max_efficiency : float
        kg of carbon for a MJ of absorbed light where nothing is short.
    coldest, warmest : float
        Daily minimum temperature in degrees C at which growth stops, and from which on it is not slowed.
    moist, dry : float
        Daylight vapour pressure deficit in Pa up to which growth is not slowed, and at which it stops.
    """

    max_efficiency: float
    coldest: float
    warmest: float
    moist: float
    dry: float


#: MOD17's biome properties of Collection 5.1 (with GMAO's MERRA weather), by classes of the University of Maryland.
BIOMES: Mapping[str, Biome] = {
    "evergreen_needleleaf_forest": Biome(0.001211, -8.0, 8.31, 650.0, 3000.0),
    "evergreen_broadleaf_forest": Biome(0.001405, -8.0, 9.09, 1000.0, 4000.0),
    "deciduous_needleleaf_forest": Biome(0.001227, -8.0, 10.44, 650.0, 3500.0),
    "deciduous_broadleaf_forest": Biome(0.001526, -6.0, 9.94, 650.0, 2900.0),
    "mixed_forest": Biome(0.001226, -7.0, 9.50, 650.0, 2900.0),
    "closed_shrubland": Biome(0.001495, -8.0, 8.61, 650.0, 4300.0),
    "open_shrubland": Biome(0.001027, -8.0, 8.80, 650.0, 4400.0),
    "woody_savanna": Biome(0.001498, -8.0, 11.39, 650.0, 3500.0),
    "savanna": Biome(0.001454, -8.0, 11.39, 650.0, 3600.0),
    "grassland": Biome(0.001215, -8.0, 12.02, 650.0, 4200.0),
    "cropland": Biome(0.001300, -8.0, 12.02, 650.0, 4500.0),
}

#: CF's names of what grows, before and after the plants' breathing.
_GROSS = "gross_primary_productivity_of_biomass_expressed_as_carbon"
_NET = "net_primary_productivity_of_biomass_expressed_as_carbon"

_RUNNING = "10.1641/0006-3568(2004)054[0547:ACSMOG]2.0.CO;2"
_MONTEITH = "10.1098/rstb.1977.0140"
_WARING = "10.1093/treephys/18.2.129"

#: kg m-2 to t ha-1.
_TONNES = 10.0


def gpp(
    fapar: xr.DataArray,
    par: Quantity,
    *,
    tmin: Quantity | None = None,
    vpd: Quantity | None = None,
    biome: str = "cropland",
    max_efficiency: float | None = None,
) -> xr.DataArray:
    """Gross primary production by light-use efficiency, as MOD17.

    ``gpp = max_efficiency * f(tmin) * f(vpd) * fapar * par``, where the two factors fall linearly from 1 to 0: with the
    daily minimum temperature from the biome's warm to its cold limit, with the daylight vapour pressure deficit from
    its moist to its dry one.

    Parameters
    ----------
    fapar : xarray.DataArray, ([time,] y, x)
        Absorbed share of photosynthetically active radiation, 0 to 1, as of :func:`retrieve`; or percent, if its
        attribute ``units`` says so.
    par : float or xarray.DataArray
        Photosynthetically active radiation: MJ m-2 d-1, or what its attribute ``units`` says: the sum of a day in J, kJ
        or MJ, or a mean in W m-2. Energy without a time (ERA5's J m-2, of an hour) is refused. It is about 0.45 of
        shortwave radiation. A number, or values by time, or a grid on that of ``fapar``; the same holds for the
        others. Units may be spelt ``W m-2``, ``W m**-2`` or ``W/m2``.
    tmin : float or xarray.DataArray, optional
        Daily minimum temperature in degrees C, or K if its ``units`` say so. Nothing slows growth if not given.
    vpd : float or xarray.DataArray, optional
        Mean vapour pressure deficit by day in Pa, or what its ``units`` say: hPa or kPa. Without them values of which
        none reaches 20 are refused, as are lazy ones. Nothing slows growth if not given.
    biome : str
        One of ``xrs.operators.productivity.BIOMES``: MOD17's table of Collection 5.1.
    max_efficiency : float, optional
        kg of carbon for a MJ, in place of the biome's.

    Returns
    -------
    xarray.DataArray, of the dims of ``fapar``
        kg of carbon m-2 d-1, float32, lazy if an input is. NaN where an input is.

    Raises
    ------
    LayoutError
        If ``fapar`` is no DataArray.
    ParameterError
        If the biome or an efficiency is not possible, or weather is no numbers.
    RadiometryError
        If values (lazy ones when they are computed) or units are not possible.
    GridMismatchError
        If weather has other dates or another grid.

    References
    ----------
    Running and Zhao 2015, User's guide: daily GPP and annual NPP (MOD17A2/A3) products, version 3.0.
    Running et al. 2004, A continuous satellite-derived measure of global terrestrial primary production, BioScience 54,
    10.1641/0006-3568(2004)054[0547:ACSMOG]2.0.CO;2

    Examples
    --------
    >>> import xarray as xr
    >>> fapar = xr.DataArray([[0.5]], dims=("y", "x"))
    >>> round(gpp(fapar, 10.0, tmin=15.0, vpd=500.0).item(), 5)
    0.0065
    """
    check_array("fapar", fapar)
    found = _biome(biome)
    expected = "kg of carbon for a MJ, such as 0.0013"
    most = found.max_efficiency if max_efficiency is None else number("max_efficiency", max_efficiency, expected)
    if not 0.0 < most < 0.01:
        raise ParameterError(f"max_efficiency={max_efficiency!r}", expected)
    share = in_unit("fapar", fapar, fapar)
    rate = most * share * in_unit("par", par, fapar)
    if tmin is not None:
        rate = rate * _ramp(in_unit("tmin", tmin, fapar), found.coldest, found.warmest)
    if vpd is not None:
        rate = rate * _ramp(-in_unit("vpd", vpd, fapar), -found.dry, -found.moist)
    told = {"biome": biome, "max_efficiency": most, "tmin": tmin is not None, "vpd": vpd is not None}
    return _labelled(rate, fapar, "gpp", told, "gross primary production, carbon", "kg m-2 d-1", _RUNNING).assign_attrs(
        standard_name=_GROSS
    )


def npp(production: xr.DataArray, *, carbon_use_efficiency: float = 0.5) -> xr.DataArray:
    """Net primary production as a fixed share of the gross.

    Plants breathe about half of what they fix: of twelve forests, 0.47 remained, with a standard deviation of 0.04
    [1]_. This is not MOD17's respiration of leaves, roots and wood, which needs their mass.

    Parameters
    ----------
    production : xarray.DataArray
        Of :func:`gpp`; of others without ``standard_name``, or with that of gross production. kg m-2 d-1, or what its
        ``units`` say.
    carbon_use_efficiency : float
        The share, above 0 and up to 1.

    Returns
    -------
    xarray.DataArray
        Carbon, kg m-2 d-1, float32, lazy if the input is. NaN where it is.

    Raises
    ------
    LayoutError
        If the production is no DataArray.
    ParameterError
        If the share is not possible, or the production is net.
    RadiometryError
        If the unit or values of the production (lazy ones when they are computed) are not possible.

    References
    ----------
    .. [1] Waring, Landsberg and Williams 1998, Net primary production of forests: a constant fraction of gross primary
       production? Tree Physiology 18:129-134, 10.1093/treephys/18.2.129

    Examples
    --------
    >>> import xarray as xr
    >>> round(npp(xr.DataArray([[0.01]], dims=("y", "x"))).item(), 4)
    0.005
    """
    check_array("production", production)
    _check_quantity(production, _GROSS, "crop_yield takes net production as it is")
    share = _share("carbon_use_efficiency", carbon_use_efficiency)
    rate = share * in_unit("production", production, production)
    told = {"carbon_use_efficiency": share}
    return _labelled(
        rate, production, "npp", told, "net primary production, carbon", "kg m-2 d-1", _WARING
    ).assign_attrs(standard_name=_NET)


def crop_yield(
    production: xr.DataArray,
    start: Any,
    end: Any,
    *,
    harvest_index: float = 0.45,
    root_shoot: float = 0.15,
    carbon_fraction: float = 0.45,
    moisture: float = 0.14,
    calibration: tuple[float, float] = (1.0, 0.0),
    units: str = "t ha-1",
) -> xr.DataArray:
    """What is harvested of a season's net production.

    ``yield = slope * integral * harvest_index / ((1 + root_shoot) * carbon_fraction * (1 - moisture)) + offset``, with
    the integral of ``production`` over the days from ``start`` to ``end`` by the trapezoidal rule. The shares differ
    between crops and varieties: the defaults are of a middling cereal, and no result without a calibration is a
    forecast.

    Parameters
    ----------
    production : xarray.DataArray, (time, y, x)
        Of :func:`npp`, kg of carbon m-2 d-1, or what its ``units`` say; ascending dates. A missing date is bridged by a
        straight line between its neighbours of the same pixel. Of others without ``standard_name``, or with that of net
        production.
    start, end : date
        First and last day; between dates values are interpolated.
    harvest_index : float
        Harvested share of the dry matter above ground.
    root_shoot : float
        Dry matter below ground for one above.
    carbon_fraction : float
        Of dry matter.
    moisture : float
        Water of the harvest, as a share of its weight.
    calibration : (float, float)
        Slope, and offset in ``units``, of measured yields on these.
    units : {"t ha-1", "kg m-2"}

    Returns
    -------
    xarray.DataArray, (y, x)
        float32, lazy if the input is. NaN where the first known date is after ``start`` or the last before ``end``.

    Raises
    ------
    TimeAxisError
        If dates are missing or unsorted, or the season is not within them.
    LayoutError
        If the production is no DataArray.
    ParameterError
        If a date, a share or a unit is not possible, or the production is gross.
    RadiometryError
        If the unit or values of the production (lazy ones when they are computed) are not possible.

    References
    ----------
    Monteith 1977, Climate and the efficiency of crop production in Britain, Philosophical Transactions of the Royal
    Society B 281:277-294, 10.1098/rstb.1977.0140

    Examples
    --------
    >>> import pandas as pd, xarray as xr
    >>> days = pd.date_range("2024-04-01", "2024-07-10", freq="5D")
    >>> rate = xr.DataArray([[[0.005]]] * days.size, dims=("time", "y", "x"), coords={"time": days})
    >>> round(crop_yield(rate, "2024-04-01", "2024-07-10").item(), 2)
    5.06
    """
    check_array("production", production)
    production = to_array(production)
    check_time(production, least=2)
    _check_quantity(production, _NET, "xrs.npp(production)")
    first, last = _day("start", start), _day("end", end)
    _check_season(production, first, last)
    harvested = _harvested(harvest_index, root_shoot, carbon_fraction, moisture)
    slope, offset = _line(calibration)
    if units not in ("t ha-1", "kg m-2"):
        raise ParameterError(f"units={units!r}", "'t ha-1' or 'kg m-2'")
    rate = in_unit("production", production, production)
    days = _days(production["time"].values, first)
    summed = map_series(
        season_integral,
        with_all_dims(rate).data,
        days,
        np.zeros(1),
        params={"until": float(_days(last, first))},
        name="xrs-crop-yield",
    )
    total = rate.isel(time=0, drop=True).copy(data=summed[0, 0])
    found = slope * total * harvested * (_TONNES if units == "t ha-1" else 1.0) + offset
    told = {
        "start": str(first)[:10],
        "end": str(last)[:10],
        "harvest_index": harvest_index,
        "root_shoot": root_shoot,
        "carbon_fraction": carbon_fraction,
        "moisture": moisture,
        "calibration": [slope, offset],
    }
    return _labelled(found, production, "crop_yield", told, "harvest, at the moisture told", units, _MONTEITH)


def _biome(name: str) -> Biome:
    if name not in list(BIOMES):
        raise ParameterError(f"biome={name!r}", f"one of {list(BIOMES)}")
    return BIOMES[name]


def _ramp(values: Any, low: float, high: float) -> Any:
    """0 up to ``low``, 1 from ``high`` on, linear between."""
    return ((values - low) / (high - low)).clip(0.0, 1.0)


def _check_quantity(production: xr.DataArray, standard_name: str, remedy: str) -> None:
    """Refuse production that says it is another; much of it says nothing."""
    told = production.attrs.get("standard_name", standard_name)
    if told != standard_name:
        raise ParameterError(f"production is {told!r}", standard_name, remedy)


def _day(name: str, date: Any) -> np.datetime64:
    try:
        day = pd.Timestamp(date)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{name}={date!r}", "a date, such as '2024-04-01'") from error
    return day.to_datetime64().astype("datetime64[ns]")


def _share(name: str, value: Any) -> float:
    expected = "a share above 0 and up to 1"
    share = number(name, value, expected)
    if not 0.0 < share <= 1.0:
        raise ParameterError(f"{name}={value!r}", expected)
    return share


def _harvested(harvest_index: Any, root_shoot: Any, carbon_fraction: Any, moisture: Any) -> float:
    """Harvest in kg for a kg of carbon."""
    moisture = number("moisture", moisture, "a share from 0 and below 1")
    if not 0.0 <= moisture < 1.0:
        raise ParameterError(f"moisture={moisture!r}", "a share from 0 and below 1")
    root_shoot = number("root_shoot", root_shoot, "a number from 0")
    if not root_shoot >= 0.0:
        raise ParameterError(f"root_shoot={root_shoot!r}", "a number from 0")
    index, carbon = _share("harvest_index", harvest_index), _share("carbon_fraction", carbon_fraction)
    return index / ((1.0 + root_shoot) * carbon * (1.0 - moisture))


def _line(calibration: Any) -> tuple[float, float]:
    if np.shape(calibration) != (2,):
        raise ParameterError(f"calibration={calibration!r}", "(slope, offset)")
    slope, offset = (number("calibration", value, "numbers (slope, offset)") for value in calibration)
    return slope, offset


def _check_season(production: xr.DataArray, first: Any, last: Any) -> None:
    dates = production["time"].values
    if not dates[0] <= first < last <= dates[-1]:
        raise TimeAxisError(
            f"a season from {str(first)[:10]} to {str(last)[:10]}, and dates from {str(dates[0])[:10]} to "
            f"{str(dates[-1])[:10]}",
            "a season within the dates",
            "take a longer series, or another start and end",
        )


def _days(dates: Any, origin: Any) -> Any:
    return (np.asarray(dates, "datetime64[ns]") - origin) / np.timedelta64(1, "D")


def _labelled(
    values: xr.DataArray, like: xr.DataArray, name: str, told: Mapping[str, Any], title: str, units: str, doi: str
) -> xr.DataArray:
    result = values.astype(np.float32).transpose(*[dim for dim in like.dims if dim in values.dims]).rename(name)
    attrs = provenance(like, name, told, doi=doi, same_quantity=False)
    kept = {k: v for k, v in attrs.items() if k not in ("valid_min", "valid_max", "ancillary_variables")}
    result.attrs = kept | {"long_name": title, "units": units}
    return result
