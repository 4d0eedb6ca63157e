"""The training loop: epochs over patches in memory, held-out loss, learning rate, best weights, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.functional import interpolate

from xrs.errors import ParameterError
from xrs.learning.adversarial import Opponent
from xrs.learning.checkpoint import load_state, save_state
from xrs.learning.checks import check_real, check_whole
from xrs.learning.devices import make_runner
from xrs.learning.learner import OPTIMIZERS, Learner
from xrs.learning.losses import Loss
from xrs.learning.patches import Patches
from xrs.learning.physics import Physics
from xrs.learning.progress import Reporter
from xrs.learning.schedule import epochs_without_gain, rate
from xrs.sensors.torch_forward import decimate

__all__ = ["Epoch", "Settings", "Term", "fit"]

Batch = tuple[list[Tensor], Tensor, Tensor]


@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes
    ----------
    epochs : int or "auto"
        ``"auto"`` stops when the held-out loss has not fallen by a thousandth for ``patience`` epochs.
    batch_size : int
        Patches of one step, over all processes.
    lr : float
        Learning rate of the first epoch.
    optimizer : {"nadam", "adam"}
    schedule : {"plateau", "cosine", "constant"}
    clip : float
        Longest gradient; 0 for any.
    patience, most_epochs : int
        When ``"auto"`` stops.
    seed : int
    device, dtype : str
        See :func:`xrs.learning.devices.make_runner`.
    save_every : float
        Least seconds between two checkpoints; one is written at the end in any case.
    """

    epochs: int | str = "auto"
    batch_size: int = 16
    lr: float = 1e-3
    optimizer: str = "nadam"
    schedule: str = "plateau"
    clip: float = 1.0
    patience: int = 20
    most_epochs: int = 1000
    seed: int = 0
    device: str = "auto"
    dtype: str = "float32"
    save_every: float = 30.0

    def __post_init__(self) -> None:
        whole = isinstance(self.epochs, int) and not isinstance(self.epochs, bool)
        if self.epochs != "auto" and not (whole and int(self.epochs) >= 1):
            raise ParameterError(f"epochs={self.epochs!r}", "'auto', or an integer of 1 or more")
        for name, least in (("batch_size", 1), ("patience", 1), ("most_epochs", 1), ("seed", 0)):
            check_whole(name, getattr(self, name), least)
        for name in ("lr", "clip", "save_every"):
            check_real(name, getattr(self, name))
        if not self.lr:
            raise ParameterError(f"lr={self.lr}", "a learning rate above 0")
        if self.optimizer not in OPTIMIZERS:
            raise ParameterError(f"optimizer={self.optimizer!r}", f"one of {list(OPTIMIZERS)}")
        rate(self.schedule, [], self.lr, self.last)

    @property
    def last(self) -> int | None:
        """The number of epochs, if it is fixed."""
        return self.epochs if isinstance(self.epochs, int) else None

    def is_done(self, held_out: Sequence[float]) -> bool:
        """Whether no epoch is to follow those with these held-out losses."""
        if self.last is not None:
            return len(held_out) >= self.last
        return len(held_out) >= self.most_epochs or epochs_without_gain(held_out) >= self.patience

    def what_matters(self) -> dict[str, Any]:
        """What the weights after a number of epochs depend on."""
        ignored = {"device", "save_every", "most_epochs", "patience"} | (
            {"epochs"} if self.schedule != "cosine" else set()
        )
        return {name: value for name, value in asdict(self).items() if name not in ignored}


@dataclass(frozen=True)
class Term:
    """One share of the loss: patches of a protocol, as the network is to see them.

    Attributes
    ----------
    train, held_out : Patches
        Values divided by the model's scale.
    taps : Tensor (band, tap), optional
        Point spread from the network's result to the target, ``ratio`` times coarser.
    ratio : int
    weight : float
    physics : Physics, optional
        How the images follow from the result, where that is known: a further part of the loss.
    """

    train: Patches
    held_out: Patches
    taps: Tensor | None = None
    ratio: int = 1
    weight: float = 1.0
    physics: Physics | None = None

    def observed(self, result: Tensor) -> Tensor:
        """A network's result as the target sees it."""
        return result if self.taps is None else decimate(result, self.taps, self.ratio)


@dataclass(frozen=True)
class Epoch:
    """Mean losses and learning rate of one epoch."""

    train: float
    held_out: float
    lr: float


@dataclass
class _Run:
    """A run's state: all of it but devices is in its checkpoint."""

    learner: Learner
    opponent: Opponent | None
    history: list[Epoch] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    least: float = math.inf

    def keep(self, held_out: float) -> None:
        """Remember the present weights if this loss of theirs is the least so far."""
        if held_out < self.least:
            self.least = held_out
            state = self.learner.module.state_dict()
            self.best = {name: value.detach().cpu().clone() for name, value in state.items()}

    @property
    def losses(self) -> list[float]:
        return [epoch.held_out for epoch in self.history]

    @property
    def learners(self) -> dict[str, Learner]:
        """By what their part of the checkpoint is called."""
        return {"": self.learner} | ({} if self.opponent is None else {"discriminator/": self.opponent.learner})


