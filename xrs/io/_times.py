"""One date for each acquisition: which items belong together, and which are the same scene twice."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from xrs.errors import ParameterError, StacItemError
from xrs.io._items import acquired
from xrs.io._radiometry import baseline_of

if TYPE_CHECKING:
    import pystac
    from odc.geo.geobox import GeoBox

__all__ = ["DuplicateItemWarning", "check_groupby", "distinct", "group_items"]


class DuplicateItemWarning(UserWarning):
    """An acquisition came as several items of the same grid; the newest processing was kept."""


def distinct(items: Sequence[pystac.Item], grids: Sequence[GeoBox]) -> list[pystac.Item]:
    """Keep one item of each acquisition and grid: the highest processing baseline, then the last written.

    Parameters
    ----------
    items : sequence of pystac.Item
        Items.
    grids : sequence of GeoBox
        A grid of each.

    Raises
    ------
    StacItemError
        If the same acquisition comes from two collections.
    """
    scenes: dict[tuple[pd.Timestamp, GeoBox], list[pystac.Item]] = {}
    for item, grid in zip(items, grids, strict=True):
        scenes.setdefault((acquired(item), grid), []).append(item)
    return [_newest(same) for same in scenes.values()]


def check_groupby(groupby: str) -> None:
    """Refuse a grouping that is unknown."""
    if groupby not in _KEYS:
        raise ParameterError(f"groupby={groupby!r}", f"one of {sorted(_KEYS)}", "leave groupby out")


def group_items(items: Sequence[pystac.Item], groupby: str) -> tuple[pd.DatetimeIndex, tuple[tuple[int, ...], ...]]:
    """The dates, ascending, and the positions of the items that make each date's image."""
    key = _KEYS[groupby]
    groups: dict[pd.Timestamp, list[int]] = {}
    for i in sorted(range(len(items)), key=lambda i: (acquired(items[i]), items[i].id)):
        groups.setdefault(key(items[i]), []).append(i)
    times = [acquired(items[group[0]]) for group in groups.values()]
    return pd.DatetimeIndex(times).as_unit("ns"), tuple(tuple(group) for group in groups.values())


def _solar_day(item: pystac.Item) -> pd.Timestamp:
    west, east = (0.0, 0.0) if item.bbox is None else (item.bbox[0], item.bbox[len(item.bbox) // 2])
    return (acquired(item) + pd.Timedelta(hours=(west + east) / 2 / 15)).normalize()


_KEYS: Mapping[str, Callable[[pystac.Item], pd.Timestamp]] = {"time": acquired, "solar_day": _solar_day}


def _newest(same: Sequence[pystac.Item]) -> pystac.Item:
    if len(same) == 1:
        return same[0]
    if len({item.collection_id for item in same}) > 1:
        told = ", ".join(f"{item.id!r} ({item.collection_id})" for item in same)
        raise StacItemError(
            f"the same acquisition comes from several collections: {told}",
            "one collection for an acquisition",
            f"open one with collections=[{same[0].collection_id!r}]",
        )
    ranked = sorted(same, key=_processing)
    warnings.warn(
        f"items {[item.id for item in ranked]} are one acquisition on one grid; only {ranked[-1].id!r} is used",
        DuplicateItemWarning,
        stacklevel=4,
    )
    return ranked[-1]


def _processing(item: pystac.Item) -> tuple[float, str, str]:
    written = item.properties.get("updated") or item.properties.get("created") or ""
    try:
        baseline = float(baseline_of(item) or "nan")
    except ValueError:
        baseline = np.nan
    return (-1.0 if np.isnan(baseline) else baseline), str(written), item.id
