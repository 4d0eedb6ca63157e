"""Sharpening: the coarse bands of one sensor on its finest grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from xrs.cube import band_keys, describe, geobox_of, nest, to_array, to_dataset, wavelengths, with_all_dims
from xrs.errors import BandNotFoundError, GridMismatchError, LayoutError
from xrs.methods import Binding, Method, get_method, resolve_params
from xrs.models import Observed
from xrs.operators._fusion import check_floats, common_dates, fuse, label, observed
from xrs.operators._refine import injection, refine
from xrs.operators._sensors import without_layers
from xrs.operators._uncertainty import check_asked, residual, with_ancillaries, with_spread
from xrs.sensors import Sensor, known_sensor, psf_of

__all__ = ["Groups", "common_area", "platform_of", "sharpen", "split_groups"]

Groups = xr.DataTree | Mapping[str, xr.DataArray | xr.Dataset]


def sharpen(
    cube: Groups,
    method: str | Method = "supreme",
    *,
    bands: list[str] | None = None,
    sensor: str | Sensor | None = None,
    psf: Any = "mtf",
    inject: str | Method | Mapping[str, Any] | None = None,
    uncertainty: bool = False,
    **params: Any,
) -> xr.Dataset:
    """Bring all bands of a sensor with several resolutions to its finest grid.

    Parameters
    ----------
    cube : xarray.DataTree or mapping of str to xarray.Dataset
        A group for each grid (``r10m``, ``r20m``, ``r60m``), floating point; the grids nest. Variables of
        other types (quality layers) are left out.
    method : str or Method
        See ``xrs.list_methods("sharpen")``: methods made for the case, and all pansharpening methods
        with a pan synthesised (or selected, ``pan="selected"``) for each coarse band.
    bands : list of str, optional
        Coarse bands to sharpen; all of them if not given.
    sensor : str or Sensor, optional
        The instrument; taken from the attribute ``platform`` if that names one.
    psf : {"mtf", "box", "gaussian_box"}, tuple, or mapping of group to array (band, tap)
        The point spread from the finest grid to each coarse one; see :func:`xrs.sensors.psf_of`.
    inject : str, Method or mapping, optional
        A method that improves the result; see :func:`xrs.pansharpen`.
    uncertainty : bool
        Whether to tell of each sharpened band's errors in a further variable, lazy like the band. Of a network that
        was trained with uncertainty, ``<band>_std``: the band +- 1.645 of it is its 90 % interval, scaled so that it
        covered 90 % of held-out places at the scale of training (under Wald's protocol a coarser one; at the scene's
        own scale no one can tell). Of any other method ``<band>_residual``: the local root mean square of what was
        observed minus the result seen through the point spread, which is no error bar, as the point spread hides
        detail. The band names it in its attribute ``ancillary_variables``; verbs do not take it for a band.
    **params
        Parameters of the method. A network takes ``model``: a :class:`xrs.models.Model`, a path or a name, or a list
        of them, one for each coarse group that is sharpened. Without it shipped weights are taken where they fit;
        else it learns from the scene when the result is computed.

    Returns
    -------
    xarray.Dataset
        All bands on the finest grid in the order of their wavelengths; those that were there already
        are unchanged. Lazy if any input is. A sharpened pixel is NaN where a fine band or its own coarse
        pixel is missing.

    Raises
    ------
    LayoutError
        If there are not at least two grids.
    ModelCardError
        If a network's models were made for other bands, wavelengths or ratios, or a group to be sharpened has none,
        or they know nothing of their errors and ``uncertainty`` is asked for.
    GridMismatchError, RadiometryError, TimeAxisError, BandNotFoundError
        As :func:`xrs.pansharpen`.

    Examples
    --------
    >>> import numpy as np, xarray as xr, xrs
    >>> def group(n, size, *keys):
    ...     centres = (np.arange(n) + 0.5) * size
    ...     values = np.random.default_rng(n).random((n, n), dtype="float32")
    ...     return xr.Dataset({k: (("y", "x"), values) for k in keys}, {"y": centres[::-1], "x": centres})
    >>> s2 = xr.DataTree.from_dict({"r10m": group(32, 10.0, "B04", "B08"), "r20m": group(16, 20.0, "B8A", "B11")})
    >>> fine = s2.rsfuse.sharpen(method="sfim")
    >>> list(fine), dict(fine.sizes)
    (['B04', 'B08', 'B8A', 'B11'], {'y': 32, 'x': 32})
    """
    record = get_method(method, "sharpen")
    check_asked(uncertainty)
    params = resolve_params(record, params)
    finest, coarse = split_groups(cube)
    wanted = coarse if bands is None else _select(coarse, bands)
    if record.bind is None:
        coarse, binding = wanted, Binding(params, ("fine", *wanted), record.passes)
    else:
        binding = record.bind(_observed(finest, coarse), tuple(wanted), **params)
        coarse = {name: group for name, group in coarse.items() if name in binding.used}
    # As bound: the model that was taken, given or not.
    shown = {name: binding.params[name] for name in params}
    cropped, factors = common_area(finest, coarse)
    for role, group in cropped.items():
        check_floats(role, group)
    common_dates(cropped)
    sensor = sensor or platform_of(cube, cropped)
    taps = {
        name: psf[name]
        if isinstance(psf, Mapping)
        else psf_of(sensor, band_keys(cropped[name]), factors["fine"] // factors[name], kind=psf)
        for name in coarse
    }
    spread = uncertainty and record.needs_model
    data = fuse(
        record,
        cropped,
        factors,
        with_spread(binding, inject) if spread else binding,
        carriers=tuple(wanted) * (1 + spread),
        factor=factors["fine"],
        spatial_params={"psf": taps, "guide_psf": _guide_taps(cropped, factors, sensor, psf)},
    )
    if inject is not None:
        chosen, fine = injection(inject), with_all_dims(cropped["fine"]).data

        def improved(part: Any, seen: Any, psf: Any) -> Any:
            return refine(chosen, part, fine, seen, psf)

        data = _by_group(data, cropped, tuple(wanted), taps, improved)
        shown["inject"] = inject
    keys = xr.concat([_band_labels(cropped[name]) for name in wanted], dim="band")
    like = cropped["fine"].isel(band=[0] * keys.sizes["band"]).drop_vars(list(_BAND_VARS), errors="ignore")
    like = like.assign_coords(keys.coords)

    def labelled(values: Any) -> xr.Dataset:
        cube = label(values, like, cropped["fine"], method=record, family="sharpen", params=shown)
        if record.bind is not None and bands is not None:
            # A network gives whole groups.
            cube = cube.sel(band=[key for group in wanted.values() for key in band_keys(group)])
        return to_dataset(cube)

    count = keys.sizes["band"]
    result = _in_order(to_dataset(cropped["fine"]), labelled(data[:, :count]))
    if spread:
        return with_ancillaries(result, labelled(data[:, count:]), "std")
    if uncertainty:
        misfit = _by_group(data, cropped, tuple(wanted), taps, residual)
        return with_ancillaries(result, labelled(misfit), "residual")
    return result


def _guide_taps(
    groups: Mapping[str, xr.DataArray], factors: Mapping[str, int], sensor: str | Sensor | None, psf: Any
) -> dict[str, dict[str, Any]]:
    """For each coarse group, the point spread of every group to a grid coarser by that group's ratio."""
    kind = "mtf" if isinstance(psf, Mapping) else psf
    ratios = {name: factors["fine"] // factor for name, factor in factors.items() if name != "fine"}
    return {
        target: {name: psf_of(sensor, band_keys(group), ratio, kind=kind) for name, group in groups.items()}
        for target, ratio in ratios.items()
    }


def _by_group(
    data: Any,
    groups: Mapping[str, xr.DataArray],
    sharpened: tuple[str, ...],
    taps: Mapping[str, Any],
    make: Callable[[Any, Any, Any], Any],
) -> Any:
    """What ``make(bands, observed, taps)`` makes of the sharpened bands of each coarse group, joined."""
    first, parts = 0, []
    for name in sharpened:
        coarse = with_all_dims(groups[name]).data
        parts.append(make(data[:, first : first + coarse.shape[1]], coarse, taps[name]))
        first += coarse.shape[1]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


_BAND_VARS = ("band", "common_name", "wavelength", "fwhm")


def split_groups(cube: Groups) -> tuple[xr.DataArray, dict[str, xr.DataArray]]:
    """The finest group of a sensor's cube, and the coarser ones by name, finest first."""
    return _by_resolution(_groups(cube))


def _groups(cube: Groups) -> dict[str, xr.DataArray]:
    if isinstance(cube, xr.DataTree):
        members = {node.name: node.to_dataset(inherit=True) for node in cube.subtree if node.has_data}
        found: dict[str, Any] = {str(name): ds for name, ds in members.items()}
    elif isinstance(cube, Mapping):
        found = {str(name): group for name, group in cube.items()}
    else:
        raise LayoutError(
            f"found a {type(cube).__name__}",
            "a DataTree (or mapping) with a group for each grid",
            "xr.DataTree.from_dict({'r10m': ..., 'r20m': ...})",
        )
    clean = {n: without_layers(group) for n, group in found.items()}
    arrays = {n: to_array(group) for n, group in clean.items() if isinstance(group, xr.DataArray) or band_keys(group)}
    if len(arrays) < 2:
        raise LayoutError(
            f"found {len(arrays)} group(s) with bands: {list(arrays)}",
            "two grids or more",
            "put the bands of each resolution into a group of a DataTree",
        )
    return arrays


def _by_resolution(groups: Mapping[str, xr.DataArray]) -> tuple[xr.DataArray, dict[str, xr.DataArray]]:
    sizes = {name: abs(geobox_of(g).affine.a) for name, g in groups.items()}
    ordered = sorted(groups, key=lambda name: sizes[name])
    if len(set(sizes.values())) < len(sizes):
        raise GridMismatchError(
            f"two groups have the same pixel size: { {n: sizes[n] for n in ordered} }", "one group for each grid"
        )
    return groups[ordered[0]], {name: groups[name] for name in ordered[1:]}


def _select(coarse: Mapping[str, xr.DataArray], bands: list[str]) -> dict[str, xr.DataArray]:
    known = {key: name for name, group in coarse.items() for key in band_keys(group)}
    missing = [b for b in bands if b not in known]
    if missing:
        raise BandNotFoundError(f"no coarse bands {missing}", f"some of {list(known)}")
    chosen = {name: [b for b in bands if known[b] == name] for name in coarse}
    return {name: coarse[name].sel(band=keys) for name, keys in chosen.items() if keys}


def _observed(finest: xr.DataArray, coarse: Mapping[str, xr.DataArray]) -> dict[str, Observed]:
    groups = {"fine": finest, **coarse}
    sizes = {name: abs(geobox_of(group).affine.a) for name, group in groups.items()}
    return {name: observed(group, round(sizes[name] / sizes["fine"])) for name, group in groups.items()}


def common_area(
    finest: xr.DataArray, coarse: Mapping[str, xr.DataArray]
) -> tuple[dict[str, xr.DataArray], dict[str, int]]:
    """Crop all groups to whole pixels of the coarsest; also the factor of each.

    The finest comes first, under the name ``fine``. Raises GridMismatchError if grids do not nest.
    """
    cropped: dict[str, xr.DataArray] = {}
    ratios: dict[str, int] = {}
    # The coarsest first: the area left is whole pixels of it, and so of all others that nest. A second
    # round, since a finer group that covers less may have cropped the area again.
    for _ in range(2):
        for name in reversed(list(coarse)):
            nesting = nest(geobox_of(finest), geobox_of(coarse[name]))
            finest = finest.isel(nesting.fine_window)
            cropped[name], ratios[name] = coarse[name].isel(nesting.coarse_window), nesting.ratio
    largest = max(ratios.values())
    for name, ratio in ratios.items():
        if largest % ratio:
            raise GridMismatchError(
                f"the ratios {ratios} to the finest grid do not divide each other",
                "grids that nest in each other",
                f"leave out the group {name!r}, or sharpen in two steps",
            )
    _check_whole(cropped, finest, ratios)
    factors = {"fine": largest} | {name: largest // ratios[name] for name in coarse}
    ordered = {"fine": finest} | {name: cropped[name] for name in coarse}
    return ordered, factors


def _check_whole(cropped: Mapping[str, xr.DataArray], finest: xr.DataArray, ratios: Mapping[str, int]) -> None:
    for name, group in cropped.items():
        if group.sizes["y"] * ratios[name] != finest.sizes["y"] or group.sizes["x"] * ratios[name] != finest.sizes["x"]:
            raise GridMismatchError(
                f"the group {name!r} {describe(geobox_of(group))} covers another area than the finest "
                f"{describe(geobox_of(finest))}",
                "grids that share whole coarsest pixels",
                "crop them to a common area first",
            )


def platform_of(cube: Groups, groups: Mapping[str, xr.DataArray]) -> str | None:
    """The sensor that the attribute ``platform`` names and that has the groups' bands, if there is one."""
    attrs = dict(getattr(cube, "attrs", {})) | dict(groups["fine"].attrs)
    keys = [key for group in groups.values() for key in band_keys(group)]
    return known_sensor(str(attrs.get("platform", "")), keys)


def _band_labels(group: xr.DataArray) -> xr.DataArray:
    names = [n for n in _BAND_VARS if n in group.coords]
    return xr.DataArray(range(group.sizes["band"]), dims="band", coords={n: group[n].variable for n in names})


def _in_order(fine: xr.Dataset, sharpened: xr.Dataset) -> xr.Dataset:
    merged = fine.assign({str(name): band for name, band in sharpened.data_vars.items()})
    merged.attrs = dict(sharpened.attrs)
    centres = dict(zip(band_keys(merged), wavelengths(merged), strict=True))
    if any(math.isnan(centre) for centre in centres.values()):
        return merged
    return merged[sorted(centres, key=lambda key: (centres[str(key)], str(key)))]
