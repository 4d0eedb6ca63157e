"""Area-to-point kriging against ordinary kriging done point by point, and against simulated fields."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sharpening import DSEN2, landscape, sharpen, t33uub

from xrs.kernels import decimate, upsample
from xrs.kernels.psf import box_taps, gaussian_taps
from xrs.methods._kriging import LAGS, fit_range, krige, kriging_weights, merge_variograms, variogram


def _points(taps: np.ndarray, ratio: int, row: int, column: int) -> list[tuple[float, float, float]]:
    """Places and weights of the fine pixels that a coarse pixel sees."""
    first = (ratio - taps.size) / 2
    return [
        (row * ratio + first + i, column * ratio + first + j, taps[i] * taps[j])
        for i in range(taps.size)
        for j in range(taps.size)
    ]


def _kriged_point_by_point(
    taps: np.ndarray, ratio: int, distance: float, fine: tuple[int, int], side: int = 5
) -> np.ndarray:
    """Weights of ``side``² coarse pixels for the fine pixel at ``fine`` of the middle one."""

    def covariance(a: tuple[float, ...], b: tuple[float, ...]) -> float:
        return math.exp(-math.dist(a[:2], b[:2]) / distance)

    areas = [_points(taps, ratio, i, j) for i in range(side) for j in range(side)]
    n = len(areas)
    system, right = np.zeros((n + 1, n + 1)), np.ones(n + 1)
    target = (side // 2 * ratio + fine[0], side // 2 * ratio + fine[1])
    for a, one in enumerate(areas):
        right[a] = sum(p[2] * covariance(p, target) for p in one)
        for b, other in enumerate(areas[: a + 1]):
            value = sum(p[2] * q[2] * covariance(p, q) for p in one for q in other)
            system[a, b] = system[b, a] = value
    system[n, :n] = system[:n, n] = 1.0
    return np.linalg.solve(system, right)[:n].reshape(side, side)


@pytest.mark.parametrize(("taps", "ratio"), [(box_taps(2), 2), (np.array([0.1, 0.4, 0.4, 0.1]), 2), (box_taps(3), 3)])
def test_weights_are_those_of_ordinary_kriging(taps: np.ndarray, ratio: int) -> None:
    weights = kriging_weights(taps, ratio, distance=2.5)
    for phase in ((0, 0), (0, ratio - 1), (1, 0)):
        expected = _kriged_point_by_point(taps, ratio, 2.5, phase)
        np.testing.assert_allclose(weights[phase], expected, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(ratio=st.sampled_from([2, 3, 6]), distance=st.floats(0.3, 40))
def test_block_means_are_honoured_exactly(ratio: int, distance: float) -> None:
    coarse = np.random.default_rng(0).standard_normal((9, 11)).astype(np.float32)
    fine = krige(coarse, kriging_weights(box_taps(ratio), ratio, distance))
    back = decimate(fine[None], box_taps(ratio), ratio)[0]
    np.testing.assert_allclose(back, coarse[2:-2, 2:-2], atol=2e-5)


def test_a_constant_stays() -> None:
    fine = krige(np.full((7, 8), 3.0, np.float32), kriging_weights(gaussian_taps(0.3, 2), 2, 4.0))
    np.testing.assert_allclose(fine, 3.0, rtol=1e-5)


def _field(side: int, distance: float, seed: int) -> np.ndarray:
    """A Gaussian field with covariance ``exp(-h / distance)``, by the spectrum of its torus."""
    offset = np.minimum(np.arange(side), side - np.arange(side))
    spectrum = np.fft.fft2(np.exp(-np.hypot(offset[:, None], offset) / distance)).real.clip(0)
    noise = np.fft.fft2(np.random.default_rng(seed).standard_normal((side, side)))
    return np.fft.ifft2(noise * np.sqrt(spectrum)).real.astype(np.float32)


@pytest.mark.parametrize("distance", [3.0, 8.0])
def test_deconvolution_finds_the_range_of_a_simulated_field(distance: float) -> None:
    taps = gaussian_taps(0.3, 2)
    coarse = decimate(_field(768, distance, 1)[None], taps, 2)[0]
    assert fit_range(variogram(coarse, None, LAGS), taps, 2) == pytest.approx(distance, rel=0.25)


def test_kriging_beats_interpolation_on_a_simulated_field() -> None:
    field, taps = _field(512, 5.0, 2), gaussian_taps(0.3, 2)
    coarse = decimate(field[None], taps, 2)
    kriged = krige(coarse[0], kriging_weights(taps, 2, 5.0))
    cubic = upsample(coarse, 2)[0][4:-4, 4:-4]
    truth = field[4:-4, 4:-4]
    assert ((kriged - truth) ** 2).mean() < 0.95 * ((cubic - truth) ** 2).mean()


def test_variogram_of_parts_is_that_of_the_whole() -> None:
    image = np.random.default_rng(3).random((40, 30)).astype(np.float32)
    seen = np.random.default_rng(4).random((40, 30)) > 0.2
    whole = variogram(image, seen, LAGS)
    parts = [variogram(image[a : b + 2 * LAGS], seen[a : b + 2 * LAGS], LAGS) for a, b in ((0, 13), (13, 30))]
    merged = merge_variograms(*parts)
    np.testing.assert_array_equal(merged.pairs, whole.pairs)
    np.testing.assert_allclose(merged.squares, whole.squares)


@pytest.mark.parametrize("name", ["atprk", "aatprk"])
def test_box_point_spread_is_kept_exactly_by_global_regression(name: str) -> None:
    fine = landscape((48, 60))
    coarse = decimate(landscape((48, 60), seed=7)[:2], box_taps(2), 2)
    out = sharpen(name, fine, {"r20m": coarse}, {"r20m": box_taps(2)})
    np.testing.assert_allclose(decimate(out, box_taps(2), 2), coarse, atol=2e-5)


@pytest.mark.parametrize(("name", "bound"), [("atprk", 1e-4), ("aatprk", 3e-5)])
def test_real_scene_is_kept_within_the_stated_bound(name: str, bound: float, shared_data) -> None:
    fine, coarse, _ = t33uub(shared_data)
    back = decimate(sharpen(name, fine, {"r20m": coarse}, {"r20m": DSEN2}), DSEN2, 2)
    assert np.sqrt(((back - coarse) ** 2).mean()) < bound
