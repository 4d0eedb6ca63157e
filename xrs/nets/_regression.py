"""Layers without convolutions that start a network near the answer and hold it to what was observed.

Both know the point spread from the fine grid to the coarse one, which is no weight: it can be changed after training.
Their arithmetic stays float32 under mixed precision, for it solves small linear systems.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from xrs.errors import ParameterError
from xrs.kernels.psf import box_taps
from xrs.nets._blocks import upsampled
from xrs.sensors.torch_forward import decimate, decimate_adjoint

__all__ = ["LocalRegression", "PointSpread", "modulation"]

#: Darker than this share of the mean, a guide tells no ratio.
_DARK = 0.01


class PointSpread(nn.Module):
    """How a fine image is seen on the coarse grid, and the correction of a fine image by what was seen.

    Parameters
    ----------
    psf : sequence, optional
        Separable taps (tap,) or (band, tap); the block mean if not given.
    bands, ratio : int
        Of the coarse image.
    """

    taps: Tensor

    def __init__(self, psf: Sequence[Any] | None, bands: int, ratio: int) -> None:
        super().__init__()
        taps = torch.as_tensor(box_taps(ratio) if psf is None else psf, dtype=torch.float32)
        taps = taps.reshape(-1, taps.shape[-1]) if taps.ndim in (1, 2) else taps
        if taps.ndim != 2 or len(taps) not in (1, bands):
            raise ParameterError(f"psf of shape {tuple(taps.shape)}", f"taps (tap,) or ({bands}, tap)")
        self.ratio = ratio
        # Not among the weights: the same weights serve other point spreads.
        self.register_buffer("taps", taps, persistent=False)

    def seen(self, fine: Tensor) -> Tensor:
        """Bands of the coarse image's kind on the coarse grid."""
        return decimate(fine, self.taps, self.ratio)

    def guides(self, fine: Tensor) -> Tensor:
        """Any bands on the coarse grid, through the mean of the bands' point spreads."""
        return decimate(fine, self.taps.mean(dim=0), self.ratio)

    def corrected(self, fine: Tensor, coarse: Tensor, times: int) -> Tensor:
        """Landweber's iteration towards a fine image that is seen as ``coarse``; it changes nothing else.

        Landweber 1951, 10.2307/2372313. The step is the squared ratio: what is missing of a flat field comes at once.
        """
        for _ in range(times):
            missing = coarse - self.seen(fine)
            fine = fine + self.ratio**2 * decimate_adjoint(missing, self.taps, self.ratio)
        return fine


