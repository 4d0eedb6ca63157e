"""Learning from the scene a method is applied to: a pass draws patches of it, and what ends the pass trains.

Which patches are drawn depends on their place in the scene and on the seed, never on tiles: each lattice cell of the
scene has a rank of its own, and the cells of lowest rank that are clear enough are kept.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xrs.errors import ParameterError
from xrs.kernels import decimate, reach_of
from xrs.kernels.types import Bool, Float32, Float64
from xrs.methods.base import Param, Pass, State, Tile

if TYPE_CHECKING:
    from xrs.learning.scene import Pairs

__all__ = ["Patch", "consistency", "sampling", "scene_pass", "wald"]

_LOG = logging.getLogger("xrs.methods")

#: Patches with a larger share of missing pixels, in any observation, teach nothing.
_MOST_MISSING = 0.25


def sampling(patches: int, side: int) -> tuple[Param, ...]:
    """The parameters that say how patches are drawn, with these defaults."""
    return (
        Param("patches", patches, "patches of the scene to learn from, at most", "1 or more", lambda n: n > 0),
        Param(
            "side", side, "their side in coarsest pixels", "an even number from 8 on", lambda n: n >= 8 and n % 2 == 0
        ),
        Param("seed", 0, "of patches, their order and the first weights", "0 or more", lambda n: n >= 0),
    )


@dataclass(frozen=True)
class Patch:
    """A square window of every observation of one date.

    Attributes
    ----------
    rank : float
        Drawn for its place; patches of low rank are kept.
    place : tuple of int
        Row and column of its first pixel in the scene, in coarsest pixels; negative at the scene's edge.
    images : mapping of str to ndarray (band, y, x)
        Without gaps.
    seen : mapping of str to ndarray of bool (band, y, x)
    """

    rank: float
    place: tuple[int, int]
    images: Mapping[str, Float32]
    seen: Mapping[str, Bool]

    @property
    def order(self) -> tuple[float, tuple[int, int]]:
        """By rank, then by place."""
        return self.rank, self.place


@dataclass(frozen=True)
class _Drawn:
    """The patches of lowest rank, no more than ``count``."""

    count: int
    patches: Sequence[Patch]


def scene_pass(learn: Callable[..., State]) -> Pass:
    """A pass that ends with ``learn(drawn, state, **params)``; the patches come in the order of their rank.

    The method's parameters of :func:`sampling` say how many patches of what size are drawn. Its halo must be at least
    half of a patch's side.
    """
    return Pass(_draw, _merge, _Learn(learn), _least)


def consistency(patches: Sequence[Patch], inputs: Sequence[str], target: str, taps: Float64) -> Pairs:
    """Pairs whose result, seen through ``taps``, must give the coarse observation back."""
    from xrs.learning.scene import Pairs

    ratio = _side(patches, inputs[0]) // _side(patches, target)
    images = [_stacked(patches, role) for role in inputs]
    values, mask = _stacked(patches, target)
    for _, seen in images:
        mask &= _whole_blocks(seen, seen.shape[-1] // mask.shape[-1])[:, None]
    return Pairs(tuple(image for image, _ in images), values, _inner(mask, reach_of(taps, ratio)), taps, ratio)


def wald(patches: Sequence[Patch], roles: Sequence[str], psf: Mapping[str, Float64]) -> Pairs:
    """Pairs of observations seen coarser by the last one's ratio, and the last one as it was.

    ``psf`` leads from each observation's grid to that coarser one.
    """
    from xrs.learning.scene import Pairs

    ratio = _side(patches, roles[0]) // _side(patches, roles[-1])
    side = _side(patches, roles[-1]) // ratio * ratio
    values, mask = _stacked(patches, roles[-1], side)
    inputs = []
    for role in roles:
        images, seen = _stacked(patches, role, side * _side(patches, role) // _side(patches, roles[-1]))
        inputs.append(np.stack([decimate(image, psf[role], ratio) for image in images]))
        whole = _whole_blocks(seen, seen.shape[-1] * ratio // mask.shape[-1])
        mask = mask & whole.repeat(ratio, axis=1).repeat(ratio, axis=2)[:, None]
    # The outermost of the coarser pixels are seen through what lies outside of the patch.
    return Pairs(tuple(inputs), values, _inner(mask, ratio))


def _draw(tile: Tile, _state: State, *, patches: int, side: int, seed: int, **_: Any) -> _Drawn:
    """The patches of lowest rank among those whose centre lies in the tile's core."""
    cells = itertools.product(_cells(tile, 0, side), _cells(tile, 1, side))
    ranked = sorted((float(np.random.default_rng([seed, *cell]).random()), cell) for cell in cells)
    clear = (patch for rank, cell in ranked if (patch := _patch(tile, rank, cell, side)) is not None)
    return _Drawn(patches, list(itertools.islice(clear, patches)))


