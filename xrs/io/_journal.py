"""What is known of a product that is being written: whose it is and which regions are finished.

It lies in ``.xrs/`` inside the product and goes when the product is complete. Order makes it safe: the journal
comes before all else, a region's mark after its data, the root's attributes after all of them, and the journal
goes last. It survives a killed process; nothing is flushed against loss of power.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zarr.abc.store import Store

from xrs.cube import to_json
from xrs.errors import ProductExistsError, ProductMismatchError
from xrs.io import _store

__all__ = ["MARK", "Journal", "State", "finished", "mark", "probe", "read_journal", "remove_journal", "start_journal"]

#: Attribute of the root group that only a complete product has.
MARK = "xrs:product"

_FOLDER = ".xrs"
_JOURNAL = f"{_FOLDER}/journal.json"
_DONE = f"{_FOLDER}/done/"


@dataclass(frozen=True)
class Journal:
    """Identity of the cube a product is made from.

    Attributes
    ----------
    facts : mapping
        What the bytes depend on, by name; digests where it is long.
    regions : int
        Number of regions.
    """

    facts: Mapping[str, Any]
    regions: int

    @property
    def digest(self) -> str:
        """SHA-256 of the facts."""
        return hashlib.sha256(to_json(self.facts).encode()).hexdigest()

    def check_same(self, other: Journal, place: str) -> None:
        """Refuse to go on with a product that another cube began."""
        if self.digest == other.digest:
            return
        mine, theirs = (json.loads(to_json(j.facts)) for j in (self, other))
        differ = sorted(k for k in mine.keys() | theirs.keys() if mine.get(k) != theirs.get(k))
        raise ProductMismatchError(
            f"the half-written product {place} was begun from another input: {', '.join(differ)} differ",
            "the call that began it",
            "repeat that call, or start anew with overwrite=True; if Dask names the same graph differently in each "
            "run, give it a name of your own with token='...'",
        )


@dataclass(frozen=True)
class State:
    """What a store holds.

    Attributes
    ----------
    kind : {"absent", "incomplete", "complete", "other"}
    journal : Journal, optional
        Of an incomplete product, or of a complete one whose writer was stopped before it tidied up.
    """

    kind: str
    journal: Journal | None = None


def probe(store: Store) -> State:
    """Tell what a store holds, changing nothing."""
    root = _store.local_root(store)
    if root is not None and root.exists() and not root.is_dir():
        return State("other")
    journal = read_journal(store)
    if _is_marked(store):
        return State("complete", journal)
    if journal is not None:
        return State("incomplete", journal)
    return State("other" if _store.names_in(store) - {_FOLDER} else "absent")


def check_ours(state: State, place: str) -> None:
    """Refuse a place that holds anything but a product."""
    if state.kind == "other":
        raise ProductExistsError(
            f"{place} holds something that is not a product of xrs",
            "a free path, or a product",
            "choose another path; what is there was not touched",
        )


def start_journal(store: Store, journal: Journal) -> None:
    """Record whose product begins here."""
    content = to_json({"facts": journal.facts, "regions": journal.regions})
    _store.write(store, _JOURNAL, content.encode())


def read_journal(store: Store) -> Journal | None:
    """The journal of a store, if it has one."""
    content = _store.read(store, _JOURNAL)
    if content is None:
        return None
    try:
        found = json.loads(content)
        return Journal(found["facts"], int(found["regions"]))
    except (ValueError, KeyError, TypeError):
        # Stores without atomic writes may hold half of it; nothing else was written by then.
        return None


def mark(store: Store, region: str) -> None:
    """Record that a region's data are stored."""
    _store.write(store, _DONE + region, b"1")


def finished(store: Store) -> set[str]:
    """The regions recorded so far."""
    return {key.removeprefix(_DONE) for key in _store.keys_below(store, _DONE) if not key.endswith(".partial")}


def remove_journal(store: Store) -> None:
    """Forget the regions, then whose they were."""
    _store.delete_below(store, _DONE.rstrip("/"))
    _store.delete(store, _JOURNAL)
    _store.delete_below(store, _FOLDER)


def _is_marked(store: Store) -> bool:
    content = _store.read(store, "zarr.json")
    if content is None:
        return False
    try:
        return MARK in json.loads(content).get("attributes", {})
    except (ValueError, AttributeError):
        return False
