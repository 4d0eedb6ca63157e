"""Fuse what many satellites see into one cube.

Importing registers the accessor ``.rsfuse`` on xarray's DataArray, Dataset and DataTree. Everything
else loads when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from xrs.accessor import register
from xrs.errors import XrsError

if TYPE_CHECKING:
    from xrs import cube, errors, indices, io, kernels, lazy, methods, models, nets, operators, quality, scenes, sensors
    from xrs import plots as plots
    from xrs import spectra as spectra
    from xrs.indices import list_indices
    from xrs.io.product import open_product, to_product
    from xrs.io.stac import open_stac
    from xrs.methods import get_method, list_methods
    from xrs.models import list_models, load_model
    from xrs.operators.compare import compare
    from xrs.operators.composite import composite
    from xrs.operators.enhance import enhance, learn_growth
    from xrs.operators.fuse_hsms import fuse_hsms
    from xrs.operators.fuse_spatiotemporal import fuse_spatiotemporal
    from xrs.operators.fuse_sts import Sensors
    from xrs.operators.gap_fill import gap_fill
    from xrs.operators.harmonics import harmonics
    from xrs.operators.harmonize import harmonize
    from xrs.operators.index import index
    from xrs.operators.observe import degrade, observe
    from xrs.operators.pansharpen import pansharpen
    from xrs.operators.phenology import phenology
    from xrs.operators.productivity import crop_yield, gpp, npp
    from xrs.operators.regrid import regrid
    from xrs.operators.retrieve import retrieve
    from xrs.operators.sharpen import sharpen
    from xrs.operators.smooth import smooth
    from xrs.operators.spectral_pairs import spectral_pairs
    from xrs.operators.spectral_superres import spectral_superres
    from xrs.operators.ssr_classify import ssr_classify
    from xrs.operators.ssr_cloud import ssr_cloud
    from xrs.quality import evaluate, evaluate_fullres
    from xrs.sensors import get_sensor, list_sensors
    from xrs.training.pairs import train_pairs
    from xrs.training.spectral_compare import compare_spectral
    from xrs.training.ssr_classify import train_ssr_classify
    from xrs.training.ssr_cloud import train_ssr_cloud
    from xrs.training.sts import fuse_sts, train_sts
    from xrs.training.sts_compare import compare_sts
    from xrs.training.swath import expand_swath
    from xrs.training.train import train

register()

_WHERE = {
    "compare": "xrs.operators.compare",
    "compare_spectral": "xrs.training.spectral_compare",
    "compare_sts": "xrs.training.sts_compare",
    "composite": "xrs.operators.composite",
    "crop_yield": "xrs.operators.productivity",
    "degrade": "xrs.operators.observe",
    "enhance": "xrs.operators.enhance",
    "evaluate": "xrs.quality",
    "evaluate_fullres": "xrs.quality",
    "expand_swath": "xrs.training.swath",
    "fuse_hsms": "xrs.operators.fuse_hsms",
    "fuse_spatiotemporal": "xrs.operators.fuse_spatiotemporal",
    "fuse_sts": "xrs.training.sts",
    "gap_fill": "xrs.operators.gap_fill",
    "get_method": "xrs.methods",
    "get_sensor": "xrs.sensors",
    "gpp": "xrs.operators.productivity",
    "harmonics": "xrs.operators.harmonics",
    "harmonize": "xrs.operators.harmonize",
    "index": "xrs.operators.index",
    "learn_growth": "xrs.operators.enhance",
    "list_indices": "xrs.indices",
    "list_methods": "xrs.methods",
    "list_models": "xrs.models",
    "list_sensors": "xrs.sensors",
    "load_model": "xrs.models",
    "npp": "xrs.operators.productivity",
    "observe": "xrs.operators.observe",
    "open_product": "xrs.io.product",
    "open_stac": "xrs.io.stac",
    "pansharpen": "xrs.operators.pansharpen",
    "phenology": "xrs.operators.phenology",
    "regrid": "xrs.operators.regrid",
    "retrieve": "xrs.operators.retrieve",
    "Sensors": "xrs.operators.fuse_sts",
    "sharpen": "xrs.operators.sharpen",
    "smooth": "xrs.operators.smooth",
    "spectral_pairs": "xrs.operators.spectral_pairs",
    "spectral_superres": "xrs.operators.spectral_superres",
    "ssr_classify": "xrs.operators.ssr_classify",
    "ssr_cloud": "xrs.operators.ssr_cloud",
    "to_product": "xrs.io.product",
    "train": "xrs.training.train",
    "train_pairs": "xrs.training.pairs",
    "train_ssr_classify": "xrs.training.ssr_classify",
    "train_ssr_cloud": "xrs.training.ssr_cloud",
    "train_sts": "xrs.training.sts",
}

_ROOMS = (
    *("cube", "errors", "indices", "io", "kernels", "lazy", "methods", "models", "nets", "operators", "quality"),
    *("plots", "scenes", "sensors", "spectra"),
)

__all__ = [
    "Sensors",
    "XrsError",
    "compare",
    "compare_spectral",
    "compare_sts",
    "composite",
    "crop_yield",
    "cube",
    "degrade",
    "enhance",
    "errors",
    "evaluate",
    "evaluate_fullres",
    "expand_swath",
    "fuse_hsms",
    "fuse_spatiotemporal",
    "fuse_sts",
    "gap_fill",
    "get_method",
    "get_sensor",
    "gpp",
    "harmonics",
    "harmonize",
    "index",
    "indices",
    "io",
    "kernels",
    "lazy",
    "learn_growth",
    "list_indices",
    "list_methods",
    "list_models",
    "list_sensors",
    "load_model",
    "methods",
    "models",
    "nets",
    "npp",
    "observe",
    "open_product",
    "open_stac",
    "operators",
    "pansharpen",
    "phenology",
    "quality",
    "regrid",
    "retrieve",
    "scenes",
    "sensors",
    "sharpen",
    "smooth",
    "spectra",
    "spectral_pairs",
    "spectral_superres",
    "ssr_classify",
    "ssr_cloud",
    "to_product",
    "train",
    "train_pairs",
    "train_ssr_classify",
    "train_ssr_cloud",
    "train_sts",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    if name in _ROOMS:
        return import_module(f"xrs.{name}")
    if name == "__version__":
        return import_module("xrs.cube.metadata").package_version()
    raise AttributeError(f"module 'xrs' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
