"""Spectral super-resolution: the bands of a multispectral sensor in, many narrow bands on the same grid out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from xrs.cube import band_keys, check_reflectance, to_array, to_dataset
from xrs.errors import BandNotFoundError, LayoutError, ModelCardError, ParameterError
from xrs.kernels.types import Float64
from xrs.methods import Binding, Method, get_method, resolve_params
from xrs.models import Card
from xrs.operators._fusion import check_floats, common_dates, fuse, label, observed, with_bands
from xrs.operators._sensors import without_layers
from xrs.operators._spectral import (
    Constrained,
    Constraint,
    bands_of_model,
    canonical,
    constraint_of,
    response_rows,
    seeing,
    sensor_of_card,
    spec_of_sensor,
    wanted_bands,
)
from xrs.operators._uncertainty import check_asked, with_ancillaries, with_misfit
from xrs.operators.sharpen import common_area, split_groups
from xrs.operators.spectral_pairs import Library, learned, matched
from xrs.sensors import Sensor
from xrs.spectra import SpectralPairs

__all__ = ["spectral_superres"]

Cube = xr.DataArray | xr.Dataset | xr.DataTree | Mapping[str, xr.DataArray | xr.Dataset]


def spectral_superres(
    cube: Cube,
    to: Any = "enmap",
    method: str | Method = "spectralift",
    *,
    sensor: str | Sensor | None = None,
    library: Library = "land",
    examples: int = 10_000,
    noise: float | tuple[float, float] = 0.02,
    seed: int = 0,
    consistent: bool | str = "auto",
    uncertainty: bool = False,
    **params: Any,
) -> xr.DataArray | xr.Dataset:
    """Turn a multispectral cube into a hyperspectral one.

    Parameters
    ----------
    cube : xarray.DataArray or xarray.Dataset, ([time,] band, y, x), or DataTree
        Surface reflectance (0 to 1) with band keys, and with wavelengths or a known sensor; in any order. Several grids
        (``r10m``, ``r20m``) are for methods that take them as they are, such as ``ponet``; for others sharpen first.
        Variables of other types than floating point that are no bands (quality layers) are left out.
    to : str, Sensor, xarray.DataArray, xarray.Dataset or array_like
        What bands to make: those of a sensor of :func:`xrs.list_sensors`, those of a cube (its keys, wavelengths and
        widths), or centres in nm that ascend, each band then as wide as its step. A network makes the bands it was
        trained for: those of them that are asked for, or their means over the response of the ones that are. Of a
        sensor's or a cube's bands those that it cannot make are left out: bands it has none near, centre to centre
        within the width of either (a network's counted up to 20 nm), or that its bands do not cover. Of centres none
        may be so.
    method : str or Method
        See ``xrs.list_methods("spectral")``.
    sensor : str or Sensor, optional
        The instrument of ``cube``; if not given, that of its attribute ``platform``, else one with the centres and
        widths of its bands (coordinates ``wavelength`` and ``fwhm``), else that of a network's model.
    library : str, SpectralLibrary or SpectralPairs
        What methods without a model learn from: a source of :func:`xrs.spectra.list_sources`, spectra of one's own
        (:func:`xrs.spectra.read_library`), or pairs (:func:`xrs.spectral_pairs` draws them from two cubes). Pairs that
        know their bands are matched with those of ``cube`` and ``to`` by key; ``cube`` must have all of theirs, and
        they all of ``to``. Pairs without keys are taken in the order of the bands.
    examples : int
        How many spectra of the library are drawn.
    noise : float or (float, float)
        Of the library's spectra as ``sensor`` would see them, relative and absolute; see
        :func:`xrs.spectra.draw_pairs`.
    seed : int
        Of the examples.
    consistent : bool or "auto"
        Whether the result is brought to what the sensor saw, exactly: seen through its response, it gives ``cube``
        back. The change is smooth, or as the examples vary. ``auto`` does so, for the bands whose response is known,
        with what was learned of a library as the sensor would see it; not with what was learned of two images, whose
        units need not agree. The sensor's noise is then in the result too. True insists on all bands. Coarser grids
        are held to as means of blocks.
    uncertainty : bool
        Whether to tell of errors: of a network trained with uncertainty ``<name>_std`` (see :func:`xrs.sharpen`); and
        ``misfit`` ([time,] y, x): the root mean square, over the sensor's bands, of what it saw less what it would see
        in the result before ``consistent`` changed it.
    **params
        Parameters of the method; a network takes ``model``.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        As ``cube`` (of several grids, and with ``uncertainty``, a Dataset): float32 reflectance on its finest grid,
        with the keys, wavelengths and widths of the bands made; lazy if the input is. NaN where a band that the method
        needs is missing.

    Raises
    ------
    BandNotFoundError
        If the response of a band is not known or not covered where it must be, if a network can make none of the bands
        wanted (or not all of a list of centres), or if bands of pairs are missing.
    RadiometryError
        If values are integers, or one is beyond 10 in magnitude, as reflectance cannot be (lazy ones when they are
        computed).
    ModelCardError
        If a network has no model, or one for other bands, or for bands centred elsewhere than the sensor's.
    LayoutError, GridMismatchError, TimeAxisError, MethodNotFoundError, ParameterError
        For several grids and a method that takes one, keys that repeat, grids that do not nest, dates that differ,
        pairs of bands centred elsewhere, wavelengths in µm, or bad arguments.

    Examples
    --------
    >>> import xrs
    >>> scene = xrs.scenes.landscape((16, 16), times=["2023-06-10"])
    >>> s2 = xrs.observe(scene, "sentinel-2a", bands=["B02", "B03", "B04", "B08", "B11", "B12"], resolution=10.0)
    >>> hs = spectral_superres(s2.isel(time=0), to="enmap", method="ridge", library="soil", examples=500)
    >>> dict(hs.sizes)
    {'band': 224, 'y': 16, 'x': 16}
    """
    record = get_method(method, "spectral")
    check_asked(uncertainty)
    if consistent not in (True, False, "auto"):
        raise ParameterError(f"consistent={consistent!r}", "True, False or 'auto'")
    params = resolve_params(record, params)
    wanted = wanted_bands(to)
    groups, factors = _groups(cube, record, sensor)
    instrument = seeing(groups, sensor)
    if record.bind is not None or not isinstance(library, SpectralPairs) or library.given_bands is not None:
        # In one order whatever that of the cube: what is drawn for bands, and sums over them, go by it.
        groups = {role: canonical(group, instrument) for role, group in groups.items()}
    if record.bind is not None:
        groups, binding = _bound(record, groups, factors, params)
        factors = {role: factors[role] // min(factors[r] for r in groups) for role in groups}
        card = binding.params["model"].card
        made, resample = bands_of_model(card, wanted)
        instrument = sensor_of_card(card, instrument)
    else:
        if isinstance(library, SpectralPairs):
            library, groups["ms"] = matched(library, groups["ms"], instrument, wanted)
        card, made, resample = None, wanted, None
        binding = Binding(params, ("ms",), record.passes)
    centres = np.array([band.wavelength for band in made.bands]) if card is None else _centres(card)
    rows = response_rows(instrument, [key for group in groups.values() for key in band_keys(group)], centres)
    agrees = _from_physics(card, library) if consistent == "auto" else bool(consistent)
    constraint = _constraint(groups, rows, centres, insist=consistent is True) if agrees or uncertainty else None
    project = constraint is not None and agrees
    fit: dict[str, Any] = {}
    if card is None:
        srf = constraint.srf if constraint is not None and project else None
        fit["fit"] = _fit(record, library, groups["ms"], instrument, wanted, params, examples, noise, seed, srf)
    spread = uncertainty and card is not None and bool(card.uncertainty)
    tell = uncertainty and constraint is not None
    if uncertainty and not (spread or tell):
        raise ModelCardError(
            f"uncertainty=True, and neither knows {record.name} of its errors nor is the sensor's response known",
            "a model trained with uncertainty, or a known sensor",
            "xrs.train(..., uncertainty='laplace'), or sensor='sentinel-2a'",
        )
    apply = Constrained(record.apply, resample, constraint, project, spread, tell)
    count = len(made.bands)
    data = fuse(
        replace(record, apply=apply),
        groups,
        factors,
        replace(binding, params={**binding.params, **({"spread": True} if spread else {})}),
        carriers=(),
        factor=max(factors.values()),
        spatial_params={"srf": None if rows is None or np.isnan(rows).any() else rows},
        shared=fit,
        bands=count * (1 + spread) + tell,
        made=0 if resample is None else resample.shape[1] * (1 + spread),
    )
    # As bound: the model that was taken, given or not.
    shown = {name: binding.params[name] for name in params}
    shown |= {"to": to if isinstance(to, str) else made.name, "consistent": consistent}
    shown |= {"library": library if isinstance(library, str) else type(library).__name__} if fit else {}

    names = [band.common_name for band in made.bands]
    like = with_bands(groups["ms"].isel(y=slice(0), x=slice(0)), spec_of_sensor(made), common_names=names)

    def labelled(values: Any) -> xr.DataArray:
        own = like.isel(band=slice(values.shape[1]))
        return label(values, own, groups["ms"], method=record, family="spectral_superres", params=shown)

    result = labelled(data[:, :count])
    whole = not isinstance(cube, xr.DataArray)
    if not uncertainty:
        return to_dataset(result) if whole else result
    spreads = labelled(data[:, count : 2 * count]) if spread else None
    misfit = labelled(data[:, -1:]).isel(band=0, drop=True) if tell else None
    return _told(result, spreads, misfit, whole)


def _groups(cube: Cube, record: Method, sensor: str | Sensor | None) -> tuple[dict[str, xr.DataArray], dict[str, int]]:
    """The cube's grids, the finest as ``ms``, checked and cropped to one area, and the factor of each."""
    if not isinstance(cube, xr.DataTree | Mapping) or isinstance(cube, xr.Dataset):
        groups, factors = {"ms": to_array(without_layers(cube, sensor))}, {"ms": 1}
    elif "coarse" not in record.needs:
        raise LayoutError(
            f"several grids for method={record.name!r}",
            "bands on one grid",
            "cube.rsfuse.sharpen() first, or a method that takes several grids: method='ponet'",
        )
    else:
        cropped, sizes = common_area(*split_groups(cube))
        groups = {_role(name): group for name, group in cropped.items()}
        factors = {_role(name): factor for name, factor in sizes.items()}
    for role, group in groups.items():
        check_floats(role, group)
        check_reflectance(group)
        band_keys(group)
    return common_dates(groups), factors


def _role(name: str) -> str:
    return "ms" if name == "fine" else name


def _bound(
    record: Method, groups: Mapping[str, xr.DataArray], factors: Mapping[str, int], params: Mapping[str, Any]
) -> tuple[dict[str, xr.DataArray], Binding]:
    """The bands that a network takes, and its binding to these."""
    assert record.bind is not None
    for _ in range(2):
        # First to all bands, and then to those it takes: the others may be missing.
        seen = {role: observed(group, factors["ms"] // factors[role]) for role, group in groups.items()}
        binding = record.bind(seen, ("ms",), **params)
        groups = {
            role: group.isel(
                band=sorted({n for one in binding.params["inputs"] if one.role == role for n in one.bands})
            )
            for role, group in groups.items()
            if role in binding.used
        }
    return dict(groups), binding


def _centres(card: Card) -> Float64:
    """Of the bands that a network makes, NaN where unknown."""
    return np.array(card.result.wavelengths or [np.nan] * len(card.result.bands))


def _fit(
    record: Method,
    library: Library,
    ms: xr.DataArray,
    instrument: Sensor | None,
    wanted: Sensor,
    params: Mapping[str, Any],
    examples: int,
    noise: float | tuple[float, float],
    seed: int,
    srf: Float64 | None,
) -> Any:
    """What a method learns of examples, once a result is computed."""
    if not isinstance(library, SpectralPairs):
        if instrument is None:
            raise BandNotFoundError(
                f"the response of the bands {band_keys(ms)[:5]} is not known",
                "a known sensor, or bands with coordinates wavelength and fwhm (nm)",
                "sensor='sentinel-2a', xrs.cube.assign_bands(cube, keys, wavelength=..., fwhm=...), or library=pairs",
            )
        instrument = instrument.select(band_keys(ms))
    return learned(
        record, library, instrument, wanted, examples=examples, noise=noise, seed=seed, params=params, srf=srf
    )


def _from_physics(card: Card | None, library: Library) -> bool:
    """Whether what was learned knows the sensor by its response: two real sensors' units need not agree."""
    return card.training.get("protocol") == "library" if card is not None else not isinstance(library, SpectralPairs)


def _constraint(
    groups: Mapping[str, xr.DataArray], rows: Float64 | None, wavelengths: Float64, *, insist: bool
) -> Constraint | None:
    """What the result must fulfil, if that is known."""
    keys = [key for group in groups.values() for key in band_keys(group)]
    unknown = keys if rows is None else [key for key, row in zip(keys, rows, strict=True) if np.isnan(row).any()]
    if unknown and insist:
        raise BandNotFoundError(
            f"consistent=True, and the response of {unknown} over the bands wanted is not known",
            "bands of a known sensor that the wanted ones cover",
            "sensor=..., leave these bands out, or consistent='auto'",
        )
    if rows is None or len(unknown) == len(keys):
        return None
    try:
        return constraint_of(groups, rows, wavelengths)
    except ParameterError:
        # Few bands cannot show all that the sensor saw.
        if insist:
            raise
        return None


def _told(result: xr.DataArray, spreads: xr.DataArray | None, misfit: xr.DataArray | None, whole: bool) -> xr.Dataset:
    """A result with what is known of its errors, a variable for each band where ``whole``."""
    name = str(result.name or "spectra")
    cube = to_dataset(result) if whole else result.to_dataset(name=name).assign_attrs(result.attrs)
    if spreads is not None:
        cube = with_ancillaries(cube, to_dataset(spreads) if whole else spreads.to_dataset(name=name), "std")
    if misfit is not None:
        cube = with_misfit(cube, misfit)
        cube["misfit"].attrs["units"] = "1"
    return cube
