"""A season of the embedded scene as Sentinel-2 sees it: sharpened, smoothed, stored, and held against the truth."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import xarray as xr

from xrs.cube import to_array
from xrs.demo._figure import draw
from xrs.errors import ParameterError
from xrs.io.product import open_product, to_product
from xrs.lazy.progress import task_bar
from xrs.operators.index import index
from xrs.operators.observe import observe
from xrs.operators.sharpen import sharpen
from xrs.operators.smooth import smooth
from xrs.plots import check_matplotlib
from xrs.quality import evaluate
from xrs.scenes import classes, clouds, cloudy, landscape

__all__ = ["SHARPENERS", "SMOOTHERS", "Result", "Season", "run_demo", "simulate"]

SENSOR = "sentinel-2a"
FINE, COARSE = ("B02", "B03", "B04", "B08"), ("B05", "B06", "B07", "B8A", "B11", "B12")
INDICES = ("NDVI", "NDRE1")
SHARPENERS = ("exp", "gsa", "bt_h", "mtf_glp_fs", "atprk", "aatprk", "supreme")
#: Names in the table to the method and its parameters.
SMOOTHERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "whittaker, λ by GCV": ("whittaker", {"lmbda": "gcv", "extrapolate": "nearest"}),
    "whittaker": ("whittaker", {"extrapolate": "nearest"}),
    "savgol": ("savgol", {}),
    "linear": ("linear", {}),
}

#: Where the bands respond, in nm: no other wavelength enters.
_WAVELENGTHS = (*range(430, 931, 10), *range(1520, 1711, 10), *range(2060, 2341, 10))
#: Standard deviation of the sensor's noise in reflectance: a signal-to-noise ratio of 100 at 0.2.
_NOISE = 0.002
_CLOUD_COVER = 0.4
_SEASON = ("2023-03-05", "2023-10-31")
_SCORED_DATES = 3
_SMOOTHER = "whittaker, λ by GCV"
_LEAST_SIZE = 64
_METRICS = {
    "cc": "CC", "sam": "SAM", "psnr": "PSNR", "ssim": "SSIM", "ergas": "ERGAS", "rmse": "RMSE", "q2n": "Q2n",
}  # fmt: skip


@dataclass(frozen=True)
class Season:
    """What was, what a sensor saw of it, and what else is known.

    Attributes
    ----------
    truth : xarray.DataArray (time, band, y, x)
        All bands at 10 m, without clouds and noise.
    observed : xarray.DataTree
        Groups ``r10m`` and ``r20m``, NaN under cloud and shadow.
    valid : xarray.DataArray (time, y, x)
        Where the ground was seen, at 10 m.
    cover : xarray.Dataset (y, x)
        Land cover and parcels.
    """

    truth: xr.DataArray
    observed: xr.DataTree
    valid: xr.DataArray
    cover: xr.Dataset


@dataclass(frozen=True)
class Result:
    """What the demo made.

    Attributes
    ----------
    season : Season
    sharpening, smoothing : pandas.DataFrame
        Scores of the methods against the truth, the best first.
    product : xarray.Dataset (time, y, x)
        The smoothed indices, as they were stored.
    """

    season: Season
    sharpening: pd.DataFrame
    smoothing: pd.DataFrame
    product: xr.Dataset


def run_demo(
    out: str | Path,
    *,
    size: int = 256,
    every: str = "5D",
    seed: int = 0,
    tell: Callable[[str], None] = print,
) -> Result:
    """Simulate a season, run the main job on it, and leave product, table and figure in a folder.

    Parameters
    ----------
    out : str or Path
        The folder: ``product.zarr`` (with its STAC item ``product.json``), ``quality.csv`` and ``figure.png``;
        what an earlier demo left there is replaced.
    size : int
        Pixels of 10 m along a side; even.
    every : str
        Time between two looks, as a pandas frequency; the season is March to October 2023.
    seed : int
        Of the landscape, the weather and the noise.
    tell : callable
        Gets a line of text at each step.

    Returns
    -------
    Result

    Raises
    ------
    ParameterError
        If ``size`` is odd or below 64.
    ProductExistsError
        If ``out`` holds something else named ``product.zarr``.

    Examples
    --------
    >>> result = run_demo("demo-output")  # doctest: +SKIP
    >>> result.sharpening.index[0]  # doctest: +SKIP
    'aatprk'
    """
    check_matplotlib()
    if size < _LEAST_SIZE or size % 2:
        raise ParameterError(f"size={size}", f"an even number of pixels from {_LEAST_SIZE} on")
    days = pd.date_range(*_SEASON, freq=every)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    tell(f"1  A landscape of {size} by {size} pixels of 10 m on {len(days)} dates, and what Sentinel-2 sees of it")
    season = simulate(size, days, seed)
    tell(f"2  Sharpening 20 m bands by {len(SHARPENERS)} methods on the {_SCORED_DATES} clearest dates")
    sharpening, images = score_sharpening(season)
    best = str(sharpening.index[0])
    tell(f"3  The season sharpened by {best}, indices {' and '.join(INDICES)}")
    indices = observe_indices(season, best)
    method, params = SMOOTHERS[_SMOOTHER]
    tell(f"4  Smoothed and filled by {_SMOOTHER}, written as a Zarr product")
    to_product(smooth(indices, method, **params), folder / "product.zarr", overwrite=True, title="xrs demo")
    product = open_product(folder / "product.zarr").compute()
    tell("5  The scores and the figure")
    truth = index(season.truth.sel(band=["B04", "B08"]), "NDVI")["NDVI"]
    smoothing = score_smoothing(indices["NDVI"], truth, season.valid)
    both = pd.concat({"sharpening": sharpening, "smoothing": smoothing}, names=["step"])
    both.to_csv(folder / "quality.csv", float_format="%.6g")
    ndvi = {"observed": indices["NDVI"].compute(), "smoothed": product["NDVI"], "truth": truth}
    draw(folder / "figure.png", images=images, ndvi=ndvi, cover=season.cover, method=best)
    return Result(season, sharpening, smoothing, product)


def simulate(size: int, dates: pd.DatetimeIndex, seed: int = 0) -> Season:
    """A landscape, and what Sentinel-2 sees of it through clouds, with noise, masked where clouds or shadows are.

    Each coarse band is the landscape at 10 m through the band's own point spread.
    """
    scene = landscape((size, size), times=dates, wavelengths=_WAVELENGTHS, seed=seed)
    wanted = [*FINE, *COARSE]
    with task_bar():
        truth = cast(xr.DataArray, observe(scene, SENSOR, bands=wanted, resolution=10.0)).compute()
        sky = clouds(scene, cover=_CLOUD_COVER, seed=seed).compute()
    seen = cast(xr.DataTree, observe(cloudy(truth, sky), SENSOR, bands=wanted, noise=_NOISE, seed=seed))
    # As with a product's own layer, a 20 m pixel is usable if all of it is, and what lies on it at 10 m with it.
    usable = sky["valid"].coarsen(y=2, x=2).min().astype(bool)
    masks = {"r20m": usable, "r10m": _refined(usable, sky["valid"])}
    groups = {name: node.to_dataset().where(_bare(masks[name])) for name, node in seen.children.items()}
    observed = xr.DataTree.from_dict(groups)
    observed.attrs = seen.attrs
    return Season(truth, observed, masks["r10m"], classes(scene).compute())


def score_sharpening(season: Season) -> tuple[pd.DataFrame, dict[str, xr.DataArray]]:
    """Scores of the sharpening methods over the clearest dates, and images of the clearest one by the best method."""
    share = season.valid.mean(("y", "x")).values
    chosen = np.sort(np.argsort(-share, kind="stable")[:_SCORED_DATES])
    few = season.observed.isel(time=chosen)
    truth = season.truth.isel(time=chosen).sel(band=list(COARSE))
    rows, fused = [], {}
    for method in SHARPENERS:
        start = time.perf_counter()
        fine = sharpen(few, method)
        elapsed = time.perf_counter() - start
        fused[method] = to_array(fine[list(COARSE)])
        scores = evaluate(fused[method], truth, ratio=2, peak=1.0, metrics=list(_METRICS))
        means = {title: float(scores[name].mean()) for name, title in _METRICS.items()}
        rows.append({"method": method, **means, "time": elapsed})
    table = pd.DataFrame(rows).set_index("method").sort_values("ERGAS")
    clearest = int(np.argmax(share[chosen]))
    images = {"observed": to_array(few["r20m"].to_dataset()), "sharpened": fused[table.index[0]], "truth": truth}
    return table, {name: image.isel(time=clearest) for name, image in images.items()}


def observe_indices(season: Season, method: str) -> xr.Dataset:
    """The indices of the sharpened season, gaps left open, held in memory."""
    lazy = season.observed.chunk({"time": 4})
    with task_bar():
        return index(sharpen(lazy, method), list(INDICES)).persist()


def score_smoothing(observed: xr.DataArray, truth: xr.DataArray, valid: xr.DataArray) -> pd.DataFrame:
    """Errors of the smoothing methods, apart where the ground was seen and where cloud hid it.

    Over the pixels and dates for which all methods have a value; ``filled`` is the share of hidden ones that have one.
    """
    seen, hidden, true = _bare(valid), ~_bare(valid), _bare(truth)
    filled, times = {}, {}
    for name, (method, params) in SMOOTHERS.items():
        start = time.perf_counter()
        filled[name] = _bare(smooth(observed, method, **params).compute())
        times[name] = time.perf_counter() - start
    common = xr.concat(list(filled.values()), "method").notnull().all("method")
    rows = []
    for name, values in filled.items():
        error = (values - true).where(common)
        scores = {
            "RMSE cloudy": _rms(error.where(hidden)),
            "RMSE clear": _rms(error.where(seen)),
            "bias cloudy": float(error.where(hidden).mean(dtype="float64")),
            "filled": float(values.notnull().where(hidden).mean()),
        }
        rows.append({"method": name, **scores, "time": times[name]})
    return pd.DataFrame(rows).set_index("method").sort_values("RMSE cloudy")


def _refined(coarse: xr.DataArray, like: xr.DataArray) -> xr.DataArray:
    return like.copy(data=coarse.values.repeat(2, axis=-2).repeat(2, axis=-1))


def _bare(cube: xr.DataArray) -> xr.DataArray:
    """Without the coordinates of pixels: grids are equal by construction, up to rounding."""
    return cube.drop_vars([name for name in ("y", "x", "spatial_ref") if name in cube.coords])


def _rms(error: xr.DataArray) -> float:
    return float(np.sqrt(np.square(error.astype("float64")).mean()))
