"""Spectra are drawn in blocks of one size, each with its own generator: the n-th never depends on how many."""

from __future__ import annotations

from zlib import crc32

import numpy as np

from xrs.errors import ParameterError
from xrs.kernels.types import Float64

__all__ = ["BLOCK", "WAVELENGTHS", "blocks_of", "generator"]

#: Spectra of one block.
BLOCK = 256

#: Of everything that is simulated, nm. Bands of a spectrometer 7 nm wide err by 0.0001 (root mean square) against 1 nm.
WAVELENGTHS: Float64 = np.arange(400.0, 2501.0, 5.0)


def blocks_of(count: int) -> range:
    """Numbers of the blocks that hold the first ``count`` spectra."""
    if not isinstance(count, (int, np.integer)) or count < 1:
        raise ParameterError(f"count={count!r}", "a positive whole number")
    return range(-(-int(count) // BLOCK))


def generator(purpose: str, seed: int, block: int) -> np.random.Generator:
    """The generator of one block."""
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ParameterError(f"seed={seed!r}", "a whole number from 0 on")
    return np.random.default_rng([int(seed), crc32(purpose.encode()), block])
