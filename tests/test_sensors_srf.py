"""Spectral response."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm
from sensors_tables import TABLES, read_responses

from xrs.errors import BandNotFoundError, ParameterError
from xrs.sensors import get_sensor, list_sensors, sensor_from_table, spectral_response

GRID = np.arange(400.0, 2501.0, 10.0)


def leaf(wavelength):
    """A green leaf's spectrum, roughly: piecewise linear with the red edge."""
    knots = [400, 500, 550, 670, 690, 740, 780, 1300, 1450, 1650, 1950, 2200, 2500]
    values = [0.03, 0.04, 0.10, 0.03, 0.05, 0.38, 0.45, 0.48, 0.20, 0.33, 0.08, 0.20, 0.08]
    return np.interp(wavelength, knots, values)


@pytest.mark.parametrize("name", list(list_sensors().index))
def test_rows_sum_to_one_and_flat_spectra_stay_flat(name):
    sensor = get_sensor(name)
    inside = [b.key for b in sensor.all_bands if b.wavelength - b.fwhm > 400 and b.wavelength + b.fwhm < 2500]
    weights = spectral_response(sensor, GRID, inside)
    assert weights.dtype == np.float64
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights @ np.full(GRID.size, 0.37), 0.37, rtol=1e-12)


@pytest.mark.parametrize("name", ["landsat-8", "sentinel-2a", "sentinel-2b", "landsat-9"])
def test_measured_responses_against_published_tables(shared_data, name):
    fine = np.arange(400.0, 2501.0)
    for key, (wavelength, response) in read_responses(shared_data / "srf", name).items():
        truth = np.trapezoid(leaf(wavelength) * response, wavelength) / np.trapezoid(response, wavelength)
        got = (spectral_response(name, fine, [key]) @ leaf(fine)).item()
        assert got == pytest.approx(truth, abs=1e-3), key


@pytest.mark.parametrize(
    "name", ["worldview-2", "gf-6-wfv", "sentinel-3-olci", "eo1-ali", "sentinel-2c", "planetscope-sd8"]
)
def test_synthetic_responses_against_published_tables(shared_data, name):
    fine, errors = np.arange(380.0, 2501.0), {"auto": [], "gaussian": []}
    tables = read_responses(shared_data / "srf", name)
    for key, (wavelength, response) in tables.items():
        truth = np.trapezoid(leaf(wavelength) * response, wavelength) / np.trapezoid(response, wavelength)
        for shape, found in errors.items():
            found.append((spectral_response(name, fine, [key], shape=shape) @ leaf(fine)).item() - truth)
    # A pan's response is no box at all; every other band is met within half a percent of reflectance.
    bands = [k.lower() != "pan" for k in tables]
    auto, gaussian = (np.abs(errors[s])[bands] for s in ("auto", "gaussian"))
    assert auto.max() < 6e-3
    assert np.sqrt((auto**2).mean()) <= np.sqrt((gaussian**2).mean()) + 1e-6


def test_gaussian_against_scipy():
    spectrometer = sensor_from_table({"wavelength": [640.0, 1003.0], "fwhm": [8.0, 15.0]})
    samples = np.arange(500.0, 1200.0, 7.3)
    values = np.cos(samples / 40)
    got = spectral_response(spectrometer, samples) @ values
    for band, value in zip(spectrometer.bands, got, strict=True):
        x = np.linspace(band.wavelength - 2 * band.fwhm, band.wavelength + 2 * band.fwhm, 200_001)
        response = norm.pdf(x, band.wavelength, band.fwhm / 2.354820045)
        truth = np.trapezoid(response * np.interp(x, samples, values), x) / np.trapezoid(response, x)
        assert value == pytest.approx(truth, abs=2e-4)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1.0, 40.0))
def test_linear_spectra_give_the_centroid_at_any_sampling(seed, mean_step):
    rng = np.random.default_rng(seed)
    samples = np.cumsum(rng.uniform(0.5, 1.5, int(1500 / mean_step) + 3) * mean_step) + 300
    band = rng.uniform(500, 1200)
    camera = sensor_from_table({"wavelength": [band], "fwhm": [rng.uniform(2, 60)]})
    order = rng.permutation(samples.size)
    weights = spectral_response(camera, samples[order])
    # Hat functions reproduce straight lines, whatever the samples.
    assert (weights @ samples[order]).item() == pytest.approx(band, abs=0.05)


def test_bands_narrower_than_the_sampling_are_not_missed():
    weights = spectral_response("olci", GRID, ["Oa13"])
    # 761.25 nm lies between the samples 760 and 770.
    assert np.flatnonzero(weights[0] > 0.01).tolist() == [36, 37]
    assert (weights @ GRID).item() == pytest.approx(761.25, abs=0.1)


def test_samples_finer_than_the_response_table():
    camera = sensor_from_table({"wavelength": [600.0, 650.0, 700.0], "red": [0.0, 1.0, 0.0]})
    samples = np.arange(590, 711, 0.5)
    truth = quad(lambda x: max(0.0, 1 - abs(x - 650) / 50) * np.sin(x / 9), 600, 700)[0] / 50
    assert (spectral_response(camera, samples) @ np.sin(samples / 9)).item() == pytest.approx(truth, abs=1e-3)


def test_bands_outside_are_named():
    with pytest.raises(BandNotFoundError, match=r"do not cover the bands B11 .*B12") as caught:
        spectral_response("sentinel-2a", np.arange(400, 1000, 10), ["B04", "B11", "B12"])
    assert "B04" not in str(caught.value)
    with pytest.raises(BandNotFoundError, match="Oa01"):
        spectral_response("olci", GRID)


def test_gaps_between_samples_are_not_bridged():
    holed = GRID[(GRID < 1300) | (GRID > 1500)]
    with pytest.raises(BandNotFoundError, match="B10"):
        spectral_response("sentinel-2a", holed, ["B10"])
    assert spectral_response("sentinel-2a", holed, ["B11"]).sum() == pytest.approx(1)


def test_partial_cover_is_asked_for():
    short = np.arange(440.0, 1000.0, 5.0)
    with pytest.raises(BandNotFoundError, match="B01"):
        spectral_response("sentinel-2c", short, ["B01"])
    assert spectral_response("sentinel-2c", short, ["B01"], coverage=0.5).sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("wavelengths", "message"),
    [
        ([0.4, 0.5, 0.6], "multiply µm by 1000"),
        ([400, 500, np.nan], "finite wavelengths"),
        ([400, 500, 500], "each wavelength once"),
        ([650], "two or more"),
    ],
)
def test_bad_wavelengths(wavelengths, message):
    with pytest.raises(ParameterError, match=message):
        spectral_response("sentinel-2a", wavelengths)


def test_unknown_shape():
    with pytest.raises(ParameterError, match="'auto' or one of"):
        spectral_response("sentinel-2a", GRID, shape="triangle")


def test_every_table_is_used():
    assert set(TABLES) <= set(list_sensors().index)
