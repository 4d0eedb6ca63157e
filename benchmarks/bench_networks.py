"""Lazy networks beside their bare torch modules, on threads and on ``distributed``; what bfloat16 gains; memory.

Networks of task ``spectral``, whose result is many times as large as what they see, have a table of their own: name
``spectral`` to see it alone.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import dask
import numpy as np
import torch
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

import xrs
from benchmarks.bench_memory import Case, memory_rows
from benchmarks.common import Table, Times, alternate, cpu_ratio, ratio
from xrs.cube import assign_bands, assign_geobox
from xrs.kernels.memory import keep_memory
from xrs.lazy.cluster import local_cluster
from xrs.models import Card, ImageSpec, Model, load_model
from xrs.nets import get_network
from xrs.nets.registry import networks

#: Pixels along the side of the lazy cubes' chunks on the finest grid.
CHUNK, QUICK_CHUNK = 1024, 256

#: Chunks of each core's part of a cube: at most so many, and as many as the bare module makes in about so many seconds.
MOST_CHUNKS, SECONDS = 8, 4.0

ROUNDS = 3

#: Sides of the bare module's one image; the quicker one is what the lazy run is held against.
BARE_SIDES = (256, 512)

#: Images by the network's task: bands on each grid, the finest first, and their ratios.
LAYOUTS = {"sharpen": ((4, 6), (1, 2)), "pansharpen": ((1, 4), (1, 4))}

#: Too slow to be measured with the others: name it to measure it.
LEFT_OUT = {"vdsen2"}

#: Model that comes with the library, and the pixels of a Sentinel-2 tile of 10 m.
SHIPPED, TILE = "s2-enmap-spectralift", 10_980**2

#: Side of the bare module's patch whose layers stay in the cache.
CACHED_SIDE = 48


def tables(quick: bool, names: tuple[str, ...] = ()) -> Iterator[Table]:
    """Throughput with one core and with two, precision, and memory."""
    if names == ("spectral",):
        yield spectral(quick)
        return
    chosen = names or (("light",) if quick else tuple(name for name in fusing() if name not in LEFT_OUT))
    sizes = {name: size_of(name, quick) for name in chosen}
    yield throughput(sizes, 1)
    if not quick:
        yield throughput(sizes, 2)
    yield precision(sizes)
    if not names:
        yield spectral(quick)
    yield memory(quick)


def fusing() -> list[str]:
    """Networks that sharpen or pansharpen."""
    return [name for name, network in networks().items() if set(network.tasks) & set(LAYOUTS)]


@dataclass(frozen=True)
class Size:
    """A row of chunks: the side of one, and how many a core."""

    chunk: int
    count: int

    def shape(self, cores: int) -> tuple[int, int]:
        """Rows and columns of fine pixels."""
        return self.chunk, self.chunk * self.count * cores


def size_of(name: str, quick: bool) -> Size:
    """As much as the network's speed allows."""
    if quick:
        return Size(QUICK_CHUNK, 2)
    times = alternate({"bare": forward(name, BARE_SIDES[0])}, rounds=1)["bare"]
    chunks = SECONDS / (times.median * (CHUNK / BARE_SIDES[0]) ** 2)
    return Size(CHUNK, min(max(round(chunks), 1), MOST_CHUNKS))


def throughput(sizes: Mapping[str, Size], cores: int) -> Table:
    """Fine pixels a second of the bare module and of a lazy cube, on the same cores."""
    table = Table(
        f"Networks on {cores} core(s): thousands of output pixels a second",
        ("network", "bare", "threads", "of bare", "cpu", "distributed", "of bare", "plain cluster", "of bare", "onnx"),
        notes=f"float32, random weights. bare: one forward, channels-last, of {' or '.join(map(str, BARE_SIDES))} "
        "squared pixels, the quicker one, its memory kept. Lazy: a row of chunks "
        f"of {CHUNK}² pixels in memory, one thread or process a core; of bare: 0.85 is to be reached; cpu: "
        "the same of processor time, which other programs disturb less. plain cluster: LocalCluster without our "
        "environment. onnx: onnxruntime on one image, - if it, onnx or onnxscript is missing.",
    )
    for name, size in sizes.items():
        with ExitStack() as stack:
            runs = {f"bare {n}": partial(forward(name, n), cores) for n in BARE_SIDES}
            runs |= {where: stack.enter_context(lazy_run(name, size, where, cores)) for where in RUNNERS}
            runs |= {"onnx": stack.enter_context(onnx_run(name, cores))} if onnx_there() else {}
            times = alternate(runs, rounds=ROUNDS)
        table.add(name, *_cells(times, math.prod(size.shape(cores))))
    return table


