"""STARFM against per-pixel NumPy, closed forms, and simulated landscapes such as those of its paper."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import texture
from test_st_estarfm import dated, fuse, pictures

import xrs

OPTIONS = {"classes": 4.0, "spatial_impact": 3.0, "uncertainty_fine": 0.01, "uncertainty_coarse": 0.015}


def starfm_by_pixel(
    fine: np.ndarray, coarse: np.ndarray, target: np.ndarray, *, window: int, classes: float, spatial_impact: float,
    uncertainty_fine: float, uncertainty_coarse: float, log: bool,
) -> np.ndarray:  # fmt: skip
    """One band: images (pair, y, x), (y, x)."""
    fine, coarse, target = (a.astype(np.float64) for a in (fine, coarse, target))
    out, radius = np.empty(target.shape), window // 2
    s, t = np.abs(fine - coarse), np.abs(coarse - target)
    for y, x in np.ndindex(*target.shape):
        if (s[:, y, x] == 0).any() or (t[:, y, x] == 0).any():
            certain = (s[:, y, x] == 0) | (t[:, y, x] == 0)
            out[y, x] = (fine + target - coarse)[certain, y, x].mean()
            continue
        total = norm = 0.0
        for k in range(len(fine)):
            for i in range(max(0, y - radius), min(len(target), y + radius + 1)):
                for j in range(max(0, x - radius), min(target.shape[1], x + radius + 1)):
                    similar = abs(fine[k, i, j] - fine[k, y, x]) < 2 * fine[k].std(ddof=1) / classes
                    better = s[k, i, j] < s[:, y, x].max() + np.hypot(uncertainty_fine, uncertainty_coarse)
                    steady = t[k, i, j] < t[:, y, x].max() + np.sqrt(2) * uncertainty_coarse
                    if similar and better and steady:
                        ds, dt = 1e4 * s[k, i, j] + 1, 1e4 * t[k, i, j] + 1
                        combined = np.log(ds + 1) * np.log(dt + 1) if log else ds * dt
                        weight = 1 / (combined * (1 + np.hypot(i - y, j - x) / spatial_impact))
                        total, norm = total + weight * (fine + target - coarse)[k, i, j], norm + weight
        out[y, x] = total / norm
    return out


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("pairs", [1, 2])
def test_every_pixel_is_that_of_the_formulas(pairs: int, log: bool) -> None:
    fine, coarse = pictures(2)
    # A few centres where the sensors agree, or nothing changes.
    coarse[0, 0, 3, 4:7] = fine[0, 0, 3, 4:7]
    coarse[1, 0, 9, 4:7] = coarse[2, 0, 9, 4:7]
    options: dict[str, Any] = {"window": 7, "log": log, **OPTIONS}
    found = fuse(fine, coarse, "starfm", pairs=pairs, **options)[0]
    seen = [0, 2][:pairs]
    for b in range(2):
        wanted = starfm_by_pixel(fine[seen, b], coarse[seen, b], coarse[1, b], **options)
        np.testing.assert_allclose(found[b], wanted, atol=1e-6)


class TestClosedForms:
    def test_without_change_nothing_changes(self) -> None:
        fine, coarse = pictures(2)
        coarse[1] = coarse[0]
        np.testing.assert_allclose(fuse(fine, coarse, "starfm")[0], fine[0], atol=1e-7)

    def test_where_the_sensors_agree_the_coarse_image_stands(self) -> None:
        fine, _ = pictures(2)
        np.testing.assert_allclose(fuse(fine, fine, "starfm")[0], fine[1], atol=1e-6)

    def test_classes_that_change_each_by_its_own_amount(self) -> None:
        cover = (np.add.outer(np.arange(20) // 10, np.arange(24) // 8) % 2).astype(np.float32)
        season = np.array([0.0, 0.03, 0.07], "float32")[:, None, None, None]
        fine = 0.2 + 0.1 * cover + season * (1 - 2 * cover)
        found = fuse(fine.astype("float32"), (fine + 0.02 * cover - 0.03).astype("float32"), "starfm")
        np.testing.assert_allclose(found, fine[1:2], atol=1e-6)


class TestSimulatedLandscapes:
    """Water of 0.05 in vegetation, seen by coarse pixels of 17 fine ones.

    A pure neighbour of a mixed pixel is nearer to it in S, but changes more: only one of the filters lets it pass.
    """

    RATIO = 17
    SIDE = 153

    def _images(self, radii: tuple[float, float], vegetation: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
        offset = np.arange(self.SIDE) - self.SIDE // 2
        distance = np.hypot(offset[:, None], offset)
        dates = [np.where(distance < r, 0.05, v) for r, v in zip(radii, vegetation, strict=True)]
        fine = np.stack(dates).astype("float32")[:, None]
        cells = fine.reshape(2, 1, self.SIDE // self.RATIO, self.RATIO, -1, self.RATIO)
        return fine, np.repeat(np.repeat(cells.mean(axis=(3, 5)), self.RATIO, 2), self.RATIO, 3)

    def _errors(self, fine: np.ndarray, coarse: np.ndarray, **options: Any) -> tuple[float, float]:
        cubes = dated(fine), dated(coarse)
        days = cubes[0].time.values
        out = xrs.fuse_spatiotemporal(
            cubes[0].isel(time=[0]), cubes[1], "starfm", target_times=days[1], harmonize=False, **options
        ).values
        return tuple(float(np.sqrt(((image - fine[1]) ** 2).mean())) for image in (out[0], coarse[1]))

    @pytest.mark.parametrize("log", [False, True])
    def test_a_lake_in_vegetation_that_greens(self, log: bool) -> None:
        fine, coarse = self._images((40.0, 40.0), (0.1, 0.2))
        error, of_coarse = self._errors(fine, coarse, log=log, filters="either")
        # The reference program's own error on such a lake is 0.0013.
        assert error < 0.002
        assert error < 0.1 * of_coarse

    def test_a_lake_that_grows_is_not_seen(self) -> None:
        fine, coarse = self._images((30.0, 45.0), (0.4, 0.4))
        error, of_coarse = self._errors(fine, coarse)
        # As the paper says: a change of shape is known to the coarse image alone.
        assert error > of_coarse

    def test_without_pure_neighbours_in_the_window_the_change_stays_mixed(self) -> None:
        fine, coarse = self._images((40.0, 40.0), (0.1, 0.2))
        assert (
            self._errors(fine, coarse, window=5, filters="either")[0]
            > 3 * self._errors(fine, coarse, filters="either")[0]
        )


class TestGaps:
    def test_a_cloud_on_one_pair_is_predicted_from_the_other(self) -> None:
        fine, coarse = pictures(2)
        holed = fine.copy()
        holed[0, :, 4:9, 3:8] = np.nan
        found = fuse(holed, coarse, "starfm", window=7)[0]
        assert np.isfinite(found).all()
        # The first pair tells nothing of the cloud's middle.
        alone = fuse(
            np.where(np.arange(3)[:, None, None, None] == 0, np.float32(np.nan), fine), coarse, "starfm", window=7
        )
        np.testing.assert_allclose(found[:, 6, 5], alone[0, :, 6, 5], atol=1e-6)

    def test_what_no_pair_saw_is_missing(self) -> None:
        fine, coarse = pictures(2)
        fine[:, 0, 4:9, 3:8] = np.nan
        found = fuse(fine, coarse, "starfm", window=7)[0]
        assert np.isnan(found[0, 4:9, 3:8]).all()
        assert np.isnan(found).sum() == 25

    def test_a_cloud_on_the_date_predicted_is_bridged_as_far_as_the_window_sees(self) -> None:
        still = np.full((1, 1, 15, 17), 0.3, "float32") + np.where(texture((1, 1, 15, 17)) > 0.3, 0.1, 0).astype("f4")
        change = np.array([0.0, 0.05, 0.09], "float32")[:, None, None, None]
        fine, coarse = still + change, still + change + np.float32(0.02)
        coarse[1, :, 4:9, 3:8] = np.nan
        np.testing.assert_allclose(fuse(fine, coarse, "starfm", window=13), fine[1:2], atol=1e-6)
        assert np.isnan(fuse(fine, coarse, "starfm", window=3)[0, 0, 6, 5])
