"""The training loop of the network of spatio-temporal-spectral fusion: its tasks' losses, and how they are joined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xrs.errors import ParameterError
from xrs.kernels.types import Float64
from xrs.learning.devices import make_runner
from xrs.methods.sts._evidence import Known
from xrs.nets.lts_mtl import TASKS, Evidence, LtsMtl, TaskWeights
from xrs.sensors.torch_forward import decimate
from xrs.training.steps import Steps
from xrs.training.sts_examples import Example, cropped, linear

__all__ = ["Batches", "begin", "errors_held_out", "evidence_of", "fit"]

#: Of the tasks' weights: they must settle while the network learns.
_RATE_OF_WEIGHTS = 0.02
_DECAY = 1e-4
#: Hyperspectral pixels at the edges of a crop that are seen through what lies outside.
_RIM = 1
#: Steps between two entries of the loss curve.
_TOLD = 50
#: Of the response's mean square, in a correction by what the fine sensor saw: chosen on simulated scenes.
_DAMPING = 0.3
#: Pixels of each example that linear regressions look at.
_SAMPLE = 20_000


@torch.no_grad()
def begin(network: LtsMtl, examples: Sequence[Example], known: Known, response: tuple[Float64, Float64]) -> None:
    """Start from linear regressions and what was measured; ``response`` leads from components to fine bands."""
    stated: dict[str, Any] = {
        "mean": known.mean,
        "basis": known.basis,
        "fine_mean": known.fine_mean,
        "fine_basis": known.fine_basis,
        "ridge": [known.ridge],
    }
    for name, value in stated.items():
        setattr(network, name, torch.as_tensor(value, dtype=torch.float32).contiguous())
    pixels = [_sampled(e) for e in examples]
    wide, fine, spectra, change, around = (np.concatenate(part, axis=1) for part in zip(*pixels, strict=True))
    for name, values in (("fine", fine), ("wide", wide), ("change", change), ("spectra", spectra)):
        setattr(network, f"{name}_centre", torch.as_tensor(values.mean(axis=1), dtype=torch.float32))
        spread = np.maximum(values.std(axis=1), 1e-3 * values.std() + 1e-6)
        setattr(network, f"{name}_spread", torch.as_tensor(spread, dtype=torch.float32))
    _set(network.spectra_of_fine, known.slopes, known.offset)
    _set(network.fine_of_spectra, *response)
    network.gain = torch.as_tensor(_gain(response[0]), dtype=torch.float32).contiguous()
    _set(network.spectra_of_wide, *linear(wide, spectra))
    _set(network.fine_of_wide, *linear(wide, fine))
    network.carried = torch.as_tensor(_share_carried(network, wide, change, spectra, around), dtype=torch.float32)


def fit(
    network: LtsMtl, examples: Sequence[Example], taps: Float64, ratio: int, how: Steps
) -> tuple[list[float], dict[str, float]]:
    """Train in place; returns the loss curve and the tasks' weights."""
    batches = Batches(examples, ratio, how, stream=8)
    device = batches.device
    weighing = TaskWeights(len(TASKS)).to(device)
    network.to(device).train()
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in network.parameters() if p.requires_grad], "weight_decay": _DECAY},
            {"params": weighing.parameters(), "weight_decay": 0.0, "lr": _RATE_OF_WEIGHTS},
        ],
        lr=how.lr,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, how.steps)
    spread = torch.as_tensor(taps, dtype=torch.float32, device=device)
    curve: list[float] = []
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(how.seed)
        for step in range(how.steps):
            losses = _losses(network, batches.draw(), spread, ratio)
            total = weighing(losses)
            optimizer.zero_grad()
            total.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            if not torch.isfinite(total):
                raise ParameterError(f"the loss became {float(total)} in step {step}", "a finite loss", "a smaller lr")
            if step % _TOLD == _TOLD - 1 or step == how.steps - 1:
                curve.append(float(total.detach()))
    network.eval().cpu()
    return curve, dict(zip(TASKS, weighing.c.detach().cpu().tolist(), strict=True))


@torch.inference_mode()
def errors_held_out(members: Sequence[LtsMtl], examples: Sequence[Example]) -> Float64:
    """How far the joint estimate is from the spectral branch's (component, pixel), where members were not trained."""
    found = []
    for example in examples:
        e = example.evidence
        own = (example.fine[None], example.spectra[None], e.days[:, 0])
        left = torch.stack([(member.of_dates(*own)[0] - member(e).joint)[0] for member in members]).mean(dim=0)
        found.append(left.numpy()[:, example.held_out].astype(np.float64))
    return np.concatenate(found, axis=1)


