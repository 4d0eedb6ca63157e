"""A scene of few materials seen by two sensors, for tests of hyperspectral-multispectral fusion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.ndimage import gaussian_filter
from support import grid

from xrs.cube import assign_bands, assign_geobox
from xrs.kernels import box_taps, decimate

RATIO = 3
BANDS = 20
NM = np.linspace(450.0, 900.0, BANDS)

#: Response of four bands over the twenty: trapezoids that overlap a little.
RESPONSE = np.maximum(0.0, 1.2 - np.abs(np.arange(BANDS) - np.array([2.0, 7.0, 12.0, 17.0])[:, None]) / 3.5).clip(0, 1)
RESPONSE /= RESPONSE.sum(axis=1, keepdims=True)


def spectra(materials: int = 4) -> np.ndarray:
    """Smooth spectra (band, material) between 0.05 and 0.8."""
    x = np.linspace(0, 1, BANDS)[:, None]
    k = np.arange(materials)
    return 0.1 + 0.6 * np.abs(np.sin(1.3 + 2.2 * k + (1 + 0.7 * k) * x)) * (0.4 + 0.6 * ((x + 0.3 * k) % 1.0))


def scene(height: int, width: int, *, seed: int = 0, materials: int = 4, noise: float = 0.001) -> np.ndarray:
    """Mixtures of the materials (band, y, x), with sharp edges between fields and soft ones within."""
    rng = np.random.default_rng(seed)
    soft = gaussian_filter(rng.standard_normal((materials, height, width)), (0, 3, 3), mode="reflect")
    hard = gaussian_filter(rng.standard_normal((materials, height, width)), (0, 1, 1), mode="reflect")
    share = np.exp(4 * soft / soft.std() + 3 * hard / hard.std())
    share /= share.sum(axis=0)
    values = np.einsum("bm,myx->byx", spectra(materials), share)
    return (values + noise * rng.standard_normal(values.shape)).astype("float32")


def label(values: np.ndarray, size: float, wavelengths: Any, prefix: str) -> xr.DataArray:
    """A cube with bands, dates where it has them, and a grid."""
    dims = ("time", "band", "y", "x")[4 - values.ndim :]
    keys = [f"{prefix}{i:03d}" for i in range(values.shape[-3])]
    cube = assign_bands(xr.DataArray(values, dims=dims), keys, wavelength=list(wavelengths))
    if "time" in dims:
        cube = cube.assign_coords(time=pd.date_range("2024-04-01", periods=values.shape[0], freq="5D"))
    return assign_geobox(cube, grid(values.shape[-2:], size))


def pair(
    n: int = 12, m: int | None = None, *, times: int = 0, seed: int = 0, taps: np.ndarray | None = None
) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Many coarse bands, four fine ones, and the fine truth; ``n`` by ``m`` coarse pixels."""
    taps = box_taps(RATIO) if taps is None else taps
    truths = [scene(n * RATIO, (m or n) * RATIO, seed=seed + t) for t in range(max(times, 1))]
    coarse = [decimate(t, taps, RATIO) for t in truths]
    fine = [np.einsum("cb,byx->cyx", RESPONSE, t).astype("float32") for t in truths]
    stacks = [np.stack(images) if times else images[0] for images in (coarse, fine, truths)]
    return (
        label(stacks[0], 10.0 * RATIO, NM, "H"),
        label(stacks[1], 10.0, RESPONSE @ NM, "M"),
        label(stacks[2], 10.0, NM, "H"),
    )


def rmse(a: xr.DataArray, b: xr.DataArray) -> float:
    """Root mean square of the difference."""
    return float(np.sqrt(np.nanmean((a.values - b.values) ** 2)))
