"""The harmonics of every pixel's series: mean, trend, amplitudes and phases."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from xrs.cube import provenance, with_all_dims
from xrs.kernels.types import Float32, Float64
from xrs.lazy import map_series
from xrs.methods import get_method, resolve_params
from xrs.methods.temporal.harmonic import YEAR, coefficients
from xrs.operators._series import check_cube, days_of, weights_of

__all__ = ["harmonics"]


def harmonics(
    cube: xr.DataArray | xr.Dataset,
    harmonics: int = 2,
    period: float = YEAR,
    trend: bool = True,
    *,
    damping: float = 0.0,
    tolerance: float | None = None,
    reject: str = "low",
    spare: int = 5,
    weights: xr.DataArray | None = None,
) -> xr.Dataset:
    """Describe the season of every pixel by a mean, a trend and harmonics.

    Each series is fitted by weighted least squares as by method ``harmonic`` (after HANTS, Roerink, Menenti and Verhoef
    2000, 10.1080/014311600209814), here without damping unless asked for.

    Parameters
    ----------
    cube : xarray.DataArray or xarray.Dataset
        Floating point with dim ``time``: ascending dates, each once. NaN is missing.
    harmonics : int
        How many.
    period : float
        Of the first, in days.
    trend : bool
        Whether a straight line is fitted too.
    damping, tolerance, reject, spare
        As for method ``harmonic``: damping of the amplitudes, and rejection of outliers.
    weights : xarray.DataArray, optional
        From 0 on, dims ``time`` or those of the cube; 0 leaves a value out, as NaN does.

    Returns
    -------
    xarray.Dataset
        Float32 ([band,] y, x), lazy if the cube is: ``mean``, in the middle between the cube's first and last date;
        ``trend`` in units a year of 365.25 days, if fitted; ``amplitude_k`` from zero on, half of what the harmonic
        swings, and ``phase_k``, days from the period's beginning to its first maximum, 0 to ``period / k``; ``rmse`` of
        the residuals; ``count``, dates used. Periods are counted from 1970-01-01, so that with the default one a
        phase is the day of the year, 0 on 1 January, within a day. NaN where dates are fewer than coefficients or do
        not determine them; ``count`` always tells.

    Raises
    ------
    TimeAxisError, RadiometryError
        As in :func:`xrs.smooth`.
    ParameterError
        If a parameter is out of range.

    Examples
    --------
    >>> import numpy as np, pandas as pd, xarray as xr
    >>> dates = pd.date_range("2022-01-01", "2023-12-31", freq="10D")
    >>> wave = 0.5 + 0.3 * np.cos(2 * np.pi * (dates.dayofyear.values - 182) / 365.25)
    >>> cube = xr.DataArray(wave.astype("float32")[:, None, None], dims=("time", "y", "x"), coords={"time": dates})
    >>> season = harmonics(cube, harmonics=1)
    >>> round(season.amplitude_1.item(), 3), abs(season.phase_1.item() - 181) < 1
    (0.3, True)
    """
    record = get_method("harmonic", "temporal")
    given = {"harmonics": harmonics, "period": period, "trend": trend, "damping": damping, "tolerance": tolerance}
    params = resolve_params(record, given | {"reject": reject, "spare": spare})
    values = check_cube(cube)
    names = _names(harmonics, trend)
    data = map_series(
        _describe,
        with_all_dims(values).data,
        days_of(values["time"].values),
        np.arange(float(len(names))),  # what is put out in place of dates
        weights=None if weights is None else weights_of(weights, values),
        params=params,
        name="xrs-harmonics",
    )
    kept = {n: c for n, c in values.coords.items() if "time" not in c.dims}
    made = xr.DataArray(data, dims=("what", "band", "y", "x"))
    made = made.isel({d: 0 for d in ("band",) if d not in values.dims}).assign_coords(kept)
    result = xr.Dataset({name: made.isel(what=i).assign_attrs(_attrs(name, values)) for i, name in enumerate(names)})
    result.attrs = provenance(values, "harmonics", params, doi=record.reference.doi, same_quantity=False)
    return result


def _names(count: int, trend: bool) -> list[str]:
    waves = [f"{name}_{k}" for k in range(1, count + 1) for name in ("amplitude", "phase")]
    return ["mean", *(["trend"] if trend else []), *waves, "rmse", "count"]


def _attrs(name: str, values: xr.DataArray) -> dict[str, str]:
    units = str(values.attrs.get("units", "1"))
    if name.startswith("phase"):
        return {"units": "day", "long_name": "days from the period's beginning to the maximum"}
    return {"units": {"trend": f"{units} year-1", "count": "1"}.get(name, units)}


def _describe(
    series: Float32,
    weights: Float32 | None,
    days: Float64,
    targets: Float64,
    *,
    harmonics: int,
    period: float,
    trend: bool,
    **params: Any,
) -> Float32:
    """Mean, trend, amplitude and phase of each harmonic, error and count: (what, n)."""
    solved = coefficients(series, weights, days, harmonics=harmonics, period=period, trend=trend, **params)
    first = 1 + trend
    for k in range(1, harmonics + 1):
        row = first + 2 * (k - 1)
        cosine, sine = solved[row].copy(), solved[row + 1].copy()
        turn = np.arctan2(sine, cosine) / (2.0 * np.pi) % 1.0
        solved[row], solved[row + 1] = np.hypot(cosine, sine), turn * period / k
    return solved.astype(np.float32)
