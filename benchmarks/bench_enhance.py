"""Errors of filled series at dates that were withheld: learnt growth curves beside smoothing and interpolation.

Run with ``python -m benchmarks.bench_enhance [--quick] [--md]``; ``--library FILE`` writes the simulated growth curves
that ``enhance`` takes for its prior. No method sees the withheld values, and none is tuned on them: all run with their
defaults, and what ``enhance`` chooses it chooses by the evidence of what is left.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr

import xrs
from benchmarks.common import DATA, Table
from xrs.operators.enhance import enhance
from xrs.operators.smooth import smooth

METHODS = {
    "linear": ("linear", {}),
    "whittaker": ("whittaker", {}),
    "whittaker gcv": ("whittaker", {"lmbda": "gcv"}),
    "savgol": ("savgol", {}),
    "harmonic": ("harmonic", {}),
}
#: Noise of a simulated NDVI, and the share of sky under cloud.
_NOISE, _CLOUD = 0.02, 0.5
_COMPONENTS = 12


def landscape_ndvi(seed: int, side: int, *, year: int = 2023) -> xr.DataArray:
    """NDVI (time, y, x) of the embedded landscape every five days of a year, without noise or clouds."""
    times = pd.date_range(f"{year}-01-01", periods=73, freq="5D")
    red, nir = (
        xrs.scenes.landscape((side, side), times=times, wavelengths=[665, 842], seed=seed).isel(band=b, drop=True)
        for b in (0, 1)
    )
    return ((nir - red) / (nir + red)).compute()


def landscape_case(seed: int, side: int) -> tuple[xr.DataArray, xr.DataArray]:
    """What is seen under clouds and noise, and the truth."""
    truth = landscape_ndvi(seed, side)
    valid = xrs.scenes.clouds(truth, cover=_CLOUD, seed=seed).valid.compute()
    noise = _NOISE * np.random.default_rng(seed).standard_normal(truth.shape)
    return (truth + noise).where(valid).astype("float32"), truth


def meadow_case() -> tuple[xr.DataArray, xr.DataArray]:
    """The NDVI of a real meadow; its own values are the truth."""
    with xr.open_dataset(DATA / "s2_meadow.nc") as data:
        ndvi = data["NDVI"].rename(t="time").astype("float32").load()
    return ndvi, ndvi


def fields_case() -> tuple[xr.DataArray, xr.DataArray]:
    """The NDVI of real fields over 16 months, masked by the product's own scene classes, which leave some cloud."""
    tree = xrs.open_stac(str(DATA / "flanders" / "catalog.json"), mask="auto")
    bands = tree["r10m"].to_dataset()[["B04", "B08"]].compute()
    ndvi = ((bands["B08"] - bands["B04"]) / (bands["B08"] + bands["B04"])).astype("float32")
    ndvi = ndvi.where(abs(ndvi) <= 1)
    return ndvi, ndvi


def withheld(seen: xr.DataArray, how: str, share: float, seed: int) -> np.ndarray:
    """Which clear values are withheld: single ones, runs of 30 days of a pixel, or whole dates."""
    rng = np.random.default_rng(seed)
    clear = np.isfinite(seen.values)
    if how == "values":
        return clear & (rng.random(clear.shape) < share)
    if how == "dates":
        return clear & (rng.random(clear.shape[0]) < share)[:, None, None]
    days = np.asarray((seen["time"] - seen["time"][0]) / np.timedelta64(1, "D"))
    flat = clear.reshape(len(days), -1)
    hidden = np.zeros_like(flat)
    for j in range(flat.shape[1]):
        while hidden[:, j].sum() < share * flat[:, j].sum():
            first = rng.uniform(days[0] - 30, days[-1])
            hidden[:, j] |= flat[:, j] & (days >= first) & (days < first + 30)
    return hidden.reshape(clear.shape)


def errors(seen: xr.DataArray, truth: xr.DataArray, hidden: np.ndarray) -> dict[str, float]:
    """RMSE of each method at the withheld values between the first and last value left of their series."""
    known = seen.where(~hidden)
    made = {name: smooth(known, method, **params) for name, (method, params) in METHODS.items()}
    made["enhance"] = enhance(known)
    inside = hidden & np.isfinite(made["linear"].values)
    return {name: float(np.sqrt(np.nanmean((one.values - truth.values)[inside] ** 2))) for name, one in made.items()}


def cases(quick: bool) -> Iterator[tuple[str, xr.DataArray, xr.DataArray, int]]:
    """Name, what is seen, truth, and seed of what is withheld."""
    real = {"meadow": meadow_case, "fields": fields_case} if DATA.is_dir() else {}
    for name, case in real.items():
        seen, truth = case()
        for seed in range(1 if quick else 3):
            yield name, seen, truth, seed
    for seed in range(1 if quick else 5):
        yield "landscape", *landscape_case(seed, 24 if quick else 48), seed


def tables(quick: bool = False) -> list[Table]:
    """Mean RMSE over the seeds, and the range of enhance."""
    columns = ("scene", "withheld", *METHODS, "enhance", "lowest", "highest")
    table = Table("RMSE of NDVI at withheld dates", columns)
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for scene, seen, truth, seed in cases(quick):
        for how, share in (("values", 0.3), ("values", 0.6), ("runs", 0.3), ("runs", 0.6), ("dates", 0.3)):
            name = {"runs": "in runs of 30 days", "values": "single", "dates": "whole dates"}[how]
            result = errors(seen, truth, withheld(seen, how, share, seed))
            found.setdefault((scene, f"{share:.0%} {name}"), []).append(result)
    for key, runs in found.items():
        means = [float(np.mean([run[name] for run in runs])) for name in (*METHODS, "enhance")]
        table.add(*key, *means, *(float(limit([run["enhance"] for run in runs])) for limit in (min, max)))
    table.notes = (
        "Means over seeds (meadow and fields 3, landscape 5; quick: 1); lowest and highest are those of enhance."
    )
    return [table]


def simulated_growth() -> pd.DataFrame:
    """The prior of ``enhance``: mean and components of simulated curves, in units of their spread."""
    curves = np.concatenate([landscape_ndvi(seed, 32).values.reshape(73, -1).T for seed in range(1000, 1004)])
    curves = curves[np.ptp(curves, axis=1) > 0.2].astype(np.float64)
    curves = (curves - curves.mean()) / curves.std()
    mean = curves.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov((curves - mean).T))
    leading = slice(None, -_COMPONENTS - 1, -1)
    components = vectors[:, leading] * np.sqrt(values[leading])
    names = ["day", "mean", *(f"c{k + 1}" for k in range(_COMPONENTS))]
    return pd.DataFrame(np.column_stack([5.0 * np.arange(73), mean, components]), columns=names)


def main() -> None:
    """Print the table, or write the library."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--md", action="store_true")
    parser.add_argument("--library", metavar="FILE")
    args = parser.parse_args()
    if args.library:
        simulated_growth().to_csv(args.library, index=False, float_format="%.5g", lineterminator="\n")
        return
    for table in tables(args.quick):
        print(table.as_md() if args.md else table.as_text())


if __name__ == "__main__":
    main()
