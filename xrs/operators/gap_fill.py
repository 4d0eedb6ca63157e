"""Fill the gaps of a cube along time; what was observed stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import xarray as xr

from xrs.cube import band_keys, describe, geobox_of, same_grid, to_dataset, with_all_dims
from xrs.errors import BandNotFoundError, GridMismatchError, ParameterError
from xrs.kernels.types import Float32, Float64
from xrs.lazy import Dates, Source, map_tiles
from xrs.methods import Method, Tile, get_method, resolve_params
from xrs.methods.temporal._guide import fill_from_guide, gap_lengths
from xrs.methods.temporal._series import band_series, band_weights
from xrs.operators._series import check_cube, days_of, labelled, over_series, weights_of
from xrs.operators.enhance import as_growth

__all__ = ["gap_fill"]

Cube = TypeVar("Cube", xr.DataArray, xr.Dataset)


def gap_fill(
    cube: Cube,
    method: str | Method = "whittaker",
    *,
    guide: xr.DataArray | xr.Dataset | None = None,
    weights: xr.DataArray | None = None,
    max_gap: float | None = None,
    **params: Any,
) -> Cube:
    """Fill missing values along time; every finite value of the cube is kept bit for bit.

    With a ``guide``, another sensor's cube, the guide is interpolated linearly to the cube's dates; each series of the
    cube is regressed on it, over the dates both are known; and a gap gets the line's value plus the residual from it,
    which ``method`` completes. So the guide tells what happened within the gap, and the cube's own dates how it is
    seen there. This is after Chen et al. [1]_, with a regression for each pixel in place of their search for similar
    pixels.

    Parameters
    ----------
    cube : xarray.DataArray or xarray.Dataset
        Floating point with dim ``time``: ascending dates, each once. NaN is missing.
    method : str or Method
        See ``xrs.list_methods("temporal")``.
    guide : xarray.DataArray or xarray.Dataset, optional
        On the same grid, with dates of its own and the cube's bands, or one band for all. Outside its first and last
        value, and for series with fewer than three clear dates between those, it fills nothing.
    weights : xarray.DataArray, optional
        From 0 on, dims ``time`` or those of the cube. A value of weight 0 is kept, but fills no other.
    max_gap : float, optional
        In days, from the last value before a gap to the first after it; longer gaps stay NaN. At the ends of a series
        a gap counts from the cube's first date or to its last.
    **params
        Parameters of the method. For ``enhance``, ``library`` may be an array of curves as in :func:`xrs.enhance`.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        As ``cube``, float32, on its dates. Lazy if the cube or the guide is.

    Raises
    ------
    TimeAxisError, RadiometryError
        As in :func:`xrs.smooth`.
    GridMismatchError
        If the guide lies on another grid.
    BandNotFoundError
        If the guide has several bands, but not those of the cube.
    ParameterError
        If ``max_gap`` is not above zero, or a guide is given to a method that learns from the scene.

    References
    ----------
    .. [1] Chen et al., A practical approach to reconstruct high-quality Landsat NDVI time-series data by gap filling
       and the Savitzky-Golay filter. ISPRS Journal of Photogrammetry and Remote Sensing 180, 2021.
       10.1016/j.isprsjprs.2021.08.015

    Examples
    --------
    >>> import numpy as np, pandas as pd, xarray as xr
    >>> dates = pd.date_range("2024-01-01", periods=6, freq="10D")
    >>> values = np.array([1, np.nan, 3, np.nan, np.nan, 6], "float32")[:, None, None]
    >>> cube = xr.DataArray(values, dims=("time", "y", "x"), coords={"time": dates})
    >>> gap_fill(cube, "linear", max_gap=20).values.ravel().tolist()
    [1.0, 2.0, 3.0, nan, nan, 6.0]
    """
    record = get_method(method, "temporal")
    if "library" in params:
        params["library"] = as_growth(params["library"], params.get("start", 1))
    params = resolve_params(record, params)
    if max_gap is not None and not max_gap > 0:
        raise ParameterError(f"found max_gap={max_gap!r}", "a number of days above zero, or None")
    values = check_cube(cube)
    dates = pd.DatetimeIndex(values["time"].values)
    longest = np.inf if max_gap is None else float(max_gap)
    if guide is None:
        data = over_series(values, dates, _Gaps(record.apply, longest), record, params, weights=weights)
    else:
        data = _guided(values, guide, record, params, weights, longest)
    result = labelled(
        data, values, dates, "gap_fill", record, params | {"max_gap": max_gap, "guided": guide is not None}
    )
    return to_dataset(result) if isinstance(cube, xr.Dataset) else result


@dataclass(frozen=True)
class _Gaps:
    """A temporal method of which only the values in gaps are taken."""

    apply: Callable[..., Float32]
    longest: float

    def __call__(
        self, series: Float32, weights: Float32 | None, days: Float64, targets: Float64, **params: Any
    ) -> Float32:
        return _in_gaps(series, self.apply(series, weights, days, days, **params), days, self.longest)


@dataclass(frozen=True)
class _Guided:
    """The same with the guide's series beside those of the cube."""

    apply: Callable[..., Float32]
    longest: float

    def __call__(self, tile: Tile, _state: Mapping[str, Any], **params: Any) -> Float32:
        days, bands = tile.days["series"], tile["series"].shape[1]
        out = np.empty_like(tile["series"])
        for band in range(bands):
            series, weights = band_series(tile, band), band_weights(tile, band)
            guide = band_series(tile, band if tile["guide"].shape[1] == bands else 0, "guide")
            filled = fill_from_guide(series, weights, days, guide, tile.days["guide"], self.apply, **params)
            out[:, band] = _in_gaps(series, filled, days, self.longest).reshape(out[:, band].shape)
        return out


