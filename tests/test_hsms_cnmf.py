"""Coupled non-negative matrix factorisation and its parts, against closed forms, SciPy, and real sensors."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hsms import BANDS, RATIO, RESPONSE, label, pair, rmse, spectra
from scipy.optimize import nnls
from support import rechunked

from xrs.kernels import decimate, gaussian_taps, upsample
from xrs.methods.base import Tile
from xrs.methods.hsms._sample import draw, interpolation, merge_samples, point_spread
from xrs.methods.hsms._vca import vertices
from xrs.methods.hsms.cnmf import _alternate, _follow
from xrs.operators.fuse_hsms import fuse_hsms
from xrs.quality import sam

_fused = partial(fuse_hsms, method="cnmf")


def mixtures(pixels: int = 400, materials: int = 4, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """Spectra (band, pixel), the first of which are the materials' own; brightness varies with illumination."""
    rng = np.random.default_rng(seed)
    share = np.concatenate([np.eye(materials), rng.dirichlet(np.full(materials, 0.8), pixels - materials).T], axis=1)
    return spectra(materials) @ share + noise * rng.standard_normal((BANDS, pixels))


def whole_scene(
    hs: np.ndarray, ms: np.ndarray, response: np.ndarray, start: np.ndarray, *, iterations: int, outer: int
) -> np.ndarray:
    """The published sequence of loops on whole images seen through block means; ``start`` are the first spectra."""
    scale, c, count = float(hs.max()), len(ms), start.shape[1]
    v, m = (image.reshape(len(image), -1) / scale for image in (hs, ms))
    delta = 2 * np.sqrt(m.mean() / 0.7455) / c**3

    def abundances(w: np.ndarray, values: np.ndarray, h: np.ndarray) -> np.ndarray:
        w, values = (np.vstack([a, np.full((1, a.shape[1]), delta)]) for a in (w, values))
        return h * (w.T @ values) / (w.T @ w @ h)

    def images(h: np.ndarray, like: np.ndarray) -> np.ndarray:
        return h.reshape(count, *like.shape[1:]).astype("float32")

    def loops(w: np.ndarray, values: np.ndarray, h: np.ndarray, wait: int, free: bool) -> tuple[np.ndarray, np.ndarray]:
        for _ in range(wait):
            h = abundances(w, values, h)
        for _ in range(iterations):
            h = abundances(w, values, h)
            w = w * (values @ h.T) / (w @ h @ h.T) if free else w
        return w, h

    w, h = loops(start / scale, v, np.full((count, v.shape[1]), 1 / count), 3 * iterations, True)
    fine = upsample(images(h, hs), RATIO, "bilinear").reshape(count, -1)
    for turn in range(outer + 1):
        if turn:
            h = decimate(images(fine, ms), np.full(RATIO, 1 / RATIO), RATIO).reshape(count, -1)
            for _ in range(iterations):
                w = w * (v @ h.T) / (w @ h @ h.T)
            for _ in range(iterations):
                h = abundances(w, v, h) if c > 3 else h
                w = w * (v @ h.T) / (w @ h @ h.T)
        fine = loops(response @ w, m, fine, iterations, c > 3)[1]
    return (scale * w @ fine).reshape(len(hs), *ms.shape[1:])


def matched(hs: np.ndarray, ms: np.ndarray, response: np.ndarray) -> np.ndarray:
    """``ms`` with gain and offset of a line fitted to ``response @ hs`` taken out."""
    low = decimate(ms, np.full(RATIO, 1 / RATIO), RATIO)
    made = np.einsum("cb,byx->cyx", response, hs)
    lines = [
        np.polyfit(m.ravel().astype(float), one.ravel().astype(float), 1) for m, one in zip(made, low, strict=True)
    ]
    return np.stack([(band - offset) / gain for band, (gain, offset) in zip(ms, lines, strict=True)])


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
        found = _follow(w[None], values, np.full((4, 30), 0.25, "float32"), weight, 20_000)
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
            w, h, _ = _alternate(w, values, h, np.float32(0), 1)
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

    def test_operators_between_pixels_drawn_are_those_of_images(self) -> None:
        height, width, ratio = 9, 7, 4
        rng = np.random.default_rng(0)
        order = rng.permutation(height * width)
        place = np.indices((height, width)).reshape(2, -1)[:, order]
        taps = gaussian_taps(0.3, ratio)
        coarse = rng.random((2, height, width), dtype="float32")
        fine = interpolation(place, ratio) @ coarse[:, *place].T
        image = np.empty((2, height, ratio, width, ratio), "float32")
        image[:, place[0], :, place[1]] = fine.T.reshape(2, -1, ratio, ratio).transpose(1, 0, 2, 3)
        image = image.reshape(2, height * ratio, width * ratio)
        np.testing.assert_allclose(image, upsample(coarse, ratio, "bilinear"), atol=1e-6)
        seen = (point_spread(place, taps, ratio) @ fine).T
        reach = 2
        inner = (place >= reach).all(axis=0) & (place[0] < height - reach) & (place[1] < width - reach)
        np.testing.assert_allclose(seen[:, inner], decimate(image, taps, ratio)[:, *place[:, inner]], atol=1e-6)
        np.testing.assert_allclose(point_spread(place, taps, ratio).sum(axis=1), 1.0, atol=1e-5)


