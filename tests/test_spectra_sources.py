"""Sources and pairs: reproducible, physical, and near to what a spectrometer in orbit sees."""

from __future__ import annotations

import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xrs.errors import BandNotFoundError, ParameterError
from xrs.sensors import get_sensor, spectral_response
from xrs.spectra import SpectralLibrary, SpectralPairs, draw_pairs, get_source, list_sources
from xrs.spectra._optics import ice_absorption
from xrs.spectra._surfaces import soil, soil_kinds

NAMES = list(list_sources().index)
SIMULATED = {"land", "canopy", "plants", "litter"}
TEN = ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]


@pytest.fixture(scope="module")
def drawn() -> dict[str, SpectralLibrary]:
    pytest.importorskip("prosail")
    return {name: get_source(name).draw(300, seed=5) for name in NAMES}


def at(library: SpectralLibrary, *nm: float) -> list[np.ndarray]:
    return [library.spectra[:, np.searchsorted(library.wavelengths, w)] for w in nm]


@pytest.mark.parametrize("name", NAMES)
def test_the_first_are_the_same_however_many_are_drawn(name: str, drawn: dict[str, SpectralLibrary]) -> None:
    for count in (1, 256, 260):
        few = get_source(name).draw(count, seed=5)
        np.testing.assert_array_equal(few.spectra, drawn[name].spectra[:count])
        assert few.classes == drawn[name].classes[:count]
    assert not np.array_equal(get_source(name).draw(2, seed=6).spectra, drawn[name].spectra[:2])


@pytest.mark.parametrize("name", NAMES)
def test_reflectance_is_physical_and_every_spectrum_its_own(name: str, drawn: dict[str, SpectralLibrary]) -> None:
    library = drawn[name]
    assert library.spectra.dtype == np.float32 and len(library) == 300
    assert library.spectra.min() >= 0 and library.spectra.max() <= 1
    assert library.wavelengths[[0, -1]].tolist() == [400.0, 2500.0]
    assert len(np.unique(library.spectra, axis=0)) == 300


def test_classes_look_as_they_are_known_to(drawn: dict[str, SpectralLibrary]) -> None:
    green, swir = at(drawn["snow"], 560, 1610)
    assert ((green - swir) / (green + swir) > 0.4).mean() > 0.97  # Dozier 1989: snow
    green, nir, swir = at(drawn["water"], 560, 865, 1610)
    assert ((green - swir) / (green + swir) > 0).all()  # MNDWI, Xu 2006: water
    red, nir = at(drawn["plants"], 670, 865)
    assert np.median((nir - red) / (nir + red)) > 0.6
    red, nir, swir, deep = at(drawn["litter"], 670, 865, 1660, 2100)
    assert np.median((nir - red) / (nir + red)) < 0.4
    assert np.median(swir - deep) > 0.02  # cellulose and lignin, Nagler et al. 2003
    blue, red, swir = at(drawn["soil"], 450, 670, 1660)
    assert (blue < red).all() and (red < swir).mean() > 0.8


def test_wet_soil_is_darker_and_has_bands_of_water() -> None:
    nm = np.arange(400.0, 2501, 5)
    kinds = soil_kinds(np.random.default_rng(0), 50)
    bright = np.full(50, 1.5)
    dry, moist, wet = (soil(nm, kinds, bright, np.full(50, level)) for level in (0.0, 0.4, 1.0))
    assert (moist < dry).all() and (wet < moist).all()
    near, band = np.searchsorted(nm, [1660, 1940])
    assert (wet[:, band] / wet[:, near] < 0.5 * dry[:, band] / dry[:, near]).all()
    np.testing.assert_array_less(0.15, dry[:, np.searchsorted(nm, 1600)])


def test_ice_absorbs_as_measured() -> None:
    # Grenfell & Perovich 1981 measured bubble-free ice from 400 to 1400 nm: 1/m at these wavelengths.
    measured = {600: 0.12, 700: 0.52, 800: 2.1, 1000: 20.4}
    absorption = 1000 * ice_absorption(np.array(list(measured), dtype="float64"))
    np.testing.assert_allclose(absorption, list(measured.values()), rtol=0.1)


