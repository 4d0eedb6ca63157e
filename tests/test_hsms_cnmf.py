"""Coupled non-negative matrix factorisation and its parts, against closed forms, SciPy, and real sensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hsms import BANDS, RATIO, RESPONSE, label, pair, rmse, spectra
from scipy.optimize import nnls
from support import rechunked

from xrs.kernels import decimate
from xrs.methods.base import Tile
from xrs.methods.hsms._sample import draw, merge_samples
from xrs.methods.hsms._vca import vertices
from xrs.methods.hsms.cnmf import _abundances, _alternate
from xrs.operators.fuse_hsms import fuse_hsms
from xrs.quality import sam


def mixtures(pixels: int = 400, materials: int = 4, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """Spectra (band, pixel), the first of which are the materials' own; brightness varies with illumination."""
    rng = np.random.default_rng(seed)
    share = np.concatenate([np.eye(materials), rng.dirichlet(np.full(materials, 0.8), pixels - materials).T], axis=1)
    return spectra(materials) @ share + noise * rng.standard_normal((BANDS, pixels))


class TestVertices:
    @pytest.mark.parametrize("seed", range(5))
    def test_finds_the_pure_pixels(self, seed: int) -> None:
        assert sorted(vertices(mixtures(), 4, seed)) == [0, 1, 2, 3]

    @pytest.mark.parametrize("noise", [1e-4, 3e-3, 3e-2])
    def test_finds_nearly_pure_spectra_under_noise(self, noise: float) -> None:
        seen = mixtures(noise=noise)
        found = seen[:, vertices(seen, 4, 0)]
        distance = np.abs(found[:, :, None] - spectra()[:, None]).mean(axis=0)
        assert sorted(distance.argmin(axis=1)) == [0, 1, 2, 3]
        assert distance.min(axis=1).max() < 3 * noise + 0.01

    def test_brightness_does_not_matter_without_noise(self) -> None:
        shade = np.random.default_rng(1).uniform(0.5, 1.0, 400)
        assert sorted(vertices(mixtures() * shade, 4, 0)) == [0, 1, 2, 3]

    def test_no_spectra_to_tell_apart(self) -> None:
        assert len(vertices(np.full((6, 10), 0.3), 4, 0)) == 4
        assert len(vertices(np.zeros((6, 3)), 3, 0)) == 3


class TestUpdates:
    def test_abundances_tend_to_non_negative_least_squares(self) -> None:
        rng = np.random.default_rng(0)
        w = spectra().astype("float32")
        values = (
            (w @ rng.dirichlet(np.ones(4), 30).T + 0.02 * rng.standard_normal((BANDS, 30))).clip(0).astype("float32")
        )
        weight = np.float32(0.5)
        found = _abundances(w, values, np.full((4, 30), 0.25, "float32"), weight, 20_000)
        augmented = np.vstack([w, np.full((1, 4), weight)]).astype(float)
        expected = np.stack([nnls(augmented, np.append(v, weight))[0] for v in values.T.astype(float)], axis=1)
        np.testing.assert_allclose(found, expected, atol=2e-3)

    def test_misfit_never_grows_and_zeros_stay_finite(self) -> None:
        rng = np.random.default_rng(0)
        values = mixtures(200).clip(0).astype("float32")
        values[:, :5] = 0.0
        w, h = rng.random((BANDS, 6), dtype="float32"), rng.random((6, 200), dtype="float32")
        w[:, 0] = 0.0
        errors = []
        for _ in range(400):
            w, h = _alternate(w, values, h, np.float32(0), 1)
            errors.append(float(((values - w @ h) ** 2).sum()))
        assert np.isfinite(errors).all()
        assert (np.diff(errors) <= 1e-5 * errors[0]).all()
        assert errors[-1] < 0.05 * errors[0]


