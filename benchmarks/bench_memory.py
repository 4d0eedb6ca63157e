"""Peak memory of a worker when a cube grows ten times, in space and in time."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import dask
import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

import xrs
from benchmarks.cases import RATIO, cube_of
from benchmarks.common import Table
from xrs.cube import assign_bands, assign_geobox, band_keys
from xrs.io.product import open_product, to_product
from xrs.lazy.cluster import local_cluster
from xrs.lazy.generate import generate
from xrs.methods import get_method
from xrs.models import Card, ImageSpec, Model
from xrs.nets import get_network

#: How a job is run: one process with two threads, or two processes of one thread.
SCHEDULERS = ("threads", "distributed")

BANDS, CHUNK = 4, 512

#: Of the shipped model that makes EnMAP's bands of Sentinel-2's.
S2_BANDS, ENMAP_BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"), 213

#: Dates of the fine cube that starfm predicts from, and pixels of it along a coarse one.
PAIRS, COARSE_RATIO = 5, 8


@dataclass(frozen=True)
class Case:
    """A job: what is done to how large a cube.

    Attributes
    ----------
    verb : str
        A pansharpening method or network, ``whittaker``, ``starfm``, or ``spectralift``.
    rows, columns, dates : int
        Of the finest grid.
    chunk : int
        Side of its chunks.
    folder : str
        Where the products are that it reads.
    """

    verb: str
    rows: int
    columns: int
    dates: int
    chunk: int
    folder: str = ""


def tables(quick: bool) -> Iterator[Table]:
    """Peaks of a small and a ten times larger job."""
    table = Table(
        "Peak resident memory of a worker, MB, when the cube grows ten times",
        ("job", "growth", "scheduler", "small", "large", "ratio", "large cube, GB"),
        notes="Each job in processes of its own; the interpreter and its libraries are counted in. From "
        "products on disk to a product without overviews; spectralift from a cube made on the fly to its bands' means. "
        "threads: one process with two threads; distributed: the larger of two workers. To reach: 1.15.",
    )
    for verb, growth, *sizes in cases(quick):
        for row in memory_rows(verb, growth, *sizes, quick):
            table.add(*row)
    yield table


def memory_rows(verb: str, growth: str, small: Case, large: Case, quick: bool) -> Iterator[tuple[str | float, ...]]:
    """The rows of a small and a large job, one for each scheduler."""
    with tempfile.TemporaryDirectory() as folder:
        small, large = (replace(case, folder=folder) for case in (small, large))
        write_sources(large)
        for scheduler in SCHEDULERS[: 1 if quick else 2]:
            one, ten = peak(small, scheduler), peak(large, scheduler)
            yield verb, growth, scheduler, one, ten, ten / one, size_of(large)


def cases(quick: bool) -> Iterator[tuple[str, str, Case, Case]]:
    """Jobs by verb and by what grows; the small ones have more regions than workers, as any real job has."""
    side, chunk = (1024, 256) if quick else (4096, CHUNK)
    for verb in ("sfim",) if quick else ("sfim", "gsa"):
        yield f"pansharpen {verb}", "space", *(Case(verb, side, n * side, 1, chunk) for n in (1, 10))
        yield f"pansharpen {verb}", "time", *(Case(verb, side // 4, side // 4, n, chunk) for n in (32, 320))
    if not quick:
        yield "smooth whittaker", "space", *(Case("whittaker", 2048, n * 2048, 48, chunk) for n in (1, 10))
        yield "smooth whittaker", "time", *(Case("whittaker", 2048, 2048, n, chunk) for n in (48, 480))
        yield "spectra spectralift", "space", *(Case("spectralift", 1024, n * 2048, 1, 1024) for n in (1, 10))
        yield "fuse starfm", "time", *(Case("starfm", 1024, 1024, n, chunk) for n in (32, 320))


def size_of(case: Case) -> float:
    """Gigabytes of a job's result."""
    bands = {"whittaker": 1, "spectralift": ENMAP_BANDS}.get(case.verb, BANDS)
    return 4e-9 * case.dates * bands * case.rows * case.columns


