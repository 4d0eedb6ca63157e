"""Metrics do not depend on chunks, on pixels that were not seen, or on being computed at once."""

from __future__ import annotations

import pickle

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import xrs.quality as quality
from xrs.errors import RadiometryError

SIZE = (2, 3, 76, 84)


def cube(values: np.ndarray, pixel: float = 1.0) -> xr.DataArray:
    dims = ("time", "band", "y", "x")[4 - values.ndim :]
    height, width = values.shape[-2:]
    coords = {
        "y": (np.arange(height)[::-1] + 0.5) * pixel,
        "x": (np.arange(width) + 0.5) * pixel,
        "band": [f"B{i}" for i in range(values.shape[-3])],
        "time": np.array(["2020-01-01", "2020-02-01"], "datetime64[ns]"),
    }
    return xr.DataArray(values.astype("float32"), dims=dims, coords={d: coords[d] for d in dims})


def images(seed: int = 0, gaps: float = 0.0) -> tuple[xr.DataArray, xr.DataArray]:
    rng = np.random.default_rng(seed)
    truth = 0.3 + 0.02 * np.cumsum(rng.normal(size=SIZE), axis=3)
    estimate = truth + 0.02 * rng.normal(size=SIZE)
    for image in (truth, estimate):
        image[rng.random(SIZE) < gaps] = np.nan
    return cube(estimate), cube(truth)


def fused_case() -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    _, truth = images(1)
    ms = truth.coarsen(y=4, x=4).mean()
    noise = cube(0.01 * np.random.default_rng(2).normal(size=SIZE))
    return truth + noise, ms, truth.mean("band")


class CountingScheduler:
    """A scheduler that counts how often something is computed."""

    def __init__(self, allowed: int = 0) -> None:
        self.allowed = allowed
        self.count = 0

    def __call__(self, graph, keys, **kwargs):
        self.count += 1
        assert self.count <= self.allowed, "something was computed"
        return dask.get(graph, keys, **kwargs)


chunkings = st.tuples(st.integers(1, 2), st.just(3), st.integers(20, 90), st.integers(20, 90))


def rechunked(array: xr.DataArray, chunks: tuple[int, ...]) -> xr.DataArray:
    return array.chunk(dict(zip(("time", "band", "y", "x"), chunks, strict=True)))


class TestChunks:
    estimate, reference = images(gaps=0.0002)
    expected = quality.evaluate(estimate, reference, ratio=4)

    @settings(max_examples=4, deadline=None)
    @given(chunkings, chunkings)
    def test_any_chunking_gives_the_same(self, first, second):
        found = quality.evaluate(rechunked(self.estimate, first), rechunked(self.reference, second), ratio=4)
        xr.testing.assert_allclose(found.compute(scheduler="sync"), self.expected, rtol=1e-9)

    def test_slivers_of_one_pixel(self):
        chunks = {"y": (1, 75), "x": (83, 1)}
        found = quality.evaluate(self.estimate.chunk(chunks), self.reference, ratio=4)
        xr.testing.assert_allclose(found.compute(scheduler="sync"), self.expected, rtol=1e-9)

    def test_small_numpy_tiles_give_the_same(self, monkeypatch):
        monkeypatch.setattr("xrs.lazy.plan._EAGER_TILE", "1536KiB")
        xr.testing.assert_allclose(quality.evaluate(self.estimate, self.reference, ratio=4), self.expected, rtol=1e-9)

    @pytest.mark.parametrize("convention", ["toolbox", "paper"])
    @pytest.mark.parametrize("side", [7, 12])
    def test_full_resolution(self, convention, side):
        fused, ms, pan = fused_case()
        expected = quality.evaluate_fullres(fused, ms, pan, convention=convention)
        chunked = [
            rechunked(fused, (1, 3, 4 * side, 33)),
            rechunked(ms, (2, 3, side, side)),
            pan.chunk({"y": 37, "x": 4 * side}),
        ]
        found = quality.evaluate_fullres(*chunked, convention=convention).compute(scheduler="sync")
        xr.testing.assert_allclose(found, expected, rtol=1e-6)


