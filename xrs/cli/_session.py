"""Where a command computes, and what it tells meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from xrs.cli._app import WHEN_STOPPED

__all__ = ["computing", "say", "timed", "when_stopped"]


def say(text: str) -> None:
    """Tell the user, apart from results."""
    click.echo(text, err=True)


def when_stopped(text: str) -> None:
    """What to tell if the user interrupts from now on."""
    click.get_current_context().meta[WHEN_STOPPED] = text


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Tell how long something took."""
    start = time.perf_counter()
    yield
    say(f"{what} in {time.perf_counter() - start:.1f} s")


@contextmanager
def computing(workers: int | None, scheduler_address: str | None) -> Iterator[Any]:
    """The client of a local or a running cluster; None for threads."""
    if workers and scheduler_address:
        raise click.UsageError("--workers and --scheduler-address exclude each other")
    if not (workers or scheduler_address):
        yield None
        return
    from xrs.lazy.cluster import connect, local_cluster

    with local_cluster(workers) if workers else connect(str(scheduler_address)) as client:
        say(f"computing on {len(client.nthreads())} worker processes")
        yield client
