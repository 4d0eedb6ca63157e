"""Tiles with halo over nested grids, scene statistics and series: the only room that knows Dask."""

from xrs.lazy.plan import Source, task_memory
from xrs.lazy.tiles import map_series, map_tiles, reduce_tiles

__all__ = ["Source", "map_series", "map_tiles", "reduce_tiles", "task_memory"]
