"""What a sensor is: bands with centre, width, ground sampling and modulation transfer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xrs.errors import BandNotFoundError, ParameterError
from xrs.kernels.types import Float64

__all__ = ["DEFAULT_MTF", "DEFAULT_MTF_PAN", "Band", "Sensor", "sensor_from_table"]

#: Gain at Nyquist where none was published, as in the reference toolbox of Vivone et al.
#: (2021, 10.1109/MGRS.2020.3019315): its ``other`` sensor.
DEFAULT_MTF = 0.3
DEFAULT_MTF_PAN = 0.15

#: Two columns: wavelength in nm and relative response.
Response = Float64

#: Below this no optical band has its centre in nm, and above it none has it in µm.
_LEAST_NM = 100.0


@dataclass(frozen=True)
class Band:
    """One band of a sensor.

    Attributes
    ----------
    key : str
        The provider's name: ``B8A``, ``Oa17``.
    common_name : str
        Name shared between sensors (STAC's EO extension 1.1): ``red``, ``nir``; empty if there is none.
    wavelength, fwhm : float
        Centre and full width at half maximum, nm.
    gsd : float
        Ground sampling distance, m; NaN if not known.
    mtf : float or None
        Gain of the modulation transfer function at the Nyquist frequency of the band's own sampling,
        between 0 and 1; None where none was published.
    """

    key: str
    common_name: str
    wavelength: float
    fwhm: float
    gsd: float = float("nan")
    mtf: float | None = None

    def __post_init__(self) -> None:
        _check_wavelength(self.key, self.wavelength)
        if not self.fwhm > 0:
            raise ParameterError(f"band {self.key!r} has a width of {self.fwhm} nm", "a width above 0 nm")
        if self.mtf is not None and not 0 < self.mtf < 1:
            raise ParameterError(f"band {self.key!r} has a gain of {self.mtf} at Nyquist", "a gain between 0 and 1")


@dataclass(frozen=True, repr=False)
class Sensor:
    """An instrument: what it sees of a scene.

    Attributes
    ----------
    name, title : str
        Name for :func:`xrs.sensors.get_sensor`, and in words.
    bands : tuple of Band
        Multi- or hyperspectral bands.
    pan : Band or None
        The panchromatic band.
    revisit : float or None
        Nominal days between two looks at a place without pointing (PlanetScope: of the fleet); None if
        the satellite is pointed on demand.
    reference : str
        Where the numbers come from.
    library : tuple of str, optional
        Satellite and sensor in the package pyrsr, if that has measured responses.
    responses : mapping of str to ndarray (n, 2)
        Measured responses of the user: wavelength in nm and relative response, by band key.

    Examples
    --------
    >>> from xrs.sensors import get_sensor
    >>> s2 = get_sensor("sentinel-2a")
    >>> s2["B8A"].wavelength
    864.7
    >>> [b.key for b in s2.by_gsd()[10.0]]
    ['B02', 'B03', 'B04', 'B08']
    """

    name: str
    title: str
    bands: tuple[Band, ...]
    pan: Band | None = None
    revisit: float | None = None
    reference: str = ""
    library: tuple[str, str] | None = None
    responses: Mapping[str, Response] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        twice = {k for k in self.keys if self.keys.count(k) > 1}
        if twice or not self.all_bands:
            raise ParameterError(f"sensor {self.name!r} has the bands {self.keys}", "one or more bands, each key once")

    @property
    def all_bands(self) -> tuple[Band, ...]:
        """Bands, and the panchromatic one last."""
        return self.bands if self.pan is None else (*self.bands, self.pan)

    @property
    def keys(self) -> list[str]:
        """Keys of all bands, the panchromatic one last."""
        return [b.key for b in self.all_bands]

    def __getitem__(self, name: str) -> Band:
        """The band of a key, or of a common name that fits one band only."""
        for band in self.all_bands:
            if band.key == name:
                return band
        matches = [b for b in self.all_bands if b.common_name and b.common_name == name]
        if len(matches) == 1:
            return matches[0]
        keys = [b.key for b in matches]
        found = f"the name {name!r} fits the bands {keys}" if keys else f"{self.title} has no band {name!r}"
        raise BandNotFoundError(found, f"one of {_shortened(self.keys)}", f"use a key: {keys}" if keys else "")

    def __contains__(self, name: object) -> bool:
        return name in self.keys

    def find(self, names: Iterable[str] | None = None) -> tuple[Band, ...]:
        """Bands of keys or common names, in their order; the multispectral ones if none are given."""
        if names is None:
            return self.bands or self.all_bands
        return tuple(self[n] for n in ([names] if isinstance(names, str) else names))

    def select(self, names: Iterable[str]) -> Sensor:
        """The sensor with some of its bands only, in the order of ``names``."""
        chosen = self.find(names)
        bands = tuple(b for b in chosen if b != self.pan)
        return replace(self, bands=bands, pan=self.pan if self.pan in chosen else None)

    def by_gsd(self, names: Iterable[str] | None = None) -> dict[float, tuple[Band, ...]]:
        """Bands by ground sampling distance in m, finest first."""
        chosen = self.find(names)
        return {g: tuple(b for b in chosen if b.gsd == g) for g in sorted({b.gsd for b in chosen})}

    def mtf_of(self, names: Iterable[str] | None = None) -> Float64:
        """Gains at Nyquist; where none was published 0.3, and 0.15 for the panchromatic band."""
        return np.array([self._gain(b) for b in self.find(names)])

    def to_frame(self) -> pd.DataFrame:
        """All bands as a table with the columns of :func:`sensor_from_table`."""
        return pd.DataFrame([vars(b) for b in self.all_bands]).set_index("key")

    def _gain(self, band: Band) -> float:
        if band.mtf is not None:
            return band.mtf
        return DEFAULT_MTF_PAN if band == self.pan else DEFAULT_MTF

    def __repr__(self) -> str:
        head = f"<Sensor {self.name}: {self.title}, {len(self.bands)} bands{' and pan' if self.pan else ''}>"
        shown = self.all_bands if len(self.all_bands) <= 20 else (*self.all_bands[:8], None, *self.all_bands[-8:])
        return "\n".join([head, *("  ..." if b is None else _line(b) for b in shown)])


def sensor_from_table(
    table: pd.DataFrame | Mapping[str, Any] | str | Path,
    *,
    name: str = "user",
    title: str = "",
    pan: str | None = None,
    gsd: float | None = None,
    units: str = "nm",
    reference: str = "",
) -> Sensor:
    """A sensor from a table of its bands, or of its spectral responses.

    Parameters
    ----------
    table : pandas.DataFrame, mapping or path of a CSV
        Either a row for each band with the columns ``wavelength`` and ``fwhm`` and, if known, ``key``
        (else the index, or ``B1, B2, ...``), ``common_name``, ``gsd`` (m) and ``mtf`` (gain at Nyquist);
        or a full response table: a column ``wavelength`` and one column of relative responses for each
        band, empty or 0 where the band does not respond.
    name, title, reference : str
        What the sensor is called, and where the table is from.
    pan : str, optional
        Key of the panchromatic band.
    gsd : float, optional
        Ground sampling distance of all bands in m, where the table does not say.
    units : {"nm", "um"}
        Unit of wavelengths and widths in the table.

    Returns
    -------
    Sensor
        Always in nm. From responses, centre and width are those of the half-maximum points.

    Raises
    ------
    ParameterError
        If columns are missing, keys repeat, or wavelengths do not fit their unit.

    Examples
    --------
    >>> drone = sensor_from_table({"key": ["red", "nir"], "wavelength": [668, 840], "fwhm": [10, 40]}, gsd=0.05)
    >>> drone["nir"].fwhm
    40.0
    """
    if units not in ("nm", "um"):
        raise ParameterError(f"units={units!r}", "'nm' or 'um'")
    scale = 1.0 if units == "nm" else 1000.0
    frame = _as_frame(table)
    if "wavelength" not in frame:
        raise ParameterError(
            f"the table has the columns {_shortened(list(map(str, frame.columns)))}", "a column 'wavelength'"
        )
    responses: dict[str, Response] = {}
    if "fwhm" in frame:
        bands = _bands_of_rows(frame, scale, gsd)
    else:
        responses = _responses_of_columns(frame, scale)
        bands = [_band_of_response(key, r, gsd) for key, r in responses.items()]
    if pan is not None and pan not in [b.key for b in bands]:
        raise BandNotFoundError(f"no band {pan!r} in the table", f"one of {_shortened([b.key for b in bands])}")
    return Sensor(
        name,
        title or name,
        tuple(b for b in bands if b.key != pan),
        next((b for b in bands if b.key == pan), None),
        reference=reference,
        responses=responses,
    )


def half_maximum(response: Response) -> tuple[float, float]:
    """Centre and full width between the outermost half-maximum points of a response (n, 2), nm."""
    wavelength, value = response.T
    level = value.max() / 2
    above = np.flatnonzero(value >= level)
    low = _crossing(wavelength, value, above[0], above[0] - 1, level)
    high = _crossing(wavelength, value, above[-1], above[-1] + 1, level)
    return (low + high) / 2, high - low


def _crossing(wavelength: Float64, value: Float64, inside: int, outside: int, level: float) -> float:
    if not 0 <= outside < value.size:
        return float(wavelength[inside])
    part = (value[inside] - level) / (value[inside] - value[outside])
    return float(wavelength[inside] + part * (wavelength[outside] - wavelength[inside]))


def _as_frame(table: pd.DataFrame | Mapping[str, Any] | str | Path) -> pd.DataFrame:
    if isinstance(table, (str, Path)):
        return pd.read_csv(table)
    return pd.DataFrame(table)


def _bands_of_rows(frame: pd.DataFrame, scale: float, gsd: float | None) -> list[Band]:
    if "key" not in frame:
        numbered = isinstance(frame.index, pd.RangeIndex)
        frame = frame.assign(key=[f"B{i + 1}" for i in range(len(frame))] if numbered else frame.index)
    return [
        Band(
            str(row["key"]),
            _text(row.get("common_name")),
            float(row["wavelength"]) * scale,
            float(row["fwhm"]) * scale,
            _number(row.get("gsd"), float("nan") if gsd is None else gsd),
            None if pd.isna(row.get("mtf")) else float(row["mtf"]),
        )
        for row in frame.to_dict("records")
    ]


def _responses_of_columns(frame: pd.DataFrame, scale: float) -> dict[str, Response]:
    columns = [c for c in frame.columns if c != "wavelength"]
    if not columns:
        raise ParameterError("the table has the column 'wavelength' only", "a column 'fwhm', or one for each band")
    wavelength = frame["wavelength"].to_numpy("float64") * scale
    if not (np.diff(wavelength) > 0).all():
        raise ParameterError("the wavelengths of the responses do not ascend", "each wavelength once, ascending")
    responses = {}
    for column in columns:
        value = frame[column].fillna(0.0).to_numpy("float64")
        if not value.max() > 0:
            raise ParameterError(f"band {column!r} responds nowhere", "responses above 0")
        responses[str(column)] = np.column_stack([wavelength, value])
    return responses


def _band_of_response(key: str, response: Response, gsd: float | None) -> Band:
    centre, width = half_maximum(response)
    return Band(key, "", centre, max(width, np.diff(response[:, 0]).min()), float("nan") if gsd is None else gsd)


def _check_wavelength(key: str, wavelength: float) -> None:
    if not wavelength > 0:
        raise ParameterError(f"band {key!r} has its centre at {wavelength} nm", "a wavelength above 0 nm")
    if wavelength < _LEAST_NM:
        raise ParameterError(
            f"band {key!r} has its centre at {wavelength:g} nm",
            "wavelengths in nm",
            "multiply µm by 1000, or pass units='um' with a table",
        )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any, default: float) -> float:
    return default if value is None or pd.isna(value) else float(value)


def _line(band: Band) -> str:
    gain = "" if band.mtf is None else f"  MTF {band.mtf:g}"
    sampling = "" if np.isnan(band.gsd) else f"  {band.gsd:g} m"
    return f"  {band.key:<10} {band.common_name:<10} {band.wavelength:8.1f} ± {band.fwhm / 2:.1f} nm{sampling}{gain}"


def _shortened(names: Sequence[str]) -> str:
    return str(list(names)) if len(names) <= 20 else f"[{', '.join(names[:5])}, ..., {names[-1]}] ({len(names)})"
