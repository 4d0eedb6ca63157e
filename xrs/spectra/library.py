"""Reflectances on common wavelengths, with names and classes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xrs.errors import ParameterError, RadiometryError
from xrs.kernels.types import Float32, Float64
from xrs.sensors import Sensor, spectral_response

__all__ = ["LEAST_NM", "MOST_NM", "SpectralLibrary"]

#: Between these are all wavelengths of reflectance and emissivity, in nm; numbers below the first are in µm.
LEAST_NM, MOST_NM = 100.0, 30_000.0
#: Glints and fresh snow reflect up to about this; percent and digital numbers are larger.
_LARGEST = 2.0
#: Noise falls a little below zero; marks of missing values fall far below it.
_SMALLEST = -0.5


@dataclass(frozen=True, eq=False, repr=False)
class SpectralLibrary:
    """Spectra of reflectance on common wavelengths.

    Parameters
    ----------
    wavelengths : array_like (wavelength,)
        Ascending, each once; nm, from 100 to 30,000.
    spectra : array_like (n, wavelength)
        Reflectance, 0 to 1, without NaN.
    names, classes : sequence of str, optional
        What each spectrum is called, and what it is of (``"soil"``); one for each spectrum or none.
    title, reference : str, optional
        What the library is, and where it comes from.

    Raises
    ------
    ParameterError
        If shapes do not fit, values are missing or no numbers, or wavelengths do not ascend, stand twice or are not in
        nm.
    RadiometryError
        If the spectra are percent or digital numbers.

    Examples
    --------
    >>> flat = SpectralLibrary([400.0, 2500.0], [[0.2, 0.2], [0.4, 0.4]], classes=["soil", "built"])
    >>> flat
    <SpectralLibrary: 2 spectra, 2 wavelengths 400 to 2500 nm, built 1, soil 1>
    >>> flat.select("built").seen_by("sentinel-2a", ["B04", "B08"]).round(3).tolist()
    [[0.4000000059604645, 0.4000000059604645]]
    """

    wavelengths: Float64
    spectra: Float32
    names: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    title: str = ""
    reference: str = ""

    def __post_init__(self) -> None:
        for field, kind in (("wavelengths", "float64"), ("spectra", "float32")):
            _set(self, field, _numbers(getattr(self, field), field, kind))
        for field in ("names", "classes"):
            _set(self, field, _texts(getattr(self, field), field))
        _check_wavelengths(self.wavelengths)
        _check_spectra(self.spectra, self.wavelengths.size)
        for field in ("names", "classes"):
            if len(getattr(self, field)) not in (0, len(self)):
                raise ParameterError(
                    f"{len(getattr(self, field))} {field} for {len(self)} spectra", "one for each spectrum, or none"
                )

    def __len__(self) -> int:
        return len(self.spectra)

    def seen_by(self, sensor: Sensor | str, bands: Iterable[str] | None = None) -> Float32:
        """What a sensor sees of each spectrum: float32 (n, band).

        Parameters
        ----------
        sensor : Sensor or str
        bands : iterable of str, optional
            Keys or common names; by default all but the panchromatic band.

        Raises
        ------
        BandNotFoundError
            If the library's wavelengths do not cover a band.
        """
        weights = spectral_response(sensor, self.wavelengths, bands)
        return (self.spectra @ weights.T).astype(np.float32)

    def select(self, classes: str | Iterable[str]) -> SpectralLibrary:
        """The spectra of one or more classes.

        Raises
        ------
        ParameterError
            If the library has no such class.
        """
        wanted = [classes] if isinstance(classes, str) else list(classes)
        missing = sorted(set(wanted) - set(self.classes))
        if missing or not wanted:
            raise ParameterError(f"no class {missing}", f"some of {sorted(set(self.classes))}")
        kept = np.flatnonzero(np.isin(self.classes, wanted))
        return replace(
            self,
            spectra=self.spectra[kept],
            names=tuple(self.names[i] for i in kept) if self.names else (),
            classes=tuple(self.classes[i] for i in kept),
        )

    def __repr__(self) -> str:
        head = f"{self.title}: " if self.title else ""
        ends = f"{self.wavelengths[0]:g} to {self.wavelengths[-1]:g} nm"
        kinds = sorted(set(self.classes))
        counts = "".join(f", {kind} {self.classes.count(kind)}" for kind in kinds[:8])
        more = ", ..." if len(kinds) > 8 else ""
        size = f"{len(self)} spectra, {self.wavelengths.size} wavelengths {ends}"
        return f"<SpectralLibrary: {head}{size}{counts}{more}>"


def _set(library: SpectralLibrary, field: str, value: object) -> None:
    object.__setattr__(library, field, value)


def _numbers(values: Any, field: str, kind: str) -> Any:
    try:
        return np.asarray(values, dtype=kind)
    except (ValueError, TypeError) as error:
        raise ParameterError(
            f"{field} that are no array of numbers ({error})", "numbers, as many in each row, one row for each spectrum"
        ) from error


def _texts(values: Any, field: str) -> tuple[str, ...]:
    if isinstance(values, str) or not (values is None or isinstance(values, Iterable)):
        raise ParameterError(f"{field}={values!r}", "a sequence of texts, one for each spectrum, or none")
    return tuple(str(text) for text in (() if values is None else values))


def _check_wavelengths(nm: Float64) -> None:
    if nm.ndim != 1 or nm.size < 2 or not np.isfinite(nm).all():
        raise ParameterError(
            f"wavelengths of shape {nm.shape}, {int((~np.isfinite(nm)).sum())} of them missing",
            "two or more finite wavelengths in nm",
        )
    if nm.max() < LEAST_NM:
        raise ParameterError(
            f"wavelengths run to {nm.max():g}", "wavelengths in nm", "multiply µm by 1000, or read with units='um'"
        )
    if nm.min() < LEAST_NM or nm.max() > MOST_NM:
        raise ParameterError(
            f"wavelengths run from {nm.min():g} to {nm.max():g}",
            f"wavelengths in nm, from {LEAST_NM:g} to {MOST_NM:g}",
            "give them in nm, name their unit in reading (units=), or leave out those beyond",
        )
    values, counts = np.unique(nm, return_counts=True)
    twice = values[counts > 1]
    if twice.size:
        shown = ", ".join(f"{value:g}" for value in twice[:5]) + (", ..." if twice.size > 5 else "")
        raise ParameterError(
            f"wavelengths that stand more than once: {shown} nm",
            "each wavelength once",
            "leave out one of each, or average",
        )
    if not (np.diff(nm) > 0).all():
        raise ParameterError(
            "wavelengths do not ascend", "each wavelength once, ascending", "sort them with np.argsort"
        )


def _check_spectra(spectra: Float32, wavelengths: int) -> None:
    if spectra.ndim != 2 or spectra.shape[1] != wavelengths or not len(spectra):
        raise ParameterError(
            f"spectra of shape {spectra.shape} for {wavelengths} wavelengths",
            "one row for each spectrum, one column for each wavelength",
        )
    bad = int((~np.isfinite(spectra)).any(axis=1).sum())
    if bad:
        raise ParameterError(
            f"{bad} of {len(spectra)} spectra have missing values", "finite reflectance", "leave these spectra out"
        )
    least, most = float(spectra.min()), float(spectra.max())
    if least < _SMALLEST:
        raise RadiometryError(
            f"reflectance falls to {least:g}",
            "reflectance from 0 to 1",
            "leave out spectra with marks of missing values",
        )
    if most > _LARGEST:
        unit = "percent" if most <= 150 else "digital numbers"
        raise RadiometryError(
            f"reflectance runs to {most:g}, which looks like {unit}",
            "reflectance from 0 to 1",
            f"multiply by {0.01 if most <= 150 else 1e-4:g}, or read with scale={0.01 if most <= 150 else 1e-4:g}",
        )
