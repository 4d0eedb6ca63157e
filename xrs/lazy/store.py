"""Write a cube region by region: one task a region, in one Dask computation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import Task, TaskRef
from dask.base import get_scheduler, tokenize
from dask.highlevelgraph import HighLevelGraph

from xrs.lazy.progress import follow, task_bar

__all__ = ["Blocks", "Step", "array_token", "run_steps"]


@dataclass(frozen=True)
class Blocks:
    """An array cut into blocks of one shape; only those at the far edges are smaller.

    Attributes
    ----------
    array : numpy.ndarray or dask.array.Array
    shape : tuple of int
        Shape of a block.
    """

    array: Any
    shape: tuple[int, ...]

    @classmethod
    def of(cls, array: Any, shape: tuple[int, ...]) -> Blocks:
        """Cut an array; a lazy one is rechunked where its chunks are others."""
        return cls(array.rechunk(shape) if isinstance(array, da.Array) else np.asarray(array), shape)

    @property
    def is_lazy(self) -> bool:
        """Whether the array is a Dask graph."""
        return isinstance(self.array, da.Array)

    def at(self, index: tuple[int, ...]) -> Any:
        """The block at an index: its values, or a reference to the task that gives them."""
        if self.is_lazy:
            return TaskRef((self.array.name, *index))
        return self.array[tuple(slice(i * s, (i + 1) * s) for i, s in zip(index, self.shape, strict=True))]


@dataclass(frozen=True)
class Step:
    """One task: ``run(block)``, or ``run(None)`` for a step without a block.

    Attributes
    ----------
    key : str
        Unique among the steps.
    run : callable
        Picklable; its result is dropped.
    blocks : Blocks, optional
        Where the block comes from.
    index : tuple of int
        Which block.
    after : tuple of str
        Keys of steps that must be done before; those not among the steps are done already.
    """

    key: str
    run: Callable[[Any], None]
    blocks: Blocks | None = None
    index: tuple[int, ...] = ()
    after: tuple[str, ...] = ()


def array_token(array: Any) -> str:
    """A digest of an array: of the values in memory, or of the graph if lazy."""
    return str(tokenize(array))


def run_steps(steps: Sequence[Step], *, progress: bool = False, client: Any = None) -> None:
    """Run steps in one computation; what no step needs is not computed.

    Lazy blocks run on the given or active ``distributed.Client``, else on the scheduler that Dask is
    configured for (threads if none). Without lazy blocks the steps run here, on threads: the values need not travel.

    Parameters
    ----------
    steps : sequence of Step
    progress : bool
        Show a progress bar on standard error.
    client : distributed.Client, optional
    """
    if not steps:
        return
    keys = [step.key for step in steps]
    arrays = _sources(steps)
    graph = HighLevelGraph.from_collections("write-regions", _tasks(steps), dependencies=arrays)
    optimised = da.Array.__dask_optimize__(graph, keys)
    schedule = get_scheduler(scheduler=client if arrays else "threads", cls=da.Array)
    owner = getattr(schedule, "__self__", None)
    if owner is not None:
        _run_on_client(owner, optimised, keys, progress)
        return
    shown: AbstractContextManager[object] = task_bar() if progress else nullcontext()
    with shown:
        schedule(optimised, keys)


def _run_on_client(client: Any, graph: Any, keys: list[str], progress: bool) -> None:
    futures = client.get(graph, keys, sync=False)
    if progress:
        follow(futures)
    client.gather(futures)


def _sources(steps: Sequence[Step]) -> list[da.Array]:
    by_name = {s.blocks.array.name: s.blocks.array for s in steps if s.blocks is not None and s.blocks.is_lazy}
    return list(by_name.values())


def _tasks(steps: Sequence[Step]) -> dict[str, Task]:
    pending = {step.key for step in steps}
    return {
        step.key: Task(
            step.key,
            _call,
            step.run,
            None if step.blocks is None else step.blocks.at(step.index),
            *(TaskRef(key) for key in step.after if key in pending),
        )
        for step in steps
    }


def _call(run: Callable[[Any], None], block: Any, *_done: None) -> None:
    run(block)
