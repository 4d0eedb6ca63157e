"""The variables: what they are called, their units, and between which values they can lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from xrs.errors import ParameterError
from xrs.kernels.types import Float32

__all__ = ["VARIABLES", "Variable", "limited", "variable_of"]


@dataclass(frozen=True)
class Variable:
    """A biophysical variable.

    Attributes
    ----------
    name : str
    long_name, units : str
    lowest, highest : float
        The valid range.
    tolerance : float
        Results that lie outside of it by no more than this become its limit.
    standard_name : str
        Of the CF conventions, if they have one.
    """

    name: str
    long_name: str
    units: str
    lowest: float
    highest: float
    tolerance: float
    standard_name: str = ""


#: Ranges and tolerances as Weiss and Baret 2016 (ATBD of the S2ToolBox, version 1.1) give them, but for FAPAR, which
#: may be 1, and for the leaf's chlorophyll, which they do not have.
VARIABLES: Mapping[str, Variable] = {
    one.name: one
    for one in (
        Variable("LAI", "green leaf area index", "m2 m-2", 0.0, 8.0, 0.2, "leaf_area_index"),
        Variable(
            "FAPAR",
            "fraction of photosynthetically active radiation absorbed by green leaves",
            "1",
            0.0,
            1.0,
            0.1,
            "fraction_of_surface_downwelling_photosynthetic_radiative_flux_absorbed_by_vegetation",
        ),
        Variable(
            "FCOVER", "fraction of ground covered by green leaves", "1", 0.0, 1.0, 0.1, "vegetation_area_fraction"
        ),
        Variable("CCC", "chlorophyll of the canopy's leaves by ground area", "ug cm-2", 0.0, 600.0, 15.0),
        Variable("CWC", "water of the canopy's leaves by ground area", "g cm-2", 0.0, 0.55, 0.015),
        Variable("CAB", "chlorophyll of leaves by leaf area", "ug cm-2", 0.0, 100.0, 5.0),
    )
}


def variable_of(name: str) -> Variable:
    """A variable by its name, in any case.

    Raises
    ------
    ParameterError
        If there is none of this name.

    Examples
    --------
    >>> variable_of("lai").units
    'm2 m-2'
    """
    found = VARIABLES.get(str(name).upper())
    if found is None:
        raise ParameterError(f"variable={name!r}", f"one of {list(VARIABLES)}")
    return found


def limited(values: Float32, variable: Variable, highest: float | None = None) -> Float32:
    """Values at most a tolerance outside of the valid range set to its limit, those farther out to NaN.

    As Weiss and Baret 2016. ``highest`` is in place of the variable's own.
    """
    top = variable.highest if highest is None else highest
    possible = (values >= variable.lowest - variable.tolerance) & (values <= top + variable.tolerance)
    inside = np.clip(values, np.float32(variable.lowest), np.float32(top))
    return np.where(possible, inside, np.float32(np.nan)).astype(np.float32)
