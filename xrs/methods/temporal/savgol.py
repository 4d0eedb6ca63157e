"""The Savitzky-Golay filter on irregular dates with gaps, and its upper envelope for NDVI."""

from __future__ import annotations

from typing import Any

import numpy as np

from xrs.errors import ParameterError
from xrs.kernels.types import Float32, Float64
from xrs.methods.base import Method, Param, Reference
from xrs.methods.temporal._savgol import filter_series, local_fit
from xrs.methods.temporal._series import check_series

__all__ = ["METHOD", "savgol"]


def savgol(
    series: Float32,
    weights: Float32 | None,
    days: Float64,
    targets: Float64,
    *,
    window: int = 11,
    polyorder: int = 2,
    envelope: int = 0,
    fit_window: int = 9,
    fit_polyorder: int = 6,
) -> Float32:
    """Fit a polynomial to the observation dates around each target [1]_, gaps filled as by Chen et al. [2]_.

    A missing value is first interpolated linearly in time between the valid observations of its series, or
    takes the nearest one at the ends. Then a polynomial is fitted by least squares to the ``window`` dates nearest
    to each target, at their true distances in time, and evaluated there. At both ends the windows stay within the
    dates. On a regular axis without gaps this is the classical filter.

    With ``envelope`` the filled series is first lifted, as in [2]_: it is compared with its trend (``window``,
    ``polyorder``), lower values take the curve's, and the result is fitted anew (``fit_window``,
    ``fit_polyorder``), until the fitting-effect index no longer falls or ``envelope`` passes are done; that last fit
    is the result.

    Parameters
    ----------
    series : ndarray, float32, (time, n)
        Values that are not finite are missing.
    weights : ndarray, float32, (time, n), or None
        Zero is missing; other weights are all alike. None leaves out none.
    days : ndarray, float64, (time,)
        Dates of the observations in days, strictly increasing.
    targets : ndarray, float64, (t,)
        Dates of the result in days.
    window : int
        Dates in a window, odd and above ``polyorder``. If there are fewer dates, all of them.
    polyorder : int
        Degree of the polynomial.
    envelope : int
        Most passes towards the upper envelope; 0 for none.
    fit_window, fit_polyorder : int
        Window and degree of the envelope's passes.

    Returns
    -------
    ndarray, float32, (t, n)
        NaN for a series with fewer than ``polyorder + 1`` valid observations, and at targets before the
        first or after the last date.

    Raises
    ------
    LayoutError, TimeAxisError, ParameterError
        If shapes, dates or windows are not as above.

    References
    ----------
    .. [1] Savitzky and Golay, Smoothing and differentiation of data. Analytical Chemistry 36, 1964.
       10.1021/ac60214a047
    .. [2] Chen et al., A simple method for reconstructing a high-quality NDVI time-series data set based on the
       Savitzky-Golay filter. Remote Sensing of Environment 91, 2004. 10.1016/j.rse.2004.03.014

    Examples
    --------
    >>> import numpy as np
    >>> days = np.arange(0.0, 60.0, 5.0)
    >>> parabola = (1e-4 * days**2).astype(np.float32)[:, None]
    >>> savgol(parabola, None, days, np.array([12.0]), window=5).round(4).item()
    0.014399999752640724
    """
    check_series(series, weights, days)
    out = np.full((targets.size, series.shape[1]), np.nan, np.float32)
    if days.size <= polyorder:
        return out
    trend = _filter_of(days, days, window, polyorder)
    fit = _filter_of(days, days, fit_window, fit_polyorder)
    last = (
        _filter_of(days, targets, fit_window, fit_polyorder)
        if envelope
        else _filter_of(days, targets, window, polyorder)
    )
    filter_series(series, weights, days, *last, *trend, *fit, envelope, polyorder + 1, out)
    return out


def _filter_of(days: Float64, targets: Float64, window: int, degree: int) -> tuple[Float64, Any]:
    if window % 2 == 0 or window <= degree:
        raise ParameterError(f"found a window of {window} dates for degree {degree}", "an odd number above the degree")
    window = min(window, days.size)
    return local_fit(days, targets, window, min(degree, window - 1))


def _is_window(value: Any) -> bool:
    return isinstance(value, int) and value > 0 and value % 2 == 1


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


METHOD = Method(
    name="savgol",
    family="temporal",
    summary="Polynomials fitted to the dates around each target, after linear filling; upper envelope on request.",
    apply=savgol,
    reference=Reference(
        "Savitzky and Golay 1964, Smoothing and differentiation of data, Analytical Chemistry 36", "10.1021/ac60214a047"
    ),
    params=(
        Param("window", 11, "Dates in a window.", "an odd whole number above polyorder", _is_window),
        Param("polyorder", 2, "Degree of the polynomial.", "a whole number from 0", _is_count),
        Param("envelope", 0, "Most passes towards the upper envelope.", "a whole number from 0", _is_count),
        Param("fit_window", 9, "Dates in a window of the envelope's passes.", "an odd whole number", _is_window),
        Param("fit_polyorder", 6, "Degree in the envelope's passes.", "a whole number from 0", _is_count),
    ),
    needs=("series",),
    differs="Irregular dates: polynomials are fitted at true distances in time. Weights only tell what is missing.",
)
