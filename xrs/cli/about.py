"""``xrs methods``: the catalogue of methods."""

from __future__ import annotations

import click

from xrs.cli._options import Command
from xrs.cli._tables import show_rows
from xrs.methods.registry import FAMILIES

__all__ = ["methods"]


@click.command(cls=Command)
@click.argument("family", required=False, type=click.Choice(FAMILIES))
def methods(family: str | None) -> None:
    """List the methods, or those of one FAMILY; `xrs info NAME` tells more of one."""
    from xrs.methods import methods_of

    for name in (family,) if family else FAMILIES:
        found = methods_of(name).values()
        rows = [(m.name, m.scope, m.summary, m.reference.doi) for m in found]
        show_rows(("name", "scope", "what it does", "doi"), rows, title=f"{name} ({len(rows)})")
