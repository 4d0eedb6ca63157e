"""Clouds and shadows: the same at any chunking, as many as asked for, shadows where the sun throws them."""

from __future__ import annotations

import dask
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xrs.errors import GridMismatchError, LayoutError, ParameterError
from xrs.scenes import clouds, cloudy, landscape
from xrs.scenes.sky import _shadow_shift

BANDS = [490, 865, 1610]


@pytest.fixture(autouse=True)
def one_thread():
    with dask.config.set(scheduler="sync"):
        yield


def scene(shape=(40, 30), times="2023-06-01/2023-06-08", **options):
    return landscape(shape, times=times, wavelengths=BANDS, **{"resolution": 60.0} | options)


@settings(deadline=None, max_examples=8)
@given(
    chunks=st.tuples(st.integers(2, 8), st.just(3), st.integers(7, 40), st.integers(5, 30)),
    y=st.integers(0, 35),
    x=st.integers(0, 25),
)
def test_same_sky_at_any_chunking_and_in_any_window(chunks, y, x):
    whole = clouds(scene())
    for name in ("opacity", "shadow", "valid"):
        np.testing.assert_array_equal(clouds(scene(chunks=chunks))[name].values, whole[name].values)
    window = scene((5, 5), times="2023-06-03", origin=(500_000 + 60 * x, 5_600_000 - 60 * y))
    np.testing.assert_array_equal(clouds(window).opacity.values[0], whole.opacity.values[2, y : y + 5, x : x + 5])


def test_shares_of_cloud_are_about_those_asked_for_and_days_differ():
    points = scene((3, 3), times="2021-01-01/2023-12-31", resolution=30_000)
    for cover in (0.2, 0.5, 0.8):
        opacity = clouds(points, cover=cover).opacity.values
        assert (opacity > 0.5).mean() == pytest.approx(cover, abs=0.08)
    daily = clouds(scene(times="2023-01-01/2023-12-31"), cover=0.5).opacity.mean(("y", "x")).values
    assert (daily < 0.1).mean() > 0.15
    assert (daily > 0.8).mean() > 0.15
    assert (clouds(points, cover=0.0).opacity.values == 0).all()


def test_shadows_are_the_clouds_moved_away_from_the_sun():
    # At an equinox the sun's height follows from latitude and hour angle alone.
    equinox = (np.datetime64("2023-03-21") - np.datetime64("1970-01-01")).astype(float)
    east, north = _shadow_shift(equinox, 1000.0)
    height = np.cos(np.radians(50.5)) * np.cos(np.radians(22.5))
    assert np.hypot(east, north) == pytest.approx(1000 * np.tan(np.arccos(height)), rel=0.05)
    assert east > 0 > north
    winter = np.hypot(*_shadow_shift(equinox - 90, 1000.0))
    assert winter > 2 * np.hypot(east, north) > 2 * np.hypot(*_shadow_shift(equinox + 92, 1000.0))


def test_what_is_valid_is_the_surface_and_the_rest_is_not():
    clear = scene((60, 60), times="2023-05-01/2023-05-20")
    sky = clouds(clear)
    seen, truth = cloudy(clear, sky).values, clear.values
    valid = np.broadcast_to(sky.valid.values[:, None], seen.shape)
    assert 0.1 < valid.mean() < 0.9
    assert np.abs(seen - truth)[valid].max() < 0.09
    thick = np.broadcast_to(sky.opacity.values[:, None] > 0.95, seen.shape)
    assert seen[thick].mean() > 0.4
    only_shade = ((sky.shadow.values > 0.9) & (sky.opacity.values == 0))[:, None] & np.ones((1, 3, 1, 1), bool)
    share = seen[only_shade].reshape(-1) / truth[only_shade].reshape(-1)
    assert share.max() < 0.5
    edges = (sky.opacity.values > 0.1) & (sky.opacity.values < 0.9)
    assert edges.mean() > 0.02
    assert seen.dtype == np.float32
    assert (seen >= 0).all()
    assert (seen <= 1).all()


def test_clouds_are_white_in_the_visible_and_darker_in_the_swir_and_shadows_are_blue():
    nm = [450, 550, 865, 1610, 2190]
    cube = landscape((80, 80), resolution=60, times="2023-05-01/2023-05-12", wavelengths=nm)
    sky = clouds(cube)
    seen, truth = cloudy(cube, sky).values, cube.values
    cloud = seen.swapaxes(0, 1)[:, sky.opacity.values > 0.97].mean(1)
    assert cloud[0] == pytest.approx(cloud[2], rel=0.05)
    assert cloud[3] < 0.9 * cloud[2]
    assert cloud[4] < cloud[3]
    shade = (sky.shadow.values > 0.9) & (sky.opacity.values == 0)
    left = (seen / truth).swapaxes(0, 1)[:, shade].mean(1)
    assert (np.diff(left) < 0).all()


def test_it_is_lazy_and_finer_pixels_with_equal_centres_agree():
    def no_compute(dsk, keys, **kwargs):
        raise AssertionError("something was computed")

    with dask.config.set(scheduler=no_compute):
        huge = landscape((10_000, 10_000), wavelengths=BANDS)
        assert cloudy(huge).shape == huge.shape
        assert cloudy(huge).dims == huge.dims
    fine = clouds(scene((9, 9), resolution=20.0)).opacity.values
    np.testing.assert_array_equal(fine[:, 1::3, 1::3], clouds(scene((3, 3))).opacity.values)


def test_wrong_input_is_named():
    with pytest.raises(ParameterError, match="cover"):
        clouds(scene(), cover=1.2)
    with pytest.raises(ParameterError, match="seed"):
        clouds(scene(), seed=-1)
    with pytest.raises(GridMismatchError, match="other pixels"):
        cloudy(scene(), clouds(scene((5, 5))))
    with pytest.raises(ParameterError, match="both"):
        cloudy(scene(), clouds(scene()), cover=0.3)
    with pytest.raises(LayoutError, match="wavelength"):
        cloudy(scene().drop_vars("wavelength"))
