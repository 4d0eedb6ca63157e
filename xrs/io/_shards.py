"""Encode a shard in one go.

Zarr's own encoder makes and copies each inner chunk on its one event loop, where all writers of a process wait for
each other. This one fills a single array and runs beside others; what it gives is what the
specification of the codec ``sharding_indexed`` says, and the same bytes in each run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

__all__ = ["encode_shard"]

#: What stands in the index for both numbers of a chunk that is not stored.
_ABSENT = 2**64 - 1

#: Bytes by which a chunk that does not compress grows: the header of Blosc.
_OVERHEAD = 16

#: Bytes of a CRC-32C.
_CHECKSUM = 4


def encode_shard(
    values: NDArray[Any],
    chunks: Sequence[int],
    shards: Sequence[int],
    fill: Any,
    compress: Callable[[NDArray[Any]], bytes],
) -> NDArray[np.uint8]:
    """Encode the values of one shard.

    Parameters
    ----------
    values : ndarray
        Of the type that is stored; smaller than ``shards`` at the far edges of an array.
    chunks, shards : sequence of int
        Shape of an inner chunk and of a shard, a whole number of inner chunks.
    fill : scalar
        What the rest of an inner chunk at an edge is filled with.
    compress : callable
        From an inner chunk to its bytes.

    Returns
    -------
    ndarray (n,) of uint8
        Inner chunks in C order, then the index (offset and length of each as little-endian ``uint64``) and its
        CRC-32C. Inner chunks beyond the array's edge are not stored.

    References
    ----------
    Zarr specification 3.1, codec ``sharding_indexed``: https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/

    Examples
    --------
    >>> len(encode_shard(np.zeros((2, 4), "u1"), (2, 2), (2, 4), 0, bytes))
    44
    """
    grid = tuple(s // c for s, c in zip(shards, chunks, strict=True))
    index = np.full((*grid, 2), _ABSENT, "<u8")
    most = math.prod(shards) * values.itemsize + math.prod(grid) * _OVERHEAD
    # One large array costs far fewer page faults than many parts and their join.
    shard = np.empty(most + index.nbytes + _CHECKSUM, np.uint8)
    end = 0
    for place in product(*(range(math.ceil(n / c)) for n, c in zip(values.shape, chunks, strict=True))):
        start = end
        end = _append(shard, start, compress(_inner_chunk(values, place, chunks, fill)))
        index[place] = start, end - start
    tail = index.tobytes()
    return shard[: _append(shard, end, tail + google_crc32c.value(tail).to_bytes(_CHECKSUM, "little"))]


def _append(shard: NDArray[np.uint8], start: int, part: bytes) -> int:
    """Copy bytes to a place; where they end."""
    end = start + len(part)
    shard[start:end] = np.frombuffer(part, np.uint8)
    return end


def _inner_chunk(values: NDArray[Any], place: Sequence[int], chunks: Sequence[int], fill: Any) -> NDArray[Any]:
    found = values[tuple(slice(i * c, (i + 1) * c) for i, c in zip(place, chunks, strict=True))]
    if found.shape == tuple(chunks):
        return np.ascontiguousarray(found)
    whole = np.full(chunks, fill, values.dtype)
    whole[tuple(map(slice, found.shape))] = found
    return whole
