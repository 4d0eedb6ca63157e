"""Examples that spectral super-resolution learns from: of a library of spectra, or of two cubes."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import xarray as xr

from xrs.cube import band_keys, geobox_of, shared_pixels, to_array, wavelengths, with_all_dims
from xrs.errors import BandNotFoundError, ParameterError
from xrs.kernels.types import Bool, Float32, Float64
from xrs.lazy import Source, reduce_tiles
from xrs.learning.checks import check_whole
from xrs.methods.base import Deferred, Method, State, Tile
from xrs.methods.spectral._projection import examples_covariance, gain
from xrs.operators._fusion import check_floats, common_dates
from xrs.operators._sensors import keys_of, sensor_of, without_layers
from xrs.operators._spectral import LISTED, WIDEST, Lesson, centre_of, names_of, shortened, take_bands
from xrs.sensors import Sensor
from xrs.sensors.noise import noise_block
from xrs.spectra import PairedBands, SpectralLibrary, SpectralPairs, draw_pairs, get_source

__all__ = ["Library", "learned", "matched", "spectral_pairs"]

#: What examples come from: a source's name, spectra, or pairs of them.
Library = str | SpectralLibrary | SpectralPairs

#: Wavelengths nearer to each other than this (nm) are the same.
_SAME = 0.1


def learned(
    record: Method,
    library: Library,
    seen: Sensor | None,
    wanted: Sensor,
    *,
    examples: int,
    noise: float | tuple[float, float],
    seed: int,
    params: Mapping[str, Any],
    srf: Float64 | None,
) -> Deferred:
    """What a method learns of examples, when a result is computed: a :class:`Lesson`.

    ``srf`` is the response (band, wanted band) that the result is to fulfil, if it is.

    Raises
    ------
    ParameterError
        If there is no such library.
    """
    source: Any = library if isinstance(library, SpectralPairs) else get_source(library)
    if isinstance(library, str):
        # By its name what is drawn can be kept; that there is no such source was told above.
        source = library
    return Deferred(_learn, (record.learn, source, seen, wanted, examples, noise, seed, dict(params), srf))


def _learn(
    learn: Callable[..., Any],
    source: Any,
    seen: Sensor,
    wanted: Sensor,
    examples: int,
    noise: float | tuple[float, float],
    seed: int,
    params: Mapping[str, Any],
    srf: Float64 | None,
) -> Lesson:
    pairs = source
    if isinstance(source, str):
        pairs = _drawn_of(source, pickle.dumps((seen, wanted)), examples, seed, noise)
    elif not isinstance(source, SpectralPairs):
        pairs = draw_pairs(source, seen, wanted, examples, seed=seed, noise=noise)
    fit = learn(pairs.given, pairs.wanted, **params)
    if srf is None:
        return Lesson(fit, None)
    centres = np.array([band.wavelength for band in wanted.bands])
    return Lesson(fit, gain(srf, centres, examples_covariance(pairs.wanted, centres)))


@lru_cache(maxsize=4)
def _drawn_of(
    source: str, sensors: bytes, examples: int, seed: int, noise: float | tuple[float, float]
) -> SpectralPairs:
    """Pairs of a named source: kept, since every variable of a lazy result is computed by itself.

    Sensors come as they are pickled, for two that differ only in their measured responses are equal.
    """
    seen, wanted = pickle.loads(sensors)
    pairs = draw_pairs(source, seen, wanted, examples, seed=seed, noise=noise)
    for values in (pairs.given, pairs.wanted):
        values.setflags(write=False)
    return pairs


def matched(
    pairs: SpectralPairs, ms: xr.DataArray, instrument: Sensor | None, wanted: Sensor
) -> tuple[SpectralPairs, xr.DataArray]:
    """Pairs and a cube that have the same bands in the same order, that of the cube, and only the wanted ones.

    Raises
    ------
    BandNotFoundError
        If the cube lacks bands of the pairs, or the pairs wanted ones.
    ParameterError
        If bands of one key are centred elsewhere; if bands have no keys and their numbers differ.
    """
    if pairs.given_bands is not None:
        given, keys = pairs.given_bands, band_keys(ms)
        missing = [key for key in given.keys if key not in keys]
        if missing:
            raise BandNotFoundError(
                f"the cube has no bands {shortened(missing)}, of which the pairs are; it has {shortened(keys)}",
                "all bands that the pairs were drawn of",
                "load them, or draw pairs of the cube's own sensor with xrs.spectral_pairs",
            )
        ms = take_bands(ms, [n for n, key in enumerate(keys) if key in given.keys])
        for key, own in zip(band_keys(ms), wavelengths(ms), strict=True):
            width = instrument[key].fwhm if instrument is not None and key in instrument else WIDEST
            _check_centre("the cube", given, key, centre_of(instrument, key, own), width)
        order = [given.keys.index(key) for key in band_keys(ms)]
        pairs = replace(pairs, given=np.ascontiguousarray(pairs.given[:, order]), given_bands=_taken(given, order))
    if pairs.wanted_bands is not None:
        order = _places(pairs.wanted_bands, wanted)
        made = np.ascontiguousarray(pairs.wanted[:, order])
        pairs = replace(pairs, wanted=made, wanted_bands=_taken(pairs.wanted_bands, order))
    counts, expected = (pairs.given.shape[1], pairs.wanted.shape[1]), (ms.sizes["band"], len(wanted.find()))
    if counts != expected:
        raise ParameterError(
            f"pairs of {counts[0]} and {counts[1]} bands",
            f"{expected[0]} (cube) and {expected[1]} (to)",
            "to=hs, the cube that the pairs were drawn from",
        )
    return pairs, ms


def _places(told: PairedBands, wanted: Sensor) -> list[int]:
    """Where the wanted bands stand among those of the pairs."""
    bands, places, missing = wanted.find(), [], []
    apart = np.subtract.outer([band.wavelength for band in bands], told.wavelengths or [np.nan] * len(told.keys))
    for band, away in zip(bands, np.abs(apart), strict=True):
        if band.key in told.keys:
            _check_centre("to", told, band.key, band.wavelength, band.fwhm)
            places.append(told.keys.index(band.key))
        elif wanted.name == LISTED and (away < _SAME).any():
            places.append(int(np.nanargmin(away)))
        else:
            missing.append(band)
    if missing:
        raise BandNotFoundError(
            f"the pairs have no bands {shortened(names_of(missing))}",
            f"bands of theirs by key: {shortened(told.keys)}",
            "to=hs, the cube that the pairs were drawn from, or library='land' in place of the pairs",
        )
    return places


def _check_centre(role: str, told: PairedBands, key: str, centre: float, width: float) -> None:
    expected, own = told.centre(key), told.width(key)
    if abs(centre - expected) > (own if np.isfinite(own) else width) / 2:
        raise ParameterError(
            f"band {key} of {role} is centred at {centre:g} nm, and that of the pairs at {expected:g} nm",
            "pairs of the same sensors",
            "draw pairs of these sensors with xrs.spectral_pairs or xrs.spectra.draw_pairs",
        )


def _taken(bands: PairedBands, order: list[int]) -> PairedBands:
    parts = (tuple(part[n] for n in order) if part else () for part in (bands.keys, bands.wavelengths, bands.fwhm))
    return PairedBands(*parts)  # type: ignore[arg-type]


def spectral_pairs(ms: Any, hs: Any, count: int, seed: int = 0) -> SpectralPairs:
    """Examples drawn from two cubes on one grid: reads them.

    Parameters
    ----------
    ms, hs : xarray.DataArray or xarray.Dataset, ([time,] band, y, x)
        Of the same dates, on pixels of each other. Quality layers of a Dataset are left out.
    count : int
        Pixels without gaps, at most; on each date the same places.
    seed : int
        Of the places, from 0 on.

    Returns
    -------
    SpectralPairs
        With keys and, where known, centres and widths of the bands of both.

    Raises
    ------
    GridMismatchError, TimeAxisError, RadiometryError
        If the cubes do not fit together.
    ParameterError
        If no pixel was seen in all bands of both, or ``count`` or ``seed`` is no whole number of 1 or 0 and more.

    Examples
    --------
    >>> import xrs
    >>> scene = xrs.scenes.landscape((16, 16), times=["2023-06-10"], wavelengths=range(450, 900, 50))
    >>> spectral_pairs(scene.isel(band=[0, 2, 4, 8]), scene, 100)
    <SpectralPairs: 100, 4 bands to 9>
    """
    check_whole("count", count, 1)
    check_whole("seed", seed, 0)
    cubes = {"ms": to_array(without_layers(ms)), "hs": to_array(without_layers(hs))}
    for role, cube in cubes.items():
        check_floats(role, cube)
    common_dates(cubes)
    windows = shared_pixels(geobox_of(cubes["ms"]), geobox_of(cubes["hs"]))
    full = {n: with_all_dims(cube.isel(part)) for (n, cube), part in zip(cubes.items(), windows, strict=True)}
    bands = {name: cube.sizes["band"] for name, cube in full.items()}
    dates = full["ms"].sizes["time"]
    most = -(-count // dates)
    drawn = reduce_tiles(
        _drawn,
        _lowest,
        _listed,
        {name: Source(cube.data) for name, cube in full.items()},
        shape=(most, sum(bands.values())),
        fill=False,
        params={"most": most, "seed": seed},
        dtype=np.float32,
        name="xrs-spectra",
    )
    rows = np.asarray(drawn).reshape(-1, sum(bands.values()))
    rows = rows[np.isfinite(rows).all(axis=1)]
    if not len(rows):
        raise ParameterError("no pixel that was seen in all bands of both cubes", "pairs of spectra to learn from")
    given, wanted = (np.ascontiguousarray(part) for part in np.split(rows, [bands["ms"]], axis=1))
    return SpectralPairs(given, wanted, _bands_of(cubes["ms"]), _bands_of(cubes["hs"]))


def _bands_of(cube: xr.DataArray) -> PairedBands | None:
    """The bands of a cube, as far as they are known."""
    if None in keys_of(cube):
        return None
    sensor, keys = sensor_of(cube, None), band_keys(cube)
    return PairedBands(tuple(keys), tuple(wavelengths(cube))) if sensor is None else PairedBands.of(sensor.find(keys))


@dataclass(frozen=True)
class _Drawn:
    """Pixels of lowest rank, at most ``most``, in its order."""

    most: int
    rank: Float32
    spectra: Float32


def _drawn(tile: Tile, _: State, *, most: int, seed: int) -> _Drawn:
    images = [tile.core(name) for name in ("ms", "hs")]
    (top, left), (height, width) = tile.origin, images[0].shape[1:]
    place = (slice(0, 1), slice(0, 1), slice(top, top + height), slice(left, left + width))
    rank = noise_block(place, deviations=[1.0], salts=[0], dates=[0], seed=seed).ravel()
    seen: Bool = np.ones((height, width), bool)
    for mask in map(tile.seen, ("ms", "hs")):
        seen &= True if mask is None else mask
    chosen = np.flatnonzero(seen)
    chosen = chosen[np.argsort(rank[chosen], kind="stable")[:most]]
    spectra = np.concatenate([image.reshape(len(image), -1)[:, chosen] for image in images])
    return _Drawn(most, rank[chosen], np.ascontiguousarray(spectra.T))


def _lowest(one: _Drawn, other: _Drawn) -> _Drawn:
    rank = np.concatenate([one.rank, other.rank])
    order = np.argsort(rank, kind="stable")[: one.most]
    return _Drawn(one.most, rank[order], np.concatenate([one.spectra, other.spectra])[order])


def _listed(drawn: _Drawn, _: State, *, most: int, seed: int) -> Float32:
    out = np.full((most, drawn.spectra.shape[1]), np.nan, np.float32)
    out[: len(drawn.spectra)] = drawn.spectra
    return out
