"""What a sensor sees of a scene, and what it would see from further away."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import xarray as xr
from odc.geo.geobox import GeoBox

from xrs.cube import (
    assign_bands,
    assign_geobox,
    band_keys,
    coarsen,
    describe,
    geobox_of,
    is_lazy,
    provenance,
    to_array,
    to_dataset,
    wavelengths,
    with_all_dims,
)
from xrs.cube.bands import BAND_COORDS
from xrs.errors import BandNotFoundError, GridMismatchError, ParameterError, TimeAxisError
from xrs.kernels import decimate, reach_of
from xrs.kernels.types import Float32, Float64
from xrs.lazy import Source, map_tiles
from xrs.lazy.generate import generate
from xrs.methods.base import State, Tile
from xrs.operators._fusion import check_floats
from xrs.sensors import Band, Sensor, apply_response, get_sensor, psf_of, spectral_response
from xrs.sensors.noise import band_salts, noise_block

__all__ = ["degrade", "observe"]

Cube = TypeVar("Cube", xr.DataArray, xr.Dataset, xr.DataTree)

#: How far a band's sampling may be from a multiple of the scene's pixel size.
_RATIO_TOLERANCE = 1e-3


def observe(
    scene: xr.DataArray | xr.Dataset,
    sensor: str | Sensor,
    *,
    bands: Sequence[str] | None = None,
    ratio: int | None = None,
    resolution: float | None = None,
    times: Any = None,
    psf: Any = "mtf",
    spectral: bool | None = None,
    noise: float | Mapping[str, float] | None = None,
    seed: int = 0,
) -> xr.DataArray | xr.Dataset | xr.DataTree:
    """What a sensor sees of a scene: spectral response, point spread, decimation, dates.

    Parameters
    ----------
    scene : xarray.DataArray or xarray.Dataset
        Dims ``[time,] band, y, x`` (or a variable for each band) with coordinate ``wavelength`` in nm;
        floating point. Or a cube that has the sensor's bands already.
    sensor : str or Sensor
        A name of :func:`xrs.list_sensors`, or a sensor of your own.
    bands : sequence of str, optional
        Keys or common names; all but the panchromatic band if not given.
    ratio : int, optional
        Scene pixels along the side of an observed pixel, for all bands.
    resolution : float, optional
        Instead: the pixel size observed, in the unit of the scene's coordinates. Without both, each band
        has the sensor's own ground sampling, for which the scene's coordinates must be in m.
    times : slice or dates, optional
        The dates the sensor sees; all if not given.
    psf : {"mtf", "box", "gaussian_box"} or array, optional
        Point spread, see :func:`xrs.sensors.psf_of`. At ratio 1 nothing is blurred.
    spectral : bool, optional
        Whether to apply the spectral response; by default, unless the scene has all wanted keys.
    noise : float or mapping of str to float, optional
        Standard deviation of normal noise, in the scene's unit, for all bands or by key (0 for others).
        A sensor with signal-to-noise ratio S at reflectance R has R / S.
    seed : int
        Of the noise, which depends on it, the pixel's place in the observed grid, date and band alone.

    Returns
    -------
    xarray.DataArray, xarray.Dataset or xarray.DataTree
        float32, lazy if the scene is. One grid: as ``scene``. Several ground samplings: a tree with a
        Dataset for each (``r10m``, ``r20m``, ``r60m``), all over the same area. The scene is cropped at
        its right and bottom edges to whole coarsest pixels. A pixel is NaN where half of its block or
        more is missing, for any wavelength in a response of the bands on its grid: leave wavelengths
        that are missing everywhere out of the scene.

    Raises
    ------
    BandNotFoundError
        If the sensor lacks a band, or the scene's wavelengths do not cover it.
    GridMismatchError
        If a ground sampling is no multiple of the scene's pixel size, or the scene is smaller than a pixel.
    TimeAxisError
        If dates are not in the scene.
    ParameterError, RadiometryError
        For arguments out of range, and for integers.

    Examples
    --------
    >>> import numpy as np, xarray as xr, xrs
    >>> scene = xr.DataArray(
    ...     np.full((211, 24, 24), 0.3, "float32"),
    ...     dims=("band", "y", "x"),
    ...     coords={
    ...         "band": [f"w{i}" for i in range(211)],
    ...         "wavelength": ("band", np.arange(400.0, 2501.0, 10.0)),
    ...         "y": np.arange(24)[::-1] * 10.0,
    ...         "x": np.arange(24) * 10.0,
    ...     },
    ... )
    >>> s2 = xrs.observe(scene, "sentinel-2a", bands=["B04", "B8A", "B11"])
    >>> list(s2.children), s2["r20m"].sizes["x"], round(float(s2["r20m"]["B11"].mean()), 4)
    (['r10m', 'r20m'], 12, 0.3)
    """
    instrument = get_sensor(sensor)
    cube = _at_times(to_array(scene), times)
    check_floats("scene", cube)
    chosen = instrument.find(bands)
    groups = _grouped(instrument, chosen, geobox_of(cube), ratio, resolution)
    crop = math.lcm(*groups)
    if spectral is None:
        spectral = not {b.key for b in chosen} <= set(band_keys(cube))
    area = _whole_pixels(cube, crop)
    shown = {"sensor": instrument.name, "bands": [b.key for b in chosen], "psf": psf, "noise": noise, "seed": seed}
    seen = {
        size: _observe_grid(area, instrument, members, size, psf, spectral, _deviations(noise, members), seed, shown)
        for size, members in groups.items()
    }
    if len(seen) == 1:
        (only,) = seen.values()
        return to_dataset(only) if isinstance(scene, xr.Dataset) else only
    tree = xr.DataTree.from_dict({_group_name(one): to_dataset(one) for one in seen.values()})
    tree.attrs = {"platform": instrument.name}
    return tree


def degrade(cube: Cube, ratio: int, *, sensor: str | Sensor | None = None, psf: Any = "mtf") -> Cube:
    """The same bands seen ``ratio`` times coarser, each through its own point spread.

    Parameters
    ----------
    cube : xarray.DataArray, xarray.Dataset or xarray.DataTree
        Dims ``[time,] [band,] y, x``; floating point. Of a tree, every group.
    ratio : int
        Above 1.
    sensor : str or Sensor, optional
        Gives each band's gain at Nyquist; without it the gain is 0.3. A DataArray without band keys is
        taken as the panchromatic band: the sensor's gain for that, or 0.15.
    psf : {"mtf", "box", "gaussian_box"} or array, optional
        See :func:`xrs.sensors.psf_of`.

    Returns
    -------
    As ``cube``
        float32 on the nested grid, cropped at the right and bottom to whole pixels; lazy if the cube is. A
        pixel is NaN where half of its block or more is missing.

    Raises
    ------
    ParameterError
        If the ratio is no integer above 1, or the point spread does not fit.
    GridMismatchError
        If the cube has no regular grid, or is smaller than one pixel.
    RadiometryError
        For integers.

    Examples
    --------
    >>> import numpy as np, xarray as xr, xrs
    >>> pan = xr.DataArray(np.eye(5, dtype="float32"), dims=("y", "x"), coords={"y": range(5)[::-1], "x": range(5)})
    >>> xrs.degrade(pan, 2, psf="box").values
    array([[0.5, 0. ],
           [0. , 0.5]], dtype=float32)
    """
    if ratio != int(ratio) or ratio < 2:
        raise ParameterError(f"ratio={ratio}", "an integer above 1")
    if isinstance(cube, xr.DataTree):
        return _degrade_tree(cube, int(ratio), sensor, psf)
    array = to_array(cube)
    check_floats("the cube", array)
    degraded = _degrade_array(_whole_pixels(array, int(ratio)), int(ratio), sensor, psf)
    return to_dataset(degraded) if isinstance(cube, xr.Dataset) else degraded


def _see(tile: Tile, _: State, *, taps: Float64, ratio: int, response: Float64 | None) -> Float32:
    """One tile of one date through spectral response, point spread and decimation."""
    scene = tile["scene"] if response is None else apply_response(tile["scene"], response)
    seen = scene if taps.shape[1] == ratio == 1 else decimate(scene, taps, ratio)
    return seen[:, tile.halo : seen.shape[1] - tile.halo, tile.halo : seen.shape[2] - tile.halo]


def _through(cube: xr.DataArray, taps: Float64, ratio: int, response: Float64 | None) -> Any:
    """Values (time, band, y, x) of what is seen of a cube of whole pixels."""
    return map_tiles(
        _see,
        {"scene": Source(with_all_dims(cube).data, ratio)},
        bands=taps.shape[0],
        factor=1,
        halo=reach_of(taps, ratio),
        params={"taps": taps, "ratio": ratio, "response": response},
        carriers=("scene",) if response is None else (),
        bandwise=response is None,
        name="xrs-observe",
    )


def _observe_grid(
    area: xr.DataArray,
    sensor: Sensor,
    bands: Sequence[Band],
    ratio: int,
    psf: Any,
    spectral: bool,
    deviations: Sequence[float] | None,
    seed: int,
    shown: Mapping[str, Any],
) -> xr.DataArray:
    """The bands that share a grid."""
    keys = [b.key for b in bands]
    part, response = _spectral_part(area, sensor, keys) if spectral else (_with_keys(area, keys), None)
    data = _through(part, psf_of(sensor, keys, ratio, psf), ratio, response)
    if deviations is not None:
        data = data + _noise_like(data, part, keys, deviations, seed)
    dims = ("time", "band", "y", "x")
    seen = xr.DataArray(data, dims=dims) if "time" in area.dims else xr.DataArray(data[0], dims=dims[1:])
    seen = seen.assign_coords(_kept(area))
    named = assign_bands(
        seen,
        keys,
        common_name=[b.common_name for b in bands],
        wavelength=[b.wavelength for b in bands],
        fwhm=[b.fwhm for b in bands],
    )
    result = assign_geobox(named, _seen_from(area, ratio))
    result.attrs = provenance(area, "observe", shown) | {"platform": sensor.name}
    result.name = area.name
    return result


def _degrade_array(area: xr.DataArray, ratio: int, sensor: str | Sensor | None, psf: Any) -> xr.DataArray:
    keys: list[str | None] = list(band_keys(area)) if "band" in area.coords else []
    if not keys:
        keys = ["pan"] if area.sizes.get("band", 1) == 1 else [None] * area.sizes["band"]
    data = _through(area, psf_of(sensor, keys, ratio, psf), ratio, None)
    seen = xr.DataArray(data, dims=("time", "band", "y", "x")).rename(area.name)
    seen = seen.isel({d: 0 for d in ("time", "band") if d not in area.dims})
    bands = {name: c for name, c in area.coords.items() if name in ("band", *BAND_COORDS) or "band" in c.dims}
    result = assign_geobox(seen.assign_coords(_kept(area) | bands), _seen_from(area, ratio))
    name = sensor.name if isinstance(sensor, Sensor) else sensor
    result.attrs = provenance(area, "degrade", {"ratio": ratio, "sensor": name, "psf": psf})
    return result


def _degrade_tree(tree: xr.DataTree, ratio: int, sensor: str | Sensor | None, psf: Any) -> xr.DataTree:
    groups = {node.path: to_array(node.to_dataset(inherit=True)) for node in tree.subtree if node.has_data}
    boxes = {path: geobox_of(group) for path, group in groups.items()}
    coarsest = max(boxes.values(), key=lambda box: abs(box.affine.a))
    # Finer groups keep the area of the coarsest, so that what was nested still is.
    extent = [n // ratio * ratio * abs(coarsest.affine.a) for n in coarsest.shape]
    degraded = {}
    for path, group in groups.items():
        check_floats(path, group)
        limit = [round(e / abs(boxes[path].affine.a)) for e in extent]
        area = _whole_pixels(group.isel(y=slice(limit[0]), x=slice(limit[1])), ratio)
        degraded[path] = to_dataset(_degrade_array(area, ratio, sensor, psf))
    result = xr.DataTree.from_dict(degraded, name=tree.name)
    result.attrs = dict(tree.attrs)
    return result


def _grouped(
    sensor: Sensor, bands: Sequence[Band], grid: GeoBox, ratio: int | None, resolution: float | None
) -> dict[int, list[Band]]:
    """Bands by their ratio to the scene's pixels, finest first."""
    if ratio is not None and resolution is not None:
        raise ParameterError(f"ratio={ratio} and resolution={resolution}", "one of the two, or none")
    if ratio is not None:
        if ratio != int(ratio) or ratio < 1:
            raise ParameterError(f"ratio={ratio}", "an integer of 1 or more")
        return {int(ratio): list(bands)}
    sizes = {b.key: b.gsd if resolution is None else float(resolution) for b in bands}
    if resolution is None and grid.crs is not None and grid.crs.geographic:
        raise GridMismatchError(
            f"the scene's grid is in degrees: {describe(grid)}", "a grid in m", "give ratio= or resolution= in degrees"
        )
    groups: dict[int, list[Band]] = {}
    for band in sorted(bands, key=lambda b: sizes[b.key]):
        groups.setdefault(_ratio_of(sensor, band, sizes[band.key], grid), []).append(band)
    return groups


