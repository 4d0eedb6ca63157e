"""The catalogue: spyndex's 280 indices, and a few in use under other names."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import spyndex
from numpy.typing import NDArray

from xrs.errors import ParameterError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Index", "get_index", "list_indices"]


@dataclass(frozen=True)
class Index:
    """One index.

    Attributes
    ----------
    name, long_name, domain, formula, reference : str
    bands : tuple of str
        Bands by spyndex's short names (``N``, ``R``, ``RE1``).
    constants : tuple of str
        Constants by spyndex's names (``L``, ``C1``, ``g``).
    kernels : tuple of str
        Kernel terms (``kNR``: the radial basis kernel of N and R).
    """

    name: str
    long_name: str
    domain: str
    formula: str
    reference: str
    bands: tuple[str, ...]
    constants: tuple[str, ...]
    kernels: tuple[str, ...] = ()

    def evaluate(self, values: Mapping[str, Any]) -> NDArray[np.float32]:
        """The index from bands and constants; infinite where a denominator is zero."""
        full = dict(values)
        for term in self.kernels:
            full[term] = _radial_basis(values[term[1]], values[term[2:]], float(values["sigma"]))
        with np.errstate(all="ignore"):
            result = spyndex.computeIndex(index=_SAME_AS.get(self.name, self.name), params=full)
        return np.asarray(result, dtype=np.float32)


#: Names the red-edge indices carry in much of the Sentinel-2 literature, and spyndex's for the same formula.
_SAME_AS: Mapping[str, str] = {"NDRE1": "ND705"}


def get_index(name: str) -> Index:
    """An index by name.

    Parameters
    ----------
    name : str
        A name of :func:`list_indices`.

    Returns
    -------
    Index

    Raises
    ------
    ParameterError
        With the nearest names.

    Examples
    --------
    >>> get_index("NDVI").formula
    '(N-R)/(N+R)'
    """
    key = _SAME_AS.get(name, name)
    if key not in spyndex.indices:
        folded = {known.casefold(): known for known in [*spyndex.indices, *_SAME_AS]}
        near = [folded[match] for match in difflib.get_close_matches(name.casefold(), folded, n=3)]
        raise ParameterError(
            f"no index {name!r} in the catalogue",
            f"a name such as {', '.join(near or ['NDVI', 'EVI', 'NDWI'])}",
            "xrs.list_indices()",
        )
    entry = spyndex.indices[key]
    symbols = tuple(entry.bands)
    kernels = tuple(s for s in symbols if s not in spyndex.constants and s[0] == "k" and len(s) > 1)
    inside = {part for k in kernels for part in (k[1], k[2:])}
    plain = {s for s in symbols if s not in kernels} | inside
    constants = {s for s in plain if s in spyndex.constants} | ({"sigma"} if kernels else set())
    return Index(
        name=name,
        long_name=entry.long_name,
        domain=entry.application_domain,
        formula=entry.formula,
        reference=entry.reference,
        bands=tuple(sorted(plain - constants)),
        constants=tuple(sorted(constants)),
        kernels=kernels,
    )


def list_indices(domain: str | None = None) -> pd.DataFrame:
    """The catalogue of indices as a table.

    Parameters
    ----------
    domain : str, optional
        ``vegetation``, ``water``, ``burn``, ``urban``, ``soil``, ``snow``, ``radar``, ``kernel`` ...

    Returns
    -------
    pandas.DataFrame
        A row for each index: name, domain, bands, constants, formula, long_name, reference.

    Examples
    --------
    >>> "NDVI" in set(list_indices("vegetation")["name"])
    True
    """
    import pandas as pd

    found = [get_index(name) for name in [*spyndex.indices, *_SAME_AS]]
    rows = [
        {
            "name": i.name,
            "domain": i.domain,
            "bands": ", ".join(i.bands),
            "constants": ", ".join(i.constants),
            "formula": i.formula,
            "long_name": i.long_name,
            "reference": i.reference,
        }
        for i in found
        if domain is None or i.domain == domain
    ]
    return pd.DataFrame(rows)


def _radial_basis(a: Any, b: Any, sigma: float) -> Any:
    """Radial basis kernel (Camps-Valls et al. 2021, 10.1126/sciadv.abc7447)."""
    return np.exp(-((a - b) ** 2) / (2.0 * sigma**2))
