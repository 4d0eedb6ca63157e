"""STARFM: the coarse change is added to the fine image, averaged over neighbours that are alike and change little.

With ``F_k`` and ``C_k`` the fine and coarse images of pair ``k`` and ``C_0`` the coarse image of the date predicted,
``F_0 = sum W (F_k + C_0 - C_k)`` over the similar pixels of a window and over the pairs, ``W`` in inverse proportion to
``S T D``: ``S = |F_k - C_k|``, ``T = |C_k - C_0|``, ``D = 1 + d / A`` at distance ``d``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from xrs.kernels.types import Bool, Float32
from xrs.methods.base import Method, Param, Reference, State, Tile
from xrs.methods.spatiotemporal._scene import (
    KERNEL,
    SCENE,
    WINDOW,
    Images,
    images_of,
    nothing,
    window_distance,
    window_halo,
)

__all__ = ["METHOD"]

#: Dates predicted together: what depends on the pairs alone is done once for them, and they must fit in memory.
_AT_ONCE = 2


def apply(
    tile: Tile,
    state: State,
    *,
    window: int,
    classes: float,
    spatial_impact: float,
    uncertainty_fine: float,
    uncertainty_coarse: float,
    scale: float,
    log: bool,
    filters: str,
    kernel: str,
) -> Float32:
    """Predict one tile, each band by itself.

    Parameters
    ----------
    tile : Tile
        ``fine`` and ``coarse`` (pair, band, y, x), ``target`` (target, band, y, x).
    state : mapping
        Of :data:`SCENE`.
    window, classes, spatial_impact, uncertainty_fine, uncertainty_coarse, scale, log, filters, kernel
        The method's parameters.

    Returns
    -------
    ndarray, float32, (target, band, y, x)
        On the fine grid, without halo. NaN where no pair saw the pixel, or nothing in the window tells of the change.
    """
    out = nothing(tile)
    if not state:
        return out
    images = images_of(tile, state, window // 2, kernel)
    pairs, bands = images.fine.shape[:2]
    thresholds = (2.0 / classes * state["std"]).reshape(pairs, bands).astype(np.float32)
    nearness = (1.0 / (1.0 + window_distance(window // 2) / spatial_impact)).astype(np.float32)
    slack = float(np.hypot(uncertainty_fine, uncertainty_coarse)), float(np.sqrt(2.0) * uncertainty_coarse)
    rules = _Rules(nearness, slack, scale, log, filters == "both")
    for b in range(bands):
        band = Images(*(np.ascontiguousarray(array[:, b]) for array in vars(images).values()))
        out[:, b] = _predict_band(band, thresholds[:, b], rules)
    return out


@dataclass(frozen=True)
class _Rules:
    """The parameters as the kernel takes them; ``slack`` of S and of T."""

    nearness: Float32
    slack: tuple[float, float]
    scale: float
    log: bool
    both_filters: bool


def _predict_band(band: Images, thresholds: Float32, rules: _Rules) -> Float32:
    """One band: images (pair or target, y, x)."""
    radius = rules.nearness.shape[0] // 2
    core = (..., slice(radius, -radius), slice(radius, -radius))
    usable = band.fine_seen & band.coarse_seen
    spectral = np.abs(band.fine - band.coarse)
    # A centre that was not seen is similar to nothing.
    allowed = np.where(band.fine_seen[core], thresholds[:, None, None], np.float32(0.0))
    limit = _limit(spectral[core], usable[core], rules.slack[0])
    always = np.full_like(limit, np.inf)
    needed, enough = (limit, -always) if rules.both_filters else (always, limit)
    weight = _weight(spectral, usable, rules)
    out = np.empty((len(band.target), *limit.shape), np.float32)
    for first in range(0, len(out), _AT_ONCE):
        dates = slice(first, first + _AT_ONCE)
        change = band.target[dates, None] - band.coarse
        both = band.target_seen[dates, None] & usable
        most = np.stack([_limit(np.abs(c[core]), b[core], rules.slack[1]) for c, b in zip(change, both, strict=True)])
        steady = _weight(np.abs(change), both, rules)
        sums = np.zeros((2, *most.shape))
        for k in range(len(band.fine)):
            _add_pair(
                band.fine[k], allowed[k], spectral[k], needed, enough, weight[k], change[:, k], most, steady[:, k],
                rules.nearness, sums,
            )  # fmt: skip
        own, certain = _of_centre(band.fine[core], spectral[core], change[core], both[core])
        with np.errstate(invalid="ignore", divide="ignore"):
            out[dates] = np.where(certain | (sums[0] == 0.0), own, sums[1] / sums[0])
    return out


def _of_centre(fine: Float32, spectral: Float32, change: Float32, seen: Bool) -> tuple[Float32, Bool]:
    """What the pixel itself says (target, y, x), and where that is all: nothing changes, or the sensors agree."""
    certain = seen & ((spectral == 0.0) | (change == 0.0))
    sure = certain.any(axis=1)
    used = np.where(sure[:, None], certain, seen)
    with np.errstate(invalid="ignore", divide="ignore"):
        return ((fine + change) * used).sum(axis=1) / used.sum(axis=1, dtype=np.float32), sure


def _limit(difference: Float32, seen: Bool, slack: float) -> Float32:
    """The largest difference a neighbour may have, given those of the centre in each pair (pair, y, x)."""
    largest = np.where(seen, difference, np.float32(-np.inf)).max(axis=0)
    return np.where(seen.any(axis=0), largest + np.float32(slack), np.float32(np.inf))


def _weight(difference: Float32, seen: Bool, rules: _Rules) -> Float32:
    """The share of a difference in a pixel's weight; zero where it is not known."""
    steps = np.float32(rules.scale) * difference + np.float32(1.0)
    return np.where(seen, 1.0 / (np.log(steps + np.float32(1.0)) if rules.log else steps), np.float32(0.0))


