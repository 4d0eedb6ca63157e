"""How far around a pixel a network looks, found by probing it."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from xrs.errors import ParameterError
from xrs.nets.base import Network, check_layout
from xrs.nets.uncertain import mean_and_spread

__all__ = ["margin_and_window", "nan_strip", "receptive_margin"]

#: Fine pixels: a network that sees farther than half of this is taken to see the whole image.
_LONGEST = 4096


def margin_and_window(
    record: Network, module: nn.Module, bands: tuple[int, ...], ratios: tuple[int, ...]
) -> tuple[int, int]:
    """What a card says of how a network is applied: those its record declares, or the margin found by probing and 0.

    Parameters
    ----------
    record : Network
    module : torch.nn.Module
        Built from the record, or several of such with a spread.
    bands, ratios : tuple of int
        Of each image, the finest first.

    Raises
    ------
    ParameterError
        As :func:`receptive_margin`.
    """
    return (record.margin, record.window) if record.window else (receptive_margin(module, bands, ratios), 0)


def receptive_margin(module: nn.Module, bands: tuple[int, ...], ratios: tuple[int, ...]) -> int:
    """Pixels of the coarsest image, around its own, on which a result and its spread depend.

    One coarsest pixel, and what lies on it in every other image, is set to NaN in the middle of a strip; NaN
    spreads to whatever depends on it. The strip grows until NaN no longer reach its ends. A copy of the
    module does this on the CPU in float64, whose convolutions are computed pixel by pixel (fast algorithms
    for float32 smear NaN over blocks). The module must shift with its input by whole coarsest pixels, as
    all networks here do. Where a weight is exactly zero (in interpolation, the middle of three pixels), NaN
    pass all the same, so the margin may be one wider than need be.

    Parameters
    ----------
    module : torch.nn.Module
        See :meth:`xrs.nets.base.Network.build`.
    bands, ratios : tuple of int
        Of each image, the finest first.

    Raises
    ------
    ParameterError
        If the result depends on the whole image (global pooling, attention, normalisation by the image's
        own statistics), or hides missing values.

    Examples
    --------
    >>> from xrs.nets import get_network
    >>> module = get_network("dsen2").build((4, 6), (1, 2), features=8, blocks=6)
    >>> receptive_margin(module, (4, 6), (1, 2))  # 15 fine pixels: 14 convolutions and the interpolation
    8
    """
    check_layout(bands, ratios)
    probe = copy.deepcopy(module).to("cpu", torch.float64).eval()
    return max(_margin(probe, bands, ratios, axis) for axis in (2, 3))


def _margin(probe: nn.Module, bands: tuple[int, ...], ratios: tuple[int, ...], axis: int) -> int:
    cells = 17
    while cells * ratios[-1] <= _LONGEST:
        touched = _touched(probe, bands, ratios, axis, cells)
        if not touched[cells // 2]:
            raise ParameterError("the network's result is finite where its input is NaN", "NaN that pass through")
        if not (touched[0] or touched[-1]):
            return int((touched.nonzero() - cells // 2).abs().max())
        cells = 2 * cells + 1
    raise ParameterError(
        "the network's result depends on the whole image",
        f"on less than {_LONGEST // 2} fine pixels around",
        "take out global pooling, attention and normalisation: with them tiles differ from the whole",
    )


@torch.inference_mode()
def _touched(probe: nn.Module, bands: tuple[int, ...], ratios: tuple[int, ...], axis: int, cells: int) -> Tensor:
    """Along a strip of coarsest pixels, which of them hold NaN after the middle one was set to NaN."""
    missing = mean_and_spread(probe, nan_strip(bands, ratios, axis, cells)).isnan().movedim(axis, 0).flatten(1).any(1)
    return missing.reshape(cells, -1).any(1)


def nan_strip(bands: tuple[int, ...], ratios: tuple[int, ...], axis: int, cells: int) -> list[Tensor]:
    """Images of a strip along an axis, random but for the middle one of its coarsest pixels, which is NaN."""
    generator = torch.Generator().manual_seed(0)
    images = []
    for count, ratio in zip(bands, ratios, strict=True):
        side = ratios[-1] // ratio
        shape = [1, count, side, side]
        shape[axis] *= cells
        image = torch.rand(shape, generator=generator, dtype=torch.float64)
        image.narrow(axis, cells // 2 * side, side).fill_(torch.nan)
        images.append(image)
    return images
