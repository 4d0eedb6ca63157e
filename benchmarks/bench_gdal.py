"""Brovey from files to a file as whole programs, against gdal_pansharpen.

``python -m benchmarks.bench_gdal MS PAN OUT THREADS`` is our leanest program: it reads strips, fuses and writes the
input's type, without xarray and Dask. Beside it the command ``xrs pansharpen``, told to write the same kind of file.
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

from benchmarks.common import Table, Times, alternate, cpu_ratio, ratio

RATIO, BANDS = 4, 4

#: Rows of the multispectral image and of the pan.
Strip = tuple[np.ndarray, np.ndarray]

#: Rows of the multispectral image in a strip.
STRIP = 64


def tables(quick: bool) -> Iterator[Table]:
    """Seconds of whole programs at one or two sizes."""
    table = Table(
        "Brovey from GeoTIFF to GeoTIFF, whole programs, 4 bands of uint16, uncompressed",
        ("pan, program", "s", "Mpx/s", "gdal's time over ours", "of processor time", "spread"),
        notes="Start, imports and files included, Numba's cache warm; the files lie in the page cache. "
        "gdal_pansharpen: cubic, weighted Brovey. To reach: 1.5 at 4096².",
    )
    if shutil.which("gdal_pansharpen.py") is None:
        table.notes = "Skipped: gdal_pansharpen.py is not installed (Debian: gdal-bin, python3-gdal)."
    else:
        for side in (1024,) if quick else (4096, 8192):
            _add_size(table, side, quick)
    yield table


def _add_size(table: Table, side: int, quick: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ms, pan, out = (Path(folder) / name for name in ("ms.tif", "pan.tif", "out.tif"))
        write_case(ms, pan, side)
        commands = programs(ms, pan, out, with_command=not quick and side == 4096)
        times = alternate({name: lambda c=command: _run(c, out) for name, command in commands.items()})
    peers = {"1": times["gdal_pansharpen, 1 thread"], "2": times["gdal_pansharpen, 2 threads"]}
    _add(table, side, "interpreter and imports alone", times, None)
    for threads, peer in peers.items():
        _add(table, side, f"gdal_pansharpen, {threads} thread{'s' * (threads != '1')}", times, None)
        _add(table, side, f"xrs kernels, {threads} thread{'s' * (threads != '1')}", times, peer)
    if "xrs pansharpen (command)" in times:
        _add(table, side, "xrs pansharpen (command)", times, peers["2"])


def _add(table: Table, side: int, name: str, times: dict[str, Times], peer: Times | None) -> None:
    one = times[name]
    ratios = (None, None) if peer is None else (ratio(peer, one), cpu_ratio(peer, one))
    table.add(f"{side}² {name}", one.median, side**2 / one.median / 1e6, *ratios, f"±{100 * one.spread:.0f} %")


def programs(ms: Path, pan: Path, out: Path, *, with_command: bool) -> dict[str, list[str]]:
    """Command lines by name."""
    gdal = ["gdal_pansharpen.py", "-q", str(pan), str(ms), str(out), "-threads"]
    ours = [sys.executable, "-m", "benchmarks.bench_gdal", str(ms), str(pan), str(out)]
    imports = "import benchmarks.bench_gdal, xrs.methods.pansharpen.brovey"
    found = {
        "gdal_pansharpen, 1 thread": [*gdal, "1"],
        "xrs kernels, 1 thread": [*ours, "1"],
        "gdal_pansharpen, 2 threads": [*gdal, "2"],
        "xrs kernels, 2 threads": [*ours, "2"],
        "interpreter and imports alone": [sys.executable, "-c", imports],
    }
    if with_command:
        command = Path(sys.executable).with_name("xrs")
        found["xrs pansharpen (command)"] = [
            *(str(command), "pansharpen", str(ms), str(pan), str(out), "--method", "brovey"),
            *("--dtype", "uint16", "--compress", "none", "--no-cog"),
        ]
    return found


def _run(command: list[str], out: Path) -> None:
    out.unlink(missing_ok=True)
    subprocess.run(command, check=True, capture_output=True)


def write_case(ms: Path, pan: Path, side: int) -> None:
    """A pan of smooth relief with noise, and bands that are its block means times a gain."""
    rng = np.random.default_rng(0)
    relief = np.kron(rng.integers(300, 1800, (side // 16, side // 16)), np.ones((16, 16), np.int64))
    fine = (relief + rng.integers(-60, 60, relief.shape)).astype(np.uint16)
    means = fine.reshape(side // RATIO, RATIO, side // RATIO, RATIO).mean(axis=(1, 3))
    coarse = (means * np.array([0.8, 0.9, 1.0, 1.2])[:, None, None]).astype(np.uint16)
    for place, image, size in ((pan, fine[None], 1.0), (ms, coarse, float(RATIO))):
        with rasterio.open(place, "w", **_profile(image.shape, size)) as file:
            file.write(image)


def _profile(shape: tuple[int, ...], size: float) -> dict[str, object]:
    bands, height, width = shape
    transform = rasterio.transform.from_origin(5e5, 5e6, size, size)
    profile = {"driver": "GTiff", "dtype": "uint16", "count": bands, "height": height, "width": width}
    return profile | {"crs": "EPSG:32631", "transform": transform}


def fuse_files(ms: Path, pan: Path, out: Path, threads: int) -> None:
    """Fuse strip by strip; reading and writing are serial, the kernels are not."""
    from xrs.methods import resolve_params
    from xrs.methods.base import Tile
    from xrs.methods.pansharpen.brovey import METHOD

    params = resolve_params(METHOD, {"kernel": "cubic"})
    factors = {"ms": 1, "pan": RATIO}
    halo = METHOD.halo(factors, **params)

    def fuse(images: Strip) -> np.ndarray:
        tile = Tile(dict(zip(factors, images, strict=True)), dict.fromkeys(factors), factors, halo)
        fused = METHOD.apply(tile, {}, **params)
        return np.add(fused, np.float32(0.5), out=fused).clip(0, 65535, out=fused).astype(np.uint16)

    with rasterio.open(ms) as coarse, rasterio.open(pan) as fine, ThreadPoolExecutor(threads) as pool:
        shape = (coarse.count, fine.height, fine.width)
        with rasterio.open(out, "w", **_profile(shape, fine.res[0])) as target:
            starts = range(0, coarse.height, STRIP)
            strips = (_read_strip(coarse, fine, y, halo) for y in starts)
            for batch in _batches(zip(starts, strips, strict=True), threads):
                for y, fused in zip((y for y, _ in batch), pool.map(fuse, (s for _, s in batch)), strict=True):
                    target.write(fused, window=Window(0, y * RATIO, fine.width, fused.shape[1]))


def _batches(items: Iterator[tuple[int, Strip]], size: int) -> Iterator[list[tuple[int, Strip]]]:
    while batch := list(itertools.islice(items, size)):
        yield batch


def _read_strip(coarse: rasterio.DatasetReader, fine: rasterio.DatasetReader, y: int, halo: int) -> Strip:
    """Rows of both images with a halo, mirrored at the edges."""
    below = min(y + STRIP, coarse.height)
    first, last = max(y - halo, 0), min(below + halo, coarse.height)
    outside = ((0, 0), (first - (y - halo), below + halo - last), (halo, halo))
    images = []
    for file, factor in ((coarse, 1), (fine, RATIO)):
        rows = file.read(window=Window(0, first * factor, file.width, (last - first) * factor)).astype(np.float32)
        images.append(np.pad(rows, [(a * factor, b * factor) for a, b in outside], mode="symmetric"))
    return images[0], images[1]


if __name__ == "__main__":
    fuse_files(*map(Path, sys.argv[1:4]), int(sys.argv[4]))
