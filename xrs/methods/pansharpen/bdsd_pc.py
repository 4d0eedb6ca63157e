"""Band-dependent spatial detail with physical constraints.

``F_b = M_b + c_b P + sum_k c_bk M_k`` with the interpolated bands ``M``. The weights minimise, on the coarse
grid, ``|X_b - X_b* - c_b P* - sum_k c_bk X_k*|`` under ``c_b >= 0`` and ``c_bk <= 0``, where ``X`` are the
bands, ``X*`` the bands once more through their sensor's point spread, and ``P*`` the decimated pan.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from xrs.kernels import Moments, decimate, merge_moments, moments_of
from xrs.kernels.types import Float64
from xrs.methods.base import Method, Pass, Reference, State, Tile
from xrs.methods.pansharpen._common import (
    KERNEL,
    PSF,
    Psf,
    apply_bands,
    decimated_pan,
    psf_halo,
    seen_coarse,
    taps_of,
)


def _centred(taps: Float64) -> Float64:
    """Gaussians (band, odd tap) of the same second moment: even taps would move an image by half a pixel."""
    taps = np.atleast_2d(taps)
    spots = np.arange(taps.shape[1]) - (taps.shape[1] - 1) / 2
    variance = np.maximum((taps * spots**2).sum(axis=1) / taps.sum(axis=1), 1e-3)
    offsets = np.arange(-(taps.shape[1] // 2), taps.shape[1] // 2 + 1)
    weights = np.exp(-0.5 * offsets**2 / variance[:, None])
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _halo(factors: Mapping[str, int], *, kernel: str, psf: Psf, **_: Any) -> int:
    return max(psf_halo(factors, kernel=kernel, psf=psf), _centred(psf["ms"]).shape[1] // 2)


def _summarise(tile: Tile, _state: State, *, psf: Psf, **_: Any) -> Moments:
    bands = tile["ms"]
    blurred = decimate(bands, _centred(taps_of(psf, "ms", bands.shape[0])), 1)
    features = np.concatenate([bands - blurred, blurred, decimated_pan(tile, psf)])
    return moments_of(tile.core("ms", features), seen_coarse(tile))


def _solve(moments: Moments, _state: State, **_: Any) -> State:
    bands = (moments.mean.size - 1) // 2
    # No constant in the model: moments about zero, not about the mean.
    products = moments.comoment + moments.count * np.outer(moments.mean, moments.mean)
    signs = np.append(-np.ones(bands), 1.0)
    gram = products[bands:, bands:] * np.outer(signs, signs)
    weights = np.zeros((bands, bands + 2))
    for b in range(bands):
        weights[b, :-1] = signs * _nonnegative(gram, signs * products[bands:, b])
    return {"weights": weights + np.eye(*weights.shape)}


def _nonnegative(gram: Float64, target: Float64) -> Float64:
    """Non-negative least squares from the normal equations ``gram x = target``."""
    from scipy.optimize import nnls

    if not gram.any():
        return np.zeros(len(gram))
    scale = np.where(np.diag(gram) > 0, np.sqrt(np.diag(gram)), 1.0)
    values, vectors = np.linalg.eigh(gram / np.outer(scale, scale))
    keep = values > values[-1] * 1e-12
    root = np.sqrt(values[keep])
    solution = nnls(root[:, None] * vectors[:, keep].T, vectors[:, keep].T @ (target / scale) / root)[0]
    return np.asarray(solution / scale)


METHOD = Method(
    name="bdsd_pc",
    family="pansharpen",
    summary="Detail as the sum of pan and bands that best restores the bands at the coarse scale.",
    apply=apply_bands,
    reference=Reference(
        "Vivone 2019, Robust band-dependent spatial-detail approaches for panchromatic sharpening, IEEE "
        "Transactions on Geoscience and Remote Sensing 57(9):6421-6433",
        "10.1109/TGRS.2019.2906073",
    ),
    passes=(Pass(_summarise, merge_moments, _solve),),
    params=(KERNEL, PSF),
    halo=_halo,
    differs="On the bands' own grid the point spread is the Gaussian of the same second moment, so that it is centred.",
)
