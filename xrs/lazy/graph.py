"""Pieces of Dask graphs: keys, references to chunks, arrays made of tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import DataNode, Task, TaskRef
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from xrs.lazy.plan import Source, TileSpec
from xrs.lazy.reader import Reader
from xrs.lazy.window import Window
from xrs.methods.base import Deferred

__all__ = ["add_shared", "as_dask", "computed", "dask_array", "joined_dates", "ref_to", "token_of", "window_refs"]


def token_of(*parts: Any) -> str:
    """A key part that tells what is computed from which arrays, the last of ``parts``."""
    *described, arrays = parts
    return str(tokenize(*described, {name: array.name for name, array in arrays.items()}))


def as_dask(sources: Mapping[str, Source]) -> dict[str, da.Array]:
    """The arrays of all sources, those in memory as one chunk."""
    return {n: s.array if s.is_lazy else da.from_array(s.array, chunks=-1) for n, s in sources.items()}


def add_shared(graph: dict[Any, Any], key: str, shared: Mapping[str, Any]) -> dict[str, TaskRef]:
    """Add a node with what all tiles share; returns the keyword by which a tile's task takes it."""
    if not shared:
        return {}
    deferred = any(isinstance(value, Deferred) for value in shared.values())
    graph[key] = Task(key, partial(computed, shared)) if deferred else DataNode(key, shared)
    return {"shared": TaskRef(key)}


def computed(shared: Mapping[str, Any]) -> dict[str, Any]:
    """What all tiles share, deferred values computed."""
    return {name: value.value() if isinstance(value, Deferred) else value for name, value in shared.items()}


def joined_dates(parts: Sequence[Any]) -> Any:
    """Arrays (time, band, y, x) one after the other; lazy if any is."""
    if len(parts) == 1:
        return parts[0]
    lazy = any(isinstance(part, da.Array) for part in parts)
    return da.concatenate(parts) if lazy else np.concatenate(parts)


def ref_to(key: Any) -> TaskRef | None:
    """A reference to a key, if there is one."""
    return None if key is None else TaskRef(key)


def window_refs(
    arrays: Mapping[str, da.Array], reader: Reader, tile: TileSpec
) -> tuple[dict[str, Window], list[TaskRef]]:
    """What a tile reads of each source, and the chunks that hold it."""
    windows = reader.windows({n: a.chunks for n, a in arrays.items()}, tile)
    refs = [TaskRef((arrays[n].name, *p.index)) for n, w in windows.items() for p in w.pieces]
    return windows, refs


def dask_array(
    key: str, graph: dict[Any, Any], inputs: Sequence[da.Array], chunks: Any, dtype: Any = np.float32
) -> Any:
    """An array whose chunks are the tasks ``key`` of a graph."""
    layers = HighLevelGraph.from_collections(key, graph, dependencies=inputs)
    return da.Array(layers, key, chunks=chunks, dtype=dtype, meta=np.empty((0,) * len(chunks), dtype))
