"""From a user's cubes to the images a network is given, and what a card says of them."""

from __future__ import annotations

import math
from typing import Any

import xarray as xr

from xrs.cube import band_keys, geobox_of, shared_pixels, to_array, wavelengths, with_all_dims
from xrs.cube.bands import band_widths
from xrs.errors import LayoutError, ParameterError
from xrs.models import ImageSpec
from xrs.operators._fusion import check_floats, common_dates
from xrs.operators.sharpen import common_area, platform_of, split_groups
from xrs.training.protocols import Images

__all__ = ["TASKS", "facts_of", "images_of", "images_of_pair", "spec_of"]

TASKS = ("sharpen", "pansharpen")


def images_of(cube: Any, pan: Any, task: str, target: str | None) -> tuple[Images, str | None]:
    """The images of a task, and the sensor that a cube to sharpen names, if it does.

    Raises
    ------
    ParameterError, LayoutError
        If the task is unknown, or cube and pan do not belong to it.
    GridMismatchError, RadiometryError, TimeAxisError
        If the grids do not nest, values are integers, or dates differ.
    """
    if task not in TASKS:
        raise ParameterError(f"task={task!r}", f"one of {[*TASKS, 'spectral']}")
    finest, coarse = _to_sharpen(cube, pan, target) if task == "sharpen" else _to_pansharpen(cube, pan, target)
    cropped, factors = common_area(finest, coarse)
    for role, group in cropped.items():
        check_floats(role, group)
    common_dates(cropped)
    sensor = platform_of(cube, cropped) if task == "sharpen" else None
    arrays = tuple(with_all_dims(group) for group in cropped.values())
    return Images(arrays, tuple(factors["fine"] // factors[name] for name in cropped), tuple(cropped)), sensor


def images_of_pair(ms: Any, hs: Any) -> tuple[Images, xr.DataArray]:
    """The images of a multispectral cube on one or several grids, and a hyperspectral one on the finest of these grids.

    All are cropped to the area they share. Pixels, dates and types are checked.

    Raises
    ------
    GridMismatchError
        If the pixels of ``hs`` do not lie on those of the finest group, none is shared, or groups do not nest.
    LayoutError, RadiometryError, TimeAxisError
        If bands have no keys, values are integers, or dates differ.
    """
    one_grid = isinstance(ms, xr.DataArray | xr.Dataset)
    finest, coarse = (to_array(ms), {}) if one_grid else split_groups(ms)
    target = to_array(hs)
    cubes = {"ms": finest, **coarse, "hs": target}
    for role, cube in cubes.items():
        check_floats(role, cube)
        band_keys(cube)
    common_dates(cubes)
    finest = finest.isel(shared_pixels(geobox_of(finest), geobox_of(target))[0])
    cropped, factors = common_area(finest, coarse) if coarse else ({"fine": finest}, {"fine": 1})
    finest = cropped.pop("fine")
    target = target.isel(shared_pixels(geobox_of(target), geobox_of(finest))[0])
    arrays = tuple(with_all_dims(cube) for cube in (finest, *cropped.values()))
    ratios = (1, *(factors["fine"] // factors[name] for name in cropped))
    return Images(arrays, ratios, ("ms", *cropped)), with_all_dims(target)


def spec_of(cube: xr.DataArray, ratio: int = 1) -> ImageSpec:
    """What a card says of a cube's bands; a pan needs none."""
    named = "band" in cube.coords
    keys = band_keys(cube) if named or cube.sizes["band"] > 1 else ["pan"]
    centres, widths = (tuple(float(nm) for nm in told(cube)) if named else () for told in (wavelengths, band_widths))
    return ImageSpec(tuple(keys), ratio, *(nm if any(map(math.isfinite, nm)) else () for nm in (centres, widths)))


def facts_of(cube: xr.DataArray, *others: xr.DataArray) -> dict[str, Any]:
    """Where and when a cube was taken, or several."""
    if others:
        return {"scenes": [facts_of(one) for one in (cube, *others)]}
    box = geobox_of(cube)
    return {
        "title": str(cube.attrs.get("title", "")),
        "platform": str(cube.attrs.get("platform", "")),
        "crs": "" if box.crs is None else f"EPSG:{box.crs.epsg}" if box.crs.epsg else box.crs.to_wkt(),
        "bounds": list(box.boundingbox.bbox),
        "pixel": abs(box.affine.a),
        "dates": [str(date)[:10] for date in cube["time"].values[[0, -1]]] if "time" in cube.coords else [],
    }


def _to_sharpen(cube: Any, pan: Any, target: str | None) -> tuple[xr.DataArray, dict[str, xr.DataArray]]:
    if pan is not None:
        raise ParameterError("a pan for task='sharpen'", "groups of several resolutions", "task='pansharpen'")
    finest, coarse = split_groups(cube)
    last = target or next(iter(coarse))
    if last not in coarse:
        raise ParameterError(f"target={target!r}", f"one of the coarse groups {list(coarse)}")
    names = list(coarse)
    return finest, {name: coarse[name] for name in names[: names.index(last) + 1]}


def _to_pansharpen(cube: Any, pan: Any, target: str | None) -> tuple[xr.DataArray, dict[str, xr.DataArray]]:
    if target is not None:
        raise ParameterError(f"target={target!r} for task='pansharpen'", "no target: the bands of the cube are it")
    if pan is None or not isinstance(cube, xr.DataArray | xr.Dataset):
        found = "no pan" if pan is None else f"a {type(cube).__name__}"
        raise LayoutError(f"found {found} for task='pansharpen'", "xrs.train(ms, pan, task='pansharpen', ...)")
    fine = to_array(pan)
    if fine.sizes.get("band", 1) != 1:
        raise LayoutError(f"pan has {fine.sizes['band']} bands", "one panchromatic band", "pan.sel(band=...)")
    return fine, {"ms": to_array(cube)}
