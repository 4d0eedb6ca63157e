"""The tasks of a product: write a region of the base with its first overview, or a region of a coarser one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store
from zarr.codecs import BloscCodec

from xrs.errors import ParameterError
from xrs.io import _journal, _store
from xrs.io._overviews import halve
from xrs.io._packing import Packing, pack, unpack
from xrs.io._regions import Layout
from xrs.lazy.store import Blocks, Step

__all__ = ["CODECS", "VariablePlan", "create_arrays", "steps_of"]

#: Shuffled bytes compress well and fast: neighbours share their exponents.
CODECS = {
    "lz4": partial(BloscCodec, cname="lz4", clevel=5, shuffle="shuffle"),
    "zstd": partial(BloscCodec, cname="zstd", clevel=3, shuffle="shuffle"),
    "none": None,
}


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
    def written_levels(self) -> list[int]:
        """Levels with steps of their own: the first overview is written with the base."""
        return [level for level in range(len(self.layouts)) if level != 1]

    def regions(self) -> Iterator[tuple[int, tuple[int, ...], str]]:
        """Level, index and name of each region."""
        for level in self.written_levels:
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
    make = CODECS[name]
    return None if make is None else make(typesize=itemsize)


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
    again : bool
        Whether an earlier run may have left objects that it did not record.
    """

    store: Store
    plan: VariablePlan
    arrays: tuple[zarr.Array[Any], ...]
    again: bool

    def write_base(self, index: tuple[int, ...], block: NDArray[Any]) -> None:
        """Write a block of the cube and its part of the first overview, then record the region."""
        values = np.asarray(block)
        if values.dtype.kind == "f":
            values = values.astype(np.float32, copy=False)
        self._put(0, index, values)
        if len(self.arrays) > 1:
            self._put(1, index, halve(values))
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
        array = self.arrays[level]
        if self.again:
            # A shard at the array's edge is merged with what is there, which may be half an object.
            _store.delete(self.store, f"{self.plan.path(level)}/{array.metadata.encode_chunk_key(index)}")
        packing = self.plan.packing
        name = self.plan.name
        array[self.plan.layouts[level].window(index)] = values if packing is None else pack(values, packing, name)


def steps_of(store: Store, plan: VariablePlan, variable: xr.DataArray, done: set[str], again: bool) -> list[Step]:
    """The steps that are still to do for a variable, each region after those it is made from."""
    pending = [(level, index, name) for level, index, name in plan.regions() if name not in done]
    if not pending:
        return []
    # Without this Zarr compares each chunk to the fill value first, which costs more than writing it.
    whole = {"write_empty_chunks": True}
    arrays = tuple(
        zarr.open_array(store, path=plan.path(k), mode="r+").with_config(whole) for k in range(len(plan.layouts))
    )
    writer = Writer(store, plan, arrays, again)
    blocks = Blocks.of(variable.data, plan.layouts[0].shards) if any(level == 0 for level, *_ in pending) else None
    return [_step(writer, blocks, level, index, name) for level, index, name in pending]


def _step(writer: Writer, blocks: Blocks | None, level: int, index: tuple[int, ...], name: str) -> Step:
    if level == 0:
        return Step(name, partial(writer.write_base, index), blocks, index)
    return Step(name, partial(writer.write_overview, level, index), after=tuple(_below(writer.plan, level, index)))


def _below(plan: VariablePlan, level: int, index: tuple[int, ...]) -> Iterator[str]:
    """Names of the regions that a region of an overview is made from."""
    # The first overview is written by the steps of the base, shard for shard.
    below = level - 1
    finer = plan.layouts[below]
    *lead, rows, columns = plan.layouts[level].window(index)
    window = (*lead, _twice(rows, finer.shape[-2]), _twice(columns, finer.shape[-1]))
    spans = [range(w.start // s, -(-w.stop // s)) for w, s in zip(window, finer.shards, strict=True)]
    for part in product(*spans):
        yield region_name(0 if below == 1 else below, plan.name, part)


def _twice(window: slice, most: int) -> slice:
    return slice(2 * window.start, min(2 * window.stop, most))
