"""Parameters, margins, masks and small algebra that the pansharpening methods share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xrs.errors import ParameterError
from xrs.kernels import Moments, decimate, reach_of
from xrs.kernels.resample import reach_of_kernel
from xrs.kernels.types import Bool, Float32, Float64
from xrs.methods.base import Param, State, Tile
from xrs.methods.pansharpen._layers import layer_moments, layers_of, mix

#: Relative variance below which an image counts as constant: float32 rounding makes as much.
_NOISE = 1e-12

#: Singular values of a covariance below this share of the largest are rounding.
_COLLINEAR = 1e-10

KERNEL = Param(
    "kernel",
    "lanczos",
    "how images on the coarse grid are interpolated",
    "'nearest', 'bilinear', 'cubic' or 'lanczos'",
    lambda value: value in ("nearest", "bilinear", "cubic", "lanczos"),
)

PSF = Param(
    "psf",
    None,
    "separable point spread (band, tap) from the pan's grid to that of `ms`, for `ms` and `pan`; that of the sensor",
    "a mapping with the taps of 'ms' and 'pan'",
    lambda value: value is None or {"ms", "pan"} <= set(value),
)

SIZE = Param(
    "size",
    None,
    "side of the box in pixels of the pan; the smallest odd number that is not below the ratio",
    "an odd number above 1, or None",
    lambda value: value is None or (value > 1 and value % 2 == 1),
)

Psf = Mapping[str, Float64]


def taps_of(psf: Psf | None, name: str, bands: int) -> Float64:
    """Taps (band, tap) that lead from the pan's grid to the coarse grid, a row for each band."""
    taps = _rows_of(psf, name)
    if taps.shape[0] not in (1, bands):
        raise ParameterError(f"found {taps.shape[0]} rows of taps for {name!r}", f"1 or {bands}")
    return np.broadcast_to(taps, (bands, taps.shape[1]))


def _rows_of(psf: Psf | None, name: str) -> Float64:
    if psf is None:
        raise ParameterError("found no point spread", "taps for 'ms' and 'pan'", "pass psf={'ms': ..., 'pan': ...}")
    return np.atleast_2d(np.asarray(psf[name], np.float64))


def kernel_halo(_factors: Mapping[str, int], *, kernel: str, **_: Any) -> int:
    """Margin of a method that interpolates."""
    return reach_of_kernel(kernel)


def psf_halo(factors: Mapping[str, int], *, kernel: str, psf: Psf | None, **_: Any) -> int:
    """Margin of a method that interpolates what it has decimated."""
    reaches = (reach_of(_rows_of(psf, name), factors["pan"]) for name in ("ms", "pan"))
    return reach_of_kernel(kernel) + max(reaches)


