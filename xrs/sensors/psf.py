"""Point spread of a sensor's bands on a grid finer than their own sampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from xrs.errors import ParameterError
from xrs.kernels.psf import box_taps, gaussian_box_taps, gaussian_taps, stack_taps
from xrs.kernels.types import Float64
from xrs.sensors.model import DEFAULT_MTF, DEFAULT_MTF_PAN, Sensor
from xrs.sensors.registry import get_sensor

__all__ = ["check_taps", "psf_of"]


def psf_of(
    sensor: Sensor | str | None, keys: Sequence[str | None], ratio: int, kind: str | ArrayLike = "mtf"
) -> Float64:
    """Separable taps of bands, from a grid to the one nested ``ratio`` times coarser.

    Parameters
    ----------
    sensor : Sensor, str or None
        Gives the gains at Nyquist; where it has none, and without a sensor, they are 0.3 (0.15 for the
        panchromatic band).
    keys : sequence of str or None
        Bands by key or common name; ``"pan"`` is the panchromatic band of any sensor, and a band without
        a name (None) has the default gain.
    ratio : int
        Fine pixels along the side of a coarse pixel. With 1 nothing is blurred: the grid is the
        band's own, and its pixels already are what the sensor measures.
    kind : {"mtf", "box", "gaussian_box"} or array_like (tap,) or (band, tap)
        ``mtf``: the Gaussian whose transfer at the coarse Nyquist frequency is the band's gain.
        ``box``: block mean. ``gaussian_box``: Gaussian of ``1 / ratio`` fine pixels, then block mean,
        as DSen2 degrades (Lanaras et al. 2018, 10.1016/j.isprsjprs.2018.09.018). Or taps of your own.

    Returns
    -------
    ndarray, float64, (band, tap)
        Rows sum to 1; the number of taps has the ratio's parity.

    Raises
    ------
    ParameterError
        If the ratio is below 1, the kind is unknown, or own taps do not fit.
    BandNotFoundError
        If the sensor lacks a band.

    Examples
    --------
    >>> psf_of("sentinel-2a", ["B05", "B11"], 2, "box")
    array([[0.5, 0.5],
           [0.5, 0.5]])
    """
    if ratio != int(ratio) or ratio < 1:
        raise ParameterError(f"ratio={ratio}", "an integer of 1 or more")
    if not isinstance(kind, str):
        return check_taps(kind, len(keys), ratio)
    if kind not in _KINDS:
        raise ParameterError(f"psf={kind!r}", f"one of {list(_KINDS)} or an array of taps")
    if ratio == 1:
        return np.ones((len(keys), 1))
    known = None if sensor is None else get_sensor(sensor)
    return stack_taps([_KINDS[kind](_gain(known, key), int(ratio)) for key in keys])


def check_taps(taps: ArrayLike, bands: int, ratio: int) -> Float64:
    """Taps of a user as (band, tap): finite, symmetric about their middle, with the ratio's parity and sum 1.

    Raises
    ------
    ParameterError
        With what does not hold.
    """
    given = np.atleast_2d(np.asarray(taps, dtype="float64"))
    if given.ndim != 2 or given.shape[0] not in (1, bands):
        raise ParameterError(f"taps of shape {np.shape(taps)}", f"(tap,) or ({bands}, tap)")
    if (given.shape[1] - ratio) % 2:
        raise ParameterError(
            f"{given.shape[1]} taps for ratio {ratio}",
            f"an {'odd' if ratio % 2 else 'even'} number: coarse pixels are centred on their block",
        )
    if not (np.isfinite(given).all() and np.allclose(given.sum(axis=1), 1.0, atol=1e-6)):
        raise ParameterError(f"taps that sum to {given.sum(axis=1)}", "finite taps that sum to 1", "taps / taps.sum()")
    if not np.allclose(given, given[:, ::-1], atol=1e-6):
        raise ParameterError("taps that are not symmetric", "taps that read the same from both ends")
    return np.broadcast_to(given, (bands, given.shape[1])).copy()


def _gain(sensor: Sensor | None, key: str | None) -> float:
    if sensor is None or key is None or (key == "pan" and sensor.pan is None):
        return DEFAULT_MTF_PAN if key == "pan" else DEFAULT_MTF
    return float(sensor.mtf_of([key])[0])


def _mtf(gain: float, ratio: int) -> Float64:
    return gaussian_taps(gain, ratio)


def _block(_: float, ratio: int) -> Float64:
    return box_taps(ratio)


def _gaussian_block(_: float, ratio: int) -> Float64:
    return gaussian_box_taps(1 / ratio, ratio)


_KINDS: dict[str, Callable[[float, int], Float64]] = {"mtf": _mtf, "box": _block, "gaussian_box": _gaussian_block}
