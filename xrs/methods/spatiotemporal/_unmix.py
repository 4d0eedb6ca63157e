"""The change of each class, by least squares over the purest coarse pixels of the scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xrs.kernels.types import Bool, Float64

__all__ = ["Purest", "class_changes", "merge_purest", "purest"]

#: Coarse pixels with a smaller share of a class tell nothing of it.
_LEAST_SHARE = 0.01


@dataclass(frozen=True)
class Purest:
    """The coarse pixels with the largest share of each class.

    Attributes
    ----------
    number : int
        Kept of each class and date, at most.
    rows : sequence of sequence of ndarray (n, 2 + class + band)
        For each date and class, purest first: minus the share, a rank by place, the shares of all classes, the change
        of all bands.
    """

    number: int
    rows: Sequence[Sequence[Float64]]


def purest(shares: Float64, changes: Float64, usable: Bool, ranks: Float64, number: int) -> Purest:
    """The purest coarse pixels of a tile.

    Parameters
    ----------
    shares : ndarray (class, y, x)
    changes : ndarray (date, band, y, x)
        Of the coarse images, from the date of the pair.
    usable : ndarray of bool (date, y, x)
    ranks : ndarray (y, x)
        Decides between coarse pixels of equal share.
    number : int
        How many to keep of each class.
    """
    return Purest(
        number,
        [
            [_rows(k, shares, change, seen & (shares[k] > _LEAST_SHARE), ranks, number) for k in range(len(shares))]
            for change, seen in zip(changes, usable, strict=True)
        ],
    )


def _rows(k: int, shares: Float64, change: Float64, chosen: Bool, ranks: Float64, number: int) -> Float64:
    table = np.concatenate([-shares[k][None], ranks[None], shares, change])
    return _first(table[:, chosen].T, number)


def _first(rows: Float64, number: int) -> Float64:
    return rows[np.lexsort((rows[:, 1], rows[:, 0]))[:number]]


def merge_purest(one: Purest, other: Purest) -> Purest:
    """The purest coarse pixels of both."""
    dates = zip(one.rows, other.rows, strict=True)
    rows = [[_first(np.concatenate(pair), one.number) for pair in zip(*date, strict=True)] for date in dates]
    return Purest(one.number, rows)


def class_changes(found: Purest) -> Float64:
    """The change (date, class, band) that explains those of the purest coarse pixels best.

    For each band, only those of a class's pixels take part whose change lies between their quartiles. NaN for a date
    without any.
    """
    return np.stack([_changes_of_date(classes) for classes in found.rows])


def _changes_of_date(classes: Sequence[Float64]) -> Float64:
    count = len(classes)
    bands = classes[0].shape[1] - 2 - count
    out = np.full((count, bands), np.nan)
    for b in range(bands):
        rows = np.concatenate([_between_quartiles(rows, 2 + count + b) for rows in classes])
        if rows.size:
            out[:, b] = np.linalg.lstsq(rows[:, 2 : 2 + count], rows[:, 2 + count + b], rcond=None)[0]
    return out


def _between_quartiles(rows: Float64, column: int) -> Float64:
    n = rows.shape[0]
    if n == 0:
        return rows
    change = np.sort(rows[:, column])
    low, high = change[n // 4], change[min(3 * n // 4, n - 1)]
    return rows[(rows[:, column] >= low) & (rows[:, column] <= high)]