def _ratio_of(sensor: Sensor, band: Band, size: float, grid: GeoBox) -> int:
    pixel = abs(grid.affine.a)
    exact = size / pixel
    if not math.isfinite(exact) or round(exact) < 1 or abs(exact - round(exact)) > _RATIO_TOLERANCE * exact:
        raise GridMismatchError(
            f"{band.key} of {sensor.title} is sampled at {size:g} and the scene at {pixel:g}",
            "a multiple of the scene's pixel size",
            "make the scene finer, or give ratio= or resolution=",
        )
    return round(exact)


def _spectral_part(area: xr.DataArray, sensor: Sensor, keys: Sequence[str]) -> tuple[xr.DataArray, Float64]:
    """The bands of a scene that a response uses, and the response on them."""
    if "band" not in area.dims:
        raise BandNotFoundError(
            "the scene has no dim 'band'", "bands with wavelengths", "expand_dims('band'), and xrs.cube.assign_bands"
        )
    response = spectral_response(sensor, wavelengths(area), keys)
    used = np.flatnonzero((response > 0).any(axis=0))
    return area.isel(band=used), response[:, used]


def _with_keys(area: xr.DataArray, keys: Sequence[str]) -> xr.DataArray:
    missing = [k for k in keys if k not in band_keys(area)]
    if missing:
        raise BandNotFoundError(
            f"the scene lacks the bands {missing}", f"the keys {list(keys)}", "spectral=True, which needs wavelengths"
        )
    return area.sel(band=list(keys)) if "band" in area.dims else area.expand_dims("band")


