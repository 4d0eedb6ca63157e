"""Libraries of spectra from files: ENVI's format, and tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from xrs.errors import ParameterError
from xrs.kernels.types import Float64
from xrs.spectra.library import LEAST_NM, MOST_NM, SpectralLibrary

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_library"]

_ENVI = (".sli", ".hdr")
#: Between the columns of a table.
_TABLES = {".csv": ",", ".tsv": "\t", ".txt": r"\s+"}
#: What columns with a row for each spectrum may be besides wavelengths.
_TOLD = ("name", "class")

#: nm in one of each unit.
_NM = {"angstroms": 0.1, "nm": 1.0, "um": 1000.0}
#: How files call them, in the singular.
_UNITS = {
    **dict.fromkeys(("angstrom", "å"), "angstroms"),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), "nm"),
    **dict.fromkeys(("um", "µm", "μm", "micrometer", "micrometre", "micron"), "um"),
}
#: ENVI's ways to say nothing of the unit.
_UNTOLD = ("", "unknown", "unspecified")
#: Words for the column of wavelengths, besides its unit.
_AXIS = {"wavelength", "wave", "wavelen", "wl", "wvl", "wlen", "lambda", "λ"}


class _Content(NamedTuple):
    """What a file holds."""

    nm: Float64
    spectra: Float64
    names: Sequence[str] = ()
    classes: Sequence[str] = ()


def read_library(path: str | Path, *, units: str = "auto", scale: float = 1.0) -> SpectralLibrary:
    """Read a library of spectra.

    Parameters
    ----------
    path : str or Path
        One of

        - an ENVI spectral library, ``.sli`` or its ``.hdr`` (through the package spectral:
          ``pip install 'xrs[envi]'``); wavelengths that its bad band list (``bbl``) marks with 0 are left out;
        - a table (``.csv``, ``.tsv``, or ``.txt`` with blanks between) whose first line names the columns:

          1. If the first column's name tells of wavelengths (``wavelength``, ``wl``, ``wvl``, ``lambda``, ``nm``,
             ``um``, ``wavelength_nm``, ``Wavelength (µm)`` and the like), it holds them, and every other column is a
             spectrum of that name, be it a number.
          2. Otherwise columns whose names are numbers are wavelengths, and each row is a spectrum. Besides them there
             may be the columns ``name`` and ``class``; without these two the numbers must ascend or descend, and the
             first column must not be read as wavelengths as well.
          3. Any other table is refused.
    units : {"auto", "nm", "um"}
        Unit of the wavelengths. ``auto`` takes what the ENVI header or the name of the first column says (nm, µm or Å);
        where they say nothing, numbers up to 100 are µm. A unit given here counts more than the file's.
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
        If the file is missing or of another kind, its first line is no header, its unit is no wavelength
        (wavenumbers), or the library is not in order: see :class:`SpectralLibrary`.
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
    path = _checked(path, units, scale)
    found = (_read_envi if path.suffix.lower() in _ENVI else _read_table)(path, units, scale)
    order = np.argsort(found.nm)
    spectra, names, classes = found.spectra[:, order].astype(np.float32), tuple(found.names), tuple(found.classes)
    return SpectralLibrary(found.nm[order], spectra, names, classes, path.stem, str(path))


def _checked(path: Any, units: Any, scale: Any) -> Path:
    if units not in ("auto", "nm", "um"):
        raise ParameterError(f"units={units!r}", "'auto', 'nm' or 'um'")
    if isinstance(scale, bool) or not isinstance(scale, (int, float, np.number)) or not 0 < scale < np.inf:
        raise ParameterError(f"scale={scale!r}", "a number above 0", "0.01 for percent, 1e-4 for digital numbers")
    if not isinstance(path, (str, Path)):
        raise ParameterError(f"path={path!r}", "the path of a spectral library")
    path = Path(path)
    if not path.is_file():
        raise ParameterError(f"no file {path}", "the path of a spectral library")
    if path.suffix.lower() not in (*_ENVI, *_TABLES):
        raise ParameterError(f"the file {path.name}", f"a spectral library as {', '.join((*_ENVI, *_TABLES))}")
    return path


def _in_nm(wavelengths: Float64, units: str, told: str) -> Float64:
    """Wavelengths in nm, of the unit that the user or else the file tells, or that the numbers have."""
    guessed = "um" if wavelengths.max() < LEAST_NM else "nm"
    return wavelengths * _NM[units if units != "auto" else told or guessed]


def _words(text: str) -> list[str]:
    """Words of a name in small letters, none of them in the plural."""
    return [word.rstrip("s") for word in re.findall(r"[^\W\d_]+", text.lower())]


def _unit_in(text: str) -> str:
    """The unit that a name tells, or nothing."""
    return next((_UNITS[word] for word in _words(text) if word in _UNITS), "")


def _read_envi(path: Path, units: str, scale: float) -> _Content:
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
    if file.params.offset:
        raise ParameterError(
            f"the header of {path.name} has the header offset {file.params.offset}",
            "a library that begins with its values",
        )
    wavelengths, spectra = np.asarray(file.bands.centers, "float64"), np.asarray(file.spectra, "float64")
    good = _good_bands(file.metadata.get("bbl"), wavelengths.size, path)
    if scale == 1.0:
        scale = 1.0 / _scale_factor(file.metadata.get("reflectance scale factor", 1.0), path)
    unit = _envi_unit(str(file.bands.band_unit or ""), path) if units == "auto" else ""
    return _Content(_in_nm(wavelengths[good], units, unit), spectra[:, good] * scale, file.names)


