"""Compare methods where the truth is known: Wald's protocol."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xrs.cube import band_keys, geobox_of, nest, to_array
from xrs.methods import Method, methods_of
from xrs.operators.observe import degrade
from xrs.operators.pansharpen import pansharpen
from xrs.operators.sharpen import Groups, sharpen, split_groups
from xrs.quality import evaluate
from xrs.sensors import Sensor

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["compare", "wald"]

#: Columns of the table: the names of the literature.
_COLUMNS = {
    "cc": "CC",
    "sam": "SAM",
    "psnr": "PSNR",
    "ssim": "SSIM",
    "ergas": "ERGAS",
    "rmse": "RMSE",
    "q2n": "Q2n",
}


def wald(
    ms: xr.DataArray | xr.Dataset,
    pan: xr.DataArray,
    *,
    sensor: str | Sensor | None = None,
    psf: Any = "mtf",
) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """A case whose truth is known: both observations seen ``ratio`` times coarser, and ``ms`` itself.

    Wald, Ranchin and Mangolini (1997): what is fused from the degraded observations should equal the
    original multispectral cube. Each band is degraded by its own point spread; the pan as its own sensor
    would see at that scale.

    Parameters
    ----------
    ms, pan
        As in :func:`xrs.pansharpen`.
    sensor, psf
        As in :func:`xrs.pansharpen`.

    Returns
    -------
    ms_low, pan_low, truth : xarray.DataArray
    """
    coarse, fine = to_array(ms), to_array(pan)
    nesting = nest(geobox_of(fine), geobox_of(coarse))
    coarse, fine = coarse.isel(nesting.coarse_window), fine.isel(nesting.fine_window)
    whole = {d: slice(0, coarse.sizes[d] // nesting.ratio * nesting.ratio) for d in ("y", "x")}
    truth = coarse.isel(whole)
    guide = fine.isel({d: slice(0, s.stop * nesting.ratio) for d, s in whole.items()})
    return (
        degrade(truth, nesting.ratio, sensor=sensor, psf=psf),
        degrade(guide, nesting.ratio, sensor=sensor, psf=psf if isinstance(psf, str) else "mtf"),
        truth,
    )


def compare(
    cube: xr.DataArray | xr.Dataset | Groups,
    pan: xr.DataArray | xr.Dataset | None = None,
    methods: Sequence[str | Method] | None = None,
    *,
    sensor: str | Sensor | None = None,
    psf: Any = "mtf",
    peak: float | None = None,
    border: int | None = None,
    params: Mapping[str, Mapping[str, Any]] | None = None,
) -> pd.DataFrame:
    """Score methods by Wald's protocol.

    The observations are degraded by their own ratio, fused, and held against what was observed.

    Parameters
    ----------
    cube : xarray.DataArray, xarray.Dataset or DataTree
        The multispectral cube of a pansharpening case; or, without ``pan``, the groups of a sensor with
        several resolutions, whose coarse bands are sharpened.
    pan : xarray.DataArray, optional
        The panchromatic band.
    methods : sequence of str or Method, optional
        If not given, all methods of the family, and of the networks those for which ``params`` has a model.
    sensor, psf
        The point spread both of the degradation and of the methods.
    peak : float, optional
        Peak of PSNR; the largest value of the truth if not given.
    border : int, optional
        Pixels left out along each edge; two coarse pixels and more (``2 * ratio``) if not given.
    params : mapping of str to mapping, optional
        Parameters of single methods.

    Returns
    -------
    pandas.DataFrame
        A row for each method (``exp`` is plain interpolation); columns CC, SAM (degrees), PSNR (dB), SSIM,
        ERGAS, RMSE (mean of bands), Q2n and time (seconds of the fusion itself). Means over dates and, with
        several coarse groups, over groups weighted by their bands. The best first, by ERGAS.

    Examples
    --------
    >>> import numpy as np, xrs
    >>> scene = xrs.scenes.landscape((96, 96), times=["2023-06-01"], wavelengths=[490, 560, 660, 830]).compute()
    >>> ms, pan = scene.coarsen(y=4, x=4).mean().astype("float32"), scene.mean("band").astype("float32")
    >>> table = xrs.compare(ms, pan, methods=["exp", "gsa"], border=2)
    >>> bool(table.loc["gsa", "ERGAS"] < table.loc["exp", "ERGAS"])
    True
    """
    import pandas as pd

    family = "pansharpen" if pan is not None else "sharpen"
    chosen = _all_methods(family, params or {}) if methods is None else list(methods)
    cases = [_pan_case(cube, pan, sensor, psf)] if pan is not None else _sharpen_cases(cube, sensor, psf)
    rows = [_row(method, cases, dict(params or {}), peak, border) for method in chosen]
    return pd.DataFrame(rows).set_index("method").sort_values("ERGAS")


def _all_methods(family: str, params: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Methods that need no model, and those that are given one."""
    return [*methods_of(family, models=False), *(name for name, given in params.items() if "model" in given)]


