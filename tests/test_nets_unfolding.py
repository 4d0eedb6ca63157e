"""HSRnet and PoNet against the published layers, closed forms, and themselves in tiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, leaky_relu, pad

from xrs.errors import ParameterError
from xrs.models import Card, ImageSpec, Model
from xrs.models.engine import infer
from xrs.nets import get_network
from xrs.nets.hsrnet import HSRnet, from_released, hsrnet_groups
from xrs.nets.ponet import PoNet
from xrs.sensors import get_sensor, spectral_response

S2 = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")


def _parameters(module: nn.Module) -> int:
    return sum(weights.numel() for weights in module.parameters())


def _images(bands: tuple[int, ...], ratios: tuple[int, ...], side: int = 24, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(2, count, side // ratio, side // ratio) for count, ratio in zip(bands, ratios, strict=True)]
    return [0.1 + torch.rand(shape, generator=generator) for shape in shapes]


def _moved(module: nn.Module, seed: int = 0) -> nn.Module:
    """The same network with other weights, as after some training."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in module.parameters():
            weights.add_(0.05 * torch.randn(weights.shape, generator=generator))
    return module


class TestPublished:
    def test_sizes(self) -> None:
        assert _parameters(get_network("hsrnet").build((3,), (1,), outputs=31)) == 769_662
        grouped = get_network("ponet").build((3,), (1,), outputs=31, grouping=True)
        assert _parameters(grouped) == 718_958
        # The published 682.6 K leave out the fusion of depths and the convolution along the attention map.
        extra = [stage.fuse for stage in grouped.stages]
        extra += [attention.reduce for stage in grouped.stages for attention in (stage.step, stage.penalty)]
        assert _parameters(grouped) - sum(map(_parameters, extra)) == 682_610

    @pytest.mark.parametrize("data_term", ["f0", "fk"])
    def test_forward_of_weights_with_the_released_names(self, data_term: str) -> None:
        state = _released_state()
        network = HSRnet((3,), (1,), outputs=31, data_term=data_term).double()
        renamed = from_released(state)
        assert len(renamed) == len(state)
        assert {name: tensor.shape for name, tensor in renamed.items()} == {
            name: tensor.shape for name, tensor in network.state_dict().items()
        }
        network.load_state_dict(renamed)
        image = _images((3,), (1,), 12)[0].double()
        with torch.no_grad():
            torch.testing.assert_close(network(image), _released_forward(state, image, data_term))

    def test_other_states_are_refused(self) -> None:
        with pytest.raises(ParameterError, match="'conv_B.7"):
            from_released({"conv_B.7.weight": torch.zeros(1)})


def _released_state() -> dict[str, Tensor]:
    """Random tensors with the names and shapes of the authors' network."""
    shapes = {f"conv_{c}.1": (n, 5, 3) for c, n in zip("BGR", (6, 10, 15), strict=True)}
    shapes |= {f"convinput{c}.1": (n, n, 1) for c, n in zip("bgr", (6, 10, 15), strict=True)}
    bare = {}
    for n in range(1, 10):
        shapes |= {f"conv{n}.1": (31, 31, 3), f"HSI{n}.conv1.1": (128, 31, 3)}
        shapes |= {f"HSI{n}.conv2": (31, 128, 3), f"HSI{n}.conv3.1": (31, 31, 1)}
        bare |= {f"{e}{n}.{fc}": (31, 31, 1) for e in ("e", "en") for fc in ("fc1", "fc2")}
    shapes["convf.1"] = (31, 62, 1)
    generator = torch.Generator().manual_seed(5)
    state = {}
    for name, (outputs, inputs, size) in (shapes | bare).items():
        spread = (2 / (inputs * size**2)) ** 0.5
        state[f"{name}.weight"] = spread * torch.randn(
            (outputs, inputs, size, size), generator=generator, dtype=torch.float64
        )
        if name not in bare:
            state[f"{name}.bias"] = 0.1 * torch.randn(outputs, generator=generator, dtype=torch.float64)
    return state


