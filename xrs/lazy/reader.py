"""How a tile reads its sources: which chunks, with what margin, and what a method then sees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xrs.kernels.plausible import check_magnitudes
from xrs.kernels.types import Float32, Float64
from xrs.lazy.plan import Interval, Plan, Source, TileSpec, touched
from xrs.lazy.window import Window, bounds_of, read_window, tile_of
from xrs.methods.base import Tile

__all__ = ["Reader", "eager_tiles", "read_all", "unseen"]


@dataclass(frozen=True)
class Reader:
    """How tiles read their sources: grids, the method's halo, and the wider margin gaps are filled from.

    With ``days``, a method sees all dates of a chunk at once, and those of ``steady`` sources whatever the chunk.
    Values of sources named in ``reflectance`` that cannot be reflectance are refused.
    """

    factors: Mapping[str, int]
    halo: int
    margin: int
    steady: tuple[str, ...] = ()
    days: Mapping[str, Float64] | None = None
    reflectance: tuple[str, ...] = ()

    def windows(self, sizes: Mapping[str, Sequence[Sequence[int]]], tile: TileSpec) -> dict[str, Window]:
        """What a tile reads of each source, given the chunk sizes of each."""
        return {name: self._window(chunks, name, tile) for name, chunks in sizes.items()}

    def _window(self, chunks: Sequence[Sequence[int]], name: str, tile: TileSpec) -> Window:
        factor = self.factors[name]
        dates, bands, height, width = (sum(c) for c in chunks)
        rows, top, bottom = bounds_of(tile.y, factor, self.margin, height)
        columns, left, right = bounds_of(tile.x, factor, self.margin, width)
        bounds: list[Interval] = [(0, dates) if name in self.steady else tile.time, (0, bands), rows, columns]
        shape = tuple(b - a for a, b in bounds)
        return Window(tuple(touched(chunks, bounds)), shape, (top, left), (bottom, right))  # type: ignore[arg-type]

    def tiles(self, spec: TileSpec, windows: Mapping[str, Window], chunks: Sequence[Any]) -> Iterator[Tile]:
        """The tile of each date, made when it is asked for; or one of all dates."""
        images = read_all(windows, chunks, self.reflectance)
        if self.days is not None:
            yield self._tile(spec, images, self._days(spec))
            return
        for t in range(spec.time[1] - spec.time[0]):
            yield self._tile(spec, {name: image[t] for name, image in images.items()}, {})

    def _tile(self, spec: TileSpec, images: Mapping[str, Float32], days: Mapping[str, Float64]) -> Tile:
        return tile_of(
            images,
            self.factors,
            halo=self.halo,
            margin=self.margin,
            origin=(spec.y[0], spec.x[0]),
            days=days,
        )

    def _days(self, spec: TileSpec) -> dict[str, Float64]:
        dated = (self.days or {}).items()
        return {name: days if name in self.steady else days[slice(*spec.time)] for name, days in dated}


def read_all(
    windows: Mapping[str, Window], chunks: Sequence[Any], reflectance: Sequence[str] = ()
) -> dict[str, NDArray[np.float32]]:
    """The window of each source (time, band, y, x), given the chunks of all.

    Raises
    ------
    RadiometryError
        If a source named in ``reflectance`` holds, within the scene, what cannot be reflectance.
    """
    images, first = {}, 0
    for name, window in windows.items():
        own = chunks[first : first + len(window.pieces)]
        if name in reflectance:
            # As they were given: in float32 some fill values become infinite.
            for piece, chunk in zip(window.pieces, own, strict=True):
                check_magnitudes(chunk[piece.window], name)
        images[name] = read_window(window, own)
        first += len(window.pieces)
    return images


def unseen(tile: Tile, aside: Sequence[str] = ()) -> list[bool]:
    """For each observation, whether nothing of it was seen in the core."""
    return [v is not None and not tile.core(name, v).any() for name, v in tile.valid.items() if name not in aside]


def eager_tiles(sources: Mapping[str, Source], plan: Plan, reader: Reader) -> Any:
    """Every tile of sources in memory, its windows and the arrays they are cut from."""
    sizes = {n: s.chunks for n, s in sources.items()}
    for tile in plan.tiles():
        windows = reader.windows(sizes, tile)
        yield tile, windows, [sources[n].array for n, w in windows.items() for _ in w.pieces]
