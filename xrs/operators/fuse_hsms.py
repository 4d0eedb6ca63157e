"""Hyperspectral-multispectral fusion: many coarse bands and few fine ones in, the many on the fine grid out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, TypeVar, overload

import xarray as xr

from xrs.cube import geobox_of, nest, to_array, to_dataset, with_all_dims
from xrs.errors import ParameterError
from xrs.methods import Binding, Method, get_method, resolve_params
from xrs.methods.hsms._guard import guarded
from xrs.methods.hsms._observation import Known
from xrs.operators._fusion import check_floats, common_dates, fuse, label, observed
from xrs.operators._hsms import known_response, possible_psfs, registered
from xrs.operators._uncertainty import check_asked, residual, told, with_spread
from xrs.sensors import Sensor

__all__ = ["fuse_hsms"]

Cube = TypeVar("Cube", xr.DataArray, xr.Dataset)


@overload
def fuse_hsms(
    hs: Cube,
    ms: xr.DataArray | xr.Dataset,
    method: str | Method = "map_smm",
    *,
    hs_sensor: str | Sensor | None = None,
    ms_sensor: str | Sensor | None = None,
    psf: Any = "mtf",
    srf: Any = "auto",
    register: bool | str | tuple[float, float] = False,
    uncertainty: Literal[False] = False,
    **params: Any,
) -> Cube: ...


@overload
def fuse_hsms(
    hs: xr.DataArray | xr.Dataset,
    ms: xr.DataArray | xr.Dataset,
    method: str | Method = "map_smm",
    *,
    hs_sensor: str | Sensor | None = None,
    ms_sensor: str | Sensor | None = None,
    psf: Any = "mtf",
    srf: Any = "auto",
    register: bool | str | tuple[float, float] = False,
    uncertainty: Literal[True],
    **params: Any,
) -> xr.Dataset: ...


def fuse_hsms(
    hs: xr.DataArray | xr.Dataset,
    ms: xr.DataArray | xr.Dataset,
    method: str | Method = "map_smm",
    *,
    hs_sensor: str | Sensor | None = None,
    ms_sensor: str | Sensor | None = None,
    psf: Any = "mtf",
    srf: Any = "auto",
    register: bool | str | tuple[float, float] = False,
    uncertainty: bool = False,
    **params: Any,
) -> xr.DataArray | xr.Dataset:
    """Bring a hyperspectral cube to the grid of a multispectral one.

    Parameters
    ----------
    hs : xarray.DataArray or xarray.Dataset
        Many bands, dims ``[time,] band, y, x``, or a variable for each band; floating point. Leave bands out that
        are bad or missing everywhere.
    ms : xarray.DataArray or xarray.Dataset
        Few bands of another sensor, or of another detector, on a grid that nests in that of ``hs`` (integer ratio of
        2 or more, coarse pixels are whole blocks of fine pixels), with the same dates. Only the area both cover is
        fused. Its unit may differ from that of ``hs``.
    method : str or Method
        See ``xrs.list_methods("hsms")``.
    hs_sensor, ms_sensor : str or Sensor, optional
        The instruments. That of ``hs`` gives wavelengths where the cube tells none, and the gain at Nyquist of its
        bands; that of ``ms`` the spectral response. Without ``ms_sensor`` the attribute ``platform`` of ``ms`` or
        the coordinates ``wavelength`` and ``fwhm`` tell the response.
    psf : {"mtf", "box", "gaussian", "estimate"} or array (band, tap)
        The point spread from the grid of ``ms`` to that of ``hs``: see :func:`xrs.sensors.psf_of`; ``gaussian`` has a
        full width at half maximum of one coarse pixel, and ``estimate`` takes the Gaussian with which ``ms`` looks
        most like ``hs``, each date by itself.
    srf : {"auto", "estimate"} or array (ms band, hs band)
        Response of the bands of ``ms`` over those of ``hs``. ``auto``: that of the sensors if it is known and the
        bands of ``hs`` cover 80 % of each, else estimated: non-negative least squares, with an offset, of the bands
        of ``ms`` as ``hs`` would see them on those of ``hs``. In any case a gain and an offset of each band of
        ``ms`` are estimated and taken out, for methods that use the response.
    register : bool, {"hs", "ms"} or tuple of float
        Whether one lies off the other: ``hs`` (or True) to estimate one shift for each date, up to two pixels of
        ``hs``, and move ``hs`` by it, or the shift itself, pixels of ``hs`` down and to the right by which ``hs`` must
        be moved. With ``ms`` that is moved instead, and the result lies where ``hs`` does.
    uncertainty : bool
        Whether to tell of errors beside the bands, as :func:`xrs.pansharpen` does.
    **params
        Parameters of the method.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        As ``hs`` (with ``uncertainty`` a Dataset): float32, the bands and unit of ``hs``, the grid of ``ms``; lazy if
        any input is. A pixel is NaN where a band of ``ms`` or of the coarse pixel over it is missing, and all of a
        date is of which no pixel was seen in both.

    Raises
    ------
    GridMismatchError
        If the grids do not nest.
    BandNotFoundError
        If the sensors see no wavelength in common.
    RadiometryError
        If a cube holds integers.
    MethodNotFoundError, ParameterError, TimeAxisError, ModelCardError
        For an unknown method, a bad parameter, dates that differ, or a model that does not fit.

    Notes
    -----
    A band that is constant, or that nothing relates to the bands of ``hs``, adds no detail. The response, gains,
    offsets, point spread and shift are known only once the result is computed; ``xrs:parameters`` tells how they
    were asked for.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> def cube(bands, n, size):
    ...     centres = (np.arange(n) + 0.5) * size
    ...     values = np.random.default_rng(n).random((bands, n, n), dtype="float32")
    ...     return xr.DataArray(values, {"band": range(bands), "y": centres[::-1], "x": centres}, ("band", "y", "x"))
    >>> fuse_hsms(cube(30, 8, 30.0), cube(4, 24, 10.0), method="gsa_hs").sizes
    Frozen({'band': 30, 'y': 24, 'x': 24})
    """
    record = get_method(method, "hsms")
    check_asked(uncertainty)
    params = resolve_params(record, params)
    coarse, fine = to_array(hs), to_array(ms)
    check_floats("hs", coarse)
    check_floats("ms", fine)
    nesting = nest(geobox_of(fine), geobox_of(coarse))
    coarse, fine = coarse.isel(nesting.coarse_window), fine.isel(nesting.fine_window)
    common_dates({"hs": coarse, "ms": fine})
    ratio, count = nesting.ratio, coarse.sizes.get("band", 1)
    known = Known(
        possible_psfs(coarse, fine.sizes.get("band", 1), ratio, hs_sensor, psf),
        known_response(coarse, fine, hs_sensor, ms_sensor, srf),
    )
    if uncertainty and len(known.psfs) > 1:
        raise ParameterError("uncertainty=True with psf='estimate'", "one of the two", "give the point spread's taps")
    coarse, fine = registered(coarse, fine, ratio, known, register)
    binding = Binding(params, ("hs", "ms"), record.passes)
    if record.bind is not None:
        binding = record.bind({"ms": observed(fine, 1), "hs": observed(coarse, ratio)}, ("hs",), **params)
    spread = uncertainty and record.needs_model
    if spread:
        binding = with_spread(binding, None)
    apply, passes = guarded(record, binding.passes, known)
    data = fuse(
        replace(record, apply=apply),
        {"hs": coarse, "ms": fine},
        {"hs": 1, "ms": ratio},
        replace(binding, passes=passes),
        carriers=("hs",) * (1 + spread),
        factor=ratio,
        spatial_params={"psf": known.psfs[-1], "srf": known.srf},
    )
    shown = params | {"psf": psf, "srf": srf, "register": register}

    def labelled(values: Any) -> xr.DataArray:
        return label(values, coarse, fine, method=record, family="fuse_hsms", params=shown, beside=[fine])

    result = labelled(data[:, :count])
    if spread:
        return told(hs, result, labelled(data[:, count:]), "std")
    if uncertainty:
        misfit = residual(data, with_all_dims(coarse).data, known.psfs[-1]["hs"])
        return told(hs, result, labelled(misfit), "residual")
    return to_dataset(result) if isinstance(hs, xr.Dataset) else result
