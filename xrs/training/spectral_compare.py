"""Methods of spectral super-resolution held against the spectra of a scene they have not seen."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xrs.cube import band_keys, geobox_of, same_grid, to_array, wavelengths
from xrs.errors import GridMismatchError, ParameterError
from xrs.methods import Method, get_method, methods_of
from xrs.operators._sensors import sensor_of, without_layers
from xrs.operators._spectral import bands_of_cube, response_rows
from xrs.operators.spectral_pairs import spectral_pairs
from xrs.operators.spectral_superres import spectral_superres
from xrs.quality import evaluate, mrae, psnr, rmse
from xrs.sensors import Sensor, apply_response
from xrs.training.train import train

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["compare_spectral"]

_COLUMNS = {"mrae": "MRAE", "rmse": "RMSE", "psnr": "PSNR", "sam": "SAM"}


def compare_spectral(
    ms: xr.DataArray | xr.Dataset,
    hs: xr.DataArray | xr.Dataset,
    methods: Sequence[str | Method] | None = None,
    *,
    split: str = "x",
    share: float = 0.5,
    sensor: str | Sensor | None = None,
    examples: int = 10_000,
    consistent: bool | str = "auto",
    peak: float = 1.0,
    params: Mapping[str, Mapping[str, Any]] | None = None,
    training: Mapping[str, Mapping[str, Any]] | None = None,
    by_band: bool = False,
) -> pd.DataFrame:
    """Score methods of :func:`xrs.spectral_superres` on a part of a scene that they did not learn from.

    The scene is cut in two. Classical methods learn from pixels of the first part, networks are trained on it, unless
    they are given a model; all make the bands of ``hs`` in the second part, where these are the truth.

    Parameters
    ----------
    ms, hs : xarray.DataArray or xarray.Dataset, ([time,] band, y, x)
        Reflectance of two sensors on one grid, of the same dates.
    methods : sequence of str or Method, optional
        If not given, all classical methods, and of the networks those that ``params`` or ``training`` names.
    split : {"x", "y"}
        The dim that is cut.
    share : float
        Of the first part.
    sensor : str or Sensor, optional
        The instrument of ``ms``; see :func:`xrs.spectral_superres`.
    examples : int
        Pixels that classical methods learn from, at most.
    consistent : bool or "auto"
        See :func:`xrs.spectral_superres`.
    peak : float
        Of PSNR.
    params : mapping of str to mapping, optional
        Parameters of single methods, such as a ``model``.
    training : mapping of str to mapping, optional
        Arguments of :func:`xrs.train` for single networks; ``{}`` for its defaults, which take minutes. ``progress``
        is False if not given.
    by_band : bool
        Whether there is a row for each band, with its wavelength, in place of the mean; SAM has none.

    Returns
    -------
    pandas.DataFrame
        A row for each method, the best PSNR first: MRAE, RMSE, PSNR (dB, mean of bands), SAM (degrees); ``physics``,
        the mean absolute difference between ``ms`` and the result seen through its response, NaN where that is not
        known; seconds of training and of the result.

    Raises
    ------
    ParameterError
        For a split that is none, no methods, parameters of methods that are not compared, or a network without a model
        or training.
    GridMismatchError, BandNotFoundError, RadiometryError, TimeAxisError, ModelCardError
        As :func:`xrs.spectral_superres`.

    Examples
    --------
    >>> import xrs
    >>> scene = xrs.scenes.landscape((24, 48), times=["2023-06-10"], wavelengths=range(450, 900, 25)).isel(time=0)
    >>> table = compare_spectral(scene.isel(band=[1, 4, 8, 14]), scene, ["ridge", "pls"], examples=300)
    >>> list(table.columns)
    ['MRAE', 'RMSE', 'PSNR', 'SAM', 'physics', 'training', 'time']
    """
    import pandas as pd

    params, training = dict(params or {}), dict(training or {})
    chosen = _chosen(methods, params, training)
    given, wanted = (to_array(without_layers(cube)) for cube in (ms, hs))
    if not same_grid(geobox_of(given), geobox_of(wanted)):
        raise GridMismatchError("ms and hs on different grids", "one grid", "ms.rsfuse.regrid(...)")
    if split not in ("x", "y") or not 0 < share < 1:
        raise ParameterError(f"split={split!r} and share={share}", "'x' or 'y', and a share between 0 and 1")
    cut = round(given.sizes[split] * share)
    first, second = ({split: part} for part in (slice(0, cut), slice(cut, None)))
    pairs = (given.isel(first), wanted.isel(first))
    seen, truth = (cube.isel(second).compute() for cube in (given, wanted))
    instrument, bands = sensor_of(given, sensor), bands_of_cube(wanted, "hs")
    # Read once for all of them.
    drawn = None if all(record.needs_model for record in chosen) else spectral_pairs(*pairs, examples)
    frames = []
    for record in chosen:
        start = time.perf_counter()
        own, options = params.get(record.name, {}), {"sensor": sensor, **training.get(record.name, {})}
        learned = _trained(record, pairs, own, options) if record.needs_model else {**own, "library": drawn}
        trained = time.perf_counter()
        agree = consistent if instrument is not None else False
        made = spectral_superres(seen, bands, record, sensor=sensor, consistent=agree, **learned)
        made = to_array(made).compute()
        times = {"training": trained - start, "time": time.perf_counter() - trained}
        frames.append(_scores(record.name, made, truth, seen, instrument, peak, times, by_band=by_band))
    table = pd.concat(frames)
    return table if by_band else table.sort_values("PSNR", ascending=False)


def _chosen(
    methods: Sequence[str | Method] | None, params: Mapping[str, Any], training: Mapping[str, Any]
) -> list[Method]:
    """The methods to score, each of which can be run."""
    told = [name for name in methods_of("spectral") if name in params or name in training]
    names = list(dict.fromkeys([*methods_of("spectral", models=False), *told])) if methods is None else methods
    if isinstance(names, str | Method) or not len(names):
        raise ParameterError(f"methods={methods!r}", "a list of one or more methods", "methods=['ridge', 'pls']")
    chosen = [get_method(name, "spectral") for name in names]
    known = [record.name for record in chosen]
    for role, options in (("params", params), ("training", training)):
        if strange := [name for name in options if name not in known]:
            raise ParameterError(f"{role}= of {strange}, which are not compared", f"some of {known}")
    if useless := [r.name for r in chosen if r.name in training and not r.needs_model]:
        raise ParameterError(f"training= of {useless}, which are no networks", "params= for their parameters")
    for record in chosen:
        if record.needs_model and record.name not in training and "model" not in params.get(record.name, {}):
            raise ParameterError(
                f"the network {record.name!r} without a model or training",
                "either of them",
                f"params={{{record.name!r}: {{'model': ...}}}}, or training={{{record.name!r}: {{}}}} to train it as "
                "xrs.train does by default",
            )
    return chosen


def _trained(
    record: Method, pairs: tuple[xr.DataArray, xr.DataArray], params: Mapping[str, Any], training: Mapping[str, Any]
) -> dict[str, Any]:
    """Parameters of a network, with a model of two cubes unless there is one."""
    if "model" in params:
        return dict(params)
    model = train(pairs, task="spectral", network=record.name, **{"progress": False, **training})
    return {**params, "model": model}


def _scores(
    name: str,
    made: xr.DataArray,
    truth: xr.DataArray,
    seen: xr.DataArray,
    sensor: Sensor | None,
    peak: float,
    times: Mapping[str, float],
    *,
    by_band: bool,
) -> pd.DataFrame:
    import pandas as pd

    if by_band:
        scores = {"MRAE": mrae(made, truth), "RMSE": rmse(made, truth), "PSNR": psnr(made, truth, peak=peak)}
        means = {key: value.mean([d for d in value.dims if d != "band"]).values for key, value in scores.items()}
        index = pd.MultiIndex.from_product([[name], band_keys(made)], names=["method", "band"])
        return pd.DataFrame({"wavelength": wavelengths(made), **means}, index=index)
    table = evaluate(made, truth, ratio=2, peak=peak, metrics=list(_COLUMNS)).compute()
    row = {column: float(table[key].mean()) for key, column in _COLUMNS.items()}
    row |= {"physics": _misfit(made, seen, sensor), **times}
    return pd.DataFrame([row], index=pd.Index([name], name="method"))


def _misfit(made: xr.DataArray, seen: xr.DataArray, sensor: Sensor | None) -> float:
    """Mean absolute difference between what was observed and what the sensor would see in a result."""
    rows = response_rows(sensor, band_keys(seen), wavelengths(made))
    if rows is None:
        return float("nan")
    known = np.isfinite(rows).all(axis=1)
    if not known.any():
        return float("nan")
    again = apply_response(made.transpose(..., "band", "y", "x").values, rows[known])
    return float(np.nanmean(np.abs(again - seen.transpose(..., "band", "y", "x").isel(band=known).values)))
