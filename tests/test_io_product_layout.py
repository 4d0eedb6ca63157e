"""Planning of shards, packing and halving: properties over any shape."""

from __future__ import annotations

import math

import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from xrs.cube import assign_geobox
from xrs.errors import RadiometryError
from xrs.io._overviews import halve
from xrs.io._packing import Packing, pack, unpack
from xrs.io._regions import direct_levels, level_count, plan_layouts
from xrs.io.product import open_product, to_product

DIMS = ("time", "band", "y", "x")


def regular(n, size):
    return (size,) * (n // size) + ((n % size,) if n % size else ())


@st.composite
def cubes(draw):
    shape = (
        draw(st.integers(1, 400)),
        draw(st.integers(1, 12)),
        draw(st.integers(1, 12_000)),
        draw(st.integers(1, 12_000)),
    )
    if draw(st.booleans()):
        return shape, None
    return shape, tuple(regular(n, draw(st.integers(1, min(n, 3000)))) for n in shape)


@given(cubes(), st.integers(0, 4))
@settings(max_examples=200, deadline=None)
def test_layouts_hold_together(cube, levels):
    shape, upstream = cube
    levels = min(levels, level_count(*shape[2:], True))
    layouts = plan_layouts(DIMS, shape, upstream, 4, levels)
    assert len(layouts) == levels + 1
    direct = direct_levels(layouts)
    for level, layout in enumerate(layouts):
        assert layout.shape == (*shape[:2], *(math.ceil(n / 2**level) for n in shape[2:]))
        assert all(shard % chunk == 0 for shard, chunk in zip(layout.shards, layout.chunks, strict=True))
        if level:
            # Each region of an overview is made from whole regions of the base, of the first ones from a single one.
            assert level > direct or layout.grid == layouts[0].grid
            for n, shard, fine in zip(layout.shape[2:], layout.shards[2:], layouts[0].shards[2:], strict=True):
                assert n <= shard or shard * 2 ** min(level, direct) == fine
    base = layouts[0]
    if upstream is not None:
        aligned = [s >= n or s % sizes[0] == 0 for s, n, sizes in zip(base.shards, shape, upstream, strict=True)]
        chunk = math.prod(sizes[0] for sizes in upstream) * 4
        # A chunk of odd or of prime size may have to be regrouped; others never.
        if chunk <= 2**27 and all(sizes[0] % 64 == 0 or len(sizes) == 1 for sizes in upstream[2:]):
            assert all(aligned)
    if upstream is None:
        assert math.prod(min(s, n) for s, n in zip(base.shards, shape, strict=True)) * 4 <= 2**27


@given(
    st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40)),
    st.data(),
    st.sampled_from([None, "int16"]),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_shape_and_chunks_come_back(shape, data, packing):
    chunks = tuple(data.draw(st.integers(1, n)) for n in shape)
    shards = {"band": data.draw(st.integers(1, 3))} | {d: 2 * data.draw(st.integers(5, 20)) for d in "yx"}
    values = np.random.default_rng(sum(shape)).normal(0, 0.5, shape).astype("f4")
    values[values > 0.8] = np.nan
    cube = xr.DataArray(
        da.from_array(values, chunks=chunks), dims=("band", "y", "x"), coords={"band": list("abc")[: shape[0]]}
    )
    cube = assign_geobox(cube, GeoBox(shape[1:], Affine(10, 0, 0, 0, -10, 0), "EPSG:32631"))
    levels = min(2, max(shape[1] - 1, shape[2] - 1).bit_length())
    store = zarr.storage.MemoryStore()
    to_product(cube, store, shards=shards, overviews=levels, packing=packing, progress=False, stac_item=False)
    expected = values
    for level in range(levels + 1):
        if level:
            padded = np.pad(expected, [(0, 0), *((0, n % 2) for n in expected.shape[1:])], constant_values=np.nan)
            blocks = np.stack([padded[:, i::2, j::2] for i in (0, 1) for j in (0, 1)])
            known = np.isfinite(blocks).sum(0)
            expected = np.where(known, np.nansum(blocks, 0, dtype="f8") / np.maximum(known, 1), np.nan)
        found = open_product(store, level=level)["data"].values
        tolerance = 1e-6 if packing is None else (level + 1) * 0.5e-4 + 1e-6
        np.testing.assert_allclose(found, expected, atol=tolerance, rtol=0)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_halving_is_the_mean_of_what_is_known(height, width, seed):
    values = np.random.default_rng(seed).normal(size=(2, height, width)).astype("f4")
    values[values > 0.5] = np.nan
    expected = xr.DataArray(values, dims=("b", "y", "x")).coarsen(y=2, x=2, boundary="pad").mean()
    np.testing.assert_allclose(halve(values), expected.values, rtol=1e-5, atol=1e-6)
    flags = np.arange(height * width, dtype="u1").reshape(height, width)
    np.testing.assert_array_equal(halve(flags), flags[::2, ::2])


@given(st.floats(1e-5, 1), st.floats(-10, 10), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_packing_errs_by_half_a_step_at_most(scale, offset, seed):
    packing = Packing(scale, offset)
    values = (offset + scale * np.random.default_rng(seed).uniform(-32766, 32766, 500)).astype("f4")
    values[::7] = np.nan
    back = unpack(pack(values, packing, "a"), packing)
    np.testing.assert_array_equal(np.isnan(back), np.isnan(values))
    # Half a step, and the rounding of float32 at this magnitude.
    bound = 0.5 * scale + np.spacing(np.nanmax(np.abs(values)))
    assert np.nanmax(np.abs(back.astype("f8") - values)) <= bound * (1 + 1e-9)


@pytest.mark.parametrize("value", [np.inf, -np.inf, 3.3, -3.3, -3.2768])
def test_what_int16_cannot_hold_is_refused(value):
    with pytest.raises(RadiometryError, match="band"):
        pack(np.array([0.1, value, np.nan]), Packing(), "band")
    assert pack(np.array([3.2767, -3.2767]), Packing(), "band").tolist() == [32767, -32767]
