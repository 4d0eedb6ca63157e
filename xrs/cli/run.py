"""``xrs run``: from a STAC catalogue to a Zarr product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click
import xarray as xr

from xrs.cli._catalogue import open_catalogue
from xrs.cli._options import Command, Setting, SeveralValues, catalogue_options, compute_options, store_options
from xrs.cli._session import computing, say, timed, when_stopped
from xrs.cube import band_keys

__all__ = ["fused_bands", "run", "write_product"]


@click.command(cls=Command)
@click.argument("catalog")
@click.argument("out")
@catalogue_options
@click.option("--method", metavar="NAME", help="Sharpens the coarse bands; see `xrs methods sharpen`.")
@click.option("--set", "settings", cls=SeveralValues, type=Setting(), help="Parameters of the sharpening method.")
@click.option("--sensor", metavar="NAME", help="The instrument; taken from the catalogue if not given.")
@click.option("--index", "indices", cls=SeveralValues, metavar="NAME ...", help="Spectral indices, such as NDVI NDRE1.")
@click.option("--constant", "constants", cls=SeveralValues, type=Setting(), help="Constants of the indices.")
@click.option("--smooth", metavar="METHOD", help="Smooths and fills along time; see `xrs methods temporal`.")
@click.option("--smooth-set", cls=SeveralValues, type=Setting(), help="Parameters of the smoothing method.")
@click.option("--every", metavar="STEP", help="Regular dates of the smoothed cube, such as 5D.")
@click.option("--keep-bands", is_flag=True, help="Store the sharpened bands beside the indices.")
@store_options
@click.option("--title", help="Title of the product.")
@compute_options
def run(
    catalog: str,
    out: str,
    method: str | None,
    settings: Sequence[tuple[str, Any]],
    sensor: str | None,
    indices: Sequence[str],
    constants: Sequence[tuple[str, Any]],
    smooth: str | None,
    smooth_set: Sequence[tuple[str, Any]],
    every: str | None,
    keep_bands: bool,
    packing: str | None,
    overwrite: bool,
    title: str | None,
    workers: int | None,
    scheduler_address: str | None,
    **filters: Any,
) -> None:
    """Sharpen the scenes of a STAC catalogue, compute indices, smooth them, and write a Zarr product.

    CATALOG is a file or URL of a STAC catalogue, collection, item collection or API; OUT the product, a path or URL.
    A run that was stopped goes on where it stopped when it is started again in the same way. Without --index the
    product holds the sharpened bands.

    \b
    Example:
      xrs run catalog.json out.zarr --index NDVI NDRE1 --smooth whittaker --every 5D
    """  # noqa: D301  # click wants the character, not the escape
    if (every or smooth_set) and not smooth:
        raise click.UsageError("--every and --smooth-set need --smooth")
    if (constants or keep_bands) and not indices:
        raise click.UsageError("--constant and --keep-bands need --index")
    tree = open_catalogue(catalog, **filters)
    wanted = None if keep_bands else indices
    cube = fused_bands(tree, method, sensor, dict(settings), wanted)
    if indices:
        cube = _with_indices(cube, indices, dict(constants), keep_bands)
    if smooth:
        from xrs.operators.smooth import smooth as smoothed

        cube = smoothed(cube, smooth, times=every, **dict(smooth_set))
    with computing(workers, scheduler_address) as client:
        write_product(cube, out, packing=packing, overwrite=overwrite, title=title, client=client)


def fused_bands(
    tree: xr.DataTree,
    method: str | None,
    sensor: str | None,
    settings: Mapping[str, Any],
    indices: Sequence[str] | None = None,
) -> xr.Dataset:
    """All bands, or those that indices need, on the finest grid; those of a single grid as they are."""
    groups = {name: node.to_dataset() for name, node in tree.children.items() if band_keys(node.to_dataset())}
    if len(groups) == 1:
        (only,) = groups.values()
        say("all bands are on one grid: nothing to sharpen")
        kept = only[band_keys(only)]
        return kept.map(_without_ancillary, keep_attrs=True)
    from xrs.methods import get_method
    from xrs.operators.sharpen import sharpen

    chosen = settings if method is None else {"method": method, **settings}
    fine = sharpen(tree, sensor=sensor, **chosen)
    needed = _coarse_bands_of(indices or (), fine, tree)
    if needed and get_method(fine.attrs["xrs:method"], "sharpen").bandwise:
        return sharpen(tree, sensor=sensor, bands=needed, **chosen)
    return fine


def write_product(
    cube: xr.DataArray | xr.Dataset,
    out: str,
    *,
    packing: str | None,
    overwrite: bool,
    title: str | None = None,
    client: Any = None,
) -> None:
    """Write a product and tell what it is, or how to go on if stopped."""
    from xrs.io.product import product_status, to_product

    status = product_status(out)
    if status.state == "incomplete" and not overwrite:
        say(f"{out} is half written: going on after {status.finished} of {status.regions} regions")
    when_stopped("What was written is kept: run the same command again to go on where it stopped.")
    with timed(f"wrote {_described(cube)} to {out}"):
        to_product(cube, out, packing=packing, overwrite=overwrite, title=title, client=client)


def _coarse_bands_of(indices: Sequence[str], fine: xr.Dataset, tree: xr.DataTree) -> list[str]:
    """The sharpened bands that indices need: others need not be read where each band is sharpened on its own."""
    from xrs.indices import get_index, match_bands
    from xrs.operators.sharpen import split_groups

    used = {key for name in indices for key in match_bands(fine, get_index(name).bands).values()}
    coarse = {key for group in split_groups(tree)[1].values() for key in band_keys(group)}
    return [key for key in band_keys(fine) if key in used & coarse]


def _with_indices(
    cube: xr.Dataset, indices: Sequence[str], constants: Mapping[str, Any], keep_bands: bool
) -> xr.Dataset:
    from xrs.operators.index import index

    found = index(cube, list(indices), **constants)
    return found.assign(dict(cube.data_vars)) if keep_bands else found


def _without_ancillary(band: xr.DataArray) -> xr.DataArray:
    return band.assign_attrs({k: v for k, v in band.attrs.items() if k != "ancillary_variables"})


def _described(cube: xr.DataArray | xr.Dataset) -> str:
    names = ", ".join(map(str, cube.data_vars)) if isinstance(cube, xr.Dataset) else str(cube.name or "one cube")
    sizes = " by ".join(str(cube.sizes[dim]) for dim in ("y", "x"))
    dates = f" on {cube.sizes['time']} dates" if "time" in cube.dims else ""
    return f"{names}{dates}, {sizes} pixels,"
