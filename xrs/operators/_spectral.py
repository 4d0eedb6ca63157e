"""What spectral super-resolution must know before it begins: the sensors, and what the result must fulfil."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xrs.cube import band_keys, band_widths, to_array, wavelengths
from xrs.errors import BandNotFoundError, ModelCardError, ParameterError
from xrs.kernels.types import Float32, Float64
from xrs.methods.base import State, Tile
from xrs.methods.spectral._projection import consistent, gain, residual
from xrs.models import Card, ImageSpec
from xrs.operators._sensors import sensor_of, without_layers
from xrs.sensors import Band, Sensor, get_sensor, sensor_from_table, spectral_response
from xrs.spectra.library import LEAST_NM

__all__ = [
    "LISTED",
    "WIDEST",
    "Constrained",
    "Constraint",
    "Lesson",
    "bands_of_cube",
    "bands_of_model",
    "canonical",
    "centre_of",
    "constraint_of",
    "names_of",
    "response_rows",
    "seeing",
    "sensor_of_card",
    "shortened",
    "spec_of_sensor",
    "take_bands",
    "wanted_bands",
]

#: What the sensor is called whose bands were told by their wavelengths alone.
LISTED = "wavelengths"

#: Spectrometers' bands are no wider (nm): in between bands that are further apart, nothing is known.
WIDEST = 20.0


def wanted_bands(to: Any) -> Sensor:
    """The bands that are wanted: of a sensor, of a cube, or wavelengths in nm, each band as wide as its step.

    Raises
    ------
    ParameterError
        If there is no such sensor, or wavelengths do not ascend or are not in nm.
    BandNotFoundError
        If a cube's bands have no wavelengths.
    """
    if isinstance(to, str | Sensor):
        return get_sensor(to)
    if isinstance(to, xr.Dataset) or (isinstance(to, xr.DataArray) and {"y", "x"} <= set(to.dims)):
        return bands_of_cube(to_array(without_layers(to)), "to")
    try:
        centres = np.atleast_1d(np.asarray(to, np.float64))
    except (TypeError, ValueError):
        centres = np.empty(0)
    if centres.ndim != 1 or centres.size < 2 or not (np.diff(centres) > 0).all():
        raise ParameterError(
            f"to={_brief(to, centres)}",
            "a sensor, a cube that has the bands, or two or more wavelengths in nm that ascend",
            "for bands that overlap to=cube, or xrs.sensors.sensor_from_table({'wavelength': ..., 'fwhm': ...})",
        )
    keys = [f"{centre:g}" for centre in centres]
    return sensor_from_table({"key": keys, "wavelength": centres, "fwhm": np.gradient(centres)}, name=LISTED)


def bands_of_cube(cube: xr.DataArray, role: str) -> Sensor:
    """The bands of a cube as a sensor: as wide as their steps where their widths are not known.

    Raises
    ------
    BandNotFoundError
        If bands have no wavelengths.
    """
    centres, widths = wavelengths(cube), band_widths(cube)
    if not np.isfinite(centres).all():
        raise BandNotFoundError(
            f"bands of {role} without wavelengths",
            "a centre in nm for each",
            f"xrs.cube.assign_bands({role}, keys, wavelength=...)",
        )
    ascending, place = np.unique(centres, return_inverse=True)
    steps = np.gradient(ascending)[place] if ascending.size > 1 else np.full(centres.size, 10.0)
    widths = np.where(np.isfinite(widths), widths, steps)
    return sensor_from_table({"key": band_keys(cube), "wavelength": centres, "fwhm": widths}, name=role)


def shortened(names: Sequence[Any]) -> str:
    """The first five, and how many there are."""
    text = ", ".join(str(name) for name in names[:5])
    return f"[{text}]" if len(names) <= 5 else f"[{text}, ...] ({len(names)})"


def names_of(bands: Sequence[Band]) -> list[str]:
    """Key and centre of bands; the centre alone where it is the key."""
    return [f"{b.wavelength:g} nm" if b.key == f"{b.wavelength:g}" else f"{b.key} ({b.wavelength:g} nm)" for b in bands]


def _brief(to: Any, centres: Float64) -> str:
    if len(text := repr(to)) <= 60:
        return text
    return shortened([f"{c:g}" for c in centres.ravel()]) if centres.size else f"a {type(to).__name__}"


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


def canonical(cube: xr.DataArray, sensor: Sensor | None) -> xr.DataArray:
    """A cube with its bands in the order of their centres, and then of their keys.

    Raises
    ------
    ParameterError
        If its wavelengths are in µm.
    """
    keys, centres = band_keys(cube), wavelengths(cube)
    if np.isfinite(centres).any() and np.nanmax(centres) < LEAST_NM:
        raise ParameterError(f"wavelengths up to {np.nanmax(centres):g}", "wavelengths in nm", "multiply µm by 1000")
    if "band" not in cube.dims:
        return cube
    known = [centre_of(sensor, key, centre) for key, centre in zip(keys, centres, strict=True)]
    # Of bands that were seen nowhere the keys alone tell.
    order = sorted(range(len(keys)), key=lambda n: (np.nan_to_num(known[n], nan=np.inf), keys[n]))
    return take_bands(cube, order)


def centre_of(sensor: Sensor | None, key: str, own: float) -> float:
    """The centre of a cube's band: the sensor's, else the cube's own."""
    return sensor[key].wavelength if sensor is not None and key in sensor else own


