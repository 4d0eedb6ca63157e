"""FSDAF: changes of classes, corrected by what they leave over of each coarse pixel's change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xrs.kernels.types import Bool, Float32, Float64
from xrs.methods._kriging import krige
from xrs.methods.base import Method, Param, Pass, Reference, State, Tile
from xrs.methods.spatiotemporal._classes import (
    Sample,
    block_shares,
    classify,
    k_means,
    merge_samples,
    rank_of_places,
    same_class_share,
    sample_pixels,
)
from xrs.methods.spatiotemporal._grids import inside_scene, own_ratio, seen_in_all_bands, to_fine, trimmed
from xrs.methods.spatiotemporal._nearest_similar import Search, average_similar
from xrs.methods.spatiotemporal._scene import VALID_RANGE, WINDOW
from xrs.methods.spatiotemporal._spline import REACH, inverse_distance_weights, spline_weights
from xrs.methods.spatiotemporal._unmix import Purest, class_changes, merge_purest, purest

__all__ = ["METHOD"]

#: Where fewer of its fine pixels were seen, the classes of a coarse pixel are not known.
_LEAST_SEEN = 0.5


def apply(
    tile: Tile,
    state: State,
    *,
    window: int,
    similar: int,
    classes: int,
    spatial: str,
    valid_range: tuple[float, float],
    **_: Any,
) -> Float32:
    """Predict one tile.

    Parameters
    ----------
    tile : Tile
        ``fine`` and ``coarse`` (1, band, y, x), ``target`` (target, band, y, x).
    state : mapping
        ``centres`` (class, band) and ``spread`` (band,) of the fine image; ``change`` (target, class, band); ``low``
        and ``high`` (target, band), the range of the coarse image and of the temporal prediction; ``end``, the scene's
        rows and columns in coarse pixels.
    window, similar, classes, spatial, valid_range
        See the parameters of the record.

    Returns
    -------
    ndarray, float32, (target, band, y, x)
        On the fine grid, without halo. NaN where the fine image was not seen, where none of the similar pixels lies in
        a coarse pixel seen on both dates, and on dates on which the scene has no such coarse pixel.
    """
    fine = tile.core("fine")[0]
    if "change" not in state:
        return np.full((tile["target"].shape[0], *fine.shape), np.nan, np.float32)
    radius = window // 2
    around = _surroundings(tile, state, radius, spatial)
    values = np.stack([_prediction(around, state, t, spatial, valid_range) for t in range(len(around.spatial))])
    values -= around.fine
    usable = to_fine(around.usable, around.ratio) & around.seen
    beyond = -radius % around.ratio
    guide, seen, values, usable = (trimmed(a, beyond) for a in (around.fine, around.seen, values, usable))
    limits = 2.0 * state["spread"] / classes
    search = Search(radius, similar, scale=float(radius), limits=limits, relative=True)
    out = fine + average_similar(guide, seen, values, usable, search)
    return _within(out, tile, around.ratio, valid_range)


@dataclass(frozen=True)
class _Surroundings:
    """A tile as far as similar pixels are searched, in whole coarse pixels.

    Attributes
    ----------
    ratio : int
    fine : ndarray (band, y, x)
    seen : ndarray of bool (y, x)
    labels : ndarray (y, x)
        Classes.
    homogeneity : ndarray (y, x)
        The share of a pixel's class around it.
    shares : ndarray (class, y, x)
        Of the classes in coarse pixels.
    usable : ndarray of bool (target, y, x)
        Coarse pixels whose change and classes are known.
    changes : ndarray (target, band, y, x)
        Of the coarse images.
    spatial : ndarray (target, band, y, x)
        Coarse images, wider by what interpolating them takes.
    """

    ratio: int
    fine: Float32
    seen: Bool
    labels: NDArray[np.int8]
    homogeneity: Float32
    shares: Float64
    usable: Bool
    changes: Float32
    spatial: Float32


def _surroundings(tile: Tile, state: State, radius: int, spatial: str) -> _Surroundings:
    ratio = tile.factors["fine"] // tile.factors["target"]
    cut = tile.halo - -(-radius // ratio)
    seen = seen_in_all_bands(tile, "fine")[0] & inside_scene(tile, "fine", state["end"])
    classes = len(state["centres"])
    labels = classify(tile["fine"][0], seen, state["centres"])
    inner = trimmed(labels, cut * ratio)
    shares, known = block_shares(inner, classes, ratio)
    both = seen_in_all_bands(tile, "coarse")[0] & seen_in_all_bands(tile, "target")
    determined = np.isfinite(state["change"]).all(axis=(1, 2))[:, None, None]
    return _Surroundings(
        ratio=ratio,
        fine=trimmed(tile["fine"][0], cut * ratio),
        seen=trimmed(seen, cut * ratio),
        labels=inner,
        homogeneity=trimmed(same_class_share(labels, classes, radius), cut * ratio - radius),
        shares=shares,
        usable=trimmed(both, cut) & (known >= _LEAST_SEEN) & determined,
        changes=trimmed(tile["target"] - tile["coarse"], cut),
        spatial=trimmed(tile["target"], cut - REACH[spatial]),
    )


def _prediction(around: _Surroundings, state: State, t: int, spatial: str, valid_range: tuple[float, float]) -> Float32:
    """The fine image of one date before it is smoothed over similar pixels (band, y, x)."""
    change = state["change"][t]
    temporal = around.fine + change.T[:, around.labels].astype(np.float32)
    explained = np.tensordot(change.T, around.shares, 1)
    residual = np.where(around.usable[t], around.changes[t] - explained, 0.0)
    weights = (spline_weights if spatial == "tps" else inverse_distance_weights)(around.ratio)
    out = np.stack([krige(band, weights) for band in around.spatial[t]])
    # The spatial prediction turns into the part of the residual that each pixel gets.
    _distribute(residual, temporal, around.homogeneity, around.seen, around.ratio, out)
    out += temporal
    low, high = np.maximum(state["low"][t], valid_range[0]), np.minimum(state["high"][t], valid_range[1])
    return np.clip(out, low[:, None, None], high[:, None, None], dtype=np.float32)


def _within(out: Float32, tile: Tile, ratio: int, valid_range: tuple[float, float]) -> Float32:
    """Replace what is out of range by the fine image and the change of its coarse pixel."""
    change = tile.core("target") - tile.core("coarse")
    plain = np.clip(tile.core("fine") + change.repeat(ratio, axis=-2).repeat(ratio, axis=-1), *valid_range)
    return np.where((out < valid_range[0]) | (out > valid_range[1]), plain, out).astype(np.float32)


@njit(nogil=True, cache=True, error_model="numpy")
def _distribute(residual, temporal, homogeneity, seen, ratio, spatial):  # type: ignore[no-untyped-def]
    """Give the residual of each coarse pixel to its fine ones; ``spatial`` is overwritten with what each gets."""
    for b in range(residual.shape[0]):
        for i in range(residual.shape[1]):
            for j in range(residual.shape[2]):
                rows, columns = slice(i * ratio, (i + 1) * ratio), slice(j * ratio, (j + 1) * ratio)
                part = spatial[b, rows, columns]
                inside = seen[rows, columns]
                _weigh(residual[b, i, j], temporal[b, rows, columns], homogeneity[rows, columns], inside, part)
                # Once more, after extreme weights have been set to the mean.
                _to_mean_of_one(inside, part)
                for y in range(ratio):
                    for x in range(ratio):
                        if part[y, x] > 10.0:
                            part[y, x] = 1.0
                _to_mean_of_one(inside, part)
                part *= np.float32(residual[b, i, j])


@njit(nogil=True, cache=True, error_model="numpy")
def _weigh(residual, temporal, homogeneity, seen, part):  # type: ignore[no-untyped-def]
    """Within one class the spatial prediction says where the residual belongs, elsewhere nothing does."""
    for y in range(part.shape[0]):
        for x in range(part.shape[1]):
            gap = np.float64(part[y, x]) - temporal[y, x]
            if not seen[y, x]:
                part[y, x] = 0.0
                continue
            same = abs(gap) if gap * residual > 0.0 else 0.0
            part[y, x] = same * homogeneity[y, x] + abs(residual) * (1.0 - homogeneity[y, x]) + 1e-9


@njit(nogil=True, cache=True, error_model="numpy")
def _to_mean_of_one(seen, part):  # type: ignore[no-untyped-def]
    total, count = 0.0, 0
    for y in range(part.shape[0]):
        for x in range(part.shape[1]):
            if seen[y, x]:
                total += part[y, x]
                count += 1
    if count:
        part *= np.float32(count / total)


def _draw(tile: Tile, _state: State, *, seed: int, **_: Any) -> Sample:
    seen = trimmed(seen_in_all_bands(tile, "fine")[0], tile.halo * tile.factors["fine"])
    return sample_pixels(tile, "fine", tile.core("fine")[0], seen, seed)


def _learn_classes(sample: Sample, _state: State, *, classes: int, seed: int, **_: Any) -> State:
    if not sample.ranks.size:
        return {}
    spread = sample.pixels.std(axis=0, dtype=np.float64)
    return {"centres": k_means(sample.pixels, classes, seed), "spread": spread}


@dataclass(frozen=True)
class _Seen:
    """What a tile tells of the changes of classes: pure coarse pixels, and the range of the images.

    ``low`` and ``high`` are those of the fine image for each class and band, then of the coarse one for each target
    and band; ``end`` is where the tile ends, in coarse pixels.
    """

    pure: Purest
    low: tuple[Float64, Float64]
    high: tuple[Float64, Float64]
    end: tuple[int, int]


def _summarise(tile: Tile, state: State, *, pure: int, seed: int, **_: Any) -> _Seen | None:
    if "centres" not in state:
        return None
    ratio = tile.factors["fine"] // tile.factors["target"]
    fine, target = tile.core("fine")[0], tile.core("target")
    classes = len(state["centres"])
    labels = classify(fine, trimmed(seen_in_all_bands(tile, "fine")[0], tile.halo * ratio), state["centres"])
    shares, known = block_shares(labels, classes, ratio)
    target_seen = trimmed(seen_in_all_bands(tile, "target"), tile.halo)
    usable = target_seen & trimmed(seen_in_all_bands(tile, "coarse")[0], tile.halo) & (known >= _LEAST_SEEN)
    ranks = rank_of_places(tile.origin, known.shape, seed).astype(np.float64)
    changes = target.astype(np.float64) - tile.core("coarse")
    parts = [fine[:, labels == k] for k in range(classes)], [t[:, s] for t, s in zip(target, target_seen, strict=True)]
    return _Seen(
        purest(shares, changes, usable, ranks, pure),
        tuple(np.stack([p.min(axis=1, initial=np.inf) for p in of]).astype(np.float64) for of in parts),  # type: ignore[arg-type]
        tuple(np.stack([p.max(axis=1, initial=-np.inf) for p in of]).astype(np.float64) for of in parts),  # type: ignore[arg-type]
        (tile.origin[0] + known.shape[0], tile.origin[1] + known.shape[1]),
    )


def _merge(one: _Seen, other: _Seen) -> _Seen:
    return _Seen(
        merge_purest(one.pure, other.pure),
        (np.minimum(one.low[0], other.low[0]), np.minimum(one.low[1], other.low[1])),
        (np.maximum(one.high[0], other.high[0]), np.maximum(one.high[1], other.high[1])),
        (max(one.end[0], other.end[0]), max(one.end[1], other.end[1])),
    )


def _solve(found: _Seen, state: State, **_: Any) -> State:
    change = class_changes(found.pure)
    low = np.minimum((found.low[0] + change).min(axis=1), found.low[1])
    high = np.maximum((found.high[0] + change).max(axis=1), found.high[1])
    return {**state, "change": change, "low": low, "high": high, "end": found.end}


def _halo(factors: Mapping[str, int], *, window: int, spatial: str, **_: Any) -> int:
    similar = -(-(window // 2) // own_ratio(factors, "fsdaf"))
    return similar + max(similar, REACH[spatial])


METHOD = Method(
    name="fsdaf",
    family="spatiotemporal",
    summary="Changes of classes, corrected by what they leave over of each coarse pixel's change.",
    apply=apply,
    reference=Reference(
        "Zhu, Helmer, Gao, Liu, Chen and Lefsky 2016, A flexible spatiotemporal method for fusing satellite images "
        "with different resolutions, Remote Sensing of Environment 172:165-177",
        "10.1016/j.rse.2015.11.016",
    ),
    passes=(Pass(_draw, merge_samples, _learn_classes), Pass(_summarise, _merge, _solve)),
    params=(
        replace(WINDOW, default=41),
        Param("similar", 20, "how many of the most similar pixels are kept", "1 or more", lambda n: n > 0),
        Param("classes", 5, "of the fine image", "1 to 100", lambda n: 0 < n <= 100),
        Param("pure", 100, "purest coarse pixels of each class that tell its change", "1 or more", lambda n: n > 0),
        Param("spatial", "tps", "how the coarse image is interpolated", "'tps' or 'idw'", lambda s: s in REACH),
        replace(VALID_RANGE, doc="what predictions are cut to"),
        Param("seed", 0, "of the pixels the classes are found from", "0 or more", lambda n: n >= 0),
    ),
    halo=_halo,
    needs=("fine", "coarse", "target"),
    pairs=(1, 1),
    differs=(
        "Classes are k-means' on up to 10 000 pixels drawn from the scene, as many as asked for, in place of ISODATA's "
        "4 to 6. Their changes, the threshold of similarity and the range allowed are the whole scene's, where the "
        "published program takes them from blocks of 30 coarse pixels. The thin-plate spline is solved in windows of 9 "
        "coarse pixels, not over the whole scene, which it meets mirrored at its edges. A pixel counts among its own "
        "similar ones, and of equally similar ones the nearest is taken. Extreme values of the fine image are left as "
        "they are."
    ),
)