class TestFusion:
    @pytest.mark.parametrize("count", [2, 4])
    def test_is_the_factorisation_of_the_whole_scene(self, count: int) -> None:
        """Against the whole scene's loops on images, in double precision."""
        hs, ms, _ = pair(9)
        ms, response = ms.isel(band=slice(count)), RESPONSE[:count]
        given = {"endmembers": 5, "iterations": 25, "outer": 2}
        out = _fused(hs, ms, psf="box", srf=response, **given)
        tile = TestSample.tile(hs.values, ms.values)
        sample = draw(tile, {"ms": np.full((count, RATIO), 1 / RATIO)}, 100, 0)
        start = sample.hs.astype(float)[:, vertices(sample.hs.astype(float), 5, 0)]
        expected = whole_scene(
            hs.values, matched(hs.values, ms.values, response), response, start, iterations=25, outer=2
        )
        assert float(np.sqrt(((out.values - expected) ** 2).mean())) < 1e-5

    def test_recovers_a_scene_of_as_many_materials_as_bands(self) -> None:
        hs, ms, truth = pair(20)
        error = rmse(_fused(hs, ms, psf="box", srf=RESPONSE, endmembers=8, iterations=300), truth)
        assert error < 0.01
        assert error < 0.15 * rmse(truth.copy(data=hs.values.repeat(RATIO, 1).repeat(RATIO, 2)), truth)

    def test_few_of_many_pixels_drawn(self) -> None:
        hs, ms, truth = pair(20)
        quick = {"psf": "box", "samples": 60, "endmembers": 8, "iterations": 40}
        expected = _fused(hs, ms, **quick)
        lazy = _fused(rechunked(hs, 7, 20), rechunked(ms, 60, (1, 31, 28)), **quick).compute()
        np.testing.assert_allclose(lazy, expected, atol=1e-5)
        everything = _fused(hs, ms, **(quick | {"samples": 400}))
        assert rmse(expected, truth) < 1.5 * rmse(everything, truth)
        other = _fused(hs, ms, **quick, seed=1)
        assert 0 < rmse(other, expected) < rmse(expected, truth)

    def test_result_is_not_negative_and_keeps_the_spectra(self) -> None:
        hs, ms, _ = pair(12)
        out = _fused(hs, ms, psf="box")
        assert float(out.min()) >= 0
        again = decimate(out.values, np.full(RATIO, 1 / RATIO), RATIO)
        assert float(np.sqrt(((again - hs.values) ** 2).mean())) < 0.01

    def test_one_fine_band(self) -> None:
        hs, ms, truth = pair(12)
        out = _fused(hs, ms.mean("band", keepdims=True).astype("float32").assign_coords(band=["pan"]), psf="box")
        assert rmse(out, truth) < rmse(truth.copy(data=hs.values.repeat(RATIO, 1).repeat(RATIO, 2)), truth)

    def test_real_sensors(self, shared_data: Path) -> None:
        """Hyperion and ALI over Paris: the published code gives 28.43 dB and 2.67 degrees here."""
        with xr.open_dataset(shared_data / "paris_hyperion_ali.nc") as file:
            truth, ali = file["hyperion"].values, file["ali"].values
        taps = np.exp(-0.5 * (np.arange(-2, 3) / (3 / 2.35482)) ** 2)
        taps /= taps.sum()
        hs = label(decimate(truth, taps, 3), 90.0, np.full(128, np.nan), "H")
        out = _fused(hs, label(ali, 30.0, np.full(9, np.nan), "A"), psf=taps)
        errors = ((out.values - truth) ** 2).mean(axis=(1, 2), dtype=np.float64)
        assert (10 * np.log10(truth.max(axis=(1, 2)) ** 2 / errors)).mean() >= 28.4
        assert float(sam(out, out.copy(data=truth))) <= 2.7
