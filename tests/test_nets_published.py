"""Published sizes and formulas, against other implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from networks import scene, small
from numpy.typing import NDArray
from scipy import stats
from scipy.signal import correlate2d
from skimage.transform import resize
from torch import Tensor, nn

from xrs.errors import ParameterError
from xrs.kernels import gaussian_taps
from xrs.nets import get_network
from xrs.nets._blocks import he_uniform, upsampled
from xrs.nets.light import LightNet
from xrs.nets.ssrpnet import PIP, ExpansionNet, SSRInjection, SSRPNet
from xrs.nets.tfnet import TFNet

Array = NDArray[np.float64]


def _parameters(module: nn.Module) -> int:
    return sum(weights.numel() for weights in module.parameters())


@pytest.mark.parametrize(
    ("name", "bands", "ratios", "published"),
    [
        ("dsen2", (4, 6), (1, 2), 1_789_574),
        ("dsen2", (4, 6, 2), (1, 2, 6), 1_787_266),
        ("vdsen2", (4, 6), (1, 2), 37_802_246),
        ("vdsen2", (4, 6, 2), (1, 2, 6), 37_797_634),
        ("pnn", (1, 8), (1, 4), 104_360),
        ("pannet", (1, 8), (1, 4), 83_024),
        ("fusionnet", (1, 8), (1, 4), 78_632),
    ],
)
def test_sizes(name: str, bands: tuple[int, ...], ratios: tuple[int, ...], published: int) -> None:
    assert _parameters(get_network(name).build(bands, ratios)) == published


def test_weight_files_of_fusionnet_hold_its_blocks_twice() -> None:
    module = get_network("fusionnet").build((1, 8), (1, 4))
    assert _parameters(module) + _parameters(module.body) == 152_616


@pytest.mark.parametrize(("inputs", "outputs", "published"), [(4, 1, 102_721), (1, 4, 102_244)])
def test_sizes_of_spectral_degradation_and_super_resolution(inputs: int, outputs: int, published: int) -> None:
    assert _parameters(ExpansionNet(inputs, outputs)) == published


@pytest.mark.parametrize(
    ("bands", "ratios"),
    [((4, 6), (1, 2)), ((4, 6, 2), (1, 2, 6)), ((1, 4), (1, 4)), ((1, 8), (1, 4))],
)
def test_the_light_network_is_light(bands: tuple[int, ...], ratios: tuple[int, ...]) -> None:
    assert _parameters(get_network("light").build(bands, ratios)) < 60_000


@pytest.mark.parametrize("ratio", [2, 3, 4, 6])
def test_interpolation_is_that_of_the_published_inputs(ratio: int) -> None:
    image = np.random.default_rng(0).random((7, 9))
    ours = upsampled(torch.as_tensor(image)[None, None], ratio)[0, 0].numpy()
    published = resize(image, (7 * ratio, 9 * ratio), order=1, mode="reflect")
    inner = (slice(ratio // 2, -(ratio // 2)),) * 2  # farther out both invent pixels, each in its way
    np.testing.assert_allclose(ours[inner], published[inner], atol=1e-12)


def _convolved(image: Array, layer: nn.Conv2d, mode: str = "same") -> Array:
    """A convolution by SciPy, (band, y, x)."""
    weights, biases = (w.detach().numpy().astype(float) for w in (layer.weight, layer.bias))
    return np.stack(
        [
            sum(correlate2d(band, taps, mode) for band, taps in zip(image, kernels, strict=True)) + bias
            for kernels, bias in zip(weights, biases, strict=True)
        ]
    )


def _relu(image: Array) -> Array:
    return np.maximum(image, 0)


def _numpy(image: Tensor) -> Array:
    return image[0].numpy().astype(float)


def _biased(module: nn.Module) -> nn.Module:
    """Biases that are not zero, so that they are tested too."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            nn.init.uniform_(layer.bias, -0.1, 0.1, generator=torch.Generator().manual_seed(1))
    return module


def _residual_net(x: Array, module: nn.Module, scale: float) -> Array:
    x = _relu(_convolved(x, module.head))
    for block in module.body:
        x = x + scale * _convolved(_relu(_convolved(x, block.first)), block.second)
    return _convolved(x, module.tail)


