"""The normaliser-free blocks and the unfolding: variance through depth, formulas, and what a stage does."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import Tensor, nn

from xrs.kernels import decimate, gaussian_taps
from xrs.nets._blocks import ResidualBlock, he_uniform, upsampled
from xrs.nets.nfgr import NFGR, NFBlock, NFStack, ScaledConv, activation_gain


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.2, 1.0])
def test_activation_gain_by_quadrature(slope: float) -> None:
    def moment(power: int) -> float:
        def weighted(z: float) -> float:
            return max(z, slope * z) ** power * stats.norm.pdf(z)

        return sum(integrate.quad(weighted, *ends)[0] for ends in ((-12, 0), (0, 12)))

    assert activation_gain(slope) == pytest.approx((moment(2) - moment(1) ** 2) ** -0.5, rel=1e-7)


def test_scaled_weights() -> None:
    layer = ScaledConv(12, 8, 3, groups=2, gamma=1.5)
    he_uniform(layer, seed=1)
    with torch.no_grad():
        layer.gain[:] = torch.arange(1.0, 9.0).reshape(8, 1, 1, 1)
    raw = layer.weight.detach().double().numpy()
    flat = raw.reshape(8, 54)
    expected = 1.5 * np.arange(1, 9)[:, None] * (flat - flat.mean(1, keepdims=True)) / flat.std(1, keepdims=True)
    np.testing.assert_allclose(layer.standardised().detach().reshape(8, 54), expected / np.sqrt(54), rtol=1e-4)


def test_equal_weights_do_not_divide_by_zero() -> None:
    layer = ScaledConv(4, 4, 3)
    nn.init.constant_(layer.weight, 0.3)
    assert not layer.standardised().any()


@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_scaled_convolution_keeps_the_variance_through_an_activation(slope: float) -> None:
    layer = ScaledConv(64, 256, 3, gamma=activation_gain(slope))
    he_uniform(layer, seed=2)
    x = torch.randn(4, 64, 32, 32, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        y = layer(nn.functional.leaky_relu(x, slope))[..., 1:-1, 1:-1]
    assert float(y.var()) == pytest.approx(1.0, rel=0.03)


def _variances(blocks: Iterable[nn.Module], x: Tensor) -> list[float]:
    found = []
    for block in blocks:
        x = block(x)
        found.append(float(x[..., 8:-8, 8:-8].var()))
    return found


@pytest.mark.parametrize(("groups", "alpha", "slope"), [(1, 0.2, 0.0), (4, 0.2, 0.0), (4, 1.0, 0.0), (8, 0.5, 0.2)])
def test_variance_grows_by_alpha_squared_a_block(groups: int, alpha: float, slope: float) -> None:
    stack = NFStack(48, 64, groups=groups, alpha=alpha, slope=slope)
    he_uniform(stack, seed=7)
    x = torch.randn(2, 64, 48, 48, generator=torch.Generator().manual_seed(8))
    with torch.inference_mode():
        found = _variances(stack, x)
    law = 1 + alpha**2 * np.arange(1, 49)
    np.testing.assert_allclose(found, law, rtol=0.1)
    np.testing.assert_allclose(np.polyfit(np.arange(48), found, 1)[0], alpha**2, rtol=0.15)


def test_a_plain_residual_network_explodes() -> None:
    blocks = nn.ModuleList(ResidualBlock(64) for _ in range(48))
    he_uniform(blocks, seed=7)
    x = torch.randn(2, 64, 48, 48, generator=torch.Generator().manual_seed(8))
    with torch.inference_mode():
        found = _variances(blocks, x)
    growth = np.diff(np.log2(found))
    assert growth.mean() > 0.8  # twice the variance at each block
    assert found[-1] > 1e10


def test_signals_of_another_scale_keep_their_scale() -> None:
    stack = NFStack(16, 32, groups=4)
    he_uniform(stack, seed=1)
    x = torch.randn(1, 32, 24, 24, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        torch.testing.assert_close(stack(0.05 * x), 0.05 * stack(x), rtol=1e-4, atol=1e-5)


def _without_prior(**config: object) -> NFGR:
    network = NFGR((1, 4), (1, 4), **config)  # type: ignore[arg-type]
    with torch.no_grad():
        for stage in network.stages:
            stage.rho.zero_()
    return network.eval()


def _observed(truth: Tensor, gain: float) -> tuple[Tensor, Tensor]:
    """A pan that is the bands' mean, and the coarse image, by the NumPy operator."""
    taps = gaussian_taps(gain, 4)
    coarse = decimate(truth[0].numpy(), np.broadcast_to(taps, (4, taps.size)), 4)
    return truth.mean(1, keepdim=True), torch.as_tensor(coarse)[None]


def test_constant_scene_stays_constant() -> None:
    network = _without_prior()
    with torch.inference_mode():
        result = network(torch.full((1, 1, 16, 24), 0.3), torch.full((1, 4, 4, 6), 0.3))
    torch.testing.assert_close(result, torch.full((1, 4, 16, 24), 0.3))


def test_a_scene_that_explains_both_images_stays() -> None:
    network = _without_prior(stages=1, gain=0.25)
    truth = torch.rand(1, 4, 32, 32, generator=torch.Generator().manual_seed(1))
    pan, coarse = _observed(truth, 0.25)
    with torch.inference_mode():
        stage = network.stages[0]
        stayed = stage(truth, pan, coarse, torch.softmax(network.logits, dim=1), network.taps)
    torch.testing.assert_close(stayed, truth, rtol=0, atol=1e-5)


def test_stages_bring_the_scene_nearer_to_both_images() -> None:
    truth = upsampled(torch.rand(1, 4, 16, 16, generator=torch.Generator().manual_seed(4)), 2)
    pan, coarse = _observed(truth, 0.3)
    misfits = []
    for stages in (1, 3, 6):
        with torch.inference_mode():
            x = _without_prior(stages=stages)(pan, coarse)
        seen, again = _observed(x, 0.3)
        misfits.append((float((seen - pan).square().mean()), float((again - coarse).square().mean())))
    start = upsampled(coarse, 4)
    assert misfits[0][0] < float((start.mean(1, keepdim=True) - pan).square().mean())
    assert misfits[0] > misfits[1] > misfits[2]
    assert misfits[0][1] > misfits[2][1]


def test_gains_of_each_band_make_their_own_blur() -> None:
    network = NFGR((1, 3), (1, 2), gain=(0.1, 0.3, 0.5), stages=1)
    spread = (network.taps**2).sum(1)
    assert spread[0] < spread[1] < spread[2]
    torch.testing.assert_close(network.taps.sum(1), torch.ones(3))


def test_groups_are_the_bands() -> None:
    network = NFGR((4, 6), (1, 2), features=64, stages=1)
    convolution = network.stages[0].prior[1][0].spatial
    assert convolution.groups == 6
    assert convolution.out_channels == 48


def test_a_block_is_its_formula() -> None:
    block = NFBlock(8, 2, alpha=0.5, beta=2.0, slope=0.1)
    he_uniform(block, seed=1)
    x = torch.randn(1, 8, 6, 7, generator=torch.Generator().manual_seed(2))
    plain = [ScaledConv(8, 8, size, groups, activation_gain(0.1)) for size, groups in ((3, 2), (1, 1))]
    for layer, source in zip(plain, (block.spatial, block.mix), strict=True):
        layer.load_state_dict(source.state_dict())
    with torch.inference_mode():
        branch = x / 2.0
        for layer in plain:
            branch = layer(nn.functional.leaky_relu(branch, 0.1))
        torch.testing.assert_close(block(x), x + 0.5 * branch)
