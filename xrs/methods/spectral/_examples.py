"""What the methods that learn from examples share: checks, moments, walking over pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xrs.errors import ParameterError
from xrs.kernels.types import Float32, Float64

__all__ = ["BLOCK", "CrossProducts", "blocks_of", "check_examples", "cross_products", "walk", "whitening"]

#: So many pixels, or examples, are worked on at once.
BLOCK = 4096


def check_examples(given: Float32, wanted: Float32, least: int) -> None:
    """Refuse examples that are too few, do not pair, or hold NaN.

    Raises
    ------
    ParameterError
    """
    if given.ndim != 2 or wanted.ndim != 2 or len(given) != len(wanted):
        raise ParameterError(
            f"examples of shapes {given.shape} and {wanted.shape}", "(example, band) of both, as many examples"
        )
    if len(given) < least:
        raise ParameterError(
            f"{len(given)} examples of spectra",
            f"{least} or more for these bands",
            "draw more, or give a larger library",
        )
    if not (np.isfinite(given).all() and np.isfinite(wanted).all()):
        raise ParameterError("examples that are not finite", "spectra without gaps", "leave out those with NaN")


def whitening(bands: NDArray[np.floating], floor: float) -> Float64:
    """Matrix (band, band) that makes bands (example, band), multiplied from the right, uncorrelated and of variance 1.

    Directions that vary less than ``floor`` times the most variable one, as standard deviations, keep less.
    """
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(bands.T, dtype=np.float64)))
    largest = values[-1] if values[-1] > 0 else 1.0
    return vectors / np.sqrt(np.maximum(values, 0.0) + floor**2 * largest)


def blocks_of(count: int) -> list[slice]:
    """Slices that cover ``count`` pixels."""
    return [slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]


def walk(bands: Float32, count: int, function: Callable[[Float32], Float32]) -> Float32:
    """Apply a function of spectra (band, n), which gives (count, n), to an image (band, y, x) in blocks of pixels.

    Pixels that are not finite are not shown to it, and become NaN.
    """
    flat = np.ascontiguousarray(bands).reshape(len(bands), -1)
    out = np.empty((count, flat.shape[1]), np.float32)
    for block in blocks_of(flat.shape[1]):
        spectra = flat[:, block]
        seen = np.isfinite(spectra).all(axis=0)
        if seen.all():
            out[:, block] = function(spectra)
        else:
            out[:, block] = np.nan
            if seen.any():
                out[:, np.flatnonzero(seen) + block.start] = function(np.ascontiguousarray(spectra[:, seen]))
    return out.reshape(count, *bands.shape[1:])


@dataclass(frozen=True)
class CrossProducts:
    """Sums over examples of predictors x and responses y, of deviations from fixed origins; parts add and subtract.

    Attributes
    ----------
    count : int
    x, y : ndarray (p,), (q,)
        Sums.
    xx, xy : ndarray (p, p), (p, q)
        Sums of products.
    yy : ndarray (q,)
        Sums of squares.
    """

    count: int
    x: Float64
    y: Float64
    xx: Float64
    xy: Float64
    yy: Float64

    def __add__(self, other: CrossProducts) -> CrossProducts:
        return self._with(other, 1)

    def __sub__(self, other: CrossProducts) -> CrossProducts:
        return self._with(other, -1)

    def _with(self, other: CrossProducts, sign: int) -> CrossProducts:
        pairs = zip(self._parts(), other._parts(), strict=True)
        return CrossProducts(self.count + sign * other.count, *(a + sign * b for a, b in pairs))

    def _parts(self) -> tuple[Float64, ...]:
        return self.x, self.y, self.xx, self.xy, self.yy

    def centred(self) -> CrossProducts:
        """The same of deviations from the means, which stand in place of the sums."""
        x, y = self.x / self.count, self.y / self.count
        return CrossProducts(
            self.count,
            x,
            y,
            self.xx - np.outer(self.x, x),
            self.xy - np.outer(self.x, y),
            self.yy - self.y * y,
        )


def cross_products(x: Float64, y: Float64) -> CrossProducts:
    """Sums over the examples in the rows of ``x`` (n, p) and ``y`` (n, q)."""
    return CrossProducts(len(x), x.sum(axis=0), y.sum(axis=0), x.T @ x, x.T @ y, np.einsum("ij,ij->j", y, y))
