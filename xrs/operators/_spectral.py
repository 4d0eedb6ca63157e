"""What spectral super-resolution must know before it begins: the sensors, and what the result must fulfil."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xrs.cube import band_keys
from xrs.errors import BandNotFoundError, ParameterError
from xrs.kernels.types import Float32, Float64
from xrs.methods.base import State, Tile
from xrs.methods.spectral._projection import consistent, gain, residual
from xrs.models import ImageSpec
from xrs.operators._sensors import sensor_of
from xrs.sensors import Sensor, get_sensor, sensor_from_table, spectral_response

__all__ = [
    "Constrained",
    "Constraint",
    "Lesson",
    "constraint_of",
    "response_rows",
    "seeing",
    "spec_of_sensor",
    "wanted_bands",
]


def wanted_bands(to: Any) -> Sensor:
    """The bands that are wanted: a sensor, or wavelengths in nm, each band as wide as its step.

    Raises
    ------
    ParameterError
        If there is no such sensor, or wavelengths do not ascend or are not in nm.
    """
    if isinstance(to, str | Sensor):
        return get_sensor(to)
    try:
        centres = np.atleast_1d(np.asarray(to, np.float64))
    except (TypeError, ValueError):
        centres = np.empty(0)
    if centres.ndim != 1 or centres.size < 2 or not (np.diff(centres) > 0).all():
        raise ParameterError(f"to={to!r}", "a sensor, or two or more wavelengths in nm that ascend")
    keys = [f"{centre:g}" for centre in centres]
    return sensor_from_table({"key": keys, "wavelength": centres, "fwhm": np.gradient(centres)}, name="wavelengths")


def spec_of_sensor(sensor: Sensor, ratio: int = 1) -> ImageSpec:
    """The bands of a sensor, but for the panchromatic one, as cards tell them."""
    bands = sensor.find()
    return ImageSpec(
        tuple(band.key for band in bands),
        ratio,
        tuple(band.wavelength for band in bands),
        tuple(band.fwhm for band in bands),
    )


def seeing(groups: Mapping[str, xr.DataArray], given: str | Sensor | None) -> Sensor | None:
    """The sensor of all groups, by the bands' own numbers if it has no name; None if these are not known."""
    if given is not None:
        return get_sensor(given)
    parts = [sensor_of(group, None) for group in groups.values()]
    if any(part is None for part in parts):
        return None
    if all(part is parts[0] for part in parts):
        return parts[0]
    known = zip(parts, groups.values(), strict=True)
    return sensor_from_table(
        pd.concat([part.select(band_keys(group)).to_frame() for part, group in known if part is not None]).reset_index()
    )


def response_rows(sensor: Sensor | None, keys: Sequence[str], wavelengths: Float64) -> Float64 | None:
    """Response (band, wanted band) of the bands over the wanted ones; rows of NaN where these do not cover a band."""
    if sensor is None or not np.isfinite(wavelengths).all():
        return None
    rows = np.full((len(keys), wavelengths.size), np.nan)
    for row, key in zip(rows, keys, strict=True):
        try:
            row[:] = spectral_response(sensor, wavelengths, [key])[0]
        except BandNotFoundError:
            continue
    return rows


@dataclass(frozen=True)
class Constraint:
    """What the sensor must see in a result.

    Attributes
    ----------
    roles : tuple of str
        The observations; each band's row of ``srf`` follows in their order.
    srf, gain : ndarray
        Response (band, wanted band), and the change of a spectrum (wanted band, band) that brings a band's residual
        to zero and leaves the others as they are.
    rows : tuple of int
        The bands, counted over all observations, that the wanted ones cover.
    """

    roles: tuple[str, ...]
    srf: Float64
    gain: Float64
    rows: tuple[int, ...]

    def seen(self, tile: Tile, finest: int) -> list[tuple[Float32, int]]:
        """Each band of the constraint as it was observed (y, x), and the side of its pixels in finest ones."""
        bands = [(band, finest // tile.factors[role]) for role in self.roles for band in tile.core(role)]
        return [bands[row] for row in self.rows]


@dataclass(frozen=True)
class Lesson:
    """What a method has learned of examples, and how these say that a spectrum changes; see :class:`Constraint`."""

    fit: Any
    gain: Float64 | None


@dataclass(frozen=True)
class Constrained:
    """A method's ``apply`` with what the sensor would see made right, and the bands that are put out.

    Attributes
    ----------
    apply : callable
        The method's.
    resample : ndarray (wanted band, made band) or None
        From the bands a network makes to those wanted.
    constraint : Constraint or None
    project : bool
        Whether the result is brought to fulfil the constraint.
    spread, tell : bool
        Whether standard deviations follow the bands, and then what the sensor would have seen less than it did: the
        root mean square over its bands, before the result was changed.
    """

    apply: Callable[..., Float32]
    resample: Float64 | None
    constraint: Constraint | None
    project: bool
    spread: bool
    tell: bool

    def __call__(self, tile: Tile, state: State, **params: Any) -> Float32:
        """One tile, without halo: bands, then standard deviations, then the residual."""
        lesson = params.get("fit")
        if lesson is not None:
            params["fit"] = lesson.fit
        made = self.apply(tile, state, **params)
        told = None
        if self.constraint is not None:
            seen = self.constraint.seen(tile, max(tile.factors.values()))
            result = made[: len(made) // (1 + self.spread)]
            told = residual(result, seen, self.constraint.srf) if self.tell else None
            if self.project:
                change = self.constraint.gain if lesson is None else lesson.gain
                consistent(result, seen, self.constraint.srf, change, out=result)
        if self.resample is not None:
            # Errors of neighbouring bands go together: a mean of bands is no surer than they are.
            weights = (self.resample, np.abs(self.resample))
            mixed = [_mixed(*pair) for pair in zip(np.split(made, 1 + self.spread), weights, strict=False)]
            made = np.concatenate(mixed) if self.spread else mixed[0]
        return made if told is None else _with_band(made, told)


def _mixed(bands: Float32, weights: Float64) -> Float32:
    mixed: Float32 = np.tensordot(weights.astype(np.float32), bands, axes=1)
    return mixed


def _with_band(bands: Float32, last: Float32) -> Float32:
    """The same array with one band more; what is mapped grows without being copied."""
    if not (bands.flags.owndata and bands.flags.c_contiguous):
        bands = bands.copy()
    bands.resize((len(bands) + 1, *last.shape), refcheck=False)
    bands[-1] = last
    return bands


def constraint_of(groups: Mapping[str, xr.DataArray], rows: Float64, wavelengths: Float64) -> Constraint:
    """What the groups' bands, each with its row of the response, ask of a result with bands at these wavelengths."""
    known = np.flatnonzero(np.isfinite(rows).all(axis=1))
    srf = rows[known]
    return Constraint(tuple(groups), srf, gain(srf, wavelengths), tuple(known.tolist()))
