"""How errors grow with the distance to what was observed, for results that reach beyond it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xrs.cube import geobox_of, shared_pixels, to_array
from xrs.errors import ParameterError
from xrs.kernels.types import Float32, Float64
from xrs.lazy import reduce_tiles
from xrs.methods.base import State, Tile
from xrs.quality.engine import Cube, check_grids, check_times, match_bands, source_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["error_by_distance"]

_NAMES = ("estimate", "reference")

#: First and past-the-last row and column of the overlap.
Window = tuple[tuple[int, int], tuple[int, int]]


def error_by_distance(estimate: Cube, reference: Cube, overlap: Cube, *, width: int = 16) -> pd.DataFrame:
    """Errors in bands of distance around the area where an estimate's source was observed.

    The axis that tells how far a swath may be expanded (He et al. 2019, Remote Sensing 11:2203).

    Parameters
    ----------
    estimate, reference : DataArray or Dataset, ([time,] [band,] y, x)
        On the same grid, with the same dates and bands; lazy or not.
    overlap : DataArray or Dataset
        A cube on the same pixels that covers the observed area, such as the narrow ``hs`` of
        :func:`xrs.expand_swath`; only its extent is used.
    width : int
        Of a band of distance, in pixels.

    Returns
    -------
    pandas.DataFrame
        A row for each band: ``distance``, its outer edge in pixels (Euclidean, to the nearest pixel of the overlap's
        extent; 0 is the overlap itself), ``rmse`` over bands and pixels in the data's unit, ``sam`` in degrees
        (mean over pixels; spectra that are null in either are left out), and ``n``, the pixels of all dates that
        have all bands in both. Bands without any are left out.

    Raises
    ------
    GridMismatchError, BandNotFoundError, TimeAxisError, LayoutError
        If the two do not match, or the overlap lies elsewhere or on another grid.
    ParameterError
        If the width is below 1.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> truth = xr.DataArray(
    ...     np.ones((2, 4, 8), "float32"), coords={"band": ["a", "b"], "y": np.arange(4.0)[::-1], "x": np.arange(8.0)}
    ... )
    >>> error_by_distance(truth + truth.x / 10, truth, truth.isel(x=slice(2)), width=3).round(3)
       distance   rmse  sam   n
    0         0  0.071  0.0   8
    1         3  0.311  0.0  12
    2         6  0.606  0.0  12
    """
    import pandas as pd

    if width < 1:
        raise ParameterError(f"width={width}", "1 pixel or more")
    array, truth = to_array(estimate), to_array(reference)
    check_grids(array, truth, _NAMES)
    check_times(array, truth, _NAMES)
    array = match_bands(array, truth, _NAMES)
    window = _window_of(array, overlap)
    bands = 1 + _band_of(_farthest(array.sizes["y"], array.sizes["x"], window), width)
    sums = reduce_tiles(
        _summarise,
        np.add,
        _finish,
        {"estimate": source_of(array), "reference": source_of(truth)},
        shape=(bands, 4),
        fill=False,
        params={"window": window, "width": width, "bands": bands},
        name="error-by-distance",
    )
    squares, angles, with_angle, pixels = np.asarray(sums).sum(axis=0).T
    with np.errstate(invalid="ignore"):
        rmse = np.sqrt(squares / (pixels * truth.sizes.get("band", 1)))
        sam = angles / with_angle
    table = pd.DataFrame({"distance": np.arange(bands) * width, "rmse": rmse, "sam": sam, "n": pixels.astype(int)})
    return table[table["n"] > 0].reset_index(drop=True)


def _window_of(cube: Any, overlap: Cube) -> Window:
    """Where a cube's pixels lie in the extent of another on the same pixels."""
    found, _ = shared_pixels(geobox_of(cube), geobox_of(overlap))
    return (found["y"].start, found["y"].stop), (found["x"].start, found["x"].stop)


def _farthest(height: int, width: int, window: Window) -> float:
    """Distance of the corner farthest from the overlap."""
    (top, bottom), (left, right) = window
    return math.hypot(max(top, height - bottom), max(left, width - right))


def _band_of(distance: Any, width: int) -> Any:
    return np.ceil(distance / width).astype(np.int64)


def _beyond(index: NDArray[np.int64], first: int, past: int) -> NDArray[np.int64]:
    """Pixels from an interval, 0 inside."""
    return np.maximum(np.maximum(first - index, index - past + 1), 0)


def _summarise(tile: Tile, _: State, *, window: Window, width: int, bands: int) -> Float64:
    """Sums of squared errors, angles, pixels with an angle, and pixels, in each band of distance (band, 4)."""
    estimate, reference = tile.core("estimate"), tile.core("reference")
    rows, columns = (
        _beyond(start + np.arange(size), *interval)
        for start, size, interval in zip(tile.origin, estimate.shape[1:], window, strict=True)
    )
    band = _band_of(np.hypot(rows[:, None], columns[None]), width)
    seen = np.ones(band.shape, bool)
    for name in _NAMES:
        valid = tile.seen(name)
        seen &= True if valid is None else valid
    squares = ((estimate.astype(np.float64) - reference) ** 2).sum(axis=0)
    angles = _angles(estimate, reference)
    has_angle = seen & np.isfinite(angles)
    parts = ((squares, seen), (angles, has_angle), (has_angle, has_angle), (seen, seen))
    return np.stack([np.bincount(band[at], what[at], minlength=bands) for what, at in parts], axis=1)


def _angles(estimate: Float32, reference: Float32) -> Float64:
    """Angle between the spectra of each pixel in degrees (y, x); NaN of null ones."""
    dot = np.einsum("byx,byx->yx", estimate, reference, dtype=np.float64)
    norms = [np.einsum("byx,byx->yx", image, image, dtype=np.float64) for image in (estimate, reference)]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.degrees(np.arccos(np.clip(dot / np.sqrt(norms[0] * norms[1]), -1.0, 1.0)))


def _finish(sums: Float64, _: State, **__: Any) -> Float64:
    return sums
