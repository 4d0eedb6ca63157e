"""FusionNet: a residual network that learns details from the difference of the pan and each band.

::

    x      = relu(conv(pan - up(ms)))                         32 features, 3 x 3
    x      = x + conv(relu(conv(x)))                          4 times
    result = up(ms) + conv(x)

78,632 parameters for 8 bands. The published weight files hold 152,616 values, as their four blocks are stored twice.
Values are divided by the sensor's greatest (2047 for 11 bits).

Deng, Vivone, Jin and Chanussot 2021, 10.1109/TGRS.2020.3031366
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from xrs.nets._blocks import ResidualBlock, conv, he_uniform, upsampled
from xrs.nets.base import Network
from xrs.reference import Reference

__all__ = ["NETWORK", "FusionNet"]


class FusionNet(nn.Module):
    """FusionNet for one panchromatic band and a multispectral image.

    Interpolation is bicubic with pixels as areas, where the published one is a 23-tap polynomial kernel.

    Parameters
    ----------
    bands, ratios : tuple of int
        Of pan and multispectral image.
    features, blocks : int
        Of the hidden layers; residual blocks.
    seed : int
        Of the weights (He-uniform, biases zero).

    Examples
    --------
    >>> network = FusionNet((1, 4), (1, 4))
    >>> network(torch.zeros(1, 1, 12, 16), torch.zeros(1, 4, 3, 4)).shape
    torch.Size([1, 4, 12, 16])
    """

    def __init__(
        self, bands: tuple[int, ...], ratios: tuple[int, ...], *, features: int = 32, blocks: int = 4, seed: int = 0
    ) -> None:
        super().__init__()
        self.ratio = ratios[1]
        self.head = conv(bands[1], features)
        self.body = nn.Sequential(*(ResidualBlock(features) for _ in range(blocks)))
        self.tail = conv(features, bands[1])
        he_uniform(self, seed)

    def forward(self, pan: Tensor, ms: Tensor) -> Tensor:
        """The bands (N, band, y, x) on the grid of the pan."""
        interpolated = upsampled(ms, self.ratio, "bicubic")
        return interpolated + self.tail(self.body(torch.relu(self.head(pan - interpolated))))


NETWORK = Network(
    name="fusionnet",
    module=FusionNet,
    tasks=("pansharpen",),
    summary="Residual network on the difference of the pan and each interpolated band.",
    reference=Reference(
        "Deng, Vivone, Jin and Chanussot 2021, Detail injection-based deep convolutional neural networks for "
        "pansharpening, IEEE Transactions on Geoscience and Remote Sensing 59(8):6995-7010",
        "10.1109/TGRS.2020.3031366",
    ),
    config={"features": 32, "blocks": 4},
    images=2,
    differs="Bicubic interpolation in place of the 23-tap polynomial kernel.",
)
