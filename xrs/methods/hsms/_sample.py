"""Pixels drawn from the whole scene by a rank that each has by its place, so that tiles do not matter."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xrs.kernels.resample import phase_weights
from xrs.kernels.types import Float32, Float64
from xrs.methods.base import Tile
from xrs.methods.hsms._common import Psf, seen_coarse
from xrs.sensors.noise import noise_block

__all__ = ["Sample", "draw", "interpolation", "merge_samples", "point_spread"]

#: Pixels along the side of the blocks that share a rank, so that most pixels drawn have their neighbours by them.
_BLOCK = 8


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
    dims = np.indices((height, width)).reshape(2, -1)
    place = dims + np.array(tile.origin)[:, None]
    rank = _ranks(place, seed)
    seen = seen_coarse(tile, psf)
    chosen = np.arange(rank.size) if seen is None else np.flatnonzero(seen)
    chosen = chosen[np.lexsort((*place[::-1, chosen], rank[chosen]))[:most]]
    blocks = ms.reshape(len(ms), height, ratio, width, ratio)
    rows, columns = dims[:, chosen]
    # Advanced indices on either side of a slice bring the pixels to the front.
    fine = blocks[:, rows, :, columns].transpose(1, 0, 2, 3).reshape(len(ms), chosen.size, ratio**2)
    return Sample(most, rank[chosen], place[:, chosen], hs[:, rows, columns], fine)


def merge_samples(one: Sample, other: Sample) -> Sample:
    """The pixels of lowest rank of both."""
    names, axes = ("rank", "place", "hs", "ms"), (0, 1, 1, 1)
    pairs = [(getattr(one, name), getattr(other, name)) for name in names]
    joined: list[Any] = [np.concatenate(pair, axis=axis) for pair, axis in zip(pairs, axes, strict=True)]
    order = np.lexsort((*joined[1][::-1], joined[0]))[: one.most]
    return Sample(one.most, *(np.take(array, order, axis=axis) for array, axis in zip(joined, axes, strict=True)))


def interpolation(place: NDArray[np.int64], ratio: int) -> Any:
    """Bilinear interpolation between the pixels at these places, a sparse matrix (fine pixel, pixel).

    A neighbour that is not there is taken to be like one that is, at best the pixel itself.
    """
    weights, first = phase_weights(ratio, "bilinear")
    dense = np.zeros((ratio, 3))
    for phase, (start, row) in enumerate(zip(first, weights, strict=True)):
        dense[phase, start + 1 : start + 3] = row
    return _joined(place, dense, spread=True)


def point_spread(place: NDArray[np.int64], taps: Float64, ratio: int) -> Any:
    """What the sensor of ``hs`` sees of fine pixels at these places, a sparse matrix (pixel, fine pixel)."""
    reach = -(-(taps.size - ratio) // (2 * ratio))
    padded = np.zeros((2 * reach + 1) * ratio)
    start = reach * ratio - (taps.size - ratio) // 2
    padded[start : start + taps.size] = taps
    return _joined(place, padded.reshape(-1, ratio).T, spread=False)


def _joined(place: NDArray[np.int64], weights: Float64, *, spread: bool) -> Any:
    """The sparse matrix of separable weights (phase, neighbour) between pixels and the fine pixels within each."""
    from scipy.sparse import coo_array

    ratio, width = weights.shape
    count, own = place.shape[1], np.arange(place.shape[1])
    parts = []
    for (i, j), near in _neighbours(place, width // 2):
        for p, q in itertools.product(range(ratio), repeat=2):
            weight = weights[p, i] * weights[q, j]
            if weight != 0:
                pixel, other = (own, near) if spread else (near, own)
                parts.append((np.full(count, weight, np.float32), pixel * ratio**2 + p * ratio + q, other))
    values, fine, coarse = (np.concatenate(part) for part in zip(*parts, strict=True))
    matrix = coo_array((values, (fine, coarse)), shape=(count * ratio**2, count)).tocsr()
    return matrix if spread else matrix.T.tocsr()


def _neighbours(place: NDArray[np.int64], reach: int) -> Iterator[tuple[tuple[int, int], NDArray[np.int64]]]:
    """Which pixel stands in each place of a window around each; where there is none, the nearest along an axis."""
    stride = int(place[1].max()) + 2 * reach + 2
    keys = place[0] * stride + place[1]
    order = np.argsort(keys)
    for i, j in itertools.product(range(2 * reach + 1), repeat=2):
        found = np.arange(keys.size)
        for down, right in ((i - reach, 0), (0, j - reach), (i - reach, j - reach)):
            wanted = keys + down * stride + right
            at = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), keys.size - 1)]
            found = np.where(keys[at] == wanted, at, found)
        yield (i, j), found


def _ranks(place: NDArray[np.int64], seed: int) -> Float32:
    """A random number for each place, the same for all of a block."""
    blocks = place // _BLOCK
    low, high = blocks.min(axis=1), blocks.max(axis=1) + 1
    window = (slice(0, 1), slice(0, 1), *(slice(int(a), int(b)) for a, b in zip(low, high, strict=True)))
    drawn = noise_block(window, deviations=[1.0], salts=[0], dates=[0], seed=seed)[0, 0]
    ranks: Float32 = drawn[*(blocks - low[:, None])]
    return ranks
