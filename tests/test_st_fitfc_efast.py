"""Fit-FC and EFAST against plain loops and scipy, changes known by construction, and scenes whose truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import interp1d
from scipy.ndimage import distance_transform_edt, zoom
from scipy.stats import linregress
from support import cube, nothing_computed, rechunked, texture

import xrs
from xrs.errors import ParameterError
from xrs.kernels import upsample
from xrs.methods.spatiotemporal._nearest_similar import Search, average_similar

RATIO = 4
SMALL = {"coarse_window": 3, "window": 7, "similar": 5}


def _cubes(
    fine: np.ndarray, coarse: np.ndarray, fine_days: list[float], days: list[float]
) -> tuple[xr.DataArray, xr.DataArray]:
    """Cubes of arrays (time, band, y, x), seen on these days."""
    bands = {f"b{n}": ("", 500.0 + 100 * n) for n in range(fine.shape[1])}
    ratio = fine.shape[-1] // coarse.shape[-1]
    out = []
    for values, size, dates in ((fine, 10.0, fine_days), (coarse, 10.0 * ratio, days)):
        one = cube(values.shape[2:], size, times=len(values), bands=bands, values=values.astype("float32"))
        out.append(one.assign_coords(time=pd.Timestamp("2024-01-01") + pd.to_timedelta(dates, unit="D")))
    return out[0], out[1]


def _fitfc(
    fine: np.ndarray, before: np.ndarray, after: np.ndarray, chunks: tuple[int, int] | None = None, **params: Any
) -> xr.DataArray:
    ours, theirs = _cubes(fine[None], np.stack([before, after]), [0], [0, 8])
    if chunks:
        ours, theirs = rechunked(ours, *chunks), rechunked(theirs, -1, -1)
    out = xrs.fuse_spatiotemporal(
        ours, theirs, "fitfc", target_times=theirs.time.values[1:], harmonize=False, **(SMALL | params)
    )
    return out.isel(time=0)


def _efast(
    fine: np.ndarray,
    coarse: np.ndarray,
    fine_days: list[float],
    days: list[float],
    targets: list[float],
    chunks: tuple[int, int] | None = None,
    **params: Any,
) -> xr.DataArray:
    ours, theirs = _cubes(fine, coarse, fine_days, days)
    if chunks:
        ours, theirs = rechunked(ours, *chunks), rechunked(theirs, -1, -1)
    dates = pd.Timestamp("2024-01-01") + pd.to_timedelta(targets, unit="D")
    return xrs.fuse_spatiotemporal(ours, theirs, "efast", target_times=dates, harmonize=False, **params)


def _means(image: np.ndarray, ratio: int = RATIO) -> np.ndarray:
    *dates, height, width = image.shape
    return image.reshape(*dates, height // ratio, ratio, width // ratio, ratio).mean(axis=(-3, -1))


def _parcels(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Fields of constant spectra (band, y, x), so that means over similar pixels change nothing."""
    spectra = np.array([[0.06, 0.10, 0.30], [0.15, 0.22, 0.25], [0.03, 0.05, 0.04]])
    labels = np.random.default_rng(seed).integers(0, 3, (shape[0] // 6, shape[1] // 6))
    return spectra[labels.repeat(6, axis=0).repeat(6, axis=1)].transpose(2, 0, 1)


def _fitfc_by_loops(fine: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The paper's three steps, a pixel at a time; windows see the mirrored scene."""
    bands, height, width = fine.shape
    radius, w = SMALL["coarse_window"] // 2, SMALL["window"] // 2
    pad = ((0, 0), (radius, radius), (radius, radius))
    x, y = np.pad(before, pad, mode="symmetric"), np.pad(after, pad, mode="symmetric")
    fitted, residual = np.empty_like(fine), np.zeros_like(before)
    seen = np.isfinite(before).all(axis=0) & np.isfinite(after).all(axis=0)
    for b in range(bands):
        for i, j in np.ndindex(*before.shape[1:]):
            window = np.s_[i : i + 2 * radius + 1, j : j + 2 * radius + 1]
            both = np.isfinite(x[(slice(None), *window)]).all(axis=0) & np.isfinite(y[(slice(None), *window)]).all(
                axis=0
            )
            one, other = x[b][window][both], y[b][window][both]
            slope = linregress(one, other).slope if np.unique(one).size > 1 else 1.0
            constant = other.mean() - slope * one.mean() if both.any() else 0.0
            block = np.s_[i * RATIO : (i + 1) * RATIO, j * RATIO : (j + 1) * RATIO]
            fitted[b][block] = slope * fine[b][block] + constant
            if seen[i, j]:
                residual[b, i, j] = after[b, i, j] - (slope * before[b, i, j] + constant)
    fitted += upsample(residual.astype("float32"), RATIO, "cubic")
    known = seen.repeat(RATIO, axis=0).repeat(RATIO, axis=1)
    guide, fitted, known = (
        np.pad(a, ((0, 0),) * (a.ndim - 2) + ((w, w), (w, w)), mode="symmetric") for a in (fine, fitted, known)
    )
    out = np.full_like(fine, np.nan)
    for i, j in np.ndindex(height, width):
        centre = guide[:, i + w, j + w]
        if np.isnan(centre).any():
            continue
        found = []
        for p, q in np.ndindex(2 * w + 1, 2 * w + 1):
            unlike = np.sqrt(((guide[:, i + p, j + q] - centre) ** 2).mean())
            if np.isfinite(unlike):
                found.append((unlike, np.hypot(p - w, q - w), i + p, j + q))
        found = [f for f in sorted(found)[: SMALL["similar"]] if known[f[2], f[3]]]
        weights = np.array([1 / (1 + d / ((2 * w + 1) / 2)) for _, d, _, _ in found])
        if found:
            out[:, i, j] = weights @ np.array([fitted[:, p, q] for _, _, p, q in found]) / weights.sum()
    return out


def _noisy_case(seed: int, gaps: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    fine = texture((2, 20, 24), seed).astype(float)
    before = _means(fine) + 0.01 * rng.standard_normal((2, 5, 6))
    after = 0.7 * _means(fine) + 0.1 + 0.02 * rng.standard_normal((2, 5, 6))
    for image in (fine, before, after):
        image[:, rng.random(image.shape[1:]) < gaps] = np.nan
    return tuple(a.astype("float32").astype(float) for a in (fine, before, after))  # type: ignore[return-value]


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000), gaps=st.sampled_from([0.0, 0.05, 0.2]))
def test_fitfc_by_plain_loops_is_the_same(seed: int, gaps: float) -> None:
    case = _noisy_case(seed, gaps)
    # A regression on two pixels may be as steep as it likes, so errors of float32 count relatively.
    np.testing.assert_allclose(_fitfc(*case), _fitfc_by_loops(*case), atol=1e-5, rtol=1e-4)


def test_fitfc_gives_back_a_linear_change_of_fields() -> None:
    fine = _parcels((48, 60))
    before = _means(fine)
    np.testing.assert_allclose(_fitfc(fine, before, before), fine, atol=1e-6)
    np.testing.assert_allclose(_fitfc(fine, before, 0.6 * before + 0.05), 0.6 * fine + 0.05, atol=1e-6)


def test_fitfc_adds_a_change_where_the_coarse_image_is_flat() -> None:
    fine = np.full((2, 24, 24), 0.2)
    fine[:, ::2] += 0.1  # detail that no coarse pixel sees
    before = np.full((2, 6, 6), 0.25)
    np.testing.assert_allclose(_fitfc(fine, before, before + 0.03, window=5), fine + 0.03, atol=1e-6)


@pytest.mark.parametrize("chunks", [(20, 28), (8, 48), (17, 33)])
def test_tiles_do_not_matter_to_fitfc(chunks: tuple[int, int]) -> None:
    fine = texture((3, 40, 48), 3)
    before, after = _means(fine), _means(texture((3, 40, 48), 4))
    fine[:, 7:9, 30:41] = np.nan
    after[:, 5, 6] = np.nan
    with nothing_computed():
        lazy = _fitfc(fine, before, after, chunks)
    np.testing.assert_array_equal(lazy.compute(scheduler="sync"), _fitfc(fine, before, after))


def test_fitfc_needs_the_own_pixels_of_the_coarse_sensor() -> None:
    fine = texture((2, 16, 16))
    with pytest.raises(ParameterError, match="ratio="):
        _fitfc(fine, fine, fine)


def test_of_equally_similar_pixels_the_nearest_are_taken() -> None:
    # All pixels are alike: the mean is over a disc, whatever their values.
    values = np.random.default_rng(0).random((1, 1, 9, 9)).astype("float32")
    seen = np.ones((9, 9), bool)
    search = Search(radius=4, number=5, scale=1e9)
    out = average_similar(np.full((2, 9, 9), 0.3, np.float32), seen, values, seen[None], search)
    near = [values[0, 0, 4 + i, 4 + j] for i, j in ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0))]
    np.testing.assert_allclose(out[0, 0], np.mean(near), rtol=1e-5)


