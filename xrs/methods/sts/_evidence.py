"""What a tile tells of a target date: first guesses by local linear models, on the grid of the fine sensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from xrs.kernels import decimate
from xrs.kernels.types import Bool, Float32, Float64
from xrs.methods.base import Tile
from xrs.methods.sts._local import local_fit, reach_of_fit, with_residual

__all__ = ["Known", "Series", "evidence_reach", "series_of"]

#: Dates nearer than this are one, in days.
SAME_DAY = 0.5
#: Sides of windows in pixels of the sensor that is fitted: as many as tell slopes apart, and no more.
_WINDOW = {"wide": 9, "hs": 15}
_TIMES = {"wide": 2, "hs": 1}
#: Of the hyperspectral sensor's noise, spread over many pixels, this much is put back.
_SHARE = {"wide": 1.0, "hs": 0.5}


@dataclass(frozen=True)
class Known:
    """What was measured of the scene in training; values are divided by the model's scale.

    Attributes
    ----------
    scale : float
    mean, basis : ndarray (band,), (band, component)
        Principal components of the hyperspectral sensor.
    fine_mean, fine_basis : ndarray (m,), (m, q)
        Those of the fine sensor that guide.
    slopes, offset : ndarray (component, m), (component,)
        Linear regression of the components on the fine bands.
    ridge : float
        Variance of the guides' noise.
    """

    scale: float
    mean: Float64
    basis: Float64
    fine_mean: Float64
    fine_basis: Float64
    slopes: Float64
    offset: Float64
    ridge: float

    def components(self, image: Float32) -> Float32:
        """Principal components (k, y, x) of a hyperspectral image (band, y, x), already divided by the scale."""
        return _mapped(self.basis.T, image - self.mean[:, None, None].astype(np.float32))

    def spectra(self, components: Float32) -> Float32:
        """Bands (band, y, x) of components, in the image's own unit."""
        image = _mapped(self.basis, components) + self.mean[:, None, None].astype(np.float32)
        return image * np.float32(self.scale)


@dataclass(frozen=True)
class Series:
    """All dates of a tile, with its halo, on the fine grid and divided by the scale; ``seen`` (y, x) without gaps.

    Attributes
    ----------
    wide, wide_seen : ndarray (target, w, y, x), (target, y, x)
        The wide sensor on the target dates.
    fine, fine_seen : ndarray (date, m, y, x), (date, y, x)
        The fine one on its dates, and where both it and the wide one were seen.
    wide_then : ndarray (date, w, y, x)
    spectra : ndarray (date, k, y, x)
        First guess of the components.
    days, targets : ndarray (date,), (target,)
    """

    wide: Float32
    wide_seen: Bool
    fine: Float32
    fine_seen: Bool
    wide_then: Float32
    spectra: Float32
    days: Float64
    targets: Float64

    def weights(self, target: int) -> Float32:
        """Of the dates for a target (date, y, x): inverse to their distance; 0 where one was not seen."""
        away = np.abs(self.days - self.targets[target])
        # A date of its own is all that counts where it was seen.
        nearness = np.where(away < SAME_DAY, 1e6, 1.0 / np.maximum(away, SAME_DAY))
        weights = nearness[:, None, None] * self.fine_seen
        total = weights.sum(axis=0)
        found: Float32 = (weights / np.where(total > 0, total, 1.0)).astype(np.float32)
        return found

    def own(self, target: int) -> int:
        """Which date the target is; -1 if none."""
        near = np.flatnonzero(np.abs(self.days - self.targets[target]) < SAME_DAY)
        return int(near[0]) if near.size else -1


def evidence_reach(psf: Mapping[str, Float64], ratios: Mapping[str, int]) -> int:
    """Fine pixels around one that a series' first guesses depend on."""
    reaches = [
        reach_of_fit(psf[role], ratios[role], _WINDOW[role], _TIMES[role]) for role in ("hs", "wide") if role in psf
    ]
    return max(reaches)


