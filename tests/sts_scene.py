"""A small place that three sensors see, with its truth, and a network trained on it; tests share them."""

from __future__ import annotations

from functools import cache
from typing import Any

import dask.array
import numpy as np
import pandas as pd
import xarray as xr
from support import cube, texture

import xrs
from xrs.models import Model
from xrs.sensors import sensor_from_table
from xrs.training.sts import train_sts

#: Dates of the wide sensor, and which of them the other two have.
DATES = 5
KEYS = [0, 2, 4]
CENTRES = np.arange(450.0, 1050.0, 50.0)
#: The few bands of the other two sensors.
FEW = np.array([520.0, 610.0, 720.0, 860.0])
SHAPE = (48, 60)
#: A network that is quick to train.
QUICK: dict[str, Any] = {"steps": 60, "features": 8, "blocks": 1, "patch_size": 24}


@cache
def truth() -> xr.DataArray:
    """Four kinds of ground, each with spectrum and season of its own, on dates that are not evenly spaced."""
    kinds = np.stack([texture(SHAPE, seed, 1.5) for seed in range(4)])
    fields = (np.add.outer(np.arange(SHAPE[0]) // 7, np.arange(SHAPE[1]) // 9) % 3).astype("float32")
    kinds[:2] *= 0.4 + 0.3 * fields
    days = np.array([0, 21, 40, 66, 90])
    season = 1.0 + 0.5 * np.sin(days[:, None] / 25.0 + np.arange(4) * 1.7)
    spectra = 0.3 + 0.25 * np.sin(CENTRES[None] / 130.0 + np.arange(4)[:, None] * 1.3)
    values = np.einsum("tk,kyx,kb->tbyx", season, kinds, spectra).astype("float32")
    names = {f"H{n:02d}": ("", centre) for n, centre in enumerate(CENTRES)}
    scene = cube(SHAPE, times=DATES, bands=names, values=values).drop_vars("common_name")
    return scene.assign_coords(time=pd.Timestamp("2023-03-01") + pd.to_timedelta(days, "D"))


def seen_by(scene: xr.DataArray, prefix: str, ratio: int) -> xr.DataArray:
    """Four bands of another sensor, of square pixels."""
    keys = [f"{prefix}{n}" for n in range(FEW.size)]
    few = sensor_from_table({"key": keys, "wavelength": FEW, "fwhm": np.full(FEW.size, 90.0)})
    return xrs.observe(scene, few, ratio=ratio, psf="box").astype("float32")


@cache
def sensors(hs_ratio: int = 3, wide_ratio: int = 2) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """What the hyperspectral, the fine and the wide sensor see."""
    keyed = truth().isel(time=KEYS)
    hs = xrs.degrade(keyed, hs_ratio, psf="box")
    return hs, seen_by(keyed, "M", 1), seen_by(truth(), "W", wide_ratio)


@cache
def model(hs_ratio: int = 3, wide_ratio: int = 2) -> Model:
    """Trained a little on what the sensors see."""
    return train_sts(*sensors(hs_ratio, wide_ratio), psf="box", **QUICK)


def lazily(cube: xr.DataArray) -> xr.DataArray:
    """With lazy values; ``DataArray.chunk`` makes coordinates lazy too, which must be known to plan anything."""
    return cube.copy(data=dask.array.from_array(cube.values, chunks=(1, -1, 12, 12)))
