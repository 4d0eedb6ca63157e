"""Sensor noise that a pixel has by its place, date and band, and by nothing else."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from xrs.kernels.types import Float32

__all__ = ["band_salts", "noise_block"]

_UInt64 = NDArray[np.uint64]


def band_salts(keys: Sequence[str]) -> list[int]:
    """A number for each band's key, so that a band's noise does not depend on which bands stand beside it."""
    return [zlib.crc32(key.encode()) for key in keys]


def noise_block(
    block: tuple[slice, ...],
    *,
    deviations: Sequence[float],
    salts: Sequence[int],
    dates: Sequence[int],
    seed: int,
) -> Float32:
    """Normal noise of a block (time, band, y, x) of a scene, the same at any cutting into blocks.

    Parameters
    ----------
    block : tuple of slice
        Where the block lies in the scene.
    deviations : sequence of float
        Standard deviation of each band of the scene.
    salts, dates : sequence of int
        A number for each band and each date of the scene.
    seed : int
    """
    time, band, y, x = block
    place = np.arange(y.start, y.stop, dtype=np.uint64)[:, None] << np.uint64(32)
    place = place + np.arange(x.start, x.stop, dtype=np.uint64)
    out = np.empty((time.stop - time.start, band.stop - band.start, *place.shape), np.float32)
    for i, date in enumerate(dates[time]):
        for j, salt in enumerate(salts[band]):
            key = _hash(_hash(_hash(np.array([seed], np.int64).view(np.uint64)) + _word(date)) + _word(salt))
            out[i, j] = deviations[band][j] * _normal(_hash(place ^ key))
    return out


def _word(number: int) -> _UInt64:
    return np.array([number], np.int64).view(np.uint64)


def _hash(words: _UInt64) -> _UInt64:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014, 10.1145/2660193.2660195)."""
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _normal(words: _UInt64) -> NDArray[np.float64]:
    """Standard normal numbers from hashed words (Box and Muller 1958, 10.1214/aoms/1177706645)."""
    radius = ((words >> np.uint64(11)).astype("float64") + 0.5) / 2.0**53
    angle = (_hash(words) >> np.uint64(11)).astype("float64") / 2.0**53
    return np.sqrt(-2.0 * np.log(radius)) * np.cos(2.0 * np.pi * angle)
