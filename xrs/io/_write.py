"""The tasks of a product: write a region of the base with its first overviews, or a region of a coarser one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numcodecs.blosc import Blosc
from numpy.typing import NDArray
from zarr.abc.store import Store
from zarr.codecs import BloscCodec

from xrs.errors import ParameterError
from xrs.io import _journal, _store
from xrs.io._overviews import halve
from xrs.io._packing import Packing, pack, unpack
from xrs.io._regions import Layout, direct_levels
from xrs.io._shards import encode_shard
from xrs.lazy.store import Blocks, Step

__all__ = ["CODECS", "VariablePlan", "create_arrays", "steps_of"]

#: Blosc's compressor and its level. Shuffled bytes compress well and fast: neighbours share their exponents.
CODECS: dict[str, tuple[str, int] | None] = {"lz4": ("lz4", 5), "zstd": ("zstd", 3), "none": None}


@dataclass(frozen=True)
class VariablePlan:
    """How one variable of the cube is stored.

    Attributes
    ----------
    name : str
    dims : tuple of str
    dtype : str
        As stored: ``int16`` for packed floats, ``float32`` for others, any other type as it is.
    packing : Packing, optional
    codec : str
    layouts : tuple of Layout
        Of the base and each overview.
    """

    name: str
    dims: tuple[str, ...]
    dtype: str
    packing: Packing | None
    codec: str
    layouts: tuple[Layout, ...]

    @property
    def direct(self) -> int:
        """Number of overviews that are written with the base."""
        return direct_levels(self.layouts)

    def regions(self) -> Iterator[tuple[int, tuple[int, ...], str]]:
        """Level, index and name of each region; what is written with the base has none of its own."""
        for level in (0, *range(self.direct + 1, len(self.layouts))):
            for index in product(*map(range, self.layouts[level].grid)):
                yield level, index, region_name(level, self.name, index)

    def path(self, level: int) -> str:
        """Where a level lies in the store."""
        return f"{level}/{self.name}"

    def fill_value(self) -> Any:
        """What unwritten values read as."""
        if self.packing is not None:
            return self.packing.fill
        return {"f": float("nan"), "b": False}.get(np.dtype(self.dtype).kind, 0)


def region_name(level: int, name: str, index: tuple[int, ...]) -> str:
    """The key of a region among all regions of a product."""
    return f"{level}/{name}/{'.'.join(map(str, index))}"


def codec_of(name: str, itemsize: int) -> Any:
    """The compressor of a name; None for none."""
    if name not in CODECS:
        raise ParameterError(f"codec={name!r}", f"one of {sorted(CODECS)}", "codec='lz4'")
    found = CODECS[name]
    return None if found is None else BloscCodec(cname=found[0], clevel=found[1], shuffle="shuffle", typesize=itemsize)


def compressor_of(name: str) -> Callable[[NDArray[Any]], bytes]:
    """The function that makes what :func:`codec_of` names in the metadata."""
    found = CODECS[name]
    return np.ndarray.tobytes if found is None else Blosc(*found, shuffle=Blosc.SHUFFLE).encode


def create_arrays(store: Store, plan: VariablePlan, attrs: dict[str, Any]) -> None:
    """Write the metadata of a variable at each level."""
    for level, layout in enumerate(plan.layouts):
        zarr.create_array(
            store,
            name=plan.path(level),
            shape=layout.shape,
            dtype=plan.dtype,
            chunks=layout.chunks,
            shards=layout.shards,
            compressors=codec_of(plan.codec, np.dtype(plan.dtype).itemsize),
            filters=None,
            fill_value=plan.fill_value(),
            attributes=attrs | ({} if plan.packing is None else plan.packing.attrs),
            dimension_names=plan.dims,
            zarr_format=3,
        )


@dataclass(frozen=True)
class Writer:
    """Writes regions of one variable; shared by its tasks, so it must pickle.

    Attributes
    ----------
    store : zarr.abc.store.Store
    plan : VariablePlan
    arrays : tuple of zarr.Array
        One for each level.
    """

    store: Store
    plan: VariablePlan
    arrays: tuple[zarr.Array[Any], ...]

    def write_base(self, index: tuple[int, ...], block: NDArray[Any]) -> None:
        """Write a block of the cube and its part of the first overviews, then record the region."""
        values = np.asarray(block)
        if values.dtype.kind == "f":
            values = values.astype(np.float32, copy=False)
        self._put(0, index, values)
        for level in range(1, self.plan.direct + 1):
            values = halve(values)
            self._put(level, index, values)
        _journal.mark(self.store, region_name(0, self.plan.name, index))

    def write_overview(self, level: int, index: tuple[int, ...], _block: None) -> None:
        """Make a region of an overview from the level before it, then record it."""
        finer = self.arrays[level - 1]
        *lead, rows, columns = self.plan.layouts[level].window(index)
        stored = finer[(*lead, _twice(rows, finer.shape[-2]), _twice(columns, finer.shape[-1]))]
        packing = self.plan.packing
        self._put(level, index, halve(stored if packing is None else unpack(stored, packing)))
        _journal.mark(self.store, region_name(level, self.plan.name, index))

    def _put(self, level: int, index: tuple[int, ...], values: NDArray[Any]) -> None:
        """Store a whole shard, whatever an earlier run may have left in its place."""
        plan, layout = self.plan, self.plan.layouts[level]
        stored = values if plan.packing is None else pack(values, plan.packing, plan.name)
        little = np.dtype(plan.dtype).newbyteorder("<")
        _store.write_made(
            self.store,
            f"{plan.path(level)}/{self.arrays[level].metadata.encode_chunk_key(index)}",
            partial(
                encode_shard,
                np.asarray(stored, little),
                layout.chunks,
                layout.shards,
                plan.fill_value(),
                compressor_of(plan.codec),
            ),
        )


def steps_of(store: Store, plan: VariablePlan, variable: xr.DataArray, done: set[str]) -> list[Step]:
    """The steps that are still to do for a variable, each region after those it is made from."""
    pending = [(level, index, name) for level, index, name in plan.regions() if name not in done]
    if not pending:
        return []
    arrays = tuple(zarr.open_array(store, path=plan.path(k), mode="r") for k in range(len(plan.layouts)))
    writer = Writer(store, plan, arrays)
    blocks = Blocks.of(variable.data, plan.layouts[0].shards) if any(level == 0 for level, *_ in pending) else None
    return [_step(writer, blocks, level, index, name) for level, index, name in pending]


def _step(writer: Writer, blocks: Blocks | None, level: int, index: tuple[int, ...], name: str) -> Step:
    if level == 0:
        return Step(name, partial(writer.write_base, index), blocks, index)
    return Step(name, partial(writer.write_overview, level, index), after=tuple(_below(writer.plan, level, index)))


def _below(plan: VariablePlan, level: int, index: tuple[int, ...]) -> Iterator[str]:
    """Names of the regions that a region of an overview is made from."""
    # The first overviews are written by the steps of the base, shard for shard.
    below = level - 1
    finer = plan.layouts[below]
    *lead, rows, columns = plan.layouts[level].window(index)
    window = (*lead, _twice(rows, finer.shape[-2]), _twice(columns, finer.shape[-1]))
    spans = [range(w.start // s, -(-w.stop // s)) for w, s in zip(window, finer.shards, strict=True)]
    for part in product(*spans):
        yield region_name(0 if below <= plan.direct else below, plan.name, part)


def _twice(window: slice, most: int) -> slice:
    return slice(2 * window.start, min(2 * window.stop, most))
