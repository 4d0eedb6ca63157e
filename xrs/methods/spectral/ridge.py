"""Ridge regression of the wanted bands on polynomials of those given.

A polynomial runs away beyond its examples. So products are taken of a spectrum that is pulled in towards the mean, as
far as nearly all examples lie (in Mahalanobis' distance); the bands themselves enter as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from itertools import combinations_with_replacement
from operator import add
from typing import Any, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xrs.kernels.types import Float32, Float64
from xrs.methods._linear import combine
from xrs.methods.base import Method, Param, Reference, State, Tile
from xrs.methods.spectral._examples import CrossProducts, blocks_of, check_examples, cross_products, walk, whitening

_Kind = TypeVar("_Kind", np.float32, np.float64)

#: Penalties that are tried, as shares of the number of examples.
_CANDIDATES = np.logspace(-10, 1, 45)

#: A band or feature that varies less than this share of its size is constant.
_CONSTANT = 1e-7

#: A distance that is as good as none.
_TINY = 1e-30

#: Directions of standardised bands that vary less than this share of the most variable one tell nothing of distance.
_FLAT = 1e-4


@dataclass(frozen=True)
class _Features:
    """Monomials of standardised bands.

    Attributes
    ----------
    mean, scale : ndarray (band,)
        Of the bands.
    factors : ndarray of int (feature, 2)
        Each monomial is a band (second) times an earlier monomial (first), or the band alone where that is -1.
    whiten : ndarray (band, band)
        Of standardised bands.
    radius : float
        Whitened spectra are pulled in to this distance for products.
    """

    mean: Float64
    scale: Float64
    factors: NDArray[np.int64]
    whiten: Float64
    radius: float

    def __call__(self, spectra: NDArray[_Kind]) -> NDArray[_Kind]:
        """The monomials (feature, n) of spectra (band, n), of their type."""
        kind = spectra.dtype
        bands = np.ascontiguousarray((spectra - self.mean.astype(kind)[:, None]) / self.scale.astype(kind)[:, None])
        out = np.empty((len(self.factors), bands.shape[1]), kind)
        if len(out) > len(bands):
            _multiply(bands * self._pull(bands), self.factors, out)
        out[: len(bands)] = bands
        return out

    def _pull(self, bands: NDArray[_Kind]) -> NDArray[_Kind]:
        distance = _distances(bands, self.whiten.astype(bands.dtype))
        return np.minimum(1.0, self.radius / np.maximum(distance, _TINY)).astype(bands.dtype)


@dataclass(frozen=True)
class _Fit:
    """Wanted bands as sums of features.

    Attributes
    ----------
    features : _Features
    weights : ndarray (wanted band, feature + 1)
        The last is the constant.
    penalty : float
        Added to the diagonal of the features' scatter matrix.
    """

    features: _Features
    weights: Float64
    penalty: float


def _learn(given: Float32, wanted: Float32, *, degree: int, penalty: str | float, reach: float, **_: Any) -> _Fit:
    factors = _factors(given.shape[1], degree)
    check_examples(given, wanted, len(factors) + 2 if penalty == "auto" else 2)
    features = _features(given, factors, reach)
    origin = wanted.mean(axis=0, dtype=np.float64)
    parts = (
        cross_products(features(given[block].T.astype(np.float64)).T, wanted[block] - origin)
        for block in blocks_of(len(given))
    )
    sums = reduce(add, parts).centred()
    spread = np.sqrt(np.maximum(np.diag(sums.xx) / sums.count, 0.0))
    spread[spread < _CONSTANT] = np.inf  # a feature that does not vary gets no weight
    values, vectors, targets = _rotated(sums, spread)
    chosen = _best_penalty(values, targets, sums) if penalty == "auto" else float(penalty)
    slopes = (vectors @ (targets * _damped(values, chosen)[:, None])) / spread[:, None]
    constant = origin + sums.y - sums.x @ slopes
    return _Fit(features, np.column_stack([slopes.T, constant]), chosen)


def _features(given: Float32, factors: NDArray[np.int64], reach: float) -> _Features:
    mean, scale = given.mean(axis=0, dtype=np.float64), _scales(given.std(axis=0, dtype=np.float64), given)
    standard = (given - mean) / scale
    whiten = whitening(standard, _FLAT)
    distance = _distances(np.ascontiguousarray(standard.T), whiten)
    return _Features(mean, scale, factors, whiten, float(np.quantile(distance, reach)))


def _scales(spread: Float64, given: Float32) -> Float64:
    constant = spread <= _CONSTANT * np.abs(given).max(axis=0)
    return np.where(constant, 1.0, spread)


def _rotated(sums: CrossProducts, spread: Float64) -> tuple[Float64, Float64, Float64]:
    """Eigenvalues and vectors of the standardised features' scatter, and their products with the targets."""
    values, vectors = np.linalg.eigh(sums.xx / np.outer(spread, spread))
    return np.maximum(values, 0.0), vectors, vectors.T @ (sums.xy / spread[:, None])


