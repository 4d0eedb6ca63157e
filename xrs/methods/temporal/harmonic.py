"""Harmonic regression: a mean, a trend and the first harmonics of a period, after HANTS."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from xrs.kernels.types import Float32, Float64
from xrs.methods.base import Method, Param, Reference
from xrs.methods.temporal._harmonic import BOTH, HIGH, LOW, Rejection, fit_harmonics, terms
from xrs.methods.temporal._series import check_series

__all__ = ["METHOD", "YEAR", "coefficients", "harmonic"]

#: Mean length of a Julian year in days.
YEAR = 365.25
_SIDES = {"low": LOW, "high": HIGH, "both": BOTH}


def harmonic(
    series: Float32,
    weights: Float32 | None,
    days: Float64,
    targets: Float64,
    *,
    harmonics: int = 2,
    period: float = YEAR,
    trend: bool = False,
    damping: float = 0.1,
    tolerance: float | None = None,
    reject: Literal["low", "high", "both"] = "low",
    spare: int = 5,
) -> Float32:
    """Fit Fourier terms of a period to each series by weighted least squares [1]_.

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
    harmonics : int
        How many: 1 is the period itself, 2 adds half of it.
    period : float
        In days.
    trend : bool
        Whether a straight line is fitted too.
    damping : float
        Added to the diagonal of the normal equations, but for mean and trend: long gaps then do not let amplitudes
        grow. HANTS calls it delta.
    tolerance : float, optional
        If given, dates farther from the curve than this are rejected, and the curve is fitted anew: each time
        those with more than half of the largest error, worst first. HANTS calls it FET.
    reject : {"low", "high", "both"}
        On which side of the curve; clouds lower vegetation indices.
    spare : int
        Rejection stops when no more dates than this are left above the number of coefficients (HANTS: DOD).

    Returns
    -------
    ndarray, float32, (t, n)
        NaN for a series with fewer dates than coefficients, or whose dates do not determine them.

    Raises
    ------
    LayoutError, TimeAxisError
        If shapes or dates are not as above.

    References
    ----------
    .. [1] Roerink, Menenti and Verhoef, Reconstructing cloudfree NDVI composites using Fourier analysis of time series.
       International Journal of Remote Sensing 21, 2000. 10.1080/014311600209814

    Examples
    --------
    >>> import numpy as np
    >>> days = np.arange(0.0, 365.0, 20.0)
    >>> wave = (0.5 + 0.3 * np.cos(2 * np.pi * days / 365.25)).astype(np.float32)[:, None]
    >>> harmonic(wave, None, days, np.array([182.625]), damping=0.0).round(4).tolist()
    [[0.20000000298023224]]
    """
    middle = _middle(days)
    solved = coefficients(
        series,
        weights,
        days,
        harmonics=harmonics,
        period=period,
        trend=trend,
        damping=damping,
        tolerance=tolerance,
        reject=reject,
        spare=spare,
    )
    return (terms(targets, harmonics, period, trend, middle) @ solved[:-2]).astype(np.float32)


def coefficients(
    series: Float32,
    weights: Float32 | None,
    days: Float64,
    *,
    harmonics: int,
    period: float,
    trend: bool,
    damping: float,
    tolerance: float | None,
    reject: str,
    spare: int,
) -> Float64:
    """The coefficients of each series (coefficient, n), then root mean square residual and dates used.

    Mean; change in a year of 365.25 days, if ``trend``, with the mean that of the middle of the dates; then cosine and
    sine of each harmonic, with angles from day 0 on.
    """
    check_series(series, weights, days)
    design = terms(days, harmonics, period, trend, _middle(days))
    ridge = np.full(design.shape[1], float(damping))
    ridge[: 1 + trend] = 0.0
    rejection = Rejection(np.inf if tolerance is None else float(tolerance), _SIDES[reject], spare)
    out = np.empty((design.shape[1] + 2, series.shape[1]))
    fit_harmonics(series, weights, design, ridge, rejection, out)
    return out


def _middle(days: Float64) -> float:
    return float(days[0] + days[-1]) / 2 if days.size else 0.0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _is_count(value: Any, least: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


METHOD = Method(
    name="harmonic",
    family="temporal",
    summary="Mean, trend and harmonics of a period, with damping and rejection of outliers.",
    apply=harmonic,
    reference=Reference(
        "Roerink, Menenti and Verhoef 2000, Reconstructing cloudfree NDVI composites using Fourier analysis of time "
        "series, International Journal of Remote Sensing 21",
        "10.1080/014311600209814",
    ),
    params=(
        Param("harmonics", 2, "How many.", "a whole number from 1", lambda v: _is_count(v, 1)),
        Param(
            "period",
            YEAR,
            "Length of the first harmonic in days.",
            "a number above zero",
            lambda v: _is_number(v) and 0 < v < np.inf,
        ),
        Param("trend", False, "Whether a line is fitted too.", "True or False", lambda v: isinstance(v, bool)),
        Param(
            "damping",
            0.1,
            "Added to the diagonal for each harmonic (HANTS: delta).",
            "a number from zero",
            lambda v: _is_number(v) and 0 <= v < np.inf,
        ),
        Param(
            "tolerance",
            None,
            "Error beyond which dates are rejected (HANTS: FET); None for no rejection.",
            "a number above zero, or None",
            lambda v: v is None or (_is_number(v) and v > 0),
        ),
        Param("reject", "low", "The side of outliers.", f"one of {tuple(_SIDES)}", lambda v: v in _SIDES),
        Param("spare", 5, "Dates that rejection leaves above the coefficients (HANTS: DOD).", check=_is_count),
    ),
    needs=("series",),
    differs="Irregular dates, weights and a trend; no range of valid values, which is for the caller to mask.",
)
