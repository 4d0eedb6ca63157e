"""Spectral response: from a spectrum sampled anywhere to a sensor's bands."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xrs.errors import BandNotFoundError, ParameterError
from xrs.kernels.types import Bool, Float64
from xrs.sensors.model import Band, Response, Sensor
from xrs.sensors.registry import get_sensor

__all__ = ["response_of", "spectral_response"]

#: A Gaussian is cut this many widths from its centre, where it has fallen below 2e-5.
_GAUSSIAN_REACH = 2.0

#: Steps of a synthetic response over its full width at half maximum.
_STEPS_PER_WIDTH = 50

#: Wider bands come from filters with steep edges: over 55 measured responses of seven sensors and a leaf's
#: spectrum, a box errs by 0.001 of reflectance (root mean square) and a Gaussian by 0.005. Narrower ones
#: come from spectrometers, whose slit makes a Gaussian.
_WIDEST_GAUSSIAN = 20.0

#: Samples further apart than this many median steps leave a gap, unless the band is wider still.
_GAP_STEPS = 5.0


def spectral_response(
    sensor: Sensor | str,
    wavelengths: ArrayLike,
    bands: Iterable[str] | None = None,
    *,
    shape: str = "auto",
    coverage: float = 0.8,
) -> Float64:
    """Weights that turn samples of a spectrum into a sensor's bands.

    A band is the integral of the spectrum times the relative response over the integral of the
    response. The spectrum is taken as linear between its samples, so a sample's weight is the
    integral of the response times that sample's hat function: exact for irregular samples, and for
    bands narrower than their spacing.

    Parameters
    ----------
    sensor : Sensor or str
    wavelengths : array_like (wavelength,)
        Centres of the samples in nm, in any order, each once.
    bands : iterable of str, optional
        Keys or common names; by default all but the panchromatic band.
    shape : {"auto", "gaussian", "box"}
        ``auto`` takes the sensor's own responses, else those measured that the package pyrsr has, else
        what centre and width give: a Gaussian up to a width of 20 nm (spectrometers), a box above
        (filters). ``gaussian`` and ``box`` use centre and width always.
    coverage : float
        The least share of a band's response that must lie within the samples (and not in a gap between
        them of more than five times their median spacing).

    Returns
    -------
    ndarray, float64, (band, wavelength)
        Rows sum to 1.

    Raises
    ------
    BandNotFoundError
        If less of a band than ``coverage`` lies within the wavelengths; the first five such bands are named.
    ParameterError
        If wavelengths are not finite, repeat, or look like µm.

    Examples
    --------
    >>> import numpy as np
    >>> weights = spectral_response("sentinel-2a", np.arange(400, 2501, 10), ["B04", "B8A"])
    >>> weights.shape, weights.sum(axis=1).round(12)
    ((2, 211), array([1., 1.]))
    """
    sensor = get_sensor(sensor)
    chosen = sensor.find(bands)
    samples = _checked(wavelengths)
    order = np.argsort(samples)
    weights = np.zeros((len(chosen), samples.size))
    missing = []
    for row, band in zip(weights, chosen, strict=True):
        row[order], seen = _hat_weights(samples[order], response_of(sensor, band.key, shape=shape), band.fwhm)
        if seen < coverage:
            missing.append(f"{band.key} ({band.wavelength:g} ± {band.fwhm / 2:g} nm, {seen:.0%} covered)")
    if missing:
        raise BandNotFoundError(
            f"the wavelengths {samples.min():g} to {samples.max():g} nm do not cover "
            + (f"the bands {', '.join(missing[:5])}" + (f" and others, {len(missing)} in all" if missing[5:] else "")),
            f"samples over at least {coverage:.0%} of each band's response",
            "leave these bands out",
        )
    return weights / weights.sum(axis=1, keepdims=True)


def response_of(sensor: Sensor | str, key: str, *, shape: str = "auto") -> Response:
    """The relative response of a band: wavelength in nm and response above or at 0, as columns (n, 2).

    See :func:`spectral_response` for ``shape``.

    Examples
    --------
    >>> float(response_of("enmap", "B048", shape="box")[:, 1].min())
    1.0
    """
    if shape not in _SHAPES and shape != "auto":
        raise ParameterError(f"shape={shape!r}", f"'auto' or one of {list(_SHAPES)}")
    sensor = get_sensor(sensor)
    band = sensor[key]
    if shape == "auto":
        measured = _measured(sensor, band)
        if measured is not None:
            return measured
        shape = "gaussian" if band.fwhm <= _WIDEST_GAUSSIAN else "box"
    return _SHAPES[shape](band)


def _measured(sensor: Sensor, band: Band) -> Response | None:
    if band.key in sensor.responses:
        return _not_negative(np.asarray(sensor.responses[band.key], dtype="float64"))
    if sensor.library is not None:
        return _library_response(*sensor.library, band.key.removeprefix("B").lstrip("0"))
    return None


@cache
def _library_response(satellite: str, instrument: str, key: str) -> Response:
    from pyrsr import RSR

    response = RSR(satellite, instrument, LayerBandsAssignment=[key])
    return _not_negative(np.column_stack([response.rsrs_wvl, response.rsrs_norm01[key]]))


def _not_negative(response: Response) -> Response:
    # Measured responses fall slightly below zero where there is only noise.
    return np.column_stack([response[:, 0], np.maximum(response[:, 1], 0.0)])


def _gaussian(band: Band) -> Response:
    offset = np.linspace(-_GAUSSIAN_REACH, _GAUSSIAN_REACH, 2 * int(_GAUSSIAN_REACH * _STEPS_PER_WIDTH) + 1)
    return np.column_stack([band.wavelength + offset * band.fwhm, np.exp(-4 * np.log(2) * offset**2)])


def _box(band: Band) -> Response:
    offset = np.linspace(-0.5, 0.5, _STEPS_PER_WIDTH + 1)
    return np.column_stack([band.wavelength + offset * band.fwhm, np.ones(offset.size)])


_SHAPES = {"gaussian": _gaussian, "box": _box}


def _checked(wavelengths: ArrayLike) -> Float64:
    samples = np.atleast_1d(np.asarray(wavelengths, dtype="float64"))
    if samples.ndim != 1 or samples.size < 2 or not np.isfinite(samples).all():
        raise ParameterError(
            f"found wavelengths of shape {samples.shape} with {int((~np.isfinite(samples)).sum())} missing",
            "two or more finite wavelengths in nm",
            "give every band of the scene its wavelength with xrs.cube.assign_bands",
        )
    if np.unique(samples).size < samples.size:
        raise ParameterError("wavelengths repeat", "each wavelength once", "drop or average the bands that repeat")
    if samples.max() < 100:
        raise ParameterError(f"wavelengths run to {samples.max():g}", "wavelengths in nm", "multiply µm by 1000")
    return samples


def _hat_weights(samples: Float64, response: Response, width: float) -> tuple[Float64, float]:
    """Integrals of the response times the hat function of each sample, and the share that was covered."""
    wavelength, energy = _energy(samples, response)
    seen = _covered(samples, wavelength, width)
    # Beyond the outermost sample, within half a step, that sample stands for the spectrum.
    inside = np.clip(wavelength[seen], samples[0], samples[-1])
    left = np.clip(np.searchsorted(samples, inside, side="right") - 1, 0, samples.size - 2)
    part = (inside - samples[left]) / (samples[left + 1] - samples[left])
    weights: Float64 = np.bincount(left, energy[seen] * (1 - part), samples.size).astype("float64")
    weights += np.bincount(left + 1, energy[seen] * part, samples.size)
    return weights, float(energy[seen].sum() / energy.sum())


def _energy(samples: Float64, response: Response) -> tuple[Float64, Float64]:
    """Trapezoid shares of a response's integral, on its own wavelengths and the samples within them."""
    known, value = response.T
    wavelength = np.union1d(known, samples[(samples > known[0]) & (samples < known[-1])])
    half = np.diff(wavelength) / 2
    return wavelength, np.interp(wavelength, known, value) * (np.append(half, 0) + np.insert(half, 0, 0))


def _covered(samples: Float64, wavelength: NDArray[np.float64], width: float) -> Bool:
    steps = np.diff(samples)
    within = (wavelength >= samples[0] - steps[0] / 2) & (wavelength <= samples[-1] + steps[-1] / 2)
    interval = np.clip(np.searchsorted(samples, wavelength, side="right") - 1, 0, steps.size - 1)
    return within & (steps[interval] <= max(_GAP_STEPS * float(np.median(steps)), width))