def test_dsen2_against_scipy() -> None:
    layout = ((4, 6, 2), (1, 2, 6))
    module = _biased(small("dsen2", layout))
    images = scene(layout, 3, 4)
    raised = [_numpy(upsampled(image, ratio)) for image, ratio in zip(images, layout[1], strict=True)]
    expected = raised[-1] + _residual_net(np.concatenate(raised), module, 0.1)
    with torch.inference_mode():
        np.testing.assert_allclose(_numpy(module(*images)), expected, atol=1e-5)


def test_fusionnet_against_scipy() -> None:
    layout = ((1, 4), (1, 4))
    module = _biased(small("fusionnet", layout))
    pan, ms = scene(layout, 3, 4)
    raised = _numpy(upsampled(ms, 4, "bicubic"))
    expected = raised + _residual_net(_numpy(pan) - raised, module, 1.0)
    with torch.inference_mode():
        np.testing.assert_allclose(_numpy(module(pan, ms)), expected, atol=1e-5)


def test_pnn_against_scipy_farther_than_8_pixels_from_the_edges() -> None:
    layout = ((1, 4), (1, 4))
    module = _biased(small("pnn", layout))
    pan, ms = scene(layout, 6, 7)
    x = np.concatenate([_numpy(upsampled(ms, 4, "bicubic")), _numpy(pan)])
    x = _relu(_convolved(x, module.first, "valid"))
    expected = _convolved(_relu(_convolved(x, module.second, "valid")), module.third, "valid")
    with torch.inference_mode():
        np.testing.assert_allclose(_numpy(module(pan, ms))[:, 8:-8, 8:-8], expected, atol=1e-5)


def _tent(ratio: int) -> Tensor:
    """Taps of a transposed convolution that interpolates between pixel centres."""
    size = 2 * ratio - ratio % 2
    offsets = torch.arange(size) - (size - 1) / 2
    taps = 1 - offsets.abs() / ratio
    return taps[:, None] * taps


@pytest.mark.parametrize("ratio", [2, 3, 4])
def test_pannet_s_learned_interpolation_lies_on_pixel_centres(ratio: int) -> None:
    module = small("pannet", ((1, 1), (1, ratio)))
    with torch.no_grad():
        module.deconv.weight[:] = _tent(ratio)
    image = torch.rand(1, 1, 6, 8, generator=torch.Generator().manual_seed(2))
    inner = slice(ratio, -ratio)
    with torch.inference_mode():
        torch.testing.assert_close(
            module.deconv(image)[..., inner, inner], upsampled(image, ratio)[..., inner, inner], rtol=0, atol=1e-6
        )


def test_pannet_sees_only_details() -> None:
    module = small("pannet", ((1, 4), (1, 4)))
    pan, ms = scene(((1, 4), (1, 4)), 5, 6)
    with torch.inference_mode():
        torch.testing.assert_close(module(pan + 3, ms + 3), module(pan, ms) + 3, rtol=0, atol=1e-5)


def test_modulated_start_is_exact_where_bands_are_shares_of_the_pan() -> None:
    pan = 0.2 + torch.rand(1, 1, 48, 64, generator=torch.Generator().manual_seed(2))
    truth = pan * torch.tensor([0.3, 1.0, 2.5])[None, :, None, None]
    module = LightNet((1, 3), (1, 4), modulated=True, psf=gaussian_taps(0.3, 4).tolist())
    with torch.no_grad():
        module.tail.weight.zero_()
        found = module(pan, module.spread.seen(truth))
    torch.testing.assert_close(found, truth, rtol=1e-4, atol=0)


def test_modulated_start_of_a_dark_pan_is_finite() -> None:
    module = LightNet((1, 3), (1, 4), modulated=True)
    with torch.no_grad():
        assert module(torch.zeros(1, 1, 16, 16), torch.rand(1, 3, 4, 4)).isfinite().all()


def test_light_network_has_one_start() -> None:
    with pytest.raises(ParameterError, match="one start"):
        get_network("light").build((1, 3), (1, 4), window=3, modulated=True)


