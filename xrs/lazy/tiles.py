"""The one way from observations to a result: halo, change of resolution, several grids, trim.

A graph has one task a tile (and one more for each pass that learns something of the scene). The
task takes the chunks its window touches, wherever their edges are, so inputs need no rechunking and
grids need no common chunks. NumPy inputs walk through the same tiles without a graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import DataNode, Task, TaskRef
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray

from xrs.lazy.plan import Interval, Plan, Source, TileSpec, make_plan, touched
from xrs.lazy.twice import read_again
from xrs.lazy.window import Window, blank_unseen, bounds_of, read_window, tile_of
from xrs.methods.base import Pass, State, Tile

__all__ = ["map_series", "map_tiles", "reduce_tiles"]

#: Summaries merged by one task.
_MERGE_WIDTH = 16

_NOTHING: Mapping[str, Any] = {}


def map_tiles(
    apply: Callable[..., NDArray[np.float32]],
    sources: Mapping[str, Source],
    *,
    bands: int,
    factor: int,
    halo: int = 0,
    block: int = 0,
    passes: Sequence[Pass] = (),
    params: Mapping[str, Any] | None = None,
    shared: Mapping[str, Any] | None = None,
    carriers: Sequence[str] = (),
    bandwise: bool = False,
    aside: Sequence[str] = (),
    name: str = "tiles",
) -> Any:
    """Apply a method to every tile of every date.

    Parameters
    ----------
    apply : callable
        ``(tile, state, **params) -> (band, y, x)`` float32 on the output's grid, without the halo.
    sources : mapping of str to Source
        Observations of the same dates and area on nested grids.
    bands, factor : int
        Bands of the output, and its pixels along the side of one coarsest pixel.
    halo : int
        Margin the method needs, in coarsest pixels.
    block : int
        Tiles begin at multiples of this many coarsest pixels, if not 0.
    passes : sequence of Pass
        What must be learned of the whole scene first, in order.
    params : mapping
        Keyword arguments of ``apply`` and the passes.
    shared : mapping
        More of ``apply``'s, too large to travel with every task: one node of the graph.
    carriers : sequence of str
        Observations whose bands are put out; see :func:`xrs.lazy.window.blank_unseen`.
    bandwise : bool
        Whether an output band is determined by its own band alone.
    aside : sequence of str
        Observations that only passes look at: their gaps leave none in the output.
    name : str
        Prefix of the graph's keys.

    Returns
    -------
    numpy.ndarray or dask.array.Array, (time, band, y, x)
        Lazy if any source is. NaN where a pixel's own inputs are missing.
    """
    params = dict(params or {})
    plan = make_plan(sources, bands=bands, factor=factor, margin=2 * halo, block=block)
    reader = Reader({n: s.factor for n, s in sources.items()}, halo, 2 * halo)
    shared = dict(shared or {})
    runner = _Apply(reader, apply, params, factor, bands, tuple(carriers), bandwise, tuple(aside))
    if not any(s.is_lazy for s in sources.values()):
        states = _eager_states(sources, plan, reader, passes, params)
        return _run_eagerly(sources, plan, reader, partial(runner, shared=shared), states, plan.chunks(bands, factor))
    arrays = _as_dask(sources)
    token = _token(runner, shared, passes, plan, arrays)
    graph: dict[Any, Any] = {}
    extra = _add_shared(graph, f"{name}-shared-{token}", shared)
    inputs: list[da.Array] = []
    state_keys: dict[int, Any] = {}
    if passes:
        # Statistics read the sources through keys of their own: were they shared, every chunk would
        # be held from the first tile's statistics until the last tile's result.
        again = read_again(arrays, token)
        inputs += list(again.values())
        for number, one in enumerate(passes):
            prefix = f"{name}-pass{number}-{token}"
            state_keys = _add_pass(graph, prefix, one, again, plan, reader, params, state_keys, skip_unseen=True)
    key = f"{name}-{token}"
    for tile in plan.tiles():
        t, i, j = tile.position
        windows, refs = _window_refs(arrays, reader, tile)
        state = _ref(state_keys.get(t))
        graph[key, t, 0, i, j] = Task((key, t, 0, i, j), runner, tile, windows, state, *refs, **extra)
    inputs += list(arrays.values())
    return _dask_array(key, graph, inputs, plan.chunks(bands, factor))


def reduce_tiles(
    summarise: Callable[..., Any],
    merge: Callable[[Any, Any], Any],
    finish: Callable[..., NDArray[Any]],
    sources: Mapping[str, Source],
    *,
    shape: tuple[int, ...],
    halo: int = 0,
    block: int = 0,
    fill: bool = True,
    params: Mapping[str, Any] | None = None,
    dtype: Any = np.float64,
    name: str = "reduce",
) -> Any:
    """Summarise every tile, merge the summaries of each date, and finish them to an array.

    Parameters
    ----------
    summarise : callable
        ``(tile, state, **params) -> summary``; ``state`` is an empty mapping.
    merge : callable
        ``(summary, summary) -> summary``.
    finish : callable
        ``(summary, state, **params) -> array`` of shape ``shape``.
    fill : bool
        Whether gaps are filled from their neighbourhood in ``tile.arrays`` (which reads a wider margin);
        else they hold zeros. ``tile.valid`` tells where they are.
    sources, halo, block, params, name
        As in :func:`map_tiles`.

    Returns
    -------
    numpy.ndarray or dask.array.Array, (time, ...)
        Of shape ``shape`` for each date.
    """
    params = dict(params or {})
    margin = 2 * halo if fill else halo
    plan = make_plan(sources, bands=0, factor=1, margin=margin, block=block)
    reader = Reader({n: s.factor for n, s in sources.items()}, halo, margin)
    one = Pass(summarise, merge, finish)  # type: ignore[arg-type]  # a last pass may solve to an array
    if not any(s.is_lazy for s in sources.values()):
        states = _eager_states(sources, plan, reader, (one,), params, skip_unseen=False)
        finished = [value for t in range(len(plan.time)) for value in states[t]]
        return np.stack([np.asarray(v, dtype) for v in finished]).reshape(len(finished), *shape)
    arrays = _as_dask(sources)
    token = _token((one, reader, params, shape), plan, arrays)
    graph: dict[Any, Any] = {}
    key = f"{name}-{token}"
    done = _add_pass(graph, f"{name}-states-{token}", one, arrays, plan, reader, params, {}, skip_unseen=False)
    zeros = (0,) * len(shape)
    for t, state_key in done.items():
        graph[key, t, *zeros] = Task((key, t, *zeros), _stack, TaskRef(state_key), shape, np.dtype(dtype))
    chunks = (tuple(b - a for a, b in plan.time), *((n,) for n in shape))
    return _dask_array(key, graph, list(arrays.values()), chunks, dtype)


def map_series(
    apply: Callable[..., NDArray[np.float32]],
    array: Any,
    days: NDArray[np.float64],
    targets: NDArray[np.float64],
    *,
    weights: Any = None,
    params: Mapping[str, Any] | None = None,
    name: str = "series",
) -> Any:
    """Apply a temporal method to the series of every pixel.

    Parameters
    ----------
    apply : callable
        ``(series (time, n), weights (time, n) or None, days, targets, **params) -> (t, n)``.
    array : ndarray or dask array, (time, band, y, x)
        Chunks along time are joined in the task; those along y and x stay.
    days, targets : ndarray
        Dates of the input and of the output, in days.
    weights : ndarray or dask array, (time, band, y, x), optional
        From 0 on; 0 leaves a value out, as NaN does.

    Returns
    -------
    numpy.ndarray or dask.array.Array, (t, band, y, x)
    """
    sources = {"series": Source(array)} | ({} if weights is None else {"weights": Source(weights)})
    bands = int(array.shape[1])
    plan = make_plan(sources, bands=bands, factor=1, whole_time=max(targets.size, 1))
    reader = Reader(dict.fromkeys(sources, 1), 0, 0)
    runner = _Series(apply, days, targets, dict(params or {}))
    sizes = plan.chunks(bands, 1)
    chunks = ((targets.size,), *sizes[1:])
    if not any(s.is_lazy for s in sources.values()):
        return _run_eagerly(sources, plan, reader, runner, {}, chunks)
    arrays = _as_dask(sources)
    key = f"{name}-{_token(runner, plan, arrays)}"
    graph: dict[Any, Any] = {}
    for tile in plan.tiles():
        index = (key, 0, 0, *tile.position[1:])
        windows, refs = _window_refs(arrays, reader, tile)
        graph[index] = Task(index, runner, tile, windows, None, *refs)
    return _dask_array(key, graph, list(arrays.values()), chunks)


@dataclass(frozen=True)
class Reader:
    """How tiles read their sources: grids, the method's halo, and the wider margin gaps are filled from."""

    factors: Mapping[str, int]
    halo: int
    margin: int

    def windows(self, sizes: Mapping[str, Sequence[Sequence[int]]], tile: TileSpec) -> dict[str, Window]:
        """What a tile reads of each source, given the chunk sizes of each."""
        return {name: self._window(chunks, self.factors[name], tile) for name, chunks in sizes.items()}

    def _window(self, chunks: Sequence[Sequence[int]], factor: int, tile: TileSpec) -> Window:
        bands, height, width = (sum(c) for c in chunks[1:])
        rows, top, bottom = bounds_of(tile.y, factor, self.margin, height)
        columns, left, right = bounds_of(tile.x, factor, self.margin, width)
        bounds: list[Interval] = [tile.time, (0, bands), rows, columns]
        shape = tuple(b - a for a, b in bounds)
        return Window(tuple(touched(chunks, bounds)), shape, (top, left), (bottom, right))  # type: ignore[arg-type]

    def tiles(self, spec: TileSpec, windows: Mapping[str, Window], chunks: Sequence[Any]) -> Iterator[Tile]:
        """The tile of each date, made when it is asked for."""
        images = _read_all(windows, chunks)
        for t in range(spec.time[1] - spec.time[0]):
            yield tile_of(
                {name: image[t] for name, image in images.items()},
                self.factors,
                halo=self.halo,
                margin=self.margin,
                origin=(spec.y[0], spec.x[0]),
            )


