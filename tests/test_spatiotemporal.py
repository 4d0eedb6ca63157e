"""What every spatio-temporal method must pass, and how cubes of two sensors are brought together."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from support import cube, nothing_computed, rechunked

import xrs
from xrs.cube import geobox_of
from xrs.errors import (
    BandNotFoundError,
    GridMismatchError,
    LayoutError,
    MethodNotFoundError,
    ParameterError,
    RadiometryError,
    TimeAxisError,
)
from xrs.methods import methods_of
from xrs.operators._pairs import choose_pairs, matched_bands

RATIO = 4
NAMES = sorted(methods_of("spatiotemporal", models=False))

#: Dates of the coarse cube, and which of them the fine one has.
DATES = 7
PAIRS = [0, 3, 6]


@cache
def _scene() -> xr.DataArray:
    """A place that changes: two kinds of cover, each with a season of its own, over texture."""
    base = cube((48, 40), times=DATES, seed=2)
    season = np.sin(np.linspace(0, 2.5, DATES)).astype("float32")
    fields = (np.add.outer(np.arange(48) // 8, np.arange(40) // 10) % 2).astype("float32")
    still = base.isel(time=0).values
    change = season[:, None, None, None] * (0.12 * fields - 0.05 * (1 - fields))
    return base.copy(data=(still[None] + change).astype("float32"))


def _inputs() -> tuple[xr.DataArray, xr.DataArray]:
    scene = _scene()
    return scene.isel(time=PAIRS).copy(), xrs.degrade(scene, RATIO, psf="box").copy()


@cache
def _expected(name: str) -> xr.DataArray:
    fine, coarse = _inputs()
    return xrs.fuse_spatiotemporal(fine, coarse, method=name)


@pytest.mark.parametrize("name", NAMES)
class TestEvery:
    @pytest.mark.parametrize(
        ("fine_chunks", "coarse_chunks", "time"),
        [((48, 40), (12, 10), 2), ((17, 31), (5, 3), 1), (((47, 1), (1, 39)), (12, (1, 9)), 7)],
    )
    def test_any_chunking_gives_the_same_pixels_and_stays_lazy(
        self, name: str, fine_chunks: Any, coarse_chunks: Any, time: int
    ) -> None:
        fine, coarse = _inputs()
        with nothing_computed():
            lazy = xrs.fuse_spatiotemporal(
                rechunked(fine, *fine_chunks, time=time), rechunked(coarse, *coarse_chunks, time=time), method=name
            )
        assert lazy.dtype == np.float32
        expected = _expected(name)
        found = lazy.compute(scheduler="threads")
        np.testing.assert_array_equal(np.isnan(found.values), np.isnan(expected.values))
        np.testing.assert_allclose(found.values, expected.values, rtol=0, atol=1e-5)

    def test_labels(self, name: str) -> None:
        fine, coarse = _inputs()
        out = _expected(name)
        assert out.dims == ("time", "band", "y", "x")
        assert geobox_of(out) == geobox_of(fine)
        np.testing.assert_array_equal(out.time.values, coarse.time.values)
        assert out.band.values.tolist() == fine.band.values.tolist()
        assert out.attrs["xrs:method"] == name
        assert np.isfinite(out.values).all()

    def test_dates_are_independent_of_the_dates_asked_for(self, name: str) -> None:
        fine, coarse = _inputs()
        alone = xrs.fuse_spatiotemporal(fine, coarse, method=name, target_times=coarse.time.values[[4]])
        np.testing.assert_allclose(alone.values[0], _expected(name).values[4], atol=1e-5)

    def test_a_cloud_on_one_pair_leaves_no_hole(self, name: str) -> None:
        if xrs.get_method(name, "spatiotemporal").pairs[1] == 1:
            pytest.skip("predicts from one date")
        fine, coarse = _inputs()
        fine.values[0, :, 10:13, 20:24] = np.nan
        out = xrs.fuse_spatiotemporal(fine, coarse, method=name)
        assert np.isfinite(out.values[1]).all()

    def test_what_nobody_saw_is_missing_and_stays_local(self, name: str) -> None:
        fine, coarse = _inputs()
        fine.values[:, :, 10:12, 20:22] = np.nan
        coarse.values[1, :, 2:4, 4:6] = np.nan
        out = xrs.fuse_spatiotemporal(fine, coarse, method=name).values[1]
        far = np.s_[:, 40:, :8]
        assert np.isfinite(out[far]).all()
        assert np.isnan(out).mean() < 0.2

    def test_all_missing_gives_all_missing(self, name: str) -> None:
        fine, coarse = _inputs()
        nothing = np.float32(np.nan)
        assert np.isnan(xrs.fuse_spatiotemporal(fine * nothing, coarse, method=name).values).all()

    def test_input_is_untouched_and_keys_are_deterministic(self, name: str) -> None:
        fine, coarse = _inputs()
        fine.values[0, 0, 2, 2] = np.nan
        before = fine.copy(deep=True), coarse.copy(deep=True)
        lazy = [
            xrs.fuse_spatiotemporal(rechunked(fine, 48, 40), rechunked(coarse, 12, 10), method=name) for _ in range(2)
        ]
        assert lazy[0].data.name == lazy[1].data.name
        lazy[0].compute()
        xr.testing.assert_identical(before[0], fine)
        xr.testing.assert_identical(before[1], coarse)

    def test_a_constant_place_stays_constant(self, name: str) -> None:
        fine, coarse = _inputs()
        flat = xrs.fuse_spatiotemporal(fine * 0 + np.float32(0.3), coarse * 0 + np.float32(0.3), method=name)
        np.testing.assert_allclose(flat.values, 0.3, atol=1e-4)

    def test_radiometry_of_the_coarse_sensor_does_not_matter(self, name: str) -> None:
        fine, coarse = _inputs()
        other = (coarse * 5000 + 300).astype("float32")
        out = xrs.fuse_spatiotemporal(fine, other, method=name)
        difference = np.abs(out.values - _expected(name).values)
        # Rounding decides about pixels that are chosen or not.
        assert np.quantile(difference, 0.95) < 2e-3
        assert difference.max() < 0.02

    def test_dataset_in_dataset_out(self, name: str) -> None:
        fine, coarse = _inputs()
        out = xrs.cube.to_dataset(fine).rsfuse.fuse_spatiotemporal(xrs.cube.to_dataset(coarse), method=name)
        assert isinstance(out, xr.Dataset)
        np.testing.assert_allclose(out["B03"].values, _expected(name).sel(band="B03").values, atol=1e-6)

    def test_coarse_may_come_resampled(self, name: str) -> None:
        fine, coarse = _inputs()
        blown = np.repeat(np.repeat(coarse.values, RATIO, axis=2), RATIO, axis=3)
        resampled = _scene().copy(data=blown)
        out = xrs.fuse_spatiotemporal(fine, resampled, method=name, ratio=RATIO)
        np.testing.assert_allclose(out.values, _expected(name).values, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "options", "error", "complaint"),
    [
        (lambda f, c: (f.isel(time=0, drop=True), c), {}, TimeAxisError, "dim 'time'"),
        (lambda f, c: (f.isel(time=[0]), c), {}, TimeAxisError, "at least 2"),
        (lambda f, c: (f, c.assign_coords(time=c.time + np.timedelta64(400, "D"))), {}, TimeAxisError, "tolerance"),
        (lambda f, c: (f, c), {"target_times": "2030-01-01"}, TimeAxisError, "no coarse image|outside"),
        (lambda f, c: (f, c), {"pair_times": ["2024-04-08"]}, TimeAxisError, "no date"),
        (lambda f, c: (f.isel(time=[0, 1]), c), {"target_times": "2024-04-26"}, TimeAxisError, "outside of the pairs"),
        (lambda f, c: (f, c.assign_coords(wavelength=c.wavelength + 900)), {}, BandNotFoundError, "overlap"),
        (lambda f, c: (f.isel(band=0), c), {}, LayoutError, "on neither"),
        (lambda f, c: (f, c.assign_coords(x=c.x + 7.0)), {}, GridMismatchError, "fine pixels off"),
        (lambda f, c: ((f * 1e4).astype("int16"), c), {}, RadiometryError, "fine holds int16"),
        (lambda f, c: (f, (c * 1e4).astype("uint16")), {}, RadiometryError, "coarse holds uint16"),
        (lambda f, c: (f, c), {"method": "estarm"}, MethodNotFoundError, "estarfm"),
        (lambda f, c: (f, c), {"windw": 3}, ParameterError, "windw"),
        (lambda f, c: (f, c), {"outside": "guess"}, ParameterError, "outside"),
        (lambda f, c: (f, c), {"harmonize": "magic"}, ParameterError, "magic"),
        (lambda f, c: (f, c), {"ratio": 3}, ParameterError, "ratio=4"),
        (lambda f, c: (f, c), {"target_times": ["2024-04-16", "2024-04-06"]}, TimeAxisError, "unsorted"),
    ],
)
def test_wrong_input(change: Any, options: dict[str, Any], error: type[Exception], complaint: str) -> None:
    fine, coarse = change(*_inputs())
    with pytest.raises(error, match=complaint):
        xrs.fuse_spatiotemporal(fine, coarse, **{"method": "estarfm", **options})


def test_dates_that_cannot_be_predicted_are_left_out_unless_asked_for() -> None:
    fine, coarse = _inputs()
    out = xrs.fuse_spatiotemporal(fine.isel(time=[0, 1]), coarse, method="estarfm")
    np.testing.assert_array_equal(out.time.values, coarse.time.values[:4])
    whole = xrs.fuse_spatiotemporal(fine.isel(time=[0, 1]), coarse, method="starfm")
    np.testing.assert_array_equal(whole.time.values, coarse.time.values)


def test_dates_outside_may_be_predicted_from_the_nearest() -> None:
    fine, coarse = _inputs()
    out = xrs.fuse_spatiotemporal(fine.isel(time=[0, 1]), coarse, method="estarfm", outside="nearest")
    np.testing.assert_array_equal(out.time.values, coarse.time.values)


def test_one_common_date_is_enough_for_methods_of_one_pair() -> None:
    fine, coarse = _inputs()
    out = xrs.fuse_spatiotemporal(fine.isel(time=[1]), coarse, method="starfm")
    assert out.sizes["time"] == DATES
    assert np.isfinite(out.values).all()


def test_pairs_within_the_tolerance_belong_together() -> None:
    fine, coarse = _inputs()
    later = fine.assign_coords(time=fine.time + np.timedelta64(10, "h"))
    near = xrs.fuse_spatiotemporal(later, coarse, method="starfm", outside="nearest")
    np.testing.assert_allclose(near.values[3], _expected("starfm").values[3], atol=0.02)
    with pytest.raises(TimeAxisError, match="tolerance"):
        xrs.fuse_spatiotemporal(later, coarse, method="starfm", tolerance="1h")


def test_bands_belong_together_by_wavelength() -> None:
    fine, coarse = _inputs()
    renamed = coarse.isel(band=[3, 1, 0]).assign_coords(band=["b2", "b4", "b3"])
    ours, theirs = matched_bands(fine, renamed.drop_vars("common_name"))
    assert ours.band.values.tolist() == theirs.band.values.tolist() == ["B02", "B03", "B08"]
    np.testing.assert_array_equal(theirs.values, coarse.sel(band=["B02", "B03", "B08"]).values)


def test_cubes_of_one_band_without_dim() -> None:
    fine, coarse = (one.isel(band=2) for one in _inputs())
    out = xrs.fuse_spatiotemporal(fine, coarse, method="starfm")
    assert out.dims == ("time", "y", "x")
    np.testing.assert_allclose(out.values, _expected("starfm").values[:, 2], atol=1e-6)


@given(
    days=st.lists(st.integers(0, 60), min_size=2, max_size=8, unique=True).map(sorted),
    target=st.integers(0, 60),
    most=st.integers(2, 4),
)
@settings(max_examples=60, deadline=None)
def test_pairs_embrace_the_target(days: list[int], target: int, most: int) -> None:
    found = choose_pairs(float(target), np.array(days, float), 2, most, outside="nearest")
    assert list(found) == sorted(set(found))
    assert len(found) <= most
    chosen = [days[k] for k in found]
    before, after = [d for d in days if d <= target], [d for d in days if d >= target]
    if before and after:
        assert {max(before), min(after)} <= set(chosen)


def test_memory_of_a_task_bounds_the_dates_it_predicts() -> None:
    import dask

    fine, coarse = _inputs()
    with dask.config.set({"xrs.task-memory": "200kiB"}):
        small = xrs.fuse_spatiotemporal(rechunked(fine, 48, 40), rechunked(coarse, 12, 10), method="no_change")
        assert max(small.chunks[0]) == 1 or max(small.chunks[2]) < 48
    np.testing.assert_allclose(small.compute().values, _expected("no_change").values, atol=1e-6)


def test_times_of_the_result_are_those_asked_for() -> None:
    fine, coarse = _inputs()
    wanted = pd.DatetimeIndex(coarse.time.values[[2, 4]]) + pd.Timedelta("3h")
    out = xrs.fuse_spatiotemporal(fine, coarse, method="no_change", target_times=wanted)
    np.testing.assert_array_equal(out.time.values, wanted.values)


def test_hours_between_the_sensors_do_not_count() -> None:
    fine, coarse = _inputs()
    later = fine.assign_coords(time=fine.time + np.timedelta64(10, "h"))
    out = xrs.fuse_spatiotemporal(later, coarse, method="estarfm", pair_times=fine.time.values)
    np.testing.assert_array_equal(out.time.values, coarse.time.values)


def test_coordinates_are_those_of_the_fine_cube() -> None:
    fine, coarse = _inputs()
    rough = fine.assign_coords(x=fine.x + 1e-9 * np.sin(np.arange(fine.sizes["x"])))
    out = xrs.fuse_spatiotemporal(rough, coarse, method="no_change")
    assert (out - rough).sizes["x"] == fine.sizes["x"]
    np.testing.assert_array_equal(out.x.values, rough.x.values)


def test_sources_of_both_sensors_are_told() -> None:
    fine, coarse = _inputs()
    fine.attrs |= {"xrs:collections": "s2", "xrs:sources": '["a", "b"]'}
    coarse.attrs |= {"xrs:collections": "modis, s2", "xrs:sources": '["c", "a"]'}
    out = xrs.fuse_spatiotemporal(fine, coarse, method="no_change")
    assert out.attrs["xrs:collections"] == "s2, modis"
    assert out.attrs["xrs:sources"] == '["a", "b", "c"]'


@pytest.mark.parametrize(("method", "pairs"), [("fsdaf", 2), ("estarfm", 1)])
def test_pairs_a_method_cannot_take_are_refused(method: str, pairs: int) -> None:
    with pytest.raises(ParameterError, match=f"pairs={pairs} for {method}"):
        xrs.fuse_spatiotemporal(*_inputs(), method=method, pairs=pairs)


def test_a_tree_is_refused_with_what_to_take() -> None:
    fine, coarse = _inputs()
    tree = xr.DataTree.from_dict({"r10m": xrs.cube.to_dataset(fine)})
    with pytest.raises(LayoutError, match="to_dataset"):
        xrs.fuse_spatiotemporal(tree, coarse)
