"""Long-time-series spatio-temporal-spectral fusion: the network trained on the cubes it is to fuse, and comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xrs.cube import band_keys, check_time, package_version, to_array, wavelengths
from xrs.errors import ParameterError
from xrs.learning.checks import check_whole
from xrs.methods import Method
from xrs.models import Card, ImageSpec, Model
from xrs.nets import get_network
from xrs.nets.lts_mtl import LtsMtl
from xrs.operators import fuse_sts as operator
from xrs.operators._fusion import check_floats
from xrs.operators.fuse_sts import Sensors, StsCase
from xrs.training.sts_examples import examples_of, key_dates, known_of, read_windows
from xrs.training.sts_fit import Steps, begin, fit

__all__ = ["fuse_sts", "train_sts"]

Cube = xr.DataArray | xr.Dataset


def train_sts(
    hyperspectral: Cube,
    multispectral: Cube,
    wide: Cube,
    *,
    network: str = "lts_mtl",
    sensors: Sensors | None = None,
    psf: Any = "mtf",
    tolerance: Any = "1D",
    pairs: int = 2,
    components: int = 10,
    windows: int = 8,
    window_size: int = 96,
    steps: int = 600,
    train_batch: int = 8,
    patch_size: int = 30,
    lr: float = 2e-3,
    device: str = "auto",
    seed: int = 0,
    licence: str = "",
    **config: Any,
) -> Model:
    """TODO"""
    cubes = {"hs": to_array(hyperspectral), "ms": to_array(multispectral), "wide": to_array(wide)}
    for role, cube in cubes.items():
        check_floats(role, cube)
        check_time(cube)
        band_keys(cube)
    check_whole("pairs", pairs, 1)
    case = StsCase.of(cubes, Sensors() if sensors is None else sensors, psf)
    dates = key_dates(case, tolerance)
    unit = max(case.factors.values())
    fine_of = {role: unit and case.factors["ms"] // case.factors[role] for role in ("hs", "wide")}
    how = Steps(steps, train_batch, max(patch_size // fine_of["hs"], 3), lr, seed, device)
    read = read_windows(case, dates, count=windows, side=max(window_size // case.factors["ms"], 1), seed=seed)
    known = known_of(read, case, components)
    examples = examples_of(read, dates, case, known, pairs)
    specs = tuple(_spec(case.cubes[role]) for role in ("ms", "wide", "hs"))
    config = dict(config) | {"components": known.basis.shape[1]}
    bands = tuple(len(spec.bands) for spec in specs)
    module: Any = get_network(network).build(bands, (1, 1, 1), seed=seed, **config)
    begin(module, examples, known)
    taps = np.broadcast_to(case.psf["hs"].mean(axis=0), (known.basis.shape[1], case.psf["hs"].shape[1]))
    curve, weights = fit(module, examples, taps, fine_of["hs"], how)
    card = Card(
        network=network,
        task="sts",
        images=specs,
        margin=module.margin,
        scale=known.scale,
        units=str(cubes["hs"].attrs.get("units", "1")),
        config=config,
        training={
            "ratios": fine_of,
            "dates": [str(t.date()) for t in dates.times],
            "pairs": pairs,
            "loss_curve": curve,
            "c": weights,
            "steps": steps,
            "train_batch": train_batch,
            "lr": lr,
            "seed": seed,
            "psf": psf if isinstance(psf, str) else "given",
        },
        licence=licence,
        created_by=f"xrs {package_version()}",
    )
    return Model.from_module(module, card)


def _spec(cube: xr.DataArray) -> ImageSpec:
    return ImageSpec(tuple(band_keys(cube)), 1, tuple(float(w) for w in wavelengths(cube)))
