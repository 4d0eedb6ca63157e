"""``.rsfuse`` on DataArray, Dataset and DataTree: the public functions as methods, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import xarray as xr

__all__ = ["CubeAccessor", "TreeAccessor"]


def _verb(module: str, name: str) -> Callable[..., Any]:
    """A method that hands its object to a function as the first argument; the function loads when first called."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(import_module(module), name)(self._obj, *args, **kwargs)

    method.__name__ = name
    method.__qualname__ = f"rsfuse.{name}"
    method.__doc__ = f"``xrs.{name}`` with this object as its first argument; see there."
    return method


class _Accessor:
    def __init__(self, obj: Any) -> None:
        self._obj = obj

    def __repr__(self) -> str:
        verbs = [name for name in dir(type(self)) if not name.startswith("_")]
        return f"<.rsfuse of a {type(self._obj).__name__}: {', '.join(verbs)}>"


class CubeAccessor(_Accessor):
    """Verbs of a cube: one grid, any of the dims time and band."""

    pansharpen = _verb("xrs.operators.pansharpen", "pansharpen")
    fuse_hsms = _verb("xrs.operators.fuse_hsms", "fuse_hsms")
    spectral_superres = _verb("xrs.operators.spectral_superres", "spectral_superres")
    ssr_cloud = _verb("xrs.operators.ssr_cloud", "ssr_cloud")
    ssr_classify = _verb("xrs.operators.ssr_classify", "ssr_classify")
    retrieve = _verb("xrs.operators.retrieve", "retrieve")
    fuse_spatiotemporal = _verb("xrs.operators.fuse_spatiotemporal", "fuse_spatiotemporal")
    index = _verb("xrs.operators.index", "index")
    smooth = _verb("xrs.operators.smooth", "smooth")
    gap_fill = _verb("xrs.operators.gap_fill", "gap_fill")
    enhance = _verb("xrs.operators.enhance", "enhance")
    harmonics = _verb("xrs.operators.harmonics", "harmonics")
    phenology = _verb("xrs.operators.phenology", "phenology")
    composite = _verb("xrs.operators.composite", "composite")
    harmonize = _verb("xrs.operators.harmonize", "harmonize")
    regrid = _verb("xrs.operators.regrid", "regrid")
    observe = _verb("xrs.operators.observe", "observe")
    degrade = _verb("xrs.operators.observe", "degrade")
    expand_swath = _verb("xrs.training.swath", "expand_swath")
    evaluate = _verb("xrs.quality", "evaluate")
    to_product = _verb("xrs.io.product", "to_product")


class TreeAccessor(_Accessor):
    """Verbs of a tree: one sensor with a group for each grid."""

    sharpen = _verb("xrs.operators.sharpen", "sharpen")
    spectral_superres = _verb("xrs.operators.spectral_superres", "spectral_superres")
    degrade = _verb("xrs.operators.observe", "degrade")


def register() -> None:
    """Put ``.rsfuse`` on xarray's objects."""
    registrations: list[Callable[[str], Callable[[type], type]]] = [
        xr.register_dataarray_accessor,
        xr.register_dataset_accessor,
        xr.register_datatree_accessor,
    ]
    for registration, accessor in zip(registrations, (CubeAccessor, CubeAccessor, TreeAccessor), strict=True):
        registration("rsfuse")(accessor)
