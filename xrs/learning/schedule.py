"""Learning rates and when to stop, as functions of the epochs so far: nothing has to be remembered but the losses."""

from __future__ import annotations

import math
from collections.abc import Sequence

from xrs.errors import ParameterError

__all__ = ["SCHEDULES", "cosine", "epochs_without_gain", "plateau", "rate"]

SCHEDULES = ("plateau", "cosine", "constant")

#: Epochs in which the rate rises to its first value: full steps from random weights switch ReLUs off for good.
_WARM_UP = 4


def plateau(
    held_out: Sequence[float],
    lr: float,
    *,
    factor: float = 0.5,
    patience: int = 5,
    cooldown: int = 0,
    threshold: float = 1e-4,
    least: float = 0.01,
) -> float:
    """The learning rate after these held-out losses: ``factor`` lower after each ``patience`` epochs without gain.

    Parameters
    ----------
    held_out : sequence of float
        A loss for each epoch so far.
    lr : float
        Of the first epoch.
    factor, patience, cooldown, threshold
        As in ``torch.optim.lr_scheduler.ReduceLROnPlateau``, with a relative threshold.
    least : float
        Lowest rate as a share of the first.
    """
    best, bad, rest, now = math.inf, 0, 0, lr
    for loss in held_out:
        if loss < best * (1 - threshold):
            best, bad = loss, 0
        else:
            bad += 1
        if rest:
            rest, bad = rest - 1, 0
        if bad > patience:
            now, rest, bad = max(now * factor, lr * least), cooldown, 0
    return now


def cosine(epoch: int, epochs: int, lr: float, least: float = 0.01) -> float:
    """Half a cosine from ``lr`` in epoch 0 to ``lr * least`` in the last.

    Loshchilov and Hutter 2017, SGDR: stochastic gradient descent with warm restarts, arXiv:1608.03983
    """
    share = epoch / max(epochs - 1, 1)
    return lr * (least + (1 - least) * (1 + math.cos(math.pi * share)) / 2)


def rate(schedule: str, held_out: Sequence[float], lr: float, epochs: int | None) -> float:
    """The learning rate of the next epoch, which rises linearly in the first four; ``epochs`` is None if left open.

    Raises
    ------
    ParameterError
        If the schedule is unknown, or a cosine is asked for without an end.
    """
    if schedule not in SCHEDULES:
        raise ParameterError(f"schedule={schedule!r}", f"one of {list(SCHEDULES)}")
    if schedule == "cosine":
        if epochs is None:
            raise ParameterError("schedule='cosine' with epochs='auto'", "a number of epochs to spread the cosine over")
        full = cosine(len(held_out), epochs, lr)
    else:
        full = plateau(held_out, lr) if schedule == "plateau" else lr
    return full * min(1.0, (len(held_out) + 1) / _WARM_UP)


def epochs_without_gain(held_out: Sequence[float], tolerance: float = 1e-3) -> int:
    """How many of the last epochs did not lower the best loss by ``tolerance`` of it."""
    best, since = math.inf, 0
    for loss in held_out:
        if loss < best * (1 - tolerance):
            best, since = loss, 0
        else:
            since += 1
    return since
