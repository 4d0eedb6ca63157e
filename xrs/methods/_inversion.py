"""A window of the scene as a quadratic problem in the components of all bands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from xrs.kernels import decimate, decimate_adjoint
from xrs.kernels.types import Bool, Float32, Float64
from xrs.methods._linear import combine
from xrs.methods._solver import add_smoothing

__all__ = ["Observation", "Problem"]


@dataclass(frozen=True)
class Observation:
    """Bands of one grid, ``y = M B (U z)``, normalised.

    Attributes
    ----------
    bands : ndarray (band, y, x)
    seen : ndarray of bool or float32 (band, y, x) or None
        Where they count; or how much: one over the standard deviation of their noise.
    basis : ndarray (band, component)
    taps : ndarray (band, tap) or None
        Point spread from the fine grid; None on it.
    ratio : int
    """

    bands: Float32
    seen: Bool | Float32 | None
    basis: Float64
    taps: Float64 | None
    ratio: int

    def forward(self, z: Float32) -> Float32:
        """What is seen of the components (component, y, x)."""
        bands = combine(self.basis, z)
        out = bands if self.taps is None else decimate(bands, self.taps, self.ratio)
        return out if self.seen is None else out * self.seen

    def adjoint(self, bands: Float32) -> Float32:
        """The transpose of :meth:`forward`."""
        masked = bands if self.seen is None else bands * self.seen
        fine = masked if self.taps is None else decimate_adjoint(masked, self.taps, self.ratio)
        return combine(self.basis.T, fine)

    def gram(self) -> Float64:
        """``adjoint(forward(z))`` (component, component) of constant images, a mean over pixels."""
        weight = 1.0 if self.seen is None else float(np.square(self.seen, dtype=np.float64).mean())
        return np.asarray(weight * self.basis.T @ self.basis / self.ratio**2)


@dataclass(frozen=True)
class Problem:
    """``1/2 sum |y - M B U z|² + 1/2 sum_j penalty_j sum weights |grad z_j|² + 1/2 sum_j ridge_j |z_j|²``.

    Attributes
    ----------
    observations : tuple of Observation
    weights : ndarray (y, x)
        Of the gradients, on the fine grid.
    penalty : ndarray (component,)
    ridge : ndarray (component,), optional
        Precision of a prior of mean zero.
    """

    observations: tuple[Observation, ...]
    weights: Float32
    penalty: Float64
    ridge: Float64 | None = None

    def right(self) -> Float32:
        """Right-hand side of the normal equations."""
        weighted = ((o, o.bands if o.seen is None else o.bands * o.seen) for o in self.observations)
        return np.asarray(sum(o.adjoint(bands) for o, bands in weighted), np.float32)

    def normal(self, z: Float32) -> Float32:
        """Left-hand side of the normal equations."""
        out = np.asarray(sum(o.adjoint(o.forward(z)) for o in self.observations), np.float32)
        add_smoothing(z, self.weights, self.penalty, out)
        if self.ridge is not None:
            out += self.ridge.astype(np.float32)[:, None, None] * z
        return out

    def preconditioner(self) -> Callable[[Float32], Float32]:
        """An approximate inverse: of the normal operator's mean over pixels."""
        prior = np.diag(4.0 * self.penalty * self.weights.mean(dtype=np.float64))
        if self.ridge is not None:
            prior += np.diag(self.ridge)
        inverse = np.linalg.inv(sum(o.gram() for o in self.observations) + prior)
        return lambda z: combine(inverse, z)
