"""Two sensors side by side: which bands, grids and dates of one belong to which of the other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xrs.cube import band_keys, band_widths, common_names, geobox_of, nest, shared_pixels, wavelengths
from xrs.cube.grid import describe
from xrs.errors import BandNotFoundError, GridMismatchError, LayoutError, TimeAxisError
from xrs.operators.observe import degrade

__all__ = [
    "choose_pairs",
    "common_area",
    "dates_between",
    "dates_to_chunks",
    "days_since",
    "images_at",
    "match_dates",
    "matched_bands",
    "on_own_grid",
    "pick_targets",
    "runs_of",
]

#: Bands without a told width are taken to be this wide, in nm.
_WIDTH = 30.0

#: Dates predicted by one task: enough that what depends on the pairs alone is seldom done again.
_AT_ONCE = 8


def matched_bands(fine: xr.DataArray, coarse: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """The bands of ``fine`` that ``coarse`` has too, and those of ``coarse`` in the same order, under the same keys.

    Bands belong together by wavelength, the nearest of those that overlap; without wavelengths by key, then by common
    name.

    Raises
    ------
    BandNotFoundError
        If no band of one is in the other.
    """
    unnamed = "band" not in fine.coords and "band" not in coarse.coords
    if ("band" not in fine.dims and "band" not in coarse.dims) or (
        unnamed and fine.sizes.get("band") == coarse.sizes.get("band")
    ):
        return fine, coarse
    if "band" not in fine.dims or "band" not in coarse.dims:
        raise LayoutError(
            f"fine has dims {fine.dims} and coarse {coarse.dims}",
            "dim 'band' on both, or on neither",
            "select the one band: cube.sel(band=...)",
        )
    ours, theirs = band_keys(fine), band_keys(coarse)
    found = _by_name(fine, coarse) if _unknown(fine) or _unknown(coarse) else _by_wavelength(fine, coarse)
    if not found:
        raise BandNotFoundError(
            f"no band of {_told(fine, ours)} is among {_told(coarse, theirs)}",
            "bands whose wavelengths overlap, or of the same name",
            "xrs.cube.assign_bands(cube, keys, wavelength=[...])",
        )
    keys = [key for key in ours if key in found]
    other = coarse.sel(band=[found[key] for key in keys])
    return fine.sel(band=keys), other.assign_coords(band=keys)


def common_area(fine: xr.DataArray, coarse: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray, int]:
    """Both cubes over the area they share, and the ratio of their grids; 1 if pixels lie on pixels."""
    one, other = geobox_of(fine), geobox_of(coarse)
    if np.isclose(one.resolution.x, other.resolution.x, rtol=1e-6):
        in_one, in_other = shared_pixels(one, other)
        return fine.isel(in_one), coarse.isel(in_other), 1
    nesting = nest(one, other)
    return fine.isel(nesting.fine_window), coarse.isel(nesting.coarse_window), nesting.ratio


def on_own_grid(coarse: xr.DataArray, ratio: int) -> xr.DataArray:
    """A cube that came resampled, averaged to pixels ``ratio`` times larger; what is left over at the edges is cut."""
    whole = {d: slice(0, coarse.sizes[d] // ratio * ratio) for d in ("y", "x")}
    if min(s.stop for s in whole.values()) == 0:
        raise GridMismatchError(
            f"{describe(geobox_of(coarse))} holds no block of {ratio} by {ratio} pixels", "a smaller ratio"
        )
    return degrade(coarse.isel(whole), ratio, psf="box")


def match_dates(dates: pd.DatetimeIndex, among: pd.DatetimeIndex, tolerance: Any) -> NDArray[np.int64]:
    """The index of the nearest of ``among`` for each date; -1 where none is within the tolerance."""
    return among.get_indexer(dates, method="nearest", tolerance=pd.Timedelta(tolerance))


def images_at(cube: xr.DataArray, dates: pd.DatetimeIndex, tolerance: Any) -> xr.DataArray:
    """The nearest image of a cube for each date.

    Raises
    ------
    TimeAxisError
        If there is none within the tolerance.
    """
    found = match_dates(dates, pd.DatetimeIndex(cube["time"].values), tolerance)
    if (found < 0).any():
        raise TimeAxisError(
            f"no coarse image within {pd.Timedelta(tolerance)} of {dates[found < 0][0]}",
            "dates to predict on which the coarse sensor saw something",
            "a larger tolerance=, or other target_times=",
        )
    return cube.isel(time=found)


def dates_between(dates: pd.DatetimeIndex, pairs: Any) -> pd.DatetimeIndex:
    """Dates from the first pair to the last."""
    return dates[(dates >= pairs.min()) & (dates <= pairs.max())]


def choose_pairs(
    target: float, days: NDArray[np.float64], fewest: int, most: int, *, outside: str = "error"
) -> tuple[int, ...]:
    """The pairs a date is predicted from, in the order of time: the nearest on both sides, then the nearest.

    A target before the first or after the last pair is predicted from the nearest ``fewest`` pairs.

    Parameters
    ----------
    target : float
        In days.
    days : ndarray
        Of all pairs, ascending.
    fewest, most : int
        How many pairs the method takes.
    outside : {"error", "nearest"}
        What to do with a target that lies outside, if the method needs pairs on both sides.

    Raises
    ------
    TimeAxisError
        If there are too few pairs, or a target is outside.
    """
    if days.size < fewest:
        raise TimeAxisError(
            f"found {days.size} dates that both cubes have",
            f"at least {fewest}",
            "a larger tolerance=, or a method that needs one pair: xrs.list_methods('spatiotemporal')",
        )
    nearest = np.argsort(np.abs(days - target), kind="stable")
    inside = days[0] <= target <= days[-1]
    if not inside and fewest > 1 and outside != "nearest":
        raise TimeAxisError(
            f"a date to predict lies {_distance(target, days):.4g} days outside of the pairs",
            "dates between the first and the last pair",
            "outside='nearest' to predict them from the nearest pairs, or target_times= of those between",
        )
    if not inside or most == 1:
        return tuple(sorted(int(k) for k in nearest[:fewest]))
    before, after = nearest[days[nearest] <= target][:1], nearest[days[nearest] >= target][:1]
    ranked = dict.fromkeys(int(k) for k in (*before, *after, *nearest))
    return tuple(sorted(list(ranked)[:most]))


def pick_targets(target_times: Any, cube: xr.DataArray) -> pd.DatetimeIndex:
    """The dates to predict: those given, else those of a cube.

    Raises
    ------
    TimeAxisError
        If those given are no dates, or are empty, unsorted or doubled.
    """
    if target_times is None:
        return pd.DatetimeIndex(cube["time"].values)
    targets = _as_dates(target_times)
    if not targets.size:
        raise TimeAxisError("target_times are empty", "one date or more", "leave target_times out")
    steps = np.diff(targets)
    if (steps < np.timedelta64(0)).any():
        first = int(np.argmax(steps < np.timedelta64(0)))
        raise TimeAxisError(
            f"target_times are unsorted: {targets[first + 1]} follows {targets[first]}",
            "ascending dates",
            "target_times=sorted(...)",
        )
    if not targets.is_unique:
        raise TimeAxisError(
            f"target_times hold {targets[targets.duplicated()][0]} more than once",
            "each date once",
            "target_times=sorted(set(...))",
        )
    return targets


def days_since(times: Any, start: pd.Timestamp) -> NDArray[np.float64]:
    """Dates in days after the first."""
    return np.asarray((pd.DatetimeIndex(times) - start) / pd.Timedelta(days=1), np.float64)


def dates_to_chunks(count: int) -> tuple[int, ...]:
    """How many dates each task predicts."""
    return tuple(min(_AT_ONCE, count - first) for first in range(0, count, _AT_ONCE))


def runs_of(choices: Sequence[tuple[Any, ...]]) -> list[tuple[slice, tuple[Any, ...]]]:
    """Neighbouring entries that are equal, as slices."""
    runs: list[tuple[slice, tuple[Any, ...]]] = []
    first = 0
    for choice, members in groupby(choices):
        count = len(list(members))
        runs.append((slice(first, first + count), choice))
        first += count
    return runs


def _as_dates(target_times: Any) -> pd.DatetimeIndex:
    try:
        given = np.atleast_1d(np.asarray(target_times))
        # Numbers would be taken for nanoseconds since 1970.
        dates = None if given.size and given.dtype.kind in "biufc" else given.astype("datetime64[ns]")
    except (TypeError, ValueError):
        dates = None
    if dates is None or np.isnat(dates).any():
        raise TimeAxisError(
            f"target_times={target_times!r:.200}", "dates", "target_times=['2023-05-10'], or pd.to_datetime(...)"
        )
    return pd.DatetimeIndex(dates)


def _by_wavelength(fine: xr.DataArray, coarse: xr.DataArray) -> dict[str, str]:
    ours, theirs = wavelengths(fine), wavelengths(coarse)
    away = np.abs(ours[:, None] - theirs[None])
    overlap = (_widths(fine)[:, None] + _widths(coarse)[None]) / 2
    away = np.where(away <= overlap, away, np.inf)
    keys, others = band_keys(fine), band_keys(coarse)
    return {key: others[int(row.argmin())] for key, row in zip(keys, away, strict=True) if np.isfinite(row.min())}


def _unknown(cube: xr.DataArray) -> bool:
    return bool(np.isnan(wavelengths(cube)).all())


def _widths(cube: xr.DataArray) -> NDArray[np.float64]:
    widths = band_widths(cube)
    return np.where(np.isfinite(widths), widths, _WIDTH)


def _by_name(fine: xr.DataArray, coarse: xr.DataArray) -> dict[str, str]:
    theirs = {name: key for names, key in zip(_names(coarse), band_keys(coarse), strict=True) for name in names}
    pairs = (
        (key, next((theirs[n] for n in names if n in theirs), ""))
        for names, key in zip(_names(fine), band_keys(fine), strict=True)
    )
    return {key: other for key, other in pairs if other}


def _names(cube: xr.DataArray) -> list[list[str]]:
    """What each band may be called: its key, and its common name if no other band has it."""
    common = common_names(cube)
    named = zip(band_keys(cube), common, strict=True)
    return [[key, name] if name and common.count(name) == 1 else [key] for key, name in named]


def _told(cube: xr.DataArray, keys: list[str]) -> str:
    centres = wavelengths(cube)
    return ", ".join(k if np.isnan(w) else f"{k} ({w:g} nm)" for k, w in zip(keys[:8], centres, strict=False))


def _distance(target: float, days: NDArray[np.float64]) -> float:
    return float(days[0] - target if target < days[0] else target - days[-1])
