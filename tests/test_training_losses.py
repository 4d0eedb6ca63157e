"""Losses against other implementations and closed forms; learning rates against torch's own schedulers."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.image import (
    error_relative_global_dimensionless_synthesis,
    image_gradients,
    spectral_angle_mapper,
)

from xrs.errors import ParameterError
from xrs.learning.losses import LOSSES, ergas, gradient, l1, make_loss, sam
from xrs.learning.schedule import cosine, epochs_without_gain, plateau, rate


def images(seed: int = 0, shape: tuple[int, ...] = (2, 4, 12, 10)) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(shape, generator=generator) + 0.2
    prediction = target + 0.1 * torch.randn(shape, generator=generator)
    return prediction, target, torch.ones(shape, dtype=torch.bool)


class TestLosses:
    def test_against_other_implementations(self) -> None:
        prediction, target, mask = images()
        assert float(l1(prediction, target, mask)) == pytest.approx(
            float(torch.nn.functional.l1_loss(prediction, target))
        )
        angles = spectral_angle_mapper(prediction, target, reduction="none")
        assert float(sam(prediction, target, mask)) == pytest.approx(float((1 - angles.cos()).mean()), rel=1e-4)
        one = [i[:1] for i in (prediction, target, mask)]
        theirs = error_relative_global_dimensionless_synthesis(one[0], one[1], ratio=4)
        assert 25 * float(ergas(*one)) == pytest.approx(float(theirs), rel=1e-3)
        rows, columns = image_gradients(prediction - target)
        expected = (rows[:, :, :-1].abs().mean() + columns[:, :, :, :-1].abs().mean()) / 2
        assert float(gradient(prediction, target, mask)) == pytest.approx(float(expected), rel=1e-5)

    @pytest.mark.parametrize("name", LOSSES)
    def test_a_perfect_result_costs_nothing(self, name: str) -> None:
        _, target, mask = images()
        exact = target.clone().requires_grad_()
        loss = LOSSES[name](exact, target, mask)
        loss.backward()
        assert float(loss.detach()) == pytest.approx(0.0, abs=1e-6)
        assert torch.isfinite(exact.grad).all()

    @pytest.mark.parametrize("name", LOSSES)
    @settings(max_examples=10, deadline=None)
    @given(st.integers(0, 1000))
    def test_masked_pixels_do_not_count(self, name: str, seed: int) -> None:
        prediction, target, mask = images(seed)
        mask[:, :, 3:6, 4:7] = False
        mask[0, 1, 9, 9] = False
        spoiled = torch.where(mask, prediction, torch.full((), 7.0)).requires_grad_()
        loss = LOSSES[name](spoiled, torch.where(mask, target, torch.zeros(())), mask)
        loss.backward()
        if name != "sam":  # SAM leaves out the whole pixel
            assert float(loss.detach()) == pytest.approx(float(LOSSES[name](prediction, target, mask)), rel=1e-5)
        assert (spoiled.grad[~mask] == 0).all()

    @pytest.mark.parametrize("name", LOSSES)
    def test_nothing_seen_is_no_loss(self, name: str) -> None:
        prediction, target, mask = images()
        prediction.requires_grad_()
        loss = LOSSES[name](prediction, target, ~mask)
        loss.backward()
        assert float(loss.detach()) == pytest.approx(0.0, abs=1e-6)
        assert torch.isfinite(prediction.grad).all()

    def test_weights(self) -> None:
        args = images()
        both = make_loss({"l1": 2.0, "sam": 0.5, "ergas": 0.0})(*args)
        assert float(both) == pytest.approx(2 * float(l1(*args)) + 0.5 * float(sam(*args)))

    @pytest.mark.parametrize("wrong", ["l3", {"l1": -1.0}, {"l1": 0.0}, {}, {"l1": math.nan}])
    def test_refusals(self, wrong: object) -> None:
        with pytest.raises(ParameterError):
            make_loss(wrong)  # type: ignore[arg-type]


class TestRates:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.floats(0.01, 10.0), max_size=60), st.integers(0, 4), st.integers(0, 4))
    def test_plateau_is_torchs(self, losses: list[float], patience: int, cooldown: int) -> None:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=0.5, patience=patience, cooldown=cooldown, threshold=1e-4, min_lr=0.001
        )
        for n, loss in enumerate(losses):
            theirs.step(loss)
            ours = plateau(losses[: n + 1], 0.1, patience=patience, cooldown=cooldown, least=0.01)
            assert ours == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6)

    def test_cosine_is_torchs(self) -> None:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=9, eta_min=0.001)
        for epoch in range(10):
            assert cosine(epoch, 10, 0.1) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                theirs.step()

    def test_gain_must_be_worth_it(self) -> None:
        assert epochs_without_gain([]) == 0
        assert epochs_without_gain([1.0, 0.5, 0.4999, 0.4998]) == 2
        assert epochs_without_gain([1.0, 0.5, 0.6, 0.4]) == 0
        # Many small gains are a gain: each is held against the last that counted.
        assert epochs_without_gain(list(np.geomspace(1.0, 0.9, 500))) < 10

    def test_refusals(self) -> None:
        with pytest.raises(ParameterError, match="schedule"):
            rate("linear", [], 0.1, 10)
        with pytest.raises(ParameterError, match="auto"):
            rate("cosine", [], 0.1, None)
