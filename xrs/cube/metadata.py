"""What a result says of itself: CF attributes, history, the method and its parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import xarray as xr

__all__ = ["REFLECTANCE_ATTRS", "package_version", "provenance", "to_json"]

REFLECTANCE_ATTRS: Mapping[str, str] = {
    "standard_name": "surface_bidirectional_reflectance",
    "units": "1",
}

#: Facts of stored numbers; false once values were scaled or changed.
_STORAGE_ATTRS = ("scale_factor", "add_offset", "_FillValue", "missing_value", "nodata", "scale", "offset")

_QUANTITY_ATTRS = ("standard_name", "long_name", "units")


def provenance(
    source: xr.DataArray | xr.Dataset,
    method: str,
    parameters: Mapping[str, Any],
    *,
    doi: str = "",
    same_quantity: bool = True,
) -> dict[str, Any]:
    """Attributes of a result: those of its source that still hold, plus how it was made.

    What names the quantity is left out where the result is another one.
    ``history`` grows by one line without a clock time, so that equal inputs give equal bytes. All else tells of this
    step alone: ``references`` of an earlier one goes, also where this one has no DOI.
    """
    dropped = ("references", *_STORAGE_ATTRS, *(() if same_quantity else _QUANTITY_ATTRS))
    kept = {k: v for k, v in source.attrs.items() if k not in dropped}
    call = f"xrs {package_version()}: {method}({', '.join(f'{k}={_short(v)}' for k, v in parameters.items())})"
    history = [line for line in (str(source.attrs.get("history", "")), call) if line]
    made = {
        "history": "\n".join(history),
        "xrs:method": method,
        "xrs:parameters": to_json(parameters),
        "xrs:version": package_version(),
    }
    return kept | made | ({"references": f"https://doi.org/{doi}"} if doi else {})


def to_json(value: object) -> str:
    """JSON with sorted keys; arrays as lists, anything else by its ``str``."""
    return json.dumps(value, sort_keys=True, default=_plain)


def package_version() -> str:
    """The installed version of xrs."""
    try:
        return version("xrs")
    except PackageNotFoundError:
        return "0+unknown"


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)


def _short(value: object) -> str:
    text = to_json(value)
    return text if len(text) <= 60 else text[:57] + "..."
