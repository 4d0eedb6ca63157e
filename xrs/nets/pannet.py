"""PanNet: a residual network that learns details from high-passed images only.

::

    hp(X)  = X - box5(X)
    x      = relu(conv(concat(deconv(hp(ms)), hp(pan))))      32 features, 3 x 3
    x      = x + conv(relu(conv(x)))                          4 times
    result = up(ms) + conv(x)

The transposed convolution has twice the ratio's size and the ratio's stride (8 and 4). Values are divided by the
sensor's greatest (2047 for 11 bits).

Yang, Fu, Hu, Huang, Ding and Paisley 2017, 10.1109/ICCV.2017.193; without the batch normalisation of the paper, as in
Deng et al. 2022 (10.1109/MGRS.2022.3187652), whose pretrained weights have these layers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from xrs.nets._blocks import ResidualBlock, conv, he_uniform, upsampled
from xrs.nets.base import Network
from xrs.reference import Reference

__all__ = ["NETWORK", "PanNet"]


class PanNet(nn.Module):
    """PanNet for one panchromatic band and a multispectral image.

    At the edges the box takes the mean of the pixels there are. Interpolation is bicubic with pixels as areas.
    For an odd ratio the transposed convolution is one pixel narrower, so that it stays centred.

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
    >>> network = PanNet((1, 4), (1, 4))
    >>> network(torch.zeros(1, 1, 12, 16), torch.zeros(1, 4, 3, 4)).shape
    torch.Size([1, 4, 12, 16])
    """

    def __init__(
        self, bands: tuple[int, ...], ratios: tuple[int, ...], *, features: int = 32, blocks: int = 4, seed: int = 0
    ) -> None:
        super().__init__()
        self.ratio = ratios[1]
        size = 2 * self.ratio - self.ratio % 2
        self.deconv = nn.ConvTranspose2d(bands[1], bands[1], size, self.ratio, padding=(size - self.ratio) // 2)
        self.head = conv(sum(bands), features)
        self.body = nn.Sequential(*(ResidualBlock(features) for _ in range(blocks)))
        self.tail = conv(features, bands[1])
        he_uniform(self, seed)

    def forward(self, pan: Tensor, ms: Tensor) -> Tensor:
        """The bands (N, band, y, x) on the grid of the pan."""
        details = torch.cat([self.deconv(_highpass(ms)), _highpass(pan)], dim=1)
        return upsampled(ms, self.ratio, "bicubic") + self.tail(self.body(torch.relu(self.head(details))))


def _highpass(image: Tensor) -> Tensor:
    return image - avg_pool2d(image, 5, stride=1, padding=2, count_include_pad=False)


NETWORK = Network(
    name="pannet",
    module=PanNet,
    tasks=("pansharpen",),
    summary="Residual network on high-passed images; its result is added to the interpolated bands.",
    reference=Reference(
        "Yang, Fu, Hu, Huang, Ding and Paisley 2017, PanNet: A deep network architecture for pan-sharpening, IEEE "
        "International Conference on Computer Vision, 1753-1761",
        "10.1109/ICCV.2017.193",
    ),
    config={"features": 32, "blocks": 4},
    images=2,
    differs="Without batch normalisation, as in Deng et al. 2022 (10.1109/MGRS.2022.3187652).",
)
