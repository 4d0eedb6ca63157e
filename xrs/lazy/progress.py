"""A progress bar on standard error that counts tasks, on threads and on clusters alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import dask
from dask.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["compute", "follow", "task_bar"]


@contextmanager
def task_bar() -> Iterator[None]:
    """Show the tasks that are computed on threads inside the block."""
    with _display() as bar, _Counter(bar):
        yield


def follow(futures: Sequence[Any]) -> None:
    """Show the tasks that futures of a ``distributed.Client`` need, until they are done or one fails."""
    from distributed.diagnostics.progressbar import TextProgressBar

    class Follower(TextProgressBar):  # type: ignore[misc, unused-ignore]
        def _draw_bar(self, remaining: int, all: int, **_: Any) -> None:
            bar.update(task, total=all, completed=all - remaining)

        def _draw_stop(self, **_: Any) -> None:
            bar.refresh()

    with _display() as bar:
        task = bar.add_task("tasks", total=None)
        Follower(futures)


def compute(delayed: Any, *, progress: bool = True, client: Any = None) -> None:
    """Compute a delayed object for what it does, on a client or on threads.

    Parameters
    ----------
    delayed : dask.delayed.Delayed
    progress : bool
        Show a progress bar.
    client : distributed.Client, optional
    """
    if client is not None:
        future = client.compute(delayed)
        if progress:
            follow([future])
        future.result()
    elif progress:
        with task_bar():
            dask.compute(delayed, scheduler="threads")
    else:
        dask.compute(delayed, scheduler="threads")


def _display() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True))


class _Counter(Callback):  # type: ignore[misc, unused-ignore]
    """Counts the finished tasks of each computation."""

    def __init__(self, bar: Progress) -> None:
        super().__init__()
        self._bar = bar
        self._task = bar.add_task("tasks", total=None)

    def _start_state(self, dsk: Any, state: Any) -> None:
        total = sum(len(state[kind]) for kind in ("ready", "waiting", "running", "finished"))
        self._bar.update(self._task, total=total, completed=len(state["finished"]))

    def _posttask(self, key: Any, result: Any, dsk: Any, state: Any, worker_id: Any) -> None:
        self._bar.advance(self._task)
