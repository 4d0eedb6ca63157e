"""Spectral super-resolution over time and with classes: one network against two steps, two tasks against one.

    python -m benchmarks.bench_ssr [--clouds | --classes] [--seeds 0 1 2]

Settings were chosen on seeds 10 and 11; each seed is another place and another weather.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

import xrs
from benchmarks.common import Table
from benchmarks.ssr_case import CloudCase, cloud_case, labelled_place
from xrs.learning.spectra import learned_spectra
from xrs.operators.ssr_classify import ssr_classify
from xrs.operators.ssr_cloud import ssr_cloud
from xrs.training.ssr_classify import train_ssr_classify
from xrs.training.ssr_cloud import train_ssr_cloud

SEEDS = (0, 1, 2)
GAP_FILLS = ("linear", "whittaker", "savgol", "harmonic", "enhance")
#: Those that follow a gap fill, their steps and learning rate; ``hsrnet`` begins with regressions, near its end.
NETWORKS = {"spectralift": (1500, 1e-3), "hsrnet": (24, 1e-4)}
#: Of the network that sees through clouds.
CLOUD_STEPS = 400
CLASS_STEPS = 400
#: Labelled pixels to learn from.
LABELS = (300, 3000)
_PATCH = 16


def tables(quick: bool) -> list[Table]:
    """Both tables."""
    seeds = SEEDS[:1] if quick else SEEDS
    return [clouds_table(seeds, quick=quick), classes_table(seeds, quick=quick)]


def clouds_table(seeds: Sequence[int], *, quick: bool = False) -> Table:
    """Spectra under clouds: ``ssr_cloud``, and each gap fill followed by spectral networks of the same pairs."""
    table = Table(
        "Spectra under clouds, 8 dates of which half is clouded, 3 of them with spectra",
        ["method", "seed", "PSNR", "SAM", "filled", "PSNR there", "SAM there", "ssr_cloud's PSNR there", "SAM"],
        notes="PSNR in dB (peak 1), SAM in degrees, over pixels under clouds that were clear on another date. What a "
        "gap fill leaves is taken from the nearest clear date; 'filled' is the share that it fills itself, 'there' "
        "where it does.",
    )
    found = [_clouds_of(seed, 0.05 if quick else 1.0) for seed in seeds]
    for name in found[0]:
        for seed, rows in zip(seeds, found, strict=True):
            table.add(name, seed, *rows[name])
    for name in found[0]:
        columns = zip(*(rows[name] for rows in found), strict=True)
        table.add(name, "mean", *(float(np.mean(column)) for column in columns))
    return table


def _clouds_of(seed: int, effort: float) -> dict[str, list[float]]:
    """A row for each way, the network's last."""
    case = cloud_case(seed)
    hidden = (~case.clear & case.clear.any("time")).values
    model = train_ssr_cloud(case.ms, case.hs, steps=max(int(CLOUD_STEPS * effort), 1))
    ours = ssr_cloud(case.ms, model).values
    nearest = _nearest(case)
    filled = {"nearest date": nearest} | {name: xrs.gap_fill(case.ms, name).values for name in GAP_FILLS}
    rows = {}
    for network, (steps, lr) in NETWORKS.items():
        lift = _spectral(case, nearest, network, max(int(steps * effort), 1), lr)
        for name, ms in filled.items():
            own = np.isfinite(ms).all(axis=1) & hidden
            spectra = lift(np.where(np.isfinite(ms), ms, nearest))
            there = [*scores(spectra, case.truth.values, own), *scores(ours, case.truth.values, own)]
            row = [*scores(spectra, case.truth.values, hidden), own.sum() / hidden.sum(), *there]
            rows[f"{name} + {network}"] = row
    whole = scores(ours, case.truth.values, hidden)
    rows["ssr_cloud"] = [*whole, 1.0, *whole, *whole]
    return rows


def scores(found: np.ndarray, truth: np.ndarray, where: np.ndarray) -> tuple[float, float]:
    """PSNR (peak 1) and mean spectral angle in degrees of some pixels of images (date, band, y, x)."""
    one, other = (np.moveaxis(image, 1, -1)[where].astype(np.float64) for image in (found, truth))
    psnr = -10 * np.log10(np.square(one - other).mean())
    cosine = (one * other).sum(axis=-1) / np.sqrt(np.square(one).sum(axis=-1) * np.square(other).sum(axis=-1))
    return float(psnr), float(np.degrees(np.arccos(cosine.clip(-1, 1))).mean())


def _nearest(case: CloudCase) -> np.ndarray:
    """Each pixel from its nearest clear date, its own first; zero where none is clear."""
    days = (case.ms["time"].values - case.ms["time"].values[0]) / np.timedelta64(1, "D")
    away = np.abs(days[:, None] - days)[:, :, None, None] + np.where(case.clear.values, 0.0, 1e6)
    return np.nan_to_num(np.take_along_axis(case.ms.values, away.argmin(axis=1)[:, None], axis=0))


