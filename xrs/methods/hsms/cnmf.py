"""Coupled non-negative matrix factorisation: both images are mixtures of the same materials.

With the spectra ``W`` (hs band, material) and the abundances ``H`` (material, pixel), ``hs = W H_h`` on the coarse
grid and ``ms = R W H_m`` on the fine one, ``R`` the spectral response. The result is ``W H_m``. Both are factorised in
turn by multiplicative updates, ``H <- H (W'V) / (W'W H)`` and ``W <- W (V H') / (W H H')``, each beginning with what
the other gave. A row of constants below ``W`` and ``V`` draws the abundances of a pixel to a sum of one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from xrs.kernels import reach_of, upsample
from xrs.kernels.types import Float32
from xrs.methods.base import Method, Param, Pass, Reference, State, Tile
from xrs.methods.hsms._common import PSF, SRF, Psf, taps_of
from xrs.methods.hsms._sample import Sample, draw, merge_samples
from xrs.methods.hsms._vca import vertices

__all__ = ["METHOD"]

#: Added to what is divided by, so that 0 / 0 is 0.
_GUARD = np.float32(1e-12)

#: The first abundances are sought for this many loops, those of coarse pixels with known spectra too.
_PATIENCE = 3

#: Bands of ``ms`` above which abundances on the coarse grid may change with the spectra.
_FEW = 3

#: Pixels updated at once: what they need stays in the cache.
_CHUNK = 4096


def _summarise(tile: Tile, _state: State, *, psf: Psf, samples: int, seed: int, **_: Any) -> Sample:
    return draw(tile, psf, samples, seed)


def _solve(
    sample: Sample, _state: State, *, srf: Any, endmembers: int, iterations: int, outer: int, seed: int, **_: Any
) -> State:
    """The materials' spectra ``W`` (hs band, material), ``R W`` (ms band, material), the scale and the sum's weight."""
    scale = float(sample.hs.max()) if sample.hs.max() > 0 else 1.0
    hs, ms = _scaled(sample.hs, scale), _scaled(sample.ms, scale)
    response = srf.astype(np.float32)
    weight = _weight_of_sum(ms)
    count = min(endmembers, *hs.shape)
    spectra = hs[:, vertices(hs.astype(np.float64), count, seed)] + _GUARD
    coarse = np.full((count, hs.shape[1]), 1 / count, np.float32)
    coarse = _abundances(spectra, hs, coarse, weight, _PATIENCE * iterations)
    spectra, coarse = _alternate(spectra, hs, coarse, weight, iterations)
    fine = coarse.repeat(ms.shape[2], axis=1)
    pixels, free = ms.reshape(len(ms), -1), len(ms) > _FEW
    for _turn in range(outer):
        fine = _abundances(response @ spectra, pixels, fine, weight, iterations)
        fine = _alternate(response @ spectra, pixels, fine, weight, iterations, update_spectra=free)[1]
        coarse = fine.reshape(count, *ms.shape[1:]).mean(axis=2)
        spectra = _spectra(spectra, hs, coarse, iterations)
        spectra, coarse = _alternate(spectra, hs, coarse, weight, iterations, update_abundances=free)
    return {"spectra": spectra, "seen": response @ spectra, "scale": scale, "weight": weight}


def _apply(tile: Tile, state: State, *, abundance_iterations: int, **_: Any) -> Float32:
    spectra, seen, weight = state["spectra"], state["seen"], state["weight"]
    hs, ms = _scaled(tile["hs"], state["scale"]), _scaled(tile.core("ms"), state["scale"])
    count = spectra.shape[1]
    coarse = np.full((count, hs[0].size), 1 / count, np.float32)
    coarse = _abundances(spectra, hs.reshape(len(hs), -1), coarse, weight, _PATIENCE * abundance_iterations)
    start = tile.core("ms", upsample(coarse.reshape(count, *hs.shape[1:]), tile.factors["ms"], "bilinear"))
    start = np.ascontiguousarray(start).reshape(count, -1)
    fine = _abundances(seen, ms.reshape(len(ms), -1), start, weight, abundance_iterations)
    fused: Float32 = (np.float32(state["scale"]) * spectra) @ fine
    return fused.reshape(-1, *ms.shape[1:])


def _scaled(image: Float32, scale: float) -> Float32:
    """Values in about 0 to 1, none below."""
    return np.maximum(np.ascontiguousarray(image) / np.float32(scale), np.float32(0))


def _weight_of_sum(ms: Float32) -> np.float32:
    return np.float32(2 * np.sqrt(ms.mean(dtype=np.float64) / 0.7455) / len(ms) ** 3)


def _abundances(spectra: Float32, values: Float32, start: Float32, weight: np.float32, steps: int) -> Float32:
    """Abundances (material, pixel) after so many updates, the spectra held."""
    gram = spectra.T @ spectra + weight**2
    out = np.empty_like(start)
    for first in range(0, start.shape[1], _CHUNK):
        part = slice(first, first + _CHUNK)
        target = spectra.T @ values[:, part] + weight**2
        h = start[:, part].copy()
        below = np.empty_like(h)
        for _ in range(steps):
            np.matmul(gram, h, out=below)
            below += _GUARD
            h *= target
            h /= below
        out[:, part] = h
    return out


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
    update_spectra: bool = True,
    update_abundances: bool = True,
) -> tuple[Float32, Float32]:
    """Spectra and abundances updated in turn."""
    for _ in range(steps):
        if update_abundances:
            abundances = _abundances(spectra, values, abundances, weight, 1)
        if update_spectra:
            spectra = _spectra(spectra, values, abundances, 1)
    return spectra, abundances


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
        Param("iterations", 75, "updates of one loop when spectra are learned", "1 or more", _count(1)),
        Param("outer", 1, "how often both images are unmixed in turn", "0 or more", _count(0)),
        Param("abundance_iterations", 200, "updates of a fine pixel's abundances", "1 or more", _count(1)),
        Param("samples", 2000, "coarse pixels to learn from, at most", "1 or more", _count(1)),
        Param("seed", 0, "of the pixels drawn and of the first spectra", "0 or more", _count(0)),
        PSF,
        SRF,
    ),
    halo=_halo,
    needs=("hs", "ms"),
    engines=("numpy",),
    differs=(
        "The spectra are learned from coarse pixels drawn from all of the scene (all of them, in small scenes) and the "
        "fine pixels within each, between which abundances are repeated and averaged; the abundances of all pixels "
        "then follow from them alone, by a fixed number of updates, those of coarse pixels (three times as many) "
        "interpolated bilinearly. So loops end after a number of updates, not when the error stays. "
        "The number of endmembers is given, not estimated. Bands of ms are brought to the unit of hs before."
    ),
)
