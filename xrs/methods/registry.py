"""Methods by name: a family's modules define ``METHOD``, or ``METHODS`` where one mechanism gives several."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from xrs.errors import MethodNotFoundError, ParameterError
from xrs.methods.base import Method

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FAMILIES", "get_method", "list_methods", "methods_of", "resolve_params"]

FAMILIES = ("pansharpen", "sharpen", "hsms", "spectral", "spatiotemporal", "sts", "temporal", "retrieval", "refine")


#: The module of a family that makes its methods of the networks, and loads torch for that.
_NETWORKS = "networks"


@cache
def methods_of(family: str, *, models: bool = True) -> Mapping[str, Method]:
    """The methods of one family by name, sorted; those that need a model only if asked for (they load torch)."""
    if family not in FAMILIES:
        raise ParameterError(f"found the family {family!r}", f"one of {FAMILIES}")
    package = importlib.import_module(f"xrs.methods.{family}")
    found = {}
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("_") and (models or module.name != _NETWORKS):
            contents = vars(importlib.import_module(f"{package.__name__}.{module.name}"))
            for method in contents.get("METHODS") or (contents["METHOD"],):
                found[method.name] = method
    return dict(sorted(found.items()))


def get_method(name: str | Method, family: str) -> Method:
    """A method by name, or the instance itself.

    Parameters
    ----------
    name : str or Method
        A name of ``xrs.list_methods(family)``.
    family : str
        One of :data:`FAMILIES`.

    Returns
    -------
    Method

    Raises
    ------
    MethodNotFoundError
        With the nearest names.

    Examples
    --------
    >>> get_method("gsa", "pansharpen").reference.doi
    '10.1109/TGRS.2007.901007'
    """
    if isinstance(name, Method):
        return name
    methods = methods_of(family, models=False)
    if name not in methods:
        methods = methods_of(family)
    if name not in methods:
        near = difflib.get_close_matches(name, methods, n=3)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"one of {', '.join(methods)}"
        raise MethodNotFoundError(
            f"no method {name!r} in family {family!r}", f"a name of xrs.list_methods({family!r})", hint
        )
    return methods[name]


def resolve_params(method: Method, given: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters of a method: those given, checked, and the defaults of the rest.

    Raises
    ------
    ParameterError
        For an unknown name or a value outside its range.
    ModelCardError
        For a model that cannot be loaded.
    """
    known = {p.name: p for p in method.params}
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ParameterError(
            f"{method.name} takes no parameter {unknown[0]!r}", f"one of {sorted(known)}" if known else "no parameters"
        )
    resolved = {name: given.get(name, p.default) for name, p in known.items()}
    resolved |= {name: p.convert(resolved[name]) for name, p in known.items() if p.convert is not None}
    for name, value in resolved.items():
        check = known[name].check
        if check is not None and not check(value):
            raise ParameterError(f"{method.name} got {name}={value!r}", known[name].expects or known[name].doc)
    return resolved


def list_methods(family: str | None = None) -> pd.DataFrame:
    """The catalogue of methods.

    Parameters
    ----------
    family : str, optional
        One of :data:`FAMILIES`; all of them if not given.

    Returns
    -------
    pandas.DataFrame
        A row for each method: name, family, needs, scope, parameters, engines, summary, reference, doi.

    Examples
    --------
    >>> import xrs
    >>> "gsa" in set(xrs.list_methods("pansharpen")["name"])
    True
    """
    import pandas as pd

    families = FAMILIES if family is None else (family,)
    rows = [
        {
            "name": m.name,
            "family": m.family,
            "needs": ", ".join(m.needs),
            "scope": m.scope,
            "parameters": ", ".join(f"{p.name}={p.default!r}" for p in m.params),
            "engines": ", ".join(m.engines),
            "summary": m.summary,
            "reference": m.reference.text,
            "doi": m.reference.doi,
        }
        for f in families
        for m in methods_of(f).values()
    ]
    return pd.DataFrame(rows)
