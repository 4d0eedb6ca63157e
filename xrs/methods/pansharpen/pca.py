"""Principal component substitution: the pan takes the place of the first component.

``F_b = M_b + v_b (P' - C)`` with the interpolated bands ``M``, their first principal component
``C = v . (M - mean M)`` and the pan brought to its spread, ``P' = (P - mean P) std C / std P``. The sign of ``v`` is
such that ``C`` and the pan are not negatively correlated.
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
    values, vectors = np.linalg.eigh(covariance[:bands, :bands])
    first = vectors[:, -1]
    if first @ covariance[:bands, bands] < 0:
        first = -first
    match = float(np.sqrt(quotient(max(values[-1], 0.0), covariance[bands, bands])))
    return {"weights": substitution(moments.mean, first, first, match)}


METHOD = Method(
    name="pca",
    family="pansharpen",
    summary="Puts the matched pan in the place of the first principal component.",
    apply=apply_bands,
    reference=Reference(
        "Shettigara 1992, A generalized component substitution technique for spatial enhancement of multispectral "
        "images using a higher resolution data set, Photogrammetric Engineering and Remote Sensing 58(5):561-567"
    ),
    passes=(Pass(summarise_bands, merge_moments, _solve),),
    params=(KERNEL,),
    halo=kernel_halo,
    differs="A constant pan leaves the bands as interpolated.",
)