def _spectral(case: CloudCase, filled: np.ndarray, network: str, steps: int, lr: float) -> Any:
    """The second of two steps: a network from bands to spectra, trained on the clear pixels of dates with spectra."""
    dates = np.searchsorted(case.ms["time"].values, case.hs["time"].values)
    given, wanted = _patches(filled[dates]), _patches(case.hs.values)
    known = np.isfinite(wanted)
    some = np.random.default_rng(0).permutation(np.flatnonzero(known.mean(axis=(1, 2, 3)) > 0.2))
    model = learned_spectra(
        network, given[some], np.nan_to_num(wanted)[some], known[some],
        loss="l1", steps=steps, batch_size=8, lr=lr, seed=0, device="cpu",
    )  # fmt: skip
    module, scale = model.build().eval(), model.card.scale

    def lift(ms: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return (module(torch.from_numpy(ms.astype(np.float32)) / scale) * scale).numpy()

    return lift


def _patches(images: np.ndarray) -> np.ndarray:
    dates, bands, height, width = images.shape
    cut = images.reshape(dates, bands, height // _PATCH, _PATCH, width // _PATCH, _PATCH)
    return np.ascontiguousarray(cut.transpose(0, 2, 4, 1, 3, 5).reshape(-1, bands, _PATCH, _PATCH))


def classes_table(seeds: Sequence[int], *, quick: bool = False) -> Table:
    """Classes and spectra in other places than those of training, learned alone and together."""
    table = Table(
        "Classes and spectra of one date, trained in one place and tested in two others",
        ["labelled pixels", "tasks", "accuracy", "kappa", "F1", "PSNR", "SAM"],
        notes=f"Mean of seeds {', '.join(map(str, seeds))}. Accuracy, kappa and macro F1 in per cent; PSNR in dB "
        "(peak 1), SAM in degrees. Spectra of all training pixels are known.",
    )
    for labels in LABELS:
        for tasks in (("classes",), ("spectra",), ("spectra", "classes")):
            rows = [_classes_of(seed, labels, tasks, 0.05 if quick else 1.0) for seed in seeds]
            table.add(labels, " + ".join(tasks), *(float(np.mean(column)) for column in zip(*rows, strict=True)))
    return table


def _classes_of(seed: int, labels: int, tasks: tuple[str, ...], effort: float) -> list[float]:
    ms, hs, cover = labelled_place(100 + seed)
    chosen = np.random.default_rng(seed).permutation(cover.size)[:labels]
    some = np.zeros(cover.size, bool)
    some[chosen] = True
    known = cover.where(some.reshape(cover.shape), 0)
    model = train_ssr_classify(
        ms, hs, known.assign_attrs(cover.attrs), tasks=tasks, seed=seed, steps=max(int(CLASS_STEPS * effort), 1)
    )
    return list(np.mean([_tested(model, tasks, 200 + 2 * seed + n) for n in range(2)], axis=0))


def _tested(model: Any, tasks: tuple[str, ...], seed: int) -> list[float]:
    ms, hs, cover = labelled_place(seed, noise=False)
    found = ssr_classify(ms, model, spectra="spectra" in tasks)
    agreement = [np.nan] * 3
    if "classes" in tasks:
        agreement = _agreement(found["class"].values.ravel(), cover.values.ravel())
    angle = [np.nan] * 2
    if "spectra" in tasks:
        everywhere = np.ones((1, *cover.shape), bool)
        angle = list(scores(found["spectra"].values[None], hs.values[None], everywhere))
    return [*agreement, *angle]


def _agreement(found: np.ndarray, truth: np.ndarray) -> list[float]:
    """Overall accuracy, Cohen's kappa, and the mean F1 of the classes that are there, in per cent."""
    table = pd.crosstab(found, truth)
    keys = sorted(set(table.index) | set(table.columns))
    counts = table.reindex(index=keys, columns=keys, fill_value=0).to_numpy(float)
    total, right = counts.sum(), np.diag(counts)
    chance = (counts.sum(axis=0) * counts.sum(axis=1)).sum() / total**2
    accuracy = right.sum() / total
    there = counts.sum(axis=0) > 0
    f1 = (2 * right / (counts.sum(axis=0) + counts.sum(axis=1)))[there].mean()
    return [100 * accuracy, 100 * (accuracy - chance) / (1 - chance), 100 * f1]


def main() -> None:
    """Print the tables asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_ssr")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--clouds", action="store_true", help="spectra under clouds alone")
    parser.add_argument("--classes", action="store_true", help="classes and spectra alone")
    args = parser.parse_args()
    both = args.clouds == args.classes
    if args.clouds or both:
        print(clouds_table(args.seeds).as_text(), flush=True)
    if args.classes or both:
        print(classes_table(args.seeds).as_text(), flush=True)


if __name__ == "__main__":
    main()
