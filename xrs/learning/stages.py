"""Training in stages: some of a network's weights by one kind of pairs, then others by another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch.nn import Module

from xrs.learning.loop import Epoch, Settings, Term, fit
from xrs.learning.losses import Loss
from xrs.models.weights import hash_of
from xrs.nets.base import Stage

__all__ = ["fit_stages"]


def fit_stages(
    network: Module,
    stages: Sequence[Stage],
    terms: Sequence[Term],
    loss: Loss,
    settings: Settings,
    *,
    beside: Callable[[str], Path | None],
    **options: Any,
) -> list[Epoch]:
    """Train a network in place, stage by stage; without stages all of it by all terms.

    Parameters
    ----------
    network : torch.nn.Module
    stages : sequence of Stage
    terms : sequence of Term
        A stage takes those of its protocol.
    loss, settings
        As of :func:`xrs.learning.loop.fit`.
    beside : callable
        The checkpoint whose name ends so; of stages after the first the ending tells the weights they begin with.
    **options
        More of ``fit``.

    Returns
    -------
    list of Epoch
        Of all stages, one after another.
    """
    if not stages:
        return fit(network, terms, loss, settings, checkpoint=beside(""), **options)
    history: list[Epoch] = []
    for number, stage in enumerate(stages):
        ending = f".stage{number}-{_state(network)}" if number else ""
        network.requires_grad_(False).get_submodule(stage.part).requires_grad_(True)
        chosen = [term for term in terms if (term.taps is not None) == (stage.protocol == "consistency")]
        history += fit(network, chosen, loss, settings, checkpoint=beside(ending), **options)
    network.requires_grad_(True)
    return history


def _state(network: Module) -> str:
    return hash_of({name: value.detach().cpu().numpy() for name, value in network.state_dict().items()})[:12]
