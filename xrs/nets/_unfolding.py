"""What unfolded networks of spectral super-resolution share: first maps, the proximal block, a subspace, a start.

Half-quadratic splitting of ``|Y - Phi X|² + lambda R(X)`` with one step of gradient descent an iteration gives

``X[k+1] = (1 - eps mu) X[k] - eps Phi' Phi X[k] + eps Phi' Y + eps mu prox(X[k])``

A network makes a convolution of what multiplies ``X[k]``, gives each band an ``eps`` and an ``eps mu`` by attention,
and learns the proximal operator.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from xrs.errors import ParameterError
from xrs.nets._blocks import stacked
from xrs.nets._ridge import MOST, neighbourhood_regression, ridge

__all__ = ["Proximal", "Subspace", "Unfolding", "activation", "bordered", "pass_through", "usual_groups"]

#: Slope of the rectifiers below zero.
_SLOPE = 0.2

#: From red, green and blue to 400 to 700 nm in steps of 10 nm, as published.
_RGB = [2] * 6 + [1] * 10 + [0] * 15

#: Features of the proximal block.
_HIDDEN = 128

#: Patches whose first maps are made at once.
_PATCHES = 64

#: Least spread of a coefficient, over that of the first.
_LEAST = 1e-6


def activation(signed: bool) -> nn.Module:
    """The rectifier of maps of reflectance; none for coefficients, which have signs."""
    return nn.Identity() if signed else nn.LeakyReLU(_SLOPE)


def bordered(inputs: int, outputs: int, size: int) -> nn.Conv2d:
    """A convolution that keeps the size: the outermost pixels repeat."""
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, padding_mode="replicate")


@torch.no_grad()
def pass_through(layer: nn.Conv2d, share: float = 1.0, first: int = 0) -> None:
    """Let a convolution put out a share of its inputs from ``first`` on, pixel by pixel, and nothing else."""
    layer.weight.zero_()
    layer.get_parameter("bias").zero_()
    middle, outputs = layer.kernel_size[0] // 2, torch.arange(layer.out_channels)
    layer.weight[outputs, first + outputs, middle, middle] = share


def usual_groups(bands: int, outputs: int) -> list[int]:
    """The published groups for 31 bands of red, green and blue; else equal shares of the input bands, in order."""
    return _RGB if (bands, outputs) == (3, 31) else [number * bands // outputs for number in range(outputs)]


class Grouped(nn.Module):
    """First maps of the output bands, each made with those that belong to the same input band.

    The input bands stand between the differences of neighbours: ``[b0, b0 - b1, b1, b1 - b2, b2 ...]``. For each group
    a convolution of 3 x 3 pixels on all of these, then one of one pixel within the group.

    Parameters
    ----------
    bands : int
    groups : sequence of int
        For each output band the input band to which it belongs.
    """

    def __init__(self, bands: int, groups: Sequence[int]) -> None:
        super().__init__()
        if not groups or any(group != int(group) or not 0 <= group < bands for group in groups):
            raise ParameterError(f"groups={list(groups)}", f"for each output band one of the {bands} input bands")
        found = list(dict.fromkeys(groups))
        members = [[number for number, group in enumerate(groups) if group == one] for one in found]
        self.wide = nn.ModuleList(bordered(2 * bands - 1, len(one), 3) for one in members)
        self.narrow = nn.ModuleList(bordered(len(one), len(one), 1) for one in members)
        self.rectify = activation(signed=False)
        self._members = members
        flat = [number for one in members for number in one]
        self._order = None if flat == sorted(flat) else torch.tensor(flat).argsort().tolist()

    def forward(self, image: Tensor) -> Tensor:
        """Maps (N, output band, y, x) of an image (N, band, y, x)."""
        given = self._expanded(image)
        layers = zip(self.wide, self.narrow, strict=True)
        maps = torch.cat([self.rectify(narrow(self.rectify(wide(given)))) for wide, narrow in layers], dim=1)
        return maps if self._order is None else maps[:, self._order]

    @torch.no_grad()
    def begin(self, slopes: Tensor, offsets: Tensor) -> None:
        """Put out a linear function of 3 x 3 pixels (map, band, 3, 3), where that is not below zero."""
        for members, wide, narrow in zip(self._members, self.wide, self.narrow, strict=True):
            weight = wide.get_parameter("weight")
            weight.zero_()
            weight[:, ::2] = slopes[members].to(weight)
            wide.get_parameter("bias").copy_(offsets[members])
            pass_through(cast("nn.Conv2d", narrow))

    def _expanded(self, image: Tensor) -> Tensor:
        differences = image[:, :-1] - image[:, 1:]
        pairs = torch.stack([image[:, :-1], differences], dim=2).flatten(1, 2)
        return torch.cat([pairs, image[:, -1:]], dim=1)


class Ungrouped(nn.Module):
    """First maps of the output bands by one convolution of 3 x 3 pixels."""

    def __init__(self, bands: int, outputs: int) -> None:
        super().__init__()
        self.wide = bordered(bands, outputs, 3)
        self.rectify = activation(signed=False)

    def forward(self, image: Tensor) -> Tensor:
        """Maps (N, output band, y, x) of an image (N, band, y, x)."""
        maps: Tensor = self.rectify(self.wide(image))
        return maps

    @torch.no_grad()
    def begin(self, slopes: Tensor, offsets: Tensor) -> None:
        """Put out a linear function of 3 x 3 pixels (map, band, 3, 3), where that is not below zero."""
        self.wide.weight.copy_(slopes)
        self.wide.get_parameter("bias").copy_(offsets)


class Proximal(nn.Module):
    """``conv 1 x 1 (x + conv(rectified conv(x)))`` by 128 features.

    Parameters
    ----------
    maps : int
        Bands, or coefficients.
    signed : bool
        Whether they are coefficients: then only the 128 features are rectified.
    """

    def __init__(self, maps: int, signed: bool) -> None:
        super().__init__()
        self.first = bordered(maps, _HIDDEN, 3)
        self.second = nn.Conv2d(_HIDDEN, maps, 3, padding=1)
        self.last = bordered(maps, maps, 1)
        self.hidden = activation(signed=False)
        self.rectify = activation(signed)

    def forward(self, x: Tensor) -> Tensor:
        """The block's result, of the same shape."""
        inner = self.rectify(x + self.second(self.hidden(self.first(x))))
        result: Tensor = self.rectify(self.last(inner))
        return result

    @torch.no_grad()
    def begin(self, x: Tensor, goal: Tensor, spent: float) -> float:
        """Put out the input and what leads nearest to a goal: ridge regression of it on the 128 features as they are.

        Neighbours do not count yet, so it is enough to know single pixels.

        Parameters
        ----------
        x, goal : Tensor (1, map, pixel, 1)
        spent : float
            Numbers that earlier regressions of the same goal have used up.

        Returns
        -------
        float
            The same after this one.
        """
        # As large as if there were no neighbours.
        own, bias = self.first.weight[:, :, 1, 1] * 3, self.first.get_parameter("bias")
        self.first.weight.zero_()
        self.first.weight[:, :, 1, 1] = own
        bias.mul_(3).sub_(own @ x.mean(dim=(0, 2, 3)))
        features, wanted = (image[0, :, :, 0].T for image in (self.hidden(self.first(x)), goal - x))
        fit = ridge(features, wanted, spent=spent)
        self.second.weight.zero_()
        self.second.weight[:, :, 1, 1] = fit.slopes
        self.second.get_parameter("bias").copy_(fit.offsets)
        pass_through(self.last)
        return spent + fit.spent


