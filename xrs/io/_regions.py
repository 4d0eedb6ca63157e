"""How a product is cut: inner chunks, shards, and overview levels.

A shard is what one task writes, so that no two tasks ever touch one object of the store.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xrs.errors import ChunkingError, ParameterError

__all__ = ["Layout", "direct_levels", "level_count", "level_shape", "plan_layouts"]

#: Bytes of a region in memory that planning aims at, and those it never passes by its own choice.
_AIM = 32 * 2**20
_LIMIT = 512 * 2**20

#: Pixels along the side of an overview below which no further one is made.
_COARSEST = 512

_SIDES = (256, 2048)
_DATES = 8

#: Overviews that are made with the base, out of the values in memory: few objects, and little is read again.
_DIRECT = 2

#: Inner chunks aimed at: what is read for a small window; of the sizes tried, written with the least processor time.
_INNER = {"time": _DATES, "band": 1, "y": 256, "x": 256}


@dataclass(frozen=True)
class Layout:
    """One array of the store.

    Attributes
    ----------
    shape, chunks, shards : tuple of int
        Of the array, of an inner chunk, and of a shard: a whole number of inner chunks.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...]

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of shards along each dim."""
        return tuple(math.ceil(n / s) for n, s in zip(self.shape, self.shards, strict=True))

    def window(self, index: Sequence[int]) -> tuple[slice, ...]:
        """The part of the array that lies in one shard."""
        return tuple(slice(i * s, min((i + 1) * s, n)) for i, s, n in zip(index, self.shards, self.shape, strict=True))


def level_count(height: int, width: int, overviews: bool | int) -> int:
    """Number of levels below the base: as asked, or until the longer side is under 512 pixels."""
    if overviews is False:
        return 0
    most = max(height - 1, width - 1).bit_length()
    if overviews is True:
        return next(k for k in range(most + 1) if max(level_shape((height, width), k)) < _COARSEST or k == most)
    if not isinstance(overviews, int) or overviews < 0 or overviews > most:
        raise ParameterError(
            f"overviews={overviews!r} for {height} by {width} pixels", f"True, False or a number from 0 to {most}"
        )
    return overviews


def level_shape(shape: tuple[int, ...], level: int) -> tuple[int, ...]:
    """The shape of an overview: ``y`` and ``x``, the last two, halved ``level`` times and rounded up."""
    return (*shape[:-2], *(-(-n // 2**level) for n in shape[-2:]))


def direct_levels(layouts: Sequence[Layout]) -> int:
    """Number of overviews whose shards are made of one shard of the base each: at most two."""
    base = layouts[0]
    return min(_halvings(base.shape, base.shards), len(layouts) - 1)


def _halvings(shape: Sequence[int], sizes: Sequence[int]) -> int:
    """How often shards can be halved without a rest, up to :data:`_DIRECT`; a single shard always can."""
    cut = [size for n, size in zip(shape[-2:], sizes[-2:], strict=True) if size < n]
    return next(k for k in range(_DIRECT, -1, -1) if all(size % 2**k == 0 for size in cut))


def plan_layouts(
    dims: Sequence[str],
    shape: tuple[int, ...],
    upstream: Sequence[Sequence[int]] | None,
    itemsize: int,
    levels: int,
    *,
    chunks: Mapping[str, int] | None = None,
    shards: Mapping[str, int] | None = None,
) -> list[Layout]:
    """Cut a variable and its overviews.

    Shards are whole chunks of the cube where those are regular, so that no chunk is computed for two regions.

    Parameters
    ----------
    dims, shape
        Of the variable; ``y`` and ``x`` come last.
    upstream : sequence of sequence of int, optional
        Dask chunks of the cube; None in memory.
    itemsize : int
        Bytes of a value in memory.
    levels : int
        Overviews to make.
    chunks, shards : mapping of str to int, optional
        Sizes along dims that the caller fixes.

    Raises
    ------
    ChunkingError
        If a size asked for cannot be had.
    """
    wanted = _checked(dims, shards, "shards")
    inner = _checked(dims, chunks, "chunks")
    units = _units(shape, upstream)
    sizes = _region(dims, shape, units, itemsize, wanted, inner)
    if upstream is not None and math.prod(sizes) * itemsize > _LIMIT:
        sizes = _region(dims, shape, [None] * len(shape), itemsize, wanted, inner)
    return [_layout(dims, shape, sizes, level, _INNER, inner, bool(levels)) for level in range(levels + 1)]


def _checked(dims: Sequence[str], sizes: Mapping[str, int] | None, name: str) -> dict[str, int]:
    sizes = dict(sizes or {})
    wrong = {d: n for d, n in sizes.items() if isinstance(n, bool) or not isinstance(n, int) or n < 1}
    if wrong:
        raise ChunkingError(f"{name} holds {wrong}", "a positive integer for each dim", f"e.g. {name}={{'y': 1024}}")
    return {d: n for d, n in sizes.items() if d in dims}


def _units(shape: tuple[int, ...], upstream: Sequence[Sequence[int]] | None) -> list[int | None]:
    """The size of regular chunks along each dim; None where there are none."""
    if upstream is None:
        return [None] * len(shape)
    return [sizes[0] if len(set(sizes[:-1])) <= 1 and sizes[-1] <= sizes[0] else None for sizes in map(tuple, upstream)]


def _region(
    dims: Sequence[str],
    shape: tuple[int, ...],
    units: list[int | None],
    itemsize: int,
    wanted: Mapping[str, int],
    inner: Mapping[str, int],
) -> tuple[int, ...]:
    sizes: dict[str, int] = {}
    depth = 1
    for dim, n, unit in zip(dims[:-2], shape[:-2], units[:-2], strict=True):
        aim = _DATES if dim == "time" else 1
        sizes[dim] = min(wanted.get(dim) or _multiple(unit or 1, aim, inner.get(dim, 1)), max(n, wanted.get(dim, 1)))
        depth *= sizes[dim]
    side = math.isqrt(_AIM // (itemsize * depth))
    side = max(_SIDES[0], min(_SIDES[1], side // 256 * 256))
    for dim, n, unit in zip(dims[-2:], shape[-2:], units[-2:], strict=True):
        sizes[dim] = wanted.get(dim) or _side(n, unit, side, inner.get(dim, 2))
    return tuple(sizes[dim] for dim in dims)


def _side(n: int, unit: int | None, aim: int, inner: int) -> int:
    """Shard size along ``y`` or ``x``: even, so that its overview is a whole shard as well."""
    if n <= aim or (unit is not None and unit >= n):
        return n
    size = _multiple(math.lcm(unit or 2, 2), aim, inner)
    fits = _divisor(size // 2, 512) >= min(128, size // 2)
    return min(size if fits or inner > 2 else _multiple(2, aim, inner), n)


def _multiple(unit: int, aim: int, inner: int) -> int:
    """The largest multiple of ``unit`` and ``inner`` up to ``aim``, at least one."""
    unit = math.lcm(unit, inner)
    return unit * max(1, aim // unit)


def _layout(
    dims: Sequence[str],
    shape: tuple[int, ...],
    sizes: tuple[int, ...],
    level: int,
    aims: Mapping[str, int],
    inner: Mapping[str, int],
    halved: bool,
) -> Layout:
    chunks, shards = [], []
    coarse = level_shape(shape, level)
    halvings = min(level, _halvings(shape, sizes))
    for dim, n, n_base, size in zip(dims, coarse, shape, sizes, strict=True):
        spatial = dim in ("y", "x")
        if spatial and halved and size < n_base and size % 2:
            raise ChunkingError(
                f"a shard has {size} pixels along {dim}", "an even number, as overviews halve it", "overviews=False"
            )
        step = size // 2**halvings if spatial and size < n_base else size
        if inner.get(dim) and size < n_base and size % inner[dim]:
            raise ChunkingError(
                f"chunks of {inner[dim]} and shards of {size} along {dim}",
                "shards that are whole chunks",
                f"shards={{{dim!r}: {inner[dim] * max(2, size // inner[dim])}}}",
            )
        chunk, shard = _axis(n, step, n_base <= size or n <= step, aims[dim], inner.get(dim))
        chunks.append(chunk)
        shards.append(shard)
    return Layout(coarse, tuple(chunks), tuple(shards))


def _axis(n: int, step: int, single: bool, aim: int, inner: int | None) -> tuple[int, int]:
    """Chunk and shard along one dim; the only shard of a dim may reach beyond the array's end."""
    if single:
        chunk = min(inner or -(-n // -(-n // aim)), n)
        return chunk, chunk * -(-n // chunk)
    if inner is None:
        return _divisor(step, aim), step
    return math.gcd(inner, step), step


def _divisor(n: int, most: int) -> int:
    """The largest divisor of ``n`` up to ``most``."""
    return next(k for k in range(min(n, most), 0, -1) if n % k == 0)