@njit(nogil=True, cache=True, error_model="numpy")
def _add_pair(  # type: ignore[no-untyped-def]
    fine, allowed, spectral, needed, enough, spectral_weight, changes, limits, temporal_weight, nearness, sums
):  # fmt: skip
    targets, height, width = limits.shape
    side = nearness.shape[0]
    radius = side // 2
    # All pixels of a row meet the same neighbour at once: contiguous loads, and an order that no tile changes.
    # Few arrays in each loop, or the compiler cannot tell that they do not overlap.
    similar = np.empty(width, np.float32)
    weight = np.empty(width, np.float32)
    weights = np.empty((targets, width), np.float32)
    values = np.empty((targets, width), np.float32)
    for y in range(height):
        centre, threshold = fine[y + radius, radius : radius + width], allowed[y]
        likely, sure = needed[y], enough[y]
        for i in range(side):
            weights[:] = 0.0
            values[:] = 0.0
            for j in range(side):
                near = nearness[i, j]
                f, s, w = fine[y + i, j:], spectral[y + i, j:], spectral_weight[y + i, j:]
                for x in range(width):
                    near_and_alike = (abs(f[x] - centre[x]) < threshold[x]) & (s[x] < likely[x])
                    similar[x] = w[x] * near if near_and_alike else np.float32(0.0)
                for t in range(targets):
                    change, steady, most = changes[t, y + i, j:], temporal_weight[t, y + i, j:], limits[t, y]
                    for x in range(width):
                        passes = (abs(change[x]) < most[x]) | (s[x] < sure[x])
                        weight[x] = similar[x] * steady[x] if passes else np.float32(0.0)
                    total, value = weights[t], values[t]
                    for x in range(width):
                        total[x] += weight[x]
                        value[x] += weight[x] * (f[x] + change[x])
            for t in range(targets):
                for x in range(width):
                    sums[0, t, y, x] += weights[t, x]
                    sums[1, t, y, x] += values[t, x]


METHOD = Method(
    name="starfm",
    family="spatiotemporal",
    summary="Adds the coarse change to the fine image, averaged over similar neighbours that change little.",
    apply=apply,
    reference=Reference(
        "Gao, Masek, Schwaller and Hall 2006, On the blending of the Landsat and MODIS surface reflectance: predicting "
        "daily Landsat surface reflectance, IEEE Transactions on Geoscience and Remote Sensing 44(8):2207-2218",
        "10.1109/TGRS.2006.872081",
    ),
    passes=(SCENE,),
    params=(
        WINDOW,
        Param(
            "classes",
            40.0,
            "similar pixels differ by less than two standard deviations over this many classes; 40 as in the authors' "
            "program, the paper says their estimated number",
            "above 0",
            lambda m: m > 0,
        ),
        Param(
            "spatial_impact",
            25.0,
            "distance in fine pixels that counts as much as none twice over: A of D = 1 + d / A",
            "above 0",
            lambda a: a > 0,
        ),
        Param("uncertainty_fine", 0.005, "of the fine images, in their unit", "0 or more", lambda s: s >= 0),
        Param("uncertainty_coarse", 0.005, "of the coarse images, in their unit", "0 or more", lambda s: s >= 0),
        Param("scale", 1e4, "what one unit of the data is counted as in the weights", "above 0", lambda b: b > 0),
        Param("log", False, "whether logarithms of S and T enter the weights", "True or False"),
        Param(
            "filters",
            "both",
            "whether a neighbour's S and T must both stay below those of the centre, as in the paper, or one of them, "
            "as in the authors' program",
            "'both' or 'either'",
            lambda name: name in ("both", "either"),
        ),
        KERNEL,
    ),
    halo=window_halo,
    needs=("fine", "coarse", "target"),
    pairs=(1, 2),
    differs="One step of 1 / scale is added to S and T (in the logarithms two), as in the authors' program: without it "
    "a neighbour that does not change would weigh infinitely. With two pairs a neighbour is held against the larger of "
    "the centre's differences. A threshold of zero leaves the pixel alone. A centre not seen by the coarse sensor sets "
    "no limits to its neighbours; one not seen by the fine sensor takes no part in that pair.",
)
