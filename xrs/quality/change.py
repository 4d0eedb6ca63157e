"""The four measures that tell how a spatio-temporal fusion fails: bias, error, edges and texture."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numba import njit
from numpy.typing import NDArray

from xrs.cube import to_array
from xrs.errors import ParameterError
from xrs.kernels.types import Float32, Float64
from xrs.quality.engine import Cube, check_grids, check_times, match_bands

__all__ = ["all_round"]

_NAMES = ("estimate", "reference")

#: Keeps quotients finite where neither image has an edge.
_LEAST = 1e-5


def all_round(estimate: Cube, reference: Cube, *, share: float = 0.1) -> xr.Dataset:
    """Assess a fused image all round: bias, error, edges and texture.

    Parameters
    ----------
    estimate, reference : DataArray or Dataset, ([time,] [band,] y, x)
        On the same grid, with the same dates and the same bands (in any order); lazy or not. One band of one date must
        fit in memory.
    share : float
        Share of the reference's pixels, those with the strongest edges, that ``edge`` looks at.

    Returns
    -------
    Dataset
        For each date and band, all 0 for a perfect estimate and lazy if an input is:

        - ``ad``, the mean of estimate minus reference;
        - ``rmse``, the root mean square of it;
        - ``edge``, the mean of ``(E - R) / (E + R + 1e-5)`` with the images' Roberts edges ``|a - d| + |b - c|`` in
          windows of 2 by 2 pixels, where the reference's are strongest; below 0 the estimate is too smooth, above 0
          too rough;
        - ``lbp``, the same of local binary patterns (a bit for each of the 8 neighbours that is not below the
          centre, row by row, over 255), everywhere.

        Pixels that either lacks are left out, and windows that hold one; NaN without any.

    Raises
    ------
    GridMismatchError, BandNotFoundError, TimeAxisError, LayoutError
        If the two do not match.
    ParameterError
        If the share is not above 0 and at most 1.

    References
    ----------
    Zhu, X. et al. (2022), A novel framework to assess all-round performances of spatiotemporal fusion models. Remote
    Sensing of Environment 274:113002, 10.1016/j.rse.2022.113002. Which edges count, and the order of the bits, are
    choices made here.

    Examples
    --------
    >>> import xrs
    >>> scene = xrs.scenes.landscape((32, 32), times=["2023-06-20"], wavelengths=[660, 830])
    >>> smooth = scene.rolling(x=3, center=True, min_periods=1).mean()
    >>> bool((all_round(smooth, scene).edge < 0).all())
    True
    """
    if not 0.0 < share <= 1.0:
        raise ParameterError(f"share={share!r}", "above 0, at most 1")
    one, other = to_array(estimate), to_array(reference)
    check_grids(one, other, _NAMES)
    check_times(one, other, _NAMES)
    scores = xr.apply_ufunc(
        _scores,
        match_bands(one, other, _NAMES),
        other,
        kwargs={"share": share},
        input_core_dims=[["y", "x"]] * 2,
        output_core_dims=[["score"]],
        join="override",
        dask="parallelized",
        output_dtypes=[np.float64],
        dask_gufunc_kwargs={"allow_rechunk": True, "output_sizes": {"score": 4}},
    )
    names = ("ad", "rmse", "edge", "lbp")
    return xr.Dataset({name: scores.isel(score=n) for n, name in enumerate(names)})


def _scores(estimate: Float32, reference: Float32, *, share: float) -> Float64:
    """The four measures (..., 4) of images (..., y, x)."""
    pairs = zip(_images(estimate), _images(reference), strict=True)
    return np.array([_score(e, r, share) for e, r in pairs]).reshape(*reference.shape[:-2], 4)


def _images(stack: Float32) -> Float64:
    return stack.reshape(-1, *stack.shape[-2:]).astype(np.float64)


def _score(estimate: Float64, reference: Float64, share: float) -> tuple[float, float, float, float]:
    error = estimate - reference
    edges = _roberts(estimate), _roberts(reference)
    both = np.isfinite(edges[0] + edges[1])
    strong = both & (edges[1] >= np.quantile(edges[1][both], 1.0 - share)) if both.any() else both
    return (
        _mean(error),
        _mean(error**2) ** 0.5,
        _mean(_quotient(edges[0][strong], edges[1][strong])),
        _mean(_quotient(_patterns(estimate), _patterns(reference))),
    )


def _mean(values: Float64) -> float:
    seen = values[np.isfinite(values)]
    return float(seen.mean()) if seen.size else np.nan


def _quotient(one: Float64, other: Float64) -> Float64:
    return np.asarray((one - other) / (one + other + _LEAST))


def _roberts(image: Float64) -> Float64:
    return np.abs(image[:-1, :-1] - image[1:, 1:]) + np.abs(image[:-1, 1:] - image[1:, :-1])


@njit(nogil=True, cache=True)
def _patterns(image: Float64) -> NDArray[np.float64]:
    height, width = image.shape
    out = np.full((max(height - 2, 0), max(width - 2, 0)), np.nan)
    for y in range(height - 2):
        for x in range(width - 2):
            window = image[y : y + 3, x : x + 3]
            if np.isnan(window).any():
                continue
            code, bit = 0, 1
            for n in range(9):
                if n != 4:
                    code += bit if window[n // 3, n % 3] >= window[1, 1] else 0
                    bit *= 2
            out[y, x] = code / 255.0
    return out
