"""Spectra through clouds: the network trained on a cloudy series and the spectra of a few of its dates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from numpy.typing import NDArray

from xrs.cube import band_keys, package_version, wavelengths
from xrs.errors import ParameterError, RadiometryError, TimeAxisError
from xrs.kernels.plausible import check_magnitudes
from xrs.kernels.types import Float32, Float64
from xrs.learning.checks import check_whole
from xrs.models import Card, ImageSpec, Model
from xrs.nets import get_network
from xrs.nets.ssr_cloud import SsrCloud
from xrs.operators._hsms import known_response
from xrs.operators._pairs import days_since, match_dates
from xrs.operators.ssr_cloud import check_probability, clear_of, on_one_grid, spectral_cube
from xrs.sensors import Sensor
from xrs.training.ssr_cloud_fit import Place, fit_cloud, pixels_of
from xrs.training.steps import Steps
from xrs.training.sts_examples import linear

__all__ = ["begin", "check_one_unit", "read_parts", "spec_of", "train_ssr_cloud"]

Cube = xr.DataArray | xr.Dataset

#: Of the bands' variance, so much is added to it where spectra are regressed on them: their noise.
_NOISE = 1e-5
#: A date of which more than this share is clear tells what it looks like.
_TAUGHT = 0.01
#: Two images of the same pixels that differ more than so many times differ in unit: percent is 100 times reflectance.
_ALIKE = 10.0
#: Pixels that spectra are regressed on, at most.
_SAMPLE = 50_000


def train_ssr_cloud(
    multispectral: Cube,
    hyperspectral: Cube,
    *,
    clear: xr.DataArray | None = None,
    sensor: str | Sensor | None = None,
    tolerance: Any = "1D",
    reach: int = 12,
    windows: int = 4,
    window_size: int = 128,
    steps: int = 600,
    train_batch: int = 16,
    patch_size: int = 16,
    lr: float = 3e-3,
    device: str = "auto",
    seed: int = 0,
    licence: str = "",
    **config: Any,
) -> Model:
    """The network of :func:`xrs.ssr_cloud`, trained without a cloud-free series and without spectra under clouds.

    1. Windows of the scene are read on all dates.
    2. Pixels that are clear are hidden under clouds: masks of other dates and places of the series, or drawn ones. The
       network must tell what they show from the other dates and from what is left around.
    3. The loss counts clear pixels only, hidden or not: squared errors of the bands, of the spectra on the dates that
       have them, and of what the sensor would see of the spectra; and the angle between spectra.

    What lies under the real clouds has no part in it. The spectra may be another sensor's, or what a spectral model
    made of the clear pixels (:func:`xrs.spectral_superres`): then that model is the teacher.

    Parameters
    ----------
    multispectral : xarray.DataArray or xarray.Dataset, (time, band, y, x)
        The series, floating point, NaN under clouds; with band keys and wavelengths.
    hyperspectral : xarray.DataArray or xarray.Dataset, (time, band, y, x)
        Spectra of one or more of its dates on the same grid, in the same unit, NaN where there are none.
    clear : xarray.DataArray (time, y, x), optional
        The probability from 0 to 1, or whether, each pixel of the series is clear. NaN in the series is never clear.
        Placed by its coordinates, as in :func:`xrs.ssr_cloud`.
    sensor : str or Sensor, optional
        Of the series; taken from the cube if that tells. Where its response is unknown it is a regression.
    tolerance : timedelta or str
        How far apart dates of the two cubes may be that count as one.
    reach : int
        Other dates that a date is made of: so many of the nearest.
    windows, window_size : int
        Parts of the scene that are read, and their side in pixels.
    steps, train_batch, patch_size : int
        Of training: steps, patches of one, and their side in pixels.
    lr : float
        The highest learning rate.
    device, seed, licence
        As of :func:`xrs.train`.
    **config
        Parameters of the network.

    Returns
    -------
    Model
        Its card tells dates, the share of clear pixels and the loss curve (``training``).

    Raises
    ------
    TimeAxisError
        If the cubes have no date in common, or the series has a single date.
    GridMismatchError
        If they do not lie on the same pixels, or ``clear`` not on the dates and pixels of the series.
    BandNotFoundError
        If bands have no wavelengths, or the sensors see none in common.
    RadiometryError
        If a cube holds integers or is no reflectance, or the two differ in unit; lazy ones when they are read.
    ParameterError
        If no pixel is clear on a date with spectra, and for arguments out of range.

    Examples
    --------
    >>> import xrs
    >>> times = ["2023-04-10", "2023-05-10", "2023-06-10"]
    >>> scene = xrs.scenes.landscape((32, 32), times=times, wavelengths=range(450, 900, 25)).compute()
    >>> sky = xrs.scenes.clouds(scene, cover=0.3, seed=1)
    >>> ms = scene.isel(band=[1, 4, 8, 14]).where(sky.valid)
    >>> model = train_ssr_cloud(ms, scene.isel(time=[1]), steps=2, features=8)
    >>> model.card.task, model.card.training["hs_dates"]
    ('ssr_cloud', ['2023-05-10'])
    """
    ms = spectral_cube("multispectral", multispectral, clear)
    hs = spectral_cube("hyperspectral", hyperspectral)
    how = Steps(steps, train_batch, patch_size, lr, seed, device)
    for name, value in (("reach", reach), ("windows", windows), ("window_size", window_size)):
        check_whole(name, value, 1)
    open_sky = clear_of(ms, clear)
    ms, hs, open_sky = on_one_grid(ms, hs, open_sky)
    dates = _shared(ms, hs, tolerance)
    parts = read_parts([ms, open_sky, hs], count=windows, side=window_size, seed=seed)
    places = [_place(ms_part, clear_part, hs_part, dates) for ms_part, clear_part, hs_part in parts]
    scale = _scale(places)
    places = [Place(p.ms / scale, p.clear, p.hs / scale, p.known) for p in places]
    bands = ms.sizes["band"], hs.sizes["band"]
    module = get_network("ssr_cloud").build(bands, (1, 1), seed=seed, **config)
    assert isinstance(module, SsrCloud)
    given, wanted = known_pixels(places)
    check_one_unit(given, wanted, ms, hs)
    begin(module, np.concatenate([_clear_pixels(place) for place in places], axis=1), given, wanted)
    response = _response(known_response(hs, ms, None, sensor, "auto"), given, wanted)
    days = days_since(ms["time"].values, pd.Timestamp(pd.Timestamp(ms["time"].values[0]).year, 1, 1))
    side = min(patch_size, *(n for place in places for n in place.clear.shape[1:]))
    how = Steps(steps, train_batch, side, lr, seed, device)
    curve = fit_cloud(module, places, days, response, how, reach)
    card = Card(
        network="ssr_cloud",
        task="ssr_cloud",
        images=(spec_of(ms), spec_of(hs)),
        margin=module.margin,
        scale=scale,
        units=str(hs.attrs.get("units", "1")),
        config=config,
        training={
            "dates": [str(t)[:10] for t in ms["time"].values],
            "hs_dates": [str(t)[:10] for t in ms["time"].values[sorted(dates)]],
            "taught": [
                str(t)[:10] for t, share in zip(ms["time"].values, _shares(places), strict=True) if share > _TAUGHT
            ],
            "clear": float(np.mean([p.clear.mean() for p in places])),
            "reach": reach,
            "loss_curve": curve,
            "steps": steps,
            "train_batch": train_batch,
            "patch_size": side,
            "lr": lr,
            "seed": seed,
        },
        licence=licence,
        created_by=f"xrs {package_version()}",
    )
    return Model.from_module(module, card)


@torch.no_grad()
def begin(module: Any, seen: Float64, given: Float64, wanted: Float64) -> None:
    """Start on standardised bands, with the spectra that are their linear regression (band, pixel)."""
    spread = np.maximum(seen.std(axis=1), 1e-3 * max(float(seen.std()), 1e-6))
    module.centre = torch.as_tensor(seen.mean(axis=1), dtype=torch.float32)
    module.spread = torch.as_tensor(spread, dtype=torch.float32)
    slopes, offset = linear(given, wanted, _NOISE * float(given.var(axis=1).sum()))
    module.regression.weight.copy_(torch.as_tensor(slopes, dtype=torch.float32)[:, :, None, None])
    module.regression.bias.copy_(torch.as_tensor(offset, dtype=torch.float32))


def read_parts(cubes: Sequence[xr.DataArray], *, count: int, side: int, seed: int) -> list[tuple[NDArray[Any], ...]]:
    """The same windows of cubes on one grid (..., y, x), in one computation."""
    like = cubes[0]
    sides = {d: min(side, like.sizes[d]) for d in ("y", "x")}
    rng = np.random.default_rng([seed, 7])
    corners = {tuple(int(rng.integers(like.sizes[d] - sides[d] + 1)) for d in ("y", "x")) for _ in range(count)}
    parts: dict[str, xr.Variable] = {}
    for corner in sorted(corners):
        area = {d: slice(at, at + sides[d]) for d, at in zip(("y", "x"), corner, strict=True)}
        for cube in cubes:
            part = cube.variable.isel(area)
            # They differ in size, so their dims must differ in name to stand in one Dataset.
            parts[str(len(parts))] = xr.Variable([f"{d}{len(parts)}" for d in part.dims], part.data)
    read = xr.Dataset(parts).compute()
    found = [read[name].values for name in parts]
    return [tuple(found[n : n + len(cubes)]) for n in range(0, len(found), len(cubes))]


def spec_of(cube: xr.DataArray) -> ImageSpec:
    """What a card says of a cube's bands."""
    return ImageSpec(tuple(band_keys(cube)), 1, tuple(float(w) for w in wavelengths(cube)))


