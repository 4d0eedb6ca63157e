"""Networks for spectral super-resolution: published sizes, literal computations, windows and how they begin."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from literal_nets import LITERAL, convolved
from networks import assert_near, scene
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from xrs.models import Card, ImageSpec, Model
from xrs.models.engine import infer
from xrs.nets import get_network
from xrs.nets._attention import SpectralAttention, mirrored
from xrs.nets.awan import _attended, _ChannelWeights, _SecondOrder
from xrs.nets.receptive import receptive_margin

Array = NDArray[np.float64]

NAMES = ("mst_plus_plus", "hscnn_plus", "awan", "dster")
#: Those that look at the whole image.
WHOLE = ("mst_plus_plus", "awan", "dster")
#: Quick members.
SMALL: dict[str, dict[str, Any]] = {
    "mst_plus_plus": {"features": 6, "stages": 2},
    "hscnn_plus": {"features": 8, "blocks": 3},
    "awan": {"features": 32, "blocks": 2},
    "dster": {"features": 8, "blocks": 2, "heads": 2},
}
BANDS, OUTPUTS = 4, 17


def build(name: str, bands: int = BANDS, outputs: int = OUTPUTS, seed: int = 0, **config: Any) -> nn.Module:
    """A network whose every weight counts: what begins at zero is drawn, and differences between pixels are large."""
    module = get_network(name).build((bands,), (1,), outputs=outputs, seed=seed, **(SMALL[name] | config)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, weights in module.named_parameters():
            if not weights.any() or weights.dim() == 1 or "temperature" in key:
                weights.add_(0.3 * torch.randn(weights.shape, generator=generator))
            elif "attention" in key:
                weights.mul_(10)
    return module


def image_of(rows: int, columns: int, bands: int = BANDS, seed: int = 0) -> Tensor:
    return scene(((bands,), (1,)), rows, columns, seed, torch.float64)[0]


@pytest.mark.parametrize(
    ("name", "published", "exactly"),
    [("mst_plus_plus", "1.62", 1_619_625), ("hscnn_plus", "4.65", 4_645_504), ("awan", "4.04", 4_039_425)],
)
def test_sizes_are_the_published_ones(name: str, published: str, exactly: int) -> None:
    module = get_network(name).build((3,), (1,), outputs=31)
    count = sum(weights.numel() for weights in module.parameters())
    assert f"{count / 1e6:.2f}" == published
    assert count == exactly


@pytest.mark.parametrize("name", NAMES)
def test_many_bands_do_not_make_a_network_large(name: str) -> None:
    few, many = (get_network(name).build((bands,), (1,), outputs=n) for bands, n in ((3, 31), (12, 218)))
    sizes = [sum(weights.numel() for weights in module.parameters()) for module in (few, many)]
    assert sizes[1] < 1.25 * sizes[0]


# Literal computations: NumPy in float64, one pixel, head or pair at a time, with the weights of the module.


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(8, 16), (9, 14)], ids=str)
def test_result_is_that_of_a_literal_computation(name: str, size: tuple[int, int]) -> None:
    module = build(name).double()
    image = image_of(*size)
    with torch.inference_mode():
        found = module(image)[0].numpy()
    expected = LITERAL[name](image[0].numpy(), module)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


def test_long_skip_of_mst_plus_plus_is_the_first_convolution_where_bands_are_as_many_as_features() -> None:
    module = build("mst_plus_plus", outputs=6).double()
    assert module.past is None
    image = image_of(8, 8)
    with torch.inference_mode():
        expected = LITERAL["mst_plus_plus"](image[0].numpy(), module)
        np.testing.assert_allclose(module(image)[0].numpy(), expected, atol=1e-9)


def test_attention_between_channels_that_are_alike_is_their_mean() -> None:
    """Equal queries have equal shares: every channel becomes the mean of its head's values."""
    layer = SpectralAttention(6, 2).double()
    with torch.no_grad():
        layer.query.weight.copy_(layer.query.weight[:1].clone())
        for part in (layer.value, layer.join):
            part.weight.copy_(torch.eye(6))
        layer.join.bias.zero_()
        x = image_of(5, 7, 6)
        expected = x.unflatten(1, (2, 3)).mean(dim=2, keepdim=True).expand(-1, -1, 3, -1, -1).flatten(1, 2)
        torch.testing.assert_close(layer(x), expected)


def test_attention_does_not_depend_on_how_bright_the_image_is() -> None:
    layer = SpectralAttention(6, 2).double()
    x = image_of(5, 7, 6)
    with torch.inference_mode():
        offsets = layer.join.bias[:, None, None]
        torch.testing.assert_close(layer(7 * x) - offsets, 7 * (layer(x) - offsets))


def test_far_pixels_of_one_kind_give_their_mean() -> None:
    """With a single feature its covariance is zero: all pixels of a quarter count alike."""
    alike, given = torch.rand(2, 1, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).split(1)
    found = _attended(alike, given)
    torch.testing.assert_close(found, given.mean().expand_as(found))