def _efast_by_scipy(
    fine: np.ndarray, coarse: np.ndarray, fine_days: np.ndarray, days: np.ndarray, target: float, **params: float
) -> np.ndarray:
    """The whole scene at once."""
    sigma, max_days, distance = (params.get(n, v) for n, v in (("sigma", 20), ("max_days", 30), ("distance", 15)))

    def widened(image: np.ndarray) -> np.ndarray:
        return zoom(image, RATIO, order=1, grid_mode=True, mode="nearest")

    kept = abs(fine_days - target) < max_days
    fine, fine_days = fine[kept], fine_days[kept]
    near = abs(days - target) < 1.5 * max_days
    dates = np.array([target, *fine_days])
    series = np.full((len(dates), *coarse.shape[1:]), np.nan)
    for place in np.ndindex(*coarse.shape[1:]):
        values = coarse[(slice(None), *place)][near]
        seen = np.isfinite(values)
        if seen.sum() > 3:
            line = interp1d(days[near][seen], values[seen], fill_value="extrapolate")
            series[(slice(None), *place)] = line(dates)
    total, weights = np.zeros(fine.shape[1:]), np.zeros(fine.shape[2:])
    for image, day, before in zip(fine, fine_days, series[1:], strict=True):
        missing = np.isnan(image).any(axis=0)
        clear = _means(missing.astype(float)) < 0.05
        far = distance_transform_edt(clear) if not clear.all() else np.full(clear.shape, np.inf)
        ramp = np.clip((far - 1) / distance, 0, 1)
        weight = widened(ramp * np.exp(-((day - target) ** 2) / (2 * sigma**2)))
        weight[missing] = 0.0
        moved = np.stack([widened(b) for b in series[0] - before])
        total += weight * (np.where(missing, 0.0, image) + moved)
        weights += weight
    with np.errstate(invalid="ignore"):
        return np.where(weights > 0, total, np.nan) / weights


