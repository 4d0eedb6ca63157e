"""Conformal factors: the guarantee on simulated patches, the definition, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from xrs.errors import ParameterError
from xrs.learning.conformal import check_count, conformal_factors, covered_share, quantile_of, split_places

LEVEL = 0.9


def patches(count: int, rng: np.random.Generator, side: int = 8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Errors that depend on each other: each patch has a size of its own, and its standard deviations half know it."""
    own = rng.lognormal(0, 0.7, (count, 2, 1, 1))
    error = own * rng.laplace(0, 1, (count, 2, side, side))
    std = np.sqrt(own) * rng.uniform(0.8, 1.2, error.shape)
    return error.astype("float32"), std.astype("float32"), rng.random(error.shape) < 0.9


@pytest.mark.parametrize("count", [9, 20, 100])
def test_expected_coverage_of_further_patches(count: int) -> None:
    rng = np.random.default_rng(count)
    shares = []
    for _ in range(150):
        factors = conformal_factors(*patches(count, rng), np.arange(count), LEVEL)
        error, std, mask = patches(40, rng)
        half = (quantile_of(LEVEL) * factors[:, None, None] * std).astype("float32")
        shares.append(covered_share(error, half, mask, np.arange(40))[0])
    mean, doubt = np.mean(shares, axis=0), np.std(shares, axis=0) / np.sqrt(len(shares))
    assert (mean > LEVEL - 3 * doubt).all()
    # Theorem 2 of the paper: not more than 2 / (n + 1) above.
    assert (mean < LEVEL + 2 / (count + 1) + 3 * doubt).all()


def test_it_is_the_smallest_such_factor() -> None:
    error, std, mask = patches(30, np.random.default_rng(1))
    factors = conformal_factors(error, std, mask, np.arange(30), LEVEL)

    def bound(factor: float, band: int) -> float:
        outside = np.abs(error[:, band]) > np.float64(quantile_of(LEVEL)) * factor * std[:, band]
        losses = [o[m].mean() for o, m in zip(outside, mask[:, band], strict=True)]
        return 30 / 31 * float(np.mean(losses)) + 1 / 31

    for band, factor in enumerate(factors):
        assert bound(factor * (1 + 1e-9), band) <= 1 - LEVEL
        assert bound(factor * (1 - 1e-4), band) > 1 - LEVEL


def test_dates_of_one_place_are_one_unit() -> None:
    error, std, mask = patches(20, np.random.default_rng(2))
    once = conformal_factors(error, std, mask, np.arange(20), LEVEL)
    thrice = [np.concatenate([a, a[:5], a[:5]]) for a in (error, std, mask)]
    places = np.concatenate([np.arange(20), np.arange(5), np.arange(5)])
    np.testing.assert_allclose(conformal_factors(*thrice, places, LEVEL), once)


def test_patches_without_pixels_do_not_count() -> None:
    error, std, mask = patches(20, np.random.default_rng(3))
    mask[10:] = False
    expected = conformal_factors(error[:10], std[:10], mask[:10], np.arange(10), LEVEL)
    np.testing.assert_allclose(conformal_factors(error, std, mask, np.arange(20), LEVEL), expected)
    mask[8:] = False
    with pytest.raises(ParameterError, match="8 places.*9 or more"):
        conformal_factors(error, std, mask, np.arange(20), LEVEL)


def test_too_few_places_are_refused() -> None:
    check_count(9, 0.9)
    check_count(99, 0.99)
    for places, level in ((8, 0.9), (98, 0.99)):
        with pytest.raises(ParameterError, match="smaller patch_size"):
            check_count(places, level)


def test_halves_share_no_place() -> None:
    rng = np.random.default_rng(4)
    spots = np.column_stack([rng.integers(0, 3, 60), rng.integers(0, 5, 60) * 8, rng.integers(0, 5, 60) * 8])
    places, first = split_places(spots, 0)
    seen = {part: {tuple(s) for s in spots[first == part, 1:]} for part in (True, False)}
    assert not seen[True] & seen[False]
    assert len(seen[True]) - len(seen[False]) in (0, 1)
    assert all(len({*places[(spots[:, 1:] == s).all(axis=1)]}) == 1 for s in spots[:, 1:])
    assert not np.array_equal(first, split_places(spots, 1)[1])
