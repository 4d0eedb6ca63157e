"""Results brought to what the sensor saw: exactly, smoothly, and on several grids."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given as examples_of
from hypothesis import settings
from hypothesis import strategies as st
from made_spectra import (
    WAVELENGTHS,
    image_of,
    largest_misfit,
    response,
    spectra,
)

from xrs.errors import ParameterError
from xrs.kernels import box_taps, decimate, gaussian_taps
from xrs.methods.spectral._projection import consistent, examples_covariance, gain, residual, smooth_covariance


class TestAgreement:
    @settings(max_examples=25, deadline=None)
    @examples_of(bands=st.integers(1, 9), height=st.integers(1, 7), width=st.integers(1, 50), seed=st.integers(0, 99))
    def test_the_sensor_sees_what_it_saw(self, bands: int, height: int, width: int, seed: int) -> None:
        srf = response(bands)
        truth = image_of(spectra(height * width, seed), width)
        seen = np.tensordot(srf, truth, axes=1).astype("float32")
        wrong = image_of(spectra(height * width, seed + 500), width)
        found = consistent(wrong, seen, srf, gain(srf, WAVELENGTHS))
        assert found.dtype == np.float32
        assert largest_misfit(found, seen, srf) < 1e-5
        assert float(residual(found, seen, srf).max()) < 1e-6

    def test_it_is_the_nearest_such_spectrum(self) -> None:
        # Minimise (x - x0)' C⁻¹ (x - x0) under Φ x = y by its Lagrangian, a linear system.
        srf, prior = response(4), smooth_covariance(WAVELENGTHS, np.linspace(1, 2, WAVELENGTHS.size), 80.0)
        start, seen = spectra(1)[0].astype("float64"), np.array([0.1, 0.2, 0.3, 0.2])
        n = WAVELENGTHS.size
        inverse = np.linalg.inv(prior)
        system = np.block([[inverse, srf.T], [srf, np.zeros((4, 4))]])
        expected = np.linalg.solve(system, np.concatenate([inverse @ start, seen]))[:n]
        found = consistent(
            start.astype("float32")[:, None, None],
            seen.astype("float32")[:, None, None],
            srf,
            gain(srf, WAVELENGTHS, prior),
        )
        np.testing.assert_allclose(found[:, 0, 0], expected, atol=1e-6)

    def test_noise_makes_it_the_conditional_mean(self) -> None:
        # With one band that sees one wavelength: the textbook weight of an observation.
        srf = np.zeros((1, 30))
        srf[0, 10] = 1
        found = gain(srf, WAVELENGTHS, np.eye(30) * 4.0, noise=1.0)
        assert found[10, 0] == pytest.approx(4 / 5)
        assert np.abs(np.delete(found[:, 0], 10)).max() == 0

    def test_few_examples_are_enough_of_a_prior(self) -> None:
        srf, examples = response(6), spectra(3)
        with pytest.raises(ParameterError, match="some say the same"):
            gain(srf, WAVELENGTHS, np.cov(examples.T))
        np.testing.assert_allclose(
            srf @ gain(srf, WAVELENGTHS, examples_covariance(examples, WAVELENGTHS)), np.eye(6), atol=1e-9
        )

    def test_examples_tell_what_no_band_sees(self) -> None:
        # Band 0 sees wavelength 0 alone; wavelength 1 is its opposite, which no smooth prior could know.
        rng = np.random.default_rng(0)
        one = rng.normal(0, 0.1, 2000)
        examples = np.column_stack([one, -one, rng.normal(0, 0.1, 2000)]).astype("float32")
        srf = np.array([[1.0, 0.0, 0.0]])
        told = gain(srf, [500, 510, 520], examples_covariance(examples, [500, 510, 520], share=0.01))
        np.testing.assert_allclose(told[:, 0], [1, -1, 0], atol=0.1)
        assert gain(srf, [500, 510, 520])[1, 0] > 0.9

    def test_in_place(self) -> None:
        srf = response(4)
        truth, wrong = (image_of(spectra(40, seed), 8) for seed in (0, 1))
        seen = np.tensordot(srf, truth, axes=1).astype("float32")
        expected = consistent(wrong, seen, srf, gain(srf, WAVELENGTHS))
        assert consistent(wrong, seen, srf, gain(srf, WAVELENGTHS), out=wrong) is wrong
        np.testing.assert_array_equal(wrong, expected)

    def test_the_change_is_smooth(self) -> None:
        # Boxes: with an unstructured prior the change has their edges.
        srf = np.repeat(np.eye(3), 10, axis=1) / 10
        change = gain(srf, WAVELENGTHS) @ np.array([0.0, 1.0, 0.0])
        edges = gain(srf, WAVELENGTHS, np.eye(30)) @ np.array([0.0, 1.0, 0.0])
        assert np.abs(np.diff(edges)).max() == pytest.approx(1.0)
        assert np.abs(np.diff(change)).max() < 0.25

    def test_missing_values_stay_in_their_pixels(self) -> None:
        srf = response(5)
        truth = image_of(spectra(12 * 50), 50)
        seen = np.tensordot(srf, truth, axes=1).astype("float32")
        wrong = image_of(spectra(12 * 50, 7), 50)
        whole = consistent(wrong, seen, srf, gain(srf, WAVELENGTHS))
        seen[2, 3, 4] = np.nan
        wrong[1, 8, 9] = np.nan
        found = consistent(wrong, seen, srf, gain(srf, WAVELENGTHS))
        gap = np.zeros((12, 50), bool)
        gap[[3, 8], [4, 9]] = True
        np.testing.assert_array_equal(np.isnan(found).any(axis=0), gap)
        np.testing.assert_array_equal(found[:, ~gap], whole[:, ~gap])
        np.testing.assert_array_equal(np.isnan(residual(wrong, seen, srf)), gap)

    def test_residual_is_a_root_mean_square(self) -> None:
        srf = np.array([[1.0, 0, 0], [0, 0.5, 0.5]])
        result = np.array([0.2, 0.3, 0.5], "float32")[:, None, None]
        seen = np.array([0.5, 0.8], "float32")[:, None, None]
        assert residual(result, seen, srf).item() == pytest.approx(np.sqrt((0.3**2 + 0.4**2) / 2))

    def test_bands_that_say_the_same_are_refused(self) -> None:
        srf = response(3)[[0, 1, 1]]
        with pytest.raises(ParameterError, match="some say the same"):
            gain(srf, WAVELENGTHS)
        assert np.isfinite(gain(srf, WAVELENGTHS, noise=0.01)).all()

    def test_as_many_bands_as_responses(self) -> None:
        result = np.ones((30, 2, 2), "float32")
        with pytest.raises(ParameterError, match="2 bands and responses of 3"):
            consistent(result, np.ones((2, 2, 2), "float32"), response(3), gain(response(3), WAVELENGTHS))


def observed(
    truth: np.ndarray, srf: np.ndarray, ratios: list[int], taps: np.ndarray | None
) -> list[tuple[np.ndarray, int]]:
    """What bands on several grids see of an image, by another path than the projection's."""
    bands = np.tensordot(srf, truth.astype("float64"), axes=1).astype("float32")
    return [
        (band if r == 1 else decimate(band[None], box_taps(r) if taps is None else taps, r)[0], r)
        for band, r in zip(bands, ratios, strict=True)
    ]