@dataclass(frozen=True)
class _Apply:
    reader: Reader
    apply: Callable[..., NDArray[np.float32]]
    params: Mapping[str, Any]
    factor: int
    bands: int
    carriers: tuple[str, ...]
    bandwise: bool
    aside: tuple[str, ...]

    def __call__(
        self,
        spec: TileSpec,
        windows: Mapping[str, Window],
        states: Any,
        *chunks: Any,
        shared: Mapping[str, Any] = _NOTHING,
    ) -> Any:
        dates, height, width = (b - a for a, b in (spec.time, spec.y, spec.x))
        shape = (self.bands, height * self.factor, width * self.factor)
        images = (
            self._of_date(tile, states[t] if states else {}, shape, shared)
            for t, tile in enumerate(self.reader.tiles(spec, windows, chunks))
        )
        if dates == 1:
            return next(images)[None]
        out = np.empty((dates, *shape), np.float32)
        for t, image in enumerate(images):
            out[t] = image
        return out

    def _of_date(
        self, tile: Tile, state: State, shape: tuple[int, int, int], shared: Mapping[str, Any]
    ) -> NDArray[np.float32]:
        if any(_unseen(tile, self.aside)):
            return np.full(shape, np.nan, np.float32)
        image = self.apply(tile, state, **self.params, **shared)
        if image.dtype != np.float32 or not image.flags.owndata:
            # A view may show the input, which must not be written to, and would hold all of it.
            image = np.array(image, np.float32)
        blank_unseen(image, tile, self.factor, self.carriers, self.bandwise, self.aside)
        return image


