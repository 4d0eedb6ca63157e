"""Dates of the season: closed forms, moved calendars, gaps, and the known growth of the embedded scene."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from support import nothing_computed

import xrs
from xrs.errors import ParameterError, RadiometryError, TimeAxisError
from xrs.kernels.phenology import METRICS
from xrs.operators.phenology import phenology
from xrs.scenes.ground import survey
from xrs.scenes.noise import hash_cell, unit


def series(dates, values) -> xr.DataArray:
    """One pixel."""
    return xr.DataArray(
        np.asarray(values, "float32").reshape(-1, 1, 1),
        dims=("time", "y", "x"),
        coords={"time": dates, "y": [0.5], "x": [0.5]},
    )


def days_of(dates, year=2023):
    """Days counted as the result's, 1 January being 1.0."""
    return np.asarray((dates - pd.Timestamp(year, 1, 1)) / pd.Timedelta(days=1)) + 1.0


def logistic(x):
    return 1 / (1 + np.exp(-x))


def bump(day, rise=110.0, fall=260.0, scale=6.0, low=0.2, high=0.8):
    """A double logistic so far apart that its halves are at ``rise`` and ``fall``."""
    return low + (high - low) * (logistic((day - rise) / scale) - logistic((day - fall) / scale))


def of_pixel(result, year=2023):
    return {name: result[name].sel(year=year).item() for name in METRICS}


YEAR = pd.date_range("2023-01-01", "2024-01-01", freq="D")


@pytest.mark.parametrize("method", ["threshold", "derivative"])
def test_double_logistic_has_its_halves_and_its_inflections(method):
    found = of_pixel(phenology(series(YEAR, bump(days_of(YEAR))), method))
    assert found["start"] == pytest.approx(110.0, abs=0.05)
    assert found["end"] == pytest.approx(260.0, abs=0.05)
    assert found["length"] == pytest.approx(150.0, abs=0.1)
    assert found["base"] == pytest.approx(0.2, abs=1e-5)
    assert found["peak_value"] == pytest.approx(0.8, abs=1e-4)
    assert found["amplitude"] == pytest.approx(0.6, abs=1e-4)
    # A logistic passes 20 and 80 % log(16) scales apart; a day's chord is off by up to 0.0125 days of those 16.6.
    assert found["greenup_rate"] == pytest.approx(0.36 / (6 * np.log(16)), rel=3e-3)
    assert found["senescence_rate"] == pytest.approx(0.36 / (6 * np.log(16)), rel=3e-3)
    # The integral of the two logistics between their inflections: 150 - 2 * 6 log 2.
    above = 0.6 * (150 - 12 * np.log(2))
    assert found["small_integral"] == pytest.approx(above, rel=1e-3)
    assert found["large_integral"] == pytest.approx(above + 0.2 * 150, rel=1e-3)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.35, 0.5, 0.8])
def test_threshold_is_where_the_sinusoid_has_that_share(share):
    wave = 0.5 - 0.3 * np.cos(2 * np.pi * (days_of(YEAR) - 1) / 365)
    found = of_pixel(phenology(series(YEAR, wave), threshold=share))
    away = 365 / (2 * np.pi) * np.arccos(1 - 2 * share)
    assert found["start"] == pytest.approx(1 + away, abs=0.05)
    assert found["end"] == pytest.approx(366 - away, abs=0.05)
    assert found["peak"] == pytest.approx(1 + 182.5, abs=0.5)


