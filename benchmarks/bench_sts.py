"""Long-time-series spatio-temporal-spectral fusion: one network against two methods in a row, after Peng et al. 2024.

    python -m benchmarks.bench_sts [--seeds 0 1 2] [--side 96] [--kernels] [--dates] [--potsdam]

Every method sees the simulated case of :mod:`benchmarks.sts_case`, seven dates of which four are key dates, and is
held against its truth. Settings were chosen on seeds 10 and 11; seeds 0, 1 and 2 are scored. ``--kernels`` compares
the kernel sets of the network's blocks instead, as the paper's tables 2 and 3 do. ``--potsdam`` scores
the case made of a real EnMAP image instead, where that is at hand.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from benchmarks.common import Table
from benchmarks.sts_case import SENSORS, potsdam_case, sts_case
from xrs.methods import methods_of
from xrs.operators.fuse_sts import Sensors
from xrs.training.sts_compare import compare_sts

__all__ = ["tables"]

SEEDS = (0, 1, 2)
SIDE = 96
KERNELS = ((1,), (1, 3), (1, 3, 5))
#: Of each stage those of the paper, and the best of the quick ones.
TEMPORAL, SPECTRAL = ("estarfm", "stf3dcnn"), ("cnmf", "srecnn", "mtf_glp_hs")
#: Of networks in a row that are trained on the case.
TRAINING: Mapping[str, Mapping[str, Any]] = {
    "stf3dcnn": {"temporal": {"features": 16, "epochs": 4, "patches": 140, "progress": False}}
}
_COLUMNS = ("CC", "SAM", "PSNR", "SSIM", "time")


def tables(quick: bool) -> list[Table]:
    """All methods, and the kernel sets; ``quick`` is one seed of a small side with little training."""
    seeds, side = ((0,), 48) if quick else (SEEDS, SIDE)
    training = {"steps": 30} if quick else {}
    return [methods_table(seeds, side, training), kernels_table(seeds, side, training)]


def methods_table(
    seeds: Sequence[int], side: int, training: Mapping[str, Any], *, dates: bool = False, real: bool = False
) -> Table:
    """The network, the joint estimate and all pairs of methods that are there."""
    known = {family: set(methods_of(family)) for family in ("sts", "spatiotemporal", "hsms")}
    joint = [name for name in ("lts_mtl", "map_sts") if name in known["sts"]]
    pairs = [
        (one, other)
        for one in TEMPORAL if one in known["spatiotemporal"]
        for other in SPECTRAL if other in known["hsms"]
    ]  # fmt: skip
    params: dict[str, Mapping[str, Any]] = {f"{one}+{other}": TRAINING.get(one, {}) for one, other in pairs}
    params["lts_mtl"] = training
    parts = [_scored(seed, side, [*joint, *pairs], params, real=real) for seed in seeds]
    place = "EnMAP's Potsdam, simulated growth" if real else f"side {side}"
    title = f"Spatio-temporal-spectral fusion, {place}, mean of seeds {', '.join(map(str, seeds))}"
    return _table(title, parts, dates=dates)


def kernels_table(seeds: Sequence[int], side: int, training: Mapping[str, Any]) -> Table:
    """The network with each set of kernels."""
    parts = []
    for seed in seeds:
        of_seed = [
            _scored(seed, side, ["lts_mtl"], {"lts_mtl": {**training, "kernels": kernels}}).rename(
                index={"lts_mtl": "lts_mtl " + "/".join(map(str, kernels))}
            )
            for kernels in KERNELS
        ]
        parts.append(pd.concat(of_seed))
    return _table(f"Kernel sets of lts_mtl, side {side}, mean of seeds {', '.join(map(str, seeds))}", parts)


def _scored(
    seed: int, side: int, methods: Sequence[Any], params: Mapping[str, Mapping[str, Any]], *, real: bool = False
) -> pd.DataFrame:
    case = potsdam_case(seed) if real else sts_case(seed, side=side)
    sensors = Sensors(**{role: name for role, name in SENSORS.items() if not (real and role == "hs")})
    return compare_sts(
        case.hs, case.ms, case.wide, case.truth, methods, sensors=sensors, outside="nearest", params=params
    )


def _table(title: str, parts: Sequence[pd.DataFrame], *, dates: bool = False) -> Table:
    table = Table(
        title,
        ["method", "date", *_COLUMNS],
        notes="SAM in degrees, PSNR in dB (peak 1), time in seconds with training, of one thread on a shared machine.",
    )
    order = list(parts[0].index)
    mean = pd.concat(parts).groupby(level=[0, 1]).mean().loc[order]
    for method, date in order:
        if dates or date == "mean":
            table.add(method, date, *(float(mean.loc[(method, date), column]) for column in _COLUMNS))
    return table


def main() -> None:
    """Print the tables asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_sts")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--side", type=int, default=SIDE, help="pixels of 30 m, a multiple of 6")
    parser.add_argument("--kernels", action="store_true", help="the kernel sets instead of the methods")
    parser.add_argument("--dates", action="store_true", help="a row for each date")
    parser.add_argument("--potsdam", action="store_true", help="real spectra instead of the embedded landscape")
    args = parser.parse_args()
    if args.kernels:
        print(kernels_table(args.seeds, args.side, {}).as_text())
    else:
        print(methods_table(args.seeds, args.side, {}, dates=args.dates, real=args.potsdam).as_text())


if __name__ == "__main__":
    main()
