"""Accuracy and speed of the sharpening methods on real Sentinel-2 scenes.

    python -m benchmarks.bench_sharpen [--data FOLDER] [--repeats 3] [--side 1200]

Accuracy by Wald's protocol, 40 to 20 m: both groups are blurred by a Gaussian of half a pixel and averaged 2 by 2,
as DSen2 makes its data (10.1016/j.isprsjprs.2018.09.018), and that point spread is given to the methods. RMSE is the
mean of the bands', in units of 1e-4 of reflectance; SRE in dB, SAM in degrees, "kept" the root mean square between
the result degraded again and the input. Scenes: T33UUB (300 by 300, 10 pixels left out at the edges), three of
BigEarthNet (60 by 60, 4 pixels left out; means of scenes). Time: T33UUB, statistics included, median, one thread.
The last table is speed on the landscape repeated to ``side`` fine pixels, for 20 m alone: fine Mpx a second.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from benchmarks.common import DATA
from xrs.kernels import decimate
from xrs.kernels.psf import gaussian_box_taps
from xrs.lazy import Source, map_tiles
from xrs.methods import Method, methods_of, resolve_params

TAPS = gaussian_box_taps(0.5, 2)
FINE = ("B02", "B03", "B04", "B08")
COARSE = ("B05", "B06", "B07", "B8A", "B11", "B12")

#: What others reach on T33UUB by this protocol: RMSE, SRE, SAM, seconds on this kind of machine.
PEERS = {
    "SupReME, published code's PSF": (87.5, 28.7, 1.26, 8.0),
    "FUSE (network, pretrained)": (58.0, 32.1, 0.80, 0.05),
    "AESR (network, pretrained)": (44.7, 34.0, 0.68, 0.45),
}

Scene = tuple[np.ndarray, np.ndarray]


def t33uub(data: Path) -> Scene:
    bands = []
    for group in ("r10m", "r20m"):
        with xr.open_dataset(data / "sentinel2_T33UUB.nc", group=group) as scene:
            bands.append(scene["reflectance_dn"].values.astype(np.float32) * np.float32(1e-4))
    return bands[0], bands[1]


def bigearthnet(data: Path) -> Iterator[Scene]:
    import rioxarray

    for folder in sorted((data / "bigearthnet" / "s2").iterdir()):
        groups = [
            [rioxarray.open_rasterio(next(folder.glob(f"*_{key}.tif"))).values[0] for key in keys]
            for keys in (FINE, COARSE)
        ]
        fine, coarse = (np.stack(g).astype(np.float32) * np.float32(1e-4) for g in groups)
        yield fine, coarse


def sharpen(method: Method, fine: np.ndarray, coarse: np.ndarray, **given: Any) -> np.ndarray:
    params = resolve_params(method, {"psf": {"r20m": TAPS}, **given} if "psf" in _names(method) else given)
    factors = {"fine": 2, "r20m": 1}
    out: np.ndarray = map_tiles(
        method.apply,
        {"fine": Source(fine[None], 2), "r20m": Source(coarse[None], 1)},
        bands=coarse.shape[0],
        factor=2,
        halo=method.halo(factors, **params),
        block=method.block,
        passes=method.passes,
        params=params,
        carriers=("r20m",),
        bandwise=method.bandwise,
    )[0]
    return out


def _names(method: Method) -> set[str]:
    return {p.name for p in method.params}


def variants(method: Method) -> list[dict[str, Any]]:
    return [{"pan": "synthesised"}, {"pan": "selected"}] if "pan" in _names(method) else [{}]


def scores(estimate: np.ndarray, truth: np.ndarray, crop: int) -> tuple[float, float, float]:
    inner = np.s_[:, crop:-crop, crop:-crop]
    e, t = estimate[inner].astype(np.float64), truth[inner].astype(np.float64)
    errors = ((e - t) ** 2).mean(axis=(1, 2))
    cosine = (e * t).sum(axis=0) / np.sqrt((e**2).sum(axis=0) * (t**2).sum(axis=0))
    sre = (10 * np.log10(t.mean(axis=(1, 2)) ** 2 / errors)).mean()
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean()
    return float(1e4 * np.sqrt(errors).mean()), float(sre), float(angle)


def median_time(run: Callable[[], Any], repeats: int) -> float:
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def row(method: Method, given: dict[str, Any], scene: Scene, others: list[Scene], repeats: int) -> tuple[float, ...]:
    """RMSE, SRE, SAM, seconds, what is kept, and the mean RMSE of the other scenes."""
    fine, coarse = (decimate(bands, TAPS, 2) for bands in scene)
    fused = sharpen(method, fine, coarse, **given)
    seconds = median_time(lambda: sharpen(method, fine, coarse, **given), repeats)
    kept = float(1e4 * np.sqrt(((decimate(fused, TAPS, 2) - coarse) ** 2).mean()))
    elsewhere = [
        scores(sharpen(method, decimate(f, TAPS, 2), decimate(c, TAPS, 2), **given), c, 4)[0] for f, c in others
    ]
    return *scores(fused, scene[1], 10), seconds, kept, statistics.fmean(elsewhere)


def accuracy(data: Path, repeats: int) -> None:
    scene, others = t33uub(data), list(bigearthnet(data))
    found = {}
    for name, method in methods_of("sharpen", models=False).items():
        for given in variants(method):
            found[f"{name} {given.get('pan', '')}".rstrip()] = row(method, given, scene, others, repeats)
    print(f"{'method':30s} {'RMSE':>7s} {'SRE':>6s} {'SAM':>6s} {'s':>6s} {'kept':>6s} {'RMSE, BigEarthNet':>18s}")
    for name, (rmse, sre, sam, seconds, kept, elsewhere) in sorted(found.items(), key=lambda item: item[1][0]):
        print(f"{name:30s} {rmse:7.1f} {sre:6.1f} {sam:6.2f} {seconds:6.2f} {kept:6.1f} {elsewhere:18.1f}")
    for name, (rmse, sre, sam, seconds) in PEERS.items():
        print(f"{name:30s} {rmse:7.1f} {sre:6.1f} {sam:6.2f} {seconds:6.2f}   (measured apart)")


def speed(scene: Scene, side: int, repeats: int) -> None:
    times = -(-side // scene[0].shape[1])
    fine, coarse = (np.tile(bands, (1, times, times)) for bands in scene)
    fine, coarse = fine[:, :side, :side], coarse[:, : side // 2, : side // 2]
    print(f"\n{'method':30s} {'Mpx/s':>7s}   ({side} by {side} fine pixels, 6 bands)")
    for name in ("mtf_glp_hpm", "mtf_glp_hpm_r", "gsa", "atprk", "aatprk", "supreme"):
        method = methods_of("sharpen", models=False)[name]
        seconds = median_time(lambda method=method: sharpen(method, fine, coarse), repeats)
        print(f"{name:30s} {side * side / seconds / 1e6:7.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side", type=int, default=1200)
    args = parser.parse_args()
    if not args.data.is_dir():
        print(f"skipped: no {args.data}")
        return
    accuracy(args.data, args.repeats)
    speed(t33uub(args.data), args.side, args.repeats)


if __name__ == "__main__":
    main()
