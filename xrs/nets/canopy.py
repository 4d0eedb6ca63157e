"""A perceptron of single pixels from reflectance and angles to variables of the canopy, each with its spread.

::

    x      = standardised bands and cosines
    x      = tanh(conv 1 x 1) to 32 features    2 times
    result = conv 1 x 1 of x: mean and log-variance of each variable

as Weiss and Baret 2016 for the inputs and the hyperbolic tangent; two wider layers and the log-variance (Kendall and
Gal 2017, arXiv:1703.04977) are ours. Members trained from other seeds are one network side by side; their means and
variances add by the law of total variance (Lakshminarayanan, Pritzel and Blundell 2017, arXiv:1612.01474).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from xrs.nets._blocks import conv, he_uniform
from xrs.nets.base import Network
from xrs.reference import Reference

__all__ = ["NETWORK", "Canopy", "side_by_side"]

#: Bounds of the log-variance of standardised variables.
_LEAST_LOG, _MOST_LOG = -12.0, 4.0


class Canopy(nn.Module):
    """Variables of a canopy and their standard deviations, pixel by pixel.

    Parameters
    ----------
    bands, ratios : tuple of int
        Of the one image, see :meth:`xrs.nets.base.Network.build`.
    outputs : int
        Twice the number of variables: all means, then all standard deviations.
    features, layers, members : int
        Of the hidden layers of each member.
    seed : int
        Of the weights.

    Examples
    --------
    >>> import torch
    >>> network = Canopy((11,), (1,), outputs=4)
    >>> network(torch.zeros(1, 11, 10, 12)).shape
    torch.Size([1, 4, 10, 12])
    """

    def __init__(
        self,
        bands: tuple[int, ...],
        ratios: tuple[int, ...],
        *,
        outputs: int,
        features: int = 32,
        layers: int = 2,
        members: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.members, self.variables = members, outputs // 2
        wide = members * features
        hidden = [conv(bands[0], wide, 1), *(conv(wide, wide, 1, groups=members) for _ in range(layers - 1))]
        self.hidden = nn.ModuleList(hidden)
        self.last = conv(wide, members * outputs, 1, groups=members)
        he_uniform(self, seed)
        for name, size in (("seen", bands[0]), ("wanted", self.variables)):
            self.register_buffer(f"{name}_mean", torch.zeros(size, 1, 1))
            self.register_buffer(f"{name}_std", torch.ones(size, 1, 1))
        self.register_buffer("factor", torch.ones(self.variables, 1, 1))

    @torch.no_grad()
    def begin(self, images: Sequence[Tensor], target: Tensor, mask: Tensor) -> None:
        """Standardise what is seen and what is wanted by examples (N, band, y, x)."""
        for name, values in (("seen", images[0]), ("wanted", target)):
            self.get_buffer(f"{name}_mean").copy_(values.double().mean(dim=(0, 2, 3))[:, None, None])
            self.get_buffer(f"{name}_std").copy_(values.double().std(dim=(0, 2, 3))[:, None, None])

    def forward(self, image: Tensor) -> Tensor:
        """Means, then standard deviations (N, 2 variables, y, x), in the variables' units."""
        x = (image - self.get_buffer("seen_mean")) / self.get_buffer("seen_std")
        for layer in self.hidden:
            x = torch.tanh(layer(x))
        parts = self.last(x).unflatten(1, (self.members, 2, self.variables))
        means, logs = parts[:, :, 0], parts[:, :, 1].clamp(_LEAST_LOG, _MOST_LOG)
        mean = means.mean(dim=1)
        variance = logs.exp().mean(dim=1) + ((means - mean[:, None]) ** 2).mean(dim=1)
        std = variance.sqrt() * self.get_buffer("factor")
        unit = self.get_buffer("wanted_std")
        return torch.cat([mean * unit + self.get_buffer("wanted_mean"), std * unit], dim=1)


@torch.no_grad()
def side_by_side(members: Sequence[Canopy], into: Canopy) -> Canopy:
    """Put members with the same standardisation into one network that has room for them."""
    parts = [dict(member.named_parameters()) for member in members]
    for name, whole in into.named_parameters():
        whole.copy_(torch.cat([part[name] for part in parts]))
    for name, value in members[0].named_buffers():
        into.get_buffer(name).copy_(value)
    return into


NETWORK = Network(
    name="canopy",
    module=Canopy,
    tasks=("retrieval",),
    summary="Leaf area, FAPAR, cover, chlorophyll and water of canopies by a perceptron, each with its spread.",
    reference=Reference(
        "Weiss and Baret 2016, S2ToolBox Level 2 products: LAI, FAPAR, FCOVER, version 1.1 (ATBD)",
    ),
    config={"features": 32, "layers": 2, "members": 1},
    images=1,
    differs="Two layers of 32 neurons in place of one of five, all variables at once, a variance beside each, several "
    "members; trained on canopies of other soils (see the model's card).",
)