def known_pixels(places: Sequence[Place]) -> tuple[Float64, Float64]:
    """Bands and spectra (band, pixel) of some pixels where both are known.

    Raises
    ------
    ParameterError
        If they are too few to learn from.
    """
    found = [pair for pair in pixels_of(places) if pair[0].size]
    bands = places[0].ms.shape[1]
    count = sum(pair[0].shape[1] for pair in found)
    if count < 4 * bands:
        raise ParameterError(
            f"{count} clear pixels on dates with spectra",
            f"at least {4 * bands} to learn from",
            "clearer dates with spectra, a larger area, or what xrs.spectral_superres makes of clear pixels",
        )
    step = max(count // _SAMPLE, 1)
    given, wanted = (np.concatenate(part, axis=1)[:, ::step] for part in zip(*found, strict=True))
    return given, wanted


def check_one_unit(given: Float64, wanted: Float64, ms: xr.DataArray, hs: xr.DataArray) -> None:
    """Refuse spectra in another unit than the bands (band, pixel) of the same pixels.

    Raises
    ------
    RadiometryError
        If the bands of the spectra that are nearest in wavelength are ten times as bright, or as dark.
    """
    nearest = np.abs(wavelengths(hs) - wavelengths(ms)[:, None]).argmin(axis=1)
    theirs, ours = (float(np.abs(values).mean()) for values in (wanted[nearest], given))
    if not ours / _ALIKE < theirs < ours * _ALIKE:
        raise RadiometryError(
            f"in the bands of multispectral, hyperspectral is {theirs / ours if ours else np.inf:.3g} times as bright",
            "reflectance, around 0 to 1, in both",
            "apply the products' scales and offsets first, e.g. da.astype('float32') * 1e-4; percent * 0.01",
        )


def _shared(ms: xr.DataArray, hs: xr.DataArray, tolerance: Any) -> Mapping[int, int]:
    """For dates of ``ms`` that have spectra, the date of ``hs``."""
    times = [pd.DatetimeIndex(cube["time"].values) for cube in (ms, hs)]
    partner = match_dates(times[0], times[1], tolerance)
    if (partner < 0).all():
        raise TimeAxisError(
            f"no date of hyperspectral ({times[1][0]} to {times[1][-1]}) is within {pd.Timedelta(tolerance)} of one of "
            f"multispectral ({times[0][0]} to {times[0][-1]})",
            "dates that both have",
            "a larger tolerance=",
        )
    if len(times[0]) < 2:
        raise TimeAxisError("a series of one date", "two or more: one is predicted from the others")
    return {int(t): int(partner[t]) for t in np.flatnonzero(partner >= 0)}


def _place(ms: Float32, clear: Float32, hs: Float32, dates: Mapping[int, int]) -> Place:
    """A window with zeros where nothing is known, and the spectra on the dates of the series.

    Raises
    ------
    RadiometryError, ParameterError
        If values that were lazy turn out to be no reflectance, or no probabilities.
    """
    check_probability(clear)
    spectra = np.zeros((len(ms), hs.shape[1], *hs.shape[2:]), np.float32)
    known = np.zeros((len(ms), *hs.shape[2:]), np.float32)
    for date, partner in dates.items():
        seen = np.isfinite(hs[partner]).all(axis=0)
        spectra[date] = np.where(seen, hs[partner], 0.0)
        known[date] = seen
    there = np.isfinite(ms).all(axis=1)
    clear = np.where(there, clear, 0.0).astype(np.float32)
    bands = np.where(clear[:, None] > 0, ms, 0.0).astype(np.float32)
    for role, values in (("multispectral", bands), ("hyperspectral", spectra)):
        check_magnitudes(values, role)
    return Place(bands, clear, spectra, known)


def _shares(places: Sequence[Place]) -> Float64:
    """Of each date, how much is clear."""
    found: Float64 = np.mean([place.clear.mean(axis=(1, 2)) for place in places], axis=0, dtype=np.float64)
    return found


def _scale(places: Sequence[Place]) -> float:
    known = np.concatenate([np.moveaxis(p.hs, 1, -1)[p.known > 0].ravel() for p in places])
    scale = float(f"{np.abs(known).mean(dtype=np.float64):.3g}") if known.size else 0.0
    if not scale > 0:
        raise ParameterError("hyperspectral holds no spectrum but zeros and NaN", "spectra of some clear pixels")
    return scale


def _clear_pixels(place: Place) -> Float64:
    return np.moveaxis(place.ms, 1, 0)[:, place.clear > 0.5].astype(np.float64)


def _response(known: Float64 | None, given: Float64, wanted: Float64) -> tuple[Float64, Float64]:
    """Matrix and offset that lead from spectra to bands: the sensor's response with a line for each band, or a fit."""
    if known is None:
        return linear(wanted, given, _NOISE * float(wanted.var(axis=1).sum()))
    lines = [linear((row @ wanted)[None], band[None]) for row, band in zip(known, given, strict=True)]
    gains, offsets = (np.concatenate([np.ravel(line[n]) for line in lines]) for n in (0, 1))
    return gains[:, None] * known, offsets
