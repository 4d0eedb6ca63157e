"""What every fusion verb does: check the observations, hand them to ``lazy``, label the result."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from xrs.cube import (
    DIMS,
    assign_bands,
    assign_geobox,
    band_keys,
    geobox_of,
    provenance,
    to_json,
    wavelengths,
    with_all_dims,
)
from xrs.cube.bands import BAND_COORDS
from xrs.errors import RadiometryError, TimeAxisError
from xrs.lazy import Dates, Source, map_tiles
from xrs.lazy.plan import check_some
from xrs.methods import Binding, Method
from xrs.models import ImageSpec, Observed

__all__ = ["apply_method", "check_floats", "common_dates", "fuse", "label", "observed", "with_bands"]

#: What methods of these families know holds for reflectance alone; others fuse values of any unit.
_OF_REFLECTANCE = ("retrieval", "spectral")


def check_floats(role: str, cube: xr.DataArray) -> None:
    """Refuse integers, whose nodata value would be fused as if it were light, and cubes that hold nothing."""
    check_some(role, [cube.sizes.get(dim, 1) for dim in DIMS])
    if cube.dtype.kind != "f":
        raise RadiometryError(
            f"{role} holds {cube.dtype}",
            "floating-point values with NaN where nothing was seen",
            f"{role}.where({role} != nodata).astype('float32'), and scale and offset if it has them",
        )


def common_dates(observations: Mapping[str, xr.DataArray]) -> dict[str, xr.DataArray]:
    """Check that all observations that have dates have the same ones.

    Raises
    ------
    TimeAxisError
        If dates differ, or only some have dim ``time``.
    """
    dated = {role: cube for role, cube in observations.items() if "time" in cube.dims}
    if not dated:
        return dict(observations)
    undated = [role for role in observations if role not in dated]
    if undated:
        raise TimeAxisError(
            f"{', '.join(dated)} have dim 'time' and {', '.join(undated)} have none",
            "the same dates on all",
            "select one date of the first, or give the others dim 'time' with expand_dims(time=...)",
        )
    (first, one), *others = dated.items()
    for role, other in others:
        if one.sizes["time"] != other.sizes["time"] or not _equal_times(one, other):
            both = _both_have_times(one, other)
            only = np.setxor1d(one["time"].values, other["time"].values) if both else np.array([])
            raise TimeAxisError(
                f"{first} has {one.sizes['time']} dates and {role} {other.sizes['time']}"
                + (f"; only in one of them: {only[:3]}" if len(only) else ""),
                "the same dates on all",
                f"select the dates both have: {first}.sel(time={role}.time)",
            )
    return dict(observations)


def fuse(
    method: Method,
    observations: Mapping[str, xr.DataArray],
    factors: Mapping[str, int],
    binding: Binding,
    *,
    carriers: tuple[str, ...],
    factor: int,
    spatial_params: Mapping[str, Any],
    shared: Mapping[str, Any] | None = None,
    bands: int = 0,
    made: int = 0,
) -> Any:
    """Run a spatial method over observations that were cropped to one area.

    ``spatial_params`` are those only the operator knows (``psf``); a method gets the ones it names, and all that is
    ``shared``. It puts out the bands of the ``carriers``, or as many others as ``bands``; on the way to them
    it makes as many as ``made``.
    """
    named = {p.name for p in method.params}
    full = dict(binding.params) | {k: v for k, v in spatial_params.items() if k in named}
    bound = method.family in _OF_REFLECTANCE
    sources = {
        role: Source(with_all_dims(cube).data, factors[role], reflectance=bound) for role, cube in observations.items()
    }
    return apply_method(
        method,
        replace(binding, params=full),
        sources,
        bands=bands or sum(sources[c].array.shape[1] for c in carriers),
        factor=factor,
        shared=shared,
        carriers=carriers,
        made=made,
    )


def apply_method(
    method: Method,
    binding: Binding,
    sources: Mapping[str, Source],
    *,
    bands: int,
    factor: int,
    shared: Mapping[str, Any] | None = None,
    carriers: tuple[str, ...] = (),
    dates: Dates | None = None,
    made: int = 0,
) -> Any:
    """Hand a method with all its parameters to ``lazy``: those that are ``shared`` once, the others with every task."""
    large = {p.name for p in method.params if p.shared}
    return map_tiles(
        method.apply,
        sources,
        bands=bands,
        factor=factor,
        halo=method.halo({name: source.factor for name, source in sources.items()}, **binding.params),
        block=binding.block or method.block,
        passes=binding.passes,
        params={name: value for name, value in binding.params.items() if name not in large},
        shared={name: binding.params[name] for name in large} | dict(shared or {}),
        carriers=carriers,
        bandwise=method.bandwise,
        dates=dates,
        made=made,
        name=f"xrs-{method.name}",
    )


def observed(cube: xr.DataArray, ratio: int) -> Observed:
    """What a method that fits only certain bands must know of an observation."""
    if "band" not in cube.coords:
        count = cube.sizes.get("band", 1)
        return Observed(("",) * count, (math.nan,) * count, ratio)
    return Observed(tuple(band_keys(cube)), tuple(float(w) for w in wavelengths(cube)), ratio)


def label(
    data: Any,
    like: xr.DataArray,
    on: xr.DataArray,
    *,
    method: Method,
    family: str,
    params: Mapping[str, Any],
    beside: Sequence[xr.DataArray] = (),
) -> xr.DataArray:
    """A result with the bands and dates of ``like`` and the very grid of ``on``; ``beside`` had a part in it too."""
    kept = {
        name: coord
        for name, coord in like.coords.items()
        if name in (*BAND_COORDS, "band", "time") or coord.dims == ("time",)
    }
    # Without a name xarray would take the Dask key.
    result = xr.DataArray(data, dims=("time", "band", "y", "x")).rename(like.name)
    result = result.isel({d: 0 for d in ("time", "band") if d not in like.dims})
    result = assign_geobox(result.assign_coords(kept), geobox_of(on))
    # Coordinates made anew differ in the last digits, and sums of the two would lose pixels silently.
    result = result.assign_coords({d: (d, on[d].values, result[d].attrs) for d in ("y", "x")})
    shown = {"method": method.name, **params}
    result.attrs = provenance(like, f"{family}", shown, doi=method.reference.doi)
    result.attrs["xrs:method"] = method.name
    result.attrs |= _sources([like, *beside])
    return result


def with_bands(
    cube: xr.DataArray, bands: ImageSpec, times: Any = None, *, common_names: Sequence[str] = ()
) -> xr.DataArray:
    """A cube's first image under the names of other bands and dates: what a result is labelled like."""
    first = cube.expand_dims(band=1) if "band" not in cube.dims else cube
    first = first.isel(band=[0] * len(bands.bands))
    if times is not None:
        first = first.isel(time=[0] * len(times)).assign_coords(time=times)
    first = first.drop_vars([name for name, coord in first.coords.items() if "band" in coord.dims])
    first = assign_bands(
        first,
        bands.bands,
        common_name=common_names if any(common_names) else None,
        wavelength=bands.wavelengths or None,
        fwhm=bands.fwhm or None,
    )
    # It is no image of that instrument any more.
    first.attrs.pop("platform", None)
    return first


def _sources(cubes: Sequence[xr.DataArray]) -> dict[str, str]:
    """What all cubes were read from."""
    collections = _each(cubes, "xrs:collections", lambda text: text.split(", "))
    items = _each(cubes, "xrs:sources", json.loads)
    told = {"xrs:collections": ", ".join(collections), "xrs:sources": to_json(items) if items else ""}
    return {name: text for name, text in told.items() if text}


def _each(cubes: Sequence[xr.DataArray], name: str, names_in: Callable[[str], list[str]]) -> list[str]:
    found = [names_in(cube.attrs[name]) for cube in cubes if isinstance(cube.attrs.get(name), str)]
    return list(dict.fromkeys(one for many in found for one in many))


def _both_have_times(one: xr.DataArray, other: xr.DataArray) -> bool:
    return "time" in one.coords and "time" in other.coords


def _equal_times(one: xr.DataArray, other: xr.DataArray) -> bool:
    return not _both_have_times(one, other) or bool((one["time"].values == other["time"].values).all())
