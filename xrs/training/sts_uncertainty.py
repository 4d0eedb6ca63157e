"""What a network of spatio-temporal-spectral fusion knows of its errors: heads, and intervals that are calibrated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xrs.kernels.types import Float32
from xrs.learning.conformal import check_count
from xrs.learning.loop import Term
from xrs.learning.losses import laplace
from xrs.learning.patches import Patches
from xrs.nets.lts_mtl import LtsMtl, spread_of
from xrs.nets.uncertain import LaplaceHead
from xrs.training.steps import Steps
from xrs.training.sts_examples import Example
from xrs.training.sts_fit import Batches, evidence_of
from xrs.training.uncertainty import Calibration, Uncertainty, calibrated

__all__ = ["HEAD_MARGIN", "calibration", "check_held_out", "learned_head"]

#: Pixels around one that a head looks at.
HEAD_MARGIN = 4
_RATE = 2e-3
#: Of the network's steps, those of its head.
_SHARE = 0.5


def check_held_out(examples: Sequence[Example], level: float) -> None:
    """Refuse, before any training, too few held-out places to calibrate with.

    Raises
    ------
    ParameterError
    """
    seen = np.unique(np.concatenate([e.places[e.held_out] for e in examples]))
    # The second half is the smaller one.
    check_count(seen.size // 2, level)


def learned_head(
    member: LtsMtl, bands: tuple[int, ...], examples: Sequence[Example], ratio: int, how: Steps
) -> LaplaceHead:
    """A head trained on the errors of a finished network, which is left as it is."""
    head = LaplaceHead(bands, (1, 1, 1), seed=how.seed)
    batches = Batches(examples, ratio, how, stream=10)
    member, device = member.to(batches.device), batches.device
    with torch.no_grad():
        mean, wanted, _, seen = _errors(member, batches.draw())
    size = ((wanted - mean).abs() * seen).sum(dim=(0, 2, 3)) / seen.sum().clamp(min=1)
    head.start_at(size.clamp(min=1e-6).log().cpu())
    head.to(device).train()
    optimizer = torch.optim.Adam(head.parameters(), lr=_RATE)
    for _ in range(max(int(how.steps * _SHARE), 1)):
        with torch.no_grad():
            mean, wanted, images, seen = _errors(member, batches.draw())
        loss = laplace(torch.cat([mean, head(mean, *images)], dim=1), wanted, seen.expand_as(wanted))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    member.cpu()
    return head.eval().cpu()


def _errors(member: LtsMtl, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, tuple[Tensor, ...], Tensor]:
    """Bands of the joint estimate and those it should be, what the head sees, and where this counts."""
    evidence = evidence_of(batch)
    wanted, _ = member.of_dates(batch["own_fine"], batch["own_spectra"], batch["days"][:, 0])
    mean = member.in_bands(member(evidence).joint)
    return mean, member.in_bands(wanted), member.images(evidence), batch["seen"]


class _Known(nn.Module):
    """Means and standard deviations that are there already."""

    def forward(self, mean: Tensor, std: Tensor) -> Tensor:
        return torch.cat([mean, std], dim=1)


def calibration(
    members: Sequence[LtsMtl],
    heads: Sequence[LaplaceHead],
    plan: Uncertainty,
    examples: Sequence[Example],
    bands: Sequence[str],
    scale: float,
    seed: int,
) -> Calibration:
    """Factors of the intervals by all held-out places; see :func:`xrs.training.uncertainty.calibrated`."""
    parts = [_held_out(members, heads, example, date) for date, example in enumerate(examples)]
    joined: list[Any] = [np.concatenate([part[n] for part in parts]) for n in range(5)]
    mean, std, wanted, mask, spots = joined
    patches = Patches((mean, std), wanted, mask, spots)
    return calibrated(_Known(), plan, Term(patches, patches), bands, scale, seed)


@torch.inference_mode()
def _held_out(
    members: Sequence[LtsMtl], heads: Sequence[LaplaceHead], example: Example, number: int
) -> tuple[Float32, ...]:
    """Means, standard deviations, what should be, where it counts (place, band, y, x), and spots of an example."""
    e = example.evidence
    joint = [member(e).joint for member in members]
    own = (example.fine[None], example.spectra[None], e.days[:, 0])
    wanted = torch.stack([member.in_bands(member.of_dates(*own)[0]) for member in members]).mean(dim=0)[0].numpy()
    mean = torch.stack([m.in_bands(j) for m, j in zip(members, joint, strict=True)]).mean(dim=0)[0].numpy()
    std = spread_of(members, heads, joint, e)[0].numpy()
    found = np.unique(example.places[example.held_out])
    corners = {int(n): np.argwhere(example.places == n) for n in found}
    side = max(int(np.ptp(where, axis=0).max()) for where in corners.values()) + 1 if corners else 1
    shape = (len(found), len(mean), side, side)
    means, wants, stds = (np.zeros(shape, np.float32) for _ in range(3))
    stds += 1
    mask, spots = np.zeros(shape, bool), np.zeros((len(found), 3), np.int64)
    for k, (n, where) in enumerate(corners.items()):
        (top, left), (bottom, right) = where.min(axis=0), where.max(axis=0) + 1
        area, size = (slice(None), slice(top, bottom), slice(left, right)), (bottom - top, right - left)
        place = (k, slice(None), slice(size[0]), slice(size[1]))
        for out, image in ((means, mean), (stds, std), (wants, wanted)):
            out[place] = image[area]
        mask[place] = example.held_out[area[1:]]
        spots[k] = number, n, 0
    return means, stds, wants, mask, spots  # type: ignore[return-value]
