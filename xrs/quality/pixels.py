"""Statistics of pairs of pixels: joint moments of each band, and angles between spectra."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from xrs.kernels.types import Float32, Float64

__all__ = [
    "PairMoments",
    "angle_sums",
    "correlation",
    "mean_angle",
    "mean_relative_error",
    "pair_moments",
    "peak_signal_to_noise",
    "relative_error_sums",
    "relative_global_error",
    "rms_error",
    "rms_error_of_all",
    "signal_to_reconstruction_error",
]

#: Reference values below this share of the peak have no relative error.
_NOTHING = 1e-4

#: A band whose mean is this much smaller than its root mean square has no mean to divide by.
_NO_MEAN = 1e-6


@dataclass(frozen=True)
class PairMoments:
    """Joint moments of an estimate and its reference, each (band,); parts add up with ``+``.

    Attributes
    ----------
    count : ndarray
        Pixels where both are finite.
    estimate_mean, reference_mean : ndarray
    estimate_square, reference_square, product : ndarray
        Sums of squares and products of deviations from the means.
    error_square : ndarray
        Sum of squared differences.
    """

    count: Float64
    estimate_mean: Float64
    reference_mean: Float64
    estimate_square: Float64
    reference_square: Float64
    product: Float64
    error_square: Float64

    def __add__(self, other: PairMoments) -> PairMoments:
        count = self.count + other.count
        share = other.count / np.maximum(count, 1.0)
        lever = self.count * share
        de = other.estimate_mean - self.estimate_mean
        dr = other.reference_mean - self.reference_mean
        return PairMoments(
            count,
            self.estimate_mean + de * share,
            self.reference_mean + dr * share,
            self.estimate_square + other.estimate_square + de * de * lever,
            self.reference_square + other.reference_square + dr * dr * lever,
            self.product + other.product + de * dr * lever,
            self.error_square + other.error_square,
        )


def pair_moments(estimate: Float32, reference: Float32) -> PairMoments:
    """Joint moments of two images (band, y, x) over pixels where both are finite."""
    rows = [_band_sums(np.ravel(e), np.ravel(r)) for e, r in zip(estimate, reference, strict=True)]
    return PairMoments(*np.array(rows, dtype=np.float64).reshape(-1, 7).T.copy())


def correlation(moments: PairMoments) -> Float64:
    """Pearson correlation of each band (band,); NaN where either is constant."""
    scale = np.sqrt(moments.estimate_square) * np.sqrt(moments.reference_square)
    return np.clip(_divide(moments.product, scale), -1.0, 1.0)


def rms_error(moments: PairMoments) -> Float64:
    """Root mean square error of each band (band,)."""
    return np.sqrt(_mean_square_error(moments))


def rms_error_of_all(moments: PairMoments) -> Float64:
    """Root mean square error over all pixels of all bands, ()."""
    return np.sqrt(_divide(moments.error_square.sum(), moments.count.sum()))


def peak_signal_to_noise(moments: PairMoments, peak: float) -> Float64:
    """10 log10(peak² / MSE) of each band (band,), in dB; infinite without error."""
    return _decibel(np.full(moments.count.shape, peak**2), _mean_square_error(moments))


def signal_to_reconstruction_error(moments: PairMoments) -> Float64:
    """10 log10(mean(reference)² / MSE) of each band (band,), in dB; infinite without error."""
    return _decibel(moments.reference_mean**2, _mean_square_error(moments))


def relative_global_error(moments: PairMoments, ratio: int) -> Float64:
    """ERGAS, (): 100 / ratio times the root mean square over bands of RMSE / mean; NaN where a mean vanishes."""
    mean_square = moments.reference_mean**2
    power = mean_square + _divide(moments.reference_square, moments.count)
    usable = mean_square > _NO_MEAN**2 * power
    relative = _divide(_mean_square_error(moments), np.where(usable, mean_square, np.nan))
    return 100.0 / ratio * np.sqrt(relative.mean())


def angle_sums(estimate: Float32, reference: Float32) -> Float64:
    """Sum of the angles in degrees between the spectra of two images (band, y, x), and their number, (2,).

    Spectra with a NaN and null spectra are left out.
    """
    flat = (len(reference), -1)
    return _angles(np.ascontiguousarray(estimate).reshape(flat), np.ascontiguousarray(reference).reshape(flat))


def mean_angle(sums: Float64) -> Float64:
    """Mean of what :func:`angle_sums` counted, (); NaN of nothing."""
    return _divide(sums[0], sums[1])


def relative_error_sums(estimate: Float32, reference: Float32, peak: float) -> Float64:
    """Sums of ``|estimate - reference| / reference`` over two images (band, y, x), and their number, (band, 2).

    Pixels with NaN are left out, and those whose reference is below 1e-4 of the peak.
    """
    least = _NOTHING * peak
    return np.array([_ratios(np.ravel(e), np.ravel(r), least) for e, r in zip(estimate, reference, strict=True)])


def mean_relative_error(sums: Float64) -> Float64:
    """Means of what :func:`relative_error_sums` counted, (band,); NaN of nothing."""
    return _divide(sums[:, 0], sums[:, 1])


def _mean_square_error(moments: PairMoments) -> Float64:
    return _divide(moments.error_square, moments.count)


def _divide(numerator: Float64, denominator: Float64) -> Float64:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)


def _decibel(signal: Float64, noise: Float64) -> Float64:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(10.0 * np.log10(signal / noise))


@njit(nogil=True, cache=True, error_model="numpy")
def _band_sums(estimate: Float32, reference: Float32) -> tuple[float, float, float, float, float, float, float]:
    # Deviations from the first pair keep sums of squares free of cancellation.
    first = 0
    while first < reference.size and not np.isfinite(estimate[first] + reference[first]):
        first += 1
    if first == reference.size:
        return 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    shift_e, shift_r = np.float64(estimate[first]), np.float64(reference[first])
    count = e1 = r1 = e2 = r2 = er = dd = 0.0
    for i in range(first, reference.size):
        e, r = estimate[i] - shift_e, reference[i] - shift_r
        if np.isfinite(e + r):
            d = np.float64(estimate[i]) - np.float64(reference[i])
            count += 1.0
            e1 += e
            r1 += r
            e2 += e * e
            r2 += r * r
            er += e * r
            dd += d * d
    return (
        count,
        shift_e + e1 / count,
        shift_r + r1 / count,
        max(e2 - e1 * e1 / count, 0.0),
        max(r2 - r1 * r1 / count, 0.0),
        er - e1 * r1 / count,
        dd,
    )


@njit(nogil=True, cache=True, error_model="numpy")
def _angles(estimate: Float32, reference: Float32) -> Float64:
    bands, pixels = reference.shape
    total, count = 0.0, 0.0
    step = 1024
    ee, rr, er = np.empty(step), np.empty(step), np.empty(step)
    for start in range(0, pixels, step):
        n = min(step, pixels - start)
        ee[:] = 0.0
        rr[:] = 0.0
        er[:] = 0.0
        for b in range(bands):
            for i in range(n):
                e, r = np.float64(estimate[b, start + i]), np.float64(reference[b, start + i])
                ee[i] += e * e
                rr[i] += r * r
                er[i] += e * r
        for i in range(n):
            # One root of the product is exact for equal spectra: their angle is zero.
            norm = np.sqrt(ee[i] * rr[i])
            if np.isfinite(norm) and norm > 0.0:
                total += np.degrees(np.arccos(min(max(er[i] / norm, -1.0), 1.0)))
                count += 1.0
    return np.array([total, count])


@njit(nogil=True, cache=True, error_model="numpy")
def _ratios(estimate: Float32, reference: Float32, least: float) -> tuple[float, float]:
    total, count = 0.0, 0.0
    for i in range(reference.size):
        e, r = np.float64(estimate[i]), np.float64(reference[i])
        if np.isfinite(e + r) and r >= least:
            total += abs(e - r) / r
            count += 1.0
    return total, count
