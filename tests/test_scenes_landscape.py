"""The landscape is one function of place, date and seed, at any chunking, window and resolution."""

from __future__ import annotations

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xrs.cube import geobox_of
from xrs.errors import ParameterError, TimeAxisError
from xrs.scenes import CROPS, LABELS, classes, landscape, truth

BANDS = [490, 665, 705, 865, 1610, 2190]
DATES = ["2023-01-15", "2023-05-20", "2023-08-10"]
CODE = {name: code for code, name in LABELS.items()}


@pytest.fixture(autouse=True)
def one_thread():
    with dask.config.set(scheduler="sync"):
        yield


def no_compute(dsk, keys, **kwargs):
    raise AssertionError("something was computed")


def ndvi(scene):
    red, nir = scene.sel(wavelength_key(scene, 665)).values, scene.sel(wavelength_key(scene, 865)).values
    return (nir - red) / (nir + red)


def wavelength_key(scene, nm):
    return {"band": str(scene.band.values[int(np.argmin(np.abs(scene.wavelength.values - nm)))])}


@pytest.fixture(scope="module")
def season():
    """A year each ten days at points 50 m apart, with its classes."""
    scene = landscape(
        (72, 72), resolution=50, times=pd.date_range("2023-01-01", "2023-12-31", freq="10D"), wavelengths=BANDS
    )
    with dask.config.set(scheduler="sync"):
        return scene.compute(), classes(scene).cover.values, truth(scene).compute()


@settings(deadline=None, max_examples=12)
@given(
    chunks=st.tuples(st.integers(1, 3), st.integers(2, 6), st.integers(4, 23), st.integers(3, 17)),
    y=st.integers(0, 22),
    x=st.integers(0, 16),
    height=st.integers(1, 23),
    width=st.integers(1, 17),
)
def test_same_pixels_at_any_chunking_and_in_any_window(chunks, y, x, height, width):
    whole = landscape((23, 17), times=DATES, wavelengths=BANDS, origin=(501_230.0, 5_598_110.0)).values
    chunked = landscape((23, 17), times=DATES, wavelengths=BANDS, origin=(501_230.0, 5_598_110.0), chunks=chunks)
    np.testing.assert_array_equal(chunked.values, whole)
    height, width = min(height, 23 - y), min(width, 17 - x)
    origin = (501_230.0 + 10 * x, 5_598_110.0 - 10 * y)
    window = landscape((height, width), times=DATES[1:2], wavelengths=BANDS[2:4], origin=origin).values
    np.testing.assert_array_equal(window, whole[1:2, 2:4, y : y + height, x : x + width])


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**63 - 1), x=st.floats(-1e6, 1e6), y=st.floats(-1e7, 1e7))
def test_reflectance_is_physical_anywhere(seed, x, y):
    values = landscape(
        (9, 9), resolution=37.0, times=DATES, wavelengths=range(400, 2501, 100), seed=seed, origin=(x, y)
    ).values
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    assert values.min() >= 0.0
    assert values.max() <= 1.0


def test_extent_and_origin_name_the_same_grid():
    by_extent = landscape(extent=(500_000, 5_599_800, 500_150, 5_600_000), times=DATES, wavelengths=BANDS)
    by_shape = landscape((20, 15), times=DATES, wavelengths=BANDS)
    xr.testing.assert_identical(by_extent.compute(), by_shape.compute())


def test_finer_pixels_whose_centres_coincide_are_equal():
    coarse = landscape((12, 12), resolution=10, times=DATES, wavelengths=BANDS).values
    fine = landscape((60, 60), resolution=2, times=DATES, wavelengths=BANDS).values
    np.testing.assert_array_equal(fine[..., 2::5, 2::5], coarse)


def test_quarter_pixels_show_the_same_land():
    coarse = classes(landscape((96, 96), resolution=10, times=DATES, wavelengths=[865])).cover.values
    fine = classes(landscape((384, 384), resolution=2.5, times=DATES, wavelengths=[865])).cover.values
    blocks = fine.reshape(96, 4, 96, 4).swapaxes(1, 2).reshape(96, 96, 16)
    assert ((blocks == coarse[..., None]).sum(-1) >= 8).mean() > 0.9


def test_seeds_are_other_worlds():
    one, other = (landscape((64, 64), times=DATES[1:2], wavelengths=[865], seed=s).values.ravel() for s in (1, 2))
    assert (one != other).mean() > 0.99
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.3


def test_a_huge_cube_costs_nothing_until_one_pixel_is_asked_for():
    with dask.config.set(scheduler=no_compute):
        cube = landscape((10_000, 10_000), times="2023-06-01/2023-06-10")
        both = classes(cube), truth(cube)
    assert cube.shape == (10, 211, 10_000, 10_000)
    assert len(cube.data.dask.layers) == 1
    assert np.prod([c[0] for c in cube.chunks]) * 4 <= 64 * 2**20
    assert np.isfinite(cube[8, 40, 9_999, 9_999].values)
    assert both[0].cover[7_000, 3].compute().item() in LABELS


