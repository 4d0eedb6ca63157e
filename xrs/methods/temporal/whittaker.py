"""The Whittaker smoother with weights, irregular dates, robust passes and a choice of λ for each series."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from xrs.errors import ParameterError
from xrs.kernels.types import Float32, Float64
from xrs.methods.base import Method, Param, Reference
from xrs.methods.temporal._penalty import join_rows, nodes_of, penalty_of
from xrs.methods.temporal._series import check_series
from xrs.methods.temporal._whittaker import GCV, GIVEN, GO_ON, HOLD, STOP, VCURVE, Choice, smooth

__all__ = ["METHOD", "whittaker"]

_RULES = {"vcurve": VCURVE, "gcv": GCV}
_ENDS = {"curve": GO_ON, "nearest": HOLD, "nan": STOP}


def whittaker(
    series: Float32,
    weights: Float32 | None,
    days: Float64,
    targets: Float64,
    *,
    lmbda: float | Literal["vcurve", "gcv"] = 300.0,
    order: int = 2,
    robust: int = 0,
    envelope: float = 0.5,
    lmbda_grid: tuple[float, float, int] = (0.0, 7.0, 29),
    extrapolate: Literal["curve", "nearest", "nan"] = "nearest",
) -> Float32:
    r"""Smooth and fill series by penalised least squares [1]_.

    For each series the curve z minimises

    .. math:: \sum_i w_i (y_i - z_i)^2 + \lambda \sum_k h_k \left(z^{(d)}_k\right)^2

    where :math:`z^{(d)}_k` is the derivative of order d estimated by the divided difference of d + 1 neighbouring
    dates, and :math:`h_k` the stretch of time it stands for. On daily dates this is Eilers' smoother; on any other
    dates the penalty estimates the same integral, so λ (days to the power 2 d - 1) keeps its meaning: at a regular
    spacing of s days it equals Eilers' λ, which counts in samples, times s to that power. Targets that are no
    observation dates are nodes of the curve with weight zero. Before the first and after the last observation the
    curve goes on as a polynomial of degree d - 1, which may lead far away: see ``extrapolate``.

    Parameters
    ----------
    series : ndarray, float32, (time, n)
        Values that are not finite are missing.
    weights : ndarray, float32, (time, n), or None
        Not negative; zero is missing. None stands for one wherever the series is finite.
    days : ndarray, float64, (time,)
        Dates of the observations in days, strictly increasing.
    targets : ndarray, float64, (t,)
        Dates of the result in days.
    lmbda : float, "vcurve" or "gcv"
        λ, or how each series chooses its own on ``lmbda_grid``: the V-curve's shortest step [2]_ or
        generalised cross-validation, with the trace of the hat matrix from the band of the inverse [3]_.
    order : {2, 1}
        Order d of the differences.
    robust : int
        Passes with bisquare weights of the residuals in units of six times their median size [4]_.
        A λ chosen by rule is chosen anew in each pass.
    envelope : float
        p between 0 and 1. Unless it is 0.5, ten passes of asymmetric least squares [5]_: values above the curve have
        weight 2 p and those below 2 (1 - p), which is twice as in [5]_, so that 0.5 is the plain fit. Above 0.5
        the curve nears the upper envelope, for indices that clouds lower.
    lmbda_grid : tuple of float, float, int
        First and last log10 λ and how many.
    extrapolate : {"curve", "nearest", "nan"}
        What stands before the first and after the last observation of a series: the curve as it goes on (as
        published), its value at that observation, or NaN.

    Returns
    -------
    ndarray, float32, (t, n)
        NaN where a series has fewer than ``order + 1`` observations.

    Raises
    ------
    LayoutError, TimeAxisError, ParameterError
        If shapes, dates or ``lmbda`` are not as above.

    Notes
    -----
    Arithmetic is float64. Dates nearer to each other than a hundredth of the median spacing share a node.

    References
    ----------
    .. [1] Eilers, A perfect smoother. Analytical Chemistry 75, 2003. 10.1021/ac034173t
    .. [2] Frasso and Eilers, L- and V-curves for optimal smoothing. Statistical Modelling 15, 2015.
       10.1177/1471082X14549288
    .. [3] Hutchinson and de Hoog, Smoothing noisy data with spline functions. Numerische Mathematik 47, 1985.
       10.1007/BF01389878
    .. [4] Cleveland, Robust locally weighted regression and smoothing scatterplots. JASA 74, 1979.
       10.1080/01621459.1979.10481038
    .. [5] Eilers, Parametric time warping (appendix). Analytical Chemistry 76, 2004. 10.1021/ac034800e

    Examples
    --------
    >>> import numpy as np
    >>> days = np.array([0.0, 5.0, 10.0, 20.0, 25.0])
    >>> line = (0.1 + 0.02 * days).astype(np.float32)[:, None]
    >>> line[1] = np.nan
    >>> whittaker(line, None, days, np.array([5.0, 15.0]))[:, 0].round(4).tolist()
    [0.20000000298023224, 0.4000000059604645]
    """
    check_series(series, weights, days)
    nodes, at, to = nodes_of(days, targets)
    series, weights, at = join_rows(series, weights, at)
    choice = _choice_of(lmbda, lmbda_grid)
    out = np.empty((targets.size, series.shape[1]), np.float32)
    smooth(series, weights, at, to, penalty_of(nodes, order), choice, robust, float(envelope), _ENDS[extrapolate], out)
    return out


def _choice_of(lmbda: float | str, lmbda_grid: tuple[float, float, int]) -> Choice:
    if not _is_lmbda(lmbda):
        raise ParameterError(f"found lmbda={lmbda!r}", _LMBDA)
    if isinstance(lmbda, str):
        return Choice(_RULES[lmbda], np.logspace(*lmbda_grid))
    return Choice(GIVEN, np.array([float(lmbda)]))


def _is_lmbda(value: Any) -> bool:
    return value in _RULES if isinstance(value, str) else _is_number(value) and 0 < value < np.inf


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _is_grid(value: Any) -> bool:
    return (
        isinstance(value, tuple | list)
        and len(value) == 3
        and all(map(_is_number, value))
        and value[0] < value[1]
        and isinstance(value[2], int)
        and value[2] >= 2
    )


_LMBDA = "a number above zero, 'vcurve' or 'gcv'"

METHOD = Method(
    name="whittaker",
    family="temporal",
    summary="Penalised least squares with weights: smooths and fills at any dates.",
    apply=whittaker,
    reference=Reference("Eilers 2003, A perfect smoother, Analytical Chemistry 75", "10.1021/ac034173t"),
    params=(
        Param("lmbda", 300.0, "Smoothness in days to the power 2 d - 1, or the rule to choose it.", _LMBDA, _is_lmbda),
        Param("order", 2, "Order of the differences.", "1 or 2", lambda v: _is_number(v) and v in (1, 2)),
        Param(
            "robust",
            0,
            "Passes with bisquare weights of the residuals.",
            "a whole number from 0",
            lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= 0,
        ),
        Param(
            "envelope",
            0.5,
            "Weight p of values above the curve; 1 - p below.",
            "a number between 0 and 1, both excluded",
            lambda v: _is_number(v) and 0 < v < 1,
        ),
        Param(
            "lmbda_grid",
            (0.0, 7.0, 29),
            "First and last log10 of λ and how many a rule chooses from.",
            "(first, last, count) with first < last and at least 2",
            _is_grid,
        ),
        Param(
            "extrapolate",
            "nearest",
            "What stands outside a series' first and last observation.",
            f"one of {tuple(_ENDS)}",
            lambda v: v in _ENDS,
        ),
    ),
    needs=("series",),
    differs="Irregular dates: divided differences weighted by the stretch of time they stand for, λ in days. Outside "
    "its observations a series holds the curve's last value; extrapolate='curve' lets it run on, as published.",
)
