"""Brovey transform with haze correction.

``F_b = (M_b - H_b)+ P' / I + H_b`` with the interpolated bands ``M``, their haze ``H``,
``I = sum_b a_b (M_b - H_b)``, ``a`` from the regression (without a constant) of the low-passed pan ``L`` on the bands,
and the pan matched as ``P' = (P - mean L) std I / std L + mean I``. ``L`` is the pan decimated with the sensor's point
spread and interpolated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xrs.kernels import Moments, merge_moments
from xrs.kernels.types import Float32, Float64
from xrs.methods.base import Method, Param, Pass, Reference, State, Tile
from xrs.methods.pansharpen._common import (
    KERNEL,
    PSF,
    Psf,
    covariance_of,
    decimated_pan,
    psf_halo,
    quotient,
    regression,
    seen_coarse,
    seen_fine,
)
from xrs.methods.pansharpen._layers import Layers, layer_moments, layers_of, modulate

#: Share of the pixels that are darker than the haze's percentile.
_DARK = 0.01

#: Low bits of a float32 that counting leaves out: values are told apart to a relative 1.2e-4.
_DROPPED = np.int32(11)


class _Counts(NamedTuple):
    """How often each value occurs."""

    values: Float32
    counts: NDArray[np.int64]


def _count(values: Float32) -> _Counts:
    half = np.int32(1) << (_DROPPED - np.int32(1))
    bits = np.ascontiguousarray(values, np.float32).view(np.int32)
    rounded = (((bits + half) >> _DROPPED) << _DROPPED).view(np.float32)
    found, counts = np.unique(rounded, return_counts=True)
    return _Counts(found, counts.astype(np.int64))


def _join(one: _Counts, other: _Counts) -> _Counts:
    values, at = np.unique(np.concatenate([one.values, other.values]), return_inverse=True)
    counts = np.zeros(values.size, np.int64)
    np.add.at(counts, at, np.concatenate([one.counts, other.counts]))
    return _Counts(values, counts)


def _percentile(counts: _Counts, share: float) -> float:
    reached = np.cumsum(counts.counts)
    return float(counts.values[np.searchsorted(reached, share * reached[-1])]) if counts.values.size else 0.0


class _Summary(NamedTuple):
    moments: Moments
    counts: tuple[_Counts, ...]  # a band each, if percentiles are asked for


def _layers(tile: Tile, kernel: str, psf: Psf) -> Layers:
    return layers_of(tile, kernel, coarse=[decimated_pan(tile, psf)])


def _summarise(tile: Tile, _state: State, *, haze: Sequence[float] | None, kernel: str, psf: Psf, **_: Any) -> _Summary:
    moments = layer_moments(_layers(tile, kernel, psf), seen_fine(tile))
    if haze is None:
        return _Summary(moments, ())
    bands, seen = tile.core("ms"), seen_coarse(tile)
    return _Summary(moments, tuple(_count(band.ravel() if seen is None else band[seen]) for band in bands))


def _merge(one: _Summary, other: _Summary) -> _Summary:
    counts = tuple(_join(a, b) for a, b in zip(one.counts, other.counts, strict=True))
    return _Summary(merge_moments(one.moments, other.moments), counts)


def _solve(summary: _Summary, _state: State, *, haze: Sequence[float] | None, **_: Any) -> State:
    moments = summary.moments
    mean, low, pan = moments.mean, moments.mean.size - 2, moments.mean.size - 1
    covariance = covariance_of(moments)
    products = covariance + np.outer(mean, mean)
    intensity = regression(products[:low, :low], products[:low, low])
    offset = _haze(summary, haze) if moments.count else np.zeros(low)
    level = float(intensity @ (mean[:low] - offset))
    spread = intensity @ covariance[:low, :low] @ intensity
    match = float(np.sqrt(quotient(spread, covariance[low, low])))
    denominator = np.zeros((1, mean.size + 1))
    denominator[0, :low] = intensity
    denominator[0, -1] = -intensity @ offset
    numerator = np.zeros((1, mean.size + 1))
    numerator[0, pan] = match
    numerator[0, -1] = level - match * mean[low]
    return {"numerator": numerator, "denominator": denominator, "offset": offset}


def _haze(summary: _Summary, factors: Sequence[float] | None) -> Float64:
    if factors is None:
        return summary.moments.low[:-2]
    percentiles = [_percentile(counts, _DARK) for counts in summary.counts]
    return np.asarray(factors, np.float64) * percentiles


def _apply(tile: Tile, state: State, *, kernel: str, psf: Psf, **_: Any) -> Float32:
    layers = _layers(tile, kernel, psf)
    return modulate(layers, state["numerator"], state["denominator"], state["offset"], positive=True)


METHOD = Method(
    name="bt_h",
    family="pansharpen",
    summary="Brovey on the bands without haze, with the intensity regressed on the low-passed pan.",
    apply=_apply,
    reference=Reference(
        "Lolli, Alparone, Garzelli and Vivone 2017, Haze correction for contrast-based multispectral "
        "pansharpening, IEEE Geoscience and Remote Sensing Letters 14(12):2255-2259",
        "10.1109/LGRS.2017.2761021",
    ),
    passes=(Pass(_summarise, _merge, _solve),),
    params=(
        Param(
            "haze",
            None,
            "factor of each band's first percentile (told to a relative 1.2e-4): 0.95, 0.45, 0.40, 0.05 for "
            "blue, green, red and near infrared; the minimum of each interpolated band if not given",
        ),
        KERNEL,
        PSF,
    ),
    halo=psf_halo,
    differs=(
        "Percentiles are of the bands before interpolation, and taken only if factors are given, since bands "
        "have no order. Where the intensity is not above 1e-6 the bands stay as interpolated."
    ),
)
