"""Replace a local product by one written beside it: two renames, so that the old one is there until then."""

from __future__ import annotations

import shutil
from pathlib import Path

from zarr.abc.store import Store
from zarr.storage import LocalStore

from xrs.io._store import local_root

__all__ = ["beside", "recover", "settle"]


def beside(store: Store) -> Store | None:
    """Where the new version of a local product is written; None for other stores."""
    root = local_root(store)
    return None if root is None else LocalStore(_new(root))


def recover(store: Store) -> None:
    """Put the old product back if a run was killed between the two renames."""
    root = local_root(store)
    if root is not None and not root.exists() and _old(root).is_dir():
        _old(root).rename(root)


def settle(work: Store, store: Store) -> None:
    """Move a product that was written aside to its place, and remove the old one."""
    root = local_root(store)
    if root is None:
        return
    written = local_root(work)
    if written is not None and written != root:
        root.rename(_old(root))
        written.rename(root)
    shutil.rmtree(_old(root), ignore_errors=True)


def _new(root: Path) -> Path:
    return root.with_name(f".{root.name}.xrs-new")


def _old(root: Path) -> Path:
    return root.with_name(f".{root.name}.xrs-old")
