"""Passes: what must be known of the whole scene, summarised tile by tile, merged and solved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
from dask._task_spec import Task, TaskRef

from xrs.lazy.graph import ref_to, window_refs
from xrs.lazy.plan import Plan, Source, TileSpec
from xrs.lazy.reader import Reader, eager_tiles, unseen
from xrs.lazy.window import Window
from xrs.methods.base import Pass, State, Tile

__all__ = ["add_pass", "eager_states"]

#: Summaries merged by one task.
_MERGE_WIDTH = 16


def add_pass(
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
        state = ref_to(earlier.get(tile.position[0]))
        part = (f"{prefix}-part", *tile.position)
        windows, refs = window_refs(arrays, reader, tile)
        graph[part] = Task(part, runner, tile, windows, state, *refs)
        partial.setdefault(tile.position[0], []).append(part)
    done = {}
    for t, parts in partial.items():
        merged = _add_merges(graph, f"{prefix}-merge", t, parts, one)
        done[t] = (f"{prefix}-state", t)
        graph[done[t]] = Task(done[t], _Solve(one, params), ref_to(earlier.get(t)), *map(TaskRef, merged))
    return done


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
        return None if self.skip_unseen and all(unseen(tile)) else self.summarise(tile, state, **self.params)


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


def eager_states(
    sources: Mapping[str, Source],
    plan: Plan,
    reader: Reader,
    passes: Sequence[Pass],
    params: Mapping[str, Any],
    *,
    skip_unseen: bool = True,
) -> dict[int, Any]:
    """The states of each time interval of sources in memory, after all passes."""
    states: dict[int, Any] = {}
    for one in passes:
        runner = _Summarise(reader, one.summarise, params, skip_unseen)
        parts: dict[int, list[Any]] = {}
        for tile, windows, chunks in eager_tiles(sources, plan, reader):
            t = tile.position[0]
            part = runner(tile, windows, states.get(t), *chunks)
            parts[t] = [_Merge(one.merge)(parts[t][0], part)] if t in parts else [part]
        states = {t: _Solve(one, params)(states.get(t), *part) for t, part in parts.items()}
    return states
