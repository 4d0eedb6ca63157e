"""Coupled non-negative matrix factorisation: both images are mixtures of the same materials.

With the spectra ``W`` (hs band, material) and the abundances ``H`` (material, pixel), ``hs = W H_h`` on the coarse
grid and ``ms = R W H_m`` on the fine one, ``R`` the spectral response. The result is ``W H_m``. Both are factorised in
turn by multiplicative updates, ``H <- H (W'V) / (W'W H)`` and ``W <- W (V H') / (W H H')``, each beginning with what
the other gave. A row of constants below ``W`` and ``V`` draws the abundances of a pixel to a sum of one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from xrs.kernels import reach_of, upsample
from xrs.kernels.types import Float32, Float64
from xrs.methods.base import Method, Param, Pass, Reference, State, Tile
from xrs.methods.hsms._common import PSF, SRF, Psf, taps_of
from xrs.methods.hsms._sample import Sample, draw, interpolation, merge_samples, point_spread
from xrs.methods.hsms._vca import vertices

__all__ = ["METHOD"]

#: Added to what is divided by, so that 0 / 0 is 0.
_GUARD = np.float32(1e-12)

#: The first abundances are sought for this many loops.
_PATIENCE = 3

#: Bands of ``ms`` above which its spectra may change, and abundances on the coarse grid.
_FEW = 3

#: Pixels updated at once: what they need stays in the cache.
_CHUNK = 4096

#: Spectra (step, band, material) in the order in which abundances were updated with them.
Path = Float32


def _summarise(tile: Tile, _state: State, *, psf: Psf, samples: int, seed: int, **_: Any) -> Sample:
    return draw(tile, psf, samples, seed)


def _solve(
    sample: Sample,
    _state: State,
    *,
    psf: Psf,
    srf: Float64,
    endmembers: int,
    iterations: int,
    outer: int,
    seed: int,
    **_: Any,
) -> State:
    """Factorise the pixels drawn; what is kept are the spectra of every step, by which any pixel can follow.

    The state has ``scale`` and ``weight`` (of the sum to one), the paths ``coarse`` and ``fine`` (one for each turn),
    and the last ``spectra`` (hs band, material).
    """
    scale = float(sample.hs.max()) if sample.hs.max() > 0 else 1.0
    hs, ms = _scaled(sample.hs, scale), _scaled(sample.ms, scale)
    pixels, free, response = ms.reshape(len(ms), -1), len(ms) > _FEW, srf.astype(np.float32)
    ratio = math.isqrt(ms.shape[2])
    weight = np.float32(2 * np.sqrt(ms.mean(dtype=np.float64) / 0.7455) / len(ms) ** 3)
    spectra, abundances = _first(hs, min(endmembers, *hs.shape), seed)
    abundances = _follow(spectra[None], hs, abundances, weight, _PATIENCE * iterations - 1)
    spectra, abundances, coarse = _alternate(spectra, hs, abundances, weight, iterations)
    fine, paths = _dense(interpolation(sample.place, ratio) @ abundances.T), []
    for turn in range(outer + 1):
        if turn:
            abundances = _dense(point_spread(sample.place, taps_of(psf, "ms")[0], ratio) @ fine.T)
            spectra = _spectra(spectra, hs, abundances, iterations)
            spectra = _alternate(spectra, hs, abundances, weight, iterations, hold_abundances=not free)[0]
        seen = response @ spectra
        fine = _follow(seen[None], pixels, fine, weight, iterations - 1)
        fine, path = _alternate(seen, pixels, fine, weight, iterations, hold_spectra=not free)[1:]
        paths.append(path)
    return {"scale": scale, "weight": weight, "coarse": coarse, "fine": paths, "spectra": spectra}


def _apply(tile: Tile, state: State, *, iterations: int, **_: Any) -> Float32:
    weight, spectra = state["weight"], state["spectra"]
    hs, ms = _scaled(tile["hs"], state["scale"]), _scaled(tile.core("ms"), state["scale"])
    count, height, width = spectra.shape[1], *hs.shape[1:]
    start = np.full((count, height * width), 1 / count, np.float32)
    coarse = _follow(state["coarse"], hs.reshape(len(hs), -1), start, weight, _PATIENCE * iterations)
    fine = tile.core("ms", upsample(coarse.reshape(count, height, width), tile.factors["ms"], "bilinear"))
    fine = np.ascontiguousarray(fine).reshape(count, -1)
    for path in state["fine"]:
        fine = _follow(path, ms.reshape(len(ms), -1), fine, weight, iterations)
    fused: Float32 = (np.float32(state["scale"]) * spectra) @ fine
    return fused.reshape(-1, *ms.shape[1:])


def _first(hs: Float32, count: int, seed: int) -> tuple[Float32, Float32]:
    """The spectra of the vertices, and equal abundances."""
    spectra = hs[:, vertices(hs.astype(np.float64), count, seed)] + _GUARD
    return spectra, np.full((count, hs.shape[1]), 1 / count, np.float32)


def _scaled(image: Float32, scale: float) -> Float32:
    """Values in about 0 to 1, none below."""
    return np.maximum(np.ascontiguousarray(image) / np.float32(scale), np.float32(0))


def _dense(abundances: Any) -> Float32:
    """Abundances (material, pixel) of (pixel, material)."""
    return np.ascontiguousarray(abundances.T, np.float32)


def _follow(path: Path, values: Float32, start: Float32, weight: np.float32, wait: int = 0) -> Float32:
    """Abundances (material, pixel) after ``wait`` updates with the first spectra of a path, and one with each."""
    grams = [w.T @ w + weight**2 for w in path]
    out = np.empty_like(start)
    for first in range(0, start.shape[1], _CHUNK):
        part = slice(first, first + _CHUNK)
        h, v = start[:, part].copy(), np.ascontiguousarray(values[:, part])
        target, below = path[0].T @ v + weight**2, np.empty_like(h)
        for _ in range(wait):
            _update(h, grams[0], target, below)
        for step, (spectra, gram) in enumerate(zip(path, grams, strict=True)):
            _update(h, gram, spectra.T @ v + weight**2 if step else target, below)
        out[:, part] = h
    return out


def _update(abundances: Float32, gram: Float32, target: Float32, below: Float32) -> None:
    """One multiplicative update in place; ``below`` is room for what is divided by."""
    np.matmul(gram, abundances, out=below)
    below += _GUARD
    abundances *= target
    abundances /= below


def _spectra(spectra: Float32, values: Float32, abundances: Float32, steps: int) -> Float32:
    """Spectra after so many updates, the abundances held."""
    gram, target = abundances @ abundances.T, values @ abundances.T
    out = spectra.copy()
    for _ in range(steps):
        out *= target / (out @ gram + _GUARD)
    return out


def _alternate(
    spectra: Float32,
    values: Float32,
    abundances: Float32,
    weight: np.float32,
    steps: int,
    *,
    hold_spectra: bool = False,
    hold_abundances: bool = False,
) -> tuple[Float32, Float32, Path]:
    """Spectra and abundances updated in turn, and the spectra with which the abundances were."""
    path = []
    for _ in range(steps):
        path.append(spectra)
        if not hold_abundances:
            abundances = _follow(spectra[None], values, abundances, weight)
        if not hold_spectra:
            spectra = _spectra(spectra, values, abundances, 1)
    return spectra, abundances, np.stack(path)


def _halo(factors: Mapping[str, int], *, psf: Psf, **_: Any) -> int:
    return max(1, reach_of(taps_of(psf, "ms"), factors["ms"]))


def _count(least: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and value >= least


METHOD = Method(
    name="cnmf",
    family="hsms",
    summary="Unmixes both images into the spectra and abundances of the same materials.",
    apply=_apply,
    reference=Reference(
        "Yokoya, Yairi and Iwasaki 2012, Coupled nonnegative matrix factorization unmixing for hyperspectral and "
        "multispectral data fusion, IEEE Transactions on Geoscience and Remote Sensing 50(2):528-537",
        "10.1109/TGRS.2011.2161320",
    ),
    passes=(Pass(_summarise, merge_samples, _solve),),
    params=(
        Param("endmembers", 30, "materials, at most as many as bands of `hs` and pixels drawn", "1 or more", _count(1)),
        Param("iterations", 100, "updates of one loop", "1 or more", _count(1)),
        Param("outer", 1, "how often the unmixing of both images is repeated", "0 or more", _count(0)),
        Param("samples", 2000, "coarse pixels to learn spectra from, at most", "1 or more", _count(1)),
        Param("seed", 0, "of the pixels drawn and of the first spectra", "0 or more", _count(0)),
        PSF,
        SRF,
    ),
    halo=_halo,
    needs=("hs", "ms"),
    engines=("numpy",),
    differs=(
        "Spectra are learned from coarse pixels drawn from the scene in blocks of 8 by 8 (all of them, in small "
        "scenes) and the fine pixels within. Abundances are updated with the same spectra, step by step, for every "
        "pixel of the scene: where all pixels were drawn this is the whole scene's factorisation. Loops end after a "
        "number of updates, not when the error stays. The number of endmembers is given, not estimated. Bands of ms "
        "are brought to the unit of hs before."
    ),
)
