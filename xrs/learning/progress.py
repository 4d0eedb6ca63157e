"""A progress bar of training on standard error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from xrs.learning.loop import Epoch

__all__ = ["Reporter"]


class Reporter:
    """Shows epochs, losses and learning rate; silent if not ``shown``."""

    def __init__(self, shown: bool, epochs: int | None) -> None:
        columns = (
            TextColumn("epochs"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
        )
        self._bar = Progress(*columns, console=Console(stderr=True), disable=not shown)
        self._task = self._bar.add_task("", total=epochs)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def show(self, history: Sequence[Epoch]) -> None:
        """Tell the last epoch."""
        last = history[-1]
        best = min(epoch.held_out for epoch in history)
        text = f"loss {last.train:.5f}, held out {last.held_out:.5f} (best {best:.5f}), lr {last.lr:.1e}"
        self._bar.update(self._task, completed=len(history), description=text)
