"""Sharpening methods on scenes whose truth is known, with gaps, two groups and any chunking; the figure."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sharpening import DSEN2, chunked, exact_case, landscape, scores, sharpen, t33uub

from xrs.errors import ParameterError
from xrs.kernels import decimate
from xrs.kernels.psf import box_taps
from xrs.methods import get_method, methods_of, resolve_params

OWN = ("atprk", "aatprk", "supreme")


class TestKnownTruth:
    """Coarse bands that are sums of the fine ones: whoever regresses on all of them must find them."""

    @pytest.mark.parametrize("name", ["atprk", "aatprk", "mtf_glp", "mtf_glp_cbd", "mtf_glp_fs", "mtf_glp_hpm", "gsa"])
    def test_sums_of_fine_bands_are_recovered(self, name: str) -> None:
        fine, groups, psf, truth = exact_case()
        out = sharpen(name, fine, groups, psf)
        np.testing.assert_allclose(out, truth, atol=2e-3 * truth.max())

    @pytest.mark.parametrize("name", ["mtf_glp_cbd", "mtf_glp_hpm", "bdsd_pc"])
    def test_a_copy_of_a_fine_band_is_selected(self, name: str) -> None:
        fine = landscape((60, 48))
        truth = fine[[2, 0]]
        coarse = decimate(truth, DSEN2, 2)
        out = sharpen(name, fine, {"r20m": coarse}, {"r20m": DSEN2}, pan="selected")
        np.testing.assert_allclose(out, truth, atol=2e-3 * truth.max())

    def test_regression_in_a_window_follows_land_cover(self) -> None:
        fine = landscape((80, 80))
        weights = np.where(np.arange(80) < 40, 0.2, 0.9)
        truth = (weights * fine[:1] + 0.1 * fine[1:2]).astype(np.float32)
        coarse = decimate(truth, box_taps(2), 2)
        errors = {
            name: np.abs(sharpen(name, fine, {"r20m": coarse}, {"r20m": box_taps(2)}) - truth)[:, :, 8:30].mean()
            for name in ("atprk", "aatprk")
        }
        assert errors["aatprk"] < 0.1 * errors["atprk"]

    @pytest.mark.parametrize("name", OWN)
    def test_flat_scene_stays_flat(self, name: str) -> None:
        fine = np.full((4, 24, 24), 0.2, np.float32)
        coarse = np.full((2, 12, 12), 0.3, np.float32)
        out = sharpen(name, fine, {"r20m": coarse}, {"r20m": DSEN2})
        np.testing.assert_allclose(out, 0.3, atol=1e-3)

    def test_every_method_of_the_pan_is_there(self) -> None:
        sharpening = methods_of("sharpen", models=False)
        assert set(methods_of("pansharpen", models=False)) | set(OWN) == set(sharpening)
        for name, method in methods_of("pansharpen", models=False).items():
            assert sharpening[name].reference == method.reference
            assert sharpening[name].needs == ("fine", "coarse")


class TestTiles:
    @pytest.mark.parametrize("name", [*OWN, "gsa", "mtf_glp_hpm_r"])
    @settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(cut=st.integers(1, 71), sliver=st.integers(1, 15), gaps=st.booleans())
    def test_any_chunking_gives_the_same_pixels(self, name: str, cut: int, sliver: int, gaps: bool) -> None:
        fine, groups, psf, _ = exact_case()
        groups = {n: g + np.float32(0.05) * landscape(g.shape[1:], len(g), seed=8) for n, g in groups.items()}
        if gaps:
            fine[:, 20:24, 30:50] = np.nan
            groups["r20m"][1, 5:9, 3] = np.nan
        expected = sharpen(name, fine, groups, psf)
        lazy = {"r20m": chunked(groups["r20m"], (36,), (sliver, 48 - sliver)), "r60m": chunked(groups["r60m"], 5, 7)}
        out = sharpen(name, chunked(fine, (cut, 72 - cut), 50), lazy, psf).compute(scheduler="sync")
        np.testing.assert_array_equal(np.isnan(out), np.isnan(expected))
        bound = 1e-5 * np.nanmax(np.abs(expected))
        np.testing.assert_allclose(out, expected, atol=bound)

    def test_blocks_of_supreme_are_anchored_to_the_scene(self) -> None:
        fine = landscape((200, 330))
        coarse = decimate(landscape((200, 330), 2, seed=3), DSEN2, 2)
        expected = sharpen("supreme", fine, {"r20m": coarse}, {"r20m": DSEN2})
        lazy = {"r20m": chunked(coarse, 41, 77)}
        out = sharpen("supreme", chunked(fine, 90, (130, 200)), lazy, {"r20m": DSEN2}).compute(scheduler="sync")
        np.testing.assert_allclose(out, expected, atol=1e-5 * expected.max())


class TestGaps:
    @pytest.mark.parametrize("name", [*OWN, "mtf_glp_fs", "bdsd_pc"])
    def test_gaps_stay_local_and_the_rest_nearly_as_it_was(self, name: str) -> None:
        fine, groups, psf, _ = exact_case()
        whole = sharpen(name, fine, groups, psf)
        fine[0, 10, 12] = np.nan
        groups["r60m"][1, 8, 9] = np.nan
        out = sharpen(name, fine, groups, psf)
        missing = np.zeros(out.shape, bool)
        missing[:, 10, 12] = True
        bands = [4] if get_method(name, "sharpen").bandwise else [3, 4]
        missing[bands, 48:54, 54:60] = True
        np.testing.assert_array_equal(np.isnan(out), missing)
        assert np.abs(out - whole)[~missing].max() < 0.05

    @pytest.mark.parametrize("name", [*OWN, "gsa", "mtf_glp_hpm"])
    def test_a_band_never_seen_is_missing(self, name: str) -> None:
        fine, groups, psf, _ = exact_case()
        groups["r20m"][1] = np.nan
        out = sharpen(name, fine, groups, psf)
        assert np.isnan(out[1]).all()
        if get_method(name, "sharpen").bandwise:
            assert np.isfinite(np.delete(out, 1, axis=0)).all()


class TestRefusals:
    def test_no_point_spread(self) -> None:
        fine, groups, psf, _ = exact_case()
        with pytest.raises(ParameterError, match="r60m"):
            sharpen("atprk", fine, groups, {"r20m": psf["r20m"]})

    def test_rows_of_taps_that_fit_no_bands(self) -> None:
        fine, groups, psf, _ = exact_case()
        with pytest.raises(ParameterError, match="2 rows of taps"):
            sharpen("atprk", fine, groups, {**psf, "r20m": psf["r20m"][:2]})

    @pytest.mark.parametrize(
        ("name", "params"),
        [
            ("aatprk", {"window": 4}),
            ("gsa", {"pan": "guessed"}),
            ("supreme", {"components": 0}),
            ("supreme", {"regularisation": -1}),
            ("supreme", {"iterations": 0}),
        ],
    )
    def test_parameters_out_of_range(self, name: str, params: dict[str, object]) -> None:
        with pytest.raises(ParameterError):
            resolve_params(get_method(name, "sharpen"), params)


class TestFigure:
    """Sentinel-2 T33UUB, 40 to 20 m, degraded as DSen2 does, six bands, 10 pixels left out at the edges."""

    @pytest.mark.parametrize(("name", "bound"), [("aatprk", 58.0), ("supreme", 58.0), ("atprk", 73.0)])
    def test_error_and_time(self, name: str, bound: float, shared_data: Path) -> None:
        fine, coarse, truth = t33uub(shared_data)
        start = time.perf_counter()
        out = sharpen(name, fine, {"r20m": coarse}, {"r20m": DSEN2})
        assert time.perf_counter() - start < 10
        assert scores(out, truth, 10)[0] < bound

    def test_interpolation_has_the_known_error(self, shared_data: Path) -> None:
        fine, coarse, truth = t33uub(shared_data)
        rmse, _, _ = scores(sharpen("exp", fine, {"r20m": coarse}, {"r20m": DSEN2}), truth, 10)
        assert rmse == pytest.approx(147.1, rel=0.03)
