"""From absorbed light to growth and yield: gross and net primary production, and what is harvested of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xrs.cube import check_time, is_lazy, provenance, to_array, with_all_dims
from xrs.errors import GridMismatchError, ParameterError, RadiometryError, TimeAxisError
from xrs.lazy import map_series
from xrs.operators._season import season_integral

__all__ = ["BIOMES", "Biome", "crop_yield", "gpp", "npp"]

Weather = float | xr.DataArray


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

#: For each quantity, what one of a unit is in the one computed with: factor and offset.
_UNITS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "par": {"MJ m-2 d-1": (1.0, 0.0), "MJ m-2 day-1": (1.0, 0.0), "W m-2": (0.0864, 0.0), "J m-2 d-1": (1e-6, 0.0)},
    "tmin": {"degC": (1.0, 0.0), "C": (1.0, 0.0), "celsius": (1.0, 0.0), "K": (1.0, -273.15)},
    "vpd": {"Pa": (1.0, 0.0), "hPa": (100.0, 0.0), "mbar": (100.0, 0.0), "kPa": (1000.0, 0.0)},
    "fapar": {"1": (1.0, 0.0), "": (1.0, 0.0), "%": (0.01, 0.0), "percent": (0.01, 0.0)},
    "production": {"kg m-2 d-1": (1.0, 0.0), "g m-2 d-1": (1e-3, 0.0)},
}

#: Values beyond are in another unit.
_POSSIBLE = {
    "par": (0.0, 25.0),
    "tmin": (-90.0, 60.0),
    "vpd": (0.0, 15_000.0),
    "fapar": (0.0, 1.0001),
    "production": (-0.1, 0.2),
}

_RUNNING = "10.1641/0006-3568(2004)054[0547:ACSMOG]2.0.CO;2"
_MONTEITH = "10.1098/rstb.1977.0140"
_WARING = "10.1093/treephys/18.2.129"

#: kg m-2 to t ha-1.
_TONNES = 10.0


def gpp(
    fapar: xr.DataArray,
    par: Weather,
    *,
    tmin: Weather | None = None,
    vpd: Weather | None = None,
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
        Absorbed share of photosynthetically active radiation, 0 to 1, as of :func:`retrieve`.
    par : float or xarray.DataArray
        Photosynthetically active radiation: MJ m-2 d-1, or what its attribute ``units`` says (W m-2). It is about 0.45
        of shortwave radiation. A number, or values by time, or a grid on that of ``fapar``; the same holds for the
        others.
    tmin : float or xarray.DataArray, optional
        Daily minimum temperature in degrees C, or K if its ``units`` say so. Nothing slows growth if not given.
    vpd : float or xarray.DataArray, optional
        Mean vapour pressure deficit by day in Pa, or hPa or kPa. Nothing slows growth if not given.
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
    ParameterError
        If the biome or an efficiency is not possible.
    RadiometryError
        If values or units are not possible.
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
    found = _biome(biome)
    most = found.max_efficiency if max_efficiency is None else float(max_efficiency)
    if not 0.0 < most < 0.01:
        raise ParameterError(f"max_efficiency={max_efficiency!r}", "kg of carbon for a MJ, such as 0.0013")
    share = _checked("fapar", fapar, fapar)
    rate = most * share * _checked("par", par, fapar)
    if tmin is not None:
        rate = rate * _ramp(_checked("tmin", tmin, fapar), found.coldest, found.warmest)
    if vpd is not None:
        rate = rate * _ramp(-_checked("vpd", vpd, fapar), -found.dry, -found.moist)
    told = {"biome": biome, "max_efficiency": most, "tmin": tmin is not None, "vpd": vpd is not None}
    return _labelled(rate, fapar, "gpp", told, "gross primary production, carbon", "kg m-2 d-1", _RUNNING).assign_attrs(
        standard_name="gross_primary_productivity_of_biomass_expressed_as_carbon"
    )


def npp(production: xr.DataArray, *, carbon_use_efficiency: float = 0.5) -> xr.DataArray:
    """Net primary production as a fixed share of the gross.

    Plants breathe about half of what they fix: of twelve forests, 0.47 remained, with a standard deviation of 0.04
    [1]_. This is not MOD17's respiration of leaves, roots and wood, which needs their mass.

    Parameters
    ----------
    production : xarray.DataArray
        Of :func:`gpp`.
    carbon_use_efficiency : float
        The share, above 0 and up to 1.

    Returns
    -------
    xarray.DataArray
        Carbon, kg m-2 d-1, float32, lazy if the input is. NaN where it is.

    Raises
    ------
    ParameterError
        If the share is not possible.
    RadiometryError
        If the unit of the production is another.

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
    share = _share("carbon_use_efficiency", carbon_use_efficiency)
    rate = share * _checked("production", production, production)
    told = {"carbon_use_efficiency": share}
    return _labelled(
        rate, production, "npp", told, "net primary production, carbon", "kg m-2 d-1", _WARING
    ).assign_attrs(standard_name="net_primary_productivity_of_biomass_expressed_as_carbon")


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
        Of :func:`npp`, kg of carbon m-2 d-1; ascending dates. A missing date is bridged by a straight line between its
        neighbours of the same pixel.
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
    ParameterError
        If a share or unit is not possible.
    RadiometryError
        If the unit of the production is another.

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
    production = to_array(production)
    check_time(production, least=2)
    first, last = (np.datetime64(day, "ns") for day in (start, end))
    _check_season(production, first, last)
    harvested = _harvested(harvest_index, root_shoot, carbon_fraction, moisture)
    slope, offset = _line(calibration)
    if units not in ("t ha-1", "kg m-2"):
        raise ParameterError(f"units={units!r}", "'t ha-1' or 'kg m-2'")
    rate = _checked("production", production, production)
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
    if name not in BIOMES:
        raise ParameterError(f"biome={name!r}", f"one of {list(BIOMES)}")
    return BIOMES[name]


