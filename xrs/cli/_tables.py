"""Tables on standard output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["show_facts", "show_frame", "show_rows"]

#: A table in a file or a pipe is not cut to a terminal's width.
_WIDE = 200


def show_rows(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "") -> None:
    """A table of anything; numbers stand to the right."""
    cells = [list(row) for row in rows]
    console = _console()
    if title:
        console.print(title, style="italic", soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD)
    for position, column in enumerate(columns):
        numbers = bool(cells) and all(isinstance(row[position], float | int) for row in cells)
        table.add_column(column, justify="right" if numbers else "left", overflow="fold", no_wrap=numbers)
    for row in cells:
        table.add_row(*map(_text, row))
    console.print(table)


def show_frame(frame: pd.DataFrame, *, title: str = "") -> None:
    """A table with its index as the first column."""
    rows = ([name, *values] for name, values in zip(frame.index, frame.itertuples(index=False), strict=True))
    show_rows([str(frame.index.name or ""), *map(str, frame.columns)], rows, title=title)


def show_facts(facts: Mapping[str, Any], *, title: str = "") -> None:
    """Names and values below each other; empty values are left out."""
    console = _console()
    if title:
        console.print(title, style="italic", soft_wrap=True)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if value not in ("", None, [], ()):
            table.add_row(name, _text(value))
    console.print(table)


def _console() -> Console:
    console = Console(highlight=False, markup=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, width=_WIDE)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 100 else f"{value:.1f}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return "" if value is None else str(value)
