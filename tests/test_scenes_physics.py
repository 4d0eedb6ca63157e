"""Spectra obey what is known of leaves, canopies, soils and waters."""

from __future__ import annotations

import dask
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xrs.scenes import LABELS, classes, landscape, truth
from xrs.scenes.noise import fbm, stream
from xrs.scenes.optics import optics
from xrs.scenes.phenology import rain_wetness
from xrs.scenes.reflectance import _plants

NM = np.arange(400.0, 2501.0, 10.0)
CODE = {name: code for code, name in LABELS.items()}


@pytest.fixture(scope="module")
def summer():
    scene = landscape((90, 90), resolution=40, times=["2023-06-05"])
    with dask.config.set(scheduler="sync"):
        return scene.isel(time=0).values, classes(scene).cover.values, truth(scene).isel(time=0).compute()


def at(spectra, nm):
    return spectra[int((nm - 400) // 10)]


def state(lai, share=1.0):
    leaf = np.zeros(8, np.float32)
    leaf[:5] = lai, 45.0 * share, 9.0 * share, 0.012, 0.2
    return leaf


@settings(deadline=None, max_examples=40)
@given(st.floats(0.05, 4), st.floats(0.05, 4), st.floats(0.01, 0.6), st.integers(0, 210))
def test_layers_add_as_in_an_exact_two_stream_solution(upper, lower, soil, band):
    # Principle of invariance (Chandrasekhar): a canopy over a canopy is one canopy of their summed leaf area.
    tables = optics(NM)
    below = _plants(state(lower), np.float32(soil), False, tables, band)
    stacked = _plants(state(upper), np.float32(below), False, tables, band)
    assert stacked == pytest.approx(_plants(state(upper + lower), np.float32(soil), False, tables, band), abs=2e-5)


def test_without_leaves_the_soil_is_seen():
    assert _plants(state(0.0), np.float32(0.23), False, optics(NM), 100) == pytest.approx(0.23, abs=1e-5)


def test_dense_crops_look_green_with_a_red_edge_and_water_bands(summer):
    values, cover, leaves = summer
    dense = values[:, (cover == CODE["winter_wheat"]) & (leaves.lai.values > 3.5)].mean(1)
    assert at(dense, 550) > 1.5 * at(dense, 450)
    assert at(dense, 550) > 1.5 * at(dense, 670)
    assert at(dense, 670) < 0.04
    assert 0.35 < at(dense, 860) < 0.55
    edge = NM[np.argmax(np.diff(dense)[20:50]) + 20] + 5
    assert 700 <= edge <= 740
    assert at(dense, 970) < 0.5 * (at(dense, 910) + at(dense, 1070))
    assert at(dense, 1200) < at(dense, 1080)
    assert at(dense, 1450) < 0.5 * at(dense, 1650)
    assert at(dense, 1940) < 0.5 * at(dense, 2200)
    assert at(dense, 2200) < at(dense, 1650) < at(dense, 860)


def test_the_red_edge_moves_to_longer_waves_with_chlorophyll():
    nm = np.arange(670.0, 781.0, 1.0)
    tables = optics(nm)
    edges = []
    for chlorophyll in (15.0, 30.0, 60.0):
        leaf = state(4.0)
        leaf[1] = chlorophyll
        edges.append(
            nm[np.argmax(np.diff([_plants(leaf, np.float32(0.15), False, tables, b) for b in range(nm.size)]))]
        )
    assert edges[0] < edges[1] < edges[2]


def test_pure_water_absorbs_as_published():
    # Pope & Fry (1997), 1/m, and the SWIR peak of Kou et al. (1993) at 1450 nm, 1/cm.
    nm = np.array([500.0, 550.0, 600.0, 650.0, 700.0, 1450.0])
    per_m = optics(nm).lake[0]
    np.testing.assert_allclose(per_m[:5], [0.0204, 0.0565, 0.2224, 0.340, 0.624], rtol=0.05)
    assert 26 < per_m[5] / 100 < 33


def test_water_is_dark_in_the_near_infrared_and_never_brightest_there(summer):
    values, cover, _ = summer
    water = values[:, cover == CODE["water"]]
    assert at(water, 860).max() < 0.06
    assert water[NM > 1300].max() < 0.02
    assert set(NM[water.argmax(0)]) <= set(np.arange(450.0, 620.0, 10.0))


def test_bare_soils_lie_on_one_line_and_show_clay():
    scene = landscape((80, 80), resolution=50, times=["2023-04-20"])
    cover, lai = classes(scene).cover.values, truth(scene).lai.isel(time=0).values
    bare = scene.isel(time=0).values[:, (cover >= CODE["maize"]) & (lai < 0.02)]
    red, nir = at(bare, 660), at(bare, 860)
    assert np.corrcoef(red, nir)[0, 1] > 0.95
    assert 1.1 < np.polyfit(red, nir, 1)[0] < 1.9
    assert (at(bare, 450) < at(bare, 550)).all()
    assert (at(bare, 550) < at(bare, 660)).all()
    assert np.mean(at(bare, 2200) < 0.5 * (at(bare, 2140) + at(bare, 2250))) > 0.9
    assert 0.08 < np.median(nir) < 0.4


def test_rain_darkens_bare_soil_and_it_dries():
    days = np.arange(19400.0, 19765.0)
    wetness = rain_wetness(days, 0)
    assert wetness.min() >= 0.0
    assert wetness.max() < 1.0
    wettest, driest = (str(np.datetime64(int(days[f(wetness)]), "D")) for f in (np.argmax, np.argmin))
    first, second = sorted([wettest, driest])
    scene = landscape((40, 40), resolution=90, times=[first, second])
    cover, lai = classes(scene).cover.values, truth(scene).lai.values
    bare = (cover >= CODE["winter_wheat"]) & (lai < 0.02).all(0)
    assert bare.any()
    wet, dry = scene.sel(time=wettest).values[:, bare], scene.sel(time=driest).values[:, bare]
    assert (wet < dry).mean() > 0.99
    falls = np.diff(wetness)
    assert (falls < 0).mean() > 0.5
    assert (falls > 0.05).sum() > 20


def test_noise_has_zero_mean_and_unit_variance():
    key = stream(np.uint64(5), 3)
    sample = np.array([fbm(37.3 * i, 31.7 * j, 90.0, 4, key) for i in range(150) for j in range(150)])
    assert abs(sample.mean()) < 0.05
    assert 0.9 < sample.std() < 1.1
