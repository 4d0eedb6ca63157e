"""Generalised Laplacian pyramid with high-pass modulation.

``F_b = M_b P_b / L(P_b)`` with the interpolated bands ``M``, the pan matched to each band,
``P_b = (P - mean P) std M_b / std L_b + mean M_b``, and ``L_b`` the pan decimated with the point spread of the band's
sensor and interpolated again; ``L(P_b)`` is the same of the matched pan.
"""

from __future__ import annotations

from typing import Any

from xrs.kernels import Moments, merge_moments
from xrs.methods.base import Method, Pass, Reference, State
from xrs.methods.pansharpen._common import KERNEL, PSF, Psf, psf_halo, quotient
from xrs.methods.pansharpen._glp import apply_ratio, pyramid_of, scale_detail, summarise


def _solve(moments: Moments, _state: State, *, psf: Psf, **_: Any) -> State:
    pyramid = pyramid_of(moments, psf)
    return scale_detail(pyramid, quotient(pyramid.std, pyramid.low_std))


METHOD = Method(
    name="mtf_glp_hpm",
    family="pansharpen",
    summary="Scales each band by the ratio of the matched pan to what the band's sensor would see of it.",
    apply=apply_ratio,
    reference=Reference(
        "Vivone, Restaino, Dalla Mura, Licciardi and Chanussot 2014, Contrast and error-based fusion schemes for "
        "multispectral image pansharpening, IEEE Geoscience and Remote Sensing Letters 11(5):930-934",
        "10.1109/LGRS.2013.2281996",
    ),
    passes=(Pass(summarise, merge_moments, _solve),),
    params=(KERNEL, PSF),
    halo=psf_halo,
    bandwise=True,
    differs=(
        "The pan is matched through the spread of its low-passed version (10.1109/TGRS.2017.2697943). "
        "Where the denominator is not above 1e-6 the bands stay as interpolated."
    ),
)
