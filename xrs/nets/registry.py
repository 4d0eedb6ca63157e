"""Networks by name: a module defines ``NETWORK``, or ``NETWORKS`` where one design gives several."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from xrs.errors import ParameterError
from xrs.nets.base import Network

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["get_network", "list_networks", "networks"]

#: Modules of this package that are not networks.
_SHARED = {"base", "narrowing", "receptive", "registry", "uncertain"}


@cache
def networks() -> Mapping[str, Network]:
    """All networks by name, sorted. Loads torch."""
    package = importlib.import_module("xrs.nets")
    found = {}
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("_") and module.name not in _SHARED:
            contents = vars(importlib.import_module(f"xrs.nets.{module.name}"))
            for network in contents.get("NETWORKS") or (contents["NETWORK"],):
                found[network.name] = network
    return dict(sorted(found.items()))


def get_network(name: str) -> Network:
    """A network by name.

    Raises
    ------
    ParameterError
        With the nearest names.

    Examples
    --------
    >>> module = get_network("dsen2").build(bands=(4, 6), ratios=(1, 2), seed=1)
    >>> sum(weights.numel() for weights in module.parameters())
    1789574
    """
    known = networks()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"one of {', '.join(known)}"
        raise ParameterError(f"no network {name!r}", hint, "xrs.nets.list_networks()")
    return known[name]


def list_networks() -> pd.DataFrame:
    """The catalogue of networks.

    Returns
    -------
    pandas.DataFrame
        A row for each network: name, tasks, config, summary, differs, reference, doi.

    Examples
    --------
    >>> "dsen2" in set(list_networks()["name"])
    True
    """
    import pandas as pd

    rows = [
        {
            "name": network.name,
            "tasks": ", ".join(network.tasks),
            "config": ", ".join(f"{key}={value!r}" for key, value in network.config.items()),
            "summary": network.summary,
            "differs": network.differs,
            "reference": network.reference.text,
            "doi": network.reference.doi,
        }
        for network in networks().values()
    ]
    return pd.DataFrame(rows)
