"""The training loop of the network that sees through clouds: which pixels are hidden from it, and its losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from xrs.errors import ParameterError
from xrs.kernels.types import Float32, Float64
from xrs.learning.devices import make_runner
from xrs.learning.losses import sam
from xrs.nets.ssr_cloud import Evidence, SsrCloud
from xrs.training.steps import Steps

__all__ = ["Hidden", "Place", "descend", "fit_cloud", "nearest_dates", "pixels_of"]

_DECAY = 1e-2
#: Of the spectral angle beside squared errors, in units of the mean spectrum.
_ANGLE = 0.1
#: Of the tasks' weights, the highest.
_RATE_OF_WEIGHTS = 0.02
#: Steps between two entries of the loss curve.
_TOLD = 50
#: Least share of a patch that must be clear for it to be a target, and of that what must be hidden.
_LEAST = 0.1
#: Share of patches whose day of the year the network is not told: so it will be on dates it could not learn.
_UNTAUGHT = 0.1
#: Tries to find such a patch.
_TRIES = 50


@dataclass(frozen=True)
class Place:
    """Part of a scene, divided by the scale, zero where it is not known.

    Attributes
    ----------
    ms, clear : ndarray (date, m, y, x), (date, y, x)
        With the probability that it is clear.
    hs, known : ndarray (date, h, y, x), (date, y, x)
        Spectra on the same dates, and where they are known: nowhere on dates without.
    """

    ms: Float32
    clear: Float32
    hs: Float32
    known: Float32


@dataclass(frozen=True)
class Hidden:
    """A batch: what the network sees, and what is true there.

    Attributes
    ----------
    evidence : Evidence
    ms, there : Tensor (N, m, y, x), (N, 1, y, x)
        Of the target date before anything was hidden, and how clear it was.
    hs, known : Tensor (N, h, y, x), (N, 1, y, x)
    """

    evidence: Evidence
    ms: Tensor
    there: Tensor
    hs: Tensor
    known: Tensor


def nearest_dates(days: Float64, target: int, most: int) -> list[int]:
    """The dates that one of them is made of: the nearest others, in the order of time."""
    order = np.argsort(np.abs(days - days[target]), kind="stable")
    return sorted([int(k) for k in order if k != target][:most])


def fit_cloud(
    network: SsrCloud,
    places: Sequence[Place],
    days: Float64,
    response: tuple[Float64, Float64],
    how: Steps,
    reach: int,
) -> list[float]:
    """Train in place; ``response`` leads from spectra to the bands. Returns the loss curve."""
    rng = np.random.default_rng([how.seed, 9])
    matrix, offset = (torch.as_tensor(part, dtype=torch.float32) for part in response)

    def losses(device: torch.device) -> Tensor:
        batch = _batch(places, days, how, reach, rng, device)
        return _loss(network, batch, matrix.to(device), offset.to(device))

    return descend(network, losses, how)


def descend(
    network: nn.Module, loss: Callable[[torch.device], Tensor], how: Steps, weighing: nn.Module | None = None
) -> list[float]:
    """Steps of AdamW with one cycle of the learning rate; returns means of the loss.

    ``weighing`` is the part of the network that holds the tasks' weights, which must settle while it learns.
    """
    device = make_runner(how.device, "float32").device
    network.to(device).train()
    apart = list(weighing.parameters()) if weighing is not None else []
    trained = [p for p in network.parameters() if p.requires_grad and all(p is not other for other in apart)]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": _DECAY},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        {"params": apart, "weight_decay": 0.0},
    ]
    rates = [how.lr, how.lr, _RATE_OF_WEIGHTS]
    optimizer = torch.optim.AdamW(groups, lr=how.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=how.steps + 1, pct_start=0.1)
    curve: list[float] = []
    since: list[float] = []
    for step in range(how.steps):
        total = loss(device)
        optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        since.append(float(total.detach()))
        if not np.isfinite(since[-1]):
            raise ParameterError(f"the loss became {since[-1]} in step {step}", "a finite loss", "a smaller lr")
        if step % _TOLD == _TOLD - 1 or step == how.steps - 1:
            curve.append(float(np.mean(since)))
            since = []
    network.eval().cpu()
    return curve


def pixels_of(places: Sequence[Place]) -> Iterator[tuple[Float64, Float64]]:
    """Bands and spectra (band, pixel) where both are known, place by place and date by date."""
    for place in places:
        for ms, clear, hs, known in zip(place.ms, place.clear, place.hs, place.known, strict=True):
            where = (clear > 0.5) & (known > 0)
            yield ms[:, where].astype(np.float64), hs[:, where].astype(np.float64)


def _loss(network: SsrCloud, batch: Hidden, matrix: Tensor, offset: Tensor) -> Tensor:
    """Squared errors of the spectra, of the bands, and of what the sensor would see of the spectra; and the angle."""
    found = network(batch.evidence)
    e = batch.evidence
    # Where no date is clear nothing can be told.
    told = ((e.others_clear.sum(dim=1) + e.clear)[:, None] > 0).float()
    known, there = batch.known * told, batch.there * told
    seen = nn.functional.conv2d(found.hs, matrix[:, :, None, None], offset)
    spectra = _mean((found.hs - batch.hs).square(), known)
    angle = sam(found.hs, batch.hs, (known > 0).expand_as(batch.hs))
    bands = _mean((found.ms - batch.ms).square(), there)
    physics = _mean((seen - batch.ms).square(), there)
    error = (found.hs - batch.hs).abs().detach()
    likelihood = _mean(error * torch.exp(-found.log_error) + found.log_error, known)
    # No gradient passes from the error's head to what it looks at: its weight matters to nothing else.
    return spectra + bands + physics + _ANGLE * (angle + likelihood)


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / (weights.sum() * values.shape[1]).clamp(min=1)


def _batch(
    places: Sequence[Place], days: Float64, how: Steps, reach: int, rng: np.random.Generator, device: torch.device
) -> Hidden:
    drawn = [_example(places, days, how.side, reach, rng) for _ in range(how.batch)]
    images = {name: np.stack([one[name] for one in drawn]) for name in drawn[0]}
    t = {name: torch.from_numpy(np.ascontiguousarray(image)).to(device) for name, image in images.items()}
    evidence = Evidence(t["ms"], t["clear"], t["day"], t["others"], t["others_clear"], t["days"], t["taught"])
    # What is hidden must not be seen by way of the image either.
    evidence = replace(evidence, image=evidence.image * (evidence.clear[:, None] > 0))
    return Hidden(evidence, t["ms"], t["there"][:, None], t["hs"], t["known"][:, None])


def _example(
    places: Sequence[Place], days: Float64, side: int, reach: int, rng: np.random.Generator
) -> dict[str, Float32]:
    """A patch of a date, some of which is hidden by a cloud of another place or date."""
    for _ in range(_TRIES):
        place = places[int(rng.integers(len(places)))]
        target = int(rng.integers(days.size))
        window = _window(place, side, rng)
        there = place.clear[target][window]
        if there.mean() >= _LEAST:
            break
    others = nearest_dates(days, target, reach)
    visible = there * _left_open(places, there, rng)
    flips = tuple(axis for axis in (-2, -1) if rng.random() < 0.5)

    def turned(image: Float32) -> Float32:
        return np.flip(image, flips)

    return {
        "ms": turned(place.ms[target][:, *window]),
        "there": turned(there),
        "clear": turned(visible.astype(np.float32)),
        "hs": turned(place.hs[target][:, *window]),
        "known": turned(place.known[target][window]),
        "others": turned(place.ms[others][:, :, *window]),
        "others_clear": turned(place.clear[others][:, *window]),
        "day": np.asarray(days[target], np.float32),
        "days": days[others].astype(np.float32),
        "taught": np.asarray(rng.random() >= _UNTAUGHT, np.float32),
    }


def _left_open(places: Sequence[Place], there: Float32, rng: np.random.Generator) -> Float32:
    """What a cloud leaves of a patch: one that lies elsewhere in the scene, or one that is drawn."""
    side = there.shape[0]
    for _ in range(_TRIES // 5):
        if rng.random() < 0.5:
            place = places[int(rng.integers(len(places)))]
            date = int(rng.integers(len(place.clear)))
            left = (place.clear[date][_window(place, side, rng)] > 0.5).astype(np.float32)
        else:
            noise = gaussian_filter(rng.standard_normal((side, side)), side / 6, mode="wrap")
            left = (noise > np.quantile(noise, rng.random())).astype(np.float32)
        if (there * (1 - left)).sum() >= _LEAST * there.sum():
            return left
    return np.zeros_like(there)


def _window(place: Place, side: int, rng: np.random.Generator) -> tuple[slice, slice]:
    starts = [int(rng.integers(n - min(side, n) + 1)) for n in place.clear.shape[1:]]
    return slice(starts[0], starts[0] + side), slice(starts[1], starts[1] + side)
