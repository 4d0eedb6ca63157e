"""How two sensors see the same scene: response, gain and offset of each band of ``ms``, and the point spread.

All follow from moments of the bands of ``hs`` and of those of ``ms`` as the sensor of ``hs`` would see them. A response
that is not known is found by non-negative least squares with an offset, after Yokoya et al. (2012,
10.1109/TGRS.2011.2161320).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xrs.kernels import Moments, decimate, merge_moments, moments_of
from xrs.kernels.types import Float64
from xrs.methods.base import Pass, State, Tile
from xrs.methods.hsms._common import CONSTANT, Psf, seen_coarse
from xrs.sensors import apply_response

__all__ = ["Known", "Observation", "learn_observation", "observe_pass"]

#: Share of the mean variance added to the normal equations, so that bands that are alike share a weight.
_RIDGE = 1e-8


@dataclass(frozen=True)
class Observation:
    """How ``ms`` follows from ``hs``: ``decimate(ms, psf) ~ gain (srf @ hs) + offset``.

    Attributes
    ----------
    srf : ndarray (ms band, hs band)
        Rows sum to 1.
    gain, offset : ndarray (ms band,)
    psf : mapping of str to ndarray (band, tap)
        Of ``hs`` and ``ms``.
    """

    srf: Float64
    gain: Float64
    offset: Float64
    psf: Psf

    @classmethod
    def of(cls, known: Known) -> Observation:
        """What is known already, for methods that take ``ms`` as it is."""
        nothing = np.empty(0)
        return cls(nothing if known.srf is None else known.srf, nothing, nothing, known.psfs[-1])

    def match(self, tile: Tile) -> Tile:
        """The tile with the gain and offset of ``ms`` taken out."""
        gain, offset = (v.astype(np.float32)[:, None, None] for v in (self.gain, self.offset))
        return replace(tile, arrays={**tile.arrays, "ms": (tile["ms"] - offset) / gain})


@dataclass(frozen=True)
class Known:
    """What is known of the two sensors before their images are seen.

    Attributes
    ----------
    psfs : tuple of mapping
        Point spreads, the likeliest of which is taken; the widest is the last. All bands of ``ms`` have the same.
    srf : ndarray (ms band, hs band) or None
        None where it is to be learned.
    """

    psfs: tuple[Psf, ...]
    srf: Float64 | None


def observe_pass(known: Known) -> Pass:
    """A pass that ends with the state ``{"observation": Observation}``."""
    # Every tile's task carries what summarises it, so a row of each point spread must do.
    return Pass(_Summarise(tuple(psf["ms"][:1] for psf in known.psfs), known.srf), merge_moments, _Solve(known))


def learn_observation(moments: Moments, known: Known) -> Observation:
    """The likeliest observation, from moments of the bands of ``hs`` (or a known ``srf`` times them), then ``ms``."""
    c = len(known.psfs[0]["ms"])
    bands = moments.mean.size - c * len(known.psfs)
    fits = []
    for number, psf in enumerate(known.psfs):
        own = bands + number * c + np.arange(c)
        weights = _weights(moments, own, bands) if known.srf is None else _scaled(moments, own)
        fits.append((_misfit(moments, own, weights), number, psf, own, weights))
    _, _, psf, own, weights = min(fits, key=lambda fit: fit[:2])
    return _observation(moments, own, weights, known.srf, psf)


def _weights(moments: Moments, own: Any, bands: int) -> Float64:
    """Non-negative weights (ms band, hs band) of least squares; equal ones where nothing fits."""
    from scipy.optimize import nnls

    gram = moments.comoment[:bands, :bands] / moments.count
    scale = float(np.trace(gram)) / bands
    if not scale > CONSTANT * float((moments.mean[:bands] ** 2).mean()):
        return np.zeros((len(own), bands))
    values, vectors = np.linalg.eigh(gram + _RIDGE * scale * np.eye(bands))
    root = np.sqrt(values)
    factor = root[:, None] * vectors.T
    target = (moments.comoment[np.ix_(own, np.arange(bands))] / moments.count) @ vectors / root
    return np.stack([nnls(factor, row, maxiter=30 * bands)[0] for row in target])


def _scaled(moments: Moments, own: Any) -> Float64:
    """Gains of least squares on a diagonal: of each band on that of the known response."""
    known = np.arange(len(own))
    spread, shared = moments.comoment[known, known], moments.comoment[own, known]
    varies = spread > CONSTANT * moments.count * moments.mean[known] ** 2
    gain = np.divide(shared, spread, out=np.zeros_like(shared), where=varies)
    return np.diag(np.maximum(gain, 0.0))


def _misfit(moments: Moments, own: Any, weights: Float64) -> float:
    """Share of the variance that is not explained, mean of the bands."""
    bands = weights.shape[1]
    total = np.diag(moments.comoment)[own]
    shared = np.einsum("ij,ij->i", weights, moments.comoment[own, :bands])
    explained = np.einsum("ij,jk,ik->i", weights, moments.comoment[:bands, :bands], weights)
    left = np.divide(total - 2 * shared + explained, total, out=np.zeros_like(total), where=total > 0)
    return float(left.mean())


def _observation(moments: Moments, own: Any, weights: Float64, srf: Float64 | None, psf: Psf) -> Observation:
    bands = weights.shape[1]
    gain = weights.sum(axis=1)
    related = gain > 0
    # A band that nothing relates to the others keeps its values, but for its mean.
    gain = np.where(related, gain, 1.0)
    weights = np.where(related[:, None], weights / gain[:, None], 1.0 / bands if srf is None else np.eye(bands))
    offset = moments.mean[own] - gain * (weights @ moments.mean[:bands])
    return Observation(weights if srf is None else srf, gain, offset, psf)


@dataclass(frozen=True)
class _Summarise:
    taps: tuple[Float64, ...]
    srf: Float64 | None

    def __call__(self, tile: Tile, _state: State, **_: Any) -> Moments | None:
        seen = seen_coarse(tile, {"ms": self.taps[-1]})
        if seen is not None and not seen.any():
            return None
        hs = tile["hs"] if self.srf is None else apply_response(tile["hs"], self.srf)
        layers = [hs, *(decimate(tile["ms"], taps, tile.factors["ms"]) for taps in self.taps)]
        return moments_of(tile.core("hs", np.concatenate(layers)), seen)


@dataclass(frozen=True)
class _Solve:
    known: Known

    def __call__(self, moments: Moments, _state: State, **_: Any) -> State:
        return {"observation": learn_observation(moments, self.known)}
