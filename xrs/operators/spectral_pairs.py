"""Examples that spectral super-resolution learns from: of a library of spectra, or of two cubes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from xrs.cube import geobox_of, shared_pixels, to_array, with_all_dims
from xrs.errors import ParameterError
from xrs.kernels.types import Bool, Float32, Float64
from xrs.lazy import Source, reduce_tiles
from xrs.methods.base import Deferred, Method, State, Tile
from xrs.methods.spectral._projection import examples_covariance, gain
from xrs.operators._fusion import check_floats, common_dates
from xrs.operators._spectral import Lesson
from xrs.sensors import Sensor
from xrs.sensors.noise import noise_block
from xrs.spectra import SpectralLibrary, SpectralPairs, draw_pairs, get_source

__all__ = ["Library", "learned", "spectral_pairs"]

#: What examples come from: a source's name, spectra, or pairs of them.
Library = str | SpectralLibrary | SpectralPairs


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
    if not isinstance(source, SpectralPairs):
        pairs = draw_pairs(source, seen, wanted, examples, seed=seed, noise=noise)
    fit = learn(pairs.given, pairs.wanted, **params)
    if srf is None:
        return Lesson(fit, None)
    centres = np.array([band.wavelength for band in wanted.bands])
    return Lesson(fit, gain(srf, centres, examples_covariance(pairs.wanted, centres)))


def spectral_pairs(ms: Any, hs: Any, count: int, seed: int = 0) -> SpectralPairs:
    """Examples drawn from two cubes on one grid: reads them.

    Parameters
    ----------
    ms, hs : xarray.DataArray or xarray.Dataset, ([time,] band, y, x)
        Of the same dates, on pixels of each other.
    count : int
        Pixels without gaps, at most; on each date the same places.
    seed : int

    Returns
    -------
    SpectralPairs

    Raises
    ------
    GridMismatchError, TimeAxisError, RadiometryError
        If the cubes do not fit together.
    ParameterError
        If no pixel was seen in all bands of both.

    Examples
    --------
    >>> import xrs
    >>> scene = xrs.scenes.landscape((16, 16), times=["2023-06-10"], wavelengths=range(450, 900, 50))
    >>> spectral_pairs(scene.isel(band=[0, 2, 4, 8]), scene, 100)
    <SpectralPairs: 100, 4 bands to 9>
    """
    cubes = {"ms": to_array(ms), "hs": to_array(hs)}
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
    return SpectralPairs(np.ascontiguousarray(rows[:, : bands["ms"]]), np.ascontiguousarray(rows[:, bands["ms"] :]))


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