def test_straight_flanks_are_exact_on_irregular_dates():
    dates = pd.DatetimeIndex(["2023-01-01", "2023-02-20T06", "2023-04-01", "2023-06-30", "2023-08-14", "2024-01-01"])
    found = of_pixel(phenology(series(dates, [0.2, 0.2, 0.2, 0.8, 0.4, 0.1]), threshold=0.25, max_gap=200))
    april, july, august = days_of(dates[2:5])
    assert found["start"] == pytest.approx(april + 0.25 * (july - april), abs=1e-3)
    # The right side rises from 0.1: a quarter of 0.7 above it is passed in the last interval.
    assert found["end"] == pytest.approx(august + 0.125 / 0.3 * (366 - august), abs=1e-3)
    assert found["peak"] == pytest.approx(july)
    assert found["base"] == pytest.approx(0.15)
    one = of_pixel(phenology(series(dates, [0.2, 0.2, 0.2, 0.8, 0.4, 0.1]), threshold=0.25, max_gap=200, base="year"))
    assert one["base"] == pytest.approx(0.1)
    assert one["start"] == pytest.approx(april + (0.275 - 0.2) / 0.6 * (july - april), abs=1e-3)
    assert one["end"] == pytest.approx(found["end"], abs=1e-4)


def test_every_year_has_its_own_season():
    dates = pd.date_range("2021-01-01", "2024-01-01", freq="D")
    rises, curve = {2021: 100.0, 2022: 121.5, 2023: 90.25}, np.zeros(dates.size)
    for year, rise in rises.items():
        curve += bump(days_of(dates, year), rise, rise + 120, low=0.0)
    result = phenology(series(dates, 0.1 + curve))
    assert result["year"].values.tolist() == [2021, 2022, 2023, 2024]
    np.testing.assert_allclose(result["start"].values[:3, 0, 0], list(rises.values()), atol=0.05)
    np.testing.assert_allclose(result["length"].values[:3, 0, 0], 120, atol=0.1)
    assert all(np.isnan(result[name].sel(year=2024)).all() for name in METRICS)


def test_southern_years_begin_in_july():
    dates = pd.date_range("2022-07-01", "2023-07-01", freq="D")
    day = days_of(dates, 2022)
    curve = series(dates, bump(day, 290.0, 430.0))
    found = of_pixel(phenology(curve, year_start=7), 2022)
    assert found["start"] == pytest.approx(290.0, abs=0.05)
    assert found["end"] == pytest.approx(430.0, abs=0.05)
    assert np.isnan(phenology(curve)["length"]).all()


def test_two_crops_a_year_by_two_calls():
    day = days_of(YEAR)
    curve = series(YEAR, bump(day, 60, 130, 4.0) + bump(day, 230, 300, 4.0, 0.0, 0.5))
    first, second = (of_pixel(phenology(curve, year_start=start, months=6)) for start in (1, 7))
    assert (first["start"], first["end"]) == pytest.approx((60, 130), abs=0.1)
    assert (second["start"], second["end"]) == pytest.approx((230, 300), abs=0.1)


