"""ESTARFM and its unbiased kin against per-pixel NumPy and SciPy, closed forms, and the baselines on the embedded scene."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import linregress
from support import cube, texture

import xrs
from xrs.errors import RadiometryError
from xrs.methods import get_method

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.bench_spatiotemporal import kranj_cubes, ndvi

BANDS = {"B03": ("green", 560.0), "B04": ("red", 665.0), "B08": ("nir", 833.0)}
DAYS = 10

#: Small windows leave few similar pixels, so that both rules occur.
SMALL = {"window": 7, "classes": 5.0}


def dated(values: np.ndarray) -> xr.DataArray:
    """A cube (time, band, y, x), ten days between dates."""
    times, bands = values.shape[:2]
    keys = dict(list(BANDS.items())[:bands])
    da = cube(values.shape[2:], times=times, bands=keys, values=values.astype("float32"))
    return da.assign_coords(time=np.datetime64("2024-04-01", "ns") + np.arange(times) * np.timedelta64(DAYS, "D"))


def fuse(fine: np.ndarray, coarse: np.ndarray, method: str = "estarfm", **options: Any) -> np.ndarray:
    """Predict the dates of ``coarse`` (time, band, y, x) between the pairs: the first, the last, and ``more`` of them."""
    seen = [0, *options.pop("more", ()), len(coarse) - 1]
    options = {"pairs": len(seen), "harmonize": False, **options}
    cubes = dated(fine).isel(time=seen), dated(coarse)
    return xrs.fuse_spatiotemporal(*cubes, method, target_times=cubes[1].time.values[1:-1], **options).values


def pictures(bands: int, shape: tuple[int, int] = (15, 17), dates: int = 3, seed: int = 0) -> tuple[Any, Any]:
    """Fine and coarse images that change, on one grid; patches, so that there are similar pixels."""
    rng = np.random.default_rng(seed)
    cover = texture((1, 1, *shape), seed, 2.0) > 0.3
    season = np.linspace(0.0, 0.12, dates)[:, None, None, None] * rng.uniform(0.5, 1.0, (1, bands, 1, 1))
    fine = np.where(cover, 0.35 + season, 0.2 - 0.3 * season) + 0.02 * rng.standard_normal((dates, bands, *shape))
    coarse = 0.8 * fine + 0.03 + 0.02 * rng.standard_normal(fine.shape)
    return fine.astype("float32"), coarse.astype("float32")


def similar_pixels(fine: np.ndarray, y: int, x: int, window: int, thresholds: np.ndarray, number: int | None) -> Any:
    """Rows and columns of the pixels (pair, band, y, x) similar to one, the most similar first."""
    radius, (height, width) = window // 2, fine.shape[2:]
    found = []
    for i in range(max(0, y - radius), min(height, y + radius + 1)):
        for j in range(max(0, x - radius), min(width, x + radius + 1)):
            gaps = np.abs(fine[:, :, i, j] - fine[:, :, y, x])
            if (gaps < thresholds).all():
                found.append((float((gaps / thresholds).sum()), i, j))
    if number is not None:
        found = sorted(found)[:number]
    return np.array([i for _, i, _ in found], int), np.array([j for _, _, j in found], int)


def temporal_weights(coarse: np.ndarray, target: np.ndarray, y: int, x: int, window: int) -> tuple[Any, Any]:
    radius = window // 2
    part = np.s_[..., max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
    steps = target[part].mean(axis=(-2, -1)) - coarse[part].mean(axis=(-2, -1))
    inverse = 1.0 / (np.abs(steps) + 1e-10)
    return inverse / inverse.sum(), steps


def slope(fine: np.ndarray, coarse: np.ndarray, least: float) -> float:
    """Of fine on coarse values (pair, pixel)."""
    levels = coarse.mean(axis=1)
    if levels.max() - levels.min() < least:
        return 1.0
    line = linregress(coarse.ravel(), fine.ravel())
    return line.slope if line.pvalue <= 0.05 and 0 < line.slope <= 5 else 1.0


def estarfm_by_pixel(
    fine: np.ndarray, coarse: np.ndarray, target: np.ndarray, *, window: int, classes: float, similar: int | None,
    valid_range: tuple[float, float],
) -> np.ndarray:  # fmt: skip
    fine, coarse, target = (a.astype(np.float64) for a in (fine, coarse, target))
    thresholds = fine.std(axis=(2, 3), ddof=1) * 2 / classes
    out = np.empty(target.shape)
    for y, x in np.ndindex(*target.shape[1:]):
        i, j = similar_pixels(fine, y, x, window, thresholds, similar)
        if fine.shape[1] == 1:
            f, c = fine[:, 0, i, j], coarse[:, 0, i, j]
            alike = 1 - np.abs((f - c) / (f + c)).mean(axis=0)
        else:
            alike = [
                np.corrcoef(fine[:, :, a, b].ravel(), coarse[:, :, a, b].ravel())[0, 1]
                for a, b in zip(i, j, strict=True)
            ]
        distance = 1 + np.hypot(i - y, j - x) / (window // 2)
        weight = 1 / ((1 - np.asarray(alike)) * distance + 1e-7)
        weight /= weight.sum()
        for b in range(target.shape[0]):
            share, steps = temporal_weights(coarse[:, b], target[b], y, x, window)
            if len(i) > 5:
                v = slope(fine[:, b, i, j], coarse[:, b, i, j], 0.02 * valid_range[1])
                change = (weight * v * (target[b, i, j] - coarse[:, b, i, j])).sum(axis=1)
                out[b, y, x] = share @ (fine[:, b, y, x] + change)
                if not valid_range[0] < out[b, y, x] < valid_range[1]:
                    out[b, y, x] = share @ (weight * fine[:, b, i, j]).sum(axis=1)
            else:
                out[b, y, x] = share @ (fine[:, b, y, x] + steps)
    return out


def ubestarfm_by_pixel(fine: np.ndarray, coarse: np.ndarray, target: np.ndarray, window: int) -> np.ndarray:
    """One band: images (pair, y, x), (y, x)."""
    fine, coarse, target = (a.astype(np.float64) for a in (fine, coarse, target))
    thresholds = fine.std(axis=(1, 2), ddof=1)[:, None]
    radius, out = window // 2, np.empty(target.shape)
    for y, x in np.ndindex(*target.shape):
        i, j = similar_pixels(fine[:, None], y, x, window, thresholds, None)
        share, steps = temporal_weights(coarse, target, y, x, window)
        part = np.s_[:, max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
        if len(i) > 5:
            shift = (coarse[:, i, j] - fine[:, i, j]).mean(axis=1)
            f, c = fine[:, i, j] + shift[:, None], coarse[:, i, j]
            alike = 1 - np.abs((f - c) / (f + c)).mean(axis=0)
            weight = 1 / ((1 - np.where(np.abs(alike) > 1, 0.5, alike)) * (1 + np.hypot(i - y, j - x) / radius) + 1e-7)
            weight /= weight.sum()
            steps = (weight * (target[i, j] - c)).sum(axis=1)
        else:
            shift = (coarse[part] - fine[part]).mean(axis=(1, 2))
        out[y, x] = share @ (fine[:, y, x] + shift + steps)
    return out


class TestByPixel:
    @pytest.mark.parametrize("bands", [1, 3])
    @pytest.mark.parametrize("similar", [9, None])
    def test_estarfm(self, bands: int, similar: int | None) -> None:
        fine, coarse = pictures(bands)
        found = fuse(fine, coarse, similar=similar, **SMALL)[0]
        wanted = estarfm_by_pixel(
            fine[[0, 2]], coarse[[0, 2]], coarse[1], similar=similar, valid_range=(0.0, 1.0), **SMALL
        )
        np.testing.assert_allclose(found, wanted, atol=2e-6)

    def test_predictions_outside_of_the_valid_range(self) -> None:
        fine, coarse = pictures(3)
        limits = (0.2, 0.38)
        found = fuse(fine, coarse, valid_range=limits, similar=None, **SMALL)[0]
        free = fuse(fine, coarse, valid_range=(-9.0, limits[1]), similar=None, **SMALL)[0]
        assert (free < limits[0]).mean() > 0.05
        wanted = estarfm_by_pixel(fine[[0, 2]], coarse[[0, 2]], coarse[1], similar=None, valid_range=limits, **SMALL)
        np.testing.assert_allclose(found, wanted, atol=2e-6)

    def test_the_pictures_try_every_rule(self) -> None:
        fine, coarse = pictures(3)
        pairs = fine[[0, 2]].astype(np.float64), coarse[[0, 2]].astype(np.float64)
        thresholds = pairs[0].std(axis=(2, 3), ddof=1) * 2 / SMALL["classes"]
        few, slopes = 0, []
        for y, x in np.ndindex(*fine.shape[2:]):
            i, j = similar_pixels(pairs[0], y, x, 7, thresholds, None)
            few += len(i) <= 5
            slopes += [slope(pairs[0][:, b, i, j], pairs[1][:, b, i, j], 0.02) for b in range(3) if len(i) > 5]
        assert 0.1 < few / fine[0, 0].size < 0.9
        assert 0.1 < np.mean(np.array(slopes) == 1.0) < 0.9

    def test_four_pairs(self) -> None:
        fine, coarse = pictures(3, dates=5)
        found = fuse(fine, coarse, more=(1, 3), **SMALL, similar=None)[1]
        wanted = estarfm_by_pixel(
            fine[[0, 1, 3, 4]], coarse[[0, 1, 3, 4]], coarse[2], similar=None, valid_range=(0.0, 1.0), **SMALL
        )
        np.testing.assert_allclose(found, wanted, atol=2e-6)

    def test_ubestarfm_in_kelvin(self) -> None:
        fine, coarse = (280 + 100 * image for image in pictures(1))
        found = fuse(fine, coarse, "ubestarfm", window=7, valid_range=(250.0, 350.0))[0, 0]
        wanted = ubestarfm_by_pixel(fine[[0, 2], 0], coarse[[0, 2], 0], coarse[1, 0], 7)
        np.testing.assert_allclose(found, wanted, atol=3e-4)


class TestClosedForms:
    """Cases whose truth is known whatever the window."""

    @pytest.mark.parametrize("method", ["estarfm", "ubestarfm", "starfm"])
    def test_homogeneous_scenes(self, method: str) -> None:
        levels = np.array([0.2, 0.3, 0.26, 0.35], "float32")[:, None, None, None]
        flat = np.broadcast_to(levels, (4, 2, 9, 8)).copy()
        np.testing.assert_allclose(fuse(flat, flat, method), flat[1:3], atol=1e-6)

    @pytest.mark.parametrize("similar", [20, None])
    def test_a_change_that_is_the_same_everywhere(self, similar: int | None) -> None:
        still = pictures(2, dates=1)[0]
        change = np.array([0.0, 0.015, -0.01, 0.005], "float32")[:, None, None, None]
        fine, coarse = still + change, pictures(2, dates=1, seed=1)[0] + change
        # Less than 2 % of change between the pairs: nothing to convert by.
        np.testing.assert_allclose(fuse(fine, coarse, similar=similar, window=9), fine[1:3], atol=1e-6)

    def test_proportional_sensors_that_change_linearly(self) -> None:
        still = pictures(2, dates=1)[0]
        time = np.linspace(0.0, 0.1, 5, dtype="float32")[:, None, None, None]
        coarse = still + time
        fine = 1.6 * coarse - 0.05
        found = fuse(fine, coarse, window=9, classes=2.0, similar=None)
        few = np.isclose(found, fine[1:4], atol=1e-5)
        # Where the window's own mean change must do, it is not converted.
        assert few.mean() > 0.98
        np.testing.assert_allclose(found[:, :, 5:9, 5:9], fine[1:4, :, 5:9, 5:9], atol=1e-5)

    def test_a_date_of_a_pair_gives_that_pair(self) -> None:
        fine, coarse = pictures(3)
        coarse[1] = coarse[0]
        np.testing.assert_allclose(fuse(fine, coarse, **SMALL)[0], fine[0], atol=1e-5)

    def test_moved_pictures_give_a_moved_prediction(self) -> None:
        fine, coarse = pictures(3, (30, 31))
        whole = fuse(fine, coarse, window=5)[0]
        # The same spread, so the same thresholds: the picture is rolled, and looked at far from its seams.
        moved = fuse(np.roll(fine, (3, 4), (2, 3)), np.roll(coarse, (3, 4), (2, 3)), window=5)[0]
        np.testing.assert_allclose(moved[:, 8:-5, 8:-5], np.roll(whole, (3, 4), (1, 2))[:, 8:-5, 8:-5], atol=1e-6)

    def test_a_bias_between_the_sensors_leaves_the_unbiased_prediction(self) -> None:
        fine, coarse = pictures(1)
        biased = fuse(fine + np.float32(0.1), coarse, "ubestarfm", window=7)
        np.testing.assert_allclose(biased, fuse(fine, coarse, "ubestarfm", window=7), atol=2e-6)
        np.testing.assert_allclose(
            fuse(fine + np.float32(0.1), coarse, window=7), fuse(fine, coarse, window=7) + 0.1, atol=0.05
        )

    def test_significance_is_that_of_the_f_test(self) -> None:
        from scipy.stats import f

        from xrs.methods.spatiotemporal._enhanced import _least_determination

        least = _least_determination(2, 60)
        for count in (3, 6, 20, 60):
            freedom = 2 * count - 2
            np.testing.assert_allclose(f.sf(least[count] / (1 - least[count]) * freedom, 1, freedom), 0.05, rtol=1e-6)


class TestGaps:
    CHANGE = np.array([0.0, 0.012, 0.018], "float32")[:, None, None, None]

    def _steady(self) -> tuple[np.ndarray, np.ndarray]:
        return pictures(2, dates=1)[0] + self.CHANGE, pictures(2, dates=1, seed=1)[0] + self.CHANGE

    @pytest.mark.parametrize("method", ["estarfm", "ubestarfm"])
    @pytest.mark.parametrize("date", [0, 2])
    def test_a_cloud_on_one_pair_is_predicted_from_the_other(self, method: str, date: int) -> None:
        fine, coarse = self._steady()
        if method == "ubestarfm":
            coarse = fine.copy()
        holed = fine.copy()
        holed[date, :, 4:9, 3:8] = np.nan
        np.testing.assert_allclose(fuse(holed, coarse, method, window=9), fine[1:2], atol=2e-6)

    def test_one_band_missing_counts_as_the_pixel_missing(self) -> None:
        fine, coarse = self._steady()
        fine[0, 1, 5, 5] = fine[2, 0, 5, 5] = np.nan
        found = fuse(fine, coarse, window=9)[0]
        assert np.isnan(found[:, 5, 5]).all()
        assert np.isnan(found).sum() == 2

    def test_a_cloud_on_the_date_predicted_is_bridged_as_far_as_the_window_sees(self) -> None:
        fine, coarse = self._steady()
        holed = coarse.copy()
        holed[1, :, 4:9, 3:8] = np.nan
        np.testing.assert_allclose(fuse(fine, holed, window=9), fine[1:2], atol=2e-6)
        assert np.isnan(fuse(fine, holed, window=3)[0, :, 6, 5]).all()

    def test_dates_with_and_without_clouds_do_not_touch(self) -> None:
        fine, coarse = pictures(2, dates=4)
        holed = coarse.copy()
        holed[1, :, 4:9, 3:8] = np.nan
        np.testing.assert_array_equal(fuse(fine, holed, **SMALL)[1], fuse(fine, coarse, **SMALL)[1])

    @settings(max_examples=25, deadline=None)
    @given(
        st.sampled_from(["starfm", "estarfm", "ubestarfm", "no_change", "interpolate"]),
        arrays(np.bool_, (2, 2, 9, 11)),
        arrays(np.bool_, (9, 11)),
    )
    def test_a_pixel_is_missing_where_no_pair_saw_it(self, method: str, lost: np.ndarray, wide: np.ndarray) -> None:
        fine, coarse = pictures(2, (9, 11))
        lost = lost & wide
        fine[[0, 2]] = np.where(lost, np.nan, fine[[0, 2]])
        found = np.isnan(fuse(fine, coarse, method, pairs=2)[0])
        # ESTARFM's similar pixels are similar in all bands; the others look at each band by itself.
        unseen = lost.any(axis=1, keepdims=True) if method == "estarfm" else lost
        np.testing.assert_array_equal(found, np.broadcast_to(unseen.all(axis=0), found.shape))


class TestBaselines:
    def test_interpolation_is_that_of_numpy(self) -> None:
        fine, coarse = pictures(2, dates=5)
        fine[2, 0, 3, 4] = fine[4, 1, 3, 4] = np.nan
        found = fuse(fine, coarse, "interpolate", more=(2,))
        days = np.arange(5.0)
        for b, y, x in ((0, 3, 4), (1, 3, 4), (0, 8, 8)):
            seen = [t for t in (0, 2, 4) if np.isfinite(fine[t, b, y, x])]
            np.testing.assert_allclose(
                found[:, b, y, x], np.interp(days[1:-1], days[seen], fine[seen, b, y, x]), atol=1e-6
            )

    def test_the_nearest_image_that_saw_the_pixel(self) -> None:
        fine, coarse = pictures(2, dates=5)
        fine[4, 0, 3, 4] = np.nan
        found = fuse(fine, coarse, "no_change")
        np.testing.assert_array_equal(found[:2], fine[[0, 0]])
        np.testing.assert_array_equal(found[2, 1], fine[4, 1])
        assert found[2, 0, 3, 4] == fine[0, 0, 3, 4]


@pytest.fixture(scope="module")
def landscape() -> tuple[xr.DataArray, xr.DataArray]:
    """A summer of the embedded scene: red and near infrared, and what a sensor with pixels eight times as large sees."""
    times = ["2023-05-01", "2023-05-31", "2023-06-30"]
    scene = xrs.scenes.landscape((96, 96), resolution=30.0, times=times, wavelengths=[660, 830]).compute()
    return scene, xrs.degrade(scene, 8, psf="box")


def misfit(method: str, landscape: tuple[xr.DataArray, xr.DataArray], **options: Any) -> np.ndarray:
    """Root mean square error of each band on the middle date."""
    scene, coarse = landscape
    out = xrs.fuse_spatiotemporal(
        scene.isel(time=[0, 2]), coarse, method, target_times=scene.time.values[1], harmonize=False, **options
    )
    return np.sqrt(((out - scene.isel(time=[1])) ** 2).mean(("time", "y", "x"))).values


def test_fusion_beats_what_does_not_look_at_the_coarse_images(landscape: tuple[xr.DataArray, xr.DataArray]) -> None:
    least = np.minimum(misfit("no_change", landscape), misfit("interpolate", landscape))
    for similar in (20, None):
        assert (misfit("estarfm", landscape, similar=similar) < least).all()
    assert (misfit("starfm", landscape, pairs=1) < misfit("no_change", landscape)).all()


def test_kranj(shared_data: Path) -> None:
    """Landsat 8 from MODIS: what the coarse images tell of red helps; of near infrared they know no more than the time."""
    landsat, modis = kranj_cubes(shared_data / "kranj_landsat_modis.nc")
    day = np.datetime64("2020-03-17", "ns")
    truth = landsat.sel(time=[day])

    def errors(method: str) -> list[float]:
        fused = xrs.fuse_spatiotemporal(
            landsat, modis, method, target_times=day, pair_times=["2020-03-08", "2020-04-02"]
        )
        views = [lambda c: c.sel(band="red"), lambda c: c.sel(band="nir"), ndvi]
        return [float(np.sqrt(((view(fused) - view(truth)) ** 2).mean())) for view in views]

    found = {name: errors(name) for name in ("no_change", "interpolate", "starfm", "estarfm")}
    assert np.less(found["starfm"], found["no_change"]).all()
    assert np.less(found["estarfm"], found["no_change"]).all()
    red, _, vegetation = np.less(found["estarfm"], found["interpolate"])
    assert red
    assert vegetation


@pytest.mark.parametrize("method", ["estarfm", "ubestarfm"])
def test_another_unit_needs_its_range(method: str) -> None:
    fine, coarse = (1e4 * image for image in pictures(2))
    with pytest.raises(RadiometryError, match="valid_range"):
        fuse(fine, coarse, method)
    scaled = fuse(fine, coarse, method, valid_range=(0.0, 1e4), window=7)
    np.testing.assert_allclose(scaled, 1e4 * fuse(*pictures(2), method, window=7), atol=0.05)


def test_records_tell_what_they_need() -> None:
    for name in ("estarfm", "ubestarfm"):
        assert get_method(name, "spatiotemporal").pairs[0] == 2
    assert get_method("starfm", "spatiotemporal").pairs == (1, 2)
