"""Patches drawn from lazy cubes: where they lie, how they are read, and what is done about gaps.

A scene is cut into *places*, the cells of a lattice that does not depend on chunks. Some places are held out: no
patch of the others touches them, on any date. Patches are drawn from a random choice of places and dates, and windows
that lie near each other are read together, so a cube is read only where patches lie.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xrs.errors import ParameterError
from xrs.kernels import fill_gaps
from xrs.kernels.types import Float32
from xrs.learning.checks import check_whole
from xrs.learning.patches import Patches
from xrs.training.protocols import Pairs

__all__ = ["Places", "Spot", "draw_patches", "make_places", "read_patches", "usual_side"]

#: Date, row and column of a patch's first pixel, in pixels of the coarsest input.
Spot = tuple[int, int, int]

Bool = NDArray[np.bool_]

#: A patch's side in coarsest pixels unless told otherwise.
_SIDE = 16
#: Side of the smallest patch that half of a patch may be.
_LEAST_HALF = 4
#: Patches drawn at one place and date before the next is visited, and how many places are visited at least.
_AT_A_PLACE, _LEAST_PLACES = 16, 16
#: Windows read at once.
_READ_TOGETHER = 128
#: How often all places are visited again if clouds leave too few patches.
_ROUNDS = 4


@dataclass(frozen=True)
class Places:
    """The lattice of places of a scene.

    Attributes
    ----------
    rows, columns : ndarray of int
        Edges of the cells in pixels of the coarsest input, the scene's first and last edge included.
    dates : int
    side : int
        Of a patch.
    held_out : ndarray of bool, (cell row, cell column)
    lattice : int
        Side of held-out patches that lie edge to edge in their place, so that two are the same or share no pixel; if
        0 they have the side of the others and lie anywhere in it.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    dates: int
    side: int
    held_out: Bool
    lattice: int = 0

    def sites(self, held_out: bool) -> NDArray[np.int64]:
        """Date, cell row and cell column of all places of one part, (site, 3)."""
        cells = np.argwhere(self.held_out == held_out)
        dates = np.repeat(np.arange(self.dates), len(cells))
        return np.column_stack([dates, np.tile(cells, (self.dates, 1))])

    def spot(self, site: NDArray[np.int64], rng: np.random.Generator) -> Spot | None:
        """A random patch at a place, or None if it would touch a place of the other part.

        Held-out patches lie within their place; the others only around a pixel of it.
        """
        date, i, j = (int(v) for v in site)
        inside = bool(self.held_out[i, j])
        row, column = (self._start(edges, k, inside, rng) for edges, k in ((self.rows, i), (self.columns, j)))
        return None if not inside and self._touches_held_out(row, column) else (date, row, column)

    def _start(self, edges: NDArray[np.int64], k: int, inside: bool, rng: np.random.Generator) -> int:
        """The first row or column of a patch: within cell ``k``, or centred in it and within the scene."""
        low, high, side = int(edges[k]), int(edges[k + 1]), self.side
        if inside and self.lattice:
            return low + self.lattice * int(rng.integers((high - low) // self.lattice))
        if inside:
            return int(rng.integers(low, high - side + 1))
        return int(np.clip(rng.integers(low, high) - side // 2, 0, edges[-1] - side))

    def _touches_held_out(self, row: int, column: int) -> bool:
        windows = (
            slice(np.searchsorted(edges, first, "right") - 1, np.searchsorted(edges, first + self.side, "left"))
            for edges, first in ((self.rows, row), (self.columns, column))
        )
        return bool(self.held_out[tuple(windows)].any())


def make_places(
    height: int, width: int, dates: int, side: int, share: float, seed: int, *, widest: int = 8, lattice: int = 0
) -> Places:
    """Cut a scene into places and hold some out.

    Places are one to ``widest`` patches wide, such that the shorter side of the scene has four if it can.

    Parameters
    ----------
    height, width, side : int
        Of the scene and of a patch, in pixels of the coarsest input.
    dates : int
    share : float
        Of places to hold out; at least one is, and at least one is not.
    seed, widest : int
    lattice : int
        See :class:`Places`.

    Raises
    ------
    ParameterError
        If the scene does not hold two patches side by side.
    """
    if min(height, width) < side or max(height, width) < 2 * side:
        raise ParameterError(
            f"{height} by {width} pixels of the coarsest input for patches of {side}",
            "room for two patches side by side, one of them held out",
            "a larger scene, or a smaller patch_size",
        )
    cell = int(np.clip(min(height, width) // 4, side, widest * side))
    rows, columns = (np.linspace(0, n, n // cell + 1).astype(np.int64) for n in (height, width))
    held_out = np.zeros((len(rows) - 1, len(columns) - 1), bool)
    count = min(max(1, round(share * held_out.size)), held_out.size - 1)
    held_out.flat[np.random.default_rng([seed, 0]).permutation(held_out.size)[:count]] = True
    return Places(rows, columns, dates, side, held_out, lattice)


def draw_patches(
    pairs: Pairs,
    *,
    count: int,
    side: int | None = None,
    held_out: float = 0.125,
    most_missing: float = 0.25,
    seed: int = 0,
    distinct: bool = False,
) -> tuple[Patches, Patches]:
    """Patches to train on, and patches of other places to check with.

    Parameters
    ----------
    pairs : Pairs
        Lazy or not; only the windows of patches are computed.
    count : int
        Patches to train on; fewer are given where clouds leave fewer.
    side : int, optional
        Of a patch in pixels of the coarsest input; that of :func:`usual_side` if not given.
    held_out : float
        Share of the places that are held out, and of patches drawn there.
    most_missing : float
        Patches with a larger share of NaN, in an input or in the target, are not taken. Gaps in the others are
        filled from their neighbourhood in the inputs and masked in the target.
    seed : int
        The same seed gives the same patches at any chunking.
    distinct : bool
        Whether held-out patches are to be many that share no pixel (but are the same on several dates): of more and
        smaller places, edge to edge, with half the side if the point spread leaves room for it.

    Returns
    -------
    (Patches, Patches)

    Raises
    ------
    ParameterError
        If the scene or a patch is too small, or no patch of either part is clear enough.
    """
    _check_shares(count, held_out, most_missing)
    sizes = pairs.inputs.arrays[-1].sizes
    side = side or usual_side(pairs)
    if side * pairs.factor <= 2 * pairs.margin:
        raise ParameterError(
            f"patches of {side} coarsest pixels, of which the point spread leaves {pairs.margin} at each edge out",
            f"more than {2 * pairs.margin // pairs.factor} coarsest pixels",
            "a larger patch_size, or a larger scene",
        )
    # The same ground in the pixels of every protocol.
    widest, lattice = (2 * pairs.inputs.ratio // pairs.factor, _lattice(pairs, side)) if distinct else (8, 0)
    places = make_places(sizes["y"], sizes["x"], sizes["time"], side, held_out, seed, widest=widest, lattice=lattice)
    checks = math.ceil(count * held_out) * (side // (lattice or side)) ** 2
    return (
        _collect(pairs, places, False, count, most_missing, seed),
        _collect(pairs, places, True, checks, most_missing, seed),
    )


def usual_side(pairs: Pairs) -> int:
    """The side of patches, in pixels of the coarsest input, where none is given: 16, or less in a small scene."""
    height, width = (pairs.inputs.arrays[-1].sizes[d] for d in ("y", "x"))
    return min(_SIDE, height, width, max(height, width) // 2)


def read_patches(pairs: Pairs, spots: Sequence[Spot], side: int, most_missing: float) -> Patches | None:
    """The patches at these spots that are clear enough; None if none is.

    Parameters
    ----------
    pairs : Pairs
    spots : sequence of Spot
    side : int
        Of a patch in pixels of the coarsest input.
    most_missing : float
        See :func:`draw_patches`.
    """
    found = list(_clear(pairs, spots, side, most_missing))
    return _joined(found) if found else None


def _lattice(pairs: Pairs, side: int) -> int:
    """The side of distinct held-out patches: half of the others', if that leaves something to look at."""
    half = side // 2
    return half if half >= _LEAST_HALF and half * pairs.factor > 2 * pairs.margin else side


def _check_shares(count: int, held_out: float, most_missing: float) -> None:
    check_whole("patches", count, 1)
    if not 0 < held_out < 1:
        raise ParameterError(f"held_out={held_out}", "a share above 0 and below 1")
    if not 0 <= most_missing < 1:
        raise ParameterError(f"most_missing={most_missing}", "a share from 0 to below 1")


def _collect(pairs: Pairs, places: Places, held_out: bool, count: int, most_missing: float, seed: int) -> Patches:
    rng = np.random.default_rng([seed, 1 + held_out])
    sites = places.sites(held_out)
    visits = min(len(sites), max(_LEAST_PLACES, math.ceil(count / _AT_A_PLACE)))
    each = math.ceil(count / visits)
    queue = itertools.chain.from_iterable([rng.permutation(len(sites)) for _ in range(_ROUNDS)])
    side = (places.lattice if held_out else 0) or places.side
    found: list[Patches] = []
    taken: set[Spot] = set()
    while (missing := count - sum(map(len, found))) > 0:
        wave = list(itertools.islice(queue, math.ceil(missing / each)))
        if not wave:
            break
        drawn = {places.spot(sites[k], rng) for k in np.repeat(wave, each)} - taken
        spots = sorted(spot for spot in drawn if spot is not None)
        found += _clear(pairs, spots, side, most_missing)
        taken.update(spots)
    if not sum(map(len, found)):
        part = "held-out " if held_out else ""
        raise ParameterError(
            f"no {part}patch of {side} coarsest pixels with at most {most_missing:.0%} missing",
            "clear ground on some date",
            "add dates, raise most_missing, or choose a smaller patch_size",
        )
    return _joined(found)[:count]


def _clear(pairs: Pairs, spots: Sequence[Spot], side: int, most_missing: float) -> Iterator[Patches]:
    """The patches at these spots that are clear enough, in parts that are read together."""
    for start in range(0, len(spots), _READ_TOGETHER):
        group = spots[start : start + _READ_TOGETHER]
        *inputs, target = _read(pairs, group, side)
        clear = np.all([np.isnan(a).mean(axis=(1, 2, 3)) <= most_missing for a in (*inputs, target)], axis=0)
        if clear.any():
            kept = [a[clear] for a in inputs]
            yield _filled(pairs, kept, target[clear], np.array(group, np.int64)[clear])


def _read(pairs: Pairs, spots: Sequence[Spot], side: int) -> list[Float32]:
    """The windows of all inputs and of the target at these spots, each (patch, band, y, x), in one computation."""
    arrays = [*zip(pairs.inputs.arrays, pairs.inputs.factors, strict=True), (pairs.target, pairs.factor)]
    stacks = {str(n): _stack(array.variable, factor, spots, side, n) for n, (array, factor) in enumerate(arrays)}
    seen = xr.Dataset(stacks).compute()
    return [np.ascontiguousarray(seen[name].values, np.float32) for name in stacks]


def _stack(image: xr.Variable, factor: int, spots: Sequence[Spot], side: int, n: int) -> xr.Variable:
    length = side * factor
    windows = [
        image.isel(
            time=date,
            y=slice(row * factor, row * factor + length),
            x=slice(column * factor, column * factor + length),
        )
        for date, row, column in spots
    ]
    stacked = xr.Variable.concat(windows, dim="patch")  # type: ignore[no-untyped-call]
    # Images differ in size, so their dims must differ in name to stand in one Dataset.
    return xr.Variable(("patch", f"band{n}", f"y{n}", f"x{n}"), stacked.data)


def _filled(pairs: Pairs, inputs: Sequence[Float32], target: Float32, spots: NDArray[np.int64]) -> Patches:
    mask = np.isfinite(target)
    for image, factor in zip(inputs, pairs.inputs.factors, strict=True):
        seen = np.asarray(np.isfinite(image).all(axis=1))
        if not seen.all():
            mask &= _on_grid(seen, factor, pairs.factor)[:, None]
            for patch in np.flatnonzero(~seen.all(axis=(1, 2))):
                valid = np.isfinite(image[patch])
                image[patch] = fill_gaps(image[patch], valid, max(valid.shape))
    if pairs.margin:
        inner = np.zeros(mask.shape[-2:], bool)
        inner[pairs.margin : -pairs.margin, pairs.margin : -pairs.margin] = True
        mask &= inner
    return Patches(tuple(inputs), np.where(np.isnan(target), np.float32(0), target), mask, spots)


def _on_grid(seen: Bool, factor: int, wanted: int) -> Bool:
    """A mask (patch, y, x) on a grid of another factor; a coarse pixel is seen if all of its block is."""
    if factor > wanted:
        step = factor // wanted
        patches, height, width = seen.shape
        blocks = seen.reshape(patches, height // step, step, width // step, step)
        return np.asarray(blocks.all(axis=(2, 4)))
    step = wanted // factor
    return seen.repeat(step, axis=1).repeat(step, axis=2)


def _joined(parts: Sequence[Patches]) -> Patches:
    return Patches(
        tuple(np.concatenate(images) for images in zip(*(p.inputs for p in parts), strict=True)),
        np.concatenate([p.target for p in parts]),
        np.concatenate([p.mask for p in parts]),
        np.concatenate([p.spots for p in parts]),
    )
