"""Partial least squares: regression on the few combinations of bands that covary most with what is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xrs.kernels.types import Float32, Float64
from xrs.methods._linear import combine
from xrs.methods.base import Method, Param, Reference, State, Tile
from xrs.methods.spectral._examples import CrossProducts, blocks_of, check_examples, cross_products

#: Parts of the examples that are left out in turn to choose the number of components.
_FOLDS = 5

#: Of the covariance: components with less are rounding.
_NOTHING = 1e-12


@dataclass(frozen=True)
class _Fit:
    """``weights`` (wanted band, band + 1), the last the constant, of so many components."""

    weights: Float64
    components: int


def _learn(given: Float32, wanted: Float32, *, components: str | int, seed: int, **_: Any) -> _Fit:
    check_examples(given, wanted, given.shape[1] + _FOLDS + 1 if components == "auto" else 2)
    origins = given.mean(axis=0, dtype=np.float64), wanted.mean(axis=0, dtype=np.float64)
    scales = _scale(given), _scale(wanted)
    folds = _folds(given, wanted, origins, scales, seed)
    total = reduce(add, folds)
    most = given.shape[1] if components == "auto" else min(int(components), given.shape[1])
    number = _best_number(total, folds, most) if components == "auto" else most
    slopes = _regressions(total, number)[-1] * scales[1] / scales[0][:, None]
    constant = origins[1] - origins[0] @ slopes
    return _Fit(np.column_stack([slopes.T, constant]), number)


def _scale(bands: Float32) -> Float64:
    spread = bands.std(axis=0, dtype=np.float64, ddof=1)
    return np.where(spread > 1e-7 * np.abs(bands).max(axis=0), spread, 1.0)


def _folds(
    given: Float32, wanted: Float32, origins: tuple[Float64, Float64], scales: tuple[Float64, Float64], seed: int
) -> list[CrossProducts]:
    """Cross-products of standardised examples, in parts drawn at random."""
    order = np.random.default_rng(seed).permutation(len(given))
    standard = list(zip((given, wanted), origins, scales, strict=True))

    def summed(rows: NDArray[np.integer]) -> CrossProducts:
        return cross_products(*((bands[rows] - origin) / scale for bands, origin, scale in standard))

    return [
        reduce(add, (summed(rows[block]) for block in blocks_of(len(rows))))
        for rows in np.array_split(order, min(_FOLDS, len(order)))
    ]


def _best_number(total: CrossProducts, folds: list[CrossProducts], most: int) -> int:
    """The number of components with the least squared error on the parts that were left out."""
    errors = np.zeros(most)
    for fold in folds:
        rest = total - fold
        x, y = rest.x / rest.count, rest.y / rest.count
        found = [_square_error(fold, slopes, y - x @ slopes) for slopes in _regressions(rest, most)]
        errors += found + [found[-1]] * (most - len(found))
    return int(np.argmin(errors)) + 1


def _square_error(sums: CrossProducts, slopes: Float64, constant: Float64) -> float:
    """Of ``x @ slopes + constant`` over the examples that ``sums`` are of."""
    linear = np.einsum("ij,ij->j", slopes, sums.xx @ slopes - 2.0 * sums.xy)
    shifted = constant * (2.0 * (sums.x @ slopes - sums.y) + sums.count * constant)
    return float((sums.yy + linear + shifted).sum())


def _regressions(sums: CrossProducts, most: int) -> list[Float64]:
    """Slopes (band, wanted band) with one component, two, and so on.

    The kernel algorithm of Dayal and MacGregor (1997): it needs the cross-products alone, and gives what NIPALS does.
    """
    centred = sums.centred()
    xx, xy = centred.xx, centred.xy.copy()
    least = _NOTHING * float(np.linalg.norm(xy))
    slopes = np.zeros_like(xy)
    loadings: list[Float64] = []
    rotations: list[Float64] = []
    found = []
    for _ in range(most):
        weight = np.linalg.eigh(xy @ xy.T)[1][:, -1]
        rotation = weight - sum(((p @ weight) * r for p, r in zip(loadings, rotations, strict=True)), np.zeros(len(xx)))
        score = rotation @ xx @ rotation
        if np.linalg.norm(xy) <= least or score <= _NOTHING * np.trace(xx) * (rotation @ rotation):
            break
        loading, answer = xx @ rotation / score, rotation @ xy / score
        xy -= np.outer(loading, answer) * score
        slopes = slopes + np.outer(rotation, answer)
        loadings.append(loading)
        rotations.append(rotation)
        found.append(slopes)
    return found or [slopes]


def _apply(tile: Tile, _: State, *, fit: _Fit, **_params: Any) -> Float32:
    return combine(fit.weights, np.ascontiguousarray(tile.core("ms")))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


METHOD = Method(
    name="pls",
    family="spectral",
    summary="Partial least squares regression on the bands.",
    apply=_apply,
    learn=_learn,
    reference=Reference(
        "Wold, Sjöström and Eriksson 2001, PLS-regression: a basic tool of chemometrics, Chemometrics and Intelligent "
        "Laboratory Systems 58(2):109-130; algorithm of Dayal and MacGregor 1997, Journal of Chemometrics 11(1):73-85",
        "10.1016/S0169-7439(01)00155-1",
    ),
    params=(
        Param(
            "components",
            "auto",
            "number of components, at most as many as bands; auto takes the one of least error in fivefold "
            "cross-validation",
            "auto, or an integer from 1 on",
            lambda v: v == "auto" or _is_count(v),
        ),
        Param(
            "seed",
            0,
            "of the parts that cross-validation leaves out",
            "an integer from 0 on",
            lambda v: v == 0 or _is_count(v),
        ),
    ),
    needs=("ms",),
    differs="Bands are standardised; cross-validation keeps the scale of all examples.",
)
