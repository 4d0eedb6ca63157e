"""The documentation is true: its examples run, it builds, and nothing is missing from it."""

from __future__ import annotations

import doctest
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from test_project import LAYERS

import xrs
from xrs.methods import FAMILIES, methods_of
from xrs.quality import METRICS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
GENERATED = ("_build", "api", "notebooks")
PAGES = sorted(
    p
    for p in [*DOCS.rglob("*.md"), ROOT / "README.md"]
    if p.is_file() and p.relative_to(ROOT).parts[1:2] not in [(g,) for g in GENERATED]
)
#: xrs.train is the function, and a module only as a command.
MODULES = sorted(m.name for m in pkgutil.walk_packages(xrs.__path__, "xrs.") if m.name != "xrs.train")

#: A fence of Python code, and the comment on the line before it, if there is one.
BLOCK = re.compile(r"(?:<!-- (?P<note>[^\n]*) -->\n)?```python\n(?P<code>.*?)```", re.DOTALL)


def _blocks(page: Path) -> list[tuple[str, str]]:
    return [(m["note"] or "", m["code"]) for m in BLOCK.finditer(page.read_text(encoding="utf-8"))]


@pytest.fixture
def catalogue(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What makes the generated pages."""
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    return importlib.import_module("catalogue")


@pytest.mark.parametrize("name", ["xrs", *MODULES])
def test_examples_in_docstrings(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("xrs"):
            raise
        pytest.skip(f"{error.name} is not installed")
    failed, _ = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert not failed


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_code_on_pages_runs(page: Path) -> None:
    namespace: dict[str, Any] = {"__name__": "page"}
    for note, code in _blocks(page):
        if not note.startswith("not run:"):
            exec(compile(code, str(page), "exec"), namespace)


def test_code_that_is_not_run_is_python() -> None:
    skipped = [(page, code) for page in PAGES for note, code in _blocks(page) if note.startswith("not run:")]
    assert skipped
    for page, code in skipped:
        compile(code, str(page), "exec")


def test_a_method_in_one_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note, code = next(b for b in _blocks(DOCS / "architecture.md") if b[0].startswith("file:"))
    path = tmp_path / Path(note.removeprefix("file:").strip()).name
    path.write_text(code, encoding="utf-8")
    package = importlib.import_module("xrs.methods.pansharpen")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    methods_of.cache_clear()
    try:
        assert path.stem in set(xrs.list_methods("pansharpen")["name"])
        assert xrs.get_method(path.stem, "pansharpen").scope == "global"
    finally:
        monkeypatch.undo()
        sys.modules.pop(f"{package.__name__}.{path.stem}", None)
        methods_of.cache_clear()
    assert path.stem not in methods_of("pansharpen")


def test_architecture_names_the_rooms_in_their_order() -> None:
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| `xrs/(\w+)(?:\.py|/)` \|", page, re.MULTILINE)
    assert table == LAYERS


def test_catalogue_holds_everything(catalogue: Any) -> None:
    page = catalogue.catalogue_page()
    for family in FAMILIES:
        for method in methods_of(family).values():
            assert f"[{method.name}](#" in page
            assert f"({family}-{method.name})=" in page or method.name in methods_of("pansharpen")
    for name in [*METRICS, *xrs.list_sensors().index]:
        assert f"| `{name}` |" in page
    assert f"{len(xrs.list_indices())} spectral indices" in page


def test_every_parameter_is_in_the_catalogue(catalogue: Any) -> None:
    page = catalogue.catalogue_page()
    for family in FAMILIES:
        for method in methods_of(family).values():
            for param in method.params:
                assert f"| `{param.name}` | `{param.default!r}` |" in page


def test_bibliography_holds_every_publication(catalogue: Any) -> None:
    page = catalogue.bibliography_page()
    methods = [m for family in FAMILIES for m in methods_of(family).values()]
    for doi in {r.doi for r in (one.reference for one in [*methods, *METRICS.values()]) if r.doi}:
        assert f"<https://doi.org/{doi}>" in page


def test_reference_lists_every_public_name(catalogue: Any) -> None:
    listed = catalogue.reference_page().split()
    for name in xrs.__all__:
        assert f"xrs.{name}" in listed or name in {*catalogue.INNER, "XrsError"}


@pytest.mark.parametrize("name", [n for n in xrs.__all__ if inspect.isfunction(getattr(xrs, n))])
def test_public_functions_tell_parameters_returns_and_an_example(name: str) -> None:
    function = getattr(xrs, name)
    told = inspect.getdoc(function) or ""
    for parameter in inspect.signature(function).parameters:
        assert re.search(rf"^[\w*, ]*\b{parameter}\b", told, re.MULTILINE), parameter
    assert "\nReturns\n" in told
    assert ">>> " in told


def test_errors_are_all_told() -> None:
    page = (DOCS / "guide" / "errors.md").read_text(encoding="utf-8")
    for name in xrs.errors.__all__:
        assert f"`{name}`" in page


def test_dois_keep_their_brackets(catalogue: Any) -> None:
    linked = catalogue._linked("A paper (10.1016/0034-4257(93)90013-N), and 10.1109/97.995823.")
    assert "(<https://doi.org/10.1016/0034-4257(93)90013-N>))," in linked
    assert linked.endswith("(<https://doi.org/10.1109/97.995823>).")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_clean(path: Path) -> None:
    import nbformat

    cells = nbformat.read(path, as_version=4).cells
    assert not [c for c in cells if c.get("outputs") or c.get("execution_count")]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_run(path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbmake",
        "--nbmake-timeout=500",
        "-q",
        "-p",
        "no:cacheprovider",
        str(path),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_documentation_builds_without_warnings(tmp_path: Path) -> None:
    pytest.importorskip("pydata_sphinx_theme", reason="the extra 'docs' is not installed")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        "-b",
        "html",
        str(DOCS),
        str(tmp_path / "html"),
    ]
    environment = os.environ | {"XRS_DOCS_NOTEBOOKS": "off"}
    done = subprocess.run(
        [*command, "-d", str(tmp_path / "doctrees")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "html" / "notebooks" / f"{NOTEBOOKS[0].stem}.html").is_file()
