"""The Whittaker smoother against another implementation, dense algebra, splines, closed forms and a known truth."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import make_smoothing_spline
from whittaker_eilers import WhittakerSmoother

from xrs.errors import LayoutError, ParameterError, TimeAxisError
from xrs.methods.registry import get_method, resolve_params
from xrs.methods.temporal.whittaker import whittaker as smoothed

#: As published: the curve runs on outside the observations, as the oracles' do.
whittaker = partial(smoothed, extrapolate="curve")


def noisy(time, n, seed=0, missing=0.3):
    """Series with gaps and weights between 0.1 and 1, zero in the gaps."""
    rng = np.random.default_rng(seed)
    series = rng.random((time, n), dtype=np.float32)
    weights = rng.uniform(0.1, 1.0, (time, n)).astype(np.float32)
    weights[rng.random((time, n)) < missing] = 0.0
    return series, weights


def irregular_days(time, seed=0):
    return np.cumsum(np.random.default_rng(seed).choice([1.0, 2.0, 3.0, 5.0, 13.0], time))


def derivative_rows(days, order):
    """Rows that give the derivative of the polynomial through ``order + 1`` dates, from a Vandermonde system."""
    rows = np.zeros((days.size - order, days.size))
    for i in range(len(rows)):
        x = days[i : i + order + 1]
        leading = np.linalg.inv(np.vander(x - x.mean(), increasing=True))[-1]
        rows[i, i : i + order + 1] = leading * [1, 1, 2][order] * np.sqrt((x[-1] - x[0]) / order)
    return rows


def dense_hat(weights, days, lmbda, order):
    rows = derivative_rows(days, order)
    return np.linalg.solve(np.diag(weights) + lmbda * rows.T @ rows, np.diag(weights))


def dense_fit(series, weights, days, lmbda, order):
    columns = [
        dense_hat(w, days, lmbda, order) @ y
        for y, w in zip(series.T.astype(float), weights.T.astype(float), strict=True)
    ]
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("lmbda", [0.5, 50.0, 2e4])
def test_regular_dates_agree_with_whittaker_eilers(order, lmbda):
    series, weights = noisy(60, 20)
    days = np.arange(60.0)
    peer = WhittakerSmoother(lmbda=lmbda, order=order, data_length=60)
    expected = []
    for y, w in zip(series.T, weights.T, strict=True):
        peer.update_weights(w.tolist())
        expected.append(peer.smooth(y.tolist()))
    np.testing.assert_allclose(whittaker(series, weights, days, days, lmbda=lmbda, order=order).T, expected, atol=2e-6)


def test_daily_targets_agree_with_whittaker_eilers_on_a_daily_grid():
    days = irregular_days(25)
    series, _ = noisy(25, 3)
    daily = np.arange(days[0], days[-1] + 1)
    seen = np.isin(daily, days)
    result = whittaker(series, None, days, daily, lmbda=200.0)
    for j in range(3):
        values = np.zeros(daily.size)
        values[seen] = series[:, j]
        peer = WhittakerSmoother(200.0, 2, daily.size, weights=seen.astype(float).tolist())
        np.testing.assert_allclose(result[:, j], peer.smooth(values.tolist()), atol=2e-6)


def test_spacing_scales_lambda():
    series, weights = noisy(40, 5)
    samples, days = np.arange(40.0), 5.0 * np.arange(40.0)
    one = whittaker(series, weights, samples, samples, lmbda=8.0)
    np.testing.assert_allclose(whittaker(series, weights, days, days, lmbda=8.0 * 5**3), one, atol=1e-6)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("lmbda", [1.0, 300.0, 1e5])
def test_irregular_dates_agree_with_dense_algebra(order, lmbda):
    days = irregular_days(45)
    series, weights = noisy(45, 20)
    expected = dense_fit(series, weights, days, lmbda, order)
    np.testing.assert_allclose(whittaker(series, weights, days, days, lmbda=lmbda, order=order), expected, atol=2e-6)


def test_close_to_the_smoothing_spline():
    days = irregular_days(60)
    series = np.sin(days / 40.0)[:, None].astype(np.float32) + noisy(60, 1)[0] * 0.2
    daily = np.arange(days[0], days[-1] + 1)
    spline = make_smoothing_spline(days, series[:, 0].astype(float), lam=500.0)
    result = whittaker(series, None, days, daily, lmbda=500.0)[:, 0]
    np.testing.assert_allclose(result, spline(daily), atol=1e-3)
    on_dates = whittaker(series, None, days, days, lmbda=500.0)[:, 0]
    np.testing.assert_allclose(on_dates, spline(days), atol=0.02)


@pytest.mark.parametrize("lmbda", [1e-3, 300.0, 1e6, "gcv", "vcurve"])
def test_a_straight_line_stays_whatever_the_weights(lmbda):
    days = irregular_days(30)
    weights = noisy(30, 17)[1]
    slope = np.linspace(-0.01, 0.01, 17)
    line = 0.3 + days[:, None] * slope
    targets = np.arange(days[0] - 20.0, days[-1] + 20.0, 7.0)
    result = whittaker(line.astype(np.float32), weights, days, targets, lmbda=lmbda)
    np.testing.assert_allclose(result, 0.3 + targets[:, None] * slope, atol=5e-6)


def test_small_lambda_gives_the_data():
    series, _ = noisy(30, 9)
    days = irregular_days(30)
    np.testing.assert_allclose(whittaker(series, None, days, days, lmbda=1e-9), series, atol=1e-6)


def test_large_lambda_gives_the_weighted_regression_line():
    days = irregular_days(30)
    series, weights = noisy(30, 9)
    result = whittaker(series, weights, days, days, lmbda=1e10)
    for j in range(9):
        fit = np.polynomial.Polynomial.fit(days, series[:, j], 1, w=np.sqrt(weights[:, j]))
        np.testing.assert_allclose(result[:, j], fit(days), atol=1e-5)


def test_large_lambda_of_order_one_gives_the_weighted_mean():
    days = irregular_days(30)
    series, weights = noisy(30, 9)
    mean = np.average(series, axis=0, weights=weights)
    result = whittaker(series, weights, days, days, lmbda=1e9, order=1)
    np.testing.assert_allclose(result, np.broadcast_to(mean, result.shape), atol=1e-5)


def test_gcv_takes_the_best_of_the_grid():
    days = irregular_days(40)
    series, weights = noisy(40, 12)
    series += np.sin(days / 30.0)[:, None].astype(np.float32)
    grid = np.logspace(0, 6, 13)
    result = whittaker(series, weights, days, days, lmbda="gcv", lmbda_grid=(0.0, 6.0, 13))
    chosen = set()
    for j in range(12):
        y, w = series[:, j].astype(float), weights[:, j].astype(float)
        scores, fits = [], []
        for lmbda in grid:
            hat = dense_hat(w, days, lmbda, 2)
            fits.append(hat @ y)
            scores.append((w * (y - fits[-1]) ** 2).sum() / ((w > 0).sum() - np.trace(hat)) ** 2)
        chosen.add(int(np.argmin(scores)))
        np.testing.assert_allclose(result[:, j], fits[int(np.argmin(scores))], atol=3e-6)
    assert len(chosen) > 1


def test_vcurve_takes_the_shortest_step():
    days = irregular_days(40)
    series, weights = noisy(40, 12)
    series += np.sin(days / 30.0)[:, None].astype(np.float32)
    grid = np.logspace(0, 6, 13)
    rows = derivative_rows(days, 2)
    result = whittaker(series, weights, days, days, lmbda="vcurve", lmbda_grid=(0.0, 6.0, 13))
    for j in range(12):
        y, w = series[:, [j]].astype(float), weights[:, [j]].astype(float)
        fits = [dense_fit(y, w, days, lmbda, 2) for lmbda in grid]
        points = np.log([[(w * (y - z) ** 2).sum(), ((rows @ z) ** 2).sum()] for z in fits])
        k = np.argmin(np.linalg.norm(np.diff(points, axis=0), axis=1))
        np.testing.assert_allclose(result[:, [j]], dense_fit(y, w, days, np.sqrt(grid[k] * grid[k + 1]), 2), atol=3e-6)


def season(days):
    """A crop's NDVI: up in spring, down in late summer."""
    return 0.2 + 0.6 / (1 + np.exp(-(days - 120) / 12)) / (1 + np.exp((days - 240) / 15))


