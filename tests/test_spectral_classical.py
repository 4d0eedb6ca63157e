"""Classical spectral super-resolution against scikit-learn, closed forms and a real hyperspectral scene."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given as examples_of
from hypothesis import settings
from hypothesis import strategies as st
from made_spectra import (
    NAMES,
    WAVELENGTHS,
    applied,
    common_fit,
    image_of,
    largest_misfit,
    learned,
    pairs,
    predicted,
    response,
    spectra,
    wide,
)
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import Ridge, RidgeCV, orthogonal_mp
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

import xrs.quality as quality
from xrs.errors import ParameterError
from xrs.methods import get_method, resolve_params
from xrs.methods.spectral._projection import consistent, gain
from xrs.methods.spectral._sparse import learn_dictionary, pursue, residual_of
from xrs.sensors import get_sensor, spectral_response


class TestRidge:
    @pytest.mark.parametrize("degree", [1, 2, 3])
    def test_is_that_of_scikit_learn(self, degree: int) -> None:
        given, wanted = pairs()
        found = predicted("ridge", given, wanted, given, degree=degree, penalty=2.5, reach=1)
        model = make_pipeline(
            StandardScaler(), PolynomialFeatures(degree, include_bias=False), StandardScaler(), Ridge(2.5)
        )
        x, y = wide(given, wanted)
        np.testing.assert_allclose(found, model.fit(x, y).predict(x), atol=2e-6)

    def test_new_spectra_within_the_examples_too(self) -> None:
        given, wanted = pairs()
        new = (0.7 * given[:100] + 0.3 * given.mean(axis=0)).astype("float32")
        found = predicted("ridge", given, wanted, new, degree=2, penalty=1.0, reach=1)
        model = make_pipeline(StandardScaler(), PolynomialFeatures(2, include_bias=False), StandardScaler(), Ridge(1.0))
        x, y = wide(given, wanted)
        np.testing.assert_allclose(found, model.fit(x, y).predict(new.astype("float64")), atol=2e-6)

    @pytest.mark.parametrize("degree", [1, 2])
    def test_penalty_has_the_least_score_by_the_hat_matrix(self, degree: int) -> None:
        given, wanted = pairs(120)
        wanted = wanted + np.random.default_rng(5).normal(0, 0.05, wanted.shape).astype("float32")
        fit, _ = learned("ridge", given, wanted, degree=degree, reach=1)
        x, y = wide(given, wanted)
        build = make_pipeline(StandardScaler(), PolynomialFeatures(degree, include_bias=False), StandardScaler())
        features, target = build.fit_transform(x), y - y.mean(axis=0)

        def score(penalty: float) -> float:
            inner = np.linalg.inv(features.T @ features + penalty * np.eye(features.shape[1]))
            hat = features @ inner @ features.T + 1 / len(x)
            return float(((target - hat @ target) ** 2).sum() / (len(x) - np.trace(hat)) ** 2)

        best = min(score(p) for p in np.logspace(-6, 4, 400))
        assert score(fit.penalty) <= best * 1.001
        # Candidates are a quarter of a decade apart: those beside the chosen one are no better.
        assert score(fit.penalty) <= min(score(fit.penalty * 10**0.25), score(fit.penalty / 10**0.25)) + 1e-12

    def test_penalty_is_near_that_of_leaving_one_out(self) -> None:
        given, wanted = pairs(150)
        wanted = wanted + np.random.default_rng(5).normal(0, 0.05, wanted.shape).astype("float32")
        fit, _ = learned("ridge", given, wanted, reach=1)
        x, y = wide(given, wanted)
        chosen = RidgeCV(np.logspace(-4, 4, 60)).fit(StandardScaler().fit_transform(x), y).alpha_
        assert abs(np.log10(fit.penalty / chosen)) < 0.5

    @pytest.mark.parametrize("degree", [2, 3])
    def test_beyond_the_examples_it_goes_on_as_a_straight_line(self, degree: int) -> None:
        given, wanted = pairs()
        middle = given.mean(axis=0, dtype="float64")
        way = given.std(axis=0, dtype="float64") * np.array([1, -1, 2, 0.5, 1, -2])
        line = (middle + np.linspace(20, 60, 9)[:, None] * way).astype("float32")
        found = predicted("ridge", given, wanted, line, degree=degree).astype("float64")
        bend = np.abs(np.diff(found, 2, axis=0)).max()
        assert bend < 1e-4 * np.abs(np.diff(found, axis=0)).max()

    def test_a_polynomial_is_met_exactly(self) -> None:
        rng = np.random.default_rng(0)
        given = rng.uniform(0.05, 0.5, (400, 3)).astype("float32")
        b, g, r = given.T.astype("float64")
        wanted = np.stack([b * g - r**2, 0.2 + b - 3 * g * r, r], axis=1).astype("float32")
        found = predicted("ridge", given, wanted, given, degree=2, penalty=0.0, reach=1)
        np.testing.assert_allclose(found, wanted, atol=2e-6)

    def test_a_band_that_is_constant_or_twice_there_does_no_harm(self) -> None:
        given, wanted = pairs()
        more = np.column_stack([given, given[:, :1], np.full(len(given), 0.25, "float32")])
        for degree in (1, 2):
            found = predicted("ridge", more, wanted, more, degree=degree, penalty=0.0, reach=1)
            expected = predicted("ridge", given, wanted, given, degree=degree, penalty=0.0, reach=1)
            np.testing.assert_allclose(found, expected, atol=1e-4)


class TestPartialLeastSquares:
    @pytest.mark.parametrize("components", [1, 2, 4, 6])
    def test_is_that_of_scikit_learn(self, components: int) -> None:
        given, wanted = pairs()
        found = predicted("pls", given, wanted, given, components=components)
        x, y = wide(given, wanted)
        expected = PLSRegression(components, tol=1e-15, max_iter=10000).fit(x, y).predict(x)
        np.testing.assert_allclose(found, expected, atol=2e-6)

    def test_number_of_components_is_that_of_least_cross_validated_error(self) -> None:
        given, wanted = pairs(120)
        rng = np.random.default_rng(2)
        given = np.column_stack([given, rng.normal(0.3, 0.1, (120, 6)).astype("float32")])
        wanted = wanted + rng.normal(0, 0.1, wanted.shape).astype("float32")
        fit, _ = learned("pls", given, wanted)
        x, y = (StandardScaler().fit_transform(a) for a in wide(given, wanted))
        errors = []
        for components in range(1, 13):
            runs = [
                cross_val_predict(
                    PLSRegression(components, scale=False), x, y, cv=KFold(5, shuffle=True, random_state=s)
                )
                for s in range(3)
            ]
            errors.append(np.mean([((run - y) ** 2).mean() for run in runs]))
        # Other parts are left out here, so the errors are the same but for chance.
        assert errors[fit.components - 1] <= 1.01 * min(errors)
        assert fit.components < 12

    def test_all_components_are_least_squares(self) -> None:
        given, wanted = pairs()
        found = predicted("pls", given, wanted, given, components=99)
        x = np.column_stack([given.astype("float64"), np.ones(len(given))])
        expected = x @ np.linalg.lstsq(x, wanted.astype("float64"), rcond=None)[0]
        np.testing.assert_allclose(found, expected, atol=2e-6)

    def test_the_seed_alone_decides(self) -> None:
        given, wanted = pairs(80)
        fits = [learned("pls", given, wanted, seed=3)[0] for _ in range(2)]
        np.testing.assert_array_equal(fits[0].weights, fits[1].weights)


class TestLibrary:
    @pytest.mark.parametrize("neighbours", [1, 3, 8])
    def test_neighbours_are_those_of_scikit_learn(self, neighbours: int) -> None:
        given, wanted = pairs()
        new, _ = pairs(200, seed=9)
        found = predicted("library", given, wanted, new, neighbours=neighbours, floor=1e-6)
        x, y = wide(given, wanted)
        model = KNeighborsRegressor(
            neighbours,
            weights=lambda d: 1 / d**2,
            metric="mahalanobis",
            metric_params={"VI": np.linalg.inv(np.cov(x.T))},
            algorithm="brute",
        )
        np.testing.assert_allclose(found, model.fit(x, y).predict(new.astype("float64")), atol=1e-5)

    def test_a_spectrum_of_the_library_comes_back(self) -> None:
        given, wanted = pairs()
        np.testing.assert_allclose(predicted("library", given, wanted, given), wanted, atol=1e-6)

    def test_a_wide_floor_leaves_plain_distance(self) -> None:
        # Whitening without effect: nearest by the bands as they are, but for the directions' spread.
        given, wanted = pairs(bands=1)
        found = predicted("library", given, wanted, given[:50] + np.float32(1e-4), neighbours=1)
        nearest = np.abs(given[:50] + np.float32(1e-4) - given.T).argmin(axis=1)
        np.testing.assert_array_equal(found, wanted[nearest])


class TestDictionary:
    @pytest.mark.parametrize("sparsity", [1, 2, 4, 8])
    def test_pursuit_is_that_of_scikit_learn(self, sparsity: int) -> None:
        rng = np.random.default_rng(0)
        atoms = rng.standard_normal((40, 8))
        atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
        signals = rng.standard_normal((200, 8))
        codes = pursue(signals, atoms, sparsity)
        dense = np.zeros((200, 40))
        np.put_along_axis(dense, codes.index.astype(int), codes.value, axis=1)
        expected = orthogonal_mp(atoms.T, signals.T, n_nonzero_coefs=sparsity).T
        np.testing.assert_allclose(dense, expected, atol=1e-9)
        np.testing.assert_allclose(codes.error, ((signals - expected @ atoms) ** 2).sum(axis=1), atol=1e-9)

    def test_pursuit_of_nothing_and_of_atoms_twice_there(self) -> None:
        atoms = np.eye(3)[[0, 0, 1]]
        codes = pursue(np.array([[0.0, 0, 0], [2, 0, 0], [3, 1, 5]]), atoms, 3)
        assert (codes.index[0] == -1).all()
        assert codes.value[1].sum() == 2
        assert codes.error.tolist() == [0, 0, 25]

    def test_the_error_never_rises(self) -> None:
        wanted = spectra(800)
        totals = [learn_dictionary(wanted, 24, 3, rounds, seed=1)[1].error.sum() for rounds in range(8)]
        assert all(later <= earlier for earlier, later in pairwise(totals))
        assert totals[-1] < 0.7 * totals[0]

    def test_atoms_have_length_one_and_errors_are_those_of_the_sums(self) -> None:
        wanted = spectra(300)
        dictionary, codes = learn_dictionary(wanted, 20, 3, 4, seed=0)
        np.testing.assert_allclose(np.linalg.norm(dictionary, axis=1), 1, atol=1e-12)
        left = residual_of(wanted, dictionary, codes)
        np.testing.assert_allclose((left**2).sum(axis=1), codes.error, atol=1e-10)

    def test_a_dictionary_that_made_the_spectra_is_found(self) -> None:
        rng = np.random.default_rng(0)
        truth = rng.standard_normal((20, 16))
        truth /= np.linalg.norm(truth, axis=1, keepdims=True)
        weights = np.zeros((1500, 20))
        for row in weights:
            row[rng.choice(20, 3, replace=False)] = rng.standard_normal(3)
        dictionary, _ = learn_dictionary(weights @ truth, 20, 3, 50, seed=0)
        # The measure of the paper that gave K-SVD: atoms found but for an angle of cosine 0.99; it found 92 % and more.
        assert (np.abs(truth @ dictionary.T).max(axis=1) > 0.99).mean() >= 0.9

    def test_sums_of_few_materials_come_back(self) -> None:
        materials = spectra(5)
        rng = np.random.default_rng(4)
        shares = np.where(rng.random((900, 5)) < 0.4, rng.random((900, 5)), 0) + 1e-9
        wanted = (shares @ materials).astype("float32")
        srf = response(6)
        given = (wanted @ srf.T).astype("float32")
        method = get_method("dictionary", "spectral")
        params = resolve_params(method, {"atoms": 40, "sparsity": 5})
        for known in (srf, None):
            fit = method.learn(given[:700], wanted[:700], srf=known, **params)
            found = applied("dictionary", image_of(given[700:], 1), fit, params)[:, :, 0].T
            assert np.sqrt(np.mean((found - wanted[700:]) ** 2)) < 0.02 * wanted.std()


class TestAllMethods:
    @pytest.mark.parametrize("name", NAMES)
    def test_other_tiles_give_the_same_pixels(self, name: str) -> None:
        given, wanted = pairs()
        new, _ = pairs(66 * 70, seed=3)
        image = image_of(new, 70)
        fit, params = learned(name, given, wanted)
        whole = applied(name, image, fit, params)
        assert whole.dtype == np.float32
        assert whole.shape == (len(WAVELENGTHS), 66, 70)
        for rows, columns in ((slice(0, 1), slice(0, 70)), (slice(3, 66), slice(11, 12)), (slice(7, 50), slice(5, 66))):
            part = applied(name, np.ascontiguousarray(image[:, rows, columns]), fit, params)
            np.testing.assert_array_equal(part, whole[:, rows, columns])

    @pytest.mark.parametrize("name", NAMES)
    @settings(max_examples=15, deadline=None)
    @examples_of(height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 99))
    def test_missing_values_stay_in_their_pixels(self, name: str, height: int, width: int, seed: int) -> None:
        fit, params = common_fit(name)
        new, _ = pairs(height * width, seed=seed)
        image = image_of(new, width)
        whole = applied(name, image, fit, params)
        holed = np.where(np.random.default_rng(seed).random(image.shape) < 0.1, np.float32(np.nan), image)
        before = holed.copy()
        found = applied(name, holed, fit, params)
        np.testing.assert_array_equal(holed, before)
        gap = np.isnan(holed).any(axis=0)
        np.testing.assert_array_equal(np.isnan(found), np.broadcast_to(gap, found.shape))
        np.testing.assert_array_equal(found[:, ~gap], whole[:, ~gap])

    @pytest.mark.parametrize("name", NAMES)
    def test_learning_again_gives_the_same(self, name: str) -> None:
        given, wanted = pairs(200)
        new, _ = pairs(50, seed=2)
        one, two = (predicted(name, given, wanted, new) for _ in range(2))
        np.testing.assert_array_equal(one, two)

    @pytest.mark.parametrize("name", NAMES)
    def test_wrong_examples(self, name: str) -> None:
        given, wanted = pairs(100)
        with pytest.raises(ParameterError, match="1 examples"):
            learned(name, given[:1], wanted[:1])
        with pytest.raises(ParameterError, match="not finite"):
            learned(name, np.where(given == given[0, 0], np.nan, given), wanted)
        with pytest.raises(ParameterError, match="shapes"):
            learned(name, given[:50], wanted)

    @pytest.mark.parametrize(
        ("name", "params"),
        [
            ("ridge", {"degree": 4}),
            ("ridge", {"penalty": -1}),
            ("ridge", {"penalty": "gcv"}),
            ("ridge", {"reach": 0}),
            ("pls", {"components": 0}),
            ("pls", {"seed": -1}),
            ("library", {"neighbours": 0}),
            ("library", {"floor": 0}),
            ("dictionary", {"atoms": 0}),
            ("dictionary", {"sparsity": 1.5}),
            ("dictionary", {"rounds": -1}),
        ],
    )
    def test_wrong_parameters(self, name: str, params: dict[str, Any]) -> None:
        with pytest.raises(ParameterError, match=next(iter(params))):
            resolve_params(get_method(name, "spectral"), params)

    def test_too_few_examples_for_the_features(self) -> None:
        with pytest.raises(ParameterError, match="20 examples"):
            learned("ridge", *pairs(20), degree=2)


def labelled(values: np.ndarray) -> xr.DataArray:
    bands, height, width = values.shape
    grid = {"y": np.arange(height)[::-1] * 1.0, "x": np.arange(width) * 1.0}
    return xr.DataArray(values.astype("float32"), coords={"band": [f"B{i}" for i in range(bands)], **grid})


class TestRelativeError:
    def test_is_that_of_plain_numpy(self) -> None:
        rng = np.random.default_rng(0)
        truth = rng.uniform(0.001, 0.6, (5, 40, 30)).astype("float32")
        estimate = truth + rng.normal(0, 0.02, truth.shape).astype("float32")
        expected = (np.abs(estimate.astype("float64") - truth) / truth).mean(axis=(1, 2))
        found = quality.mrae(labelled(estimate), labelled(truth))
        np.testing.assert_allclose(found, expected, rtol=1e-9)
        table = quality.evaluate(labelled(estimate), labelled(truth), ratio=2, metrics=["mrae"])
        assert float(table.mrae) == pytest.approx(expected.mean(), rel=1e-9)

    def test_gaps_and_references_of_nothing_are_left_out(self) -> None:
        truth = np.array([[[0.1, 0.2, 0.0, -0.1], [0.5, np.nan, 0.4, 1e-5]]])
        estimate = np.array([[[0.11, 0.2, 0.3, 0.1], [np.nan, 0.1, 0.3, 0.5]]])
        assert quality.mrae(labelled(estimate), labelled(truth)).item() == pytest.approx((0.1 + 0 + 0.25) / 3, rel=1e-6)

    def test_numbers_with_their_peak_score_as_reflectance(self) -> None:
        rng = np.random.default_rng(1)
        truth = rng.uniform(0, 0.01, (2, 20, 20)).astype("float32")
        one = quality.mrae(labelled(truth + np.float32(0.001)), labelled(truth))
        numbers = (truth * np.float32(1e4)).astype("float32")
        two = quality.mrae(labelled(numbers + np.float32(10)), labelled(numbers), peak=1e4)
        np.testing.assert_allclose(one, two, rtol=1e-4)

    def test_nothing_to_divide_by_is_undetermined(self) -> None:
        assert np.isnan(quality.mrae(labelled(np.ones((1, 3, 3))), labelled(np.zeros((1, 3, 3)))).item())

    def test_any_chunking_gives_the_same(self) -> None:
        rng = np.random.default_rng(2)
        truth, estimate = (labelled(rng.uniform(0, 0.5, (3, 33, 41))) for _ in range(2))
        lazy = quality.mrae(estimate.chunk({"y": 7, "x": 40}), truth.chunk({"y": 30, "x": 11}))
        assert lazy.chunks is not None
        np.testing.assert_allclose(lazy, quality.mrae(estimate, truth), rtol=1e-12)


@pytest.fixture(scope="module")
def potsdam(shared_data: Any) -> dict[str, np.ndarray]:
    with xr.open_dataset(shared_data / "enmap_potsdam.nc") as file:
        good = file["bad_band"].values == 0
        wavelengths, numbers = file["wavelength"].values[good], file["reflectance_dn"].values[good]
    keys = [key for key in get_sensor("sentinel-2a").keys if key != "B10"]
    srf = spectral_response("sentinel-2a", wavelengths, keys)
    west, east = (
        part[(part > -9999).all(axis=1)] * np.float32(1e-4)
        for part in (numbers[:, :64, :96].reshape(218, -1).T, numbers[:, 64:, 96:].reshape(218, -1).T)
    )
    return {"west": west, "east": east, "srf": srf, "wavelengths": wavelengths}


class TestRealScene:
    """EnMAP over Potsdam seen as Sentinel-2: learned on the whole block in the north-west, tried in the east.

    Of the mosaic, rows 0 to 63 of columns 0 to 95 are one block, rows 64 to 191 of columns 96 to 159 another.
    """

    @pytest.mark.parametrize("name", NAMES)
    def test_agreement_never_makes_it_worse(self, potsdam: dict[str, np.ndarray], name: str) -> None:
        srf, west, east = potsdam["srf"], potsdam["west"], potsdam["east"]
        seen = (east @ srf.T).astype("float32")
        fit, params = learned(name, (west @ srf.T).astype("float32"), west)
        result = applied(name, image_of(seen, 1), fit, params)
        agreed = consistent(result, image_of(seen, 1), srf, gain(srf, potsdam["wavelengths"]))
        assert largest_misfit(agreed, image_of(seen, 1), srf) < 1e-5
        truth = image_of(east, 1)
        before, after = (float(np.sqrt(np.mean((r - truth) ** 2))) for r in (result, agreed))
        assert after <= before * (1 + 1e-6)
        # A spectrum drawn through the bands' centres knows nothing of the examples.
        bands = get_sensor("sentinel-2a").select([k for k in get_sensor("sentinel-2a").keys if k != "B10"]).bands
        centres = np.array([b.wavelength for b in bands])
        order = np.argsort(centres)
        drawn = np.stack([np.interp(potsdam["wavelengths"], centres[order], s[order]) for s in seen])
        assert after < float(np.sqrt(np.mean((drawn - east) ** 2)))
