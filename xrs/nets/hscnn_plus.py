"""HSCNN+ (HSCNN-D): other bands from the bands of one image, by densely joined convolutions in two paths.

::

    a, b   = relu(conv 3 x 3 to 32)                     of the image
    x      = concat(a, relu(conv 1 x 1 of a to 32), b, relu(conv 1 x 1 of b to 32))
    30 times:
        y    = relu(conv 1 x 1 to 128)                  of x
        a, b = relu(conv 3 x 3 to 32)                   of y
        y    = concat(a, relu(conv 1 x 1 of a to 16), b, relu(conv 1 x 1 of b to 16))
        x    = concat(x, relu(conv 1 x 1 of y to 32))
    result = conv 1 x 1                                 of x

No convolution has biases, and beyond the edges there are zeros. 4.65 million parameters for 3 to 31 bands. A pixel's
result depends on 31 pixels around.

Shi et al. 2018, HSCNN+: advanced CNN-based hyperspectral recovery from RGB images, CVPR Workshops (winner of the NTIRE
2018 challenge), 10.1109/CVPRW.2018.00139; number of blocks and widths as in the benchmark of MST++ (Cai et al. 2022,
10.1109/CVPRW56347.2022.00090).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from xrs.nets._attention import start_as_torch
from xrs.nets._blocks import conv
from xrs.nets.base import Network
from xrs.reference import Reference

__all__ = ["NETWORK", "HSCNNPlus"]


class HSCNNPlus(nn.Module):
    """Bands of one sensor from those of another, on the same grid.

    Parameters
    ----------
    bands, ratios : tuple of int
        Of the one image, see :meth:`xrs.nets.base.Network.build`.
    outputs : int
        Bands of the result.
    features : int
        That each block adds; even. The other widths are in proportion.
    blocks : int
    seed : int
        Of the weights (as torch's convolutions).

    Examples
    --------
    >>> network = HSCNNPlus((3,), (1,), outputs=31)
    >>> sum(weights.numel() for weights in network.parameters())
    4645504
    >>> network(torch.zeros(1, 3, 10, 12)).shape
    torch.Size([1, 31, 10, 12])
    """

    def __init__(
        self,
        bands: tuple[int, ...],
        ratios: tuple[int, ...],
        *,
        outputs: int,
        features: int = 32,
        blocks: int = 30,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.head = _Paths(bands[0], features, features)
        self.body = nn.Sequential(*((_Block((4 + n) * features, features)) for n in range(blocks)))
        self.tail = conv((4 + blocks) * features, outputs, 1, bias=False)
        start_as_torch(self, seed)

    def forward(self, image: Tensor) -> Tensor:
        """The other bands (N, band, y, x)."""
        result: Tensor = self.tail(self.body(self.head(image)))
        return result


class _Paths(nn.Module):
    """Two paths side by side, each of a convolution of 3 x 3 pixels and one of a single pixel: all four results."""

    def __init__(self, inputs: int, wide: int, narrow: int) -> None:
        super().__init__()
        self.wide = nn.ModuleList(conv(inputs, wide, bias=False) for _ in range(2))
        self.narrow = nn.ModuleList(conv(wide, narrow, 1, bias=False) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, 2 (wide + narrow), y, x)."""
        results = []
        for wide, narrow in zip(self.wide, self.narrow, strict=True):
            results.append(torch.relu(wide(x)))
            results.append(torch.relu(narrow(results[-1])))
        return torch.cat(results, dim=1)


class _Block(nn.Module):
    """Adds features to those it is given."""

    def __init__(self, inputs: int, features: int) -> None:
        super().__init__()
        self.narrow = conv(inputs, 4 * features, 1, bias=False)
        self.paths = _Paths(4 * features, features, features // 2)
        self.join = conv(3 * features, features, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, inputs + features, y, x)."""
        added = torch.relu(self.join(self.paths(torch.relu(self.narrow(x)))))
        return torch.cat([x, added], dim=1)


NETWORK = Network(
    name="hscnn_plus",
    module=HSCNNPlus,
    tasks=("spectral",),
    summary="Densely joined convolutions in two paths.",
    reference=Reference(
        "Shi et al. 2018, HSCNN+: advanced CNN-based hyperspectral recovery from RGB images, CVPR Workshops",
        "10.1109/CVPRW.2018.00139",
    ),
    config={"features": 32, "blocks": 30},
    images=1,
    differs="HSCNN-D with the blocks and widths of the MST++ benchmark (4.65 million parameters for 3 to 31 bands), "
    "whatever the bands.",
)
