"""Nodes of the smoothed curve and the roughness penalty on them, for dates at any spacing."""

from __future__ import annotations

from math import factorial

import numpy as np
from numpy.typing import NDArray

from xrs.kernels.types import Float32, Float64
from xrs.methods.temporal._whittaker import Penalty

__all__ = ["join_rows", "nodes_of", "penalty_of"]

#: Dates nearer than this share of the usual spacing are one node: the penalty grows with the inverse cube of a gap.
_SAME = 0.01


def nodes_of(days: Float64, targets: Float64) -> tuple[Float64, NDArray[np.int64], NDArray[np.int64]]:
    """Dates on which the curve is solved: observations and targets together.

    Returns
    -------
    nodes : ndarray, float64, (m,)
        Increasing dates.
    at : ndarray, int64, (time,)
        The node of each observation date.
    to : ndarray, int64, (t,)
        The node of each target.
    """
    dates = np.union1d(days, targets)
    spacings = [np.median(np.diff(d)) for d in (days, np.unique(targets)) if d.size > 1]
    apart = np.diff(dates, prepend=-np.inf) > _SAME * min(spacings, default=0.0)
    label = np.cumsum(apart) - 1
    nodes = np.bincount(label, dates) / np.bincount(label)
    return nodes, label[np.searchsorted(dates, days)], label[np.searchsorted(dates, targets)]


def join_rows(
    series: Float32, weights: Float32 | None, at: NDArray[np.int64]
) -> tuple[Float32, Float32 | None, NDArray[np.int64]]:
    """Make one observation, the weighted mean, of those that share a node."""
    first = np.flatnonzero(np.diff(at, prepend=-1))
    if first.size == at.size:
        return series, weights, at
    seen = np.isfinite(series)
    weight = np.where(seen, 1.0 if weights is None else weights, 0.0)
    total = np.add.reduceat(weight, first, axis=0)
    values = np.add.reduceat(np.where(seen, series, 0.0) * weight, first, axis=0)
    mean = np.divide(values, total, out=np.zeros_like(values), where=total > 0)
    return mean.astype(np.float32), total.astype(np.float32), at[first]


def penalty_of(nodes: Float64, order: int) -> Penalty:
    """The penalty whose value is the integral of the squared derivative of the given order."""
    rows = _differences(nodes, order)
    bands = np.zeros((3, nodes.size))
    for i in range(order + 1):
        for j in range(i, order + 1):
            bands[j - i, i : i + len(rows)] += rows[:, i] * rows[:, j]
    return Penalty(rows, bands[0], np.pad(bands[1], (2, 0)), np.pad(bands[2], (2, 0)))


def _differences(nodes: Float64, order: int) -> Float64:
    """What each node and the ``order`` nodes after it are multiplied by, (m - order, order + 1).

    The divided difference times ``order!`` is the derivative; the root of the stretch of time it stands for makes the
    sum of squares an integral. At a spacing of one day these are the plain differences.
    """
    count = max(nodes.size - order, 0)
    x = nodes[np.arange(count)[:, None] + np.arange(order + 1)]
    gaps = x[:, :, None] - x[:, None, :] + np.eye(order + 1)
    stretch = (x[:, -1:] - x[:, :1]) / order
    return factorial(order) / gaps.prod(axis=2) * np.sqrt(stretch)
