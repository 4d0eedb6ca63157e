"""Shards against Zarr's own encoder and reader."""

from __future__ import annotations

import dask
import numpy as np
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs.blosc import Blosc
from zarr.codecs import BloscCodec

from xrs.io._shards import encode_shard
from xrs.io.product import to_product

LZ4 = {"cname": "lz4", "clevel": 5}


def entries(content, grid):
    """The bytes of each inner chunk, as the index at the shard's end tells."""
    index = np.frombuffer(content[-(16 * np.prod(grid) + 4) : -4], "<u8").reshape(-1, 2)
    return [None if start == 2**64 - 1 else content[start : start + n] for start, n in index.tolist()]


def zarr_shard(values, chunks, shards, fill):
    store = zarr.storage.MemoryStore()
    array = zarr.create_array(
        store,
        shape=values.shape,
        dtype=values.dtype,
        chunks=chunks,
        shards=shards,
        fill_value=fill,
        compressors=BloscCodec(**LZ4, shuffle="shuffle", typesize=values.itemsize),
        config={"write_empty_chunks": True},
    )
    array[:] = values
    key = "c" + "/0" * values.ndim
    return store, key, store._store_dict[key].to_bytes()


@given(
    st.lists(st.tuples(st.integers(1, 7), st.integers(1, 4), st.floats(0, 1)), min_size=1, max_size=4),
    st.sampled_from(["f4", "i2", "u1", "?"]),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_each_inner_chunk_is_that_of_zarr(axes, dtype, seed):
    chunks = tuple(c for c, _, _ in axes)
    grid = tuple(n for _, n, _ in axes)
    shards = tuple(c * n for c, n, _ in axes)
    shape = tuple(max(1, round(s * part)) for s, (_, _, part) in zip(shards, axes, strict=True))
    values = (np.random.default_rng(seed).random(shape) * 9).astype(dtype)
    fill = float("nan") if dtype == "f4" else np.dtype(dtype).type(0).item()
    store, key, expected = zarr_shard(values, chunks, shards, fill)
    made = encode_shard(values, chunks, shards, fill, Blosc(**LZ4, shuffle=Blosc.SHUFFLE).encode).tobytes()
    assert entries(made, grid) == entries(expected, grid)
    # Zarr checks the index against its checksum.
    store._store_dict[key] = store._store_dict[key].from_bytes(made)
    np.testing.assert_array_equal(zarr.open_array(store, mode="r")[...], values)


def test_what_does_not_compress():
    values = np.random.default_rng(0).integers(0, 256, (64, 64), "u1")
    blosc = Blosc(**LZ4, shuffle=Blosc.SHUFFLE).encode
    assert entries(encode_shard(values, (1, 1), (64, 64), 0, np.ndarray.tobytes).tobytes(), (64, 64)) == [
        bytes([value]) for value in values.ravel().tolist()
    ]
    parts = entries(encode_shard(values, (1, 2), (64, 64), 0, blosc).tobytes(), (64, 32))
    assert parts == [blosc(row) for row in values.reshape(-1, 2)]


def test_bytes_are_those_of_one_thread(tmp_path):
    """On the main thread Blosc would take several, and put its blocks in the order in which they end."""
    values = np.random.default_rng(1).normal(size=(1024, 4096)).astype("f4")
    cube = xr.DataArray(values, dims=("y", "x"), coords={"y": -np.arange(1024.0), "x": np.arange(4096.0)}).chunk()
    contents = set()
    for turn in range(4):
        place = tmp_path / f"{turn}.zarr"
        with dask.config.set(scheduler="synchronous"):
            to_product(cube, place, overviews=False, chunks={"y": 1024, "x": 4096}, progress=False, stac_item=False)
        (shard,) = (path for path in (place / "0" / "data" / "c").rglob("*") if path.is_file())
        contents.add(shard.read_bytes())
    assert len(contents) == 1