def cloudy_season(n=200, share=0.15):
    rng = np.random.default_rng(4)
    days = np.arange(0.0, 365.0, 5.0)
    truth = np.repeat(season(days)[:, None], n, axis=1)
    seen = truth + rng.normal(0, 0.015, truth.shape)
    seen -= (rng.random(truth.shape) < share) * rng.uniform(0.15, 0.5, truth.shape)
    return days, truth, seen.astype(np.float32)


def rmse(a, b):
    return float(np.sqrt(np.mean((a - b) ** 2)))


@pytest.mark.parametrize("options", [{"robust": 4}, {"envelope": 0.9}, {"robust": 4, "lmbda": "gcv"}])
def test_robust_fits_come_closer_to_the_truth_under_clouds(options):
    days, truth, seen = cloudy_season()
    plain = rmse(whittaker(seen, None, days, days), truth)
    assert rmse(whittaker(seen, None, days, days, **options), truth) < 0.6 * plain


def test_bisquare_drops_an_outlier_entirely():
    days = np.arange(40.0)
    series = (0.5 + 0.1 * np.sin(days / 8.0) + np.random.default_rng(0).normal(0, 0.01, 40)).astype(np.float32)[:, None]
    spoilt, without = series.copy(), series.copy()
    spoilt[20] -= 5.0
    without[20] = np.nan
    one = whittaker(spoilt, None, days, days, lmbda=100.0, robust=10)
    other = whittaker(without, None, days, days, lmbda=100.0, robust=10)
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_one_bisquare_pass_weights_by_the_median_residual():
    days = np.arange(31.0)
    series = noisy(31, 1)[0]
    first = dense_fit(series, np.ones((31, 1)), days, 10.0, 2)
    residual = series - first
    u = residual / (6 * np.median(np.abs(residual)))
    weights = np.where(np.abs(u) < 1, (1 - u**2) ** 2, 0.0)
    expected = dense_fit(series, weights, days, 10.0, 2)
    np.testing.assert_allclose(whittaker(series, None, days, days, lmbda=10.0, robust=1), expected, atol=2e-6)


