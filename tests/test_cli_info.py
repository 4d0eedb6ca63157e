"""``xrs methods``, ``xrs info`` and the help."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_support import write_catalogue, xrs_command
from stac_samples import write_tiff

from xrs.methods import methods_of


@pytest.mark.parametrize("family", ["pansharpen", "sharpen", "temporal"])
def test_methods_lists_the_registry(family: str) -> None:
    shown = xrs_command("methods", family)
    assert shown.exit_code == 0
    for name, method in methods_of(family).items():
        assert name in shown.stdout
        assert method.reference.doi in shown.stdout
    assert xrs_command("methods", "cooking").exit_code == 2


def test_methods_without_a_family_lists_all() -> None:
    shown = xrs_command("methods").stdout
    assert all(f"{family} (" in shown for family in ("pansharpen", "sharpen", "temporal"))


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("gsa", ["gsa (pansharpen)", "gsa (sharpen)", "10.1109"]),
        ("whittaker", ["Eilers", "lmbda", "300.0"]),
        ("sentinel-2a", ["B8A", "864.7", "0.32"]),
        ("WV2", ["worldview-2"]),
        ("NDVI", ["(N-R)/(N+R)"]),
        ("sensors", ["landsat-8", "enmap"]),
    ],
)
def test_info_knows_names(what: str, told: list[str]) -> None:
    shown = xrs_command("info", what)
    assert shown.exit_code == 0
    for text in told:
        assert text in shown.stdout


def test_info_knows_catalogues_and_files(tmp_path: Path) -> None:
    catalog = write_catalogue(tmp_path)
    shown = xrs_command("info", catalog).stdout
    assert "3, 2024-04-01 to 2024-04-11" in shown
    assert "B11 (float32)" in shown
    write_tiff(tmp_path / "image.tif", np.ones((3, 4, 5), "float32"), 2.0)
    assert "band 3, y 4, x 5" in xrs_command("info", tmp_path / "image.tif").stdout


def test_info_tells_what_is_no_product(tmp_path: Path) -> None:
    (tmp_path / "thing.zarr").mkdir()
    (tmp_path / "thing.zarr" / "notes.txt").write_text("mine")
    assert xrs_command("info", tmp_path / "thing.zarr").exit_code == 1
    unknown = xrs_command("info", "nothing-of-that-name")
    assert unknown.exit_code == 1
    assert "no method" in unknown.stderr


def test_help_names_every_command() -> None:
    shown = xrs_command("--help").stdout
    for name in ("run", "sharpen", "pansharpen", "compare", "methods", "info", "demo"):
        assert name in shown
        assert xrs_command(name, "--help").exit_code == 0
    assert "0.1" in xrs_command("--version").stdout


def test_help_is_quick_to_load() -> None:
    code = "import sys; import xrs.cli; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "distributed", "rasterio", "numba", "matplotlib", "zarr", "spyndex"} & set(loaded)
