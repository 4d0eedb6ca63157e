"""Layers of a tile on the grid of the pan, never held in memory at once.

Every method here is made of the same layers: the multispectral bands and whatever else lives on the
coarse grid, interpolated, and the pan with its low-passed versions. The kernels go along the rows of the pan,
interpolate the coarse layers into a buffer that stays in the cache, and at once use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from xrs.errors import ParameterError
from xrs.kernels import Moments
from xrs.kernels.resample import blend_rows, phase_weights, reach_of_kernel, widen_row
from xrs.kernels.types import Bool, Float32, Float64
from xrs.methods.base import Tile

__all__ = ["FLOOR", "Layers", "layer_moments", "layers_of", "mix", "modulate"]

#: A denominator below this (reflectance) is taken for darkness: nothing is modulated there.
FLOOR = 1e-6

_COLUMNS = 512  # so many pixels of every layer fit the first cache


@dataclass(frozen=True)
class Layers:
    """Images of one tile: ``coarse`` (n, y + 2 reach, x + 2 reach), ``fine`` (m, y ratio, x ratio), the core.

    Layer ``k`` is the interpolated ``coarse[k]`` for ``k < n``, else ``fine[k - n]``.
    """

    coarse: Float32
    fine: Float32
    ratio: int
    kernel: str

    @property
    def count(self) -> int:
        """Number of layers."""
        return self.coarse.shape[0] + self.fine.shape[0]


def layers_of(tile: Tile, kernel: str, coarse: Sequence[Float32] = (), fine: Sequence[Float32] = ()) -> Layers:
    """The bands of ``ms``, further ``coarse`` images, the pan, and further ``fine`` images.

    Parameters
    ----------
    tile : Tile
    kernel : str
        How coarse images are interpolated.
    coarse, fine : sequence of ndarray (band, y, x)
        On the grids of ``ms`` and ``pan``, halo included.
    """
    reach = reach_of_kernel(kernel)
    if tile.halo < reach:
        raise ParameterError(f"found a halo of {tile.halo}", f"at least {reach} for the kernel {kernel!r}")
    trim = slice(tile.halo - reach, -(tile.halo - reach) or None)
    low = [image[:, trim, trim] for image in (tile["ms"], *coarse)]
    high = [tile.core("pan", image) for image in (tile["pan"], *fine)]
    return Layers(_stack(low), _stack(high), tile.factors["pan"], kernel)


def mix(layers: Layers, weights: Float64) -> Float32:
    """Sums of layers: ``out[b] = sum_k weights[b, k] layer[k] + weights[b, -1]``.

    Parameters
    ----------
    layers : Layers
    weights : ndarray (band, layer + 1)
        The last column is a constant.
    """
    rows, taps, first, reach = _prepare(layers)
    out = np.empty((weights.shape[0], *layers.fine.shape[1:]), np.float32)
    _mix(rows, layers.fine, taps, first, reach, weights.astype(np.float32), out)
    return out


def modulate(
    layers: Layers, numerator: Float64, denominator: Float64, offset: Float64, positive: bool = False
) -> Float32:
    """Scale bands by a ratio of sums of layers: ``out[b] = (layer[b] - offset[b]) N_b / D_b + offset[b]``.

    Where ``D_b`` is not above ``FLOOR`` the band stays as interpolated. The ratio is held between 0 and
    ``layers.ratio ** 2``: light is not negative, and a fine pixel has at most all the light of its coarse
    pixel. Only where a pan nears zero, as one made of other bands may over water, do these bounds bite.
    They do not hold for what is left above an offset, so not where ``positive``.

    Parameters
    ----------
    layers : Layers
    numerator, denominator : ndarray (1 or band, layer + 1)
        As ``weights`` of :func:`mix`; one row serves all bands.
    offset : ndarray (band,)
    positive : bool
        Whether ``layer[b] - offset[b]`` is held above zero.
    """
    rows, taps, first, reach = _prepare(layers)
    out = np.empty((offset.size, *layers.fine.shape[1:]), np.float32)
    least = np.float32(0.0 if positive else -np.inf)
    limits = np.array([-np.inf, np.inf] if positive else [0.0, layers.ratio**2], np.float32)
    args = numerator.astype(np.float32), denominator.astype(np.float32), offset.astype(np.float32), least, limits
    _modulate(rows, layers.fine, taps, first, reach, *args, out)
    return out


def layer_moments(layers: Layers, valid: Bool | None = None) -> Moments:
    """Moments of all layers over the valid pixels (y, x) of the pan's grid."""
    rows, taps, first, reach = _prepare(layers)
    shift = np.concatenate([_typical(layers.coarse), _typical(layers.fine)])
    mask = np.empty((0, 0), np.bool_) if valid is None else np.ascontiguousarray(valid)
    count, total, products, low, high = _moments(rows, layers.fine, taps, first, reach, mask, shift)
    products += np.tril(products, -1).T
    gap = total / max(count, 1)
    extremes = low.min(axis=1).astype(np.float64), high.max(axis=1).astype(np.float64)
    mean = shift + gap if count else np.zeros_like(gap)
    return Moments(float(count), mean, products - count * np.outer(gap, gap), *extremes)