def take_bands(cube: xr.DataArray, order: Sequence[int]) -> xr.DataArray:
    """Some bands of a cube; the very cube if these are all, in order."""
    return cube if list(order) == list(range(cube.sizes["band"])) else cube.isel(band=list(order))


def sensor_of_card(card: Card, instrument: Sensor | None) -> Sensor | None:
    """The sensor that a network sees with: the one that is known, else that of its card; None if that does not tell.

    Raises
    ------
    ModelCardError
        If bands of the sensor that is known are centred elsewhere than those the network has learned of.
    """
    bands = [band for image in card.images for band in _known_bands(image)]
    if instrument is None:
        complete = len(bands) == sum(card.bands) and all(np.isfinite([nm, wide]).all() for _, nm, wide in bands)
        if not complete:
            return None
        return sensor_from_table(pd.DataFrame(bands, columns=["key", "wavelength", "fwhm"]), name=card.network)
    for key, centre, width in bands:
        if key not in instrument:
            continue
        found = instrument[key]
        if abs(found.wavelength - centre) > (width if np.isfinite(width) else found.fwhm) / 2:
            raise ModelCardError(
                f"band {key} of {instrument.title} is centred at {found.wavelength:g} nm",
                f"{centre:g} nm, where the {card.network} model was trained",
                "use a model of this sensor, or name the right one: sensor=, or the attribute platform",
            )
    return instrument


def _known_bands(image: ImageSpec) -> list[tuple[str, float, float]]:
    """Key, centre and width of the bands whose centre is known; the width may be NaN."""
    widths = image.fwhm or (np.nan,) * len(image.bands)
    told = zip(image.bands, image.wavelengths, widths, strict=False)
    return [(key, centre, width) for key, centre, width in told if np.isfinite(centre)]


def bands_of_model(card: Card, wanted: Sensor) -> tuple[Sensor, Float64 | None]:
    """The bands a network gives of those that are wanted, and how they are made of its own; None if they are these.

    A band is taken as it is where the network makes one of this key, and else as the mean of the network's bands over
    its response. That needs a band of the network near: no further from it, centre to centre, than either is wide,
    where no band of a network counts as wider than a spectrometer's.

    Raises
    ------
    BandNotFoundError
        If the network can make none of them, or not one of those that were told by their wavelengths.
    """
    own, bands = card.result, wanted.find()
    rows = _rows_of_model(own, wanted)
    can = [bool(np.isfinite(row).all()) for row in rows]
    lacking = names_of([band for band, yes in zip(bands, can, strict=True) if not yes])
    if lacking and (wanted.name == LISTED or not any(can)):
        raise BandNotFoundError(
            f"the bands wanted {shortened(lacking)} cannot be had of those that the {card.network} model makes",
            f"bands near those of the model, {_range_of(own)}",
            "leave these out of to=, or use a model trained for them: xrs.train(..., task='spectral')",
        )
    chosen = wanted.select([band.key for band, yes in zip(bands, can, strict=True) if yes])
    rows = rows[can]
    return chosen, None if np.array_equal(rows, np.eye(len(own.bands))) else rows


def _rows_of_model(own: ImageSpec, wanted: Sensor) -> Float64:
    """How each wanted band is made of a network's own (wanted band, own band); NaN where it cannot be."""
    bands, centres = wanted.find(), np.array(own.wavelengths or [np.nan] * len(own.bands))
    rows = np.full((len(bands), len(own.bands)), np.nan)
    same = {key: n for n, key in enumerate(own.bands)} if _agree(own, wanted) else {}
    near = np.isfinite(centres).all() and np.unique(centres).size == centres.size > 1
    for row, band in zip(rows, bands, strict=True):
        if band.key in same:
            row[:] = np.arange(row.size) == same[band.key]
        elif near and _is_near(own, centres, band.wavelength, band.fwhm):
            made = response_rows(wanted, [band.key], centres)
            assert made is not None
            row[:] = made[0]
    return rows


def _is_near(own: ImageSpec, centres: Float64, centre: float, width: float) -> bool:
    """Whether one of a network's bands is no further from a wanted one than either is wide."""
    widths = np.minimum(np.nan_to_num(own.fwhm or np.nan, nan=WIDEST), WIDEST)
    return bool((np.abs(centres - centre) <= np.maximum(widths, width)).any())


def _agree(own: ImageSpec, wanted: Sensor) -> bool:
    """Whether bands with the same key are the same band."""
    centres = dict(zip(own.bands, own.wavelengths, strict=False))
    both = [(centres[key], wanted[key]) for key in wanted.keys if key in centres]
    return all(abs(centre - band.wavelength) <= band.fwhm / 2 for centre, band in both)


def _range_of(own: ImageSpec) -> str:
    known = [centre for centre in own.wavelengths if np.isfinite(centre)]
    return f"{min(known):g} to {max(known):g} nm" if known else f"its {len(own.bands)}, whose centres are not known"


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
