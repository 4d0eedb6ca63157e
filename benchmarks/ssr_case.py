"""The simulated case of spectral super-resolution over time: a place seen through clouds, and its true spectra.

Eight dates of a growing season at 20 m, of those on which cloud and shadow leave between a sixth and five sixths of the
place clear: a Sentinel-2 of ten bands on all of them, a hyperspectral sensor on three. Fields of the embedded landscape
grow, ripen and are harvested each on days of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

import xrs
from xrs.sensors import get_sensor

__all__ = ["MS_BANDS", "CloudCase", "cloud_case", "seen_by_both"]

MS_BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
#: Standard deviation of noise in reflectance.
_NOISE = {"ms": 0.002, "hs": 0.004}
#: Centres of the hyperspectral bands in nm: windows between the absorption of water vapour.
WAVELENGTHS = (*range(430, 911, 20), *range(1000, 1321, 80), *range(1490, 1751, 65), *range(2040, 2361, 80))
#: What the multispectral sensor sees, in nm.
_SEEN = (*range(430, 961, 10), *range(1500, 1721, 10), *range(2060, 2321, 10))
_SEASON = "2023-03-05", "2023-10-10"


@dataclass(frozen=True)
class CloudCase:
    """What was seen, NaN under clouds, and the truth without them; in memory."""

    ms: xr.DataArray
    hs: xr.DataArray
    truth: xr.DataArray
    clear: xr.DataArray


def cloud_case(seed: int = 0, *, side: int = 96, dates: int = 8, hs_dates: int = 3) -> CloudCase:
    """The case of one seed: a place and a weather of its own; ``side`` pixels of 20 m.

    The weather is the first of those of the seed under which ``dates`` dates lose 45 to 55 % of their pixels.
    """
    clear = _weather(seed, side, dates)
    times = clear["time"].values
    truth, ms = seen_by_both(seed, side, times)
    keyed = np.unique(np.linspace(0, dates - 1, hs_dates + 2).round().astype(int)[1:-1])
    hs = _noisy(truth.isel(time=keyed), seed)
    return CloudCase(ms.where(clear), hs.where(clear.isel(time=keyed)), truth, clear)


def seen_by_both(seed: int, side: int, times: np.ndarray) -> tuple[xr.DataArray, xr.DataArray]:
    """True spectra, and what the multispectral sensor makes of them, with its noise."""
    sensor = get_sensor("sentinel-2a")
    dense = _scene(seed, side, times, _SEEN)
    ms = xrs.observe(dense, sensor, bands=list(MS_BANDS), ratio=1, noise=_NOISE["ms"], seed=seed).compute()
    truth = _scene(seed, side, times, WAVELENGTHS).compute()
    return truth, ms


def _weather(seed: int, side: int, dates: int) -> xr.DataArray:
    """Where it is clear (time, y, x), on dates spread over the season."""
    days = pd.date_range(*_SEASON, freq="5D").values
    place = _scene(seed, side, days, [560])
    for turn in range(1000):
        valid = xrs.scenes.clouds(place, cover=0.5, seed=1000 * seed + turn)["valid"].compute()
        share = valid.mean(["y", "x"]).values
        partly = np.flatnonzero((share > 1 / 6) & (share < 5 / 6))
        if partly.size < dates:
            continue
        chosen = partly[np.linspace(0, partly.size - 1, dates).round().astype(int)]
        if abs(share[chosen].mean() - 0.5) < 0.05:
            return valid.isel(time=chosen)
    raise RuntimeError(f"no such weather for seed {seed}")


def _noisy(cube: xr.DataArray, seed: int) -> xr.DataArray:
    noise = np.random.default_rng(seed).normal(0.0, _NOISE["hs"], cube.shape)
    return (cube + noise).astype("float32").assign_attrs(cube.attrs)


def _scene(seed: int, side: int, times: np.ndarray, nm: object) -> xr.DataArray:
    return xrs.scenes.landscape((side, side), resolution=20.0, times=times, wavelengths=nm, seed=seed)


def labelled_place(
    seed: int, *, side: int = 128, noise: bool = True
) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """A place on one date: what both sensors see of it, and its land cover (y, x).

    Without ``noise`` the spectra are the true ones.
    """
    truth, ms = seen_by_both(seed, side, np.array(["2023-06-10"], "datetime64[ns]"))
    cover = xrs.scenes.classes(truth)["cover"].compute()
    hs = _noisy(truth, seed) if noise else truth
    return ms.isel(time=0), hs.isel(time=0), cover
