"""Hypersharpening by a generalised Laplacian pyramid: each band takes the detail of a pan synthesised for it.

``F_b = M_b + a_b . (Y - L)`` with the interpolated bands ``M`` of ``hs``, the bands ``Y`` of ``ms``, and ``L`` those
bands decimated with the point spread and interpolated again. The weights ``a_b`` are those with which the decimated
bands of ``ms`` come nearest to band ``b`` on the coarse grid (with a constant).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xrs.kernels import Moments, merge_moments, upsample
from xrs.kernels.types import Float32
from xrs.methods.base import Method, Pass, Reference, State, Tile
from xrs.methods.hsms._common import PSF, Psf, coarse_moments, degraded_ms, inject, linear_halo, regression
from xrs.methods.pansharpen._common import KERNEL, covariance_of

__all__ = ["METHOD"]

#: Directions of the bands of ``ms`` that hold less than this share of the strongest one's variance are rounding.
_COLLINEAR = 1e-8


def _summarise(tile: Tile, _state: State, *, psf: Psf, **_: Any) -> Moments:
    return coarse_moments(tile, psf)


def _solve(moments: Moments, _state: State, *, psf: Psf, **_: Any) -> State:
    covariance = covariance_of(moments)
    bands = len(covariance) - len(psf["ms"])
    return {"gains": regression(covariance[bands:, bands:], covariance[bands:, :bands], _COLLINEAR).T}


def _apply(tile: Tile, state: State, *, kernel: str, psf: Psf, **_: Any) -> Float32:
    low = upsample(degraded_ms(tile, psf), tile.factors["ms"], kernel)
    return inject(tile, state["gains"], np.asarray(tile["ms"] - low), kernel)


METHOD = Method(
    name="mtf_glp_hs",
    family="hsms",
    summary="Adds the detail of a pan synthesised from all bands of ms for each band.",
    apply=_apply,
    reference=Reference(
        "Selva, Aiazzi, Butera, Chiarantini and Baronti 2015, Hyper-sharpening: a first approach on SIM-GA data, IEEE "
        "Journal of Selected Topics in Applied Earth Observations and Remote Sensing 8(6):3008-3024",
        "10.1109/JSTARS.2015.2440092",
    ),
    passes=(Pass(_summarise, merge_moments, _solve),),
    params=(KERNEL, PSF),
    halo=linear_halo,
    needs=("hs", "ms"),
    differs="The bands of ms are decimated with one point spread, the mean of those of the bands of hs.",
)
