"""Spatio-temporal-spectral fusion: many bands, fine pixels and many dates, each from another sensor."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xrs.cube import (
    assign_bands,
    band_keys,
    check_time,
    geobox_of,
    nest,
    to_array,
    to_dataset,
    wavelengths,
    with_all_dims,
)
from xrs.cube.grid import describe
from xrs.errors import BandNotFoundError, GridMismatchError, ParameterError, TimeAxisError
from xrs.kernels.types import Float64
from xrs.lazy import Dates, Source, joined_dates
from xrs.methods import Binding, Method, get_method, resolve_params
from xrs.operators._fusion import apply_method, check_floats, label, observed
from xrs.operators._hsms import known_response, possible_psfs
from xrs.operators._pairs import (
    choose_pairs,
    dates_between,
    dates_to_chunks,
    days_since,
    images_at,
    match_dates,
    pick_targets,
    runs_of,
)
from xrs.operators._sensors import keys_of
from xrs.operators._uncertainty import told, with_spread
from xrs.operators.fuse_hsms import fuse_hsms
from xrs.operators.fuse_spatiotemporal import fuse_spatiotemporal
from xrs.sensors import Sensor, psf_of

__all__ = ["Sensors", "StsCase", "first_stage", "fuse_sts", "like_bands", "no_spread", "stages_of"]

Cube = xr.DataArray | xr.Dataset


@dataclass(frozen=True)
class Sensors:
    """The instruments of the three cubes, where they are known."""

    hs: str | Sensor | None = None
    ms: str | Sensor | None = None
    wide: str | Sensor | None = None


def fuse_sts(
    hyperspectral: Cube,
    multispectral: Cube,
    wide: Cube,
    method: str | Method | Sequence[str | Method],
    *,
    target_times: Any = None,
    tolerance: Any = "1D",
    pairs: int = 2,
    outside: str = "error",
    sensors: Sensors | None = None,
    psf: Any = "mtf",
    uncertainty: bool = False,
    **params: Any,
) -> Cube:
    """A method with what it needs; see :func:`xrs.fuse_sts`, which trains networks that come without a model."""
    cubes = {"hs": to_array(hyperspectral), "ms": to_array(multispectral), "wide": to_array(wide)}
    for role, cube in cubes.items():
        check_floats(role, cube)
        check_time(cube)
    sensors = Sensors() if sensors is None else sensors
    if isinstance(method, str | Method):
        chosen = {"tolerance": tolerance, "pairs": pairs, "outside": outside, "target_times": target_times}
        record = get_method(method, "sts")
        if uncertainty and not record.needs_model:
            raise no_spread(record.name)
        result, std = _joint(StsCase.of(cubes, sensors, psf), record, params, uncertainty=uncertainty, **chosen)
        if std is not None:
            return _as_of_network(told(hyperspectral, result, std, "std"))
    else:
        temporal, spectral = stages_of(method, params)
        keyed, like = first_stage(cubes, spectral, sensors, psf, tolerance, params.get("spectral", {}))
        chosen = {"tolerance": tolerance, "pairs": pairs, "outside": outside, "target_times": target_times}
        result = fuse_spatiotemporal(keyed, like, temporal, **chosen, **params.get("temporal", {}))
    return to_dataset(result) if isinstance(hyperspectral, xr.Dataset) else result


def no_spread(method: str) -> ParameterError:
    """The error of a method that cannot tell how far it is off."""
    return ParameterError(
        f"uncertainty=True for {method}", "a network that knows its errors: method='lts_mtl'", "uncertainty=False"
    )


def _as_of_network(cube: xr.Dataset) -> xr.Dataset:
    """A result with standard deviations, which say whose they are."""
    whose = "of the network's joint estimate, before what the sensors saw on the date refines it"
    for name, beside in ((n, cube[n].attrs.get("ancillary_variables")) for n in cube.data_vars):
        if beside in cube and name != beside:
            cube[beside].attrs["comment"] += f"; {whose}"
    return cube


def like_bands(cube: xr.DataArray, like: xr.DataArray) -> xr.DataArray:
    """For each band of ``like`` the one of ``cube`` nearest in wavelength, under that band's key.

    Raises
    ------
    BandNotFoundError
        If either cube has no wavelengths.
    """
    ours, theirs = wavelengths(like), wavelengths(cube)
    if np.isnan(ours).any() or np.isnan(theirs).any():
        raise BandNotFoundError(
            "bands without wavelengths",
            "a coordinate 'wavelength' in nm on both cubes",
            "xrs.cube.assign_bands(cube, keys, wavelength=[...])",
        )
    nearest = np.abs(ours[:, None] - theirs[None]).argmin(axis=1)
    taken = cube.isel(band=nearest).drop_vars(["common_name", "fwhm"], errors="ignore")
    return assign_bands(taken, band_keys(like), wavelength=ours.tolist())


def first_stage(
    cubes: Mapping[str, xr.DataArray], spectral: str | Method, sensors: Sensors, psf: Any, tolerance: Any, params: Any
) -> tuple[xr.DataArray, xr.DataArray]:
    """The bands of ``hs`` on the grid of ``ms``, on the dates of both; and of ``wide`` the bands nearest to them."""
    hs, ms = _shared_dates(cubes["hs"], cubes["ms"], tolerance)
    keyed = fuse_hsms(hs, ms, spectral, hs_sensor=sensors.hs, ms_sensor=sensors.ms, psf=psf, **params)
    return keyed, like_bands(cubes["wide"], keyed)


def stages_of(methods: Sequence[str | Method], params: Mapping[str, Any]) -> tuple[str | Method, str | Method]:
    """The two methods of two stages.

    Raises
    ------
    ParameterError
        If they are not two, or have parameters that are of neither.
    """
    if len(methods) != 2:
        raise ParameterError(f"{len(methods)} methods", "a spatio-temporal one and one of family 'hsms', in this order")
    unknown = sorted(set(params) - {"temporal", "spectral"})
    if unknown:
        raise ParameterError(
            f"a parameter {unknown[0]!r} for two methods", "temporal={...} and spectral={...}, mappings of parameters"
        )
    return methods[0], methods[1]


def _shared_dates(hs: xr.DataArray, ms: xr.DataArray, tolerance: Any) -> tuple[xr.DataArray, xr.DataArray]:
    """The dates both have, those of ``hs`` written on both."""
    found = match_dates(pd.DatetimeIndex(hs["time"].values), pd.DatetimeIndex(ms["time"].values), tolerance)
    if (found < 0).all():
        raise TimeAxisError(
            f"no date of hs ({hs['time'].values[0]} to {hs['time'].values[-1]}) is within {pd.Timedelta(tolerance)} of "
            f"one of ms ({ms['time'].values[0]} to {ms['time'].values[-1]})",
            "dates that both have",
            "a larger tolerance=",
        )
    hs = hs.isel(time=np.flatnonzero(found >= 0))
    return hs, ms.isel(time=found[found >= 0]).assign_coords(time=hs["time"].values)


@dataclass(frozen=True)
class StsCase:
    """Three cubes over the area they share, whole pixels of all grids, and what is known of their sensors.

    ``factors`` count pixels along the side of the smallest square that is whole pixels of every grid.
    """

    cubes: Mapping[str, xr.DataArray]
    factors: Mapping[str, int]
    psf: Mapping[str, Float64]
    srf: Mapping[str, Float64 | None]

    @classmethod
    def of(cls, cubes: Mapping[str, xr.DataArray], sensors: Sensors, psf: Any) -> StsCase:
        """Crop cubes ``hs``, ``ms`` and ``wide``, and resolve point spreads and responses."""
        ratios, windows = _nested({role: geobox_of(cube) for role, cube in cubes.items()})
        cropped = {role: cube.isel(windows[role]) for role, cube in cubes.items()}
        unit = math.lcm(*ratios.values())
        hs, ms, wide = (cropped[role] for role in ("hs", "ms", "wide"))
        spreads = dict(_spread_of_hs(hs, ms.sizes["band"], ratios["hs"], sensors.hs, psf))
        if ratios["wide"] > 1:
            spreads["wide"] = psf_of(sensors.wide, keys_of(wide), ratios["wide"], kind=psf)
        responses = {
            role: known_response(hs, cropped[role], sensors.hs, getattr(sensors, role), "auto")
            for role in ("ms", "wide")
        }
        return cls(cropped, {role: unit // ratio for role, ratio in ratios.items()}, spreads, responses)


def _spread_of_hs(
    hs: xr.DataArray, bands: int, ratio: int, sensor: str | Sensor | None, psf: Any
) -> Mapping[str, Float64]:
    """Taps to the grid of ``hs``: of its bands, and what its sensor would make of those of ``ms``."""
    found = possible_psfs(hs, bands, ratio, sensor, psf)
    if len(found) > 1:
        raise ParameterError("psf='estimate' for three sensors", "'mtf', 'box', 'gaussian_box' or taps")
    return found[0]


def _nested(boxes: Mapping[str, GeoBox]) -> tuple[dict[str, int], dict[str, dict[str, slice]]]:
    """Fine pixels along a pixel of each grid, and where the common area lies in each: whole pixels of all grids."""
    ms = boxes["ms"]
    ratios, corners = {"ms": 1}, {"ms": (0, 0)}
    sizes = {"ms": (ms.shape[0], ms.shape[1])}
    for role in ("hs", "wide"):
        box = boxes[role]
        same = math.isclose(box.resolution.x, ms.resolution.x, rel_tol=1e-6)
        ratios[role] = 1 if same else nest(ms, box).ratio
        column, row = (round(v) for v in ~ms.affine @ (box.affine.c, box.affine.f))
        corners[role] = (row, column)
        sizes[role] = (box.shape[0] * ratios[role], box.shape[1] * ratios[role])
    if ratios["hs"] == 1:
        raise GridMismatchError(
            "hyperspectral and multispectral cubes have pixels of one size",
            "a hyperspectral cube with larger pixels",
            "xrs.fuse_spatiotemporal(hyperspectral, wide) needs no multispectral cube",
        )
    unit = math.lcm(*ratios.values())
    windows: dict[str, dict[str, slice]] = {role: {} for role in boxes}
    for axis, dim in enumerate(("y", "x")):
        first = max(corner[axis] for corner in corners.values())
        last = min(corners[role][axis] + sizes[role][axis] for role in boxes)
        starts = [
            s for s in range(first, first + unit)
            if all((s - corners[role][axis]) % ratios[role] == 0 for role in boxes)
        ]  # fmt: skip
        count = (last - starts[0]) // unit if starts else 0
        if count < 1:
            raise GridMismatchError(
                "the grids share no square of whole pixels of all: "
                + ", ".join(f"{role} {describe(box)}" for role, box in boxes.items()),
                f"{unit} by {unit} pixels of the finest in common, with edges of pixels of the others around",
                "xrs.regrid one of them",
            )
        for role in boxes:
            begin = (starts[0] - corners[role][axis]) // ratios[role]
            windows[role][dim] = slice(begin, begin + count * unit // ratios[role])
    return ratios, windows


def _joint(
    case: StsCase,
    record: Method,
    params: Mapping[str, Any],
    *,
    tolerance: Any,
    pairs: int,
    outside: str,
    target_times: Any,
    uncertainty: bool,
) -> tuple[xr.DataArray, xr.DataArray | None]:
    """The result, and standard deviations if asked for."""
    params = resolve_params(record, params)
    hs, ms, wide = (case.cubes[role] for role in ("hs", "ms", "wide"))
    targets = pick_targets(target_times, wide)
    # So that a day is a day of the year to those who ask for it.
    start = pd.Timestamp(targets[0].year, 1, 1)
    partners = {role: _partners(case.cubes[role], wide, role, tolerance) for role in ("hs", "ms")}
    # Hours between the sensors do not count: dates are those on which the wide one saw the place.
    seen_on = {role: images_at(wide, dates, tolerance)["time"].values for role, (_, dates) in partners.items()}
    if target_times is None and outside == "error":
        for seen in seen_on.values():
            targets = dates_between(targets, seen) if len(seen) > 1 else targets
        if not targets.size:
            raise TimeAxisError(
                "no date of wide lies between those of hs and between those of ms",
                "dates that both embrace",
                "outside='nearest' to predict them from the nearest dates",
            )
    binding = Binding(params, record.needs, record.passes)
    if record.bind is not None:
        unit = max(case.factors.values())
        images = {role: observed(cube, unit // case.factors[role]) for role, cube in case.cubes.items()}
        binding = record.bind(images, ("hs",), **params)
    if uncertainty:
        binding = with_spread(binding, None)
    choices = [
        tuple(_chosen(partners[role][0], days_since(seen_on[role], start), t, pairs, outside) for role in ("hs", "ms"))
        for t in days_since(images_at(wide, targets, tolerance)["time"].values, start)
    ]
    parts = []
    for run, (of_hs, of_ms) in runs_of(choices):
        keyed = {"hs": hs.isel(time=list(of_hs)), "ms": ms.isel(time=list(of_ms))}
        keyed |= {
            f"wide_{role}": images_at(wide, pd.DatetimeIndex(cube["time"].values), tolerance)
            for role, cube in keyed.items()
        }
        target = images_at(wide, targets[run], tolerance)
        days = {role: days_since(cube["time"].values, start) for role, cube in keyed.items()}
        dates = Dates(days | {"target": days_since(targets[run].values, start)}, dates_to_chunks(len(targets[run])))
        sources = {
            role: Source(with_all_dims(cube).data, case.factors[role.split("_")[0]], steady=True)
            for role, cube in keyed.items()
        }
        sources["target"] = Source(with_all_dims(target).data, case.factors["wide"])
        parts.append(_predict(case, record, binding, sources, dates))
    like = hs.isel(time=[0] * targets.size).assign_coords(time=targets.values)
    whole, count = joined_dates(parts), hs.sizes["band"]

    def labelled(values: Any) -> xr.DataArray:
        return label(values, like, ms, method=record, family="fuse_sts", params=params, beside=[ms, wide])

    return labelled(whole[:, :count]), labelled(whole[:, count:]) if uncertainty else None


def _partners(
    cube: xr.DataArray, wide: xr.DataArray, role: str, tolerance: Any
) -> tuple[NDArray[np.int64], pd.DatetimeIndex]:
    """Which dates of a cube the wide one saw too, and these dates."""
    found = match_dates(pd.DatetimeIndex(cube["time"].values), pd.DatetimeIndex(wide["time"].values), tolerance)
    if (found < 0).all():
        raise TimeAxisError(
            f"no date of {role} ({cube['time'].values[0]} to {cube['time'].values[-1]}) is within "
            f"{pd.Timedelta(tolerance)} of one of wide ({wide['time'].values[0]} to {wide['time'].values[-1]})",
            "dates that both have",
            "a larger tolerance=",
        )
    usable = np.flatnonzero(found >= 0)
    return usable, pd.DatetimeIndex(cube["time"].values[usable])


def _chosen(usable: NDArray[np.int64], days: Float64, target: float, pairs: int, outside: str) -> tuple[int, ...]:
    inside = days[0] <= target <= days[-1]
    fewest = min(pairs, days.size) if outside == "nearest" or not inside else 1
    found = choose_pairs(target, days, fewest, min(pairs, days.size), outside=outside)
    return tuple(int(usable[k]) for k in found)


def _predict(case: StsCase, method: Method, binding: Binding, sources: Mapping[str, Source], dates: Dates) -> Any:
    named = {p.name for p in method.params}
    known = {"psf": case.psf, "srf": case.srf}
    full = dict(binding.params) | {name: value for name, value in known.items() if name in named}
    spread = bool(binding.params.get("spread"))
    return apply_method(
        method,
        replace(binding, params=full),
        sources,
        bands=int(sources["hs"].array.shape[1]) * (1 + spread),
        factor=case.factors["ms"],
        dates=dates,
    )
