"""``xrs info``: what a path, a method, a sensor or an index is."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import xarray as xr

from xrs.cli._catalogue import looks_like_stac, open_catalogue
from xrs.cli._options import Command
from xrs.cli._rasters import open_raster
from xrs.cli._tables import show_facts, show_frame, show_rows
from xrs.cube import describe, geobox_of
from xrs.errors import GridMismatchError, LayoutError, ParameterError
from xrs.methods import Method

__all__ = ["info"]


@click.command(cls=Command)
@click.argument("what")
def info(what: str) -> None:
    """Tell what something is.

    WHAT is a path or URL (a product, finished or not, a STAC catalogue, a raster), the name of a method, a sensor or
    an index, or `sensors`.
    """
    for teller in (_tell_list, _tell_catalogue, _tell_path, _tell_method, _tell_sensor, _tell_index):
        if teller(what):
            return
    raise ParameterError(
        f"{what!r} is no path that exists, no method, no sensor and no index",
        "one of them",
        "xrs methods, xrs info sensors; xrs.list_indices() in Python",
    )


def _tell_list(what: str) -> bool:
    if what != "sensors":
        return False
    from xrs.sensors import list_sensors

    table = list_sensors().drop(columns="reference")
    show_frame(table, title="Sensors")
    return True


def _tell_catalogue(what: str) -> bool:
    if not looks_like_stac(what) or not (what.startswith("http") or Path(what).is_file()):
        return False
    tree = open_catalogue(what)
    for name, node in tree.children.items():
        show_facts(_facts_of(node.to_dataset()), title=name)
    return True


def _tell_path(what: str) -> bool:
    from xrs.io.product import open_product, product_status

    if "://" not in what and not Path(what).exists():
        return False
    if "://" not in what and Path(what).is_file():
        show_facts(_facts_of(open_raster(what)), title=what)
        return True
    status = product_status(what)
    if status.state == "complete":
        show_facts(_facts_of(open_product(what)), title=f"{what}: a complete product")
    elif status.state == "incomplete":
        show_facts(
            {"written": f"{status.finished} of {status.regions} regions", "to go on": "run the same command again"},
            title=f"{what}: a half-written product",
        )
    elif status.state == "absent":
        show_facts({"holds": "nothing"}, title=what)
    else:
        show_facts(_facts_of(open_raster(what)), title=f"{what}: not a product of xrs")
    return True


def _tell_method(what: str) -> bool:
    from xrs.methods.registry import FAMILIES, methods_of

    found = [methods_of(family)[what] for family in FAMILIES if what in methods_of(family)]
    for method in found:
        _show_method(method)
    return bool(found)


def _show_method(method: Method) -> None:
    facts = {
        "what it does": method.summary,
        "needs": method.needs,
        "scope": "statistics of the whole scene" if method.passes else "the neighbourhood of each pixel",
        "reference": method.reference.text,
        "doi": method.reference.doi,
        "differs": method.differs,
    }
    show_facts(facts, title=f"{method.name} ({method.family})")
    if method.params:
        rows = [(p.name, repr(p.default), p.doc, p.expects) for p in method.params]
        show_rows(("parameter", "default", "meaning", "allowed"), rows)
    text = _told_by(method.apply)
    if text:
        click.echo(f"\n{text}\n")


def _told_by(function: Callable[..., Any]) -> str:
    return (inspect.getdoc(function) or "") if inspect.isfunction(function) else ""


def _tell_sensor(what: str) -> bool:
    from xrs.sensors import get_sensor

    try:
        sensor = get_sensor(what)
    except ParameterError:
        return False
    show_facts({"title": sensor.title, "revisit": sensor.revisit, "source": sensor.reference}, title=sensor.name)
    rows = [(b.key, b.common_name, b.wavelength, b.fwhm, b.gsd, b.mtf or "") for b in sensor.all_bands]
    show_rows(("band", "common name", "centre (nm)", "FWHM (nm)", "GSD (m)", "MTF at Nyquist"), rows)
    return True


def _tell_index(what: str) -> bool:
    from xrs.indices import get_index

    try:
        index = get_index(what)
    except ParameterError:
        return False
    facts = {"domain": index.domain, "formula": index.formula, "bands": index.bands, "constants": index.constants}
    show_facts(facts | {"reference": index.reference}, title=f"{index.name}: {index.long_name}")
    return True


def _facts_of(cube: xr.DataArray | xr.Dataset) -> dict[str, Any]:
    """What a cube holds: names, grid, dates, and where it came from."""
    facts: dict[str, Any] = {}
    if isinstance(cube, xr.Dataset):
        facts["variables"] = [f"{name} ({v.dtype})" for name, v in cube.data_vars.items()]
    else:
        facts["bands"] = [str(key) for key in cube["band"].values] if "band" in cube.coords else []
    facts["sizes"] = [f"{dim} {size}" for dim, size in cube.sizes.items()]
    if cube.sizes.get("time") and "time" in cube.coords:
        dates = cube["time"].dt.strftime("%Y-%m-%d").values
        facts["dates"] = f"{len(dates)}, {dates[0]} to {dates[-1]}"
    try:
        facts["grid"] = describe(geobox_of(cube))
    except (GridMismatchError, LayoutError) as error:
        facts["grid"] = error.found
    kept = ("title", "platform", "xrs:collections", "history", "references")
    return facts | {name: cube.attrs[name] for name in kept if name in cube.attrs}
