"""Checks of what metrics take: resolution ratio, peak, and whether values are reflectance."""

from __future__ import annotations

import numpy as np

from xrs.errors import ParameterError, RadiometryError
from xrs.kernels.types import Float32

__all__ = ["check_ratio", "checked_peak", "refuse_raw_numbers"]

#: No mean reflectance comes near it; raw numbers exceed it.
_MAX_REFLECTANCE = 20.0


def refuse_raw_numbers(reference: Float32) -> None:
    """Refuse values whose mean no reflectance reaches."""
    seen = reference[np.isfinite(reference)]
    if seen.size and abs(seen.mean(dtype=np.float64)) > _MAX_REFLECTANCE:
        raise RadiometryError(
            f"the reference has a mean of {seen.mean(dtype=np.float64):.4g} and no peak was given",
            "reflectance, around 0 to 1, whose peak is 1",
            "name the peak, e.g. peak=10000 or peak=2**11 - 1",
        )


def check_ratio(ratio: float) -> None:
    """Refuse a resolution ratio that is no integer above 1."""
    if isinstance(ratio, bool) or ratio != int(ratio) or ratio <= 1:
        raise ParameterError(
            f"ratio={ratio!r}", "an integer above 1: low GSD over high GSD", "pass 4 for 2 m to 0.5 m, not 1/4"
        )


def checked_peak(peak: float, name: str = "peak") -> float:
    """A peak or data range as float, if it is positive and finite."""
    if not (np.isfinite(peak) and peak > 0):
        raise ParameterError(f"{name}={peak!r}", "a positive number: 1.0 for reflectance, 2**bits - 1 for raw numbers")
    return float(peak)
