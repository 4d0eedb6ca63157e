"""A light network for throughput: it works on a coarser grid and adds details to the interpolated bands.

::

    x      = relu(conv(concat(unshuffle(fine), coarse images on the working grid)))      F features, 3 x 3
    x      = x + conv(relu(conv(x)))                                                     d times
    result = up(target) + shuffle(conv(x))

The working grid is *s* times coarser than the finest, *s* being the smallest prime that divides all ratios (2 for
10/20/60 m and for pan at ratio 4; without one, the finest grid itself). ``unshuffle`` lays the s x s fine pixels of
a working pixel on top of each other as bands, so nothing of the fine images is lost, and each convolution costs s²
times less than on the fine grid. Values are reflectance, as the model's scale makes them.

Our own design, experimental; not published. Its parts are: sub-pixel convolution (Shi et al. 2016,
10.1109/CVPR.2016.207) and residual blocks without normalisation that add to the interpolated target (as DSen2).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from xrs.errors import ParameterError
from xrs.nets._blocks import Chain, ResidualBlock, conv, he_uniform, upsampled
from xrs.nets.base import Network
from xrs.reference import Reference

__all__ = ["NETWORK", "LightNet"]


class LightNet(nn.Module):
    """Fewer than 60 000 parameters for Sentinel-2 at 20 and 60 m, and for pan with up to 8 bands at even ratios.

    Parameters
    ----------
    bands, ratios : tuple of int
        Of each image, see :meth:`xrs.nets.base.Network.build`.
    features, blocks : int
        Of the hidden layers; residual blocks.
    step : int
        Fine pixels along the side of a pixel of the working grid; 0 for the smallest prime that divides all
        ratios, 1 for the fine grid itself: some percent more exact, several times slower.
    dropout : float
        Share of channels dropped after each block of the later half, for uncertainty.
    seed : int
        Of the weights (He-uniform, those of the last layer a hundredth of it; biases zero).

    Examples
    --------
    >>> network = LightNet((4, 6), (1, 2))
    >>> network(torch.zeros(1, 4, 10, 12), torch.zeros(1, 6, 5, 6)).shape
    torch.Size([1, 6, 10, 12])
    """

    def __init__(
        self,
        bands: tuple[int, ...],
        ratios: tuple[int, ...],
        *,
        features: int = 32,
        blocks: int = 2,
        step: int = 0,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.ratios = ratios
        self.step = step or _smallest_prime(math.gcd(*ratios[1:]))
        if any(ratio % self.step for ratio in ratios[1:]):
            raise ParameterError(f"step={step} with ratios {ratios}", "a divisor of every ratio but the first")
        self.head = conv(bands[0] * self.step**2 + sum(bands[1:]), features)
        self.body = Chain(*(ResidualBlock(features) for _ in range(blocks)), dropout=dropout)
        self.tail = conv(features, bands[-1] * self.step**2)
        he_uniform(self, seed)
        # The first result is nearly the interpolated target: from large random details a short training ends in a
        # worse place.
        with torch.no_grad():
            self.tail.weight.mul_(0.01)

    def forward(self, fine: Tensor, *coarse: Tensor, thinned: int | None = None) -> Tensor:
        """The last image's bands (N, band, y, x) on the grid of the first, by the whole or a thinned network."""
        return upsampled(coarse[-1], self.ratios[-1]) + self.details(fine, *coarse, thinned=thinned)

    def details(self, fine: Tensor, *coarse: Tensor, thinned: int | None = None) -> Tensor:
        """What is added to the interpolated bands (N, band, y, x)."""
        images = [pixel_unshuffle(fine, self.step)]
        for image, ratio in zip(coarse, self.ratios[1:], strict=True):
            images.append(upsampled(image, ratio // self.step))
        x = torch.relu(self.head(torch.cat(images, dim=1)))
        return pixel_shuffle(self.tail(self.body(x, thinned)), self.step)


def _smallest_prime(number: int) -> int:
    """The smallest prime factor; 1 has none and gives 1."""
    return next((divisor for divisor in range(2, number + 1) if number % divisor == 0), 1)


NETWORK = Network(
    name="light",
    module=LightNet,
    tasks=("sharpen", "pansharpen"),
    summary="Made for throughput: few features on a coarser grid, sub-pixel shuffle.",
    reference=Reference(
        "Own design, not published; sub-pixel convolution after Shi et al. 2016, Real-time single image and video "
        "super-resolution using an efficient sub-pixel convolutional neural network, CVPR, 1874-1883",
        "10.1109/CVPR.2016.207",
    ),
    config={"features": 32, "blocks": 2, "step": 0, "dropout": 0.0},
    differs="Own design, experimental.",
)
