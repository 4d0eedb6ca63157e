"""EFAST: a weighted mean of the fine images, moved by what the coarse series has changed since."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import njit
from scipy.ndimage import distance_transform_edt

from xrs.kernels import upsample
from xrs.kernels.types import Bool, Float32, Float64
from xrs.methods.base import Method, Param, Pass, Reference, State, Tile
from xrs.methods.spatiotemporal._grids import seen_in_all_bands, to_fine, trimmed

__all__ = ["METHOD"]

#: A coarse value is interpolated in time from at least so many dates.
_FEWEST = 4


def apply(
    tile: Tile,
    state: State,
    *,
    sigma: float,
    max_days: float,
    distance: float,
    **_: Any,
) -> Float32:
    """Predict one tile.

    Parameters
    ----------
    tile : Tile
        ``fine`` (pair, band, y, x), ``series`` (date, band, y, x), days of both and of ``target``.
    state : mapping
        ``clear`` (pair, y, x): the coarse pixels of the scene without clouds.
    sigma, max_days, distance
        See the parameters of the record.

    Returns
    -------
    ndarray, float32, (target, band, y, x)
        On the fine grid, without halo. NaN where no fine image counts: all are cloudy or within one coarse pixel of a
        cloud; and where the coarse series is known on fewer than four dates.
    """
    ratio = tile.factors["fine"] // tile.factors["series"]
    fine, seen = tile["fine"], seen_in_all_bands(tile, "fine")
    out = np.full((tile.days["target"].size, fine.shape[1], *tile.core("fine").shape[-2:]), np.nan, np.float32)
    if "clear" not in state:
        return out
    clear = _clearness(state["clear"], tile, distance)
    for t, day in enumerate(tile.days["target"]):
        away = tile.days["fine"] - day
        near = np.abs(away) < max_days
        weights = np.exp(-(away[near] ** 2) / (2.0 * sigma**2))[:, None, None] * clear[near]
        coarse = _interpolated(tile, day, np.concatenate([[0.0], away[near]]), 1.5 * max_days)
        out[t] = tile.core("fine", _fused(fine[near], seen[near], coarse, weights, ratio))
    return out


def _clearness(clear: Bool, tile: Tile, distance: float) -> Float64:
    """What the distance from clouds counts in each coarse pixel of a tile (pair, y, x): 0 next to one, 1 far away."""
    # No cloud is beyond the scene, and its edges go on as they are.
    rows, columns = (
        (np.arange(side) + first - tile.halo).clip(0, end - 1)
        for first, side, end in zip(tile.origin, tile["series"].shape[-2:], clear.shape[1:], strict=True)
    )
    reach = int(np.ceil(distance)) + 1
    top, left = max(rows[0] - reach, 0), max(columns[0] - reach, 0)
    window = clear[:, top : rows[-1] + reach + 1, left : columns[-1] + reach + 1]
    far = np.stack([np.full(w.shape, np.inf) if w.all() else distance_transform_edt(w) for w in window])
    return np.clip((far[:, rows - top][..., columns - left] - 1.0) / distance, 0.0, 1.0)


def _interpolated(tile: Tile, day: float, offsets: Float64, reach: float) -> Float32:
    """The coarse series on days (offset from ``day``), from dates nearer than ``reach`` (offset, band, y, x)."""
    away = tile.days["series"] - day
    near = np.abs(away) < reach
    series, valid = tile["series"][near], tile.valid["series"]
    seen = np.ones(series.shape, np.bool_) if valid is None else valid[near]
    out = np.empty((offsets.size, *series.shape[1:]), np.float32)
    flat = (-1, int(np.prod(series.shape[1:])))
    _interpolate(series.reshape(flat), seen.reshape(flat), away[near], offsets, out.reshape(flat))
    return out


def _fused(fine: Float32, seen: Bool, coarse: Float32, weights: Float64, ratio: int) -> Float32:
    """One date (band, y, x) from fine images (pair, band, y, x) and the coarse ones then and on each date."""
    total = np.zeros(fine.shape[-2:], np.float32)
    moved = np.zeros(fine.shape[1:], np.float32)
    for image, there, before, weight in zip(fine, seen, coarse[1:], weights, strict=True):
        counts = np.where(there, upsample(weight[None].astype(np.float32), ratio, "bilinear")[0], np.float32(0.0))
        moved += counts * (image + _to_fine_grid(coarse[0] - before, ratio))
        total += counts
    counted = total > 0.0
    return np.where(counted, moved / np.where(counted, total, np.float32(1.0)), np.float32(np.nan))


def _to_fine_grid(change: Float32, ratio: int) -> Float32:
    """Bilinear interpolation (band, y, x) between the pixels that are known; NaN in those that are not."""
    known = np.isfinite(change)
    if known.all():
        return upsample(change, ratio, "bilinear")
    share = upsample(known.astype(np.float32), ratio, "bilinear")
    value = upsample(np.where(known, change, np.float32(0.0)), ratio, "bilinear")
    return np.where(to_fine(known, ratio), value / np.where(share > 0.0, share, np.float32(1.0)), np.float32(np.nan))


@njit(nogil=True, cache=True, error_model="numpy")
def _interpolate(series, seen, days, targets, out):  # type: ignore[no-untyped-def]
    """Straight lines between the dates seen of each series (date, n), and on beyond the first and last two."""
    used = np.empty(days.size, np.int64)
    for n in range(series.shape[1]):
        count = 0
        for k in range(days.size):
            if seen[k, n]:
                used[count] = k
                count += 1
        for i in range(targets.size):
            if count < _FEWEST:
                out[i, n] = np.nan
                continue
            right = 1
            while right < count - 1 and days[used[right]] < targets[i]:
                right += 1
            a, b = used[right - 1], used[right]
            part = (targets[i] - days[a]) / (days[b] - days[a])
            out[i, n] = series[a, n] + part * (np.float64(series[b, n]) - series[a, n])


#: Parts of the scene: row and column of the first coarse pixel, where they are clear (pair, y, x), and where anything
#: was seen (y, x).
_Parts = list[tuple[tuple[int, int], Bool, Bool]]


def _find_clear(tile: Tile, _state: State, *, tolerance: float, **_: Any) -> _Parts:
    ratio = tile.factors["fine"] // tile.factors["series"]
    fine = trimmed(seen_in_all_bands(tile, "fine"), tile.halo * ratio)
    pairs, height, width = fine.shape
    shares = fine.reshape(pairs, height // ratio, ratio, width // ratio, ratio).mean(axis=(2, 4))
    layers = np.concatenate([shares > 0.0, trimmed(seen_in_all_bands(tile, "series"), tile.halo)])
    return [(tile.origin, np.asarray(1.0 - shares < tolerance), np.asarray(layers.any(axis=0)))]


def _solve(parts: _Parts, _state: State, **_: Any) -> State:
    # The scene ends where anything was last seen: tiles of which nothing was seen give no part.
    places = np.concatenate([np.argwhere(some) + first for first, _, some in parts])
    if not places.size:
        return {}
    clear = np.zeros((len(parts[0][1]), *(places.max(axis=0) + 1)), np.bool_)
    for (row, column), part, _some in parts:
        place = clear[:, row : row + part.shape[1], column : column + part.shape[2]]
        place[:] = part[:, : place.shape[1], : place.shape[2]]
    return {"clear": clear}


def _halo(factors: Mapping[str, int], **_: Any) -> int:
    return 1  # bilinear interpolation


METHOD = Method(
    name="efast",
    family="spatiotemporal",
    summary="A weighted mean of the fine images, moved by the change of the coarse series.",
    apply=apply,
    reference=Reference(
        "Senty, Guzinski, Grogan, Buitenwerf, Ardö, Eklundh, Koukos, Tagesson and Munk 2024, Fast fusion of Sentinel-2 "
        "and Sentinel-3 time series over rangelands, Remote Sensing 16(11):1833",
        "10.3390/rs16111833",
    ),
    params=(
        Param("sigma", 20.0, "spread of a fine image's weight in time, in days", "above 0", lambda s: s > 0),
        Param(
            "max_days",
            30.0,
            "fine images are used nearer than this, coarse ones 1.5 times as far",
            "above 0",
            lambda d: d > 0,
        ),
        Param(
            "distance", 15.0, "coarse pixels over which a cloud's neighbourhood counts less", "above 0", lambda d: d > 0
        ),
        Param("tolerance", 0.05, "share of a coarse pixel that clouds may hide", "above 0 to 1", lambda s: 0 < s <= 1),
    ),
    passes=(Pass(_find_clear, operator.add, _solve),),
    halo=_halo,
    needs=("fine", "series"),
    pairs=(1, 99),
    differs=(
        "The coarse series is taken as it is given; the authors first make median composites of it and smooth them. "
        "No fine image is left out for its small mean weight, which their program can do and their example does not. "
        "Next to coarse pixels without a value, the others are interpolated."
    ),
)
