"""Clouds and their shadows over any cube: drifting noise, the same at any chunking and resolution."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr
from numba import njit

from xrs.cube import assign_geobox, check_time, geobox_of, to_array, wavelengths
from xrs.errors import GridMismatchError, LayoutError, ParameterError
from xrs.kernels.types import Float32, Float64
from xrs.lazy.generate import generate
from xrs.scenes.noise import fbm, hash_cell, stream, unit
from xrs.scenes.optics import cloud_reflectance, direct_light

__all__ = ["clouds", "cloudy"]

#: A pixel is valid while less than this share of its light is lost to cloud or shadow.
_CLEAR = 0.04
_LATITUDE = math.radians(50.5)


def clouds(scene: xr.DataArray, *, cover: float = 0.5, seed: int = 0) -> xr.Dataset:
    """Clouds, their shadows and what is left clear, at the pixels and dates of a cube.

    Each day has its own share of cloud, size of clouds and height of their base; many days are nearly clear or
    overcast, as in temperate climates. Shadows lie where the sun at 10:30 of that day, at 50.5 degrees north,
    throws them.

    Parameters
    ----------
    scene : xarray.DataArray
        A cube on a grid in metres with ``time``.
    cover : float
        About the mean share of the sky under cloud over many days, 0 to 1.
    seed : int
        Another seed is another weather; it need not be the landscape's.

    Returns
    -------
    xarray.Dataset
        Lazy (time, y, x): ``opacity`` float32, share of the surface that cloud hides, 0 to 1; ``shadow`` float32, share
        of the direct sun that is missing; ``valid`` bool, free of both.

    Raises
    ------
    ParameterError
        If ``cover`` lies outside 0 to 1.
    TimeAxisError
        If time is missing, unsorted or doubled.

    Examples
    --------
    >>> from xrs.scenes import landscape
    >>> scene = landscape((16, 16), times="2023-06-01/2023-06-05", wavelengths=[560])
    >>> clouds(scene).opacity.shape
    (5, 16, 16)
    """
    if not 0.0 <= cover <= 1.0:
        raise ParameterError(f"cover={cover}", "a share from 0 to 1")
    if not 0 <= seed < 2**63:
        raise ParameterError(f"seed={seed!r}", "an integer from 0 to 2**63 - 1")
    check_time(scene)
    geobox = geobox_of(scene)
    days = (scene["time"].values.astype("datetime64[ns]") - np.datetime64(0, "ns")) / np.timedelta64(1, "D")
    size = (days.size, *geobox.shape)
    known = scene.chunksizes
    chunks = tuple(known.get(dim, (n,)) for dim, n in zip(("time", "y", "x"), size, strict=True))
    grid = geobox.affine
    params = {"grid": np.array([(grid.c, grid.a), (grid.f, grid.e)]), "days": days, "cover": cover, "seed": seed}

    def layer(name: str, shifted: bool) -> xr.DataArray:
        values = generate(_cloud_block, size, chunks, np.float32, params=params | {"shifted": shifted}, name=name)
        return assign_geobox(xr.DataArray(values, dims=("time", "y", "x"), coords={"time": scene["time"]}), geobox)

    opacity, shadow = layer("opacity", shifted=False), layer("shadow", shifted=True)
    return xr.Dataset(
        {"opacity": opacity, "shadow": shadow, "valid": (opacity < _CLEAR) & (shadow < _CLEAR)},
        attrs={"xrs:seed": seed, "xrs:cover": cover},
    )


def cloudy(scene: xr.DataArray, sky: xr.Dataset | None = None, **options: Any) -> xr.DataArray:
    """A cube as it is seen under clouds: bright cloud, darker and bluer shadow, both with soft edges.

    Nothing is masked: mask with ``cloudy(scene, sky).where(sky.valid)``.

    Parameters
    ----------
    scene : xarray.DataArray (time, band, y, x)
        Surface reflectance with coordinate ``wavelength`` in nm: a landscape, or what a sensor sees of it.
    sky : xarray.Dataset, optional
        From :func:`clouds` on the same grid and dates; made with ``options`` if not given.
    **options : Any
        ``cover`` and ``seed`` of :func:`clouds`.

    Returns
    -------
    xarray.DataArray (time, band, y, x)
        Lazy if the scene or the sky is; float32.

    Raises
    ------
    LayoutError
        If a band's wavelength is unknown.
    ParameterError
        If both a sky and options are given.
    GridMismatchError
        If the sky lies on other pixels or dates.

    Examples
    --------
    >>> from xrs.scenes import landscape
    >>> scene = landscape((16, 16), times="2023-06-01/2023-06-05", wavelengths=[560, 1610])
    >>> sky = clouds(scene, cover=0.6)
    >>> cloudy(scene, sky).where(sky.valid).dims
    ('time', 'band', 'y', 'x')
    """
    cube = to_array(scene)
    nm = wavelengths(cube)
    if np.isnan(nm).any():
        raise LayoutError(
            "the cube does not tell the wavelength of each band",
            "coordinate 'wavelength' in nm",
            "xrs.cube.assign_bands(cube, keys, wavelength=[...])",
        )
    if sky is not None and options:
        raise ParameterError(f"both a sky and {sorted(options)}", "one of them", "pass the options to clouds()")
    sky = clouds(cube, **options) if sky is None else sky
    if any(not np.array_equal(sky[d].values, cube[d].values) for d in ("time", "y", "x")):
        raise GridMismatchError("the sky lies on other pixels or dates", "those of the cube", "xrs.scenes.clouds(cube)")
    white = xr.DataArray(cloud_reflectance(nm), dims="band")
    sun = xr.DataArray(direct_light(nm), dims="band")
    lit = cube * (1.0 - sun * sky["shadow"])
    # Light passes a thin cloud twice: down to the ground and up to the sensor.
    seen = lit * (1.0 - sky["opacity"]) ** 2 + white * sky["opacity"]
    return seen.astype(np.float32).transpose(*cube.dims).assign_attrs(cube.attrs).rename(cube.name)


def _cloud_block(
    slices: tuple[slice, ...], grid: Float64, days: Float64, cover: float, seed: int, shifted: bool
) -> Float32:
    (x0, dx), (y0, dy) = grid
    rows, columns = (np.arange(s.start, s.stop) + 0.5 for s in slices[1:])
    x, y = np.round(x0 + dx * columns, 3), np.round(y0 + dy * rows, 3)
    out = np.empty((days[slices[0]].size, y.size, x.size), np.float32)
    for t, day in enumerate(days[slices[0]]):
        _opacity(x, y, float(day), cover, np.uint64(seed), shifted, out[t])
    return out


@njit(nogil=True, cache=True)
def _shadow_shift(day: float, base: float) -> tuple[float, float]:
    """From a point to the cloud between it and the sun at 10:30 solar time, in metres east and north."""
    declination = -0.4091 * math.cos(2.0 * math.pi * (day % 365.2425 + 10.0) / 365.2425)
    hour = math.radians(-22.5)
    up = math.sin(_LATITUDE) * math.sin(declination) + math.cos(_LATITUDE) * math.cos(declination) * math.cos(hour)
    east = -math.cos(declination) * math.sin(hour)
    north = math.cos(_LATITUDE) * math.sin(declination) - math.sin(_LATITUDE) * math.cos(declination) * math.cos(hour)
    return base * east / up, base * north / up


@njit(nogil=True, cache=True)
def _amount(cover: float, draw: float) -> float:
    """A day's share of cloud: U-shaped between clear and overcast, with mean ``cover``."""
    spread = 6.0 * (draw - 0.5)
    lean = math.log((cover + 1e-9) / (1.0 - cover + 1e-9)) * 1.6
    return 1.0 / (1.0 + math.exp(-(lean + spread)))


