"""open_stac against a STAC API server on this machine."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pystac
import pytest
from stac_samples import CORNER, collection_of, write_item

from xrs.errors import ParameterError, StacItemError
from xrs.io.stac import open_stac

DATES = [f"2020-{month:02d}-05T10:00:00Z" for month in range(1, 13)]


def values(month: int) -> np.ndarray:
    return np.random.default_rng(month).integers(1, 9000, (6, 6)).astype("uint16")


def scenes(folder: Path) -> list[pystac.Item]:
    """A year of one tile in two collections, and one tile far to the east."""
    properties = {"s2:processing_baseline": "02.14"}
    items = [
        write_item(folder, f"L2A_{i:02d}", date, {"B04": (values(i), 10.0)}, properties=properties)
        for i, date in enumerate(DATES, 1)
    ]
    level1 = {"B04": (values(99), 10.0)}
    items.append(write_item(folder, "L1C", DATES[0], level1, collection="sentinel-2-l1c", properties=properties))
    east = (CORNER[0] + 50_000, CORNER[1])
    items.append(write_item(folder, "L2A_east", DATES[0], level1, corner=east, properties=properties))
    return [item.make_asset_hrefs_absolute() for item in items]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_up(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"the STAC server did not start: {log.read_text()}")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = shutil.which("rustac") or shutil.which("rustac", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("rustac, the STAC API server, is not installed")
    folder = tmp_path_factory.mktemp("api")
    items = scenes(folder)
    files = [folder / "items.json"]
    files[0].write_text(json.dumps(pystac.ItemCollection(items).to_dict()))
    for name in ("sentinel-2-l2a", "sentinel-2-l1c"):
        collection = collection_of([item for item in items if item.collection_id == name], name)
        document = collection.to_dict(include_self_link=False)
        files.append(folder / f"{name}.json")
        files[-1].write_text(json.dumps(document | {"links": []}))
    address = f"127.0.0.1:{free_port()}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", "--addr", address, *map(str, files)], stdout=log, stderr=log)
        try:
            wait_until_up(f"http://{address}", process, folder / "log")
            yield f"http://{address}"
        finally:
            process.terminate()
            process.wait(timeout=10)


HERE = (2.9, 50.5, 3.1, 50.6)


def test_collection_and_box(api: str) -> None:
    cube = open_stac(api, collections=["sentinel-2-l2a"], bbox=HERE)["r10m"]["B04"]
    assert cube.shape == (12, 6, 6)
    for i in range(12):
        np.testing.assert_allclose(cube[i], values(i + 1) / 10_000, rtol=1e-6)


@pytest.mark.parametrize(
    ("datetime", "months"),
    [("2020-03", [3]), ("2020-03-05/2020-05-05", [3, 4, 5]), ("2020-11-06/..", [12]), ("2020", range(1, 13))],
)
def test_datetime(api: str, datetime: str, months: list[int]) -> None:
    cube = open_stac(api, collections=["sentinel-2-l2a"], bbox=HERE, datetime=datetime)["r10m"]["B04"]
    assert cube.time.dt.month.values.tolist() == list(months)


def test_all_pages_are_fetched(api: str) -> None:
    pages = open_stac(api, collections=["sentinel-2-l2a"], bbox=HERE, search={"limit": 5})
    assert pages["r10m"].sizes["time"] == 12
    some = open_stac(api, collections=["sentinel-2-l2a"], bbox=HERE, search={"limit": 5, "max_items": 7})
    assert some["r10m"].sizes["time"] == 7


def test_the_server_filters(api: str) -> None:
    # One item of a page of one: only a server that knows date and box can give this one.
    cube = open_stac(api, collections=["sentinel-2-l2a"], bbox=HERE, datetime="2020-12", search={"max_items": 1})
    assert cube["r10m"].time.dt.month.values.tolist() == [12]


def test_other_collection(api: str) -> None:
    group = open_stac(api, collections=["sentinel-2-l1c"])["r10m"]
    assert json.loads(group.attrs["xrs:sources"]) == ["L1C"]
    assert group["B04"].attrs["standard_name"] == "toa_bidirectional_reflectance"
    np.testing.assert_allclose(group["B04"][0], values(99) / 10_000, rtol=1e-6)


def test_engines_agree_over_the_api(api: str) -> None:
    one, other = (
        open_stac(api, collections=["sentinel-2-l2a"], bbox=HERE, engine=engine)["r10m"].to_dataset()
        for engine in ("odc", "stackstac")
    )
    assert one.identical(other)


def test_nothing_found(api: str) -> None:
    with pytest.raises(StacItemError, match="none of 0 items"):
        open_stac(api, collections=["sentinel-2-l2a"], datetime="1999")


def test_no_server() -> None:
    with pytest.raises(ParameterError, match="cannot be read"):
        open_stac(f"http://127.0.0.1:{free_port()}/catalog.json")
