"""Examples for all that learns: what two sensors see of the same spectra."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from xrs.errors import ParameterError
from xrs.kernels.types import Float32
from xrs.sensors import Band, Sensor, get_sensor, spectral_response
from xrs.spectra._blocks import generator
from xrs.spectra.library import SpectralLibrary
from xrs.spectra.sources import Source, get_source

__all__ = ["PairedBands", "SpectralPairs", "draw_pairs", "noise_parts"]

#: Where ``noise`` is one number, the absolute part is this share of it.
_ABSOLUTE = 0.1


@dataclass(frozen=True)
class PairedBands:
    """What the bands on one side of pairs are.

    Attributes
    ----------
    keys : tuple of str
    wavelengths, fwhm : tuple of float
        Centres and widths in nm, NaN where unknown; empty if none is known.
    """

    keys: tuple[str, ...]
    wavelengths: tuple[float, ...] = ()
    fwhm: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        counts = {len(self.keys), len(self.wavelengths) or len(self.keys), len(self.fwhm) or len(self.keys)}
        if len(counts) > 1 or len(set(self.keys)) < len(self.keys):
            raise ParameterError(
                f"{len(set(self.keys))} keys, {len(self.wavelengths)} centres and {len(self.fwhm)} widths of bands",
                "a key of its own for each band, and as many centres and widths, or none",
            )

    @classmethod
    def of(cls, bands: Iterable[Band]) -> PairedBands:
        """Those of a sensor."""
        keys, centres, widths = zip(*((band.key, band.wavelength, band.fwhm) for band in bands), strict=True)
        return cls(keys, centres, widths)

    def centre(self, key: str) -> float:
        """Of the band of a key, NaN if unknown."""
        return self.wavelengths[self.keys.index(key)] if self.wavelengths else float("nan")

    def width(self, key: str) -> float:
        """Of the band of a key, NaN if unknown."""
        return self.fwhm[self.keys.index(key)] if self.fwhm else float("nan")


@dataclass(frozen=True, eq=False, repr=False)
class SpectralPairs:
    """What two sensors see of the same spectra.

    Attributes
    ----------
    given, wanted : ndarray
        Reflectance, float32 (n, band of one sensor) and (n, band of the other).
    given_bands, wanted_bands : PairedBands, optional
        Which bands these are. With them bands are found by their keys, and other bands are refused; without them they
        are taken in their order, and only their number is compared.
    """

    given: Float32
    wanted: Float32
    given_bands: PairedBands | None = None
    wanted_bands: PairedBands | None = None

    def __post_init__(self) -> None:
        for name in ("given", "wanted"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype="float32"))
        if self.given.ndim != 2 or self.wanted.ndim != 2 or len(self.given) != len(self.wanted):
            raise ParameterError(
                f"pairs of shapes {self.given.shape} and {self.wanted.shape}", "(n, band) and (n, wanted band)"
            )
        for values, bands in ((self.given, self.given_bands), (self.wanted, self.wanted_bands)):
            if bands is not None and len(bands.keys) != values.shape[1]:
                raise ParameterError(f"{len(bands.keys)} keys for {values.shape[1]} bands", "one for each")

    def __len__(self) -> int:
        return len(self.given)

    def __repr__(self) -> str:
        return f"<SpectralPairs: {len(self)}, {self.given.shape[1]} bands to {self.wanted.shape[1]}>"


def draw_pairs(
    source: str | SpectralLibrary | Source,
    given: Sensor | str,
    wanted: Sensor | str,
    count: int,
    seed: int = 0,
    noise: float | tuple[float, float] = 0.0,
) -> SpectralPairs:
    """What two sensors see of the spectra of a source.

    Parameters
    ----------
    source : str, SpectralLibrary or Source
        See :func:`get_source`.
    given, wanted : Sensor or str
        All bands but the panchromatic one are used; :meth:`Sensor.select` leaves some out.
    count : int
        The first pairs are the same however many are drawn. Spectra are made block by block, so memory holds only
        what the sensors see of them.
    seed : int
    noise : float or (float, float)
        Standard deviation of Gaussian noise on ``given``: a part relative to the reflectance, and an absolute part,
        independent of each other, of bands and of pairs. One number is the relative part, with a tenth of it as
        absolute part: 0.02 is 2 % and 0.002.

    Returns
    -------
    SpectralPairs

    Raises
    ------
    BandNotFoundError
        If the source's wavelengths do not cover a band.
    ParameterError
        If the source is not known, or ``count`` or ``noise`` is out of range.

    Examples
    --------
    >>> draw_pairs("soil", "sentinel-2a", "enmap", 100, noise=0.01)
    <SpectralPairs: 100, 13 bands to 224>
    """
    source, given, wanted = get_source(source), get_sensor(given), get_sensor(wanted)
    relative, absolute = noise_parts(noise)
    seen: list[Float32] = []
    made: list[Float32] = []
    for number, part in enumerate(source.blocks(count, seed)):
        if not number:
            to_given, to_wanted = (spectral_response(s, part.wavelengths).T for s in (given, wanted))
        draws = generator("noise", seed, number).normal(size=(len(part), 2, to_given.shape[1]))
        clean = part.spectra @ to_given
        seen.append((clean * (1.0 + relative * draws[:, 0]) + absolute * draws[:, 1]).astype(np.float32))
        made.append((part.spectra @ to_wanted).astype(np.float32))
    sides = PairedBands.of(given.find()), PairedBands.of(wanted.find())
    return SpectralPairs(np.concatenate(seen), np.concatenate(made), *sides)


def noise_parts(noise: float | tuple[float, float]) -> tuple[float, float]:
    """The relative and the absolute part of what ``noise`` may be.

    Raises
    ------
    ParameterError
        If it is neither a number nor two, or below zero.
    """
    parts = (noise, _ABSOLUTE * noise) if isinstance(noise, (int, float, np.number)) else tuple(noise)
    if len(parts) != 2 or not all(np.isfinite(part) and part >= 0.0 for part in parts):
        raise ParameterError(f"noise={noise!r}", "a number from 0 on, or a relative and an absolute one")
    return float(parts[0]), float(parts[1])
