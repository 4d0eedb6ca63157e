"""Arrays that are generated from where their blocks lie."""

from __future__ import annotations

import pickle

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from xrs.lazy.generate import generate


def ramp(slices, step):
    rows, columns = (np.arange(s.start, s.stop) for s in slices)
    return step * rows[:, None] + columns


def forbidden(slices):
    raise AssertionError("was computed")


@settings(deadline=None, max_examples=25)
@given(shape=st.tuples(st.integers(1, 9), st.integers(1, 9)), chunks=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_blocks_make_the_whole(shape, chunks):
    array = generate(ramp, shape, chunks, "int64", params={"step": 100})
    expected = np.add.outer(100 * np.arange(shape[0]), np.arange(shape[1]))
    np.testing.assert_array_equal(array.compute(scheduler="sync"), expected)


def test_a_graph_of_any_size_is_one_layer_and_computes_nothing():
    array = generate(forbidden, (10**6, 10**6), 1000, "float32", params={})
    assert len(array.dask.layers) == 1
    assert array.numblocks == (1000, 1000)


def test_one_task_for_each_chunk():
    array = generate(ramp, (6, 4), (2, 2), "int64", params={"step": 1})
    assert len(dict(array.__dask_graph__())) == 6


def test_names_tell_calls_apart_and_equal_calls_share_tasks():
    def name(step, chunks=2):
        return generate(ramp, (4, 4), chunks, "int64", params={"step": step}).name

    assert name(1) == name(1)
    assert len({name(1), name(2), name(1, 4)}) == 3


def test_it_pickles():
    array = generate(ramp, (4, 4), 2, "int64", params={"step": 3})
    copy = pickle.loads(pickle.dumps(array))
    np.testing.assert_array_equal(copy.compute(scheduler="sync"), array.compute(scheduler="sync"))