def _cells(times: Mapping[str, Times], area: int) -> Iterator[float | None]:
    areas = {**{f"bare {n}": n**2 for n in BARE_SIDES}, "onnx": BARE_SIDES[0] ** 2}
    rate = {name: areas.get(name, area) / one.median / 1e3 for name, one in times.items()}
    best = max((f"bare {n}" for n in BARE_SIDES), key=rate.__getitem__)
    share = area / areas[best]
    yield rate[best]
    for where in RUNNERS:
        yield rate[where]
        yield share / ratio(times[where], times[best])
        if where == "threads":
            yield share / cpu_ratio(times[where], times[best])
    yield rate.get("onnx")


def precision(sizes: Mapping[str, Size]) -> Table:
    """What bfloat16 gains and costs, on one thread."""
    table = Table(
        "bfloat16 over float32, one thread",
        ("network", "lazy, ratio", "bare, ratio", "change of the result"),
        notes="To reach: 1.8, on a processor that multiplies bfloat16. change: root mean square difference of the "
        "results over that of the float32 result and interpolation, for random weights.",
    )
    for name, size in sizes.items():
        with lazy_run(name, size, "threads", 1) as lazy, lazy_run(name, size, "threads", 1, "bfloat16") as half:
            bare = forward(name, BARE_SIDES[-1])
            times = alternate(
                {"lazy": lazy, "half": half, "bare": bare, "bare half": partial(bare, half=True)}, rounds=ROUNDS
            )
        gains = ratio(times["lazy"], times["half"]), ratio(times["bare"], times["bare half"])
        table.add(name, *gains, change(name))
    return table


def change(name: str) -> float:
    """How far bfloat16 moves a result, relative to what the network adds to interpolation."""
    model, cubes = case(name, (256, 256), 256)
    whole, half = (_values(fuse(name, cubes, model=model, dtype=dtype)) for dtype in ("float32", "bfloat16"))
    added = whole - _values(fuse("exp", cubes))
    return float(np.sqrt(np.mean((half - whole) ** 2) / np.mean(added**2)))


