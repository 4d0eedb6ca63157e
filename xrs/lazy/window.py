"""Read one tile: join the chunks it touches, mirror the scene's edges, fill gaps, put NaN back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xrs.kernels.gaps import fill_gaps
from xrs.kernels.types import Bool, Float32, Float64
from xrs.lazy.plan import Interval, Piece
from xrs.methods.base import Tile

__all__ = ["Window", "blank_unseen", "read_window", "tile_of"]


_NO_DAYS: Mapping[str, Float64] = {}


@dataclass(frozen=True)
class Window:
    """What a tile reads of one source.

    Attributes
    ----------
    pieces : tuple of Piece
        The chunks it touches, in C order of (time, band, y, x).
    shape : tuple of int
        Shape of what is read inside the scene (time, band, y, x).
    before, after : tuple of int
        Pixels beyond the scene's edges along y and x, to be mirrored.
    size : tuple of int
        The whole source along y and x.
    """

    pieces: tuple[Piece, ...]
    shape: tuple[int, int, int, int]
    before: tuple[int, int]
    after: tuple[int, int]


def read_window(window: Window, chunks: Sequence[NDArray[Any]]) -> Float32:
    """The window as float32 (time, band, y, x), edges mirrored; a view where nothing must be moved."""
    if len(chunks) == 1 and window.before == window.after == (0, 0):
        part = chunks[0][window.pieces[0].window]
        return np.ascontiguousarray(part, dtype=np.float32)
    (top, left), (bottom, right) = window.before, window.after
    n_time, bands, height, width = window.shape
    out = np.empty((n_time, bands, top + height + bottom, left + width + right), np.float32)
    _join(window.pieces, chunks, out[:, :, top : top + height, left : left + width])
    _mirror_margin(out, 2, top, height)
    _mirror_margin(out, 3, left, width)
    return out


def tile_of(
    windows: Mapping[str, Float32],
    factors: Mapping[str, int],
    *,
    halo: int,
    margin: int,
    origin: tuple[int, int],
    days: Mapping[str, Float64] = _NO_DAYS,
) -> Tile:
    """A tile from windows ([date,] band, y, x) read with ``margin``; gaps filled, cut back to ``halo``."""
    arrays: dict[str, Float32] = {}
    valid: dict[str, Bool | None] = {}
    for name, image in windows.items():
        seen = _seen(image)
        cut = (margin - halo) * factors[name]
        inner: tuple[Any, ...] = (..., *(slice(cut, n - cut) for n in image.shape[-2:]))
        if seen is None:
            arrays[name], valid[name] = np.ascontiguousarray(image[inner]), None
        else:
            flat = (-1, *image.shape[-2:])
            filled = fill_gaps(image.reshape(flat), seen.reshape(flat), cut).reshape(image.shape)
            arrays[name], valid[name] = np.ascontiguousarray(filled[inner]), np.ascontiguousarray(seen[inner])
    return Tile(arrays, valid, dict(factors), halo, origin, days)


def blank_unseen(
    out: Float32, tile: Tile, factor: int, carriers: Sequence[str], bandwise: bool, aside: Sequence[str] = ()
) -> None:
    """Put NaN back where an output pixel's own inputs were not seen, in place.

    ``carriers`` are the observations whose bands are put out, in order: an output band needs its own
    band where ``bandwise``, else all bands of its observation. Of all others it needs every band, but for those
    ``aside``, which are not needed.
    """
    guides = [name for name in tile.arrays if name not in (*carriers, *aside)]
    common = [m for m in (_on_grid(tile, n, factor) for n in guides) if m is not None]
    for mask in common:
        out[:, ~mask.all(axis=0)] = np.nan
    first = 0
    for name in carriers:
        bands = tile.arrays[name].shape[0]
        own = _on_grid(tile, name, factor)
        if own is not None:
            part = out[first : first + bands]
            part[~(own if bandwise else np.broadcast_to(own.all(axis=0), part.shape))] = np.nan
        first += bands


def bounds_of(span: Interval, factor: int, margin: int, size: int) -> tuple[Interval, int, int]:
    """Of a tile's span in coarsest pixels: the interval read, and how far the margin lies outside."""
    lo, hi = (span[0] - margin) * factor, (span[1] + margin) * factor
    return (max(lo, 0), min(hi, size)), max(-lo, 0), max(hi - size, 0)


def _join(pieces: Sequence[Piece], chunks: Sequence[NDArray[Any]], out: NDArray[Any]) -> None:
    # Pieces lie in a regular grid, so each one's place follows from the sizes of those before it.
    ends: dict[tuple[int, int], int] = {}
    for piece, chunk in zip(pieces, chunks, strict=True):
        place = []
        for axis, (index, part) in enumerate(zip(piece.index, piece.window, strict=True)):
            start = ends.get((axis, index - 1), 0)
            ends[axis, index] = start + part.stop - part.start
            place.append(slice(start, ends[axis, index]))
        out[tuple(place)] = chunk[piece.window]


def _mirror_margin(out: NDArray[Any], axis: int, before: int, size: int) -> None:
    outside = np.r_[0:before, before + size : out.shape[axis]]
    if not outside.size:
        return
    phase = (outside - before) % (2 * size)
    inside = before + np.minimum(phase, 2 * size - 1 - phase)
    ahead = (slice(None),) * axis
    out[(*ahead, outside)] = out[(*ahead, inside)]


def _seen(image: Float32) -> Bool | None:
    # The sum is finite unless something is missing (or overflows, which the exact test then settles).
    if np.isfinite(image.sum(dtype=np.float32)):
        return None
    seen = np.isfinite(image)
    return None if seen.all() else seen


def _on_grid(tile: Tile, name: str, factor: int) -> Bool | None:
    """Where an observation was seen, on the output's grid; a coarser output pixel needs half of its block."""
    valid = tile.valid[name]
    if valid is None:
        return None
    own = tile.core(name, valid)
    ratio = factor // tile.factors[name]
    if ratio >= 1:
        return own.repeat(ratio, axis=1).repeat(ratio, axis=2) if ratio > 1 else own
    step = tile.factors[name] // factor
    bands, height, width = own.shape
    share: NDArray[Any] = own.reshape(bands, height // step, step, width // step, step).mean(axis=(2, 4))
    return share > 0.5
