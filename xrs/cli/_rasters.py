"""Files as commands open them: rasters GDAL knows, NetCDF, Zarr; and GeoTIFFs out."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import xarray as xr

from xrs.cli._catalogue import looks_like_stac, open_catalogue
from xrs.cube import assign_bands, band_keys, geobox_of, to_array, to_dataset
from xrs.errors import AssetReadError, LayoutError, ParameterError, ProductExistsError

__all__ = ["GeoTiff", "is_geotiff", "open_groups", "open_raster", "write_geotiff"]

_SIDE = 2048
_GEOTIFF = {".tif", ".tiff"}


@dataclass(frozen=True)
class GeoTiff:
    """How a GeoTIFF is written.

    Attributes
    ----------
    dtype : str
        ``float32`` with NaN, or an integer type: values rounded and held to its range, 0 for missing.
    compression : str
        ``deflate``, ``zstd``, ``lzw`` or ``none``.
    cog : bool
        Whether it is rewritten as a Cloud Optimized GeoTIFF, with overviews.
    """

    dtype: str = "float32"
    compression: str = "deflate"
    cog: bool = True

    @property
    def creation(self) -> dict[str, str]:
        """Options of GDAL's drivers."""
        predictor = {"predictor": "YES" if self.cog else "3" if self.dtype == "float32" else "2"}
        return {"compress": self.compression.upper()} | ({} if self.compression == "none" else predictor)


def is_geotiff(path: str) -> bool:
    """Whether a path names a GeoTIFF."""
    return Path(path).suffix.lower() in _GEOTIFF


def open_raster(path: str) -> xr.DataArray:
    """A lazy float32 cube, NaN where the file has no data; scale and offset as the file tells.

    Bands of a GDAL raster are named by their descriptions; without, by the file's name if there is one band,
    else ``B1``, ``B2``, and so on.
    """
    suffix = Path(path.rstrip("/")).suffix.lower()
    if suffix in {".nc", ".nc4", ".h5", ".zarr"}:
        return _as_floats(to_array(_open_dataset(path, suffix)))
    return _as_floats(_open_gdal(path))


def open_groups(sources: Sequence[str], **filters: Any) -> xr.DataTree:
    """A group for each pixel size: from a catalogue, a file with groups, or rasters of one sensor."""
    if len(sources) == 1 and looks_like_stac(sources[0]):
        return open_catalogue(sources[0], **filters)
    if len(sources) == 1 and Path(sources[0].rstrip("/")).suffix.lower() in {".nc", ".nc4", ".zarr"}:
        return _open_tree(sources[0])
    by_size: dict[str, list[xr.Dataset]] = defaultdict(list)
    for cube in map(open_raster, sources):
        by_size[f"r{abs(geobox_of(cube).affine.a):g}m"].append(to_dataset(cube))
    return xr.DataTree.from_dict({name: _merged(name, members) for name, members in by_size.items()})


def write_geotiff(
    cube: xr.DataArray | xr.Dataset, path: str, *, form: GeoTiff, overwrite: bool, client: Any = None
) -> None:
    """Write a cube without dates as a GeoTIFF, in windows; the file appears when it is complete."""
    target = Path(path)
    if target.exists() and not overwrite:
        raise ProductExistsError(f"{path} exists", "a free path", "pass --overwrite, or choose another path")
    image = _as_integers(_image(cube), form.dtype) if form.dtype != "float32" else _image(cube)
    with tempfile.TemporaryDirectory(prefix=f".{target.stem}-", dir=target.parent) as folder:
        plain, optimised = Path(folder) / "plain.tif", Path(folder) / "optimised.tif"
        # What is rewritten anyway is not compressed before.
        _write_windows(image, plain, client, {} if form.cog else form.creation)
        if form.cog:
            _optimise(plain, optimised, form.creation)
        (optimised if form.cog else plain).replace(target)


def _open_gdal(path: str) -> xr.DataArray:
    import rioxarray
    from rasterio.errors import RasterioError

    try:
        found = rioxarray.open_rasterio(path, mask_and_scale=True, chunks={"y": _SIDE, "x": _SIDE}, lock=False)
    except RasterioError as error:
        raise AssetReadError(f"{path} cannot be read ({error})", "a raster that GDAL knows") from error
    if not isinstance(found, xr.DataArray):
        raise LayoutError(f"{path} holds several rasters", "one raster", "name one of them, as gdalinfo lists them")
    names = _band_names(found.attrs.get("long_name"), found.sizes["band"], Path(path).stem)
    kept = found.drop_vars("band").drop_attrs(deep=False)
    return assign_bands(kept, names)


