"""Chains of convolutions that make other bands of one image, and how they begin."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from xrs.nets._blocks import conv, he_uniform, least_squares

__all__ = ["SpectralChain"]

#: Penalty on the first weights of the last layer, over the mean power of its features: large weights would make much of
#: the first steps of training.
_RIDGE = 1e-3

#: Relative spread below which a band counts as constant.
_CONSTANT = 1e-6


class SpectralChain(nn.Module):
    """Convolutions of one size with rectifiers, and a last one of a single pixel.

    Parameters
    ----------
    bands, outputs : int
        Of the image and of the result.
    features, layers, size : int
        Of the convolutions before the last.
    seed : int
        Of the weights (He-uniform, biases zero).
    """

    def __init__(self, bands: int, outputs: int, *, features: int, layers: int, size: int, seed: int) -> None:
        super().__init__()
        sizes = [bands, *[features] * layers]
        layered = [part for pair in itertools.pairwise(sizes) for part in (conv(*pair, size), nn.ReLU())]
        self.body = nn.Sequential(*layered)
        self.tail = conv(features, outputs, 1)
        he_uniform(self, seed)

    def forward(self, image: Tensor) -> Tensor:
        """The other bands (N, band, y, x)."""
        result: Tensor = self.tail(self.body(image))
        return result

    @torch.no_grad()
    def begin(self, images: Sequence[Tensor], target: Tensor, mask: Tensor) -> None:
        """Start on standardised bands, with neighbours that do not count and a last layer that is the regression.

        Parameters
        ----------
        images : sequence of Tensor
            One, to train on.
        target : Tensor (N, band, y, x)
        mask : Tensor of bool (N, band, y, x)
            Where both were seen.
        """
        seen = mask.all(dim=1)
        if not seen.any():
            return
        self._centre()
        self._standardise(images[0].movedim(1, -1)[seen])
        features, wanted = (layer.movedim(1, -1)[seen].double() for layer in (self.body(images[0]), target))
        centre, mean = features.mean(dim=0), wanted.mean(dim=0)
        gram = (features - centre).T @ (features - centre)
        gram += _RIDGE * features.square().sum() / len(centre) * torch.eye(len(centre), dtype=torch.float64)
        slopes = least_squares(gram, (features - centre).T @ (wanted - mean)).T
        self.tail.weight.copy_(slopes[:, :, None, None])
        self.tail.get_parameter("bias").copy_(mean - slopes @ centre)

    def _standardise(self, pixels: Tensor) -> None:
        """Let the first layer make of the bands of pixels (pixel, band) what it would of standardised ones."""
        mean, spread = pixels.mean(dim=0), pixels.std(dim=0, correction=0)
        first = self.body.get_submodule("0")
        weight, bias = first.get_parameter("weight"), first.get_parameter("bias")
        weight.div_(torch.where(spread > _CONSTANT * mean.abs(), spread, 1.0)[None, :, None, None])
        bias.sub_(weight.sum(dim=(2, 3)) @ mean)

    def _centre(self) -> None:
        """Weights of neighbours zero, those of the pixel itself as large as if there were no others."""
        for layer in self.body:
            if isinstance(layer, nn.Conv2d):
                middle = layer.kernel_size[0] // 2
                own = layer.weight[:, :, middle, middle] * layer.kernel_size[0]
                layer.weight.zero_()
                layer.weight[:, :, middle, middle] = own
