"""Spectra of the Earth's surface: measured ones, simulated ones, and examples made of them.

- :class:`SpectralLibrary`: reflectances on common wavelengths, with names and classes; :func:`read_library` reads one.
- A *source* draws any number of spectra from a seed: the n-th is the same however many are asked for.
- :func:`draw_canopies`: simulated canopies with all that is known of them.
- :func:`draw_pairs`: what two sensors would see of the spectra of a source, for all that learns from examples.
"""

from xrs.spectra.canopy import Canopies, draw_canopies
from xrs.spectra.library import SpectralLibrary
from xrs.spectra.pairs import PairedBands, SpectralPairs, draw_pairs
from xrs.spectra.read import read_library
from xrs.spectra.sources import Source, get_source, list_sources

__all__ = [
    "Canopies",
    "PairedBands",
    "Source",
    "SpectralLibrary",
    "SpectralPairs",
    "draw_canopies",
    "draw_pairs",
    "get_source",
    "list_sources",
    "read_library",
]