@settings(max_examples=25, deadline=None)
@given(
    shift=st.integers(-400, 600).map(lambda tenths: tenths / 10),
    step=st.integers(1, 8),
    gain=st.floats(0.2, 5.0),
    offset=st.floats(-1.0, 1.0),
    method=st.sampled_from(["threshold", "derivative"]),
)
def test_dates_move_with_the_season_and_not_with_the_unit(shift, step, gain, offset, method):
    dates = pd.date_range("2022-12-15", "2024-01-20", freq=f"{step}D")
    day = days_of(dates)
    curve = bump(day, 110 + shift, 240 + shift)
    found = of_pixel(phenology(series(dates, curve), method))
    moved = of_pixel(phenology(series(dates, gain * curve + offset), method, min_amplitude=0.05 * gain))
    slack = 0.05 + 0.15 * step if method == "derivative" else 0.05 + 0.02 * step**2
    for name, at in (("start", 110), ("end", 240)):
        assert found[name] == pytest.approx(at + shift, abs=slack)
        assert moved[name] == pytest.approx(found[name], abs=0.05)
    assert moved["amplitude"] == pytest.approx(gain * found["amplitude"], rel=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_another_year_with_the_same_calendar_has_the_same_dates(seed):
    rng = np.random.default_rng(seed)
    dates = YEAR[np.sort(rng.choice(366, 80, replace=False))]
    curve = bump(days_of(dates)) + 0.02 * rng.standard_normal(80)
    here = of_pixel(phenology(series(dates, curve)))
    # 2034 begins on a Sunday and has 365 days, as 2023.
    there = of_pixel(phenology(series(dates + pd.Timedelta(days=4018), curve)), 2034)
    np.testing.assert_array_equal(list(there.values()), list(here.values()))


def test_flat_and_one_sided_series_have_no_season():
    day = days_of(YEAR)
    wiggle = 0.4 + 1e-8 * np.sin(day)
    for curve in (np.full(day.size, 0.4), wiggle, day / 366, -day / 366, np.full(day.size, np.nan)):
        for floor in (0.0, 0.05):
            found = phenology(series(YEAR, curve), min_amplitude=floor)
            assert all(np.isnan(found[name]).all() for name in METRICS)


def test_a_peak_needs_a_fall_as_well_as_a_rise():
    low_end = np.interp(days_of(YEAR), [1, 100, 150, 366], [0.2, 0.2, 0.8, 0.77])
    assert all(np.isnan(v) for v in of_pixel(phenology(series(YEAR, low_end))).values())
    found = of_pixel(phenology(series(YEAR, low_end), min_amplitude=0.02))
    assert found["start"] == pytest.approx(125, abs=0.01)
    assert found["peak"] == pytest.approx(150)
    assert found["base"] == pytest.approx((0.2 + 0.77) / 2)


def test_the_season_is_that_of_the_greatest_rise_and_fall():
    corners = [1, 10, 100, 180, 240, 300, 366], [0.75, 0.85, 0.2, 0.7, 0.3, 0.3, 0.9]
    found = of_pixel(phenology(series(YEAR, np.interp(days_of(YEAR), *corners))))
    assert found["peak"] == pytest.approx(180)
    # The sides stop where the curve is higher than the peak: green in winter moves nothing.
    assert found["start"] == pytest.approx(100 + 0.5 * 80, abs=0.01)
    assert found["end"] == pytest.approx(180 + 0.5 * 60, abs=0.01)
    assert found["base"] == pytest.approx(0.25, abs=1e-5)


@pytest.mark.parametrize(("first", "last", "known"), [(1, 366, "both"), (1, 240, "start"), (130, 366, "end")])
def test_records_that_miss_a_side_leave_that_side_open(first, last, known):
    day = days_of(YEAR)
    curve = np.where((day >= first) & (day <= last), bump(day, 110.0, 260.0, 12.0), np.nan)
    found = of_pixel(phenology(series(YEAR, curve), max_gap=60))
    assert np.isfinite(found["start"]) == (known != "end")
    assert np.isfinite(found["end"]) == (known != "start")
    assert np.isfinite(found["length"]) == np.isfinite(found["large_integral"]) == (known == "both")
    assert np.isfinite(found["peak"])


def test_gaps_as_long_as_allowed_are_bridged_linearly():
    dates = YEAR[::5]
    curve = np.interp(days_of(dates), [1, 60, 180, 300, 366], [0.2, 0.2, 0.8, 0.2, 0.2])
    whole, seen = series(dates, curve), days_of(dates)
    holed = whole.where(xr.DataArray((seen < 80) | (seen > 140), dims="time"))
    expected = of_pixel(phenology(whole))
    np.testing.assert_allclose(list(of_pixel(phenology(holed)).values()), list(expected.values()), rtol=1e-5)
    strict = of_pixel(phenology(holed, max_gap=50))
    assert np.isnan(strict["start"])
    assert strict["end"] == expected["end"]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), missing=st.floats(0.0, 0.9), method=st.sampled_from(["threshold", "derivative"]))
