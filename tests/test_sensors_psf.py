"""Point spread."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from xrs.errors import BandNotFoundError, ParameterError
from xrs.kernels import decimate
from xrs.sensors import get_sensor, psf_of


def transfer(taps, frequency):
    """Modulation at a frequency in cycles per fine pixel, from the Fourier sum itself."""
    offsets = np.arange(taps.size) - (taps.size - 1) / 2
    return abs(np.sum(taps * np.exp(-2j * np.pi * frequency * offsets)))


@pytest.mark.parametrize("name", ["sentinel-2a", "worldview-3", "ikonos", "quickbird"])
@pytest.mark.parametrize("ratio", [2, 3, 4, 6])
def test_gain_at_nyquist_is_the_sensors(name, ratio):
    sensor = get_sensor(name)
    taps = psf_of(sensor, sensor.keys, ratio)
    np.testing.assert_allclose(taps.sum(axis=1), 1)
    for row, gain in zip(taps, sensor.mtf_of(sensor.keys), strict=True):
        assert transfer(row, 1 / (2 * ratio)) == pytest.approx(gain, abs=2e-3)


def test_wave_at_nyquist_keeps_that_much_amplitude():
    ratio, size = 4, 256
    x = np.arange(size) + 0.5
    # A crest in the middle of each second coarse pixel.
    wave = np.cos(2 * np.pi * (x - ratio / 2) / (2 * ratio)).astype("float32")
    seen = decimate(np.broadcast_to(wave, (1, size, size)).copy(), psf_of("worldview-2", ["red"], ratio), ratio)
    inner = seen[0, 20, 10:-10]
    assert np.abs(inner).mean() == pytest.approx(0.35, abs=2e-3)


@pytest.mark.parametrize("ratio", [2, 3, 6])
def test_dsen2_is_scipys_gaussian_then_block_mean(ratio):
    image = np.random.default_rng(0).random((6 * ratio, 5 * ratio))
    blurred = gaussian_filter(image, 1 / ratio, mode="reflect")
    truth = blurred.reshape(6, ratio, 5, ratio).mean(axis=(1, 3))
    got = decimate(image[None].astype("float32"), psf_of(None, ["B05"], ratio, "gaussian_box"), ratio)[0]
    np.testing.assert_allclose(got, truth, rtol=2e-6 if ratio == 2 else 2e-4)


@given(st.integers(1, 12), st.sampled_from(["mtf", "box", "gaussian_box"]))
def test_taps_are_symmetric_with_the_ratios_parity(ratio, kind):
    taps = psf_of("sentinel-2a", ["B02", "B8A", "B10"], ratio, kind)
    assert taps.shape[0] == 3
    assert (taps.shape[1] - ratio) % 2 == 0
    np.testing.assert_allclose(taps, taps[:, ::-1])
    np.testing.assert_allclose(taps.sum(axis=1), 1)


def test_ratio_one_blurs_nothing():
    assert psf_of("sentinel-2a", ["B02", "B03"], 1).tolist() == [[1.0], [1.0]]


def test_defaults():
    unknown, pan = psf_of(None, ["B1", None], 4), psf_of(None, ["pan"], 4)
    assert transfer(unknown[1], 1 / 8) == pytest.approx(0.3, abs=1e-3)
    assert transfer(pan[0], 1 / 8) == pytest.approx(0.15, abs=1e-3)
    assert transfer(psf_of("sentinel-2a", ["pan"], 4)[0], 1 / 8) == pytest.approx(0.15, abs=1e-3)
    assert transfer(psf_of("zy1-02d-vnic", ["pan"], 4)[0], 1 / 8) == pytest.approx(0.15, abs=1e-3)
    assert transfer(psf_of("wv2", ["pan"], 4)[0], 1 / 8) == pytest.approx(0.11, abs=1e-3)


def test_own_taps():
    assert psf_of(None, ["a", "b"], 2, [0.25, 0.25, 0.25, 0.25]).shape == (2, 4)


@pytest.mark.parametrize(
    ("taps", "message"),
    [
        ([0.25, 0.5, 0.25], "an even number"),
        ([0.5, 0.6], "sum to 1"),
        ([0.4, 0.6], "not symmetric"),
        (np.ones((3, 2)) / 2, "2, tap"),
        ([np.nan, np.nan], "finite taps"),
    ],
)
def test_bad_taps(taps, message):
    with pytest.raises(ParameterError, match=message):
        psf_of(None, ["a", "b"], 2, taps)


def test_bad_arguments():
    with pytest.raises(ParameterError, match="psf='lens'"):
        psf_of(None, ["a"], 2, "lens")
    with pytest.raises(ParameterError, match="ratio=0"):
        psf_of(None, ["a"], 0)
    with pytest.raises(BandNotFoundError, match="B99"):
        psf_of("sentinel-2a", ["B99"], 2)
