"""Libraries of spectra: what they refuse, what sensors see of them, and files."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from xrs.errors import BandNotFoundError, ParameterError, RadiometryError, XrsError
from xrs.sensors import sensor_from_table
from xrs.spectra import SpectralLibrary, read_library

NM = np.arange(400.0, 2501.0, 10.0)


def ramp(count: int = 3) -> np.ndarray:
    """Spectra linear in wavelength."""
    return np.stack([0.1 * (n + 1) + 1e-4 * (NM - 400) for n in range(count)]).astype("float32")


def test_a_symmetric_band_sees_a_linear_spectrum_at_its_centre() -> None:
    sensor = sensor_from_table({"key": ["a", "b"], "wavelength": [663.0, 1604.0], "fwhm": [12.0, 80.0]})
    seen = SpectralLibrary(NM, ramp()).seen_by(sensor)
    expected = np.stack([0.1 * (n + 1) + 1e-4 * (np.array([663.0, 1604.0]) - 400) for n in range(3)])
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen, expected, atol=1e-5)


def test_bands_can_be_chosen_and_must_be_covered() -> None:
    library = SpectralLibrary(NM[NM < 1000], ramp()[:, NM < 1000])
    assert library.seen_by("sentinel-2a", ["B04", "B03"]).shape == (3, 2)
    with pytest.raises(BandNotFoundError, match="B11"):
        library.seen_by("sentinel-2a")


def test_classes_select() -> None:
    library = SpectralLibrary(NM, ramp(), names=("x", "y", "z"), classes=("soil", "water", "soil"))
    chosen = library.select("soil")
    assert chosen.names == ("x", "z") and chosen.classes == ("soil", "soil")
    np.testing.assert_array_equal(chosen.spectra, ramp()[[0, 2]])
    assert len(library.select(["water", "soil"])) == 3
    with pytest.raises(ParameterError, match="lava"):
        library.select(["soil", "lava"])


def test_it_is_frozen_and_says_what_it_is_in_a_line() -> None:
    library = SpectralLibrary(NM, np.tile(ramp(1), (5000, 1)), classes=[f"kind {n % 50}" for n in range(5000)])
    with pytest.raises(dataclasses.FrozenInstanceError):
        library.title = "other"  # type: ignore[misc]
    assert "5000 spectra" in repr(library) and len(repr(library)) < 250 and "\n" not in repr(library)


def _changed(value: float) -> np.ndarray:
    spectra = ramp()
    spectra[1, 5] = value
    return spectra


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ((NM / 1000, ramp()), ParameterError, "µm"),
        ((NM[::-1], ramp()), ParameterError, "ascend"),
        ((np.repeat(NM[:2], 2), ramp()[:, :4]), ParameterError, r"stand more than once: 400, 410 nm"),
        ((NM * 1000, ramp()), ParameterError, "run from 400000 to .*from 100 to 30000"),
        (([0.1, 450.0], ramp()[:, :2]), ParameterError, "run from 0.1 to 450"),
        ((NM[:3], [[0.1, 0.2, 0.3], [0.1, 0.2]]), ParameterError, "spectra that are no array of numbers"),
        ((NM[:2], [["dark", "bright"]]), ParameterError, "spectra that are no array of numbers"),
        ((["blue", "red"], [[0.1, 0.2]]), ParameterError, "wavelengths that are no array of numbers"),
        ((NM[:1], ramp()[:, :1]), ParameterError, "two or more"),
        ((np.where(NM == 500, np.nan, NM), ramp()), ParameterError, "missing"),
        ((NM, ramp()[:, 1:]), ParameterError, "shape"),
        ((NM, ramp()[0]), ParameterError, "shape"),
        ((NM, ramp()[:0]), ParameterError, "shape"),
        ((NM, _changed(np.nan)), ParameterError, "1 of 3 spectra"),
        ((NM, 100 * ramp()), RadiometryError, r"percent.*scale=0\.01"),
        ((NM, 10000 * ramp()), RadiometryError, r"digital numbers.*scale=0\.0001"),
        ((NM, _changed(-1.23e34)), RadiometryError, "missing values"),
        ((NM, ramp(), ("a", "b")), ParameterError, "2 names for 3 spectra"),
        ((NM, ramp(), "abc"), ParameterError, "names='abc'"),
        ((NM, ramp(), (), 5), ParameterError, "classes=5"),
    ],
)
def test_wrong_input_is_named(arguments: Any, error: type[XrsError], told: str) -> None:
    with pytest.raises(error, match=told):
        SpectralLibrary(*arguments)


def test_noise_below_zero_and_glints_above_one_are_reflectance() -> None:
    assert SpectralLibrary(NM, _changed(-0.01)).spectra.min() < 0
    assert SpectralLibrary(NM, _changed(1.3)).spectra.max() > 1


def save_envi(folder: Path, wavelengths: np.ndarray, spectra: np.ndarray, **header: Any) -> Path:
    """Write a library as the package spectral does."""
    envi = pytest.importorskip("spectral.io.envi")
    names = [f"s{n}" for n in range(len(spectra))]
    file = envi.SpectralLibrary(spectra, {"wavelength": list(wavelengths), "spectra names": names, **header})
    file.save(str(folder / "mine"))
    return folder / "mine.sli"


@pytest.mark.parametrize("suffix", [".sli", ".hdr"])
@pytest.mark.parametrize("factor", [1.0, 1e-3])
def test_envi_libraries_come_back(tmp_path: Path, suffix: str, factor: float) -> None:
    path = save_envi(tmp_path, NM * factor, ramp()).with_suffix(suffix)
    library = read_library(path)
    np.testing.assert_allclose(library.wavelengths, NM)
    np.testing.assert_array_equal(library.spectra, ramp())
    assert library.names == ("s0", "s1", "s2") and library.title == "mine"


def test_envi_scale_is_of_the_header_or_of_the_user(tmp_path: Path) -> None:
    path = save_envi(tmp_path, NM, 10000 * ramp(), **{"reflectance scale factor": 10000.0})
    np.testing.assert_allclose(read_library(path).spectra, ramp(), rtol=1e-6)
    path = save_envi(tmp_path, NM, 100 * ramp())
    with pytest.raises(RadiometryError, match="percent"):
        read_library(path)
    np.testing.assert_allclose(read_library(path, scale=0.01).spectra, ramp(), rtol=1e-6)


@pytest.mark.parametrize(
    ("unit", "per_nm"), [("Angstroms", 10.0), ("Micrometers", 1e-3), ("nm", 1.0), ("Unknown", 1.0), ("Unknown", 1e-3)]
)
def test_envi_units_are_those_of_the_header(tmp_path: Path, unit: str, per_nm: float) -> None:
    path = rewritten(save_envi(tmp_path, NM * per_nm, ramp()), "wavelength units", unit)
    np.testing.assert_allclose(read_library(path).wavelengths, NM)


@pytest.mark.parametrize("unit", ["Wavenumber", "GHz", "Index", "furlongs"])
def test_envi_units_that_are_no_lengths_are_named(tmp_path: Path, unit: str) -> None:
    path = rewritten(save_envi(tmp_path, NM, ramp()), "wavelength units", unit)
    with pytest.raises(ParameterError, match=f"mine.sli are in '{unit}'.*units="):
        read_library(path)
    np.testing.assert_array_equal(read_library(path, units="nm").wavelengths, NM)


def test_envi_bad_bands_are_left_out(tmp_path: Path) -> None:
    good = np.where((NM > 1340) & (NM < 1480), 0, 1)
    spectra = np.where(good, ramp(), np.float32(-1.23e34))
    library = read_library(save_envi(tmp_path, NM, spectra, bbl=list(good)))
    np.testing.assert_array_equal(library.wavelengths, NM[good == 1])
    np.testing.assert_array_equal(library.spectra, ramp()[:, good == 1])


@pytest.mark.parametrize(
    ("entry", "value", "told"),
    [
        ("bbl", "{1, 0, 1}", "bad band list"),
        ("bbl", "{" + ", ".join(["x"] * NM.size) + "}", "bad band list"),
        ("bbl", "{" + ", ".join(["0"] * NM.size) + "}", "bad band list"),
        ("reflectance scale factor", "0", "scale factor '0'.*scale="),
        ("reflectance scale factor", "abc", "scale factor 'abc'.*scale="),
        ("reflectance scale factor", "-10", "scale factor '-10'"),
        ("header offset", "8", "offset 8"),
    ],
)
def test_envi_headers_that_mislead_are_named(tmp_path: Path, entry: str, value: str, told: str) -> None:
    path = rewritten(save_envi(tmp_path, NM, ramp()), entry, value)
    with pytest.raises(ParameterError, match=told):
        read_library(path)


def rewritten(library: Path, entry: str, value: str) -> Path:
    """A library with another entry in its header."""
    header = library.with_suffix(".hdr")
    lines = [line for line in header.read_text().splitlines() if not line.startswith(f"{entry} =")]
    header.write_text("\n".join([*lines, f"{entry} = {value}", ""]))
    return library


def test_arguments_of_another_kind_are_named(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="path=None"):
        read_library(None)  # type: ignore[arg-type]
    (tmp_path / "mine.csv").write_text("nm,a\n450,0.1\n550,0.2\n")
    for scale in ("x", 0.0, -1.0, np.nan, None, True):
        with pytest.raises(ParameterError, match="scale="):
            read_library(tmp_path / "mine.csv", scale=scale)  # type: ignore[arg-type]


def test_files_that_are_no_library_are_named(tmp_path: Path) -> None:
    spectral = pytest.importorskip("spectral")
    with pytest.raises(ParameterError, match="no file"):
        read_library(tmp_path / "none.sli")
    (tmp_path / "x.xlsx").touch()
    with pytest.raises(ParameterError, match=r"\.sli"):
        read_library(tmp_path / "x.xlsx")
    (tmp_path / "alone.sli").touch()
    with pytest.raises(ParameterError, match="no header"):
        read_library(tmp_path / "alone.sli")
    spectral.envi.save_image(str(tmp_path / "image.hdr"), np.zeros((4, 4, 3), "float32"))
    with pytest.raises(ParameterError, match="image"):
        read_library(tmp_path / "image.hdr")
    (tmp_path / "bad.hdr").write_text("no header")
    with pytest.raises(ParameterError, match="cannot be read"):
        read_library(tmp_path / "bad.hdr")


def test_without_the_package_spectral_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.sli").touch()
    monkeypatch.setitem(sys.modules, "spectral", None)
    with pytest.raises(ParameterError, match=r"pip install 'xrs\[envi\]'"):
        read_library(tmp_path / "x.sli")


@pytest.mark.parametrize(("suffix", "between"), [(".csv", ","), (".tsv", "\t"), (".txt", " ")])
def test_tables_with_a_column_for_each_spectrum(tmp_path: Path, suffix: str, between: str) -> None:
    path = tmp_path / f"mine{suffix}"
    pd.DataFrame(ramp().T, columns=["a", "b", "c"], index=pd.Index(NM / 1000, name="um")).to_csv(path, sep=between)
    library = read_library(path)
    np.testing.assert_allclose(library.wavelengths, NM)
    np.testing.assert_allclose(library.spectra, ramp(), rtol=1e-6)
    assert library.names == ("a", "b", "c")


def test_tables_with_a_row_for_each_spectrum(tmp_path: Path) -> None:
    table = pd.DataFrame(ramp() * 100, columns=[f"{w:g}" for w in NM])[[f"{w:g}" for w in NM[::-1]]]
    table.insert(0, "class", ["soil", "soil", "roof"])
    table.to_csv(tmp_path / "rows.csv", index=False)
    library = read_library(tmp_path / "rows.csv", units="nm", scale=0.01)
    np.testing.assert_array_equal(library.wavelengths, NM)
    np.testing.assert_allclose(library.spectra, ramp(), rtol=1e-6)
    assert library.classes == ("soil", "soil", "roof") and library.names == ()


@pytest.mark.parametrize(
    ("first", "unit"),
    [
        ("wl", 1.0),
        ("Wavelengths", 1.0),
        ("lambda", 1.0),
        ("Wavelength (µm)", 1e3),
        ("wave_nm", 1.0),
        ("Angstroms", 0.1),
    ],
)
def test_spectra_may_be_named_by_numbers(tmp_path: Path, first: str, unit: float) -> None:
    (tmp_path / "mine.csv").write_text(f"{first},1,2,3\n{450 / unit},.1,.2,.3\n{550 / unit},.2,.3,.4\n")
    library = read_library(tmp_path / "mine.csv")
    np.testing.assert_allclose(library.wavelengths, [450, 550])
    np.testing.assert_allclose(library.spectra, [[0.1, 0.2], [0.2, 0.3], [0.3, 0.4]])
    assert library.names == ("1", "2", "3")


def test_a_first_line_of_ascending_wavelengths_is_a_header(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("450,550,650\n.1,.2,.3\n.2,.3,.4\n")
    library = read_library(tmp_path / "rows.csv")
    np.testing.assert_array_equal(library.wavelengths, [450, 550, 650])
    np.testing.assert_allclose(library.spectra, [[0.1, 0.2, 0.3], [0.2, 0.3, 0.4]])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("wavelength,a\n500,x\n600,0.2\n", "text"),
        ("wavelength,a\n500,\n600,0.2\n", "missing"),
        ("wavelength\n500\n600\n", "one column"),
        ("", "cannot be read"),
        ("wavelength,a\n0.5,0.1\n0.6,0.2\n", "µm"),
        ("wavelength,a\n", "one line"),
        # Neither says where wavelengths are.
        ("site,1,2,3\n450,.1,.2,.3\n550,.2,.3,.4\n", "columns site in bad.csv.*named 'wavelength'"),
        (",1,2,3\n450,.1,.2,.3\n550,.2,.3,.4\n", "named 'wavelength'"),
        ("class,lat,450,550\nsoil,50,.1,.2\n", "columns class, lat"),
        ("X450,X550\n.1,.2\n.2,.3\n", "columns X450, X550"),
        # No header.
        ("450,.1,.2\n550,.2,.3\n", "line of numbers.*header.*wavelength,a,b"),
        ("0.45,.1,.2\n0.55,.2,.3\n", "line of numbers.*header"),
        ("0.65,0.4,0.2\n0.75,.2,.3\n", "not for certain"),
        # Names that lack, or stand twice: pandas would take the first column for labels, and 450.1 for the second.
        ("a,b\n450,.1,.2\n550,.2,.3\n", "2 names of columns and rows of 3"),
        ("name,450,450,550\nx,.1,.2,.3\n", "more than once: 450 nm"),
    ],
)
def test_bad_tables_are_named(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(ParameterError, match=told):
        read_library(tmp_path / "bad.csv", units="nm" if told == "µm" else "auto")
    with pytest.raises(ParameterError, match="units"):
        read_library(tmp_path / "bad.csv", units="cm")


def test_units_that_do_not_fit_the_numbers_are_named(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("wavelength,a\n450,0.1\n550,0.2\n")
    with pytest.raises(ParameterError, match="run from 450000 to 550000"):
        read_library(tmp_path / "mine.csv", units="um")
