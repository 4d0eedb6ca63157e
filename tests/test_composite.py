"""Composites against xarray's resampling, plain medoids and scores, and the rules for ties, gaps and chunks."""

from __future__ import annotations

import warnings
from itertools import pairwise

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from support import BANDS, cube, nothing_computed

import xrs
from xrs.cube import to_array, to_dataset
from xrs.errors import BandNotFoundError, GridMismatchError, ParameterError, RadiometryError, TimeAxisError
from xrs.operators.composite import composite

METHODS = ["median", "mean", "medoid", "max_ndvi", "best"]


@pytest.fixture(scope="module")
def scene() -> xr.DataArray:
    """Irregular dates from February to June, none in May; gaps in whole observations and in single bands."""
    rng = np.random.default_rng(4)
    values = rng.uniform(0.02, 0.6, (23, 4, 7, 9)).astype("float32")
    values[rng.random((23, 1, 7, 9)).repeat(4, 1) < 0.3] = np.nan
    values[rng.random(values.shape) < 0.02] = np.nan
    spread = np.sort(rng.choice(85, 20, replace=False)) * pd.Timedelta("1D") + pd.Timedelta("10:30:00")
    dates = pd.DatetimeIndex(
        [*(pd.Timestamp("2024-02-04") + spread), *pd.date_range("2024-06-02", periods=3, freq="9D")]
    )
    return cube((7, 9), bands=BANDS, times=23, values=values).assign_coords(time=dates)


@pytest.fixture(scope="module")
def clear(scene) -> xr.DataArray:
    """A score with few values, so that there are ties, and with gaps."""
    rng = np.random.default_rng(5)
    score = rng.integers(0, 4, (23, 7, 9)).astype("float32")
    score[rng.random(score.shape) < 0.2] = np.nan
    return xr.DataArray(score, dims=("time", "y", "x"), coords={d: scene[d] for d in ("time", "y", "x")})


def composed(scene, clear, method, **options):
    return composite(scene, method=method, score=clear if method == "best" else None, **options)


@pytest.mark.parametrize("freq", ["MS", "QS", "YS", "10D", "30D", "12h"])
@pytest.mark.parametrize("method", ["median", "mean"])
def test_statistics_are_those_of_xarray(scene, method, freq):
    expected = getattr(scene.astype("float64").resample(time=freq), method)()
    result = composite(scene, freq, method=method)
    assert result.dims == scene.dims
    assert result.dtype == np.float32
    # xarray orders the groups' dims and drops nothing: empty periods are NaN in both.
    np.testing.assert_array_equal(result["time"], expected["time"])
    np.testing.assert_allclose(result, expected.transpose(*scene.dims), rtol=1e-6)


def test_weeks_begin_on_their_day(scene):
    result = composite(scene, "W-MON")
    assert set(result["time"].dt.dayofweek.values.tolist()) == {0}
    first = scene.sel(time=slice("2024-02-05", "2024-02-11T23:59"))
    np.testing.assert_allclose(result.sel(time="2024-02-05"), first.median("time"), rtol=1e-6)


def months(scene):
    return [(start, scene.sel(time=slice(start, start + pd.offsets.MonthBegin() - pd.Timedelta("1ns")))) for start in
            pd.date_range("2024-02-01", "2024-06-01", freq="MS")]  # fmt: skip


def nearest_first(part, start):
    middle = start + ((start + pd.offsets.MonthBegin()) - start) / 2
    return np.argsort(np.abs(part["time"].values - middle.to_datetime64()), kind="stable")


def test_medoid_is_the_observation_nearest_to_all_others(scene):
    result = composite(scene, method="medoid", details=True)
    dataset_name = scene.name or "composite"
    for start, part in months(scene):
        order = nearest_first(part, start)
        values = part.values[order].astype("float64")
        for y, x in np.ndindex(7, 9):
            spectra = values[:, :, y, x]
            kept = np.flatnonzero(np.isfinite(spectra).all(axis=1))
            found = result[dataset_name].sel(time=start).values[:, y, x]
            at = result["date"].sel(time=start).values[y, x]
            assert result["count"].sel(time=start).values[y, x] == kept.size
            if not kept.size:
                assert np.isnan(found).all() and np.isnat(at)
                continue
            total = cdist(spectra[kept], spectra[kept]).sum(axis=1)
            # Sums that are equal up to rounding are ties, such as those of two observations.
            best = kept[np.flatnonzero(total <= total.min() + 1e-12)[0]]
            np.testing.assert_array_equal(found, spectra[best].astype("float32"))
            assert at == part["time"].values[order[best]]


