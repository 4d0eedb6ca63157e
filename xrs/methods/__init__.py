"""Published methods, one file each, on plain arrays. Knows neither xarray nor Dask."""

from xrs.methods.base import Binding, Method, Param, Pass, Reference, Tile
from xrs.methods.registry import FAMILIES, get_method, list_methods, methods_of, resolve_params

__all__ = [
    "FAMILIES",
    "Binding",
    "Method",
    "Param",
    "Pass",
    "Reference",
    "Tile",
    "get_method",
    "list_methods",
    "methods_of",
    "resolve_params",
]