def _series(seed: int, clouds: float) -> tuple[np.ndarray, np.ndarray, list[float], list[float]]:
    rng = np.random.default_rng(seed)
    fine_days, days = [1.0, 6.0, 11.0, 40.0], [0.0, 2, 3, 7, 8.5, 12, 20, 33, 38, 41]
    fine = texture((4, 2, 40, 48), seed).astype(float)
    coarse = texture((10, 2, 10, 12), seed + 1).astype(float)
    for k in range(4):
        i, j = rng.integers(0, 40), rng.integers(0, 48)
        if rng.random() < clouds:
            fine[k, :, i : i + 9, j : j + 13] = np.nan
    coarse[np.broadcast_to(rng.random((10, 1, 10, 12)) < 0.2 * clouds, coarse.shape)] = np.nan
    return fine.astype("float32").astype(float), coarse.astype("float32").astype(float), fine_days, days


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000), clouds=st.sampled_from([0.0, 0.5, 1.0]), distance=st.sampled_from([15.0, 3.0]))
def test_efast_by_scipy_is_the_same(seed: int, clouds: float, distance: float) -> None:
    fine, coarse, fine_days, days = _series(seed, clouds)
    targets = [4.0, 6.0, 25.0, 44.0]
    out = _efast(fine, coarse, fine_days, days, targets, distance=distance)
    for t, day in enumerate(targets):
        expected = _efast_by_scipy(fine, coarse, np.array(fine_days), np.array(days), day, distance=distance)
        # scipy's interpolation loses the pixels beside a coarse one that is unknown, too.
        sure = np.isfinite(expected)
        assert sure.mean() > 0.5
        np.testing.assert_allclose(out.isel(time=t).values[sure], expected[sure], atol=2e-6)


