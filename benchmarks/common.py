"""What all benchmarks share: turns, medians, the limits of the machine, and tables."""

from __future__ import annotations

import csv
import io
import math
import mmap
import os
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "DATA",
    "Limits",
    "Table",
    "Times",
    "alternate",
    "conditions",
    "cpu_ratio",
    "machine_limits",
    "ratio",
    "shown",
]

#: Real satellite data: the folder that ``XRS_DATA`` names, else one beside the checkout; see docs/benchmarks.md.
DATA = Path(os.environ.get("XRS_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")

#: Measured rounds of every comparison; a warm-up goes before them.
ROUNDS = 5


@dataclass(frozen=True)
class Times:
    """Seconds of each round of one run, in order: on the wall, and of the processors in all threads and children."""

    seconds: tuple[float, ...]
    cpu: tuple[float, ...]

    @property
    def median(self) -> float:
        """Seconds of the middle round."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Half of the range from the quickest to the slowest round, relative to the median."""
        return (max(self.seconds) - min(self.seconds)) / 2 / self.median


@dataclass(frozen=True)
class Limits:
    """What the memory of this machine allows, in bytes a second.

    Attributes
    ----------
    copy : float
        Read and written between pages that are mapped.
    fresh : float
        Written to pages that the kernel maps on first touch.
    """

    threads: int
    copy: float
    fresh: float


@dataclass
class Table:
    """Rows under one heading; ``notes`` say how they were measured."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[Any]] = field(default_factory=list)
    notes: str = ""

    def add(self, *cells: Any) -> None:
        """Append one row."""
        self.rows.append(cells)

    def as_text(self) -> str:
        """For a terminal: columns lined up."""
        lines = [list(map(str, self.columns)), *([shown(c) for c in row] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        body = ["  ".join(_pad(c, w, i) for i, (c, w) in enumerate(zip(line, widths, strict=True))) for line in lines]
        return "\n".join([self.title, *body, *([self.notes] if self.notes else [])]) + "\n"

    def as_md(self) -> str:
        """For documents."""
        align = ["---", *("---:" for _ in self.columns[1:])]
        lines = [list(map(str, self.columns)), align, *([shown(c) for c in row] for row in self.rows)]
        body = ["| " + " | ".join(line) + " |" for line in lines]
        return "\n".join([f"**{self.title}**", "", *body, *(["", self.notes] if self.notes else [])]) + "\n"

    def as_csv(self) -> str:
        """For programs: the title stands in the first column of every row."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["table", *self.columns])
        writer.writerows([self.title, *row] for row in self.rows)
        return text.getvalue()


def shown(value: Any) -> str:
    """A cell: three significant digits for floats, a dash for what was not measured."""
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    if math.isnan(value):
        return "-"
    digits = max(0, 2 - int(np.floor(np.log10(abs(value))))) if value else 0
    return f"{value:,.{digits}f}"


def _pad(cell: str, width: int, column: int) -> str:
    return cell.rjust(width) if column else cell.ljust(width)


def alternate(
    runs: Mapping[str, Callable[[], Any]],
    *,
    rounds: int = ROUNDS,
    warmups: int = 1,
) -> dict[str, Times]:
    """Time all runs turn by turn (A B A B), so that a noisy moment falls on all of them."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for turn in range(warmups + rounds):
        for name, run in runs.items():
            wall, cpu = time.perf_counter(), _processor_time()
            run()
            if turn >= warmups:
                spent[name].append((time.perf_counter() - wall, _processor_time() - cpu))
    return {name: Times(*zip(*pairs, strict=True)) for name, pairs in spent.items()}


def _processor_time() -> float:
    """Seconds of all threads of this process, and of the children it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def ratio(over: Times, under: Times) -> float:
    """Median of the wall-time ratios of rounds that were neighbours in time."""
    return statistics.median(a / b for a, b in zip(over.seconds, under.seconds, strict=True))


def cpu_ratio(over: Times, under: Times) -> float:
    """The same of processor time, which other programs on the machine disturb less."""
    return statistics.median(a / b for a, b in zip(over.cpu, under.cpu, strict=True))


def machine_limits(threads: int = 1, *, megabytes: int = 256, rounds: int = ROUNDS) -> Limits:
    """Copy and first-touch bandwidth with this many threads, medians."""
    size = megabytes * 2**20 // 4 // threads
    pairs = [(np.ones(size, np.float32), np.ones(size, np.float32)) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:

        def copy() -> None:
            list(pool.map(lambda pair: np.copyto(*pair), pairs))

        def fresh() -> None:
            list(pool.map(_touch, [4 * size] * threads))

        times = alternate({"copy": copy, "fresh": fresh}, rounds=rounds)
    moved = 4 * size * threads
    return Limits(threads, 2 * moved / times["copy"].median, moved / times["fresh"].median)


def _touch(size: int) -> None:
    # A mapping of its own: NumPy's allocator may hand out pages that are mapped already.
    with mmap.mmap(-1, size) as pages:
        array = np.frombuffer(pages, np.uint8)
        array.fill(1)
        del array


def conditions() -> Table:
    """The machine, its limits now, its load, and the settings that move the figures."""
    table = Table("Machine", ("what", "1 thread", "2 threads"))
    one, two = machine_limits(1), machine_limits(2)
    table.add("memory copy, read and write, GB/s", one.copy / 1e9, two.copy / 1e9)
    table.add("writing fresh pages, GB/s", one.fresh / 1e9, two.fresh / 1e9)
    names = ("OPENBLAS_CORETYPE", "OMP_NUM_THREADS", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
    settings = ", ".join(f"{n}={os.environ[n]}" for n in names if n in os.environ) or "none"
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    table.notes = f"{os.cpu_count()} processors, load {load}; settings: {settings}."
    return table
