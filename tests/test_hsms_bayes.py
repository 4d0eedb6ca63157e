"""map_smm and hysure: what they estimate, against closed forms, other solvers and known truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hsms import BANDS, NM, RATIO, RESPONSE, label, pair, rmse, scene
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import shift
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from support import rechunked

import xrs
from xrs.errors import ParameterError
from xrs.kernels import box_taps, decimate, gaussian_taps
from xrs.methods._inversion import Observation, Problem
from xrs.methods.hsms import hysure, map_smm
from xrs.methods.hsms._mixture import Mixture, fit_mixture
from xrs.methods.hsms._prior import learn_prior, neighbour_differences
from xrs.operators.fuse_hsms import fuse_hsms


class TestMixture:
    def test_posterior_is_that_of_bayes(self) -> None:
        rng = np.random.default_rng(0)
        roots = rng.standard_normal((3, 2, 2))
        found = Mixture(
            np.array([0.5, 0.2, 0.3]), rng.standard_normal((3, 2)), roots @ roots.transpose(0, 2, 1) + np.eye(2)
        )
        points = rng.standard_normal((2, 50))
        likely = np.stack(
            [
                share * multivariate_normal(mean, covariance).pdf(points.T)
                for share, mean, covariance in zip(found.shares, found.means, found.covariances, strict=True)
            ]
        )
        np.testing.assert_allclose(found.posterior(points), likely / likely.sum(axis=0), atol=1e-12)
        far = found.posterior(points * 1e4)
        assert np.isfinite(far).all()
        np.testing.assert_allclose(far.sum(axis=0), 1.0)

    def test_finds_what_it_was_drawn_from(self) -> None:
        rng = np.random.default_rng(1)
        means = np.array([[-3.0, 0.0], [2.0, 2.0], [2.0, -3.0]])
        roots = np.array([[[0.8, 0.0], [0.3, 0.5]], [[0.5, 0.0], [0.0, 0.9]], [[0.7, 0.0], [-0.4, 0.6]]])
        which = rng.choice(3, size=6000, p=[0.5, 0.3, 0.2])
        points = means[which].T + np.einsum("nij,nj->in", roots[which], rng.standard_normal((6000, 2)))
        found = fit_mixture(points, 3, seed=0)
        order = np.lexsort((found.means[:, 1], found.means[:, 0] > 0))
        truth = [0, 2, 1]
        np.testing.assert_allclose(found.shares[order], np.array([0.5, 0.3, 0.2])[truth], atol=0.03)
        np.testing.assert_allclose(found.means[order], means[truth], atol=0.1)
        # A constant is added to the variances.
        expected = roots @ roots.transpose(0, 2, 1) + 0.05 * np.eye(2)
        np.testing.assert_allclose(found.covariances[order], expected[truth], atol=0.06)


class TestPrior:
    @staticmethod
    def drawn(count: int = 3000) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Normal spectra, noisy bands of ``ms``, and the mean and covariance of spectra given them."""
        rng = np.random.default_rng(2)
        root = rng.standard_normal((8, 5))
        covariance = root @ root.T
        response = np.abs(rng.standard_normal((3, 8)))
        hs = 4.0 + root @ rng.standard_normal((5, count))
        ms = response @ hs + 0.3 * rng.standard_normal((3, count))
        slopes = covariance @ response.T @ np.linalg.inv(response @ covariance @ response.T + 0.09 * np.eye(3))
        mean = 4.0 + slopes @ (ms - response @ np.full((8, 1), 4.0))
        return hs, ms, mean, covariance - slopes @ response @ covariance

    def test_of_one_normal_class_it_is_the_conditional_distribution(self) -> None:
        hs, ms, mean, covariance = self.drawn()
        prior = learn_prior(hs, ms, None, np.zeros((2, hs.shape[1]), int), classes=1, seed=0)
        matrix, terms = prior.terms(ms.astype("float32").reshape(3, 50, 60))
        found = np.tensordot(matrix, terms, axes=1).reshape(8, -1)
        assert np.sqrt(np.square(found - mean).mean()) < 0.06 * np.sqrt(np.square(hs - mean).mean())
        np.testing.assert_allclose(prior.covariance, covariance, atol=0.06 * covariance.max())

    def test_few_or_equal_pixels(self) -> None:
        hs, ms, *_ = self.drawn(4)
        for many in (hs, np.ones_like(hs)):
            prior = learn_prior(many, ms, None, np.zeros((2, 4), int), classes=6, seed=0)
            assert prior.mixture.shares.size == 1
            assert np.isfinite(np.tensordot(*prior.terms(ms.astype("float32").reshape(3, 2, 2)), axes=1)).all()

    @pytest.mark.parametrize("down", [0.0, 0.5])
    def test_neighbours_count_where_images_do_not_lie_on_each_other(self, down: float) -> None:
        hs, ms, truth = pair(30, seed=3)
        moved = np.stack([shift(band, (down, 0), order=3, mode="nearest") for band in ms.values]).astype("float32")
        low = decimate(np.concatenate([moved, neighbour_differences(moved)]), box_taps(RATIO), RATIO)
        layers = [v.reshape(len(v), -1).astype(np.float64) for v in (hs.values, low[:4], low[4:])]
        place = np.indices((30, 30)).reshape(2, -1)
        prior = learn_prior(*layers, place, classes=3, seed=0)
        assert (prior.around is None) == (down == 0.0)
        cube = ms.copy(data=moved)
        errors = [
            rmse(fuse_hsms(hs, cube, method="map_smm", psf="box", context=context), truth) for context in (False, True)
        ]
        assert errors[1] < 0.7 * errors[0] if down else errors[1] == errors[0]


