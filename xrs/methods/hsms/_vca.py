"""Vertex component analysis: the pixels at the corners of the simplex that a scene's spectra fill.

Nascimento and Bioucas-Dias 2005, Vertex component analysis: a fast algorithm to unmix hyperspectral data, IEEE
Transactions on Geoscience and Remote Sensing 43(4):898-910, 10.1109/TGRS.2005.844293.
"""

from __future__ import annotations

import numpy as np

from xrs.kernels.types import Float64

__all__ = ["vertices"]


def vertices(spectra: Float64, count: int, seed: int) -> list[int]:
    """Which pixels are the vertices.

    Parameters
    ----------
    spectra : ndarray (band, pixel)
    count : int
        Vertices wanted, at most the number of bands.
    seed : int
        Of the directions in which extremes are looked for.

    Returns
    -------
    list of int
        ``count`` pixels; some more than once if the spectra span fewer dimensions.
    """
    rng = np.random.default_rng(seed)
    points = _projected(spectra, count)
    found = np.zeros((count, count))
    found[-1, 0] = 1.0
    chosen = []
    for i in range(count):
        direction = rng.standard_normal(count)
        direction -= found @ (np.linalg.pinv(found) @ direction)
        chosen.append(int(np.abs(direction @ points).argmax()))
        found[:, i] = points[:, chosen[-1]]
    return chosen


def _projected(spectra: Float64, count: int) -> Float64:
    """Coordinates (count, pixel) in which the simplex is sought: projective if the noise allows, else orthogonal."""
    mean = spectra.mean(axis=1, keepdims=True)
    centred = spectra - mean
    basis = _strongest(centred)
    if _snr(spectra, basis[:, :count].T @ centred, mean) < 15 + 10 * np.log10(count):
        plane = basis[:, : count - 1].T @ centred
        height = np.sqrt((plane**2).sum(axis=0).max())
        return np.concatenate([plane, np.full((1, spectra.shape[1]), height)])
    points = _strongest(spectra)[:, :count].T @ spectra
    # All spectra lie on one side of the origin, so the scale is above 0 but for black pixels.
    scale = points.mean(axis=1) @ points
    return points / np.where(scale > 0, scale, np.inf)


def _strongest(spectra: Float64) -> Float64:
    """Directions (band, band) in the order of their power."""
    return np.asarray(np.linalg.eigh(spectra @ spectra.T)[1][:, ::-1])


def _snr(spectra: Float64, signal: Float64, mean: Float64) -> float:
    """Signal-to-noise ratio in dB, were all that lies outside of the signal's subspace noise."""
    (bands, pixels), count = spectra.shape, len(signal)
    power = float((spectra**2).sum()) / pixels
    kept = float((signal**2).sum()) / pixels + float((mean**2).sum())
    noise, excess = power - kept, kept - count / bands * power
    return (
        10 * float(np.log10(excess / noise)) if noise > 0 and excess > 0 else float(np.inf if noise <= 0 else -np.inf)
    )
