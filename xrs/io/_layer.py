"""What an engine is given to load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
from odc.geo.geobox import GeoBox

from xrs.io._reader import AssetSource

__all__ = ["Layer"]


@dataclass(frozen=True)
class Layer:
    """Bands that share a grid, a type and a time axis.

    Attributes
    ----------
    geobox : GeoBox
        The grid.
    times : pandas.DatetimeIndex
        One for each group.
    groups : tuple of tuple of int
        The items of each time, by position in ``sources``; earlier ones lie on top.
    sources : tuple of mapping of str to AssetSource
        What each item has of each band.
    bands : tuple of str
        The bands.
    dtype : str
        Type of the values.
    fill : float
        Value of missing pixels.
    chunks : tuple of int
        Times, rows and columns of a chunk.
    """

    geobox: GeoBox
    times: pd.DatetimeIndex
    groups: tuple[tuple[int, ...], ...]
    sources: tuple[Mapping[str, AssetSource], ...]
    bands: tuple[str, ...]
    dtype: str
    fill: float
    chunks: tuple[int, int, int]