@pytest.mark.parametrize("name", ["map_smm", "hysure"])
def test_blocks_do_not_depend_on_chunks_and_leave_no_seams(name: str) -> None:
    hs, ms, truth = pair(40, 38, taps=gaussian_taps(0.3, RATIO))
    hs.values[3, 30:34, 10] = np.nan
    ms.values[1, 5:9, 90:99] = np.nan
    params = {"method": name, "psf": gaussian_taps(0.3, RATIO), **({"iterations": 20} if name == "hysure" else {})}
    expected = fuse_hsms(hs, ms, **params)
    for size in ((50, 70), (120, 31)):
        lazy = fuse_hsms(rechunked(hs, 13, 40), rechunked(ms, *size), **params).compute()
        np.testing.assert_array_equal(np.isnan(lazy), np.isnan(expected))
        np.testing.assert_allclose(lazy, expected, rtol=0, atol=1e-5)
    off = np.square(expected - truth).mean("band")
    seam = off[{"y": slice(93, 99)}]
    assert float(seam.mean()) < 2 * float(off.mean())


class TestMapSmm:
    @settings(max_examples=10, deadline=None)
    @given(st.sampled_from([2, 3, 4]), st.booleans(), st.integers(0, 9))
    def test_correction_is_the_posterior_mean(self, ratio: int, gaps: bool, seed: int) -> None:
        rng = np.random.default_rng(seed)
        n, k = 5, 3
        taps = gaussian_taps(0.3, ratio)
        left = rng.standard_normal((k, n, n)).astype("float32")
        seen = rng.random((n, n)) < 0.7 if gaps else None
        left = left if seen is None else left * seen
        variances, noise = np.array([2.0, 0.5, 0.0]), 0.01
        found = map_smm._correction(left, seen, taps, ratio, {"variances": variances, "noise": noise})
        unit = np.eye((n * ratio) ** 2, dtype="float32").reshape(-1, n * ratio, n * ratio)
        seeing = decimate(unit, taps, ratio).reshape(len(unit), -1).T.astype(np.float64)
        seeing = seeing if seen is None else seeing[seen.ravel()]
        for component, variance, data in zip(found, variances, left, strict=True):
            known = data.ravel() if seen is None else data[seen]
            inner = variance * seeing @ seeing.T + noise * np.eye(len(seeing))
            expected = variance * seeing.T @ np.linalg.solve(inner, known)
            np.testing.assert_allclose(
                component.ravel(), expected, atol=2e-3 * np.abs(left).max() * np.sqrt(variance + 1)
            )

    @pytest.mark.parametrize(("register", "least", "most"), [(False, 29.5, 2.7), ("ms", 32.5, 2.0)])
    def test_real_sensors(self, shared_data: Path, register: Any, least: float, most: float) -> None:
        with xr.open_dataset(shared_data / "paris_hyperion_ali.nc") as file:
            truth, ali = (file[name].values.astype("f4") for name in ("hyperion", "ali"))
        offsets = np.arange(-2, 3)
        taps = np.exp(-0.5 * (offsets * 2.35482 / RATIO) ** 2)
        taps /= taps.sum()
        cubes = label(decimate(truth, taps, RATIO), 90.0, np.arange(len(truth)), "H"), label(ali, 30.0, range(9), "M")
        bare = [cube.drop_vars("wavelength") for cube in cubes]
        out = fuse_hsms(*bare, method="map_smm", psf=taps, register=register)
        reference = out.copy(data=truth)
        assert float((20 * np.log10(reference.max(("y", "x")) / xrs.quality.rmse(out, reference))).mean()) > least
        assert float(xrs.quality.sam(out, reference)) < most

    def test_agrees_with_hs(self) -> None:
        hs, ms, _ = pair(16)
        out = fuse_hsms(hs, ms, method="map_smm", psf="box")
        left = decimate(out.values, box_taps(RATIO), RATIO) - hs.values
        # What is left is about the noise of a coarse pixel, 0.001 / 3.
        assert np.sqrt(np.square(left).mean()) < 1e-3

    def test_classes_help_where_spectra_follow_from_ms_class_by_class(self) -> None:
        hs, ms, truth = self.of_two_covers()
        errors = [rmse(fuse_hsms(hs, ms, method="map_smm", psf="box", classes=n), truth) for n in (1, 6)]
        assert errors[1] < 0.6 * errors[0]

    @staticmethod
    def of_two_covers() -> tuple[Any, Any, Any]:
        """Fields of two covers, each with an amount that varies; both change the spectrum in other ways."""
        rng = np.random.default_rng(8)
        cover = np.kron(rng.random((8, 8)) < 0.5, np.ones((9, 9)))
        amount = rng.random((72, 72)).astype("f4")
        shapes = [
            np.linspace(0.2, 0.3, BANDS),
            np.sin(NM / 40) * 0.1,
            0.5 - np.linspace(0, 0.2, BANDS),
            np.cos(NM / 25) * 0.1,
        ]
        low, high = (a[:, None, None] + b[:, None, None] * amount for a, b in (shapes[:2], shapes[2:]))
        truth = np.where(cover > 0, high, low).astype("f4")
        ms = np.einsum("cb,byx->cyx", RESPONSE[:2], truth).astype("f4")
        hs = decimate(truth, box_taps(RATIO), RATIO)
        return label(hs, 30.0, NM, "H"), label(ms, 10.0, RESPONSE[:2] @ NM, "M"), label(truth, 10.0, NM, "H")

    @pytest.mark.parametrize("wrong", [{"classes": 0}, {"components": 1.5}, {"context": 1}, {"samples": 0}], ids=str)
    def test_wrong_parameters(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            fuse_hsms(*pair(4)[:2], method="map_smm", **wrong)


class TestHysure:
    def test_gradient_and_its_transpose(self) -> None:
        rng = np.random.default_rng(0)
        image, flow = rng.standard_normal((3, 5, 7)).astype("f4"), rng.standard_normal((2, 3, 5, 7)).astype("f4")
        one, other = np.vdot(hysure._gradient(image), flow), np.vdot(image, hysure._gradient_adjoint(flow))
        assert one == pytest.approx(other, rel=1e-5)
        constant = np.ones((1, 4, 4), "f4")
        assert not hysure._gradient(constant).any()

    def test_minimum_is_that_of_another_solver(self) -> None:
        rng = np.random.default_rng(1)
        n, p, lambda_phi, mu = 3, 2, 0.05, 0.2
        basis, response = rng.random((6, p)), rng.random((2, 6))
        truth = np.kron(rng.random((p, 3, 3)), np.ones((1, 3, 3))).astype("f4")
        hs = decimate(np.tensordot(basis, truth, 1).astype("f4"), box_taps(RATIO), RATIO)
        ms = (np.tensordot(response @ basis, truth, 1) + 0.05 * rng.standard_normal((2, 9, 9))).astype("f4")
        parts = (
            Observation(hs, None, basis, np.tile(box_taps(RATIO), (6, 1)), RATIO),
            Observation(ms, None, response @ basis, None, 1),
        )
        problem = Problem(parts, np.ones((n * RATIO,) * 2, np.float32), np.full(p, mu))

        def objective(z: np.ndarray, smooth: float = 0.0) -> tuple[float, np.ndarray]:
            """The value, and its gradient."""
            x = z.reshape(p, n * RATIO, n * RATIO)
            down, right = np.diff(x, axis=1, append=x[:, -1:]), np.diff(x, axis=2, append=x[:, :, -1:])
            length = np.sqrt((down**2 + right**2).sum(axis=0) + smooth)
            coarse = x.reshape(p, n, RATIO, n, RATIO).mean(axis=(2, 4))
            near = np.tensordot(basis, coarse, 1) - hs
            fine = np.tensordot(response @ basis, x, 1) - ms
            value = 0.5 * (near**2).sum() + 0.5 * (fine**2).sum() + lambda_phi * length.sum()
            slope = np.tensordot(basis.T, near, 1).repeat(RATIO, 1).repeat(RATIO, 2) / RATIO**2
            slope += np.tensordot((response @ basis).T, fine, 1)
            for axis, flow in ((1, down), (2, right)):
                scaled = lambda_phi * flow / np.maximum(length, 1e-12)
                slope -= np.diff(scaled, axis=axis, prepend=0)
            return float(value), slope.ravel()

        first = np.zeros(truth.shape, np.float32)
        found = hysure._minimise(problem, first, mu, lambda_phi / mu, 500)
        z = np.zeros(truth.size)
        for smooth in (1e-4, 1e-6, 1e-8):
            z = minimize(objective, z, (smooth,), jac=True, method="L-BFGS-B", options={"maxiter": 3000}).x
        assert objective(found.astype(float).ravel())[0] == pytest.approx(objective(z)[0], rel=2e-3)
        np.testing.assert_allclose(found.ravel(), z, atol=0.02)

    def test_total_variation_takes_noise_out_of_fields(self) -> None:
        rng = np.random.default_rng(4)
        fields = np.kron(scene(8, 8, seed=7, noise=0.0), np.ones((1, 6, 6))).astype("f4")
        hs = decimate(fields, box_taps(RATIO), RATIO)
        ms = np.einsum("cb,byx->cyx", RESPONSE, fields) + 0.02 * rng.standard_normal((4, 48, 48))
        truth = label(fields, 10.0, NM, "H")
        cubes = label(hs, 30.0, NM, "H"), label(ms.astype("f4"), 10.0, RESPONSE @ NM, "M")
        params = {"method": "hysure", "psf": "box", "srf": RESPONSE, "components": 4}
        errors = [rmse(fuse_hsms(*cubes, lambda_phi=weight, **params), truth) for weight in (1e-6, 5e-3)]
        assert errors[1] < 0.8 * errors[0]

    @pytest.mark.parametrize("basis", ["vca", "svd"])
    def test_known_subspace_and_response_find_the_truth(self, basis: str) -> None:
        hs, ms, truth = pair(12)
        out = fuse_hsms(hs, ms, method="hysure", psf="box", srf=RESPONSE, components=4, basis=basis, lambda_phi=1e-5)
        assert rmse(out, truth) < 0.01
        assert out.sizes["band"] == BANDS

    @pytest.mark.parametrize("wrong", [{"basis": "pca"}, {"lambda_phi": 0.0}, {"iterations": 0}, {"mu": -1.0}], ids=str)
    def test_wrong_parameters(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            fuse_hsms(*pair(4)[:2], method="hysure", **wrong)