@dataclass(frozen=True)
class _Summarise:
    """Summaries of a tile, one a date; None where nothing was seen and such tiles are left out."""

    reader: Reader
    summarise: Callable[..., Any]
    params: Mapping[str, Any]
    skip_unseen: bool

    def __call__(self, spec: TileSpec, windows: Mapping[str, Window], states: Any, *chunks: Any) -> list[Any]:
        tiles = enumerate(self.reader.tiles(spec, windows, chunks))
        return [self._of_date(tile, states[t] if states else {}) for t, tile in tiles]

    def _of_date(self, tile: Tile, state: State) -> Any:
        return None if self.skip_unseen and all(_unseen(tile)) else self.summarise(tile, state, **self.params)


@dataclass(frozen=True)
class _Series:
    apply: Callable[..., NDArray[np.float32]]
    days: NDArray[np.float64]
    targets: NDArray[np.float64]
    params: Mapping[str, Any]

    def __call__(self, spec: TileSpec, windows: Mapping[str, Window], states: Any, *chunks: Any) -> Any:
        images = _read_all(windows, chunks)
        series = images["series"]
        flat = {name: image.reshape(image.shape[0], -1) for name, image in images.items()}
        out = self.apply(flat["series"], flat.get("weights"), self.days, self.targets, **self.params)
        return out.reshape(self.targets.size, *series.shape[1:])


