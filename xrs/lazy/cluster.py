"""Dask clusters whose workers keep the memory they have touched."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from distributed import Client, LocalCluster, Lock, WorkerPlugin

from xrs.errors import ParameterError
from xrs.kernels.memory import keep_memory

__all__ = ["KeepMemory", "connect", "local_cluster", "shared_lock"]

#: By default Dask's workers hand freed memory back to the system at once, which also freezes the size from which glibc
#: maps an array anew; most of a task's time can then go into touching fresh pages.
_ENVIRONMENT = {"MALLOC_TRIM_THRESHOLD_": str(2**33), "MALLOC_MMAP_THRESHOLD_": str(2**32)}


class KeepMemory(WorkerPlugin):  # type: ignore[misc, unused-ignore]
    """Let a worker's allocator keep freed memory; see :func:`xrs.kernels.memory.keep_memory`.

    For workers that were started without the environment of :func:`local_cluster`.
    """

    name = "xrs-keep-memory"
    idempotent = True

    def setup(self, worker: Any) -> None:
        """Set the thresholds of the process the worker runs in."""
        keep_memory()


class _IgnoreInterrupts(WorkerPlugin):  # type: ignore[misc, unused-ignore]
    """Leave it to the client to react to a terminal's interrupt, which reaches its workers too."""

    name = "xrs-ignore-interrupts"

    def setup(self, worker: Any) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def local_cluster(workers: int, **options: Any) -> Iterator[Client]:
    """Processes with one thread each on this machine, as the active client.

    Parameters
    ----------
    workers : int
        Number of processes, at least 1.
    **options
        Further arguments of ``distributed.LocalCluster``, such as ``memory_limit`` (of a worker) or
        ``dashboard_address``; there is no dashboard by default.

    Yields
    ------
    distributed.Client
        Closed, with its workers, at the end.

    Raises
    ------
    ParameterError
        If ``workers`` is no whole number from 1 on.

    Notes
    -----
    Workers start with ``MALLOC_TRIM_THRESHOLD_`` and ``MALLOC_MMAP_THRESHOLD_`` raised.
    A script that calls this needs the guard ``if __name__ == "__main__":``, since workers import it.

    Examples
    --------
    >>> with local_cluster(2) as client:  # doctest: +SKIP
    ...     cube.rsfuse.to_product("product.zarr")
    """
    if not isinstance(workers, int) or isinstance(workers, bool) or workers < 1:
        raise ParameterError(f"workers={workers!r}", "a whole number from 1 on")
    settings = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None} | options
    with _environment(_ENVIRONMENT), LocalCluster(**settings) as cluster, Client(cluster) as client:
        client.register_plugin(_IgnoreInterrupts())
        yield client


@contextmanager
def connect(address: str, *, timeout: str = "10s") -> Iterator[Client]:
    """A running Dask cluster as the active client.

    Its present and future workers get :class:`KeepMemory`; they need the same versions of xrs and Dask, and sight of
    the data and of the product's place.

    Parameters
    ----------
    address : str
        Of the scheduler, such as ``"tcp://10.0.0.5:8786"``.
    timeout : str
        How long to wait for an answer.

    Yields
    ------
    distributed.Client
        Closed at the end; the cluster stays.

    Raises
    ------
    ParameterError
        If no scheduler answers.

    Examples
    --------
    >>> with connect("tcp://10.0.0.5:8786") as client:  # doctest: +SKIP
    ...     cube.rsfuse.to_product("s3://bucket/product.zarr")
    """
    try:
        client = Client(address, timeout=timeout)
    except (OSError, ValueError) as error:
        raise ParameterError(
            f"no Dask scheduler answers at {address!r} within {timeout} ({error})",
            "the address of a running scheduler",
            "start one with `dask scheduler` and pass the address it prints",
        ) from error
    with client:
        client.register_plugin(KeepMemory())
        yield client


def shared_lock(name: str) -> Lock:
    """A lock that tasks on all workers of the active client share, to write one file in turn."""
    return Lock(name)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables of this process, which its workers inherit; Dask's own settings yield to them."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
