"""Accuracy and speed of hyperspectral-multispectral fusion, on two real sensors of one scene and on made pairs.

    python -m benchmarks hsms [--quick]

Paris: Hyperion (128 channels) and ALI (9 bands), both 72 by 72 pixels of 30 m. Hyperion, seen three times coarser by a
Gaussian whose full width at half maximum is a coarse pixel (five taps), is fused with the real ALI and held against
itself; and again with ALI moved onto it, since the two lie half a pixel apart (what has no value at the edge then is
left out). Potsdam: a block of EnMAP's scene, as Sentinel-2 would see it (response applied), and seen three times
coarser. Landscape: the same of the embedded scene, with noise. PSNR is the mean of the bands', each with its largest
value as peak; SAM in degrees; seconds are the least of three runs of one thread, all passes included.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

import xrs
from benchmarks.common import DATA, Table
from xrs.cube import assign_bands, assign_geobox
from xrs.kernels import upsample
from xrs.methods import methods_of
from xrs.operators.fuse_hsms import fuse_hsms
from xrs.quality import ergas, rmse, sam

#: Real data, kept beside the checkout.

RATIO = 3

#: Bands of Sentinel-2 at 10 m, and all that look at land.
FEW = ("B02", "B03", "B04", "B08")
MANY = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")

#: What a port of the published code of cnmf reached on Paris: PSNR, SAM, ERGAS, seconds on this kind of machine.
PUBLISHED = (28.43, 2.67, 4.40, 10.4)

COLUMNS = ("method", "PSNR", "SAM", "ERGAS", "seconds")


def tables(quick: bool) -> Iterator[Table]:
    """A table for each scene."""
    if not DATA.is_dir():
        yield Table("Real scenes", ("what",), notes=f"Skipped: no {DATA}.")
    else:
        table = compared("Paris, Hyperion and ALI, ratio 3", *paris(), psf=gaussian(RATIO))
        table.add("cnmf, published code", *PUBLISHED)
        yield table
        title = "Paris, ALI moved onto Hyperion by the shift estimated from what is fused, ratio 3"
        yield compared(title, *paris(), psf=gaussian(RATIO), register="ms")
        truth = potsdam()
        for bands in (FEW, MANY)[: 1 if quick else 2]:
            title = f"Potsdam, EnMAP ({truth.sizes['band']} bands) and {len(bands)} bands of Sentinel-2, ratio 3"
            yield compared(title, truth, *seen_twice(truth, bands), ms_sensor="S2A")
    truth = landscape(48 if quick else 192)
    hs, ms = seen_twice(truth, FEW, noise=0.002)
    title = f"Landscape ({truth.sizes['band']} bands) and {len(FEW)} bands of Sentinel-2, noise 0.002, ratio 3"
    yield compared(title, truth, hs, ms, ms_sensor="S2A")


def compared(title: str, truth: xr.DataArray, hs: xr.DataArray, ms: xr.DataArray, **given: Any) -> Table:
    """Scores of interpolation and of all methods that need no model."""
    table = Table(title, COLUMNS, notes="PSNR in dB with each band's largest value as peak, SAM in degrees.")
    table.add("interpolated", *scores(truth.copy(data=upsample(fill(hs.values), RATIO, "lanczos")), truth), 0.0)
    for name in methods_of("hsms"):
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            fused = fuse_hsms(hs, ms, method=name, **given)
            seconds.append(time.perf_counter() - start)
        table.add(name, *scores(fused, truth), min(seconds))
    return table


def fill(values: np.ndarray) -> np.ndarray:
    """Values with means in place of gaps."""
    return np.where(np.isnan(values), np.nanmean(values, axis=(1, 2), keepdims=True), values)


def scores(fused: xr.DataArray, truth: xr.DataArray) -> tuple[float, float, float]:
    """PSNR, SAM and ERGAS."""
    psnr = 20 * np.log10(truth.max(("y", "x")) / rmse(fused, truth))
    return float(psnr.mean()), float(sam(fused, truth)), float(ergas(fused, truth, ratio=RATIO))


def gaussian(ratio: int) -> np.ndarray:
    """The Gaussian of the published code: 2 r - 1 taps (2 r if even), full width at half maximum r."""
    offsets = np.arange(1 - ratio, ratio) if ratio % 2 else np.arange(-ratio, ratio) + 0.5
    weights = np.exp(-0.5 * (offsets * 2.35482 / ratio) ** 2)
    return weights / weights.sum()


def paris() -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Hyperion, itself three times coarser, and ALI."""
    with xr.open_dataset(DATA / "paris_hyperion_ali.nc") as file:
        images = [file[name].values.astype("float32") for name in ("hyperion", "ali")]
        keys = [[f"B{n:03d}" for n in file["band"].values], [str(n) for n in file["ali_band"].values]]
    truth, ali = (labelled(image, names) for image, names in zip(images, keys, strict=True))
    return truth, xrs.degrade(truth, RATIO, psf=gaussian(RATIO)), ali


def potsdam() -> xr.DataArray:
    """The largest block of EnMAP's scene that is nearly whole, 63 by 96 pixels, without the bands that water hides."""
    with xr.open_dataset(DATA / "enmap_potsdam.nc") as file:
        nm, numbers = file["wavelength"].values, file["reflectance_dn"].values[:, :63, :96]
        good = (file["bad_band"].values == 0) & ~_between(nm, 1340, 1470) & ~_between(nm, 1790, 1970)
        keys = [f"B{n:03d}" for n in file["band"].values[good]]
    values = np.where(numbers[good] < -9999, np.nan, numbers[good] * 1e-4).astype("float32")
    return labelled(values, keys, wavelength=nm[good])


def _between(nm: np.ndarray, low: float, high: float) -> np.ndarray:
    return (nm >= low) & (nm <= high)


def landscape(side: int) -> xr.DataArray:
    """The embedded scene at 10 m, every 20 nm."""
    scene = xrs.scenes.landscape((side, side), resolution=10.0, times=["2023-06-20"], wavelengths=range(420, 2441, 20))
    return scene.isel(time=0).compute()


def seen_twice(truth: xr.DataArray, bands: tuple[str, ...], noise: float | None = None) -> Any:
    """The scene seen coarser, and as Sentinel-2 sees it."""
    ms: Any = xrs.observe(truth, "sentinel-2a", bands=list(bands), ratio=1, noise=noise)
    hs = xrs.degrade(truth, RATIO)
    if noise:
        hs = hs + noise * np.random.default_rng(0).standard_normal(hs.shape).astype("float32")
    return hs, ms


def labelled(values: np.ndarray, keys: list[str], **coords: Any) -> xr.DataArray:
    """A cube of 30 m pixels."""
    from affine import Affine
    from odc.geo.geobox import GeoBox

    cube = assign_bands(xr.DataArray(values, dims=("band", "y", "x")), keys, **coords)
    return assign_geobox(cube, GeoBox(values.shape[1:], Affine(30.0, 0, 0, 0, -30.0, 0), None))
