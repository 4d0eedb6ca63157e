"""Accuracy of learned sharpening on a real Sentinel-2 scene, beside the best classical methods.

    python -m benchmarks.bench_training [--data FOLDER] [--seeds 0 1 2] [--retrain]

T33UUB, 40 to 20 m, as in ``bench_sharpen.py``: both groups blurred by a Gaussian of half a pixel and averaged 2 by 2;
RMSE is the mean of the bands', in units of 1e-4 of reflectance; SRE in dB, SAM in degrees; 10 pixels at the edges left
out. No network sees the truth at 20 m:

- ``zero-shot``: trained by ``xrs.train`` on the 40 m and 20 m inputs alone, degraded to 80 and 40 m;
- ``softened``: the same, but the 40 m bands it is trained on were blurred by a Gaussian of 0.42 of their pixels: they
  were made by a kernel sharper than the sensor, whose own sharpness the result at 20 m is to have. The width was
  chosen while looking at this scene; a linear model is best at 0.42 to 0.45 on the scenes of BigEarthNet too;
- ``shipped``: ``light`` without ``model=``, weights of other scenes (see the model's card), not adapted to this one;
- ``retrained``: the shipped weights made again with each seed, which tells how much of the score is luck.

Times in seconds on one thread: of training, and of the verb with its statistics.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from scipy.ndimage import gaussian_filter

import xrs
from benchmarks.bench_sharpen import COARSE, FINE, TAPS, scores, t33uub
from benchmarks.common import DATA
from xrs.kernels import decimate
from xrs.models import Model
from xrs.training import shipped

_SOFTNESS = 0.42

#: Options of ``xrs.train``; on two cores a run takes less than five minutes.
ZERO_SHOT: dict[str, Any] = {
    "task": "sharpen", "network": "light", **shipped.CONFIG, "psf": "gaussian_box", "patches": 200, "patch_size": 48,
    "epochs": 20, "schedule": "cosine", "lr": 2e-3, "batch_size": 6, "progress": False,
}  # fmt: skip


def cube(fine: np.ndarray, coarse: np.ndarray) -> xr.DataTree:
    def group(bands: np.ndarray, keys: tuple[str, ...], size: float) -> xr.Dataset:
        centres = (np.arange(bands.shape[1]) + 0.5) * size
        return xr.Dataset(
            {key: (("y", "x"), band) for key, band in zip(keys, bands, strict=True)}, {"y": centres[::-1], "x": centres}
        )

    return xr.DataTree.from_dict({"r10m": group(fine, FINE, 20.0), "r20m": group(coarse, COARSE, 40.0)})


def timed(run: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    return run(), time.perf_counter() - start


def sharpened(seen: xr.DataTree, **given: Any) -> np.ndarray:
    fused = xrs.sharpen(seen, sensor="sentinel-2a", psf={"r20m": TAPS}, **given)
    return np.stack([fused[key].values for key in COARSE])


def softened(seen: xr.DataTree) -> xr.DataTree:
    def blurred(band: xr.DataArray) -> xr.DataArray:
        return band.copy(data=gaussian_filter(band.values, _SOFTNESS, mode="nearest"))

    return xr.DataTree.from_dict({"r10m": seen["r10m"].to_dataset(), "r20m": seen["r20m"].to_dataset().map(blurred)})


def models(seen: xr.DataTree, data: Path, seeds: list[int], retrain: bool) -> Iterator[tuple[str, Model, float]]:
    for kind, scene in {"zero-shot": seen, "softened": softened(seen)}.items():
        for seed in seeds:
            model, seconds = timed(
                lambda scene=scene, seed=seed: xrs.train(scene, sensor="sentinel-2a", seed=seed, **ZERO_SHOT)
            )
            yield f"light, {kind}, seed {seed}", model, seconds
    yield "light, shipped", xrs.load_model("s2-20m-light"), 0.0
    for seed in seeds if retrain else ():
        model, seconds = timed(
            lambda seed=seed: shipped.make(data / "flanders", data / "bigearthnet" / "s2", seed=seed)
        )
        yield f"light, retrained, seed {seed}", model, seconds


def show(name: str, estimate: np.ndarray, truth: np.ndarray, trained: float, applied: float) -> None:
    rmse, sre, sam = scores(estimate, truth, 10)
    print(f"{name:30s} {rmse:7.1f} {sre:6.1f} {sam:6.2f} {trained:8.0f} {applied:6.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--retrain", action="store_true")
    args = parser.parse_args()
    if not args.data.is_dir():
        print(f"skipped: no {args.data}")
        return
    torch.set_num_threads(1)
    fine, truth = t33uub(args.data)
    seen = cube(decimate(fine, TAPS, 2), decimate(truth, TAPS, 2))
    print(f"{'T33UUB, 40 to 20 m':30s} {'RMSE':>7s} {'SRE':>6s} {'SAM':>6s} {'training':>8s} {'verb':>6s}")
    for name in ("supreme", "aatprk"):
        estimate, applied = timed(lambda name=name: sharpened(seen, method=name))
        show(name, estimate, truth, 0.0, applied)
    for name, model, trained in models(seen, args.data, args.seeds, args.retrain):
        sharpened(seen, method="light", model=model)
        estimate, applied = timed(lambda model=model: sharpened(seen, method="light", model=model))
        show(name, estimate, truth, trained, applied)


if __name__ == "__main__":
    main()
