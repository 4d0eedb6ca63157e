"""EDCSTFN: an encoder of fine images, an encoder of what changed, and a decoder of their sum.

The images are the fine ones of one or two pairs, the coarse ones of these dates, and the coarse one of the date to be
predicted. With ``up`` the interpolation to the fine grid, for each pair k::

    changed[k]  = residual(up(C[k]), F[k], up(C[target]))
    features[k] = relu(encoder(F[k])) + changed[k]
    w[k]        = 1 / (|changed[k]| + 1e-8)         for each feature and pixel
    result      = decoder(sum w features / sum w)

Encoders are 3 x 3 convolutions to 32, 64 and 128 features, with ReLU between; the decoder goes back to 64 and 32, and
by a convolution of one pixel to the bands. It is trained with one pair.

Tan, Di, Zhang, Guo and Gao 2019, 10.3390/rs11242898
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from xrs.nets._blocks import conv, he_uniform
from xrs.nets._pairs import by_date, check_pairs
from xrs.nets.base import Network
from xrs.reference import Reference

__all__ = ["EDCSTFN", "NETWORK"]

#: Keeps the weights finite where nothing changed.
_LEAST_CHANGE = 1e-8


class EDCSTFN(nn.Module):
    """EDCSTFN for any bands and ratios; weights trained with one pair serve two as well.

    Parameters
    ----------
    bands, ratios : tuple of int
        Of one or two fine images, of as many coarse ones, and of the coarse one to predict from.
    features : tuple of int
        Of the encoders' layers; the decoder goes the same way back.
    seed : int
        Of the weights (He-uniform, biases zero).

    Examples
    --------
    >>> network = EDCSTFN((3, 3, 3), (1, 4, 4), features=(8, 16))
    >>> network(torch.zeros(1, 3, 8, 12), torch.zeros(1, 3, 2, 3), torch.zeros(1, 3, 2, 3)).shape
    torch.Size([1, 3, 8, 12])
    """

    def __init__(
        self,
        bands: tuple[int, ...],
        ratios: tuple[int, ...],
        *,
        features: tuple[int, ...] = (32, 64, 128),
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_pairs("edcstfn", bands, ratios, most=2)
        self.ratio = ratios[-1]
        count, back = bands[-1], tuple(features)[::-1]
        self.encoder = _convolutions(count, *features)
        self.residual = _convolutions(3 * count, *features)
        self.decoder = nn.Sequential(*_convolutions(*back), nn.ReLU(), conv(back[-1], count, 1))
        he_uniform(self, seed)

    def forward(self, *images: Tensor) -> Tensor:
        """The fine image (N, band, y, x) of the last coarse one's date."""
        fine, coarse, target = by_date(images, self.ratio, "bilinear")
        changed = [self.residual(torch.cat([seen, one, target], 1)) for one, seen in zip(fine, coarse, strict=True)]
        features = [torch.relu(self.encoder(one)) + change for one, change in zip(fine, changed, strict=True)]
        result: Tensor = self.decoder(_blended(features, changed))
        return result


def _blended(features: Sequence[Tensor], changed: Sequence[Tensor]) -> Tensor:
    """The mean of features of one pair or two, by the inverse of what changed: that of the other weighs each."""
    if len(features) == 1:
        return features[0]
    one, other = (change.abs() + _LEAST_CHANGE for change in changed)
    return (other * features[0] + one * features[1]) / (one + other)


def _convolutions(*widths: int) -> nn.Sequential:
    """Convolutions from one width to the next, with ReLU between."""
    layers = [layer for a, b in pairwise(widths) for layer in (conv(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


NETWORK = Network(
    name="edcstfn",
    module=EDCSTFN,
    tasks=("spatiotemporal",),
    summary="Encoders of fine images and of their changes, summed, weighted and decoded.",
    reference=Reference(
        "Tan, Di, Zhang, Guo and Gao 2019, An enhanced deep convolutional model for spatiotemporal image fusion, "
        "Remote Sensing 11(24):2898",
        "10.3390/rs11242898",
    ),
    config={"features": (32, 64, 128)},
    images=5,
    differs="After the paper: zeros beyond the edges, where it repeats the outermost pixels; the loss is MSE and "
    "MS-SSIM, without the third part of its compound loss, between features of an autoencoder trained before.",
)
