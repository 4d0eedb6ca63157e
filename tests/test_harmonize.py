"""Radiometry of one sensor brought to another's: known gains on every nesting of grids, and what must not matter."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import linregress
from support import BANDS, cube, nothing_computed, rechunked

import xrs
from xrs.cube import to_dataset
from xrs.errors import BandNotFoundError, GridMismatchError, ParameterError, RadiometryError, TimeAxisError

GAIN = xr.DataArray([0.8, 1.0, 1.25, 0.9], dims="band")
OFFSET = xr.DataArray([0.02, -0.01, 0.0, 0.05], dims="band")


def distorted(image: xr.DataArray) -> xr.DataArray:
    """What a sensor of another radiometry would see: ``image`` is gain times it plus offset."""
    return image.copy(data=((image - OFFSET) / GAIN).transpose(*image.dims).astype("float32"))


def averaged(image: xr.DataArray, ratio: int) -> xr.DataArray:
    return xrs.degrade(image, ratio, psf="box").astype("float32")


def noisy(image: xr.DataArray, sigma: float = 0.01, seed: int = 7) -> xr.DataArray:
    noise = np.random.default_rng(seed).normal(0, sigma, image.shape)
    return image.copy(data=(image + noise).astype("float32").values)


@pytest.mark.parametrize("method", ["ols", "rma"])
@pytest.mark.parametrize("times", [0, 3])
def test_known_gains_come_back_on_one_grid(method, times):
    truth = cube((24, 20), times=times)
    result = xrs.harmonize(distorted(truth), truth, method=method)
    np.testing.assert_allclose(result, truth, atol=2e-5)
    assert result.dims == truth.dims
    assert result.dtype == np.float32


@pytest.mark.parametrize("method", ["ols", "rma"])
@pytest.mark.parametrize("ratio", [2, 3])
def test_known_gains_come_back_on_nested_grids_both_ways(method, ratio):
    fine = cube((24, 36), times=2)
    coarse = averaged(fine, ratio)
    np.testing.assert_allclose(xrs.harmonize(distorted(fine), coarse, method=method), fine, atol=2e-5)
    np.testing.assert_allclose(xrs.harmonize(distorted(coarse), fine, method=method), coarse, atol=2e-5)


def test_a_small_fine_image_in_a_large_coarse_one():
    large = cube((60, 60), times=2)
    coarse, fine = averaged(large, 2), large.isel(y=slice(20, 40), x=slice(8, 32))
    assert coarse.isel(time=0).size > fine.isel(time=0).size
    np.testing.assert_allclose(xrs.harmonize(distorted(fine), coarse), fine, atol=2e-5)
    np.testing.assert_allclose(xrs.harmonize(distorted(coarse), fine), coarse, atol=2e-5)


def test_ordinary_least_squares_are_scipys():
    truth = cube((20, 30), times=2)
    seen = noisy(distorted(truth))
    result = xrs.harmonize(seen, truth)
    for band in range(4):
        x, y = (one.isel(band=band).values.ravel().astype("float64") for one in (seen, truth))
        line = linregress(x, y)
        expected = line.slope * seen.isel(band=band) + line.intercept
        np.testing.assert_allclose(result.isel(band=band), expected, atol=2e-6)


def test_reduced_major_axis_keeps_mean_and_variance_and_turns_back():
    truth = cube((30, 30))
    seen = noisy(distorted(truth), 0.03)
    there = xrs.harmonize(seen, truth, method="rma").astype("float64")
    np.testing.assert_allclose(there.mean(("y", "x")), truth.astype("float64").mean(("y", "x")), atol=1e-5)
    np.testing.assert_allclose(there.std(("y", "x")), truth.astype("float64").std(("y", "x")), rtol=1e-4)
    back = xrs.harmonize(there.astype("float32"), seen, method="rma")
    np.testing.assert_allclose(back, seen, atol=1e-5)


def test_reduced_major_axis_of_opposite_bands_falls():
    truth = cube((10, 10))
    result = xrs.harmonize(truth.copy(data=1 - truth.values), truth, method="rma")
    np.testing.assert_allclose(result, truth, atol=2e-5)


def test_only_dates_within_the_tolerance_teach():
    truth = cube((12, 12), times=4)
    seen = distorted(truth)
    seen[3] = 0.5
    seen = seen.assign_coords(time=seen["time"] + pd.to_timedelta([3, 3, 3, 50], unit="h"))
    result = xrs.harmonize(seen, truth)
    np.testing.assert_allclose(result[:3], truth[:3], atol=2e-5)
    assert result.sizes["time"] == 4
    np.testing.assert_array_equal(result["time"], seen["time"])
    with pytest.raises(TimeAxisError):
        xrs.harmonize(seen, truth, tolerance="1h")


@settings(max_examples=10, deadline=None)
@given(
    y=st.sampled_from([1, 5, 7, 12]),
    x=st.sampled_from([7, 11, 18]),
    time=st.integers(1, 3),
    band=st.sampled_from([1, 3, 4]),
    ratio=st.sampled_from([1, 2]),
)
def test_lazy_and_the_same_at_any_chunking(y, x, time, band, ratio):
    truth = cube((12, 18), times=3)
    seen = noisy(distorted(truth))
    seen[0, 1, 3:6, 2:9] = np.nan
    reference = averaged(truth, ratio) if ratio > 1 else truth
    eager = xrs.harmonize(seen, reference)
    with nothing_computed():
        lazy = xrs.harmonize(rechunked(seen, y, x, time, band), rechunked(reference, x, y, time))
        mixed = xrs.harmonize(rechunked(seen, y, x, time, band), reference)
    assert lazy.chunks is not None
    for one in (lazy, mixed):
        np.testing.assert_allclose(one.compute(), eager, atol=1e-6)
    again = xrs.harmonize(rechunked(seen, y, x, time, band), rechunked(reference, x, y, time))
    assert again.data.name == lazy.data.name


@pytest.mark.parametrize("ratio", [1, 2])
def test_nan_stays_where_it_is_and_teaches_nothing(ratio):
    truth = cube((16, 16), times=2)
    seen, reference = distorted(truth), averaged(truth, ratio) if ratio > 1 else truth.copy(deep=True)
    seen[0, 0, 4:7, 5:9] = np.nan
    reference[1, :, :2, :3] = np.nan
    before = seen.copy(deep=True), reference.copy(deep=True)
    result = xrs.harmonize(seen, reference)
    np.testing.assert_array_equal(np.isnan(result), np.isnan(seen))
    np.testing.assert_allclose(result, truth.where(seen.notnull()), atol=2e-5)
    xr.testing.assert_identical(seen, before[0])
    xr.testing.assert_identical(reference, before[1])


@pytest.mark.parametrize("method", ["ols", "rma"])
def test_bands_that_teach_no_gain(method):
    truth = cube((10, 10))
    seen = distorted(truth)
    seen[0] = 0.3
    seen[1] = np.nan
    seen[1, :2, :1] = truth[1, :2, :1] - 0.1
    reference = truth.copy(deep=True)
    reference[2] = np.nan
    result = xrs.harmonize(seen, reference, method=method)
    np.testing.assert_allclose(result[0], float(truth[0].mean()), atol=1e-5)
    np.testing.assert_allclose(result[1, :2, 0], truth[1, :2, 0], atol=1e-5)
    np.testing.assert_allclose(result[2], seen[2], atol=1e-7)
    np.testing.assert_allclose(result[3], truth[3], atol=2e-5)


def test_reference_of_one_value_takes_the_gain_away():
    truth = cube((10, 10))
    flat = truth.copy(data=np.full(truth.shape, 0.25, "float32"))
    np.testing.assert_allclose(xrs.harmonize(truth, flat), 0.25, atol=1e-6)


def test_bands_go_by_wavelength_and_those_not_shared_are_left_out():
    truth = cube((10, 10))
    seen = distorted(truth)
    names = ["SR_B2", "SR_B3", "SR_B4", "SR_B5"]
    other = cube((10, 10), bands=dict(zip(names, BANDS.values(), strict=True)), values=seen.values).isel(band=[3, 1, 0])
    result = xrs.harmonize(other, truth)
    by_name = {"SR_B2": "B02", "SR_B3": "B03", "SR_B5": "B08"}
    assert set(result["band"].values.tolist()) <= {*by_name, *by_name.values()}
    for ours, theirs in by_name.items():
        key = ours if ours in result["band"].values else theirs
        np.testing.assert_allclose(result.sel(band=key), truth.sel(band=theirs), atol=2e-5)


def test_dataset_in_dataset_out_with_its_attributes():
    truth = cube((10, 10), times=2)
    result = xrs.harmonize(to_dataset(distorted(truth).assign_attrs(title="mine")), truth)
    assert list(result.data_vars) == list(BANDS)
    np.testing.assert_allclose(result["B08"], truth.sel(band="B08"), atol=2e-5)
    assert result.attrs["title"] == "mine"
    assert "harmonize(method=" in result.attrs["history"]


def test_gains_of_the_embedded_scene_seen_by_two_sensors():
    scene = xrs.scenes.landscape((60, 60), resolution=5.0, times=["2023-05-20", "2023-07-09"])
    fine = xrs.observe(scene, "sentinel-2a", bands=["B03", "B04", "B08"], resolution=10.0).compute()
    coarse = xrs.observe(scene, "landsat-8", bands=["B3", "B4", "B5"], resolution=30.0).compute()
    mine = (0.85 * coarse + 0.03).astype("float32")
    result = xrs.harmonize(mine, fine)
    expected = xrs.harmonize(coarse, fine)
    np.testing.assert_allclose(result, expected, atol=2e-5)
    aim = averaged(fine, 3)
    assert float(np.abs(result.values - aim.values).mean()) < 0.3 * float(np.abs(mine.values - aim.values).mean())


def test_wrong_input_is_told():
    truth = cube((12, 12), times=2)
    with pytest.raises(ParameterError):
        xrs.harmonize(truth, truth, method="deming")
    with pytest.raises(RadiometryError):
        xrs.harmonize((truth * 1e4).astype("int16"), truth)
    with pytest.raises(RadiometryError):
        xrs.harmonize(truth, (truth * 1e4).astype("int16"))
    with pytest.raises(TimeAxisError):
        xrs.harmonize(truth, truth.isel(time=0, drop=True))
    with pytest.raises(TimeAxisError):
        xrs.harmonize(truth, truth.assign_coords(time=truth["time"] + np.timedelta64(30, "D")))
    with pytest.raises(GridMismatchError):
        xrs.harmonize(truth, cube((12, 12), times=2, crs="EPSG:32632"))
    with pytest.raises(GridMismatchError):
        xrs.harmonize(truth, cube((8, 8), 15.0, times=2))
    with pytest.raises(BandNotFoundError):
        xrs.harmonize(truth, cube((12, 12), times=2, bands={"B11": ("swir16", 1610.0)}))
