"""Speed and accuracy of the pansharpening methods.

    python -m benchmarks.bench_pansharpen [--side 4096] [--tile 1024] [--kernel lanczos] [--data worldview2.nc]

Speed: pan of ``side`` squared, four bands, ratio 4, float32 in memory, tile by tile, one thread, passes over the scene
included. The share is of what memory allows for the bytes that must move: the pan (twice if there is a pass over it),
the bands and the result. The peer is bicubic interpolation by torch and Brovey by NumPy on the same arrays.
Accuracy: Wald's protocol on WorldView-2; both images decimated by 4 with their sensor's transfer functions.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import DATA
from xrs.kernels import decimate, gaussian_taps, stack_taps
from xrs.lazy import Source, map_tiles
from xrs.methods import Method, Tile, methods_of, resolve_params

RATIO = 4
BANDS = 4


def taps_of_sensor(gains: list[float]) -> dict[str, np.ndarray]:
    mean = float(np.mean(gains))
    return {"ms": stack_taps([gaussian_taps(g, RATIO) for g in gains]), "pan": gaussian_taps(mean, RATIO)[None]}


def params_of(method: Method, **given: Any) -> dict[str, Any]:
    known = {p.name for p in method.params}
    return resolve_params(method, {name: value for name, value in given.items() if name in known})


def median_time(run: Callable[[], Any], repeats: int = 5) -> float:
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def cut(ms: np.ndarray, pan: np.ndarray, halo: int, side: int) -> Iterator[Tile]:
    """Tiles of ``side`` pan pixels, mirrored at the edges of the scene."""
    margin = ((0, 0), (halo, halo), (halo, halo))
    ms = np.pad(ms, margin, mode="symmetric")
    pan = np.pad(pan, tuple((RATIO * a, RATIO * b) for a, b in margin), mode="symmetric")
    step, width = side // RATIO, side // RATIO + 2 * halo
    for y in range(0, ms.shape[1] - 2 * halo, step):
        for x in range(0, ms.shape[2] - 2 * halo, step):
            small = np.ascontiguousarray(ms[:, y : y + width, x : x + width])
            fy, fx, f = y * RATIO, x * RATIO, width * RATIO
            large = np.ascontiguousarray(pan[:, fy : fy + f, fx : fx + f])
            yield Tile({"ms": small, "pan": large}, {"ms": None, "pan": None}, {"ms": 1, "pan": RATIO}, halo, (y, x))


def fuse(method: Method, tiles: list[Tile], params: dict[str, Any]) -> None:
    state: Any = {}
    for one in method.passes:
        summaries = [one.summarise(tile, state, **params) for tile in tiles]
        state = one.solve(functools.reduce(one.merge, summaries), state, **params)
    for tile in tiles:
        method.apply(tile, state, **params)


def copy_speed(pixels: int) -> float:
    """Bytes read and written a second by a copy, one thread."""
    source, target = np.ones(pixels, np.float32), np.ones(pixels, np.float32)
    return 8 * pixels / median_time(lambda: np.copyto(target, source))


def peer(ms: np.ndarray, pan: np.ndarray) -> np.ndarray:
    import torch

    torch.set_num_threads(1)
    fine = torch.nn.functional.interpolate(torch.from_numpy(ms)[None], scale_factor=RATIO, mode="bicubic")[0].numpy()
    return fine * (pan / fine.mean(axis=0, keepdims=True))


def speed(side: int, tile: int, kernel: str) -> None:
    rng = np.random.default_rng(0)
    ms = rng.random((BANDS, side // RATIO, side // RATIO), dtype=np.float32)
    pan = rng.random((1, side, side), dtype=np.float32)
    psf = taps_of_sensor([0.34, 0.32, 0.30, 0.22])
    bandwidth, pixels = copy_speed(side * side), side * side
    base = pixels / median_time(lambda: peer(ms, pan), 3)
    print(f"copy {bandwidth / 1e9:.1f} GB/s; peer (torch bicubic + NumPy Brovey) {base / 1e6:.1f} Mpx/s")
    print(f"{'method':14s} {'Mpx/s':>7s} {'peer x':>7s} {'of limit':>9s}")
    for name, method in methods_of("pansharpen", models=False).items():
        params = params_of(method, kernel=kernel, psf=psf)
        tiles = list(cut(ms, pan, method.halo({"ms": 1, "pan": RATIO}, **params), tile))
        rate = pixels / median_time(functools.partial(fuse, method, tiles, params))
        moved = 4 * (1 + BANDS / RATIO**2) * (2 if method.passes else 1) + 4 * BANDS
        print(f"{name:14s} {rate / 1e6:7.1f} {rate / base:7.2f} {rate * moved / bandwidth:9.0%}", flush=True)


def scores(fused: np.ndarray, truth: np.ndarray, crop: int, peak: float) -> tuple[float, float, float]:
    """PSNR of the mean squared error over all bands (dB), SAM (degrees), ERGAS."""
    inner = np.s_[:, crop:-crop, crop:-crop]
    estimate, truth = fused[inner].astype(np.float64), truth[inner].astype(np.float64)
    errors = ((estimate - truth) ** 2).mean(axis=(1, 2))
    cosine = (estimate * truth).sum(axis=0) / np.sqrt((estimate**2).sum(axis=0) * (truth**2).sum(axis=0))
    ergas = 100 / RATIO * np.sqrt((errors / truth.mean(axis=(1, 2)) ** 2).mean())
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean()
    return 10 * np.log10(peak**2 / errors.mean()), angle, ergas


def accuracy(data: Path, kernel: str) -> None:
    import xarray as xr

    with xr.open_dataset(data) as scene:
        truth, pan = scene["ms"].values.astype(np.float32), scene["pan"].values.astype(np.float32)[None]
    psf = taps_of_sensor([0.35] * 7 + [0.27])
    coarse = decimate(truth, psf["ms"], RATIO)[None]
    fine = decimate(pan, gaussian_taps(0.11, RATIO), RATIO)[None]
    print(f"{'method':14s} {'PSNR':>7s} {'SAM':>6s} {'ERGAS':>6s}")
    for name, method in methods_of("pansharpen", models=False).items():
        params = params_of(method, kernel=kernel, psf=psf)
        fused = map_tiles(
            method.apply,
            {"ms": Source(coarse, 1), "pan": Source(fine, RATIO)},
            bands=len(truth),
            factor=RATIO,
            halo=method.halo({"ms": 1, "pan": RATIO}, **params),
            passes=method.passes,
            params=params,
        )
        psnr, sam, ergas = scores(fused[0], truth, 20, 2047)
        print(f"{name:14s} {psnr:7.2f} {sam:6.2f} {ergas:6.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--tile", type=int, default=1024)
    parser.add_argument("--kernel", default="lanczos")
    parser.add_argument("--data", type=Path, default=DATA / "worldview2.nc")
    args = parser.parse_args()
    speed(args.side, args.tile, args.kernel)
    if args.data.is_file():
        accuracy(args.data, args.kernel)
    else:
        print(f"accuracy skipped: no {args.data}")


if __name__ == "__main__":
    main()
