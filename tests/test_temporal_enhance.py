"""Growth curves: against dense Gaussian conditioning, simulated series with known truth, and a real meadow."""

from __future__ import annotations

import pickle

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from support import nothing_computed

import xrs
from benchmarks.bench_enhance import landscape_ndvi, meadow_case, simulated_growth, withheld
from xrs.errors import LayoutError, ParameterError, TimeAxisError
from xrs.methods import get_method, resolve_params
from xrs.methods.temporal import _growth
from xrs.methods.temporal._growth import NODES, GrowthModel
from xrs.methods.temporal.enhance import enhance as complete
from xrs.methods.temporal.enhance import growth_model
from xrs.operators.enhance import enhance, learn_growth
from xrs.operators.smooth import smooth

FIRST = 19723.0  # 1 January 2024


def bells(n, times, seed=0, years=1):
    """Curves (time, n) with a peak of random day and height in each year."""
    rng = np.random.default_rng(seed)
    days = np.asarray((times - pd.Timestamp(0)) / pd.Timedelta(days=1))
    values = np.full((len(times), n), 0.2)
    for year in sorted(set(times.year)):
        first = (pd.Timestamp(year, 1, 1) - pd.Timestamp(0)).days
        peak, height = rng.normal(185, 15, n), rng.uniform(0.4, 0.7, n)
        values += height * np.exp(-0.5 * ((days[:, None] - first - peak) / 35) ** 2)
    return values, days


def as_cube(values, times, shape):
    return xr.DataArray(values.astype(np.float32).reshape(-1, *shape), dims=("time", "y", "x"), coords={"time": times})


@pytest.fixture(scope="module")
def model():
    times = pd.date_range("2023-01-01", periods=73, freq="5D")
    values, days = bells(150, times)
    return growth_model(values.astype(np.float32), days)


@settings(max_examples=15, deadline=None)
@given(n=st.sampled_from([1, 5, 40]), time=st.integers(3, 50), missing=st.floats(0, 0.8), weighted=st.booleans())
def test_the_result_is_the_conditional_mean_of_the_process(model, n, time, missing, weighted):
    rng = np.random.default_rng(time)
    days = FIRST + np.sort(rng.choice(366, time, replace=False)).astype(float)
    series = rng.uniform(0, 1, (time, n)).astype(np.float32)
    series[rng.random(series.shape) < missing] = np.nan
    weights = rng.uniform(0.2, 2, series.shape).astype(np.float32) if weighted else None
    targets = FIRST + np.array([0.0, 33.3, 180.0, 365.9])
    kept = series.copy()
    result = complete(series, weights, days, targets, library=model)
    hats = np.stack([np.interp(np.r_[days, targets] - FIRST, NODES, row) for row in np.eye(NODES.size)], axis=1)
    mean, covariance = hats @ model.mean, hats @ model.covariance @ hats.T
    for j in range(n):
        seen = np.flatnonzero(np.isfinite(series[:, j]))
        if seen.size < 3:
            assert np.isnan(result[:, j]).all()
            continue
        noise = model.noise / (weights[seen, j].astype(float) if weighted else np.ones(seen.size))
        joint = covariance[np.ix_(seen, seen)] + np.diag(noise)
        expected = mean[time:] + covariance[time:, seen] @ np.linalg.inv(joint) @ (series[seen, j] - mean[seen])
        np.testing.assert_allclose(result[:, j], expected, atol=2e-5)
    np.testing.assert_array_equal(series, kept)


def test_learning_raises_the_likelihood_of_curves_that_were_not_seen():
    """Against SciPy's normal density; the first guess is what learning begins from."""
    times = pd.date_range("2023-01-01", periods=73, freq="5D")
    values, days = bells(150, times)
    rng = np.random.default_rng(1)
    values += 0.02 * rng.standard_normal(values.shape)
    values[rng.random(values.shape) < 0.6] = np.nan
    year = _growth.growth_years(days, days, 1)[0]
    curves = _growth.curves_of(values.astype(np.float32), None, year)
    taught, fresh = curves[:120], curves[120:]

    def likelihood(one):
        total = 0.0
        for c in fresh:
            hats = np.stack([np.interp(c.day, NODES, row) for row in np.eye(NODES.size)], axis=1)
            cov = hats @ one.covariance @ hats.T + one.noise * np.eye(c.day.size)
            total += multivariate_normal(hats @ one.mean, cov).logpdf(c.value)
        return total / len(fresh)

    learnt = _growth.learn(taught)
    _, guess = _growth._first_guess(taught)
    assert likelihood(learnt) > likelihood(guess) + 5
    # On dates a node apart noise and unrelated growth are one, and the covariance may take some of it.
    assert 0.005 < np.sqrt(learnt.noise) < 0.025


