"""Unsupervised classes of the fine pixels of a scene, and their shares in windows and in coarse pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xrs.kernels.types import Bool, Float32, Float64
from xrs.methods.base import Tile

__all__ = [
    "UNSEEN", "Sample", "block_shares", "classify", "k_means", "merge_samples", "rank_of_places", "same_class_share",
    "sample_pixels",
]  # fmt: skip

#: The label of a pixel that was not seen.
UNSEEN = -1

#: Pixels drawn from the scene, at most.
_DRAWN = 10_000

#: Steps of k-means, at most.
_STEPS = 100


@dataclass(frozen=True)
class Sample:
    """Pixels drawn from a scene.

    Attributes
    ----------
    ranks : ndarray of uint64 (n,)
        Drawn for their places, ascending: those of lowest rank are kept.
    pixels : ndarray, float32, (n, band)
    """

    ranks: NDArray[np.uint64]
    pixels: Float32


def rank_of_places(first: Sequence[int], shape: Sequence[int], seed: int) -> NDArray[np.uint64]:
    """A pseudorandom number for each place of a lattice (row, column) from ``first`` on, the same in any window.

    The mixing function is SplitMix64's (Steele, Lea and Flood 2014, 10.1145/2714064.2660195).
    """
    rows, columns = (np.arange(start, start + n, dtype=np.uint64) for start, n in zip(first, shape, strict=True))
    place = rows[:, None] << np.uint64(32) | columns
    state = place * np.uint64(0x9E3779B97F4A7C15) + np.full(1, seed, np.uint64) * np.uint64(0xD1B54A32D192ED03)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray(state ^ (state >> np.uint64(31)))


def sample_pixels(tile: Tile, name: str, image: Float32, seen: Bool, seed: int) -> Sample:
    """Draw pixels of a tile's core.

    Parameters
    ----------
    tile : Tile
    name : str
        The observation on whose grid the image lies.
    image : ndarray (band, y, x)
        Without halo.
    seen : ndarray of bool (y, x)
    seed : int
    """
    first = [start * tile.factors[name] for start in tile.origin]
    ranks = rank_of_places(first, seen.shape, seed)[seen]
    return _lowest(ranks, image[:, seen].T)


def merge_samples(one: Sample, other: Sample) -> Sample:
    """The pixels of lowest rank of both."""
    return _lowest(np.concatenate([one.ranks, other.ranks]), np.concatenate([one.pixels, other.pixels]))


def _lowest(ranks: NDArray[np.uint64], pixels: Float32) -> Sample:
    kept = np.argsort(ranks, kind="stable")[:_DRAWN]
    return Sample(ranks[kept], pixels[kept])


def k_means(pixels: Float32, classes: int, seed: int) -> Float32:
    """Centres (class, band) of at most ``classes`` clusters of pixels (n, band).

    Starts from k-means++ (Arthur and Vassilvitskii 2007) and follows Lloyd until no pixel changes its cluster. Fewer
    clusters are found where there are fewer different pixels.
    """
    data = pixels.astype(np.float64)
    centres = _first_centres(data, classes, np.random.default_rng(seed))
    nearest = np.full(data.shape[0], UNSEEN)
    for _ in range(_STEPS):
        before, nearest = nearest, _squared_distances(data, centres).argmin(axis=1)
        if (nearest == before).all():
            break
        for k in np.unique(nearest):
            centres[k] = data[nearest == k].mean(axis=0)
    return centres.astype(np.float32)


def _first_centres(data: Float64, classes: int, rng: np.random.Generator) -> Float64:
    centres = data[rng.integers(data.shape[0])][None]
    while centres.shape[0] < classes:
        away = _squared_distances(data, centres).min(axis=1)
        if not away.any():
            break
        centres = np.concatenate([centres, data[rng.choice(data.shape[0], p=away / away.sum())][None]])
    return centres


def _squared_distances(data: Float64, centres: Float64) -> Float64:
    return np.asarray(((data[:, None] - centres) ** 2).sum(axis=2))


def classify(image: Float32, seen: Bool, centres: Float32) -> NDArray[np.int8]:
    """The nearest centre (class, band) of each pixel of an image (band, y, x); ``UNSEEN`` where not seen."""
    labels = np.empty(seen.shape, np.int8)
    _classify(image, seen, centres, labels)
    return labels


def block_shares(labels: NDArray[np.int8], classes: int, ratio: int) -> tuple[Float64, Float64]:
    """The share of each class among the pixels seen of each block (class, y, x), and the share of those (y, x)."""
    height, width = (n // ratio for n in labels.shape)
    blocks = labels.reshape(height, ratio, width, ratio)
    counts = np.stack([(blocks == k).sum(axis=(1, 3)) for k in range(classes)]).astype(np.float64)
    seen = counts.sum(axis=0)
    return counts / np.maximum(seen, 1.0), seen / ratio**2


def same_class_share(labels: NDArray[np.int8], classes: int, radius: int) -> Float32:
    """The share of a pixel's own class among the pixels seen around it; without ``radius`` pixels at the edges."""
    out = np.empty((labels.shape[0] - 2 * radius, labels.shape[1] - 2 * radius), np.float32)
    _same_class_share(labels, classes, radius, out)
    return out


@njit(nogil=True, cache=True, error_model="numpy")
def _classify(image, seen, centres, labels):  # type: ignore[no-untyped-def]
    for y in range(seen.shape[0]):
        for x in range(seen.shape[1]):
            labels[y, x] = UNSEEN
            least = np.inf
            for k in range(centres.shape[0] if seen[y, x] else 0):
                distance = 0.0
                for b in range(centres.shape[1]):
                    distance += (np.float64(image[b, y, x]) - centres[k, b]) ** 2
                if distance < least:
                    least = distance
                    labels[y, x] = k


@njit(nogil=True, cache=True, error_model="numpy")
def _same_class_share(labels, classes, radius, out):  # type: ignore[no-untyped-def]
    side = 2 * radius + 1
    columns = np.zeros((classes, labels.shape[1]), np.int64)
    window = np.empty(classes, np.int64)
    for i in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            if labels[i, x] != UNSEEN:
                columns[labels[i, x], x] += 1
            if i >= side and labels[i - side, x] != UNSEEN:
                columns[labels[i - side, x], x] -= 1
        if i < side - 1:
            continue
        window[:] = columns[:, : side - 1].sum(axis=1)
        for j in range(out.shape[1]):
            window += columns[:, j + side - 1]
            own = labels[i - radius, j + radius]
            out[i - side + 1, j] = window[own] / window.sum() if own != UNSEEN else 0.0
            window -= columns[:, j]