def _released_forward(state: dict[str, Tensor], image: Tensor, data_term: str) -> Tensor:
    """The published layers, one by one, on red, green and blue."""

    def layer(name: str, x: Tensor) -> Tensor:
        weight = state[f"{name}.weight"]
        edge = weight.shape[-1] // 2
        x = pad(x, (edge,) * 4, mode="replicate") if edge else x
        return leaky_relu(conv2d(x, weight, state[f"{name}.bias"]), 0.2)

    def attention(name: str, x: Tensor) -> Tensor:
        first, second = (state[f"{name}.{fc}.weight"][:, :, 0, 0] for fc in ("fc1", "fc2"))
        flat = x.flatten(2)
        total = sum((pooled @ first.T).clamp(min=0) @ second.T for pooled in (flat.mean(2), flat.max(2).values))
        return (1 / (1 + torch.exp(-total)))[:, :, None, None]

    def prox(n: int, x: Tensor) -> Tensor:
        inner = layer(f"HSI{n}.conv1.1", x)
        second = conv2d(inner, state[f"HSI{n}.conv2.weight"], state[f"HSI{n}.conv2.bias"], padding=1)
        return layer(f"HSI{n}.conv3.1", leaky_relu(x + second, 0.2))

    red, green, blue = image[:, :1], image[:, 1:2], image[:, 2:]
    given = torch.cat([red, red - green, green, green - blue, blue], dim=1)
    f0 = torch.cat([layer(f"convinput{c.lower()}.1", layer(f"conv_{c}.1", given)) for c in "BGR"], dim=1)
    f = f0
    for n in range(1, 10):
        g = f0 if data_term == "f0" else f
        f = layer(f"conv{n}.1", f) + g * attention(f"e{n}", f) + prox(n, f) * attention(f"en{n}", f)
    return layer("convf.1", torch.cat([f0, f + f0], dim=1))