@pytest.mark.parametrize("p", [0.2, 0.9])
def test_envelope_is_asymmetric_least_squares(p):
    days = np.arange(50.0)
    series = noisy(50, 6)[0]
    curve = dense_fit(series, np.ones((50, 6)), days, 10.0, 2)
    for _ in range(10):
        curve = dense_fit(series, np.where(series > curve, p, 1 - p), days, 5.0, 2)
    np.testing.assert_allclose(whittaker(series, None, days, days, lmbda=10.0, envelope=p), curve, atol=3e-6)


def test_nan_equals_weight_zero():
    days = irregular_days(30)
    series, weights = noisy(30, 33)
    holed = np.where(weights > 0, series, np.nan).astype(np.float32)
    ones = (weights > 0).astype(np.float32)
    for options in ({}, {"robust": 2}, {"lmbda": "gcv"}):
        expected = whittaker(series, ones, days, days, **options)
        np.testing.assert_array_equal(whittaker(holed, None, days, days, **options), expected)
        np.testing.assert_array_equal(whittaker(holed, ones, days, days, **options), expected)


@pytest.mark.parametrize("order", [1, 2])
def test_too_few_observations_are_nan(order):
    days = irregular_days(10)
    series = np.full((10, 4), np.nan, np.float32)
    for j in range(4):
        series[:j, j] = 0.5
    seen = np.isfinite(whittaker(series, None, days, days, order=order)).all(axis=0)
    assert seen.tolist() == [j > order for j in range(4)]


