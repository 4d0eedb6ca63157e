"""Long-time-series spatio-temporal-spectral fusion by multi-task learning: three branches and what joins them.

All images lie on the fine grid. For a target date, and for some dates ``d`` around it on which the fine multispectral
sensor saw the scene, with weights ``w_d`` by their distance in time that sum to 1::

    spatial    s   = f(fine band, wide sensor on the target date, its day of the year)
    temporal   t   = sum_d w_d f(M_d, W - W_d, both days of the year)
    spectral   c   = sum_d w_d f(M_d, principal components of the hyperspectral sensor, the day of the year)
    joint      Z   = g(s, t, c)

with the fine bands ``M_d``, the wide sensor ``W_d`` on their dates and ``W`` on the target date, both brought to the
fine grid. The fine band is the mean of those of ``M_d``. The joint estimate begins with the spatial task's, mixed for
each component with what the dates around tell, carried over by the change of ``W``. Each branch has a task of its own,
read from its features: the spatial one the components on the target date from the wide sensor, the temporal one the
fine bands on the target date, the spectral one the components on the dates ``d``. Blocks are ``y = x + sum_i T_i(x)``
with a kernel size for each T_i.

The tasks' losses L_t are joined as ``sum L_t / (2 c_t²) + ln(1 + c_t²)`` with learned c_t (:class:`TaskWeights`).

Peng et al. 2024 (10.5194/isprs-archives-XLVIII-1-2024-567-2024). Equations in the paper lost their symbols, and widths,
the number of blocks, the time encoding and the branches' targets are not told: those are ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xrs.errors import ParameterError
from xrs.kernels.types import Float32
from xrs.nets._blocks import conv, he_uniform
from xrs.nets.base import Network
from xrs.reference import Reference

__all__ = [
    "GUIDES",
    "NETWORK",
    "TASKS",
    "Estimates",
    "Evidence",
    "LtsMtl",
    "TaskWeights",
    "Told",
    "day_code",
    "estimate",
    "spread_of",
]

#: The branches' tasks, and that of what joins them.
TASKS = ("spatial", "temporal", "spectral", "joint")
#: The least |c|.
_LEAST = 1e-3
_YEAR = 365.2425
#: The least standard deviation, in the unit the network sees.
_LEAST_SPREAD = 1e-3
#: Principal directions of the fine bands, at most, by which first guesses are guided.
GUIDES = 6


@dataclass(frozen=True)
class Evidence:
    """What is known for the target dates of a batch, all on the fine grid.

    Attributes
    ----------
    wide : Tensor (N, w, y, x)
        The wide sensor on the target date.
    fine : Tensor (N, date, m, y, x)
        The fine sensor on dates around it.
    wide_then : Tensor (N, date, w, y, x)
        The wide sensor on those dates.
    spectra : Tensor (N, date, k, y, x)
        First guess of the principal components on those dates.
    weights : Tensor (N, date, y, x)
        Of the dates; they sum to 1, or to 0 where none was seen.
    days : Tensor (N, 1 + date)
        Days of the year: of the target and of the dates.
    """

    wide: Tensor
    fine: Tensor
    wide_then: Tensor
    spectra: Tensor
    weights: Tensor
    days: Tensor


@dataclass(frozen=True)
class Estimates:
    """What the tasks put out: components, fine bands, components on the dates around, and the joint components."""

    spatial: Tensor
    temporal: Tensor
    spectral: Tensor
    joint: Tensor


class TaskWeights(nn.Module):
    """``sum_t L_t / (2 c_t²) + ln(1 + c_t²)`` with a learned c for each task.

    It is never negative, whatever c. For a loss L it is least at ``c² = (L + sqrt(L² + 8 L)) / 4``, so that the weight
    ``1 / (2 c²)`` falls as the loss grows.

    Liebel and Koerner 2018, Auxiliary tasks in multi-task learning, arXiv:1805.06334

    Parameters
    ----------
    tasks : int
        c is 1 for each at first. Optimisers must not decay it.
    """

    def __init__(self, tasks: int) -> None:
        super().__init__()
        self.c = nn.Parameter(torch.ones(tasks))

    def forward(self, losses: Sequence[Tensor]) -> Tensor:
        """The joint loss of losses, one for each task."""
        squares = self.c.square().clamp(min=_LEAST**2)
        return (torch.stack(list(losses)) / (2 * squares) + torch.log1p(squares)).sum()


class Block(nn.Module):
    """``y = x + sum_i T_i(x)``, each T_i a convolution of its own size, ReLU and one of one pixel."""

    def __init__(self, features: int, kernels: Sequence[int]) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            nn.Sequential(conv(features, features, size), nn.ReLU(), conv(features, features, 1)) for size in kernels
        )

    def forward(self, x: Tensor) -> Tensor:
        """The block's result, of the same shape."""
        return x + torch.stack([scale(x) for scale in self.scales]).sum(dim=0)


