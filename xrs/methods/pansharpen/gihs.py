"""Generalised IHS: add to all bands what the pan has beyond their mean.

``F_b = M_b + (P' - I)`` with the interpolated bands ``M``, ``I`` their mean, and the pan brought to the mean and
the standard deviation of ``I``: ``P' = (P - mean P) std I / std P + mean I``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xrs.kernels import Moments, merge_moments
from xrs.methods.base import Method, Pass, Reference, State
from xrs.methods.pansharpen._common import (
    KERNEL,
    apply_bands,
    covariance_of,
    kernel_halo,
    quotient,
    substitution,
    summarise_bands,
)


def _solve(moments: Moments, _state: State, **_: Any) -> State:
    bands = moments.mean.size - 1
    covariance = covariance_of(moments)
    intensity = np.full(bands, 1.0 / bands)
    spread = intensity @ covariance[:bands, :bands] @ intensity
    match = float(np.sqrt(quotient(spread, covariance[bands, bands])))
    return {"weights": substitution(moments.mean, intensity, np.ones(bands), match)}


METHOD = Method(
    name="gihs",
    family="pansharpen",
    summary="Adds the difference between the matched pan and the mean of the bands to every band.",
    apply=apply_bands,
    reference=Reference(
        "Tu, Su, Shyu and Huang 2001, A new look at IHS-like image fusion methods, Information Fusion 2(3):177-186",
        "10.1016/S1566-2535(01)00036-7",
    ),
    passes=(Pass(summarise_bands, merge_moments, _solve),),
    params=(KERNEL,),
    halo=kernel_halo,
    differs="Any number of bands. A constant pan leaves the bands as interpolated.",
)