def fit(
    network: Module,
    terms: Sequence[Term],
    loss: Loss,
    settings: Settings,
    *,
    discriminator: Module | None = None,
    adversarial_weight: float = 1e-3,
    begin: bool = True,
    checkpoint: Path | None = None,
    resume: bool = True,
    progress: bool = True,
    identity: str = "",
) -> list[Epoch]:
    """Train a network in place; it ends with the weights of its best epoch on held-out patches.

    If the network has a start that is computed, and no epoch is better, it ends with that.

    Every epoch's order of patches, flips and dropout depend on the seed and the epoch's number alone, so a run
    that goes on from a checkpoint does what an uninterrupted one does.

    Parameters
    ----------
    network : torch.nn.Module
        ``network(*images)``, the finest first. If it has a method ``extra_loss(images, result, seen) -> Tensor``, with
        ``seen`` (N, 1, y, x) of bool on the first image's grid, what that gives is added to each term's loss.
    terms : sequence of Term
    loss : callable
        See :mod:`xrs.learning.losses`.
    settings : Settings
    discriminator : torch.nn.Module, optional
        Trained beside the network on the terms without a point spread, see :mod:`xrs.learning.adversarial`. It has no
        say in which epoch is best.
    adversarial_weight : float
        Of the network's loss against it.
    begin : bool
        Whether a network with a method ``begin(images, target, mask)`` is given the first term's patches before all
        else, to start from what can be computed of them.
    checkpoint : Path, optional
        Written while training.
    resume : bool
        Go on from the checkpoint if there is one; else it is overwritten.
    progress : bool
        Show a progress bar.
    identity : str
        Of data and network; a checkpoint of another is refused.

    Returns
    -------
    list of Epoch

    Raises
    ------
    ParameterError
        If the loss is no longer finite, or the checkpoint is of another run.
    ModelCardError
        If the checkpoint is damaged.
    """
    runner = make_runner(settings.device, settings.dtype)
    identity = f"{identity} {sorted(settings.what_matters().items())}"
    begun = begin and _begin(network, terms[0].train)
    run = _Run(*_learners(network, discriminator, adversarial_weight, runner, settings))
    if begun:
        # A start that can be computed may be better than what training makes of it.
        run.keep(_held_out_loss(network, runner, terms, loss, settings.batch_size))
    if checkpoint is not None and resume and checkpoint.exists():
        _restore(checkpoint, run, identity)
    saved = time.monotonic()
    with Reporter(progress and runner.is_global_zero, settings.last) as reporter:
        while not settings.is_done(run.losses):
            _advance(run, runner, terms, loss, settings)
            reporter.show(run.history)
            if checkpoint is not None and runner.is_global_zero and time.monotonic() - saved >= settings.save_every:
                _save(checkpoint, run, identity)
                saved = time.monotonic()
    if checkpoint is not None and runner.is_global_zero:
        _save(checkpoint, run, identity)
    network.load_state_dict(run.best)
    return run.history


def _begin(network: Any, patches: Patches) -> bool:
    """Whether the network has a start that was computed."""
    if not hasattr(network, "begin"):
        return False
    images = [torch.from_numpy(image) for image in patches.inputs]
    network.begin(images, torch.from_numpy(patches.target), torch.from_numpy(patches.mask))
    return True


def _learners(
    network: Module, discriminator: Module | None, weight: float, runner: Any, settings: Settings
) -> tuple[Learner, Opponent | None]:
    learner = Learner(network, runner, settings.optimizer, settings.clip)
    if discriminator is None:
        return learner, None
    return learner, Opponent(Learner(discriminator, runner, settings.optimizer, settings.clip), runner, weight)


def _advance(run: _Run, runner: Any, terms: Sequence[Term], loss: Loss, settings: Settings) -> None:
    """One more epoch."""
    epoch = len(run.history)
    lr = rate(settings.schedule, run.losses, settings.lr, settings.last)
    for learner in run.learners.values():
        learner.set_rate(lr)
    with torch.random.fork_rng([runner.device] if runner.device.type == "cuda" else []):
        # Dropout, if the network has any, must not depend on what ran before.
        torch.manual_seed(settings.seed * 1_000_003 + epoch)
        train = _train_epoch(run, runner, terms, loss, settings)
    network = run.learner.module
    held_out = _held_out_loss(network, runner, terms, loss, settings.batch_size)
    if not (math.isfinite(train) and math.isfinite(held_out)):
        raise ParameterError(
            f"the loss became {train} in epoch {epoch} (held out: {held_out})", "a finite loss", f"lr={lr / 10:.1g}"
        )
    run.keep(held_out)
    run.history.append(Epoch(train, held_out, lr))


