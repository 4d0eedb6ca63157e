"""The quadratic problem of one date, solved block by block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from xrs.kernels.types import Bool, Float32, Float64
from xrs.methods._inversion import Observation, Problem
from xrs.methods._solver import conjugate_gradients
from xrs.methods.base import Tile

__all__ = ["BLOCK", "MARGIN", "Solver", "is_positive", "mean_taps", "seen_pixels"]

#: Pixels of the common grid along the side of a block, and the margin it is solved with.
BLOCK = 16
MARGIN = 4


@dataclass(frozen=True)
class Solver:
    """How components with a Gaussian prior of mean zero follow from observations.

    Attributes
    ----------
    variances : ndarray (component,)
        Of the prior.
    regularisation : float
        Weight of the gradients' penalty.
    tolerance, iterations
        See :func:`xrs.methods._solver.conjugate_gradients`.
    """

    variances: Float64
    regularisation: float
    tolerance: float
    iterations: int

    def components(self, tile: Tile, observations: Mapping[str, Observation], extra: int) -> Float32:
        """The estimate (component, y, x) on the fine grid, without the tile's halo.

        Parameters
        ----------
        tile : Tile
        observations : mapping of str to Observation
            By the tile's names, over all of it.
        extra : int
            Common pixels of the halo beyond ``MARGIN``.
        """
        fine = tile.factors["ms"]
        height, width = tile.core("ms").shape[-2:]
        out = np.empty((self.variances.size, height, width), np.float32)
        margin = MARGIN * fine
        for rows, columns in _blocks(height // fine, width // fine):
            problem = self._problem(tile.factors, observations, rows, columns, extra)
            a = conjugate_gradients(
                problem.normal, problem.right(), problem.preconditioner(), self.tolerance, self.iterations
            )
            place = tuple(slice(s.start * fine, s.stop * fine) for s in (rows, columns))
            out[(slice(None), *place)] = a[:, margin : a.shape[1] - margin, margin : a.shape[2] - margin]
        return out

    def _problem(
        self,
        factors: Mapping[str, int],
        observations: Mapping[str, Observation],
        rows: slice,
        columns: slice,
        extra: int,
    ) -> Problem:
        """The quadratic problem of a block with its margin."""

        def window(factor: int) -> tuple[slice, slice, slice]:
            y, x = (slice((s.start + extra) * factor, (s.stop + 2 * MARGIN + extra) * factor) for s in (rows, columns))
            return slice(None), y, x

        parts = []
        for name, one in observations.items():
            where = window(factors[name])
            seen = None if one.seen is None else np.ascontiguousarray(one.seen[where], np.float32)
            parts.append(Observation(np.ascontiguousarray(one.bands[where]), seen, one.basis, one.taps, one.ratio))
        shape = [(s.stop - s.start + 2 * MARGIN) * factors["ms"] for s in (rows, columns)]
        precision = 1.0 / self.variances
        return Problem(tuple(parts), np.ones(shape, np.float32), self.regularisation * precision, precision)


def mean_taps(psf: Mapping[str, Float64], count: int) -> Float64:
    """The mean point spread of the hyperspectral bands, for as many bands (band, tap)."""
    return np.repeat(psf["hs"].mean(axis=0, keepdims=True), count, axis=0)


def seen_pixels(tile: Tile, name: str, date: int) -> Bool:
    """Where all bands of one date were seen (y, x)."""
    valid = tile.valid[name]
    if valid is None:
        return np.ones(tile[name].shape[-2:], np.bool_)
    return np.asarray(valid[date].all(axis=0))


def is_positive(value: Any) -> bool:
    """Whether a parameter is a finite number above zero."""
    return isinstance(value, int | float) and 0 < value < np.inf


def _blocks(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    for i in range(0, height, BLOCK):
        for j in range(0, width, BLOCK):
            yield slice(i, min(i + BLOCK, height)), slice(j, min(j + BLOCK, width))
