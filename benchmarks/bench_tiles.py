"""What cutting into chunks costs: against no chunks, and against ``dask.array.map_overlap``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr

import xrs
from benchmarks.cases import RATIO, in_chunks, pan_case, series_case
from benchmarks.common import Table, Times, alternate, cpu_ratio, ratio
from xrs.lazy import Source, map_tiles
from xrs.lazy.generate import generate
from xrs.methods import Tile

CHUNK = 1024
GRID = 32  # chunks along each side of a halo graph


def tables(quick: bool) -> Iterator[Table]:
    """Chunked against unchunked verbs; the overhead of a halo on threads and on ``distributed``."""
    yield chunked_verbs(2 * CHUNK if quick else 4 * CHUNK, dates=20 if quick else 60)
    grid = 8 if quick else GRID
    yield halo_overhead(grid, "threads", "scheduler threads, 2 workers", (256, 8))
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, memory_limit=0) as cluster,
        Client(cluster) as client,
    ):
        yield halo_overhead(grid, client, "distributed, 2 processes of 1 thread", (256, 8))


def chunked_verbs(side: int, dates: int) -> Table:
    """Wall time of verbs on chunks over that of the same call on NumPy."""
    table = Table(
        f"Chunked over unchunked: {side}² pixels, chunks of {CHUNK}²",
        ("verb", "NumPy, s", "chunked, s", "ratio", "of processor time", "stored, ratio", "2 threads, s"),
        notes="One thread (synchronous scheduler) but for the last column; graph building included. chunked: "
        ".compute(), which joins the chunks to a fresh array; stored: written into an array that is there. Limit 1.25.",
    )
    for name, verb in verbs(side, dates).items():
        where = np.ones(verb(True).shape, np.float32)
        times = alternate(
            {
                "plain": lambda verb=verb: verb(False),
                "chunked": lambda verb=verb: verb(True).compute(scheduler="synchronous"),
                "stored": lambda verb=verb, where=where: _store(verb(True), where),
                "threads": lambda verb=verb: verb(True).compute(scheduler="threads", num_workers=2),
            }
        )
        plain, chunked, stored, threads = times.values()
        ratios = ratio(chunked, plain), cpu_ratio(chunked, plain), ratio(stored, plain)
        table.add(name, plain.median, chunked.median, *ratios, threads.median)
    return table


def _store(cube: xr.DataArray, where: np.ndarray) -> None:
    da.store(cube.data, where, lock=False, scheduler="synchronous")


def verbs(side: int, dates: int) -> dict[str, Callable[[bool], xr.DataArray]]:
    """Verbs by name; called with whether their input is to be chunked."""
    ms, pan = pan_case(side)
    series = series_case(dates, side // 2)
    lazy_ms, lazy_pan = in_chunks(ms, y=CHUNK // RATIO, x=CHUNK // RATIO), in_chunks(pan, y=CHUNK, x=CHUNK)
    lazy_series = in_chunks(series, y=CHUNK // 4, x=CHUNK // 4)
    found: dict[str, Callable[[bool], xr.DataArray]] = {}
    for method in ("brovey", "gsa", "mtf_glp_hpm"):
        found[f"pansharpen {method}"] = lambda chunked, method=method: (
            xrs.pansharpen(lazy_ms, lazy_pan, method) if chunked else xrs.pansharpen(ms, pan, method)
        )
    found[f"smooth whittaker, {dates} dates, {CHUNK // 4}²"] = lambda chunked: xrs.smooth(
        lazy_series if chunked else series, "whittaker"
    )
    return found


def box(image: np.ndarray) -> np.ndarray:
    """Sum of four neighbours; the outermost pixels are left undefined."""
    out = np.empty_like(image)
    inner = (image[..., :-2, 1:-1], image[..., 2:, 1:-1], image[..., 1:-1, :-2], image[..., 1:-1, 2:])
    np.add(inner[0] + inner[1], inner[2] + inner[3], out=out[..., 1:-1, 1:-1])
    return out


def box_of_tile(tile: Tile, state: Any) -> np.ndarray:
    """The same of a tile."""
    return tile.core("a", box(tile["a"]))


def halo_overhead(grid: int, where: Any, how: str, sides: tuple[int, ...]) -> Table:
    """Tasks and time a chunk beyond those of ``map_blocks`` with the same kernel."""
    table = Table(
        f"A halo of one pixel over {grid * grid} chunks, {how}",
        ("chunk, operator", "tasks a chunk", "us a chunk", "overhead, us", "of map_overlap", "spread"),
        notes="Graph building included. Overhead is the time beyond da.map_blocks of the same kernel. Limits: 3 tasks; "
        "a fifth of da.map_overlap on threads, 40 % on distributed. Ours also reads a second pixel, to fill gaps from.",
    )
    for side in sides:
        _add_operators(table, side, grid, where)
    return table


def _add_operators(table: Table, side: int, grid: int, where: Any) -> None:
    builders = operators(side, grid)
    check_same(operators(side, 3))
    times = alternate({name: lambda build=build: _run(build(), where) for name, build in builders.items()})
    count = grid * grid
    base = times["da.map_blocks"].median
    peer = times["da.map_overlap"].median - base
    for name, build in builders.items():
        over = times[name].median - base
        share = over / peer if name == "xrs" else None
        cost = times[name].median / count * 1e6
        beyond = over / count * 1e6 if over else None
        table.add(f"{side}² {name}", _tasks(build()) / count, cost, beyond, share, _percent(times[name]))


def operators(side: int, grid: int) -> dict[str, Callable[[], da.Array]]:
    """Arrays of one time and band, built anew at each call."""
    size = side * grid

    def source() -> da.Array:
        return generate(_ramp, (1, 1, size, size), (1, 1, side, side), np.float32, params={})

    depth = {0: 0, 1: 0, 2: 1, 3: 1}
    meta = np.empty((0,) * 4, np.float32)
    return {
        "da.map_blocks": lambda: source().map_blocks(box, dtype=np.float32, meta=meta),
        "da.map_overlap": lambda: da.map_overlap(
            box, source(), depth=depth, boundary="reflect", dtype=np.float32, meta=meta
        ),
        "xrs": lambda: map_tiles(box_of_tile, {"a": Source(source())}, bands=1, factor=1, halo=1),
    }


def _ramp(slices: tuple[slice, ...]) -> np.ndarray:
    y, x = (np.arange(s.start, s.stop, dtype=np.float32) for s in slices[2:])
    return (y[:, None] % 97 + 3 * x)[None, None]


def check_same(builders: dict[str, Callable[[], da.Array]]) -> None:
    """Both operators give the same pixels."""
    peer, ours = (builders[name]().compute(scheduler="synchronous") for name in ("da.map_overlap", "xrs"))
    np.testing.assert_allclose(ours, peer, rtol=1e-6)


def _run(array: da.Array, where: Any) -> None:
    if where == "threads":
        dask.persist(array, scheduler="threads", num_workers=2)
    else:
        from distributed import wait

        wait(where.persist(array))


def _tasks(array: da.Array) -> int:
    (optimised,) = dask.optimize(array)
    return len(dict(optimised.__dask_graph__()))


def _percent(times: Times) -> str:
    return f"±{100 * times.spread:.0f} %"
