"""Area-to-point kriging on nested grids: covariance through a point spread, its deconvolution, polyphase weights.

On a regular grid the weights of ordinary kriging do not depend on the place, only on where in its
coarse pixel a fine pixel lies. So there are ``ratio²`` sets of weights, computed once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xrs.kernels.types import Bool, Float32, Float64

__all__ = ["LAGS", "RADIUS", "Variogram", "fit_range", "krige", "kriging_weights", "merge_variograms", "variogram"]

#: Lags of the semivariogram, in coarse pixels.
LAGS = 5

#: The neighbourhood is ``2 RADIUS + 1`` coarse pixels wide.
RADIUS = 2

#: Ranges tried when the semivariogram is deconvolved, in coarse pixels.
_RANGES = np.geomspace(0.05, 50.0, 70)


@dataclass(frozen=True)
class Variogram:
    """Sums over pairs of pixels at each lag.

    Attributes
    ----------
    pairs : ndarray (lag,)
        Number of pairs.
    squares : ndarray (lag,)
        Sum of squared differences.
    """

    pairs: Float64
    squares: Float64

    @property
    def gamma(self) -> Float64:
        """Semivariance at each lag; zero where there is no pair."""
        return np.asarray(0.5 * self.squares / np.maximum(self.pairs, 1.0))


def variogram(image: Float32, valid: Bool | None, margin: int) -> Variogram:
    """Semivariogram along rows and columns of pairs whose first pixel is in the core.

    Parameters
    ----------
    image : ndarray (y, x)
        With a margin of at least ``LAGS`` pixels.
    valid : ndarray of bool (y, x) or None
    margin : int
        Width of that margin.
    """
    seen = np.ones(image.shape, np.bool_) if valid is None else valid
    height, width = (n - 2 * margin for n in image.shape)
    first = slice(margin, margin + height), slice(margin, margin + width)
    pairs, squares = np.zeros(LAGS), np.zeros(LAGS)
    for lag in range(1, LAGS + 1):
        for down, right in ((lag, 0), (0, lag)):
            second = (
                slice(margin + down, margin + down + height),
                slice(margin + right, margin + right + width),
            )
            both = seen[first] & seen[second]
            gap = (image[second] - image[first])[both].astype(np.float64)
            pairs[lag - 1] += gap.size
            squares[lag - 1] += gap @ gap
    return Variogram(pairs, squares)


def merge_variograms(one: Variogram, other: Variogram) -> Variogram:
    """Pairs of two parts of a scene together."""
    return Variogram(one.pairs + other.pairs, one.squares + other.squares)


def fit_range(observed: Variogram, taps: Float64, ratio: int) -> float:
    """Range, in fine pixels, of the exponential point model that best gives the observed semivariogram.

    The model is regularised through the point spread at every range tried, its sill is the one of
    least squares, and lags count by their pairs.
    """
    misfits = []
    for distance in _RANGES * ratio:
        areal = _area_covariance(taps, ratio, LAGS, distance)[0]
        model = areal[0] - areal[1:]
        sill = (observed.pairs * model) @ observed.gamma / max((observed.pairs * model) @ model, 1e-300)
        misfits.append(observed.pairs @ (observed.gamma - sill * model) ** 2)
    return float(_RANGES[int(np.argmin(misfits))] * ratio)


def kriging_weights(taps: Float64, ratio: int, distance: float, radius: int = RADIUS) -> Float64:
    """Weights of ordinary area-to-point kriging (phase y, phase x, row, column); each set sums to 1.

    Parameters
    ----------
    taps : ndarray (tap,)
        Point spread of the coarse pixels, on the fine grid.
    ratio : int
    distance : float
        Range of the exponential covariance ``exp(-h / distance)``, in fine pixels.
    radius : int
        Neighbours on either side.
    """
    side = 2 * radius + 1
    areal = _area_covariance(taps, ratio, 2 * radius, distance)
    index = np.arange(side)
    rows, columns = (a.ravel() for a in np.meshgrid(index, index, indexing="ij"))
    system = np.ones((side * side + 1, side * side + 1))
    system[:-1, :-1] = areal[np.abs(rows[:, None] - rows), np.abs(columns[:, None] - columns)]
    system[-1, -1] = 0.0
    right = np.ones((side * side + 1, ratio * ratio))
    right[:-1] = _point_covariance(taps, ratio, radius, distance)
    weights = np.linalg.solve(system, right)[:-1]
    return np.ascontiguousarray(weights.T.reshape(ratio, ratio, side, side))


def krige(coarse: Float32, weights: Float64) -> Float32:
    """Apply polyphase weights: (y + 2 radius, x + 2 radius) to (y ratio, x ratio)."""
    radius = weights.shape[2] // 2
    ratio = weights.shape[0]
    out = np.empty(tuple((n - 2 * radius) * ratio for n in coarse.shape), np.float32)
    _polyphase(np.ascontiguousarray(coarse), weights.astype(np.float32), out)
    return out


def _area_covariance(taps: Float64, ratio: int, count: int, distance: float) -> Float64:
    """Covariance of two coarse pixels 0 to ``count`` apart along y and x."""
    spread = np.convolve(taps, taps[::-1])
    starts = np.arange(count + 1) * ratio - (taps.size - 1)
    return _through(starts, spread, distance)


def _point_covariance(taps: Float64, ratio: int, radius: int, distance: float) -> Float64:
    """Covariance of the neighbours (row column) with each fine pixel (phase y, phase x) of the middle one."""
    first = -((taps.size - ratio) // 2)
    starts = (np.arange(-radius, radius + 1)[:, None] * ratio + first - np.arange(ratio)).ravel()
    side = 2 * radius + 1
    grid = _through(starts, taps, distance).reshape(side, ratio, side, ratio)
    return grid.transpose(0, 2, 1, 3).reshape(side * side, ratio * ratio)


def _through(starts: NDArray[np.signedinteger[Any]], taps: Float64, distance: float) -> Float64:
    """Point covariance weighted by taps that begin at every pair of offsets."""
    low, high = int(starts.min()), int(starts.max()) + taps.size
    offsets = np.arange(low, high)
    points = np.exp(-np.hypot(offsets[:, None], offsets) / distance)
    select = np.zeros((starts.size, offsets.size))
    for row, start in enumerate(starts):
        select[row, int(start) - low : int(start) - low + taps.size] = taps
    return np.asarray(select @ points @ select.T)


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def _polyphase(coarse, weights, out):  # type: ignore[no-untyped-def]
    ratio, side = weights.shape[0], weights.shape[2]
    height, width = coarse.shape[0] - side + 1, coarse.shape[1] - side + 1
    row = np.empty(width, np.float32)
    for i in range(height):
        for p in range(ratio):
            for q in range(ratio):
                row[:] = 0.0
                for k in range(side):
                    for m in range(side):
                        w = weights[p, q, k, m]
                        for j in range(width):
                            row[j] += w * coarse[i + k, j + m]
                for j in range(width):
                    out[i * ratio + p, j * ratio + q] = row[j]
