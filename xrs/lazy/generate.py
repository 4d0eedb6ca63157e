"""Arrays that are computed from where a block lies, and from nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import dask.array as da
from dask.base import tokenize
from dask.blockwise import blockwise
from dask.highlevelgraph import HighLevelGraph
from dask.layers import ArraySliceDep
from numpy.typing import DTypeLike, NDArray

__all__ = ["generate"]


def generate(
    function: Callable[..., NDArray[Any]],
    shape: tuple[int, ...],
    chunks: Any,
    dtype: DTypeLike,
    *,
    params: Mapping[str, Any],
    name: str = "generate",
) -> da.Array:
    """A Dask array whose blocks are ``function(slices, **params)``.

    One task a chunk; the graph is one symbolic layer, so its cost does not grow with the array until it is
    computed. The name is a hash of the function, the parameters and the chunks: equal calls share tasks.

    Parameters
    ----------
    function : callable
        Pure and picklable; gets a tuple with the slice of its block along each axis.
    shape : tuple of int
    chunks : int, tuple or str
        Anything that :func:`dask.array.core.normalize_chunks` takes.
    dtype : dtype
        What ``function`` returns.
    params : mapping
        Keywords of ``function``; small, as every task carries them.
    name : str
        Prefix of the keys.

    Examples
    --------
    >>> import numpy as np
    >>> def corner(slices, step):
    ...     rows, columns = (np.arange(s.start, s.stop) * step for s in slices)
    ...     return rows[:, None] + columns
    >>> generate(corner, (4, 6), (2, 3), "int64", params={"step": 10})[3, 5].compute()
    np.int64(80)
    """
    blocks = da.core.normalize_chunks(chunks, shape, dtype=dtype)
    key = f"{name}-{tokenize(function, shape, blocks, dtype, dict(params))}"
    axes = tuple(range(len(shape)))
    layer = blockwise(partial(function, **params), key, axes, ArraySliceDep(blocks), axes, numblocks={})
    return da.Array(HighLevelGraph.from_collections(key, layer), key, blocks, dtype=dtype)
