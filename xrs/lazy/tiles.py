"""The one way from observations to a result: halo, change of resolution, several grids, trim.

A graph has one task a tile (and one more for each pass that learns something of the scene). The
task takes the chunks its window touches, wherever their edges are, so inputs need no rechunking and
grids need no common chunks. NumPy inputs walk through the same tiles without a graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import Task, TaskRef
from numpy.typing import NDArray

from xrs.errors import ParameterError
from xrs.kernels.types import Float64
from xrs.lazy.graph import add_shared, as_dask, computed, dask_array, ref_to, token_of, window_refs
from xrs.lazy.passes import add_pass, eager_states
from xrs.lazy.plan import Plan, Source, TileSpec, make_plan
from xrs.lazy.reader import Reader, eager_tiles, read_all, unseen
from xrs.lazy.twice import read_again
from xrs.lazy.window import Window, blank_unseen
from xrs.methods.base import Pass, State, Tile

__all__ = ["Dates", "map_series", "map_tiles", "reduce_tiles"]

_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Dates:
    """Dates that a method sees at once.

    Attributes
    ----------
    days : mapping of str to ndarray, float64, (date,)
        When each image was taken: of steady sources by name, and of the output as ``target``.
    chunks : tuple of int
        How many dates are put out at once.
    """

    days: Mapping[str, Float64]
    chunks: tuple[int, ...]


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
    dates: Dates | None = None,
    made: int = 0,
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
        More of ``apply``'s, too large to travel with every task: one node of the graph, where deferred values are
        computed.
    carriers : sequence of str
        Observations whose bands are put out; see :func:`xrs.lazy.window.blank_unseen`.
    bandwise : bool
        Whether an output band is determined by its own band alone.
    aside : sequence of str
        Observations that only passes look at: their gaps leave none in the output.
    dates : Dates, optional
        If given, the method sees all dates of a chunk of the output at once: its tile has arrays (date, band, y, x)
        and their ``days``, it returns (date, band, y, x), and puts NaN back itself.
    made : int
        Bands the method makes on its way to those it puts out, where these are fewer; tiles are cut accordingly.
    name : str
        Prefix of the graph's keys.

    Returns
    -------
    numpy.ndarray or dask.array.Array, (time, band, y, x)
        Lazy if any source is. NaN where a pixel's own inputs are missing.
    """
    params = dict(params or {})
    times = None if dates is None else dates.chunks
    plan = make_plan(sources, bands=max(bands, made), factor=factor, margin=2 * halo, block=block, times=times)
    _check_size(plan, passes, params)
    reader = _reader(sources, halo, 2 * halo, dates)
    shared = dict(shared or {})
    aside = tuple(sources if dates is not None else aside)
    runner = _Apply(reader, apply, params, factor, bands, tuple(carriers), bandwise, aside)
    if not any(s.is_lazy for s in sources.values()):
        states = eager_states(sources, plan, reader, passes, params)
        walk = partial(runner, shared=computed(shared))
        return _run_eagerly(sources, plan, reader, walk, states, plan.chunks(bands, factor))
    arrays = as_dask(sources)
    token = token_of(runner, shared, passes, plan, arrays)
    graph: dict[Any, Any] = {}
    extra = add_shared(graph, f"{name}-shared-{token}", shared)
    inputs: list[da.Array] = []
    state_keys: dict[int, Any] = {}
    if passes:
        # Statistics read the sources through keys of their own: were they shared, every chunk would
        # be held from the first tile's statistics until the last tile's result.
        again = read_again(arrays, token)
        inputs += list(again.values())
        for number, one in enumerate(passes):
            prefix = f"{name}-pass{number}-{token}"
            state_keys = add_pass(graph, prefix, one, again, plan, reader, params, state_keys, skip_unseen=True)
    key = f"{name}-{token}"
    for tile in plan.tiles():
        t, i, j = tile.position
        windows, refs = window_refs(arrays, reader, tile)
        state = ref_to(state_keys.get(t))
        graph[key, t, 0, i, j] = Task((key, t, 0, i, j), runner, tile, windows, state, *refs, **extra)
    inputs += list(arrays.values())
    return dask_array(key, graph, inputs, plan.chunks(bands, factor))


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
    again: bool = False,
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
    again : bool
        Whether the sources are read through keys of their own: for statistics that enter a result made of the same
        sources, which would else be held from one use to the other.
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
    reader = _reader(sources, halo, margin, None)
    one = Pass(summarise, merge, finish)  # type: ignore[arg-type]  # a last pass may solve to an array
    if not any(s.is_lazy for s in sources.values()):
        states = eager_states(sources, plan, reader, (one,), params, skip_unseen=False)
        finished = [value for t in range(len(plan.time)) for value in states[t]]
        return np.stack([np.asarray(v, dtype) for v in finished]).reshape(len(finished), *shape)
    arrays = as_dask(sources)
    token = token_of((one, reader, params, shape), plan, arrays)
    if again:
        arrays = read_again(arrays, token)
    graph: dict[Any, Any] = {}
    key = f"{name}-{token}"
    done = add_pass(graph, f"{name}-states-{token}", one, arrays, plan, reader, params, {}, skip_unseen=False)
    zeros = (0,) * len(shape)
    for t, state_key in done.items():
        graph[key, t, *zeros] = Task((key, t, *zeros), _stack, TaskRef(state_key), shape, np.dtype(dtype))
    chunks = (tuple(b - a for a, b in plan.time), *((n,) for n in shape))
    return dask_array(key, graph, list(arrays.values()), chunks, dtype)


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
    arrays = as_dask(sources)
    key = f"{name}-{token_of(runner, plan, arrays)}"
    graph: dict[Any, Any] = {}
    for tile in plan.tiles():
        index = (key, 0, 0, *tile.position[1:])
        windows, refs = window_refs(arrays, reader, tile)
        graph[index] = Task(index, runner, tile, windows, None, *refs)
    return dask_array(key, graph, list(arrays.values()), chunks)


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
        shape: tuple[int, ...] = (self.bands, height * self.factor, width * self.factor)
        if self.reader.days is not None:
            shape = (dates, *shape)
        images = (
            self._of_date(tile, states[t] if states else {}, shape, shared)
            for t, tile in enumerate(self.reader.tiles(spec, windows, chunks))
        )
        if self.reader.days is not None:
            return next(images)
        if dates == 1:
            return next(images)[None]
        out = np.empty((dates, *shape), np.float32)
        for t, image in enumerate(images):
            out[t] = image
        return out

    def _of_date(
        self, tile: Tile, state: State, shape: tuple[int, ...], shared: Mapping[str, Any]
    ) -> NDArray[np.float32]:
        if any(unseen(tile, self.aside)):
            return np.full(shape, np.nan, np.float32)
        image = self.apply(tile, state, **self.params, **shared)
        if image.dtype != np.float32 or not image.flags.owndata:
            # A view may show the input, which must not be written to, and would hold all of it.
            image = np.array(image, np.float32)
        blank_unseen(image, tile, self.factor, self.carriers, self.bandwise, self.aside)
        return image


