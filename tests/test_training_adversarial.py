"""Training against a discriminator: it learns, makes results sharper, and changes nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn.functional import avg_pool2d
from training import TINY, assert_same_weights, tree

import xrs
from xrs.errors import ParameterError
from xrs.learning.adversarial import Opponent, discriminator_loss, generator_loss
from xrs.learning.devices import OneDevice
from xrs.learning.learner import Learner
from xrs.learning.loop import Settings, Term, fit
from xrs.learning.losses import make_loss
from xrs.learning.patches import Patches
from xrs.nets import get_network
from xrs.nets._discriminator import Discriminator

LOSS = {"l1": 1.0, "adversarial": 1e-3}
CALL: dict[str, Any] = TINY | {"patch_size": 16, "loss": LOSS}


def curve(model: Any) -> list[float]:
    return [epoch["held_out"] for epoch in model.card.training["loss_curve"]]


def fields(count: int, seed: int, spread: float, side: int = 32) -> np.ndarray:
    """Random images (N, 1, y, x) of unit variance and a given correlation length in pixels."""
    noise = np.random.default_rng(seed).normal(size=(count, 1, side, side))
    smooth = gaussian_filter(noise, (0, 0, spread, spread))
    return (smooth / smooth.std()).astype(np.float32)


def energy(image: np.ndarray) -> float:
    """Mean square of the differences between neighbours."""
    return float((np.diff(image, axis=2) ** 2).mean() + (np.diff(image, axis=3) ** 2).mean())


class TestLosses:
    def test_least_squares(self) -> None:
        true, false = torch.tensor([1.0, 0.5]), torch.tensor([0.0, 1.0])
        half = torch.nn.MSELoss()
        expected = half(true, torch.ones(2)) / 2 + half(false, torch.zeros(2)) / 2
        assert float(discriminator_loss(true, false)) == pytest.approx(float(expected))
        assert float(generator_loss(false)) == pytest.approx(float(half(false, torch.ones(2)) / 2))


class TestDiscriminator:
    def test_tells_blurred_from_sharp(self) -> None:
        def batch(seed: int) -> tuple[Tensor, Tensor]:
            sharp = torch.from_numpy(1 + 0.1 * fields(16, seed, 0.7))
            return sharp, avg_pool2d(sharp, 3, 1, 1, count_include_pad=False)

        runner = OneDevice("cpu", "float32")
        opponent = Opponent(Learner(Discriminator(1, features=8), runner, "adam", 1.0), runner, 1.0)
        opponent.learner.set_rate(2e-3)
        for step in range(40):
            sharp, blurred = batch(step)
            opponent.judge(blurred, sharp, torch.ones_like(sharp, dtype=torch.bool))
        sharp, blurred = batch(1000)
        seen = torch.ones_like(sharp, dtype=torch.bool)
        with torch.no_grad():
            assert float((opponent.learner.module(sharp, seen) > 0.5).float().mean()) > 0.9
            assert float((opponent.learner.module(blurred, seen) < 0.5).float().mean()) > 0.9

    def test_scores_are_local_and_gaps_do_not_count(self) -> None:
        module = Discriminator(2, features=4)
        image, seen = torch.rand(1, 2, 160, 160), torch.ones(1, 2, 160, 160, dtype=torch.bool)
        changed = image.clone()
        changed[..., 80:, :] += 1.0
        with torch.no_grad():
            before, after = module(image, seen), module(changed, seen)
            # Windows of 61 pixels, every 16: those up to the third end before row 80.
            assert torch.equal(before[:, :, :3], after[:, :, :3])
            assert not torch.equal(before, after)
            seen[..., 80:, :] = False
            assert torch.equal(module(image, seen), module(changed, seen))

    def test_the_network_pays_where_it_was_seen_and_the_discriminator_learns_once(self) -> None:
        runner = OneDevice("cpu", "float32")
        opponent = Opponent(Learner(Discriminator(1, features=4), runner, "adam", 0.0), runner, 0.5)
        target, result = torch.rand(2, 1, 16, 16), torch.rand(2, 1, 16, 16, requires_grad=True)
        seen = torch.ones_like(target, dtype=torch.bool)
        seen[..., :8] = False
        loss = opponent.judge(result, target, seen)
        learned = [weights.grad.clone() for weights in opponent.learner.module.parameters()]
        loss.backward()
        assert result.grad is not None
        assert (result.grad[~seen] == 0).all()
        assert (result.grad[seen] != 0).any()
        for before, weights in zip(learned, opponent.learner.module.parameters(), strict=True):
            assert torch.equal(before, weights.grad)


def noisy_pairs(count: int, seed: int) -> Patches:
    """A target whose texture the fine image shows under noise as strong: least error means too little texture."""
    ground, texture, noise = (fields(count, seed + 100 * n, spread) for n, spread in enumerate((4.0, 0.7, 0.7)))
    target = 1 + 0.2 * ground + 0.1 * texture
    coarse = target.reshape(count, 1, 8, 4, 8, 4).mean((3, 5))
    return Patches((target + 0.1 * noise, coarse), target, np.ones(target.shape, bool), np.zeros((count, 3), np.int64))


class TestResult:
    def test_is_sharper_at_a_larger_error(self) -> None:
        term = Term(noisy_pairs(64, 0), noisy_pairs(32, 1000))
        settings = Settings(epochs=16, lr=3e-3, schedule="constant", optimizer="adam", device="cpu")

        def trained(**options: Any) -> np.ndarray:
            network = get_network("light").build((1, 1), (1, 4), features=16, blocks=2, step=1)
            fit(network, [term], make_loss("l1"), settings, progress=False, **options)
            with torch.no_grad():
                return network(*map(torch.from_numpy, term.held_out.inputs)).numpy()

        truth = term.held_out.target
        plain = trained()
        sharp = trained(discriminator=Discriminator(1, features=8, seed=1), adversarial_weight=0.03)
        assert energy(plain) + 0.02 * (energy(truth) - energy(plain)) < energy(sharp) < energy(truth)
        assert np.abs(plain - truth).mean() < np.abs(sharp - truth).mean() < 1.1 * np.abs(plain - truth).mean()


class TestTraining:
    def test_pixels_choose_the_best_epoch(self) -> None:
        plain = xrs.train(tree(16), epochs=2, **(CALL | {"loss": "l1"}))
        barely = xrs.train(tree(16), epochs=2, **(CALL | {"loss": {"l1": 1.0, "adversarial": 1e-12}}))
        assert curve(barely) == pytest.approx(curve(plain), rel=1e-4)
        assert barely.card.training["loss"] == {"l1": 1.0, "adversarial": 1e-12}
        assert set(barely.weights()) == set(plain.weights())

    @pytest.mark.parametrize("protocol", ["wald", "both"])
    def test_goes_on_to_the_same_weights(self, tmp_path: Path, protocol: str) -> None:
        path = tmp_path / "run.checkpoint"
        call = CALL | {"protocol": protocol, "psf": "box"}
        xrs.train(tree(16), epochs=1, checkpoint=path, **call)
        resumed = xrs.train(tree(16), epochs=3, checkpoint=path, **call)
        whole = xrs.train(tree(16), epochs=3, **call)
        assert_same_weights(resumed, whole)
        assert resumed.card.training["loss_curve"] == whole.card.training["loss_curve"]

    def test_mixed_precision_is_close(self) -> None:
        exact, mixed = (xrs.train(tree(16), epochs=2, dtype=dtype, **CALL) for dtype in ("float32", "bfloat16"))
        assert curve(mixed) == pytest.approx(curve(exact), rel=0.02)

    @pytest.mark.parametrize(
        ("wrong", "match"),
        [
            ({"loss": "adversarial"}, "alone.*l1"),
            ({"loss": {"l1": 0.0, "adversarial": 1.0}}, "alone"),
            ({"loss": {"l1": 1.0, "adversarial": -1.0}}, "adversarial.*=-1"),
            ({"protocol": "consistency"}, "without true images.*wald"),
            ({"patch_size": 8}, "patches of 8 pixels.*at least 16"),
        ],
    )
    def test_refusals(self, wrong: dict[str, Any], match: str) -> None:
        with pytest.raises(ParameterError, match=match):
            xrs.train(tree(16), epochs=1, **(CALL | wrong))