class TestAgreementOnSeveralGrids:
    ratios = (1, 2, 1, 6, 2, 1)

    @pytest.mark.parametrize("kernel", ["nearest", "bilinear", "cubic"])
    @pytest.mark.parametrize("spread", ["mean", "gaussian"])
    def test_every_sensor_band_sees_what_it_saw(self, kernel: str, spread: str) -> None:
        ratios = [1, 2, 1, 2, 2, 1] if spread == "gaussian" else list(self.ratios)
        srf = response(6)
        row = gaussian_taps(0.3, 2) if spread == "gaussian" else None
        truth, wrong = (image_of(spectra(24 * 36, seed), 36) for seed in (0, 1))
        seen = observed(truth, srf, ratios, row)
        taps = None if row is None else np.tile(row, (6, 1))
        found = consistent(wrong, seen, srf, gain(srf, WAVELENGTHS), taps=taps, kernel=kernel)
        for (saw, _), (would, _) in zip(seen, observed(found, srf, ratios, row), strict=True):
            np.testing.assert_allclose(would, saw, rtol=1e-5)
        assert float(residual(found, seen, srf, taps=taps).max()) < 1e-6

    def test_block_means_need_no_margin(self) -> None:
        srf = response(6)
        truth, wrong = (image_of(spectra(24 * 36, seed), 36) for seed in (0, 1))
        seen = observed(truth, srf, list(self.ratios), None)
        matrix = gain(srf, WAVELENGTHS)
        whole = consistent(wrong, seen, srf, matrix)
        part = [(band[6 // r : 18 // r, 12 // r : 36 // r], r) for band, r in seen]
        cut = consistent(np.ascontiguousarray(wrong[:, 6:18, 12:36]), part, srf, matrix)
        np.testing.assert_array_equal(cut, whole[:, 6:18, 12:36])

    def test_with_a_margin_other_tiles_give_the_same(self) -> None:
        srf = response(6)
        taps = np.tile(gaussian_taps(0.3, 2), (6, 1))
        truth, wrong = (image_of(spectra(24 * 90, seed), 90) for seed in (0, 1))
        ratios = [1, 2, 1, 2, 2, 1]
        seen = observed(truth, srf, ratios, taps[0])
        matrix = gain(srf, WAVELENGTHS)
        whole = consistent(wrong, seen, srf, matrix, taps=taps, kernel="cubic")
        part = [(band[:, : 60 // r], r) for band, r in seen]
        cut = consistent(np.ascontiguousarray(wrong[:, :, :60]), part, srf, matrix, taps=taps, kernel="cubic")
        np.testing.assert_allclose(cut[:, :, :30], whole[:, :, :30], atol=1e-5)

    def test_one_grid_given_either_way(self) -> None:
        srf = response(4)
        truth, wrong = (image_of(spectra(40, seed), 8) for seed in (0, 1))
        seen = np.tensordot(srf, truth, axes=1).astype("float32")
        matrix = gain(srf, WAVELENGTHS)
        listed = [(band, 1) for band in seen]
        np.testing.assert_array_equal(consistent(wrong, seen, srf, matrix), consistent(wrong, listed, srf, matrix))
        np.testing.assert_array_equal(residual(wrong, seen, srf), residual(wrong, listed, srf))

    def test_coarse_bands_count_alike_in_their_pixels(self) -> None:
        srf = np.array([[1.0, 0.0], [0.0, 1.0]])
        result = np.zeros((2, 2, 2), "float32")
        seen = [(np.array([[0.3, 0.0], [0.0, 0.0]], "float32"), 1), (np.full((1, 1), 0.4, "float32"), 2)]
        expected = [[np.sqrt((0.09 + 0.16) / 2), np.sqrt(0.08)], [np.sqrt(0.08)] * 2]
        np.testing.assert_allclose(residual(result, seen, srf), expected, rtol=1e-6)
