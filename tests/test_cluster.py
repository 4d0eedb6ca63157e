"""Clusters: the memory environment of workers, and schedulers that do not answer."""

from __future__ import annotations

import os

import pytest

from xrs.errors import ParameterError
from xrs.lazy.cluster import KeepMemory, connect, local_cluster


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(("MALLOC_", "OMP_"))}


@pytest.mark.slow
def test_workers_keep_memory_and_this_process_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    with local_cluster(1) as client:
        (told,) = client.run(environment).values()
        assert list(client.nthreads().values()) == [1]
        address = client.scheduler.address
        with connect(address) as again:
            assert again.submit(sum, [1, 2]).result() == 3
            (plugins,) = client.run(lambda dask_worker: list(dask_worker.plugins)).values()
    assert int(told["MALLOC_TRIM_THRESHOLD_"]) == 2**33
    assert int(told["MALLOC_MMAP_THRESHOLD_"]) == 2**32
    assert told["OMP_NUM_THREADS"] == "1"
    assert KeepMemory.name in plugins
    assert os.environ["MALLOC_TRIM_THRESHOLD_"] == "65536"
    assert "MALLOC_MMAP_THRESHOLD_" not in os.environ


@pytest.mark.parametrize("workers", [0, -1, 1.5, True])
def test_wrong_numbers_of_workers(workers: int) -> None:
    with pytest.raises(ParameterError, match="workers"), local_cluster(workers):
        pass


def test_a_scheduler_that_does_not_answer_is_told() -> None:
    with pytest.raises(ParameterError, match="no Dask scheduler"), connect("tcp://127.0.0.1:9", timeout="300ms"):
        pass


def test_the_plugin_is_harmless_here() -> None:
    KeepMemory().setup(None)
