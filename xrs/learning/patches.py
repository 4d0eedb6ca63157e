"""Patches in memory: what a network learns from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xrs.kernels.types import Float32

__all__ = ["Patches"]


@dataclass(frozen=True)
class Patches:
    """Patches in memory, without NaN.

    Attributes
    ----------
    inputs : tuple of ndarray, float32, (patch, band, y, x)
        The finest image first.
    target : ndarray, float32, (patch, band, y, x)
    mask : ndarray of bool, (patch, band, y, x)
        Where the target was seen, and all inputs were at that pixel.
    spots : ndarray of int, (patch, 3)
        Date, row and column of each, in pixels of the coarsest input.
    """

    inputs: tuple[Float32, ...]
    target: Float32
    mask: NDArray[np.bool_]
    spots: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, which: slice) -> Patches:
        return Patches(tuple(i[which] for i in self.inputs), self.target[which], self.mask[which], self.spots[which])
