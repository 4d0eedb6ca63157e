"""Put a cube on another grid, so that it nests."""

from __future__ import annotations

from typing import TypeVar

import xarray as xr
from odc.geo.geobox import GeoBox

from xrs.cube import DIMS, assign_geobox, geobox_of, refine, to_array, to_dataset, with_all_dims
from xrs.errors import GridMismatchError, ParameterError
from xrs.lazy import warp
from xrs.operators._fusion import check_floats

__all__ = ["regrid"]

Cube = TypeVar("Cube", xr.DataArray, xr.Dataset)

#: Stands in where neither grid has a CRS: any metric one gives the same pixels.
_PLAIN_CRS = "EPSG:3857"


def regrid(
    cube: Cube,
    *,
    like: xr.DataArray | xr.Dataset | None = None,
    geobox: GeoBox | None = None,
    ratio: int = 1,
    resampling: str = "cubic",
) -> Cube:
    """Resample a cube to the grid of another, or to a grid ``ratio`` times finer that nests in it.

    Parameters
    ----------
    cube : xarray.DataArray or xarray.Dataset
        Floating point, NaN where missing.
    like : xarray.DataArray or xarray.Dataset, optional
        The cube whose grid is the measure.
    geobox : GeoBox, optional
        A grid, instead of ``like``.
    ratio : int
        Pixels of the result along the side of a pixel of ``like``.
    resampling : str
        A name of GDAL's: ``nearest``, ``bilinear``, ``cubic``, ``lanczos``, ``average``, ...

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        As ``cube``, on the new grid; lazy if the cube is.

    Examples
    --------
    >>> import numpy as np, xarray as xr, xrs
    >>> def cube(n, size, shift=0.0):
    ...     centres = (np.arange(n) + 0.5) * size + shift
    ...     return xr.DataArray(np.ones((n, n), "float32"), dims=("y", "x"), coords={"y": centres[::-1], "x": centres})
    >>> ms, pan = cube(8, 4.0), cube(32, 1.0, shift=0.5)
    >>> xrs.regrid(pan, like=ms, ratio=4).x.values[:2]
    array([0.5, 1.5])
    """
    if (like is None) == (geobox is None):
        raise ParameterError("found both or neither of like= and geobox=", "one of them")
    if ratio < 1:
        raise ParameterError(f"found ratio={ratio}", "an integer from 1 on")
    target = geobox if geobox is not None else geobox_of(like)  # type: ignore[arg-type]
    target = refine(target, ratio) if ratio > 1 else target
    values = to_array(cube)
    check_floats("cube", values)
    source = geobox_of(values)
    if (source.crs is None) != (target.crs is None):
        raise GridMismatchError(
            "one grid has a CRS and the other has none", "a CRS on both, or on neither", "da.rio.write_crs(...)"
        )
    plain = source.crs is None
    data = warp(with_all_dims(values).data, _with_crs(source, plain), _with_crs(target, plain), resampling)
    result = xr.DataArray(data, dims=DIMS).rename(values.name)
    result = result.isel({d: 0 for d in ("time", "band") if d not in values.dims})
    kept = {n: c for n, c in values.coords.items() if not {"y", "x"} & set(c.dims) and n != "spatial_ref"}
    result = assign_geobox(result.assign_coords(kept), target)
    result.attrs = dict(values.attrs)
    return to_dataset(result) if isinstance(cube, xr.Dataset) else result


def _with_crs(geobox: GeoBox, plain: bool) -> GeoBox:
    return GeoBox(geobox.shape, geobox.affine, _PLAIN_CRS) if plain else geobox
