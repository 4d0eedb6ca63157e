"""Spatio-temporal fusion: fine images of a few dates and coarse ones of many in, fine ones of many dates out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xrs.cube import check_time, to_array, to_dataset, with_all_dims
from xrs.errors import ParameterError, TimeAxisError
from xrs.lazy import Dates, Source, joined_dates
from xrs.methods import Binding, Method, get_method, resolve_params
from xrs.operators._fusion import apply_method, check_floats, label, observed
from xrs.operators._pairs import (
    choose_pairs,
    common_area,
    dates_between,
    dates_to_chunks,
    days_since,
    images_at,
    match_dates,
    matched_bands,
    on_own_grid,
    pick_targets,
    runs_of,
)
from xrs.operators.harmonize import matched_radiometry

__all__ = ["fuse_spatiotemporal"]

Cube = TypeVar("Cube", xr.DataArray, xr.Dataset)


def fuse_spatiotemporal(
    fine: Cube,
    coarse: xr.DataArray | xr.Dataset,
    method: str | Method = "estarfm",
    *,
    target_times: Any = None,
    pair_times: Any = None,
    tolerance: Any = "1D",
    pairs: int | None = None,
    outside: str = "error",
    harmonize: bool | str = True,
    ratio: int | None = None,
    **params: Any,
) -> Cube:
    """Predict fine images on the dates of coarse ones.

    Parameters
    ----------
    fine : xarray.DataArray or xarray.Dataset, (time, [band,] y, x)
        The sensor that sees much detail on few dates; floating point, NaN where nothing was seen.
    coarse : xarray.DataArray or xarray.Dataset, (time, [band,] y, x)
        The sensor that sees many dates, on its own grid in which that of ``fine`` nests, or resampled to the grid of
        ``fine``. Bands belong together by wavelength; those of ``fine`` that ``coarse`` lacks are left out.
    method : str or Method
        See ``xrs.list_methods("spatiotemporal")``.
    target_times : datetime64 or sequence of datetime64, optional
        Dates to predict. If not given, all those of ``coarse``; with methods that need a pair on each side (and
        ``outside="error"``) those from the first pair to the last. A date needs an image of ``coarse`` within the
        tolerance (methods that read the whole series interpolate it).
    pair_times : datetime64 or sequence of datetime64, optional
        Dates of ``fine`` to predict from; all those with an image of ``coarse`` within the tolerance if not given.
    tolerance : str or Timedelta
        How far dates of the two sensors may be apart to belong together.
    pairs : int, optional
        How many dates of ``fine`` a date is predicted from, at most: the nearest before and after, then the nearest.
        Two if not given, or one where the method takes but one. Methods that read the whole series take all.
    outside : {"error", "nearest"}
        What is done with dates outside of the pairs by methods that need one on each side: refuse them, or predict them
        from the nearest pairs.
    harmonize : bool or {"ols", "rma"}
        Whether the coarse bands are brought to the radiometry of the fine ones first, by a regression over all pairs;
        see :func:`xrs.harmonize`.
    ratio : int, optional
        Fine pixels along the side of a coarse one, where ``coarse`` comes resampled: it is averaged to its own grid,
        which some methods need. Rows and columns beyond the last whole coarse pixel are cut.
    **params
        Parameters of the method.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        As ``fine``: float32, its grid, the dates predicted; lazy if either cube is. Missing pixels of a date count less
        or not at all; a pixel is NaN where no observation determines it.

    Raises
    ------
    TimeAxisError
        If there are fewer pairs than the method needs, or a date to predict has no coarse image or lies outside of the
        pairs.
    BandNotFoundError
        If no band of one is in the other.
    GridMismatchError
        If the grids do not nest.
    RadiometryError
        If a cube holds integers.
    ModelCardError
        If a network's model was made for other bands or another ratio.
    MethodNotFoundError, ParameterError, LayoutError

    Examples
    --------
    >>> import xrs
    >>> scene = xrs.scenes.landscape((32, 32), times=["2023-05-01", "2023-06-01", "2023-07-01"], wavelengths=[660, 830])
    >>> coarse = xrs.degrade(scene, 8, psf="box")
    >>> dense = xrs.fuse_spatiotemporal(scene.isel(time=[0, 2]), coarse, method="interpolate")
    >>> dict(dense.sizes)
    {'time': 3, 'band': 2, 'y': 32, 'x': 32}
    """
    record = get_method(method, "spatiotemporal")
    params = resolve_params(record, params)
    if outside not in ("error", "nearest"):
        raise ParameterError(f"outside={outside!r}", "'error' or 'nearest'")
    ours, theirs = to_array(fine), to_array(coarse)
    for role, cube in (("fine", ours), ("coarse", theirs)):
        check_floats(role, cube)
        check_time(cube)
    ours, theirs = matched_bands(ours, theirs)
    ours, theirs, found = _areas(ours, theirs, ratio)
    targets = pick_targets(target_times, theirs)
    whole = "series" in record.needs
    paired, partner = _pairs(ours, theirs, pair_times, tolerance, alone=whole)
    if harmonize:
        regression = "ols" if harmonize is True else harmonize
        theirs = matched_radiometry(theirs, paired, method=regression, tolerance=tolerance)
    binding = Binding(params, record.needs, record.passes)
    if record.bind is not None:
        binding = record.bind({"fine": observed(ours, 1), "coarse": observed(theirs, found)}, ("fine",), **params)
    start = targets[0]
    if partner is None:
        choices = [tuple(range(paired.sizes["time"]))] * targets.size
    else:
        fewest, most = _how_many(record, pairs)
        if target_times is None and fewest > 1 and outside == "error":
            targets = dates_between(targets, theirs["time"].values[partner])
            start = targets[0]
        # Hours between the sensors do not count: pairs are where the coarse one saw the place.
        days = days_since(theirs["time"].values[partner], start)
        seen = days_since(images_at(theirs, targets, tolerance)["time"].values, start)
        choices = [choose_pairs(t, days, fewest, most, outside=outside) for t in seen]
    parts = []
    for run, chosen in runs_of(choices):
        sources, dated = _observations(paired, theirs, partner, chosen, targets[run], start, tolerance, found)
        needed = {name: source for name, source in sources.items() if name in record.needs}
        bands = ours.sizes.get("band", 1)
        parts.append(apply_method(record, binding, needed, bands=bands, factor=found, dates=dated))
    data = joined_dates(parts)
    like = ours.isel(time=[0] * targets.size).assign_coords(time=targets.values)
    told = params | {"harmonize": harmonize, "pair_times": [str(t)[:19] for t in paired["time"].values]}
    result = label(
        data, like, ours, method=record, family="fuse_spatiotemporal", params=told, beside=[to_array(coarse)]
    )
    return to_dataset(result) if isinstance(fine, xr.Dataset) else result


def _areas(fine: xr.DataArray, coarse: xr.DataArray, ratio: int | None) -> tuple[xr.DataArray, xr.DataArray, int]:
    fine, coarse, found = common_area(fine, coarse)
    if ratio is None or ratio == found:
        return fine, coarse, found
    if found > 1:
        raise ParameterError(f"ratio={ratio} for grids of ratio {found}", f"ratio={found}, or none")
    return common_area(fine, on_own_grid(coarse, ratio))


def _pairs(
    fine: xr.DataArray, coarse: xr.DataArray, pair_times: Any, tolerance: Any, *, alone: bool
) -> tuple[xr.DataArray, NDArray[np.int64] | None]:
    """The dates of ``fine`` to predict from and the index of the coarse date of each; none if they stand alone."""
    if pair_times is not None:
        wanted = pd.DatetimeIndex(np.atleast_1d(np.asarray(pair_times, "datetime64[ns]")))
        place = match_dates(wanted, pd.DatetimeIndex(fine["time"].values), tolerance)
        if (place < 0).any():
            raise TimeAxisError(
                f"the fine cube has no date within {pd.Timedelta(tolerance)} of {wanted[place < 0][0]}",
                f"dates of it, such as {fine['time'].values[0]}",
            )
        fine = fine.isel(time=np.unique(place))
    if alone:
        return fine, None
    theirs = pd.DatetimeIndex(coarse["time"].values)
    partner = match_dates(pd.DatetimeIndex(fine["time"].values), theirs, tolerance)
    if (partner < 0).all():
        raise TimeAxisError(
            f"no date of fine ({fine['time'].values[0]} to {fine['time'].values[-1]}) is within "
            f"{pd.Timedelta(tolerance)} of one of coarse ({theirs[0]} to {theirs[-1]})",
            "dates that both have",
            "a larger tolerance=",
        )
    return fine.isel(time=np.flatnonzero(partner >= 0)), partner[partner >= 0]


def _how_many(method: Method, pairs: int | None) -> tuple[int, int]:
    """The fewest and the most pairs of a prediction."""
    fewest, most = method.pairs
    if pairs is None:
        return fewest, min(max(2, fewest), most)
    if not fewest <= pairs <= most:
        raise ParameterError(f"pairs={pairs} for {method.name}", f"{fewest} to {most}")
    return fewest, pairs


def _observations(
    paired: xr.DataArray,
    coarse: xr.DataArray,
    partner: NDArray[np.int64] | None,
    chosen: Sequence[int],
    targets: pd.DatetimeIndex,
    start: pd.Timestamp,
    tolerance: Any,
    ratio: int,
) -> tuple[dict[str, Source], Dates]:
    """What predicts a run of dates, and when each was seen."""
    fine = paired.isel(time=list(chosen))
    days = {"fine": days_since(fine["time"].values, start), "target": days_since(targets.values, start)}
    sources = {"fine": Source(with_all_dims(fine).data, ratio, steady=True)}
    if partner is None:
        days["series"] = days_since(coarse["time"].values, start)
        sources["series"] = Source(with_all_dims(coarse).data, 1, steady=True)
    else:
        at_pairs, at_targets = coarse.isel(time=partner[list(chosen)]), images_at(coarse, targets, tolerance)
        days["coarse"] = days_since(at_pairs["time"].values, start)
        sources["coarse"] = Source(with_all_dims(at_pairs).data, 1, steady=True)
        sources["target"] = Source(with_all_dims(at_targets).data, 1)
    return sources, Dates(days, dates_to_chunks(targets.size))
