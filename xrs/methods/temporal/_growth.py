"""Growth curves as a Gaussian process through the year, learnt from gappy curves by expectation-maximisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xrs.kernels.types import Float32, Float64

__all__ = ["NODES", "Curve", "GrowthModel", "GrowthYear", "at_days", "curves_of", "growth_years", "learn"]

#: Days between the nodes of a growth curve, and how far it reaches beyond its year on both sides.
_STEP, _MARGIN = 5.0, 30.0
_YEAR = 365.0
#: Nodes of a growth curve, in days of the growth year.
NODES: Float64 = np.arange(-_MARGIN, _YEAR + _MARGIN + 1e-9, _STEP)
#: How many curves the prior's correlation is worth.
_PRIOR_CURVES = 30.0
_ROUNDS = 12
#: Priors that the evidence chooses from: share of the simulated curves, correlation time in days, noise.
_SHARES, _TIMES, _NOISES = (0.0, 0.3, 0.6, 0.9), (10.0, 20.0, 40.0, 80.0), (0.05, 0.1, 0.2)
_EVIDENCE_CURVES = 50


class GrowthYear(NamedTuple):
    """A growth year: the dates it sees (its own and those of the margins) and the targets that are its own.

    ``day`` and ``target_day`` count from its first day.
    """

    dates: NDArray[np.int64]
    day: Float64
    targets: NDArray[np.int64]
    target_day: Float64


class Curve(NamedTuple):
    """Clear values of one growth year, their weights (one is a plain observation) and days in the year."""

    day: Float64
    value: Float64
    weight: Float64


@dataclass(frozen=True, eq=False)
class GrowthModel:
    """How curves of a growth year are distributed: mean and covariance on :data:`NODES`, variance of the noise.

    Attributes
    ----------
    mean : ndarray, float64, (node,)
    covariance : ndarray, float64, (node, node)
    noise : float
    curves : int
        How many curves it was learnt from.
    """

    mean: Float64
    covariance: Float64
    noise: float
    curves: int

    def __str__(self) -> str:
        return f"growth model of {self.curves} curves"


def growth_years(days: Float64, targets: Float64, start: int) -> list[GrowthYear]:
    """The growth years that hold targets; ``start`` is their first day of the year, ``days`` count from 1970."""
    years = []
    for year in np.unique(_year_of(targets, start)):
        first = _first_day(int(year), start)
        last = _first_day(int(year) + 1, start)
        dates = np.flatnonzero((days >= first - _MARGIN) & (days < last + _MARGIN))
        own = np.flatnonzero((targets >= first) & (targets < last))
        years.append(GrowthYear(dates, days[dates] - first, own, targets[own] - first))
    return years


def curves_of(series: Float32, weights: Float32 | None, year: GrowthYear) -> list[Curve]:
    """The clear values of a year of every series (time, n)."""
    values = series[year.dates].astype(np.float64)
    given = np.ones_like(values) if weights is None else weights[year.dates].astype(np.float64)
    seen = np.isfinite(values) & (given > 0)
    return [Curve(year.day[s], v[s], w[s]) for s, v, w in zip(seen.T, values.T, given.T, strict=True)]


def at_days(rows: Float64, day: Float64) -> Float64:
    """Rows (..., node), interpolated linearly to days (..., day)."""
    node, share = _place(day)
    return np.asarray(rows[..., node] * (1.0 - share) + rows[..., node + 1] * share)


def _place(day: Float64) -> tuple[NDArray[np.int64], Float64]:
    """The node before each day, and the share of the one after it."""
    place = np.clip((day - NODES[0]) / _STEP, 0.0, NODES.size - 1.0)
    node = np.minimum(place.astype(np.int64), NODES.size - 2)
    return node, place - node


def _scattered(day: Float64) -> Float64:
    """The transpose of the interpolation, (node, day)."""
    node, share = _place(day)
    out = np.zeros((NODES.size, day.size))
    out[node, np.arange(day.size)] = 1.0 - share
    out[node + 1, np.arange(day.size)] = share
    return out


def learn(curves: Sequence[Curve]) -> GrowthModel:
    """The most probable mean, covariance and noise of curves with gaps.

    The mean has a Gaussian process for prior, around the mean of the simulated curves. The covariance is shrunk towards
    a correlation that simulated curves and an exponential of the lag share. The evidence chooses the shares.
    """
    prior, model = _first_guess(curves)
    deviation = np.sqrt(np.diag(model.covariance))
    correlation = model.covariance / np.outer(deviation, deviation)
    days = np.unique(np.concatenate([curve.day for curve in curves]))
    for _ in range(_ROUNDS):
        known = _given_curves(curves, days, model)
        mean = _new_mean(known, days, model, prior)
        model = GrowthModel(mean, _new_covariance(known, correlation, len(curves)), known.noise, len(curves))
    return model


class _Known(NamedTuple):
    """What the curves tell, given a model: of its mean at ``days``, of the scatter at the nodes, and of the noise."""

    information: Float64
    pull: Float64
    scatter: Float64
    noise: float


def _given_curves(curves: Sequence[Curve], days: Float64, model: GrowthModel) -> _Known:
    information, pull = np.zeros((days.size, days.size)), np.zeros(days.size)
    scatter = len(curves) * model.covariance
    misfit, count = 0.0, 0
    for curve in curves:
        residual, across, own = _observed(curve, model)
        inverse = np.linalg.inv(own)
        left = inverse @ residual
        place = np.searchsorted(days, curve.day)
        information[place[:, None], place] += inverse
        pull[place] += left
        z = across @ left
        scatter += np.outer(z, z) - across @ inverse @ across.T
        variance = model.noise / curve.weight
        misfit += float((model.noise * (variance * left**2 + 1.0 - variance * np.diag(inverse))).sum())
        count += curve.value.size
    return _Known(information, pull, scatter, max(misfit / count, 1e-6 * float(np.diag(scatter).mean()) / len(curves)))


def _new_mean(known: _Known, days: Float64, model: GrowthModel, prior: GrowthModel) -> Float64:
    """The mean by generalised least squares.

    All curves of a date share an error as large as the noise of one (haze, calibration): else many curves would make
    the mean exact at their dates, and wild between them.
    """
    spread = _scattered(days)
    shared = spread @ np.linalg.inv(np.eye(days.size) + model.noise * known.information)
    stiffness = np.linalg.inv(prior.covariance)
    weight = stiffness + shared @ known.information @ spread.T
    return np.asarray(model.mean + np.linalg.solve(weight, stiffness @ (prior.mean - model.mean) + shared @ known.pull))


def _new_covariance(known: _Known, correlation: Float64, count: int) -> Float64:
    """The scatter of the curves, shrunk towards a correlation."""
    deviation = np.sqrt(np.diag(known.scatter))
    target = correlation * np.outer(deviation, deviation) / count
    covariance = (known.scatter + _PRIOR_CURVES * target) / (count + _PRIOR_CURVES)
    return np.asarray((covariance + covariance.T) / 2)


def _observed(curve: Curve, model: GrowthModel) -> tuple[Float64, Float64, Float64]:
    """Of a curve's values: residual from the mean, covariance with the nodes (node, n), and their own (n, n)."""
    across = at_days(model.covariance, curve.day)
    own = at_days(across.T, curve.day)
    own[np.diag_indices(curve.value.size)] += model.noise / curve.weight
    return curve.value - at_days(model.mean, curve.day), across, own