class TestCrossAttention:
    def test_of_one_pixel_by_hand(self) -> None:
        attention = PoNet((2,), (1,), outputs=3, stages=1).stages[0].step.double()
        x = torch.tensor([0.3, -0.2, 0.9], dtype=torch.float64)
        first, second = (layer.weight[:, :, 0, 0] for layer in (attention.first, attention.second))
        alike = np.outer((first @ x).detach(), (second @ x).detach())
        weight, bias = (value.detach().numpy() for value in (attention.reduce.weight[0], attention.reduce.bias[0]))
        padded = np.pad(alike, ((0, 0), (weight.shape[1] // 2,) * 2))
        logits = [(weight * padded[:, n : n + weight.shape[1]]).sum() + bias for n in range(3)]
        expected = 3 / 2 * np.exp(logits) / np.exp(logits).sum()
        found = attention(x[None, :, None, None].expand(1, 3, 4, 5)).flatten().detach().numpy()
        np.testing.assert_allclose(found, expected)


class TestGroups:
    def test_every_band_belongs_to_the_sensor_band_that_holds_it(self) -> None:
        sensor, wanted = get_sensor("sentinel-2a"), get_sensor("enmap")
        centres = np.array([band.wavelength for band in wanted.bands])
        bands = [sensor[key] for key in S2]
        groups = hsrnet_groups(spectral_response(sensor, centres, S2), wanted=centres)
        alone = 0
        for centre, group in zip(centres, groups, strict=True):
            offsets = [abs(centre - band.wavelength) / band.fwhm for band in bands]
            if min(offsets) < 0.35 and sorted(offsets)[1] > 0.8:
                alone += 1
                assert group == int(np.argmin(offsets)), centre
        assert alone > 40
        by_centre = {round(centre): S2[group] for centre, group in zip(centres, groups, strict=True)}
        nearest = min(by_centre, key=lambda centre: abs(centre - 1100)), min(by_centre, key=lambda c: abs(c - 1350))
        assert [by_centre[centre] for centre in nearest] == ["B8A", "B11"]

    def test_without_response_the_nearest_centre(self) -> None:
        assert hsrnet_groups(given=[3.0, 1.0], wanted=[0.0, 1.5, 2.5, 9.0]) == [1, 1, 0, 0]

    @pytest.mark.parametrize(
        "call", [{}, {"given": [1.0]}, {"srf": np.eye(3), "given": [1.0]}, {"srf": np.eye(3), "wanted": [1.0]}]
    )
    def test_what_does_not_fit_is_refused(self, call: dict[str, Any]) -> None:
        with pytest.raises(ParameterError):
            hsrnet_groups(**call)

    @pytest.mark.parametrize(
        "config",
        [{"groups": [0, 1]}, {"groups": [0] * 5 + [4]}, {"data_term": "f1"}, {"subspace": 7}, {"subspace": -1}],
    )
    def test_wrong_settings_are_refused(self, config: dict[str, Any]) -> None:
        with pytest.raises(ParameterError):
            get_network("hsrnet").build((4,), (1,), outputs=6, **config)


def _regression(given: Tensor, target: Tensor, mask: Tensor) -> tuple[Any, Any]:
    """Linear regression by normal equations (N, band, y, x), and the mask of all bands."""
    pixels = np.moveaxis(given.numpy(), 1, -1).astype(np.float64)
    design = np.concatenate([pixels, np.ones((*pixels.shape[:-1], 1))], axis=-1)
    rows, wanted = design[mask[:, 0].numpy()], np.moveaxis(target.numpy(), 1, -1)[mask[:, 0].numpy()]
    lines = design @ np.linalg.solve(rows.T @ rows, rows.T @ wanted.astype(np.float64))
    return np.moveaxis(lines, -1, 1), mask.expand_as(target).numpy()


CASES = [
    ("hsrnet", (4,), (1,), {"stages": 9}),
    ("hsrnet", (4,), (1,), {"data_term": "fk"}),
    ("hsrnet", (4,), (1,), {"subspace": 5, "groups": [3, 0, 0, 2, 3, 0, 2]}),
    ("hsrnet", (4,), (1,), {"subspace": 5, "data_term": "fk"}),
    ("ponet", (4,), (1,), {"grouping": True}),
    ("ponet", (2, 3), (1, 2), {"subspace": 5}),
    ("ponet", (2, 3, 1), (1, 2, 6), {"grouping": True, "groups": [0, 5, 5, 3, 2, 1, 0]}),
    ("ponet", (1, 4), (1, 4), {"subspace": 5, "grouping": True}),
]


@pytest.mark.parametrize(
    ("name", "bands", "ratios", "config"), [(*layout, {"stages": 3, **config}) for *layout, config in CASES]
)
class TestEvery:
    def test_shape_and_seed(self, name: str, bands: Any, ratios: Any, config: Any) -> None:
        torch.manual_seed(1)
        before = torch.random.get_rng_state()
        record = get_network(name)
        one, same, other = (record.build(bands, ratios, outputs=7, seed=seed, **config) for seed in (3, 3, 4))
        assert torch.equal(before, torch.random.get_rng_state())
        images = _images(bands, ratios)
        with torch.no_grad():
            results = [network(*images) for network in (one, same, other)]
        assert results[0].shape == (2, 7, 24, 24)
        assert torch.equal(results[0], results[1])
        assert not torch.equal(results[0], results[2])

    @pytest.mark.parametrize("curved", [0.0, 0.5])
    def test_begins_past_the_linear_regression(
        self, name: str, bands: Any, ratios: Any, config: Any, curved: float
    ) -> None:
        network = get_network(name).build(bands, ratios, outputs=7, **config)
        images = _images(bands, ratios)
        given = torch.cat(
            [
                nn.functional.interpolate(image, scale_factor=ratio, mode="bilinear")
                for image, ratio in zip(images, ratios, strict=True)
            ],
            dim=1,
        )
        mixing = torch.rand((7, given.shape[1], 1, 1), generator=torch.Generator().manual_seed(1))
        target = conv2d(given, mixing) + curved * (given[:, :1] - 0.5) ** 2 + 0.2
        mask = torch.rand(2, 1, 24, 24, generator=torch.Generator().manual_seed(2)) < 0.8
        network.begin(images, torch.where(mask, target, torch.nan), mask.expand_as(target))
        lines, seen = _regression(given, target, mask)
        with torch.no_grad():
            first, result = network.head(given).numpy(), network(*images).numpy()
        if not curved:
            np.testing.assert_allclose(first, lines, atol=2e-4)
        left = np.square(result - target.numpy())[seen].mean()
        if curved:
            assert left < 0.5 * np.square(lines - target.numpy())[seen].mean()
        else:
            np.testing.assert_allclose(result, lines, atol=2e-3)

    def test_every_weight_learns_from_there(self, name: str, bands: Any, ratios: Any, config: Any) -> None:
        network = get_network(name).build(bands, ratios, outputs=7, seed=2, **{**config, "stages": 2})
        images = _images(bands, ratios, 12)
        target = 0.2 + images[0][:, :1].square() * torch.linspace(0.5, 1, 7)[:, None, None]
        network.begin(images, target, torch.ones_like(target, dtype=torch.bool))
        weights = {key: value for key, value in network.named_parameters() if value.requires_grad}
        assert bool(config.get("subspace")) != any(key.startswith("head.") for key in weights)
        optimiser = torch.optim.Adam(weights.values(), lr=1e-4)
        for _ in range(4):
            optimiser.zero_grad()
            (network(*images) - target).square().mean().backward()
            optimiser.step()
        # A softmax does not see what is added to all.
        found = {key: value.grad for key, value in weights.items() if not key.endswith("reduce.bias")}
        assert not [key for key, grad in found.items() if grad is None or not grad.any()]

    def test_tiles_at_windows_give_the_same_pixels(self, name: str, bands: Any, ratios: Any, config: Any) -> None:
        window, margin, side = 8, 2, 16
        network = _moved(get_network(name).build(bands, ratios, outputs=7, **config))
        images = tuple(
            ImageSpec(tuple(f"b{ratio}{n}" for n in range(count)), ratio)
            for count, ratio in zip(bands, ratios, strict=True)
        )
        outputs = ImageSpec(tuple(f"w{n}" for n in range(7)))
        card = Card(name, "spectral", images, margin=margin, window=window, config=config, outputs=outputs)
        model = Model.from_module(network, card)
        scene = [image[0].numpy() for image in _images(bands, ratios, (side + 2 * margin) * ratios[-1])]
        whole = infer(model, scene, halo=margin)
        assert whole.shape == (7, side * ratios[-1], side * ratios[-1])
        for first, last in ((0, 8), (8, 16)):
            part = [
                image[:, first * fold : (last + 2 * margin) * fold]
                for image, fold in zip(scene, (ratios[-1] // ratio for ratio in ratios), strict=True)
            ]
            found = infer(model, part, halo=margin, batch_size=2)
            np.testing.assert_allclose(found, whole[:, first * ratios[-1] : last * ratios[-1]], atol=1e-5)
        with torch.no_grad():
            alone = network(
                *(
                    torch.from_numpy(image[None, :, : 12 * fold, : 12 * fold])
                    for image, fold in zip(scene, (ratios[-1] // ratio for ratio in ratios), strict=True)
                )
            )[0].numpy()
        inner = slice(margin * ratios[-1], -margin * ratios[-1])
        np.testing.assert_allclose(
            whole[:, : window * ratios[-1], : window * ratios[-1]], alone[:, inner, inner], atol=1e-5
        )


@pytest.mark.parametrize("name", ["hsrnet", "ponet"])
def test_models_are_applied_to_windows(name: str) -> None:
    record = get_network(name)
    card = Card(name, "spectral", (ImageSpec(("a", "b")),), outputs=ImageSpec(("c", "d", "e")))
    model = Model.from_module(record.build((2,), (1,), outputs=3), card)
    assert (model.card.window, model.card.margin) == (record.window, record.margin)
    assert record.window > 2 * record.margin > 0


def test_what_the_stages_change_lies_in_the_subspace() -> None:
    network = get_network("hsrnet").build((4,), (1,), outputs=20, subspace=3)
    image = _images((4,), (1,))[0]
    generator = torch.Generator().manual_seed(1)
    mixing = torch.rand((20, 4, 1, 1), generator=generator)
    left = 0.1 * torch.randn((20, 3), generator=generator) @ torch.randn((3, 24 * 48), generator=generator)
    target = 1.0 + conv2d(image, mixing) + left.reshape(20, 2, 24, 24).transpose(0, 1)
    network.begin([image], target, torch.ones_like(target, dtype=torch.bool))
    with torch.no_grad():
        start = network(image)
        changed = (_moved(network.stages) and network(image)) - start
    strengths = np.linalg.svd(changed.transpose(0, 1).flatten(1).numpy(), compute_uv=False)
    assert strengths[2] > 1e-3
    assert strengths[3] < 1e-4 * strengths[0]
    # The three are those that are left of the target.
    basis = np.linalg.svd((target - start).transpose(0, 1).flatten(1).numpy())[0][:, :3]
    flat = changed.transpose(0, 1).flatten(1).numpy()
    assert np.abs(flat - basis @ (basis.T @ flat)).max() < 1e-3 * np.abs(flat).max()
