"""Metrics with a reference against other implementations, closed forms and cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import sewar
import torch
import torchmetrics.functional.image as tm
import xarray as xr
from skimage.metrics import structural_similarity

import xrs.quality as quality
from xrs.errors import BandNotFoundError, GridMismatchError, LayoutError, ParameterError, RadiometryError, TimeAxisError


def cube(values: np.ndarray, keys: list[str] | None = None) -> xr.DataArray:
    values = np.asarray(values, dtype="float32")
    bands, height, width = values.shape
    coords = {"band": keys or [f"B{i + 1}" for i in range(bands)]}
    coords |= {"y": np.arange(height, dtype=float)[::-1], "x": np.arange(width, dtype=float)}
    return xr.DataArray(values, coords=coords)


def scene(bands: int, height: int, width: int, seed: int = 0) -> tuple[xr.DataArray, xr.DataArray]:
    """A smooth image with texture, and a disturbed copy: as reflectance."""
    rng = np.random.default_rng(seed)
    truth = 0.3 + 0.1 * np.cumsum(rng.normal(size=(bands, height, width)), axis=2) / np.sqrt(width)
    estimate = 0.9 * truth + 0.02 + 0.03 * rng.normal(size=truth.shape)
    return cube(np.abs(estimate) + 0.01), cube(np.abs(truth) + 0.01)


def channels_last(array: xr.DataArray) -> np.ndarray:
    return array.values.astype("float64").transpose(1, 2, 0)


def as_batch(array: xr.DataArray) -> torch.Tensor:
    return torch.from_numpy(array.values.astype("float64"))[None]


@pytest.fixture(scope="module")
def pair() -> tuple[xr.DataArray, xr.DataArray]:
    return scene(4, 70, 53)


class TestAgainstOtherImplementations:
    def test_ssim_is_that_of_scikit_image(self, pair):
        estimate, reference = pair
        found = quality.ssim(estimate, reference, data_range=0.8)
        for band in reference.band.values:
            expected = structural_similarity(
                estimate.sel(band=band).values.astype("float64"),
                reference.sel(band=band).values.astype("float64"),
                data_range=0.8,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
            )
            assert float(found.sel(band=band)) == pytest.approx(expected, abs=1e-10)

    def test_ssim_is_that_of_torchmetrics(self, pair):
        # Its mean counts windows over mirrored edges too; five pixels in they are those inside the image.
        _, full = tm.structural_similarity_index_measure(*map(as_batch, pair), data_range=0.8, return_full_image=True)
        expected = full[..., 5:-5, 5:-5].mean()
        assert float(quality.ssim(*pair, data_range=0.8).mean()) == pytest.approx(float(expected), abs=1e-9)

    def test_uiqi_is_ssim_without_constants(self, pair):
        estimate, reference = pair
        found = quality.uiqi(estimate, reference, window=7)
        for band in reference.band.values:
            expected = structural_similarity(
                estimate.sel(band=band).values.astype("float64"),
                reference.sel(band=band).values.astype("float64"),
                win_size=7,
                data_range=1.0,
                K1=0.0,
                K2=0.0,
            )
            assert float(found.sel(band=band)) == pytest.approx(expected, abs=1e-9)

    def test_uiqi_of_even_windows_is_that_of_sewar_without_constants(self, pair):
        expected, _ = sewar.ssim(*(channels_last(c) for c in reversed(pair)), ws=8, K1=1e-9, K2=1e-9, MAX=1.0)
        assert float(quality.uiqi(*pair).mean()) == pytest.approx(expected, abs=1e-9)

    @pytest.mark.parametrize("bands", [1, 2, 3, 4, 8])
    @pytest.mark.parametrize("size", [(64, 64), (70, 53), (33, 97)])
    def test_q2n_is_that_of_sewar(self, bands, size):
        estimate, reference = scene(bands, *size)
        expected = sewar.full_ref.q2n(channels_last(reference), channels_last(estimate))
        assert float(quality.q2n(estimate, reference)) == pytest.approx(expected, abs=1e-9)

    def test_sam_in_radians_is_that_of_torchmetrics_and_sewar(self, pair):
        found = np.radians(float(quality.sam(*pair)))
        assert found == pytest.approx(float(tm.spectral_angle_mapper(*map(as_batch, pair))), abs=1e-9)
        assert found == pytest.approx(sewar.sam(*(channels_last(c) for c in reversed(pair))), abs=1e-9)

    def test_psnr_of_a_band_is_that_of_torchmetrics(self, pair):
        estimate, reference = (c.isel(band=[2]) for c in pair)
        expected = tm.peak_signal_noise_ratio(as_batch(estimate), as_batch(reference), data_range=1.0)
        assert quality.psnr(estimate, reference, peak=1.0).item() == pytest.approx(float(expected), rel=1e-6)

    def test_ergas_is_that_of_sewar_and_torchmetrics(self, pair):
        found = float(quality.ergas(*pair, ratio=4))
        assert found == pytest.approx(sewar.ergas(*(channels_last(c) for c in reversed(pair)), r=1 / 4), rel=1e-9)
        expected = tm.error_relative_global_dimensionless_synthesis(*map(as_batch, pair), ratio=4)
        assert found == pytest.approx(float(expected), rel=1e-6)

    def test_rmse_is_that_of_sewar(self, pair):
        expected = sewar.rmse(*(channels_last(c) for c in reversed(pair)))
        assert float(quality.rmse_global(*pair)) == pytest.approx(expected, rel=1e-9)

    def test_correlation_is_that_of_numpy(self, pair):
        estimate, reference = pair
        expected = [
            np.corrcoef(e.ravel(), r.ravel())[0, 1]
            for e, r in zip(estimate.values.astype("float64"), reference.values.astype("float64"), strict=True)
        ]
        np.testing.assert_allclose(quality.cc(estimate, reference), expected, atol=1e-12)

    def test_scc_is_that_of_scipy_gradients(self, pair):
        from scipy.ndimage import sobel

        def gradients(array: xr.DataArray) -> np.ndarray:
            both = [np.hypot(sobel(b, 0), sobel(b, 1))[1:-1, 1:-1] for b in array.values.astype("float64")]
            return np.stack(both).ravel()

        e, r = map(gradients, pair)
        assert float(quality.scc(*pair)) == pytest.approx(e @ r / np.sqrt(e @ e * (r @ r)), abs=1e-12)


class TestByHand:
    reference = cube([[[1, 2], [3, 4]], [[2, 2], [2, 6]]])
    estimate = cube([[[1, 2], [3, 8]], [[2, 2], [2, 4]]])

    def test_two_by_two(self):
        # Errors: 4 at one of four pixels (MSE 4), 2 at one of four (MSE 1); means of the reference 2.5 and 3.
        np.testing.assert_allclose(quality.rmse(self.estimate, self.reference), [2.0, 1.0])
        assert float(quality.rmse_global(self.estimate, self.reference)) == pytest.approx(np.sqrt(2.5))
        np.testing.assert_allclose(
            quality.sre(self.estimate, self.reference), [10 * np.log10(6.25 / 4), 10 * np.log10(9)]
        )
        assert float(quality.ergas(self.estimate, self.reference, ratio=2)) == pytest.approx(
            50 * np.sqrt((4 / 6.25 + 1 / 9) / 2)
        )
        np.testing.assert_allclose(
            quality.psnr(self.estimate, self.reference, peak=10.0), [10 * np.log10(25), 20.0], rtol=1e-9
        )

    def test_angle_of_one_pixel_among_four(self):
        # Only the last pixel's spectrum turns: (4, 6) against (8, 4).
        angle = np.degrees(np.arccos(56 / np.sqrt(52 * 80)))
        assert float(quality.sam(self.estimate, self.reference)) == pytest.approx(angle / 4, rel=1e-9)

    def test_null_spectra_are_left_out_of_the_angle(self):
        reference, estimate = self.reference.copy(), self.estimate.copy()
        reference[:, 0, 0] = 0.0
        estimate[:, 0, 1] = 0.0
        angle = np.degrees(np.arccos(56 / np.sqrt(52 * 80)))
        assert float(quality.sam(estimate, reference)) == pytest.approx(angle / 2, rel=1e-9)

    def test_band_means_and_global_error_differ(self):
        table = quality.evaluate(self.estimate, self.reference, ratio=4, peak=10.0, metrics=["rmse", "rmse_global"])
        assert float(table.rmse) == pytest.approx(1.5)
        assert float(table.rmse_global) == pytest.approx(np.sqrt(2.5))


class TestClosedForms:
    def test_a_perfect_estimate_is_ideal(self, pair):
        _, truth = pair
        table = quality.evaluate(truth, truth, ratio=4)
        for name, value in table.data_vars.items():
            assert float(value) == pytest.approx(quality.METRICS[name].ideal, abs=1e-12), name

    def test_a_gain_keeps_angle_and_correlation(self, pair):
        _, truth = pair
        table = quality.evaluate(1.5 * truth, truth, ratio=4)
        assert float(table.cc) == pytest.approx(1.0, abs=1e-9)
        assert float(table.scc) == pytest.approx(1.0, abs=1e-9)
        assert float(table.sam) == pytest.approx(0.0, abs=1e-3)
        # 4 g² / (1 + g²)² of every window.
        assert float(table.uiqi) == pytest.approx(4 * 2.25 / 3.25**2, abs=1e-6)

    def test_a_bias_is_the_error(self, pair):
        _, truth = pair
        table = quality.evaluate(truth + np.float32(0.125), truth, ratio=4, peak=2.0)
        assert float(table.rmse) == pytest.approx(0.125, rel=1e-6)
        assert float(table.psnr) == pytest.approx(20 * np.log10(16), rel=1e-6)
        assert float(table.cc) == pytest.approx(1.0, abs=1e-9)

    def test_constant_images_have_the_luminance_term_alone(self):
        one, two = cube(np.full((1, 40, 40), 0.1)), cube(np.full((1, 40, 40), 0.3))
        assert quality.uiqi(one, two).item() == pytest.approx(2 * 0.03 / (0.01 + 0.09), rel=1e-6)
        assert np.isnan(quality.cc(one, two).item())

    def test_ergas_without_a_mean_is_undetermined(self):
        reference = cube([[[1, -1], [-1, 1]]])
        assert np.isnan(float(quality.ergas(reference + 1, reference, ratio=2)))

    def test_q2n_of_one_band_is_the_index_of_standardised_blocks(self):
        estimate, reference = scene(1, 32, 32)
        e, r = (c.values.astype("float64").ravel() for c in (estimate, reference))
        e = (e - r.mean()) / r.std(ddof=1) + 1
        r = (r - r.mean()) / r.std(ddof=1) + 1
        covariance = np.cov(e, r)
        expected = (
            4 * abs(covariance[0, 1]) * e.mean() * r.mean() / (np.trace(covariance) * (e.mean() ** 2 + r.mean() ** 2))
        )
        assert float(quality.q2n(estimate, reference)) == pytest.approx(expected, abs=1e-10)

    def test_q2n_of_four_bands_by_hamilton_products(self):
        estimate, reference = scene(4, 32, 32)
        e, r = (c.values.astype("float64").reshape(4, -1) for c in (estimate, reference))
        mean, std = r.mean(1, keepdims=True), r.std(1, ddof=1, keepdims=True)
        e, r = (e - mean) / std + 1, (r - mean) / std + 1
        n = e.shape[1]
        total = np.zeros(4)
        for p in range(n):
            total += hamilton(r[:, p], conjugate(e[:, p]))
        covariance = n / (n - 1) * (total / n - hamilton(r.mean(1), conjugate(e.mean(1))))
        spread = e.var(axis=1, ddof=1).sum() + r.var(axis=1, ddof=1).sum()
        me, mr = np.linalg.norm(e.mean(1)), np.linalg.norm(r.mean(1))
        expected = np.linalg.norm(covariance) * 2 / spread * 2 * me * mr / (me**2 + mr**2)
        assert float(quality.q2n(estimate, reference)) == pytest.approx(expected, abs=1e-10)


def hamilton(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    a, b, c, d = p
    w, x, y, z = q
    return np.array(
        [
            a * w - b * x - c * y - d * z,
            a * x + b * w + c * z - d * y,
            a * y - b * z + c * w + d * x,
            a * z + b * y - c * x + d * w,
        ]
    )


def conjugate(q: np.ndarray) -> np.ndarray:
    return q * np.array([1, -1, -1, -1])


class TestShapes:
    def test_values_per_band_and_date(self, pair):
        estimate, reference = (xr.concat([c, c + 0.1], "time").assign_coords(time=[0, 1]) for c in pair)
        found = quality.cc(estimate, reference)
        assert found.dims == ("time", "band")
        assert found.dtype == "float64"
        assert list(found.band.values) == list(reference.band.values)
        assert quality.sam(estimate, reference).dims == ("time",)
        table = quality.evaluate(estimate, reference, ratio=4)
        assert all(v.dims == ("time",) for v in table.data_vars.values())

    def test_a_single_band_without_the_dim(self, pair):
        estimate, reference = (c.isel(band=0) for c in pair)
        table = quality.evaluate(estimate, reference, ratio=4)
        assert float(table.rmse) == pytest.approx(float(quality.rmse(*pair)[0]))

    def test_a_dataset_is_its_bands(self, pair):
        datasets = [c.to_dataset("band") for c in pair]
        xr.testing.assert_allclose(quality.rmse(*datasets), quality.rmse(*pair))

    def test_bands_are_matched_by_key(self, pair):
        estimate, reference = pair
        turned = estimate.isel(band=[3, 1, 0, 2])
        xr.testing.assert_allclose(quality.rmse(turned, reference), quality.rmse(estimate, reference))

    def test_a_border_is_left_out(self, pair):
        estimate, reference = pair
        inner = {"y": slice(3, -3), "x": slice(3, -3)}
        expected = quality.evaluate(estimate.isel(inner), reference.isel(inner), ratio=4)
        found = quality.evaluate(estimate, reference, ratio=4, border=3)
        xr.testing.assert_allclose(found, expected)

    def test_scenes_smaller_than_a_window_are_undetermined(self):
        estimate, reference = scene(2, 5, 5)
        table = quality.evaluate(estimate, reference, ratio=4)
        assert np.isnan(float(table.ssim))
        assert np.isnan(float(table.uiqi))
        assert np.isfinite(float(table.q2n))
        assert np.isfinite(float(table.rmse))

    def test_the_catalogue_lists_every_function(self):
        names = quality.list_metrics()["name"]
        assert set(names) == set(quality.METRICS)
        assert all(callable(getattr(quality, name)) for name in names)


class TestWrongInput:
    def test_other_grid(self, pair):
        estimate, reference = pair
        with pytest.raises(GridMismatchError, match="estimate is on"):
            quality.rmse(estimate.assign_coords(x=estimate.x + 0.5), reference)

    def test_other_bands(self, pair):
        estimate, reference = pair
        with pytest.raises(BandNotFoundError, match="B3"):
            quality.rmse(estimate.isel(band=[0, 1]), reference)

    def test_other_dates(self, pair):
        one, two = (
            c.expand_dims(time=[np.datetime64(d, "ns")])
            for c, d in zip(pair, ("2020-01-01", "2020-01-02"), strict=True)
        )
        with pytest.raises(TimeAxisError, match="dates"):
            quality.rmse(one, two)
        with pytest.raises(LayoutError, match="time"):
            quality.rmse(one, pair[1])

    @pytest.mark.parametrize("ratio", [0.25, 1, 0, 2.5, -4, True])
    def test_ratio_must_be_an_integer_above_one(self, pair, ratio):
        with pytest.raises(ParameterError, match="low GSD over high GSD"):
            quality.ergas(*pair, ratio=ratio)

    def test_raw_numbers_need_a_peak(self, pair):
        estimate, reference = (c * 10000 for c in pair)
        with pytest.raises(RadiometryError, match="peak=10000"):
            quality.evaluate(estimate, reference, ratio=4)
        assert np.isfinite(float(quality.evaluate(estimate, reference, ratio=4, peak=10000.0).psnr))
        assert "psnr" not in quality.evaluate(estimate, reference, ratio=4, metrics=["cc", "rmse"])

    @pytest.mark.parametrize("peak", [0.0, -1.0, np.nan, np.inf])
    def test_peak_must_be_positive(self, pair, peak):
        with pytest.raises(ParameterError, match="peak"):
            quality.psnr(*pair, peak=peak)

    def test_unknown_metric(self, pair):
        with pytest.raises(ParameterError, match="ergas"):
            quality.evaluate(*pair, ratio=4, metrics=["ergass"])

    @pytest.mark.parametrize("border", [-1, 30, 1.5])
    def test_border_must_leave_pixels(self, pair, border):
        with pytest.raises(ParameterError, match="border"):
            quality.evaluate(*pair, ratio=4, border=border)

    @pytest.mark.parametrize("window", [1, 0, 7.5])
    def test_window_must_be_an_integer(self, pair, window):
        with pytest.raises(ParameterError, match="window"):
            quality.uiqi(*pair, window=window)
