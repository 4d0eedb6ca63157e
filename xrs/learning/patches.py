"""Patches in memory: what a network learns from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xrs.errors import ParameterError
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

    def magnitude(self) -> float:
        """The mean of the target's magnitude, to three digits: networks work on values divided by it.

        Raises
        ------
        ParameterError
            If it is zero or not finite.
        """
        mean = float(np.abs(self.target[self.mask]).mean(dtype=np.float64)) if self.mask.any() else 0.0
        if not 0 < mean < math.inf:
            raise ParameterError(f"values with a mean magnitude of {mean}", "an image that is not empty")
        return float(f"{mean:.3g}")

    def divided(self, scale: float) -> Patches:
        """Inputs and target divided by a number."""
        by = np.float32(scale)
        return Patches(tuple(i / by for i in self.inputs), self.target / by, self.mask, self.spots)
