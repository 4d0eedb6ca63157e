"""Spectral indices: spyndex's catalogue through the bands of a cube."""

from xrs.indices.bands import match_bands
from xrs.indices.catalogue import Index, get_index, list_indices

__all__ = ["Index", "get_index", "list_indices", "match_bands"]