def _best_penalty(values: Float64, targets: Float64, sums: CrossProducts) -> float:
    """The candidate of least generalised cross-validation score: n RSS / (n - degrees of freedom)²."""
    energy, total = np.square(targets).sum(axis=1), sums.yy.sum()
    scores = []
    candidates = _CANDIDATES * sums.count
    for penalty in candidates:
        damped = _damped(values, penalty)
        residual = total - (energy * damped * (2.0 - values * damped)).sum()
        freedom = 1.0 + (values * damped).sum()
        scores.append(max(residual, 0.0) / max(sums.count - freedom, 1e-9) ** 2)
    return float(candidates[int(np.argmin(scores))])


def _damped(values: Float64, penalty: float) -> Float64:
    """One over eigenvalues and penalty; zero for those that are zero but for rounding."""
    floor = values.max() * len(values) * np.finfo(np.float64).eps
    with np.errstate(divide="ignore"):
        return np.where(values > floor, 1.0 / (values + penalty), 0.0)


def _factors(bands: int, degree: int) -> NDArray[np.int64]:
    """Each monomial up to a degree as one of lower degree and a band."""
    known: dict[tuple[int, ...], int] = {(): -1}
    rows: list[tuple[int, int]] = []
    for size in range(1, degree + 1):
        for chosen in combinations_with_replacement(range(bands), size):
            known[chosen] = len(rows)
            rows.append((known[chosen[:-1]], chosen[-1]))
    return np.array(rows, np.int64)


@njit(nogil=True, cache=True, error_model="numpy")
def _multiply(bands, factors, out):  # type: ignore[no-untyped-def]
    for f in range(len(factors)):
        lower, band = factors[f]
        row, source = out[f], bands[band]
        if lower < 0:
            row[:] = source
        else:
            base = out[lower]
            for i in range(row.size):
                row[i] = base[i] * source[i]


@njit(nogil=True, cache=True, error_model="numpy")
def _distances(bands, whiten):  # type: ignore[no-untyped-def]
    """Length of the whitened spectra (n,)."""
    total, along = np.zeros(bands.shape[1], bands.dtype), np.empty(bands.shape[1], bands.dtype)
    for c in range(whiten.shape[1]):
        along[:] = 0.0
        for b in range(len(bands)):
            weight, row = whiten[b, c], bands[b]
            for i in range(row.size):
                along[i] += weight * row[i]
        for i in range(along.size):
            total[i] += along[i] * along[i]
    return np.sqrt(total)


def _apply(tile: Tile, _: State, *, fit: _Fit, **_params: Any) -> Float32:
    def predict(spectra: Float32) -> Float32:
        return combine(fit.weights, fit.features(spectra)[:, None])[:, 0]

    return walk(tile.core("ms"), len(fit.weights), predict)


def _penalty(value: Any) -> Any:
    return float(value) if isinstance(value, int | np.integer | np.floating) and not isinstance(value, bool) else value


METHOD = Method(
    name="ridge",
    family="spectral",
    summary="Ridge regression on the bands, or on polynomials of them.",
    apply=_apply,
    learn=_learn,
    reference=Reference(
        "Hoerl and Kennard 1970, Ridge regression: biased estimation for nonorthogonal problems, "
        "Technometrics 12(1):55-67; penalty after Golub, Heath and Wahba 1979, 10.1080/00401706.1979.10489751",
        "10.1080/00401706.1970.10488634",
    ),
    params=(
        Param(
            "degree",
            1,
            "of the polynomial: 1 for the bands themselves, 2 and 3 with all products of so many bands",
            "1, 2 or 3",
            lambda v: v in (1, 2, 3) and not isinstance(v, bool),
        ),
        Param(
            "penalty",
            "auto",
            "added to the diagonal of the scatter matrix of the standardised features, which is the number of "
            "examples; auto takes what has the least generalised cross-validation score",
            "auto, or a number from 0 on",
            lambda v: v == "auto" or (isinstance(v, float) and np.isfinite(v) and v >= 0),
            _penalty,
        ),
        Param(
            "reach",
            0.99,
            "share of the examples within whose distance from the mean products grow; beyond, only the bands do",
            "a number above 0, at most 1",
            lambda v: isinstance(v, int | float) and 0 < v <= 1,
        ),
    ),
    needs=("ms",),
    differs="Bands and their products are standardised, the constant is not penalised, one penalty serves all bands. "
    "Products do not grow beyond the examples.",
)