def peak(case: Case, scheduler: str) -> float:
    """Peak of a worker in megabytes, of a job in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.bench_memory", scheduler, json.dumps(asdict(case))]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def write_sources(case: Case) -> None:
    """Products that a job reads: random reflectance in steps of 1e-4, made on the fly."""
    folder, chunk = Path(case.folder), case.chunk
    shape = (case.dates, 1, case.rows, case.columns)
    if case.verb == "spectralift":
        return
    if case.verb == "whittaker":
        _write(folder / "series", shape, (8, 1, chunk, chunk), 10.0)
        return
    if case.verb == "starfm":
        _write(folder / "fine", (PAIRS, 1, case.rows, case.columns), (1, 1, chunk, chunk), 10.0)
        size, part = (case.rows // COARSE_RATIO, case.columns // COARSE_RATIO), chunk // COARSE_RATIO
        _write(folder / "coarse", (case.dates, 1, *size), (8, 1, part, part), 10.0 * COARSE_RATIO)
        return
    _write(folder / "pan", shape, (1, 1, chunk, chunk), 10.0 / RATIO)
    coarse = (case.dates, BANDS, case.rows // RATIO, case.columns // RATIO)
    _write(folder / "ms", coarse, (1, BANDS, chunk // RATIO, chunk // RATIO), 10.0)


def _write(place: Path, shape: tuple[int, ...], chunks: tuple[int, ...], resolution: float) -> None:
    sizes = dict(zip(("time", "band", "y", "x"), chunks, strict=True))
    cube = cube_of(generate(_block, shape, chunks, np.float32, params={}), resolution).rename("values")
    to_product(cube, place, chunks=sizes, shards=sizes, overviews=False, progress=False, stac_item=False)


def _block(slices: tuple[slice, ...]) -> np.ndarray:
    shape = tuple(s.stop - s.start for s in slices)
    steps = np.random.default_rng([s.start for s in slices]).integers(500, 6500, shape, dtype=np.uint16)
    return steps.astype(np.float32) * np.float32(1e-4)


def run_job(case: Case, scheduler: str) -> float:
    """Run a job here; megabytes at the peak of the worker that needed most."""
    if scheduler == "distributed":
        with local_cluster(2) as client:
            _write_result(case, client)
            return max(client.run(peak_of_process).values())
    with dask.config.set(scheduler="threads", num_workers=2):
        _write_result(case, None)
    return peak_of_process()


def _write_result(case: Case, client: Any) -> None:
    if case.verb == "spectralift":
        # A product of hundreds of bands would be a matter of the disk.
        spectra(case).mean(("y", "x"), skipna=False).compute()
        return
    with tempfile.TemporaryDirectory() as folder:
        to_product(result_of(case), Path(folder) / "result", overviews=False, progress=False, client=client)


def result_of(case: Case) -> xr.DataArray:
    """The lazy result of a job on the part of its sources it is to see."""

    def source(name: str, ratio: int = 1, dates: int = case.dates) -> xr.DataArray:
        cube = open_product(Path(case.folder) / name)["values"]
        return cube.isel(time=slice(dates), y=slice(case.rows // ratio), x=slice(case.columns // ratio))

    if case.verb == "whittaker":
        return xrs.smooth(source("series"), "whittaker", lmbda=10.0)
    if case.verb == "starfm":
        fine, coarse = source("fine", dates=PAIRS), source("coarse", COARSE_RATIO)
        seen = coarse["time"].values[np.linspace(0, case.dates - 1, PAIRS).astype(int)]
        return xrs.fuse_spatiotemporal(fine.assign_coords(time=seen), coarse, "starfm", window=9)
    ms, pan = source("ms", RATIO), source("pan").isel(band=0, drop=True)
    options = {"model": _network(case.verb, ms)} if get_method(case.verb, "pansharpen").needs_model else {}
    return xrs.pansharpen(ms, pan, case.verb, **options)


def spectra(case: Case) -> xr.DataArray:
    """EnMAP's bands of a Sentinel-2 cube that is made on the fly."""
    shape, chunks = (len(S2_BANDS), case.rows, case.columns), (len(S2_BANDS), case.chunk, case.chunk)
    values = xr.DataArray(generate(_block, shape, chunks, np.float32, params={}), dims=("band", "y", "x"))
    box = GeoBox(shape[1:], Affine(10.0, 0, 5e5, 0, -10.0, 5e6), "EPSG:32631")
    cube = assign_geobox(assign_bands(values, S2_BANDS), box)
    return xrs.spectral_superres(cube, "enmap", sensor="sentinel-2a")


def _network(name: str, ms: xr.DataArray) -> Model:
    """A network with random weights for the jobs' images."""
    card = Card(name, "pansharpen", (ImageSpec(("pan",)), ImageSpec(tuple(band_keys(ms)), RATIO)))
    return Model.from_module(get_network(name).build(card.bands, card.ratios), card)


def peak_of_process() -> float:
    """Largest resident size of this process so far, in megabytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    print(run_job(Case(**json.loads(sys.argv[2])), sys.argv[1]))
