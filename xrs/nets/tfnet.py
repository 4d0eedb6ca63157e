"""TFNet and ResTFNet: two streams, one for each image, fused in feature space.

::

    encoders  (each)   unit 32 -> down 64
    fusion             concat 128 -> unit 128 -> down 256 -> unit 256 -> up 128
    decoder            concat 256 -> unit 128 -> up 64 -> concat with both encoders' units 128 -> unit 64 -> conv bands

A unit is two 3 x 3 convolutions with PReLU; in ResTFNet, what enters passes by them (through a 1 x 1 convolution
where the number of features changes). Down and up are convolutions as large as their stride. The coarse image is
interpolated to the fine grid first.

Liu, Liu and Wang 2020, 10.1016/j.inffus.2019.07.010
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from xrs.nets._blocks import conv, he_uniform, upsampled
from xrs.nets.base import Network
from xrs.reference import Reference

__all__ = ["NETWORKS", "TFNet"]


class TFNet(nn.Module):
    """TFNet, or ResTFNet, for a fine and a coarse image.

    The published strides are 2 and 2, for ratio 4. Here they are the first two prime factors of the ratio
    (ratio 2: 2 and 1; ratio 6: 2 and 3), so that the network shifts with the coarse image by whole pixels and
    tiles give what the whole image gives. The last convolution has no activation. Interpolation is bicubic
    with pixels as areas.

    Parameters
    ----------
    bands, ratios : tuple of int
        Of the fine and the coarse image.
    features : int
        Of the encoders; 2, 4 and 8 times as many after them.
    residual : bool
        Residual units: ResTFNet.
    skip : bool
        Add the interpolated coarse image to the result.
    seed : int
        Of the weights (He-uniform, biases zero).

    Examples
    --------
    >>> network = TFNet((1, 4), (1, 4))
    >>> network(torch.zeros(1, 1, 12, 16), torch.zeros(1, 4, 3, 4)).shape
    torch.Size([1, 4, 12, 16])
    """

    def __init__(
        self,
        bands: tuple[int, ...],
        ratios: tuple[int, ...],
        *,
        features: int = 32,
        residual: bool = False,
        skip: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.ratio = ratios[1]
        self.skip = skip
        first, second = _strides(self.ratio)
        one, two, four, eight = (features * factor for factor in (1, 2, 4, 8))
        self.fine = _unit(bands[0], one, residual)
        self.coarse = _unit(bands[1], one, residual)
        self.fine_down = _down(one, two, first)
        self.coarse_down = _down(one, two, first)
        self.fusion = _unit(four, four, residual)
        self.deep = nn.Sequential(_down(four, eight, second), _unit(eight, eight, residual), _up(eight, four, second))
        self.restore = nn.Sequential(_unit(eight, four, residual), _up(four, two, first))
        self.tail = nn.Sequential(_unit(four, two, residual), conv(two, bands[1]))
        he_uniform(self, seed)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """The coarse image's bands (N, band, y, x) on the grid of the fine one."""
        interpolated = upsampled(coarse, self.ratio, "bicubic")
        detail, colour = self.fine(fine), self.coarse(interpolated)
        fused = self.fusion(torch.cat([self.fine_down(detail), self.coarse_down(colour)], dim=1))
        x = self.restore(torch.cat([fused, self.deep(fused)], dim=1))
        result = self.tail(torch.cat([colour, detail, x], dim=1))
        return result + interpolated if self.skip else result


class _Residual(nn.Module):
    """``enter(x) + body(enter(x))``."""

    def __init__(self, enter: nn.Module, body: nn.Module) -> None:
        super().__init__()
        self.enter = enter
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        return x + self.body(x)


def _unit(inputs: int, features: int, residual: bool) -> nn.Module:
    """Two activated 3 x 3 convolutions, by which the input passes if residual."""
    if not residual:
        return _pair(inputs, features)
    enter = nn.Identity() if inputs == features else conv(inputs, features, 1)
    return _Residual(enter, _pair(features, features))


def _pair(inputs: int, features: int) -> nn.Sequential:
    return nn.Sequential(conv(inputs, features), nn.PReLU(), conv(features, features), nn.PReLU())


def _down(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, stride, stride), nn.PReLU())


def _up(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(inputs, outputs, stride, stride), nn.PReLU())


def _strides(ratio: int) -> tuple[int, int]:
    """The ratio's first two prime factors; 1 where it has fewer."""
    factors = []
    for divisor in range(2, ratio + 1):
        while ratio % divisor == 0:
            factors.append(divisor)
            ratio //= divisor
    first, second, *_ = [*factors, 1, 1]
    return first, second


_REFERENCE = Reference(
    "Liu, Liu and Wang 2020, Remote sensing image fusion based on two-stream fusion network, Information Fusion "
    "55:1-15",
    "10.1016/j.inffus.2019.07.010",
)
_STRIDES = "Strides follow the ratio (2 and 2 at ratio 4, as published); no activation after the last convolution."

NETWORKS = (
    Network(
        name="tfnet",
        module=TFNet,
        tasks=("pansharpen", "sharpen"),
        summary="Two streams fused in feature space.",
        reference=_REFERENCE,
        config={"features": 32, "residual": False, "skip": False},
        images=2,
        differs=_STRIDES,
    ),
    Network(
        name="restfnet",
        module=TFNet,
        tasks=("pansharpen", "sharpen"),
        summary="Two streams fused in feature space by residual units; adds the interpolated bands.",
        reference=_REFERENCE,
        config={"features": 32, "residual": True, "skip": True},
        images=2,
        differs=_STRIDES + " The layers of its units are after a public re-implementation.",
    ),
)