class LocalRegression(nn.Module):
    """Each coarse band as a linear function of the fine bands, fitted in a window around each coarse pixel.

    ::

        a = w + (C + l I)^-1 (c - C w)        C, c: covariances of the fine bands seen coarsely, with one another
                                              and with the coarse band, in the window
        result = up(a) fine + up(mean of the coarse band - a mean of the fine bands)

    The weights ``w`` and the ridge ``l`` are learned: what holds between the bands where a window has no contrast.

    Parameters
    ----------
    guides, bands : int
        Fine and coarse bands.
    window : int
        Side of the window in coarse pixels; odd.
    ratio : int
    """

    def __init__(self, guides: int, bands: int, window: int, ratio: int) -> None:
        super().__init__()
        if window < 3 or window % 2 == 0:
            raise ParameterError(f"window={window}", "an odd number from 3 on, or 0 for none")
        self.window, self.ratio = window, ratio
        self.prior = nn.Parameter(torch.zeros(bands, guides))
        # Values are about one; contrasts of a hundredth count.
        self.log_ridge = nn.Parameter(torch.full((1,), math.log(1e-4)))

    def forward(self, fine: Tensor, seen: Tensor, coarse: Tensor) -> Tensor:
        """The regression's result (N, band, y, x).

        Parameters
        ----------
        fine : Tensor (N, guide, y, x)
        seen : Tensor (N, guide, y / ratio, x / ratio)
            The fine bands on the coarse grid.
        coarse : Tensor (N, band, y / ratio, x / ratio)
        """
        means, target = self._mean(seen), self._mean(coarse)
        prior = list(self.prior.T[..., None, None])
        weights = self._weights(seen, means, coarse, target, prior)
        offset = target - _combined(weights, means)
        return upsampled(offset, self.ratio) + _combined([upsampled(w, self.ratio) for w in weights], fine)

    def _weights(
        self, seen: Tensor, means: Tensor, coarse: Tensor, target: Tensor, prior: Sequence[Tensor]
    ) -> list[Tensor]:
        """For each guide its weights (N, band, y, x)."""
        columns, middles = torch.split(seen, 1, dim=1), torch.split(means, 1, dim=1)
        count, ridge = len(columns), self.log_ridge.exp()
        upper = {
            (i, j): self._mean(columns[i] * columns[j]) - middles[i] * middles[j]
            for i in range(count)
            for j in range(i, count)
        }
        covariance = [[upper[min(i, j), max(i, j)] for j in range(count)] for i in range(count)]
        joint = [self._mean(columns[i] * coarse) - middles[i] * target for i in range(count)]
        # What the prior leaves of the covariance with the coarse band; the fit is linear, so it needs no second pass.
        shared = [
            c - sum(a * p for a, p in zip(row, prior, strict=True)) for c, row in zip(joint, covariance, strict=True)
        ]
        ridged = [[c + ridge if i == j else c for j, c in enumerate(row)] for i, row in enumerate(covariance)]
        return [p + s for p, s in zip(prior, _solved(ridged, shared), strict=True)]

    def _mean(self, image: Tensor) -> Tensor:
        """Of the window, or what of it is inside the image."""
        return avg_pool2d(image, self.window, stride=1, padding=self.window // 2, count_include_pad=False)


def modulation(fine: Tensor, seen: Tensor, coarse: Tensor, ratio: int) -> Tensor:
    """``up(coarse) I / up(I seen coarsely)`` with ``I`` the mean of the fine bands: smoothing-filter modulation.

    Liu 2000, 10.1080/014311600750037499

    Parameters
    ----------
    fine : Tensor (N, guide, y, x)
        Values are about one, as the model's scale makes them.
    seen : Tensor (N, guide, y / ratio, x / ratio)
        The fine bands on the coarse grid.
    coarse : Tensor (N, band, y / ratio, x / ratio)
    ratio : int
    """
    sharp = fine.mean(dim=1, keepdim=True)
    blurred = upsampled(seen.mean(dim=1, keepdim=True), ratio, "bicubic")
    return upsampled(coarse, ratio, "bicubic") * (sharp.clamp_min(_DARK) / blurred.clamp_min(_DARK))


def _combined(weights: Sequence[Tensor], image: Tensor) -> Tensor:
    """The sum over guides of weights (N, band, y, x) by the guide's pixels."""
    return torch.stack([w * g for w, g in zip(weights, torch.split(image, 1, dim=1), strict=True)]).sum(dim=0)


def _solved(matrix: Sequence[Sequence[Tensor]], right: Sequence[Tensor]) -> list[Tensor]:
    """Solutions of small positive definite systems, one at each pixel, by Gaussian elimination.

    Pivots need no search, for the matrix is positive definite.
    """
    rows, right, count = [list(row) for row in matrix], list(right), len(right)
    for i in range(count):
        for j in range(i + 1, count):
            share = rows[j][i] / rows[i][i]
            rows[j] = [b - share * a for a, b in zip(rows[i], rows[j], strict=True)]
            right[j] = right[j] - share * right[i]
    found: list[Tensor] = []
    for i in reversed(range(count)):
        known = sum((rows[i][count - 1 - k] * value for k, value in enumerate(found)), start=torch.zeros_like(right[i]))
        found.append((right[i] - known) / rows[i][i])
    return found[::-1]
