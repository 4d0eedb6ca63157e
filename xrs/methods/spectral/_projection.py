"""Make a spectrum such that a sensor would see in it what it saw, and tell how far it is from that.

A sensor sees Y = Φ X of a spectrum X. Of all spectra that agree with Y, the one nearest to X is, where distances are
taken with a covariance C of what is not known of X,

    X* = X + C Φᵀ (Φ C Φᵀ + N)⁻¹ (Y - Φ X)

with the covariance N of the noise; without noise, Φ X* = Y. With C = 1 the change would have the shape of the bands'
responses: steps in the spectrum. A C that falls off with the distance between wavelengths makes it smooth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, identity
from scipy.sparse.linalg import splu

from xrs.errors import ParameterError
from xrs.kernels import box_taps
from xrs.kernels.resample import phase_weights
from xrs.kernels.types import Float32, Float64

__all__ = ["Seen", "consistent", "examples_covariance", "gain", "residual", "smooth_covariance"]

#: What was observed: bands (band, y, x) on the grid of the result; or each band (y, x) with the side of its pixels in
#: those of the result.
Seen = Float32 | Sequence[tuple[Float32, int]]

#: Distance in nm over which what is not known of a spectrum falls to 1/e.
_LENGTH = 300.0

#: Share of the variance of examples that their covariance is given besides.
_SHARE = 0.1

#: Bands whose joint response has a smaller share of its strength in some direction say the same thing twice.
_DEPENDENT = 1e-10

#: Pixels that are worked on at once: so many of every band fit the second cache.
_COLUMNS = 1024


def smooth_covariance(wavelengths: ArrayLike, magnitude: ArrayLike = 1.0, length: float = _LENGTH) -> Float64:
    """Covariance (band, band) of a change of a spectrum that is continuous: ``m_i m_j exp(-|λ_i - λ_j| / length)``.

    Parameters
    ----------
    wavelengths : array_like (band,)
        In nm, in any order.
    magnitude : float or array_like (band,)
        Standard deviation of the change.
    length : float
        In nm.

    Examples
    --------
    >>> smooth_covariance([500.0, 600.0], length=100.0).round(3)
    array([[1.   , 0.368],
           [0.368, 1.   ]])
    """
    centres = np.asarray(wavelengths, np.float64)
    scale = np.broadcast_to(np.asarray(magnitude, np.float64), centres.shape)
    return np.exp(-np.abs(centres[:, None] - centres) / length) * np.outer(scale, scale)


def examples_covariance(spectra: Float32, wavelengths: ArrayLike, share: float = _SHARE) -> Float64:
    """Covariance (band, band) of examples of spectra, and a part of a smooth one.

    Examples tell how bands go together that no sensor's band sees. Taken alone their covariance trusts the smallest
    differences between what bands saw, and so brings out the sensor's noise; and few examples leave directions of none.

    Parameters
    ----------
    spectra : ndarray (example, band)
    wavelengths : array_like (band,)
        In nm.
    share : float
        Variance of the smooth part, as a share of the bands' mean variance.
    """
    covariance = np.cov(spectra.T, dtype=np.float64)
    return np.asarray(covariance + share * np.diag(covariance).mean() * smooth_covariance(wavelengths), np.float64)


def gain(srf: Float64, wavelengths: ArrayLike, covariance: Float64 | None = None, noise: ArrayLike = 0.0) -> Float64:
    """``C Φᵀ (Φ C Φᵀ + N)⁻¹``: how a spectrum changes for what a sensor's bands lack.

    Parameters
    ----------
    srf : ndarray (band, wanted band)
        Response Φ of the sensor's bands, rows sum to 1.
    wavelengths : array_like (wanted band,)
        In nm.
    covariance : ndarray (wanted band, wanted band), optional
        C; by default :func:`smooth_covariance`.
    noise : float or array_like (band,)
        Standard deviation of the sensor's noise, in units of the root of ``covariance``; 0 for a result that agrees
        exactly, with the noise too.

    Returns
    -------
    ndarray, float64 (wanted band, band)

    Raises
    ------
    ParameterError
        If bands respond alike, so that no spectrum agrees with all of them.

    Examples
    --------
    >>> import numpy as np
    >>> srf = np.array([[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]])
    >>> bool(np.allclose(srf @ gain(srf, [500, 510, 520, 530]), np.eye(2)))
    True
    """
    prior = smooth_covariance(wavelengths) if covariance is None else np.asarray(covariance, np.float64)
    across: Float64 = prior @ srf.T
    deviation = np.broadcast_to(np.asarray(noise, np.float64), (len(srf),))
    seen: Float64 = srf @ across + np.diag(deviation**2)
    values = np.linalg.eigvalsh(seen)
    if not np.isfinite(values).all() or values[0] <= _DEPENDENT * values[-1]:
        raise ParameterError(
            f"responses of {len(srf)} bands, of which some say the same over the {srf.shape[1]} wanted bands",
            "bands that respond differently, and wanted bands within each",
            "leave out one of bands that are alike, or give noise=",
        )
    return np.asarray(np.linalg.solve(seen, across.T).T, np.float64)


def consistent(
    result: Float32,
    seen: Seen,
    srf: Float64,
    gain: Float64,
    *,
    taps: Float64 | None = None,
    kernel: str = "nearest",
    out: Float32 | None = None,
) -> Float32:
    """The spectra nearest to ``result`` in which the sensor sees what it saw.

    Since ``Φ gain`` is the identity, the change for one band leaves the others as they are. So each coarse band can be
    brought up by itself: an image is sought on its grid that, interpolated and seen through the point spread, is what
    the band lacks. Point spread and interpolation are separable, so this is a system along each axis, solved exactly.

    Parameters
    ----------
    result : ndarray, float32 (wanted band, y, x)
    seen : ndarray (band, y, x), or sequence of (ndarray (y, x), int)
        What was observed, on the grid of ``result``; or for each band the image and the side of its pixels in those of
        ``result``, whose sides are multiples of it.
    srf : ndarray (band, wanted band)
    gain : ndarray (wanted band, band)
        Of :func:`gain`; one with noise goes part of the way.
    taps : ndarray (band, tap), optional
        Point spread of the coarse bands, see :mod:`xrs.kernels.psf`; by default the mean over the pixel. Where it
        reaches beyond the pixel, each pixel depends on some around it: give a margin.
    kernel : {"nearest", "bilinear", "cubic"}
        How the change is interpolated. ``nearest`` needs no margin.
    out : ndarray, float32 (wanted band, y, x), optional
        Where to put it; may be ``result`` itself.

    Returns
    -------
    ndarray, float32 (wanted band, y, x)
        NaN where ``result`` or a band is, and in all pixels of a coarse pixel that holds one.
    """
    lacks = np.stack(
        [
            _brought_up(lack, ratio, _row(taps, b, ratio), kernel) if ratio > 1 else lack
            for b, (lack, ratio) in enumerate(_lacks(result, seen, srf, taps))
        ]
    )
    flat = np.ascontiguousarray(result).reshape(len(result), -1)
    out = np.empty(result.shape, np.float32) if out is None else out
    _change(flat, lacks.reshape(len(lacks), -1), np.asarray(gain, np.float64), out.reshape(len(out), -1))
    return out


def residual(result: Float32, seen: Seen, srf: Float64, *, taps: Float64 | None = None) -> Float32:
    """Root mean square over the sensor's bands of what they would see less than they did, (y, x).

    A coarse band counts alike in all pixels of ``result`` that its pixel covers. See :func:`consistent` for the
    parameters; NaN as there.
    """
    squares: Float64 = np.zeros(result.shape[1:])
    for lack, ratio in _lacks(result, seen, srf, taps):
        square: Float64 = np.square(lack, dtype=np.float64)
        squares += square.repeat(ratio, axis=0).repeat(ratio, axis=1)
    return np.sqrt(squares / len(srf)).astype(np.float32)


def _lacks(result: Float32, seen: Seen, srf: Float64, taps: Float64 | None) -> Iterator[tuple[Float32, int]]:
    """What each band saw beyond what it would see in the result, and the side of its pixels."""
    flat = np.ascontiguousarray(result).reshape(len(result), -1)
    bands = [(band, 1) for band in seen] if isinstance(seen, np.ndarray) else seen
    if len(bands) != len(srf):
        raise ParameterError(f"{len(bands)} bands and responses of {len(srf)}", "as many of both")
    for b, (band, ratio) in enumerate(bands):
        would: Float64 = np.zeros(result.shape[1:])
        _observe(flat, np.asarray(srf[b], np.float64), would.reshape(-1))
        if ratio > 1:
            down, across = (_decimation(side // ratio, ratio, _row(taps, b, ratio)) for side in would.shape)
            would = (across @ (down @ would).T).T
        yield (band - would).astype(np.float32), ratio


def _row(taps: Float64 | None, band: int, ratio: int) -> tuple[float, ...]:
    return tuple(map(float, box_taps(ratio) if taps is None else np.atleast_2d(taps)[band]))


def _brought_up(lack: Float32, ratio: int, taps: tuple[float, ...], kernel: str) -> Float32:
    """The change on the fine grid that the point spread brings back to ``lack``."""
    image: NDArray[np.floating] = lack
    for size in lack.shape:
        rise, solve = _rise(size, ratio, taps, kernel)
        image = (rise @ (image if solve is None else solve(image.astype(np.float64)))).T
    return np.ascontiguousarray(image, np.float32)


@lru_cache(maxsize=64)
def _rise(
    size: int, ratio: int, taps: tuple[float, ...], kernel: str
) -> tuple[Any, Callable[[Float64], Float64] | None]:
    """Along one axis: interpolation, and the solution of interpolation and decimation; None if they undo each other."""
    weights, first = phase_weights(ratio, kernel)
    pixel, phase = np.divmod(np.arange(size * ratio), ratio)
    rise = _sparse(weights[phase], pixel + first[phase], size)
    there_and_back = (_decimation(size, ratio, taps) @ rise).tocsc()
    if abs(there_and_back - identity(size)).max() < 1e-12:
        return rise, None
    return rise, splu(there_and_back).solve


@lru_cache(maxsize=64)
def _decimation(size: int, ratio: int, taps: tuple[float, ...]) -> Any:
    """Point spread and decimation along one axis, (coarse, fine)."""
    first = np.arange(size) * ratio - (len(taps) - ratio) // 2
    return _sparse(np.broadcast_to(np.array(taps), (size, len(taps))), first, size * ratio)


def _sparse(weights: NDArray[np.floating], first: NDArray[np.integer], size: int) -> Any:
    """Matrix with a row of weights from column ``first`` on, mirrored at the edges."""
    columns = (first[:, None] + np.arange(weights.shape[1])) % (2 * size)
    columns = np.minimum(columns, 2 * size - 1 - columns)
    rows = np.repeat(np.arange(len(weights)), weights.shape[1])
    return csr_array((weights.astype(np.float64).ravel(), (rows, columns.ravel())), shape=(len(weights), size))


@njit(nogil=True, cache=True, error_model="numpy")
def _observe(result, response, out):  # type: ignore[no-untyped-def]
    for left in range(0, out.size, _COLUMNS):
        part = out[left : left + _COLUMNS]
        for w in range(len(result)):
            weight = response[w]
            if weight != 0.0:
                band = result[w, left : left + part.size]
                for i in range(part.size):
                    part[i] += weight * np.float64(band[i])


@njit(nogil=True, cache=True, error_model="numpy")
def _change(result, lacks, gain, out):  # type: ignore[no-untyped-def]
    bands = len(lacks)
    size = result.shape[1]
    part = np.empty((bands, _COLUMNS))
    total = np.empty(_COLUMNS)
    for left in range(0, size, _COLUMNS):
        n = min(_COLUMNS, size - left)
        for b in range(bands):
            for i in range(n):
                part[b, i] = lacks[b, left + i]
        for w in range(len(result)):
            for i in range(n):
                total[i] = result[w, left + i]
            for b in range(bands):
                weight = gain[w, b]
                row = part[b]
                for i in range(n):
                    total[i] += weight * row[i]
            for i in range(n):
                out[w, left + i] = total[i]