def test_whatever_is_found_is_in_order_and_within_the_year(seed, missing, method):
    rng = np.random.default_rng(seed)
    dates = YEAR[np.sort(rng.choice(366, 60, replace=False))]
    noise = np.where(rng.random((60, 3, 4)) < missing, np.nan, rng.random((60, 3, 4))).astype("float32")
    cube = xr.DataArray(noise, dims=("time", "y", "x"), coords={"time": dates})
    result = phenology(cube, method).sel(year=2023)
    for earlier, later in (("start", "peak"), ("peak", "end"), ("start", "end")):
        both = np.isfinite(result[earlier]) & np.isfinite(result[later])
        assert (result[earlier] <= result[later]).where(both, True).all()
    for name in ("start", "peak", "end"):
        assert ((result[name] >= 1) & (result[name] <= 366)).where(np.isfinite(result[name]), True).all()
    assert (result["peak_value"] <= cube.max("time") + 1e-6).where(np.isfinite(result["peak"]), True).all()
    alone = phenology(cube.isel(y=[1], x=[2]), method).sel(year=2023)
    xr.testing.assert_equal(alone, result.isel(y=[1], x=[2]))


@pytest.fixture(scope="module")
def field():
    """Noisy seasons of two years, with gaps."""
    rng = np.random.default_rng(1)
    dates = pd.date_range("2022-01-03", "2024-01-05", freq="7D")
    day = days_of(dates, 2022)[:, None, None, None]
    rise = rng.uniform(80, 150, (1, 2, 9, 11))
    curve = bump(day, rise, rise + 120) + bump(day - 365, rise + 5, rise + 130, low=0.0)
    curve += 0.01 * rng.standard_normal(curve.shape)
    curve[rng.random(curve.shape) < 0.2] = np.nan
    return xr.DataArray(
        curve.astype("float32"), dims=("time", "band", "y", "x"), coords={"time": dates, "band": ["ndvi", "evi"]}
    )


@pytest.mark.parametrize("method", ["threshold", "derivative"])
@pytest.mark.parametrize(
    "chunks", [{"time": 10, "y": 4, "x": 11}, {"time": -1, "y": 1, "x": 3}, {"time": 1, "band": 1}]
)
def test_lazy_and_the_same_at_any_chunking(field, method, chunks):
    with nothing_computed():
        lazy = phenology(field.chunk(chunks), method)
    assert all(lazy[name].chunks is not None for name in METRICS)
    before = field.copy(deep=True)
    eager = phenology(field, method)
    xr.testing.assert_identical(field, before)
    xr.testing.assert_identical(lazy.compute(), eager)
    assert set(eager.data_vars) == set(METRICS)
    assert eager["start"].dims == ("year", "band", "y", "x")
    assert all(eager[name].dtype == np.float32 for name in METRICS)
    again = phenology(field.chunk(chunks), method)
    assert lazy["start"].data.name == again["start"].data.name


def test_dataset_of_one_index_gives_images_without_band(field):
    one = field.isel(band=0, drop=True).to_dataset(name="NDVI")
    result = phenology(one)
    assert result["start"].dims == ("year", "y", "x")
    np.testing.assert_array_equal(result["start"], phenology(field)["start"].isel(band=0))
    assert "phenology(method=" in result.attrs["history"]


def test_result_is_written_and_read_as_numbers(field, tmp_path):
    result = phenology(field)
    result.to_netcdf(tmp_path / "season.nc")
    with xr.open_dataset(tmp_path / "season.nc") as read:
        xr.testing.assert_equal(read.load(), result)


def test_wrong_input_is_told(field):
    for wrong in (
        {"method": "magic"}, {"threshold": 1.0}, {"threshold": 0.0}, {"base": "left"}, {"year_start": 0}, {"year_start": 13},
        {"months": 0}, {"max_gap": 0.0}, {"min_amplitude": -0.1}, {"threshold": float("nan")},
    ):  # fmt: skip
        with pytest.raises(ParameterError):
            phenology(field, **wrong)
    with pytest.raises(RadiometryError):
        phenology((field.fillna(0) * 1e4).astype("int16"))
    with pytest.raises(TimeAxisError):
        phenology(field.isel(time=0))
    with pytest.raises(TimeAxisError):
        phenology(field.isel(time=[3, 1, 2]))