def test_coordinates_say_what_the_bands_and_the_grid_are():
    cube = landscape((4, 5), times="2023-02-01/2023-02-03", wavelengths=[560, 842.5])
    assert cube.band.values.tolist() == ["w0560", "w842.5"]
    assert cube.wavelength.values.tolist() == [560.0, 842.5]
    assert cube.wavelength.attrs["units"] == "nm"
    assert "fwhm" in cube.coords
    assert cube.sizes["time"] == 3
    box = geobox_of(cube)
    assert (tuple(box.shape), box.affine.a, box.crs.epsg) == ((4, 5), 10.0, 32631)
    assert landscape((4, 5), times="2023-02-01", crs=None).odc.crs is None


def test_equal_calls_have_equal_tokens():
    def token(**options):
        return dask.base.tokenize(landscape((8, 8), times=DATES, wavelengths=BANDS, **options))

    assert token() == token()
    assert token() != token(seed=1)


def test_every_class_occurs_and_fields_are_of_plausible_size():
    scene = landscape((256, 256), times=DATES[:1], wavelengths=[865])
    maps = classes(scene).compute()
    assert set(np.unique(maps.cover)) == set(LABELS)
    keys, pixels = np.unique(maps.field.values[maps.cover.values >= CODE["winter_wheat"]], return_counts=True)
    assert (keys > 0).all()
    hectares = pixels[pixels > 20] / 100.0
    assert 1.0 < np.median(hectares) < 6.0
    assert maps.cover.attrs["flag_meanings"].split() == list(LABELS.values())


def test_a_field_bears_one_crop_a_year_and_another_later():
    scene = landscape((200, 200), times=DATES[:1], wavelengths=[865])
    now, later = classes(scene, year=2023), classes(scene, year=2024)
    arable = now.cover.values >= CODE["winter_wheat"]
    pairs = np.unique(np.stack([now.field.values[arable], now.cover.values[arable]]), axis=1)
    assert pairs.shape[1] == np.unique(pairs[0]).size
    changed = now.cover.values != later.cover.values
    assert changed[arable].mean() > 0.5
    assert not changed[~arable].any()


def test_crops_green_and_fade_in_their_own_season(season):
    scene, cover, _ = season
    index, day = ndvi(scene), scene.time.dt.dayofyear.values

    def median(crop, at):
        return float(np.median(index[int(np.argmin(np.abs(day - at)))][cover == CODE[crop]]))

    assert median("winter_wheat", 130) > 0.8
    assert median("winter_wheat", 225) < 0.5
    assert median("maize", 120) < 0.3
    assert median("maize", 225) > 0.8
    assert median("rapeseed", 122) < median("rapeseed", 150) - 0.1  # yellow petals hide the leaves
    assert median("deciduous_forest", 20) < 0.65 < 0.8 < median("deciduous_forest", 180)
    arable = index[:, cover >= CODE["winter_wheat"]]
    assert arable.min() > 0.1
    assert arable.max() < 0.95
    assert set(CROPS) == set(list(LABELS.values())[-len(CROPS) :])


def test_growth_has_no_jumps_but_those_of_harvest_cut_and_plough():
    scene = landscape((24, 24), resolution=300, times="2022-11-20/2023-06-10", wavelengths=[865])
    cover, lai = classes(scene).cover.values, truth(scene).lai.values
    winter_and_spring = lai[36:, cover >= CODE["winter_wheat"]]
    assert np.abs(np.diff(winter_and_spring, axis=0)).max() < 0.35


def test_truth_is_what_the_index_follows(season):
    scene, cover, leaves = season
    lai = leaves.lai.values
    crops = cover >= CODE["winter_wheat"]
    assert 4.0 < np.quantile(lai[:, crops].max(0), 0.5) < 7.0
    assert lai.max() < 9.0
    assert (lai[:, np.isin(cover, [CODE["water"], CODE["roof"], CODE["paved"]])] == 0).all()
    low, high = ndvi(scene)[:, crops][lai[:, crops] < 0.1], ndvi(scene)[:, crops][lai[:, crops] > 3]
    assert np.median(low) < 0.4 < 0.8 < np.median(high)
    chlorophyll = leaves.chlorophyll.values[lai > 0.5]
    assert 10 < chlorophyll.min() < chlorophyll.max() < 80


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shape": (0, 5)}, "at least one row"),
        ({"resolution": 0.0}, "pixel size"),
        ({"resolution": float("nan")}, "pixel size"),
        ({"extent": (0, 0, 105, 100)}, "whole pixels"),
        ({"wavelengths": [350]}, "400 to 2500"),
        ({"wavelengths": [800, 700]}, "ascending"),
        ({"wavelengths": []}, "ascending"),
        ({"seed": -1}, "integer"),
        ({"seed": 1.5}, "integer"),
    ],
)
def test_wrong_parameters_are_named(options, words):
    with pytest.raises(ParameterError, match=words):
        landscape(**options)


def test_wrong_dates_and_missing_seed_are_named():
    with pytest.raises(TimeAxisError, match="unsorted"):
        landscape(times=["2023-05-02", "2023-05-01"])
    with pytest.raises(TimeAxisError, match="more than once"):
        landscape(times=["2023-05-01", "2023-05-01"])
    cube = landscape((2, 2), times=DATES, wavelengths=[865]).drop_attrs()
    with pytest.raises(ParameterError, match="pass seed="):
        classes(cube)
    assert classes(cube, seed=0).cover.shape == (2, 2)
