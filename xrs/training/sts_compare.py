"""Methods of spatio-temporal-spectral fusion held against a truth, date by date."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xrs.cube import geobox_of, nest, to_array
from xrs.methods import Method
from xrs.operators.fuse_sts import Sensors
from xrs.quality import evaluate
from xrs.training.sts import fuse_sts

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["compare_sts"]

Cube = xr.DataArray | xr.Dataset
Methods = str | Method | Sequence[str | Method]

_COLUMNS = {"cc": "CC", "sam": "SAM", "psnr": "PSNR", "ssim": "SSIM"}


def compare_sts(
    hyperspectral: Cube,
    multispectral: Cube,
    wide: Cube,
    truth: Cube,
    methods: Sequence[Methods] = ("lts_mtl", "map_sts", ("estarfm", "cnmf")),
    *,
    tolerance: Any = "1D",
    pairs: int = 2,
    outside: str = "error",
    sensors: Sensors | None = None,
    psf: Any = "mtf",
    peak: float | None = None,
    border: int = 0,
    params: Mapping[str, Mapping[str, Any]] | None = None,
) -> pd.DataFrame:
    """Score methods of :func:`fuse_sts` against the truth, on each of its dates and on the mean of them.

    Parameters
    ----------
    hyperspectral, multispectral, wide, tolerance, pairs, outside, sensors, psf
        As of :func:`fuse_sts`.
    truth : xarray.DataArray or xarray.Dataset, (time, band, y, x)
        The bands of ``hyperspectral`` on the grid of ``multispectral``, on the dates to predict.
    methods : sequence
        Of what :func:`fuse_sts` takes as ``method``; two in a row are named ``"estarfm+cnmf"``.
    peak : float, optional
        Peak of PSNR and data range of SSIM; 1 if not given, and then values must be reflectance.
    border : int
        Pixels left out along each edge.
    params : mapping of str to mapping, optional
        Parameters of single methods, by name.

    Returns
    -------
    pandas.DataFrame
        Rows by method and date, the last of each method ``"mean"``; columns CC, SAM (degrees), PSNR (dB), SSIM, and in
        the row of the mean the time in seconds, training included. As in the tables of Peng et al. 2024.

    Raises
    ------
    GridMismatchError, TimeAxisError, BandNotFoundError, RadiometryError, ParameterError
        As :func:`fuse_sts` and :func:`xrs.quality.evaluate`.

    Examples
    --------
    >>> import xrs
    >>> times = ["2023-04-10", "2023-05-10", "2023-06-10"]
    >>> scene = xrs.scenes.landscape((24, 24), times=times, wavelengths=range(450, 900, 25)).compute()
    >>> keyed = scene.isel(time=[0, 2])
    >>> ms, wide = keyed.isel(band=[1, 4, 8, 14]), xrs.degrade(scene.isel(band=[1, 4, 8, 14]), 2)
    >>> table = compare_sts(xrs.degrade(keyed, 3), ms, wide, scene, [("starfm", "gsa_hs")])
    >>> list(table.columns), len(table)
    (['CC', 'SAM', 'PSNR', 'SSIM', 'time'], 4)
    """
    import pandas as pd

    reference = to_array(truth)
    ratio = nest(geobox_of(to_array(multispectral)), geobox_of(to_array(hyperspectral))).ratio
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for method in methods:
        name = _name(method)
        start = time.perf_counter()
        fused = fuse_sts(
            to_array(hyperspectral),
            to_array(multispectral),
            to_array(wide),
            method,
            target_times=reference["time"].values,
            tolerance=tolerance,
            pairs=pairs,
            outside=outside,
            sensors=sensors,
            psf=psf,
            **dict((params or {}).get(name, {})),
        ).compute()
        elapsed = time.perf_counter() - start
        scores = evaluate(fused, reference, ratio=ratio, peak=peak, border=border, metrics=list(_COLUMNS)).compute()
        for date, when in enumerate(pd.DatetimeIndex(reference["time"].values)):
            dated = {column: float(scores[key][date]) for key, column in _COLUMNS.items()}
            rows[name, str(when.date())] = dated | {"time": np.nan}
        means = {column: float(scores[key].mean(skipna=False)) for key, column in _COLUMNS.items()}
        rows[name, "mean"] = means | {"time": elapsed}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["method", "date"])


def _name(method: Methods) -> str:
    parts = [method] if isinstance(method, str | Method) else method
    return "+".join(part.name if isinstance(part, Method) else part for part in parts)
