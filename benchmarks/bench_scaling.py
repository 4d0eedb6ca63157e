"""Two workers against one, on threads and on processes; the lazy Whittaker smoother against its bare kernel."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask
import xarray as xr
from numba import njit

import xrs
from benchmarks.cases import RATIO, in_chunks, pan_case, series_case
from benchmarks.common import Table, alternate, cpu_ratio, machine_limits, ratio
from xrs.lazy.cluster import local_cluster
from xrs.methods.temporal.whittaker import whittaker

Verb = Callable[[], xr.DataArray]
Run = Callable[[], Any]

CHUNK = 1024
PANSHARPEN = ("brovey", "gsa", "mtf_glp_hpm")


def tables(quick: bool) -> Iterator[Table]:
    """Speed-up of verbs by a second worker, and what the lazy path keeps of a kernel's speed."""
    side, dates = (2048, 20) if quick else (4096, 100)
    yield lazy_whittaker(dates, 256 if quick else 512)
    yield on_threads(memory_verbs(side, dates))
    with tempfile.TemporaryDirectory() as folder:
        yield on_processes(stored_verbs(Path(folder), side, dates), Path(folder))


def lazy_whittaker(dates: int, side: int) -> Table:
    """Series a second of the kernel alone, of the verb on NumPy and on chunks; one thread."""
    cube = series_case(dates, side)
    flat = cube.values.reshape(dates, -1)
    days = (cube.time.values - cube.time.values[0]) / xr.DataArray(1).astype("timedelta64[D]").values
    lazy = in_chunks(cube, y=side // 4, x=side // 4)
    split = in_chunks(cube, time=10, y=side // 4, x=side // 4)
    times = alternate(
        {
            "bare kernel": lambda: whittaker(flat, None, days, days, lmbda=10.0),
            "xrs.smooth on NumPy": lambda: xrs.smooth(cube, "whittaker", lmbda=10.0),
            f"on chunks of {side // 4}²": lambda: _smooth(lazy),
            f"on chunks of 10 dates, {side // 4}²": lambda: _smooth(split),
        }
    )
    table = Table(
        f"Lazy Whittaker: {side}² series of {dates} dates, one thread",
        ("path", "series/s", "of the kernel", "of processor time"),
        notes="Synchronous scheduler; results stay in chunks. To reach: 70 % of the bare kernel.",
    )
    kernel = times["bare kernel"]
    for name, one in times.items():
        table.add(name, flat.shape[1] / one.median, ratio(kernel, one), cpu_ratio(kernel, one))
    return table


def _smooth(cube: xr.DataArray) -> Any:
    return xrs.smooth(cube, "whittaker", lmbda=10.0).data.persist(scheduler="synchronous")


def memory_verbs(side: int, dates: int) -> dict[str, Verb]:
    """Verbs on chunks that lie in memory."""
    ms, pan = pan_case(side)
    series = in_chunks(series_case(dates, side // 4), y=CHUNK // 4, x=CHUNK // 4)
    ms, pan = in_chunks(ms, y=CHUNK // RATIO, x=CHUNK // RATIO), in_chunks(pan, y=CHUNK, x=CHUNK)
    return _verbs(lambda: (ms, pan), lambda: series)


def stored_verbs(folder: Path, side: int, dates: int) -> dict[str, Verb]:
    """The same verbs on products on disk."""
    ms, pan = pan_case(side)
    for name, cube, chunk in (
        ("ms", ms, CHUNK // RATIO),
        ("pan", pan, CHUNK),
        ("series", series_case(dates, side // 4), CHUNK // 4),
    ):
        xrs.to_product(cube.rename(name).chunk(y=chunk, x=chunk), folder / name, overviews=False, progress=False)

    def stored(name: str) -> xr.DataArray:
        return xrs.open_product(folder / name)[name]

    return _verbs(lambda: (stored("ms"), stored("pan")), lambda: stored("series"))


def _verbs(pair: Callable[[], tuple[xr.DataArray, xr.DataArray]], series: Verb) -> dict[str, Verb]:
    found: dict[str, Verb] = {
        f"pansharpen {method}": lambda method=method: xrs.pansharpen(*pair(), method) for method in PANSHARPEN
    }
    return found | {"smooth whittaker": lambda: xrs.smooth(series(), "whittaker", lmbda=10.0)}


def on_threads(verbs: dict[str, Verb]) -> Table:
    """Speed-up by a second thread."""
    table = _table("threads; inputs in memory, results stay in chunks")
    _add_speedup(table, "arithmetic alone", {n: lambda n=n: _arithmetic(int(n)) for n in ("1", "2")})
    one, two = machine_limits(1), machine_limits(2)
    table.add("memory copy", None, None, two.copy / one.copy, "-", "-")
    table.add("fresh pages", None, None, two.fresh / one.fresh, "-", "-")
    for name, verb in verbs.items():
        runs = {n: lambda n=n, verb=verb: _on_threads(verb, n) for n in ("1", "2")}
        _add_speedup(table, name, runs)
    return table


def _arithmetic(workers: int) -> None:
    """Work that waits for no memory, in eight parts: what a second worker of this machine gives now."""
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(_iterate, [20_000_000] * 8))


@njit(nogil=True, cache=True)
def _iterate(count: int) -> float:
    x = 0.5
    for _ in range(count):
        x = 3.7 * x * (1.0 - x)
    return x


def _on_threads(verb: Verb, workers: str) -> None:
    with dask.config.set(scheduler="threads", num_workers=int(workers)):
        verb().data.persist()


def on_processes(verbs: dict[str, Verb], folder: Path) -> Table:
    """Speed-up by a second process, from a product to a product."""
    table = _table("distributed, processes of one thread; from a product to a product, no overviews")
    with local_cluster(1) as one, local_cluster(2) as two:
        for name, verb in verbs.items():
            runs = {
                n: lambda client=client, verb=verb: _to_product(verb(), folder / "out", client)
                for n, client in (("1", one), ("2", two))
            }
            _add_speedup(table, name, runs)
    return table


def _to_product(cube: xr.DataArray, place: Path, client: Any) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.with_suffix(".json").unlink(missing_ok=True)
    xrs.to_product(cube.rename("out"), place, overviews=False, progress=False, client=client)


def _table(how: str) -> Table:
    columns = ("verb", "1 worker, s", "2 workers, s", "speed-up", "spread of 1", "spread of 2")
    return Table(f"Two workers against one: {how}", columns, notes="To reach: 1.7.")


def _add_speedup(table: Table, name: str, runs: dict[str, Run]) -> None:
    times = alternate(runs)
    one, two = times["1"], times["2"]
    table.add(name, one.median, two.median, ratio(one, two), f"±{100 * one.spread:.0f} %", f"±{100 * two.spread:.0f} %")
