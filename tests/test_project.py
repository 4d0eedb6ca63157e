"""The project's own promises: layers, import time, agreement of its files."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "xrs"

#: From bottom to top; a room may import those before it.
LAYERS = [
    "errors",
    "reference",
    "kernels",
    "cube",
    "sensors",
    "spectra",
    "nets",
    "models",
    "learning",
    "methods",
    "lazy",
    "quality",
    "indices",
    "scenes",
    "io",
    "operators",
    "training",
    "train",
    "accessor",
    "plots",
    "demo",
    "cli",
]

#: Only these rooms know the library.
ONLY_IN = {
    "dask": {"lazy", "cli"},
    "distributed": {"lazy", "cli"},
    "torch": {"learning", "models", "nets", "sensors", "training"},
    "matplotlib": {"plots", "demo"},
    "xarray": {room for room in LAYERS if room not in {"errors", "kernels", "methods"}},
}

CONDA_NAMES = {"pytorch": "torch"}


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module} if node.module != "xrs" else {f"xrs.{alias.name}" for alias in node.names}
    return found


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


MODULES = sorted(
    p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE or p.name not in {"__init__.py", "__main__.py"}
)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_rooms_import_only_what_is_below_them(path: Path) -> None:
    level = LAYERS.index(_room(path))
    above = [
        name
        for name in _imports(path)
        if name.startswith("xrs.") and name.split(".")[1] in LAYERS and LAYERS.index(name.split(".")[1]) > level
    ]
    assert not above, f"{path} imports what is above it"


@pytest.mark.parametrize("library", ONLY_IN)
def test_libraries_stay_in_their_rooms(library: str) -> None:
    users = {_room(p) for p in MODULES if any(name.split(".")[0] == library for name in _imports(p))}
    assert users <= ONLY_IN[library]


def test_import_is_quick_and_loads_nothing_heavy() -> None:
    code = (
        "import sys, time; import xarray; t = time.perf_counter(); import xrs; "
        "print(time.perf_counter() - t); print(' '.join(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    heavy = {"torch", "odc.stac", "rasterio", "rioxarray", "matplotlib", "numba", "spyndex", "pyrsr", "zarr", "scipy"}
    assert not heavy & set(out[1].split())
    assert float(out[0]) < 0.5


def _bounds(requirements: list[str]) -> dict[str, str]:
    return dict(re.match(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)", r).groups() for r in requirements)  # type: ignore[union-attr]


def test_environment_agrees_with_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in conda if isinstance(entry, dict))
    names = [e for e in conda if isinstance(e, str) and e != "pip"] + [e for e in pip if not e.startswith("-e")]
    listed = {CONDA_NAMES.get(k, k): v for k, v in _bounds(names).items()}
    assert listed.pop("python") == project["requires-python"].removeprefix(">=")
    assert listed == _bounds(project["dependencies"])


def test_constraints_satisfy_pyproject() -> None:
    from packaging.requirements import Requirement

    pins = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line and line[0] != "#"
    )
    pins = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [
        r for extra in ("dev", "docs", "plot") for r in project["optional-dependencies"][extra]
    ]
    for requirement in map(Requirement, wanted):
        name = requirement.name.lower().replace("_", "-")
        assert name in pins, f"{name} has no pin"
        assert requirement.specifier.contains(pins[name]), f"{name}=={pins[name]} is outside {requirement.specifier}"


def test_every_public_name_is_documented() -> None:
    import xrs

    for name in xrs.__all__:
        assert (getattr(xrs, name).__doc__ or "").strip(), f"xrs.{name} has no docstring"
