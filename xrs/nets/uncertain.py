"""What networks know of their own errors: a spread beside the mean, from three sources.

* A head reads from the images and the network's details how large errors are here (Kendall and Gal 2017,
  arXiv:1703.04977): log b of a Laplace distribution, whose standard deviation is sqrt(2) b.
* Members trained from other seeds differ where the training left the result open (Lakshminarayanan, Pritzel and
  Blundell 2017, arXiv:1612.01474).
* Thinned networks, each without some channels, differ where the result rests on few of them (Gal and Ghahramani
  2016, arXiv:1506.02142).

They add by the law of total variance. The scale is not that of the errors yet: see :mod:`xrs.learning.conformal`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from xrs.nets._blocks import ResidualBlock, conv, he_uniform, upsampled

__all__ = ["LaplaceHead", "Uncertain", "WithHead", "mean_and_spread"]

#: Bounds of log b, in units of the model's scale: errors under a thousandth of it are not told apart.
_LEAST_LOG, _MOST_LOG = -7.0, 7.0


class LaplaceHead(nn.Module):
    """log b of each pixel and band, from the images and what a network added to the interpolated bands.

    Where all ratios are even it works on a grid of 2 x 2 fine pixels, whose values lie on top of each other as bands,
    so that it costs less than most networks.

    Of a network that makes other bands than those it sees, it looks at the images and the result pixel by pixel.

    Parameters
    ----------
    bands, ratios : tuple of int
        Of each image, see :meth:`xrs.nets.base.Network.build`.
    outputs : int
        Bands of the result where they are others than those of the last image, else 0.
    features : int
        Of the hidden layers.
    seed : int
        Of the weights.
    """

    def __init__(
        self, bands: tuple[int, ...], ratios: tuple[int, ...], *, outputs: int = 0, features: int = 16, seed: int = 0
    ) -> None:
        super().__init__()
        self.ratios, self.outputs = ratios, outputs
        self.step = 2 if not outputs and math.gcd(*ratios[1:]) % 2 == 0 else 1
        results, size = outputs or bands[-1], 1 if outputs else 3
        self.first = conv((bands[0] + results) * self.step**2 + sum(bands[1:]), features, size)
        self.body = ResidualBlock(features, size=size)
        self.last = conv(features, results * self.step**2, size)
        he_uniform(self, seed)
        with torch.no_grad():
            self.last.weight.mul_(0.01)

    def start_at(self, logs: Tensor) -> None:
        """Begin with about these values of log b (band,) in all pixels."""
        bias: Any = self.last.bias
        with torch.no_grad():
            bias.copy_(logs.repeat_interleave(self.step**2))

    def forward(self, mean: Tensor, *images: Tensor) -> Tensor:
        """Log b (N, band, y, x) beside a network's result ``mean``, in bounds."""
        details = mean if self.outputs else mean - upsampled(images[-1], self.ratios[-1])
        seen = [pixel_unshuffle(torch.cat([images[0], details], dim=1), self.step)]
        for image, ratio in zip(images[1:], self.ratios[1:], strict=True):
            seen.append(upsampled(image, ratio // self.step))
        logs = self.last(self.body(torch.relu(self.first(torch.cat(seen, dim=1)))))
        return pixel_shuffle(logs, self.step).clamp(_LEAST_LOG, _MOST_LOG)


class WithHead(nn.Module):
    """A finished network and the head that is to learn its errors; only the head has gradients."""

    def __init__(self, member: nn.Module, head: LaplaceHead) -> None:
        super().__init__()
        self.member = member.eval().requires_grad_(False)
        self.head = head

    def train(self, mode: bool = True) -> WithHead:
        """Put the head into training mode, or out of it."""
        self.head.train(mode)
        return self

    def forward(self, *images: Tensor) -> Tensor:
        """The network's bands, then log b of each (N, 2 bands, y, x)."""
        with torch.no_grad():
            mean = self.member(*images)
        return torch.cat([mean, self.head(mean, *images)], dim=1)


class Uncertain(nn.Module):
    """One or more networks of the same images as one, with a spread.

    Parameters
    ----------
    members : sequence of torch.nn.Module
        Networks that differ in their weights.
    heads : sequence of LaplaceHead
        One for each member, or none.
    passes : int
        Thinned networks of each member, which must take ``thinned``; 0 for none.

    Examples
    --------
    >>> from xrs.nets import get_network
    >>> members = [get_network("light").build((4, 6), (1, 2), seed=seed) for seed in (0, 1)]
    >>> network = Uncertain(members)
    >>> mean, std = network.spread(torch.rand(1, 4, 8, 8), torch.rand(1, 6, 4, 4))
    >>> mean.shape == std.shape, bool((std > 0).all())
    (True, True)
    """

    def __init__(self, members: Sequence[nn.Module], heads: Sequence[LaplaceHead] = (), passes: int = 0) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.heads = nn.ModuleList(heads)
        self.passes = passes

    def forward(self, *images: Tensor) -> Tensor:
        """The mean of the members' results, with all channels."""
        return torch.stack([member(*images) for member in self.members]).mean(dim=0)

    def spread(self, *images: Tensor) -> tuple[Tensor, Tensor]:
        """The result, as :meth:`forward` gives it, and a standard deviation of the same shape."""
        means = [member(*images) for member in self.members]
        # Of many bands these sums take as long as the network: none is made that changes nothing.
        alone = len(means) == 1
        mean = means[0] if alone else torch.stack(means).mean(dim=0)
        variance = torch.full_like(mean, math.exp(2 * _LEAST_LOG))
        for number, (member, own) in enumerate(zip(self.members, means, strict=True)):
            parts = [] if alone else [(own - mean) ** 2]
            if self.heads:
                parts.append(2 * torch.exp(2 * self.heads[number](own, *images)))
            if self.passes:
                parts.append(self._of_thinned(member, own, images))
            for part in parts:
                variance = torch.add(variance, part, alpha=1 / len(means))
        return mean, variance.sqrt()

    def _of_thinned(self, member: nn.Module, own: Tensor, images: Sequence[Tensor]) -> Tensor:
        total = torch.zeros_like(own)
        for number in range(self.passes):
            total = total + (member(*images, thinned=number) - own) ** 2
        return total / self.passes


def mean_and_spread(network: nn.Module, images: Sequence[Tensor]) -> Tensor:
    """All that a network puts out: its bands, and where it has a spread, their standard deviations (N, band, y, x)."""
    result: Tensor = torch.cat(network.spread(*images), dim=1) if isinstance(network, Uncertain) else network(*images)
    return result
