"""The networks of a model, one after another: each member, and where errors are to be learned, its head."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch.nn import Module

from xrs.cube.metadata import to_json
from xrs.errors import ParameterError
from xrs.learning.loop import Epoch, Settings, Term, fit
from xrs.learning.losses import Loss, laplace
from xrs.learning.stages import fit_stages
from xrs.models.weights import hash_of
from xrs.nets import get_network
from xrs.nets._discriminator import Discriminator
from xrs.nets.uncertain import LaplaceHead, WithHead
from xrs.training.protocols import Layout
from xrs.training.uncertainty import Uncertainty, new_head

__all__ = ["Run"]

#: Pixels along the side of a patch that a discriminator can tell anything from.
_LEAST_JUDGED = 16


@dataclass(frozen=True)
class Run:
    """What all networks of a model are trained with.

    Attributes
    ----------
    network, task : str
    config : mapping
        Of the network.
    layout : Layout
    terms : sequence of Term
    loss : callable
    adversarial_weight : float
        0 for no discriminator.
    settings : Settings
        Of the first member; those after it have the seeds that follow.
    made : mapping
        All else that the weights depend on.
    checkpoint : Path, optional
        Of the first member; those of others have names that begin like it.
    resume, progress : bool
    """

    network: str
    task: str
    config: Mapping[str, Any]
    layout: Layout
    terms: Sequence[Term]
    loss: Loss
    adversarial_weight: float
    settings: Settings
    made: Mapping[str, Any]
    checkpoint: Path | None
    resume: bool
    progress: bool

    def trained(self, plan: Uncertainty | None) -> tuple[Module, dict[str, list[Epoch]]]:
        """The network or networks as one, and the losses of each by name."""
        members: list[Module] = []
        heads: list[LaplaceHead] = []
        curves: dict[str, list[Epoch]] = {}
        for number in range(1 if plan is None else plan.members):
            settings = replace(self.settings, seed=self.settings.seed + number)
            member, curves[f"member {number}"] = self._member(number, settings)
            members.append(member)
            if plan is not None and plan.kind == "laplace":
                head, curves[f"head {number}"] = self._head(number, member, settings)
                heads.append(head)
        return members[0] if plan is None else plan.of(members, heads), curves

    def _member(self, number: int, settings: Settings) -> tuple[Module, list[Epoch]]:
        record = get_network(self.network)
        module = self.layout.build(self.network, self.task, settings.seed, self.config)
        history = fit_stages(
            module,
            record.stages if self.made["protocol"] == "staged" else (),
            self.terms,
            self.loss,
            settings,
            beside=lambda ending: self._beside((f".member{number}" if number else "") + ending),
            discriminator=self._discriminator(settings.seed) if self.adversarial_weight else None,
            adversarial_weight=self.adversarial_weight,
            resume=self.resume,
            progress=self.progress,
            identity=self._identity(settings.seed),
        )
        return module.cpu(), history

    def _head(self, number: int, member: Module, settings: Settings) -> tuple[LaplaceHead, list[Epoch]]:
        """A head trained on the errors of a finished network, which is left as it is."""
        # What the head puts out is no image that a sensor could see.
        term = replace(self.terms[0], physics=None)
        head = new_head(member, self.layout, term.train, settings.seed)
        # Another state of the network, as after more epochs, has other errors.
        state = hash_of({name: value.numpy() for name, value in member.state_dict().items()})[:12]
        history = fit(
            WithHead(member, head),
            [term],
            laplace,
            settings,
            checkpoint=self._beside(f".head{number}-{state}"),
            resume=self.resume,
            progress=self.progress,
            identity=f"{self._identity(settings.seed)} head",
        )
        member.cpu()
        return head.cpu(), history

    def _beside(self, ending: str) -> Path | None:
        return None if self.checkpoint is None else self.checkpoint.with_name(self.checkpoint.name + ending)

    def _discriminator(self, seed: int) -> Discriminator:
        if all(term.taps is not None for term in self.terms):
            raise ParameterError(
                "the adversarial loss without true images", "pairs of Wald's protocol", "protocol='wald' or 'both'"
            )
        side = self.terms[0].train.target.shape[-1]
        if side < _LEAST_JUDGED:
            raise ParameterError(
                f"patches of {side} pixels for the adversarial loss", f"at least {_LEAST_JUDGED}", "a larger patch_size"
            )
        return Discriminator(self.layout.results, seed=seed + 1)

    def _identity(self, seed: int) -> str:
        """A hash of all that the weights depend on; not of the number of epochs, so that a run can be prolonged."""
        made = {**self.made, "seed": seed}
        layout = [self.layout.bands, self.layout.ratios] + [self.layout.outputs] * bool(self.layout.outputs)
        facts = [self.network, self.config, *layout, made]
        digest = hashlib.sha256(to_json(facts).encode())
        for term in self.terms:
            for patches in (term.train, term.held_out):
                for array in (*patches.inputs, patches.target, patches.mask):
                    digest.update(np.ascontiguousarray(array).data)
            for seen in () if term.physics is None else term.physics.seen:
                digest.update(b"" if seen is None else seen.response.numpy().tobytes())
        return digest.hexdigest()