def _train_epoch(run: _Run, runner: Any, terms: Sequence[Term], loss: Loss, settings: Settings) -> float:
    network, epoch = run.learner.wrapped, len(run.history)
    network.train()
    total, steps = torch.zeros((), device=runner.device), 0
    orders = [_shuffled(len(term.train), settings, epoch, n, runner) for n, term in enumerate(terms)]
    for step, parts in enumerate(zip(*orders, strict=False)):
        turn = int(np.random.default_rng([settings.seed, epoch, step]).integers(8))
        losses = []
        for term, part in zip(terms, parts, strict=True):
            batch = _turned(_batch(term.train, part, runner.device), turn)
            losses.append(term.weight * _term_loss(network, runner, term, batch, loss, run.opponent))
        joint = torch.stack(losses).sum()
        run.learner.step(joint)
        total, steps = total + joint.detach(), steps + 1
    return float(runner.all_reduce(total / steps, reduce_op="mean"))


def _shuffled(count: int, settings: Settings, epoch: int, term: int, runner: Any) -> Iterator[np.ndarray]:
    """The part of each batch for this process; a last batch too small for all processes is left out."""
    order = np.random.default_rng([settings.seed, epoch, term, 1]).permutation(count)
    for start in range(0, count, settings.batch_size):
        batch = order[start : start + settings.batch_size]
        if len(batch) >= runner.world_size:
            yield batch[runner.global_rank :: runner.world_size]


@torch.no_grad()
def _held_out_loss(network: Module, runner: Any, terms: Sequence[Term], loss: Loss, batch_size: int) -> float:
    network.eval()
    total = torch.zeros((), device=runner.device, dtype=torch.float64)
    for term in terms:
        mine = np.arange(len(term.held_out))[runner.global_rank :: runner.world_size]
        for start in range(0, len(mine), batch_size):
            part = mine[start : start + batch_size]
            value = _term_loss(network, runner, term, _batch(term.held_out, part, runner.device), loss)
            total += term.weight * float(value) * len(part) / len(term.held_out)
    return float(runner.all_reduce(total, reduce_op="sum"))


def _term_loss(
    network: Module, runner: Any, term: Term, batch: Batch, loss: Loss, opponent: Opponent | None = None
) -> Tensor:
    images, target, mask = batch
    with runner.autocast():
        prediction = network(*images)
        own = _extra_loss(network, images, prediction, mask)
    value = loss(term.observed(prediction.float()), target, mask) + own
    if term.physics is not None:
        value = value + term.physics.loss(images, prediction.float(), mask)
    if opponent is None or term.taps is not None:
        return value
    return value + opponent.judge(prediction.float(), target, mask)


def _extra_loss(network: Module, images: Sequence[Tensor], prediction: Tensor, mask: Tensor) -> Tensor | float:
    """What the network itself adds to the loss, if it does."""
    # Wrapped for several devices, a network shows only its forward.
    bare: Any = getattr(network, "module", network)
    if not hasattr(bare, "extra_loss"):
        return 0.0
    seen = interpolate(mask.all(dim=1, keepdim=True).float(), images[0].shape[2:]) > 0
    extra: Tensor = bare.extra_loss(images, prediction, seen)
    return extra


def _batch(patches: Patches, which: np.ndarray, device: torch.device) -> Batch:
    images = [torch.from_numpy(image[which]).to(device) for image in patches.inputs]
    target, mask = torch.from_numpy(patches.target[which]), torch.from_numpy(patches.mask[which])
    return images, target.to(device), mask.to(device)


def _turned(batch: Batch, turn: int) -> Batch:
    """One of the eight flips and quarter turns of a batch; point spreads are the same along rows and columns."""
    images, target, mask = batch

    def turned(image: Tensor) -> Tensor:
        flips = [dim for bit, dim in ((1, 2), (2, 3)) if turn & bit]
        flipped = image.flip(flips) if flips else image
        return flipped.transpose(2, 3).contiguous() if turn & 4 else flipped

    return [turned(image) for image in images], turned(target), turned(mask)


def _save(path: Path, run: _Run, identity: str) -> None:
    named = {f"best/{name}": value for name, value in run.best.items()}
    records = {}
    for part, learner in run.learners.items():
        tensors, records[part] = learner.state(part)
        named |= tensors
    history = [asdict(epoch) for epoch in run.history]
    save_state(path, named, {"identity": identity, "history": history, "optimizers": records})


def _restore(path: Path, run: _Run, identity: str) -> None:
    tensors, record = load_state(path)
    if record["identity"] != identity:
        raise ParameterError(
            f"the checkpoint {path} is of another scene, network or settings",
            "the same call of train that wrote it",
            "resume=False to overwrite it, or another checkpoint=",
        )
    for part, learner in run.learners.items():
        learner.restore(tensors, record["optimizers"][part], part)
    run.history = [Epoch(**epoch) for epoch in record["history"]]
    run.best = {key.removeprefix("best/"): value for key, value in tensors.items() if key.startswith("best/")}
    run.least = min([run.least, *run.losses])