def filter_halo(taps: int, ratio: int, kernel: str) -> int:
    """Margin of a method that interpolates, and filters the pan with as many taps."""
    return max(reach_of_kernel(kernel), -(-(taps // 2) // ratio))


def seen_fine(tile: Tile) -> Bool | None:
    """Pixels of the pan (y, x) where pan and all bands were seen; None if everywhere."""
    coarse, pan, ratio = tile.seen("ms"), tile.seen("pan"), tile.factors["pan"]
    if coarse is None:
        return pan
    fine = coarse.repeat(ratio, axis=0).repeat(ratio, axis=1)
    return fine if pan is None else fine & pan


def seen_coarse(tile: Tile) -> Bool | None:
    """Pixels of ``ms`` (y, x) where all bands and all of the pan's pixels were seen; None if everywhere."""
    coarse, pan, ratio = tile.seen("ms"), tile.seen("pan"), tile.factors["pan"]
    if pan is None:
        return coarse
    height, width = pan.shape
    whole = np.asarray(pan.reshape(height // ratio, ratio, width // ratio, ratio).all(axis=(1, 3)))
    return whole if coarse is None else whole & coarse


def decimated_pan(tile: Tile, psf: Psf | None) -> Float32:
    """What the sensor of ``ms`` would make of the pan: (1, y, x), halo included."""
    return decimate(tile["pan"], taps_of(psf, "pan", 1), tile.factors["pan"])


def decimated_pans(tile: Tile, psf: Psf | None) -> tuple[Float32, NDArray[np.intp]]:
    """The pan through the point spread of each band: the distinct ones (n, y, x), and which is whose (band,)."""
    taps, whose = np.unique(taps_of(psf, "ms", tile["ms"].shape[0]), axis=0, return_inverse=True)
    pan = np.broadcast_to(tile["pan"], (len(taps), *tile["pan"].shape[1:]))
    return decimate(pan, taps, tile.factors["pan"]), whose


def summarise_bands(tile: Tile, _state: State, *, kernel: str, **_: Any) -> Moments:
    """Moments of the interpolated bands and the pan."""
    return layer_moments(layers_of(tile, kernel), seen_fine(tile))


def apply_bands(tile: Tile, state: State, *, kernel: str, **_: Any) -> Float32:
    """Sums of the interpolated bands and the pan."""
    return mix(layers_of(tile, kernel), state["weights"])


def covariance_of(moments: Moments) -> Float64:
    """Covariance, zero for layers that do not vary and where nothing was seen."""
    if moments.count == 0:
        return np.zeros_like(moments.comoment)
    covariance = moments.covariance
    constant = np.diag(covariance) <= _NOISE * moments.mean**2
    return np.where(constant[:, None] | constant, 0.0, covariance)


def quotient(above: Any, below: Any) -> Float64:
    """Division that gives zero where there is nothing to divide by."""
    above, below = np.broadcast_arrays(np.asarray(above, np.float64), np.asarray(below, np.float64))
    return np.asarray(np.divide(above, below, out=np.zeros(above.shape), where=below != 0), np.float64)


def regression(gram: Float64, target: Float64) -> Float64:
    """Least squares from the normal equations ``gram x = target``, of least norm where bands are collinear."""
    return np.asarray(np.linalg.lstsq(gram, target, rcond=_COLLINEAR)[0], np.float64)


def substitution(mean: Float64, intensity: Float64, gains: Float64, match: float = 1.0) -> Float64:
    """Weights of component substitution.

    ``F_b = M_b + g_b (match (P - mean P) - (I - mean I))`` with ``I = intensity . M``. A pan that
    matches nothing (``match`` 0) leaves the bands as they are.

    Parameters
    ----------
    mean : ndarray (band + 1,)
        Of the bands and the pan.
    intensity, gains : ndarray (band,)
    match : float
        Factor that brings the pan to the spread of the intensity.

    Returns
    -------
    ndarray (band, band + 2)
        For :func:`mix` of the bands and the pan.
    """
    gains = gains if match else np.zeros_like(gains)
    detail = np.concatenate([-intensity, [match]])
    weights = np.outer(gains, np.append(detail, -detail @ mean))
    return weights + np.eye(*weights.shape)


def box_size(size: int | None, ratio: int) -> int:
    """The smallest odd number not below the ratio, if none was asked for."""
    return size or ratio + 1 - ratio % 2


def modulation(layers: int, pan: int, low: NDArray[np.intp], match: Float64, constant: Float64) -> State:
    """Ratios ``(match_b P + constant_b) / (match_b L_b + constant_b)``, for :func:`modulate`.

    Parameters
    ----------
    layers, pan : int
        Number of layers, and which is the pan.
    low : ndarray of int (band,)
        Which layer is the low-passed pan of each band.
    match, constant : ndarray (band,)
    """
    numerator = np.zeros((low.size, layers + 1))
    numerator[:, -1] = constant
    denominator = numerator.copy()
    numerator[:, pan] = match
    denominator[np.arange(low.size), low] = match
    return {"numerator": numerator, "denominator": denominator}
