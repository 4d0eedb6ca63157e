"""Growth curves learnt from many series, to which gappy ones are fitted."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xrs.errors import ParameterError
from xrs.kernels.types import Float32, Float64
from xrs.methods.base import Method, Param, Pass, Reference, State, Tile
from xrs.methods.temporal._growth import Curve, GrowthModel, at_days, curves_of, growth_years, learn
from xrs.methods.temporal._predict import predict
from xrs.methods.temporal._series import band_series, band_weights, check_series

__all__ = ["METHOD", "GrowthModel", "enhance", "growth_model"]

#: Clear dates that a year of a pixel needs to teach anything.
_LEAST_TAUGHT = 4


def enhance(
    series: Float32,
    weights: Float32 | None,
    days: Float64,
    targets: Float64,
    *,
    library: GrowthModel | None = None,
    curves: int = 400,
    start: int = 1,
    least: int = 3,
    seed: int = 0,
) -> Float32:
    """Complete series by what is known of growth curves: the most probable curve given the clear dates.

    The growth curves of a year are a Gaussian process with a mean and a full covariance through the year, both learnt
    (see :func:`growth_model`), so that a series with few dates borrows the shape of what grows alike. A
    curve reaches a month beyond its year on both sides; each year of a series is completed from its own dates and
    those of these months. Observations are noisy: the result does not pass through them.

    Parameters
    ----------
    series : ndarray, float32, (time, n)
        Values that are not finite are missing.
    weights : ndarray, float32, (time, n), or None
        Not negative; zero is missing. An observation's variance is that of the noise over its weight.
    days : ndarray, float64, (time,)
        Dates of the observations in days **since 1970-01-01**, strictly increasing.
    targets : ndarray, float64, (t,)
        Dates of the result, likewise.
    library : GrowthModel, optional
        What is known of growth; learnt from ``series`` if not given.
    curves, seed : int
        How many curves of a year are learnt from at most, drawn at random.
    start : int
        First day of the growth year, as day of the calendar year: 1, or about 183 in the south.
    least : int
        Clear dates in a year and its margins below which the year is NaN.

    Returns
    -------
    ndarray, float32, (t, n)

    Raises
    ------
    LayoutError, TimeAxisError
        If shapes or dates are not as above.

    Notes
    -----
    A year of a series costs the third power of its clear dates, once for neighbours with the same ones and no weights:
    some 10 microseconds at 36, 700 at 180. Dates nearer to each other than the model's nodes, 5 days, tell little more.

    References
    ----------
    Yao, Müller and Wang, Functional data analysis for sparse longitudinal data. JASA 100, 2005.
    10.1198/016214504000001745. That learning from complete curves should do for growth what it does for spectra is an
    idea of He et al.; what is computed here is our own design.

    Examples
    --------
    >>> import numpy as np
    >>> days = 19723.0 + np.arange(0.0, 365.0, 10.0)
    >>> peaks = np.random.default_rng(0).normal(180, 20, 200)
    >>> curves = np.exp(-0.5 * ((days[:, None] - 19723 - peaks) / 30) ** 2).astype(np.float32)
    >>> gappy = curves.copy()
    >>> gappy[14:18, 0] = np.nan
    >>> bool(abs(enhance(gappy, None, days, days) - curves)[14:18, 0].max() < 0.05)
    True
    """
    check_series(series, weights, days)
    out = np.full((targets.size, series.shape[1]), np.nan, np.float32)
    if library is None:
        library = _from_series(series, weights, days, curves, start, seed)
    if library is None or not targets.size:
        return out
    for year in growth_years(days, targets, start):
        rows = at_days(library.covariance, year.day)
        covariance = at_days(rows.T, year.day)
        across = at_days(rows.T, year.target_day).T
        predict(
            series,
            weights,
            year.dates,
            year.targets,
            at_days(library.mean, year.day),
            covariance,
            at_days(library.mean, year.target_day),
            np.ascontiguousarray(across),
            library.noise,
            least,
            out,
        )
    return out


def growth_model(series: Float32, days: Float64, *, start: int = 1, curves: int = 2000, seed: int = 0) -> GrowthModel:
    """Learn mean, covariance and noise of growth curves from a library of them, with or without gaps.

    Parameters
    ----------
    series : ndarray, float32, (time, n)
        A curve in each column; each of its years is learnt from.
    days : ndarray, float64, (time,)
        Days since 1970-01-01.
    start, curves, seed : int
        As in :func:`enhance`.

    Returns
    -------
    GrowthModel

    Raises
    ------
    ParameterError
        If no curve has at least four values in a year.

    Examples
    --------
    >>> import numpy as np
    >>> days = 19723.0 + np.arange(0.0, 365.0, 5.0)
    >>> peaks = np.random.default_rng(0).normal(180, 20, 100)
    >>> model = growth_model(np.exp(-0.5 * ((days[:, None] - 19723 - peaks) / 30) ** 2).astype(np.float32), days)
    >>> str(model)
    'growth model of 100 curves'
    """
    check_series(series, None, days)
    model = _from_series(series, None, days, curves, start, seed)
    if model is None:
        raise ParameterError(
            "no curve of the library has four values in a year", "curves with dates through the year", "take others"
        )
    return model


class _Ranked(NamedTuple):
    rank: int
    year: int
    curve: Curve


@dataclass(frozen=True)
class _Drawn:
    """Of each band, the curves of lowest rank, no more than ``count``."""

    count: int
    bands: Sequence[Sequence[_Ranked]]


def _from_series(
    series: Float32, weights: Float32 | None, days: Float64, curves: int, start: int, seed: int
) -> GrowthModel | None:
    ranks = _ranks((0, 0), (1, series.shape[1]), seed)
    drawn = _lowest(series, weights, days, ranks, curves, start)
    return learn([one.curve for one in drawn]) if drawn else None


def _lowest(
    series: Float32, weights: Float32 | None, days: Float64, ranks: NDArray[np.uint64], count: int, start: int
) -> list[_Ranked]:
    """The curves of a year with enough clear dates whose pixels have the lowest rank."""
    found: list[_Ranked] = []
    for number, year in enumerate(growth_years(days, days, start)):
        clear = np.isfinite(series[year.dates])
        if weights is not None:
            clear &= weights[year.dates] > 0
        taught = np.flatnonzero(clear.sum(axis=0) >= _LEAST_TAUGHT)
        chosen = taught[np.argsort(ranks[taught])][:count]
        given = None if weights is None else weights[:, chosen]
        curves = curves_of(series[:, chosen], given, year)
        found += [_Ranked(int(ranks[j]), number, c) for j, c in zip(chosen, curves, strict=True)]
    return _keep(count, found)


def _keep(count: int, curves: Sequence[_Ranked]) -> list[_Ranked]:
    return heapq.nsmallest(count, curves, key=lambda one: (one.rank, one.year))


def _ranks(origin: tuple[int, int], shape: tuple[int, int], seed: int) -> NDArray[np.uint64]:
    """A number for each pixel of a window, unlike any other's: its place in the scene, stirred by splitmix64."""
    y, x = (np.arange(o, o + n, dtype=np.uint64) for o, n in zip(origin, shape, strict=True))
    key = ((y[:, None] << np.uint64(32)) ^ x).ravel() + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(key ^ (key >> np.uint64(31)))


