"""Patches made of single spectra: side by side for networks of single pixels, mixed for those that look around."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from xrs.kernels import reach_of
from xrs.kernels.types import Float32, Float64
from xrs.learning.patches import Patches
from xrs.sensors.torch_forward import decimate
from xrs.spectra import SpectralPairs

__all__ = ["LAID", "Grid", "laid_patches", "mixed_patches"]

#: Side of a patch of single spectra laid side by side.
LAID = 8
#: Side of the square that has one spectrum more in a mixed patch, and how many there are at least.
_ROOM, _LEAST = 8, 4


@dataclass(frozen=True)
class Grid:
    """How one image of a patch is seen.

    Attributes
    ----------
    bands : slice
        Which of the given bands these are.
    taps : ndarray (band, tap), optional
        Point spread from the finest grid to this; without it, the finest.
    ratio : int
        Pixels of the finest along the side of one of this.
    """

    bands: slice
    taps: Float64 | None = None
    ratio: int = 1

    @property
    def edge(self) -> int:
        """Pixels of the finest grid that this one sees beyond a patch."""
        return 0 if self.taps is None else reach_of(self.taps, self.ratio) * self.ratio

    def seen(self, image: Float32, around: int) -> Float32:
        """The inside (band, y, x) of an image of all given bands on the finest grid, with ``around`` pixels more."""
        own = np.ascontiguousarray(image[self.bands])
        if self.taps is not None:
            taps = torch.as_tensor(self.taps, dtype=torch.float32)
            own = decimate(torch.from_numpy(own)[None], taps, self.ratio)[0].numpy()
        return _inside(own, around // self.ratio)


def laid_patches(pairs: SpectralPairs) -> Patches:
    """Spectra side by side; those that fill no patch are left out."""
    given, wanted = (_laid(spectra) for spectra in (pairs.given, pairs.wanted))
    return _patches((given,), wanted)


def mixed_patches(
    pairs: SpectralPairs,
    count: int,
    side: int,
    seed: int,
    noise: tuple[float, float] = (0.0, 0.0),
    grids: Sequence[Grid] = (Grid(slice(None)),),
) -> Patches:
    """Patches of smooth mixtures of spectra, with edges from soft to hard, for networks that look around a pixel.

    Each mixes four spectra (a larger one a spectrum for every 8 x 8 pixels) by abundances from 0 to 1 of sum 1: a
    softmax of Gaussian fields, correlated over one pixel to eight, and as steep as leads from gradual to almost pure.
    Both sensors see the mixture of what they see of the spectra, as they are linear.

    Parameters
    ----------
    pairs : SpectralPairs
        Without noise.
    count : int
    side : int
        Of patches in pixels of the finest grid; a multiple of every ratio.
    seed : int
    noise : (float, float)
        Of the given bands as they are seen, relative and absolute, independent in each pixel.
    grids : sequence of Grid
        The images of a patch, the finest first.
    """
    rng = np.random.default_rng([seed, 5])
    chosen = rng.integers(len(pairs), size=(count, max((side // _ROOM) ** 2, _LEAST)))
    coarsest = max(grid.ratio for grid in grids)
    around = -(-max(grid.edge for grid in grids) // coarsest) * coarsest
    wanted = np.empty((count, pairs.wanted.shape[1], side, side), np.float32)
    images: list[list[Float32]] = [[] for _ in grids]
    for place, few in zip(wanted, chosen, strict=True):
        shares = _abundances(len(few), side + 2 * around, rng)
        np.einsum("kb,kyx->byx", pairs.wanted[few], _inside(shares, around), out=place)
        given = np.einsum("kb,kyx->byx", pairs.given[few], shares)
        for image, grid in zip(images, grids, strict=True):
            image.append(_noisy(grid.seen(given, around), noise, rng))
    return _patches([np.stack(image) for image in images], wanted)


def _abundances(spectra: int, side: int, rng: np.random.Generator) -> Float32:
    """Shares (spectrum, y, x) of sum 1."""
    smooth, steep = np.exp(rng.uniform(0.0, np.log((_ROOM, 10.0))))
    fields = gaussian_filter(rng.standard_normal((spectra, side, side)), (0, smooth, smooth), mode="wrap")
    fields *= steep / max(float(fields.std()), 1e-12)
    powers = np.exp(fields - fields.max(axis=0))
    return np.asarray(powers / powers.sum(axis=0), np.float32)


def _noisy(image: Float32, noise: tuple[float, float], rng: np.random.Generator) -> Float32:
    draws = rng.standard_normal((2, *image.shape), np.float32)
    return image * (1 + np.float32(noise[0]) * draws[0]) + np.float32(noise[1]) * draws[1]


def _inside(image: NDArray[np.float32], around: int) -> Float32:
    """An image (band, y, x) without so many pixels at each edge."""
    return image[:, around : image.shape[1] - around, around : image.shape[2] - around]


def _laid(spectra: Float32) -> Float32:
    """Spectra (n, band) in patches (patch, band, y, x)."""
    count = len(spectra) // LAID**2
    return spectra[: count * LAID**2].reshape(count, LAID, LAID, -1).transpose(0, 3, 1, 2)


def _patches(images: Sequence[Float32], wanted: Float32) -> Patches:
    spots = np.zeros((len(wanted), 3), np.int64)
    spots[:, 1] = np.arange(len(spots))
    inputs = tuple(np.ascontiguousarray(image, np.float32) for image in images)
    return Patches(inputs, np.ascontiguousarray(wanted), np.ones(wanted.shape, bool), spots)
