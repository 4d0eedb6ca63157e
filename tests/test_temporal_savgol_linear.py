"""Savitzky-Golay against SciPy and dense polynomial fits, linear interpolation against NumPy, all on real NDVI."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import savgol_filter

from xrs.errors import LayoutError, ParameterError, TimeAxisError
from xrs.methods.registry import get_method, methods_of, resolve_params
from xrs.methods.temporal.linear import linear
from xrs.methods.temporal.savgol import savgol
from xrs.methods.temporal.whittaker import whittaker


def holed(time, n, seed=0, missing=0.3):
    rng = np.random.default_rng(seed)
    series = rng.random((time, n), dtype=np.float32)
    series[rng.random((time, n)) < missing] = np.nan
    return series


def irregular_days(time, seed=0):
    return np.cumsum(np.random.default_rng(seed).choice([1.0, 2.0, 3.0, 5.0, 13.0], time))


def interpolate_with_numpy(series, days, targets, **ends):
    out = np.full((targets.size, series.shape[1]), np.nan)
    for j, y in enumerate(series.T):
        seen = np.isfinite(y)
        if seen.any():
            out[:, j] = np.interp(targets, days[seen], y[seen], **ends)
    return out


@settings(max_examples=60, deadline=None)
@given(
    n=st.sampled_from([1, 15, 16, 17, 33, 127, 128, 129]),
    time=st.integers(1, 40),
    missing=st.floats(0.0, 1.0),
    nearest=st.booleans(),
    own_dates=st.booleans(),
)
def test_linear_agrees_with_numpy(n, time, missing, nearest, own_dates):
    days = irregular_days(time, seed=n)
    series = holed(time, n, seed=time, missing=missing)
    rng = np.random.default_rng(time)
    targets = days.copy() if own_dates else rng.uniform(days[0] - 5, days[-1] + 5, 20)
    kept = series.copy(), days.copy(), targets.copy()
    result = linear(series, None, days, targets, extrapolate="nearest" if nearest else "nan")
    ends = {} if nearest else {"left": np.nan, "right": np.nan}
    np.testing.assert_allclose(result, interpolate_with_numpy(series, days, targets, **ends), atol=1e-6)
    assert result.dtype == np.float32
    for before, after in zip(kept, (series, days, targets), strict=True):
        np.testing.assert_array_equal(before, after)


def test_linear_keeps_observations_bit_for_bit():
    days, series = irregular_days(30), holed(30, 50)
    seen = np.isfinite(series)
    np.testing.assert_array_equal(linear(series, None, days, days)[seen], series[seen])


@pytest.mark.parametrize("method", [linear, savgol])
def test_nan_equals_weight_zero(method):
    days, series = irregular_days(30), holed(30, 33)
    weights = np.isfinite(series).astype(np.float32) * 0.5
    expected = method(series, None, days, days)
    np.testing.assert_array_equal(method(np.nan_to_num(series, nan=7.0), weights, days, days), expected)
    np.testing.assert_array_equal(method(series, weights, days, days), expected)


@pytest.mark.parametrize(("window", "polyorder"), [(5, 2), (11, 2), (9, 6), (7, 0), (15, 3), (1, 0)])
def test_savgol_agrees_with_scipy_on_a_regular_axis(window, polyorder):
    series = holed(40, 37, missing=0.0)
    days = 100.0 + 5.0 * np.arange(40)
    expected = savgol_filter(series.astype(float), window, polyorder, axis=0)
    result = savgol(series, None, days, days, window=window, polyorder=polyorder)
    np.testing.assert_allclose(result, expected, atol=3e-6)


def test_savgol_agrees_with_polynomials_on_irregular_dates():
    days = irregular_days(30)
    series = holed(30, 5, missing=0.0)
    targets = np.array([days[0], days[7] + 0.3, 0.5 * (days[14] + days[15]) + 0.01, days[20], days[-1] - 0.2])
    result = savgol(series, None, days, targets, window=7, polyorder=2)
    for i, target in enumerate(targets):
        nearest = int(np.argmin(np.abs(days - target)))
        first = min(max(nearest - 3, 0), 23)
        for j in range(5):
            x = days[first : first + 7] - target
            expected = np.polyfit(x, series[first : first + 7, j].astype(float), 2)[-1]
            assert result[i, j] == pytest.approx(expected, abs=3e-6)


def test_savgol_fills_linearly_then_filters():
    days = 5.0 * np.arange(50)
    series = holed(50, 20)
    filled = interpolate_with_numpy(series, days, days)
    np.testing.assert_allclose(savgol(series, None, days, days), savgol_filter(filled, 11, 2, axis=0), atol=3e-6)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_savgol_keeps_polynomials_of_its_degree(degree):
    days = irregular_days(40)
    x = days / days[-1]
    targets = np.linspace(days[0], days[-1], 23)
    series = (x**degree)[:, None].astype(np.float32)
    result = savgol(series, None, days, targets, window=7, polyorder=3)
    np.testing.assert_allclose(result[:, 0], (targets / days[-1]) ** degree, atol=2e-5)


def test_savgol_is_nan_where_it_knows_nothing():
    days = 5.0 * np.arange(20)
    series = np.full((20, 5), np.nan, np.float32)
    for j in range(5):
        series[3 : 3 + j, j] = 0.4
    result = savgol(series, None, days, np.array([-1.0, 0.0, 50.0, 95.0, 96.0]))
    assert np.isnan(result[:, :3]).all()
    assert np.isnan(result[[0, 4]]).all()
    np.testing.assert_allclose(result[1:4, 3:], 0.4, atol=1e-6)


def chen(filled, window, polyorder, passes):
    """Chen's loop on one regular series, written with SciPy's filter."""
    curve = savgol_filter(filled, window, polyorder)
    distance = np.abs(filled - curve)
    importance = np.where(filled >= curve, 1.0, 1.0 - distance / distance.max())
    least = np.inf
    for _ in range(passes):
        fitted = savgol_filter(np.maximum(filled, curve), 9, 6)
        index = (np.abs(fitted - filled) * importance).sum()
        if index > least:
            break
        least, curve = index, fitted
    return curve


@pytest.mark.parametrize("passes", [1, 3, 20])
def test_savgol_envelope_follows_chen(passes):
    days = 10.0 * np.arange(36)
    series = holed(36, 30)
    filled = interpolate_with_numpy(series, days, days)
    result = savgol(series, None, days, days, envelope=passes)
    for j in range(30):
        np.testing.assert_allclose(result[:, j], chen(filled[:, j], 11, 2, passes), atol=3e-6)


def test_savgol_envelope_comes_closer_to_the_truth_under_clouds():
    rng = np.random.default_rng(3)
    days = np.arange(0.0, 365.0, 10.0)
    truth = np.repeat((0.5 - 0.3 * np.cos(2 * np.pi * days / 365))[:, None], 100, axis=1)
    seen = truth - (rng.random(truth.shape) < 0.15) * rng.uniform(0.1, 0.4, truth.shape)
    plain = savgol(seen.astype(np.float32), None, days, days) - truth
    lifted = savgol(seen.astype(np.float32), None, days, days, envelope=10) - truth
    assert np.sqrt(np.mean(lifted**2)) < 0.7 * np.sqrt(np.mean(plain**2))


@settings(max_examples=40, deadline=None)
@given(
    n=st.sampled_from([1, 15, 16, 17, 33, 127, 128, 129]),
    time=st.integers(1, 40),
    missing=st.floats(0.0, 0.9),
    envelope=st.sampled_from([0, 4]),
)
def test_savgol_pixels_are_independent_and_inputs_stay(n, time, missing, envelope):
    days = irregular_days(time)
    series = holed(time, n, seed=time, missing=missing)
    targets = np.linspace(days[0], days[-1], 9)
    kept = series.copy(), days.copy()
    result = savgol(series, None, days, targets, envelope=envelope)
    turn = np.random.default_rng(1).permutation(n)
    np.testing.assert_array_equal(
        savgol(series[:, turn].copy(), None, days, targets, envelope=envelope), result[:, turn]
    )
    np.testing.assert_array_equal(np.isnan(result).all(axis=0), np.isfinite(series).sum(axis=0) < 3)
    np.testing.assert_array_equal(kept[0], series)
    np.testing.assert_array_equal(kept[1], days)


@pytest.mark.parametrize("method", [linear, savgol])
def test_wrong_input_is_named(method):
    series, days = holed(5, 3), np.arange(5.0)
    with pytest.raises(LayoutError, match="weights"):
        method(series, np.ones((5, 2), np.float32), days, days)
    with pytest.raises(TimeAxisError, match="increase"):
        method(series, None, np.array([0.0, 1.0, 1.0, 2.0, 3.0]), days)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("savgol", {"window": 8}),
        ("savgol", {"polyorder": -1}),
        ("savgol", {"envelope": 1.5}),
        ("linear", {"extrapolate": "spline"}),
    ],
)
def test_parameters_are_checked(name, wrong):
    with pytest.raises(ParameterError, match=f"{name} got"):
        resolve_params(get_method(name, "temporal"), wrong)


def test_window_must_exceed_the_degree():
    with pytest.raises(ParameterError, match="above the degree"):
        savgol(holed(20, 2), None, np.arange(20.0), np.arange(20.0), window=3, polyorder=3)


def test_family_holds_the_three_methods():
    assert {"linear", "savgol", "whittaker"} <= set(methods_of("temporal"))


@pytest.fixture(scope="module")
def meadow(shared_data):
    """NDVI (time, n) of a meadow, 28 % missing, with its days."""
    with xr.open_dataset(shared_data / "s2_meadow.nc") as data:
        ndvi = data["NDVI"].values.reshape(data.sizes["t"], -1).astype(np.float32)
        days = (data["t"].values - data["t"].values[0]) / np.timedelta64(1, "D")
    return ndvi, days


@pytest.mark.parametrize(
    ("method", "options", "bound"),
    [(linear, {}, 0.08), (savgol, {}, 0.09), (whittaker, {}, 0.09), (whittaker, {"lmbda": "gcv"}, 0.08)],
)
def test_held_out_observations_of_a_meadow(meadow, method, options, bound):
    ndvi, days = meadow
    hidden = np.isfinite(ndvi) & (np.random.default_rng(0).random(ndvi.shape) < 0.1)
    known = np.where(hidden, np.nan, ndvi).astype(np.float32)
    inside = hidden & np.isfinite(linear(known, None, days, days))
    error = (method(known, None, days, days, **options) - ndvi)[inside]
    assert np.sqrt(np.mean(error**2)) < bound
    assert bound < 0.5 * np.nanstd(ndvi)
