"""What the bands of ``ms`` tell of the spectrum of a pixel: its mean and covariance given them, learned of the scene.

Spectra and bands of ``ms`` are taken to be jointly normal within each of a few classes. Given ``x``, the bands of
``ms`` of a pixel, the spectrum has the mean ``sum_k p_k(x) (m_k + G_k (x - x_k))``, where ``p_k`` is the probability of
class ``k`` and ``G_k`` the regression within it.

Neighbours of the pixel may tell more, where the images do not lie quite on each other or one is sharper. The regression
on their differences to the pixel is common to all classes, with a penalty found by cross-validation; where it is not
worth its while there is none.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xrs.kernels.types import Float32, Float64
from xrs.methods.hsms._common import CONSTANT
from xrs.methods.hsms._mixture import Mixture, fit_mixture

__all__ = ["Prior", "learn_prior", "neighbour_differences"]

#: Penalties on neighbours, over the mean variance of their differences.
_PENALTIES = (10.0, 1.0, 0.3, 0.1, 0.03, 0.01)

#: Neighbours count only if they bring the squared error of cross-validation below this share.
_WORTH = 0.9

#: Pixels of ``hs`` along the side of a block that is left out as a whole, and the number of parts.
_BLOCK = 4
_PARTS = 5

#: Directions of the spectra that ``ms`` leaves open, by which classes are told apart besides.
_OPEN = 3

#: So many pixels stand behind each feature of each class at least.
_BEHIND = 5

#: The common regression counts in each class as so many pixels for each band of ``ms``.
_COMMON = 2.0

#: Share of the variance below which directions of ``ms`` are noise.
_NOISE = 1e-6


@dataclass(frozen=True)
class Prior:
    """Mean and covariance of spectra given ``ms``.

    Attributes
    ----------
    centre, whiten : ndarray (ms band,), (feature, ms band)
        The features by which classes are told: ``whiten @ (ms - centre)``.
    mixture : Mixture
        Of those.
    weights : ndarray (class, hs band, 1 + feature)
        Mean of each class, and the regression on the features.
    around : ndarray (hs band, neighbour) or None
        Regression on differences to neighbours; None if they tell nothing.
    covariance : ndarray (hs band, hs band)
        Of what is left of ``hs``, its noise included.
    """

    centre: Float64
    whiten: Float64
    mixture: Mixture
    weights: Float64
    around: Float64 | None
    covariance: Float64

    def terms(self, ms: Float32) -> tuple[Float64, Float32]:
        """Matrix (hs band, term) and the terms (term, y, x) whose product is the mean, of ``ms`` (band, y, x)."""
        pixels = ms.reshape(len(ms), -1).astype(np.float64) - self.centre[:, None]
        features = self.whiten @ pixels
        shares = self.mixture.posterior(features)
        extended = np.concatenate([np.ones((1, features.shape[1])), features])
        layers = [(share * extended).astype(np.float32) for share in shares]
        matrix = [np.concatenate(list(self.weights), axis=1)]
        if self.around is not None:
            layers.append(neighbour_differences(ms).reshape(-1, features.shape[1]))
            matrix.append(self.around)
        return np.concatenate(matrix, axis=1), np.concatenate(layers).reshape(-1, *ms.shape[1:])


def neighbour_differences(image: Float32) -> Float32:
    """The eight neighbours of each pixel less the pixel (8 bands, y, x); none across the edges."""
    height, width = image.shape[1:]
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)), mode="edge")
    places = [(i, j) for i, j in itertools.product(range(3), repeat=2) if (i, j) != (1, 1)]
    return np.concatenate([padded[:, i : i + height, j : j + width] - image for i, j in places])


def learn_prior(
    hs: Float64, ms: Float64, differences: Float64 | None, place: NDArray[np.int64], *, classes: int, seed: int
) -> Prior:
    """Learn it of pixels on the grid of ``hs``.

    Parameters
    ----------
    hs, ms, differences : ndarray (band, pixel)
        Spectra, and what the sensor of ``hs`` sees of ``ms`` and of the differences to neighbours; without these,
        neighbours tell nothing.
    place : ndarray of int (2, pixel)
        Row and column in the scene.
    classes : int
        At most so many.
    seed : int
    """
    around = None if differences is None else _around(hs, ms, differences, place)
    if differences is not None and around is not None:
        hs = hs - around @ differences
    centre, mean = ms.mean(axis=1), hs.mean(axis=1)
    whiten = _whitening(ms - centre[:, None])
    features = whiten @ (ms - centre[:, None])
    slopes = (hs - mean[:, None]) @ features.T / hs.shape[1]
    left = hs - mean[:, None] - slopes @ features
    told = np.concatenate([features, _strongest(left, _OPEN)])
    count = int(np.clip(hs.shape[1] // (_BEHIND * (len(told) + 1)), 1, classes))
    mixture = fit_mixture(told, count, seed)
    shares = mixture.posterior(told)
    weights = np.stack([_within(share, hs, features, slopes) for share in shares])
    marginal = mixture.marginal(len(features))
    extended = np.concatenate([np.ones((1, hs.shape[1])), features])
    predicted = sum(w @ (p * extended) for w, p in zip(weights, marginal.posterior(features), strict=True))
    rest = hs - predicted
    return Prior(centre, whiten, marginal, weights, around, rest @ rest.T / rest.shape[1])


def _whitening(centred: Float64) -> Float64:
    """The matrix (feature, band) that makes features of unit variance without correlation, noise left out."""
    power = np.square(centred).mean(axis=1)
    spread = np.sqrt(power)
    scaled = np.divide(centred, spread[:, None], out=np.zeros_like(centred), where=spread[:, None] > 0)
    values, vectors = np.linalg.eigh(scaled @ scaled.T / centred.shape[1])
    kept = values > max(_NOISE * values[-1], CONSTANT)
    inverse = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
    return np.asarray((vectors[:, kept] / np.sqrt(values[kept])).T * inverse)


def _strongest(left: Float64, count: int) -> Float64:
    """The strongest components (component, pixel) of what is left, of unit variance."""
    values, vectors = np.linalg.eigh(left @ left.T / left.shape[1])
    chosen = [n for n in range(len(values) - 1, -1, -1) if values[n] > _NOISE * values[-1] and values[n] > 0][:count]
    return np.asarray((vectors[:, chosen] / np.sqrt(values[chosen])).T @ left)


def _within(share: Float64, hs: Float64, features: Float64, slopes: Float64) -> Float64:
    """Constant and regression (hs band, 1 + feature) of a class, drawn to the common regression."""
    mass = share.sum() + 1e-9
    mean, centre = hs @ share / mass, features @ share / mass
    weighted = share * (features - centre[:, None])
    hold = _COMMON * len(features)
    gram = weighted @ (features - centre[:, None]).T + hold * np.eye(len(features))
    shared = (hs - mean[:, None]) @ weighted.T + hold * slopes
    own = np.linalg.solve(gram, shared.T).T
    return np.column_stack([mean - own @ centre, own])


def _around(hs: Float64, ms: Float64, differences: Float64, place: NDArray[np.int64]) -> Float64 | None:
    """The regression on differences to neighbours that foretells best what was left out, if it is worth its while."""
    blocks = place // _BLOCK
    number = np.unique(blocks, axis=1, return_inverse=True)[1].ravel()
    spread = np.square(differences - differences.mean(axis=1, keepdims=True)).mean()
    if number.max() + 1 < _PARTS or not spread > CONSTANT * np.square(ms).mean():
        return None
    part = number % _PARTS
    inputs = np.concatenate([ms, differences])
    totals = [_sums(hs[:, part == p], inputs[:, part == p]) for p in range(_PARTS)]
    whole = np.sum(totals, axis=0)
    errors = []
    for penalty in (np.inf, *_PENALTIES):
        found = [_ridge(whole - own, hs.shape[0], len(ms), penalty) for own in totals]
        errors.append(sum(_error(own, hs.shape[0], w) for own, w in zip(totals, found, strict=True)))
    best = int(np.argmin(errors))
    if best == 0 or not errors[best] < _WORTH * errors[0]:
        return None
    return _ridge(whole, hs.shape[0], len(ms), _PENALTIES[best - 1])[:, 1 + len(ms) :]


def _sums(hs: Float64, inputs: Float64) -> Float64:
    """Sums of products of the spectra, a constant and the inputs, in that order."""
    layers = np.concatenate([hs, np.ones((1, hs.shape[1])), inputs])
    return layers @ layers.T


def _ridge(sums: Float64, bands: int, plain: int, penalty: float) -> Float64:
    """Weights (hs band, 1 + input) of least squares with a penalty on all but the first inputs."""
    gram, shared = sums[bands:, bands:], sums[:bands, bands:]
    if np.isinf(penalty):
        gram, shared = gram[: 1 + plain, : 1 + plain], shared[:, : 1 + plain]
    else:
        gram = gram + penalty * np.diag(gram)[1 + plain :].mean() * np.diag(np.arange(len(gram)) > plain)
    scale = np.sqrt(np.diag(gram))
    scale[scale == 0] = 1.0
    found = np.linalg.lstsq(gram / np.outer(scale, scale), (shared / scale).T, rcond=_NOISE)[0].T / scale
    return np.pad(found, ((0, 0), (0, sums.shape[0] - bands - found.shape[1])))


def _error(sums: Float64, bands: int, weights: Float64) -> float:
    """Sum of squared errors of prediction."""
    full = np.concatenate([np.eye(bands), -weights], axis=1)
    return float(np.einsum("ij,jk,ik->", full, sums, full, optimize=True))