class Subspace(nn.Module):
    """Few coefficients in place of the bands of a spectrum, and what a change of them changes in the bands.

    Coefficients are those of principal components of spectra, each with a spread of one. A change of them is laid on
    the principal components of what the linear regression leaves, with their spread: where the regression is exact, in
    bands that the input sees, the stages can do no harm. Both are a cosine basis until :meth:`fit`.

    Parameters
    ----------
    bands, size : int
        Of a spectrum; coefficients.
    """

    def __init__(self, bands: int, size: int) -> None:
        super().__init__()
        places = (torch.arange(bands) + 0.5)[:, None] * torch.arange(size)
        basis = torch.cos(math.pi / bands * places)
        basis /= basis.norm(dim=0)
        self.register_buffer("into", basis.T.clone())
        self.register_buffer("offset", torch.zeros(size))
        self.register_buffer("onto", basis)

    def coefficients(self, spectra: Tensor) -> Tensor:
        """Of maps (N, band, y, x)."""
        return conv2d(spectra, self.get_buffer("into")[:, :, None, None], self.get_buffer("offset"))

    def changes(self, coefficients: Tensor) -> Tensor:
        """Of spectra (N, band, y, x), by changes of coefficients."""
        return conv2d(coefficients, self.get_buffer("onto")[:, :, None, None])

    def behind(self, changes: Tensor) -> Tensor:
        """Changes of coefficients that lead nearest to changes of spectra (N, band, y, x)."""
        onto = self.get_buffer("onto")
        return conv2d(changes, (onto / onto.square().sum(dim=0)).T[:, :, None, None])

    @torch.no_grad()
    def fit(self, spectra: Tensor, left: Tensor) -> None:
        """Take the components of spectra (spectrum, band) and of what the regression leaves of them."""
        size, mean = self.get_buffer("offset").numel(), spectra.double().mean(dim=0)
        components, spreads = _components(spectra.double() - mean, size)
        into = (components / spreads).T
        self.get_buffer("into").copy_(into)
        self.get_buffer("offset").copy_(-into @ mean)
        components, spreads = _components(left.double(), size)
        self.get_buffer("onto").copy_(components * spreads)


