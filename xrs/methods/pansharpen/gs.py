"""Gram-Schmidt: the pan takes the place of the mean of the bands, each band takes its share by regression.

``F_b = M_b + g_b (P' - I)`` with the interpolated bands ``M``, ``I`` their mean, the pan brought to the mean
and the standard deviation of ``I``, and ``g_b = cov(I, M_b) / var(I)`` (mode 1 of the patent, written as
injection: Aiazzi et al. 2007, 10.1109/TGRS.2007.901007).
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
    shared = covariance[:bands, :bands] @ intensity
    spread = intensity @ shared
    match = float(np.sqrt(quotient(spread, covariance[bands, bands])))
    return {"weights": substitution(moments.mean, intensity, quotient(shared, spread), match)}


METHOD = Method(
    name="gs",
    family="pansharpen",
    summary="Puts the matched pan in the place of the mean of the bands, with gains by regression.",
    apply=apply_bands,
    reference=Reference(
        "Laben and Brower 2000, Process for enhancing the spatial resolution of multispectral imagery using "
        "pan-sharpening, US Patent 6,011,875"
    ),
    passes=(Pass(summarise_bands, merge_moments, _solve),),
    params=(KERNEL,),
    halo=kernel_halo,
    differs="A constant pan leaves the bands as interpolated.",
)
