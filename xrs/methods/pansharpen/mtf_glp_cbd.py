"""Generalised Laplacian pyramid with context-based decision, over the whole scene.

``F_b = M_b + g_b (P - L_b)`` with ``g_b = cov(M_b, L_b) / var(L_b)``, the interpolated bands ``M``, the pan ``P``,
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
    return add_detail(pyramid, quotient(pyramid.band_low, pyramid.low_std**2))


METHOD = Method(
    name="mtf_glp_cbd",
    family="pansharpen",
    summary="Adds pan detail with gains regressed on the low-passed pan.",
    apply=apply_sum,
    reference=Reference(
        "Alparone, Wald, Chanussot, Thomas, Gamba and Bruce 2007, Comparison of pansharpening algorithms: "
        "outcome of the 2006 GRS-S data-fusion contest, IEEE Transactions on Geoscience and Remote Sensing "
        "45(10):3012-3021",
        "10.1109/TGRS.2007.904923",
    ),
    passes=(Pass(summarise, merge_moments, _solve),),
    params=(KERNEL, PSF),
    halo=psf_halo,
    bandwise=True,
    differs="One gain a band for the whole scene (its global version), without a threshold on local correlation.",
)
