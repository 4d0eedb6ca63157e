"""From cubes to metrics: check that they fit, summarise tiles, label what comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr

from xrs.cube import band_keys, describe, geobox_of, same_grid, with_all_dims
from xrs.errors import BandNotFoundError, GridMismatchError, LayoutError, TimeAxisError
from xrs.kernels.types import Float64
from xrs.lazy import Source, reduce_tiles
from xrs.quality.catalogue import METRICS, Metric

__all__ = ["Cube", "check_grids", "check_times", "match_bands", "measure", "source_of"]

Cube = xr.DataArray | xr.Dataset


def check_grids(one: xr.DataArray, other: xr.DataArray, names: tuple[str, str]) -> None:
    """Refuse two cubes whose pixels differ."""
    first, second = geobox_of(one), geobox_of(other)
    if not same_grid(first, second):
        raise GridMismatchError(
            f"{names[0]} is on {describe(first)}, {names[1]} on {describe(second)}",
            "the same grid",
            "crop both to their common area, or xrs.regrid one of them",
        )


def check_times(one: xr.DataArray, other: xr.DataArray, names: tuple[str, str]) -> None:
    """Refuse two cubes whose dates differ."""
    if ("time" in one.dims) != ("time" in other.dims):
        raise LayoutError(
            f"{names[0]} has dims {tuple(map(str, one.dims))}, {names[1]} {tuple(map(str, other.dims))}",
            "time in both or in neither",
            "select one date with isel(time=0), or expand_dims('time')",
        )
    if "time" not in one.dims:
        return
    dates = [cube["time"].values if "time" in cube.coords else np.arange(cube.sizes["time"]) for cube in (one, other)]
    if not np.array_equal(dates[0], dates[1]):
        raise TimeAxisError(
            f"the dates of {names[0]} ({dates[0].size}) and {names[1]} ({dates[1].size}) differ",
            "the same dates in the same order",
            "xarray.align(a, b, join='inner', exclude=('y', 'x'))",
        )


def match_bands(cube: xr.DataArray, like: xr.DataArray, names: tuple[str, str]) -> xr.DataArray:
    """Bring the bands of a cube into the order of another's, by key."""
    if "band" not in cube.dims and "band" not in like.dims:
        return cube
    keys, wanted = ([] if "band" not in c.dims else band_keys(c) for c in (cube, like))
    if len(keys) != len(wanted) or set(keys) != set(wanted):
        raise BandNotFoundError(
            f"{names[0]} has the bands {keys}, {names[1]} {wanted}",
            "the same bands",
            f"select them, e.g. {names[0]}.sel(band=[...])",
        )
    return cube if keys == wanted else cube.isel(band=[keys.index(k) for k in wanted])


def source_of(cube: xr.DataArray, factor: int = 1) -> Source:
    """A cube's values as an observation for tiles."""
    return Source(with_all_dims(cube).data, factor)


def measure(
    metrics: Sequence[Metric],
    summarise: Callable[..., Mapping[str, Any]],
    sources: Mapping[str, Source],
    *,
    like: xr.DataArray,
    halo: int,
    params: Mapping[str, Any],
) -> dict[str, xr.DataArray]:
    """Compute metrics in one walk over the tiles.

    Parameters
    ----------
    metrics : sequence of Metric
    summarise : callable
        ``(tile, state, *, needs, **params) -> summaries``, as a mapping by statistic.
    sources : mapping of str to Source
    like : DataArray
        The cube whose dates and bands label the result.
    halo : int
        Margin of ``summarise``, in pixels of the coarsest grid.
    params : mapping
        Keyword arguments of ``summarise``; ``options`` among them goes to the metrics.

    Returns
    -------
    dict of str to DataArray
        By name; dims ``time`` where ``like`` has it and ``band`` where a metric is per band; lazy if a source is.
    """
    sizes = [like.sizes.get("band", 1) if m.per_band else 1 for m in metrics]
    needs = tuple(sorted({need for m in metrics for need in m.needs}))
    values = reduce_tiles(
        summarise,
        merge_summaries,
        _finish,
        sources,
        shape=(sum(sizes),),
        halo=halo,
        fill=False,
        params={**params, "needs": needs, "names": tuple(m.name for m in metrics)},
        name="quality",
    )
    edges = np.cumsum([0, *sizes])
    parts = (values[:, a:b] for a, b in pairwise(edges))
    return {m.name: _labelled(m, part, like) for m, part in zip(metrics, parts, strict=True)}


def merge_summaries(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The summaries of two parts of a scene as one."""
    return {key: one[key] + other[key] for key in one}


def _finish(summary: Mapping[str, Any], _: Any, *, names: Sequence[str], options: Any, **__: Any) -> Float64:
    return np.concatenate([np.atleast_1d(METRICS[name].value(summary, options)) for name in names])


def _labelled(metric: Metric, values: Any, like: xr.DataArray) -> xr.DataArray:
    """Values (time, band or 1) with the labels of a cube."""
    attrs = {
        "long_name": metric.title,
        "units": like.attrs.get("units", "") if metric.units == "data" else metric.units,
        "better": metric.better,
        "ideal": metric.ideal,
    }
    array = xr.DataArray(values, dims=("time", "band"), name=metric.name, attrs=attrs)
    dims = ["time"] + (["band"] if metric.per_band else [])
    kept = {name: c.variable for name, c in like.coords.items() if c.dims and set(c.dims) <= {*dims} & {*like.dims}}
    absent = {dim: 0 for dim in ("time", "band") if dim not in dims or dim not in like.dims}
    return array.isel(absent).assign_coords(kept)
