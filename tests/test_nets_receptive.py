"""The margin a network needs: against closed forms, brute force, and what tiles give."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import LAYOUTS, Layout, assert_near, cases, scene, small
from torch import Tensor, nn

from xrs.errors import ParameterError
from xrs.nets import get_network
from xrs.nets.receptive import receptive_margin
from xrs.nets.registry import networks

CASES = [(name, layout) for name, layout in cases() if not networks()[name].window]
case = pytest.mark.parametrize(("name", "layout"), CASES, ids=str)


class Strip(nn.Module):
    """Interpolate, then look ``radius`` fine pixels to either side in one direction."""

    def __init__(self, radius: int, ratio: int, turned: bool) -> None:
        super().__init__()
        size, pad = ((2 * radius + 1, 1), (radius, 0)) if turned else ((1, 2 * radius + 1), (0, radius))
        self.look = nn.Conv2d(1, 1, size, padding=pad)
        self.up = nn.Upsample(scale_factor=ratio, mode="nearest")

    def forward(self, _: Tensor, coarse: Tensor) -> Tensor:
        return self.look(self.up(coarse))


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("ratio", [2, 3, 4])
@pytest.mark.parametrize("radius", [0, 1, 2, 3, 7, 100])
def test_margin_of_one_convolution(radius: int, ratio: int, turned: bool) -> None:
    assert receptive_margin(Strip(radius, ratio, turned), (1, 1), (1, ratio)) == math.ceil(radius / ratio)


@pytest.mark.parametrize("blocks", [0, 1, 6])
@pytest.mark.parametrize("ratio", [2, 4, 6])
def test_margin_of_dsen2(blocks: int, ratio: int) -> None:
    module = get_network("dsen2").build((4, 6), (1, ratio), features=4, blocks=blocks)
    convolutions, interpolation = 2 * blocks + 2, ratio // 2
    assert receptive_margin(module, (4, 6), (1, ratio)) == math.ceil((convolutions + interpolation) / ratio)


class Average(nn.Module):
    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        return fine - coarse.mean((2, 3), keepdim=True)


class Hidden(nn.Module):
    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        return torch.nan_to_num(fine)


def test_networks_of_the_whole_image_are_refused() -> None:
    with pytest.raises(ParameterError, match="whole image"):
        receptive_margin(Average(), (1, 1), (1, 2))


def test_networks_that_hide_nan_are_refused() -> None:
    with pytest.raises(ParameterError, match="finite where its input is NaN"):
        receptive_margin(Hidden(), (1, 1), (1, 2))


def test_probing_leaves_the_module_alone() -> None:
    module = small("dsen2", LAYOUTS[1]).train()
    receptive_margin(module, *LAYOUTS[1])
    assert module.training
    assert next(module.parameters()).dtype == torch.float32


def _changed(module: nn.Module, layout: Layout, size: int) -> Tensor:
    """Distances (in coarsest pixels) from the middle one at which the result feels a change in it."""
    images = scene(layout, size, size, dtype=torch.float64)
    before = module(*images)
    middle = size // 2
    for image, ratio in zip(images, layout[1], strict=True):
        side = layout[1][-1] // ratio
        at = slice(middle * side, (middle + 1) * side)
        image[..., at, at] += 10 * torch.randn(image[..., at, at].shape, dtype=torch.float64)
    rows, columns = (module(*images) != before).any(1)[0].nonzero().T
    return torch.cat([rows, columns]) // layout[1][-1] - middle


@case
def test_margin_against_brute_force(name: str, layout: Layout) -> None:
    module = small(name, layout).double()
    margin = receptive_margin(module, *layout)
    with torch.inference_mode():
        reach = int(_changed(module, layout, 2 * margin + 5).abs().max())
    assert margin - 1 <= reach <= margin


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(CASES), st.data())
def test_a_crop_with_its_margin_gives_the_whole(drawn: tuple[str, Layout], data: st.DataObject) -> None:
    name, layout = drawn
    module = small(name, layout)
    margin = receptive_margin(module, *layout)
    rows, columns = (data.draw(st.integers(1, 3)) for _ in range(2))
    top, left = (data.draw(st.integers(0, 4)) for _ in range(2))
    images = scene(layout, top + rows + 2 * margin + 3, left + columns + 2 * margin + 2)
    sides = [layout[1][-1] // ratio for ratio in layout[1]]

    def cut(image: Tensor, side: int, around: int) -> Tensor:
        y, x = (top + margin - around) * side, (left + margin - around) * side
        return image[..., y : y + (rows + 2 * around) * side, x : x + (columns + 2 * around) * side]

    with torch.inference_mode():
        whole = cut(module(*images), sides[0], 0)
        tile = module(*(cut(image, side, margin) for image, side in zip(images, sides, strict=True)))
    edge = margin * sides[0]
    assert_near(tile[..., edge : tile.shape[2] - edge, edge : tile.shape[3] - edge], whole)
