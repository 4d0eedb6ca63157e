"""Coverage, width, sparsification and calibration against closed forms and simulated errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from support import cube, nothing_computed, rechunked

from xrs.errors import BandNotFoundError, GridMismatchError, ParameterError, TimeAxisError
from xrs.quality import ause, coverage, ence, interval_width, sparsification

ALL = [coverage, interval_width, ause, ence]


def case(errors: str = "normal", n: int = 300, seed: int = 0) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """A value, its standard deviation and the truth, of two bands and two dates."""
    rng = np.random.default_rng(seed)
    std = rng.uniform(0.5, 3.0, (2, 4, n, n))
    drawn = {"normal": rng.standard_normal, "laplace": lambda shape: rng.laplace(0, 1 / np.sqrt(2), shape)}[errors]
    mean = rng.uniform(0, 1, std.shape)
    values = (mean, std, mean + std * drawn(std.shape))
    return tuple(cube((n, n), times=2, values=v.astype("float32")) for v in values)  # type: ignore[return-value]


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("errors", ["normal", "laplace"])
def test_coverage_is_that_of_the_distribution(errors: str, level: float) -> None:
    z = stats.norm.ppf((1 + level) / 2)
    distribution = stats.norm() if errors == "normal" else stats.laplace(scale=1 / np.sqrt(2))
    found = coverage(*case(errors), level=level)
    assert found.dims == ("time", "band")
    np.testing.assert_allclose(found, distribution.cdf(z) - distribution.cdf(-z), atol=4e-3)


def test_width() -> None:
    mean, std, truth = case()
    expected = 2 * stats.norm.ppf(0.95) * std.mean(["y", "x"], dtype="float64")
    np.testing.assert_allclose(interval_width(mean, std, truth), expected, rtol=1e-6)


def sorted_curve(error: np.ndarray, by: np.ndarray, steps: int) -> np.ndarray:
    """What is left when the last of all pixels, sorted, are taken away."""
    ordered = error.ravel()[np.argsort(by.ravel())] ** 2
    return np.array([np.sqrt(ordered[: round(ordered.size * (1 - k / steps))].mean()) for k in range(steps)])


def test_sparsification_equals_sorting_all_pixels() -> None:
    mean, std, truth = case("laplace")
    curves = sparsification(mean, std, truth, steps=10)
    assert curves.rmse.dims == ("time", "band", "removed")
    error = (truth - mean).values[1, 2]
    np.testing.assert_allclose(curves.rmse[1, 2], sorted_curve(error, std.values[1, 2], 10), rtol=5e-3)
    np.testing.assert_allclose(curves.oracle[1, 2], sorted_curve(error, np.abs(error), 10), rtol=5e-3)


def test_ranking_is_best_where_it_is_by_the_errors_and_worst_where_turned_round() -> None:
    mean, std, truth = case()
    error = np.abs(truth - mean)
    perfect, good, none, bad = (float(ause(mean, s, truth).mean()) for s in (error, std, 0 * std + 1, 1 / std))
    assert abs(perfect) < 1e-6 < good < none < bad
    # Mean over 20 steps of 1 - the oracle's curve of errors that are normal with these standard deviations.
    flat = error.values[0, 0]
    assert none == pytest.approx(1 - (sorted_curve(flat, flat, 20) / np.sqrt((flat**2).mean())).mean(), abs=0.02)


def test_calibration_error() -> None:
    mean, std, truth = case("laplace")
    assert float(ence(mean, std, truth).max()) < 0.03
    # Twice too wide: (1 - 2) / 2; half as wide: (1 - 0.5) / 0.5.
    np.testing.assert_allclose(ence(mean, 2 * std, truth), 0.5, atol=0.02)
    np.testing.assert_allclose(ence(mean, 0.5 * std, truth), 1.0, atol=0.05)


@pytest.mark.parametrize("metric", ALL)
def test_any_chunking_gives_the_same_and_stays_lazy(metric: Any) -> None:
    mean, std, truth = case(n=40)
    truth.values[0, 1, :3, 5] = np.nan
    std.values[1, 0, 7, 7:9] = np.nan
    expected = metric(mean, std, truth)
    with nothing_computed():
        lazy = metric(rechunked(mean, 7, 40), rechunked(std, 13, (1, 39)), rechunked(truth, 40, 11, time=2))
    np.testing.assert_allclose(lazy.compute(), expected, rtol=1e-12)


@pytest.mark.parametrize("metric", ALL)
def test_missing_pixels_do_not_count(metric: Any) -> None:
    cubes = case(n=40)
    cut = metric(*(c.isel(y=slice(0, 20)) for c in cubes))
    for n in range(3):
        holed = [c.copy(deep=True) for c in cubes]
        holed[n].values[..., 20:, :] = np.nan
        np.testing.assert_allclose(metric(*holed), cut, rtol=1e-12)
    assert np.isnan(metric(cubes[0] * np.nan, *cubes[1:])).all()


def test_bands_by_key_and_datasets() -> None:
    mean, std, truth = case(n=20)
    turned = std.isel(band=[2, 0, 3, 1])
    xr.testing.assert_identical(coverage(mean, turned, truth), coverage(mean, std, truth))
    found = coverage(mean, std, truth.to_dataset("band"))
    np.testing.assert_array_equal(found, coverage(mean, std, truth))
    assert list(found.band.values) == list(truth.band.values)


def test_what_does_not_fit_is_named() -> None:
    mean, std, truth = case(n=20)
    with pytest.raises(GridMismatchError, match="std is on"):
        coverage(mean, std.isel(y=slice(1, None)), truth)
    with pytest.raises(BandNotFoundError):
        ence(mean.isel(band=[0, 1]), std, truth)
    with pytest.raises(TimeAxisError):
        ause(mean, std.isel(time=[0]), truth)
    for wrong in (lambda: coverage(mean, std, truth, level=1.0), lambda: ence(mean, std, truth, bins=0)):
        with pytest.raises(ParameterError):
            wrong()
    with pytest.raises(ParameterError):
        sparsification(mean, std, truth, steps=1)