def _envi_unit(told: str, path: Path) -> str:
    unit = _unit_in(told)
    if not unit and told.strip(" <>").lower() not in _UNTOLD:
        raise ParameterError(
            f"the wavelengths of {path.name} are in {told!r}",
            "nanometers, micrometers or Angstroms",
            "convert them, or give units= if they are nm or µm all the same",
        )
    return unit


def _good_bands(bad_band_list: Any, count: int, path: Path) -> Any:
    """Which wavelengths ENVI's list of bad bands leaves."""
    if bad_band_list is None:
        return np.ones(count, bool)
    try:
        good = np.asarray(bad_band_list, "float64") != 0
    except (ValueError, TypeError):
        good = np.zeros(0, bool)
    if good.shape != (count,) or not good.any():
        raise ParameterError(
            f"the bad band list (bbl) of {path.name} fits no library of {count} wavelengths",
            "a 0 or a 1 for each wavelength, some of them 1",
            "correct or delete the entry 'bbl' of the header",
        )
    return good


def _scale_factor(told: Any, path: Path) -> float:
    factor = _number(told)
    if factor is None or factor <= 0:
        raise ParameterError(
            f"the header of {path.name} has the reflectance scale factor {told!r}",
            "a number above 0",
            "correct it, or give scale=",
        )
    return factor


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


def _read_table(path: Path, units: str, scale: float) -> _Content:
    names, rows = _lines(path)
    if len(names) < 2:
        raise ParameterError(f"{path.name} has one column", "wavelengths and one or more spectra")
    if _AXIS.intersection(_words(names[0])) or _unit_in(names[0]):
        values = _numbers(rows, path)
        return _Content(_in_nm(values[:, 0], units, _unit_in(names[0])), values[:, 1:].T * scale, names[1:])
    across = [number for number in map(_number, names) if number is not None]
    others = [name for name in names if _number(name) is None]
    if len(across) < 2 or not {name.lower() for name in others} <= set(_TOLD):
        raise ParameterError(
            f"columns {_few(others)} in {path.name}",
            "a first column named 'wavelength', 'wl', 'nm' or 'um'; or wavelengths as names of the columns, and "
            "besides them 'name' and 'class' alone",
            "rename the first column if it holds wavelengths; leave the others out",
        )
    if not others:
        _check_header(np.array(across), rows, path, units)
    numbered = [column for column, name in enumerate(names) if name not in others]
    told = {name.lower(): [str(text) for text in rows[names.index(name)]] for name in others}
    spectra = _numbers(rows[numbered], path) * scale
    return _Content(_in_nm(np.array(across), units, ""), spectra, told.get("name", ()), told.get("class", ()))


def _lines(path: Path) -> tuple[list[str], pd.DataFrame]:
    """Names of the columns, and what stands below them."""
    import pandas as pd

    between = _TABLES[path.suffix.lower()]
    try:
        with path.open(encoding="utf-8-sig") as file:
            first = next((line for line in file if line.strip()), "")
            rest = file.read()
        names = pd.read_csv(StringIO(first), sep=between, header=None, dtype=str, keep_default_na=False)
        if not rest.strip():
            raise ParameterError(f"{path.name} holds one line", "names of columns, and rows of numbers below")
        # Names apart from the rest: pandas would number names that stand twice, and move columns where names lack.
        rows = pd.read_csv(StringIO(rest), sep=between, header=None)
    except (ValueError, OSError) as error:
        if isinstance(error, ParameterError):
            raise
        raise ParameterError(f"{path.name} cannot be read ({error})", "a table of spectra") from error
    if names.shape[1] != rows.shape[1]:
        raise ParameterError(
            f"{names.shape[1]} names of columns and rows of {rows.shape[1]} values in {path.name}",
            "a first line that names every column",
        )
    return [str(name).strip() for name in names.iloc[0]], rows


def _check_header(names: Float64, rows: pd.DataFrame, path: Path, units: str) -> None:
    """Refuse a first line of numbers that is no line of wavelengths, or may be the first of several rows."""
    first = _number(names[0]), *map(_number, rows[0])
    if not _is_axis(names, units) or (None not in first and _is_axis(np.array(first, "float64"), units)):
        raise ParameterError(
            f"{path.name} begins with a line of numbers ({_few(f'{number:g}' for number in names)}) "
            "that is not, or not for certain, one of wavelengths",
            "a first line that names the columns (the header)",
            "begin with a line such as 'wavelength,a,b'; or put a column 'name' before the wavelengths of such a line",
        )


def _is_axis(numbers: Float64, units: str) -> bool:
    """Whether numbers may be wavelengths in their order."""
    steps, nm = np.diff(numbers), _in_nm(numbers, units, "")
    return bool(((steps > 0).all() or (steps < 0).all()) and nm.min() >= LEAST_NM and nm.max() <= MOST_NM)


def _few(texts: Iterable[str], most: int = 5) -> str:
    texts = list(texts)
    return ", ".join(texts[:most]) + (", ..." if len(texts) > most else "")


def _numbers(table: pd.DataFrame, path: Path) -> Float64:
    try:
        return table.to_numpy("float64")
    except ValueError as error:
        raise ParameterError(
            f"{path.name} holds text where numbers should be ({error})", "wavelengths and spectra"
        ) from error


def _number(text: Any) -> float | None:
    try:
        number = float(text)
    except (ValueError, TypeError):
        return None
    return number if np.isfinite(number) else None
