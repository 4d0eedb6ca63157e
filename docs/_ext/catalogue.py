"""Pages that are made from the package itself: catalogue, bibliography, index of the reference; and the notebooks."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

import xrs
from xrs.cli import main
from xrs.methods import FAMILIES, Method, methods_of
from xrs.methods.base import Reference
from xrs.nets.registry import networks
from xrs.quality import METRICS

ROOT = Path(__file__).resolve().parents[2]

#: Rooms in the order of the reference; those not named here follow.
FIRST = ("sensors", "scenes", "quality", "indices", "io", "methods", "cube", "lazy", "lazy.cluster")

#: Rooms whose names are for those who work on xrs.
INNER = ("kernels", "operators")

_TITLES = {
    "pansharpen": "Pansharpening",
    "sharpen": "Sharpening one sensor's bands",
    "hsms": "Hyperspectral-multispectral fusion",
    "spectral": "Spectral super-resolution",
    "spatiotemporal": "Spatio-temporal fusion",
    "sts": "Spatio-temporal-spectral fusion",
    "temporal": "Smoothing along time",
    "retrieval": "Retrieval of vegetation variables",
    "refine": "Improving what was fused",
}
_DOI = re.compile(r"10\.\d{4,}/[^\s,;]+")


def setup(app: Any) -> dict[str, bool]:
    """Write the pages before Sphinx looks for sources."""
    folder = Path(app.srcdir)
    pages = {
        "catalogue.md": catalogue_page(),
        "bibliography.md": bibliography_page(),
        "api/index.rst": reference_page(),
        "api/command.md": command_page(),
    }
    for name, text in pages.items():
        _write(folder / name, text)
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    for notebook in notebooks:
        _write(folder / "notebooks" / notebook.name, notebook.read_text(encoding="utf-8"))
    _drop_others(folder / "notebooks", ".ipynb", {notebook.stem for notebook in notebooks})
    _drop_others(folder / "api", ".rst", {"index", *pages["api/index.rst"].split()})
    return {"parallel_read_safe": True}


def catalogue_page() -> str:
    """Methods, metrics, sensors and indices."""
    sections = [
        "# Catalogue",
        "What is installed, made from the registries when this page was built. In Python: `xrs.list_methods()`, "
        "`xrs.quality.list_metrics()`, `xrs.list_sensors()`, `xrs.list_indices()`.",
        *(_family_section(family) for family in FAMILIES),
        _spectral_section(),
        _metrics_section(),
        _sensors_section(),
        _indices_section(),
    ]
    return "\n\n".join(sections) + "\n"


def bibliography_page() -> str:
    """Every publication that a method or a metric is made from, in alphabetical order."""
    used: dict[Reference, list[str]] = {}
    for family in FAMILIES:
        for method in methods_of(family).values():
            used.setdefault(method.reference, []).append(f"`{method.name}`")
    for metric in METRICS.values():
        used.setdefault(metric.reference, []).append(f"`{metric.name}`")
    entries = sorted((_cite(reference), list(dict.fromkeys(names))) for reference, names in used.items())
    sensors = sorted({_linked(text) for text in xrs.list_sensors()["reference"]})
    return "\n\n".join(
        [
            "# Bibliography",
            "Publications of the methods and metrics, and in brackets what is made from them.",
            "\n".join(f"- {text} [{', '.join(names)}]" for text, names in entries),
            "## Sensors",
            "\n".join(f"- {text}" for text in sensors) + "\n",
        ]
    )


def reference_page() -> str:
    """The index of the reference, with a summary table for each room."""
    functions = [name for name in xrs.__all__ if not inspect.ismodule(getattr(xrs, name)) and name != "XrsError"]
    listed = {id(getattr(xrs, name)) for name in functions}
    parts = [
        "API reference",
        "=============",
        "",
        "Functions of ``xrs``. Many that take a cube first are methods of ``.rsfuse`` as well: see the accessor.",
        "",
        *_autosummary([f"xrs.{name}" for name in functions]),
        "Accessor",
        "--------",
        "",
        *_autosummary(["xrs.accessor.CubeAccessor", "xrs.accessor.TreeAccessor"]),
    ]
    for room in rooms():
        parts += _room_part(room, listed)
    return "\n".join(parts)


def command_page() -> str:
    """The help of ``xrs`` and of each of its commands."""
    context = click.Context(main, info_name="xrs", terminal_width=100)
    parts = ["# The command", "Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.", _help(main, context)]
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        inner = click.Context(command, info_name=name, parent=context, terminal_width=100)
        parts += [f"## xrs {name}", _help(command, inner)]
    return "\n\n".join(parts) + "\n"


def _help(command: click.Command, context: click.Context) -> str:
    return f"```text\n{command.get_help(context)}\n```"


def rooms() -> list[str]:
    """The rooms of the reference."""
    known = [name for name in xrs.__all__ if inspect.ismodule(getattr(xrs, name)) and name not in INNER]
    return [*FIRST, *(name for name in known if name not in FIRST)]


def _room_part(room: str, listed: set[int]) -> list[str]:
    """One room: what it says of itself, and its names that stand nowhere above."""
    module = importlib.import_module(f"xrs.{room}")
    shown = [
        f"xrs.{room}.{name}"
        for name in module.__all__
        if callable(value := getattr(module, name)) and _is_documented(value) and id(value) not in listed
    ]
    listed |= {id(getattr(module, name)) for name in module.__all__}
    title = f"xrs.{room}"
    return [title, "-" * len(title), "", (module.__doc__ or "").strip(), "", *_autosummary(shown)] if shown else []


def _is_documented(value: Any) -> bool:
    """Whether an object has a docstring of its own; constants and aliases of types have none."""
    return (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__.startswith("xrs")


def _autosummary(names: Sequence[str]) -> list[str]:
    return [".. autosummary::", "   :toctree:", "", *(f"   {name}" for name in names), ""]


def _family_section(family: str) -> str:
    methods = methods_of(family)
    adapted = methods_of("pansharpen", models=False) if family == "sharpen" else {}
    rows = [
        (
            _link(m.name, family if m.name not in adapted else "pansharpen"),
            _escaped(adapted.get(m.name, m).summary),
            m.scope,
            m.reference.doi and _doi(m.reference.doi),
        )
        for m in methods.values()
    ]
    own = [_method_section(m) for m in methods.values() if m.name not in adapted]
    shared = [_adapted_text(next(m for m in methods.values() if m.name in adapted))] if adapted else []
    table = _table(("method", "what it does", "scope", "paper"), rows)
    return "\n\n".join([f"## {_TITLES[family]}", table, *shared, *own])


def _adapted_text(method: Method) -> str:
    """What holds for every pansharpening method in family ``sharpen``, told by one of them."""
    original = methods_of("pansharpen")[method.name]
    known = {p.name for p in original.params}
    added = [p for p in method.params if p.name not in known and p.name != "psf"]
    differs = method.differs.removeprefix(original.differs).strip()
    return "\n\n".join(
        [
            "The methods with a link to pansharpening take their own parameters, and these:",
            _params_table(added),
            _linked(differs),
        ]
    )


def _method_section(method: Method) -> str:
    parts = [f"({method.family}-{method.name})=", f"### {method.name}", _escaped(method.summary)]
    facts = f"Needs {', '.join(f'`{n}`' for n in method.needs)}; {method.scope}; runs on {', '.join(method.engines)}."
    parts.append(facts)
    if method.params:
        parts.append(_params_table(method.params))
    if method.differs:
        parts.append(f"**Differs from its paper.** {_linked(method.differs)}")
    parts.append(f"**Reference.** {_cite(method.reference)}")
    return "\n\n".join(parts)


def _params_table(params: Iterable[Any]) -> str:
    rows = [
        (f"`{p.name}`", f"`{p.default!r}`", _linked(p.doc) + (f" ({_escaped(p.expects)})" if p.expects else ""))
        for p in params
    ]
    return _table(("parameter", "default", "meaning"), rows)


def _spectral_section() -> str:
    """Networks that make other bands: two verbs use them."""
    found = [network for network in networks().values() if "spectral" in network.tasks]
    rows = [(f"`{n.name}`", _escaped(n.summary), _linked(n.differs), _cite(n.reference)) for n in found]
    text = "Networks that make other bands: methods of `xrs.spectral_superres`, and `network=` of `xrs.expand_swath`."
    return "\n\n".join(
        ["## Spectral networks", text, _table(("network", "what it does", "differs", "reference"), rows)]
    )


def _metrics_section() -> str:
    rows = [
        (
            f"`{m.name}`",
            _escaped(m.title),
            m.protocol,
            f"{m.better} ({_number(m.ideal)})",
            m.units,
            "mean over bands" if m.per_band else "all bands at once",
            _cite(m.reference),
        )
        for m in METRICS.values()
    ]
    head = ("name", "metric", "protocol", "better (ideal)", "units", "bands", "reference")
    conventions = [
        f"**{_escaped(m.title)}** (`{m.name}`). {_told(getattr(xrs.quality, m.name))}" for m in METRICS.values()
    ]
    return "\n\n".join(["## Metrics", _table(head, rows), "### Conventions", *conventions])


def _told(function: Any) -> str:
    """What a docstring says before its sections, in Markdown."""
    text = inspect.cleandoc(function.__doc__ or "").split("\nParameters\n")[0]
    plain = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text).replace("``", "`")
    return "".join(part if part.startswith("`") else _linked(part) for part in re.split(r"(`[^`]*`)", plain)).strip()


def _sensors_section() -> str:
    rows = [
        (
            f"`{name}`",
            _escaped(s["title"]),
            f"{s['bands']}" + (" + pan" if s["pan"] else ""),
            f"{s['from_nm']:.0f}–{s['to_nm']:.0f}",
            ", ".join(f"{g:g}" for g in s["gsd_m"]),
            "on demand" if s["revisit_days"] != s["revisit_days"] else f"{s['revisit_days']:g}",
            _linked(s["reference"]),
        )
        for name, s in xrs.list_sensors().iterrows()
    ]
    head = ("name", "sensor", "bands", "nm", "GSD in m", "revisit in days", "source")
    return "\n\n".join(["## Sensors", _table(head, rows)])


def _indices_section() -> str:
    table = xrs.list_indices()
    counts = table["domain"].value_counts()
    rows = [(domain, str(counts[domain])) for domain in sorted(counts.index)]
    text = f"{len(table)} spectral indices; `xrs.list_indices(domain)` shows formula, bands and reference of each."
    return "\n\n".join(["## Indices", text, _table(("domain", "indices"), rows)])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _link(name: str, family: str) -> str:
    return f"[{name}](#{family}-{name})"


def _number(value: float) -> str:
    return "∞" if value == float("inf") else f"{value:g}"


def _cite(reference: Reference) -> str:
    told = _linked(reference.text)
    return told if not reference.doi or reference.doi in reference.text else f"{told}, {_doi(reference.doi)}"


def _doi(doi: str) -> str:
    return f"[{_escaped(doi)}](<https://doi.org/{doi}>)"


def _linked(text: str) -> str:
    """Text for Markdown, with its DOIs as links."""
    parts, end = [], 0
    for found in _DOI.finditer(text):
        doi = found.group().rstrip(".:")
        while doi.endswith(")") and doi.count(")") > doi.count("("):
            doi = doi[:-1]
        parts += [_escaped(text[end : found.start()]), _doi(doi)]
        end = found.start() + len(doi)
    return "".join([*parts, _escaped(text[end:])])


def _escaped(text: str) -> str:
    return re.sub(r"([\\*_|<>\[\]$])", r"\\\1", text)


def _write(path: Path, text: str) -> None:
    """Leave a file alone that holds the text already, so that it is not built again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def _drop_others(folder: Path, suffix: str, wanted: set[str]) -> None:
    """Remove pages of names that are no more; Sphinx would warn of them."""
    for path in folder.glob(f"*{suffix}"):
        if path.stem not in wanted:
            path.unlink()
