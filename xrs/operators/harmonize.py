"""Bring one sensor's bands to the radiometry of another's."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import pandas as pd
import xarray as xr

from xrs.cube import check_time, geobox_of, provenance, to_array, to_dataset, with_all_dims
from xrs.errors import ParameterError, TimeAxisError
from xrs.kernels.types import Float64
from xrs.lazy import Source, reduce_tiles
from xrs.methods.base import State, Tile
from xrs.operators._fusion import check_floats
from xrs.operators._pairs import common_area, match_dates, matched_bands

__all__ = ["harmonize", "matched_radiometry"]

Cube = TypeVar("Cube", xr.DataArray, xr.Dataset)

_REGRESSIONS = ("ols", "rma")


def harmonize(
    cube: Cube,
    reference: xr.DataArray | xr.Dataset,
    *,
    method: str = "ols",
    tolerance: Any = "1D",
) -> Cube:
    """Bring each band of a cube to the radiometry of another sensor's, by regression on the dates both have.

    One gain and one offset for each band, over all pixels and dates that both saw; on the coarser of the two grids, the
    finer one averaged over its pixels.

    Parameters
    ----------
    cube : xarray.DataArray or xarray.Dataset, ([time,] [band,] y, x)
        What is changed; floating point, any unit.
    reference : xarray.DataArray or xarray.Dataset, ([time,] [band,] y, x)
        The sensor whose radiometry is wanted, on the same grid or on one that nests.
    method : {"ols", "rma"}
        Ordinary least squares, or the reduced major axis, which takes both sensors to be noisy and keeps the variance.
    tolerance : str or Timedelta
        How far two dates may be apart to belong together.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        As ``cube``: the bands the reference has too, float32, lazy if either is. NaN stays NaN. A band of one constant
        value, or never seen by both, takes no gain: its mean is moved, if there is one.

    Raises
    ------
    TimeAxisError
        If no dates are within the tolerance.
    BandNotFoundError, GridMismatchError, RadiometryError, ParameterError
        If no bands or grids match, a cube holds integers, or the regression is unknown.

    References
    ----------
    Roy, D. P. et al. (2016) compare such regressions between Landsat sensors: 10.1016/j.rse.2015.12.024.

    Examples
    --------
    >>> import numpy as np, xrs
    >>> scene = xrs.scenes.landscape((24, 24), times=["2023-06-20"], wavelengths=[560, 660, 830]).compute()
    >>> other = (0.9 * scene + 0.02).astype("float32")
    >>> bool(abs(xrs.harmonize(other, scene) - scene).max() < 1e-4)
    True
    """
    values, wanted = to_array(cube), to_array(reference)
    check_floats("cube", values)
    check_floats("reference", wanted)
    wanted, values = matched_bands(wanted, values)
    result = matched_radiometry(values, wanted, method=method, tolerance=tolerance)
    result.attrs = provenance(to_array(cube), "harmonize", {"method": method, "tolerance": str(tolerance)})
    return to_dataset(result) if isinstance(cube, xr.Dataset) else result


def matched_radiometry(
    cube: xr.DataArray, reference: xr.DataArray, *, method: str = "ols", tolerance: Any = "1D", known: bool = False
) -> xr.DataArray:
    """A cube in the radiometry of another with the same bands; see :func:`harmonize`.

    With ``known`` the lines are computed at once: for results that are computed in many parts.
    """
    if method not in _REGRESSIONS:
        raise ParameterError(f"the regression {method!r}", f"one of {_REGRESSIONS}")
    one, other = _same_dates(cube, reference, tolerance)
    # By the size of pixels, not their number: the coarser image may cover much more.
    if geobox_of(one).resolution.x > geobox_of(other).resolution.x:
        other, one, ratio = common_area(other, one)
        factors = {"cube": 1, "reference": ratio}
    else:
        one, other, ratio = common_area(one, other)
        factors = {"cube": ratio, "reference": 1}
    bands = int(with_all_dims(cube).sizes["band"])
    sums = reduce_tiles(
        _sums,
        np.add,
        _as_given,
        {
            "cube": Source(with_all_dims(one).data, factors["cube"]),
            "reference": Source(with_all_dims(other).data, factors["reference"]),
        },
        shape=(6, bands),
        fill=False,
        again=True,
        name="xrs-harmonize",
    )
    lines = (xr.DataArray(line, dims="band") for line in _lines(sums.sum(axis=0), method))
    gain, offset = (line.compute() if known else line for line in lines)
    full = with_all_dims(cube)
    result = (full.drop_vars("band", errors="ignore") * gain + offset).astype(np.float32).transpose(*full.dims)
    return cube.copy(data=result.isel({d: 0 for d in full.dims if d not in cube.dims}).data)


def _same_dates(cube: xr.DataArray, reference: xr.DataArray, tolerance: Any) -> tuple[xr.DataArray, xr.DataArray]:
    if "time" not in cube.dims and "time" not in reference.dims:
        return cube, reference
    for one in (cube, reference):
        check_time(one)
    theirs = pd.DatetimeIndex(reference["time"].values)
    found = match_dates(theirs, pd.DatetimeIndex(cube["time"].values), tolerance)
    if (found < 0).all():
        raise TimeAxisError(
            f"no date of the reference ({theirs[0]} to {theirs[-1]}) is within {pd.Timedelta(tolerance)} of one of "
            f"the cube ({cube['time'].values[0]} to {cube['time'].values[-1]})",
            "dates that both have",
            "a larger tolerance=; in fusion also harmonize=False, if radiometry agrees already",
        )
    return cube.isel(time=found[found >= 0]), reference.isel(time=np.flatnonzero(found >= 0))


def _sums(tile: Tile, _: State) -> Float64:
    """Count, sums, squares and products (6, band) of what both saw of the coarser pixels."""
    coarser = min(tile.factors, key=lambda name: tile.factors[name])
    x, y = (_averaged(tile, name, tile.factors[name] // tile.factors[coarser]) for name in ("cube", "reference"))
    both = np.isfinite(x) & np.isfinite(y)
    x, y = np.where(both, x, 0.0), np.where(both, y, 0.0)
    return np.stack([part.sum(axis=(1, 2)) for part in (both.astype(np.float64), x, y, x * x, x * y, y * y)])


def _averaged(tile: Tile, name: str, ratio: int) -> Float64:
    """An image (band, y, x) averaged over blocks; NaN where any of a block is missing."""
    image, valid = tile.core(name).astype(np.float64), tile.valid[name]
    if valid is not None:
        image = np.where(tile.core(name, valid), image, np.nan)
    bands, height, width = image.shape
    blocks: Float64 = image.reshape(bands, height // ratio, ratio, width // ratio, ratio).mean(axis=(2, 4))
    return blocks


def _as_given(summary: Float64, _: State) -> Float64:
    return summary


def _lines(sums: Any, method: str) -> tuple[Any, Any]:
    """Gain and offset of each band from the sums (6, band)."""
    count, x, y, xx, xy, yy = sums
    seen = np.maximum(count, 1.0)
    mean_x, mean_y = x / seen, y / seen
    var_x, cov, var_y = (np.maximum(xx / seen - mean_x**2, 0.0), xy / seen - mean_x * mean_y, yy / seen - mean_y**2)
    # Below this, a variance is rounding.
    varies = var_x > 1e-12 * np.maximum(mean_x**2, 1e-30)
    slope = cov / np.where(varies, var_x, 1.0)
    if method == "rma":
        slope = np.sign(cov) * np.sqrt(np.maximum(var_y, 0.0) / np.where(varies, var_x, 1.0))
    gain = np.where(varies & (count > 2), slope, 1.0)
    return gain, np.where(count > 0, mean_y - gain * mean_x, 0.0)
