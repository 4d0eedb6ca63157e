"""Pansharpening: a multispectral cube and a panchromatic band in, the bands on the pan's grid out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar, overload

import xarray as xr

from xrs.cube import band_keys, geobox_of, nest, to_array, to_dataset, with_all_dims
from xrs.errors import LayoutError
from xrs.methods import Binding, Method, get_method, resolve_params
from xrs.operators._fusion import check_floats, common_dates, fuse, label, observed
from xrs.operators._refine import injection, refine
from xrs.operators._uncertainty import check_asked, residual, told, with_spread
from xrs.sensors import Sensor, psf_of

__all__ = ["pansharpen"]

Cube = TypeVar("Cube", xr.DataArray, xr.Dataset)


@overload
def pansharpen(
    ms: Cube,
    pan: xr.DataArray | xr.Dataset,
    method: str | Method = "mtf_glp_hpm",
    *,
    sensor: str | Sensor | None = None,
    psf: Any = "mtf",
    inject: str | Method | Mapping[str, Any] | None = None,
    uncertainty: Literal[False] = False,
    **params: Any,
) -> Cube: ...


@overload
def pansharpen(
    ms: xr.DataArray | xr.Dataset,
    pan: xr.DataArray | xr.Dataset,
    method: str | Method = "mtf_glp_hpm",
    *,
    sensor: str | Sensor | None = None,
    psf: Any = "mtf",
    inject: str | Method | Mapping[str, Any] | None = None,
    uncertainty: Literal[True],
    **params: Any,
) -> xr.Dataset: ...


def pansharpen(
    ms: xr.DataArray | xr.Dataset,
    pan: xr.DataArray | xr.Dataset,
    method: str | Method = "mtf_glp_hpm",
    *,
    sensor: str | Sensor | None = None,
    psf: Any = "mtf",
    inject: str | Method | Mapping[str, Any] | None = None,
    uncertainty: bool = False,
    **params: Any,
) -> xr.DataArray | xr.Dataset:
    """Bring a multispectral cube to the grid of a panchromatic band.

    Parameters
    ----------
    ms : xarray.DataArray or xarray.Dataset
        Dims ``[time,] [band,] y, x``, or a variable for each band; floating point, any unit.
    pan : xarray.DataArray or xarray.Dataset
        One band in the same unit on a grid that nests in that of ``ms`` (integer ratio, coarse pixels
        are whole blocks of fine pixels), with the same dates. Only the area both cover is fused.
    method : str or Method
        See ``xrs.list_methods("pansharpen")``.
    sensor : str or Sensor, optional
        The instrument, whose modulation transfer the methods of the MTF family match. Without one
        the gain at Nyquist is 0.3, and 0.15 for the pan.
    psf : {"mtf", "box", "gaussian_box"} or array (band, tap), optional
        The point spread from fine to coarse pixels; see :func:`xrs.sensors.psf_of`.
    inject : str, Method or mapping, optional
        A method of ``xrs.list_methods("refine")`` that improves the result, with ``"ssr"`` what spectral
        super-resolution reads from the pan; or a mapping with ``method`` and its parameters. ``ssr`` learns from the
        scene when the result is computed, each date by itself.
    uncertainty : bool
        Whether to tell of errors beside the bands; see :func:`xrs.sharpen`. For a Dataset the result has a variable
        ``<band>_std`` (networks) or ``<band>_residual`` (other methods) more for each band. For a DataArray it is a
        Dataset with two variables: the cube by its name, or ``fused``, and likewise ``<name>_std``, both with dim
        ``band`` if the cube has it.
    **params
        Parameters of the method.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        As ``ms`` (with ``uncertainty`` a Dataset): float32, the bands of ``ms``, the grid of ``pan``; lazy if any
        input is. A pixel is NaN where the pan or the coarse pixel over it is missing (for methods that mix bands: any
        band).

    Raises
    ------
    GridMismatchError
        If the grids do not nest; the message names both and the call that resamples one.
    RadiometryError
        If a cube holds integers.
    ModelCardError
        If a network's model was made for other bands, wavelengths or another ratio, or knows nothing of its errors and
        ``uncertainty`` is asked for.
    MethodNotFoundError, ParameterError, TimeAxisError, LayoutError
        For an unknown method, a bad parameter, dates that differ, or a pan with several bands.

    Examples
    --------
    >>> import numpy as np, xarray as xr, xrs
    >>> def cube(n, size):
    ...     centres = (np.arange(n) + 0.5) * size
    ...     return xr.DataArray(
    ...         np.random.default_rng(n).random((2, n, n), dtype="float32"),
    ...         dims=("band", "y", "x"),
    ...         coords={"band": ["red", "nir"], "y": centres[::-1], "x": centres},
    ...     )
    >>> ms, pan = cube(8, 4.0), cube(32, 1.0).isel(band=0, drop=True)
    >>> xrs.pansharpen(ms, pan, method="gsa").sizes
    Frozen({'band': 2, 'y': 32, 'x': 32})
    """
    record = get_method(method, "pansharpen")
    check_asked(uncertainty)
    params = resolve_params(record, params)
    coarse, fine = to_array(ms), _one_band(to_array(pan))
    check_floats("ms", coarse)
    check_floats("pan", fine)
    nesting = nest(geobox_of(fine), geobox_of(coarse))
    coarse, fine = coarse.isel(nesting.coarse_window), fine.isel(nesting.fine_window)
    common_dates({"ms": coarse, "pan": fine})
    keys = band_keys(coarse) if "band" in coarse.coords else [None] * coarse.sizes.get("band", 1)
    binding = Binding(params, ("ms", "pan"), record.passes)
    if record.bind is not None:
        seen = {"pan": observed(fine, 1), "ms": observed(coarse, nesting.ratio)}
        binding = record.bind(seen, ("ms",), **params)
    # As bound: the model that was taken, given or not.
    shown = {name: binding.params[name] for name in params}
    taps = pan_psf(sensor, keys, nesting.ratio, psf)
    spread = uncertainty and record.needs_model
    data = fuse(
        record,
        {"ms": coarse, "pan": fine},
        {"ms": 1, "pan": nesting.ratio},
        with_spread(binding, inject) if spread else binding,
        carriers=("ms",) * (1 + spread),
        factor=nesting.ratio,
        spatial_params={"psf": taps, "guide_psf": {"ms": taps}},
    )
    if inject is not None:
        data = refine(injection(inject), data, with_all_dims(fine).data, with_all_dims(coarse).data, taps["ms"])
        shown["inject"] = inject

    def labelled(values: Any) -> xr.DataArray:
        return label(values, coarse, fine, method=record, family="pansharpen", params=shown, beside=[fine])

    count = len(keys)
    result = labelled(data[:, :count])
    if spread:
        return told(ms, result, labelled(data[:, count:]), "std")
    if uncertainty:
        return told(ms, result, labelled(residual(data, with_all_dims(coarse).data, taps["ms"])), "residual")
    return to_dataset(result) if isinstance(ms, xr.Dataset) else result


def pan_psf(sensor: str | Sensor | None, keys: list[Any], ratio: int, psf: Any) -> dict[str, Any]:
    """Point spreads of the bands and of the pan as the coarse grid would have it."""
    return {
        "ms": psf_of(sensor, keys, ratio, kind=psf),
        "pan": psf_of(sensor, ["pan"], ratio, kind=psf if isinstance(psf, str) else "mtf"),
    }


def _one_band(pan: xr.DataArray) -> xr.DataArray:
    if pan.sizes.get("band", 1) != 1:
        raise LayoutError(
            f"pan has {pan.sizes['band']} bands", "one panchromatic band", "pan.sel(band=...), or pan.mean('band')"
        )
    return pan
