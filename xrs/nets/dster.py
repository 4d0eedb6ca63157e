"""After DsTer: other bands from the bands of one image, by a densely joined spectral transformer.

::

    x_0    = conv 3 x 3 of the image, to 64 features
    z      = conv 1 x 1 of concat(x_0, ..., x_l-1)
    x_l    = z + spectral attention of z + conv 3 x 3 of relu(conv 3 x 3 of z)          4 times
    result = conv 1 x 1 of concat(x_0, ..., x_4) + conv 3 x 3 of the image

After He et al. 2022, JAG 109:102773, of which neither text nor program is open to us: known is the title, a dense
spectral transformer. The blocks are filled in with what was published at the same time (spectral attention as in MST++,
Cai et al. 2022, 10.1109/CVPRW56347.2022.00090); the numbers are ours, and so is the last sum: the first estimate is a
regression on 3 x 3 pixels, at which training starts.

Attention looks along the whole image. Networks are applied to windows here, so it sees a window with its margin, which
is what the convolutions see around a pixel and a little more; train it on patches of about that size (local statistics
when applied: Chu et al. 2022, 10.48550/arXiv.2112.04491).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from xrs.nets._attention import SpectralAttention, start_as_torch
from xrs.nets._blocks import ResidualBlock, conv
from xrs.nets._ridge import begin_as_regression
from xrs.nets.base import Network
from xrs.reference import Reference

__all__ = ["NETWORK", "DsTer"]


class DsTer(nn.Module):
    """Bands of one sensor from those of another, on the same grid.

    Parameters
    ----------
    bands, ratios : tuple of int
        Of the one image, see :meth:`xrs.nets.base.Network.build`.
    outputs : int
        Bands of the result.
    features, blocks : int
        Of the transformer.
    heads : int
        Parts of the features between which there is no attention.
    seed : int
        Of the weights (as torch's layers).

    Examples
    --------
    >>> network = DsTer((4,), (1,), outputs=60, blocks=2)
    >>> network(torch.zeros(1, 4, 10, 12)).shape
    torch.Size([1, 60, 10, 12])
    """

    def __init__(
        self,
        bands: tuple[int, ...],
        ratios: tuple[int, ...],
        *,
        outputs: int,
        features: int = 64,
        blocks: int = 4,
        heads: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.head = conv(bands[0], features)
        self.join = nn.ModuleList(conv((1 + n) * features, features, 1) for n in range(blocks))
        self.body = nn.ModuleList(_Block(features, heads) for _ in range(blocks))
        self.tail = conv((1 + blocks) * features, outputs, 1)
        self.past = conv(bands[0], outputs)
        start_as_torch(self, seed)

    def forward(self, image: Tensor) -> Tensor:
        """The other bands (N, band, y, x)."""
        known = self.head(image)
        for join, block in zip(self.join, self.body, strict=True):
            known = torch.cat([known, block(join(known))], dim=1)
        result: Tensor = self.tail(known) + self.past(image)
        return result

    @torch.no_grad()
    def begin(self, images: Sequence[Tensor], target: Tensor, mask: Tensor) -> None:
        """Start with the last sum as a regression of the target on 3 x 3 pixels; all else adds nothing at first.

        See :func:`xrs.nets._ridge.neighbourhood_regression`.

        Parameters
        ----------
        images : sequence of Tensor
            One, to train on.
        target : Tensor (N, band, y, x)
        mask : Tensor of bool (N, band, y, x)
            Where both were seen.
        """
        if begin_as_regression(self.past, images[0], target, mask):
            self.tail.weight.zero_()
            self.tail.get_parameter("bias").zero_()


class _Block(nn.Module):
    """Attention between bands and a residual block side by side."""

    def __init__(self, features: int, heads: int) -> None:
        super().__init__()
        self.attention = SpectralAttention(features, heads)
        self.spatial = ResidualBlock(features)

    def forward(self, x: Tensor) -> Tensor:
        """The features, of the same shape."""
        result: Tensor = self.attention(x) + self.spatial(x)
        return result


NETWORK = Network(
    name="dster",
    module=DsTer,
    tasks=("spectral",),
    summary="A densely joined transformer between bands, beside residual blocks.",
    reference=Reference(
        "He et al. 2022, DsTer: a dense spectral transformer, International Journal of Applied Earth Observation and "
        "Geoinformation 109:102773"
    ),
    config={"features": 64, "blocks": 4, "heads": 1},
    images=1,
    window=128,
    margin=12,
    differs="After the paper: neither text nor program is open to us. Spectral attention as in MST++, two convolutions "
    "beside it, four blocks of 64 features are our filling, and so is the first estimate, a regression on 3 x 3 "
    "pixels. It is applied to windows of the scene, so its attention is along a window with its margin.",
)