class TestLaziness:
    def test_nothing_is_computed_until_asked(self):
        lazy = [c.chunk({"y": 40, "x": 40}) for c in images()]
        with dask.config.set(scheduler=CountingScheduler()):
            table = quality.evaluate(*lazy, ratio=4)
            one = quality.cc(*lazy)
            full = quality.evaluate_fullres(*(c.chunk({"y": 19}) for c in fused_case()))
        assert all(da.Array is type(v.data) for v in [*table.data_vars.values(), one, *full.data_vars.values()])

    def test_all_metrics_share_one_walk(self):
        lazy = [c.chunk({"y": 40, "x": 40}) for c in images()]
        scheduler = CountingScheduler(allowed=1)
        with dask.config.set(scheduler=scheduler):
            quality.evaluate(*lazy, ratio=4).compute()
        assert scheduler.count == 1

    def test_names_are_deterministic_and_graphs_travel(self):
        lazy = [c.chunk({"y": 40, "x": 40}) for c in images()]
        one, other = (quality.evaluate(*lazy, ratio=4) for _ in range(2))
        assert one.q2n.data.name == other.q2n.data.name
        assert one.q2n.data.name != quality.evaluate(*lazy, ratio=4, border=1).q2n.data.name
        again = pickle.loads(pickle.dumps(one))
        xr.testing.assert_identical(again.compute(scheduler="sync"), one.compute(scheduler="sync"))

    def test_raw_numbers_are_refused_when_computed(self):
        lazy = [(c * 10000).chunk({"y": 40}) for c in images()]
        table = quality.evaluate(*lazy, ratio=4)
        with pytest.raises(RadiometryError, match="peak"):
            table.compute(scheduler="sync")


class TestMissingPixels:
    def test_values_under_gaps_do_not_matter(self):
        estimate, reference = images()
        gap = {"y": slice(10, 14), "x": slice(20, 23)}
        reference[{**gap, "band": 1}] = np.nan
        other = estimate.copy()
        other[{**gap, "band": 1}] = 9.0
        # Of one band alone: per-band metrics; the whole spectrum: angles and hypercomplex blocks.
        first, second = (quality.evaluate(e, reference, ratio=4) for e in (estimate, other))
        xr.testing.assert_allclose(first, second, rtol=1e-12)
        missing = estimate.copy()
        missing[{**gap, "band": 1}] = np.nan
        xr.testing.assert_allclose(first, quality.evaluate(missing, reference, ratio=4), rtol=1e-12)

    @settings(max_examples=10, deadline=None)
    @given(st.integers(0, 1000), st.floats(0.0, 0.3))
    def test_pixel_metrics_are_those_of_the_seen_pixels(self, seed, share):
        estimate, reference = (c.isel(time=0) for c in images(seed, share))
        e, r = (c.values.astype("float64") for c in (estimate, reference))
        seen = np.isfinite(e + r)
        error = np.where(seen, e - r, 0.0)
        expected = np.sqrt((error**2).sum(axis=(1, 2)) / seen.sum(axis=(1, 2)))
        np.testing.assert_allclose(quality.rmse(estimate, reference), expected, rtol=1e-9)
        whole = seen.all(axis=0)
        dot = (e * r).sum(axis=0)[whole]
        norm = np.sqrt((e**2).sum(axis=0) * (r**2).sum(axis=0))[whole]
        angles = np.degrees(np.arccos(np.clip(dot / norm, -1, 1)))
        np.testing.assert_allclose(float(quality.sam(estimate, reference)), angles.mean(), rtol=1e-9)

    def test_a_hole_takes_away_its_windows_only(self):
        estimate, reference = (c.isel(time=0) for c in images())
        holed = reference.copy()
        holed[{"y": slice(40, None)}] = np.nan
        top = {"y": slice(0, 40)}
        for metric in ("ssim", "uiqi", "scc", "rmse", "cc", "sam"):
            kwargs = {"data_range": 1.0} if metric == "ssim" else {}
            function = getattr(quality, metric)
            expected = function(estimate.isel(top), reference.isel(top), **kwargs)
            xr.testing.assert_allclose(function(estimate, holed, **kwargs), expected, rtol=1e-9)

    def test_q2n_leaves_out_blocks_with_gaps(self):
        estimate, reference = (c.isel(time=0, y=slice(0, 64), x=slice(0, 32)) for c in images())
        holed = estimate.copy()
        holed[{"band": 0, "y": 40, "x": 7}] = np.nan
        expected = quality.q2n(estimate.isel(y=slice(0, 32)), reference.isel(y=slice(0, 32)))
        xr.testing.assert_allclose(quality.q2n(holed, reference), expected, rtol=1e-12)

    def test_nothing_seen_is_nan(self):
        estimate, reference = images()
        table = quality.evaluate(estimate * np.nan, reference, ratio=4)
        assert all(np.isnan(v).all() for v in table.data_vars.values())

    def test_inputs_stay_as_they_are(self):
        estimate, reference = images(gaps=0.01)
        before = estimate.copy(deep=True), reference.copy(deep=True)
        quality.evaluate(estimate, reference, ratio=4)
        xr.testing.assert_identical(estimate, before[0])
        xr.testing.assert_identical(reference, before[1])
