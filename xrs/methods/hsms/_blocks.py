"""Blocks of pixels of ``hs`` that are solved one by one, each with a margin."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["Block", "blocks", "place_of"]

#: Rows and columns in pixels of ``hs``, without margin.
Block = tuple[slice, slice]


def blocks(height: int, width: int, size: int) -> Iterator[Block]:
    """Squares of so many pixels side by side, smaller at the end of a scene."""
    for i in range(0, height, size):
        for j in range(0, width, size):
            yield slice(i, min(i + size, height)), slice(j, min(j + size, width))


def place_of(block: Block, ratio: int, *, margin: int = 0, halo: int = 0) -> Block:
    """Where a block with ``margin`` on all sides lies in an image with ``halo``; both in pixels of ``hs``."""
    rows, columns = (slice((s.start + halo - margin) * ratio, (s.stop + halo + margin) * ratio) for s in block)
    return rows, columns
