"""Cut a scene into tiles: where they begin, how large they may be, which chunks they touch."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dask
import numpy as np
from dask.utils import parse_bytes

from xrs.errors import ChunkingError, GridMismatchError, LayoutError

__all__ = ["Interval", "Piece", "Plan", "Source", "TileSpec", "check_some", "make_plan", "task_memory", "touched"]

#: First and last-plus-one index.
Interval = tuple[int, int]

#: Default of the configuration key ``xrs.task-memory``.
_TASK_MEMORY = "512MiB"

#: Tiles of NumPy inputs: large enough to be quick, small enough to stay near the cache.
_EAGER_TILE = "48MiB"


@dataclass(frozen=True)
class Source:
    """An observation on its grid.

    Attributes
    ----------
    array : numpy.ndarray or dask.array.Array, (time, band, y, x)
    factor : int
        Pixels along the side of one pixel of the coarsest grid.
    steady : bool
        Whether every tile needs all of its dates, however many dates are put out at once.
    reflectance : bool
        Whether the values are reflectance. Lazy ones that cannot be are then refused where they are read, before gaps
        are filled: what is in memory an operator refuses at once.
    """

    array: Any
    factor: int = 1
    steady: bool = False
    reflectance: bool = False

    @property
    def is_lazy(self) -> bool:
        """Whether the values are a Dask graph."""
        return dask.is_dask_collection(self.array)

    @property
    def chunks(self) -> tuple[tuple[int, ...], ...]:
        """Chunk sizes along each dim; a NumPy array is one chunk."""
        return self.array.chunks if self.is_lazy else tuple((n,) for n in self.array.shape)


@dataclass(frozen=True)
class Piece:
    """One chunk a tile touches: its index and the part of it that is needed, per dim."""

    index: tuple[int, ...]
    window: tuple[slice, ...]


@dataclass(frozen=True)
class TileSpec:
    """Where a tile lies: dates, and rows and columns of its core in pixels of the coarsest grid."""

    position: tuple[int, int, int]
    time: Interval
    y: Interval
    x: Interval


@dataclass(frozen=True)
class Plan:
    """The tiles of a scene: their bounds along time, y and x."""

    time: tuple[Interval, ...]
    y: tuple[Interval, ...]
    x: tuple[Interval, ...]

    def tiles(self) -> Iterator[TileSpec]:
        """Every tile, time first."""
        for t, dates in enumerate(self.time):
            for i, rows in enumerate(self.y):
                for j, columns in enumerate(self.x):
                    yield TileSpec((t, i, j), dates, rows, columns)

    def chunks(self, bands: int, factor: int) -> tuple[tuple[int, ...], ...]:
        """Chunk sizes of the output (time, band, y, x)."""
        return (
            tuple(b - a for a, b in self.time),
            (bands,),
            tuple((b - a) * factor for a, b in self.y),
            tuple((b - a) * factor for a, b in self.x),
        )


def task_memory() -> int:
    """Bytes one task may hold: Dask's configuration key ``xrs.task-memory``, 512 MiB if not set."""
    return int(parse_bytes(dask.config.get("xrs.task-memory", _TASK_MEMORY)))


