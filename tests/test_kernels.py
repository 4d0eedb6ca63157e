"""Resampling, point spread, moments and gaps against closed forms, SciPy and NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, zoom

from xrs.kernels import (
    box_taps,
    decimate,
    decimate_adjoint,
    fill_gaps,
    gaussian_taps,
    merge_moments,
    moments_of,
    reach_of,
    upsample,
)
from xrs.kernels.psf import gaussian_box_taps

sides = st.integers(1, 9)


def _random(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


@settings(max_examples=40, deadline=None)
@given(ratio=st.integers(2, 6), height=sides, width=sides, gain=st.floats(0.1, 0.6), seed=st.integers(0, 99))
def test_adjoint_is_the_transpose(ratio: int, height: int, width: int, gain: float, seed: int) -> None:
    taps = gaussian_taps(gain, ratio)
    u, v = _random((2, height * ratio, width * ratio), seed), _random((2, height, width), seed + 1)
    left = float((decimate(u, taps, ratio).astype("f8") * v).sum())
    right = float((u.astype("f8") * decimate_adjoint(v, taps, ratio)).sum())
    assert left == pytest.approx(right, rel=1e-5)


@pytest.mark.parametrize("ratio", [2, 3, 4, 6])
@pytest.mark.parametrize("gain", [0.15, 0.3, 0.5])
def test_taps_have_the_gain_asked_for_at_nyquist(ratio: int, gain: float) -> None:
    taps = gaussian_taps(gain, ratio)
    offsets = np.arange(taps.size) - (taps.size - 1) / 2
    response = float((taps * np.cos(2 * np.pi * offsets / (2 * ratio))).sum())
    assert response == pytest.approx(gain, abs=0.01)
    assert taps.sum() == pytest.approx(1.0)
    assert taps.size % 2 == ratio % 2


def test_gaussian_box_is_scipys_gaussian_and_a_block_mean() -> None:
    u = _random((1, 40, 36), 0)
    expected = gaussian_filter(u[0].astype("f8"), 0.5, mode="reflect").reshape(20, 2, 18, 2).mean((1, 3))
    np.testing.assert_allclose(decimate(u, gaussian_box_taps(0.5, 2), 2)[0], expected, atol=1e-6)


def test_box_is_the_block_mean() -> None:
    u = _random((3, 12, 18), 1)
    np.testing.assert_allclose(decimate(u, box_taps(3), 3), u.reshape(3, 4, 3, 6, 3).mean((2, 4)), atol=1e-6)


@pytest.mark.parametrize(("kernel", "order"), [("bilinear", 1), ("cubic", 2), ("lanczos", 0)])
@pytest.mark.parametrize("ratio", [2, 3, 5])
def test_interpolation_reproduces_polynomials_at_pixel_centres(kernel: str, order: int, ratio: int) -> None:
    # Keys' cubic is exact for quadratics inside; centres of the two grids are aligned.
    n = 14
    coarse, fine = np.arange(n), (np.arange(n * ratio) + 0.5) / ratio - 0.5
    for power in range(order + 1):
        image = np.broadcast_to((coarse.astype("f4") ** power)[:, None], (n, n))[None]
        result = upsample(np.ascontiguousarray(image), ratio, kernel)[0]
        inside = slice(4 * ratio, -4 * ratio)
        np.testing.assert_allclose(
            result[inside, inside], np.broadcast_to((fine**power)[:, None], result.shape)[inside, inside], rtol=2e-5
        )


def test_bilinear_agrees_with_scipys_zoom() -> None:
    image = _random((1, 9, 11), 2)
    expected = zoom(image[0].astype("f8"), 3, order=1, mode="reflect", grid_mode=True)
    np.testing.assert_allclose(upsample(image, 3, "bilinear")[0], expected, atol=1e-6)


@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "cubic", "lanczos"])
def test_a_constant_stays_constant(kernel: str) -> None:
    image = np.full((2, 3, 5), 0.37, np.float32)
    np.testing.assert_allclose(upsample(image, 4, kernel), 0.37, rtol=1e-6)


@pytest.mark.parametrize("ratio", [2, 3, 4])
def test_reach_bounds_what_a_coarse_pixel_sees(ratio: int) -> None:
    taps = gaussian_taps(0.2, ratio)
    reach = reach_of(taps, ratio)
    impulse = np.zeros((1, 21 * ratio, 21 * ratio), np.float32)
    impulse[0, 10 * ratio, 10 * ratio] = 1
    seen = np.argwhere(decimate(impulse, taps, ratio)[0] > 0)
    assert np.abs(seen - 10).max() == reach


@settings(max_examples=30, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 399), max_size=6, unique=True),
    offset=st.sampled_from([0.0, 1e3]),
    seed=st.integers(0, 50),
)
def test_moments_merge_to_those_of_the_whole(cuts: list[int], offset: float, seed: int) -> None:
    x = (_random((3, 20, 20), seed) + np.float32(offset)).reshape(3, 400)
    x[1, 7] = np.nan
    parts = [moments_of(p[:, None, :]) for p in np.split(x, sorted(cuts), axis=1)]
    merged = parts[0]
    for part in parts[1:]:
        merged = merge_moments(merged, part)
    usable = np.delete(x, 7, axis=1).astype("f8")
    assert merged.count == 399
    np.testing.assert_allclose(merged.mean, usable.mean(1), rtol=1e-12)
    np.testing.assert_allclose(merged.covariance, np.cov(usable, bias=True), atol=1e-10)
    np.testing.assert_array_equal(merged.low, usable.min(1))
    np.testing.assert_array_equal(merged.high, usable.max(1))


def test_moments_of_nothing() -> None:
    nothing = moments_of(np.full((2, 3, 3), np.nan, np.float32))
    assert nothing.count == 0
    assert np.isnan(nothing.covariance).all()
    some = moments_of(_random((2, 3, 3), 0))
    assert merge_moments(nothing, some) is some


def test_gaps_fill_from_neighbours_and_no_further_than_asked() -> None:
    image = np.full((1, 9, 9), 2.0, np.float32)
    valid = np.zeros((1, 9, 9), bool)
    valid[:, :, 0] = True
    filled = fill_gaps(np.where(valid, image, np.nan), valid, 3)
    np.testing.assert_array_equal(filled[0, 4], [2, 2, 2, 2, 0, 0, 0, 0, 0])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 500), share=st.floats(0.05, 0.9))
def test_filled_values_depend_only_on_what_is_near(seed: int, share: float) -> None:
    reach, rng = 3, np.random.default_rng(seed)
    image = rng.random((1, 24, 24), dtype=np.float32)
    valid = rng.random((1, 24, 24)) > share
    whole = fill_gaps(image, valid, reach)
    window = np.s_[:, 4:20, 5:21]
    part = fill_gaps(image[window], valid[window], reach)
    inner = np.s_[:, reach:-reach, reach:-reach]
    np.testing.assert_array_equal(part[inner], whole[window][inner])