def _at_times(cube: xr.DataArray, times: Any) -> xr.DataArray:
    if times is None:
        return cube
    if "time" not in cube.indexes:
        raise TimeAxisError(f"times={times!r} of a scene without dates", "a dim 'time' with dates")
    if isinstance(times, slice):
        return cube.sel(time=times)
    known = cube.indexes["time"]
    wanted = pd.DatetimeIndex(np.atleast_1d(np.asarray(times, "datetime64[ns]")))
    absent = [str(t) for t in wanted if t not in known]
    if absent:
        raise TimeAxisError(
            f"the scene has no dates {absent[:3]}", f"dates among {known[0]} to {known[-1]}", "scene.time lists them"
        )
    return cube.sel(time=wanted)


def _whole_pixels(cube: xr.DataArray, ratio: int) -> xr.DataArray:
    sizes = {d: cube.sizes[d] // ratio * ratio for d in ("y", "x")}
    if not all(sizes.values()):
        raise GridMismatchError(
            f"the cube has {cube.sizes['y']} by {cube.sizes['x']} pixels",
            f"at least {ratio} by {ratio}: one pixel of what is seen",
            "take a larger scene or a smaller ratio",
        )
    return cube.isel({d: slice(0, n) for d, n in sizes.items()})


def _seen_from(area: xr.DataArray, ratio: int) -> GeoBox:
    return geobox_of(area) if ratio == 1 else coarsen(geobox_of(area), ratio)


def _kept(area: xr.DataArray) -> dict[Any, Any]:
    """Coordinates that do not depend on the grid or the bands."""
    return {name: c for name, c in area.coords.items() if name == "time" or c.dims == ("time",)}


def _deviations(noise: float | Mapping[str, float] | None, bands: Sequence[Band]) -> list[float] | None:
    if noise is None:
        return None
    deviations = [float(noise.get(b.key, 0.0)) if isinstance(noise, Mapping) else float(noise) for b in bands]
    if not all(0 <= d < math.inf for d in deviations):
        raise ParameterError(f"noise={noise}", "standard deviations of 0 or more")
    return deviations


def _noise_like(data: Any, part: xr.DataArray, keys: Sequence[str], deviations: Sequence[float], seed: int) -> Any:
    dates = np.asarray(part["time"].values if "time" in part.coords else np.arange(data.shape[0]))
    stamps = np.atleast_1d(dates.astype("datetime64[ns]") if dates.dtype.kind == "M" else dates).astype(np.int64)
    params = {"deviations": list(deviations), "salts": band_salts(keys), "dates": stamps.tolist(), "seed": seed}
    if is_lazy(part):
        return generate(noise_block, data.shape, data.chunks, np.float32, params=params, name="xrs-noise")
    return noise_block(tuple(slice(0, n) for n in data.shape), **params)


def _group_name(seen: xr.DataArray) -> str:
    return f"r{abs(geobox_of(seen).affine.a):g}m"
