"""``xrs run``: from a catalogue to a product, its options, errors, interruption and resumption."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from cli_support import write_catalogue, xrs_command

import xrs
from xrs.errors import XrsError
from xrs.io.product import product_status


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_catalogue(tmp_path_factory.mktemp("catalogue"))


def digests(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()
    }


def test_the_chain_is_that_of_the_functions(catalog: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.zarr"
    result = xrs_command(
        "run", catalog, out, "--method", "mtf_glp_fs", "--index", "NDVI", "NDMI", "--smooth", "linear", "--every", "5D"
    )
    assert result.exit_code == 0, result.output
    fine = xrs.open_stac(str(catalog), mask="auto").rsfuse.sharpen("mtf_glp_fs")
    expected = fine.rsfuse.index(["NDVI", "NDMI"]).rsfuse.smooth("linear", times="5D")
    written = xrs.open_product(out)
    assert set(written) == {"NDVI", "NDMI"}
    for name in written:
        np.testing.assert_allclose(written[name], expected[name], atol=1e-6)
    assert (out.parent / "out.json").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("--index", "NDVI", "NDMI"),
        ("--index", "NDVI,NDMI"),
        ("--index", "NDVI", "--index", "NDMI"),
        ("--index=NDVI", "NDMI"),
    ],
)
def test_several_values_in_each_way(catalog: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    out = tmp_path / "out.zarr"
    assert xrs_command("run", catalog, out, *words, "--method", "exp", "--datetime", "2024-04-01").exit_code == 0
    assert set(xrs.open_product(out)) == {"NDVI", "NDMI"}


def test_values_stop_at_two_dashes(catalog: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.zarr"
    assert xrs_command("run", "--index", "NDVI", "--", catalog, out).exit_code == 0
    assert list(xrs.open_product(out)) == ["NDVI"]


def test_bands_alone_and_beside_indices(catalog: Path, tmp_path: Path) -> None:
    assert xrs_command("run", catalog, tmp_path / "bands.zarr", "--method", "exp").exit_code == 0
    assert set(xrs.open_product(tmp_path / "bands.zarr")) == {"B04", "B08", "B11"}
    kept = ("--index", "NDVI", "--keep-bands", "--packing", "int16")
    assert xrs_command("run", catalog, tmp_path / "both.zarr", "--method", "exp", *kept).exit_code == 0
    both = xrs.open_product(tmp_path / "both.zarr")
    assert set(both) == {"B04", "B08", "B11", "NDVI"}
    assert zarr.open_array(str(tmp_path / "both.zarr"), path="0/NDVI", mode="r").dtype == "int16"


def test_one_grid_needs_no_sharpening(catalog: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.zarr"
    result = xrs_command("run", catalog, out, "--bands", "B04", "B08", "--mask", "none")
    assert result.exit_code == 0
    assert "nothing to sharpen" in result.stderr
    tree = xrs.open_stac(str(catalog), bands=["B04", "B08"])
    xr.testing.assert_allclose(
        xrs.open_product(out)["B08"].drop_vars("spatial_ref"), tree["r10m"]["B08"].drop_vars("spatial_ref")
    )


def test_the_mask_is_used_unless_refused(catalog: Path, tmp_path: Path) -> None:
    for mask, missing in (("auto", True), ("none", False)):
        out = tmp_path / f"{mask}.zarr"
        assert xrs_command("run", catalog, out, "--index", "NDVI", "--mask", mask).exit_code == 0
        assert bool(xrs.open_product(out)["NDVI"].isnull().any()) is missing


@pytest.mark.parametrize(
    "words",
    [
        ("run",),
        ("run", "{catalog}", "{out}", "--every", "5D"),
        ("run", "{catalog}", "{out}", "--keep-bands"),
        ("run", "{catalog}", "{out}", "--bbox", "1,2,3"),
        ("run", "{catalog}", "{out}", "--mask", "maybe"),
        ("run", "{catalog}", "{out}", "--workers", "0"),
        ("run", "{catalog}", "{out}", "--workers", "2", "--scheduler-address", "tcp://localhost:1"),
        ("run", "{catalog}", "{out}", "--set", "window"),
        ("rum",),
    ],
)
def test_wrong_usage_is_exit_code_2(catalog: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    out = tmp_path / "out.zarr"
    assert xrs_command(*(w.format(catalog=catalog, out=out) for w in words)).exit_code == 2
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--index", "NDVY"), "NDVI"),
        (("--method", "gssa"), "gsa"),
        (("--smooth", "wittaker"), "whittaker"),
        (("--datetime", "1999"), "widen the filters"),
        (("--method", "atprk", "--set", "window=3"), "window"),
        (("--bbox", "10,10,11,11"), "bbox"),
    ],
)
def test_what_fails_tells_the_remedy_and_leaves_nothing(
    catalog: Path, tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    out = tmp_path / "out.zarr"
    result = xrs_command("run", catalog, out, *words)
    assert result.exit_code == 1
    assert result.stderr.startswith("error")
    assert "expected" in result.stderr
    assert told in result.stderr
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback(catalog: Path, tmp_path: Path) -> None:
    with pytest.raises(XrsError):
        xrs_command("run", catalog, tmp_path / "out.zarr", "--index", "NDVY", "--debug")


def test_a_finished_product_is_kept_unless_told(catalog: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.zarr"
    assert xrs_command("run", catalog, out, "--index", "NDVI").exit_code == 0
    before = digests(out)
    again = xrs_command("run", catalog, out, "--index", "NDVI")
    assert again.exit_code == 1
    assert "complete product" in again.stderr
    assert digests(out) == before
    assert xrs_command("run", catalog, out, "--index", "NDMI", "--overwrite").exit_code == 0
    assert list(xrs.open_product(out)) == ["NDMI"]


def test_a_broken_asset_leaves_a_half_product_that_goes_on(tmp_path: Path) -> None:
    catalog, out = write_catalogue(tmp_path), tmp_path / "out.zarr"
    asset = tmp_path / "scene-1" / "B08.tif"
    whole = asset.read_bytes()
    asset.write_bytes(whole[:100])
    failed = xrs_command("run", catalog, out, "--index", "NDVI", "--smooth", "linear")
    assert failed.exit_code == 1
    assert "B08.tif" in failed.stderr
    assert product_status(out).state == "incomplete"
    told = xrs_command("info", out)
    assert "half-written" in told.stdout
    asset.write_bytes(whole)
    again = xrs_command("run", catalog, out, "--index", "NDVI", "--smooth", "linear")
    assert again.exit_code == 0
    assert "going on after" in again.stderr
    assert product_status(out).state == "complete"


def test_an_interruption_says_how_to_go_on(catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("xrs.io.product.to_product", interrupt)
    result = xrs_command("run", catalog, tmp_path / "out.zarr", "--index", "NDVI")
    assert result.exit_code == 130
    assert "run the same command again" in result.stderr


@pytest.mark.slow
def test_the_main_job_on_real_scenes(shared_data: Path, tmp_path: Path) -> None:
    """The command of the manual, on two months."""
    catalog, out = shared_data / "flanders" / "catalog.json", tmp_path / "out.zarr"
    words = (
        "--index",
        "NDVI",
        "NDRE1",
        "--smooth",
        "whittaker",
        "--datetime",
        "2018-05/2018-06",
        "--method",
        "mtf_glp_fs",
    )
    result = xrs_command("run", catalog, out, *words)
    assert result.exit_code == 0, result.output
    product = xrs.open_product(out)
    assert product["NDVI"].shape == product["NDRE1"].shape == (20, 64, 64)
    assert not bool(product.isnull().any().to_array().any())
    growing = product["NDVI"].median(("y", "x"))
    assert 0.5 < float(growing.max()) < 0.95


@pytest.mark.slow
def test_an_interrupted_run_goes_on_to_the_same_bytes(shared_data: Path, tmp_path: Path) -> None:
    catalog = shared_data / "flanders" / "catalog.json"
    words = ["--index", "NDVI", "NDRE1", "--smooth", "whittaker", "--datetime", "2018-03/2018-08"]

    def start(out: Path) -> subprocess.Popen[str]:
        call = [sys.executable, "-c", "from xrs.cli import main; main()", "run", str(catalog), str(out), *words]
        return subprocess.Popen(call, stderr=subprocess.PIPE, text=True)

    out, whole = tmp_path / "one" / "out.zarr", tmp_path / "two" / "out.zarr"
    stopped = start(out)
    while stopped.poll() is None and product_status(out).state == "absent":
        time.sleep(0.1)
    time.sleep(1.0)
    stopped.send_signal(signal.SIGINT)
    _, told = stopped.communicate(timeout=60)
    assert stopped.returncode == 130, told
    assert "run the same command again" in told
    assert product_status(out).state == "incomplete"
    for place in (out, whole):
        again = start(place)
        _, told = again.communicate(timeout=200)
        assert again.returncode == 0, told
    assert digests(out) == digests(whole)


@pytest.mark.slow
def test_workers_make_the_same_product(catalog: Path, tmp_path: Path) -> None:
    words = ("--index", "NDVI", "NDMI", "--smooth", "whittaker", "--method", "atprk")
    threads = xrs_command("run", catalog, tmp_path / "threads.zarr", *words)
    workers = xrs_command("run", catalog, tmp_path / "workers.zarr", *words, "--workers", "2")
    assert (threads.exit_code, workers.exit_code) == (0, 0)
    assert "2 worker processes" in workers.stderr
    assert digests(tmp_path / "threads.zarr") == digests(tmp_path / "workers.zarr")
