"""RERCNN: other bands from the bands of one image, by parallel convolutions of three sizes and residual blocks.

::

    x      = relu(concat(conv 3 x 3, conv 5 x 5, conv 7 x 7))      of the image, 32 features each
    x      = relu(conv 1 x 1) to 64
    x      = x + conv(relu(conv(x)))                               8 times
    result = conv 3 x 3 of x + conv 1 x 1 of the image

The recurrent expanding strategy, by which it carries hyperspectral bands from a narrow swath over a wide multispectral
one, is :func:`xrs.expand_swath`.

After He et al. 2019, Remote Sensing 11:2203. Its layer table is not open to us: that there are features of several
scales and a residual network is published; the numbers are ours, and so is the last sum, whose convolution starts
training as the linear regression.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from xrs.nets._blocks import ResidualBlock, conv, he_uniform, regression
from xrs.nets.base import Network
from xrs.reference import Reference

__all__ = ["NETWORK", "RERCNN"]

#: Sizes of the parallel convolutions.
_SIZES = (3, 5, 7)


class RERCNN(nn.Module):
    """Bands of one sensor from those of another, on the same grid.

    Parameters
    ----------
    bands, ratios : tuple of int
        Of the one image, see :meth:`xrs.nets.base.Network.build`.
    outputs : int
        Bands of the result.
    scale_features : int
        Of each parallel convolution.
    features, blocks : int
        Of the residual blocks.
    seed : int
        Of the weights (He-uniform, those of the last layer and the second of each block a tenth of it; biases zero).

    Examples
    --------
    >>> network = RERCNN((4,), (1,), outputs=60, blocks=1)
    >>> network(torch.zeros(1, 4, 10, 12)).shape
    torch.Size([1, 60, 10, 12])
    """

    def __init__(
        self,
        bands: tuple[int, ...],
        ratios: tuple[int, ...],
        *,
        outputs: int,
        scale_features: int = 32,
        features: int = 64,
        blocks: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.scales = nn.ModuleList(conv(bands[0], scale_features, size) for size in _SIZES)
        self.join = conv(len(_SIZES) * scale_features, features, 1)
        self.body = nn.Sequential(*(ResidualBlock(features) for _ in range(blocks)))
        self.tail = conv(features, outputs)
        self.past = conv(bands[0], outputs, 1)
        he_uniform(self, seed)
        self._quieten()

    def forward(self, image: Tensor) -> Tensor:
        """The other bands (N, band, y, x)."""
        scales = torch.relu(torch.cat([layer(image) for layer in self.scales], dim=1))
        return self.tail(self.body(torch.relu(self.join(scales)))) + self.past(image)

    @torch.no_grad()
    def begin(self, images: Sequence[Tensor], target: Tensor, mask: Tensor) -> None:
        """Start the last sum's convolution with the linear regression of the target on the image.

        Parameters
        ----------
        images : sequence of Tensor
            One, to train on.
        target : Tensor (N, band, y, x)
        mask : Tensor of bool (N, band, y, x)
            Where both were seen.
        """
        slopes, offsets = regression(images[0], target, mask.all(dim=1))
        self.past.weight.copy_(slopes)
        self.past.get_parameter("bias").copy_(offsets)

    def _quieten(self) -> None:
        """Begin near the mean of the image's bands, with features that do not grow from block to block."""
        with torch.no_grad():
            self.tail.weight.mul_(0.1)
            self.past.weight.fill_(1 / self.past.in_channels)
            for name, weights in self.body.named_parameters():
                if name.endswith("second.weight"):
                    weights.mul_(0.1)


NETWORK = Network(
    name="rercnn",
    module=RERCNN,
    tasks=("spectral",),
    summary="Hyperspectral bands from multispectral ones: features of three scales, then residual blocks.",
    reference=Reference("He et al. 2019, fusion of images of different swath widths, Remote Sensing 11:2203"),
    config={"scale_features": 32, "features": 64, "blocks": 8},
    images=1,
    differs="After the paper: the layer table is not open to us, so numbers of layers and features are ours, and so is "
    "the convolution of one pixel that leads the image past them and starts as the linear regression.",
)