def _unseen(tile: Tile, aside: Sequence[str] = ()) -> list[bool]:
    """For each observation, whether nothing of it was seen in the core."""
    return [v is not None and not tile.core(name, v).any() for name, v in tile.valid.items() if name not in aside]


def _read_all(windows: Mapping[str, Window], chunks: Sequence[Any]) -> dict[str, NDArray[np.float32]]:
    images, first = {}, 0
    for name, window in windows.items():
        images[name] = read_window(window, chunks[first : first + len(window.pieces)])
        first += len(window.pieces)
    return images


def _token(*parts: Any) -> str:
    *described, arrays = parts
    return str(tokenize(*described, {name: array.name for name, array in arrays.items()}))


def _as_dask(sources: Mapping[str, Source]) -> dict[str, da.Array]:
    return {n: s.array if s.is_lazy else da.from_array(s.array, chunks=-1) for n, s in sources.items()}


def _add_shared(graph: dict[Any, Any], key: str, shared: Mapping[str, Any]) -> dict[str, TaskRef]:
    """Add a node with what all tiles share; returns the keyword by which a tile's task takes it."""
    if not shared:
        return {}
    graph[key] = DataNode(key, shared)
    return {"shared": TaskRef(key)}


def _ref(key: Any) -> TaskRef | None:
    return None if key is None else TaskRef(key)


def _window_refs(
    arrays: Mapping[str, da.Array], reader: Reader, tile: TileSpec
) -> tuple[dict[str, Window], list[TaskRef]]:
    windows = reader.windows({n: a.chunks for n, a in arrays.items()}, tile)
    refs = [TaskRef((arrays[n].name, *p.index)) for n, w in windows.items() for p in w.pieces]
    return windows, refs


def _dask_array(
    key: str, graph: dict[Any, Any], inputs: Sequence[da.Array], chunks: Any, dtype: Any = np.float32
) -> Any:
    layers = HighLevelGraph.from_collections(key, graph, dependencies=inputs)
    return da.Array(layers, key, chunks=chunks, dtype=dtype, meta=np.empty((0,) * len(chunks), dtype))


def _add_pass(
    graph: dict[Any, Any],
    prefix: str,
    one: Pass,
    arrays: Mapping[str, da.Array],
    plan: Plan,
    reader: Reader,
    params: Mapping[str, Any],
    earlier: Mapping[int, Any],
    *,
    skip_unseen: bool,
) -> dict[int, Any]:
    """Add the tasks of one pass; returns the key of the states of each time interval."""
    runner = _Summarise(reader, one.summarise, params, skip_unseen)
    partial: dict[int, list[Any]] = {}
    for tile in plan.tiles():
        state = _ref(earlier.get(tile.position[0]))
        part = (f"{prefix}-part", *tile.position)
        windows, refs = _window_refs(arrays, reader, tile)
        graph[part] = Task(part, runner, tile, windows, state, *refs)
        partial.setdefault(tile.position[0], []).append(part)
    done = {}
    for t, parts in partial.items():
        merged = _add_merges(graph, f"{prefix}-merge", t, parts, one)
        done[t] = (f"{prefix}-state", t)
        graph[done[t]] = Task(done[t], _Solve(one, params), _ref(earlier.get(t)), *map(TaskRef, merged))
    return done