@pytest.fixture(scope="module")
def landscape():
    """Every third day of the embedded scene, its cover, and the key of each parcel."""
    times = pd.date_range("2023-01-01", "2024-01-01", freq="3D")
    scene = xrs.scenes.landscape((40, 40), resolution=50.0, times=times, wavelengths=[660, 850])
    field = survey(scene["x"].values, scene["y"].values, 0).field
    return scene.compute(), xrs.scenes.classes(scene)["cover"].values, field


def calendar(cover, field, name):
    """Pixels of a cover, and the days by which each one's calendar is late."""
    salt, days = ((2, 2), 14.0) if name == "deciduous_forest" else ((2023, 21), 20.0)
    code = next(code for code, label in xrs.scenes.LABELS.items() if label == name)
    pixels = np.nonzero(cover == code)
    return pixels, np.array([days * (unit(np.uint64(hash_cell(*salt, key))) - 0.5) for key in field[pixels]])


@pytest.mark.parametrize(
    ("name", "rise", "fall"),
    [("deciduous_forest", 113.0, None), ("maize", 180.0, None), ("winter_wheat", 98.0, 188.0)],
)
def test_leaf_area_of_the_embedded_scene_has_its_calendar(landscape, name, rise, fall):
    scene, cover, field = landscape
    pixels, late = calendar(cover, field, name)
    assert np.unique(late).size > 3
    found = phenology(xrs.scenes.truth(scene)["lai"].compute(), "derivative", min_amplitude=0.5).sel(year=2023)
    # Days of the scene begin with 0, those of the result with 1.
    np.testing.assert_allclose(found["start"].values[pixels] - 1, rise + late, atol=0.1)
    if fall is not None:
        np.testing.assert_allclose(found["end"].values[pixels] - 1, fall + late, atol=0.1)


@pytest.mark.parametrize("name", ["deciduous_forest", "maize"])
def test_ndvi_of_the_embedded_scene_is_as_late_as_its_leaves(landscape, name):
    scene, cover, field = landscape
    pixels, late = calendar(cover, field, name)
    red, nir = scene.isel(band=0, drop=True), scene.isel(band=1, drop=True)
    start = phenology((nir - red) / (nir + red)).sel(year=2023)["start"].values[pixels]
    slope, at = np.polyfit(late, start - 1, 1)
    assert slope == pytest.approx(1.0, abs=0.15)
    # NDVI saturates: it has half of its rise before the leaves have.
    assert at < {"deciduous_forest": 113.0, "maize": 180.0}[name]


def test_maize_in_flanders_grows_from_june_to_september(shared_data):
    """Sown in May and harvested from the end of August on, in the dry summer of 2018."""
    tree = xrs.open_stac(shared_data / "flanders" / "catalog.json", datetime="2018-01/2018-11", mask="auto")
    ndvi = xrs.index(tree["r10m"].to_dataset()[["B04", "B08"]], "NDVI").compute()
    found = phenology(xrs.smooth(ndvi, times="5D")).sel(year=2018)
    with xr.open_dataset(shared_data / "flanders" / "labels_10m.nc") as labels:
        maize = (labels["CT"] == 1200).values
    assert maize.sum() > 1000
    start, end = (found[name].values[maize] for name in ("start", "end"))
    assert np.isfinite(start).mean() > 0.9
    assert 135 < np.nanmedian(start) < 196
    assert 230 < np.nanmedian(end) < 300
    # Neighbours are sown and harvested within a month of each other.
    for dates in (start, end):
        assert np.diff(np.nanpercentile(dates, [10, 90])) < 31
