"""Gaps along time: what was seen stays, what is filled agrees with the methods, and guides tell of what happened."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from support import cube, grid, nothing_computed, rechunked

import xrs
from xrs.cube import assign_geobox
from xrs.errors import BandNotFoundError, GridMismatchError, LayoutError, ParameterError, RadiometryError, TimeAxisError
from xrs.methods import methods_of
from xrs.operators.enhance import enhance
from xrs.operators.gap_fill import gap_fill
from xrs.operators.smooth import smooth


def holed(shape=(5, 7), times=30, missing=0.3, seed=0):
    da = cube(shape, times=times, seed=seed)
    return da.where(np.random.default_rng(seed).random(da.shape) >= missing).astype("float32")


@pytest.mark.parametrize("method", sorted(methods_of("temporal")))
def test_what_was_seen_stays_and_gaps_get_the_method_s_values(method):
    da = holed()
    da.values[:, :, 0, 0] = np.nan
    params = {"curves": 60} if method == "enhance" else {}
    filled, smoothed = gap_fill(da, method, **params), smooth(da, method, **params)
    seen = np.isfinite(da.values)
    np.testing.assert_array_equal(filled.values[seen], da.values[seen])
    np.testing.assert_array_equal(filled.values[~seen], smoothed.values[~seen])
    assert np.isnan(filled.values[:, :, 0, 0]).all()
    assert np.isfinite(filled.values[8:-8, :, 1:, 1:]).all()
    assert filled.attrs["xrs:method"] == method
    assert "gap_fill" in filled.attrs["history"]


@pytest.mark.parametrize("method", ["linear", "enhance"])
def test_lazy_and_the_same_at_any_chunking(method):
    da = holed()
    expected = gap_fill(da, method, max_gap=20)
    for time, y, x in ((7, 2, 7), (30, (1, 4), 3)):
        with nothing_computed():
            lazy = gap_fill(rechunked(da, y, x, time=time), method, max_gap=20)
        np.testing.assert_array_equal(lazy.compute().values, expected.values)


def lengths(seen, days):
    """Of each missing date, how long its gap is; written plainly."""
    out = np.zeros(len(days))
    for i in np.flatnonzero(~seen):
        before = [days[k] for k in range(i) if seen[k]]
        after = [days[k] for k in range(i, len(days)) if seen[k]]
        out[i] = (after[0] if after else days[-1]) - (before[-1] if before else days[0])
    return out


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), missing=st.floats(0, 0.95), longest=st.floats(1, 60))
def test_longer_gaps_than_allowed_stay(seed, missing, longest):
    rng = np.random.default_rng(seed)
    days = np.cumsum(rng.choice([2, 3, 5, 17], 25))
    values = rng.random((25, 2, 3)).astype("float32")
    values[rng.random(values.shape) < missing] = np.nan
    times = pd.Timestamp("2024-01-01") + pd.to_timedelta(days, unit="D")
    da = xr.DataArray(values, dims=("time", "y", "x"), coords={"time": times})
    filled = gap_fill(da, "linear", extrapolate="nearest", max_gap=longest).values
    for y, x in np.ndindex(2, 3):
        seen = np.isfinite(values[:, y, x])
        allowed = seen | (lengths(seen, days.astype(float)) <= longest)
        np.testing.assert_array_equal(np.isfinite(filled[:, y, x]), allowed & seen.any())


def test_values_of_weight_zero_stay_but_fill_nothing():
    da = holed(missing=0.0)
    da[10:12] = np.nan
    da[9] = 5.0
    weights = xr.DataArray(np.r_[np.ones(9), 0, np.ones(20)].astype("float32"), dims="time")
    filled = gap_fill(da, "linear", weights=weights)
    assert (filled[9] == 5.0).all()
    expected = gap_fill(da.where(da.time != da.time[9]), "linear")
    np.testing.assert_array_equal(filled[10:12].values, expected[10:12].values)


def test_datasets_and_single_bands():
    da = holed()
    of_dataset = gap_fill(xrs.cube.to_dataset(da), "linear")
    np.testing.assert_array_equal(of_dataset["B03"].values, gap_fill(da, "linear").sel(band="B03").values)
    assert gap_fill(da.isel(band=0, drop=True)).dims == ("time", "y", "x")


def two_sensors(noise=0.0, shape=(6, 8)):
    """A cube with gaps of two months, its truth, and a guide every four days: another gain and offset for each pixel."""
    rng = np.random.default_rng(0)
    daily = pd.date_range("2023-01-01", "2023-12-31", freq="D")
    t = np.arange(365.0)[:, None, None]
    cut = rng.uniform(120, 240, shape)
    scene = 0.5 - 0.3 * np.cos(2 * np.pi * t / 365) - 0.25 * (t > cut) * np.exp(-(t - cut).clip(0) / 20)
    gain, offset = rng.uniform(0.6, 1.4, shape), rng.uniform(-0.2, 0.2, shape)

    def cut_out(values, step):
        da = xr.DataArray(values[::step], dims=("time", "y", "x"), coords={"time": daily[::step]})
        return assign_geobox(da.astype("float32"), grid(shape, 10.0))

    truth = cut_out(scene, 5)
    guide = cut_out(gain * scene + offset + noise * rng.standard_normal(scene.shape), 4)
    first = xr.DataArray(rng.uniform(100, 200, shape), dims=("y", "x"))
    day = truth.time.dt.dayofyear
    return truth.where((day < first) | (day > first + 60)), truth, guide


@pytest.mark.parametrize("method", ["linear", "whittaker"])
def test_a_guide_tells_what_happened_in_a_gap(method):
    seen, truth, guide = two_sensors(noise=0.01)
    gaps = np.isnan(seen.values)

    def error(made):
        return float(np.sqrt(np.mean((made.values - truth.values)[gaps] ** 2)))

    guided, alone = gap_fill(seen, method, guide=guide), gap_fill(seen, method)
    np.testing.assert_array_equal(guided.values[~gaps], seen.values[~gaps])
    assert error(guided) < 0.03
    assert error(guided) < 0.4 * error(alone)


def test_a_guide_of_the_same_dates_and_a_line_gives_the_truth_back():
    seen, truth, _ = two_sensors()
    made = gap_fill(seen, "linear", guide=3 * truth - 1)
    np.testing.assert_allclose(made.values, truth.values, atol=2e-6)


def test_residuals_are_added_to_the_line():
    """The regression is that of NumPy, and what it leaves is interpolated."""
    rng = np.random.default_rng(0)
    times = pd.date_range("2024-01-01", periods=20, freq="5D")
    x, y = rng.random(20), rng.random(20)
    known = np.ones(20, bool)
    known[7:10] = False
    slope, level = np.polyfit(x[known], y[known], 1)
    days = np.arange(20.0)
    left = np.interp(days, days[known], (y - slope * x - level)[known])
    coords = {"time": times, "y": [0.0], "x": [0.0]}
    one, other = (
        assign_geobox(
            xr.DataArray(v.astype("float32")[:, None, None], dims=("time", "y", "x"), coords=coords), grid((1, 1), 10.0)
        )
        for v in (np.where(known, y, np.nan), x)
    )
    made = gap_fill(one, "linear", guide=other).values.ravel()
    np.testing.assert_allclose(made[~known], (slope * x + level + left)[~known], atol=1e-5)


def test_a_guide_fills_only_what_it_covers():
    seen, _, guide = two_sensors()
    short = guide.sel(time=slice("2023-02-01", "2023-06-01"))
    made = gap_fill(seen, "linear", guide=short, extrapolate="nearest")
    gaps = np.isnan(seen)
    assert np.isnan(made.where(gaps).sel(time=slice("2023-06-03", None))).all()
    assert np.isfinite(made.sel(time=slice("2023-02-05", "2023-05-25"))).all()
    few = seen.where(seen.time < np.datetime64("2023-01-10"))  # two dates
    xr.testing.assert_equal(gap_fill(few, "linear", guide=guide), few.assign_attrs(gap_fill(few, "linear").attrs))


def test_guided_filling_is_lazy_and_the_same_at_any_chunking():
    seen, _, guide = two_sensors(noise=0.01)
    weights = xr.DataArray(np.linspace(0.1, 1, seen.sizes["time"]).astype("float32"), dims="time")
    expected = gap_fill(seen, "linear", guide=guide, weights=weights, max_gap=70)
    with nothing_computed():
        lazy = gap_fill(
            seen.chunk(time=9, y=4, x=3), "linear", guide=guide.chunk(time=20, y=5, x=8), weights=weights, max_gap=70
        )
    np.testing.assert_array_equal(lazy.compute().values, expected.values)


def test_bands_meet_the_guide_s_bands_or_its_only_one():
    da = holed(missing=0.4)
    guide = cube((5, 7), times=30)
    made = gap_fill(da, "linear", guide=guide)
    one = gap_fill(da.sel(band=["B03"]), "linear", guide=guide.sel(band=["B03"]))
    np.testing.assert_array_equal(made.sel(band=["B03"]).values, one.values)
    shared = gap_fill(da, "linear", guide=guide.sel(band="B08", drop=True))
    assert shared.shape == da.shape
    with pytest.raises(BandNotFoundError, match="B02"):
        gap_fill(da.sel(band=["B03", "B04"]), "linear", guide=guide)


def test_the_meadow_with_its_own_red_as_guide(shared_data):
    """Runs of 30 days of NDVI withheld; the red of the same sensor on every other date tells of the cuts."""
    with xr.open_dataset(shared_data / "s2_meadow.nc") as opened:
        data = opened.rename(t="time").load()
    ndvi = assign_geobox(data["NDVI"].astype("float32").drop_vars(["y", "x"]), grid((44, 48), 10.0))
    red = assign_geobox(data["B04"].astype("float32").drop_vars(["y", "x"]), grid((44, 48), 10.0))
    red = red.where(np.isfinite(ndvi))
    hidden = (
        np.isfinite(ndvi.values)
        & ((ndvi.time > np.datetime64("2021-06-01")) & (ndvi.time < np.datetime64("2021-07-01"))).values[:, None, None]
    )
    known = ndvi.where(~hidden)

    def error(made):
        return float(np.sqrt(np.nanmean((made.values - ndvi.values)[hidden] ** 2)))

    assert error(gap_fill(known, "linear", guide=red)) < 0.8 * error(gap_fill(known, "linear"))


def test_enhance_fills_with_a_library():
    times = pd.date_range("2023-01-01", periods=73, freq="5D")
    day = np.arange(0.0, 365.0, 5.0)
    curves = np.exp(-0.5 * ((day[:, None] - np.random.default_rng(0).normal(180, 15, 80)) / 35) ** 2)
    library = xr.DataArray(curves, dims=("time", "curve"), coords={"time": times})
    seen = xr.DataArray(
        curves[:, :4].reshape(73, 2, 2).astype("float32"), dims=("time", "y", "x"), coords={"time": times}
    )
    gappy = seen.where(np.random.default_rng(1).random(seen.shape) > 0.7)
    made = gap_fill(gappy, "enhance", library=library)
    np.testing.assert_array_equal(made.values, gappy.where(np.isfinite(gappy), enhance(gappy, library)).values)


def test_wrong_input_is_named():
    da, guide = holed(), cube((5, 7), times=30)
    with pytest.raises(GridMismatchError, match=r"xrs\.regrid"):
        gap_fill(da, guide=cube((5, 7), 20.0, times=30))
    with pytest.raises(ParameterError, match="learns from the scene"):
        gap_fill(da, "enhance", guide=guide)
    for wrong in (0, -5.0, float("nan")):
        with pytest.raises(ParameterError, match="max_gap"):
            gap_fill(da, max_gap=wrong)
    with pytest.raises(TimeAxisError, match="dim 'time'"):
        gap_fill(da, guide=guide.isel(time=0, drop=True))
    with pytest.raises(RadiometryError, match="int"):
        gap_fill((guide * 100).astype("int16"))
    with pytest.raises(ParameterError, match="no parameter 'lambda_'"):
        gap_fill(da, lambda_=3)
    with pytest.raises(LayoutError):
        gap_fill(da.rename(x="lon"))


def test_what_stands_beside_the_dates_stays_where_they_are_the_same():
    sun = np.arange(8.0) + 30.0
    series = cube((3, 4), times=8).assign_coords({"view:sun_elevation": ("time", sun)})
    np.testing.assert_array_equal(xrs.gap_fill(series)["view:sun_elevation"], sun)
    assert "view:sun_elevation" not in xrs.smooth(series, times="7D").coords