def _add_merges(graph: dict[Any, Any], prefix: str, t: int, parts: list[Any], one: Pass) -> list[Any]:
    """Merge summaries level by level until one task can take what is left."""
    level = 0
    while len(parts) > _MERGE_WIDTH:
        keys = [(prefix, t, level, n) for n in range(-(-len(parts) // _MERGE_WIDTH))]
        for n, key in enumerate(keys):
            group = parts[n * _MERGE_WIDTH : (n + 1) * _MERGE_WIDTH]
            graph[key] = Task(key, _Merge(one.merge), *map(TaskRef, group))
        parts, level = keys, level + 1
    return parts


@dataclass(frozen=True)
class _Merge:
    merge: Callable[[Any, Any], Any]

    def __call__(self, *parts: list[Any]) -> list[Any]:
        merged = list(parts[0])
        for part in parts[1:]:
            merged = [self._pair(a, b) for a, b in zip(merged, part, strict=True)]
        return merged

    def _pair(self, one: Any, other: Any) -> Any:
        if one is None or other is None:
            return other if one is None else one
        return self.merge(one, other)


@dataclass(frozen=True)
class _Solve:
    one: Pass
    params: Mapping[str, Any]

    def __call__(self, states: Sequence[State] | None, *parts: list[Any]) -> list[State]:
        merged = _Merge(self.one.merge)(*parts)
        before = states or [{}] * len(merged)
        # A date of which nothing was seen has nothing to know.
        return [{} if m is None else self.one.solve(m, s, **self.params) for m, s in zip(merged, before, strict=True)]


def _stack(values: Sequence[Any], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.stack([np.asarray(v, dtype) for v in values]).reshape(len(values), *shape)


def _eager_states(
    sources: Mapping[str, Source],
    plan: Plan,
    reader: Reader,
    passes: Sequence[Pass],
    params: Mapping[str, Any],
    *,
    skip_unseen: bool = True,
) -> dict[int, Any]:
    states: dict[int, Any] = {}
    for one in passes:
        runner = _Summarise(reader, one.summarise, params, skip_unseen)
        parts: dict[int, list[Any]] = {}
        for tile, windows, chunks in _eager_tiles(sources, plan, reader):
            t = tile.position[0]
            part = runner(tile, windows, states.get(t), *chunks)
            parts[t] = [_Merge(one.merge)(parts[t][0], part)] if t in parts else [part]
        states = {t: _Solve(one, params)(states.get(t), *part) for t, part in parts.items()}
    return states


def _run_eagerly(
    sources: Mapping[str, Source],
    plan: Plan,
    reader: Reader,
    runner: Callable[..., Any],
    states: Mapping[int, Any],
    chunks: tuple[tuple[int, ...], ...],
) -> NDArray[np.float32]:
    out = np.empty(tuple(map(sum, chunks)), np.float32)
    edges = [np.concatenate([[0], np.cumsum(c)]) for c in chunks]
    for tile, windows, inputs in _eager_tiles(sources, plan, reader):
        t, i, j = tile.position
        place = tuple(slice(e[n], e[n + 1]) for e, n in zip(edges, (t, 0, i, j), strict=True))
        out[place] = runner(tile, windows, states.get(t), *inputs)
    return out


def _eager_tiles(sources: Mapping[str, Source], plan: Plan, reader: Reader) -> Any:
    sizes = {n: s.chunks for n, s in sources.items()}
    for tile in plan.tiles():
        windows = reader.windows(sizes, tile)
        yield tile, windows, [sources[n].array for n, w in windows.items() for _ in w.pieces]
