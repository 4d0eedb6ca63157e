"""Biophysical variables of the vegetation from reflectance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from xrs.cube import check_reflectance, to_array, wavelengths
from xrs.cube.bands import BAND_COORDS, without_quality
from xrs.errors import BandNotFoundError, ParameterError
from xrs.methods import Method, get_method, resolve_params
from xrs.methods.retrieval._variables import Variable, variable_of
from xrs.operators._angles import cosines
from xrs.operators._fusion import fuse, label, observed
from xrs.operators._uncertainty import check_asked, with_ancillary
from xrs.sensors import Sensor, get_sensor, known_sensor

__all__ = ["retrieve"]

#: What a cube says of itself that does not hold for what is retrieved from it.
_OF_REFLECTANCE = ("units", "standard_name", "long_name", "valid_min", "valid_max", "ancillary_variables")


def retrieve(
    cube: xr.DataArray | xr.Dataset,
    variable: str = "LAI",
    method: str | Method = "canopy",
    *,
    uncertainty: bool = False,
    sun_zenith: float | xr.DataArray | None = None,
    view_zenith: float | xr.DataArray | None = None,
    relative_azimuth: float | xr.DataArray | None = None,
    sensor: str | Sensor | None = None,
    **params: Any,
) -> xr.DataArray | xr.Dataset:
    """Retrieve a variable of the vegetation from Sentinel-2's surface reflectance.

    Parameters
    ----------
    cube : xarray.DataArray or xarray.Dataset, ([time,] band, y, x)
        Reflectance from 0 to about 1, all bands on one grid; bands by Sentinel-2's keys (``B8A``). Variables of other
        types than floating point that are no bands (quality layers) are left out.
    variable : {"LAI", "FAPAR", "FCOVER", "CCC", "CWC", "CAB"}
        Green leaf area index (m2 m-2); absorbed share of photosynthetically active radiation; share of ground covered;
        chlorophyll (ug cm-2) and water (g cm-2) of the canopy by ground area; chlorophyll of leaves by leaf area
        (ug cm-2), which is known only where there are leaves. Which method knows which is told there.
    method : str or Method
        See ``xrs.list_methods("retrieval")``. ``canopy``: a network trained on simulated canopies; it takes the ten
        bands of 10 and 20 m if they are there, else eight; all variables. ``snap``: the Sentinel-2 toolbox's; all but
        CAB, and with ``coefficients`` of one satellite LAI alone. ``index``: a line on an index; LAI and FAPAR as
        published, the others (CWC only with ``index``) by your ``calibration``.
    uncertainty : bool
        Whether to tell of the standard deviation: ``canopy`` alone. The variable +- 1.645 of it covered 90 % of
        simulated canopies that were held out; it knows nothing of canopies that the simulation does not have.
    sun_zenith, view_zenith, relative_azimuth : float or xarray.DataArray (time), ([time,] y, x), optional
        Degrees, or radians if the attribute ``units`` of a DataArray says so. If not given, the cube's coordinates or
        attributes of these names, or STAC's ``view:sun_elevation``, ``view:incidence_angle`` (else ``view:off_nadir``),
        ``view:sun_azimuth`` and ``view:azimuth``. The sun's must be known where the method needs angles; the view is
        taken as nadir (0 degrees) and the relative azimuth as 90 degrees if nothing tells. A sun's zenith of which no
        value reaches 1.58 is taken for radians and refused, unless its ``units`` are ``degree``.
    sensor : str or Sensor, optional
        Sentinel-2A, 2B or 2C; taken from the attribute ``platform`` or the bands' wavelengths.
    **params
        Parameters of the method, such as ``model`` of networks, ``domain`` of ``snap``, ``index`` and ``calibration``.

    Returns
    -------
    xarray.DataArray or xarray.Dataset, ([time,] y, x)
        float32, lazy if the cube or an angle is, named by the variable, with its unit and valid range. With
        ``uncertainty`` a Dataset with ``<variable>_std`` beside it.

        A value outside of the valid range becomes its limit if it lies within the variable's tolerance, else NaN, as in
        Weiss and Baret's processor. NaN also where a band or angle is missing, and where a pixel lies outside of what
        the method knows: ``snap`` has its definition domain, ``canopy`` the ranges of its training. Those hold for
        angles too: NaN where the sun is low, as in the north in winter, and where it is high, as in the tropics and at
        midsummer; ``load_model("s2-canopy-10").card.training`` has them as cosines (``low``, ``high``). ``snap`` does
        not check angles. Clouds, water and snow do not all lie outside of it: mask them.

    Raises
    ------
    LayoutError
        If the bands lie on several grids (a DataTree), or there is no dim ``band``.
    BandNotFoundError
        If a band is missing, or is centred elsewhere, or nothing tells where bands are centred.
    RadiometryError
        For integers and digital numbers (for lazy cubes when they are computed).
    ParameterError
        If the variable, an angle (a lazy one when it is computed) or a parameter is not possible, the cube is of
        another sensor, or no sun or view that is in memory lies in the ranges that ``canopy`` knows.
    ModelCardError
        If a model was made for another task.

    References
    ----------
    Weiss and Baret 2016, S2ToolBox Level 2 products: LAI, FAPAR, FCOVER, version 1.1 (ATBD).

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xrs import retrieve
    >>> keys = ["B03", "B04", "B05", "B06", "B07", "B8A", "B11", "B12"]
    >>> leaf = np.array([0.06, 0.03, 0.10, 0.30, 0.37, 0.41, 0.19, 0.10], "float32")
    >>> values = np.tile(leaf[:, None, None], (1, 2, 2))
    >>> cube = xr.DataArray(values, dims=("band", "y", "x"), coords={"band": keys, "y": [15, 5], "x": [5, 15]})
    >>> lai = retrieve(cube, "LAI", "snap", sun_zenith=35.0, sensor="sentinel-2a")
    >>> round(float(lai[0, 0]), 2), lai.units
    (2.55, 'm2 m-2')
    """
    record, wanted = get_method(method, "retrieval"), variable_of(variable)
    check_asked(uncertainty)
    ms = _reflectance(cube)
    _check_sensor(ms, sensor)
    resolved = resolve_params(record, params)
    binding = _bound(record, ms, wanted, resolved)
    if uncertainty:
        _check_spread(record)
        binding = replace(binding, params={**binding.params, "spread": True})
    seen = {"ms": ms}
    if "angles" in binding.used:
        seen["angles"] = cosines(
            ms,
            sun_zenith=sun_zenith,
            view_zenith=view_zenith,
            relative_azimuth=relative_azimuth,
            known=_known_angles(record, binding),
        )
    data = fuse(
        record,
        seen,
        dict.fromkeys(seen, 1),
        binding,
        carriers=(),
        factor=1,
        spatial_params={},
        bands=1 + uncertainty,
    )
    # As bound: the model, the index and the line that were taken, given or not.
    used = {name: binding.params[name] for name in resolved}
    layers = [_labelled(data[:, n : n + 1], ms, record, wanted, used) for n in range(1 + uncertainty)]
    if not uncertainty:
        return layers[0]
    result = layers[0].to_dataset(name=wanted.name).assign_attrs(layers[0].attrs)
    result = with_ancillary(result, wanted.name, layers[1], "std")
    result[f"{wanted.name}_std"].attrs["comment"] = "scaled by conformal risk control on held-out simulated canopies"
    return result


def _reflectance(cube: xr.DataArray | xr.Dataset) -> xr.DataArray:
    """All bands in one array, checked."""
    if isinstance(cube, xr.Dataset):
        cube = without_quality(cube, get_sensor("sentinel-2a").keys)
    ms = to_array(cube)
    check_reflectance(ms)
    return ms


def _bound(record: Method, ms: xr.DataArray, wanted: Variable, resolved: dict[str, Any]) -> Any:
    assert record.bind is not None
    return record.bind({"ms": observed(ms, 1)}, (wanted.name,), **resolved)


def _known_angles(record: Method, binding: Any) -> Mapping[str, tuple[float, float]]:
    """Lowest and highest cosines that a network was trained on."""
    if not record.needs_model:
        return {}
    from xrs.methods.retrieval.networks import known_angles

    return known_angles(binding.params["model"])


def _check_sensor(ms: xr.DataArray, sensor: str | Sensor | None) -> None:
    """Refuse what is known not to be of Sentinel-2, and bands of which nothing is known."""
    platform = str(ms.attrs.get("platform", ""))
    name = known_sensor(platform) if sensor is None else get_sensor(sensor).name
    if name is not None and not name.startswith("sentinel-2"):
        raise ParameterError(
            f"the cube is of {name}",
            "Sentinel-2, for which the methods were made",
            "xrs.harmonize, or sensor='sentinel-2a'",
        )
    centres = wavelengths(ms) if "band" in ms.coords else np.array([np.nan])
    if name is None and not np.isfinite(centres).all():
        raise BandNotFoundError(
            f"the cube has bands without wavelengths and platform={platform!r}",
            "Sentinel-2's bands",
            "sensor='sentinel-2a', or give the bands wavelengths in nm with xrs.cube.assign_bands",
        )


def _check_spread(record: Method) -> None:
    if not record.needs_model:
        raise ParameterError(
            f"uncertainty=True, and {record.name} knows nothing of its errors", "a network", "method='canopy'"
        )


def _labelled(data: Any, ms: xr.DataArray, record: Method, wanted: Variable, params: dict[str, Any]) -> xr.DataArray:
    like = (ms.isel(band=0, drop=True) if "band" in ms.dims else ms).drop_vars([*BAND_COORDS, "band"], errors="ignore")
    like = like.rename(wanted.name)
    told = {"variable": wanted.name, **{name: value for name, value in params.items() if value is not None}}
    result = label(data, like, ms, method=record, family="retrieve", params=told)
    result.attrs = {name: value for name, value in result.attrs.items() if name not in _OF_REFLECTANCE}
    result.attrs |= {
        "long_name": wanted.long_name,
        "units": wanted.units,
        "valid_min": np.float32(wanted.lowest),
        "valid_max": np.float32(wanted.highest),
    }
    if wanted.standard_name:
        result.attrs["standard_name"] = wanted.standard_name
    if not record.reference.doi:
        result.attrs["references"] = record.reference.text
    return result
