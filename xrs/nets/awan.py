"""AWAN: other bands from the bands of one image, by residual blocks with weighted channels, then a non-local module.

::

    x, r   = conv 3 x 3 of prelu(conv 3 x 3 of the image), 96 features; both the same at first
    8 times:
        y  = prelu(x + conv 3 x 3 of prelu(conv 3 x 3 of x))
        r  = prelu(r + conv 5 x 5 of y)
        x  = prelu(x + conv 3 x 3 of (r by its channels' weights))
    x      = conv 3 x 3 of prelu(conv 3 x 3 of x + what the blocks were given)
    result = x + second-order attention between the pixels of each quarter of x

Weights of channels: an average over all pixels, by weights that are a softmax over the image of a map of its features;
then two linear layers with a narrow middle, prelu between them and a sigmoid after. Second-order attention: with
features t and g of each pixel (linear maps of its bands, an eighth as many, two at least), pixel i gets the mean of g_j
by weights softmax over j of cov(t_i, t_j), the covariance over features, and adds a linear map of it.

No convolution has biases; the image is mirrored beyond its edges. First of the NTIRE 2020 challenge (clean track);
4.04 million parameters for 3 to 31 bands. The paper's loss on what the camera would see in the result is the training's
affair.

It looks at the whole image. Networks are applied to windows here, so it sees a window with its margin, and the quarters
are those of that; train it on patches of about that size (local statistics when applied: Chu et al. 2022,
10.48550/arXiv.2112.04491).

Li et al. 2020, Adaptive weighted attention network with camera spectral sensitivity prior for spectral reconstruction
from RGB images, CVPR Workshops, 10.1109/CVPRW50498.2020.00239; 96 features as in the benchmark of MST++ (Cai et al.
2022, 10.1109/CVPRW56347.2022.00090).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from xrs.nets._attention import MirroredConv, start_as_torch
from xrs.nets._blocks import conv
from xrs.nets.base import Network
from xrs.reference import Reference

__all__ = ["AWAN", "NETWORK"]

#: Channels for one in the narrow middle of the weights' layers, and bands for one feature of the attention.
_NARROWER, _BANDS_A_FEATURE = 16, 8


class AWAN(nn.Module):
    """Bands of one sensor from those of another, on the same grid.

    Parameters
    ----------
    bands, ratios : tuple of int
        Of the one image, see :meth:`xrs.nets.base.Network.build`.
    outputs : int
        Bands of the result.
    features, blocks : int
        Of the residual blocks.
    seed : int
        Of the weights (as torch's layers; the last map of the non-local module is zero).

    Examples
    --------
    >>> network = AWAN((3,), (1,), outputs=31)
    >>> sum(weights.numel() for weights in network.parameters())
    4039425
    >>> network(torch.zeros(1, 3, 10, 12)).shape
    torch.Size([1, 31, 10, 12])
    """

    def __init__(
        self,
        bands: tuple[int, ...],
        ratios: tuple[int, ...],
        *,
        outputs: int,
        features: int = 96,
        blocks: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__()
        first, second = MirroredConv(bands[0], features), MirroredConv(features, features)
        self.head = nn.Sequential(first, nn.PReLU(), second)
        self.body = nn.ModuleList(_DualBlock(features) for _ in range(blocks))
        self.join = MirroredConv(features, features)
        self.tail = nn.Sequential(nn.PReLU(), MirroredConv(features, outputs))
        self.far = _SecondOrder(outputs)
        start_as_torch(self, seed)
        nn.init.zeros_(self.far.join.weight)

    def forward(self, image: Tensor) -> Tensor:
        """The other bands (N, band, y, x)."""
        first = x = residual = self.head(image)
        for block in self.body:
            x, residual = block(x, residual)
        result: Tensor = self.far(self.tail(self.join(x) + first))
        return result


class _DualBlock(nn.Module):
    """A residual block with a second stream of residuals between its halves."""

    def __init__(self, features: int) -> None:
        super().__init__()
        first, second = MirroredConv(features, features), MirroredConv(features, features)
        self.inner = nn.Sequential(first, nn.PReLU(), second)
        self.middle = nn.PReLU()
        self.widen = MirroredConv(features, features, 5)
        self.streamed = nn.PReLU()
        self.weigh = _ChannelWeights(features)
        self.close = MirroredConv(features, features)
        self.last = nn.PReLU()

    def forward(self, x: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        """Both streams (N, features, y, x)."""
        y = self.middle(x + self.inner(x))
        residual = self.streamed(residual + self.widen(y))
        return self.last(x + self.close(self.weigh(residual))), residual


class _ChannelWeights(nn.Module):
    """Channels by weights from 0 to 1 that come of averages over the image."""

    def __init__(self, features: int) -> None:
        super().__init__()
        narrow = max(features // _NARROWER, 1)
        self.where = conv(features, 1, 1, bias=False)
        first, second = nn.Linear(features, narrow, bias=False), nn.Linear(narrow, features, bias=False)
        self.layers = nn.Sequential(first, nn.PReLU(), second, nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """The weighted features (N, features, y, x)."""
        shares = torch.softmax(self.where(x).flatten(2), dim=-1)
        averages = x.flatten(2) @ shares.transpose(1, 2)
        weights: Tensor = self.layers(averages.squeeze(2))
        return x * weights[:, :, None, None]


class _SecondOrder(nn.Module):
    """Attention between the pixels of each quarter of an image, by the covariance of their features."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        # The covariance of a single feature is zero.
        narrow = max(bands // _BANDS_A_FEATURE, 2)
        self.alike = conv(bands, narrow, 1, bias=False)
        self.given = conv(bands, narrow, 1, bias=False)
        self.join = conv(narrow, bands, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The bands (N, band, y, x), each pixel with what it learns of others."""
        both = torch.stack([self.alike(x), self.given(x)])
        halves = [torch.cat([_attended(*part) for part in _halved(half, 4)], dim=3) for half in _halved(both, 3)]
        return x + self.join(torch.cat(halves, dim=2))


def _halved(images: Tensor, axis: int) -> tuple[Tensor, ...]:
    """Both halves of images; the second has the odd one."""
    return torch.tensor_split(images, (images.shape[axis] // 2,), dim=axis)


def _attended(alike: Tensor, given: Tensor) -> Tensor:
    """For each pixel the mean of what is given (N, feature, y, x), by weights exp(covariance)."""
    keys, values = (image.flatten(2).transpose(1, 2) for image in (alike, given))
    # The covariance of two pixels: it is enough to take the mean off one of them.
    queries = keys - keys.mean(dim=2, keepdim=True)
    found = scaled_dot_product_attention(queries, keys, values, scale=1 / keys.shape[2])
    return found.transpose(1, 2).reshape(given.shape)


NETWORK = Network(
    name="awan",
    module=AWAN,
    tasks=("spectral",),
    summary="Residual blocks with weighted channels, then attention between pixels.",
    reference=Reference(
        "Li et al. 2020, Adaptive weighted attention network with camera spectral sensitivity prior for spectral "
        "reconstruction from RGB images, CVPR Workshops",
        "10.1109/CVPRW50498.2020.00239",
    ),
    config={"features": 96, "blocks": 8},
    images=1,
    window=128,
    margin=16,
    differs="96 features, the number in the MST++ benchmark (4.04 million parameters for 3 to 31 bands), whatever the "
    "bands. It is applied to windows of the scene, so averages and attention are over a window with its margin.",
)
