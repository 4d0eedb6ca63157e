"""A mixture of normal distributions, fitted by expectation-maximisation from seeded centres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xrs.kernels.types import Float64

__all__ = ["Mixture", "fit_mixture"]

#: Variance added to each class in each direction, for data of unit variance.
_FLOOR = 0.05

_STEPS = 100


@dataclass(frozen=True)
class Mixture:
    """Normal distributions and their shares.

    Attributes
    ----------
    shares : ndarray (class,)
        Sum to 1.
    means : ndarray (class, feature)
    covariances : ndarray (class, feature, feature)
    """

    shares: Float64
    means: Float64
    covariances: Float64

    def marginal(self, count: int) -> Mixture:
        """The distribution of the first features alone."""
        return Mixture(self.shares, self.means[:, :count], self.covariances[:, :count, :count])

    def posterior(self, points: Float64) -> Float64:
        """Probabilities (class, point) of the classes, given points (feature, point)."""
        logs = np.empty((self.shares.size, points.shape[1]))
        for k, (share, mean, covariance) in enumerate(zip(self.shares, self.means, self.covariances, strict=True)):
            root = np.linalg.cholesky(covariance)
            distance = np.square(np.linalg.inv(root) @ (points - mean[:, None])).sum(axis=0)
            logs[k] = np.log(share) - 0.5 * distance - np.log(np.diag(root)).sum()
        logs -= logs.max(axis=0)
        weights = np.exp(logs, out=logs)
        return np.asarray(weights / weights.sum(axis=0))


def fit_mixture(points: Float64, count: int, seed: int) -> Mixture:
    """Fit so many classes to points (feature, point) of about unit variance."""
    centres = _spread_centres(points, count, seed)
    nearest = _square_distances(points, centres).argmin(axis=0)
    weights = (nearest == np.arange(count)[:, None]).astype(np.float64)
    found = _classes(points, weights)
    for _ in range(_STEPS):
        found = _classes(points, found.posterior(points))
    return found


def _classes(points: Float64, weights: Float64) -> Mixture:
    features, total = points.shape
    mass = weights.sum(axis=1) + 1e-9
    means = weights @ points.T / mass[:, None]
    covariances = np.empty((mass.size, features, features))
    for k, mean in enumerate(means):
        off = points - mean[:, None]
        covariances[k] = (weights[k] * off) @ off.T / mass[k] + _FLOOR * np.eye(features)
    return Mixture(mass / total, means, covariances)


def _spread_centres(points: Float64, count: int, seed: int) -> Float64:
    """Points (class, feature) far from each other: each drawn with the square of its distance to those before."""
    rng = np.random.default_rng(seed)
    chosen = [int(rng.integers(points.shape[1]))]
    for _ in range(count - 1):
        distance = _square_distances(points, points[:, chosen].T).min(axis=0)
        total = distance.sum()
        chosen.append(int(rng.choice(distance.size, p=distance / total)) if total > 0 else chosen[0])
    return points[:, chosen].T


def _square_distances(points: Float64, centres: Float64) -> Float64:
    return np.stack([np.square(points - centre[:, None]).sum(axis=0) for centre in centres])
