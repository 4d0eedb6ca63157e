"""The embedded scene: a landscape of any extent, its reflectance, its land cover and its vegetation."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xrs.cube import REFLECTANCE_ATTRS, assign_bands, assign_geobox, check_time, geobox_of
from xrs.errors import ParameterError
from xrs.kernels.types import Float32, Float64
from xrs.lazy.generate import generate
from xrs.scenes.cover import LABELS, PARCELS
from xrs.scenes.ground import Ground, harvested, survey
from xrs.scenes.optics import Optics, optics
from xrs.scenes.phenology import days_and_years, rain_wetness
from xrs.scenes.reflectance import reflect, vegetation

__all__ = ["classes", "landscape", "truth"]

#: At 3 degrees east and 50.6 north; with seed 0 the 2.5 km south-east of it hold every class.
DEFAULT_ORIGIN = (500_000.0, 5_600_000.0)
_SIDE = 256
_CHUNK_BYTES = 64 * 2**20


def landscape(
    shape: tuple[int, int] = (256, 256),
    *,
    extent: tuple[float, float, float, float] | None = None,
    resolution: float = 10.0,
    times: str | Iterable[Any] = "2023-01-01/2023-12-31",
    wavelengths: Iterable[float] = range(400, 2501, 10),
    seed: int = 0,
    crs: str | None = "EPSG:32631",
    origin: tuple[float, float] = DEFAULT_ORIGIN,
    chunks: Any = "auto",
) -> xr.DataArray:
    """Surface reflectance of a procedural landscape: fields, grass, woods, waters, towns.

    Every pixel is a function of its centre's coordinates, the date and the seed, and of nothing else: windows,
    chunks and dates asked for apart agree exactly, and a finer resolution shows the same place in more
    detail. A pixel is a sample **at its centre**, not an area mean; for what a sensor sees, take a fine grid
    (2.5 m shows single roofs and crowns) and its point spread.

    Crops grow, bloom, ripen and are harvested, each field on days of its own; the classes a field can have are in
    :data:`xrs.scenes.LABELS`. Bare soil darkens after rain. The physics is told in ``xrs/scenes/reflectance.py``
    (two-stream canopies over soil, leaves from pigments, water from absorption and backscatter). It
    has no view or sun angles but those of texture and shadow, and no atmosphere.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns; not used where ``extent`` is given.
    extent : (float, float, float, float), optional
        West, south, east, north in metres; whole pixels of ``resolution``. ``origin`` is then not used.
    resolution : float
        Pixel size in metres.
    times : str, DatetimeIndex or iterable of dates
        ``"start/end"`` is daily, both included.
    wavelengths : iterable of float
        Centres in nm, 400 to 2500, ascending.
    seed : int
        Another seed is another world.
    crs : str, optional
        A projected CRS in metres, or None.
    origin : (float, float)
        x and y of the upper left corner.
    chunks : any
        What Dask takes for (time, band, y, x); "auto" keeps all bands together, in at most 64 MiB.

    Returns
    -------
    xarray.DataArray (time, band, y, x)
        Lazy float32 reflectance in [0, 1] without NaN; coordinates ``wavelength`` and ``fwhm`` in nm.

    Raises
    ------
    ParameterError
        If a size, a wavelength or the seed is out of range, or the extent holds no whole pixels.
    TimeAxisError
        If dates are unsorted or doubled.

    Examples
    --------
    >>> scene = landscape((64, 64), times=["2023-04-20", "2023-07-30"], wavelengths=[660, 850])
    >>> scene.dims, str(scene.dtype), scene.band.values.tolist()
    (('time', 'band', 'y', 'x'), 'float32', ['w0660', 'w0850'])
    """
    geobox = _geobox(shape, extent, resolution, crs, origin)
    dates, nm = _dates(times), _centres(wavelengths)
    _check_seed(seed)
    size = (dates.size, nm.size, *geobox.shape)
    years, days, epoch = days_and_years(dates)
    params = {
        "grid": _lines(geobox), "seed": seed, "years": years, "days": days, "rain": rain_wetness(epoch, seed),
        "tables": optics(nm),
    }  # fmt: skip
    values = generate(
        _reflectance_block,
        size,
        _auto(size) if chunks == "auto" else chunks,
        np.float32,
        params=params,
        name="landscape",
    )
    attrs = {**REFLECTANCE_ATTRS, "long_name": "surface reflectance", "xrs:seed": seed}
    cube = xr.DataArray(
        values, dims=("time", "band", "y", "x"), coords={"time": dates}, attrs=attrs, name="reflectance"
    )
    cube = assign_bands(cube, [_key(w) for w in nm], wavelength=nm.tolist(), fwhm=_widths(nm).tolist())
    return assign_geobox(cube, geobox)


def classes(scene: xr.DataArray, *, year: int | None = None, seed: int | None = None) -> xr.Dataset:
    """Land cover and parcels on the grid of a scene.

    Parameters
    ----------
    scene : xarray.DataArray
        From :func:`landscape`, or any cube on a grid in metres.
    year : int, optional
        Crops are those harvested in this year; that of the scene's first date if not given.
    seed : int, optional
        That of the scene if not given.

    Returns
    -------
    xarray.Dataset
        Lazy; ``cover`` (y, x), uint8 with CF ``flag_values`` and ``flag_meanings``
        (names in :data:`xrs.scenes.LABELS`), and ``field`` (y, x), int64: a key for each parcel of
        grass, wood or crop, 0 elsewhere.

    Examples
    --------
    >>> scene = landscape((8, 8), times=["2023-07-01"], wavelengths=[850])
    >>> sorted(classes(scene).data_vars)
    ['cover', 'field']
    """
    geobox, seed = geobox_of(scene), _seed_of(scene, seed)
    year = _year_of(scene) if year is None else year
    chunks = _chunks_of(scene, ("y", "x"), geobox.shape)
    grid = {"grid": _lines(geobox), "seed": seed}
    cover = generate(_cover_block, geobox.shape, chunks, np.uint8, params=grid | {"year": year}, name="cover")
    field = generate(_field_block, geobox.shape, chunks, np.int64, params=grid, name="field")
    flags = {"flag_values": list(LABELS), "flag_meanings": " ".join(LABELS.values()), "long_name": f"land cover {year}"}
    return xr.Dataset(
        {
            "cover": assign_geobox(xr.DataArray(cover, dims=("y", "x"), attrs=flags), geobox),
            "field": assign_geobox(xr.DataArray(field, dims=("y", "x"), attrs={"long_name": "parcel key"}), geobox),
        }
    )


def truth(scene: xr.DataArray, *, seed: int | None = None) -> xr.Dataset:
    """The vegetation from which a scene's reflectance was made, at the scene's pixels and dates.

    Parameters
    ----------
    scene : xarray.DataArray
        From :func:`landscape`, or any cube on a grid in metres with ``time``.
    seed : int, optional
        That of the scene if not given.

    Returns
    -------
    xarray.Dataset
        Lazy float32 (time, y, x): ``lai``, green leaf area index in m2/m2, zero without vegetation; ``chlorophyll``
        of green leaves in ug/cm2, zero where there is none.

    Examples
    --------
    >>> scene = landscape((8, 8), times=["2023-06-01"], wavelengths=[850])
    >>> truth(scene).lai.dims
    ('time', 'y', 'x')
    """
    check_time(scene)
    geobox, seed = geobox_of(scene), _seed_of(scene, seed)
    years, days, _ = days_and_years(scene["time"].values)
    size = (years.size, 2, *geobox.shape)
    time_chunks, *space = _chunks_of(scene, ("time", "y", "x"), (years.size, *geobox.shape))
    params = {"grid": _lines(geobox), "seed": seed, "years": years, "days": days}
    both = generate(_vegetation_block, size, (time_chunks, (2,), *space), np.float32, params=params, name="truth")
    variables = {}
    for i, (name, units) in enumerate((("lai", "m2 m-2"), ("chlorophyll", "ug cm-2"))):
        one = xr.DataArray(both[:, i], dims=("time", "y", "x"), coords={"time": scene["time"]}, attrs={"units": units})
        variables[name] = assign_geobox(one, geobox)
    return xr.Dataset(variables)


def _reflectance_block(
    slices: tuple[slice, ...],
    grid: Float64,
    seed: int,
    years: NDArray[np.int64],
    days: Float64,
    rain: Float64,
    tables: Optics,
) -> Float32:
    time, band = slices[0], slices[1]
    part = Optics(*(np.ascontiguousarray(table[:, band]) for table in tables))
    return reflect(_ground(grid, seed, slices[2:]), years[time], days[time], rain[time], part)


def _vegetation_block(
    slices: tuple[slice, ...], grid: Float64, seed: int, years: NDArray[np.int64], days: Float64
) -> Float32:
    return vegetation(_ground(grid, seed, slices[2:]), years[slices[0]], days[slices[0]])


def _cover_block(slices: tuple[slice, ...], grid: Float64, seed: int, year: int) -> NDArray[np.uint8]:
    ground = _ground(grid, seed, slices)
    return harvested(ground.cover, ground.field, year)


def _field_block(slices: tuple[slice, ...], grid: Float64, seed: int) -> NDArray[np.int64]:
    ground = _ground(grid, seed, slices)
    # Unsigned 64-bit integers are awkward in most formats: keep 63 bits.
    return np.where(np.isin(ground.cover, PARCELS), ground.field >> np.uint64(1), np.uint64(0)).astype(np.int64)


def _ground(grid: Float64, seed: int, window: tuple[slice, ...]) -> Ground:
    (x0, dx), (y0, dy) = grid
    rows, columns = (np.arange(s.start, s.stop) + 0.5 for s in window)
    return survey(x0 + dx * columns, y0 + dy * rows, seed)


def _lines(geobox: GeoBox) -> Float64:
    a = geobox.affine
    return np.array([(a.c, a.a), (a.f, a.e)])


def _geobox(
    shape: tuple[int, int],
    extent: tuple[float, float, float, float] | None,
    resolution: float,
    crs: str | None,
    origin: tuple[float, float],
) -> GeoBox:
    if not (np.isfinite(resolution) and resolution > 0):
        raise ParameterError(f"resolution={resolution}", "a pixel size in metres above zero")
    if extent is not None:
        west, south, east, north = extent
        height, width = (north - south) / resolution, (east - west) / resolution
        if max(abs(height - round(height)), abs(width - round(width))) > 1e-6:
            raise ParameterError(
                f"extent {extent} holds {height:g} by {width:g} pixels", "whole pixels", "round it to the resolution"
            )
        shape, origin = (round(height), round(width)), (west, north)
    if len(shape) != 2 or min(shape) < 1:
        raise ParameterError(f"{shape} pixels", "at least one row and one column", "shape=(rows, columns)")
    transform = Affine(resolution, 0.0, origin[0], 0.0, -resolution, origin[1])
    return GeoBox((int(shape[0]), int(shape[1])), transform, crs)


def _dates(times: str | Iterable[Any]) -> NDArray[np.datetime64]:
    if isinstance(times, str):
        first, _, last = times.partition("/")
        index = pd.date_range(first, last or first, freq="D")
    else:
        index = pd.DatetimeIndex(list(times))
    dates = index.values.astype("datetime64[ns]")
    check_time(xr.DataArray(np.empty(dates.size), dims="time", coords={"time": dates}), least=1)
    return dates


def _centres(values: Iterable[float]) -> Float64:
    nm = np.asarray(list(values), dtype="float64")
    if nm.size == 0 or not ((nm >= 400) & (nm <= 2500)).all() or (np.diff(nm) <= 0).any():
        raise ParameterError(
            f"wavelengths {nm[:5].tolist()}{'...' if nm.size > 5 else ''}", "ascending centres from 400 to 2500 nm"
        )
    return nm


def _widths(nm: Float64) -> Float64:
    """The spacing of neighbours, at most 10 nm: what one sample stands for."""
    if nm.size == 1:
        return np.array([10.0])
    return np.minimum(np.abs(np.gradient(nm)), 10.0)


def _key(nm: float) -> str:
    return f"w{nm:04.0f}" if float(nm).is_integer() else f"w{nm:g}"


def _check_seed(seed: int) -> None:
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**63:
        raise ParameterError(f"seed={seed!r}", "an integer from 0 to 2**63 - 1")


def _seed_of(scene: xr.DataArray, seed: int | None) -> int:
    found = scene.attrs.get("xrs:seed") if seed is None else seed
    if found is None:
        raise ParameterError("the cube does not tell its seed", "attribute 'xrs:seed'", "pass seed=")
    _check_seed(found)
    return int(found)


def _year_of(scene: xr.DataArray) -> int:
    if "time" not in scene.coords:
        raise ParameterError("the cube has no time to take the year of harvest from", "a year", "pass year=")
    return int(np.atleast_1d(scene["time"].values)[0].astype("datetime64[Y]").astype(int)) + 1970


def _chunks_of(scene: xr.DataArray, dims: tuple[str, ...], shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    known = scene.chunksizes
    return tuple(tuple(known[d]) if d in known else (n,) for d, n in zip(dims, shape, strict=True))


def _auto(shape: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    times, bands, height, width = shape
    side = min(_SIDE, max(1, math.isqrt(_CHUNK_BYTES // (4 * bands))))
    height, width = min(height, side), min(width, side)
    dates = max(1, _CHUNK_BYTES // (4 * bands * height * width))
    return min(times, dates), bands, height, width