def _components(centred: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Principal components (band, component) of spectra about their mean, and their spreads."""
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
    chosen, spreads = vectors.flip(1)[:, :size], values.flip(0)[:size].clamp(min=0).sqrt()
    # Eigenvectors have no sign of their own.
    signs = torch.where(chosen.sum(dim=0) < 0, -1.0, 1.0)
    return chosen * signs, spreads.clamp(min=max(_LEAST * float(spreads[0]), _LEAST**2))


class Unfolding(nn.Module, ABC):
    """A network of first maps and ``stages`` that improve them.

    Parameters
    ----------
    bands, ratios : tuple of int
        Of each image, see :meth:`xrs.nets.base.Network.build`.
    outputs : int
        Bands of the result.
    groups : sequence of int, optional
        For each output band the input band to which it belongs; without, the first maps are not grouped.
    subspace : int
        Coefficients on which the stages work; 0 for the bands themselves.
    """

    def __init__(
        self,
        bands: tuple[int, ...],
        ratios: tuple[int, ...],
        outputs: int,
        groups: Sequence[int] | None,
        subspace: int,
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        if groups is not None and len(groups) != outputs:
            raise ParameterError(f"groups of {len(groups)} bands", f"one for each of the {outputs} output bands")
        if subspace != int(subspace) or not 0 <= subspace <= outputs:
            raise ParameterError(f"subspace={subspace}", f"an integer from 0 to {outputs}, the output bands")
        self._ratios = ratios
        self.head = Ungrouped(sum(bands), outputs) if groups is None else Grouped(sum(bands), groups)
        self.subspace = Subspace(outputs, subspace) if subspace else None

    @abstractmethod
    def unfold(self, first: Tensor) -> Tensor:
        """What the stages make of the first maps, or of their coefficients."""

    @abstractmethod
    def begin_stages(self, first: Tensor, wanted: Tensor, spent: float) -> None:
        """Start with stages each of which leads nearer to what is wanted, both (1, map, pixel, 1).

        ``spent`` tells how many numbers of what is wanted the first maps have used up.
        """

    def forward(self, *images: Tensor) -> Tensor:
        """The other bands (N, band, y, x) on the grid of the first image."""
        maps = self.head(stacked(images, self._ratios))
        if self.subspace is None:
            return self.unfold(maps)
        first = self.subspace.coefficients(maps)
        return maps + self.subspace.changes(self.unfold(first) - first)

    @torch.no_grad()
    def begin(self, images: Sequence[Tensor], target: Tensor, mask: Tensor) -> None:
        """Start with the linear regression, and with stages each of which is a regression of what is left.

        The first maps are the linear regression of the target on 3 x 3 pixels of the images. The stages follow one by
        one: the features of their proximal blocks are random functions of what the stage gets, and ridge regression
        tells what to make of them. Generalised cross-validation sets the penalties, so that neighbours and stages count
        for as much as the examples bear out, and for nothing where they do not. In a subspace the first maps stay as
        they are: an optimiser's steps are larger than what is left there in bands the input sees.

        Parameters
        ----------
        images : sequence of Tensor
            To train on, the finest first.
        target : Tensor (N, band, y, x)
        mask : Tensor of bool (N, band, y, x)
            Where all were seen.
        """
        seen = mask.all(dim=1)
        if not seen.any():
            return
        image = stacked(images, self._ratios)
        fit = neighbourhood_regression(image, target, seen)
        self.head.begin(fit.slopes, fit.offsets)
        maps, goal = (_pixels(part, seen) for part in (self._maps_of(image), target))
        if self.subspace is None:
            self.begin_stages(maps, goal, fit.spent)
            return
        self.subspace.fit(goal[0, :, :, 0].T, (goal - maps)[0, :, :, 0].T)
        self.head.requires_grad_(False)
        first = self.subspace.coefficients(maps)
        self.begin_stages(first, first + self.subspace.behind(goal - maps), fit.spent)

    def _maps_of(self, image: Tensor) -> Tensor:
        """The first maps, some patches at a time."""
        return torch.cat([self.head(image[n : n + _PATCHES]) for n in range(0, len(image), _PATCHES)])


def _pixels(image: Tensor, seen: Tensor) -> Tensor:
    """Pixels (1, band, pixel, 1) of those that were seen, at most :data:`MOST`, evenly spread."""
    found = image.movedim(1, -1)[seen]
    return found[:: -(-len(found) // MOST)].T[None, :, :, None]
