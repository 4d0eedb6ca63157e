"""The biophysical processor of the Sentinel-2 toolbox: a small network for each variable, with published weights.

Eight bands and three angles are brought to -1 to 1, pass five neurons with a hyperbolic tangent and a linear one, and
are brought back to the variable's unit. A pixel is known if each band lies in the definition domain, and the cell that
the bands make of it on a grid of ten classes a band is one of the 11,039 that the training data fill.

The coefficients (``data/snap.json``) are those of the ATBD, to twelve digits. Since 2020 the toolbox has others, for
each satellite (ATBD 2.0, auxiliary data 3.0): here for leaf area, ``coefficients="S2A"`` or ``"S2B"``.
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xrs.errors import ParameterError
from xrs.kernels.types import Bool, Float32, Float64
from xrs.methods.base import Binding, Method, Param, Reference, State, Tile
from xrs.methods.retrieval._bands import find_sentinel2, reflectance
from xrs.methods.retrieval._variables import limited, variable_of
from xrs.models import Observed

__all__ = ["METHOD"]

BANDS = ("B03", "B04", "B05", "B06", "B07", "B8A", "B11", "B12")

_CLASSES = 10

#: The coefficients that hold for all satellites.
_FIRST = "2016"


@cache
def _tables() -> dict[str, Any]:
    tables: dict[str, Any] = json.loads((files(__package__) / "data" / "snap.json").read_text(encoding="utf-8"))
    return tables


@cache
def _cells() -> NDArray[np.int64]:
    """The cells of the definition domain as sorted numbers of eight digits, one for each band."""
    steps = np.frombuffer(zlib.decompress(base64.b64decode(_tables()["cells"])), dtype="<u4")
    return np.cumsum(steps.astype(np.int64))


def _set(coefficients: str) -> Mapping[str, Any]:
    """One set of coefficients: ranges of the inputs, definition domain, and the variables."""
    found: Mapping[str, Any] = _tables() if coefficients == _FIRST else _tables()["satellites"][coefficients]
    return found


@cache
def _network(variable: str, coefficients: str = _FIRST) -> tuple[Float64, ...]:
    """Input range (2, 11), hidden weights (5, 11) and biases, output weights with bias last, output range (2,)."""
    facts = _set(coefficients)["variables"][variable]
    parts = (
        _set(coefficients)["input_range"],
        facts["hidden_weights"],
        facts["hidden_biases"],
        [*facts["output_weights"], facts["output_bias"]],
        facts["output_range"],
    )
    return tuple(np.array(part, np.float64) for part in parts)


def _apply(tile: Tile, _: State, *, variable: str, bands: Sequence[int], domain: str, coefficients: str) -> Float32:
    inputs = np.concatenate([reflectance(tile, bands), tile["angles"]])
    flat = inputs.reshape(len(inputs), -1)
    values = _evaluate(flat, *_network(variable, coefficients))
    if domain != "any":
        values[~_known(flat[: len(BANDS)], domain, coefficients)] = np.nan
    highest = _set(coefficients)["variables"][variable]["valid_range"][1]
    return limited(values.reshape(1, *inputs.shape[1:]), variable_of(variable), highest)


@njit(nogil=True, cache=True, error_model="numpy")
def _evaluate(
    inputs: Float32, span: Float64, weights: Float64, biases: Float64, last: Float64, result: Float64
) -> Float32:
    """The network's results (pixel,) of inputs (11, pixel)."""
    out = np.empty(inputs.shape[1], np.float32)
    scaled = np.empty(inputs.shape[0])
    for pixel in range(out.size):
        for k in range(scaled.size):
            scaled[k] = 2.0 * (inputs[k, pixel] - span[0, k]) / (span[1, k] - span[0, k]) - 1.0
        total = last[-1]
        for neuron in range(biases.size):
            level = biases[neuron]
            for k in range(scaled.size):
                level += weights[neuron, k] * scaled[k]
            total += last[neuron] * math.tanh(level)
        out[pixel] = 0.5 * (total + 1.0) * (result[1] - result[0]) + result[0]
    return out


def _known(bands: Float32, domain: str, coefficients: str = _FIRST) -> Bool:
    """Whether pixels (8, pixel) lie in the definition domain."""
    low, high = (np.array(limit)[:, None] for limit in _set(coefficients)["domain"])
    inside = np.asarray(((bands >= low) & (bands <= high)).all(axis=0))
    if domain == "box" or coefficients != _FIRST:
        return inside
    classes = np.clip(np.floor(_CLASSES * (bands - low) / (high - low)), 0, _CLASSES - 1).astype(np.int64)
    numbers = (classes * _CLASSES ** np.arange(len(bands) - 1, -1, -1)[:, None]).sum(axis=0)
    cells = _cells()
    nearest = np.minimum(np.searchsorted(cells, numbers), cells.size - 1)
    return inside & (cells[nearest] == numbers)


def _bind(observed: Mapping[str, Observed], outputs: Sequence[str], **params: Any) -> Binding:
    known = list(_set(params["coefficients"])["variables"])
    if outputs[0] not in known:
        told = f"variable={outputs[0]!r} by snap with coefficients={params['coefficients']!r}"
        raise ParameterError(told, f"one of {known}", f"coefficients={_FIRST!r}, or method='canopy'")
    return Binding({"variable": outputs[0], "bands": find_sentinel2(observed, BANDS), **params}, ("ms", "angles"))


METHOD = Method(
    name="snap",
    family="retrieval",
    summary="The Sentinel-2 toolbox's biophysical processor: published networks of five neurons.",
    apply=_apply,
    reference=Reference(
        "Weiss and Baret 2016, S2ToolBox Level 2 products: LAI, FAPAR, FCOVER, version 1.1 (ATBD); auxiliary data 2.1"
    ),
    params=(
        Param(
            "domain",
            "grid",
            "which pixels have a value: those in the cells of the definition domain, in its box, or any",
            "'grid', 'box' or 'any'",
            lambda value: value in ("grid", "box", "any"),
        ),
        Param(
            "coefficients",
            _FIRST,
            "those of the ATBD 1.1 for all satellites; or those of auxiliary data 3.0 for one, which are here for LAI "
            "alone and have no grid of cells",
            "'2016', 'S2A' or 'S2B'",
            lambda value: value in (_FIRST, "S2A", "S2B"),
        ),
    ),
    needs=("ms", "angles"),
    bind=_bind,
    differs="Pixels outside of the definition domain are NaN, as are results beyond the tolerance; the toolbox puts "
    "them out and flags them.",
)
