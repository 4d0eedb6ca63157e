"""Read the same sources a second time, under keys of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dask
import dask.array as da
from dask._task_spec import DataNode, GraphNode, convert_legacy_graph
from dask.base import clone_key
from dask.core import flatten
from dask.highlevelgraph import HighLevelGraph

__all__ = ["read_again"]


def read_again(arrays: Mapping[str, da.Array], token: str) -> dict[str, da.Array]:
    """The same arrays from a graph that shares no key with theirs, where it has tasks.

    Two consumers of one graph keep every chunk in memory from the first one's use to the second's.
    A scene's statistics and its result are such consumers: reading twice costs time, holding the scene
    costs memory. Chunks that are in memory or on a cluster already (persisted) stay shared.
    """
    return dict(zip(arrays, (_copy(a, token) for a in dask.optimize(*arrays.values())), strict=True))


def _copy(array: da.Array, token: str) -> da.Array:
    graph = convert_legacy_graph(dict(array.__dask_graph__()))
    names = {key: clone_key(key, token) for key, node in graph.items() if not _is_data(node, graph)}
    if any(key not in names for key in flatten(array.__dask_keys__())):
        return array
    renamed = {k: node for k, node in graph.items() if k not in names}
    renamed |= {new: graph[old].substitute(names, key=new) for old, new in names.items()}
    return _array(array, clone_key(array.name, token), renamed)


def _is_data(node: Any, graph: Mapping[Any, Any]) -> bool:
    """Whether a node holds a value, or stands for one that a cluster holds."""
    return isinstance(node, DataNode) or not isinstance(node, GraphNode) or not node.dependencies <= graph.keys()


def _array(like: da.Array, name: str, graph: dict[Any, Any]) -> da.Array:
    layers = HighLevelGraph.from_collections(name, graph, dependencies=())
    return da.Array(layers, name, chunks=like.chunks, dtype=like.dtype, meta=like._meta)
