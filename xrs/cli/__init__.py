"""The ``xrs`` command."""

from xrs.cli._app import main

__all__ = ["main"]
