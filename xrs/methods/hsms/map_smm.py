"""Maximum a posteriori spectra: what ``ms`` tells of each, class by class, made to agree with ``hs``.

Given the bands of ``ms`` in a pixel, its spectrum is normal with a mean ``mu`` and covariance ``S`` that a mixture of
classes gives (:mod:`._prior`). With the point spread and decimation ``H`` and noise of variance ``v`` in ``hs``, the
spectra ``z`` minimise ``|hs - H z|² / v + (z - mu)' S⁻¹ (z - mu)``, that is

``z = mu + S H' (H S H' + v)⁻¹ (hs - H mu)``.

In the principal components of ``S`` this is one system on the grid of ``hs`` for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from xrs.kernels import decimate, decimate_adjoint, reach_of
from xrs.kernels.types import Bool, Float32, Float64
from xrs.methods._linear import combine
from xrs.methods._solver import conjugate_gradients
from xrs.methods.base import Method, Param, Pass, Reference, State, Tile
from xrs.methods.hsms._blocks import blocks, place_of
from xrs.methods.hsms._common import PSF, Psf, taps_of
from xrs.methods.hsms._prior import learn_prior, neighbour_differences
from xrs.methods.hsms._sample import Sample, draw, merge_samples

__all__ = ["METHOD"]

#: Pixels of ``hs`` along the side of a block, and the margin it is solved with.
_BLOCK = 32
_MARGIN = 6

#: Least variance of noise, over the largest of a component.
_LEAST_NOISE = 1e-6

_TOLERANCE = 1e-5
_ITERATIONS = 100


def _summarise(tile: Tile, _state: State, *, psf: Psf, samples: int, seed: int, **_: Any) -> Sample:
    """Pixels drawn from the scene: ``hs``, and as its bands what it would see of ``ms`` and of its differences."""
    ratio = tile.factors["ms"]
    layers = np.concatenate([tile["ms"], neighbour_differences(tile["ms"])])
    taps = taps_of(psf, "ms")
    low = decimate(layers, np.tile(taps, (9, 1)) if len(taps) > 1 else taps, ratio)
    return draw(replace(tile, arrays={**tile.arrays, "hs": np.concatenate([tile["hs"], low])}), psf, samples, seed)


def _solve(
    sample: Sample, _state: State, *, psf: Psf, classes: int, components: int, seed: int, context: bool, **_: Any
) -> State:
    """The prior; and of what it leaves open the components, their variances on the fine grid and that of noise."""
    c = len(sample.ms)
    bands = len(sample.hs) - 9 * c
    hs, ms, differences = np.split(sample.hs.astype(np.float64), [bands, bands + c])
    prior = learn_prior(hs, ms, differences if context else None, sample.place, classes=classes, seed=seed)
    values, vectors = np.linalg.eigh(prior.covariance)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    kept = min(components, bands)
    noise = max(float(values[kept:].mean()) if kept < bands else float(values[-1]), _LEAST_NOISE * float(values[0]))
    # Of pixels that are independent, a coarse pixel sees this share of the variance.
    share = float(np.square(_spread(psf)).sum()) ** 2
    return {
        "prior": prior,
        "basis": np.ascontiguousarray(vectors[:, :kept]),
        "variances": np.maximum(values[:kept] - noise, 0.0) / share,
        "noise": noise,
    }


def _apply(tile: Tile, state: State, *, psf: Psf, **_: Any) -> Float32:
    """The estimate of one tile, block by block."""
    ratio, variances = tile.factors["ms"], state["variances"]
    matrix, terms = state["prior"].terms(tile["ms"])
    mean = combine(matrix, terms)
    out: Float32 = np.ascontiguousarray(tile.core("ms", mean))
    if not variances.any():
        return out
    seen = _seen(tile, psf)
    left = combine(state["basis"].T, tile["hs"] - decimate(mean, taps_of(psf, "hs"), ratio))
    if seen is not None:
        left *= seen
    inner = _MARGIN * ratio
    for block in blocks(out.shape[1] // ratio, out.shape[2] // ratio, _BLOCK):
        window = place_of(block, 1, margin=_MARGIN, halo=tile.halo)
        part = np.ascontiguousarray(left[:, *window])
        found = _correction(part, None if seen is None else seen[window], _spread(psf), ratio, state)
        core = np.ascontiguousarray(found[:, inner : found.shape[1] - inner, inner : found.shape[2] - inner])
        out[:, *place_of(block, ratio)] += combine(state["basis"], core)
    return out


def _correction(left: Float32, seen: Bool | None, taps: Float64, ratio: int, state: State) -> Float32:
    """``S H' (H S H' + v)⁻¹ left`` in components (component, y, x), on the fine grid."""
    variances = state["variances"].astype(np.float32)[:, None, None]
    noise = np.float32(state["noise"])
    mask = np.ones(left.shape[1:], np.float32) if seen is None else seen.astype(np.float32)

    def normal(v: Float32) -> Float32:
        fine = decimate_adjoint(np.asarray(mask * v, np.float32), taps, ratio)
        spread = decimate(fine, taps, ratio)
        return np.asarray(mask * variances * spread + noise * v, np.float32)

    scale = 1.0 / (variances * np.float32(np.square(taps).sum() ** 2) + noise)
    solved = conjugate_gradients(normal, left, lambda v: scale * v, _TOLERANCE, _ITERATIONS)
    masked = np.asarray(mask * solved, np.float32)
    return np.asarray(variances * decimate_adjoint(masked, taps, ratio), np.float32)


def _spread(psf: Psf) -> Float64:
    """The mean point spread of the bands of ``hs``."""
    return taps_of(psf, "hs").mean(axis=0)


def _seen(tile: Tile, psf: Psf) -> Bool | None:
    """Pixels of ``hs`` (y, x), halo included, that were seen and with them all of ``ms`` around; None: everywhere."""
    hs, ms = tile.valid["hs"], tile.valid["ms"]
    seen = None if hs is None else np.asarray(hs.all(axis=0))
    if ms is None:
        return seen
    share = decimate(np.asarray(ms.all(axis=0, keepdims=True), np.float32), _spread(psf), tile.factors["ms"])
    whole = np.asarray(share[0] > 0.999)
    return whole if seen is None else whole & seen


def _halo(factors: Mapping[str, int], *, psf: Psf, **_: Any) -> int:
    reach = max(reach_of(taps_of(psf, name), factors["ms"]) for name in ("hs", "ms"))
    return _MARGIN + reach + 1


def _count(least: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= least


METHOD = Method(
    name="map_smm",
    family="hsms",
    summary="Maximum a posteriori estimate with a mixture of classes whose statistics tell spectra from ms.",
    apply=_apply,
    reference=Reference(
        "Eismann and Hardie 2004, Application of the stochastic mixing model to hyperspectral resolution enhancement, "
        "IEEE Transactions on Geoscience and Remote Sensing 42(9):1924-1933",
        "10.1109/TGRS.2004.830644",
    ),
    passes=(Pass(_summarise, merge_samples, _solve),),
    params=(
        Param("classes", 6, "classes of the mixture, fewer if few pixels were seen", "1 or more", _count(1)),
        Param("components", 40, "principal components in which hs corrects the estimate", "1 or more", _count(1)),
        Param(
            "context",
            True,
            "whether neighbours in ms may tell of a pixel's spectrum, where cross-validation finds that they do",
            "True or False",
            lambda value: isinstance(value, bool),
        ),
        Param("samples", 4000, "pixels of hs to learn from, at most", "1 or more", _count(1)),
        Param("seed", 0, "of the pixels drawn and the first classes", "0 or more", _count(0)),
        PSF,
    ),
    halo=_halo,
    block=_BLOCK,
    needs=("hs", "ms"),
    differs=(
        "Classes are those of a mixture of normal distributions of whole pixels, not of mixed endmembers. The "
        "covariance that they leave is one for all; the noise of hs is the mean variance outside of the components. "
        "The regression on neighbours is none of the paper's: where ms lies off hs it finds so, and the result then "
        "lies as hs does. Solved in blocks of 32 pixels of hs with a margin of 6; all bands of hs share the mean point "
        "spread in the correction."
    ),
)