def series_of(tile: Tile, known: Known, psf: Mapping[str, Float64]) -> Series:
    """First guesses of all dates of a tile."""
    arrays = {name: image / np.float32(known.scale) for name, image in tile.arrays.items()}
    ratio = tile.factors["ms"] // tile.factors["target"]
    fine, seen = arrays["ms"], _seen(tile, "ms")
    guides = _mapped(known.fine_basis.T, fine - known.fine_mean[:, None, None].astype(np.float32))
    guides *= seen[:, None]
    wide_seen = {name: _seen(tile, name) for name in ("wide_ms", "target")}
    sharp = {
        name: np.stack(
            [
                _sharpened(guides, seen, image, there, psf, ratio, known.ridge)
                for image, there in zip(arrays[name], wide_seen[name], strict=True)
            ]
        )
        for name in ("wide_ms", "target")
    }
    return Series(
        wide=sharp["target"],
        wide_seen=_finer(wide_seen["target"], ratio),
        fine=fine,
        fine_seen=seen & _finer(wide_seen["wide_ms"], ratio),
        wide_then=sharp["wide_ms"],
        spectra=_first_spectra(tile, arrays["hs"], fine, guides, seen, known, psf),
        days=np.asarray(tile.days["ms"], np.float64),
        targets=np.asarray(tile.days["target"], np.float64),
    )


def _sharpened(
    guides: Float32, seen: Bool, image: Float32, there: Bool, psf: Mapping[str, Float64], ratio: int, ridge: float
) -> Float32:
    """The wide sensor's image on the fine grid: at each pixel by the guides of those dates that were seen there."""
    if ratio == 1:
        return image
    out = np.zeros((len(image), *guides.shape[-2:]), np.float32)
    patterns = np.unique(seen.reshape(len(seen), -1), axis=1).T
    for pattern in patterns:
        if not pattern.any():
            continue
        guide = np.ascontiguousarray(guides[pattern].reshape(-1, *guides.shape[-2:]))
        counted = there & _coarser(seen[pattern].all(axis=0), ratio)
        found = local_fit(guide, image, counted, psf["wide"], ratio, window=_WINDOW["wide"], ridge=ridge)
        found = with_residual(found, image, there, psf["wide"], ratio, times=_TIMES["wide"], share=_SHARE["wide"])
        where = (seen == pattern[:, None, None]).all(axis=0)
        out[:, where] = found[:, where]
    return out


def _first_spectra(
    tile: Tile,
    hs: Float32,
    fine: Float32,
    guides: Float32,
    seen: Bool,
    known: Known,
    psf: Mapping[str, Float64],
) -> Float32:
    """Components on the fine sensor's dates: regressed on its bands, and with what the hyperspectral one shows more."""
    ratio = tile.factors["ms"] // tile.factors["hs"]
    taps = np.tile(psf["hs"].mean(axis=0), (known.basis.shape[1], 1))
    there = _seen(tile, "hs")
    out = np.empty((len(fine), known.basis.shape[1], *fine.shape[-2:]), np.float32)
    for date, day in enumerate(tile.days["ms"]):
        guess = _mapped(known.slopes, fine[date]) + known.offset[:, None, None].astype(np.float32)
        partner = int(np.abs(tile.days["hs"] - day).argmin())
        if abs(tile.days["hs"][partner] - day) <= 1.0:
            target = known.components(hs[partner])
            counted = there[partner] & _coarser(seen[date], ratio)
            left = target - decimate(guess, taps, ratio)
            guess = guess + local_fit(guides[date], left, counted, taps, ratio, window=_WINDOW["hs"], ridge=known.ridge)
            guess = with_residual(guess, target, counted, taps, ratio, times=_TIMES["hs"], share=_SHARE["hs"])
        out[date] = guess
    return out


def _mapped(matrix: Float64, image: Float32) -> Float32:
    """A matrix (out, band) applied to the bands of images (..., band, y, x)."""
    height, width = image.shape[-2:]
    flat = np.matmul(matrix.astype(np.float32), image.reshape(*image.shape[:-2], height * width))
    found: Float32 = flat.reshape(*flat.shape[:-1], height, width)
    return found


def _seen(tile: Tile, name: str) -> Bool:
    """Where all bands of each date were seen (date, y, x), halo included."""
    valid, image = tile.valid[name], tile.arrays[name]
    return np.ones((len(image), *image.shape[-2:]), bool) if valid is None else np.asarray(valid.all(axis=1))


def _finer(mask: Bool, ratio: int) -> Bool:
    return mask.repeat(ratio, axis=-2).repeat(ratio, axis=-1)


def _coarser(mask: Bool, ratio: int) -> Bool:
    """Coarse pixels all of whose fine pixels were seen."""
    height, width = mask.shape[-2:]
    blocks = mask.reshape(*mask.shape[:-2], height // ratio, ratio, width // ratio, ratio)
    return np.asarray(blocks.all(axis=(-3, -1)))