def test_light_network_without_details_interpolates() -> None:
    module = small("light", ((4, 6, 2), (1, 2, 6)))
    with torch.no_grad():
        module.tail.weight.zero_()
    images = scene(((4, 6, 2), (1, 2, 6)), 3, 4)
    expected = resize(_numpy(images[-1]), (2, 18, 24), order=1, mode="edge")
    with torch.inference_mode():
        np.testing.assert_allclose(_numpy(module(*images)), expected, atol=1e-6)


def test_tfnet_s_residual_units_pass_their_input() -> None:
    plain, residual = (TFNet((1, 4), (1, 4), residual=flag, skip=flag) for flag in (False, True))
    images = scene(((1, 4), (1, 4)), 3, 4)
    with torch.no_grad():
        for module in (plain, residual):
            for name, weights in module.named_parameters():
                if "tail" in name:
                    weights.zero_()
        assert not plain(*images).any()
        torch.testing.assert_close(residual(*images), upsampled(images[1], 4, "bicubic"))


def test_pip_of_equal_images_is_a_share_of_them() -> None:
    x, y = torch.rand(2, 1, 3, 5, 6, generator=torch.Generator().manual_seed(1)).unbind(0)
    pip = PIP(3)
    torch.testing.assert_close(pip(x, x), x / 2)
    detail = pip.g[2](torch.nn.functional.leaky_relu(pip.g[0](y - x), 0.01))
    torch.testing.assert_close(pip(x, y), detail / 2 + x / 2)


def test_injection_that_trusts_the_fusion_gives_it_back() -> None:
    injection = SSRInjection(4)
    fused, pan = torch.rand(1, 4, 8, 8), torch.rand(1, 1, 8, 8)
    with torch.no_grad():
        injection.pip_bands.g[2].weight.fill_(1.0)
        injection.pip_bands.a.zero_()
        torch.testing.assert_close(injection(fused, pan), fused)


def test_injection_begins_at_the_fusion_and_leaves_it() -> None:
    generator = torch.Generator().manual_seed(1)
    fused, pan = (torch.rand(1, bands, 16, 16, generator=generator) for bands in (8, 1))
    injection = SSRInjection(8)
    injected = injection(fused, pan)
    torch.testing.assert_close(injected, fused)
    injected.square().mean().backward()
    assert all(weights.grad.any() for weights in (injection.pip_bands.b, injection.pip_bands.g[2].weight))


def test_ssrpnet_averages_twice() -> None:
    module = SSRPNet((1, 4), (1, 4))
    pan, ms = scene(((1, 4), (1, 4)), 3, 4)
    with torch.inference_mode():
        fused = module.initial(pan, ms)
        seen = module.injection.pip_fine(module.injection.degrade(fused), pan)
        injected = module.injection.pip_bands(fused, module.injection.expand(seen))
        torch.testing.assert_close(module(pan, ms), 0.25 * injected + 0.75 * fused)


@pytest.mark.parametrize("seed", range(20))
def test_last_relu_of_the_expansion_nets_starts_open(seed: int) -> None:
    injection = SSRInjection(4, seed=seed)
    with torch.inference_mode():
        assert injection.degrade(torch.rand(1, 4, 8, 8)).any()
        assert injection.expand(torch.rand(1, 1, 8, 8)).any()


@pytest.mark.parametrize(
    ("layer", "fan_in"),
    [
        (nn.Conv2d(32, 64, 3), 288),
        (nn.Conv2d(32, 64, 3, groups=4), 72),
        (nn.ConvTranspose2d(64, 64, 4, stride=2), 256),
    ],
)
def test_weights_are_he_uniform(layer: nn.Module, fan_in: int) -> None:
    he_uniform(layer, seed=4)
    bound = math.sqrt(6 / fan_in)
    drawn = layer.weight.detach().numpy().ravel()
    assert stats.kstest(drawn, stats.uniform(-bound, 2 * bound).cdf).pvalue > 1e-3
    assert not layer.bias.any()


def test_light_network_on_another_working_grid() -> None:
    layout = ((4, 6), (1, 2))
    fine = get_network("light").build(*layout, step=1)
    assert fine.head.in_channels == 10
    images = scene(layout, 4, 5)
    with torch.inference_mode():
        assert fine(*images).shape == (1, 6, 8, 10)
    with pytest.raises(ParameterError, match="divisor of every ratio"):
        get_network("light").build(*layout, step=3)
