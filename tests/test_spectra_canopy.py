"""Simulated canopies, against prosail called directly and against energy that must be conserved."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from xrs.errors import ParameterError
from xrs.sensors import spectral_response
from xrs.spectra import Canopies, draw_canopies
from xrs.spectra.canopy import canopy_block

prosail = pytest.importorskip("prosail")


@pytest.fixture(scope="module")
def canopies() -> Canopies:
    return draw_canopies(500, seed=3)


def one(canopies: Canopies, i: int) -> dict[str, float]:
    return {name: float(values[i]) for name, values in canopies.parameters.items()}


def sail(canopies: Canopies, i: int, **changes: Any) -> list[Any]:
    """All terms of 4SAIL, at 1 nm."""
    p = one(canopies, i) | changes
    ground = np.interp(np.arange(400, 2501), canopies.wavelengths, canopies.soils[i])
    return prosail.run_prosail(
        p["N"], p["cab"], p["car"], p["cbrown"], p["cw"], p["cm"], p["lai"], p["ala"], p["hotspot"], p["sun_zenith"],
        p["view_zenith"], p["relative_azimuth"], ant=p["anth"], prospect_version="D", factor="ALLALL", rsoil0=ground,
    )  # fmt: skip


@pytest.mark.parametrize("i", range(0, 500, 50))
def test_spectra_are_those_of_prosail(canopies: Canopies, i: int) -> None:
    np.testing.assert_allclose(canopies.spectra[i], sail(canopies, i)[17][::5], atol=1e-6)


def test_every_five_nanometres_is_enough_for_spectrometers(canopies: Canopies) -> None:
    nm = np.arange(400.0, 2501.0)
    fine = np.stack([sail(canopies, i)[17] for i in range(0, 500, 10)])
    off = fine[:, ::5] @ spectral_response("enmap", nm[::5]).T - fine @ spectral_response("enmap", nm).T
    assert np.abs(off).max() < 3e-3 and np.sqrt((off**2).mean()) < 2e-4


@pytest.mark.parametrize("i", range(0, 500, 50))
def test_fapar_is_what_leaves_take_of_each_bounce(canopies: Canopies, i: int) -> None:
    terms = sail(canopies, i)
    visible = slice(0, 301, 5)
    through, back, across, up, down = (np.broadcast_to(terms[k], 2101)[visible] for k in (0, 3, 4, 5, 6))
    ground = canopies.soils[i][:61].astype(np.float64)
    taken = 1.0 - up - down - through
    light = through + down
    for _ in range(200):
        rising = ground * light
        taken = taken + (1.0 - back - across) * rising
        light = back * rising
    assert canopies.parameters["fapar"][i] == pytest.approx(taken.mean(), abs=1e-6)


@pytest.mark.parametrize("i", range(0, 500, 50))
def test_fcover_is_what_a_view_from_above_meets(canopies: Canopies, i: int) -> None:
    gaps = sail(canopies, i, view_zenith=0.0)[1]
    assert canopies.parameters["fcover"][i] == pytest.approx(1.0 - gaps, abs=1e-9)


def test_parameters_follow_the_published_table(canopies: Canopies) -> None:
    from scipy.stats import kstest, truncnorm

    p = canopies.parameters
    assert kstest(p["lai"], truncnorm(-2 / 3, 13 / 3, loc=2, scale=3).cdf).pvalue > 0.01
    dense = p["lai"] / 15
    # Limits at no leaves and at an LAI of 15, Weiss & Baret 2016.
    for name, (low, high), (low_dense, high_dense) in [
        ("ala", (30, 80), (55, 65)),
        ("cab", (20, 90), (45, 90)),
        ("N", (1.2, 1.8), (1.3, 1.8)),
        ("cm", (0.003, 0.011), (0.005, 0.011)),
        ("cbrown", (0, 2), (0, 0.2)),
        ("hotspot", (0.1, 0.5), (0.1, 0.5)),
    ]:
        assert (p[name] >= low + dense * (low_dense - low) - 1e-9).all(), name
        assert (p[name] <= high + dense * (high_dense - high) + 1e-9).all(), name
    water = p["cw"] / (p["cw"] + p["cm"])
    assert water.min() >= 0.6 and water.max() <= 0.85
    np.testing.assert_allclose(p["ccc"], p["lai"] * p["cab"])
    np.testing.assert_allclose(p["cwc"], p["lai"] * p["cw"])


def test_what_is_known_of_canopies(canopies: Canopies) -> None:
    p, nm = canopies.parameters, canopies.wavelengths
    red, nir, swir = (canopies.spectra[:, np.searchsorted(nm, w)] for w in (670, 865, 1600))
    ndvi = (nir - red) / (nir + red)
    assert ndvi[p["lai"] > 4].min() > 0.6
    assert np.corrcoef(ndvi, p["fcover"])[0, 1] > 0.8
    assert ((p["fapar"] >= 0) & (p["fapar"] < 1) & (p["fcover"] >= 0) & (p["fcover"] < 1)).all()
    assert np.corrcoef(p["fapar"], p["fcover"])[0, 1] > 0.8
    assert (canopies.spectra > 0).all() and (canopies.spectra < 1).all()
    # More chlorophyll moves the red edge to longer wavelengths (Horler et al. 1983).
    slope = np.diff(canopies.spectra[:, (nm >= 680) & (nm <= 760)], axis=1)
    edge = 682.5 + 5 * slope.argmax(axis=1)
    green = (p["lai"] > 2) & (p["cbrown"] < 0.3)
    assert edge[green].min() >= 690 and edge[green].max() <= 740
    assert np.corrcoef(edge[green], p["cab"][green])[0, 1] > 0.5
    # Leaf water darkens the short-wave infrared.
    assert np.corrcoef((swir / nir)[green], p["cwc"][green])[0, 1] < -0.3


def test_the_first_are_the_same_however_many_are_drawn(canopies: Canopies) -> None:
    canopy_block.cache_clear()
    for count in (1, 256, 257):
        few = draw_canopies(count, seed=3)
        np.testing.assert_array_equal(few.spectra, canopies.spectra[:count])
        assert len(few) == count
        for name, values in few.parameters.items():
            np.testing.assert_array_equal(values, canopies.parameters[name][:count], err_msg=name)
    assert not np.array_equal(draw_canopies(5, seed=4).spectra, canopies.spectra[:5])


def test_what_is_drawn_can_be_changed_without_harm() -> None:
    first = draw_canopies(3, seed=8)
    kept = first.spectra.copy()
    first.spectra[:] = 0
    first.parameters["lai"][:] = 0
    again = draw_canopies(3, seed=8)
    np.testing.assert_array_equal(again.spectra, kept)
    assert (again.parameters["lai"] > 0).all()


@pytest.mark.parametrize(("count", "seed"), [(0, 0), (-1, 0), (2.5, 0), (3, -1), (3, None)])
def test_wrong_numbers_are_named(count: Any, seed: Any) -> None:
    with pytest.raises(ParameterError, match="whole number"):
        draw_canopies(count, seed)


def test_without_prosail_the_extra_and_its_licence_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prosail", None)
    with pytest.raises(ParameterError, match=r"pip install 'xrs\[canopy\]'.*GPL-3"):
        draw_canopies(2, seed=12345)


def test_canopies_are_told_in_two_lines(canopies: Canopies) -> None:
    told = repr(canopies)
    assert len(told.splitlines()) == 2 and len(told) < 700
    lai = canopies.parameters["lai"]
    assert "500, 421 wavelengths 400 to 2500 nm" in told and f"lai {lai.min():.3g} to {lai.max():.3g}" in told
