"""What a network learns from, whatever its task: a lesson knows bands, patches and what the card tells of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn import Module

from xrs.errors import ParameterError
from xrs.learning.checks import check_whole
from xrs.learning.loop import Term
from xrs.learning.patches import Patches
from xrs.models import ImageSpec
from xrs.models.spread import config_through
from xrs.nets import get_network
from xrs.sensors import Sensor, get_sensor
from xrs.training.images import facts_of, spec_of
from xrs.training.protocols import Images, Layout, Pairs, make_pairs, taps_of
from xrs.training.sampling import draw_patches, usual_side
from xrs.training.scenes import for_each, joined, shares
from xrs.training.scores import score

__all__ = ["Draw", "Lesson", "SceneLesson", "protocol_of", "psf_facts", "side_of"]

#: Share of the places that are held out, and where intervals are calibrated on them.
_HELD_OUT, _HELD_OUT_TO_CALIBRATE = 0.125, 0.25

#: Between the seeds of scenes.
_APART = 1_000_003


@dataclass(frozen=True)
class Draw:
    """How patches are to be drawn: parameters of :func:`xrs.train`.

    Attributes
    ----------
    patches : int
    patch_size : int, optional
        In pixels of the network's result.
    held_out : float, optional
    most_missing : float
    seed : int
    distinct : bool
        Whether held-out patches are to calibrate intervals.
    """

    patches: int
    patch_size: int | None
    held_out: float | None
    most_missing: float
    seed: int
    distinct: bool

    @property
    def share(self) -> float:
        """The share that is held out."""
        if self.held_out is not None:
            return self.held_out
        return _HELD_OUT_TO_CALIBRATE if self.distinct else _HELD_OUT

    def of(self, scenes: Sequence[Pairs]) -> tuple[Patches, Patches]:
        """Patches to train on and to check with, as many of each scene."""
        side = side_of(self.patch_size, scenes[0].inputs.ratio) or min(map(usual_side, scenes))
        check_whole("patches", self.patches, len(scenes))

        def drawn(number: int, count: int) -> tuple[Patches, Patches]:
            return draw_patches(
                scenes[number],
                count=count,
                side=side,
                held_out=self.share,
                most_missing=self.most_missing,
                seed=self.seed + number * _APART,
                distinct=self.distinct,
            )

        parts = for_each(drawn, range(len(scenes)), shares(self.patches, len(scenes)))
        train, held_out = (joined(part) for part in zip(*parts, strict=True))
        return train, held_out


class Lesson(Protocol):
    """What ``train`` must know of a task.

    Attributes
    ----------
    layout : Layout
    images : tuple of ImageSpec
    outputs : ImageSpec or None
        See :class:`xrs.models.Card`, as of ``units`` and ``psf``.
    units : str
    psf : mapping
    made : mapping
        All that the weights depend on beside patches and settings; ``protocol`` is one of it.
    """

    @property
    def layout(self) -> Layout: ...  # noqa: D102
    @property
    def images(self) -> tuple[ImageSpec, ...]: ...  # noqa: D102
    @property
    def outputs(self) -> ImageSpec | None: ...  # noqa: D102
    @property
    def units(self) -> str: ...  # noqa: D102
    @property
    def psf(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def made(self) -> Mapping[str, Any]: ...  # noqa: D102

    def config(self, network: str, config: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of the network, with what the lesson knows."""

    def terms(self, draw: Draw, sees_around: bool) -> tuple[list[Term], float]:
        """Patches as the network is to see them, and the scale they were divided by.

        ``sees_around`` is false of networks of single pixels.
        """

    def facts(self) -> dict[str, Any]:
        """Of the data."""

    def score(self, network: Module, terms: Sequence[Term], scale: float) -> dict[str, float]:
        """Of held-out patches."""


