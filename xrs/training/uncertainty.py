"""What is beside the mean: which sources of uncertainty, and intervals that cover what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import Module

from xrs.errors import ParameterError
from xrs.learning.conformal import check_count, conformal_factors, covered_share, quantile_of, split_places
from xrs.learning.loop import Term
from xrs.learning.patches import Patches
from xrs.nets import get_network
from xrs.nets.uncertain import LaplaceHead, Uncertain
from xrs.training.protocols import Layout
from xrs.training.scores import predicted

__all__ = ["Calibration", "Uncertainty", "calibrated", "check_places", "new_head", "wanted", "with_dropout"]

#: Thinned networks of one, and the share of channels each lacks unless told otherwise.
_PASSES, _DROPOUT = 20, 0.1

#: Patches from which a head's first value is taken.
_FIRST = 64


@dataclass(frozen=True)
class Uncertainty:
    """What a model's uncertainty is made of, see :class:`xrs.models.Card`."""

    kind: str
    members: int
    passes: int
    level: float = 0.9

    def of(self, members: Sequence[Module], heads: Sequence[LaplaceHead]) -> Uncertain:
        """Networks as one with a spread."""
        return Uncertain(members, heads, self.passes).eval()

    def probe(self, member: Module, layout: Layout) -> Uncertain:
        """One that sees as far as the model will."""
        return Uncertain([member], [_head(layout)] if self.kind == "laplace" else [], min(self.passes, 1))


def wanted(uncertainty: str | None, members: int, protocol: str) -> Uncertainty | None:
    """The uncertainty that arguments of ``train`` ask for, if they do.

    Raises
    ------
    ParameterError
        For unknown words, and for a protocol that has no true images to learn errors from.
    """
    if uncertainty not in (None, "laplace", "dropout"):
        raise ParameterError(f"uncertainty={uncertainty!r}", "None, 'laplace' or 'dropout'")
    if not isinstance(members, int) or isinstance(members, bool) or members < 1:
        raise ParameterError(f"members={members!r}", "1 or more")
    if uncertainty is None and members == 1:
        return None
    if protocol == "consistency":
        raise ParameterError(
            "an uncertainty with protocol='consistency'",
            "a protocol whose targets have the result's resolution",
            "protocol='wald' or 'both'",
        )
    return Uncertainty(uncertainty or "ensemble", members, _PASSES if uncertainty == "dropout" else 0)


def with_dropout(network: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a network that drops channels.

    Raises
    ------
    ParameterError
        If it has no dropout, or is told not to drop any.
    """
    if "dropout" not in get_network(network).config:
        raise ParameterError(
            f"uncertainty='dropout' of the network {network!r}", "a network with dropout", "uncertainty='laplace'"
        )
    if not config.get("dropout", _DROPOUT) > 0:
        raise ParameterError(f"uncertainty='dropout' with dropout={config['dropout']}", "a share above 0")
    return {"dropout": _DROPOUT, **config}


def check_places(patches: Patches, level: float, seed: int) -> None:
    """Refuse, before any training, held-out patches of too few places to calibrate with."""
    places, first = split_places(patches.spots, seed)
    # The second half is the smaller one.
    check_count(np.unique(places[~first]).size, level)


def new_head(member: Module, layout: Layout, patches: Patches, seed: int) -> LaplaceHead:
    """A head that begins with the mean error of each band."""
    head = _head(layout, seed)
    some = patches[:_FIRST]
    error = np.abs(predicted(member, some) - some.target)
    means = [max(float(error[:, b][some.mask[:, b]].mean()), 1e-6) for b in range(layout.results)]
    head.start_at(torch.tensor(means).log())
    return head


def _head(layout: Layout, seed: int = 0) -> LaplaceHead:
    return LaplaceHead(layout.bands, layout.ratios, outputs=layout.outputs, seed=seed)


@dataclass(frozen=True)
class Calibration:
    """What a card says of intervals: in ``uncertainty``, in ``metrics`` and in ``training``."""

    facts: dict[str, Any]
    metrics: dict[str, float]
    places: dict[str, int]


def calibrated(
    network: Module, uncertainty: Uncertainty, term: Term, bands: Sequence[str], scale: float, seed: int
) -> Calibration:
    """The factors of the intervals by all held-out places, and how such factors do on places that did not set them.

    For the metrics each half of the places sets factors for the other: the share of pixels covered and the mean width
    in the data's unit, means over both halves and over bands.
    """
    patches = term.held_out
    mean, std = np.split(predicted(network, patches), 2, axis=1)
    error, mask, level = patches.target - mean, _inside(patches), uncertainty.level
    places, first = split_places(patches.spots, seed)
    checks = []
    for part in (first, ~first):
        factors = conformal_factors(error[part], std[part], mask[part], places[part], level)
        half = (quantile_of(level) * factors[:, None, None] * std[~part]).astype(np.float32)
        checks.append(covered_share(error[~part], half, mask[~part], places[~part]))
    covered, width = np.mean(checks, axis=(0, 2))
    factors = conformal_factors(error, std, mask, places, level)
    facts = {
        "kind": uncertainty.kind,
        "members": uncertainty.members,
        "passes": uncertainty.passes,
        "level": level,
        "factors": {band: float(factor) for band, factor in zip(bands, factors, strict=True)},
    }
    metrics = {"coverage": float(covered), "interval_width": float(width) * scale}
    return Calibration(facts, metrics, {"calibration_places": int(np.unique(places).size)})


def _inside(patches: Patches) -> NDArray[np.bool_]:
    """A mask without the outermost coarse pixels, whose surroundings a patch does not show."""
    ratio = patches.target.shape[-1] // patches.inputs[-1].shape[-1]
    inside = np.zeros(patches.target.shape[-2:], bool)
    inside[ratio:-ratio, ratio:-ratio] = True
    return patches.mask & inside
