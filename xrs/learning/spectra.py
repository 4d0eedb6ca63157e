"""Training of networks that make other bands of one image, on examples of one scene, by a number of steps."""

from __future__ import annotations

import math

import numpy as np

from xrs.kernels.types import Bool, Float32
from xrs.learning.loop import Settings, Term, fit
from xrs.learning.losses import Loss, l1
from xrs.learning.patches import Patches
from xrs.models import Card, ImageSpec, Model
from xrs.nets import get_network

__all__ = ["learned_spectra"]


def learned_spectra(
    network: str,
    given: Float32,
    wanted: Float32,
    mask: Bool,
    *,
    loss: str,
    steps: int,
    batch_size: int,
    lr: float,
    seed: int,
    device: str,
) -> Model:
    """Train a network for task ``"spectral"``.

    Parameters
    ----------
    network : str
    given, wanted : ndarray (example, band, y, x)
        What it sees, and the bands it is to make. The last eighth tells which epoch was best.
    mask : ndarray of bool (example, band, y, x)
        Where what is wanted is known.
    loss : {"l1", "mse"}
    steps, batch_size : int
        Of training; examples of one step.
    lr : float
        Learning rate of the first epoch; it falls as a cosine.
    seed : int
    device : str
        See :func:`xrs.learning.devices.make_runner`.

    Returns
    -------
    Model
        Its bands are ``ms0``, ``ms1`` ... and ``hs0``, ``hs1`` ...
    """
    examples = Patches((given,), wanted, mask, np.zeros((len(given), 3), np.int64))
    scale = float(np.abs(wanted[mask]).mean(dtype=np.float64)) if mask.any() else 0.0
    scale = scale or 1.0
    examples = examples.divided(scale)
    kept = max(len(examples) // 8, 1)
    term = Term(examples[: max(len(examples) - kept, 1)], examples[-kept:])
    images = tuple(
        ImageSpec(tuple(f"{role}{n}" for n in range(image.shape[1]))) for role, image in (("ms", given), ("hs", wanted))
    )
    module = get_network(network).build((given.shape[1],), (1,), outputs=wanted.shape[1], seed=seed)
    epochs = math.ceil(steps / math.ceil(len(term.train) / batch_size))
    settings = Settings(epochs, batch_size, lr, optimizer="adam", schedule="cosine", seed=seed, device=device)
    fit(module, [term], _LOSSES[loss], settings, progress=False)
    card = Card(network=network, task="spectral", images=images[:1], outputs=images[1], scale=scale)
    return Model.from_module(module.cpu(), card)


def _mse(prediction, target, mask):  # type: ignore[no-untyped-def]
    """Mean squared error of the pixels in the mask."""
    return (((prediction - target) ** 2) * mask).sum() / mask.sum().clamp(min=1)


_LOSSES: dict[str, Loss] = {"l1": l1, "mse": _mse}