def test_known_mean_and_spread_are_learnt_from_gappy_curves():
    times = pd.date_range("2023-01-03", periods=72, freq="5D")
    truth, days = bells(2000, times, seed=3)
    seen = truth[:, :300] + 0.01 * np.random.default_rng(0).standard_normal((72, 300))
    seen[np.random.default_rng(1).random(seen.shape) < 0.5] = np.nan
    learnt = growth_model(seen.astype(np.float32), days)
    day = days - (FIRST - 365)
    np.testing.assert_allclose(np.interp(day, NODES, learnt.mean), truth.mean(axis=1), atol=0.04)
    spread = np.sqrt(np.interp(day, NODES, np.diag(learnt.covariance)))
    np.testing.assert_allclose(spread[20:55], truth.std(axis=1)[20:55], rtol=0.3, atol=0.02)


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_withheld_values_of_the_landscape_and_the_meadow(shared_data, share):
    truth = landscape_ndvi(7, 24)
    cases = [(truth.astype("float32"), truth), meadow_case()]
    for seen, true in cases:
        hidden = withheld(seen, "values", share, 0)
        known = seen.where(~hidden)
        line = smooth(known, "linear")
        inside = hidden & np.isfinite(line.values)
        errors = {
            name: np.sqrt(np.mean((made.values - true.values)[inside] ** 2))
            for name, made in {
                "linear": line,
                "whittaker": smooth(known),
                "enhance": enhance(known, curves=200),
            }.items()
        }
        assert errors["enhance"] < 0.8 * min(errors["linear"], errors["whittaker"])


def test_dates_that_no_pixel_has_are_bridged():
    """Between its dates the scene's mean must not run wild, however many curves pin it at them."""
    seen, truth = meadow_case()
    hidden = withheld(seen, "dates", 0.3, 0)
    known = seen.where(~hidden)
    line = smooth(known, "linear").values
    inside = hidden & np.isfinite(line)
    made = enhance(known, curves=200).values
    error = [np.sqrt(np.mean((one - truth.values)[inside] ** 2)) for one in (made, line)]
    assert error[0] < 1.25 * error[1]


def test_years_that_differ():
    times = pd.date_range("2021-01-02", "2023-12-30", freq="6D")
    values, _ = bells(300, times, seed=5)
    truth = as_cube(values, times, (15, 20))
    gappy = truth.where(np.random.default_rng(0).random(truth.shape) > 0.6)
    made = enhance(gappy, curves=150)
    error = float(np.sqrt(((made - truth) ** 2).mean()))
    line = smooth(gappy, "linear", extrapolate="nearest")
    assert error < 0.5 * float(np.sqrt(((line - truth) ** 2).mean()))
    empty = enhance(
        curves=150,
        cube=gappy.where((gappy.time < np.datetime64("2021-11-25")) | (gappy.time > np.datetime64("2023-02-05"))),
    )
    assert np.isnan(empty.sel(time="2022")).all()
    assert np.isfinite(empty.sel(time="2021")).all()


def test_a_growth_year_may_begin_in_july():
    times = pd.date_range("2021-07-01", "2023-06-30", freq="6D")
    values, _ = bells(200, times - pd.Timedelta(days=181), seed=5)
    truth = as_cube(values, times, (10, 20))
    gappy = truth.where(np.random.default_rng(0).random(truth.shape) > 0.6)
    error = float(np.sqrt(((enhance(gappy, start=182, curves=150) - truth) ** 2).mean()))
    assert error < 0.03
    days = np.array([18807.0, 18808.0, 18809.0])  # 29 June to 1 July 2021; day 182 of 2020 was 30 June
    assert [y.target_day.tolist() for y in _growth.growth_years(days, days, 182)] == [[364.0, 365.0], [0.0]]


def test_a_library_serves_where_the_scene_has_few_series():
    times = pd.date_range("2023-01-01", periods=37, freq="10D")
    curves, _ = bells(100, times, seed=1)
    library = xr.DataArray(curves, dims=("time", "curve"), coords={"time": times})
    truth = as_cube(bells(4, times, seed=9)[0], times, (2, 2))
    gappy = truth.where(np.random.default_rng(0).random(truth.shape) > 0.75)
    with_library = float(np.sqrt(((enhance(gappy, library) - truth) ** 2).mean()))
    alone = float(np.sqrt(((enhance(gappy) - truth) ** 2).mean()))
    assert with_library < 0.5 * alone
    learnt = learn_growth(library)
    xr.testing.assert_equal(enhance(gappy, learnt), enhance(gappy, library))
    assert str(learnt) == "growth model of 100 curves"
    assert "growth model of 100 curves" in enhance(gappy, learnt).attrs["history"]


