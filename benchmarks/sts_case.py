"""The simulated case of long-time-series spatio-temporal-spectral fusion: three sensors of one truth.

Seven dates at 30 m, after Peng et al. 2024 (10.5194/isprs-archives-XLVIII-1-2024-567-2024): a hyperspectral sensor at
90 m and a multispectral one at 30 m on four of them, a wide-swath one at 60 m on all. Fields of the embedded landscape
grow, ripen and are harvested each on days of their own, so that what happens between two dates is in no pair.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

import xrs
from benchmarks.bench_hsms import potsdam
from xrs.cube import assign_bands

__all__ = ["KEY_DATES", "SENSORS", "StsCase", "potsdam_case", "sts_case"]

DATES = ("2023-03-10", "2023-04-14", "2023-05-08", "2023-06-01", "2023-06-24", "2023-07-19", "2023-08-20")

#: Dates on which the hyperspectral and the fine multispectral sensor see the place.
KEY_DATES = (0, 2, 4, 6)

SENSORS = {"hs": "zy1-02d-ahsi", "ms": "zy1-02d-vnic", "wide": "gf-6-wfv"}

#: Standard deviation of noise in reflectance: the hyperspectral sensor's narrow bands gather the least light.
_NOISE = {"hs": 0.003, "ms": 0.001, "wide": 0.0015}


@dataclass(frozen=True)
class StsCase:
    """Three sensors and the truth, in memory."""

    hs: xr.DataArray
    ms: xr.DataArray
    wide: xr.DataArray
    truth: xr.DataArray


def sts_case(seed: int = 0, *, side: int = 144, every: int = 3) -> StsCase:
    """The case of one seed: ``side`` pixels of 30 m, a multiple of 6, and every ``every``-th of 166 bands."""
    # The embedded landscape reaches from 400 to 2500 nm; the two detectors overlap around 1020 nm.
    known = sorted(xrs.get_sensor(SENSORS["hs"]).bands, key=lambda band: band.wavelength)
    bands = [band for band in known if 400.0 <= band.wavelength <= 2500.0][::every]
    centres = [band.wavelength for band in bands]
    shape = (3 * side, 3 * side)
    scene = xrs.scenes.landscape(shape, resolution=10.0, times=DATES, wavelengths=centres, seed=seed)
    truth = scene.coarsen(y=3, x=3).mean().astype("float32").compute()
    truth = assign_bands(truth, [b.key for b in bands], wavelength=centres, fwhm=[b.fwhm for b in bands])
    truth.attrs = dict(scene.attrs)
    return _seen(truth, seed, SENSORS["hs"])


def potsdam_case(seed: int = 0, *, every: int = 4) -> StsCase:
    """Seven made dates of a real EnMAP image, 60 by 96 pixels: real spectra and places, growth that is simulated.

    Parcels of 40 random centres grow and wither on days of their own: the share of green in a pixel, by its NDVI, is
    exchanged between the mean spectra of the greenest and of the barest pixels. Bare ground dries and gets wet.
    """
    image = potsdam().isel(y=slice(0, 60), band=slice(None, None, every))
    image = image.where(image.notnull(), image.mean(["y", "x"])).clip(0.001)
    rng = np.random.default_rng(seed)
    red, infrared = (image.isel(band=int(np.abs(image.wavelength.values - nm).argmin())) for nm in (665, 833))
    ndvi = ((infrared - red) / (infrared + red)).values
    low, high = np.quantile(ndvi, (0.1, 0.9))
    green = np.clip((ndvi - low) / (high - low), 0.0, 1.0)
    bare, lush = (image.values[:, where].mean(axis=1) for where in (ndvi <= low, ndvi >= high))
    centres = rng.uniform(0, 1, (40, 2)) * ndvi.shape
    places = np.stack(np.meshgrid(*map(np.arange, ndvi.shape), indexing="ij"), axis=-1)
    parcel = np.linalg.norm(places[:, :, None] - centres, axis=-1).argmin(axis=-1)
    peaks, widths = rng.uniform(-1, 7, 40), rng.uniform(1.0, 3.0, 40)
    dates = np.arange(len(DATES))[:, None]
    growth = np.exp(-(((dates - peaks) / widths) ** 2))[:, parcel]
    wetness = rng.uniform(0.85, 1.1, len(DATES))
    change = (green * (growth - 0.7))[:, None] * (lush - bare)[None, :, None, None]
    values = image.values * (green + (1 - green) * wetness[:, None, None])[:, None] + change
    truth = image.expand_dims(time=np.array(DATES, "datetime64[ns]")).copy(data=values.clip(0.001).astype("float32"))
    return _seen(truth, seed, None)


def _seen(truth: xr.DataArray, seed: int, sensor: str | None) -> StsCase:
    """What the three sensors see of the truth."""
    keyed = truth.isel(time=list(KEY_DATES))
    hs = xrs.degrade(keyed, 3, sensor=sensor)
    return StsCase(
        hs=_noisy(hs, _NOISE["hs"], seed),
        ms=xrs.observe(keyed, SENSORS["ms"], ratio=1, noise=_NOISE["ms"], seed=seed).compute(),
        wide=xrs.observe(truth, SENSORS["wide"], ratio=2, noise=_NOISE["wide"], seed=seed).compute(),
        truth=truth,
    )


def _noisy(cube: xr.DataArray, std: float, seed: int) -> xr.DataArray:
    noise = np.random.default_rng(seed).normal(0.0, std, cube.shape).astype("float32")
    return (cube.compute() + noise).astype("float32").assign_attrs(cube.attrs)