def test_land_holds_all_classes(drawn: dict[str, SpectralLibrary]) -> None:
    assert set(drawn["land"].classes) == {"plants", "litter", "soil", "water", "built", "snow"}


def test_a_library_is_a_source_of_its_spectra_and_their_mixtures() -> None:
    nm = np.array([400.0, 1000.0, 2500.0])
    library = SpectralLibrary(nm, [[0.1, 0.2, 0.3], [0.5, 0.4, 0.2], [0.9, 0.8, 0.1]], classes=["a", "b", "c"])
    made = get_source(library).draw(700, seed=1)
    assert (made.spectra >= library.spectra.min(0) - 1e-6).all() and (
        made.spectra <= library.spectra.max(0) + 1e-6
    ).all()
    own = (np.abs(made.spectra[:, None] - library.spectra).max(axis=2) < 1e-6).any(axis=1)
    assert 0.25 < own.mean() < 0.7
    # Mixtures of three lie in their triangle.
    shares = np.linalg.lstsq(np.vstack([library.spectra.T, np.ones(3)]), np.vstack([made.spectra.T, np.ones(700)]))[0]
    assert shares.min() > -1e-4
    assert set(made.classes) == {"a", "b", "c"}
    np.testing.assert_array_equal(get_source(library).draw(300, seed=1).spectra, made.spectra[:300])


def test_pairs_are_what_both_sensors_see() -> None:
    pairs = draw_pairs("soil", "sentinel-2a", "enmap", 300, seed=2)
    spectra = get_source("soil").draw(300, seed=2)
    np.testing.assert_allclose(pairs.given, spectra.seen_by("sentinel-2a"), atol=1e-6)
    np.testing.assert_allclose(pairs.wanted, spectra.seen_by("enmap"), atol=1e-6)
    assert pairs.given.dtype == pairs.wanted.dtype == np.float32
    assert repr(pairs) == "<SpectralPairs: 300, 13 bands to 224>"


@settings(max_examples=15, deadline=None)
@given(count=st.integers(1, 700), seed=st.integers(0, 3))
def test_pairs_with_noise_do_not_depend_on_the_count(count: int, seed: int) -> None:
    all_pairs = draw_pairs("water", "landsat-8", "sentinel-2a", 700, seed=seed, noise=0.05)
    pairs = draw_pairs("water", "landsat-8", "sentinel-2a", count, seed=seed, noise=0.05)
    np.testing.assert_array_equal(pairs.given, all_pairs.given[:count])
    np.testing.assert_array_equal(pairs.wanted, all_pairs.wanted[:count])


@pytest.mark.parametrize(("noise", "relative", "absolute"), [(0.02, 0.02, 0.002), ((0.0, 0.01), 0.0, 0.01)])
def test_noise_has_the_size_that_was_asked_for(noise: Any, relative: float, absolute: float) -> None:
    clean = draw_pairs("snow", "sentinel-2a", "enmap", 4000, seed=1)
    noisy = draw_pairs("snow", "sentinel-2a", "enmap", 4000, seed=1, noise=noise)
    np.testing.assert_array_equal(noisy.wanted, clean.wanted)
    off = (noisy.given - clean.given).astype(np.float64) / np.hypot(relative * clean.given, absolute)
    assert abs(off.mean()) < 0.02 and off.std() == pytest.approx(1.0, abs=0.02)
    assert np.abs(np.corrcoef(off.T) - np.eye(13)).max() < 0.1


def test_memory_holds_what_sensors_see_only() -> None:
    draw_pairs("built", "sentinel-2a", "sentinel-2b", 300)
    tracemalloc.start()
    pairs = draw_pairs("built", "sentinel-2a", "sentinel-2b", 30_000, seed=9)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(pairs) == 30_000
    assert peak < 40e6  # the spectra alone would be 51 MB


