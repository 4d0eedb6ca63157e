"""HSRnet: hyperspectral bands from multispectral ones, by an unfolded optimisation that the spectral response guides.

::

    f0     = first maps, grouped by the input band to which an output band belongs
    f[k+1] = conv(f[k]) + a[k] g + b[k] prox(f[k])                      9 times; g = f0 or f[k]
    result = conv 1 x 1 of (f0, f9 + f0)

``a`` and ``b``, one for each band, are channel attention on ``f[k]``: its mean and its maximum over the image, each by
the same two convolutions of one pixel, summed, into a sigmoid. See :mod:`xrs.nets._unfolding` for the other blocks. All
convolutions but the second of ``prox`` have a leaky rectifier.

He et al. 2022, IEEE TNNLS 33(9):4213, and the code its authors published. That has ``g = f[k]``; ``g = f0`` is what the
algebra asks for (``eps Phi' Y`` does not change from stage to stage), and what the authors' later networks have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from xrs.errors import ParameterError
from xrs.nets._unfolding import Proximal, Unfolding, activation, bordered, pass_through, usual_groups
from xrs.nets.base import Network
from xrs.reference import Reference

__all__ = ["NETWORK", "HSRnet", "from_released", "hsrnet_groups"]

_DATA_TERMS = ("f0", "fk")

#: Share of a band's greatest response below which it does not see.
_BLIND = 0.01


class ChannelAttention(nn.Module):
    """A number from 0 to 1 for each map, from its mean and its maximum."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(maps, maps, 1, bias=False)
        self.second = nn.Conv2d(maps, maps, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The numbers (N, map, 1, 1) of maps (N, map, y, x)."""
        pooled = (x.mean(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True))
        return torch.sigmoid(sum(self.second(torch.relu(self.first(one))) for one in pooled))


class _Stage(nn.Module):
    """One iteration."""

    def __init__(self, maps: int, signed: bool) -> None:
        super().__init__()
        self.update = bordered(maps, maps, 3)
        self.rectify = activation(signed)
        self.step = ChannelAttention(maps)
        self.proximal = Proximal(maps, signed)
        self.penalty = ChannelAttention(maps)

    def forward(self, x: Tensor, data: Tensor) -> Tensor:
        """The next maps from the present ones and the data term, all (N, map, y, x)."""
        result: Tensor = self.rectify(self.update(x)) + data * self.step(x) + self.proximal(x) * self.penalty(x)
        return result

    @torch.no_grad()
    def begin(self, x: Tensor, data: Tensor, wanted: Tensor, spent: float) -> float:
        """Start as the mean of the data term and a proximal block that leads that mean to what is wanted."""
        for attention in (self.step, self.penalty):
            attention.second.weight.zero_()
        pass_through(self.update, 0.0)
        return self.proximal.begin(x, 2 * wanted - data, spent)


class HSRnet(Unfolding):
    """Bands of one sensor from those of another, on the same grid.

    Its result depends on the whole image it sees, so it is applied to windows, to whose statistics the attention adapts
    (as Chu et al. 2022, 10.48550/arXiv.2112.04491, do at test time). Patches to train on are smaller than these.

    Parameters
    ----------
    bands, ratios : tuple of int
        Of the one image, see :meth:`xrs.nets.base.Network.build`.
    outputs : int
        Bands of the result.
    groups : sequence of int, optional
        For each output band the input band to which it belongs, see :func:`hsrnet_groups`. Without, the published 6, 10
        and 15 from blue to red if 31 bands are made of 3 (red, green, blue); else equal shares in order.
    data_term : {"f0", "fk"}
        ``g`` above.
    stages : int
    subspace : int
        If not 0, the stages work on so many coefficients of the spectra instead of the bands: the first maps are
        projected onto the principal components of the targets (a cosine basis until :meth:`begin`), and what the stages
        change is added to them. Coefficients have signs, so they are not rectified. For hundreds of bands 12 is many
        times faster.
    seed : int
        Of the weights (torch's own distributions, as published).

    Examples
    --------
    >>> network = HSRnet((3,), (1,), outputs=31)
    >>> network(torch.zeros(1, 3, 10, 12)).shape
    torch.Size([1, 31, 10, 12])
    """

    def __init__(
        self,
        bands: tuple[int, ...],
        ratios: tuple[int, ...],
        *,
        outputs: int,
        groups: Sequence[int] | None = None,
        data_term: str = "f0",
        stages: int = 9,
        subspace: int = 0,
        seed: int = 0,
    ) -> None:
        if data_term not in _DATA_TERMS:
            raise ParameterError(f"data_term={data_term!r}", f"one of {list(_DATA_TERMS)}")
        if groups is None:
            groups = usual_groups(sum(bands), outputs)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            super().__init__(bands, ratios, outputs, groups, subspace)
            maps, signed = subspace or outputs, subspace > 0
            self.stages.extend(_Stage(maps, signed) for _ in range(stages))
            self.tail = bordered(2 * maps, maps, 1)
        self.rectify = activation(signed)
        self._data_term = data_term

    def unfold(self, first: Tensor) -> Tensor:
        """What the stages make of the first maps."""
        x = first
        for stage in self.stages:
            x = stage(x, first if self._data_term == "f0" else x)
        result: Tensor = self.rectify(self.tail(torch.cat([first, first + x], dim=1)))
        return result

    @torch.no_grad()
    def begin_stages(self, first: Tensor, wanted: Tensor, spent: float) -> None:
        """Start with stages each of which leads nearer to what is wanted; the tail passes on what the last puts out."""
        x = first
        for stage in cast("Iterable[_Stage]", self.stages):
            data = first if self._data_term == "f0" else x
            spent = stage.begin(x, data, wanted, spent)
            x = stage(x, data)
        maps = self.tail.out_channels
        pass_through(self.tail, first=maps)
        self.tail.weight[range(maps), range(maps)] = -1.0


def hsrnet_groups(
    srf: ArrayLike | None = None, *, given: ArrayLike | None = None, wanted: ArrayLike | None = None
) -> list[int]:
    """The input band to which each output band belongs: the one that responds most there, else the nearest.

    Parameters
    ----------
    srf : array_like (band, wanted band), optional
        Response of the input bands over the output bands, rows sum to 1 (see :func:`xrs.sensors.spectral_response`), so
        that of two bands that see equally well the narrower one is taken. Output bands where each has less than a
        hundredth of its greatest response belong to the nearest centre.
    given : array_like (band,), optional
        Centres of the input bands in nm; by default the centres of gravity of ``srf``.
    wanted : array_like (wanted band,), optional
        Centres of the output bands in nm; by default their numbers.

    Returns
    -------
    list of int
        For each output band an input band, from 0 on: ``groups`` of :class:`HSRnet`.

    Raises
    ------
    ParameterError
        If there is neither a response nor both centres, or they do not fit each other.

    Examples
    --------
    >>> hsrnet_groups(given=[665, 560, 490], wanted=[400, 500, 550, 600, 700])
    [2, 2, 1, 1, 0]
    >>> hsrnet_groups([[0.0, 0.0, 0.1, 0.9], [0.5, 0.5, 0.0, 0.0]])
    [1, 1, 0, 0]
    """
    if srf is None:
        if given is None or wanted is None:
            raise ParameterError("no response, and not the centres of both", "srf=, or given= and wanted=")
        return [int(band) for band in _nearest(np.asarray(given), np.asarray(wanted))]
    response = np.atleast_2d(np.asarray(srf, dtype=np.float64))
    there = np.arange(response.shape[1]) if wanted is None else np.asarray(wanted)
    if there.shape != response.shape[1:]:
        raise ParameterError(f"{there.size} centres and a response of shape {response.shape}", "a column for each")
    here = response @ there if given is None else np.asarray(given)
    if here.shape != response.shape[:1]:
        raise ParameterError(f"{here.size} centres and a response of shape {response.shape}", "a row for each")
    seen = np.where(response >= _BLIND * response.max(axis=1, keepdims=True), response, 0.0)
    return [int(band) for band in np.where(seen.any(axis=0), seen.argmax(axis=0), _nearest(here, there))]


def _nearest(here: NDArray[Any], there: NDArray[Any]) -> NDArray[np.intp]:
    """For each centre there the nearest here."""
    return np.abs(here[:, None] - there).argmin(axis=0)


def from_released(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of :class:`HSRnet` from that of the authors' network (class ``HSI_ReNet_g``).

    Load it into a network for 31 bands of 3 with ``data_term="fk"``.

    Parameters
    ----------
    state : mapping of str to Tensor
        ``state_dict()`` of the released network. Files with pickled modules are not read here.

    Raises
    ------
    ParameterError
        If a name is not one of the released network's.
    """
    names = {f"{old}.{leaf}": f"{new}.{leaf}" for old, new in _released_layers() for leaf in ("weight", "bias")}
    unknown = sorted(set(state) - set(names))
    if unknown:
        raise ParameterError(f"the tensor {unknown[0]!r}", "the names of the released HSRnet", "give its state_dict()")
    return {names[name]: tensor for name, tensor in state.items()}


def _released_layers() -> list[tuple[str, str]]:
    """The layers' names there and here."""
    head = [(f"conv_{colour}.1", f"head.wide.{n}") for n, colour in enumerate("BGR")]
    head += [(f"convinput{colour}.1", f"head.narrow.{n}") for n, colour in enumerate("bgr")]
    stages = [(f"{old.format(n)}", f"stages.{n - 1}.{new}") for n in range(1, 10) for old, new in _RELEASED.items()]
    return [*head, *stages, ("convf.1", "tail")]


_RELEASED = {
    "conv{}.1": "update",
    "e{}.fc1": "step.first",
    "e{}.fc2": "step.second",
    "HSI{}.conv1.1": "proximal.first",
    "HSI{}.conv2": "proximal.second",
    "HSI{}.conv3.1": "proximal.last",
    "en{}.fc1": "penalty.first",
    "en{}.fc2": "penalty.second",
}


NETWORK = Network(
    name="hsrnet",
    module=HSRnet,
    tasks=("spectral",),
    summary="Hyperspectral bands from multispectral ones: first maps grouped by the response, then an unfolded "
    "optimisation of nine stages.",
    reference=Reference(
        "He, Li, Yuan, Shen and Zhang 2022, Spectral response function-guided deep optimization-driven network for "
        "spectral super-resolution, IEEE Transactions on Neural Networks and Learning Systems 33(9):4213-4227",
    ),
    config={"groups": None, "data_term": "f0", "stages": 9, "subspace": 0},
    images=1,
    window=192,
    margin=16,
    differs="The data term is f0 by default; data_term='fk' is that of the released weights. A network that is trained "
    "here starts as regressions. With subspace= (not published) the stages work on a few coefficients, without "
    "rectifiers outside the proximal block, on first maps that stay the linear regression. Applied to windows.",
)