def _stack(images: list[Any]) -> Float32:
    return np.ascontiguousarray(images[0] if len(images) == 1 else np.concatenate(images))


def _typical(images: Float32) -> Float64:
    # Near the mean, so that float64 sums of products do not cancel.
    flat = images.reshape(images.shape[0], -1)
    return flat[:, :: max(1, flat.shape[1] // 1024)].mean(axis=1, dtype=np.float64)


def _prepare(layers: Layers) -> tuple[Float32, Float32, Any, int]:
    taps, first = phase_weights(layers.ratio, layers.kernel)
    reach = reach_of_kernel(layers.kernel)
    shape = (*layers.coarse.shape[:2], layers.fine.shape[2])
    rows = np.empty(shape, np.float32)
    _widen(layers.coarse, taps, first, layers.ratio, reach, rows)
    return rows, taps, first, reach


@njit(nogil=True, cache=True, fastmath=True, error_model="numpy")
def _widen(coarse, taps, first, ratio, reach, rows):  # type: ignore[no-untyped-def]
    phase = np.empty(rows.shape[2] // ratio, np.float32)
    for k in range(coarse.shape[0]):
        for i in range(coarse.shape[1]):
            widen_row(coarse[k, i], taps, first, ratio, reach, phase, rows[k, i])


@njit(nogil=True, cache=True, fastmath=True, error_model="numpy")
def _load(rows, fine, taps, first, reach, y, left, right, buffer):  # type: ignore[no-untyped-def]
    """All layers of one stretch of a fine row."""
    ratio = taps.shape[0]
    i, p = y // ratio, y % ratio
    n = rows.shape[0]
    for k in range(n):
        blend_rows(rows[k], i + reach + first[p], taps[p], left, right, buffer[k])
    for k in range(fine.shape[0]):
        buffer[n + k, : right - left] = fine[k, y, left:right]


@njit(nogil=True, cache=True, fastmath=True, error_model="numpy")
def _sum(buffer, weights, width, out):  # type: ignore[no-untyped-def]
    layers = buffer.shape[0]
    out[:width] = weights[layers]
    for k in range(layers):
        w = weights[k]
        # Most weights are zero in most methods.
        if w != 0.0:
            layer = buffer[k]
            for x in range(width):
                out[x] += w * layer[x]


@njit(nogil=True, cache=True, fastmath=True, error_model="numpy")
def _mix(rows, fine, taps, first, reach, weights, out):  # type: ignore[no-untyped-def]
    width = fine.shape[2]
    buffer = np.empty((rows.shape[0] + fine.shape[0], _COLUMNS), np.float32)
    for y in range(fine.shape[1]):
        for left in range(0, width, _COLUMNS):
            right = min(left + _COLUMNS, width)
            _load(rows, fine, taps, first, reach, y, left, right, buffer)
            for b in range(out.shape[0]):
                _sum(buffer, weights[b], right - left, out[b, y, left:right])


@njit(nogil=True, cache=True, fastmath={"arcp", "nnan", "nsz"}, error_model="numpy")
def _divide(above, below, limits, width):  # type: ignore[no-untyped-def]
    """Ratios within limits in place of numerators, one where there is nothing to divide by."""
    low, high = limits[0], limits[1]
    for x in range(width):
        bright = below[x] > _FLOOR
        ratio = above[x] / (below[x] if bright else _ONE)
        above[x] = min(max(ratio, low), high) if bright else _ONE


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nnan", "nsz"}, error_model="numpy")
def _modulate(rows, fine, taps, first, reach, numerator, denominator, offset, least, limits, out):  # type: ignore[no-untyped-def]
    width = fine.shape[2]
    buffer = np.empty((rows.shape[0] + fine.shape[0], _COLUMNS), np.float32)
    above = np.empty(_COLUMNS, np.float32)
    below = np.empty(_COLUMNS, np.float32)
    shared = numerator.shape[0] == 1 and denominator.shape[0] == 1
    for y in range(fine.shape[1]):
        for left in range(0, width, _COLUMNS):
            right = min(left + _COLUMNS, width)
            m = right - left
            _load(rows, fine, taps, first, reach, y, left, right, buffer)
            for b in range(out.shape[0]):
                if b == 0 or not shared:
                    _sum(buffer, numerator[min(b, numerator.shape[0] - 1)], m, above)
                    _sum(buffer, denominator[min(b, denominator.shape[0] - 1)], m, below)
                    _divide(above, below, limits, m)
                target = out[b, y, left:right]
                band = buffer[b]
                h = offset[b]
                for x in range(m):
                    target[x] = max(band[x] - h, least) * above[x] + h


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nnan", "nsz"}, error_model="numpy")
def _moments(rows, fine, taps, first, reach, valid, shift):  # type: ignore[no-untyped-def]
    width = fine.shape[2]
    layers = rows.shape[0] + fine.shape[0]
    total = np.zeros(layers)
    products = np.zeros((layers, layers))
    # Extremes by column: reductions of them to one number would not vectorise.
    low = np.full((layers, _COLUMNS), np.float32(np.inf))
    high = np.full((layers, _COLUMNS), np.float32(-np.inf))
    buffer = np.empty((layers, _COLUMNS), np.float32)
    centred = np.empty((layers, _COLUMNS))
    some = valid.size > 0
    count = 0
    for y in range(fine.shape[1]):
        for left in range(0, width, _COLUMNS):
            m = min(left + _COLUMNS, width) - left
            _load(rows, fine, taps, first, reach, y, left, left + m, buffer)
            if some:
                m = _keep(buffer, valid[y, left : left + m])
            count += m
            for k in range(layers):
                total[k] += _centre(buffer[k, :m], shift[k], centred[k, :m], low[k, :m], high[k, :m])
            _multiply(centred, m, products)
    return count, total, products, low, high


@njit(nogil=True, cache=True, error_model="numpy")
def _keep(buffer, valid):  # type: ignore[no-untyped-def]
    """Move the valid pixels to the front; how many there are."""
    kept = 0
    for x in range(valid.size):
        if valid[x]:
            for k in range(buffer.shape[0]):
                buffer[k, kept] = buffer[k, x]
            kept += 1
    return kept


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nnan", "nsz"}, error_model="numpy")
def _centre(layer, shift, centred, low, high):  # type: ignore[no-untyped-def]
    """Subtract the shift, keep the extremes; the sum of what is left."""
    total = 0.0
    for x in range(layer.size):
        v = layer[x]
        low[x] = min(low[x], v)
        high[x] = max(high[x], v)
        d = v - shift
        centred[x] = d
        total += d
    return total


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nnan", "nsz"}, error_model="numpy")
def _multiply(centred, m, products):  # type: ignore[no-untyped-def]
    """Add the products of all pairs of layers to the lower triangle."""
    for i in range(centred.shape[0]):
        for j in range(i + 1):
            total = 0.0
            for x in range(m):
                total += centred[i, x] * centred[j, x]
            products[i, j] += total


_ONE = np.float32(1.0)
_FLOOR = np.float32(FLOOR)
