"""Tiles: any cutting gives the same pixels, graphs stay small and lazy, memory stays bounded."""

from __future__ import annotations

import itertools
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter

from xrs.errors import ChunkingError, GridMismatchError
from xrs.kernels import decimate, gaussian_taps, merge_moments, moments_of, upsample
from xrs.lazy import Dates, Source, map_series, map_tiles, reduce_tiles
from xrs.lazy.plan import make_plan
from xrs.lazy.twice import read_again
from xrs.methods import Pass, Tile

TAPS = gaussian_taps(0.3, 3)


def _box(tile: Tile, state: Any, *, width: int) -> np.ndarray:
    return tile.core("a", np.stack([uniform_filter(b, width, mode="constant") for b in tile["a"]]))


def _detail(tile: Tile, state: Any) -> np.ndarray:
    low = upsample(decimate(tile["fine"], TAPS, 3), 3)
    coarse = upsample(tile["coarse"], 3)
    return tile.core("fine", coarse + state.get("gain", 1.0) * (tile["fine"] - low)).astype("float32")


GAIN = Pass(
    lambda tile, state: moments_of(tile.core("fine"), tile.seen("fine")),
    merge_moments,
    lambda m, state: {"gain": float(m.std[0])},
)


@st.composite
def _chunks(draw: st.DrawFn, size: int) -> tuple[int, ...]:
    cuts = sorted(draw(st.sets(st.integers(1, size - 1), max_size=4))) if size > 1 else []
    edges = [0, *cuts, size]
    return tuple(b - a for a, b in itertools.pairwise(edges))


