"""Separable point spread functions between a fine grid and the coarse grid it nests in.

A coarse pixel is centred on its block of ``ratio`` fine pixels: between two of them if the ratio
is even. So taps lie symmetrically about that centre and their number has the ratio's parity.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["box_taps", "gaussian_box_taps", "gaussian_taps", "reach_of", "sigma_of_gain", "stack_taps"]

#: Standard deviations kept on either side: the tail beyond holds less than 1e-4 of the energy.
_TRUNCATE = 4.0


def sigma_of_gain(gain: float, ratio: int) -> float:
    """Standard deviation, in fine pixels, of the Gaussian with this gain at the coarse Nyquist frequency.

    The modulation transfer function of a Gaussian is ``exp(-2 pi² s² f²)``; at ``f = 1/(2 ratio)``
    it equals ``gain`` for ``s = ratio sqrt(-2 ln(gain)) / pi``.
    """
    return float(ratio * np.sqrt(-2.0 * np.log(gain)) / np.pi)


def gaussian_taps(gain: float, ratio: int) -> NDArray[np.float64]:
    """Taps of the Gaussian with modulation transfer ``gain`` at the coarse Nyquist frequency; sum 1."""
    return _sampled_gaussian(sigma_of_gain(gain, ratio), ratio)


def box_taps(ratio: int) -> NDArray[np.float64]:
    """Taps of the block mean."""
    return np.full(ratio, 1.0 / ratio)


def gaussian_box_taps(sigma: float, ratio: int) -> NDArray[np.float64]:
    """Taps of a Gaussian of ``sigma`` fine pixels followed by the block mean.

    With ``sigma = 1/ratio`` this is how DSen2 (Lanaras et al. 2018, 10.1016/j.isprsjprs.2018.09.018)
    makes its training data.
    """
    return np.convolve(_sampled_gaussian(sigma, 1), box_taps(ratio))


def stack_taps(taps: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Taps of several bands as one array (band, tap), short ones padded with zeros on both sides."""
    width = max(t.size for t in taps)
    return np.stack([np.pad(t, (width - t.size) // 2) for t in taps])


def reach_of(taps: NDArray[np.float64], ratio: int) -> int:
    """How many coarse pixels beyond its own block the taps of a coarse pixel reach."""
    return -(-max(taps.shape[-1] - ratio, 0) // (2 * ratio))


def _sampled_gaussian(sigma: float, ratio: int) -> NDArray[np.float64]:
    half = max(int(np.ceil(_TRUNCATE * sigma)), ratio // 2)
    offsets = np.arange(-half, half) + 0.5 if ratio % 2 == 0 else np.arange(-half, half + 1.0)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    return weights / weights.sum()
