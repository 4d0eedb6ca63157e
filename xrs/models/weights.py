"""Weights as safetensors: read, checked against the card's hash, and written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xrs.errors import ModelCardError
from xrs.models.card import Card, card_from_metadata, metadata_of

__all__ = ["Weights", "hash_of", "pack", "read_bytes", "unpack", "write_bytes"]

#: Tensors by their names in the module's state.
Weights = Mapping[str, NDArray[Any]]

_MAGIC = {b"PK\x03\x04": "a torch archive, which holds pickles", b"\x80": "a pickle", b"\x89HDF": "HDF5"}
_PICKLES = (".pt", ".pth", ".ckpt", ".pkl", ".pickle")


def hash_of(weights: Weights) -> str:
    """SHA-256 over names, types, shapes and values of all tensors, sorted by name."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        values = np.ascontiguousarray(weights[name])
        digest.update(f"{name}\0{values.dtype.str}\0{weights[name].shape}\0".encode())
        digest.update(values.data)
    return digest.hexdigest()


def pack(card: Card, weights: Weights) -> bytes:
    """A safetensors file with its card."""
    from safetensors.numpy import save

    arrays = {name: np.asarray(values, order="C") for name, values in weights.items()}
    packed: bytes = save(arrays, metadata=metadata_of(card))
    return packed


def unpack(data: bytes, where: str) -> tuple[Card, dict[str, NDArray[Any]]]:
    """Card and weights of a safetensors file.

    Raises
    ------
    ModelCardError
        If it is another kind of file (pickles are never read), is damaged, has no card, or does not hold the
        weights its card was made for.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    _refuse_others(data, where)
    try:
        weights: dict[str, NDArray[Any]] = load(data)
        metadata = _metadata(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise _damaged(where, str(error)) from error
    card = card_from_metadata(metadata, where)
    if hash_of(weights) != card.sha256:
        raise _damaged(where, f"its weights have not the SHA-256 {card.sha256[:12]}... of its card")
    return card, weights


def read_bytes(source: str) -> bytes:
    """A file by path or URL."""
    import fsspec

    if source.lower().endswith(_PICKLES):
        raise _pickle(source, "a pickle by its name")
    try:
        with fsspec.open(source, "rb") as file:
            data: bytes = file.read()
    except OSError as error:
        raise ModelCardError(
            f"{source} cannot be read ({error})",
            "a safetensors file that this process can reach",
            "a path or URL that all workers share, or xrs.load_model(..., in_memory=True), which sends the weights",
        ) from error
    return data


def write_bytes(data: bytes, path: Path) -> None:
    """Write a file that is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f"{path.name}.{os.getpid()}.part")
    half.write_bytes(data)
    half.replace(path)


def _metadata(data: bytes) -> dict[str, str]:
    size = int.from_bytes(data[:8], "little")
    return dict(json.loads(data[8 : 8 + size]).get("__metadata__", {}))


def _refuse_others(data: bytes, where: str) -> None:
    for magic, kind in _MAGIC.items():
        # A safetensors file begins with the length of its header, which may look like a pickle's first byte.
        if data.startswith(magic) and data[8:9] != b"{":
            if kind == "HDF5":
                raise ModelCardError(f"{where} is {kind}", "safetensors", "xrs.models.load_keras_hdf5(path, ...)")
            raise _pickle(where, kind)


def _pickle(where: str, kind: str) -> ModelCardError:
    return ModelCardError(
        f"{where} is {kind}",
        "safetensors: pickles run code when they are read",
        "where you trust the file, load it with torch into its network and save "
        "xrs.models.Model.from_module(module, card)",
    )


def _damaged(where: str, why: str) -> ModelCardError:
    return ModelCardError(f"{where} is damaged: {why}", "a whole safetensors file", "fetch or save it again")
