"""Linear interpolation in time."""

from __future__ import annotations

import numpy as np

from xrs.kernels.types import Float32, Float64
from xrs.methods.base import Method, Param, Reference
from xrs.methods.temporal._interpolate import interpolate
from xrs.methods.temporal._series import Extrapolate, check_series

__all__ = ["METHOD", "linear"]


def linear(
    series: Float32,
    weights: Float32 | None,
    days: Float64,
    targets: Float64,
    *,
    extrapolate: Extrapolate = "nan",
) -> Float32:
    """Interpolate linearly in time between valid observations.

    Parameters
    ----------
    series : ndarray, float32, (time, n)
        Values that are not finite are missing.
    weights : ndarray, float32, (time, n), or None
        Observations of weight zero are left out; other weights are all alike. None leaves out none.
    days : ndarray, float64, (time,)
        Dates of the observations in days, strictly increasing.
    targets : ndarray, float64, (t,)
        Dates of the result in days, in any order.
    extrapolate : {"nan", "nearest"}
        What stands before the first and after the last valid observation of a series.

    Returns
    -------
    ndarray, float32, (t, n)
        An observation's own value on its date; NaN for a series without any.

    Raises
    ------
    LayoutError, TimeAxisError
        If shapes or dates are not as above.

    References
    ----------
    Meijering, A chronology of interpolation. Proceedings of the IEEE 90, 2002. 10.1109/5.993400

    Examples
    --------
    >>> import numpy as np
    >>> series = np.array([[1.0], [np.nan], [3.0]], np.float32)
    >>> linear(series, None, np.array([0.0, 3.0, 10.0]), np.array([5.0, 12.0]))[:, 0].tolist()
    [2.0, nan]
    """
    check_series(series, weights, days)
    turn = np.argsort(targets, kind="stable")
    interval = np.searchsorted(days, targets[turn], side="right") - 1
    out = np.empty((targets.size, series.shape[1]), np.float32)
    interpolate(series, weights, days, targets[turn], interval, extrapolate == "nearest", out)
    return out if (turn[1:] > turn[:-1]).all() else out[np.argsort(turn)]


METHOD = Method(
    name="linear",
    family="temporal",
    summary="Linear interpolation in time between valid observations.",
    apply=linear,
    reference=Reference(
        "Meijering 2002, A chronology of interpolation, Proceedings of the IEEE 90", "10.1109/5.993400"
    ),
    params=(
        Param(
            "extrapolate",
            "nan",
            "What stands outside a series' first and last observation.",
            "'nan' or 'nearest'",
            lambda v: v in ("nan", "nearest"),
        ),
    ),
    needs=("series",),
)
