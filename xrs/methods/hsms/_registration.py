"""How far ``hs`` lies off ``ms``, and moving it there.

What is observed is compared on the coarse grid: ``ms`` through the point spread, and ``srf @ hs`` moved by cubic
convolution (Keys 1981, 10.1109/TASSP.1981.1163711). A moved image is a sum of copies shifted by whole pixels, so the
moments of all these copies give its correlation with ``ms`` for any shift: one pass over the scene, and the largest
correlation is found afterwards. Moments add up, so tiles do not matter, as in the method of Lucas and Kanade (1981),
whose normal equations are these with a first-order expansion in place of the interpolation.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from xrs.kernels import Moments, merge_moments, moments_of
from xrs.kernels.resample import cubic, lanczos
from xrs.kernels.types import Float32, Float64
from xrs.methods.base import Pass, State, Tile
from xrs.methods.hsms._common import degraded_ms, seen_coarse
from xrs.sensors import apply_response

__all__ = ["LAGS", "LARGEST", "correlate_pass", "move", "reach_of_shift"]

#: Pixels of ``hs`` up to which a shift is sought, along each axis.
LARGEST = 2

#: Pixels by which copies are shifted for it: cubic convolution reaches two pixels.
LAGS = LARGEST + 1

#: Steps of the search, in pixels: all shifts, then those around the best.
_STEPS = (0.1, 0.01, 0.001)


def correlate_pass() -> Pass:
    """A pass that takes the state of an observation and adds ``shift``: pixels down and to the right to move ``hs``."""
    return Pass(_summarise, _merge, _solve)


def move(
    tile: Tile, state: State, *, role: str, shift: tuple[float, float] | None, size: tuple[int, int], **_: Any
) -> Float32:
    """The bands of one image moved onto the other; NaN where the nearest pixel was not seen or lies outside.

    Parameters
    ----------
    tile : Tile
        With a halo of :func:`reach_of_shift`.
    state : mapping
        With ``shift``, if none is given; empty if nothing is known of the date.
    role : {"hs", "ms"}
        Which image is moved: ``ms`` the other way.
    shift : tuple of float or None
        Pixels of ``hs`` down and to the right.
    size : tuple of int
        The scene in pixels of ``hs``.
    """
    image, factor, shift = tile[role], tile.factors[role], state.get("shift") if shift is None else shift
    shape, margin = tile.core(role).shape, tile.halo * tile.factors[role]
    if shift is None:
        return np.full(shape, np.nan, np.float32)
    steps = [step if role == "hs" else -factor * step for step in shift]
    rows, columns = (_interpolation(-step, count, margin) for step, count in zip(steps, shape[1:], strict=True))
    moved = np.matmul(np.matmul(rows, image), columns.T)
    near = [np.arange(count) - math.floor(step + 0.5) for step, count in zip(steps, shape[1:], strict=True)]
    inside = [
        (n + first * factor >= 0) & (n + first * factor < total * factor)
        for n, first, total in zip(near, tile.origin, size, strict=True)
    ]
    moved[:, ~np.logical_and.outer(*inside)] = np.nan
    valid = tile.valid[role]
    if valid is not None:
        moved[~valid[:, near[0] + margin][:, :, near[1] + margin]] = np.nan
    return moved


def reach_of_shift(shift: tuple[float, float] | None) -> int:
    """How many pixels a moved one depends on; without a shift, of any that is sought."""
    return math.ceil(LARGEST if shift is None else max(map(abs, shift))) + 3


def _summarise(tile: Tile, state: State, **_: Any) -> list[Moments] | None:
    """For each band of ``ms`` the moments of it and of all shifted copies of the band made of ``hs``."""
    if not state:
        return None
    observation = state["observation"]
    seen = _seen_around(tile, seen_coarse(tile, observation.psf))
    target = tile.core("hs", degraded_ms(tile, observation.psf))
    made = apply_response(tile["hs"], observation.srf)
    height, width = target.shape[1:]
    lags = [tile.halo + lag for lag in range(-LAGS, LAGS + 1)]
    return [
        moments_of(np.stack([y, *(z[i : i + height, j : j + width] for i, j in itertools.product(lags, lags))]), seen)
        for y, z in zip(target, made, strict=True)
    ]


def _merge(one: list[Moments], other: list[Moments]) -> list[Moments]:
    return [merge_moments(a, b) for a, b in zip(one, other, strict=True)]


def _solve(bands: list[Moments], state: State, **_: Any) -> State:
    """The shift with the largest correlation; none if nothing varies."""
    weights = [1 / m.comoment[0, 0] if m.comoment[0, 0] > 0 else 0.0 for m in bands]
    comoment = np.sum([w * m.comoment for w, m in zip(weights, bands, strict=True)], axis=0)
    shared, own = comoment[0, 1:], comoment[1:, 1:]
    best = np.zeros(2)
    if not np.diag(own).min() > 0:
        return {**state, "shift": (0.0, 0.0)}
    reach = float(LARGEST)
    for step in _STEPS:
        axes = [np.clip(centre + np.arange(-reach, reach + step / 2, step), -LARGEST, LARGEST) for centre in best]
        rows, columns = (np.stack([_weights(-s) for s in axis]) for axis in axes)
        copies = np.einsum("ia,jb->ijab", rows, columns).reshape(rows.shape[0] * columns.shape[0], -1)
        score = np.maximum(copies @ shared, 0.0) ** 2 / np.einsum("na,na->n", copies @ own, copies)
        i, j = divmod(int(score.argmax()), columns.shape[0])
        best, reach = np.array([axes[0][i], axes[1][j]]), step
    return {**state, "shift": (round(float(best[0]), 3), round(float(best[1]), 3))}


def _weights(position: float) -> Float64:
    """Weights of the copies (lag,) that make an image sampled that far off each pixel."""
    return cubic(position - np.arange(-LAGS, LAGS + 1, dtype=np.float64))


def _interpolation(position: float, count: int, margin: int) -> Float32:
    """The matrix (pixel, pixel with margin) of sampling that far off each pixel, by Lanczos' kernel of three lobes."""
    offsets = math.floor(position) + np.arange(-2, 4)
    taps = lanczos(np.asarray(position - offsets, np.float64))
    out = np.zeros((count, count + 2 * margin), np.float32)
    for offset, weight in zip(offsets, taps / taps.sum(), strict=True):
        pixel = np.arange(count)
        out[pixel, pixel + margin + offset] = weight
    return out


def _seen_around(tile: Tile, seen: Any) -> Any:
    """Pixels (y, x) that were seen and all of whose neighbours that copies bring there were."""
    valid = tile.valid["hs"]
    if valid is None:
        return seen
    whole = np.asarray(valid.all(axis=0))
    margin = tile.halo - LAGS
    whole = whole[margin : whole.shape[0] - margin, margin : whole.shape[1] - margin]
    side = 2 * LAGS + 1
    around = np.lib.stride_tricks.sliding_window_view(whole, (side, side)).all(axis=(2, 3))
    return around if seen is None else around & seen
