"""Partial replacement adaptive component substitution.

With the interpolated bands ``M``, the pan ``P``, its low-passed version ``L``, and ``X_b`` the band matched to
the pan in mean and standard deviation:

1. ``I``, the regression (with a constant) of ``L`` on all ``X``;
2. ``H_b = r_b P + (1 - r_b) X_b`` with ``r_b = corr(I, M_b)``: the pan replaces a part of each band;
3. ``J_b``, the regression of the low-passed ``H_b`` on all ``X``;
4. ``F_b = M_b + w_b A_b (H_b - J_b - mean(H_b - J_b))`` with ``A_b = 1 - |1 - r_b M_b / J_b|`` and
   ``w_b = beta corr(J_b, M_b) std M_b / mean_k std M_k``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from xrs.kernels import Moments, decimate, merge_moments, upsample
from xrs.kernels.resample import reach_of_kernel
from xrs.kernels.types import Float32
from xrs.methods.base import Method, Param, Pass, Reference, State, Tile
from xrs.methods.pansharpen._common import (
    KERNEL,
    PSF,
    Psf,
    covariance_of,
    decimated_pan,
    psf_halo,
    quotient,
    regression,
    seen_fine,
    taps_of,
)
from xrs.methods.pansharpen._layers import FLOOR, layer_moments, layers_of, mix


def _summarise(tile: Tile, _state: State, *, kernel: str, psf: Psf, **_: Any) -> Moments:
    """Moments of the bands, of the low-passed pan, of the low-passed bands, and of the pan."""
    bands, ratio = tile["ms"], tile.factors["pan"]
    blurred = decimate(upsample(bands, ratio, kernel), taps_of(psf, "pan", bands.shape[0]), ratio)
    return layer_moments(layers_of(tile, kernel, coarse=[decimated_pan(tile, psf), blurred]), seen_fine(tile))


def _halo(factors: Mapping[str, int], *, kernel: str, psf: Psf, **_: Any) -> int:
    # Interpolated once more than elsewhere: the low-passed bands come from interpolated ones.
    return psf_halo(factors, kernel=kernel, psf=psf) + reach_of_kernel(kernel)


def _solve(moments: Moments, _state: State, *, beta: float, **_: Any) -> State:
    bands = (moments.mean.size - 2) // 2
    m, low, low_m, pan = slice(bands), bands, slice(bands + 1, -1), moments.mean.size - 1
    mean, covariance = moments.mean, covariance_of(moments)
    std = np.sqrt(np.diag(covariance))
    match = quotient(std[pan], std[m])
    own = covariance[m, m]

    intensity = regression(own, covariance[m, low])
    replaced = quotient(own @ intensity, std[m] * np.sqrt(np.maximum(intensity @ own @ intensity, 0.0)))
    kept = (1.0 - replaced) * match
    # Columns: weights of the bands in what is subtracted from each band's replacement.
    subtracted = regression(own, replaced * covariance[m, low, None] + kept * covariance[m, low_m])
    level = replaced * mean[low] + kept * (mean[low_m] - mean[m]) + (1.0 - replaced) * mean[pan]

    detail = np.column_stack([np.diag(kept) - subtracted.T, replaced, np.zeros(bands)])
    detail[:, -1] = -detail[:, :-1] @ np.append(mean[m], mean[pan])
    reference = np.column_stack([subtracted.T, np.zeros(bands), level - subtracted.T @ mean[m]])
    spread = np.sqrt(np.maximum(np.einsum("jb,jk,kb->b", subtracted, own, subtracted), 0.0))
    correlation = quotient(np.einsum("bj,jb->b", own, subtracted), spread * std[m])
    return {
        "weights": np.concatenate([np.eye(bands, bands + 2), detail, reference]),
        "gains": beta * correlation * quotient(std[m], std[m].mean()),
        "replaced": replaced,
    }


def _apply(tile: Tile, state: State, *, kernel: str, **_: Any) -> Float32:
    mixed = mix(layers_of(tile, kernel), state["weights"])
    bands, detail, reference = np.split(mixed, 3)
    gains, replaced = (state[name].astype(np.float32)[:, None, None] for name in ("gains", "replaced"))
    dark = reference <= FLOOR
    agreement = replaced * bands / np.where(dark, np.float32(1.0), reference)
    adjusted = np.where(dark, np.float32(0.0), 1.0 - np.abs(1.0 - agreement))
    return np.asarray(bands + gains * adjusted * detail, np.float32)


METHOD = Method(
    name="pracs",
    family="pansharpen",
    summary="The pan replaces a part of each band, with detail held back where band and intensity disagree.",
    apply=_apply,
    reference=Reference(
        "Choi, Yu and Kim 2011, A new adaptive component-substitution-based satellite image fusion by using partial "
        "replacement, IEEE Transactions on Geoscience and Remote Sensing 49(1):295-309",
        "10.1109/TGRS.2010.2051674",
    ),
    passes=(Pass(_summarise, merge_moments, _solve),),
    params=(Param("beta", 0.95, "strength of the injection: 0.95 for 11-bit data, 1.95 for 8-bit data"), KERNEL, PSF),
    halo=_halo,
    differs=(
        "The low-passed images are made with the sensor's point spread. Matched bands may be negative. Where "
        "the intensity of step 3 is not above 1e-6 the band stays as interpolated."
    ),
)
