"""PoNet: hyperspectral bands from images of one or more grids, by an unfolded optimisation with attention across bands.

::

    X0     = first maps: conv 3 x 3 of all bands, or grouped by the input band (PoNet+)
    I[k]   = relu(conv 1 x 1 of (X0, ... X[k-1]))                       cross-depth feature fusion
    X[k]   = conv(I[k]) + p[k] X0 + q[k] prox(I[k])                     8 times
    result = X8

``p`` and ``q``, one for each band, are cross-dimensional channel attention on ``I[k]``: two convolutions of one pixel
give R and S; ``A = R S'`` over the pixels tells how alike any two bands are; a convolution along A makes a number for
each band, and a softmax over the bands the parameters. See :mod:`xrs.nets._unfolding` for the other blocks.

After He et al. 2022, Information Fusion 80:205, as told in the factsheet of PoNet+ (NTIRE 2022).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from xrs.nets._unfolding import Proximal, Unfolding, activation, bordered, pass_through, usual_groups
from xrs.nets.base import Network
from xrs.reference import Reference

__all__ = ["NETWORK", "PoNet"]


class CrossAttention(nn.Module):
    """A number for each map, about a half, from how alike all maps are."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(maps, maps, 1, bias=False)
        self.second = nn.Conv2d(maps, maps, 1, bias=False)
        size = _odd_size(maps)
        self.reduce = nn.Conv1d(maps, 1, size, padding=size // 2)

    def forward(self, x: Tensor) -> Tensor:
        """The numbers (N, map, 1, 1) of maps (N, map, y, x); their mean is a half."""
        rows, columns = self.first(x).flatten(2), self.second(x).flatten(2)
        alike = rows @ columns.transpose(1, 2) / rows.shape[2]
        shares = torch.softmax(self.reduce(alike), dim=2).transpose(1, 2)
        return (shares * (shares.shape[1] / 2))[..., None]


class _Stage(nn.Module):
    """One iteration, the fusion of what came before it included."""

    def __init__(self, maps: int, depth: int, signed: bool) -> None:
        super().__init__()
        self.fuse = bordered(depth * maps, maps, 1)
        self.pass_positive = nn.Identity() if signed else nn.ReLU()
        self.update = bordered(maps, maps, 3)
        self.rectify = activation(signed)
        self.step = CrossAttention(maps)
        self.proximal = Proximal(maps, signed)
        self.penalty = CrossAttention(maps)

    def forward(self, earlier: Sequence[Tensor]) -> Tensor:
        """The next maps (N, map, y, x) from all before."""
        x = self.pass_positive(self.fuse(torch.cat(list(earlier), dim=1)))
        result: Tensor = self.rectify(self.update(x)) + earlier[0] * self.step(x) + self.proximal(x) * self.penalty(x)
        return result

    @torch.no_grad()
    def begin(self, earlier: Sequence[Tensor], wanted: Tensor, spent: float) -> float:
        """Start as the mean of the first maps and a proximal block that leads that mean to what is wanted."""
        maps = self.fuse.out_channels
        pass_through(self.fuse, first=self.fuse.in_channels - maps)
        for attention in (self.step, self.penalty):
            attention.reduce.weight.zero_()
            attention.reduce.get_parameter("bias").zero_()
        pass_through(self.update, 0.0)
        return self.proximal.begin(earlier[-1], 2 * wanted - earlier[0], spent)


class PoNet(Unfolding):
    """Bands of one sensor from those of another, which may lie on several grids.

    Its result depends on the whole image it sees, so it is applied to windows, to whose statistics the attention adapts
    (as Chu et al. 2022, 10.48550/arXiv.2112.04491, do at test time). Patches to train on are smaller than these.

    Parameters
    ----------
    bands, ratios : tuple of int
        Of each image, see :meth:`xrs.nets.base.Network.build`. Coarser images are interpolated to the finest grid.
    outputs : int
        Bands of the result.
    grouping : bool
        Whether the first maps are grouped as HSRnet's (PoNet+).
    groups : sequence of int, optional
        For each output band the input band to which it belongs, counted over all images; see
        :func:`xrs.nets.hsrnet.hsrnet_groups`. Without, those of HSRnet.
    stages : int
    subspace : int
        See :class:`xrs.nets.hsrnet.HSRnet`.
    seed : int
        Of the weights (torch's own distributions).

    Examples
    --------
    >>> network = PoNet((4, 6), (1, 2), outputs=60, subspace=8)
    >>> network(torch.zeros(1, 4, 10, 12), torch.zeros(1, 6, 5, 6)).shape
    torch.Size([1, 60, 10, 12])
    """

    def __init__(
        self,
        bands: tuple[int, ...],
        ratios: tuple[int, ...],
        *,
        outputs: int,
        grouping: bool = False,
        groups: Sequence[int] | None = None,
        stages: int = 8,
        subspace: int = 0,
        seed: int = 0,
    ) -> None:
        if grouping and groups is None:
            groups = usual_groups(sum(bands), outputs)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            super().__init__(bands, ratios, outputs, groups if grouping else None, subspace)
            maps, signed = subspace or outputs, subspace > 0
            self.stages.extend(_Stage(maps, depth, signed) for depth in range(1, stages + 1))

    def unfold(self, first: Tensor) -> Tensor:
        """What the stages make of the first maps."""
        earlier = [first]
        for stage in self.stages:
            earlier.append(stage(earlier))
        return earlier[-1]

    @torch.no_grad()
    def begin_stages(self, first: Tensor, wanted: Tensor, spent: float) -> None:
        """Start with stages each of which leads nearer to what is wanted."""
        earlier = [first]
        for stage in cast("Iterable[_Stage]", self.stages):
            spent = stage.begin(earlier, wanted, spent)
            earlier.append(stage(earlier))


def _odd_size(maps: int) -> int:
    """Size of a convolution along maps: half of log2 of their number and 1, made odd (ECA-Net, arXiv:1910.03151)."""
    size = int((math.log2(maps) + 1) / 2)
    return size if size % 2 else size + 1


NETWORK = Network(
    name="ponet",
    module=PoNet,
    tasks=("spectral",),
    summary="Hyperspectral bands from images of one or more grids: an unfolded optimisation of eight stages with "
    "attention across bands.",
    reference=Reference(
        "He, Yuan, Li and Zhang 2022, PoNet: a universal physical optimization-based spectral super-resolution network "
        "for arbitrary multispectral images, Information Fusion 80:205-225",
    ),
    config={"grouping": False, "groups": None, "stages": 8, "subspace": 0},
    window=128,
    margin=8,
    differs="After the factsheet of PoNet+. Filled by us: the proximal block and the rectifiers are those of HSRnet; "
    "the fusion of depths is a convolution of one pixel; attention is the mean over pixels, along it runs a "
    "convolution from all bands to one, of ECA-Net's size, and the softmax is multiplied by half the number of bands; "
    "coarser images are interpolated bilinearly. With grouping=True, 718,958 weights for 31 bands of 3: the published "
    "682.6 K are reached without the fusion and the convolution along the attention (682,610). A network that is "
    "trained here starts as regressions; subspace= as in hsrnet. Applied to windows.",
)