@settings(max_examples=40, deadline=None)
@given(
    n=st.sampled_from([1, 15, 16, 17, 33, 127, 128, 129, 300]),
    time=st.integers(1, 40),
    missing=st.floats(0.0, 0.9),
    options=st.sampled_from([{}, {"robust": 2}, {"lmbda": "gcv"}, {"lmbda": "vcurve"}, {"envelope": 0.8}]),
    ends=st.sampled_from(["curve", "nearest", "nan"]),
)
def test_pixels_are_independent_and_inputs_stay(n, time, missing, options, ends):
    days = irregular_days(time)
    series, weights = noisy(time, n, seed=time, missing=missing)
    targets = np.linspace(days[0] - 3, days[-1] + 3, 11)
    kept = series.copy(), weights.copy(), days.copy(), targets.copy()
    result = whittaker(series, weights, days, targets, extrapolate=ends, **options)
    assert result.shape == (11, n)
    assert result.dtype == np.float32
    turn = np.random.default_rng(1).permutation(n)
    turned = whittaker(series[:, turn].copy(), weights[:, turn].copy(), days, targets, extrapolate=ends, **options)
    np.testing.assert_array_equal(turned, result[:, turn])
    for j in range(min(n, 3)):
        alone = whittaker(series[:, [j]], weights[:, [j]], days, targets, extrapolate=ends, **options)
        np.testing.assert_array_equal(alone, result[:, [j]])
    if ends != "nan":
        np.testing.assert_array_equal(np.isnan(result).any(axis=0), (weights > 0).sum(axis=0) < 3)
    for before, after in zip(kept, (series, weights, days, targets), strict=True):
        np.testing.assert_array_equal(before, after)


def test_ends_are_held_or_dropped():
    days = np.arange(20.0)
    series, _ = noisy(20, 200)
    series[:4] = series[15:] = np.nan
    curve = whittaker(series, None, days, days)
    held = smoothed(series, None, days, days)
    dropped = whittaker(series, None, days, days, extrapolate="nan")
    np.testing.assert_array_equal(held[4:15], curve[4:15])
    np.testing.assert_array_equal(dropped[4:15], curve[4:15])
    np.testing.assert_array_equal(held[:4], np.broadcast_to(curve[4], (4, 200)))
    np.testing.assert_array_equal(held[15:], np.broadcast_to(curve[14], (5, 200)))
    assert np.isnan(dropped[:4]).all()
    assert np.isnan(dropped[15:]).all()


def test_observations_of_one_moment_are_averaged():
    days = np.array([0.0, 5.0, 5.001, 10.0, 15.0, 20.0])
    series = noisy(6, 4)[0]
    weights = np.array([1, 3, 1, 1, 1, 1], np.float32)[:, None].repeat(4, axis=1)
    joined = np.delete(series, 2, axis=0)
    joined[1] = (3 * series[1] + series[2]) / 4
    expected = whittaker(
        joined, np.delete(weights, 2, axis=0) + np.eye(5)[1][:, None].astype(np.float32), *[np.delete(days, 2)] * 2
    )
    np.testing.assert_allclose(whittaker(series, weights, days, np.delete(days, 2)), expected, atol=1e-4)


def test_a_date_seconds_from_another_does_not_harm():
    days = irregular_days(40)
    series, _ = noisy(40, 3)
    plain = whittaker(series, None, days, days, lmbda=1e5)
    np.testing.assert_allclose(whittaker(series, None, days, days + 1e-5, lmbda=1e5), plain, atol=1e-4)


def test_wrong_input_is_named():
    series, weights = noisy(5, 3)
    days = np.arange(5.0)
    with pytest.raises(LayoutError, match="two dimensions"):
        whittaker(series[0], None, days, days)
    with pytest.raises(LayoutError, match="weights"):
        whittaker(series, weights[:4], days, days)
    with pytest.raises(TimeAxisError, match="one for each date"):
        whittaker(series, None, days[:4], days)
    with pytest.raises(TimeAxisError, match="increase"):
        whittaker(series, None, days[::-1], days)
    with pytest.raises(ParameterError, match="vcurve"):
        whittaker(series, None, days, days, lmbda="lcurve")


@pytest.mark.parametrize(
    "wrong",
    [
        {"lmbda": 0},
        {"lmbda": "aic"},
        {"order": 4},
        {"robust": -1},
        {"envelope": 1.0},
        {"lmbda_grid": (3, 1, 5)},
        {"extrapolate": "no"},
    ],
)
def test_parameters_are_checked(wrong):
    with pytest.raises(ParameterError, match="whittaker got"):
        resolve_params(get_method("whittaker", "temporal"), wrong)