@settings(max_examples=30, deadline=None)
@given(
    data=st.data(), height=st.integers(1, 9), width=st.integers(1, 9), gaps=st.floats(0, 0.4), seed=st.integers(0, 99)
)
def test_any_cutting_gives_the_same_pixels(
    data: st.DataObject, height: int, width: int, gaps: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    coarse = rng.random((2, 2, height, width), dtype=np.float32)
    fine = rng.random((2, 1, 3 * height, 3 * width), dtype=np.float32)
    coarse[rng.random(coarse.shape) < gaps] = np.nan
    fine[rng.random(fine.shape) < gaps / 4] = np.nan

    def run(c: Any, f: Any) -> Any:
        sources = {"coarse": Source(c), "fine": Source(f, 3)}
        return map_tiles(_detail, sources, bands=2, factor=3, halo=4, passes=(GAIN,), carriers=("coarse",))

    expected = run(coarse, fine)
    draw = data.draw
    c = da.from_array(coarse, chunks=(draw(_chunks(2)), draw(_chunks(2)), draw(_chunks(height)), draw(_chunks(width))))
    f = da.from_array(fine, chunks=(draw(_chunks(2)), 1, draw(_chunks(3 * height)), draw(_chunks(3 * width))))
    np.testing.assert_allclose(run(c, f).compute(scheduler="sync"), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("width", [3, 7])
def test_halo_and_mirrored_edges_against_scipy(width: int) -> None:
    image = np.random.default_rng(0).random((1, 1, 23, 31), dtype=np.float32)
    expected = uniform_filter(image[0, 0], width, mode="reflect")
    for array in (image, da.from_array(image, chunks=(1, 1, 5, 2))):
        out = map_tiles(_box, {"a": Source(array)}, bands=1, factor=1, halo=width // 2, params={"width": width})
        np.testing.assert_allclose(np.asarray(out)[0, 0], expected, atol=1e-6)


def test_a_scene_smaller_than_the_halo_mirrors_again_and_again() -> None:
    image = np.random.default_rng(0).random((1, 1, 2, 3), dtype=np.float32)
    out = map_tiles(_box, {"a": Source(image)}, bands=1, factor=1, halo=5, params={"width": 11})
    np.testing.assert_allclose(out[0, 0], uniform_filter(image[0, 0], 11, mode="reflect"), atol=1e-6)


def test_tiles_leave_room_for_the_bands_made_on_the_way() -> None:
    source = {"a": Source(da.zeros((1, 1, 2048, 2048), chunks=-1, dtype=np.float32))}
    with dask.config.set({"xrs.task-memory": "64MiB"}):
        out = map_tiles(_box, source, bands=1, factor=1, made=200, params={"width": 1})
    assert 200 * 4 * max(out.chunks[2]) * max(out.chunks[3]) < 64 * 2**20


def test_a_halo_costs_no_more_than_three_tasks_a_chunk() -> None:
    x = da.zeros((1, 1, 256, 256), chunks=(1, 1, 16, 16), dtype="float32")
    local = map_tiles(_box, {"a": Source(x)}, bands=1, factor=1, halo=2, params={"width": 5})
    assert len(dict(dask.optimize(local)[0].__dask_graph__())) <= 3 * local.npartitions


def test_building_reads_nothing_and_tokens_repeat() -> None:
    reads = []

    def block(block_info: Any = None) -> np.ndarray:
        reads.append(1)
        return np.ones((1, 1, 8, 8), "float32")

    x = da.map_blocks(block, chunks=((1,), (1,), (8, 8), (8, 8)), dtype="float32", meta=np.empty((0,) * 4, "float32"))
    sources = {"coarse": Source(x), "fine": Source(da.ones((1, 1, 48, 48), chunks=12, dtype="float32"), 3)}
    made = [
        map_tiles(_detail, sources, bands=1, factor=3, halo=2, passes=(GAIN,), carriers=("coarse",)) for _ in range(2)
    ]
    assert not reads
    assert made[0].name == made[1].name
    made[0].compute(scheduler="sync")
    # Statistics read the sources by themselves, so that no chunk waits for the result's tasks.
    assert len(reads) == 8


def test_series_join_chunks_along_time_and_keep_those_in_space() -> None:
    cube = np.random.default_rng(0).random((9, 2, 4, 5), dtype=np.float32)
    days, targets = np.arange(9.0), np.array([0.5, 4.0])

    def middle(series: np.ndarray, weights: Any, days: np.ndarray, targets: np.ndarray) -> np.ndarray:
        assert weights is None
        return np.stack([np.array([np.interp(t, days, s) for s in series.T], dtype="float32") for t in targets])

    expected = map_series(middle, cube, days, targets)
    lazy = map_series(middle, da.from_array(cube, chunks=(2, 1, 3, 5)), days, targets)
    assert lazy.chunks == ((2,), (2,), (3, 1), (5,))
    np.testing.assert_array_equal(lazy.compute(), expected)
    np.testing.assert_allclose(expected[1], cube[4], rtol=1e-6)


def test_reduction_of_dates() -> None:
    cube = np.random.default_rng(0).random((3, 1, 8, 8), dtype=np.float32)

    def run(array: Any) -> Any:
        return reduce_tiles(
            lambda tile, state: moments_of(tile.core("a")),
            merge_moments,
            lambda m, state: np.array([m.mean[0], m.count]),
            {"a": Source(array)},
            shape=(2,),
        )

    expected = np.stack([cube.mean((1, 2, 3), dtype="f8"), np.full(3, 64.0)], axis=1)
    np.testing.assert_allclose(run(cube), expected, rtol=1e-9)
    np.testing.assert_allclose(run(da.from_array(cube, chunks=(2, 1, 3, 5))).compute(), expected, rtol=1e-9)


class TestPlan:
    def test_tiles_cover_the_scene_once_and_keep_the_bound(self) -> None:
        x = da.zeros((4, 3, 600, 700), chunks=(4, 3, 600, 700), dtype="float32")
        with dask.config.set({"xrs.task-memory": "4MiB"}), pytest.warns(UserWarning, match="more than the 4 MiB"):
            plan = make_plan({"a": Source(x)}, bands=3, factor=1, margin=8)
        for spans, size in ((plan.y, 600), (plan.x, 700)):
            assert [a for a, _ in spans] == [0, *[b for _, b in spans[:-1]]]
            assert spans[-1][1] == size
        side = max(b - a for a, b in (*plan.y, *plan.x))
        assert 2 * 4 * 6 * (side + 16) ** 2 * max(b - a for a, b in plan.time) <= 4 * 2**20 * 1.01

    def test_blocks_are_met_whole_at_any_chunking(self) -> None:
        x = da.zeros((1, 1, 100, 90), chunks=(1, 1, 17, 23), dtype="float32")
        plan = make_plan({"a": Source(x)}, bands=1, factor=1, block=32)
        assert all(a % 32 == 0 for a, _ in (*plan.y, *plan.x))

    def test_too_little_memory_is_told(self) -> None:
        x = da.zeros((1, 50, 64, 64), chunks=64, dtype="float32")
        with dask.config.set({"xrs.task-memory": "10kiB"}), pytest.raises(ChunkingError, match="xrs.task-memory"):
            make_plan({"a": Source(x)}, bands=50, factor=1, margin=8)

    def test_sources_that_do_not_fit(self) -> None:
        sources = {"a": Source(np.zeros((1, 1, 4, 4))), "b": Source(np.zeros((1, 1, 9, 8)), 2)}
        with pytest.raises(GridMismatchError, match="same area"):
            make_plan(sources, bands=1, factor=2)


def test_reading_again_shares_no_task_but_the_same_values() -> None:
    x = da.random.default_rng(0).random((8, 8), chunks=(3, 8)).rechunk((4, 4)).T[1:]
    again = read_again({"x": x}, "token")["x"]
    assert not set(dict(again.__dask_graph__())) & set(dict(x.__dask_graph__()))
    np.testing.assert_array_equal(again.compute(), x.compute())
    held = x.persist(scheduler="sync")
    assert read_again({"x": held}, "token")["x"].name == held.name


@pytest.mark.slow
def test_on_a_cluster() -> None:
    distributed = pytest.importorskip("distributed")
    rng = np.random.default_rng(0)
    coarse, fine = rng.random((2, 2, 20, 20), dtype="f4"), rng.random((2, 1, 60, 60), dtype="f4")

    def run(c: Any, f: Any) -> Any:
        sources = {"coarse": Source(c), "fine": Source(f, 3)}
        return map_tiles(_detail, sources, bands=2, factor=3, halo=4, passes=(GAIN,), carriers=("coarse",))

    expected = run(coarse, fine)
    with distributed.Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
        c, f = da.from_array(coarse, chunks=(1, 2, 7, 20)), da.from_array(fine, chunks=(1, 1, 30, 30))
        np.testing.assert_allclose(run(c, f).compute(), expected, rtol=1e-6, atol=1e-6)
        kept = client.persist([c, f])
        np.testing.assert_allclose(run(*kept).compute(), expected, rtol=1e-6, atol=1e-6)


class TestSeveralDatesAtOnce:
    @staticmethod
    def _seen(tile: Tile, _: Any, **__: Any) -> np.ndarray:
        """The sum of all pairs plus the target, each with the day it was seen."""
        assert tile["pairs"].ndim == tile["target"].ndim == 4
        assert tile.days["pairs"].size == 3
        assert tile.days["target"].size == tile["target"].shape[0]
        pairs = (tile["pairs"] * tile.days["pairs"][:, None, None, None]).sum(axis=0)
        return tile.core("target", tile["target"] + pairs[None]).astype(np.float32)

    @pytest.mark.parametrize("chunks", [(1, 2, 5, 7), (4, 1, 9, 3), (6, 2, 3, 8)])
    @pytest.mark.parametrize("halo", [0, 2])
    def test_steady_sources_are_read_whole_for_every_chunk(self, chunks: tuple[int, ...], halo: int) -> None:
        rng = np.random.default_rng(0)
        pairs, target = (rng.random((n, 2, 9, 8), dtype=np.float32) for n in (3, 6))
        days = {"pairs": np.array([1.0, 2.0, 4.0]), "target": np.arange(6.0)}
        sizes = tuple(min(chunks[0], 6 - n) for n in range(0, 6, chunks[0]))

        def run(*arrays: Any) -> Any:
            sources = {"pairs": Source(arrays[0], steady=True), "target": Source(arrays[1])}
            return map_tiles(self._seen, sources, bands=2, factor=1, halo=halo, dates=Dates(days, sizes))

        lazy = run(da.from_array(pairs, chunks=(2, 1, 4, 8)), da.from_array(target, chunks=chunks))
        assert lazy.chunks[0] == sizes
        expected = target + np.einsum("t,tbyx->byx", days["pairs"], pairs)[None]
        np.testing.assert_allclose(lazy.compute(), expected, rtol=1e-5)
        np.testing.assert_allclose(run(pairs, target), expected, rtol=1e-5)

    def test_passes_see_the_same_tiles(self) -> None:
        rng = np.random.default_rng(1)
        pairs, target = (rng.random((n, 1, 6, 7), dtype=np.float32) for n in (2, 5))
        days = {"pairs": np.zeros(2), "target": np.zeros(5)}
        total = Pass(
            lambda tile, _: tile.core("pairs").sum(dtype=np.float64), lambda a, b: a + b, lambda s, _: {"total": s}
        )

        def apply(tile: Tile, state: Any) -> np.ndarray:
            return (tile.core("target") + state["total"]).astype(np.float32)

        for time in (1, 2, 5):
            sources = {
                "pairs": Source(da.from_array(pairs, chunks=(2, 1, 4, 3)), steady=True),
                "target": Source(da.from_array(target, chunks=(time, 1, 5, 2))),
            }
            sizes = tuple(min(time, 5 - n) for n in range(0, 5, time))
            out = map_tiles(apply, sources, bands=1, factor=1, passes=(total,), dates=Dates(days, sizes))
            np.testing.assert_allclose(out.compute(), target + pairs.sum(dtype=np.float64), rtol=1e-5)

    def test_gaps_are_filled_and_told(self) -> None:
        target = np.ones((2, 1, 6, 6), np.float32)
        target[1, 0, 2, 3] = np.nan

        def apply(tile: Tile, _: Any) -> np.ndarray:
            valid = tile.valid["target"]
            assert valid is not None
            assert np.isfinite(tile["target"]).all()
            return np.where(tile.core("target", valid), 1.0, 5.0).astype(np.float32)

        dates = Dates({"target": np.zeros(2)}, (2,))
        out = map_tiles(apply, {"target": Source(target)}, bands=1, factor=1, halo=1, dates=dates)
        np.testing.assert_array_equal(out == 5.0, np.isnan(target))
