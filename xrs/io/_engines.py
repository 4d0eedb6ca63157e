"""The engines by name; each is imported when it is first used."""

from __future__ import annotations

import importlib

import xarray as xr

from xrs.errors import ParameterError
from xrs.io._layer import Layer

__all__ = ["check_engine", "load_layer"]

_MODULES = {"odc": "xrs.io._odc", "stackstac": "xrs.io._stackstac"}


def check_engine(engine: str) -> None:
    """Refuse an engine that is unknown or not installed."""
    if engine not in _MODULES:
        raise ParameterError(f"engine={engine!r}", f"one of {sorted(_MODULES)}", "leave engine out")
    try:
        importlib.import_module(_MODULES[engine])
    except ImportError as error:
        raise ParameterError(
            f"engine={engine!r} cannot be imported ({error})", "an installed engine", f"pip install 'xrs[{engine}]'"
        ) from error


def load_layer(layer: Layer, engine: str) -> dict[str, xr.DataArray]:
    """A lazy array (time, y, x) without coordinates for each band of a layer."""
    loaded: dict[str, xr.DataArray] = importlib.import_module(_MODULES[engine]).load(layer)
    return loaded