def memory(quick: bool) -> Table:
    """Peak of a worker when the cube of a network grows ten times."""
    table = Table(
        "Peak resident memory of a worker, MB, when a network's cube grows ten times",
        ("job", "growth", "scheduler", "small", "large", "ratio", "large cube, GB"),
        notes="Network light, from products on disk to a product; each job in processes of its own.",
    )
    side, chunk = (512, 256) if quick else (2048, 512)
    dates = 8 if quick else 32
    grown = {
        "space": [Case("light", side, n * side, 1, chunk) for n in (1, 10)],
        "time": [Case("light", side // 2, side // 2, n, chunk) for n in (dates, 10 * dates)],
    }
    for growth, (small, large) in grown.items():
        for row in memory_rows("pansharpen light", growth, small, large, quick):
            table.add(*row)
    return table


def forward(name: str, side: int) -> Callable[..., None]:
    """One call of the bare module on an image of this side, with so many threads, in float32 or bfloat16."""
    keep_memory()
    bands, ratios = LAYOUTS[task_of(name)]
    module = get_network(name).build(bands, ratios).eval().to(memory_format=torch.channels_last)
    images = [
        torch.rand(1, count, side // step, side // step).contiguous(memory_format=torch.channels_last)
        for count, step in zip(bands, ratios, strict=True)
    ]

    def run(threads: int = 1, *, half: bool = False) -> None:
        torch.set_num_threads(threads)
        precise: AbstractContextManager[object] = torch.autocast("cpu", torch.bfloat16) if half else nullcontext()
        with torch.inference_mode(), precise:
            module(*images)

    return run


@contextmanager
def lazy_run(name: str, size: Size, where: str, workers: int, dtype: str = "float32") -> Iterator[Callable[[], None]]:
    """Compute a lazy cube, whose sources lie in the workers' memory."""
    model, cubes = case(name, size.shape(workers), size.chunk)
    with RUNNERS[where](workers) as (keep, compute):
        cubes = keep(cubes)
        yield lambda: compute(fuse(name, cubes, model=model, dtype=dtype))


Runner = tuple[Callable[[Any], Any], Callable[[Any], None]]


@contextmanager
def _on_threads(workers: int) -> Iterator[Runner]:
    def compute(cubes: Any) -> None:
        dask.persist(cubes, scheduler="threads", num_workers=workers)

    yield lambda cubes: dask.persist(*cubes, scheduler="threads"), compute


@contextmanager
def _on_cluster(workers: int) -> Iterator[Runner]:
    with local_cluster(workers, memory_limit=0) as client:
        yield _of_client(client)


@contextmanager
def _on_plain_cluster(workers: int) -> Iterator[Runner]:
    from distributed import Client, LocalCluster

    options = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None, "memory_limit": 0}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        yield _of_client(client)


def _of_client(client: Any) -> Runner:
    from distributed import wait

    def keep(cubes: Any) -> Any:
        kept = client.persist(list(cubes))
        wait(kept)
        return kept

    return keep, lambda cubes: wait(client.persist(cubes))


#: How a lazy cube is computed: ``(workers)`` gives what keeps its sources and what computes it.
RUNNERS: Mapping[str, Callable[[int], AbstractContextManager[Runner]]] = {
    "threads": _on_threads,
    "distributed": _on_cluster,
    "plain cluster": _on_plain_cluster,
}


def task_of(name: str) -> str:
    """The task a network is measured on; Sentinel-2's where it takes several fine bands."""
    return "sharpen" if "sharpen" in get_network(name).tasks else "pansharpen"


def case(name: str, shape: tuple[int, int], chunk: int) -> tuple[Model, tuple[xr.DataArray, ...]]:
    """A model with random weights and chunked images of random reflectance, the finest first."""
    task = task_of(name)
    bands, ratios = LAYOUTS[task]
    keys = [tuple(f"r{step}b{n}" for n in range(count)) for count, step in zip(bands, ratios, strict=True)]
    images = tuple(ImageSpec(names, step) for names, step in zip(keys, ratios, strict=True))
    model = Model.from_module(get_network(name).build(bands, ratios), Card(name, task, images))
    cubes = [_image(names, shape, step, chunk) for names, step in zip(keys, ratios, strict=True)]
    return model, tuple(cubes)


@dataclass(frozen=True)
class Spectral:
    """A network of task ``spectral``: its numbers of bands, its settings, and how it is called.

    Without ``bands`` the shipped model is meant.
    """

    network: str
    bands: int = 0
    outputs: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)
    call: Mapping[str, Any] = field(default_factory=dict)

    def model(self) -> Model:
        """The shipped model, or one with random weights."""
        if not self.bands:
            return load_model(SHIPPED)
        nm = np.linspace(420.0, 2440.0, self.outputs)
        outputs = ImageSpec(
            tuple(f"{centre:g}" for centre in nm), 1, wavelengths=tuple(nm), fwhm=(float(nm[1] - nm[0]),) * len(nm)
        )
        card = Card(
            self.network,
            "spectral",
            (ImageSpec(tuple(f"b{n}" for n in range(self.bands))),),
            config=self.config,
            outputs=outputs,
        )
        module = get_network(self.network).build((self.bands,), (1,), outputs=self.outputs, **self.config)
        return Model.from_module(module, card)


#: What is measured, by what its row is called.
SPECTRAL = {
    "spectralift 10 to 213": Spectral("spectralift", call={"consistent": False}),
    "the same, agreeing": Spectral("spectralift"),
    "the same, with errors": Spectral("spectralift", call={"uncertainty": True}),
    "hsrnet 12 to 213, subspace 16": Spectral("hsrnet", 12, 213, {"subspace": 16}),
    "mst_plus_plus 12 to 213": Spectral("mst_plus_plus", 12, 213),
    "mst_plus_plus 3 to 31": Spectral("mst_plus_plus", 3, 31),
}


def spectral(quick: bool) -> Table:
    """Networks that make many bands of few, and what agreement and errors cost."""
    table = Table(
        "Spectral super-resolution on one core: thousands of pixels a second",
        ("network", "bare", "threads", "of bare", "cpu", "held, cpu", "a tile, minutes"),
        notes="float32, in memory, one chunk. bare: one forward, channels-last, without errors; of a network with "
        "a window on a window with its margin, of which the window counts; else on "
        f"{', '.join(map(str, (CACHED_SIDE, *BARE_SIDES)))} squared pixels, the quickest of these. of bare: 0.85 is "
        "to be reached; cpu: the same of processor time. Tiles are dropped once made, as the bare module's results "
        "are; held: the whole result is kept, whose memory is all touched for the first time. a tile: of 10,980 "
        "squared pixels, minutes of one core's processor time, by proportion. agreeing: consistent='auto'; with "
        "errors: uncertainty=True besides.",
    )
    for name, one in SPECTRAL.items():
        model = one.model()
        side = QUICK_CHUNK if quick else 4 * model.card.window or CHUNK
        times = alternate({**_bare_spectral(model), **_lazy_spectral(one, model, side)}, rounds=ROUNDS)
        lazy, held = times.pop("lazy"), times.pop("held")
        bare = min(times, key=lambda key: times[key].median / int(key) ** 2)
        share = side**2 / int(bare) ** 2
        rates = int(bare) ** 2 / times[bare].median / 1e3, side**2 / lazy.median / 1e3
        shares = ratio(lazy, times[bare]), cpu_ratio(lazy, times[bare]), cpu_ratio(held, times[bare])
        table.add(name, *rates, *(share / one for one in shares), TILE / side**2 * median(lazy.cpu) / 60)
    return table


def _bare_spectral(model: Model) -> dict[str, Callable[[], None]]:
    """One call of the bare module, by the side of the pixels that count."""
    keep_memory()
    torch.set_num_threads(1)
    card = model.card
    module = model.build().eval().to(memory_format=torch.channels_last)

    def run(image: torch.Tensor) -> None:
        with torch.inference_mode():
            module(image)

    sides = (card.window,) if card.window else (CACHED_SIDE, *BARE_SIDES)
    shapes = {side: (1, *card.bands, side + 2 * card.margin, side + 2 * card.margin) for side in sides}
    return {
        str(side): partial(run, torch.rand(shape).contiguous(memory_format=torch.channels_last))
        for side, shape in shapes.items()
    }


def _lazy_spectral(one: Spectral, model: Model, side: int) -> dict[str, Callable[[], None]]:
    """Compute a lazy cube whose source lies in memory; and the same, keeping the result."""
    cube = _image(model.card.images[0].bands, (side, side), 1, side).assign_attrs(platform="sentinel-2a").persist()
    to = "enmap" if not one.bands else list(model.card.result.wavelengths)
    made = xrs.spectral_superres(cube, to, one.network, model=model, **one.call)
    parts = [made] if isinstance(made, xr.DataArray) else made.data_vars.values()
    corners = [part.data.map_blocks(_corner, dtype=np.float32) for part in parts]
    runs = {"lazy": corners, "held": [made]}
    return {name: partial(dask.persist, *what, scheduler="threads", num_workers=1) for name, what in runs.items()}


def _corner(block: np.ndarray) -> np.ndarray:
    return block[..., :1, :1].copy()


def _image(keys: tuple[str, ...], shape: tuple[int, int], step: int, chunk: int) -> xr.DataArray:
    rows, columns = (n // step for n in shape)
    values = 0.05 + 0.6 * np.random.default_rng(step).random((len(keys), rows, columns), np.float32)
    box = GeoBox(values.shape[1:], Affine(10.0 * step, 0, 5e5, 0, -10.0 * step, 5e6), "EPSG:32631")
    cube = assign_geobox(assign_bands(xr.DataArray(values, dims=("band", "y", "x")), list(keys)), box)
    return cube.chunk(y=chunk // step, x=chunk // step)


def fuse(method: str, cubes: tuple[xr.DataArray, ...], **params: Any) -> Any:
    """The coarse bands on the fine grid, lazily."""
    fine, coarse = cubes
    if fine.sizes["band"] == 1:
        return xrs.pansharpen(coarse, fine.isel(band=0, drop=True), method, **params)
    tree = xr.DataTree.from_dict({n: c.to_dataset("band") for n, c in zip(("r10m", "r20m"), cubes, strict=True)})
    sharp = xrs.sharpen(tree, method, **params)
    return sharp[[str(key) for key in coarse["band"].values]]


def _values(result: Any) -> np.ndarray:
    return (result if isinstance(result, xr.DataArray) else result.to_dataarray("band")).values


def onnx_there() -> bool:
    """Whether the peer and what writes its files are installed."""
    return all(find_spec(name) for name in ("onnxruntime", "onnx", "onnxscript"))


@contextmanager
def onnx_run(name: str, threads: int) -> Iterator[Callable[[], None]]:
    """One call of onnxruntime on an image of the smaller side."""
    import onnxruntime

    side = BARE_SIDES[0]
    bands, ratios = LAYOUTS[task_of(name)]
    model, _ = case(name, (side, side), side)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    with TemporaryDirectory() as folder:
        session = onnxruntime.InferenceSession(str(model.export(Path(folder) / "m.onnx")), options)
    sizes = zip(session.get_inputs(), bands, ratios, strict=True)
    images = {one.name: np.ones((1, count, side // step, side // step), np.float32) for one, count, step in sizes}
    yield lambda: session.run(None, images)


def main(argv: list[str] | None = None) -> None:
    """Print the tables, of all networks or of those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"networks, all but {', '.join(sorted(LEFT_OUT))} if none")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args(argv)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for table in tables(args.quick, tuple(args.names)):
        print(table.as_text(), flush=True)


if __name__ == "__main__":
    main()
