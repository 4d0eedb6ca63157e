"""Spectral super-resolution on two real scenes: what is learned on one part of each, held against the other.

    python -m benchmarks spectral [--quick]

Potsdam: EnMAP's scene as Sentinel-2 would see it (response applied, 10 bands), and the 200 or so bands that water does
not hide. Learned in the western half of the scene, scored in the eastern; the shipped models have seen neither. Paris:
ALI's nine bands, another instrument, and Hyperion's 128, both as they were observed; learned in the upper half and
scored in the lower. PSNR is the mean of the bands' with a peak of 1; SAM in degrees; ``physics`` is the mean absolute
difference between what was observed and the result seen through its response. Networks train on one thread; their
settings were chosen on parts of the first half alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import xrs
from benchmarks.bench_hsms import MANY, _between, labelled
from benchmarks.common import DATA, Table
from xrs.cube import to_array
from xrs.methods import methods_of
from xrs.sensors import get_sensor
from xrs.training.shipped_spectral import BANDS_BY_GRID
from xrs.training.spectral_compare import compare_spectral

COLUMNS = ("method", "MRAE", "RMSE", "PSNR", "SAM", "physics", "training", "time")

#: How all networks are trained.
_ALL: dict[str, Any] = {
    "loss": {"l1": 1.0, "sam": 0.1},
    "patches": 400,
    "patch_size": 16,
    "batch_size": 8,
    "schedule": "cosine",
    "optimizer": "adam",
}

#: And each of them, the same for both scenes.
TRAINING: dict[str, dict[str, Any]] = {
    "hsrnet": {**_ALL, "epochs": 4, "lr": 1e-4, "subspace": 16},
    "ponet": {**_ALL, "epochs": 4, "lr": 1e-4, "subspace": 16, "grouping": True},
    "dster": {**_ALL, "epochs": 6, "lr": 4e-4},
    "mst_plus_plus": {**_ALL, "epochs": 3, "lr": 4e-4},
    "srecnn": {**_ALL, "epochs": 30, "lr": 1e-3},
    "spectralift": {**_ALL, "epochs": 40, "lr": 1e-3},
}


def tables(quick: bool) -> Iterator[Table]:
    """A table for each scene."""
    if not DATA.is_dir():
        yield Table("Real scenes", ("what",), notes=f"Skipped: no {DATA}.")
        return
    training = {} if quick else TRAINING
    ms, hs = potsdam()
    yield scored("Potsdam: Sentinel-2 to EnMAP, west to east", ms, hs, "x", training)
    yield shipped("Potsdam: without any of it in training, eastern half", ms, hs)
    yield two_grids("Potsdam: the same, with six bands on a grid twice as coarse", hs)
    yield scored("Paris: ALI to Hyperion, upper half to lower", *paris(), "y", training, consistent=False)


def scored(
    title: str, ms: xr.DataArray, hs: xr.DataArray, split: str, training: Mapping[str, Any], **given: Any
) -> Table:
    """All classical methods, and the networks that are trained here."""
    table = Table(title, COLUMNS, notes="PSNR in dB with a peak of 1, SAM in degrees, times in seconds.")
    methods = [*methods_of("spectral", models=False), *training]
    rows = compare_spectral(ms, hs, methods, split=split, training=training, **given)
    curved = compare_spectral(ms, hs, ["ridge"], split=split, params={"ridge": {"degree": 2}}, **given)
    both = pd.concat([rows, curved.rename(index={"ridge": "ridge, degree 2"})]).sort_values("PSNR", ascending=False)
    for row in both.reset_index().values:
        table.add(*row)
    return table


def shipped(title: str, ms: xr.DataArray, hs: xr.DataArray) -> Table:
    """What needs nothing of the scene: the shipped model, and methods that learn from the library alone."""
    table = Table(title, ("method", "RMSE", "PSNR", "SAM"), notes="Learned from simulated spectra alone.")
    half = {"x": slice(hs.sizes["x"] // 2, None)}
    for name in ["spectralift", "hsrnet", *methods_of("spectral", models=False)]:
        made = xrs.spectral_superres(ms.isel(half), get_sensor("enmap").select(list(hs["band"].values)), name)
        table.add(name, *_scores(made, hs.isel(half)))
    return table


def two_grids(title: str, hs: xr.DataArray) -> Table:
    """Bands on two grids: spectra of them as they are, and after they were brought to one."""
    table = Table(title, ("method", "RMSE", "PSNR", "SAM"), notes="Learned from simulated spectra alone.")
    middle = hs.sizes["x"] // 2
    truth = hs.isel(y=slice(hs.sizes["y"] // 2 * 2), x=slice(middle, middle + middle // 2 * 2))
    groups: dict[str, Any] = {
        f"r{side}m": xrs.observe(truth, "sentinel-2a", bands=list(bands), ratio=side // 10)
        .assign_attrs(platform="sentinel-2a")
        .compute()
        for side, bands in BANDS_BY_GRID.items()
    }
    table.add("ponet", *_scores(to_array(xrs.spectral_superres(groups, "enmap", "ponet")), truth))
    sharpened = to_array(xrs.sharpen(groups))
    for name in ("spectralift", "hsrnet"):
        made = xrs.spectral_superres(sharpened, "enmap", name, sensor="sentinel-2a")
        table.add(f"sharpen, then {name}", *_scores(made, truth))
    return table


def _scores(made: Any, truth: xr.DataArray) -> list[float]:
    """RMSE, PSNR and SAM."""
    own = truth.sel(band=made["band"].values)
    scores = xrs.evaluate(made, own, ratio=2, peak=1.0, metrics=["rmse", "psnr", "sam"])
    return [float(scores[key]) for key in ("rmse", "psnr", "sam")]


def potsdam() -> tuple[xr.DataArray, xr.DataArray]:
    """The scene as Sentinel-2 would see it, and EnMAP's bands; NaN where tiles are missing."""
    with xr.open_dataset(DATA / "enmap_potsdam.nc") as file:
        nm, numbers = file["wavelength"].values, file["reflectance_dn"].values
        good = (file["bad_band"].values == 0) & ~_between(nm, 1340, 1470) & ~_between(nm, 1790, 1970)
        keys = [f"B{n:03d}" for n in file["band"].values[good]]
    values = np.where(numbers[good] < -9999, np.nan, numbers[good] * 1e-4).astype("float32")
    enmap = get_sensor("enmap").select(keys)
    hs = labelled(values, keys, wavelength=nm[good], fwhm=[band.fwhm for band in enmap.bands])
    ms: Any = xrs.observe(hs, "sentinel-2a", bands=list(MANY), ratio=1)
    return ms.assign_attrs(platform="sentinel-2a").compute(), hs


def paris() -> tuple[xr.DataArray, xr.DataArray]:
    """ALI and Hyperion."""
    with xr.open_dataset(DATA / "paris_hyperion_ali.nc") as file:
        images = [file[name].values.astype("float32") for name in ("ali", "hyperion")]
        numbers, names = file["band"].values, [str(n) for n in file["ali_band"].values]
    hyperion = get_sensor("eo1-hyperion").select([f"B{n:03d}" for n in numbers])
    ali = get_sensor("eo1-ali").select(names)
    ms, hs = (
        labelled(
            image,
            sensor.keys,
            wavelength=[band.wavelength for band in sensor.bands],
            fwhm=[band.fwhm for band in sensor.bands],
        )
        for image, sensor in zip(images, (ali, hyperion), strict=True)
    )
    return ms, hs
