"""A product that was stopped goes on: kills, full disks, other cubes, and what must never be touched.

Run as a script it writes one product, and logs each block that is computed: that is the process the tests kill.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr
from affine import Affine
from odc.geo.geobox import GeoBox

from xrs.cube import assign_geobox
from xrs.errors import IncompleteProductError, ProductExistsError, ProductMismatchError, StoreFullError
from xrs.io import _journal
from xrs.io._store import open_store
from xrs.io.product import open_product, product_status, to_product

GRID = GeoBox((192, 256), Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32631")
OPTIONS = {"shards": {"time": 1, "y": 64, "x": 64}, "overviews": 3, "progress": False}

#: What a block takes to compute in the runs that are killed.
SECONDS = 0.05


def compute_block(log, seconds, block_id=None):
    """A block of known values; the log grows by its index."""
    time.sleep(seconds)
    with Path(log).open("a") as lines:
        lines.write(".".join(map(str, block_id)) + "\n")
    values = np.random.default_rng(block_id).random((1, 64, 64), np.float32)
    values[:, :3, :5] = np.nan
    return values


def make_cube(log, seconds=0.0, dates=2):
    chunks = ((1,) * dates, (64,) * 3, (64,) * 4)
    data = da.map_blocks(compute_block, str(log), seconds, chunks=chunks, dtype="f4", meta=np.empty((0, 0, 0), "f4"))
    times = np.datetime64("2018-03-01", "ns") + 5 * np.arange(dates) * np.timedelta64(1, "D")
    cube = xr.DataArray(data, dims=("time", "y", "x"), coords={"time": times}, name="ndvi")
    return assign_geobox(cube, GRID)


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


def finished_blocks(place):
    """Indices of the base regions that the journal calls finished."""
    return {r.removeprefix("0/ndvi/") for r in _journal.finished(open_store(place)) if r.startswith("0/ndvi/")}


def start(place, log):
    """The script as a process, once it has begun to write."""
    process = subprocess.Popen([sys.executable, __file__, str(place), str(log)], stdout=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while process.poll() is None and product_status(place).state == "absent":
        assert time.monotonic() < end
        time.sleep(0.002)
    return process


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


def kill_when(place, log, regions, delay=0.0):
    """Write, and be killed some seconds after so many regions are finished."""
    process = start(place, log)
    while process.poll() is None and product_status(place).finished < regions:
        time.sleep(0.002)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(delay)
    kill(process)


def go_on(place, log, act):
    """Act, and check that no block of a finished region was computed."""
    finished = finished_blocks(place)
    log.write_text("")
    act()
    assert not finished & set(log.read_text().split())


def test_killed_runs_end_in_the_same_bytes(tmp_path):
    truth, log = tmp_path / "truth", tmp_path / "log"
    to_product(make_cube(log, SECONDS), truth / "p.zarr", **OPTIONS)
    assert len(log.read_text().split()) == 24
    place = tmp_path / "killed" / "p.zarr"
    for regions in (1, 12):
        go_on(place, log, lambda n=regions: kill_when(place, log, n))
        status = product_status(place)
        assert status.state == "incomplete"
        assert status.finished >= regions
        with pytest.raises(IncompleteProductError, match="half written"):
            open_product(place)
    go_on(place, log, lambda: to_product(make_cube(log, SECONDS), place, **OPTIONS))
    assert contents(tmp_path / "killed") == contents(truth)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_twenty_kills_at_random_moments(tmp_path):
    truth, log = tmp_path / "truth", tmp_path / "log"
    to_product(make_cube(log, SECONDS), truth / "p.zarr", **OPTIONS)
    regions = product_status(truth / "p.zarr").regions
    dice = random.Random(20)
    left = []
    for i in range(20):
        place = tmp_path / f"run{i}" / "p.zarr"
        moment = dice.randrange(regions), dice.uniform(0, 2 * SECONDS)
        go_on(place, log, lambda p=place, m=moment: kill_when(p, log, *m))
        left.append(product_status(place))
        if left[-1].state != "complete":
            go_on(place, log, lambda p=place: to_product(make_cube(log, SECONDS), p, **OPTIONS))
        assert contents(place.parent) == contents(truth), i
    print("regions finished when killed:", [status.finished for status in left], "of", regions)
    assert sum(status.state == "incomplete" for status in left) >= 10


@pytest.mark.parametrize(
    "stop", ["write_base", "write_overview", "_finish", "settle", "remove_journal", "create_arrays"]
)
def test_stopped_at_every_stage(tmp_path, monkeypatch, stop):
    """What a run leaves when it ends at a stage is completed by the next to the same bytes."""
    from xrs.io import _replace, _write, product

    log = tmp_path / "log"
    to_product(make_cube(log), tmp_path / "truth" / "p.zarr", **OPTIONS)
    owner = {
        "write_base": _write.Writer,
        "write_overview": _write.Writer,
        "settle": _replace,
        "remove_journal": _journal,
    }
    place = tmp_path / "stopped" / "p.zarr"
    calls = []

    def ends(*args, **kwargs):
        calls.append(1)
        if len(calls) > (5 if stop == "write_base" else 0):
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    original = getattr(owner.get(stop, product), stop)
    with monkeypatch.context() as patch, dask.config.set(scheduler="synchronous"):
        patch.setattr(owner.get(stop, product), stop, ends)
        with pytest.raises(KeyboardInterrupt):
            to_product(make_cube(log), place, **OPTIONS)
    complete = stop in ("settle", "remove_journal")
    assert product_status(place).state == ("complete" if complete else "incomplete")
    go_on(place, log, lambda: to_product(make_cube(log), place, **OPTIONS))
    assert contents(tmp_path / "stopped") == contents(tmp_path / "truth")


def test_half_objects_are_not_trusted(tmp_path):
    """Stores without atomic writes may leave half an object: of a region that is not recorded it is dropped."""
    log = tmp_path / "log"
    to_product(make_cube(log), tmp_path / "truth" / "p.zarr", **OPTIONS)
    place = stop_half_way(tmp_path, log)
    left = sorted(set(_regions()) - finished_blocks(place))
    shard = place / "0" / "ndvi" / "c" / left[0].replace(".", "/")
    shard.parent.mkdir(parents=True, exist_ok=True)
    shard.write_bytes(b"half")
    shard.with_suffix(".abc.partial").write_bytes(b"temporary")
    to_product(make_cube(log), place, **OPTIONS)
    assert contents(place.parent) == contents(tmp_path / "truth")


def _regions():
    return [f"{t}.{y}.{x}" for t in range(2) for y in range(3) for x in range(4)]


def stop_half_way(tmp_path, log, **options):
    """A product whose writing failed after ten blocks."""
    place = tmp_path / "half" / "p.zarr"
    cube = make_cube(log)
    log.write_text("")

    def failing(block):
        if len(log.read_text().split()) > 10:
            raise OSError(errno.EIO, "the source is gone")
        return block

    data = cube.data.map_blocks(failing, dtype="f4", meta=np.empty((0, 0, 0), "f4"))
    with pytest.raises(OSError, match="source is gone"), dask.config.set(scheduler="synchronous"):
        to_product(cube.copy(data=data), place, token="mine", **OPTIONS, **options)
    # From here on the same data come without the failure.
    store = open_store(place)
    journal = _journal.read_journal(store)
    good = make_cube(log)
    from xrs.io import product

    _journal.start_journal(store, _journal.Journal(_facts_of(product, good), journal.regions))
    return place


def _facts_of(product, cube):
    job = product._plan(cube, None, 3, None, OPTIONS["shards"], "lz4", None, True, None)
    return job.journal.facts


def test_another_cube_does_not_go_on(tmp_path):
    log = tmp_path / "log"
    place = stop_half_way(tmp_path, log)
    before = contents(place)
    with pytest.raises(ProductMismatchError, match="data differ"):
        to_product(make_cube(log) + 1, place, **OPTIONS)
    with pytest.raises(ProductMismatchError, match="storage differ"):
        to_product(make_cube(log), place, packing="int16", **OPTIONS)
    with pytest.raises(ProductMismatchError, match="attributes differ"):
        to_product(make_cube(log).assign_attrs(units="1"), place, **OPTIONS)
    with pytest.raises(ProductMismatchError, match="coordinates"):
        cube = make_cube(log)
        to_product(cube.assign_coords(time=cube["time"] + np.timedelta64(1, "D")), place, **OPTIONS)
    assert contents(place) == before
    to_product(make_cube(log) + 1, place, overwrite=True, **OPTIONS)
    np.testing.assert_array_equal(open_product(place)["ndvi"].values, (make_cube(log) + 1).values)


def test_a_token_stands_for_the_data(tmp_path):
    def unnamed(seed):
        data = da.from_array(np.random.default_rng(seed).random((192, 256), np.float32), chunks=64, name=False)
        return assign_geobox(xr.DataArray(data, dims=("y", "x"), name="ndvi"), GRID)

    class GoneError(Exception):
        pass

    def fails(block):
        raise GoneError

    cube = unnamed(0)
    broken = cube.copy(data=cube.data.map_blocks(fails, dtype="f4", meta=np.empty((0, 0), "f4")))
    with pytest.raises(GoneError):
        to_product(broken, tmp_path / "p.zarr", token="scene 0", progress=False)
    with pytest.raises(ProductMismatchError, match="token="):
        to_product(cube, tmp_path / "p.zarr", progress=False)
    to_product(cube, tmp_path / "p.zarr", token="scene 0", progress=False)
    np.testing.assert_array_equal(open_product(tmp_path / "p.zarr")["ndvi"].values, cube.values)


def test_other_things_are_never_touched(tmp_path):
    log = tmp_path / "log"
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("mine")
    xr.Dataset({"a": ("x", [1.0])}).to_zarr(tmp_path / "other.zarr", group="g", consolidated=False)
    zarr.create_group(tmp_path / "old.zarr", zarr_format=2)
    before = contents(tmp_path)
    for name in ("file", "folder", "other.zarr", "old.zarr"):
        for overwrite in (False, True):
            with pytest.raises(ProductExistsError, match="not touched"):
                to_product(make_cube(log), tmp_path / name, overwrite=overwrite, **OPTIONS)
        with pytest.raises(ProductExistsError):
            open_product(tmp_path / name)
        assert product_status(tmp_path / name).state == "other"
    assert contents(tmp_path) == before
    with pytest.raises(IncompleteProductError, match="no product"):
        open_product(tmp_path / "absent.zarr")


def test_an_alien_file_in_the_items_place(tmp_path):
    (tmp_path / "p.json").write_text("{}")
    with pytest.raises(ProductExistsError, match="item"):
        to_product(make_cube(tmp_path / "log"), tmp_path / "p.zarr", **OPTIONS)
    assert contents(tmp_path) == {"p.json": b"{}"}


def test_existing_products_are_replaced_only_when_asked(tmp_path):
    log, place = tmp_path / "log", tmp_path / "p" / "p.zarr"
    to_product(make_cube(log), place, **OPTIONS)
    before = contents(place.parent)
    with pytest.raises(ProductExistsError, match="overwrite=True"):
        to_product(make_cube(log) + 1, place, **OPTIONS)
    assert contents(place.parent) == before
    to_product(make_cube(log) + 1, place, overwrite=True, **OPTIONS)
    np.testing.assert_array_equal(open_product(place)["ndvi"].values, make_cube(log).values + 1)
    assert sorted(p.name for p in place.parent.iterdir()) == ["p.json", "p.zarr"]


def test_a_product_may_replace_itself(tmp_path):
    log, place = tmp_path / "log", tmp_path / "p" / "p.zarr"
    to_product(make_cube(log), place, **OPTIONS)
    to_product(open_product(place)["ndvi"] * 2, place, overwrite=True, **OPTIONS)
    np.testing.assert_array_equal(open_product(place)["ndvi"].values, make_cube(log).values * 2)


@pytest.mark.parametrize("stage", ["regions", "first rename", "second rename"])
def test_the_old_product_stays_until_the_new_is_complete(tmp_path, monkeypatch, stage):
    log, place = tmp_path / "log", tmp_path / "p" / "p.zarr"
    to_product(make_cube(log), place, **OPTIONS)
    old = make_cube(log).values
    renames = []

    def rename(self, target):
        renames.append(target)
        if stage == "first rename" or (stage == "second rename" and len(renames) == 2):
            raise KeyboardInterrupt
        shutil.move(self, target)
        return target

    with monkeypatch.context() as patch:
        if stage == "regions":
            patch.setattr(_journal, "mark", _interrupt)
        else:
            patch.setattr(Path, "rename", rename)
        with pytest.raises(KeyboardInterrupt), dask.config.set(scheduler="synchronous"):
            to_product(make_cube(log) + 1, place, overwrite=True, **OPTIONS)
    if stage != "second rename":
        np.testing.assert_array_equal(open_product(place)["ndvi"].values, old)
    to_product(make_cube(log) + 1, place, overwrite=True, **OPTIONS)
    np.testing.assert_array_equal(open_product(place)["ndvi"].values, old + 1)
    assert sorted(p.name for p in place.parent.iterdir()) == ["p.json", "p.zarr"]


def _interrupt(*args):
    raise KeyboardInterrupt


def test_a_full_disk_is_named_and_leaves_what_is_written(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=380k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    log = tmp_path / "log"
    try:
        with pytest.raises(StoreFullError, match="no space is left") as caught:
            to_product(make_cube(log), disk / "p.zarr", **OPTIONS)
        assert "free some space" in caught.value.remedy
        finished = finished_blocks(disk / "p.zarr")
        assert 0 < len(finished) < 24
        stored = zarr.open_array(disk / "p.zarr", path="0/ndvi", mode="r")
        for block in finished:
            t, y, x = map(int, block.split("."))
            expected = compute_block(os.devnull, 0, (t, y, x))[0]
            np.testing.assert_array_equal(stored[t, y * 64 : (y + 1) * 64, x * 64 : (x + 1) * 64], expected)
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        go_on(disk / "p.zarr", log, lambda: to_product(make_cube(log), disk / "p.zarr", **OPTIONS))
        to_product(make_cube(log), tmp_path / "truth" / "p.zarr", **OPTIONS)
        assert contents(disk) == contents(tmp_path / "truth")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_store_that_is_full(tmp_path, monkeypatch):
    store = zarr.storage.MemoryStore()
    put = type(store).set
    count = []

    async def full(self, key, value, *args):
        count.append(key)
        if len(count) > 40:
            raise OSError(errno.ENOSPC, "No space left on device")
        await put(self, key, value, *args)

    log = tmp_path / "log"
    with monkeypatch.context() as patch:
        patch.setattr(type(store), "set", full)
        with pytest.raises(StoreFullError):
            to_product(make_cube(log), store, **OPTIONS)
    assert product_status(store).state == "incomplete"
    to_product(make_cube(log), store, **OPTIONS)
    np.testing.assert_array_equal(open_product(store)["ndvi"].values, make_cube(log).values)


if __name__ == "__main__":
    # Imported, so that the kernel has the name it has in the tests, and the graph the same token.
    from test_io_product_resume import make_cube as make

    to_product(make(sys.argv[2], SECONDS), sys.argv[1], **OPTIONS)
