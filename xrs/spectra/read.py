"""Libraries of spectra from files: ENVI's format, and tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from xrs.errors import ParameterError
from xrs.kernels.types import Float64
from xrs.spectra.library import SpectralLibrary

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_library"]

_ENVI = (".sli", ".hdr")
#: Between the columns of a table.
_TABLES = {".csv": ",", ".tsv": "\t", ".txt": r"\s+"}
#: No wavelength of reflected light is larger in µm, and none smaller in nm.
_LIMIT = 100.0


def read_library(path: str | Path, *, units: str = "auto", scale: float = 1.0) -> SpectralLibrary:
    """Read a library of spectra.

    Parameters
    ----------
    path : str or Path
        One of

        - an ENVI spectral library, ``.sli`` or its ``.hdr`` (through the package spectral:
          ``pip install 'xrs[envi]'``);
        - a table (``.csv``, ``.tsv``, or ``.txt`` with blanks between) with a column for each spectrum: the first
          column holds wavelengths, the names of the others are the spectra's names;
        - a table with a row for each spectrum, if the names of two or more columns are numbers: those are the
          wavelengths, and the columns ``name`` and ``class`` are used if they are there.
    units : {"auto", "nm", "um"}
        Unit of the wavelengths. ``auto`` takes numbers up to 100 for µm.
    scale : float
        What values are multiplied by to give reflectance: 0.01 for percent, 1e-4 for digital numbers. A
        ``reflectance scale factor`` in an ENVI header is used where ``scale`` is 1.

    Returns
    -------
    SpectralLibrary
        Wavelengths ascend, in nm.

    Raises
    ------
    ParameterError
        If the file is missing or of another kind, or the library is not in order: see :class:`SpectralLibrary`.
    RadiometryError
        If the values are percent or digital numbers and no ``scale`` was given.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import pandas as pd
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "mine.csv"
    >>> table = pd.DataFrame({"um": [0.45, 0.65, 0.85], "lawn": [0.04, 0.03, 0.5], "brick": [0.08, 0.22, 0.3]})
    >>> table.to_csv(file, index=False)
    >>> read_library(file)
    <SpectralLibrary: mine: 2 spectra, 3 wavelengths 450 to 850 nm>
    """
    path = Path(path)
    if units not in ("auto", "nm", "um"):
        raise ParameterError(f"units={units!r}", "'auto', 'nm' or 'um'")
    if not path.is_file():
        raise ParameterError(f"no file {path}", "the path of a spectral library")
    kind = path.suffix.lower()
    if kind not in (*_ENVI, *_TABLES):
        raise ParameterError(f"the file {path.name}", f"a spectral library as {', '.join((*_ENVI, *_TABLES))}")
    wavelengths, spectra, names, classes = _read_envi(path, scale) if kind in _ENVI else _read_table(path, scale)
    if units == "um" or (units == "auto" and wavelengths.max() < _LIMIT):
        wavelengths = wavelengths * 1000.0
    order = np.argsort(wavelengths)
    return SpectralLibrary(
        wavelengths[order], spectra[:, order].astype(np.float32), tuple(names), tuple(classes), path.stem, str(path)
    )


def _read_envi(path: Path, scale: float) -> tuple[Float64, Float64, Sequence[str], Sequence[str]]:
    spectral = _spectral()
    try:
        file = spectral.io.envi.open(str(_header(path)))
    except Exception as error:
        raise ParameterError(
            f"{path.name} cannot be read ({error})", "an ENVI spectral library, .sli with .hdr"
        ) from error
    if not isinstance(file, spectral.io.envi.SpectralLibrary):
        raise ParameterError(f"{path.name} is an image", "a file of type ENVI Spectral Library")
    if not file.bands.centers:
        raise ParameterError(f"the header of {path.name} has no wavelengths", "an entry 'wavelength'")
    if scale == 1.0:
        scale = 1.0 / float(file.metadata.get("reflectance scale factor", 1.0))
    return np.asarray(file.bands.centers, dtype="float64"), np.asarray(file.spectra, "float64") * scale, file.names, ()


def _header(path: Path) -> Path:
    """The header beside a library: ``x.hdr`` or ``x.sli.hdr``."""
    both = [path, path.with_suffix(".hdr"), path.with_suffix(".HDR"), path.with_name(path.name + ".hdr")]
    found = next((p for p in both if p.suffix.lower() == ".hdr" and p.is_file()), None)
    if found is None:
        raise ParameterError(f"no header beside {path.name}", f"{path.stem}.hdr in the same folder")
    return found


def _spectral() -> ModuleType:
    try:
        import spectral
    except ImportError as error:
        raise ParameterError(
            "the package spectral is not installed", "it, for ENVI spectral libraries", "pip install 'xrs[envi]'"
        ) from error
    return spectral


def _read_table(path: Path, scale: float) -> tuple[Float64, Float64, Sequence[str], Sequence[str]]:
    import pandas as pd

    try:
        table = pd.read_csv(path, sep=_TABLES[path.suffix.lower()])
    except (ValueError, UnicodeError) as error:
        raise ParameterError(f"{path.name} cannot be read ({error})", "a table of spectra") from error
    numbered = [column for column in table.columns if _is_number(column)]
    if len(numbered) < 2:
        values = _numbers(table, path)
        if values.shape[1] < 2:
            raise ParameterError(f"{path.name} has one column", "wavelengths and one or more spectra")
        return values[:, 0], values[:, 1:].T * scale, [str(column) for column in table.columns[1:]], ()
    spectra = _numbers(table[numbered], path) * scale
    names, classes = ([str(text) for text in table.get(column, ())] for column in ("name", "class"))
    return np.array([float(column) for column in numbered]), spectra, names, classes


def _numbers(table: pd.DataFrame, path: Path) -> Float64:
    try:
        return table.to_numpy("float64")
    except ValueError as error:
        raise ParameterError(
            f"{path.name} holds text where numbers should be ({error})", "wavelengths and spectra"
        ) from error


def _is_number(text: Any) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