@dataclass(frozen=True)
class SceneLesson:
    """Pairs made of the scenes themselves: sharpening and pansharpening.

    Attributes
    ----------
    scenes : sequence of Images
        Alike in bands and ratios.
    sensors : sequence of (str, Sensor or None)
        Of each.
    kind : str or array
        The point spread, ``psf`` of :func:`xrs.train`.
    protocol : str
    consistency_weight : float
    """

    scenes: Sequence[Images]
    sensors: Sequence[str | Sensor | None]
    kind: Any
    protocol: str
    consistency_weight: float
    outputs: ImageSpec | None = field(default=None, init=False)

    @property
    def scene(self) -> Images:
        """The first, like which all are."""
        return self.scenes[0]

    @property
    def layout(self) -> Layout:
        """Of the images."""
        return self.scene.layout()

    @property
    def images(self) -> tuple[ImageSpec, ...]:
        """Of the scene."""
        return tuple(spec_of(*both) for both in zip(self.scene.arrays, self.scene.ratios, strict=True))

    @property
    def units(self) -> str:
        """Of the coarsest image."""
        return str(self.scene.arrays[-1].attrs.get("units", "1"))

    @property
    def psf(self) -> Mapping[str, Any]:
        """What inputs were degraded with."""
        return psf_facts(self.kind, self.sensors[0])

    @property
    def made(self) -> Mapping[str, Any]:
        """Protocol and weight."""
        return {"protocol": self.protocol, "consistency_weight": self.consistency_weight}

    def config(self, network: str, config: Mapping[str, Any]) -> dict[str, Any]:
        """With the point spread, for networks that are told it."""
        return config_through(network, config, taps_of(self.scene, self.sensors[0], self.kind))

    def terms(self, draw: Draw, sees_around: bool) -> tuple[list[Term], float]:
        """One for each kind of pairs of the protocol."""
        if not 0 < self.consistency_weight < math.inf:
            raise ParameterError(f"consistency_weight={self.consistency_weight}", "a weight above 0")

        def paired(scene: Images, sensor: str | Sensor | None) -> tuple[Pairs, ...]:
            return make_pairs(self.protocol, scene, sensor, self.kind)

        kinds = list(zip(*for_each(paired, self.scenes, self.sensors), strict=True))
        drawn = [draw.of(pairs) for pairs in kinds]
        scale = drawn[0][0].magnitude()
        terms = [
            Term(
                train.divided(scale),
                held_out.divided(scale),
                None if first.taps is None else torch.as_tensor(first.taps, dtype=torch.float32),
                first.inputs.ratio,
                self.consistency_weight if n else 1.0,
            )
            for n, ((first, *_), (train, held_out)) in enumerate(zip(kinds, drawn, strict=True))
        ]
        return terms, scale

    def facts(self) -> dict[str, Any]:
        """Of the finest images."""
        return facts_of(*(scene.arrays[0] for scene in self.scenes))

    def score(self, network: Module, terms: Sequence[Term], scale: float) -> dict[str, float]:
        """Beside cubic interpolation."""
        return score(network, terms[0], self.scene.ratio, scale)


def protocol_of(network: str, protocol: str | None) -> str:
    """The protocol asked for, or the one the network is made for.

    Raises
    ------
    ParameterError
        If it has no stages and is to learn in some.
    """
    stages = get_network(network).stages
    if protocol == "staged" and not stages:
        raise ParameterError(f"protocol='staged' for the network {network!r}", "a network with stages, such as ssrpnet")
    return protocol or ("staged" if stages else "wald")


def psf_facts(psf: Any, sensor: str | Sensor | None) -> dict[str, Any]:
    """What a card says of a point spread."""
    kind = psf if isinstance(psf, str) else np.asarray(psf, np.float64).tolist()
    return {"kind": kind, "sensor": None if sensor is None else get_sensor(sensor).name}


def side_of(patch_size: int | None, ratio: int) -> int | None:
    """The side of a patch in pixels of the coarsest image.

    Raises
    ------
    ParameterError
        If it is no whole number of them.
    """
    if patch_size is None:
        return None
    check_whole("patch_size", patch_size, ratio)
    if patch_size % ratio:
        raise ParameterError(f"patch_size={patch_size}", f"a multiple of the ratio {ratio}")
    return patch_size // ratio
