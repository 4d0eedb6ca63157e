"""Speed of the temporal methods on one thread: ours, a peer's, the ratio, the share of memory bandwidth.

Run with ``python -m benchmarks.bench_temporal``. Ours and the peer's runs alternate; the figures are medians of five
of the thread's own time, so that other programs on the machine disturb them less.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg import solveh_banded
from scipy.signal import savgol_filter

from xrs.methods.temporal.linear import linear
from xrs.methods.temporal.savgol import savgol
from xrs.methods.temporal.whittaker import whittaker

PIXELS = 128 * 500
PEER_PIXELS = 1000
ROUNDS = 5


def seconds(run: Callable[[], Any]) -> float:
    begin = time.thread_time()
    run()
    return time.thread_time() - begin


def rates(ours: Callable[[], Any], theirs: Callable[[], Any] | None, n: int, m: int) -> tuple[float, float]:
    """Series per second of both; ``n`` and ``m`` are the series one run of each smooths."""
    runs = [ours] + ([theirs] if theirs else [])
    for run in runs:
        run()
    spent = [[seconds(run) for run in runs] for _ in range(ROUNDS)]
    middle = [statistics.median(column) for column in zip(*spent, strict=True)]
    return n / middle[0], m / middle[1] if theirs else float("nan")


def copy_bandwidth() -> float:
    """Bytes per second of a copy between mapped arrays, read and write."""
    source, target = np.ones(2**26, np.float32), np.ones(2**26, np.float32)
    return 2 * source.nbytes / statistics.median(seconds(lambda: np.copyto(target, source)) for _ in range(ROUNDS))


def peer_whittaker(series: np.ndarray, weights: np.ndarray, lmbda: float) -> Callable[[], Any] | None:
    """whittaker-eilers with new weights for each series; its lists are made beforehand."""
    try:
        from whittaker_eilers import WhittakerSmoother
    except ImportError:
        print("whittaker-eilers is not installed: its rows are left out")
        return None
    smoother = WhittakerSmoother(lmbda=lmbda, order=2, data_length=len(series))
    rows = list(zip(series.T.astype(float).tolist(), weights.T.astype(float).tolist(), strict=True))

    def run() -> None:
        for y, w in rows:
            smoother.update_weights(w)
            smoother.smooth(y)

    return run


def peer_choice(series: np.ndarray) -> Callable[[], Any] | None:
    """whittaker-eilers' cross-validation over its own 21 λ."""
    try:
        from whittaker_eilers import WhittakerSmoother
    except ImportError:
        return None
    smoother = WhittakerSmoother(lmbda=1.0, order=2, data_length=len(series))
    rows = series.T.astype(float).tolist()
    return lambda: [smoother.smooth_optimal(y) for y in rows]


def peer_banded(series: np.ndarray, weights: np.ndarray, lmbda: float) -> Callable[[], Any]:
    """SciPy's banded Cholesky in a loop."""
    size = len(series)
    rows = np.diff(np.eye(size), 2, axis=0)
    product = lmbda * rows.T @ rows
    band = np.zeros((3, size))
    for k in range(3):
        band[2 - k, k:] = np.diag(product, k)
    pairs = list(zip(series.T.astype(float), weights.T.astype(float), strict=True))

    def run() -> None:
        for y, w in pairs:
            system = band.copy()
            system[2] += w
            solveh_banded(system, w * y, check_finite=False)

    return run


def peer_interp(series: np.ndarray, days: np.ndarray) -> Callable[[], Any]:
    """numpy.interp in a loop."""

    def run() -> None:
        for y in series.T:
            seen = np.isfinite(y)
            np.interp(days, days[seen], y[seen])

    return run


def cases(dates: int) -> list[tuple[str, str, Callable[[], Any], Callable[[], Any] | None, int, int, int]]:
    """Name, peer, both runs, series of each, and bytes that must move for one series of ours."""
    rng = np.random.default_rng(0)
    series = rng.random((dates, PIXELS), dtype=np.float32)
    weights = rng.uniform(0.1, 1.0, series.shape).astype(np.float32)
    gaps = np.where(rng.random(series.shape) < 0.3, np.nan, series).astype(np.float32)
    few, few_weights = series[:, :PEER_PIXELS], weights[:, :PEER_PIXELS]
    days = np.arange(float(dates))
    part = np.ascontiguousarray(gaps[:, : PIXELS // 10])
    pixels_first = np.ascontiguousarray(series.T)  # SciPy's faster layout
    m, two, three = PEER_PIXELS, 8 * dates, 12 * dates

    def smooth(values: np.ndarray, given: np.ndarray | None = None, **options: Any) -> Callable[[], Any]:
        return lambda: whittaker(values, given, days, days, **options)

    eilers = peer_whittaker(few, few_weights, 10.0)
    banded = peer_banded(few, few_weights, 10.0)
    choice = peer_choice(few[:, :20])
    return [
        ("whittaker, weights", "whittaker-eilers", smooth(series, weights, lmbda=10.0), eilers, PIXELS, m, three),
        ("whittaker, weights", "SciPy solveh_banded", smooth(series, weights, lmbda=10.0), banded, PIXELS, m, three),
        ("whittaker, NaN", "whittaker-eilers", smooth(gaps, lmbda=10.0), eilers, PIXELS, m, two),
        ("whittaker, robust=3", "", smooth(part, robust=3), None, part.shape[1], 0, two),
        ("whittaker, envelope", "", smooth(part, envelope=0.9), None, part.shape[1], 0, two),
        (
            "whittaker, gcv of 29",
            "whittaker-eilers CV of 21",
            smooth(part, lmbda="gcv"),
            choice,
            part.shape[1],
            20,
            two,
        ),
        (
            "whittaker, vcurve of 29",
            "whittaker-eilers CV of 21",
            smooth(part, lmbda="vcurve"),
            choice,
            part.shape[1],
            20,
            two,
        ),
        (
            "savgol 11, 2",
            "SciPy savgol_filter",
            lambda: savgol(series, None, days, days),
            lambda: savgol_filter(pixels_first, 11, 2, axis=1),
            PIXELS,
            PIXELS,
            two,
        ),
        (
            "savgol, NaN, envelope=5",
            "",
            lambda: savgol(part, None, days, days, envelope=5),
            None,
            part.shape[1],
            0,
            two,
        ),
        (
            "linear, NaN",
            "numpy.interp in a loop",
            lambda: linear(gaps, None, days, days),
            peer_interp(gaps[:, :m], days),
            PIXELS,
            m,
            two,
        ),
    ]


def main() -> None:
    """Print the table."""
    limit = copy_bandwidth()
    print(f"1 thread; copy {limit / 1e9:.0f} GB/s; series per second, medians of {ROUNDS}")
    print(f"{'method':24}{'dates':>6}  {'ours':>9}  {'peer':>9}  {'ratio':>7}  {'of copy':>8}  peer")
    for dates in (100, 300):
        for name, peer, ours, theirs, n, m, size in cases(dates):
            own, other = rates(ours, theirs, n, m)
            beside = f"{other:9.2e}  {own / other:7.1f}" if theirs else f"{'-':>9}  {'-':>7}"
            print(f"{name:24}{dates:6d}  {own:9.2e}  {beside}  {own * size / limit:8.1%}  {peer}")


if __name__ == "__main__":
    main()