def test_best_has_the_highest_score_and_the_date_nearest_to_the_middle(scene, clear):
    result = composite(scene, method="best", score=clear, details=True)
    for start, part in months(scene):
        order = nearest_first(part, start)
        score = clear.sel(time=part["time"]).values[order]
        values = part.values[order]
        for y, x in np.ndindex(7, 9):
            usable = np.isfinite(values[:, :, y, x]).all(axis=1) & np.isfinite(score[:, y, x])
            found = result["date"].sel(time=start).values[y, x]
            assert result["count"].sel(time=start).values[y, x] == usable.sum()
            if not usable.any():
                assert np.isnat(found)
                continue
            best = int(np.argmax(np.where(usable, score[:, y, x], -np.inf)))
            assert found == part["time"].values[order[best]]
            np.testing.assert_array_equal(result["composite"].sel(time=start).values[:, y, x], values[best, :, y, x])


def test_score_of_time_alone(scene):
    last_wins = xr.DataArray(np.arange(23), dims="time", coords={"time": scene["time"]})
    result = composite(scene, method="best", score=last_wins, details=True)["date"].sel(time="2024-02-01")
    whole = scene.sel(time="2024-02").notnull().all("band")
    last = whole.sizes["time"] - 1 - whole.values[::-1].argmax(axis=0)
    expected = whole["time"].values[last]
    assert whole.any("time").all()
    np.testing.assert_array_equal(result, expected)


def test_max_ndvi_is_the_greenest_observation(scene):
    result = composite(scene, method="max_ndvi")
    whole = scene.where(scene.notnull().all("band")).astype("float64")
    red, nir = whole.sel(band="B04", drop=True), whole.sel(band="B08", drop=True)
    expected = ((nir - red) / (nir + red)).resample(time="MS").max()
    got = result.astype("float64")
    got = (got.sel(band="B08") - got.sel(band="B04")) / (got.sel(band="B08") + got.sel(band="B04"))
    np.testing.assert_allclose(got, expected.transpose("time", "y", "x"), atol=1e-6)


def test_max_ndvi_takes_negative_reflectance_as_none():
    values = np.array([[-0.01, 0.011], [0.1, 0.5], [0.0, 0.0], [-0.2, -0.1]], "float32")[:, :, None, None]
    bands = {key: BANDS[key] for key in ("B04", "B08")}
    dark = cube((1, 1), bands=bands, times=4, values=values)
    assert composite(dark, method="max_ndvi", details=True)["date"].values.item() == dark["time"].values[0].astype(int)
    only = composite(dark.isel(time=[2, 3]), method="max_ndvi")
    assert np.isfinite(only).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 9999), repeats=st.lists(st.integers(0, 3), min_size=4, max_size=4), odd=st.booleans())
def test_weights_count_as_repeated_observations(seed, repeats, odd):
    rng = np.random.default_rng(seed)
    values = rng.random((4, 2, 2, 3)).astype("float32")
    dates = pd.date_range("2024-03-02", periods=4, freq="3D")
    one = xr.DataArray(values, dims=("time", "band", "y", "x"), coords={"time": dates})
    if not sum(repeats):
        return
    many = values.repeat(repeats, axis=0)
    stretched = xr.DataArray(
        many, dims=one.dims, coords={"time": pd.date_range("2024-03-02", periods=len(many), freq="1h")}
    )
    weights = xr.DataArray(np.array(repeats, "float32"), dims="time")
    for method in ("median", "mean"):
        np.testing.assert_allclose(
            composite(one, method=method, weights=weights), composite(stretched, method=method), rtol=1e-6
        )
    some = composite(one, method="medoid", weights=weights)
    again = composite(stretched, method="medoid")
    distance = [np.linalg.norm(r.values[0][:, None] - many.swapaxes(0, 1), axis=0).sum(axis=0) for r in (some, again)]
    np.testing.assert_allclose(*distance, rtol=1e-6)


@pytest.mark.parametrize("method", ["median", "mean", "medoid"])
def test_weight_zero_or_nan_is_missing(scene, clear, method):
    weights = (clear > 1).astype("float32")
    masked = composite(scene.where(weights > 0), method=method, details=True)
    xr.testing.assert_equal(composite(scene, method=method, weights=weights, details=True), masked)
    xr.testing.assert_equal(composite(scene, method=method, weights=weights.where(weights > 0), details=True), masked)