def test_quarters_do_not_meet() -> None:
    part = _SecondOrder(16).double()
    x = image_of(7, 9, 16)
    changed = x.clone()
    changed[..., :3, :4] += 1
    with torch.inference_mode():
        moved = (part(changed) - part(x)).abs().amax(dim=(0, 1)) > 1e-12
    expected = torch.zeros(7, 9, dtype=torch.bool)
    expected[:3, :4] = True
    assert torch.equal(moved, expected)


def test_channels_weights_look_where_they_are_told() -> None:
    """A map that is large in one pixel alone makes the average that pixel's features."""
    part = _ChannelWeights(16).double()
    x = image_of(6, 5, 16)
    with torch.no_grad():
        part.where.weight.zero_()
        part.where.weight[0, 0] = 1e4
        y, z = divmod(int(x[0, 0].argmax()), 5)
        expected = x * part.layers(x[:, :, y, z])[:, :, None, None]
        torch.testing.assert_close(part(x), expected)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 3), (9, 12)], ids=str)
@pytest.mark.parametrize("around", [(2, 2), (0, 7, 5)], ids=str)
def test_images_are_mirrored_as_numpy_does(size: tuple[int, int], around: tuple[int, ...]) -> None:
    image = image_of(*size)
    before, below, right = around if len(around) > 2 else (around[0], around[1], around[1])
    expected = np.pad(image.numpy(), ((0, 0), (0, 0), (before, below), (before, right)), mode="reflect")
    np.testing.assert_array_equal(mirrored(image, *around).numpy(), expected)


@pytest.mark.parametrize("name", NAMES)
def test_weights_follow_from_the_seed(name: str) -> None:
    state = torch.get_rng_state()
    one, again, other = (
        get_network(name).build((3,), (1,), outputs=5, seed=seed, **SMALL[name]).state_dict() for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


def test_first_weights_of_mst_plus_plus_are_spread_as_published() -> None:
    module = get_network("mst_plus_plus").build((3,), (1,), outputs=31)
    linear = torch.cat([part.weight.detach().flatten() for part in module.modules() if isinstance(part, nn.Linear)])
    assert float(linear.std()) == pytest.approx(0.02, rel=0.01)
    bound = 1 / np.sqrt(31 * 9)
    tail = module.tail.weight.detach()
    assert float(tail.abs().max()) == pytest.approx(bound, rel=0.01)
    assert float(tail.std()) == pytest.approx(bound / np.sqrt(3), rel=0.02)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (17, 10)], ids=str)
def test_any_size_and_number_of_bands(name: str, size: tuple[int, int]) -> None:
    for bands, outputs in ((1, 1), (12, 40)):
        with torch.inference_mode():
            result = build(name, bands, outputs)(image_of(*size, bands).float())
        assert result.shape == (1, outputs, *size)
        assert result.isfinite().all()


# How they begin: NumPy's least squares.


def _examples(offset: float) -> tuple[Tensor, Tensor, Tensor]:
    """Images whose target is nearly linear in them, where it was seen."""
    rng = np.random.default_rng(5)
    image = torch.from_numpy(rng.random((3, BANDS, 16, 16), np.float32))
    slopes = torch.from_numpy(rng.normal(size=(OUTPUTS, BANDS)).astype(np.float32))
    noise = torch.from_numpy(rng.normal(0, 0.01, (3, OUTPUTS, 16, 16)).astype(np.float32))
    target = torch.einsum("oi,niyx->noyx", slopes, image) + offset + noise
    mask = torch.ones_like(target, dtype=torch.bool)
    mask[0, 3, :9] = False
    target[~mask] = 1e3
    return image, target, mask


@pytest.mark.parametrize(
    ("name", "features", "biased"),
    [("mst_plus_plus", OUTPUTS, False), ("mst_plus_plus", 6, True), ("dster", 8, True)],
)
def test_first_result_is_the_linear_regression(name: str, features: int, biased: bool) -> None:
    image, target, mask = _examples(0.2 if biased else 0.0)
    module = build(name, features=features)
    module.begin([image], target, mask)
    seen = mask.all(dim=1).numpy()
    given, wanted = (one.movedim(1, -1).numpy().astype(float)[seen] for one in (image, target))
    if biased:
        given = np.column_stack([given, np.ones(len(given))])
    expected = given @ np.linalg.lstsq(given, wanted, rcond=None)[0]
    with torch.inference_mode():
        found = module(image).movedim(1, -1).numpy()[seen]
    # Neighbours tell nothing here, and they are told to: a fifth of the noise at most.
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert np.sqrt(np.mean((found - wanted) ** 2)) < 0.011


@pytest.mark.parametrize("name", ["mst_plus_plus", "dster"])
def test_nothing_begins_where_nothing_was_seen(name: str) -> None:
    image, target, mask = _examples(0.0)
    module = build(name)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    module.begin([image], target, torch.zeros_like(mask))
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


