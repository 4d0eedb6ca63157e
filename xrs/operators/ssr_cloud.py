"""Cloud-free spectra from a cloudy series of few bands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xrs.cube import (
    band_keys,
    check_reflectance,
    check_time,
    crs_of,
    geobox_of,
    is_lazy,
    shared_pixels,
    to_array,
    to_dataset,
    wavelengths,
    with_all_dims,
)
from xrs.errors import BandNotFoundError, GridMismatchError, LayoutError, ModelCardError, ParameterError
from xrs.kernels.plausible import check_magnitudes
from xrs.kernels.types import Float32, Float64
from xrs.lazy import Dates, Source, joined_dates, map_tiles
from xrs.methods import Method, Tile
from xrs.methods._networks import given_models
from xrs.models import Card, Model, check_magnitude, match_images
from xrs.nets.registry import get_network
from xrs.operators._fusion import check_floats, label, observed, with_bands
from xrs.operators._pairs import dates_to_chunks, days_since, pick_targets, runs_of
from xrs.operators._uncertainty import told

__all__ = [
    "bands_of",
    "check_probability",
    "check_wavelengths",
    "clear_of",
    "model_for",
    "on_one_grid",
    "placed",
    "spectral_cube",
    "ssr_cloud",
]

Cube = TypeVar("Cube", xr.DataArray, xr.Dataset)

_TASK = "ssr_cloud"
#: Dates nearer than this are one, in days.
_SAME = 0.5
#: Coordinates nearer than this share of a pixel are one.
_NEAR = 1e-3
#: Standard deviations of a Laplace distribution in its b.
_SPREAD = float(np.sqrt(2.0))


def ssr_cloud(
    multispectral: Cube,
    model: Any,
    *,
    clear: xr.DataArray | None = None,
    target_times: Any = None,
    uncertainty: bool = False,
    device: str = "auto",
) -> Cube | xr.Dataset:
    """Spectra without clouds from a cloudy series of few bands, in one step.

    One network looks at all dates of a pixel and its nearest neighbours, weighs those that were clear, and puts out
    the spectrum on the date asked for. See :func:`xrs.train_ssr_cloud`.

    Parameters
    ----------
    multispectral : xarray.DataArray or xarray.Dataset, (time, band, y, x)
        Reflectance, NaN under clouds.
    model : Model, str or path
        From :func:`xrs.train_ssr_cloud`.
    clear : xarray.DataArray (time, y, x), optional
        The probability from 0 to 1, or whether, each pixel is clear. Where it is 0, the values of the series count no
        more than NaN do, and show in nothing. Its dates are found by value and its pixels by their coordinates, to a
        thousandth of a pixel; a dim without a coordinate is taken by place.
    target_times : array_like, optional
        Dates to put out, those of the series or others; all of the series if not given.
    uncertainty : bool
        Whether a standard deviation of each band comes with it. It was learned on pixels hidden in training, and is
        not calibrated.
    device : str
        ``"auto"`` (a GPU if there is one), ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        As ``multispectral``: float32 spectra on its grid and the dates asked for; lazy if it is. NaN only where a pixel
        was clear on none of the dates looked at: its own, and as many of the nearest as the model was trained with.
        With ``uncertainty`` a Dataset that holds standard deviations as well.

    Raises
    ------
    ModelCardError
        If the model is of another task, or made for other bands.
    TimeAxisError, LayoutError, RadiometryError
        If the cube is no series of reflectance, or ``target_times`` are no ascending dates.
    LayoutError, GridMismatchError
        If ``clear`` has other dims, or lies elsewhere: a date or a pixel of the series is not in it.
    ParameterError
        If ``clear`` is no probability.

    Notes
    -----
    Own design; nothing published is followed.

    Examples
    --------
    >>> import xrs
    >>> from xrs.training.ssr_cloud import train_ssr_cloud
    >>> times = ["2023-04-10", "2023-05-10", "2023-06-10"]
    >>> scene = xrs.scenes.landscape((32, 32), times=times, wavelengths=range(450, 900, 25)).compute()
    >>> sky = xrs.scenes.clouds(scene, cover=0.3, seed=1)
    >>> ms = scene.isel(band=[1, 4, 8, 14]).where(sky.valid)
    >>> model = train_ssr_cloud(ms, scene.isel(time=[1]), steps=2, features=8)
    >>> dict(ssr_cloud(ms, model, target_times=["2023-05-10"]).sizes)
    {'time': 1, 'band': 18, 'y': 32, 'x': 32}
    """
    cube = spectral_cube("multispectral", multispectral, clear)
    one = model_for(_TASK, model)
    if not isinstance(uncertainty, bool):
        raise ParameterError(f"uncertainty={uncertainty!r}", "True or False")
    targets = pick_targets(target_times, cube)
    start = pd.Timestamp(pd.Timestamp(cube["time"].values[0]).year, 1, 1)
    days, wanted = days_since(cube["time"].values, start), days_since(targets, start)
    open_sky = clear_of(cube, clear)
    series = with_all_dims(cube).isel(band=list(bands_of(one.card, cube)))
    series = series.where(np.isfinite(series), 0.0)
    reach = int(one.card.training["reach"])
    runs = runs_of([(dates_of(days, day, reach),) for day in wanted])
    taught = tuple(float(day) for day in days_since(one.card.training["taught"], start))
    look = _Look(device, uncertainty, taught)
    data = joined_dates(
        [
            _predicted(look, one, series[list(dates)], open_sky[list(dates)], days[list(dates)], wanted[run])
            for run, (dates,) in runs
        ]
    )
    bands = len(one.card.result.bands)
    record = Method(_TASK, "spectral", "", look, get_network(_TASK).reference)
    like = with_bands(cube, one.card.result, targets)
    params = {"network": one.card.network, "sha256": one.card.sha256[:12], "target_times": target_times}
    result = label(data[:, :bands], like, cube, method=record, family=_TASK, params=params)
    if uncertainty:
        return _with_std(multispectral, result, result.copy(data=data[:, bands:]))
    return to_dataset(result) if isinstance(multispectral, xr.Dataset) else result


def dates_of(days: Float64, target: float, reach: int) -> tuple[int, ...]:
    """The dates a target is made of: its own, and the nearest others."""
    away = np.abs(days - target)
    order = np.argsort(away, kind="stable")
    return tuple(sorted(int(k) for k in order[: reach + bool(away.min() < _SAME)]))


def model_for(task: str, model: Any) -> Model:
    """The one model a user gave, for a task.

    Raises
    ------
    ModelCardError
        If it is of another task, or there is none.
    """
    models = given_models(model)
    if len(models) != 1:
        raise ModelCardError(f"{len(models)} models", "one", f"model=xrs.train_{task}(...)")
    if models[0].card.task != task:
        raise ModelCardError(
            f"the model is a {models[0].card.network} for task {models[0].card.task!r}",
            f"one for {task!r}",
            f"xrs.train_{task}(...)",
        )
    return models[0]


def bands_of(card: Card, cube: xr.DataArray) -> tuple[int, ...]:
    """Where the bands that a network looks at stand in a cube.

    Raises
    ------
    ModelCardError
        If one is not there, or has another wavelength.
    """
    ms, hs = card.images
    (found,) = match_images(
        replace(card, task="spectral", images=(ms,), outputs=hs), {"multispectral": observed(cube, 1)}
    )
    return found.bands


def spectral_cube(role: str, cube: xr.DataArray | xr.Dataset, clear: xr.DataArray | None = None) -> xr.DataArray:
    """A series of reflectance whose bands have keys and wavelengths; where it is not ``clear`` it may hold anything.

    Raises
    ------
    LayoutError, TimeAxisError, RadiometryError, BandNotFoundError
        If it is none.
    LayoutError, GridMismatchError, ParameterError
        As :func:`clear_of`.
    """
    found = to_array(cube)
    check_floats(role, found)
    check_time(found)
    check_reflectance(found if clear is None else found.where(clear_of(found, clear) > 0))
    check_wavelengths(role, found)
    return found


def check_wavelengths(role: str, cube: xr.DataArray) -> None:
    """Make sure that all bands of a cube have keys and wavelengths."""
    keys, centres = band_keys(cube), wavelengths(cube)
    if not np.isfinite(centres).all():
        raise BandNotFoundError(
            f"bands of {role} without wavelengths: {[keys[n] for n in np.flatnonzero(np.isnan(centres))][:5]}",
            "a coordinate 'wavelength' in nm",
            "xrs.cube.assign_bands(cube, keys, wavelength=[...])",
        )


def clear_of(cube: xr.DataArray, clear: xr.DataArray | None) -> xr.DataArray:
    """How clear each pixel of a series is (time, y, x), from 0 to 1; 0 where a band is missing or not finite.

    Raises
    ------
    LayoutError, GridMismatchError
        If ``clear`` has other dims, or lies elsewhere.
    ParameterError
        If it is no probability; a lazy one is not read.
    """
    # As it is looked at: some fill values are infinite only in float32.
    there: Any = np.isfinite(cube.astype(np.float32, copy=False))
    there = there.all("band") if "band" in cube.dims else there
    there = there.astype(np.float32).drop_vars("band", errors="ignore").transpose("time", "y", "x")
    if clear is None:
        return there
    given = placed("clear", clear, cube)
    if "time" not in given.dims:
        raise LayoutError("clear has no dim 'time'", "time, y and x", "clear.expand_dims(time=series.time)")
    if not is_lazy(given):
        check_probability(given.values)
    values = given.astype(np.float32).fillna(0.0)
    return (there.drop_vars(list(there.coords)) * values).assign_coords(there.coords)


def placed(name: str, layer: Any, cube: xr.DataArray) -> xr.DataArray:
    """A layer ([time,] y, x) on the dates and pixels of a cube, without coordinates, which may differ in last digits.

    Dates are found by value, pixels by their coordinates; a dim without a coordinate is taken by place.

    Raises
    ------
    LayoutError
        If it is no DataArray of these dims.
    GridMismatchError
        If dates or pixels of the cube are not in it, or it has another CRS.
    """
    if not isinstance(layer, xr.DataArray):
        raise LayoutError(
            f"{name} is a {type(layer).__name__}",
            "an xarray.DataArray with dims y and x, or time, y and x",
            f"its variable, {name}['valid']"
            if isinstance(layer, xr.Dataset)
            else f"xr.DataArray({name}, dims=..., coords=...)",
        )
    if not {"y", "x"} <= set(layer.dims) <= {"time", "y", "x"}:
        raise LayoutError(f"{name} has dims {tuple(map(str, layer.dims))}", "y and x, or time, y and x")
    found = layer.transpose(*[d for d in ("time", "y", "x") if d in layer.dims])
    crs, own = crs_of(layer), crs_of(cube)
    if crs is not None and own is not None and crs != own:
        raise GridMismatchError(f"{name} is in another CRS than the cube", "one CRS", f"xrs.regrid({name}, like=cube)")
    for dim in map(str, found.dims):
        found = _found_along(dim, name, found, cube)
    return found.drop_vars(list(found.coords))


def _found_along(dim: str, name: str, layer: xr.DataArray, cube: xr.DataArray) -> xr.DataArray:
    """What a layer has at the coordinates of a cube along one dim."""
    if dim not in layer.coords or dim not in cube.coords:
        if layer.sizes[dim] != cube.sizes[dim]:
            raise GridMismatchError(
                f"{name} has {layer.sizes[dim]} values along {dim!r} and the cube {cube.sizes[dim]}",
                "as many, or a coordinate that tells which they are",
                f"{name}.assign_coords({dim}=...)",
            )
        return layer
    have, want = layer[dim].values, cube[dim].values
    if dim == "time":
        alike = have.dtype.kind == want.dtype.kind == "M"
        slack: Any = np.timedelta64(0, "ns")
    else:
        alike = have.dtype.kind in "iuf"
        slack = _NEAR * abs(getattr(geobox_of(cube).resolution, dim))
    index = _index_of(want, have, slack) if alike else np.full(want.size, -1)
    if (index < 0).any():
        lacking = want[index < 0]
        raise GridMismatchError(
            f"{name} has no value, or several, at {dim} {lacking[0]}"
            + (f" and {lacking.size - 1} others" * (lacking.size > 1)),
            "the dates and pixels of the cube",
            f"select or resample it to them: {name}.reindex_like(cube), xrs.regrid({name}, like=cube)",
        )
    # A selection of everything would still put a task on every chunk.
    return layer if np.array_equal(index, np.arange(have.size)) else layer.isel({dim: index})


def _index_of(want: NDArray[Any], have: NDArray[Any], slack: Any) -> NDArray[np.intp]:
    """Where each value stands among others, in whatever order these are; -1 where none or several are that near."""
    order = np.argsort(have, kind="stable")
    first = np.searchsorted(have, want - slack, side="left", sorter=order)
    end = np.searchsorted(have, want + slack, side="right", sorter=order)
    return np.where(end - first == 1, np.append(order, -1)[first], -1)


def on_one_grid(ms: xr.DataArray, hs: xr.DataArray, *others: xr.DataArray) -> tuple[xr.DataArray, ...]:
    """Cubes over the area that the first two share; ``others`` lie where the first does.

    Raises
    ------
    GridMismatchError
        If their pixels do not lie on each other.
    """
    in_ms, in_hs = shared_pixels(geobox_of(ms), geobox_of(hs))
    return ms.isel(in_ms), hs.isel(in_hs), *(other.isel(in_ms) for other in others)


@dataclass(frozen=True)
class _Look:
    """The network over a tile of all dates: spectra (target, band, y, x), then standard deviations if asked for."""

    device: str
    spread: bool
    taught: tuple[float, ...]

    def __call__(self, tile: Tile, _: Mapping[str, Any], *, model: Model) -> Float32:
        """Each target of a tile."""
        from xrs.models.engine import loaded_network

        check_probability(tile["clear"])
        # What is hidden may be anything.
        series = np.where(tile["clear"] > 0, tile["series"], 0.0).astype(np.float32, copy=False)
        check_magnitudes(series, "multispectral")
        check_magnitude(model.card, series)
        network = loaded_network(model, self.device)
        series, clear = series / np.float32(model.card.scale), tile["clear"][:, 0]
        parts = [self._of_date(network, series, clear, tile.days["series"], day) for day in tile.days["target"]]
        return np.stack(parts) * np.float32(model.card.scale)

    def _of_date(self, network: Any, series: Float32, clear: Float32, days: Float64, target: float) -> Float32:
        from xrs.nets.ssr_cloud import reconstruct

        away = np.abs(days - target)
        # Of several images of one day only the nearest in time is the target's own.
        rest = np.arange(days.size) != away.argmin() if away.min() < _SAME else np.ones(days.size, bool)
        image, visible = (part[~rest].sum(axis=0) for part in (series, clear))
        spectra, error = reconstruct(
            network, image, visible, target, series[rest], clear[rest], days[rest],
            taught=any(day == np.floor(target) for day in self.taught),
        )  # fmt: skip
        found = np.concatenate([spectra, _SPREAD * error]) if self.spread else spectra
        margin = network.margin
        nowhere = (clear.max(axis=0) <= 0)[margin:-margin, margin:-margin]
        found[:, nowhere] = np.nan
        return found


def _predicted(
    look: _Look, model: Model, series: xr.DataArray, clear: xr.DataArray, days: Float64, targets: Float64
) -> Any:
    """Targets that are made of the same dates (time, band, y, x)."""
    sources = {
        "series": Source(series.data, steady=True),
        "clear": Source(clear.expand_dims("band", axis=1).data, steady=True),
    }
    return map_tiles(
        look,
        sources,
        bands=len(model.card.result.bands) * (1 + look.spread),
        factor=1,
        halo=model.card.margin,
        shared={"model": model},
        dates=Dates({"series": days, "clear": days, "target": targets}, dates_to_chunks(targets.size)),
        name="xrs-ssr_cloud",
    )


def _with_std(given: xr.DataArray | xr.Dataset, result: xr.DataArray, std: xr.DataArray) -> xr.Dataset:
    found = told(given, result, std, "std")
    for name in found.data_vars:
        if str(name).endswith("_std"):
            found[name].attrs["comment"] = "learned on clear pixels that were hidden in training; not calibrated"
    return found


def check_probability(values: NDArray[Any]) -> None:
    """Refuse values of ``clear`` that are no probabilities; NaN is none that is known.

    Raises
    ------
    ParameterError
    """
    low, high = (float(f(values, initial=0.0)) for f in (np.nanmin, np.nanmax))
    if low < 0 or high > 1:
        raise ParameterError(f"clear from {low:g} to {high:g}", "probabilities from 0 to 1, or booleans")
