"""A light network for throughput: it works on a coarser grid and adds details to the interpolated bands.

::

    x      = relu(conv(concat(unshuffle(fine), coarse images on the working grid)))      F features, 3 x 3
    x      = x + conv(relu(conv(x)))                                                     d times
    result = up(target) + shuffle(conv(x))

The working grid is *s* times coarser than the finest, *s* being the smallest prime that divides all ratios (2 for
10/20/60 m and for pan at ratio 4; without one, the finest grid itself). ``unshuffle`` lays the s x s fine pixels of
a working pixel on top of each other as bands, so nothing of the fine images is lost, and each convolution costs s²
times less than on the fine grid. Values are reflectance, as the model's scale makes them.

With ``window`` above 0 the network starts from a local regression on the finest bands instead of interpolation, led
back to the observed bands, and adds its details to that; the sum is led back again::

    start  = P(regression in a window of the coarse target on fine, seen coarsely)
    x      = relu(conv(concat(unshuffle(fine), unshuffle(start), coarse images on the working grid)))
    result = P(start + shuffle(conv(x)))

where P is Landweber's iteration through the point spread ``psf``. With ``modulated`` the start is instead the
interpolated target times the ratio of the finest bands' mean to what the coarse grid shows of it, led back likewise:
better for a pan, whose relation to the bands a window fits badly. What the scene itself tells, in closed form, need not
be learned; the weights that are left serve other scenes better.

Our own design, experimental; not published. Its parts are: sub-pixel convolution (Shi et al. 2016,
10.1109/CVPR.2016.207) and residual blocks without normalisation that add to the interpolated target (as DSen2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from xrs.errors import ParameterError
from xrs.nets._blocks import Chain, ResidualBlock, conv, he_uniform, upsampled
from xrs.nets._regression import LocalRegression, PointSpread, modulation
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
    window : int
        Side, in coarsest pixels, of the window of the local regression; odd. 0 starts from interpolation.
    modulated : bool
        Start from smoothing-filter modulation by the mean of the finest bands; only without a window.
    projections : int
        Steps of the iteration P; only with a window or modulated.
    psf : sequence of float, optional
        Point spread from the finest grid to the target's, (tap,) or (band, tap); the block mean if not given. Training
        and the verbs fill it in.
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
        window: int = 0,
        modulated: bool = False,
        projections: int = 3,
        psf: Sequence[Any] | None = None,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.ratios = ratios
        self.step = step or _smallest_prime(math.gcd(*ratios[1:]))
        if any(ratio % self.step for ratio in ratios[1:]):
            raise ParameterError(f"step={step} with ratios {ratios}", "a divisor of every ratio but the first")
        if window and modulated:
            raise ParameterError(f"window={window} with modulated=True", "one start or the other")
        self.regression = LocalRegression(bands[0], bands[-1], window, ratios[-1]) if window else None
        self.is_guided = bool(window) or modulated
        self.spread = PointSpread(psf, bands[-1], ratios[-1])
        self.projections = projections if self.is_guided else 0
        fine = bands[0] + (bands[-1] if self.is_guided else 0)
        self.head = conv(fine * self.step**2 + sum(bands[1:]), features)
        self.body = Chain(*(ResidualBlock(features) for _ in range(blocks)), dropout=dropout)
        self.tail = conv(features, bands[-1] * self.step**2)
        he_uniform(self, seed)
        # The first result is nearly the interpolated target: from large random details a short training ends in a
        # worse place.
        with torch.no_grad():
            self.tail.weight.mul_(0.01)

    def forward(self, fine: Tensor, *coarse: Tensor, thinned: int | None = None) -> Tensor:
        """The last image's bands (N, band, y, x) on the grid of the first, by the whole or a thinned network."""
        start = self._start(fine, coarse[-1])
        images = [pixel_unshuffle(fine, self.step)]
        if self.is_guided:
            images.append(pixel_unshuffle(start, self.step))
        for image, ratio in zip(coarse, self.ratios[1:], strict=True):
            images.append(upsampled(image, ratio // self.step))
        details = self.tail(self.body(torch.relu(self.head(torch.cat(images, dim=1))), thinned))
        return self._projected(start + pixel_shuffle(details, self.step), coarse[-1])

    def _start(self, fine: Tensor, target: Tensor) -> Tensor:
        if not self.is_guided:
            return upsampled(target, self.ratios[-1])
        with torch.autocast(fine.device.type, enabled=False):
            seen = self.spread.guides(fine)
            if self.regression is None:
                guided = modulation(fine, seen, target, self.ratios[-1])
            else:
                guided = self.regression(fine, seen, target)
        return self._projected(guided, target)

    def _projected(self, result: Tensor, target: Tensor) -> Tensor:
        if not self.projections:
            return result
        with torch.autocast(result.device.type, enabled=False):
            return self.spread.corrected(result, target, self.projections)


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
    config={
        "features": 32,
        "blocks": 2,
        "step": 0,
        "window": 0,
        "modulated": False,
        "projections": 3,
        "psf": None,
        "dropout": 0.0,
    },
    alone={
        "pansharpen": {"step": 1, "modulated": True, "projections": 1},
        "sharpen": {"window": 5, "projections": 1},
    },
    differs="Own design, experimental.",
)