def _band_names(descriptions: Any, count: int, stem: str) -> list[str]:
    told = [descriptions] if isinstance(descriptions, str) else list(descriptions or ())
    if len(told) == count and len(set(told)) == count and all(told):
        return told
    return [stem] if count == 1 else [f"B{number}" for number in range(1, count + 1)]


def _open_dataset(path: str, suffix: str) -> xr.Dataset:
    from xrs.io.product import open_product, product_status

    if suffix == ".zarr" and product_status(path).state != "other":
        return open_product(path)
    engine = "zarr" if suffix == ".zarr" else None
    try:
        return xr.open_dataset(path, engine=engine, chunks={}, decode_coords="all")
    except (OSError, ValueError) as error:
        raise AssetReadError(f"{path} cannot be read ({error})", "a NetCDF or Zarr dataset") from error


def _open_tree(path: str) -> xr.DataTree:
    engine = "zarr" if path.rstrip("/").endswith(".zarr") else None
    try:
        tree = xr.open_datatree(path, engine=engine, chunks={}, decode_coords="all")
    except (OSError, ValueError) as error:
        raise AssetReadError(f"{path} cannot be read ({error})", "NetCDF or Zarr with groups") from error
    groups = {name: node.to_dataset() for name, node in tree.children.items() if band_keys(node.to_dataset())}
    if not groups:
        raise LayoutError(f"{path} has no groups with bands", "a group for each pixel size")
    return xr.DataTree.from_dict({name: to_dataset(_as_floats(to_array(group))) for name, group in groups.items()})


def _merged(name: str, members: Sequence[xr.Dataset]) -> xr.Dataset:
    keys = [str(key) for member in members for key in member.data_vars]
    if len(set(keys)) < len(keys):
        raise LayoutError(
            f"rasters of {name} have bands of the same name: {keys}",
            "each band once",
            "describe the bands in the files",
        )
    return xr.merge(members, join="exact", compat="equals", combine_attrs="drop_conflicts")


def _as_floats(cube: xr.DataArray) -> xr.DataArray:
    return cube if cube.dtype == np.float32 else cube.astype(np.float32)


def _image(cube: xr.DataArray | xr.Dataset) -> xr.DataArray:
    """Bands of one date, named as GDAL describes bands."""
    array = to_array(cube)
    if array.sizes.get("time", 1) != 1:
        raise ParameterError(
            f"the result has {array.sizes['time']} dates", "one date for a GeoTIFF", "write a product: OUT.zarr"
        )
    image = array.squeeze("time", drop=True) if "time" in array.dims else array
    image = image if "band" in image.dims else image.expand_dims("band")
    names = band_keys(image) if "band" in image.coords else ["band"]
    bare = image.drop_vars([c for c in image.coords if c not in ("y", "x", "spatial_ref")])
    bare.attrs, bare.encoding = {"long_name": tuple(names)}, {}
    return bare.rio.write_nodata(np.nan)


def _as_integers(image: xr.DataArray, dtype: str) -> xr.DataArray:
    """Round to an integer type, values held to its range above 0, which stands for what is missing."""
    rounded = xr.apply_ufunc(_rounded, image, kwargs={"dtype": dtype}, dask="parallelized", output_dtypes=[dtype])
    rounded.attrs = {**image.attrs, "_FillValue": 0}
    return rounded


def _rounded(values: np.ndarray[Any, Any], *, dtype: str) -> np.ndarray[Any, Any]:
    least = 1 if np.iinfo(dtype).min == 0 else np.iinfo(dtype).min
    held = np.clip(np.rint(values), least, np.iinfo(dtype).max)
    return np.nan_to_num(held, copy=False, nan=0.0).astype(dtype)


def _write_windows(image: xr.DataArray, path: Path, client: Any, creation: dict[str, str]) -> None:
    from xrs.lazy.cluster import shared_lock
    from xrs.lazy.progress import compute

    if not image.chunks:
        image.rio.to_raster(path, tiled=True, BIGTIFF="IF_SAFER", **creation)
        return
    lock = Lock() if client is None else shared_lock("xrs-geotiff")
    compute(
        image.rio.to_raster(path, tiled=True, BIGTIFF="IF_SAFER", lock=lock, compute=False, **creation), client=client
    )


def _optimise(plain: Path, path: Path, creation: dict[str, str]) -> None:
    from rasterio.shutil import copy

    options = creation | {"overview_resampling": "AVERAGE", "num_threads": "ALL_CPUS"}
    copy(str(plain), str(path), driver="COG", bigtiff="IF_SAFER", **options)
