"""Cubes to measure on: random, in memory, with everything the verbs ask for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from xrs.cube import assign_bands, assign_geobox

__all__ = ["RATIO", "cube_of", "in_chunks", "pan_case", "series_case"]

#: Pan pixels along the side of a multispectral one.
RATIO = 4

_BANDS = {"blue": 490.0, "green": 560.0, "red": 660.0, "nir08": 840.0}


def cube_of(values: np.ndarray, resolution: float) -> xr.DataArray:
    """Label (band, y, x) or (time, band, y, x)."""
    dims = ("time", "band", "y", "x")[4 - values.ndim :]
    names = list(_BANDS)[: values.shape[-3]]
    cube = assign_bands(
        xr.DataArray(values, dims=dims), names, common_name=names, wavelength=[_BANDS[n] for n in names]
    )
    if "time" in dims:
        cube = cube.assign_coords(time=pd.date_range("2023-01-01", periods=values.shape[0], freq="D"))
    return assign_geobox(cube, GeoBox(values.shape[-2:], Affine(resolution, 0, 5e5, 0, -resolution, 5e6), "EPSG:32631"))


def pan_case(side: int, *, bands: int = 4, seed: int = 0) -> tuple[xr.DataArray, xr.DataArray]:
    """Bands and a pan of ``side`` squared pixels, reflectance in 0.05 to 0.65."""
    rng = np.random.default_rng(seed)
    ms = 0.05 + 0.6 * rng.random((bands, side // RATIO, side // RATIO), dtype=np.float32)
    pan = 0.05 + 0.6 * rng.random((side, side), dtype=np.float32)
    fine = xr.DataArray(pan, dims=("y", "x"))
    box = GeoBox(pan.shape, Affine(2.5, 0, 5e5, 0, -2.5, 5e6), "EPSG:32631")
    return cube_of(ms, 2.5 * RATIO), assign_geobox(fine, box)


def series_case(dates: int, side: int, *, gaps: float = 0.3, seed: int = 0) -> xr.DataArray:
    """One band of ``dates`` daily dates with NaN."""
    rng = np.random.default_rng(seed)
    values = rng.random((dates, 1, side, side), dtype=np.float32)
    values[rng.random(values.shape, dtype=np.float32) < gaps] = np.nan
    return cube_of(values, 10.0)


def in_chunks(cube: xr.DataArray, **sizes: int) -> xr.DataArray:
    """A lazy cube whose chunks lie in memory, each contiguous as a store would give it."""
    lazy = cube.chunk(sizes)
    return lazy.copy(data=lazy.data.map_blocks(np.array, dtype=cube.dtype).persist(scheduler="synchronous"))
