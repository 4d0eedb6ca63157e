"""Objects of a Zarr store by key, whatever the store: local folder, fsspec URL, obstore."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import Store
from zarr.buffer.cpu import Buffer, buffer_prototype
from zarr.core.sync import sync
from zarr.storage import FsspecStore, LocalStore

from xrs.errors import ParameterError

__all__ = [
    "delete",
    "delete_below",
    "keys_below",
    "local_root",
    "name_of",
    "names_in",
    "open_store",
    "read",
    "sibling",
    "sweep_partial",
    "version_of",
    "write",
    "write_made",
]


def open_store(url: str | Path | Store) -> Store:
    """A store for a local path, a URL that fsspec knows, or a store itself.

    Nothing is made or read.
    """
    if isinstance(url, Store):
        return url
    if not isinstance(url, str | Path) or not str(url):
        raise ParameterError(f"found {url!r}", "a path, a URL or a zarr store", "to_product(cube, 'product.zarr')")
    parts = urlsplit(str(url))
    if parts.scheme == "file":
        return LocalStore(Path(unquote(parts.path)))
    if "://" in str(url):
        return FsspecStore.from_url(str(url).rstrip("/"))
    return LocalStore(Path(url).expanduser().absolute())


def local_root(store: Store) -> Path | None:
    """The folder of a local store; None for others."""
    return Path(store.root) if isinstance(store, LocalStore) else None


def name_of(store: Store) -> str:
    """The last part of a store's path; ``product`` if it has none."""
    path = str(store.root) if isinstance(store, LocalStore) else str(getattr(store, "path", ""))
    return path.rstrip("/").rsplit("/", 1)[-1] or "product"


def sibling(store: Store) -> tuple[Store, str]:
    """Where what belongs beside a product is put: a store, and a prefix of keys.

    Beside a local folder or below the same parent of an fsspec path; inside any other store, as those have no parent.
    """
    if isinstance(store, LocalStore):
        return LocalStore(Path(store.root).parent), ""
    if isinstance(store, FsspecStore) and "/" in store.path.strip("/"):
        return FsspecStore(store.fs, path=store.path.rstrip("/").rsplit("/", 1)[0]), ""
    return store, "stac/"


def read(store: Store, key: str) -> bytes | None:
    """The bytes of an object; None if there is none."""
    found = sync(store.get(key, prototype=buffer_prototype))
    return None if found is None else bytes(found.to_bytes())


def write(store: Store, key: str, content: bytes) -> None:
    """Put an object, replacing it."""
    sync(store.set(key, Buffer.from_bytes(content)))


def write_made(store: Store, key: str, make: Callable[[], NDArray[np.uint8]]) -> None:
    """Put an object whose bytes are made on a thread that is never the main one.

    There Blosc would use threads of its own, and the order of its blocks would change from run to run.
    """
    sync(_write_made(store, key, make))


def delete(store: Store, key: str) -> None:
    """Remove an object if it is there."""
    sync(_delete(store, key))


def delete_below(store: Store, prefix: str = "") -> None:
    """Remove all objects below a prefix."""
    root = local_root(store)
    if root is None or (root / prefix).is_dir():
        sync(store.delete_dir(prefix))


def keys_below(store: Store, prefix: str = "") -> list[str]:
    """The keys of all objects below a prefix, sorted."""
    root = local_root(store)
    if root is not None and not (root / prefix).is_dir():
        return []
    return sorted(sync(_all(partial(store.list_prefix, prefix))))


def names_in(store: Store) -> set[str]:
    """First parts of the store's keys."""
    root = local_root(store)
    if root is not None:
        return {entry.name for entry in root.iterdir()} if root.is_dir() else set()
    return {str(name).strip("/") for name in sync(_all(partial(store.list_dir, "")))}


def sweep_partial(store: Store) -> None:
    """Remove temporary files that killed local writes left."""
    root = local_root(store)
    for path in root.rglob("*.partial") if root is not None else ():
        path.unlink(missing_ok=True)


def version_of(store: Store) -> int:
    """A number that changes when a local product is replaced; zero for other stores."""
    root = local_root(store)
    return 0 if root is None else (root / "zarr.json").stat().st_mtime_ns


async def _write_made(store: Store, key: str, make: Callable[[], NDArray[np.uint8]]) -> None:
    await store.set(key, Buffer.from_array_like(await asyncio.to_thread(make)))


async def _delete(store: Store, key: str) -> None:
    if await store.exists(key):
        await store.delete(key)


async def _all(names: Callable[[], AsyncIterator[Any]]) -> list[Any]:
    # Some stores need the running loop already where the iterator is made.
    return [name async for name in names()]