def _first_guess(curves: Sequence[Curve]) -> tuple[GrowthModel, GrowthModel]:
    """The most evident prior of the mean, and a model: its mean that of the days, its covariance a mixture."""
    day, value, weight = (np.concatenate(columns) for columns in zip(*curves, strict=True))
    level, spread = float(value.mean()), max(float(value.std()), 1e-6)
    days, place = np.unique(day, return_inverse=True)
    total = np.bincount(place, weight).astype(np.float64)
    daily = Curve(days, np.bincount(place, weight * value) / total, total / total.max())
    simulated, covariance = simulated_prior()
    prior = _most_evident(
        [
            GrowthModel(level + spread * share * simulated, spread**2 * _exponential(time), (noise * spread) ** 2, 0)
            for share, time, noise in product(_SHARES, _TIMES, _NOISES)
        ],
        [daily],
    )
    residual, across, own = _observed(daily, prior)
    mean = prior.mean + across @ np.linalg.solve(own, residual)
    spread = max(float((value - at_days(mean, day)).std()), 1e-6)
    model = _most_evident(
        [
            GrowthModel(
                mean, spread**2 * (share * covariance + (1.0 - share) * _exponential(time)), (noise * spread) ** 2, 0
            )
            for share, time, noise in product(_SHARES, _TIMES, _NOISES)
        ],
        curves[:_EVIDENCE_CURVES],
    )
    return prior, model


def _most_evident(candidates: Sequence[GrowthModel], curves: Sequence[Curve]) -> GrowthModel:
    return max(candidates, key=lambda model: sum(_evidence(curve, model) for curve in curves))


def _evidence(curve: Curve, model: GrowthModel) -> float:
    residual, _, own = _observed(curve, model)
    _, size = np.linalg.slogdet(own)
    return float(-0.5 * (residual @ np.linalg.solve(own, residual) + size))


def _exponential(time: float) -> Float64:
    return np.exp(-np.abs(NODES[:, None] - NODES) / time)


@cache
def simulated_prior() -> tuple[Float64, Float64]:
    """Mean (node,) and covariance (node, node) of simulated curves in units of their spread, around their level."""
    lines = (files(__package__) / "growth.csv").read_text(encoding="utf-8").splitlines()
    table = np.loadtxt(lines, delimiter=",", skiprows=1)
    day = NODES % _YEAR
    columns = np.stack([np.interp(day, table[:, 0], column, period=_YEAR) for column in table.T[1:]])
    covariance = columns[1:].T @ columns[1:]
    return columns[0], covariance / np.diag(covariance).mean()


def _year_of(days: Float64, start: int) -> NDArray[np.int64]:
    """The calendar year in which the growth year of each day began."""
    begun = np.floor(days - (start - 1)).astype("timedelta64[D]") + np.datetime64(0, "D")
    return np.asarray(begun.astype("datetime64[Y]").astype(np.int64) + 1970)


def _first_day(year: int, start: int) -> float:
    return float(np.datetime64(f"{year:04d}-01-01", "D").astype(np.int64)) + start - 1
