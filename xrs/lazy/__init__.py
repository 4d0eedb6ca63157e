"""Tiles with halo over nested grids, scene statistics and series: the only room that knows Dask."""

from xrs.lazy.graph import joined_dates
from xrs.lazy.plan import Source, task_memory
from xrs.lazy.tiles import Dates, map_series, map_tiles, reduce_tiles
from xrs.lazy.warp import warp

__all__ = ["Dates", "Source", "joined_dates", "map_series", "map_tiles", "reduce_tiles", "task_memory", "warp"]