def _draw(tile: Tile, _state: State, *, curves: int, start: int, seed: int, **_: Any) -> _Drawn:
    """Curves of a tile; a pixel's rank is drawn for its place in the scene."""
    ranks = _ranks(tile.origin, tile["series"].shape[2:], seed)
    bands = range(tile["series"].shape[1])
    drawn = [
        _lowest(band_series(tile, b), band_weights(tile, b), tile.days["series"], ranks, curves, start) for b in bands
    ]
    return _Drawn(curves, drawn)


def _merge(one: _Drawn, other: _Drawn) -> _Drawn:
    return _Drawn(one.count, [_keep(one.count, [*a, *b]) for a, b in zip(one.bands, other.bands, strict=True)])


def _learn(drawn: _Drawn, _state: State, **_: Any) -> State:
    return {"library": [learn([one.curve for one in band]) if band else None for band in drawn.bands]}


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


METHOD = Method(
    name="enhance",
    family="temporal",
    summary="The most probable growth curve, given mean and covariance of curves learnt from the scene or a library.",
    apply=enhance,
    reference=Reference(
        "after Yao, Müller and Wang 2005, Functional data analysis for sparse longitudinal data, JASA 100",
        "10.1198/016214504000001745",
    ),
    passes=(Pass(_draw, _merge, _learn),),
    params=(
        Param(
            "library",
            None,
            "A growth model; None learns one from the scene.",
            "a GrowthModel or None",
            lambda v: v is None or isinstance(v, GrowthModel),
            shared=True,
        ),
        Param(
            "curves",
            400,
            "Curves of a year to learn from, at most.",
            "a whole number from 1",
            lambda v: _is_count(v) and v,
        ),
        Param("start", 1, "First day of the growth year.", "1 to 365", lambda v: _is_count(v) and 1 <= v <= 365),
        Param(
            "least",
            3,
            "Clear dates in a year below which it is NaN.",
            "a whole number from 1",
            lambda v: _is_count(v) and v,
        ),
        Param("seed", 0, "Of the choice of curves.", "a whole number from 0", _is_count),
    ),
    needs=("series",),
    differs="Our own design: full covariance by expectation-maximisation with a prior of simulated curves in place of "
    "smoothed moments, one curve a year.",
)
