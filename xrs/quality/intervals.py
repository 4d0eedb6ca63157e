"""How well standard deviations tell errors: coverage and width of intervals, ranking, calibration.

All are counted over the pixels where value, standard deviation and truth are finite, read lazy cubes lazily, and give
the same answer at any chunking. Ranking sorts no pixels: it counts them in a histogram of 16 classes an octave, over 80
octaves, so that a pixel's rank is exact but for those within 4.4 % of its own standard deviation.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from statistics import NormalDist
from typing import Any

import numpy as np
import xarray as xr

from xrs.cube import to_array
from xrs.errors import ParameterError
from xrs.kernels.types import Float64
from xrs.lazy import reduce_tiles
from xrs.methods.base import State, Tile
from xrs.quality.engine import Cube, check_grids, check_times, match_bands, source_of

__all__ = ["ause", "coverage", "ence", "interval_width", "sparsification"]

#: Classes an octave of the histogram, and the octaves it spans, as powers of two.
_FINE, _LOWEST, _HIGHEST = 16, -50, 30
_CLASSES = _FINE * (_HIGHEST - _LOWEST)


def coverage(mean: Cube, std: Cube, truth: Cube, *, level: float = 0.9) -> xr.DataArray:
    """Share of pixels whose truth lies within the interval ``mean +- z std``; ideal is ``level``.

    Parameters
    ----------
    mean, std, truth : DataArray or Dataset, ([time,] [band,] y, x)
        Of the same bands on one grid; :func:`xrs.cube.ancillaries` gives the standard deviations of a Dataset.
    level : float
        Of the interval, above 0 and below 1; z is the normal quantile, 1.645 of 0.9.

    Returns
    -------
    DataArray, ([time,] [band])
        Lazy if an input is; NaN where no pixel counts.

    Raises
    ------
    GridMismatchError, BandNotFoundError, TimeAxisError, LayoutError
        If the cubes do not match.
    ParameterError
        If the level is out of range.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xrs.quality import coverage
    >>> def cube(values):
    ...     return xr.DataArray(values.astype("float32"), coords={"y": -np.arange(200.0), "x": np.arange(200.0)})
    >>> truth = np.random.default_rng(0).normal(size=(200, 200))
    >>> round(float(coverage(cube(0 * truth), cube(0 * truth + 1), cube(truth))), 2)
    0.9
    """
    z = _quantile(level)
    return _reduced("coverage", mean, std, truth, partial(_covered, z=z), _ratio)


def interval_width(mean: Cube, std: Cube, truth: Cube, *, level: float = 0.9) -> xr.DataArray:
    """Mean width of the intervals ``mean +- z std``, in the data's unit; of two that cover the same, less is better.

    Parameters
    ----------
    mean, std, truth : DataArray or Dataset, ([time,] [band,] y, x)
        As of :func:`coverage`, with the same pixels counted.
    level : float

    Returns
    -------
    DataArray, ([time,] [band])
        Lazy if an input is; NaN where no pixel counts.

    Raises
    ------
    GridMismatchError, BandNotFoundError, TimeAxisError, LayoutError, ParameterError
        As :func:`coverage`.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xrs.quality import interval_width
    >>> one = xr.DataArray(np.ones((4, 4), "float32"), coords={"y": -np.arange(4.0), "x": np.arange(4.0)})
    >>> round(float(interval_width(one, one, one)), 2)
    3.29
    """
    z = _quantile(level)
    found = _reduced("interval_width", mean, std, truth, partial(_widths, z=z), _ratio)
    return found.assign_attrs(units=to_array(mean).attrs.get("units", ""))


def sparsification(mean: Cube, std: Cube, truth: Cube, *, steps: int = 20) -> xr.Dataset:
    """RMSE of the pixels that are left when those of the largest standard deviation are taken away.

    A curve that falls like the oracle's, which takes away the largest errors, ranks pixels by their errors.

    Ilg et al. 2018, Uncertainty estimates and multi-hypotheses networks for optical flow, ECCV,
    10.1007/978-3-030-01234-2_40

    Parameters
    ----------
    mean, std, truth : DataArray or Dataset, ([time,] [band,] y, x)
        As of :func:`coverage`.
    steps : int
        Parts into which the pixels are cut; 2 or more.

    Returns
    -------
    Dataset
        ``rmse`` and ``oracle`` with dims ([time,] [band,] removed); ``removed`` is the share taken away, from 0 on.
        Lazy if an input is.

    Raises
    ------
    GridMismatchError, BandNotFoundError, TimeAxisError, LayoutError, ParameterError
        If the cubes do not match, or steps are fewer than 2.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xrs.quality import sparsification
    >>> rng = np.random.default_rng(0)
    >>> size = rng.uniform(0.5, 2, (100, 100)).astype("float32")
    >>> std = xr.DataArray(size, coords={"y": -np.arange(100.0), "x": np.arange(100.0)})
    >>> curves = sparsification(0 * std, std, std * rng.choice([-1, 1], size.shape))
    >>> bool(curves.rmse[-1] < 0.5 * curves.rmse[0])
    True
    """
    if steps < 2:
        raise ParameterError(f"steps={steps}", "2 or more")
    finish = partial(_curves, steps=steps)
    found = _reduced("sparsification", mean, std, truth, _histograms, finish, extra=("curve", "removed"))
    found = found.assign_coords(removed=np.arange(steps) / steps)
    return xr.Dataset({name: found.isel(curve=n).rename(name) for n, name in enumerate(("rmse", "oracle"))})


def ause(mean: Cube, std: Cube, truth: Cube, *, steps: int = 20) -> xr.DataArray:
    """Area between the curves of :func:`sparsification`, each over its RMSE of all pixels; 0 is ideal.

    Where the standard deviation tells nothing the area is that over the oracle's curve: 0.57 of normal errors.

    Parameters
    ----------
    mean, std, truth : DataArray or Dataset, ([time,] [band,] y, x)
        As of :func:`coverage`.
    steps : int
        As of :func:`sparsification`.

    Returns
    -------
    DataArray, ([time,] [band])
        Lazy if an input is.

    Raises
    ------
    GridMismatchError, BandNotFoundError, TimeAxisError, LayoutError, ParameterError
        As :func:`sparsification`.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xrs.quality import ause
    >>> values = np.arange(1, 65, dtype="float32").reshape(8, 8)
    >>> std = xr.DataArray(values, coords={"y": -np.arange(8.0), "x": np.arange(8.0)})
    >>> round(float(ause(0 * std, std, std)), 3)
    0.0
    """
    curves = sparsification(mean, std, truth, steps=steps)
    area = (curves.rmse - curves.oracle).mean("removed", skipna=False) / curves.rmse.isel(removed=0, drop=True)
    return area.rename("ause").assign_attrs(long_name="area under the sparsification error", better="lower", ideal=0.0)


def ence(mean: Cube, std: Cube, truth: Cube, *, bins: int = 10) -> xr.DataArray:
    """Expected normalised calibration error: mean over bins of abs(RMSE - RMS of std) / RMS of std; 0 is ideal.

    The bins hold equally many pixels, sorted by standard deviation.

    Levi, Gispan, Giladi and Fetaya 2022, Evaluating and calibrating uncertainty prediction in regression tasks,
    Sensors 22(15):5540, 10.3390/s22155540

    Parameters
    ----------
    mean, std, truth : DataArray or Dataset, ([time,] [band,] y, x)
        As of :func:`coverage`.
    bins : int

    Returns
    -------
    DataArray, ([time,] [band])
        Lazy if an input is.

    Raises
    ------
    GridMismatchError, BandNotFoundError, TimeAxisError, LayoutError, ParameterError
        If the cubes do not match, or bins are fewer than 1.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xrs.quality import ence
    >>> std = xr.DataArray(np.full((8, 8), 2.0, "float32"), coords={"y": -np.arange(8.0), "x": np.arange(8.0)})
    >>> float(ence(0 * std, std, 0.5 * std))
    0.5
    """
    if bins < 1:
        raise ParameterError(f"bins={bins}", "1 or more")
    return _reduced("ence", mean, std, truth, _histograms, partial(_calibration, bins=bins))


_NAMES: Mapping[str, Mapping[str, Any]] = {
    "coverage": {"long_name": "share of pixels within their interval", "units": "1"},
    "interval_width": {"long_name": "mean width of intervals", "better": "lower"},
    "sparsification": {"long_name": "RMSE of the pixels left"},
    "ence": {"long_name": "expected normalised calibration error", "units": "1", "better": "lower", "ideal": 0.0},
}


def _reduced(
    name: str, mean: Cube, std: Cube, truth: Cube, summarise: Any, finish: Any, extra: tuple[str, ...] = ()
) -> xr.DataArray:
    """Sum what ``summarise(value, std, truth)`` gives for each tile (band, ...), and finish it for each date."""
    arrays = {"mean": to_array(mean), "std": to_array(std), "truth": to_array(truth)}
    like = arrays["truth"]
    for role in ("mean", "std"):
        names = (role, "truth")
        check_grids(arrays[role], like, names)
        check_times(arrays[role], like, names)
        arrays[role] = match_bands(arrays[role], like, names)
    bands = like.sizes.get("band", 1)
    shape = (bands, *((2, finish.keywords["steps"]) if extra else ()))
    values = reduce_tiles(
        partial(_of_tile, summarise=summarise),
        _added,
        partial(_finished, finish=finish),
        {role: source_of(array) for role, array in arrays.items()},
        shape=shape,
        fill=False,
        name=f"quality-{name}",
    )
    dims = ("time", "band", *extra)
    kept = {n: c.variable for n, c in like.coords.items() if c.dims and set(c.dims) <= {"time", "band"}}
    found = xr.DataArray(values, dims=dims, name=name, attrs=dict(_NAMES[name]))
    return found.isel({d: 0 for d in ("time", "band") if d not in like.dims}).assign_coords(kept)


def _of_tile(tile: Tile, _: State, *, summarise: Any) -> Float64:
    valid = np.ones(tile["truth"].shape, bool)
    for seen in tile.valid.values():
        valid &= True if seen is None else seen
    error = np.where(valid, tile["truth"].astype(np.float64) - tile["mean"], np.nan)
    summary: Float64 = summarise(error, tile["std"].astype(np.float64), valid)
    return summary


def _added(one: Float64, other: Float64) -> Float64:
    return one + other


def _finished(summary: Float64, _: State, *, finish: Any) -> Float64:
    with np.errstate(divide="ignore", invalid="ignore"):
        result: Float64 = finish(summary)
    return result


def _covered(error: Float64, std: Float64, valid: Any, *, z: float) -> Float64:
    return np.stack([(np.abs(error) <= z * std).sum(axis=(1, 2)), valid.sum(axis=(1, 2))], 1).astype(np.float64)


def _widths(error: Float64, std: Float64, valid: Any, *, z: float) -> Float64:
    return np.stack([np.where(valid, 2 * z * std, 0.0).sum(axis=(1, 2)), valid.sum(axis=(1, 2))], 1).astype(np.float64)


def _ratio(sums: Float64) -> Float64:
    return sums[:, 0] / sums[:, 1]


def _histograms(error: Float64, std: Float64, valid: Any) -> Float64:
    """Per band: by classes of std their number, sums of squared errors and of squared std; by |error| the first two."""
    return np.stack([_histogram(e[v], s[v]) for e, s, v in zip(error, std, valid, strict=True)])


def _histogram(error: Float64, std: Float64) -> Float64:
    square = error**2
    by_std, by_error = _class_of(std), _class_of(np.abs(error))
    parts = [(by_std, None), (by_std, square), (by_std, std**2), (by_error, None), (by_error, square)]
    return np.stack([np.bincount(classes, weights, _CLASSES).astype(np.float64) for classes, weights in parts])


def _class_of(values: Float64) -> np.ndarray[Any, np.dtype[np.int64]]:
    with np.errstate(divide="ignore"):
        octaves = np.log2(values)
    return np.clip(np.floor(_FINE * (octaves - _LOWEST)), 0, _CLASSES - 1).astype(np.int64)


def _curves(histograms: Float64, *, steps: int) -> Float64:
    """RMSE of what is left (band, 2, step): by standard deviation and by error."""
    left = 1 - np.arange(steps) / steps
    pairs = [[(band[0], band[1]), (band[3], band[4])] for band in histograms]
    return np.array([[_rms_of_least(count, squares, left) for count, squares in pair] for pair in pairs])


def _rms_of_least(count: Float64, squares: Float64, shares: Float64) -> Float64:
    """Root mean square of the lowest shares; of a class that is cut, a part with the class's mean."""
    wanted = shares * count.sum()
    return np.sqrt(_up_to(wanted, count, squares) / wanted)


def _up_to(wanted: Float64, count: Float64, sums: Float64) -> Float64:
    """Sums over as many of the first pixels as wanted."""
    return np.interp(wanted, np.concatenate([[0.0], np.cumsum(count)]), np.concatenate([[0.0], np.cumsum(sums)]))


def _calibration(histograms: Float64, *, bins: int) -> Float64:
    return np.array([_of_bins(band[0], band[1], band[2], bins) for band in histograms])


def _of_bins(count: Float64, squares: Float64, variances: Float64, bins: int) -> float:
    edges = np.arange(bins + 1) / bins * count.sum()
    error, std = (np.sqrt(np.diff(_up_to(edges, count, sums))) for sums in (squares, variances))
    return float(np.mean(np.abs(error - std) / std))


def _quantile(level: float) -> float:
    if not 0 < level < 1:
        raise ParameterError(f"level={level}", "a share above 0 and below 1")
    return NormalDist().inv_cdf((1 + level) / 2)