def make_plan(
    sources: Mapping[str, Source],
    *,
    bands: int,
    factor: int,
    margin: int = 0,
    block: int = 0,
    whole_time: int = 0,
    times: Sequence[int] | None = None,
) -> Plan:
    """Tiles that follow the chunks of the finest source and keep a task within its memory.

    Parameters
    ----------
    sources : mapping of str to Source
    bands, factor : int
        Bands and grid of the output.
    margin : int
        Pixels of the coarsest grid read around a tile.
    block : int
        Tiles begin at multiples of this many coarsest pixels, if not 0.
    whole_time : int
        If not 0, a tile holds all dates, and this many are put out.
    times : sequence of int, optional
        Chunk sizes of the output along time; those of the finest source if not given.

    Raises
    ------
    LayoutError
        If a source has no date, band, row or column.
    ChunkingError
        If not even the smallest tile fits the memory of a task.
    """
    _check_shapes(sources)
    finest = max(sources.values(), key=lambda s: (s.is_lazy, s.factor))
    height, width = (n // finest.factor for n in finest.array.shape[2:])
    lazy = any(s.is_lazy for s in sources.values())
    bound = task_memory() if lazy else min(task_memory(), int(parse_bytes(_EAGER_TILE)))
    steady = 4 * sum(s.array.shape[0] * s.array.shape[1] * s.factor**2 for s in sources.values() if s.steady)
    per_pixel = 4 * sum(s.array.shape[1] * s.factor**2 for s in sources.values() if not s.steady)
    out_pixel = 4 * bands * factor**2
    time = _intervals(finest.chunks[0] if times is None else times)
    n_time = time[-1][1]
    time = ((0, n_time),) if whole_time else time
    # A kernel's own buffers are about as large again as what goes in and comes out; only one date
    # is worked on at a time unless a series is needed whole.
    dates = max(b - a for a, b in time)
    cost = 2 * (steady + per_pixel * dates + out_pixel * (whole_time or dates))
    side = _largest_side(bound / cost, margin)
    if side < 1 and not whole_time and dates > 1:
        time = tuple((t, t + 1) for t in range(n_time))
        cost = 2 * (steady + per_pixel + out_pixel)
        side = _largest_side(bound / cost, margin)
    least = max(block, 1)
    enough = max(least, 2 * margin)
    if side < enough and bound < task_memory():
        # The eager bound is a matter of speed, and tiles that are mostly margin are slow; only the memory of a task is
        # a reason to refuse.
        bound = task_memory()
        side = min(enough, _largest_side(bound / cost, margin))
    if side < least:
        need = cost * (least + 2 * margin) ** 2
        raise ChunkingError(
            f"the smallest tile needs {need / 2**20:.0f} MiB",
            f"at most {bound / 2**20:.0f} MiB a task",
            "dask.config.set({'xrs.task-memory': '2GiB'}), or select fewer bands or dates",
        )
    _warn_large_chunks(sources, bound)
    rows, columns = (
        _spans(finest.chunks[d], finest.factor, size, side, block) for d, size in ((2, height), (3, width))
    )
    return Plan(time, rows, columns)


def check_some(name: str, shape: Sequence[int]) -> None:
    """Refuse what holds no value: ``shape`` (time, band, y, x).

    Raises
    ------
    LayoutError
    """
    if 0 in shape:
        dates, bands, height, width = shape
        raise LayoutError(
            f"{name} is a cube of {dates} dates, {bands} bands and {height} by {width} pixels",
            "at least one of each",
            "a period and an area in which something was seen: a selection may have left nothing",
        )


def touched(chunks: Sequence[Sequence[int]], bounds: Sequence[Interval]) -> list[Piece]:
    """The chunks that an index box touches, and the part of each that is inside it."""
    axes = [_touched_along(sizes, lo, hi) for sizes, (lo, hi) in zip(chunks, bounds, strict=True)]
    pieces = []
    for flat in np.ndindex(*(len(a) for a in axes)):
        parts = [axis[i] for axis, i in zip(axes, flat, strict=True)]
        pieces.append(Piece(tuple(p[0] for p in parts), tuple(p[1] for p in parts)))
    return pieces


def _touched_along(sizes: Sequence[int], lo: int, hi: int) -> list[tuple[int, slice]]:
    edges = np.concatenate([[0], np.cumsum(sizes)])
    first = int(np.searchsorted(edges, lo, side="right")) - 1
    found = []
    for i in range(first, len(sizes)):
        if edges[i] >= hi:
            break
        a, b = max(lo, int(edges[i])), min(hi, int(edges[i + 1]))
        if a < b:
            found.append((i, slice(a - int(edges[i]), b - int(edges[i]))))
    return found


def _check_shapes(sources: Mapping[str, Source]) -> None:
    for name, source in sources.items():
        check_some(name, source.array.shape)
    areas = {name: tuple(n / s.factor for n in s.array.shape[2:]) for name, s in sources.items()}
    dates = {s.array.shape[0] for s in sources.values() if not s.steady}
    if len(set(areas.values())) > 1 or len(dates) > 1:
        shapes = {name: (s.array.shape[0], *areas[name]) for name, s in sources.items()}
        raise GridMismatchError(
            f"the observations cover (time, y, x) {shapes} pixels of the coarsest grid",
            "the same dates and the same area",
            "crop them with xrs.cube.nest",
        )


def _largest_side(pixels: float, margin: int) -> int:
    return int(math.sqrt(max(pixels, 0.0))) - 2 * margin


def _intervals(sizes: Sequence[int]) -> tuple[Interval, ...]:
    edges = np.concatenate([[0], np.cumsum(sizes)]).tolist()
    return tuple((a, b) for a, b in itertools.pairwise(edges) if b > a)


def _spans(sizes: Sequence[int], factor: int, total: int, side: int, block: int) -> tuple[Interval, ...]:
    """Tile bounds: chunk edges moved down to whole coarsest pixels (or blocks), long spans cut evenly."""
    unit = max(block, 1)
    edges = sorted({int(e) // factor // unit * unit for e in np.cumsum(sizes)[:-1]} | {0, total})
    spans: list[Interval] = []
    for a, b in itertools.pairwise(edges):
        parts = -(-(b - a) // max(side // unit * unit, unit))
        step = -(-(b - a) // parts // unit) * unit if parts > 1 else b - a
        step = max(step, unit) if parts > 1 else step
        spans += [(s, min(s + step, b)) for s in range(a, b, step)]
    return tuple(spans)


def _warn_large_chunks(sources: Mapping[str, Source], bound: int) -> None:
    for name, source in sources.items():
        if source.is_lazy:
            largest = math.prod(max(c) for c in source.chunks) * source.array.dtype.itemsize
            if largest > 2 * bound:
                warnings.warn(
                    f"chunks of {name!r} take up to {largest / 2**20:.0f} MiB, more than the {bound / 2**20:.0f} MiB "
                    "of a task (dask configuration 'xrs.task-memory'): tiles are cut smaller, but each reads whole "
                    "chunks; "
                    "rechunk where the data are opened",
                    UserWarning,
                    stacklevel=4,
                )
