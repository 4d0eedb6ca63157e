"""Generalised Laplacian pyramid with regression-based high-pass modulation.

``F_b = M_b (P + c_b) / (L_b + c_b)`` with ``c_b = mean M_b / g_b - mean P``, ``g_b = cov(M_b, L_b) / var(L_b)``, the
interpolated bands ``M``, the pan ``P``, and ``L_b`` the pan decimated with the point spread of the band's sensor and
interpolated again.
"""

from __future__ import annotations

from typing import Any

from xrs.kernels import Moments, merge_moments
from xrs.methods.base import Method, Pass, Reference, State
from xrs.methods.pansharpen._common import KERNEL, PSF, Psf, psf_halo, quotient
from xrs.methods.pansharpen._glp import apply_ratio, pyramid_of, scale_detail, summarise


def _solve(moments: Moments, _state: State, *, psf: Psf, **_: Any) -> State:
    pyramid = pyramid_of(moments, psf)
    return scale_detail(pyramid, quotient(pyramid.band_low, pyramid.low_std**2))


METHOD = Method(
    name="mtf_glp_hpm_r",
    family="pansharpen",
    summary="Scales each band by the ratio of its regression on the pan to that on the low-passed pan.",
    apply=apply_ratio,
    reference=Reference(
        "Vivone, Restaino and Chanussot 2018, A regression-based high-pass modulation pansharpening approach, IEEE "
        "Transactions on Geoscience and Remote Sensing 56(2):984-996",
        "10.1109/TGRS.2017.2757508",
    ),
    passes=(Pass(summarise, merge_moments, _solve),),
    params=(KERNEL, PSF),
    halo=psf_halo,
    bandwise=True,
    differs="Where the denominator is not above 1e-6 the bands stay as interpolated.",
)