def test_efast_follows_the_coarse_series() -> None:
    # All pixels change alike: then the coarse series is all there is to know.
    first = texture((2, 24, 24)).astype(float)
    days = np.arange(0.0, 40.0, 4.0)
    course = 0.002 * days[:, None, None, None] * np.array([1.0, -0.5])[:, None, None]
    coarse = _means(first)[None] + course
    fine = first[None] + course[[2, 7]]
    out = _efast(fine, coarse, days[[2, 7]].tolist(), days.tolist(), days[3:7].tolist())
    np.testing.assert_allclose(out, first + course[3:7], atol=1e-6)


def test_efast_leaves_pixels_without_a_value_where_nothing_tells() -> None:
    fine, coarse, fine_days, days = _series(0, 0.0)
    coarse[2:, :, 3, 4] = np.nan  # two dates are too few
    fine[:, :, :8, :8] = np.nan  # a cloud, and the coarse pixels beside it are not trusted
    out = _efast(fine, coarse, fine_days, days, [5.0]).isel(time=0)
    sure = np.isnan(out.values).all(axis=0)
    assert sure[:8, :8].all()
    assert sure[12:16, 16:20].all()
    assert not sure[20:, :].any()
    assert not sure[:, 24:].any()


@pytest.mark.parametrize("chunks", [(20, 28), (8, 48), (17, 33)])
def test_tiles_do_not_matter_to_efast(chunks: tuple[int, int]) -> None:
    fine, coarse, fine_days, days = _series(2, 1.0)
    coarse[2:, :, 3, 4] = np.nan
    with nothing_computed():
        lazy = _efast(fine, coarse, fine_days, days, [5.0, 9.0], chunks)
    np.testing.assert_array_equal(lazy.compute(scheduler="sync"), _efast(fine, coarse, fine_days, days, [5.0, 9.0]))


def test_the_empty_end_of_a_scene_is_cloud_to_efast_at_any_chunking() -> None:
    fine, coarse, fine_days, days = _series(3, 1.0)
    fine[..., 28:, :] = np.nan
    coarse[..., 7:, :] = np.nan
    out = _efast(fine, coarse, fine_days, days, [5.0])
    for chunks in ((4, 48), (28, 12), (8, 8)):
        np.testing.assert_array_equal(_efast(fine, coarse, fine_days, days, [5.0], chunks).compute(), out)


@pytest.fixture(scope="module")
def season() -> tuple[xr.DataArray, xr.DataArray]:
    times = pd.date_range("2023-04-20", "2023-06-20", freq="6D")
    scene = xrs.scenes.landscape((160, 160), times=times, wavelengths=[560, 660, 830, 1610]).compute()
    return scene, xrs.degrade(scene, 16, psf="box").compute()


@pytest.mark.parametrize("method", ["fitfc", "efast"])
def test_closer_to_the_truth_than_the_nearest_image_and_than_the_coarse_one(
    season: tuple[xr.DataArray, xr.DataArray], method: str
) -> None:
    scene, coarse = season
    given, t = [1, 9], 4
    out = xrs.fuse_spatiotemporal(
        scene.isel(time=given), coarse, method, target_times=scene.time.values[[t]], harmonize=False
    )
    truth = scene.isel(time=t).values

    def error(values: np.ndarray) -> float:
        return float(np.sqrt(((values - truth) ** 2).mean()))

    blocks = coarse.isel(time=t).values.repeat(16, axis=1).repeat(16, axis=2)
    assert error(out.isel(time=0).values) < min(error(scene.isel(time=given[0]).values), error(blocks))