@dataclass(frozen=True)
class _Series:
    apply: Callable[..., NDArray[np.float32]]
    days: NDArray[np.float64]
    targets: NDArray[np.float64]
    params: Mapping[str, Any]

    def __call__(self, spec: TileSpec, windows: Mapping[str, Window], states: Any, *chunks: Any) -> Any:
        images = read_all(windows, chunks)
        series = images["series"]
        flat = {name: image.reshape(image.shape[0], -1) for name, image in images.items()}
        out = self.apply(flat["series"], flat.get("weights"), self.days, self.targets, **self.params)
        return out.reshape(self.targets.size, *series.shape[1:])


def _reader(sources: Mapping[str, Source], halo: int, margin: int, dates: Dates | None) -> Reader:
    return Reader(
        {n: s.factor for n, s in sources.items()},
        halo,
        margin,
        tuple(n for n, s in sources.items() if s.steady),
        None if dates is None else dates.days,
        tuple(n for n, s in sources.items() if s.reflectance and s.is_lazy),
    )


def _check_size(plan: Plan, passes: Sequence[Pass], params: Mapping[str, Any]) -> None:
    least = max((one.least(**params) for one in passes if one.least is not None), default=0)
    size = plan.y[-1][1], plan.x[-1][1]
    if min(size) < least:
        raise ParameterError(
            f"a scene of {size[0]} by {size[1]} coarsest pixels, from which a method is to learn",
            f"{least} or more along each side",
            "a larger scene, smaller patches (side=), a trained model, or fewer coarse groups (bands=)",
        )


def _stack(values: Sequence[Any], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.stack([np.asarray(v, dtype) for v in values]).reshape(len(values), *shape)


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
    for tile, windows, inputs in eager_tiles(sources, plan, reader):
        t, i, j = tile.position
        place = tuple(slice(e[n], e[n + 1]) for e, n in zip(edges, (t, 0, i, j), strict=True))
        out[place] = runner(tile, windows, states.get(t), *inputs)
    return out
