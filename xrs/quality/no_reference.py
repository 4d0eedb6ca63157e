"""Metrics at full resolution: a fused cube against the observations it was made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, get_args

import numpy as np
import xarray as xr

from xrs.cube import band_keys, describe, geobox_of, nest, same_grid, to_array
from xrs.errors import GridMismatchError, LayoutError, ParameterError
from xrs.kernels.psf import gaussian_taps, stack_taps
from xrs.kernels.types import Float64
from xrs.methods.base import State, Tile
from xrs.quality.catalogue import select_metrics
from xrs.quality.engine import Cube, check_times, match_bands, measure, source_of
from xrs.quality.fullres import FULLRES_STATISTICS, Convention, FullOptions, halo_of
from xrs.sensors.model import DEFAULT_MTF, Sensor
from xrs.sensors.registry import get_sensor

__all__ = ["consistency", "d_lambda", "d_lambda_k", "d_s", "evaluate_fullres", "hqnr", "qnr"]


def evaluate_fullres(
    fused: Cube,
    ms: Cube,
    pan: Cube,
    *,
    ratio: int | None = None,
    sensor: str | Sensor | None = None,
    psf: Mapping[str, Any] | None = None,
    convention: Convention = "toolbox",
    metrics: Iterable[str] | None = None,
) -> xr.Dataset:
    """Judge a fused cube by what it was made of, without a reference, in one walk over the data.

    Parameters
    ----------
    fused : DataArray or Dataset, ([time,] band, y, x)
        On the grid of ``pan``, with the bands of ``ms``.
    ms, pan : DataArray or Dataset
        The observations on nested grids; ``pan`` has one band.
    ratio : int, optional
        Resolution ratio expected of the grids.
    sensor : str or Sensor, optional
        Whose modulation transfer blurs; if neither it nor ``psf`` is given, gain 0.3 at Nyquist.
    psf : mapping, optional
        Taps (tap,) or (band, tap) from the fine to the coarse grid, as ``ms`` and, for the pan as the coarse sensor
        would see it, ``pan`` (as ``ms`` on average if not given). See :mod:`xrs.kernels.psf`.
    convention : {"toolbox", "paper"}
        How the coarse side of QNR is taken, see :func:`qnr`.
    metrics : iterable of str, optional
        Some of ``d_lambda, d_s, qnr, d_lambda_k, hqnr, consistency``; all if not given.

    Returns
    -------
    Dataset
        A variable for each metric, scalar or (time,); ``consistency`` as mean over bands. Lazy if an input is.

    Raises
    ------
    GridMismatchError, BandNotFoundError, TimeAxisError, LayoutError
        If the three do not match.
    ParameterError
        If taps, convention or metrics are not what is expected.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xrs.quality import evaluate_fullres
    >>> fine, coarse = np.arange(128.0)[::-1], np.arange(1.5, 128.0, 4.0)[::-1]
    >>> values = np.random.default_rng(0).random((2, 128, 128)).astype("float32")
    >>> fused = xr.DataArray(values, coords={"band": ["red", "nir"], "y": fine, "x": fine[::-1]})
    >>> ms = fused.coarsen(y=4, x=4).mean()
    >>> table = evaluate_fullres(fused, ms, fused.mean("band"), psf={"ms": np.full(4, 0.25)})
    >>> round(float(table.consistency), 6)
    0.0
    """
    chosen = select_metrics(metrics, "full resolution")
    f, m, p, found = _matched(fused, ms, pan, ratio)
    ms_taps, pan_taps = _taps(m, found, sensor, psf)
    if convention not in get_args(Convention):
        raise ParameterError(f"convention={convention!r}", f"one of {get_args(Convention)}")
    options = FullOptions(found, (m.sizes["y"], m.sizes["x"]), ms_taps, pan_taps, convention)
    sources = {"fused": source_of(f, found), "pan": source_of(p, found), "ms": source_of(m)}
    values = measure(chosen, _summarise, sources, like=m, halo=halo_of(options), params={"options": options})
    means = {n: v.mean("band", skipna=False, keep_attrs=True) if "band" in v.dims else v for n, v in values.items()}
    return xr.Dataset(means, attrs={"ratio": found, "convention": convention})


def qnr(fused: Cube, ms: Cube, pan: Cube, **options: Any) -> xr.DataArray:
    """Quality with no reference, ``(1 - D_lambda)(1 - D_s)``; higher is better, 1 is ideal.

    The universal quality index is taken on separate blocks of 32 by 32 fine pixels from the scene's corner, whole
    and free of NaN; exponents are 1. The paper compares the fused bands with the multispectral ones on their own
    grid (blocks of 32 / ratio pixels) and with the pan degraded to that grid (``convention="paper"``; blocks have
    the multiple of the ratio nearest 32). The toolbox of Vivone et al. (2021) expands bands and degraded pan to the
    fine grid (``"toolbox"``, the default). Here the pan is degraded by the sensor's taps (toolbox: bicubic with
    antialiasing) and expansion is cubic with centres aligned (toolbox: a 23-tap interpolator), so the last digits
    differ from its tables.

    Parameters
    ----------
    fused, ms, pan : DataArray or Dataset
    **options
        ``ratio``, ``sensor``, ``psf`` and ``convention`` of :func:`evaluate_fullres`.

    Returns
    -------
    DataArray, ([time])

    References
    ----------
    Alparone et al. (2008), Photogrammetric Engineering & Remote Sensing 74(2):193-200, 10.14358/PERS.74.2.193.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xrs.quality import qnr
    >>> fine, coarse = np.arange(64.0)[::-1], np.arange(0.5, 64.0, 2.0)[::-1]
    >>> flat = xr.DataArray(np.ones((2, 64, 64)), coords={"band": ["red", "nir"], "y": fine, "x": fine[::-1]})
    >>> round(float(qnr(flat, flat.coarsen(y=2, x=2).mean(), flat.mean("band"))), 6)
    1.0
    """
    return _one("qnr", fused, ms, pan, options)


def d_lambda(fused: Cube, ms: Cube, pan: Cube, **options: Any) -> xr.DataArray:
    """Spectral distortion of :func:`qnr`; lower is better.

    Mean over pairs of bands of ``|Q(F_i, F_j) - Q(M_i, M_j)|``; 0 of a single band. Conventions and reference are those
    of :func:`qnr`.

    Parameters
    ----------
    fused, ms, pan : DataArray or Dataset
    **options
        As for :func:`qnr`.

    Returns
    -------
    DataArray, ([time])
    """
    return _one("d_lambda", fused, ms, pan, options)


def d_s(fused: Cube, ms: Cube, pan: Cube, **options: Any) -> xr.DataArray:
    """Spatial distortion of :func:`qnr`; lower is better.

    Mean over bands of ``|Q(F_i, P) - Q(M_i, P_L)|``. Conventions and reference are those of :func:`qnr`.

    Parameters
    ----------
    fused, ms, pan : DataArray or Dataset
    **options
        As for :func:`qnr`.

    Returns
    -------
    DataArray, ([time])
    """
    return _one("d_s", fused, ms, pan, options)


def d_lambda_k(fused: Cube, ms: Cube, pan: Cube, **options: Any) -> xr.DataArray:
    """Spectral distortion after Khan, ``1 - Q2n(MTF(F), M)``; lower is better.

    The fused image is blurred by the sensor's taps on the fine grid, without decimation, and compared by
    :func:`q2n` with the expanded multispectral image, as in the toolbox of Vivone et al. (2021); the paper
    decimates and compares on the coarse grid. Taps that lie between pixels are moved by half of one with their
    modulation transfer kept.

    Parameters
    ----------
    fused, ms, pan : DataArray or Dataset
    **options
        ``ratio``, ``sensor`` and ``psf`` of :func:`evaluate_fullres`.

    Returns
    -------
    DataArray, ([time])

    References
    ----------
    Khan et al. (2009), IEEE Transactions on Geoscience and Remote Sensing 47(11):3880-3891, 10.1109/TGRS.2009.2029094.
    """
    return _one("d_lambda_k", fused, ms, pan, options)


def hqnr(fused: Cube, ms: Cube, pan: Cube, **options: Any) -> xr.DataArray:
    """Hybrid quality with no reference, ``(1 - D_lambda_K)(1 - D_s)``; higher is better, 1 is ideal.

    The spectral part is Khan's (:func:`d_lambda_k`), the spatial part that of :func:`qnr`.

    Parameters
    ----------
    fused, ms, pan : DataArray or Dataset
    **options
        As for :func:`qnr`.

    Returns
    -------
    DataArray, ([time])

    References
    ----------
    Vivone et al. (2021), IEEE Geoscience and Remote Sensing Magazine 9(1):53-81, 10.1109/MGRS.2020.3019315.
    """
    return _one("hqnr", fused, ms, pan, options)


def consistency(
    fused: Cube,
    observed: Cube,
    *,
    ratio: int | None = None,
    sensor: str | Sensor | None = None,
    psf: Mapping[str, Any] | None = None,
) -> xr.DataArray:
    """Root mean square of what is left when a fused cube is degraded and the observed one taken off; lower is better.

    Wald's first property: a fused product, seen by the coarse sensor, gives the observation back. Serves any
    fusion in space.

    Parameters
    ----------
    fused, observed : DataArray or Dataset, ([time,] [band,] y, x)
        On nested grids, with the same bands.
    ratio, sensor, psf
        As for :func:`evaluate_fullres`; of ``psf`` only ``ms`` is used.

    Returns
    -------
    DataArray, ([time,] [band])
        In units of the data, over coarse pixels that were seen and whose fused pixels are all determined.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xrs.quality import consistency
    >>> fine = np.arange(8.0)
    >>> fused = xr.DataArray(np.ones((8, 8)), coords={"y": fine[::-1], "x": fine})
    >>> round(float(consistency(fused, fused.coarsen(y=2, x=2).mean() + 0.25)), 6)
    0.25
    """
    f, m, found = _nested(fused, observed, ratio)
    ms_taps, pan_taps = _taps(m, found, sensor, psf)
    options = FullOptions(found, (m.sizes["y"], m.sizes["x"]), ms_taps, pan_taps, "toolbox")
    sources = {"fused": source_of(f, found), "ms": source_of(m)}
    chosen = select_metrics(["consistency"], "full resolution")
    params = {"options": options}
    return measure(chosen, _summarise, sources, like=m, halo=halo_of(options), params=params)["consistency"]


def _one(name: str, fused: Cube, ms: Cube, pan: Cube, options: Mapping[str, Any]) -> xr.DataArray:
    return evaluate_fullres(fused, ms, pan, metrics=[name], **options)[name]


def _summarise(tile: Tile, _: State, *, needs: tuple[str, ...], options: FullOptions, **__: Any) -> Mapping[str, Any]:
    return {need: FULLRES_STATISTICS[need](tile, options) for need in needs}


def _matched(
    fused: Cube, ms: Cube, pan: Cube, ratio: int | None
) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray, int]:
    """The three over their common area, and the resolution ratio."""
    p = to_array(pan)
    if p.sizes.get("band", 1) != 1:
        raise LayoutError(f"pan has {p.sizes['band']} bands", "one", "select it, e.g. pan.sel(band='PAN')")
    whole = to_array(fused)
    if not same_grid(geobox_of(whole), geobox_of(p)):
        raise GridMismatchError(
            f"fused is on {describe(geobox_of(whole))}, pan on {describe(geobox_of(p))}", "the same grid"
        )
    f, m, found = _nested(whole, ms, ratio)
    check_times(m, p, ("ms", "pan"))
    return f, m, p.isel(nest(geobox_of(p), geobox_of(to_array(ms))).fine_window), found


def _nested(fused: Cube, ms: Cube, ratio: int | None) -> tuple[xr.DataArray, xr.DataArray, int]:
    """Fused and coarse cube over their common area, bands in the same order, and the resolution ratio."""
    f, m = to_array(fused), to_array(ms)
    nesting = nest(geobox_of(f), geobox_of(m), ratio=ratio)
    check_times(f, m, ("fused", "ms"))
    f = match_bands(f, m, ("fused", "ms"))
    return f.isel(nesting.fine_window), m.isel(nesting.coarse_window), nesting.ratio


def _taps(
    ms: xr.DataArray, ratio: int, sensor: str | Sensor | None, psf: Mapping[str, Any] | None
) -> tuple[Float64, Float64]:
    """Taps (band, tap) of the multispectral bands, and (1, tap) of the pan as seen on the coarse grid."""
    bands = ms.sizes.get("band", 1)
    if psf is None:
        gains = np.full(bands, DEFAULT_MTF) if sensor is None else get_sensor(sensor).mtf_of(band_keys(ms))
        per_band = stack_taps([gaussian_taps(g, ratio) for g in gains])
        return per_band, gaussian_taps(float(gains.mean()), ratio)[None]
    if sensor is not None or "ms" not in psf:
        raise ParameterError(
            f"psf with the keys {sorted(psf)}" + (" and sensor" if sensor is not None else ""),
            "taps for 'ms', and either psf or sensor",
        )
    per_band = _checked_taps(psf["ms"], bands, ratio)
    return per_band, _checked_taps(psf.get("pan", per_band.mean(axis=0)), 1, ratio)


def _checked_taps(taps: Any, bands: int, ratio: int) -> Float64:
    found = np.atleast_2d(np.asarray(taps, dtype=np.float64))
    if found.ndim != 2 or found.shape[0] not in (1, bands) or (found.shape[1] - ratio) % 2:
        raise ParameterError(
            f"psf taps of shape {found.shape} for ratio {ratio}",
            f"shape (tap,) or ({bands}, tap), the number of taps odd or even as the ratio is",
            "see xrs.kernels.psf.gaussian_taps",
        )
    return np.array(np.broadcast_to(found, (bands, found.shape[1])))
