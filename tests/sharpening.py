"""Run sharpening methods on plain arrays, and scenes whose fine bands are known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter

from xrs.kernels import decimate, stack_taps
from xrs.kernels.psf import gaussian_box_taps, gaussian_taps
from xrs.lazy import Source, map_tiles
from xrs.methods import Method, get_method, resolve_params

#: How DSen2 makes its test data: both groups twice as coarse.
DSEN2 = gaussian_box_taps(0.5, 2)


def sharpen(name: str | Method, fine: Any, groups: Mapping[str, Any], psf: Mapping[str, Any], **params: Any) -> Any:
    """All coarse bands (band, y, x) on the grid of ``fine``; groups finest first, (band, y, x)."""
    method = get_method(name, "sharpen")
    largest = max(fine.shape[-1] // g.shape[-1] for g in groups.values())
    factors = {"fine": largest} | {n: largest * g.shape[-1] // fine.shape[-1] for n, g in groups.items()}
    sources = {n: Source(a[None], factors[n]) for n, a in {"fine": fine, **groups}.items()}
    full = resolve_params(method, {"psf": psf, **params})
    return map_tiles(
        method.apply,
        sources,
        bands=sum(g.shape[0] for g in groups.values()),
        factor=largest,
        halo=method.halo(factors, **full),
        block=method.block,
        passes=method.passes,
        params=full,
        carriers=tuple(groups),
        bandwise=method.bandwise,
    )[0]


def chunked(array: np.ndarray, y: Any, x: Any) -> da.Array:
    return da.from_array(array, chunks=(-1, y, x))


def landscape(shape: tuple[int, int], bands: int = 4, seed: int = 0) -> np.ndarray:
    """Bands (band, y, x) in 0 to 1 of fields with edges and texture, correlated as in nature."""
    rng = np.random.default_rng(seed)
    fields = gaussian_filter(rng.standard_normal((3, *shape)), (0, 4, 4), mode="reflect")
    kinds = (fields > 0) * 1.0 + 2 * gaussian_filter(rng.standard_normal((3, *shape)), (0, 1, 1), mode="reflect")
    mixed = np.tensordot(rng.uniform(0.1, 1, (bands, 3)), kinds, 1)
    own = gaussian_filter(rng.standard_normal((bands, *shape)), (0, 2, 2), mode="reflect")
    return (0.3 + 0.06 * mixed + 0.05 * own).astype(np.float32)


def exact_case(seed: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
    """Fine bands, coarse groups that are exact sums of them, the point spreads, and the truth."""
    fine = landscape((72, 96), seed=seed)
    weights = np.random.default_rng(seed + 1).uniform(0.1, 0.8, (5, 4))
    truth = np.einsum("bf,fyx->byx", weights, fine).astype(np.float32) + np.float32(0.02)
    psf = {
        "r20m": stack_taps([gaussian_taps(gain, 2) for gain in (0.3, 0.25, 0.3)]),
        "r60m": np.tile(gaussian_taps(0.35, 6), (2, 1)),
    }
    groups = {"r20m": decimate(truth[:3], psf["r20m"], 2), "r60m": decimate(truth[3:], psf["r60m"], 6)}
    return fine, groups, psf, truth


def t33uub(shared_data: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Degraded 10 m and 20 m bands and the true 20 m bands of a Sentinel-2 scene, reflectance."""
    bands = []
    for group in ("r10m", "r20m"):
        with xr.open_dataset(shared_data / "sentinel2_T33UUB.nc", group=group) as scene:
            bands.append(scene["reflectance_dn"].values.astype(np.float32) * np.float32(1e-4))
    return decimate(bands[0], DSEN2, 2), decimate(bands[1], DSEN2, 2), bands[1]


def scores(estimate: np.ndarray, truth: np.ndarray, crop: int) -> tuple[float, float, float]:
    """RMSE (mean of bands) in units of 1e-4, SRE (dB), SAM (degrees), ``crop`` pixels left out at the edges."""
    inner = np.s_[:, crop:-crop, crop:-crop]
    e, t = estimate[inner].astype(np.float64), truth[inner].astype(np.float64)
    errors = ((e - t) ** 2).mean(axis=(1, 2))
    cosine = (e * t).sum(axis=0) / np.sqrt((e**2).sum(axis=0) * (t**2).sum(axis=0))
    return (
        float(1e4 * np.sqrt(errors).mean()),
        float((10 * np.log10(t.mean(axis=(1, 2)) ** 2 / errors)).mean()),
        float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean()),
    )
