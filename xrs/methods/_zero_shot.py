"""Networks without weights: each learns from the scene it is applied to, at a coarser scale and by consistency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xrs.kernels.types import Float64
from xrs.methods._scene import Patch, consistency, scene_pass, wald
from xrs.methods.base import Pass, State
from xrs.models import Card, ImageSpec, Observed
from xrs.models.spread import card_through

__all__ = ["Untrained", "untrained", "zero_shot_passes"]


@dataclass(frozen=True)
class Untrained:
    """A network for the observations at hand, before it has learned anything.

    Attributes
    ----------
    network, task : str
    roles : tuple of str
        The observations it takes, the finest first; the last is its target.
    images : tuple of ImageSpec
    """

    network: str
    task: str
    roles: tuple[str, ...]
    images: tuple[ImageSpec, ...]

    def card(self, psf: Float64 | None) -> Card:
        """What the model will be; ``psf`` (band, tap) leads from the finest grid to the target's."""
        from xrs.nets import get_network

        config = get_network(self.network).alone.get(self.task, {})
        return card_through(Card(network=self.network, task=self.task, images=self.images, config=config), psf)

    def learn(self, drawn: Sequence[Patch], psf: Float64, guide_psf: Mapping[str, Float64], **settings: Any) -> Any:
        """The model, trained on patches of the scene.

        Parameters
        ----------
        drawn : sequence of Patch
        psf : ndarray (band, tap)
            From the finest grid to the target's.
        guide_psf : mapping of str to ndarray (band, tap)
            Of each observation to a grid coarser by the same ratio.
        **settings
            ``steps``, ``seed`` and ``device``.
        """
        from xrs.learning.scene import learned
        from xrs.nets import get_network

        card, record = self.card(psf), get_network(self.network)
        module = record.build(card.bands, card.ratios, seed=settings["seed"], **card.config)
        pairs = [wald(drawn, self.roles, guide_psf)]
        if record.stages:
            pairs.append(consistency(drawn, self.roles, self.roles[-1], psf))
        return learned(module, card, pairs, batch_size=8, **settings)


def untrained(network: str, task: str, target: str, observed: Mapping[str, Observed]) -> Untrained:
    """A network that brings ``target`` to the finest grid by what is finer than it."""
    from xrs.nets import get_network

    record = get_network(network)
    finer = sorted((one.ratio, name) for name, one in observed.items() if one.ratio < observed[target].ratio)
    roles = [name for _, name in finer]
    # A network of two images takes the finest one.
    roles = [*(roles[: record.images - 1] if record.images else roles), target]
    images = tuple(_spec(name, observed[name]) for name in roles)
    return Untrained(network, task, tuple(roles), images)


def zero_shot_passes(networks: Sequence[Untrained]) -> tuple[Pass, ...]:
    """The pass that trains networks on a scene; none if there are none."""
    return (scene_pass(_Learn(tuple(networks))),) if networks else ()


@dataclass(frozen=True)
class _Learn:
    networks: tuple[Untrained, ...]

    def __call__(
        self,
        drawn: Sequence[Patch],
        _state: State,
        *,
        psf: Mapping[str, Float64],
        guide_psf: Mapping[str, Mapping[str, Float64]],
        steps: int,
        seed: int,
        device: str,
        **_: Any,
    ) -> State:
        settings = {"steps": steps, "seed": seed, "device": device}
        targets = ((one, one.roles[-1]) for one in self.networks)
        return {"models": {name: one.learn(drawn, psf[name], guide_psf[name], **settings) for one, name in targets}}


def _spec(role: str, seen: Observed) -> ImageSpec:
    keys = seen.bands if all(seen.bands) else tuple(f"{role}{n}" for n in range(len(seen.bands)))
    return ImageSpec(keys, seen.ratio)