def _in_gaps(series: Float32, filled: Float32, days: Float64, longest: float) -> Float32:
    seen = np.isfinite(series)
    out = np.where(seen, series, filled)
    if longest < np.inf:
        out[~seen & (gap_lengths(seen, days) > longest)] = np.nan
    return out


def _guided(
    values: xr.DataArray,
    guide: xr.DataArray | xr.Dataset,
    record: Method,
    params: Mapping[str, Any],
    weights: xr.DataArray | None,
    longest: float,
) -> Any:
    if record.passes:
        raise ParameterError(
            f"{record.name} learns from the scene, and a guide was given",
            "a method that works on single series for the residuals",
            "method='linear'",
        )
    other = check_cube(guide)
    _check_guide(values, other)
    array, beside = with_all_dims(values).data, with_all_dims(other).data
    sources = {"series": Source(array, steady=True), "guide": Source(beside, steady=True)}
    days = days_of(values["time"].values)
    dates = {"series": days, "guide": days_of(other["time"].values), "target": days}
    if weights is not None:
        sources["weights"], dates["weights"] = Source(weights_of(weights, values), steady=True), days
    return map_tiles(
        _Guided(record.apply, longest),
        sources,
        bands=array.shape[1],
        factor=1,
        params=params,
        dates=Dates(dates, (days.size,)),
        name=f"xrs-guided-{record.name}",
    )


def _check_guide(values: xr.DataArray, guide: xr.DataArray) -> None:
    if not same_grid(geobox_of(values), geobox_of(guide)):
        raise GridMismatchError(
            f"the guide lies on {describe(geobox_of(guide))} and the cube on {describe(geobox_of(values))}",
            "the same grid",
            "guide = xrs.regrid(guide, like=cube)",
        )
    several = "band" in guide.dims and guide.sizes["band"] > 1
    if several and ("band" not in values.dims or band_keys(guide) != band_keys(values)):
        own = band_keys(values) if "band" in values.dims else "one band"
        raise BandNotFoundError(
            f"the guide has bands {band_keys(guide)} and the cube {own}",
            "the cube's bands, or one band",
            "guide.sel(band=list(cube.band.values))",
        )
