"""HySure: spectra in a subspace, near both images, with edges that all components share.

With a basis ``E`` (hs band, component) of the scene's spectra, the coefficients ``X`` minimise

``1/2 |hs - H E X|² + lambda_m/2 |ms - R E X|² + lambda_phi sum_pixels sqrt(sum_components |grad X|²)``

where ``H`` is the point spread and decimation and ``R`` the response. The last term, vector total variation, is split
off, and the alternating direction method of multipliers takes turns: steps of conjugate gradients for the quadratic
terms, then shrinkage of each pixel's gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from xrs.kernels import reach_of, upsample
from xrs.kernels.types import Bool, Float32, Float64
from xrs.methods._inversion import Observation, Problem
from xrs.methods._linear import combine
from xrs.methods._solver import conjugate_gradients
from xrs.methods.base import Method, Param, Pass, Reference, State, Tile
from xrs.methods.hsms._blocks import Block, blocks, place_of
from xrs.methods.hsms._common import PSF, SRF, Psf, taps_of
from xrs.methods.hsms._sample import Sample, draw, merge_samples
from xrs.methods.hsms._vca import vertices

__all__ = ["METHOD"]

#: Pixels of ``hs`` along the side of a block, and the margin it is solved with.
_BLOCK = 32
_MARGIN = 4

#: Steps of conjugate gradients in each turn; the next one goes on from there.
_STEPS = 3


def _summarise(tile: Tile, _state: State, *, psf: Psf, samples: int, seed: int, **_: Any) -> Sample:
    return draw(tile, psf, samples, seed)


def _solve(sample: Sample, _state: State, *, components: int, basis: str, seed: int, **_: Any) -> State:
    """The largest value, and the basis in that unit."""
    scale = float(np.abs(sample.hs).max())
    scale = scale if scale > 0 else 1.0
    hs = sample.hs.astype(np.float64) / scale
    count = min(components, *hs.shape)
    vectors = hs[:, vertices(hs, count, seed)] if basis == "vca" else np.linalg.eigh(hs @ hs.T)[1][:, : -count - 1 : -1]
    return {"scale": scale, "basis": np.ascontiguousarray(vectors)}


def _apply(
    tile: Tile,
    state: State,
    *,
    lambda_phi: float,
    lambda_m: float,
    mu: float,
    iterations: int,
    psf: Psf,
    srf: Float64,
    **_: Any,
) -> Float32:
    """The estimate of one tile, block by block."""
    ratio, scale, basis = tile.factors["ms"], np.float32(state["scale"]), state["basis"]
    out = np.empty((len(basis), *tile.core("ms").shape[1:]), np.float32)
    # Bands of hs share a point spread, so what they say of the components is said by as many numbers.
    frame, inner = np.linalg.qr(basis)
    hs, ms = combine(frame.T, tile["hs"]) / scale, tile["ms"] / scale
    taps = np.tile(taps_of(psf, "hs").mean(axis=0), (len(inner), 1))
    counts = _counts(tile.valid["hs"], hs, 1.0), _counts(tile.valid["ms"], ms, lambda_m)
    margin = tile.halo * ratio
    for block in blocks(out.shape[1] // ratio, out.shape[2] // ratio, _BLOCK):
        coarse, fine = (place_of(block, r, margin=tile.halo, halo=tile.halo) for r in (1, ratio))
        parts = (
            Observation(_cut(hs, coarse), _cut(counts[0], coarse), inner, taps, ratio),
            Observation(_cut(ms, fine), _cut(counts[1], fine), srf @ basis, None, 1),
        )
        first = upsample(combine(np.linalg.pinv(inner), parts[0].bands), ratio, "bilinear")
        problem = Problem(parts, np.ones(first.shape[1:], np.float32), np.full(len(first), mu))
        found = _minimise(problem, first, mu, lambda_phi / mu, iterations)
        core = np.ascontiguousarray(found[:, margin : found.shape[1] - margin, margin : found.shape[2] - margin])
        out[:, *place_of(block, ratio)] = combine(basis * state["scale"], core)
    return out


def _counts(valid: Bool | None, bands: Float32, weight: float) -> Float32:
    """How much each pixel of bands (band, y, x) counts: the root of the weight where all were seen."""
    seen = np.ones((1, *bands.shape[1:]), np.float32) if valid is None else valid.all(axis=0, keepdims=True)
    return np.repeat(np.float32(np.sqrt(weight)) * seen, len(bands), axis=0)


def _minimise(problem: Problem, first: Float32, mu: float, threshold: float, iterations: int) -> Float32:
    """Coefficients (component, y, x) after so many turns, from the first ones."""
    x, right, precondition = first, problem.right(), problem.preconditioner()
    split = _gradient(x)
    gap = np.zeros_like(split)
    for _ in range(iterations):
        wanted = right + np.float32(mu) * _gradient_adjoint(split - gap)
        x = x + conjugate_gradients(problem.normal, wanted - problem.normal(x), precondition, 0.0, _STEPS)
        moved = _gradient(x) + gap
        split = _shrunk(moved, threshold)
        gap = moved - split
    return x


def _gradient(image: Float32) -> Float32:
    """Forward differences (2, component, y, x) along columns and rows; zero across the last."""
    out = np.zeros((2, *image.shape), np.float32)
    np.subtract(image[:, 1:], image[:, :-1], out=out[0, :, :-1])
    np.subtract(image[:, :, 1:], image[:, :, :-1], out=out[1, :, :, :-1])
    return out


def _gradient_adjoint(flow: Float32) -> Float32:
    """The transpose of :func:`_gradient`."""
    out = np.zeros_like(flow[0])
    out[:, :-1] -= flow[0, :, :-1]
    out[:, 1:] += flow[0, :, :-1]
    out[:, :, :-1] -= flow[1, :, :, :-1]
    out[:, :, 1:] += flow[1, :, :, :-1]
    return out


def _shrunk(flow: Float32, threshold: float) -> Float32:
    """Gradients of all components of a pixel shortened together by the threshold."""
    length = np.sqrt(np.einsum("dkyx,dkyx->yx", flow, flow))
    kept = np.maximum(length - np.float32(threshold), 0) / np.maximum(length, np.float32(1e-20))
    return flow * kept.astype(np.float32)


def _cut(image: Float32, place: Block) -> Float32:
    return np.ascontiguousarray(image[:, *place])


def _halo(factors: Mapping[str, int], *, psf: Psf, **_: Any) -> int:
    return _MARGIN + reach_of(taps_of(psf, "hs"), factors["ms"])


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and 0 < value < np.inf


def _count(least: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= least


METHOD = Method(
    name="hysure",
    family="hsms",
    summary="Spectra in a subspace near both images, with vector total variation.",
    apply=_apply,
    reference=Reference(
        "Simoes, Bioucas-Dias, Almeida and Chanussot 2015, A convex formulation for hyperspectral image "
        "superresolution via subspace-based regularization, IEEE Transactions on Geoscience and Remote Sensing "
        "53(6):3373-3388",
        "10.1109/TGRS.2014.2375320",
    ),
    passes=(Pass(_summarise, merge_samples, _solve),),
    params=(
        Param("components", 10, "dimensions of the subspace", "1 or more", _count(1)),
        Param(
            "basis",
            "vca",
            "spectra of the purest pixels, or singular vectors",
            "'vca' or 'svd'",
            lambda value: value in ("vca", "svd"),
        ),
        Param("lambda_phi", 5e-4, "weight of total variation", "a number above 0", _positive),
        Param("lambda_m", 1.0, "weight of the misfit to ms", "a number above 0", _positive),
        Param("mu", 0.05, "penalty of the method of multipliers", "a number above 0", _positive),
        Param("iterations", 200, "its turns", "1 or more", _count(1)),
        Param("samples", 4000, "pixels of hs to learn the basis from, at most", "1 or more", _count(1)),
        Param("seed", 0, "of the pixels drawn and of the first spectra", "0 or more", _count(0)),
        PSF,
        SRF,
    ),
    halo=_halo,
    block=_BLOCK,
    needs=("hs", "ms"),
)
