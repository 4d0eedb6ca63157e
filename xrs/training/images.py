"""From a user's cube to the images a network is given."""

from __future__ import annotations

from typing import Any

import xarray as xr

from xrs.cube import to_array, with_all_dims
from xrs.errors import LayoutError, ParameterError
from xrs.operators._fusion import check_floats, common_dates
from xrs.operators.sharpen import common_area, platform_of, split_groups
from xrs.training.protocols import Images

__all__ = ["TASKS", "images_of"]

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
        raise ParameterError(f"task={task!r}", f"one of {list(TASKS)}")
    finest, coarse = _to_sharpen(cube, pan, target) if task == "sharpen" else _to_pansharpen(cube, pan, target)
    cropped, factors = common_area(finest, coarse)
    for role, group in cropped.items():
        check_floats(role, group)
    common_dates(cropped)
    sensor = platform_of(cube, cropped) if task == "sharpen" else None
    arrays = tuple(with_all_dims(group) for group in cropped.values())
    return Images(arrays, tuple(factors["fine"] // factors[name] for name in cropped), tuple(cropped)), sensor


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