@dataclass(frozen=True)
class _Case:
    """Degraded observations in memory, the truth they came from, and how to fuse them."""

    truth: xr.DataArray
    ratio: int
    fuse: Callable[..., xr.DataArray]


def _row(
    method: str | Method,
    cases: Sequence[_Case],
    params: Mapping[str, Mapping[str, Any]],
    peak: float | None,
    border: int | None,
) -> dict[str, Any]:
    name = method.name if isinstance(method, Method) else method
    scores = [_score(case, method, params.get(name, {}), peak, border) for case in cases]
    weights = [case.truth.sizes.get("band", 1) for case in cases]
    means = {c: float(np.average([s[c] for s in scores], weights=weights)) for c in _COLUMNS.values()}
    return {"method": name, **means, "time": sum(s["time"] for s in scores)}


def _score(
    case: _Case, method: str | Method, params: Mapping[str, Any], peak: float | None, border: int | None
) -> dict[str, float]:
    start = time.perf_counter()
    fused = case.fuse(method, **params)
    elapsed = time.perf_counter() - start
    scores = evaluate(
        fused,
        case.truth,
        ratio=case.ratio,
        peak=float(case.truth.max()) if peak is None else peak,
        border=2 * case.ratio if border is None else border,
        metrics=list(_COLUMNS),
    )
    return {column: float(scores[name].mean()) for name, column in _COLUMNS.items()} | {"time": elapsed}


def _pan_case(cube: Any, pan: Any, sensor: str | Sensor | None, psf: Any) -> _Case:
    low, guide, truth = (part.compute() for part in wald(cube, pan, sensor=sensor, psf=psf))
    ratio = nest(geobox_of(truth), geobox_of(low)).ratio

    def fuse(method: str | Method, **params: Any) -> xr.DataArray:
        return pansharpen(low, guide, method, sensor=sensor, psf=psf, **params)

    return _Case(truth, ratio, fuse)


def _sharpen_cases(cube: Any, sensor: str | Sensor | None, psf: Any) -> list[_Case]:
    finest, coarse = split_groups(cube)
    return [_sharpen_case(finest, coarse, name, sensor, psf) for name in coarse]


def _sharpen_case(
    finest: xr.DataArray, coarse: Mapping[str, xr.DataArray], name: str, sensor: str | Sensor | None, psf: Any
) -> _Case:
    low, guide, truth = (part.compute() for part in wald(coarse[name], finest, sensor=sensor, psf=psf))
    keys = band_keys(truth)
    ratio = nest(geobox_of(truth), geobox_of(low)).ratio
    # Networks for the coarsest bands see the groups between as well.
    between = list(coarse)[: list(coarse).index(name)]
    groups = {"fine": guide} | {n: _as_coarse(coarse[n], truth, ratio, sensor, psf) for n in between} | {name: low}

    def fuse(method: str | Method, **params: Any) -> xr.DataArray:
        fused = sharpen(groups, method, bands=keys, sensor=sensor, psf=psf, **params)
        return to_array(fused[keys])

    return _Case(truth, ratio, fuse)


def _as_coarse(
    group: xr.DataArray, truth: xr.DataArray, ratio: int, sensor: str | Sensor | None, psf: Any
) -> xr.DataArray:
    """A finer group over the area of ``truth``, degraded like it."""
    covered = group.isel(nest(geobox_of(group), geobox_of(truth)).fine_window)
    return degrade(covered, ratio, sensor=sensor, psf=psf).compute()
