"""Blocks that networks share."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout2d, interpolate

from xrs.errors import ParameterError

__all__ = ["Chain", "ResidualBlock", "conv", "he_uniform", "least_squares", "regression", "stacked", "upsampled"]


def conv(inputs: int, outputs: int, size: int = 3, groups: int = 1, bias: bool = True) -> nn.Conv2d:
    """A convolution that keeps the size: zeros beyond the edges."""
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, groups=groups, bias=bias)


def he_uniform(module: nn.Module, seed: int) -> None:
    """Draw the weights of all convolutions from U(-a, a), a = sqrt(6 / fan-in); biases are zero.

    He et al. 2015, Delving deep into rectifiers, 10.1109/ICCV.2015.123; as Keras' ``he_uniform``. The same
    seed gives the same weights.
    """
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            _draw(layer, generator)


def _draw(layer: nn.Conv2d | nn.ConvTranspose2d, generator: torch.Generator) -> None:
    taps = layer.kernel_size[0] * layer.kernel_size[1]
    fan_in = layer.in_channels // layer.groups * taps
    if isinstance(layer, nn.ConvTranspose2d):
        # A pixel of the result sees only one of the kernel's phases.
        fan_in //= layer.stride[0] * layer.stride[1]
    bound = (6.0 / fan_in) ** 0.5
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
        if layer.bias is not None:
            layer.bias.zero_()


def regression(images: Tensor, targets: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Weights and biases of the convolution of one pixel that leads nearest from images to targets (N, band, y, x).

    Least squares over the pixels of a mask (N, y, x); over all without one.
    """
    given, wanted = (image.movedim(1, -1).flatten(0, 2) for image in (images, targets))
    if mask is not None:
        given, wanted = given[mask.flatten()], wanted[mask.flatten()]
    found = least_squares(torch.nn.functional.pad(given.double(), (0, 1), value=1.0), wanted.double())
    return found[:-1].T[:, :, None, None].float(), found[-1].float()


def least_squares(given: Tensor, wanted: Tensor) -> Tensor:
    """What leads nearest from rows of one matrix to those of the other, of the least norm if there are several.

    The same for the same input: torch's default driver rounds otherwise from call to call.
    """
    solution: Tensor = torch.linalg.lstsq(given, wanted, driver="gelsd").solution
    return solution


def upsampled(image: Tensor, ratio: int, mode: str = "bilinear") -> Tensor:
    """Interpolate (N, band, y, x) to a grid ``ratio`` times finer; pixels are areas, edges repeat."""
    if ratio == 1:
        return image
    # By size: a float factor leaves what is exported unsure of it.
    size = [ratio * length for length in image.shape[2:]]
    return interpolate(image, size, mode=mode, align_corners=False)


def stacked(images: Iterable[Tensor], ratios: Iterable[int], mode: str = "bilinear") -> Tensor:
    """All bands of all images on the finest grid, in order (N, band, y, x)."""
    return torch.cat([upsampled(image, ratio, mode) for image, ratio in zip(images, ratios, strict=True)], dim=1)


class ResidualBlock(nn.Module):
    """``x + scale * conv(relu(conv(x)))`` with 3 x 3 convolutions, or others of one ``size``."""

    def __init__(self, features: int, scale: float = 1.0, size: int = 3) -> None:
        super().__init__()
        self.first = conv(features, features, size)
        self.second = conv(features, features, size)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """The block's result, of the same shape."""
        return x + self.scale * self.second(torch.relu(self.first(x)))


class Chain(nn.Sequential):
    """Blocks one after another; with ``dropout``, channels are dropped after each block of the later half.

    While training, each image loses channels of its own. Afterwards nothing is dropped, unless one of the thinned
    networks is asked for: number *n* always lacks the same channels in all pixels, so results depend neither on tiles
    nor on batches.

    Gal and Ghahramani 2016, Dropout as a Bayesian approximation, arXiv:1506.02142
    """

    def __init__(self, *blocks: nn.Module, dropout: float = 0.0) -> None:
        super().__init__(*blocks)
        if not 0 <= dropout < 1:
            raise ParameterError(f"dropout={dropout}", "a share of channels from 0 to below 1")
        self.dropout = dropout

    def forward(self, x: Tensor, thinned: int | None = None) -> Tensor:
        """The last block's result (N, features, y, x) of the whole network or of one of the thinned."""
        for number, block in enumerate(self):
            x = block(x)
            if self.dropout and number >= len(self) // 2:
                x = self._dropped(x, number, thinned)
        return x

    def _dropped(self, x: Tensor, number: int, thinned: int | None) -> Tensor:
        if thinned is None:
            return dropout2d(x, self.dropout, self.training)
        generator = torch.Generator().manual_seed(1_000_003 * thinned + number)
        kept = torch.rand(x.shape[1], generator=generator) >= self.dropout
        return x * (kept.to(x.device, x.dtype) / (1 - self.dropout))[:, None, None]
