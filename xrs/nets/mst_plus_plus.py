"""MST++: other bands from the bands of one image, by attention between bands in three U-shaped transformers.

::

    x      = conv 3 x 3 of the image, to 31 features
    y      = U(U(U(x)))
    result = conv 3 x 3 of y + x

    U(x)   = conv 3 x 3 of (decoder of encoder of conv 3 x 3 of x) + x
    on 31 features, 62 on a grid twice as coarse and 124 on one four times as coarse; down by a convolution of 4 x 4
    pixels, up by one of 2 x 2, joined with the encoder's features by one of 1 x 1; on each grid, going down and
    going up, a block:

    x      = x + spectral attention of x, 31 features a head
    x      = x + conv 1 x 1 (gelu(depthwise conv 3 x 3 (gelu(conv 1 x 1 to four times the features))))   of layernorm(x)

Convolutions have no biases, but for those that lead up. The image is mirrored at its lower and right edges to sizes
that 8 divides. Winner of the NTIRE 2022 challenge on spectral reconstruction from RGB; 1.62 million parameters for 3 to
31 bands.

Attention looks along the whole image. Networks are applied to windows here, so it sees a window with its margin;
train it on patches of about that size (local statistics when applied: Chu et al. 2022, 10.48550/arXiv.2112.04491).

Cai et al. 2022, MST++: multi-stage spectral-wise transformer for efficient spectral reconstruction, CVPR Workshops,
10.1109/CVPRW56347.2022.00090; numbers and layers as in the authors' published program.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from xrs.nets._attention import SpectralAttention, mirrored, start_as_torch
from xrs.nets._blocks import conv
from xrs.nets._ridge import begin_as_regression
from xrs.nets.base import Network
from xrs.reference import Reference

__all__ = ["NETWORK", "MSTPlusPlus"]

#: Sizes are made multiples of it.
_MULTIPLE = 8

#: Spread of the first weights of linear layers.
_SPREAD = 0.02


class MSTPlusPlus(nn.Module):
    """Bands of one sensor from those of another, on the same grid.

    Parameters
    ----------
    bands, ratios : tuple of int
        Of the one image, see :meth:`xrs.nets.base.Network.build`.
    outputs : int
        Bands of the result.
    features : int
        On the finest grid, and of each head. If they are as many as ``outputs``, the first convolution is the long
        skip, as published; else the image is led past the transformers by another such convolution.
    stages : int
        U-shaped transformers.
    seed : int
        Of the weights (linear layers normal with a spread of 0.02, within two units; convolutions as torch's).

    Examples
    --------
    >>> network = MSTPlusPlus((3,), (1,), outputs=31)
    >>> sum(weights.numel() for weights in network.parameters())
    1619625
    >>> network(torch.zeros(1, 3, 10, 12)).shape
    torch.Size([1, 31, 10, 12])
    """

    def __init__(
        self,
        bands: tuple[int, ...],
        ratios: tuple[int, ...],
        *,
        outputs: int,
        features: int = 31,
        stages: int = 3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.head = conv(bands[0], features, bias=False)
        self.body = nn.Sequential(*(_Transformer(features) for _ in range(stages)))
        self.tail = conv(features, outputs, bias=False)
        self.past = None if features == outputs else conv(bands[0], outputs)
        start_as_torch(self, seed)
        _quieten(self, seed)

    def forward(self, image: Tensor) -> Tensor:
        """The other bands (N, band, y, x)."""
        rows, columns = image.shape[2:]
        whole = mirrored(image, 0, -rows % _MULTIPLE, -columns % _MULTIPLE)
        x = self.head(whole)
        long_skip = x if self.past is None else self.past(whole)
        return (self.tail(self.body(x)) + long_skip)[:, :, :rows, :columns]

    @torch.no_grad()
    def begin(self, images: Sequence[Tensor], target: Tensor, mask: Tensor) -> None:
        """Start with the long skip as a regression of the target on 3 x 3 pixels; all else adds nothing at first.

        See :func:`xrs.nets._ridge.neighbourhood_regression`. Where the first convolution is the long skip, which has no
        biases, neither has the regression.

        Parameters
        ----------
        images : sequence of Tensor
            One, to train on.
        target : Tensor (N, band, y, x)
        mask : Tensor of bool (N, band, y, x)
            Where both were seen.
        """
        if begin_as_regression(self.head if self.past is None else self.past, images[0], target, mask):
            self.tail.weight.zero_()


class _Transformer(nn.Module):
    """The U-shaped transformer: features are doubled at each of two coarser grids."""

    def __init__(self, features: int) -> None:
        super().__init__()
        sizes = (features, 2 * features)
        self.head = conv(features, features, bias=False)
        self.encoder = nn.ModuleList(_Block(n, n // features) for n in sizes)
        self.down = nn.ModuleList(nn.Conv2d(n, 2 * n, 4, stride=2, padding=1, bias=False) for n in sizes)
        self.middle = _Block(4 * features, 4)
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * n, n, 2, stride=2) for n in sizes[::-1])
        self.join = nn.ModuleList(conv(2 * n, n, 1, bias=False) for n in sizes[::-1])
        self.decoder = nn.ModuleList(_Block(n, n // features) for n in sizes[::-1])
        self.tail = conv(features, features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The features, of the same shape; sides are multiples of four."""
        y = self.head(x)
        passed = []
        for block, down in zip(self.encoder, self.down, strict=True):
            y = block(y)
            passed.append(y)
            y = down(y)
        y = self.middle(y)
        for up, join, block in zip(self.up, self.join, self.decoder, strict=True):
            y = block(join(torch.cat([up(y), passed.pop()], dim=1)))
        result: Tensor = self.tail(y) + x
        return result


class _Block(nn.Module):
    """Attention between bands, then what each pixel and its neighbours make of it."""

    def __init__(self, features: int, heads: int, wider: int = 4) -> None:
        super().__init__()
        inner = wider * features
        self.attention = SpectralAttention(features, heads, positional=True)
        self.norm = nn.LayerNorm(features)
        self.forth = nn.Sequential(
            conv(features, inner, 1, bias=False),
            nn.GELU(),
            conv(inner, inner, groups=inner, bias=False),
            nn.GELU(),
            conv(inner, features, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """The features, of the same shape."""
        x = x + self.attention(x)
        normed = self.norm(x.movedim(1, -1)).movedim(-1, 1)
        return x + self.forth(normed)


def _quieten(module: nn.Module, seed: int) -> None:
    """Draw the weights of linear layers anew."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in module.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=_SPREAD)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)


NETWORK = Network(
    name="mst_plus_plus",
    module=MSTPlusPlus,
    tasks=("spectral",),
    summary="Three U-shaped transformers whose attention is between bands.",
    reference=Reference(
        "Cai et al. 2022, MST++: multi-stage spectral-wise transformer for efficient spectral reconstruction, "
        "CVPR Workshops",
        "10.1109/CVPRW56347.2022.00090",
    ),
    config={"features": 31, "stages": 3},
    images=1,
    window=128,
    margin=16,
    differs="As published for 31 bands from any number. For others, of which the paper says nothing, features stay 31 "
    "and another convolution of 3 x 3 pixels leads the image past the transformers. It is applied to windows of the "
    "scene, so its attention is along a window with its margin; training starts it as a regression on 3 x 3 pixels.",
)
