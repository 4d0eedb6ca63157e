"""Coarse groups of one sensor, and how the fine bands look at their grids and through their point spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xrs.errors import ParameterError
from xrs.kernels import decimate, reach_of
from xrs.kernels.types import Bool, Float32, Float64
from xrs.methods.base import Param, Tile

__all__ = ["PSF", "Group", "Psf", "coarse_names", "groups_of", "halo_for", "taps_of"]

#: Separable taps (band, tap) from the fine grid to each group's grid.
Psf = Mapping[str, Float64]

PSF = Param(
    "psf",
    None,
    "separable point spread (band, tap) from the fine grid to the grid of each group; that of the sensor",
    "a mapping with the taps of every coarse group",
    lambda value: value is None or isinstance(value, Mapping),
)

#: A coarse pixel counts as seen if at least this share of its point spread was.
_SEEN = 0.999


@dataclass(frozen=True)
class Group:
    """One coarse group of a tile, halo included.

    Attributes
    ----------
    name : str
    bands : ndarray (band, y, x)
    guides : tuple of ndarray (fine band, y, x)
        For each band the fine bands as its detector would see them; bands of equal taps share one array.
    taps : ndarray (band, tap)
    ratio : int
        Fine pixels along the side of a pixel of the group.
    halo : int
        Width of the margin in pixels of the group.
    valid : tuple of (ndarray of bool (y, x) or None)
        For each band where both it and all of the fine bands under it were seen.
    """

    name: str
    bands: Float32
    guides: tuple[Float32, ...]
    taps: Float64
    ratio: int
    halo: int
    valid: tuple[Bool | None, ...]

    def core(self, array: Any, extra: int = 0) -> Any:
        """Cut an array (..., y, x) on the group's grid to the core and ``extra`` pixels around it."""
        margin = self.halo - extra
        return array[..., margin:-margin, margin:-margin] if margin else array


def coarse_names(names: Sequence[str] | Mapping[str, Any]) -> list[str]:
    """The coarse groups, in order."""
    return [name for name in names if name != "fine"]


def groups_of(tile: Tile, psf: Psf) -> list[Group]:
    """All coarse groups of a tile, in the order in which their bands are put out."""
    return [_group(tile, name, psf) for name in coarse_names(tile.arrays)]


def halo_for(factors: Mapping[str, int], psf: Psf, pixels: int, times: int = 1) -> int:
    """Margin, in coarsest pixels, that holds ``pixels`` of every group and its point spread's reach, ``times`` over."""
    widths = []
    for name in coarse_names(factors):
        ratio = factors["fine"] // factors[name]
        reach = reach_of(taps_of(psf, name), ratio)
        widths.append(-(-(pixels + times * reach) // factors[name]))
    return max(widths)


def taps_of(psf: Psf | None, name: str) -> Float64:
    """Taps (band or 1, tap) that lead from the fine grid to a group's."""
    if psf is None or name not in psf:
        raise ParameterError(
            f"found no point spread of the group {name!r}", "taps for every coarse group", f"pass psf={{{name!r}: ...}}"
        )
    return np.atleast_2d(np.asarray(psf[name], np.float64))


def _group(tile: Tile, name: str, psf: Psf) -> Group:
    bands = tile[name]
    ratio = tile.factors["fine"] // tile.factors[name]
    taps = taps_of(psf, name)
    if taps.shape[0] not in (1, bands.shape[0]):
        raise ParameterError(f"found {taps.shape[0]} rows of taps for {name!r}", f"1 or {bands.shape[0]}")
    taps = np.broadcast_to(taps, (bands.shape[0], taps.shape[1]))
    fine_seen = tile.valid["fine"]
    guides: dict[bytes, tuple[Float32, Bool | None]] = {}
    for row in taps:
        if row.tobytes() not in guides:
            seen = None if fine_seen is None else _seen_through(fine_seen, row, ratio)
            guides[row.tobytes()] = decimate(tile["fine"], row, ratio), seen
    pairs = [guides[row.tobytes()] for row in taps]
    own = tile.valid[name]
    valid = tuple(_both(None if own is None else own[b], seen) for b, (_, seen) in enumerate(pairs))
    return Group(name, bands, tuple(g for g, _ in pairs), taps, ratio, tile.halo * tile.factors[name], valid)


def _seen_through(seen: Bool, taps: Float64, ratio: int) -> Bool:
    share = decimate(np.asarray(seen.all(axis=0))[None].astype(np.float32), taps, ratio)[0]
    return np.asarray(share > _SEEN)


def _both(one: Bool | None, other: Bool | None) -> Bool | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other
