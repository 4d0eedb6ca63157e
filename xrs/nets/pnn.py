"""PNN: three convolutions map the interpolated bands and the pan to the fused bands.

``conv 9 x 9, 64, relu; conv 5 x 5, 32, relu; conv 5 x 5, bands`` on ``concat(up(ms), pan)``, without padding
between the layers. Values are divided by the sensor's greatest (2047 for 11 bits).

Masi, Cozzolino, Verdoliva and Scarpa 2016, 10.3390/rs8070594
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from xrs.nets._blocks import he_uniform, upsampled
from xrs.nets.base import Network
from xrs.reference import Reference

__all__ = ["NETWORK", "PNN"]


class PNN(nn.Module):
    """PNN with its layers' published sizes.

    The published network loses 8 pixels at each edge; here the image's outermost pixels are repeated 8 times
    beforehand, so that the result has the pan's size and is the published one farther than 8 pixels from the
    edges. Interpolation is bicubic with pixels as areas.

    Parameters
    ----------
    bands, ratios : tuple of int
        Of pan and multispectral image.
    features : tuple of int
        Of the two hidden layers.
    seed : int
        Of the weights (He-uniform, biases zero).

    Examples
    --------
    >>> network = PNN((1, 4), (1, 4))
    >>> network(torch.zeros(1, 1, 12, 16), torch.zeros(1, 4, 3, 4)).shape
    torch.Size([1, 4, 12, 16])
    """

    def __init__(
        self, bands: tuple[int, ...], ratios: tuple[int, ...], *, features: tuple[int, int] = (64, 32), seed: int = 0
    ) -> None:
        super().__init__()
        self.ratio = ratios[1]
        self.first = nn.Conv2d(sum(bands), features[0], 9)
        self.second = nn.Conv2d(features[0], features[1], 5)
        self.third = nn.Conv2d(features[1], bands[1], 5)
        he_uniform(self, seed)

    def forward(self, pan: Tensor, ms: Tensor) -> Tensor:
        """The bands (N, band, y, x) on the grid of the pan."""
        x = torch.cat([upsampled(ms, self.ratio, "bicubic"), pan], dim=1)
        x = pad(x, (8, 8, 8, 8), mode="replicate")
        return self.third(torch.relu(self.second(torch.relu(self.first(x)))))


NETWORK = Network(
    name="pnn",
    module=PNN,
    tasks=("pansharpen",),
    summary="Three convolutions on the interpolated bands and the pan.",
    reference=Reference(
        "Masi, Cozzolino, Verdoliva and Scarpa 2016, Pansharpening by convolutional neural networks, Remote Sensing "
        "8(7):594",
        "10.3390/rs8070594",
    ),
    config={"features": (64, 32)},
    images=2,
    differs="Repeats edge pixels so that the result keeps the pan's size; without the optional radiometric indices.",
)
