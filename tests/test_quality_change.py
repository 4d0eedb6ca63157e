"""The all-round assessment of fused images against SciPy's filters and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter, generic_filter
from support import cube, nothing_computed, rechunked

from xrs.errors import GridMismatchError, ParameterError
from xrs.quality.change import all_round


def score(estimate: np.ndarray, reference: np.ndarray, **options: float) -> dict[str, float]:
    """Of single images."""
    table = {"B04": ("red", 665.0)}
    images = (cube(a.shape, bands=table, values=a[None].astype("float32")) for a in (estimate, reference))
    return {name: float(value[0]) for name, value in all_round(*images, **options).items()}


def test_an_image_is_perfect_against_itself() -> None:
    image = cube((20, 24), times=2)
    for value in all_round(image, image).values():
        assert value.dims == ("time", "band")
        np.testing.assert_array_equal(value.values, 0.0)


def test_bias_and_error_are_those_of_the_formulas() -> None:
    one, other = cube((20, 24), seed=1), cube((20, 24), seed=5)
    found = all_round(one, other)
    gap = (one - other).astype("float64")
    np.testing.assert_allclose(found.ad, gap.mean(("y", "x")), atol=1e-12)
    np.testing.assert_allclose(found.rmse, np.sqrt((gap**2).mean(("y", "x"))), atol=1e-12)


def test_edges_and_patterns_are_those_of_scipy() -> None:
    e, r = (cube((20, 24), seed=s).values[0].astype(np.float64) for s in (1, 5))
    edges = [
        generic_filter(a, lambda w: np.abs(w[0] - w[3]) + np.abs(w[1] - w[2]), size=2, origin=-1)[:-1, :-1]
        for a in (e, r)
    ]
    strong = edges[1] >= np.quantile(edges[1], 0.75)
    quotient = ((edges[0] - edges[1]) / (edges[0] + edges[1] + 1e-5))[strong].mean()
    bits = 2 ** np.arange(8)
    codes = [generic_filter(a, lambda w: bits @ (np.delete(w, 4) >= w[4]), size=3)[1:-1, 1:-1] / 255 for a in (e, r)]
    found = score(e, r, share=0.25)
    assert found["edge"] == pytest.approx(quotient, abs=1e-9)
    assert found["lbp"] == pytest.approx(((codes[0] - codes[1]) / (codes[0] + codes[1] + 1e-5)).mean(), abs=1e-9)


def test_signs_tell_smooth_from_rough() -> None:
    image = cube((40, 40)).values[0]
    noise = 0.05 * np.random.default_rng(0).standard_normal(image.shape)
    assert score(gaussian_filter(image, 2), image)["edge"] < -0.2
    assert score(image + noise, image, share=1.0)["edge"] > 0.2


def test_missing_pixels_are_left_out_with_their_windows() -> None:
    one, other = cube((20, 24), seed=1), cube((20, 24), seed=5)
    holed = one.copy()
    holed.values[:, 18:, :] = np.nan
    found, expected = all_round(holed, other), all_round(one[:, :18], other[:, :18])
    for name in found:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-12)
    assert all(np.isnan(value).all() for value in all_round(one * np.nan, other).values())


def test_lazy_cubes_give_the_same_lazily() -> None:
    one, other = cube((20, 24), times=2, seed=1), cube((20, 24), times=2, seed=5)
    with nothing_computed():
        lazy = all_round(rechunked(one, 7, 11), rechunked(other, 20, 24))
    xr.testing.assert_allclose(lazy.compute(), all_round(one, other))


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ParameterError, match="share"):
        all_round(cube((8, 8)), cube((8, 8)), share=0.0)
    with pytest.raises(GridMismatchError):
        all_round(cube((8, 8)), cube((8, 8), 20.0))
