"""The forward operator on plain arrays: what a sensor makes of a scene, and its adjoint.

    X = D B R T Z        T: dates, R: spectral response, B: point spread, D: decimation

on scenes Z (time, band, y, x) without NaN. :mod:`xrs.sensors.torch_forward` has the same for tensors.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xrs.errors import ParameterError
from xrs.kernels.resample import decimate, decimate_adjoint
from xrs.kernels.types import Float32, Float64
from xrs.sensors.model import Sensor
from xrs.sensors.psf import psf_of
from xrs.sensors.registry import get_sensor
from xrs.sensors.srf import spectral_response

__all__ = ["ForwardOperator", "apply_response", "forward_operator"]


def apply_response(spectra: Float32, response: Float64) -> Float32:
    """Bands of a scene (..., wavelength, y, x) by weights (band, wavelength): (..., band, y, x), float32.

    Its adjoint is the same with ``response.T``.
    """
    weights = np.ascontiguousarray(response, dtype=np.float32)
    *lead, bands, height, width = spectra.shape
    if bands != weights.shape[1]:
        raise ParameterError(f"a scene of {bands} bands and a response of {weights.shape[1]}", "as many in both")
    flat = spectra.reshape(*lead, bands, height * width)
    return np.matmul(weights, flat).reshape(*lead, weights.shape[0], height, width)


@dataclass(frozen=True, eq=False)
class ForwardOperator:
    """What a sensor sees of a scene, linear in it.

    Attributes
    ----------
    taps : ndarray (band, tap)
        Point spread, see :func:`xrs.sensors.psf_of`.
    ratio : int
        Fine pixels along the side of a coarse pixel.
    response : ndarray (band, wavelength), optional
        Spectral response, see :func:`xrs.sensors.spectral_response`; without it the scene's bands are
        the sensor's.
    times : ndarray of int, optional
        Indices of the scene's dates that the sensor sees, each at most once; all if not given.
    n_times : int, optional
        Number of dates of the scene, which the adjoint needs if ``times`` are given.

    Examples
    --------
    >>> import numpy as np
    >>> operator = ForwardOperator(np.full((1, 2), 0.5), 2)
    >>> operator.apply(np.arange(16, dtype="float32").reshape(1, 1, 4, 4))[0, 0]
    array([[ 2.5,  4.5],
           [10.5, 12.5]], dtype=float32)
    """

    taps: Float64
    ratio: int
    response: Float64 | None = None
    times: NDArray[np.int64] | None = None
    n_times: int | None = None

    def __post_init__(self) -> None:
        if self.response is not None and self.response.shape[0] != self.taps.shape[0]:
            raise ParameterError(
                f"taps of {self.taps.shape[0]} bands and a response of {self.response.shape[0]}", "as many in both"
            )
        if self.times is not None and np.unique(self.times).size < len(self.times):
            raise ParameterError("dates that repeat", "each date of the scene at most once")

    def apply(self, scene: Float32) -> Float32:
        """The observation (time, band, y / ratio, x / ratio) of a scene (time, band, y, x)."""
        _check_sides(scene, self.ratio)
        seen = scene if self.times is None else scene[self.times]
        if self.response is not None:
            seen = apply_response(seen, self.response)
        return np.stack([decimate(np.ascontiguousarray(date), self.taps, self.ratio) for date in seen])

    def adjoint(self, observation: Float32) -> Float32:
        """The transpose: ``<apply(Z), X> == <Z, adjoint(X)>``; zero at dates that are not seen."""
        spread = np.stack([decimate_adjoint(np.ascontiguousarray(d), self.taps, self.ratio) for d in observation])
        if self.response is not None:
            spread = apply_response(spread, self.response.T)
        if self.times is None:
            return spread
        if self.n_times is None:
            raise ParameterError("the operator does not know the scene's number of dates", "n_times beside times")
        scene = np.zeros((self.n_times, *spread.shape[1:]), np.float32)
        scene[self.times] = spread
        return scene


def forward_operator(
    sensor: Sensor | str,
    ratio: int,
    *,
    bands: Iterable[str] | None = None,
    wavelengths: ArrayLike | None = None,
    psf: str | ArrayLike = "mtf",
    times: ArrayLike | None = None,
    n_times: int | None = None,
) -> ForwardOperator:
    """The forward operator of a sensor.

    Parameters
    ----------
    sensor : Sensor or str
    ratio : int
        Fine pixels along the side of a pixel of the sensor.
    bands : iterable of str, optional
        Keys or common names; by default all but the panchromatic band.
    wavelengths : array_like, optional
        Centres of the scene's bands in nm; without them the scene has the sensor's bands already.
    psf : str or array_like
        See :func:`xrs.sensors.psf_of`.
    times : array_like of int, optional
        Indices of the dates that the sensor sees.
    n_times : int, optional
        Number of dates of the scene.

    Examples
    --------
    >>> import numpy as np
    >>> operator = forward_operator("landsat-8", 3, wavelengths=np.arange(400, 2501, 10))
    >>> operator.apply(np.full((1, 211, 9, 9), 0.2, "float32")).shape
    (1, 8, 3, 3)
    """
    sensor = get_sensor(sensor)
    keys = [b.key for b in sensor.find(bands)]
    response = None if wavelengths is None else spectral_response(sensor, wavelengths, keys)
    dates = None if times is None else np.asarray(times, dtype=np.int64)
    return ForwardOperator(psf_of(sensor, keys, ratio, psf), ratio, response, dates, n_times)


def _check_sides(scene: Float32, ratio: int) -> None:
    if scene.ndim != 4 or scene.shape[2] % ratio or scene.shape[3] % ratio:
        raise ParameterError(
            f"a scene of shape {scene.shape}", f"(time, band, y, x) with sides that are multiples of {ratio}", "crop it"
        )
