"""The group of commands, which load when they are called, and what an error looks like to the shell.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

from xrs.errors import XrsError

__all__ = ["Commands", "main"]

#: Command to the module that defines it.
_WHERE = {
    "run": "xrs.cli.run",
    "sharpen": "xrs.cli.fuse",
    "pansharpen": "xrs.cli.fuse",
    "compare": "xrs.cli.compare",
    "methods": "xrs.cli.about",
    "info": "xrs.cli.info",
    "demo": "xrs.cli.demo",
}

_INTERRUPTED = 130


class Commands(click.Group):
    """Loads a command's module when it is called, and turns what it raises into messages and exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the help text."""
        return list(_WHERE)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name."""
        if cmd_name not in _WHERE:
            return None
        command: click.Command = getattr(import_module(_WHERE[cmd_name]), cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except XrsError as error:
            if ctx.meta.get(DEBUG):
                raise
            _show(error)
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo(f"\nInterrupted. {ctx.meta.get(WHEN_STOPPED, 'Nothing was written.')}", err=True)
            ctx.exit(_INTERRUPTED)


#: Keys of a context's ``meta``: whether tracebacks are shown, and what to tell who interrupts.
DEBUG = "xrs.debug"
WHEN_STOPPED = "xrs.when_stopped"


def _show(error: XrsError) -> None:
    for title, text, colour in (
        ("error   ", error.found, "red"),
        ("expected", error.expected, "yellow"),
        ("remedy  ", error.remedy, "green"),
    ):
        if text:
            click.echo(f"{click.style(title, fg=colour, bold=True)}  {text}", err=True)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="xrs")
def main() -> None:
    """Fuse what many satellites see into one cube."""
    # Names of bands and units hold letters that a terminal of another encoding cannot show.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