@pytest.mark.parametrize("name", ["mst_plus_plus", "dster"])
def test_training_goes_on_from_the_regression(name: str) -> None:
    """The layer that begins at zero keeps gradients from the others, but for the first step alone."""
    image, target, mask = _examples(0.0)
    target = target.where(mask, 0.0) + image[:, :1].square()
    module = get_network(name).build((BANDS,), (1,), outputs=OUTPUTS, **SMALL[name]).train()
    module.begin([image], target, mask)
    optimizer = torch.optim.Adam(module.parameters(), 1e-3)
    losses = []
    for _ in range(8):
        loss = (module(image) - target)[mask].square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert all(weights.grad is not None and weights.grad.any() for weights in module.parameters())


# Windows.


@pytest.mark.parametrize("name", WHOLE)
def test_networks_of_the_whole_image_declare_windows(name: str) -> None:
    record = get_network(name)
    assert record.window > 0
    # Nothing is to be mirrored in a window of MST++.
    assert (record.window + 2 * record.margin) % 8 == 0
    with pytest.raises(Exception, match="whole image"):
        receptive_margin(build(name), (BANDS,), (1,))


def test_margin_of_hscnn_plus_is_a_pixel_a_block_and_one_at_the_start() -> None:
    assert get_network("hscnn_plus").window == 0
    for blocks in (0, 3, 7):
        assert receptive_margin(build("hscnn_plus", blocks=blocks), (BANDS,), (1,)) == blocks + 1


def model_of(name: str, window: int = 0, margin: int = -1) -> Model:
    module = build(name)
    given, wanted = (tuple(f"{letter}{n}" for n in range(count)) for letter, count in (("g", BANDS), ("w", OUTPUTS)))
    card = Card(name, "spectral", (ImageSpec(given),), config=SMALL[name], outputs=ImageSpec(wanted))
    model = Model.from_module(module, card)
    return model.with_card(replace(model.card, window=window, margin=margin)) if window else model


@pytest.mark.parametrize("name", WHOLE)
def test_models_take_their_windows_from_the_record(name: str) -> None:
    card = model_of(name).card
    record = get_network(name)
    assert (card.window, card.margin) == (record.window, record.margin)


@pytest.mark.parametrize("name", NAMES)
def test_tiles_that_begin_where_windows_do_give_the_same(name: str) -> None:
    window, margin = (16, 4) if name in WHOLE else (0, -1)
    model = model_of(name, window, margin)
    halo = model.card.margin
    image = image_of(40 + 2 * halo, 54 + 2 * halo).float().numpy()[0]
    whole = infer(model, [image], halo=halo)
    for rows, columns in (([0, 16, 40], [0, 48, 54]), ([0, 32, 40], [0, 16, 32, 54])):
        for top, bottom in pairwise(rows):
            for left, right in pairwise(columns):
                part = np.ascontiguousarray(image[:, top : bottom + 2 * halo, left : right + 2 * halo])
                found = infer(model, [part], halo=halo)
                expected = whole[:, top:bottom, left:right]
                np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(whole).max())


@pytest.mark.parametrize("name", WHOLE)
def test_a_window_is_the_bare_network_on_it_and_its_margin(name: str) -> None:
    model = model_of(name, 16, 4)
    image = image_of(40, 40).float()
    found = infer(model, [image[0].numpy()], halo=4)
    with torch.inference_mode():
        for top in (0, 16):
            for left in (0, 16):
                bare = model.build()(image[..., top : top + 24, left : left + 24])[0, :, 4:-4, 4:-4]
                assert_near(torch.from_numpy(found[:, top : top + 16, left : left + 16]), bare)


def test_convolutions_of_the_literal_computation_are_torchs() -> None:
    """What the literal computations rest on, where it is easy to get wrong: strides and mirrored edges."""
    x = image_of(9, 8, 3)
    layer = nn.Conv2d(3, 5, 4, stride=2, padding=1).double()
    np.testing.assert_allclose(convolved(x[0].numpy(), layer, stride=2, edge=1), layer(x)[0].detach().numpy())
    wide = nn.Conv2d(3, 5, 5, bias=False).double()
    expected = conv2d(pad(x, (2, 2, 2, 2), mode="reflect"), wide.weight)[0].detach().numpy()
    np.testing.assert_allclose(convolved(x[0].numpy(), wide, mirror=True), expected)


class _Silent(nn.Module):
    """In place of attention: no pixel learns of others."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


def test_margin_of_dster_is_all_that_its_convolutions_see() -> None:
    record = get_network("dster")
    module = record.build((BANDS,), (1,), outputs=OUTPUTS)
    for block in module.body:
        block.attention = _Silent()
    assert receptive_margin(module, (BANDS,), (1,)) == 9 <= record.margin
