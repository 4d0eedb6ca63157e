"""Spatio-temporal fusion by weight functions: pixels a second through the lazy path, and accuracy on real images."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import xarray as xr
from scipy.ndimage import gaussian_filter

import xrs
from benchmarks.common import DATA, Table, Times, alternate
from xrs.cube import assign_bands
from xrs.quality.change import all_round

#: Real data, kept beside the checkout.

#: Title, method, options; two pairs, one date, one band.
RUNS = (
    ("starfm, window 31", "starfm", {"window": 31}),
    ("starfm, window 51", "starfm", {"window": 51}),
    ("estarfm, window 51, 20 similar", "estarfm", {"window": 51}),
    ("estarfm, window 51, all similar", "estarfm", {"window": 51, "similar": None}),
    ("ubestarfm, window 51, all similar", "ubestarfm", {"window": 51}),
)

#: What is scored on real images, and how.
SCORED = (
    ("no_change", "no_change", {}),
    ("interpolate", "interpolate", {}),
    ("starfm", "starfm", {}),
    ("starfm, log", "starfm", {"log": True}),
    ("starfm, 4 classes", "starfm", {"classes": 4.0}),
    ("estarfm", "estarfm", {}),
    ("estarfm, all similar", "estarfm", {"similar": None}),
    ("ubestarfm", "ubestarfm", {}),
)


def tables(quick: bool) -> Iterator[Table]:
    """Speed, then accuracy."""
    yield speed(100 if quick else 400, rounds=2 if quick else 5)
    yield kranj()


def speed(side: int, rounds: int) -> Table:
    """Pixels a second with one and two threads, in four chunks."""
    fine, coarse = (cube.chunk(time=1, band=1, y=side // 2, x=side // 2) for cube in simulated(side))
    times = {threads: _times(fine, coarse, threads, rounds) for threads in (1, 2)}
    title = f"Weight functions, {side} by {side} pixels, one band, two pairs, one date, coarse images on the fine grid"
    table = Table(title, ("method", "s, 1 thread", "kpx/s", "s, 2 threads", "kpx/s", "CPU s", "spread"))
    for name, *_ in RUNS:
        one, two = times[1][name], times[2][name]
        rates = (side**2 / 1e3 / times.median for times in (one, two))
        row = zip((one.median, two.median), rates, strict=True)
        table.add(name, *(cell for pair in row for cell in pair), statistics.median(one.cpu), two.spread)
    table.notes = (
        f"Wall time of compute() through Dask's threads, medians of {rounds}, methods in turns; CPU: of one thread."
    )
    return table


def _times(fine: xr.DataArray, coarse: xr.DataArray, threads: int, rounds: int) -> dict[str, Times]:
    def run(method: str, options: dict[str, Any]) -> None:
        with dask.config.set(scheduler="threads", num_workers=threads):
            fused = xrs.fuse_spatiotemporal(
                fine, coarse, method, target_times=coarse.time.values[1], harmonize=False, **options
            )
            fused.compute()

    return alternate({name: lambda m=m, o=o: run(m, o) for name, m, o in RUNS}, rounds=rounds)


def simulated(side: int) -> tuple[xr.DataArray, xr.DataArray]:
    """Texture that changes: three dates of a coarse sensor (blurred), the first and the last of a fine one."""
    rng = np.random.default_rng(0)
    base = gaussian_filter(rng.standard_normal((3, 1, side, side)), (0, 0, 3, 3))
    fine = (0.3 + 0.05 * (base[:1] + 0.3 * base) / base.std()).astype("float32")
    coarse = gaussian_filter(fine, (0, 0, 5, 5))
    times = pd.date_range("2023-05-01", periods=3, freq="16D")
    place = {"x": 15.0 + 30.0 * np.arange(side), "y": 15.0 - 30.0 * np.arange(side)}
    fine, coarse = (
        assign_bands(
            xr.DataArray(values, dims=("time", "band", "y", "x"), coords={"time": times, **place}),
            ["B04"],
            common_name=["red"],
            wavelength=[660.0],
        )
        for values in (fine, coarse)
    )
    return fine.isel(time=[0, 2]), coarse


def kranj() -> Table:
    """Landsat 8 of 2020-03-17 from those of 03-08 and 04-02 and MODIS."""
    title = "Kranj, Landsat 8 of 2020-03-17 from those of 03-08 and 04-02 and daily MODIS, 45 by 44 pixels of 30 m"
    columns = (
        "method",
        "red",
        "NIR",
        "NDVI",
        *(f"{band} {m}" for band in ("red", "NIR") for m in ("AD", "edge", "LBP")),
    )
    table = Table(title, columns)
    path = DATA / "kranj_landsat_modis.nc"
    if not path.is_file():
        table.notes = f"Skipped: no {path}."
        return table
    landsat, modis = kranj_cubes(path)
    day = np.datetime64("2020-03-17", "ns")
    truth = landsat.sel(time=[day])
    for name, method, options in SCORED:
        fused = xrs.fuse_spatiotemporal(
            landsat, modis, method, target_times=day, pair_times=["2020-03-08", "2020-04-02"], **options
        )
        scores = all_round(fused, truth).isel(time=0)
        red, nir = (scores.sel(band=band) for band in ("red", "nir"))
        vegetation = float(np.sqrt(((ndvi(fused) - ndvi(truth)) ** 2).mean()))
        shape = [float(one[m]) for one in (red, nir) for m in ("ad", "edge", "lbp")]
        table.add(name, float(red.rmse), float(nir.rmse), vegetation, *shape)
    table.notes = (
        "RMSE (reflectance, NDVI); mean difference AD, edge and LBP of the all-round assessment, 0 is best. MODIS is "
        "harmonized by a regression on the two pairs."
    )
    return table


def kranj_cubes(path: Path) -> tuple[xr.DataArray, xr.DataArray]:
    """Landsat and MODIS as reflectance on one grid."""
    with xr.open_dataset(path) as data:
        landsat = (data.landsat.drop_vars("modis_time", errors="ignore") * np.float32(1e-4)).astype("float32").load()
        modis = data.modis.drop_vars("time", errors="ignore").rename(modis_time="time").astype("float32").load()
    return landsat, modis


def ndvi(cube: xr.DataArray) -> xr.DataArray:
    """Of the bands ``red`` and ``nir``."""
    red, nir = cube.sel(band="red", drop=True), cube.sel(band="nir", drop=True)
    return (nir - red) / (nir + red)
