"""Layers cut to what the rest of a network can see: the core is that of the whole, from fewer pixels."""

from __future__ import annotations

import copy

import pytest
import torch
from networks import Layout, assert_near, cases, scene, small
from torch import Tensor, nn

from xrs.nets.narrowing import Layers, Narrowing, layers_of
from xrs.nets.receptive import receptive_margin
from xrs.nets.registry import networks

#: Networks whose convolutions keep the size of what enters them, so that there is something to cut.
CUT = {"dsen2", "fusionnet", "light", "pannet", "rercnn", "vdsen2"}


def _layers(network: nn.Module, layout: Layout, margin: int) -> Layers:
    probe = copy.deepcopy(network).double()
    return layers_of(lambda images: probe(*images), *layout, margin)


def _core(image: Tensor, rows: int, columns: int) -> Tensor:
    top, left = (image.shape[2] - rows) // 2, (image.shape[3] - columns) // 2
    return image[:, :, top : top + rows, left : left + columns]


#: Networks that improve what was fused take images that are on one grid by then.
CASES = [
    (name, (layout[0], (1,) * len(layout[0])) if "refine" in networks()[name].tasks else layout)
    for name, layout in cases()
    if not networks()[name].window
]


@pytest.mark.parametrize(("name", "layout"), CASES)
def test_the_core_is_that_of_the_whole(name: str, layout: Layout) -> None:
    network, cell = small(name, layout), layout[1][-1]
    margin = receptive_margin(network, *layout)
    layers = _layers(network, layout, margin)
    for rows, columns in ((5, 8), (1, 2), (1, 1)):
        images = scene(layout, rows + 2 * margin, columns + 2 * margin)
        with torch.inference_mode():
            whole = network(*images)
            with Narrowing(layers, (rows, columns), cell):
                out = network(*images)
        assert out.shape[2] >= rows * cell
        # One pixel may be a constant that is to be spread: images it is added to are left as they are.
        assert name not in CUT or rows * columns == 1 or out.shape[2] < whole.shape[2]
        assert_near(_core(out, rows * cell, columns * cell), _core(whole, rows * cell, columns * cell))


class Skipping(nn.Module):
    """A chain of three convolutions, passed by one as wide and by the image itself."""

    def __init__(self) -> None:
        super().__init__()
        self.chain = nn.ModuleList(nn.Conv2d(2, 2, 3, padding=1) for _ in range(3))
        self.other = nn.Conv2d(2, 2, 7, padding=3)

    def forward(self, image: Tensor) -> Tensor:
        x = image
        for layer in self.chain:
            x = layer(x)
        return torch.cat([self.other(image), x], dim=1)[:, 1:3] + image


def test_reaches_of_a_network_made_for_it() -> None:
    layers = _layers(Skipping(), ((2,), (1,)), 3)
    assert [reach and reach.margin for reach in layers.reaches] == [2, 1, 0, 0]
    assert layers.width == 2.0


def test_a_channel_that_sees_nothing_leaves_the_layer_whole() -> None:
    network = Skipping()
    network.chain[0] = nn.Conv2d(2, 2, 3, padding=1, groups=2)
    layers = _layers(network, ((2,), (1,)), 3)
    assert layers.reaches[0] is not None

    class Blind(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            seen: Tensor = network.chain[0](torch.cat([image[:, :1], torch.zeros_like(image[:, :1])], dim=1))
            return seen + image

    network.double()
    assert layers_of(lambda images: Blind()(*images), (2,), (1,), 1).reaches == (None,)