def _cells(tile: Tile, axis: int, side: int) -> range:
    """Places on a lattice of half a patch with the patch's centre in the core, along rows (0) or columns (1)."""
    coarsest = next(name for name, factor in tile.factors.items() if factor == 1)
    first = tile.origin[axis]
    stop = first + tile.core(coarsest).shape[1 + axis]
    return range(*(max(math.ceil(edge / (side // 2)) - 1, 0) for edge in (first, stop)))


def _patch(tile: Tile, rank: float, cell: tuple[int, int], side: int) -> Patch | None:
    place = (cell[0] * (side // 2), cell[1] * (side // 2))
    corner = [start - origin + tile.halo for start, origin in zip(place, tile.origin, strict=True)]
    windows = {
        name: (slice(None), *(slice(start * f, (start + side) * f) for start in corner))
        for name, f in tile.factors.items()
    }
    seen = {name: _seen(tile, name, window) for name, window in windows.items()}
    if min(mask.mean() for mask in seen.values()) < 1 - _MOST_MISSING:
        return None
    return Patch(rank, place, {name: tile[name][window].copy() for name, window in windows.items()}, seen)


def _least(*, side: int, **_: Any) -> int:
    """Scenes of half a patch and less hold no patch whose centre is in them."""
    return side // 2 + 1


@dataclass(frozen=True)
class _Learn:
    learn: Callable[..., State]

    def __call__(self, drawn: _Drawn, state: State, **params: Any) -> State:
        if not drawn.patches:
            # One cloudy date must not stop the others.
            _LOG.warning(
                "nothing learned of a date: no patch of %d coarsest pixels with at most %.0f%% missing; a smaller "
                "side= may find one",
                params["side"],
                100 * _MOST_MISSING,
            )
            return state
        return self.learn(drawn.patches, state, **params)


def _merge(one: _Drawn, other: _Drawn) -> _Drawn:
    return _Drawn(one.count, heapq.nsmallest(one.count, [*one.patches, *other.patches], key=lambda p: p.order))


def _side(patches: Sequence[Patch], role: str) -> int:
    return patches[0].images[role].shape[-1]


def _stacked(patches: Sequence[Patch], role: str, side: int | None = None) -> tuple[Float32, Bool]:
    """One observation of all patches (patch, band, y, x) and where it was seen; the first ``side`` rows and columns."""
    first = (slice(None), slice(side), slice(side))
    return np.stack([p.images[role][first] for p in patches]), np.stack([p.seen[role][first] for p in patches])


def _whole_blocks(seen: Bool, ratio: int) -> Bool:
    """Coarse pixels (patch, y, x) all of whose fine pixels (patch, band, y, x) were seen in all bands."""
    patches, bands, height, width = seen.shape
    blocks = seen.reshape(patches, bands, height // ratio, ratio, width // ratio, ratio)
    return np.asarray(blocks.all(axis=(1, 3, 5)))


def _inner(mask: Bool, cut: int) -> Bool:
    """A mask without ``cut`` pixels at the edges of each patch."""
    side = mask.shape[-1]
    if side <= 2 * cut:
        raise ParameterError(
            f"patches of {side} coarse pixels, of which {cut} at each edge depend on what lies outside",
            f"a side above {2 * cut}",
            f"side={2 * cut + 16}",
        )
    inner = np.zeros(mask.shape, bool)
    inner[..., cut : side - cut, cut : side - cut] = True
    return mask & inner


def _seen(tile: Tile, name: str, window: tuple[slice, ...]) -> Bool:
    valid, image = tile.valid[name], tile[name][window]
    return np.ones(image.shape, bool) if valid is None else valid[window].copy()
