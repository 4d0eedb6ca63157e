"""Accuracy of the fusion methods by Wald's protocol: on the embedded scene, and on real scenes where there are some."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import xrs
from benchmarks.common import DATA, Table

#: Real data, kept beside the checkout.

COLUMNS = ("CC", "SAM", "PSNR", "SSIM", "ERGAS", "Q2n", "RMSE", "time")

#: Methods for a quick look.
FEW = ("exp", "gsa", "mtf_glp_hpm")


def tables(quick: bool) -> Iterator[Table]:
    """One table for each scene."""
    few = FEW if quick else None
    ms, pan = embedded_pair(128 if quick else 256)
    title = "Pansharpening the embedded scene as WorldView-2, 10 m to 2.5 m seen four times coarser"
    yield table_of(title, xrs.compare(ms, pan, few, sensor="WV2"))
    title = "Sharpening the embedded scene as Sentinel-2, 20 m and 60 m bands to 10 m seen as many times coarser"
    yield table_of(title, xrs.compare(embedded_tree(120 if quick else 240), methods=few, sensor="S2A"))
    if not DATA.is_dir():
        yield Table("Real scenes", ("what",), notes=f"Skipped: no {DATA}.")
        return
    ms, pan = worldview2(DATA)
    scores = xrs.compare(ms, pan, few, sensor="WV2", peak=2047, border=20)
    yield table_of("Pansharpening WorldView-2, ratio 4, 20 pixels left out, peak 2047, digital numbers", scores)
    scores = xrs.compare(t33uub(DATA), methods=few, sensor="S2A", psf="gaussian_box", border=10)
    scores["RMSE"] *= 1e4
    yield table_of("Sharpening Sentinel-2 T33UUB, 40 m to 20 m, DSen2's degradation, RMSE in 1e-4", scores)


def table_of(title: str, scores: pd.DataFrame) -> Table:
    """Scores as a table, the best first."""
    table = Table(title, ("method", *COLUMNS), notes="SAM in degrees, PSNR in dB (mean of the bands), time in s.")
    for method, row in scores.iterrows():
        table.add(method, *(float(row[column]) for column in COLUMNS))
    return table


def embedded_pair(side: int) -> tuple[xr.DataArray, xr.DataArray]:
    """Bands of ``side`` squared pixels of 10 m and a pan of 2.5 m, seen in one summer day."""
    scene = _landscape(4 * side, 2.5, range(400, 1101, 10))
    seen: Any = xrs.observe(scene, "WV2", resolution=10.0)
    pan: Any = xrs.observe(scene, "WV2", bands=["pan"], resolution=2.5)
    return seen.compute(), pan.compute()


def embedded_tree(side: int) -> xr.DataTree:
    """Groups of 10, 20 and 60 m; ``side`` pixels of 20 m along a side."""
    tree: Any = xrs.observe(_landscape(4 * side, 5.0, range(400, 2401, 10)), "S2A")
    return tree.compute()


def _landscape(side: int, resolution: float, nm: range) -> xr.DataArray:
    return xrs.scenes.landscape((side, side), resolution=resolution, times=["2023-06-20"], wavelengths=nm).isel(time=0)


def worldview2(folder: Path) -> tuple[xr.DataArray, xr.DataArray]:
    """Both images of the scene, digital numbers."""
    with xr.open_dataset(folder / "worldview2.nc") as file:
        ms = file["ms"].astype("float32").load()
        pan = file["pan"].astype("float32").rename(y_pan="y", x_pan="x").load()
    return ms.reset_coords(drop=True), pan.reset_coords(drop=True)


def t33uub(folder: Path) -> dict[str, xr.DataArray]:
    """The groups of 10 and 20 m, reflectance."""
    with xr.open_datatree(folder / "sentinel2_T33UUB.nc") as tree:
        return {
            name: (tree[name]["reflectance_dn"].astype("float32") * np.float32(1e-4)).load().reset_coords(drop=True)
            for name in ("r10m", "r20m")
        }
