"""The opponent of a network that is trained against one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from xrs.nets._blocks import he_uniform

__all__ = ["Discriminator"]

#: Multiples of the first layer's features, and strides, of SRGAN's layers.
_LAYERS = ((1, 1), (1, 2), (2, 1), (2, 2), (4, 1), (4, 2), (8, 1), (8, 2))


class Discriminator(nn.Module):
    """Scores windows of an image: high where it looks like a true one.

    Eight 3 x 3 convolutions with F, F, 2F, 2F, 4F, 4F, 8F and 8F features and the strides 1 and 2 in turn, each
    followed by a leaky ReLU (slope 0.2), as SRGAN's (Ledig et al. 2017, 10.1109/CVPR.2017.19). In place of its dense
    layers a 1 x 1 convolution gives a score for each window of 61 pixels every 16 pixels (Isola et al. 2017,
    10.1109/CVPR.2017.632), so images may have any size and a far pixel changes nothing. Without batch normalisation,
    which would make a score depend on the other images.

    Parameters
    ----------
    bands : int
    features : int
        Of the first layer, F.
    seed : int
        Of the weights (He-uniform, biases zero).

    Examples
    --------
    >>> image, seen = torch.zeros(2, 6, 40, 32), torch.ones(2, 6, 40, 32, dtype=torch.bool)
    >>> Discriminator(6, features=4)(image, seen).shape
    torch.Size([2, 1, 3, 2])
    """

    def __init__(self, bands: int, *, features: int = 64, seed: int = 0) -> None:
        super().__init__()
        widths = [2 * bands, *(features * factor for factor, _ in _LAYERS)]
        self.layers = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1)
            for inputs, outputs, (_, stride) in zip(widths, widths[1:], _LAYERS, strict=False)
        )
        self.score = nn.Conv2d(widths[-1], 1, 1)
        he_uniform(self, seed)

    def forward(self, image: Tensor, seen: Tensor) -> Tensor:
        """Scores (N, 1, window row, window column) of an image and of where it counts, both (N, band, y, x).

        Elsewhere the image is taken as zero, and the discriminator is told where that is.
        """
        x = torch.cat([torch.where(seen, image, 0.0), seen.to(image.dtype)], dim=1)
        for layer in self.layers:
            x = leaky_relu(layer(x), 0.2)
        scores: Tensor = self.score(x)
        return scores
