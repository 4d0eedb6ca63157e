"""Speed of product writes against plain Dask to Zarr with the same codec, in one run, turn by turn.

The peer writes chunks of one whole Dask chunk without shards and without Zarr's check for empty chunks: the fastest
settings found for plain ``dask.array.store``. Ours writes shards of the same size with small inner chunks, with
coordinates, metadata, a journal and a STAC item; once without and once with overviews, counted in bytes of the cube.

``python benchmarks/bench_product.py [megabytes]``
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import xarray as xr
import zarr
from affine import Affine
from odc.geo.geobox import GeoBox
from zarr.codecs import BloscCodec

from xrs.cube import assign_geobox
from xrs.io.product import to_product

CHUNK = (8, 1, 1024, 1024)
THREADS = 2
ROUNDS = 6


def make_block(block_id: tuple[int, ...] = (0, 0, 0, 0)) -> np.ndarray:
    """Reflectance of a smooth scene with noise; about as compressible as real scenes are."""
    y, x = np.mgrid[: CHUNK[2], : CHUNK[3]]
    smooth = 0.25 + 0.1 * np.sin(x / 90 + block_id[3]) * np.cos(y / 70 + block_id[2])
    noise = np.random.default_rng(block_id).normal(0, 0.01, CHUNK)
    return (np.round((smooth + noise) * 1e4) * 1e-4).astype("f4")


def make_cube(megabytes: int) -> xr.DataArray:
    """A cube whose chunks lie in memory, so that only writing is timed."""
    side, chunk_mb = 2048, int(np.prod(CHUNK)) * 4 / 1e6
    dates = CHUNK[0] * max(1, round(megabytes / (4 * chunk_mb)))
    shape = (dates, 1, side, side)
    graph = {
        ("bench", t, 0, y, x): make_block((t, 0, y, x))
        for t in range(dates // CHUNK[0])
        for y in range(2)
        for x in range(2)
    }
    data = da.Array(graph, "bench", da.core.normalize_chunks(CHUNK, shape), dtype="f4")
    times = np.datetime64("2018-01-01", "ns") + np.arange(dates) * np.timedelta64(1, "D")
    cube = xr.DataArray(data, dims=("time", "band", "y", "x"), coords={"time": times, "band": ["B04"]}, name="refl")
    return assign_geobox(cube, GeoBox((side, side), Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32631"))


def plain(cube: xr.DataArray, folder: Path) -> None:
    """Plain Dask to Zarr, best settings."""
    codec = BloscCodec(cname="lz4", clevel=5, shuffle="shuffle", typesize=4)
    config = {"write_empty_chunks": True}
    array = zarr.create_array(folder, shape=cube.shape, dtype="f4", chunks=CHUNK, compressors=codec, config=config)
    da.store(cube.data, array, lock=False)


def ours(cube: xr.DataArray, folder: Path) -> None:
    """A product without overviews."""
    to_product(cube, folder, overviews=False, progress=False)


def ours_with_overviews(cube: xr.DataArray, folder: Path) -> None:
    """A product as it is by default."""
    to_product(cube, folder, progress=False)


def ours_packed(cube: xr.DataArray, folder: Path) -> None:
    """A product of int16 without overviews."""
    to_product(cube, folder, packing="int16", overviews=False, progress=False)


def timed(write: Callable[[xr.DataArray, Path], None], cube: xr.DataArray) -> float:
    """Seconds of one write into a fresh folder."""
    folder = Path(tempfile.mkdtemp())
    begin = time.perf_counter()
    write(cube, folder / "p.zarr")
    seconds = time.perf_counter() - begin
    shutil.rmtree(folder)
    return seconds


def main(megabytes: int = 1024) -> list[dict[str, object]]:
    """Run turn by turn, print a table of medians and ratios, return its rows."""
    cube = make_cube(megabytes)
    ways = (plain, ours, ours_with_overviews, ours_packed)
    seconds: dict[str, list[float]] = {way.__name__: [] for way in ways}
    with dask.config.set(scheduler="threads", num_workers=THREADS):
        for turn in range(ROUNDS + 1):
            for way in ways:
                spent = timed(way, cube)
                if turn:
                    seconds[way.__name__].append(spent)
    rows: list[dict[str, object]] = []
    for name, spent in seconds.items():
        ratios = [p / s for p, s in zip(seconds["plain"], spent, strict=True)]
        speed = cube.nbytes / 1e6 / statistics.median(spent)
        rows.append({"way": name, "MB/s": round(speed), "ratio to plain": round(statistics.median(ratios), 2)})
        print(f"{name:22s} {speed:7.0f} MB/s   ratio to plain {statistics.median(ratios):.2f}")
    print(f"cube of {cube.nbytes / 1e6:.0f} MB, {THREADS} threads, medians of {ROUNDS} rounds, lz4")
    return rows


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
