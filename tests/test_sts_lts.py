"""The network of long-time-series fusion: its losses and blocks, what it makes of gaps, and whom it must beat."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from sts_scene import KEYS, QUICK, model, sensors, truth
from support import texture

import xrs
from xrs.errors import LayoutError, ModelCardError, ParameterError, TimeAxisError
from xrs.kernels import box_taps, decimate, gaussian_taps
from xrs.methods.sts._local import local_fit, reach_of_fit, with_residual
from xrs.models import load_model
from xrs.nets import get_network
from xrs.nets.lts_mtl import TASKS, Block, Evidence, LtsMtl, TaskWeights, day_code
from xrs.operators.fuse_sts import Sensors, StsCase
from xrs.training.sts import fuse_sts, train_sts
from xrs.training.sts_examples import key_dates


class TestTaskWeights:
    """Liebel and Koerner's loss by its properties."""

    @staticmethod
    def _loss(loss: float, c: float) -> float:
        weights = TaskWeights(1)
        with torch.no_grad():
            weights.c.fill_(c)
        return float(weights([torch.tensor(loss)]))

    @settings(max_examples=50, deadline=None)
    @given(st.floats(1e-3, 1e3))
    def test_least_where_its_derivative_vanishes(self, loss: float) -> None:
        found = minimize_scalar(lambda log: self._loss(loss, np.exp(log)), bounds=(-5, 5), method="bounded")
        least = (loss + np.sqrt(loss**2 + 8 * loss)) / 4
        assert np.exp(2 * found.x) == pytest.approx(least, rel=2e-2)

    @settings(max_examples=50, deadline=None)
    @given(st.floats(0, 1e6), st.floats(-1e3, 1e3))
    def test_never_negative_and_always_finite(self, loss: float, c: float) -> None:
        value = self._loss(loss, c)
        assert value >= 0
        assert np.isfinite(value)

    def test_weighs_a_larger_loss_less(self) -> None:
        weights = TaskWeights(2)
        optimizer = torch.optim.Adam(weights.parameters(), lr=0.02)
        for _ in range(1000):
            optimizer.zero_grad()
            weights([torch.tensor(0.01), torch.tensor(4.0)]).backward()
            optimizer.step()
        small, large = weights.c.square().tolist()
        assert small == pytest.approx((0.01 + np.sqrt(0.01**2 + 0.08)) / 4, rel=0.02)
        assert large == pytest.approx((4 + np.sqrt(16 + 32)) / 4, rel=0.02)

    def test_begins_with_equal_weights(self) -> None:
        assert TaskWeights(4).c.tolist() == [1.0] * 4


