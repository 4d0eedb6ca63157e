"""AATPRK: as ATPRK, but the regression is fitted anew in a window around each coarse pixel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from xrs.kernels import Moments, decimate
from xrs.kernels.types import Float32
from xrs.methods._kriging import LAGS
from xrs.methods.base import Method, Param, Pass, Reference, State, Tile
from xrs.methods.sharpen._groups import PSF, Group, Psf, groups_of, halo_for
from xrs.methods.sharpen._local import Prior, local_weights, predict_locally
from xrs.methods.sharpen._regression import merge_bands, regress, summarise_bands
from xrs.methods.sharpen._residuals import add_residuals, residual_pass

__all__ = ["METHOD"]

#: Weight of the scene's regression in a window: decides only where the window is nearly flat.
_SHRINKAGE = 1e-3


def apply(tile: Tile, state: State, *, window: int, psf: Psf) -> Float32:
    """Sharpen one tile.

    Parameters
    ----------
    tile : Tile
        ``fine`` (f, y, x) and coarse groups.
    state : mapping
        ``prior``: the scene's regression of each band; ``kriging``: polyphase weights of each band.
    window : int
        Side of the window, in coarse pixels; odd.
    psf : mapping of str to ndarray (band, tap)

    Returns
    -------
    ndarray, float32, (band, y, x)
        All coarse bands on the fine grid, without halo.
    """
    out = []
    for group in groups_of(tile, psf):
        fitted = _fitted(tile, group, state, window)
        bands = np.ascontiguousarray(tile.core("fine", fitted))
        add_residuals(bands, group, _left_over(group, fitted), state)
        out.append(bands)
    return np.concatenate(out)


def _fitted(tile: Tile, group: Group, state: State, window: int) -> Float32:
    """The local regressions on the fine grid, halo included."""
    out = np.empty((group.bands.shape[0], *tile["fine"].shape[1:]), np.float32)
    for band, prior in enumerate(state["prior"][group.name]):
        weights = local_weights(group.guides[band], group.bands[band], group.valid[band], prior, window // 2)
        predict_locally(tile["fine"], weights, out[band])
    return out


def _left_over(group: Group, fitted: Float32) -> Float32:
    return np.asarray(group.bands - decimate(fitted, group.taps, group.ratio))


def _residuals(tile: Tile, state: State, *, window: int, psf: Psf) -> list[tuple[Group, Float32]]:
    groups = groups_of(tile, psf)
    return [(group, _left_over(group, _fitted(tile, group, state, window))) for group in groups]


def _summarise(tile: Tile, _state: State, *, psf: Psf, **_: Any) -> Any:
    return summarise_bands(tile, psf)


def _solve(summary: Any, _state: State, **_: Any) -> State:
    return {"prior": {name: [_prior(m) for m in bands] for name, bands in summary.items()}}


def _prior(moments: Moments) -> Prior:
    n = moments.mean.size - 1
    covariance = moments.covariance[:n, :n] if moments.count else np.zeros((n, n))
    return Prior(moments.mean, regress(moments), _SHRINKAGE * covariance)


def _halo(factors: Mapping[str, int], *, window: int, psf: Psf) -> int:
    return halo_for(factors, psf, LAGS + window // 2, times=2)


METHOD = Method(
    name="aatprk",
    family="sharpen",
    summary="Regression on the fine bands in a moving window and area-to-point kriging of its residuals.",
    apply=apply,
    reference=Reference(
        "Wang, Shi, Atkinson (2016), Area-to-point regression kriging for pan-sharpening, "
        "ISPRS Journal of Photogrammetry and Remote Sensing 114, 151-165",
        "10.1016/j.isprsjprs.2016.02.006",
    ),
    passes=(Pass(_summarise, merge_bands, _solve), residual_pass(_residuals)),
    params=(
        Param(
            "window",
            5,
            "side of the regression window, in coarse pixels",
            "an odd number from 3 on",
            lambda value: isinstance(value, int) and value >= 3 and value % 2 == 1,
        ),
        PSF,
    ),
    halo=_halo,
    bandwise=True,
    needs=("fine", "coarse"),
    differs=(
        "All fine bands are regressors, as in the authors' paper on Sentinel-2, instead of one pan. A ridge of 1e-3 of "
        "the scene's covariance draws windows without contrast to the scene's regression. Residuals are against the "
        "degraded prediction rather than the regression's own at the coarse pixel, so that the coarse band is kept. "
        "The semivariogram is simplified as in atprk."
    ),
)
