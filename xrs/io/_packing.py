"""Pack floats into integers and back, as CF's ``scale_factor`` and ``add_offset`` say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xrs.errors import ParameterError, RadiometryError
from xrs.kernels.types import Float32

__all__ = ["Packing", "pack", "packing_of", "unpack"]


@dataclass(frozen=True)
class Packing:
    """How values are stored as int16: ``value = scale * stored + offset``.

    Attributes
    ----------
    scale, offset : float
    fill : int
        What stands for NaN.
    """

    scale: float = 1e-4
    offset: float = 0.0
    fill: int = -32768

    @property
    def attrs(self) -> dict[str, Any]:
        """CF attributes of a packed variable."""
        return {"scale_factor": self.scale, "add_offset": self.offset, "_FillValue": self.fill}


def packing_of(packing: str | Mapping[str, float] | Packing | None) -> Packing | None:
    """A packing from what a user writes: None, ``"int16"``, or a mapping with ``scale``, ``offset``, ``fill``."""
    if packing is None or isinstance(packing, Packing):
        return packing
    if packing == "int16":
        return Packing()
    if not isinstance(packing, Mapping) or not set(packing) <= set(asdict(Packing())):
        raise ParameterError(
            f"packing={packing!r}", "None, 'int16' or a mapping with scale, offset and fill", "packing='int16'"
        )
    made = Packing(
        float(packing.get("scale", 1e-4)), float(packing.get("offset", 0.0)), int(packing.get("fill", -32768))
    )
    if not (made.scale > 0 and np.isfinite(made.scale) and np.isfinite(made.offset) and -32768 <= made.fill <= 32767):
        raise ParameterError(f"packing={packing!r}", "a positive scale, a finite offset and a fill that int16 holds")
    return made


def pack(values: NDArray[Any], packing: Packing, name: str) -> NDArray[np.int16]:
    """Round to the nearest stored value; the error is at most half a ``scale``.

    Raises
    ------
    RadiometryError
        If a value is beyond what int16 holds at this scale: it is never clipped.
    """
    planes = np.ascontiguousarray(values, dtype=np.float32)
    out = np.empty(planes.shape, np.int16)
    low, high = _pack(planes.reshape(-1), out.reshape(-1), packing.scale, packing.offset, packing.fill)
    if low <= high:
        edges = [packing.offset + packing.scale * stored for stored in (-32768, 32767)]
        raise RadiometryError(
            f"{name} holds values from {low:.6g} to {high:.6g} that do not fit int16 with scale {packing.scale:g} "
            f"and offset {packing.offset:g}",
            f"values from {edges[0]:g} to {edges[1]:g}, none at the fill value",
            "packing={'scale': ..., 'offset': ...} that covers them, or packing=None",
        )
    return out


def unpack(stored: NDArray[Any], packing: Packing) -> Float32:
    """The values that a reader gets, as float32; NaN for the fill."""
    values = (stored * packing.scale + packing.offset).astype(np.float32)
    values[stored == packing.fill] = np.nan
    return values


@njit(nogil=True, cache=True)
def _pack(values: Float32, out: NDArray[np.int16], scale: float, offset: float, fill: int) -> tuple[float, float]:
    """Fill ``out``; the range of values that did not fit, reversed (low above high) where all did."""
    low, high = np.inf, -np.inf
    for i in range(values.size):
        value = values[i]
        if np.isnan(value):
            out[i] = fill
            continue
        stored = np.rint((value - offset) / scale)
        if stored < -32768 or stored > 32767 or stored == fill:
            low, high = min(low, value), max(high, value)
            continue
        out[i] = np.int16(stored)
    return low, high
