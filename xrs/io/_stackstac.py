"""Lazy arrays from assets by stackstac, which is no longer maintained and needs its items written its way.

It looks for ``proj:epsg`` only, and adds a pixel to the grid unless it is given exact bounds without snapping; fill
values must be NumPy scalars.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import stackstac
import xarray as xr
from odc.geo.geobox import GeoBox

from xrs.errors import ParameterError
from xrs.io._layer import Layer
from xrs.io._reader import AssetSource, read_pixels

__all__ = ["load"]


def load(layer: Layer) -> dict[str, xr.DataArray]:
    """A lazy array (time, y, x) without coordinates for each band of a layer."""
    grid, dtype = layer.geobox.affine, np.dtype(layer.dtype)
    epsg = _epsg(layer.geobox)
    stack = stackstac.stack(
        [_plain_item(i, item, epsg) for i, item in enumerate(layer.sources)],
        assets=list(layer.bands),
        epsg=epsg,
        resolution=(grid.a, -grid.e),
        bounds=tuple(layer.geobox.boundingbox),
        snap_bounds=False,
        chunksize=(layer.chunks[0], 1, *layer.chunks[1:]),
        dtype=dtype,
        fill_value=dtype.type(layer.fill),
        rescale=False,
        sortby_date=False,
        xy_coords=False,
        properties=False,
        band_coords=False,
        reader=_Reader,
    )
    bare = xr.DataArray(stack.data, dims=("time", "band", "y", "x"))
    return {band: _mosaic(bare.isel(band=i), layer) for i, band in enumerate(layer.bands)}


class _Reader:
    """stackstac's reader protocol; an address is the description of a source."""

    def __init__(self, *, url: str, spec: Any, gdal_env: Any = None, **_: Any) -> None:
        self._state = {"url": url, "spec": spec, "gdal_env": gdal_env}
        self._source = AssetSource.from_json(url)
        self._geobox = GeoBox(spec.shape, spec.transform, f"EPSG:{spec.epsg}")
        self._env = gdal_env or stackstac.DEFAULT_GDAL_ENV

    def read(self, window: Any, **_: Any) -> np.ndarray:
        """The pixels of a window of the stack's grid."""
        with self._env.read:
            return read_pixels(self._source, self._geobox[window.toslices()])

    def close(self) -> None:
        """Files are closed after each read."""

    def __getstate__(self) -> dict[str, Any]:
        return self._state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


def _epsg(geobox: GeoBox) -> int:
    epsg = None if geobox.crs is None else geobox.crs.epsg
    if epsg is None:
        raise ParameterError(
            f"the items' CRS {geobox.crs} has no EPSG code", "an EPSG code, which stackstac needs", "use engine='odc'"
        )
    return int(epsg)


def _plain_item(index: int, item: Mapping[str, AssetSource], epsg: int) -> dict[str, Any]:
    return {
        "id": str(index),
        "properties": {"datetime": f"{2000 + index}-01-01T00:00:00Z", "proj:epsg": epsg},
        "assets": {
            band: {"href": source.to_json(), "proj:shape": source.shape, "proj:transform": source.transform}
            for band, source in item.items()
        },
    }


def _mosaic(images: xr.DataArray, layer: Layer) -> xr.DataArray:
    """One image for each group of items: at each pixel the first that is not missing."""
    if layer.groups == tuple((i,) for i in range(len(layer.sources))):
        return images
    fill = np.dtype(layer.dtype).type(layer.fill)
    merged = [
        functools.reduce(lambda top, below: top.where(_seen(top, fill), below), (images.isel(time=[i]) for i in group))
        for group in layer.groups
    ]
    return xr.concat(merged, "time").chunk({"time": layer.chunks[0]})


def _seen(image: xr.DataArray, fill: np.generic) -> xr.DataArray:
    return image.notnull() if np.isnan(fill) else image != fill
