"""Pixels drawn from the whole scene by a rank that each has by its place, so that tiles do not matter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xrs.kernels.types import Float32
from xrs.methods.base import Tile
from xrs.methods.hsms._common import Psf, seen_coarse
from xrs.sensors.noise import noise_block

__all__ = ["Sample", "draw", "merge_samples"]


@dataclass(frozen=True)
class Sample:
    """The pixels of ``hs`` of lowest rank that were seen in both observations, in the order of rank and place.

    Attributes
    ----------
    most : int
        How many pixels are kept.
    rank : ndarray (pixel,)
    place : ndarray of int (2, pixel)
        Row and column in the scene.
    hs : ndarray (band, pixel)
    ms : ndarray (band, pixel, ratio²)
        The fine pixels within each, row by row.
    """

    most: int
    rank: Float32
    place: NDArray[np.int64]
    hs: Float32
    ms: Float32


def draw(tile: Tile, psf: Psf, most: int, seed: int) -> Sample:
    """The pixels of lowest rank of a tile's core."""
    hs, ms, ratio = tile.core("hs"), tile.core("ms"), tile.factors["ms"]
    height, width = hs.shape[1:]
    (top, left), dims = tile.origin, np.indices((height, width)).reshape(2, -1)
    window = (slice(0, 1), slice(0, 1), slice(top, top + height), slice(left, left + width))
    rank = noise_block(window, deviations=[1.0], salts=[0], dates=[0], seed=seed).ravel()
    seen = seen_coarse(tile, psf)
    chosen = np.arange(rank.size) if seen is None else np.flatnonzero(seen)
    if chosen.size > most:
        chosen = chosen[np.argpartition(rank[chosen], most - 1)[:most]]
    blocks = ms.reshape(len(ms), height, ratio, width, ratio)
    rows, columns = dims[:, chosen]
    # Advanced indices on either side of a slice bring the pixels to the front.
    fine = blocks[:, rows, :, columns].transpose(1, 0, 2, 3).reshape(len(ms), chosen.size, ratio**2)
    place = dims[:, chosen] + np.array([[top], [left]])
    return _lowest(Sample(most, rank[chosen], place, hs[:, rows, columns], fine))


def merge_samples(one: Sample, other: Sample) -> Sample:
    """The pixels of lowest rank of both."""
    pairs = [(getattr(one, name), getattr(other, name)) for name in ("rank", "place", "hs", "ms")]
    axes = (0, 1, 1, 1)
    joined: list[Any] = [np.concatenate(pair, axis=axis) for pair, axis in zip(pairs, axes, strict=True)]
    return _lowest(Sample(one.most, *joined))


def _lowest(sample: Sample) -> Sample:
    order = np.lexsort((*sample.place, sample.rank))[: sample.most]
    return Sample(sample.most, sample.rank[order], sample.place[:, order], sample.hs[:, order], sample.ms[:, order])
