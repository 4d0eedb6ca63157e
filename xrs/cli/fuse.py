"""``xrs sharpen`` and ``xrs pansharpen``: one fusion, from files to a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
import xarray as xr

from xrs.cli._options import (
    Command,
    Setting,
    SeveralValues,
    catalogue_options,
    compute_options,
    geotiff_options,
    store_options,
)
from xrs.cli._rasters import GeoTiff, is_geotiff, open_groups, open_raster, write_geotiff
from xrs.cli._session import computing, timed
from xrs.cli.run import fused_bands, write_product

__all__ = ["pansharpen", "sharpen"]


@click.command(cls=Command)
@click.argument("inputs", nargs=-1, required=True)
@click.argument("out")
@click.option("--method", metavar="NAME", help="See `xrs methods sharpen`.")
@click.option("--set", "settings", cls=SeveralValues, type=Setting(), help="Parameters of the method.")
@click.option("--sensor", metavar="NAME", help="The instrument, such as sentinel-2a; see `xrs info sensors`.")
@catalogue_options
@store_options
@geotiff_options
@compute_options
def sharpen(
    inputs: Sequence[str],
    out: str,
    method: str | None,
    settings: Sequence[tuple[str, Any]],
    sensor: str | None,
    packing: str | None,
    overwrite: bool,
    dtype: str,
    compress: str,
    cog: bool,
    workers: int | None,
    scheduler_address: str | None,
    **filters: Any,
) -> None:
    """Bring all bands of a sensor to its finest grid.

    INPUTS are a STAC catalogue, one NetCDF or Zarr file with a group for each grid, or rasters of any pixel sizes that
    nest; of rasters and files, the options for catalogues are not used. OUT is a Zarr product or, for one date, a
    GeoTIFF (.tif).

    \b
    Examples:
      xrs sharpen B04.tif B08.tif B8A.tif B11.tif fine.tif --sensor sentinel-2b
      xrs sharpen catalog.json fine.zarr --datetime 2018-06 --method atprk
    """  # noqa: D301  # click wants the character, not the escape
    fine = fused_bands(open_groups(inputs, **filters), method, sensor, dict(settings))
    with computing(workers, scheduler_address) as client:
        _write(fine, out, packing, GeoTiff(dtype, compress, cog), overwrite, client)


@click.command(cls=Command)
@click.argument("ms")
@click.argument("pan")
@click.argument("out")
@click.option("--method", metavar="NAME", help="See `xrs methods pansharpen`.")
@click.option("--set", "settings", cls=SeveralValues, type=Setting(), help="Parameters of the method.")
@click.option("--sensor", metavar="NAME", help="The instrument, such as worldview-3; see `xrs info sensors`.")
@store_options
@geotiff_options
@compute_options
def pansharpen(
    ms: str,
    pan: str,
    out: str,
    method: str | None,
    settings: Sequence[tuple[str, Any]],
    sensor: str | None,
    packing: str | None,
    overwrite: bool,
    dtype: str,
    compress: str,
    cog: bool,
    workers: int | None,
    scheduler_address: str | None,
) -> None:
    """Bring a multispectral image to the grid of a panchromatic one.

    MS and PAN are rasters that GDAL knows, NetCDF or Zarr; OUT is a Zarr product or a GeoTIFF (.tif). A sensor's bands
    are found by their descriptions in the file.

    \b
    Example:
      xrs pansharpen ms.tif pan.tif sharp.tif --method gsa
    """  # noqa: D301  # click wants the character, not the escape
    from xrs.operators.pansharpen import pansharpen as fuse

    chosen = {"sensor": sensor} | ({} if method is None else {"method": method})
    arguments: dict[str, Any] = {**chosen, **dict(settings)}
    fused = fuse(open_raster(ms), open_raster(pan), **arguments)
    with computing(workers, scheduler_address) as client:
        _write(fused, out, packing, GeoTiff(dtype, compress, cog), overwrite, client)


def _write(
    cube: xr.DataArray | xr.Dataset, out: str, packing: str | None, form: GeoTiff, overwrite: bool, client: Any
) -> None:
    if not is_geotiff(out):
        write_product(cube, out, packing=packing, overwrite=overwrite, client=client)
        return
    if packing:
        raise click.UsageError("--packing is for Zarr products")
    with timed(f"wrote {out}"):
        write_geotiff(cube, out, form=form, overwrite=overwrite, client=client)