@njit(nogil=True, cache=True)
def _threshold(amount: float) -> float:
    """What a standard normal exceeds with probability ``amount``.

    By the logistic of Bowling et al. (2009, 10.3926/jiem.2009.v2n1.p114-127), right to 0.01.
    """
    return math.log((1.0 - amount) / amount) / 1.702


@njit(nogil=True, cache=True)
def _opacity(x: Float64, y: Float64, day: float, cover: float, seed: np.uint64, shifted: bool, out: Float32) -> None:
    date = hash_cell(math.floor(day), 0, stream(seed, 60))
    amount = _amount(cover, unit(date))
    if amount < 0.01 or cover == 0.0:
        out[:] = 0.0
        return
    threshold = _threshold(amount)
    size = 900.0 * math.exp(2.4 * unit(hash_cell(1, 0, date)))
    thin = 0.45 * unit(hash_cell(2, 0, date))
    softness = 0.2 + 1.3 * unit(hash_cell(3, 0, date)) ** 3
    dx, dy = 0.0, 0.0
    if shifted:
        dx, dy = _shadow_shift(day, 700.0 + 1800.0 * unit(hash_cell(4, 0, date)))
    for i in range(y.size):
        for j in range(x.size):
            value = fbm(x[j] + dx, y[i] + dy, size, 6, date) - threshold
            edge = min(max(value / softness + 0.5, 0.0), 1.0)
            # Clouds thicken, and so brighten, from their rim inwards.
            depth = 1.0 - thin * math.exp(-max(value, 0.0) / 0.5)
            out[i, j] = depth * edge * edge * (3.0 - 2.0 * edge)
