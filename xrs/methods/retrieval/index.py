"""Regression on an index of two or three bands, with published coefficients or the user's own.

``variable = slope * index + offset``. Such a line holds for the crops, soils and sensor it was fitted to. Published:

- LAI by SeLI (B8A and B05), for crops up to a leaf area of about 6; RMSE 0.67 to 0.69 [1]_;
- FAPAR by NDVI, for green canopies over soils of middling brightness; from a model of radiative transfer [2]_.

Canopy chlorophyll is linear in CIred-edge (B07 and B05) [3]_, with coefficients that differ between crops: give yours.

References
----------
.. [1] Pasqualotto et al. 2019, Multi-crop green LAI estimation with a new simple Sentinel-2 LAI index (SeLI), Sensors
   19(4):904, 10.3390/s19040904
.. [2] Myneni and Williams 1994, On the relationship between FAPAR and NDVI, Remote Sensing of Environment 49:200-211,
   10.1016/0034-4257(94)90016-7
.. [3] Gitelson et al. 2005, Remote estimation of canopy chlorophyll content in crops, Geophysical Research Letters
   32:L08403, 10.1029/2005GL022688
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from xrs.errors import ParameterError
from xrs.kernels.types import Float32
from xrs.methods.base import Binding, Method, Param, Reference, State, Tile
from xrs.methods.retrieval._bands import find_sentinel2, reflectance
from xrs.methods.retrieval._variables import VARIABLES, limited, variable_of
from xrs.models import Observed

__all__ = ["METHOD"]


@dataclass(frozen=True)
class _Index:
    bands: tuple[str, ...]
    formula: Callable[..., Any]


def _normalised(one: Any, other: Any) -> Any:
    return (one - other) / (one + other)


_INDICES: Mapping[str, _Index] = {
    "SeLI": _Index(("B8A", "B05"), _normalised),
    "NDVI": _Index(("B08", "B04"), _normalised),
    "NDRE": _Index(("B07", "B05"), _normalised),
    "CIre": _Index(("B07", "B05"), lambda nir, edge: nir / edge - 1.0),
    "MTCI": _Index(("B06", "B05", "B04"), lambda far, edge, red: (far - edge) / (edge - red)),
}

#: The index taken where none is named.
_USUAL = {"LAI": "SeLI", "FAPAR": "NDVI", "FCOVER": "NDVI", "CCC": "CIre", "CAB": "MTCI", "CWC": ""}

_PUBLISHED = {("LAI", "SeLI"): (5.405, -0.114), ("FAPAR", "NDVI"): (1.1638, -0.1426)}


def _apply(
    tile: Tile,
    _: State,
    *,
    variable: str,
    bands: Sequence[int],
    index: str,
    calibration: tuple[float, float],
) -> Float32:
    slope, offset = calibration
    with np.errstate(divide="ignore", invalid="ignore"):
        level = _INDICES[index].formula(*reflectance(tile, bands).astype(np.float64))
    return limited((slope * level + offset).astype(np.float32)[None], variable_of(variable))


def _bind(
    observed: Mapping[str, Observed],
    outputs: Sequence[str],
    *,
    index: str | None,
    calibration: tuple[float, float] | None,
    **params: Any,
) -> Binding:
    variable = outputs[0]
    name = index or _USUAL[variable]
    if name not in _INDICES:
        raise ParameterError(f"index={index!r} for {variable}", f"one of {list(_INDICES)}")
    line = calibration or _PUBLISHED.get((variable, name))
    if line is None:
        raise ParameterError(
            f"no published line from {name} to {variable}",
            f"calibration=(slope, offset) of your measurements, or one of {[f'{v} by {i}' for v, i in _PUBLISHED]}",
            "method='canopy'",
        )
    found = find_sentinel2(observed, _INDICES[name].bands)
    return Binding({"variable": variable, "bands": found, "index": name, "calibration": line, **params}, ("ms",))


def _is_line(value: Any) -> bool:
    if value is None:
        return True
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        return False
    return all(isinstance(one, Real) and math.isfinite(one) for one in value)


METHOD = Method(
    name="index",
    family="retrieval",
    summary="A line on a red-edge or other index, published (LAI by SeLI, FAPAR by NDVI) or the user's.",
    apply=_apply,
    reference=Reference(
        "Pasqualotto, Delegido, Van Wittenberghe, Rinaldi and Moreno 2019, Multi-crop green LAI estimation with a new "
        "simple Sentinel-2 LAI index (SeLI), Sensors 19(4):904",
        "10.3390/s19040904",
    ),
    params=(
        Param(
            "index",
            None,
            f"which; the usual one of the variable if not given ({', '.join(v for v in VARIABLES if _USUAL[v])})",
            f"one of {list(_INDICES)}",
            lambda value: value is None or value in list(_INDICES),
        ),
        Param("calibration", None, "slope and offset in place of the published ones", "(slope, offset)", _is_line),
    ),
    needs=("ms",),
    bind=_bind,
)
