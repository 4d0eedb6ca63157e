"""Training on the patches of one scene, by a number of steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn import Module

from xrs.kernels.types import Bool, Float32, Float64
from xrs.learning.loop import Settings, Term
from xrs.learning.losses import make_loss
from xrs.learning.patches import Patches
from xrs.learning.stages import fit_stages
from xrs.models import Card, Model
from xrs.nets import get_network

__all__ = ["Pairs", "learned"]


@dataclass(frozen=True)
class Pairs:
    """Inputs of a network and the target of its result, a row for each patch.

    Attributes
    ----------
    inputs : tuple of ndarray (patch, band, y, x)
        The finest first.
    target, mask : ndarray (patch, band, y, x)
        Where the mask is false, the target was not seen, or its surroundings reach out of the patch.
    taps : ndarray (band, tap) or None
        Point spread from the result to the target; None if they share a grid.
    ratio : int
        Between them.
    """

    inputs: tuple[Float32, ...]
    target: Float32
    mask: Bool
    taps: Float64 | None = None
    ratio: int = 1


def learned(
    module: Module, card: Card, pairs: Sequence[Pairs], *, steps: int, batch_size: int, seed: int, device: str
) -> Model:
    """Train a module on pairs; its card gets the scale, the mean magnitude of the targets.

    An eighth of the patches, and at least one if there are two, tell which epoch was best.
    """
    scale = _scale(pairs[0])
    terms = [_term(one, scale) for one in pairs]
    epochs = math.ceil(steps / math.ceil(len(terms[0].train) / batch_size))
    settings = Settings(epochs, batch_size, optimizer="adam", schedule="cosine", seed=seed, device=device)
    stages = get_network(card.network).stages
    fit_stages(module, stages, terms, make_loss("l1"), settings, beside=lambda _: None, progress=False)
    return Model.from_module(module.cpu(), replace(card, scale=scale))


def _term(pairs: Pairs, scale: float) -> Term:
    places = np.zeros((len(pairs.target), 3), np.int64)
    patches = Patches(pairs.inputs, pairs.target, pairs.mask, places).divided(scale)
    kept = max(len(patches) // 8, 1)
    taps = None if pairs.taps is None else torch.as_tensor(pairs.taps, dtype=torch.float32)
    return Term(patches[: max(len(patches) - kept, 1)], patches[-kept:], taps, pairs.ratio)


def _scale(pairs: Pairs) -> float:
    """The mean magnitude of what was seen; of a date that is dark throughout, 1."""
    mean = float(np.abs(pairs.target[pairs.mask]).mean(dtype=np.float64)) if pairs.mask.any() else 0.0
    return mean or 1.0
