"""What lies before a hyperspectral-multispectral fusion: what is known of the two sensors, and registration."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from xrs.cube import band_keys, wavelengths, with_all_dims
from xrs.errors import BandNotFoundError, ParameterError
from xrs.kernels import gaussian_taps, reach_of
from xrs.kernels.psf import stack_taps
from xrs.kernels.types import Float64
from xrs.lazy import Source, map_tiles
from xrs.methods.hsms._common import Psf
from xrs.methods.hsms._observation import Known, observe_pass
from xrs.methods.hsms._registration import correlate_pass, move, reach_of_shift
from xrs.operators._sensors import keys_of, sensor_of
from xrs.sensors import Sensor, get_sensor, psf_of, spectral_response

__all__ = ["known_response", "possible_psfs", "registered"]

#: Gain at Nyquist of a Gaussian whose full width at half maximum is a coarse pixel: exp(-pi² / (16 ln 2)).
_GAUSSIAN_GAIN = float(np.exp(-(np.pi**2) / (16 * np.log(2))))

#: Gains among which ``psf="estimate"`` chooses, the sharpest first.
_GAINS = (0.7, 0.6, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1, 0.05)


def possible_psfs(hs: xr.DataArray, bands: int, ratio: int, sensor: str | Sensor | None, psf: Any) -> tuple[Psf, ...]:
    """The point spreads that ``psf`` leaves to choose from, the widest last."""
    keys = keys_of(hs)
    if isinstance(psf, str) and psf == "estimate":
        taps = stack_taps([gaussian_taps(gain, ratio) for gain in _GAINS])
        return tuple(_both(np.tile(row, (len(keys), 1)), bands) for row in taps)
    return (_both(psf_of(sensor, keys, ratio, _gaussian(ratio) if _is(psf, "gaussian") else psf), bands),)


def known_response(
    hs: xr.DataArray,
    ms: xr.DataArray,
    hs_sensor: str | Sensor | None,
    ms_sensor: str | Sensor | None,
    srf: Any,
) -> Float64 | None:
    """The response (ms band, hs band) that ``srf`` asks for; None if it must be estimated.

    Raises
    ------
    BandNotFoundError
        If the sensors see no wavelength in common.
    ParameterError
        If ``srf`` is none of what it may be.
    """
    if not isinstance(srf, str):
        return _checked(srf, ms.sizes.get("band", 1), hs.sizes.get("band", 1))
    if srf not in ("auto", "estimate"):
        raise ParameterError(f"srf={srf!r}", "'auto', 'estimate' or an array (ms band, hs band)")
    samples, sensor = _centres(hs, hs_sensor), sensor_of(ms, ms_sensor)
    _check_overlap(samples, _centres(ms, sensor))
    if srf == "estimate" or sensor is None or not np.isfinite(samples).all() or samples.size < 2:
        return None
    try:
        return spectral_response(sensor, samples, band_keys(ms))
    except BandNotFoundError:
        # A band of which too little is covered can only be estimated, and then all are.
        return None


def registered(
    hs: xr.DataArray, ms: xr.DataArray, ratio: int, known: Known, register: bool | str | tuple[float, float]
) -> tuple[xr.DataArray, xr.DataArray]:
    """Both, one of them moved onto the other if that is asked for.

    Raises
    ------
    ParameterError
        If ``register`` is none of what it may be.
    """
    if register is False:
        return hs, ms
    role = "ms" if _is(register, "ms") else "hs"
    shift = None if register is True or _is(register, role) else _checked_shift(register)
    cubes, factors = {"hs": hs, "ms": ms}, {"hs": 1, "ms": ratio}
    roles = [role] if shift is not None else list(cubes)
    sources = {name: Source(with_all_dims(cubes[name]).data, factors[name]) for name in roles}
    moved = map_tiles(
        move,
        sources,
        bands=cubes[role].sizes.get("band", 1),
        factor=factors[role],
        halo=max(reach_of_shift(shift), reach_of(known.psfs[-1]["ms"], ratio)),
        passes=(observe_pass(known), correlate_pass()) if shift is None else (),
        params={"role": role, "shift": shift, "size": (hs.sizes["y"], hs.sizes["x"])},
        aside=tuple(sources),
        name="xrs-register",
    )
    cube = with_all_dims(cubes[role]).copy(data=moved)
    cubes[role] = cube.isel({d: 0 for d in ("time", "band") if d not in cubes[role].dims})
    return cubes["hs"], cubes["ms"]


def _checked_shift(register: Any) -> tuple[float, float]:
    given = np.asarray(register, object if isinstance(register, str) else np.float64)
    if given.shape != (2,) or not np.isfinite(given).all():
        raise ParameterError(
            f"register={register!r}", "True, False, 'hs', 'ms', or pixels of hs (down, to the right) to move hs by"
        )
    return float(given[0]), float(given[1])


def _is(value: Any, name: str) -> bool:
    return isinstance(value, str) and value == name


def _gaussian(ratio: int) -> Float64:
    return gaussian_taps(_GAUSSIAN_GAIN, ratio)


def _both(taps: Float64, bands: int) -> Psf:
    return {"hs": taps, "ms": np.tile(taps.mean(axis=0), (bands, 1))}


def _checked(srf: Any, bands: int, samples: int) -> Float64:
    given = np.atleast_2d(np.asarray(srf, np.float64))
    if given.shape != (bands, samples):
        raise ParameterError(f"a response of shape {given.shape}", f"({bands}, {samples}): (ms band, hs band)")
    total = given.sum(axis=1, keepdims=True)
    if not np.isfinite(given).all() or given.min() < 0 or not (total > 0).all():
        raise ParameterError(
            f"a response of {given.min():g} to {given.max():g} whose rows sum to {total.ravel()}",
            "finite numbers from 0 on, rows with a sum above 0",
            "leave bands out that respond nowhere",
        )
    return given / total


def _centres(cube: xr.DataArray, sensor: str | Sensor | None) -> Float64:
    """Centres of the bands in nm, those of the sensor where the cube tells none; NaN where unknown."""
    keys = keys_of(cube)
    own = wavelengths(cube) if "band" in cube.coords else np.full(len(keys), np.nan)
    if sensor is None or np.isfinite(own).all() or None in keys:
        return own
    return np.array([band.wavelength for band in get_sensor(sensor).find(band_keys(cube))])


def _check_overlap(hs: Float64, ms: Float64) -> None:
    # A single band does not tell its width.
    if hs.size < 2 or not (np.isfinite(hs).all() and np.isfinite(ms).all()):
        return
    step = float(np.median(np.diff(np.sort(hs))))
    low, high = hs.min() - step, hs.max() + step
    if not ((ms >= low) & (ms <= high)).any():
        raise BandNotFoundError(
            f"no band of ms ({ms.min():g}-{ms.max():g} nm) lies within those of hs ({hs.min():g}-{hs.max():g} nm)",
            "two sensors that see some wavelengths in common",
            "check the coordinate 'wavelength' of both: nm",
        )