def _losses(network: LtsMtl, batch: dict[str, Tensor], taps: Tensor, ratio: int) -> list[Tensor]:
    """Mean square errors of the tasks, in units of their targets' spread."""
    evidence = evidence_of(batch)
    found = network(evidence)
    with torch.no_grad():
        target, _ = network.of_dates(batch["own_fine"], batch["own_spectra"], batch["days"][:, 0])
    seen = batch["seen"]
    of_spectra, of_fine = network.spectra_spread.mean(), network.fine_spread.mean()
    inner = torch.zeros_like(batch["hs_seen"])
    inner[..., _RIM:-_RIM, _RIM:-_RIM] = True
    coarse = decimate(found.spectral.flatten(0, 1), taps, ratio).reshape(batch["hs"].shape)
    misfit = (evidence.fine - network.seen_as_fine(found.spectral)).flatten(0, 1)
    there = ((evidence.weights > 0) & batch["trained"]).flatten(0, 1)[:, None]
    return [
        _mean((found.spatial - target) / of_spectra, seen),
        _mean((found.temporal - batch["own_fine"]) / of_fine, seen),
        _mean((coarse - batch["hs"]) / of_spectra, batch["hs_seen"] & inner) + _mean(misfit / of_spectra, there),
        _mean((found.joint - target) / of_spectra, seen),
    ]


def _mean(error: Tensor, seen: Tensor) -> Tensor:
    bands = error.shape[-3]
    return (error.square() * seen).sum() / (seen.sum() * bands).clamp(min=1)


class Batches:
    """Crops of random examples, drawn one batch after another; ``stream`` tells apart what one seed draws."""

    def __init__(self, examples: Sequence[Example], ratio: int, how: Steps, *, stream: int) -> None:
        self.examples, self.ratio, self.how = examples, ratio, how
        self.rng = np.random.default_rng([how.seed, stream])
        self.device: torch.device = make_runner(how.device, "float32").device

    def draw(self) -> dict[str, Tensor]:
        """The next batch, flipped or turned."""
        rng = self.rng
        turn = int(rng.integers(8))
        crops = []
        for which in rng.integers(len(self.examples), size=self.how.batch):
            example = self.examples[which]
            height, width = example.hs.shape[-2:]
            side = min(self.how.side, height, width)
            row, column = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
            crops.append(cropped(example, slice(row, row + side), slice(column, column + side), self.ratio))
        stacked = {name: torch.stack([crop[name] for crop in crops]) for name in crops[0]}
        return {name: _turned(image, turn).to(self.device) for name, image in stacked.items()}


def evidence_of(batch: dict[str, Tensor]) -> Evidence:
    """What the network sees of a batch."""
    return Evidence(*(batch[n] for n in ("wide", "fine", "wide_then", "spectra", "weights", "days")))


def _turned(image: Tensor, turn: int) -> Tensor:
    """One of the eight flips and quarter turns of images; anything of fewer dims as it is."""
    if image.ndim < 4:
        return image
    flips = [dim for bit, dim in ((1, -2), (2, -1)) if turn & bit]
    flipped = image.flip(flips) if flips else image
    return flipped.transpose(-2, -1).contiguous() if turn & 4 else flipped


def _gain(response: Float64) -> Float64:
    """What brings components (k, m) nearer to the fine bands: least change, less than all for the sensor's noise."""
    square = response @ response.T
    damped = square + _DAMPING * np.trace(square) / len(square) * np.eye(len(square))
    return np.asarray(np.linalg.solve(damped, response).T, np.float64)


def _share_carried(network: LtsMtl, wide: Float64, change: Float64, spectra: Float64, around: Float64) -> Float64:
    """For each component, how far to go from what the wide image tells to the dates around and the change since."""
    alone = network.spectra_of_wide
    slopes, offset = alone.weight[:, :, 0, 0].double().numpy(), alone.get_parameter("bias").double().numpy()
    by_level = slopes @ wide + offset[:, None]
    beyond = around + slopes @ change - by_level
    share: Float64 = ((spectra - by_level) * beyond).sum(axis=1) / np.maximum(np.square(beyond).sum(axis=1), 1e-30)
    return share.clip(0.0, 1.0)


def _sampled(example: Example) -> list[Float64]:
    """Pixels of wide, fine, spectra, changes and spectra around (band, pixel) where all were seen."""
    e = example.evidence
    where = example.seen[0].numpy()
    change = (e.wide - (e.wide_then * e.weights[:, :, None]).sum(dim=1))[0]
    images = (e.wide[0], example.fine, example.spectra, change, (e.spectra * e.weights[:, :, None]).sum(dim=1)[0])
    count = int(where.sum())
    step = max(count // _SAMPLE, 1)
    return [image.numpy()[:, where][:, ::step].astype(np.float64) for image in images]


def _set(layer: torch.nn.Conv2d, slopes: Float64, offset: Float64) -> None:
    layer.weight.copy_(torch.as_tensor(slopes, dtype=torch.float32)[:, :, None, None])
    layer.get_parameter("bias").copy_(torch.as_tensor(offset, dtype=torch.float32))
