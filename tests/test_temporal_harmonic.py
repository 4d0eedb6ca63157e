"""Harmonic regression against NumPy's least squares and curves whose harmonics are known; verb harmonics."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from support import cube, nothing_computed, rechunked

import xrs
from xrs.errors import LayoutError, ParameterError, RadiometryError, TimeAxisError
from xrs.methods import get_method, resolve_params
from xrs.methods.temporal.harmonic import YEAR, harmonic
from xrs.operators.harmonics import harmonics
from xrs.operators.smooth import smooth

TURN = 2 * np.pi / YEAR


def irregular_days(time, seed=0):
    return 19000.0 + np.cumsum(np.random.default_rng(seed).choice([2.0, 3.0, 5.0, 13.0], time))


def season(days, seed, n=1):
    """Two harmonics with random amplitudes and phases, and the curve's values at any days."""
    rng = np.random.default_rng(seed)
    level, one, two = rng.uniform(0.3, 0.6, n), rng.uniform(-0.3, 0.3, (2, n)), rng.uniform(-0.1, 0.1, (2, n))
    angle = TURN * days[:, None]
    return level + sum(
        wave[0] * np.cos(k * angle) + wave[1] * np.sin(k * angle) for k, wave in enumerate((one, two), 1)
    )


@settings(max_examples=40, deadline=None)
@given(
    n=st.sampled_from([1, 7, 130]),
    time=st.integers(30, 80),
    missing=st.floats(0.0, 0.5),
    weighted=st.booleans(),
    trend=st.booleans(),
)
def test_fit_agrees_with_least_squares(n, time, missing, weighted, trend):
    days, rng = irregular_days(time, seed=n), np.random.default_rng(time)
    series = rng.random((time, n)).astype(np.float32)
    series[rng.random(series.shape) < missing] = np.nan
    weights = rng.uniform(0.1, 2.0, series.shape).astype(np.float32) if weighted else None
    targets = np.linspace(days[0], days[-1], 11)
    result = harmonic(series, weights, days, targets, trend=trend, damping=0.0)

    def regressors(t):
        waves = [f(k * TURN * (t - 19000.0)) for k in (1, 2) for f in (np.cos, np.sin)]
        return np.stack([np.ones_like(t), *([t - 19000.0] if trend else []), *waves], axis=1)

    for j in range(n):
        seen = np.isfinite(series[:, j])
        root = np.sqrt(weights[seen, j] if weighted else np.ones(seen.sum()))
        matrix = regressors(days[seen]) * root[:, None]
        if seen.sum() < 10 or np.linalg.cond(matrix / np.abs(matrix).max(axis=0)) > 100:
            continue
        expected, *_ = np.linalg.lstsq(matrix, series[seen, j] * root, rcond=None)
        np.testing.assert_allclose(result[:, j], regressors(targets) @ expected, atol=2e-5)


def test_a_curve_of_two_harmonics_is_found_between_its_dates():
    days, targets = irregular_days(60), np.linspace(19050, 19250, 31)
    seen = season(days, 1, 20)
    seen[10:14] = np.nan
    result = harmonic(seen.astype(np.float32), None, days, targets, damping=0.0)
    np.testing.assert_allclose(result, season(targets, 1, 20), atol=1e-5)


def test_too_few_dates_give_nan():
    days = irregular_days(40)
    series = np.full((40, 4), np.nan, np.float32)
    for j, count in enumerate((0, 4, 5, 6)):
        series[: 6 * count : 6, j] = 0.5
    result = harmonic(series, None, days, days)
    np.testing.assert_array_equal(np.isnan(result).all(axis=0), [True, True, False, False])
    np.testing.assert_allclose(result[:, 2:], 0.5, atol=1e-6)


def test_dates_that_determine_nothing_give_nan():
    """Once a year on the same day, the harmonics could be anything."""
    days = 19000.0 + YEAR * np.arange(8)
    series = np.full((8, 1), 0.5, np.float32)
    assert np.isnan(harmonic(series, None, days, days, damping=0.0)).all()
    np.testing.assert_allclose(harmonic(series, None, days, days, damping=0.1), 0.5, atol=1e-6)


def test_damping_holds_amplitudes_back_in_long_gaps():
    days = np.arange(19000.0, 19365.0, 5.0)
    truth = season(days, 4, 50)
    seen = truth + 0.03 * np.random.default_rng(0).standard_normal(truth.shape)
    seen[20:50] = np.nan
    errors = [
        np.abs(harmonic(seen.astype(np.float32), None, days, days, harmonics=4, damping=d) - truth).max()
        for d in (0.0, 0.5)
    ]
    assert errors[1] < errors[0]


@pytest.mark.parametrize(("reject", "sign"), [("low", -1), ("high", 1), ("both", -1), ("both", 1)])
def test_outliers_are_rejected_on_their_side(reject, sign):
    days = irregular_days(80)
    truth = season(days, 2, 30)
    rng = np.random.default_rng(0)
    seen = truth + sign * (rng.random(truth.shape) < 0.12) * rng.uniform(0.2, 0.5, truth.shape)
    cleaned = harmonic(seen.astype(np.float32), None, days, days, damping=0.0, tolerance=0.02, reject=reject)
    plain = harmonic(seen.astype(np.float32), None, days, days, damping=0.0)
    np.testing.assert_allclose(cleaned, truth, atol=0.02)
    assert np.abs(plain - truth).max() > 0.05


