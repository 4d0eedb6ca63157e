"""Quality at full resolution, where no reference exists: plain arrays.

A fused image is compared with what it was made of: relations among its bands and with the pan
(QNR), and the multispectral image it must give back when it is degraded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from xrs.kernels.psf import reach_of
from xrs.kernels.resample import decimate, upsample
from xrs.kernels.types import Float32, Float64
from xrs.methods.base import Tile
from xrs.quality.blocks import BLOCK, pairwise_uiqi, q2n_sums
from xrs.quality.pixels import PairMoments, pair_moments
from xrs.quality.place import Place, place_of, with_gaps

__all__ = [
    "FULLRES_STATISTICS",
    "Convention",
    "FullOptions",
    "halo_of",
    "on_pixels",
    "spatial_distortion",
    "spectral_distortion",
]

Convention = Literal["toolbox", "paper"]

#: Coarse pixels on either side that cubic interpolation looks at.
_CUBIC_REACH = 2


@dataclass(frozen=True)
class FullOptions:
    """Ratio, size of the coarse scene, taps (band, tap) of the multispectral and pan sensors, convention of QNR."""

    ratio: int
    scene: tuple[int, int]
    ms_taps: Float64
    pan_taps: Float64
    convention: Convention

    @property
    def block(self) -> int:
        """Side of a block on the fine grid; the paper's blocks hold whole coarse pixels."""
        return BLOCK if self.convention == "toolbox" else self.ratio * max(round(BLOCK / self.ratio), 1)

    def place(self, tile: Tile, name: str) -> Place:
        """Where the tile lies on the grid of an observation."""
        factor = tile.factors[name]
        return place_of(tile, name, (self.scene[0] * factor, self.scene[1] * factor))


def halo_of(options: FullOptions) -> int:
    """Coarse pixels around a tile: a block, what interpolation looks at, and the reach of the sensors."""
    block = -(-(max(options.block, BLOCK) - 1) // options.ratio)
    reach = max(reach_of(t, options.ratio) for t in (options.ms_taps, options.pan_taps))
    return block + _CUBIC_REACH + reach + 1


def spectral_distortion(sums: Float64) -> Float64:
    """D_lambda, (), from the sums of :func:`_pair_sums`: mean difference of mutual quality; 0 of one band."""
    bands = sums.shape[1] - 1
    if bands == 1:
        return np.where(sums[2, 0, 0] > 0, 0.0, np.nan)
    return _difference(sums)[np.triu_indices(bands, 1)].mean()


def spatial_distortion(sums: Float64) -> Float64:
    """D_s, (), from the sums of :func:`_pair_sums`: mean difference of the bands' quality against the pan."""
    return _difference(sums)[:-1, -1].mean()


def on_pixels(taps: Float64) -> Float64:
    """Taps (band, tap) of the same blur centred on pixels: even numbers lie between two and are moved by half of one.

    Band-limited interpolation moves them, which keeps their modulation transfer.
    """
    n = taps.shape[1]
    if n % 2:
        return taps
    offsets = np.arange(n) - (n - 1) / 2
    moved = taps @ np.sinc(offsets[:, None] - np.arange(-n // 2, n // 2 + 1)[None, :])
    return moved / moved.sum(axis=1, keepdims=True)


def _difference(sums: Float64) -> Float64:
    with np.errstate(invalid="ignore"):
        return np.abs(sums[0] - sums[1]) / sums[2]


def _pair_sums(tile: Tile, options: FullOptions) -> Float64:
    """Quality of each pair of bands, pan last: sums over blocks of the fused and of the coarse image, and counts."""
    fine = np.concatenate([with_gaps(tile, "fused"), with_gaps(tile, "pan")])
    sums = np.zeros((3, len(fine), len(fine)))
    blocks = options.place(tile, "fused").blocks(fine, options.block, partial=False)
    for high, low in zip(blocks, _coarse_blocks(tile, options), strict=True):
        quality = np.stack([pairwise_uiqi(high), pairwise_uiqi(low)])
        seen = np.isfinite(quality).all(axis=(0, 2, 3))
        sums[:2] += quality[:, seen].sum(axis=1)
        sums[2] += seen.sum()
    return sums


def _coarse_blocks(tile: Tile, options: FullOptions) -> Iterator[Float64]:
    """Blocks of the multispectral image and the pan as coarse as it, over the same ground as those of the fused."""
    pan = decimate(tile["pan"], options.pan_taps, options.ratio)
    if options.convention == "paper":
        coarse = np.concatenate([with_gaps(tile, "ms"), pan])
        return options.place(tile, "ms").blocks(coarse, options.block // options.ratio, partial=False)
    expanded = np.concatenate([_expanded(tile, options), upsample(pan, options.ratio)])
    return options.place(tile, "fused").blocks(expanded, options.block, partial=False)


def _expanded(tile: Tile, options: FullOptions) -> Float32:
    """The multispectral image on the fine grid, NaN over pixels it did not see."""
    expanded = upsample(tile["ms"], options.ratio)
    valid = tile.valid["ms"]
    if valid is not None:
        expanded[~valid.repeat(options.ratio, axis=1).repeat(options.ratio, axis=2)] = np.nan
    return expanded


def _khan_sums(tile: Tile, options: FullOptions) -> Float64:
    """Sum over blocks of Q2n of the blurred fused image against the expanded multispectral one, and their number."""
    blurred = decimate(tile["fused"], on_pixels(options.ms_taps), 1)
    blurred[np.isnan(with_gaps(tile, "fused"))] = np.nan
    place = options.place(tile, "fused")
    expanded = _expanded(tile, options)
    return q2n_sums(place.blocks(blurred, BLOCK, partial=True), place.blocks(expanded, BLOCK, partial=True))


def _residual_moments(tile: Tile, options: FullOptions) -> PairMoments:
    """Joint moments of the degraded fused image and the multispectral one."""
    degraded = decimate(tile["fused"], options.ms_taps, options.ratio)
    valid = tile.valid["fused"]
    if valid is not None:
        bands, height, width = degraded.shape
        cells = valid.reshape(bands, height, options.ratio, width, options.ratio)
        degraded[~cells.all(axis=(2, 4))] = np.nan
    place = options.place(tile, "ms")
    return pair_moments(place.pixels(degraded), place.pixels(with_gaps(tile, "ms")))


FULLRES_STATISTICS: Mapping[str, Callable[[Tile, FullOptions], Float64 | PairMoments]] = {
    "pairs": _pair_sums,
    "khan": _khan_sums,
    "residual": _residual_moments,
}
