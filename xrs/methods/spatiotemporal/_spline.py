"""Interpolation of the centres of coarse pixels: thin-plate splines and inverse distances, as weights on nested grids.

On a regular grid a spline through the pixels around a place is a weighted sum of their values, and the weights depend
only on where in its coarse pixel a fine pixel lies.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from xrs.kernels.types import Float64

__all__ = ["REACH", "inverse_distance_weights", "spline_weights"]

#: Coarse pixels on either side that an interpolated pixel depends on, by way of interpolating.
REACH = {"tps": 4, "idw": 2}

#: Inverse distances count to this power, as far as this many coarse pixels.
_POWER, _RADIUS = 2.0, 2.0


@lru_cache(maxsize=16)
def spline_weights(ratio: int) -> Float64:
    """Weights (phase y, phase x, row, column) of the thin-plate spline through the coarse pixels around a fine one."""
    reach = REACH["tps"]
    knots, places = _lattice(reach), _fine_centres(ratio)
    n = knots.shape[0]
    system = np.zeros((n + 3, n + 3))
    system[:n, :n] = _radial(knots, knots)
    system[:n, n:] = _affine(knots)
    system[n:, :n] = system[:n, n:].T
    right = np.concatenate([_radial(knots, places), _affine(places).T])
    return _by_phase(np.linalg.solve(system, right)[:n], ratio, reach)


@lru_cache(maxsize=16)
def inverse_distance_weights(ratio: int) -> Float64:
    """Weights (phase y, phase x, row, column) by the inverse square of the distance, within two coarse pixels."""
    reach = REACH["idw"]
    distance = _distances(_lattice(reach), _fine_centres(ratio))
    near = distance <= _RADIUS
    # A fine pixel on a centre takes its value.
    weights = np.where(near, np.maximum(distance, 1e-9) ** -_POWER, 0.0)
    return _by_phase(weights / weights.sum(axis=0), ratio, reach)


def _lattice(reach: int) -> Float64:
    index = np.arange(-reach, reach + 1.0)
    return np.stack([a.ravel() for a in np.meshgrid(index, index, indexing="ij")], axis=1)


def _fine_centres(ratio: int) -> Float64:
    index = (np.arange(ratio) + 0.5) / ratio - 0.5
    return np.stack([a.ravel() for a in np.meshgrid(index, index, indexing="ij")], axis=1)


def _distances(one: Float64, other: Float64) -> Float64:
    return np.asarray(np.hypot(*(one[:, None] - other).transpose(2, 0, 1)))


def _radial(one: Float64, other: Float64) -> Float64:
    """``r² log r`` between two sets of places."""
    squared = _distances(one, other) ** 2
    return np.asarray(0.5 * squared * np.log(np.where(squared > 0, squared, 1.0)))


def _affine(places: Float64) -> Float64:
    return np.column_stack([np.ones(places.shape[0]), places])


def _by_phase(weights: Float64, ratio: int, reach: int) -> Float64:
    side = 2 * reach + 1
    return np.ascontiguousarray(weights.T.reshape(ratio, ratio, side, side))
