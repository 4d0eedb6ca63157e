"""How large the errors of an estimate are, pixel by pixel; see :mod:`xrs.quality.reference` for what is left out."""

from __future__ import annotations

import xarray as xr

from xrs.quality.checks import checked_peak
from xrs.quality.engine import Cube
from xrs.quality.reference import one_metric

__all__ = ["mrae", "psnr", "rmse", "rmse_global", "sre"]


def psnr(estimate: Cube, reference: Cube, *, peak: float) -> xr.DataArray:
    """Peak signal-to-noise ratio of each band, ``10 log10(peak² / MSE)``, in dB; higher is better.

    The literature's score is the mean of the bands' values, which is not that of the bands' mean MSE. Infinite
    for a band without error.

    Parameters
    ----------
    estimate, reference : DataArray or Dataset, ([time,] [band,] y, x)
    peak : float
        Largest value the data can take: 1.0 for reflectance, 10000 for Sentinel-2's numbers, 2**bits - 1 for raw ones.

    Returns
    -------
    DataArray, ([time,] [band])

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xrs.quality import psnr
    >>> truth = xr.DataArray(np.zeros((2, 2)), coords={"y": [1.0, 0.0], "x": [0.0, 1.0]})
    >>> round(float(psnr(truth + 0.1, truth, peak=1.0)), 4)
    20.0
    """
    return one_metric("psnr", estimate, reference, peak=checked_peak(peak))


def rmse(estimate: Cube, reference: Cube) -> xr.DataArray:
    """Root mean square error of each band, in units of the data; lower is better.

    The mean of the bands' values (papers) and the error over all bands at once (:func:`rmse_global`) differ.

    Parameters
    ----------
    estimate, reference : DataArray or Dataset, ([time,] [band,] y, x)

    Returns
    -------
    DataArray, ([time,] [band])

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xrs.quality import rmse
    >>> truth = xr.DataArray(np.zeros((2, 2)), coords={"y": [1.0, 0.0], "x": [0.0, 1.0]})
    >>> round(float(rmse(truth + [3.0, 4.0], truth)) ** 2, 6)
    12.5
    """
    return one_metric("rmse", estimate, reference)


def rmse_global(estimate: Cube, reference: Cube) -> xr.DataArray:
    """Root mean square error over all pixels of all bands, in units of the data; lower is better.

    Parameters
    ----------
    estimate, reference : DataArray or Dataset, ([time,] [band,] y, x)

    Returns
    -------
    DataArray, ([time])

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xrs.quality import rmse_global
    >>> truth = xr.DataArray(np.zeros((2, 2, 2)), coords={"band": ["a", "b"], "y": [1.0, 0.0], "x": [0.0, 1.0]})
    >>> float(rmse_global(truth + xr.DataArray([1.0, 7.0], dims="band"), truth))
    5.0
    """
    return one_metric("rmse_global", estimate, reference)


def mrae(estimate: Cube, reference: Cube, *, peak: float = 1.0) -> xr.DataArray:
    """Mean relative absolute error of each band, ``mean(|estimate - reference| / reference)``; lower is better.

    The score of the challenges on spectral reconstruction, which is the mean over bands. Values of the reference below
    1e-4 of the peak (negative ones too) are left out: the challenges' data have none, and a quotient by next to nothing
    would outweigh all others.

    Parameters
    ----------
    estimate, reference : DataArray or Dataset, ([time,] [band,] y, x)
    peak : float
        Largest value the data can take: 1.0 for reflectance.

    Returns
    -------
    DataArray, ([time,] [band])
        NaN for a band whose reference is nowhere above that.

    References
    ----------
    Arad et al. (2020), NTIRE 2020 challenge on spectral reconstruction from an RGB image, CVPR Workshops, 1806-1822,
    10.1109/CVPRW50498.2020.00231.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xrs.quality import mrae
    >>> truth = xr.DataArray([[0.1, 0.2], [0.4, 0.0]], coords={"y": [1.0, 0.0], "x": [0.0, 1.0]})
    >>> round(float(mrae(truth + 0.02, truth)), 4)
    0.1167
    """
    return one_metric("mrae", estimate, reference, peak=checked_peak(peak))


def sre(estimate: Cube, reference: Cube) -> xr.DataArray:
    """Signal-to-reconstruction error of each band, ``10 log10(mean(reference)² / MSE)``, in dB; higher is better.

    As defined for DSen2: the square of the mean, not the mean of squares of a signal-to-noise ratio. The literature's
    score is the mean over bands. Infinite for a band without error.

    Parameters
    ----------
    estimate, reference : DataArray or Dataset, ([time,] [band,] y, x)

    Returns
    -------
    DataArray, ([time,] [band])

    References
    ----------
    Lanaras et al. (2018), ISPRS Journal 146:305-319, 10.1016/j.isprsjprs.2018.09.018.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xrs.quality import sre
    >>> truth = xr.DataArray(np.ones((2, 2)), coords={"y": [1.0, 0.0], "x": [0.0, 1.0]})
    >>> round(float(sre(truth + 0.01, truth)), 3)
    40.0
    """
    return one_metric("sre", estimate, reference)