def test_any_chunking_gives_the_same_and_nothing_is_computed_early():
    times = pd.date_range("2022-01-01", "2023-12-31", freq="12D")
    truth = as_cube(bells(24 * 20, times)[0], times, (24, 20))
    gappy = truth.where(np.random.default_rng(0).random(truth.shape) > 0.4)
    weights = xr.DataArray(np.linspace(0.0, 1.0, len(times)), dims="time")
    expected = enhance(gappy, weights=weights, curves=60)
    for chunks in ({"time": 7, "y": 5, "x": 20}, {"time": 61, "y": (23, 1), "x": 3}):
        with nothing_computed():
            lazy = [enhance(gappy.chunk(chunks), weights=weights, curves=60) for _ in range(2)]
        assert lazy[0].data.name == lazy[1].data.name
        np.testing.assert_array_equal(lazy[0].compute(scheduler="threads").values, expected.values)
    other = enhance(gappy, weights=weights, curves=60, seed=1)
    assert not np.array_equal(other.values, expected.values)


def test_bands_are_learnt_apart():
    times = pd.date_range("2023-01-01", periods=60, freq="6D")
    one, two = (as_cube(bells(120, times, seed=s)[0], times, (10, 12)) for s in (0, 1))
    both = xr.Dataset({"NDVI": one, "LAI": 5 * (1 - two)}).where(np.random.default_rng(0).random(one.shape) > 0.5)
    made = enhance(both)
    np.testing.assert_array_equal(made["LAI"].values, enhance(both["LAI"]).values)
    np.testing.assert_array_equal(made["NDVI"].values, enhance(both["NDVI"]).values)


def test_the_unit_does_not_matter():
    times = pd.date_range("2023-01-01", periods=60, freq="6D")
    cube = as_cube(bells(120, times)[0], times, (10, 12))
    gappy = cube.where(np.random.default_rng(0).random(cube.shape) > 0.5)
    np.testing.assert_allclose(enhance(100 * gappy + 50).values, 100 * enhance(gappy).values + 50, atol=0.05)


def test_constant_series_and_single_pixels_stay_finite():
    times = pd.date_range("2023-01-01", periods=30, freq="10D")
    level = xr.DataArray(np.full((30, 1, 1), 0.4, "float32"), dims=("time", "y", "x"), coords={"time": times})
    np.testing.assert_allclose(enhance(level).values, 0.4, atol=1e-4)
    assert np.isnan(enhance(level * np.nan)).all()


def test_the_simulated_prior_is_that_of_the_scenes():
    made = simulated_growth().to_numpy()
    mean, covariance = made[:, 1], made[:, 2:] @ made[:, 2:].T
    shipped = np.loadtxt(
        (_growth.files("xrs.methods.temporal") / "growth.csv").read_text().splitlines(), delimiter=",", skiprows=1
    )
    np.testing.assert_allclose(shipped[:, 1], mean, atol=1e-3)
    np.testing.assert_allclose(shipped[:, 2:] @ shipped[:, 2:].T, covariance, atol=1e-3)


def test_models_travel(model):
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.covariance, model.covariance)
    assert dask.base.tokenize(again) == dask.base.tokenize(model)


def test_wrong_input_is_named(model):
    times = pd.date_range("2023-01-01", periods=30, freq="10D")
    cube = as_cube(bells(4, times)[0], times, (2, 2))
    with pytest.raises(LayoutError, match="curve and time"):
        enhance(cube, cube)
    with pytest.raises(ParameterError, match="four values"):
        learn_growth(xr.DataArray(np.full((30, 2), np.nan), dims=("time", "curve"), coords={"time": times}))
    with pytest.raises(TimeAxisError, match="unsorted"):
        enhance(cube.isel(time=[1, 0]))
    with pytest.raises(LayoutError, match="weights"):
        complete(np.zeros((5, 3), np.float32), np.ones((5, 2), np.float32), np.arange(5.0), np.arange(5.0))
    for wrong in ({"curves": 0}, {"start": 400}, {"least": 0}, {"seed": -1}, {"library": "ndvi"}):
        with pytest.raises(ParameterError, match="enhance got"):
            resolve_params(get_method("enhance", "temporal"), wrong)
    assert isinstance(model, GrowthModel)
    assert xrs.get_method("enhance", "temporal").scope == "global"