class TestSample:
    @staticmethod
    def tile(hs: np.ndarray, ms: np.ndarray, origin: tuple[int, int] = (0, 0)) -> Tile:
        return Tile({"hs": hs, "ms": ms}, {"hs": None, "ms": None}, {"hs": 1, "ms": RATIO}, 0, origin)

    def test_tiles_do_not_matter(self) -> None:
        hs, ms, _ = pair(10)
        psf = {"hs": np.ones((BANDS, 1)), "ms": np.full((4, RATIO), 1 / RATIO)}
        whole = draw(self.tile(hs.values, ms.values), psf, 40, 3)
        parts = [
            draw(self.tile(hs.values[:, a:b], ms.values[:, a * RATIO : b * RATIO], (a, 0)), psf, 40, 3)
            for a, b in ((6, 10), (0, 1), (1, 6))
        ]
        merged = merge_samples(merge_samples(parts[0], parts[1]), parts[2])
        for name in ("rank", "place", "hs", "ms"):
            np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name))
        assert whole.rank.size == 40
        assert len(set(map(tuple, whole.place.T))) == 40

    def test_fine_pixels_lie_within_the_coarse_one(self) -> None:
        hs, ms, _ = pair(6)
        psf = {"hs": np.ones((BANDS, 1)), "ms": np.full((4, RATIO), 1 / RATIO)}
        sample = draw(self.tile(hs.values, ms.values), psf, 100, 0)
        assert sample.rank.size == 36
        low = decimate(ms.values, np.full(RATIO, 1 / RATIO), RATIO)
        np.testing.assert_allclose(sample.ms.mean(axis=2), low[:, *sample.place], atol=1e-6)
        np.testing.assert_array_equal(sample.hs, hs.values[:, *sample.place])


class TestFusion:
    def test_recovers_a_scene_of_as_many_materials_as_bands(self) -> None:
        hs, ms, truth = pair(20)
        error = rmse(fuse_hsms(hs, ms, psf="box", srf=RESPONSE, endmembers=8, abundance_iterations=600), truth)
        assert error < 0.01
        assert error < 0.15 * rmse(truth.copy(data=hs.values.repeat(RATIO, 1).repeat(RATIO, 2)), truth)

    def test_few_of_many_pixels_drawn(self) -> None:
        hs, ms, truth = pair(20)
        quick = {"psf": "box", "samples": 60, "endmembers": 8, "iterations": 40, "abundance_iterations": 60}
        expected = fuse_hsms(hs, ms, **quick)
        lazy = fuse_hsms(rechunked(hs, 7, 20), rechunked(ms, 60, (1, 31, 28)), **quick).compute()
        np.testing.assert_allclose(lazy, expected, atol=1e-5)
        everything = fuse_hsms(hs, ms, **(quick | {"samples": 400}))
        assert rmse(expected, truth) < 1.5 * rmse(everything, truth)
        other = fuse_hsms(hs, ms, **quick, seed=1)
        assert 0 < rmse(other, expected) < rmse(expected, truth)

    def test_result_is_not_negative_and_keeps_the_spectra(self) -> None:
        hs, ms, _ = pair(12)
        out = fuse_hsms(hs, ms, psf="box")
        assert float(out.min()) >= 0
        again = decimate(out.values, np.full(RATIO, 1 / RATIO), RATIO)
        assert float(np.sqrt(((again - hs.values) ** 2).mean())) < 0.01

    def test_one_fine_band(self) -> None:
        hs, ms, truth = pair(12)
        out = fuse_hsms(hs, ms.mean("band", keepdims=True).astype("float32").assign_coords(band=["pan"]), psf="box")
        assert rmse(out, truth) < rmse(truth.copy(data=hs.values.repeat(RATIO, 1).repeat(RATIO, 2)), truth)

    def test_real_sensors(self, shared_data: Path) -> None:
        """Hyperion and ALI over Paris: the published code gives 28.43 dB and 2.67 degrees here."""
        with xr.open_dataset(shared_data / "paris_hyperion_ali.nc") as file:
            truth, ali = file["hyperion"].values, file["ali"].values
        taps = np.exp(-0.5 * (np.arange(-2, 3) / (3 / 2.35482)) ** 2)
        taps /= taps.sum()
        hs = label(decimate(truth, taps, 3), 90.0, np.full(128, np.nan), "H")
        out = fuse_hsms(hs, label(ali, 30.0, np.full(9, np.nan), "A"), psf=taps)
        errors = ((out.values - truth) ** 2).mean(axis=(1, 2), dtype=np.float64)
        assert (10 * np.log10(truth.max(axis=(1, 2)) ** 2 / errors)).mean() >= 28.4
        assert float(sam(out, out.copy(data=truth))) <= 2.7