class TestNetwork:
    @pytest.mark.parametrize("kernels", [(1,), (1, 3), (1, 3, 5)])
    def test_block_is_its_input_and_a_branch_for_each_kernel(self, kernels: tuple[int, ...]) -> None:
        block, x = Block(4, kernels), torch.rand(1, 4, 9, 9)
        parts = [scale(x) for scale in block.scales]
        assert len(parts) == len(kernels)
        torch.testing.assert_close(block(x), x + sum(parts))

    @pytest.mark.parametrize("kernels", [(1,), (1, 3), (1, 3, 5)])
    def test_sees_no_farther_than_its_margin(self, kernels: tuple[int, ...]) -> None:
        network = LtsMtl((3, 2, 7), (1, 1, 1), components=4, features=4, kernels=kernels).eval()
        evidence = _evidence(2, side=25)
        image = evidence.wide.requires_grad_()
        network(evidence).joint[..., 12, 12].sum().backward()
        assert image.grad is not None
        away = np.abs(np.argwhere(image.grad[0].abs().sum(dim=0).numpy() > 0) - 12).max()
        assert 0 <= away <= network.margin
        assert away > 0 or kernels == (1,)

    def test_order_of_dates_does_not_matter(self) -> None:
        network = LtsMtl((3, 2, 7), (1, 1, 1), components=4, features=8).eval()
        evidence = _evidence(3)
        order = [2, 0, 1]
        turned = replace(
            evidence,
            **{n: getattr(evidence, n)[:, order] for n in ("fine", "wide_then", "spectra", "weights")},
            days=evidence.days[:, [0, *(k + 1 for k in order)]],
        )
        one, other = network(evidence), network(turned)
        for task in ("spatial", "temporal", "joint"):
            torch.testing.assert_close(getattr(one, task), getattr(other, task), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(one.spectral[:, order], other.spectral, atol=1e-5, rtol=1e-4)

    def test_a_date_of_no_weight_has_no_say(self) -> None:
        network = LtsMtl((3, 2, 7), (1, 1, 1), components=4, features=8).eval()
        evidence = _evidence(2)
        weights = torch.zeros_like(evidence.weights)
        weights[:, 0] = 1
        one = replace(evidence, weights=weights)
        noise = evidence.fine.clone()
        noise[:, 1] += 5
        torch.testing.assert_close(network(one).joint, network(replace(one, fine=noise)).joint)

    def test_days_of_the_year_come_round(self) -> None:
        codes = day_code(torch.tensor([0.0, 365.2425, 91.310625]))
        torch.testing.assert_close(codes, torch.tensor([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]), atol=1e-5, rtol=0)

    @pytest.mark.parametrize("config", [{"kernels": (2,)}, {"kernels": ()}, {"drop": 1.0}, {"kernel": (1,)}], ids=str)
    def test_wrong_config(self, config: dict[str, Any]) -> None:
        with pytest.raises(ParameterError):
            get_network("lts_mtl").build((4, 4, 30), (1, 1, 1), **config)

    def test_takes_three_sensors_on_one_grid(self) -> None:
        with pytest.raises(ParameterError, match="one grid"):
            LtsMtl((4, 30), (1, 3))


def _evidence(dates: int, side: int = 5) -> Evidence:
    generator = torch.Generator().manual_seed(1)

    def image(*shape: int) -> torch.Tensor:
        return torch.rand(1, *shape, side, side, generator=generator)

    return Evidence(
        wide=image(2),
        fine=image(dates, 3),
        wide_then=image(dates, 2),
        spectra=image(dates, 4),
        weights=torch.softmax(image(dates), dim=1),
        days=torch.tensor([[100.0, *(50.0 + 40 * k for k in range(dates))]]),
    )


class TestLocalFit:
    def test_a_linear_relation_is_carried_to_the_fine_grid(self) -> None:
        guide = texture((3, 48, 48), 1, 1.0)
        matrix = np.array([[0.5, -0.2, 0.3], [1.0, 0.4, 0.0]])
        fine = (np.einsum("bg,gyx->byx", matrix, guide) + 0.2).astype("float32")
        taps = np.tile(gaussian_taps(0.3, 3), (2, 1))
        seen = np.ones((16, 16), bool)
        found = local_fit(guide, decimate(fine, taps, 3), seen, taps, 3, window=7, ridge=1e-12)
        np.testing.assert_allclose(found, fine, atol=2e-4)

    def test_unseen_pixels_do_not_count(self) -> None:
        guide = texture((2, 40, 40), 2, 1.0)
        fine = (0.7 * guide[:1] + 0.2 * guide[1:]).astype("float32")
        taps = box_taps(2)[None]
        target, seen = decimate(fine, taps, 2), np.ones((20, 20), bool)
        target[:, 4:8, 6:11] = 77.0
        seen[4:8, 6:11] = False
        found = local_fit(guide, target, seen, taps, 2, window=9, ridge=1e-12)
        np.testing.assert_allclose(found, fine, atol=2e-3)

    def test_residual_leads_back_to_the_observation(self) -> None:
        taps = np.tile(box_taps(2), (1, 1))
        target = texture((1, 16, 16), 3)
        seen = np.ones((16, 16), bool)
        image = np.zeros((1, 32, 32), np.float32)
        once, often = (with_residual(image, target, seen, taps, 2, times=n) for n in (1, 6))
        error = [np.abs(decimate(i, taps, 2) - target)[:, 4:-4, 4:-4].max() for i in (once, often)]
        assert error[1] < 1e-2 * np.ptp(target)
        assert error[1] < error[0]

    def test_depends_on_no_more_than_its_reach(self) -> None:
        taps = np.tile(gaussian_taps(0.3, 2), (1, 1))
        reach = reach_of_fit(taps, 2, 5, 2)
        guide, target = texture((2, 160, 160), 4), texture((1, 80, 80), 5)
        seen = np.ones((80, 80), bool)

        def made(image: np.ndarray) -> np.ndarray:
            found = local_fit(guide, image, seen, taps, 2, window=5, ridge=1e-6)
            return with_residual(found, image, seen, taps, 2, times=2)

        changed = target.copy()
        changed[:, 40, 40] += 1.0
        moved = np.argwhere(np.abs(made(changed) - made(target))[0] > 1e-7)
        assert np.abs(moved - 80.5).max() <= reach + 1


class TestMethod:
    @pytest.mark.slow
    def test_beats_two_methods_in_a_row(self) -> None:
        hs, ms, wide = sensors()
        trained = train_sts(hs, ms, wide, psf="box", **{**QUICK, "steps": 200})
        between = truth().isel(time=[1, 3])
        error = {}
        for name, options in (("lts_mtl", {"model": trained}), (("starfm", "gsa_hs"), {})):
            fused = fuse_sts(hs, ms, wide, name, psf="box", **options)
            error[str(name)] = float(np.square(fused.isel(time=[1, 3]) - between).mean())
        ours, theirs = error.values()
        assert 10 * np.log10(theirs / ours) > 1.0

    def test_the_same_seed_gives_the_same_model(self) -> None:
        again = train_sts(*sensors(), psf="box", **QUICK)
        assert again.card.sha256 == model().card.sha256

    def test_a_model_from_a_file_does_the_same(self, tmp_path: Path) -> None:
        saved = model().save(tmp_path / "lts.safetensors")
        one, other = (fuse_sts(*sensors(), psf="box", model=m) for m in (model(), str(tmp_path / "lts.safetensors")))
        np.testing.assert_array_equal(one.values, other.values)
        assert load_model(str(tmp_path / "lts.safetensors")).card == saved.card

    def test_bands_may_come_in_any_order(self) -> None:
        hs, ms, wide = sensors()
        whole = fuse_sts(hs, ms, wide, psf="box", model=model())
        turned = fuse_sts(
            hs.isel(band=slice(None, None, -1)), ms.isel(band=[2, 0, 3, 1]), wide.isel(band=[3, 1, 0, 2]),
            psf="box", model=model(),
        )  # fmt: skip
        np.testing.assert_allclose(turned.sel(band=whole["band"]).values, whole.values, atol=1e-5)

    def test_card_tells_dates_and_weights(self) -> None:
        facts = model().card.training
        assert facts["dates"] == [str(t)[:10] for t in truth()["time"].values[KEYS]]
        assert set(facts["c"]) == set(TASKS)
        assert facts["ratios"] == {"hs": 3, "wide": 2}

    def test_trains_on_lazy_cubes_alike(self) -> None:
        lazy = train_sts(*(c.chunk({"x": 7, "time": 2}) for c in sensors()), psf="box", **QUICK)
        assert lazy.card.sha256 == model().card.sha256

    def test_a_single_key_date_will_do(self) -> None:
        hs, ms, wide = sensors()
        fused = fuse_sts(hs.isel(time=[1]), ms.isel(time=[1]), wide, psf="box", **QUICK)
        assert np.isfinite(fused.values).all()

    def test_values_may_be_of_any_unit(self) -> None:
        scaled = [(c * 1e4).astype("float32") for c in sensors()]
        one = fuse_sts(*sensors(), psf="box", model=model())
        other = fuse_sts(*scaled, psf="box", model=train_sts(*scaled, psf="box", **QUICK))
        np.testing.assert_allclose(other.values / 1e4, one.values, atol=2e-3)


class TestGaps:
    def test_a_hidden_date_of_the_wide_sensor_is_told_by_those_around(self) -> None:
        hs, ms, wide = sensors()
        hidden = wide.copy(deep=True)
        hidden[1] = np.nan
        fused = fuse_sts(hs, ms, hidden, psf="box", model=model()).values
        whole = fuse_sts(hs, ms, wide, psf="box", model=model()).values
        assert np.isfinite(fused).all()
        np.testing.assert_allclose(fused[[0, 2, 3, 4]], whole[[0, 2, 3, 4]], atol=1e-5)
        low, high = (f(whole[[0, 2]].min() if f is min else whole[[0, 2]].max(), 0) for f in (min, max))
        assert fused[1].min() >= low - 0.01
        assert fused[1].max() <= high + 0.01

    def test_a_hidden_key_date_leaves_the_other(self) -> None:
        hs, ms, wide = sensors()
        ms, hs = ms.copy(deep=True), hs.copy(deep=True)
        ms[1] = hs[1] = np.nan
        fused = fuse_sts(hs, ms, wide, psf="box", model=model())
        assert np.isfinite(fused.values).all()

    def test_nan_only_where_nothing_was_seen(self) -> None:
        hs, ms, wide = sensors()
        ms = ms.copy(deep=True)
        ms[:, :, 12:18, 20:30] = np.nan
        fused = fuse_sts(hs, ms, wide, psf="box", model=model()).values
        gone = np.isnan(fused).any(axis=(0, 1))
        assert gone[12:18, 20:30].all()
        gone[12:18, 20:30] = False
        assert not gone.any()

    def test_a_cloud_changes_nothing_far_away(self) -> None:
        hs, ms, wide = sensors()
        cloudy = wide.copy(deep=True)
        cloudy[1, :, :3, :3] = np.nan
        fused = fuse_sts(hs, ms, cloudy, psf="box", model=model()).values
        whole = fuse_sts(hs, ms, wide, psf="box", model=model()).values
        assert np.isfinite(fused).all()
        np.testing.assert_allclose(fused[..., 40:], whole[..., 40:], atol=1e-6)

    def test_learns_past_clouds(self) -> None:
        hs, ms, wide = (c.copy(deep=True) for c in sensors())
        ms[0, :, :20, :20] = np.nan
        wide[2, :, 10:14, 10:20] = np.nan
        hs[2, :, :4] = np.nan
        fused = fuse_sts(hs, ms, wide, psf="box", **QUICK)
        seen = truth()
        assert float(np.abs(fused - seen).mean()) < 0.05 * float(seen.max())


class TestWrong:
    def test_nothing_to_learn_from(self) -> None:
        hs, ms, wide = sensors()
        with pytest.raises(ParameterError, match="pixels"):
            train_sts(hs, ms * np.nan, wide, psf="box", **QUICK)

    def test_no_date_in_all_three(self) -> None:
        hs, ms, wide = sensors()
        with pytest.raises(TimeAxisError, match="in all of"):
            train_sts(hs.isel(time=[0]), ms.isel(time=[1]), wide, psf="box", **QUICK)

    def test_no_model(self) -> None:
        with pytest.raises(ModelCardError, match="train_sts"):
            xrs.operators.fuse_sts.fuse_sts(*sensors(), "lts_mtl")

    def test_model_of_other_bands_or_ratios(self) -> None:
        hs, ms, wide = sensors()
        with pytest.raises(ModelCardError, match="ms has the bands"):
            fuse_sts(hs, ms.isel(band=[0, 1]), wide, psf="box", model=model())
        with pytest.raises(ModelCardError, match="pixels of"):
            fuse_sts(*sensors(4, 2), psf="box", model=model())

    def test_bands_need_keys(self) -> None:
        hs, ms, wide = sensors()
        with pytest.raises((LayoutError, xrs.errors.BandNotFoundError)):
            train_sts(hs, ms.drop_vars("band"), wide, psf="box", **QUICK)

    @pytest.mark.parametrize(
        "options",
        [{"steps": 0}, {"lr": 0.0}, {"network": "dsen2"}, {"pairs": 0}, {"nonsense": 1}, {"held_out": 1.0}],
        ids=str,
    )
    def test_parameters(self, options: dict[str, Any]) -> None:
        with pytest.raises(ParameterError):
            train_sts(*sensors(), psf="box", **{**QUICK, **options})


def test_key_dates_are_predicted_from_the_others() -> None:
    hs, ms, wide = sensors()
    dates = key_dates(StsCase.of({"hs": hs, "ms": ms, "wide": wide}, Sensors(), "box"), "1D")
    assert [dates.others(k, 2) for k in range(3)] == [(1, 2), (0, 2), (0, 1)]
