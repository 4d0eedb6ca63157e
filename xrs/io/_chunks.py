"""Chunks of the groups of a tree: the same dates and the same ground in each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from odc.geo.geobox import GeoBox

from xrs.errors import ParameterError

__all__ = ["Chunks", "plan_chunks"]

Chunks = Mapping[str, int] | Literal["auto"]

#: Side of a tile in pixels of the finest grid, and the block size of common GeoTIFFs it is a multiple of.
_SIDE = 2048
_BLOCK = 512

#: Small scenes: so many dates in a task that its overhead is small, so few that a cluster has work for all.
_DATES = 16
_BYTES = 16 * 2**20


def plan_chunks(grids: Mapping[str, GeoBox], chunks: Chunks) -> dict[str, tuple[int, int, int]]:
    """Dates, rows and columns of the chunks of each group.

    Parameters
    ----------
    grids : mapping of str to GeoBox
        The groups' grids.
    chunks : mapping of str to int, or "auto"
        Sizes along ``time``, ``y`` and ``x``, in pixels of the finest grid; coarser grids get as many pixels as lie on
        the same ground. Sizes left out are chosen as for ``"auto"``: 2048 pixels, or the nearest multiple
        of 512 that the grids divide, and up to 16 dates where a chunk stays below 16 MiB.
    """
    asked = _checked(chunks)
    finest = min(grid.affine.a for grid in grids.values())
    ratios = {name: max(1, round(grid.affine.a / finest)) for name, grid in grids.items()}
    unit = _BLOCK * max(ratios.values())
    side = unit * max(1, round(_SIDE / unit))
    rows, columns = asked.get("y", side), asked.get("x", side)
    largest = max(min(rows, g.shape[0] * ratios[n]) * min(columns, g.shape[1] * ratios[n]) for n, g in grids.items())
    dates = asked.get("time", min(_DATES, max(1, _BYTES // (4 * largest))))
    return {
        name: (dates, min(-(-rows // ratio), grids[name].shape[0]), min(-(-columns // ratio), grids[name].shape[1]))
        for name, ratio in ratios.items()
    }


def _checked(chunks: Chunks) -> dict[str, int]:
    if chunks == "auto":
        return {}
    if (
        not isinstance(chunks, Mapping)
        or not set(chunks) <= {"time", "y", "x"}
        or not all(_is_size(v) for v in chunks.values())
    ):
        raise ParameterError(
            f"chunks={chunks!r}",
            "'auto', or sizes above zero for time, y, x",
            "chunks={'time': 1, 'y': 2048, 'x': 2048}",
        )
    return dict(chunks)


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