def _branch(inputs: int, features: int, blocks: int, kernels: Sequence[int]) -> nn.Sequential:
    chain = [Block(features, kernels) for _ in range(blocks)]
    return nn.Sequential(conv(inputs, features, 1), nn.ReLU(), *chain, nn.ReLU())


def day_code(days: Tensor) -> Tensor:
    """Sine and cosine of the day of the year (..., 2)."""
    angle = days * (2 * math.pi / _YEAR)
    return torch.stack([angle.sin(), angle.cos()], dim=-1)


class LtsMtl(nn.Module):
    """The branches, their heads, the joint fusion, and what was learned by linear regression beforehand.

    Parameters
    ----------
    bands : tuple of int
        Of the fine, the wide and the hyperspectral sensor.
    ratios : tuple of int
        All 1: it sees images on the fine grid.
    components : int
        Principal components of the hyperspectral sensor.
    features, blocks : int
        Of each branch.
    kernels : sequence of int
        Sizes of the kernels in each block, odd; the paper tries (1,), (1, 3) and (1, 3, 5).
    drop : float
        Share of examples in training that lack the features of the temporal and of the spectral branch: what happened
        between two dates on earlier occasions tells little of what will.
    seed : int
        Of the weights.
    """

    mean: Tensor
    basis: Tensor
    fine_mean: Tensor
    fine_basis: Tensor
    ridge: Tensor
    gain: Tensor
    carried: Tensor
    error: Tensor
    fine_centre: Tensor
    fine_spread: Tensor
    wide_centre: Tensor
    wide_spread: Tensor
    change_centre: Tensor
    change_spread: Tensor
    spectra_centre: Tensor
    spectra_spread: Tensor

    def __init__(
        self,
        bands: tuple[int, ...],
        ratios: tuple[int, ...],
        *,
        components: int = 10,
        features: int = 32,
        blocks: int = 2,
        kernels: Sequence[int] = (1,),
        drop: float = 0.5,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if len(bands) != 3 or set(ratios) != {1}:
            raise ParameterError(f"bands {bands} and ratios {ratios}", "fine, wide and hyperspectral bands on one grid")
        if not kernels or any(size < 1 or size % 2 == 0 for size in kernels):
            raise ParameterError(f"kernels={tuple(kernels)}", "odd sizes of 1 or more")
        if not 0 <= drop < 1:
            raise ParameterError(f"drop={drop}", "a share from 0 to below 1")
        fine, wide, spectrum = bands
        self.drop, self.blocks, self.kernels = drop, blocks, tuple(kernels)
        self.spatial = _branch(1 + wide + 2, features, blocks, kernels)
        self.temporal = _branch(fine + wide + 4, features, blocks, kernels)
        self.spectral = _branch(fine + components + 2, features, blocks, kernels)
        self.joint = _branch(3 * features, features, blocks, kernels)
        self.heads = nn.ModuleDict(
            {task: conv(features, fine if task == "temporal" else components, 1) for task in TASKS}
        )
        self.fine_of_wide = conv(wide, fine, 1)
        self.spectra_of_wide = conv(wide, components, 1)
        self.spectra_of_fine = conv(fine, components, 1)
        self.fine_of_spectra = conv(components, fine, 1).requires_grad_(False)
        he_uniform(self, seed)
        with torch.no_grad():
            for head in self.heads.values():
                head.get_parameter("weight").mul_(0.01)
        self._remember(fine, wide, spectrum, components)

    def _remember(self, fine: int, wide: int, spectrum: int, components: int) -> None:
        """Places for what training measures of the scene; see :mod:`xrs.training.sts`."""
        self.register_buffer("mean", torch.zeros(spectrum))
        self.register_buffer("basis", torch.zeros(spectrum, components))
        self.register_buffer("fine_mean", torch.zeros(fine))
        self.register_buffer("fine_basis", torch.eye(fine)[:, :GUIDES])
        self.register_buffer("ridge", torch.full((1,), 1e-6))
        self.register_buffer("gain", torch.zeros(components, fine))
        self.register_buffer("carried", torch.zeros(components))
        self.register_buffer("error", torch.zeros(components, components))
        for name, count in (("fine", fine), ("wide", wide), ("change", wide), ("spectra", components)):
            self.register_buffer(f"{name}_centre", torch.zeros(count))
            self.register_buffer(f"{name}_spread", torch.ones(count))

    @property
    def margin(self) -> int:
        """Pixels around one on which a result depends."""
        return 2 * self.blocks * (max(self.kernels) // 2)

    def forward(self, evidence: Evidence) -> Estimates:
        """The tasks' estimates on the target date (N, ., y, x), and on the dates around it (N, date, k, y, x)."""
        batch, dates = evidence.fine.shape[:2]
        codes = day_code(evidence.days).to(evidence.wide)
        weights = evidence.weights[:, :, None]

        def pooled(image: Tensor) -> Tensor:
            return (image.reshape(batch, dates, *image.shape[1:]) * weights).sum(dim=1)

        fine, change = (image.flatten(0, 1) for image in (evidence.fine, evidence.wide[:, None] - evidence.wide_then))
        scaled = self._scaled("fine", fine)
        known, of_spectra = self.of_dates(fine, evidence.spectra.flatten(0, 1), evidence.days[:, 1:].flatten())
        both = torch.cat([codes[:, 1:], codes[:, :1].expand(-1, dates, -1)], dim=-1).flatten(0, 1)
        of_time = pooled(self.temporal(_with_code([scaled, self._scaled("change", change)], both)))
        band = pooled(scaled.mean(dim=1, keepdim=True))
        of_space = self.spatial(_with_code([band, self._scaled("wide", evidence.wide)], codes[:, 0]))
        alone = self.spectra_of_wide(evidence.wide)
        spatial = alone + self._spectral_scale() * self.heads["spatial"](of_space)
        moved = pooled(fine + nn.functional.conv2d(change, self.fine_of_wide.weight))
        temporal = moved + self.fine_spread.mean() * self.heads["temporal"](of_time)
        kept = [of_space, self._dropped(of_time), self._dropped(pooled(of_spectra))]
        carried = pooled(known + nn.functional.conv2d(change, self.spectra_of_wide.weight))
        begun = spatial + self.carried[:, None, None] * (carried - alone)
        joint = begun + self._spectral_scale() * self.heads["joint"](self.joint(torch.cat(kept, dim=1)))
        return Estimates(spatial, temporal, known.reshape(evidence.spectra.shape), joint)

    def of_dates(self, fine: Tensor, spectra: Tensor, days: Tensor) -> tuple[Tensor, Tensor]:
        """The spectral branch alone: components (N, k, y, x) on dates of the fine sensor, and its features."""
        images = [self._scaled("fine", fine), self._scaled("spectra", spectra)]
        features = self.spectral(_with_code(images, day_code(days).to(fine)))
        made = spectra + self._spectral_scale() * self.heads["spectral"](features)
        # Of all spectra those near to it that the fine sensor would see as it did.
        left = fine - self.fine_of_spectra(made)
        return made + nn.functional.conv2d(left, self.gain[:, :, None, None]), features

    def in_bands(self, components: Tensor) -> Tensor:
        """The hyperspectral bands (N, band, y, x) of components."""
        return torch.einsum("bk,nkyx->nbyx", self.basis, components) + self.mean[:, None, None]

    def images(self, evidence: Evidence) -> tuple[Tensor, Tensor, Tensor]:
        """What a head reads errors from: fine bands and spectra of the dates around, and the wide sensor between."""
        weights = evidence.weights[:, :, None]
        fine, spectra = ((image * weights).sum(dim=1) for image in (evidence.fine, evidence.spectra))
        return fine, evidence.wide, self.in_bands(spectra)

    def seen_as_fine(self, spectra: Tensor) -> Tensor:
        """What the fine sensor would see of components on some dates (N, date, k, y, x)."""
        seen: Tensor = self.fine_of_spectra(spectra.flatten(0, 1))
        return seen.reshape(*spectra.shape[:2], *seen.shape[1:])

    def _spectral_scale(self) -> Tensor:
        return self.spectra_spread.mean()

    def _scaled(self, name: str, image: Tensor) -> Tensor:
        centre, spread = getattr(self, f"{name}_centre"), getattr(self, f"{name}_spread")
        return (image - centre[:, None, None]) / spread[:, None, None]

    def _dropped(self, features: Tensor) -> Tensor:
        if not (self.training and self.drop):
            return features
        kept = torch.rand(len(features), 1, 1, 1, device=features.device) >= self.drop
        return features * kept


@dataclass(frozen=True)
class Told:
    """What members make of one target date.

    Attributes
    ----------
    joint, spectral : ndarray (k, y, x), (date, k, y, x)
        Components: the means of the members.
    std : ndarray (band, y, x), optional
        Of the joint estimate's bands, not yet scaled, in the unit the network sees.
    """

    joint: Float32
    spectral: Float32
    std: Float32 | None


def estimate(
    members: Sequence[LtsMtl], *images: NDArray[Any], heads: Sequence[nn.Module] = (), spread: bool = False
) -> Told:
    """What members make of one target's arrays: those of :class:`Evidence`, in its order, without a batch."""
    device = members[0].gain.device
    given = (torch.from_numpy(np.ascontiguousarray(image, np.float32))[None].to(device) for image in images)
    evidence = Evidence(*given)
    with torch.inference_mode():
        found = [member(evidence) for member in members]
        joint, spectral = (torch.stack([getattr(f, n) for f in found]).mean(dim=0) for n in ("joint", "spectral"))
        std = spread_of(members, heads, [f.joint for f in found], evidence)[0].cpu().numpy() if spread else None
    return Told(joint[0].cpu().numpy(), spectral[0].cpu().numpy(), std)


def spread_of(
    members: Sequence[LtsMtl], heads: Sequence[nn.Module], joint: Sequence[Tensor], evidence: Evidence
) -> Tensor:
    """Standard deviations (N, band, y, x) by the law of total variance, of members' joint estimates (N, k, y, x)."""
    bands = [member.in_bands(made) for member, made in zip(members, joint, strict=True)]
    mean = torch.stack(bands).mean(dim=0)
    variance = torch.full_like(mean, _LEAST_SPREAD**2)
    for number, (member, own) in enumerate(zip(members, bands, strict=True)):
        part = (own - mean) ** 2
        if heads:
            part = part + 2 * torch.exp(2 * heads[number](own, *member.images(evidence)))
        variance = variance + part / len(members)
    return variance.sqrt()


def _with_code(images: Sequence[Tensor], codes: Tensor) -> Tensor:
    """Images (N, band, y, x) and numbers (N, n), the same in all pixels, as bands."""
    spread = codes[:, :, None, None].expand(-1, -1, *images[0].shape[2:])
    return torch.cat([*images, spread], dim=1)


NETWORK = Network(
    name="lts_mtl",
    module=LtsMtl,
    tasks=("sts",),
    summary="Three branches, of space, time and spectrum, learned as tasks beside each other and joined.",
    reference=Reference(
        "Peng, Li, Zhou and Li 2024, A long-time-series spatio-temporal-spectral fusion method via multi-task "
        "learning, ISPRS Archives XLVIII-1-2024:567-573",
        "10.5194/isprs-archives-XLVIII-1-2024-567-2024",
    ),
    config={"components": 10, "features": 32, "blocks": 2, "kernels": (1,), "drop": 0.5},
    images=3,
    differs=(
        "Widths, blocks, time encoding, targets and training are ours: the paper does not tell them. Each branch works "
        "on the fine grid, on first guesses by local linear models; the temporal and the spectral one on every date "
        "around the target, pooled by weights in time. The joint estimate has a weighted loss beside the branches'. "
        "On a date of the fine sensor the result is the spectral branch's. What sensors saw on the date itself then "
        "refines it, by their noise and the network's errors where it was not trained (refine=False: not)."
    ),
)
