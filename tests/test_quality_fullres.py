"""Metrics at full resolution against literal loops, closed forms and known cases."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import xarray as xr

import xrs.quality as quality
from xrs.errors import BandNotFoundError, GridMismatchError, LayoutError, ParameterError
from xrs.kernels.psf import gaussian_taps, stack_taps
from xrs.kernels.resample import upsample
from xrs.quality.fullres import on_pixels
from xrs.sensors.registry import get_sensor

RATIO = 4


def cube(values: np.ndarray, pixel: float = 1.0) -> xr.DataArray:
    bands, height, width = values.shape
    return xr.DataArray(
        values.astype("float32"),
        dims=("band", "y", "x"),
        coords={
            "band": [f"B{i}" for i in range(bands)],
            "y": (np.arange(height)[::-1] + 0.5) * pixel,
            "x": (np.arange(width) + 0.5) * pixel,
        },
    )


@pytest.fixture(scope="module")
def case() -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    rng = np.random.default_rng(3)
    truth = 0.4 + 0.03 * np.cumsum(rng.normal(size=(3, 100, 72)), axis=1)
    fused = cube(truth + 0.02 * rng.normal(size=truth.shape))
    ms = cube(truth.reshape(3, 25, 4, 18, 4).mean(axis=(2, 4)), RATIO)
    return fused, ms, cube(truth.mean(axis=0, keepdims=True)).isel(band=0, drop=True)


def index(x: np.ndarray, y: np.ndarray) -> float:
    c = np.cov(x.ravel(), y.ravel())
    return 4 * c[0, 1] * x.mean() * y.mean() / ((c[0, 0] + c[1, 1]) * (x.mean() ** 2 + y.mean() ** 2))


def mean_index(x: np.ndarray, y: np.ndarray, size: int) -> float:
    starts = [(i, j) for i in range(0, x.shape[0] - size + 1, size) for j in range(0, x.shape[1] - size + 1, size)]
    return float(np.mean([index(x[i : i + size, j : j + size], y[i : i + size, j : j + size]) for i, j in starts]))


def test_qnr_of_the_paper_by_literal_loops(case):
    fused, ms, pan = case
    box = np.full(RATIO, 1 / RATIO)
    f, m, p = (c.values.astype("float64") for c in (fused, ms, pan))
    low = p.reshape(25, 4, 18, 4).mean(axis=(1, 3))
    d_lambda = np.mean(
        [abs(mean_index(f[i], f[j], 32) - mean_index(m[i], m[j], 8)) for i, j in combinations(range(3), 2)]
    )
    d_s = np.mean([abs(mean_index(f[i], p, 32) - mean_index(m[i], low, 8)) for i in range(3)])
    table = quality.evaluate_fullres(fused, ms, pan, psf={"ms": box}, convention="paper")
    assert float(table.d_lambda) == pytest.approx(d_lambda, abs=1e-5)
    assert float(table.d_s) == pytest.approx(d_s, abs=1e-5)
    assert float(table.qnr) == pytest.approx((1 - d_lambda) * (1 - d_s), abs=1e-5)


def test_interpolation_alone_has_no_spectral_distortion(case):
    _, ms, pan = case
    expanded = cube(upsample(ms.values, RATIO))
    table = quality.evaluate_fullres(expanded, ms, pan)
    assert float(table.d_lambda) == pytest.approx(0.0, abs=1e-6)
    assert float(table.d_s) > 0.0


def test_hqnr_joins_khan_and_the_spatial_distortion(case):
    table = quality.evaluate_fullres(*case)
    assert float(table.hqnr) == pytest.approx((1 - float(table.d_lambda_k)) * (1 - float(table.d_s)))
    assert 0.0 < float(table.d_lambda_k) < 1.0


def test_khan_ranks_a_spectral_shift_below_the_image_itself(case):
    fused, ms, pan = case
    shifted = fused * xr.DataArray([1.0, 1.5, 0.6], dims="band")
    assert float(quality.d_lambda_k(shifted, ms, pan)) > float(quality.d_lambda_k(fused, ms, pan)) + 0.02


def test_the_residual_of_a_bias_is_the_bias(case):
    _, ms, _ = case
    exact = cube(ms.values.repeat(RATIO, axis=1).repeat(RATIO, axis=2))
    box = {"ms": np.full(RATIO, 1 / RATIO)}
    np.testing.assert_allclose(quality.consistency(exact, ms, psf=box), 0.0, atol=1e-6)
    np.testing.assert_allclose(quality.consistency(exact + 0.25, ms, psf=box), 0.25, rtol=1e-5)


@pytest.mark.parametrize(("ratio", "gain"), [(2, 0.3), (4, 0.29), (6, 0.4), (3, 0.3)])
def test_taps_moved_onto_pixels_keep_their_gain(ratio, gain):
    moved = on_pixels(gaussian_taps(gain, ratio)[None])[0]
    assert moved.size % 2 == 1
    offsets = np.arange(moved.size) - moved.size // 2
    response = np.sum(moved * np.cos(2 * np.pi * offsets / (2 * ratio)))
    assert moved.sum() == pytest.approx(1.0)
    assert response == pytest.approx(gain, abs=5e-3)


def test_blocks_with_gaps_are_left_out(case):
    fused, ms, pan = case
    holed = fused.copy()
    holed[{"band": 1, "y": slice(64, None)}] = np.nan
    keep, coarse = {"y": slice(0, 64)}, {"y": slice(0, 16)}
    box = {"ms": np.full(RATIO, 1 / RATIO)}
    expected = quality.qnr(fused.isel(keep), ms.isel(coarse), pan.isel(keep), psf=box, convention="paper")
    found = quality.qnr(holed, ms, pan, psf=box, convention="paper")
    assert float(found) == pytest.approx(float(expected), rel=1e-9)


def test_a_sensor_gives_its_own_blur(case):
    sensor = get_sensor("quickbird")
    keys = [b.key for b in sensor.bands[:3]]
    fused, ms = (c.assign_coords(band=keys) for c in case[:2])
    taps = stack_taps([gaussian_taps(gain, RATIO) for gain in sensor.mtf_of(keys)])
    by_name = quality.consistency(fused, ms, sensor="quickbird")
    xr.testing.assert_allclose(by_name, quality.consistency(fused, ms, psf={"ms": taps}))


class TestWrongInput:
    def test_fused_off_the_pan_grid(self, case):
        fused, ms, pan = case
        with pytest.raises(GridMismatchError, match="pan on"):
            quality.qnr(fused.isel(x=slice(4, None)), ms, pan)

    def test_wrong_ratio(self, case):
        with pytest.raises(GridMismatchError, match="ratio 2"):
            quality.qnr(*case, ratio=2)

    def test_missing_band(self, case):
        fused, ms, pan = case
        with pytest.raises(BandNotFoundError, match="B2"):
            quality.qnr(fused.isel(band=[0, 1]), ms, pan)

    def test_pan_of_many_bands(self, case):
        fused, ms, _ = case
        with pytest.raises(LayoutError, match="3 bands"):
            quality.qnr(fused, ms, fused)

    @pytest.mark.parametrize("psf", [{}, {"ms": np.ones(5)}, {"ms": np.ones((2, 4))}, {"pan": np.ones(4)}])
    def test_taps_that_do_not_fit(self, case, psf):
        with pytest.raises(ParameterError, match="taps"):
            quality.qnr(*case, psf=psf)

    def test_unknown_convention(self, case):
        with pytest.raises(ParameterError, match="toolbox"):
            quality.qnr(*case, convention="matlab")
