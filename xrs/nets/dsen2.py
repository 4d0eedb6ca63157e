"""DSen2 and VDSen2: residual networks that sharpen the coarse bands of Sentinel-2.

All images, interpolated to the finest grid, enter one chain of 3 x 3 convolutions that keep the size::

    x = relu(conv(concat(fine, up(r20m)[, up(r60m)])))           F features
    x = x + 0.1 conv(relu(conv(x)))                              d times
    result = up(target) + conv(x)

DSen2: d = 6, F = 128; VDSen2: d = 32, F = 256. Values are reflectance as digital numbers divided by 2000. For the
20 m bands the images are the 10 m and 20 m bands, for the 60 m bands the 10 m, 20 m and 60 m bands, in the order in
which the published weights saw them (10 m: B4, B3, B2, B8).

Lanaras, Bioucas-Dias, Galliani, Baltsavias and Schindler 2018, 10.1016/j.isprsjprs.2018.09.018
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from xrs.nets._blocks import Chain, ResidualBlock, conv, he_uniform, stacked, upsampled
from xrs.nets.base import Network
from xrs.reference import Reference

__all__ = ["NETWORKS", "DSen2"]


class DSen2(nn.Module):
    """DSen2 for any bands and ratios; VDSen2 with 32 blocks of 256 features.

    Interpolation is bilinear with pixels as areas and repeats the outermost pixels, where the published code
    mirrors: they differ in the outer half of the image's outermost coarse pixels.

    Parameters
    ----------
    bands, ratios : tuple of int
        Of each image, see :meth:`xrs.nets.base.Network.build`.
    features : int
        Features of the hidden layers, F.
    blocks : int
        Residual blocks, d.
    scale : float
        Of the residual branches.
    dropout : float
        Share of channels dropped after each block of the later half, for uncertainty; not of the paper.
    seed : int
        Of the weights (He-uniform, biases zero).

    Examples
    --------
    >>> network = DSen2((4, 6), (1, 2), features=8, blocks=1)
    >>> network(torch.zeros(1, 4, 10, 12), torch.zeros(1, 6, 5, 6)).shape
    torch.Size([1, 6, 10, 12])
    """

    def __init__(
        self,
        bands: tuple[int, ...],
        ratios: tuple[int, ...],
        *,
        features: int = 128,
        blocks: int = 6,
        scale: float = 0.1,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.ratios = ratios
        self.head = conv(sum(bands), features)
        self.body = Chain(*(ResidualBlock(features, scale) for _ in range(blocks)), dropout=dropout)
        self.tail = conv(features, bands[-1])
        he_uniform(self, seed)

    def forward(self, *images: Tensor, thinned: int | None = None) -> Tensor:
        """The last image's bands (N, band, y, x) on the grid of the first, by the whole or a thinned network."""
        x = torch.relu(self.head(stacked(images, self.ratios)))
        return upsampled(images[-1], self.ratios[-1]) + self.tail(self.body(x, thinned))


_REFERENCE = Reference(
    "Lanaras, Bioucas-Dias, Galliani, Baltsavias and Schindler 2018, Super-resolution of Sentinel-2 images: Learning "
    "a globally applicable deep neural network, ISPRS Journal of Photogrammetry and Remote Sensing 146:305-319",
    "10.1016/j.isprsjprs.2018.09.018",
)
_DIFFERS = "Interpolated inputs repeat the image's outermost pixels instead of mirroring them."

NETWORKS = (
    Network(
        name="dsen2",
        module=DSen2,
        tasks=("sharpen", "pansharpen"),
        summary="Residual network, 6 blocks of 128 features.",
        reference=_REFERENCE,
        config={"features": 128, "blocks": 6, "scale": 0.1, "dropout": 0.0},
        differs=_DIFFERS,
    ),
    Network(
        name="vdsen2",
        module=DSen2,
        tasks=("sharpen", "pansharpen"),
        summary="Very deep residual network, 32 blocks of 256 features.",
        reference=_REFERENCE,
        config={"features": 256, "blocks": 32, "scale": 0.1, "dropout": 0.0},
        differs=_DIFFERS,
    ),
)
