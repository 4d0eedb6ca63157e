"""Small cubes, and proofs of laziness, that tests share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import dask
import numpy as np
import pandas as pd
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy.ndimage import gaussian_filter

from xrs.cube import assign_bands, assign_geobox

BANDS = {"B02": ("blue", 492.0), "B03": ("green", 560.0), "B04": ("red", 665.0), "B08": ("nir", 833.0)}


def texture(shape: tuple[int, ...], seed: int = 0, smooth: float = 2.0) -> np.ndarray:
    """Reflectance-like random texture in about 0.05 to 0.6, correlated over ``smooth`` pixels."""
    rng = np.random.default_rng(seed)
    noise = gaussian_filter(rng.standard_normal(shape), (0,) * (len(shape) - 2) + (smooth, smooth), mode="reflect")
    noise /= noise.std() or 1.0
    return (0.3 + 0.08 * noise + 0.01 * rng.standard_normal(shape)).clip(0.02, 0.9).astype("float32")


def grid(
    shape: tuple[int, int], size: float, crs: str | None = "EPSG:32631", corner: tuple[float, float] = (5e5, 5.6e6)
) -> GeoBox:
    return GeoBox(shape, Affine(size, 0, corner[0], 0, -size, corner[1]), crs)


def cube(
    shape: tuple[int, int],
    size: float = 10.0,
    *,
    bands: dict[str, tuple[str, float]] | None = None,
    times: int = 0,
    seed: int = 0,
    crs: str | None = "EPSG:32631",
    values: np.ndarray | None = None,
) -> xr.DataArray:
    """A cube of texture, bands correlated as in nature."""
    table = BANDS if bands is None else bands
    dims = (*(("time",) if times else ()), "band", "y", "x")
    if values is None:
        common = texture((max(times, 1), 1, *shape), seed)
        own = texture((max(times, 1), len(table), *shape), seed + 1)
        values = (0.7 * common + 0.3 * own).astype("float32")
        values = values if times else values[0]
    da = xr.DataArray(values, dims=dims)
    da = assign_bands(
        da, list(table), common_name=[t[0] for t in table.values()], wavelength=[t[1] for t in table.values()]
    )
    if times:
        da = da.assign_coords(time=pd.date_range("2024-04-01", periods=times, freq="5D"))
    return assign_geobox(da, grid(shape, size, crs))


def pan_pair(
    n: int = 24, ratio: int = 4, times: int = 0, m: int | None = None, seed: int = 0
) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Coarse bands, a pan and the fine truth, from one scene seen twice."""
    m = n if m is None else m
    truth = cube((n * ratio, m * ratio), 2.5, times=times, seed=seed)
    ms_values = truth.coarsen(y=ratio, x=ratio).mean().values
    ms = cube((n, m), 2.5 * ratio, times=times, values=ms_values)
    pan = truth.mean("band").astype("float32")
    return ms, pan, truth


def s2_tree(n: int = 12, times: int = 0, sixty: bool = True, seed: int = 0) -> xr.DataTree:
    """Groups r10m, r20m and r60m of one scene; ``n`` pixels of 60 m along a side."""
    keys20 = {"B05": ("rededge071", 704.0), "B8A": ("nir08", 865.0), "B11": ("swir16", 1610.0)}
    keys60 = {"B01": ("coastal", 443.0), "B09": ("nir09", 945.0)}
    fine = cube((6 * n, 6 * n), 10.0, times=times, seed=seed)
    groups = {"r10m": fine}
    for name, table, ratio in (("r20m", keys20, 2), ("r60m", keys60, 6)):
        mixed = np.stack([fine.isel(band=[i % 4, (i + 1) % 4]).mean("band").values for i in range(len(table))], axis=-3)
        own = texture(mixed.shape, seed + ratio)
        block = xr.DataArray((0.8 * mixed + 0.2 * own), dims=fine.dims).coarsen(y=ratio, x=ratio).mean().values
        groups[name] = cube(
            (6 * n // ratio,) * 2, 10.0 * ratio, bands=table, times=times, values=block.astype("float32")
        )
    if not sixty:
        groups.pop("r60m")
    from xrs.cube import to_dataset

    return xr.DataTree.from_dict({name: to_dataset(da) for name, da in groups.items()})


class ComputeError(AssertionError):
    """Something was computed that should have stayed lazy."""


@contextlib.contextmanager
def nothing_computed() -> Iterator[None]:
    """Fail if any Dask graph is computed inside."""

    def refuse(dsk: Any, keys: Any, **kwargs: Any) -> Any:
        raise ComputeError(f"computed {keys}")

    with dask.config.set(scheduler=refuse):
        yield


def rechunked(da: xr.DataArray, y: Any, x: Any, time: int = 1, band: int = -1) -> xr.DataArray:
    """A lazy copy with these chunks along each dim it has."""
    sizes = {"time": time, "band": band, "y": y, "x": x}
    return da.chunk({d: sizes[str(d)] for d in da.dims})
