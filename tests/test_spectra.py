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
        ((np.repeat(NM[:2], 2), ramp()[:, :4]), ParameterError, "ascend"),
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
    ("text", "told"),
    [
        ("wavelength,a\n500,x\n600,0.2\n", "text"),
        ("wavelength,a\n500,\n600,0.2\n", "missing"),
        ("wavelength\n500\n600\n", "one column"),
        ("", "cannot be read"),
        ("wavelength,a\n0.5,0.1\n0.6,0.2\n", "µm"),
    ],
)
def test_bad_tables_are_named(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(ParameterError, match=told):
        read_library(tmp_path / "bad.csv", units="nm" if told == "µm" else "auto")
    with pytest.raises(ParameterError, match="units"):
        read_library(tmp_path / "bad.csv", units="cm")
