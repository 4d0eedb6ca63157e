"""Metrics of an estimate against a reference on the same grid.

All leave out pixels where either is NaN (window and block metrics: windows and blocks that hold one), read lazy
cubes lazily, and give the same answer at any chunking: windows and blocks are counted from the scene's corner.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import xarray as xr

from xrs.cube import to_array
from xrs.errors import ParameterError
from xrs.methods.base import State, Tile
from xrs.quality.catalogue import STATISTICS, Metric, Options, Pair, select_metrics
from xrs.quality.checks import check_ratio, checked_peak, refuse_raw_numbers
from xrs.quality.engine import Cube, check_grids, check_times, match_bands, measure, source_of
from xrs.quality.place import place_of, with_gaps

__all__ = [
    "cc",
    "ergas",
    "evaluate",
    "one_metric",
    "q2n",
    "sam",
    "scc",
    "ssim",
    "uiqi",
]

_NAMES = ("estimate", "reference")


def evaluate(
    estimate: Cube,
    reference: Cube,
    *,
    ratio: int,
    peak: float | None = None,
    border: int = 0,
    metrics: Iterable[str] | None = None,
) -> xr.Dataset:
    """Compare an estimate with a reference by all metrics, in one walk over the data.

    Parameters
    ----------
    estimate, reference : DataArray or Dataset, ([time,] [band,] y, x)
        On the same grid, with the same dates and the same bands (in any order).
    ratio : int
        Resolution ratio of the fusion, low GSD over high GSD (4 for pan of 0.5 m and bands of 2 m); ERGAS divides
        by it.
    peak : float, optional
        Largest value the data can take: peak of PSNR and MRAE and data range of SSIM. If not given, the data must be
        reflectance, whose peak is 1.
    border : int
        Pixels left out along each edge of the scene.
    metrics : iterable of str, optional
        Some of ``cc, sam, psnr, ssim, rmse, rmse_global, mrae, sre, ergas, uiqi, q2n, scc``; all if not given.

    Returns
    -------
    Dataset
        A variable for each metric, scalar or (time,): those that are computed band by band as mean over bands
        (see each function for the bands' own values). Lazy if an input is. NaN where a metric is undetermined.

    Raises
    ------
    GridMismatchError, BandNotFoundError, TimeAxisError, LayoutError
        If the two do not match.
    ParameterError
        If ``ratio`` is no integer above 1, or a metric is unknown.
    RadiometryError
        If no peak is given and the mean of the reference's tiles exceeds 20, which reflectance never does; lazy
        cubes tell when they are computed.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xrs.quality import evaluate
    >>> rng = np.random.default_rng(0)
    >>> truth = xr.DataArray(
    ...     rng.uniform(0.1, 0.5, (2, 64, 64)).astype("float32"),
    ...     coords={"band": ["B04", "B08"], "y": np.arange(64.0)[::-1], "x": np.arange(64.0)},
    ... )
    >>> table = evaluate(truth + 0.01, truth, ratio=4)
    >>> round(float(table.rmse), 4), round(float(table.psnr), 1)
    (0.01, 40.0)
    """
    chosen = select_metrics(metrics, "reference")
    check_ratio(ratio)
    options = Options(ratio=int(ratio), peak=1.0 if peak is None else checked_peak(peak))
    assumed = peak is None and any(m.name in ("psnr", "ssim") for m in chosen)
    values = _measure(estimate, reference, chosen, options, border=border, reflectance=assumed)
    means = {n: v.mean("band", skipna=False, keep_attrs=True) if "band" in v.dims else v for n, v in values.items()}
    return xr.Dataset(means, attrs={"ratio": int(ratio), "peak": options.peak, "border": border})


def cc(estimate: Cube, reference: Cube) -> xr.DataArray:
    """Pearson's correlation coefficient of each band; higher is better, 1 is ideal.

    The literature's score is the mean over bands. NaN for a band where either is constant.

    Parameters
    ----------
    estimate, reference : DataArray or Dataset, ([time,] [band,] y, x)

    Returns
    -------
    DataArray, ([time,] [band])

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xrs.quality import cc
    >>> truth = xr.DataArray([[1.0, 2.0], [3.0, 5.0]], coords={"y": [1.0, 0.0], "x": [0.0, 1.0]})
    >>> round(float(cc(2 * truth + 1, truth)), 6)
    1.0
    """
    return one_metric("cc", estimate, reference)


def sam(estimate: Cube, reference: Cube) -> xr.DataArray:
    """Spectral angle: mean over pixels of the angle between spectra, in degrees; lower is better, 0 is ideal.

    Spectra that are null in either image have no angle and are left out, as in the toolbox of Vivone et al. (2021);
    codes that count them as zero give smaller numbers on masked scenes. Cosines are clipped in float64. sewar and
    torchmetrics give radians. A pixel with NaN in any band is left out.

    Parameters
    ----------
    estimate, reference : DataArray or Dataset, ([time,] band, y, x)

    Returns
    -------
    DataArray, ([time])

    References
    ----------
    Kruse et al. (1993), Remote Sensing of Environment 44:145-163, 10.1016/0034-4257(93)90013-N.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xrs.quality import sam
    >>> grid = {"band": ["red", "nir"], "y": [1.0, 0.0], "x": [0.0, 1.0]}
    >>> one = xr.DataArray(np.ones((2, 2, 2)), coords=grid)
    >>> other = one * xr.DataArray([1.0, 0.0], dims="band")
    >>> round(float(sam(other, one)), 4)
    45.0
    """
    return one_metric("sam", estimate, reference)


def ssim(estimate: Cube, reference: Cube, *, data_range: float) -> xr.DataArray:
    """Structural similarity of each band; higher is better, 1 is ideal.

    Gaussian windows of 11 by 11 pixels with standard deviation 1.5, K1 = 0.01, K2 = 0.03, moments of the
    population, mean over windows that lie inside the scene: as published, and as scikit-image computes with
    ``gaussian_weights=True, sigma=1.5, use_sample_covariance=False`` (its default is a uniform 7 by 7 window).
    NaN for scenes smaller than a window.

    Parameters
    ----------
    estimate, reference : DataArray or Dataset, ([time,] [band,] y, x)
    data_range : float
        Range of the values the data can take: 1.0 for reflectance.

    Returns
    -------
    DataArray, ([time,] [band])

    References
    ----------
    Wang et al. (2004), IEEE Transactions on Image Processing 13(4):600-612, 10.1109/TIP.2003.819861.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xrs.quality import ssim
    >>> values = np.random.default_rng(0).random((32, 32))
    >>> truth = xr.DataArray(values, coords={"y": np.arange(32.0)[::-1], "x": np.arange(32.0)})
    >>> round(float(ssim(truth, truth, data_range=1.0)), 6)
    1.0
    """
    return one_metric("ssim", estimate, reference, peak=checked_peak(data_range, "data_range"))


def ergas(estimate: Cube, reference: Cube, *, ratio: int) -> xr.DataArray:
    """Relative dimensionless global error, ``100 / ratio * sqrt(mean_b (RMSE_b / mean_b)²)``; lower is better.

    Parameters
    ----------
    estimate, reference : DataArray or Dataset, ([time,] [band,] y, x)
    ratio : int
        Low GSD over high GSD, an integer above 1, which divides: 4 for pan of 0.5 m and bands of 2 m. sewar takes
        its inverse; some codes of spectral super-resolution take 1.

    Returns
    -------
    DataArray, ([time])
        NaN if the mean of a band's reference vanishes (below 1e-6 of its root mean square).

    References
    ----------
    Wald (2002), Data Fusion: Definitions and Architectures, Presses des Mines, Paris.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xrs.quality import ergas
    >>> truth = xr.DataArray(np.full((2, 2), 0.5), coords={"y": [1.0, 0.0], "x": [0.0, 1.0]})
    >>> round(float(ergas(truth + 0.05, truth, ratio=4)), 4)
    2.5
    """
    check_ratio(ratio)
    return one_metric("ergas", estimate, reference, ratio=int(ratio))


def uiqi(estimate: Cube, reference: Cube, *, window: int = 8) -> xr.DataArray:
    """Universal image quality index of each band; higher is better, 1 is ideal.

    ``4 s_er m_e m_r / ((s_e² + s_r²)(m_e² + m_r²))``, mean over windows sliding by one pixel inside the scene. Wang and
    Bovik's window has 8 by 8 pixels; pansharpening toolboxes slide one of 32, and QNR takes separate blocks of 32
    (:func:`evaluate_fullres`). Where both are constant the index is ``2 m_e m_r / (m_e² + m_r²)``, and 1 where both
    means vanish, as in the authors' code. NaN for scenes smaller than a window.

    Parameters
    ----------
    estimate, reference : DataArray or Dataset, ([time,] [band,] y, x)
    window : int
        Side of the window in pixels.

    Returns
    -------
    DataArray, ([time,] [band])

    References
    ----------
    Wang & Bovik (2002), IEEE Signal Processing Letters 9(3):81-84, 10.1109/97.995823.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xrs.quality import uiqi
    >>> values = np.random.default_rng(0).random((32, 32))
    >>> truth = xr.DataArray(values, coords={"y": np.arange(32.0)[::-1], "x": np.arange(32.0)})
    >>> round(float(uiqi(2 * truth, truth)), 4)
    0.64
    """
    if window != int(window) or window < 2:
        raise ParameterError(f"window={window!r}", "an integer above 1, in pixels")
    return one_metric("uiqi", estimate, reference, window=int(window))


def q2n(estimate: Cube, reference: Cube) -> xr.DataArray:
    """Hypercomplex quality index Q2n (Q4 for four bands, Q8 for eight); higher is better, 1 is ideal.

    Separate blocks of 32 by 32 pixels from the scene's corner; blocks that reach beyond the far edges are mirrored.
    Bands fill up to a power of two with zeros. In each block both images are standardised by the reference's mean
    and standard deviation, band by band, plus one; the estimate is conjugated. As in the reference toolbox, with these
    differences: the toolbox rounds both images to integers first, so its data must be digital numbers; here values are
    taken as they are. It skips the division by the standard deviation for a block whose mean is
    exactly zero; here it is always divided.

    Parameters
    ----------
    estimate, reference : DataArray or Dataset, ([time,] band, y, x)

    Returns
    -------
    DataArray, ([time])
        Mean over blocks without NaN.

    References
    ----------
    Garzelli & Nencini (2009), IEEE Geoscience and Remote Sensing Letters 6(4):662-665, 10.1109/LGRS.2009.2022650.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xrs.quality import q2n
    >>> values = np.random.default_rng(0).random((4, 64, 64))
    >>> grid = {"band": list("bgrn"), "y": np.arange(64.0)[::-1], "x": np.arange(64.0)}
    >>> truth = xr.DataArray(values, coords=grid)
    >>> round(float(q2n(truth, truth)), 6)
    1.0
    """
    return one_metric("q2n", estimate, reference)


def scc(estimate: Cube, reference: Cube) -> xr.DataArray:
    """Spatial correlation coefficient: correlation of gradient magnitudes; higher is better, 1 is ideal.

    Sobel magnitudes, all bands pooled, means not removed, as in the toolbox of Vivone et al. (2021); Zhou, Civco
    and Silander (1998, 10.1080/014311698215973) took a Laplacian and Pearson's coefficient, other codes plain CC.
    Gradients are taken where all neighbours lie inside the scene; the toolbox crops one pixel and pads with zeros,
    so its outermost gradients are of the padding.

    Parameters
    ----------
    estimate, reference : DataArray or Dataset, ([time,] [band,] y, x)

    Returns
    -------
    DataArray, ([time])
        NaN if either has no gradients.

    References
    ----------
    Vivone et al. (2021), IEEE Geoscience and Remote Sensing Magazine 9(1):53-81, 10.1109/MGRS.2020.3019315.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xrs.quality import scc
    >>> values = np.random.default_rng(0).random((8, 8))
    >>> truth = xr.DataArray(values, coords={"y": np.arange(8.0)[::-1], "x": np.arange(8.0)})
    >>> round(float(scc(3 * truth + 1, truth)), 6)
    1.0
    """
    return one_metric("scc", estimate, reference)


def one_metric(name: str, estimate: Cube, reference: Cube, **options: Any) -> xr.DataArray:
    """A single metric, with its own options."""
    return _measure(estimate, reference, select_metrics([name], "reference"), Options(**options))[name]


def _measure(
    estimate: Cube,
    reference: Cube,
    metrics: list[Metric],
    options: Options,
    *,
    border: int = 0,
    reflectance: bool = False,
) -> dict[str, xr.DataArray]:
    e, r = _matched(estimate, reference, border)
    needs = {need for m in metrics for need in m.needs}
    halo = max(STATISTICS[need].window(options) for need in needs) - 1
    params = {"options": options, "scene": (r.sizes["y"], r.sizes["x"]), "reflectance": reflectance}
    sources = {"estimate": source_of(e), "reference": source_of(r)}
    return measure(metrics, _summarise, sources, like=r, halo=halo, params=params)


def _matched(estimate: Cube, reference: Cube, border: int) -> tuple[xr.DataArray, xr.DataArray]:
    e, r = to_array(estimate), to_array(reference)
    check_grids(e, r, _NAMES)
    check_times(e, r, _NAMES)
    e = match_bands(e, r, _NAMES)
    if border != int(border) or not 0 <= 2 * border < min(r.sizes["y"], r.sizes["x"]):
        raise ParameterError(
            f"border={border!r} on {r.sizes['y']} by {r.sizes['x']} pixels", "a width that leaves pixels to compare"
        )
    inner = {dim: slice(border, r.sizes[dim] - border) for dim in ("y", "x")}
    return e.isel(inner), r.isel(inner)


def _summarise(
    tile: Tile,
    _: State,
    *,
    needs: tuple[str, ...],
    options: Options,
    scene: tuple[int, int],
    reflectance: bool,
    **__: Any,
) -> Mapping[str, Any]:
    place = place_of(tile, "reference", scene)
    pair = Pair(with_gaps(tile, "estimate"), with_gaps(tile, "reference"), place)
    if reflectance:
        refuse_raw_numbers(pair.pixels()[1])
    return {need: STATISTICS[need].summarise(pair, options) for need in needs}
