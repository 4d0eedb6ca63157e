"""Generalised Laplacian pyramid with the sensor's modulation transfer function.

``F_b = M_b + P_b - L(P_b)`` with the interpolated bands ``M``, the pan matched to each band,
``P_b = (P - mean P) std M_b / std L_b + mean M_b``, and ``L_b`` the pan decimated with the point spread of the band's
sensor and interpolated again; ``L(P_b)`` is the same of the matched pan.
"""

from __future__ import annotations

from typing import Any

from xrs.kernels import Moments, merge_moments
from xrs.methods.base import Method, Pass, Reference, State
from xrs.methods.pansharpen._common import KERNEL, PSF, Psf, psf_halo, quotient
from xrs.methods.pansharpen._glp import add_detail, apply_sum, pyramid_of, summarise


def _solve(moments: Moments, _state: State, *, psf: Psf, **_: Any) -> State:
    pyramid = pyramid_of(moments, psf)
    return add_detail(pyramid, quotient(pyramid.std, pyramid.low_std))


METHOD = Method(
    name="mtf_glp",
    family="pansharpen",
    summary="Adds the detail that the sensor of each band does not see, from the pan matched to the band.",
    apply=apply_sum,
    reference=Reference(
        "Aiazzi, Alparone, Baronti, Garzelli and Selva 2006, MTF-tailored multiscale fusion of "
        "high-resolution MS and Pan imagery, Photogrammetric Engineering and Remote Sensing 72(5):591-596; "
        "Aiazzi et al. 2002, 10.1109/TGRS.2002.803623",
        "10.14358/PERS.72.5.591",
    ),
    passes=(Pass(summarise, merge_moments, _solve),),
    params=(KERNEL, PSF),
    halo=psf_halo,
    bandwise=True,
    differs="The pan is matched through the spread of its low-passed version (10.1109/TGRS.2017.2697943).",
)
