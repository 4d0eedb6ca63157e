"""Adaptive Gram-Schmidt: the intensity is the sum of bands that comes nearest to the pan as the coarse sensor sees it.

``F_b = M_b + g_b (P - mean P - (I - mean I))`` with the interpolated bands ``M``, ``I = a . M``,
``g_b = cov(I, M_b) / var(I)``, and ``a`` from the regression (with a constant) of the decimated pan on the bands, both
on the coarse grid.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xrs.kernels import Moments, merge_moments, moments_of
from xrs.methods.base import Method, Pass, Reference, State, Tile
from xrs.methods.pansharpen._common import (
    KERNEL,
    PSF,
    Psf,
    apply_bands,
    covariance_of,
    decimated_pan,
    psf_halo,
    quotient,
    regression,
    seen_coarse,
    substitution,
    summarise_bands,
)


def _summarise(tile: Tile, state: State, *, kernel: str, psf: Psf, **_: Any) -> tuple[Moments, Moments]:
    coarse = np.concatenate([tile["ms"], decimated_pan(tile, psf)])
    return moments_of(tile.core("ms", coarse), seen_coarse(tile)), summarise_bands(tile, state, kernel=kernel)


def _merge(one: tuple[Moments, Moments], other: tuple[Moments, Moments]) -> tuple[Moments, Moments]:
    return merge_moments(one[0], other[0]), merge_moments(one[1], other[1])


def _solve(summary: tuple[Moments, Moments], _state: State, **_: Any) -> State:
    coarse, fine = (covariance_of(moments) for moments in summary)
    bands = len(coarse) - 1
    intensity = regression(coarse[:bands, :bands], coarse[:bands, bands])
    shared = fine[:bands, :bands] @ intensity
    gains = quotient(shared, intensity @ shared)
    return {"weights": substitution(summary[1].mean, intensity, gains)}


METHOD = Method(
    name="gsa",
    family="pansharpen",
    summary="Gram-Schmidt with the intensity regressed on the pan at the coarse scale.",
    apply=apply_bands,
    reference=Reference(
        "Aiazzi, Baronti and Selva 2007, Improving component substitution pansharpening through multivariate "
        "regression of MS+Pan data, IEEE Transactions on Geoscience and Remote Sensing 45(10):3230-3239",
        "10.1109/TGRS.2007.901007",
    ),
    passes=(Pass(_summarise, _merge, _solve),),
    params=(KERNEL, PSF),
    halo=psf_halo,
    differs="The pan is decimated with the point spread given, by default the sensor's.",
)
