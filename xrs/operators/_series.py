"""What every verb on series does: check the cube, run a method over all dates of its pixels, label the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xrs.cube import check_time, is_lazy, provenance, to_array, with_all_dims
from xrs.errors import GridMismatchError, RadiometryError, TimeAxisError
from xrs.kernels.types import Float32, Float64
from xrs.lazy import Dates, Source, map_series, map_tiles
from xrs.methods import Method, Tile
from xrs.methods.temporal._series import band_series, band_weights

__all__ = ["check_cube", "days_of", "labelled", "over_series", "targets_of", "weights_of"]


def check_cube(cube: xr.DataArray | xr.Dataset) -> xr.DataArray:
    """The cube as a DataArray with ascending dates and floating-point values."""
    values = to_array(cube)
    check_time(values)
    if values.dtype.kind != "f":
        raise RadiometryError(f"the cube holds {values.dtype}", "floating point with NaN", "cube.astype('float32')")
    return values


def targets_of(times: Any, values: xr.DataArray) -> pd.DatetimeIndex:
    """The dates asked for: those of the cube, a frequency within them, or any."""
    dates = pd.DatetimeIndex(values["time"].values)
    if times is None:
        return dates
    if isinstance(times, str):
        return pd.date_range(dates[0].normalize(), dates[-1], freq=times)
    targets = pd.DatetimeIndex(np.asarray(times))
    if not (targets.is_monotonic_increasing and targets.is_unique):
        raise TimeAxisError("times are unsorted or doubled", "ascending dates, each once", "sorted(set(times))")
    return targets


def days_of(dates: Any) -> Float64:
    """Days since 1970-01-01."""
    return np.asarray((pd.DatetimeIndex(dates) - pd.Timestamp(0)) / pd.Timedelta(days=1), dtype=np.float64)


def weights_of(weights: xr.DataArray, values: xr.DataArray) -> Any:
    """Weights with all dims of the cube."""
    for dim in weights.dims:
        if weights.sizes[dim] != values.sizes.get(dim):
            raise GridMismatchError(
                f"weights have {weights.sizes[dim]} along {dim} and the cube {values.sizes.get(dim, 'none')}",
                "weights with dim time, or the dims of the cube",
            )
    bare = weights.drop_vars(list(weights.coords))
    if is_lazy(values):
        # Broadcast in memory, weights of dates alone would be as large as the cube.
        bare = bare.chunk({dim: values.chunksizes[dim] for dim in bare.dims})
    fitted = bare.broadcast_like(values.drop_vars(list(values.coords)))
    return with_all_dims(fitted.transpose(*values.dims)).data


def over_series(
    values: xr.DataArray,
    targets: pd.DatetimeIndex,
    apply: Callable[..., Float32],
    record: Method,
    params: Mapping[str, Any],
    *,
    weights: xr.DataArray | None = None,
) -> Any:
    """Run ``apply``, the record's or one around it, over the series of every pixel: (t, band, y, x).

    A record with passes learns from the whole scene first, each band by itself, unless a parameter that the passes
    solve for is given.
    """
    array = with_all_dims(values).data
    days, wanted, name = days_of(values["time"].values), days_of(targets), f"xrs-{record.name}"
    given = None if weights is None else weights_of(weights, values)
    if not record.passes or params.get("library") is not None:
        return map_series(apply, array, days, wanted, weights=given, params=params, name=name)
    sources = {"series": Source(array, steady=True)}
    dates = {"series": days, "target": wanted}
    if given is not None:
        sources["weights"], dates["weights"] = Source(given, steady=True), days
    return map_tiles(
        EachBand(apply),
        sources,
        bands=array.shape[1],
        factor=1,
        passes=record.passes,
        params=params,
        dates=Dates(dates, (wanted.size,)),
        name=name,
    )


@dataclass(frozen=True)
class EachBand:
    """A temporal method for tiles of all dates: each band with what was learnt of it."""

    apply: Callable[..., Float32]

    def __call__(self, tile: Tile, state: Mapping[str, Any], **params: Any) -> Float32:
        _, bands, height, width = tile["series"].shape
        days, targets = tile.days["series"], tile.days["target"]
        out = np.empty((targets.size, bands, height, width), np.float32)
        for band in range(bands):
            learnt = {name: of_bands[band] for name, of_bands in state.items()}
            series, weights = band_series(tile, band), band_weights(tile, band)
            made = self.apply(series, weights, days, targets, **(params | learnt))
            out[:, band] = made.reshape(targets.size, height, width)
        return out


def labelled(
    data: Any, values: xr.DataArray, targets: pd.DatetimeIndex, verb: str, record: Method, params: Mapping[str, Any]
) -> xr.DataArray:
    """Name, dims, coordinates and history of a result (t, band, y, x)."""
    # Without a name xarray would take the Dask key.
    result = xr.DataArray(data, dims=("time", "band", "y", "x")).rename(values.name)
    result = result.isel({d: 0 for d in ("band",) if d not in values.dims})
    same = targets.size == values.sizes["time"] and bool((targets == pd.DatetimeIndex(values["time"].values)).all())
    kept = {n: c for n, c in values.coords.items() if "time" not in c.dims or (same and c.dims == ("time",))}
    result = result.assign_coords(kept | {"time": ("time", targets.values, values["time"].attrs)})
    result.attrs = provenance(values, verb, {"method": record.name, **params}, doi=record.reference.doi)
    result.attrs["xrs:method"] = record.name
    return result