def test_sources_travel_to_workers_and_blocks_stay_as_they_are() -> None:
    from dask.base import tokenize

    library = SpectralLibrary([400.0, 2500.0], [[0.1, 0.2], [0.3, 0.3]])
    for source in (get_source("water"), get_source(library)):
        sent = pickle.loads(pickle.dumps(source))
        np.testing.assert_array_equal(sent.draw(4).spectra, source.draw(4).spectra)
        assert tokenize(sent) == tokenize(source)
        block = next(source.blocks(4))
        with pytest.raises(ValueError, match="read-only"):
            block.spectra[:] = 0.0


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: get_source("lava"), "lava"),
        (lambda: get_source(["soil"]), "soil"),  # type: ignore[arg-type]
        (lambda: get_source("soil").draw(0), "count"),
        (lambda: draw_pairs("soil", "sentinel-2a", "enmap", 3, noise=-1.0), "noise"),
        (lambda: draw_pairs("soil", "sentinel-2a", "enmap", 3, noise=(0.1, float("nan"))), "noise"),
        (lambda: draw_pairs("soil", "sentinel-2a", "enmap", 3, noise=(0.1,)), "noise"),
        (lambda: SpectralPairs(np.zeros((3, 2)), np.zeros((4, 2))), "shapes"),
    ],
)
def test_wrong_input_is_named(call: Any, told: str) -> None:
    with pytest.raises(ParameterError, match=told):
        call()


@pytest.mark.parametrize("count", [1, 3])
def test_a_library_of_one_spectrum_is_no_source(count: int) -> None:
    library = SpectralLibrary([400.0, 2500.0], [[0.1, 0.2]] * count)
    with pytest.raises(ParameterError, match="too few spectra.*two or more that differ"):
        get_source(library)


def test_bands_beyond_the_source_are_named() -> None:
    library = SpectralLibrary([450.0, 700.0, 900.0], [[0.1, 0.2, 0.3], [0.3, 0.3, 0.3]])
    with pytest.raises(BandNotFoundError, match="B11"):
        draw_pairs(library, "sentinel-2a", "enmap", 3)


@pytest.mark.slow
def test_land_is_near_to_what_a_spectrometer_saw(shared_data: Path) -> None:
    """Ridge from Sentinel-2's ten bands, learned on simulated spectra alone, on all pixels of a real EnMAP image.

    Left out: flagged bands, and those where the atmosphere is opaque (1340 to 1480 and 1790 to 1960 nm), where the
    product's reflectance runs to 0.7 over forests.
    """
    import xarray as xr

    pytest.importorskip("prosail")
    with xr.open_dataset(shared_data / "enmap_potsdam.nc") as product:
        nm, bad = product["wavelength"].values, product["bad_band"].values != 0
        image = product["reflectance_dn"].values.reshape(nm.size, -1).T / 1e4
    used = ~bad & ~((nm > 1340) & (nm < 1480)) & ~((nm > 1790) & (nm < 1960))
    image = image[(image[:, ~bad] > -3).all(axis=1)]
    order = np.argsort(nm)
    known = order[~bad[order]]
    s2 = get_sensor("sentinel-2a").select(TEN)
    seen = image[:, known] @ spectral_response(s2, nm[known]).T
    pairs = draw_pairs("land", s2, "enmap", 10_000, seed=1, noise=0.01)
    x, y = pairs.given.astype(np.float64), pairs.wanted[:, used].astype(np.float64)
    centred = x - x.mean(0)
    weights = np.linalg.solve(centred.T @ centred / len(x) + 1e-4 * np.eye(10), centred.T @ (y - y.mean(0)) / len(x))
    made, truth = (seen - x.mean(0)) @ weights + y.mean(0), image[:, used]
    cosine = (made * truth).sum(1) / np.linalg.norm(made, axis=1) / np.linalg.norm(truth, axis=1)
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean() < 4.0
