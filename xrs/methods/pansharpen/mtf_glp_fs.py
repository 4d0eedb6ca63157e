"""Generalised Laplacian pyramid with gains regressed at full scale.

``F_b = M_b + g_b (P - L_b)`` with ``g_b = cov(M_b, P) / cov(L_b, P)``, the interpolated bands ``M``, the pan ``P``,
and ``L_b`` the pan decimated with the point spread of the band's sensor and interpolated again.
"""

from __future__ import annotations

from typing import Any

from xrs.kernels import Moments, merge_moments
from xrs.methods.base import Method, Pass, Reference, State
from xrs.methods.pansharpen._common import KERNEL, PSF, Psf, psf_halo, quotient
from xrs.methods.pansharpen._glp import add_detail, apply_sum, pyramid_of, summarise


def _solve(moments: Moments, _state: State, *, psf: Psf, **_: Any) -> State:
    pyramid = pyramid_of(moments, psf)
    return add_detail(pyramid, quotient(pyramid.band_pan, pyramid.low_pan))


METHOD = Method(
    name="mtf_glp_fs",
    family="pansharpen",
    summary="Adds pan detail with gains regressed at full scale.",
    apply=apply_sum,
    reference=Reference(
        "Vivone, Restaino and Chanussot 2018, Full scale regression-based injection coefficients for panchromatic "
        "sharpening, IEEE Transactions on Image Processing 27(7):3418-3431",
        "10.1109/TIP.2018.2819501",
    ),
    passes=(Pass(summarise, merge_moments, _solve),),
    params=(KERNEL, PSF),
    halo=psf_halo,
    bandwise=True,
)