def test_edges_of_periods_may_be_given(scene):
    edges = pd.to_datetime(["2024-02-10", "2024-03-05", "2024-05-05", "2024-05-20"])
    result = composite(scene, times=edges, method="mean")
    np.testing.assert_array_equal(result["time"], edges[:-1])
    for image, (a, b) in zip(result, pairwise(edges), strict=True):
        part = scene.isel(time=np.flatnonzero((scene.time >= a.to_datetime64()) & (scene.time < b.to_datetime64())))
        expected = part.mean("time") if part.sizes["time"] else xr.full_like(scene[0], np.nan)
        np.testing.assert_allclose(image, expected, rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("chunks", [{"time": 4, "y": 3, "x": 9}, {"time": -1, "band": 1, "y": 1, "x": 4}, {"time": 1}])
def test_lazy_and_the_same_at_any_chunking(scene, clear, method, chunks):
    before = scene.copy(deep=True)
    eager = composed(scene, clear, method, details=True)
    xr.testing.assert_identical(scene, before)
    sizes = {d: n for d, n in chunks.items() if d != "band"}
    with nothing_computed():
        lazy = composed(scene.chunk(chunks), clear.chunk(sizes), method, details=True)
        mixed = composed(scene.chunk(chunks), clear, method)
    assert all(v.chunks is not None for v in lazy.data_vars.values())
    xr.testing.assert_identical(lazy.compute(), eager)
    xr.testing.assert_identical(mixed.compute().drop_attrs(), eager["composite"].drop_attrs().rename(None))
    assert composed(scene.chunk(chunks), clear, method).data.name == mixed.data.name
    assert mixed.dtype == np.float32


def test_tiles_cut_small_for_memory_give_the_same(scene, clear):
    eager = composite(scene, method="medoid", weights=clear, details=True)
    with dask.config.set({"xrs.task-memory": "6kB"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="chunks of")
        lazy = composite(scene.chunk(), method="medoid", weights=clear, details=True)
    assert lazy["composite"].data.npartitions > 20
    xr.testing.assert_identical(lazy.compute(), eager)


def test_a_task_reads_one_period_only(scene):
    read = []

    def told(block, block_id):
        read.append(block_id[0])
        return block

    lazy = scene.chunk({"time": 1})
    lazy = lazy.copy(data=lazy.data.map_blocks(told, dtype="float32", meta=np.empty((0,) * 4, "float32")))
    composite(lazy).sel(time="2024-03-01").compute(scheduler="synchronous")
    assert sorted(read) == np.flatnonzero(scene["time"].dt.month == 3).tolist()


@pytest.mark.parametrize("method", METHODS)
def test_dataset_in_dataset_out(scene, clear, method):
    dataset = to_dataset(scene)
    result = composed(dataset, clear, method, details=True)
    chosen = ["date"] if method in ("medoid", "max_ndvi", "best") else []
    assert list(result.data_vars) == [*BANDS, "count", *chosen]
    np.testing.assert_array_equal(to_array(result), composed(scene, clear, method))
    assert list(composed(dataset, clear, method).data_vars) == list(BANDS)
    assert result["B08"].attrs["common_name"] == "nir"
    assert result["count"].dtype == np.uint16


def test_count_of_statistics_is_of_dates_with_any_band(scene):
    counted = composite(scene, details=True)["count"]
    expected = scene.notnull().any("band").resample(time="MS").sum()
    np.testing.assert_array_equal(counted, expected.transpose("time", "y", "x").fillna(0))


def test_without_band_and_with_one_date():
    one = cube((3, 4), bands={"B08": BANDS["B08"]}, times=1).isel(band=0, drop=True)
    for method in ("median", "mean", "medoid"):
        result = composite(one, method=method)
        assert result.dims == ("time", "y", "x")
        np.testing.assert_array_equal(result.values, one.values)


def test_medoid_of_the_embedded_scene_keeps_bands_together():
    times = pd.date_range("2023-07-01", "2023-07-09", freq="2D")
    scene = xrs.scenes.landscape((24, 24), times=times, wavelengths=[660, 850], seed=2)
    sky = xrs.scenes.clouds(scene, cover=0.4, seed=3)
    seen = scene.where(sky.valid.astype(bool)).compute()
    image = composite(seen, method="medoid").isel(time=0, drop=True)
    among = (seen == image).all("band").any("time")
    assert (among | image.isnull().all("band")).all()


def test_wrong_input_is_told(scene, clear):
    for wrong in (
        {"method": "magic"}, {"freq": "ME"}, {"freq": "QE-DEC"}, {"freq": "often"}, {"method": "best"}, {"score": clear},
        {"method": "best", "score": clear, "weights": clear}, {"method": "max_ndvi", "weights": clear},
    ):  # fmt: skip
        with pytest.raises(ParameterError):
            composite(scene, **wrong)
    for wrong in (clear.isel(x=slice(3)), clear.isel(time=0), scene, clear.assign_coords(x=clear.x + 10),
                  clear.assign_coords(time=clear.time + np.timedelta64(1, "D"))):  # fmt: skip
        with pytest.raises(GridMismatchError):
            composite(scene, weights=wrong)
    for times in (["2024-02-01"], ["2024-03-01", "2024-02-01"], ["2025-01-01", "2025-02-01"]):
        with pytest.raises(TimeAxisError):
            composite(scene, times=times)
    with pytest.raises(TimeAxisError):
        composite(scene.isel(time=0))
    with pytest.raises(BandNotFoundError):
        composite(scene.sel(band=["B02", "B03"]), method="max_ndvi")
    with pytest.raises(RadiometryError):
        composite((scene.fillna(0) * 1e4).astype("int16"))