def test_rejection_leaves_the_other_side_and_the_spare_dates():
    days = irregular_days(60)
    high = season(days, 2, 10) + (np.random.default_rng(0).random((60, 10)) < 0.1) * 0.4
    kept = harmonic(high.astype(np.float32), None, days, days, tolerance=0.3, reject="low")
    np.testing.assert_array_equal(kept, harmonic(high.astype(np.float32), None, days, days))
    ds = harmonics(_as_cube(np.random.default_rng(1).random((60, 10)), days), tolerance=1e-6, reject="both", spare=7)
    assert int(ds["count"].min()) == 6 + 7


def _as_cube(series, days):
    times = pd.to_datetime(days, unit="D")
    return xr.DataArray(
        series.astype(np.float32)[:, None, :], dims=("time", "y", "x"), coords={"time": times}, attrs={"units": "1"}
    )


def test_harmonics_of_known_curves():
    """0.5 + 0.02 a year + 0.3 cos(year from day 200) + 0.1 cos(half a year from day 40)."""
    times = pd.date_range("2020-01-01", "2022-12-31", freq="8D")
    days = np.asarray((times - pd.Timestamp(0)) / pd.Timedelta(days=1))
    first = (pd.Timestamp("2021-01-01") - pd.Timestamp(0)).days
    middle = (days[0] + days[-1]) / 2
    since = days - first
    values = 0.5 + 0.02 * (days - middle) / 365.25 + 0.3 * np.cos(TURN * (since - 200))
    values += 0.1 * np.cos(2 * TURN * (since - 40))
    ds = harmonics(_as_cube(values[:, None], days))
    assert set(ds) == {"mean", "trend", "amplitude_1", "phase_1", "amplitude_2", "phase_2", "rmse", "count"}
    found = {name: v.item() for name, v in ds.items()}
    assert found["mean"] == pytest.approx(0.5, abs=1e-5)
    assert found["trend"] == pytest.approx(0.02, abs=1e-5)
    assert found["amplitude_1"] == pytest.approx(0.3, abs=1e-5)
    assert found["amplitude_2"] == pytest.approx(0.1, abs=1e-5)
    assert found["phase_1"] == pytest.approx(200, abs=1.0)
    assert found["phase_2"] == pytest.approx(40, abs=1.0)
    assert found["rmse"] < 1e-5
    assert found["count"] == len(times)
    assert ds["trend"].attrs["units"] == "1 year-1"
    assert ds["phase_1"].attrs["units"] == "day"


def test_harmonics_are_lazy_and_the_same_at_any_chunking():
    da = cube((5, 7), times=40)
    da = da.where(np.random.default_rng(0).random(da.shape) > 0.3).astype("float32")
    da[:, :, 2, 3] = np.nan
    expected = harmonics(da, harmonics=1)
    for time, y, x in ((7, 2, 7), (40, (1, 4), 3)):
        with nothing_computed():
            lazy = harmonics(rechunked(da, y, x, time=time), harmonics=1)
        xr.testing.assert_equal(lazy.compute(), expected)
    assert expected["mean"].dims == ("band", "y", "x")
    assert np.isnan(expected["mean"][:, 2, 3]).all()
    assert (expected["count"][:, 2, 3] == 0).all()
    assert all(v.dtype == np.float32 for v in expected.values())
    of_dataset = harmonics(xrs.cube.to_dataset(da), harmonics=1)
    np.testing.assert_array_equal(of_dataset["phase_1"].values, expected["phase_1"].values)
    assert "trend" not in harmonics(da, harmonics=1, trend=False)


def test_weights_of_zero_are_left_out():
    da = cube((3, 4), times=30)
    weights = xr.DataArray(np.where(np.arange(30) % 3 == 0, 0.0, 1.0).astype("float32"), dims="time")
    expected = harmonics(da.where(np.arange(30)[:, None, None, None] % 3 != 0), harmonics=1)
    xr.testing.assert_allclose(harmonics(da, harmonics=1, weights=weights), expected, atol=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"harmonics": 0},
        {"period": -1.0},
        {"trend": 1},
        {"damping": -0.1},
        {"tolerance": 0.0},
        {"reject": "up"},
        {"spare": -1},
    ],
)
def test_parameters_are_checked(wrong):
    with pytest.raises(ParameterError, match="harmonic got"):
        resolve_params(get_method("harmonic", "temporal"), wrong)


def test_wrong_input_is_named():
    with pytest.raises(LayoutError, match="weights"):
        harmonic(np.zeros((5, 3), np.float32), np.ones((5, 2), np.float32), np.arange(5.0), np.arange(5.0))
    with pytest.raises(TimeAxisError, match="dim 'time'"):
        harmonics(cube((3, 3)))
    with pytest.raises(RadiometryError, match="int"):
        harmonics((cube((3, 3), times=9) * 100).astype("int16"))


def test_meadow_at_withheld_dates(shared_data):
    """A meadow is cut several times a year: two harmonics follow it worse than a line, but they do follow."""
    with xr.open_dataset(shared_data / "s2_meadow.nc") as data:
        ndvi = data["NDVI"].rename(t="time").astype("float32").load()
    hidden = np.isfinite(ndvi.values) & (np.random.default_rng(0).random(ndvi.shape) < 0.3)
    error = (smooth(ndvi.where(~hidden), "harmonic").values - ndvi.values)[hidden]
    assert np.sqrt(np.nanmean(error**2)) < 0.8 * np.nanstd(ndvi.values)