def _ramp(values: Any, low: float, high: float) -> Any:
    """0 up to ``low``, 1 from ``high`` on, linear between."""
    return ((values - low) / (high - low)).clip(0.0, 1.0)


def _checked(name: str, values: Weather, on: xr.DataArray) -> xr.DataArray:
    """Values in the unit computed with, on the dates and the grid of ``on``."""
    given = values if isinstance(values, xr.DataArray) else xr.DataArray(np.float64(values))
    _check_place(name, given, on)
    units = str(given.attrs.get("units", next(iter(_UNITS[name]))))
    if units not in _UNITS[name]:
        raise RadiometryError(f"{name} in {units!r}", f"one of {list(_UNITS[name])}", "convert it, and name its unit")
    factor, offset = _UNITS[name][units]
    converted = given.astype(np.float64) * factor + offset
    if not is_lazy(given):
        _check_possible(name, converted)
    return converted


def _check_possible(name: str, values: xr.DataArray) -> None:
    low, high = _POSSIBLE[name]
    finite = values.values[np.isfinite(values.values)]
    wrong = finite[(finite < low) | (finite > high)]
    if wrong.size:
        raise RadiometryError(
            f"{name} of {wrong.flat[0]:g}",
            f"{low:g} to {high:g} {next(iter(_UNITS[name]))}".strip(),
            f"name its unit: {name}.attrs['units'] = ..., one of {[unit for unit in _UNITS[name] if unit]}",
        )


def _check_place(name: str, values: xr.DataArray, on: xr.DataArray) -> None:
    for dim in values.dims:
        if dim not in on.dims:
            raise GridMismatchError(f"{name} has dim {dim!r}", f"dims among {tuple(map(str, on.dims))}")
        same = values.sizes[dim] == on.sizes[dim]
        if same and dim in values.coords and dim in on.coords:
            same = bool((values[dim].values == on[dim].values).all())
        if not same:
            raise GridMismatchError(
                f"{name} has other coordinates along {str(dim)!r} than {on.name or 'the other'}",
                "the same dates and grid",
                f"{name}.interp_like(...) or {name}.sel(time=...)",
            )


def _share(name: str, value: float, *, least: float = 0.0) -> float:
    if not least < value <= 1.0:
        raise ParameterError(f"{name}={value!r}", "a share above 0 and up to 1")
    return float(value)


def _harvested(harvest_index: float, root_shoot: float, carbon_fraction: float, moisture: float) -> float:
    """Harvest in kg for a kg of carbon."""
    if not 0.0 <= moisture < 1.0:
        raise ParameterError(f"moisture={moisture!r}", "a share from 0 and below 1")
    if not root_shoot >= 0.0:
        raise ParameterError(f"root_shoot={root_shoot!r}", "a number from 0")
    index, carbon = _share("harvest_index", harvest_index), _share("carbon_fraction", carbon_fraction)
    return index / ((1.0 + root_shoot) * carbon * (1.0 - moisture))


def _line(calibration: tuple[float, float]) -> tuple[float, float]:
    given = np.asarray(calibration, np.float64)
    if given.shape != (2,) or not np.isfinite(given).all():
        raise ParameterError(f"calibration={calibration!r}", "(slope, offset)")
    return float(given[0]), float(given[1])


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
