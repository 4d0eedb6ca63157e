"""Bands, sensors, tables."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from sensors_tables import TABLES, read_responses

from xrs.errors import BandNotFoundError, ParameterError
from xrs.sensors import Band, get_sensor, known_sensor, list_sensors, response_of, sensor_from_table

ALL = list(list_sensors().index)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("sentinel-2c", 13), ("landsat-9", 8), ("modis", 7), ("sentinel-3-olci", 21), ("gf-6-wfv", 8), ("zy1-02d-vnic", 8),
        ("zy1-02d-ahsi", 166), ("worldview-2", 8), ("worldview-3", 16), ("eo1-ali", 9), ("eo1-hyperion", 242),
        ("enmap", 224), ("prisma", 230), ("planetscope-sd8", 8),
    ],
)  # fmt: skip
def test_number_of_bands(name, count):
    assert len(get_sensor(name).bands) == count


@pytest.mark.parametrize("name", ALL)
def test_every_sensor_is_whole(name):
    sensor = get_sensor(name)
    assert sensor.reference
    assert all(b.gsd > 0 and 350 < b.wavelength < 2600 and b.fwhm < 500 for b in sensor.all_bands)
    assert pickle.loads(pickle.dumps(sensor)) == sensor
    assert sensor.title in repr(sensor)
    assert len(repr(sensor).splitlines()) <= 22


@pytest.mark.parametrize("name", list(TABLES))
def test_centres_and_widths_are_those_of_the_published_responses(shared_data, name):
    sensor = get_sensor(name)
    for key, (wavelength, response) in read_responses(shared_data / "srf", name).items():
        above = wavelength[response >= response.max() / 2]
        weighted = np.trapezoid(wavelength * response, wavelength) / np.trapezoid(response, wavelength)
        band, edges = sensor[key], (above[0], above[-1])
        # The OLCI table of this band is cut off at 1044 nm.
        tolerance = 8.0 if key == "Oa21" else 3.0
        assert min(abs(band.wavelength - np.mean(edges)), abs(band.wavelength - weighted)) <= tolerance, key
        assert abs(band.fwhm - np.ptp(edges)) <= max(3.0, 0.03 * band.fwhm) or key == "Oa21", key


def test_hyperion_agrees_with_rows_of_the_published_table():
    published = {
        "B001": (355.59, 11.3871), "B009": (436.99, 11.3871), "B030": (650.67, 10.2942), "B057": (925.41, 11.2754),
        "B070": (1057.68, 11.2754), "B071": (851.92, 11.0457), "B133": (1477.43, 11.0074), "B150": (1648.90, 11.5133),
        "B200": (2153.34, 10.6834), "B242": (2577.08, 10.4077),
    }  # fmt: skip
    hyperion = get_sensor("hyperion")
    for key, (centre, width) in published.items():
        assert hyperion[key].wavelength == pytest.approx(centre, abs=0.15)
        assert hyperion[key].fwhm == pytest.approx(width, abs=0.06)


def test_enmap_agrees_with_the_metadata_of_a_product(shared_data):
    xr = pytest.importorskip("xarray")
    with xr.open_dataset(shared_data / "enmap_potsdam.nc") as product:
        measured = product["wavelength"].values
    assert np.abs(measured - [b.wavelength for b in get_sensor("enmap").bands]).max() < 1.0


def test_library_responses_agree_with_the_table():
    for name in ("sentinel-2a", "sentinel-2b", "landsat-8", "landsat-9", "modis"):
        sensor = get_sensor(name)
        for band in sensor.all_bands:
            wavelength, response = response_of(sensor, band.key).T
            above = wavelength[response >= response.max() / 2]
            assert abs(np.mean([above[0], above[-1]]) - band.wavelength) < 4.5, (name, band.key)
            assert abs(np.ptp(above) - band.fwhm) < 3, (name, band.key)


def test_lookup_by_key_and_common_name():
    s2 = get_sensor("S2A")
    assert s2["B8A"] is s2["nir08"]
    with pytest.raises(BandNotFoundError, match=r"B05.*B06.*B07"):
        s2["rededge"]
    with pytest.raises(BandNotFoundError, match="no band 'B99'"):
        s2["B99"]
    with pytest.raises(ParameterError, match=r"did you mean.*sentinel-2"):
        get_sensor("sentinel-2d")


def test_select_and_group():
    l8 = get_sensor("Landsat 8")
    assert l8.keys[-1] == "B8"
    assert l8.select(["pan", "red"]).pan == l8.pan
    assert l8.select(["red"]).pan is None
    assert {g: len(b) for g, b in l8.by_gsd(l8.keys).items()} == {15.0: 1, 30.0: 8}
    assert list(get_sensor("sentinel-2b").by_gsd()) == [10.0, 20.0, 60.0]


def test_gains():
    # The reference toolbox: WorldView-2 seven times 0.35 and 0.27, pan 0.11; others 0.3 and 0.15.
    assert get_sensor("wv2").mtf_of().tolist() == [0.35] * 7 + [0.27]
    assert get_sensor("wv2").mtf_of(["pan"]).tolist() == [0.11]
    assert get_sensor("landsat-8").mtf_of(["B4", "B8"]).tolist() == [0.3, 0.15]
    assert get_sensor("sentinel-2a").mtf_of(["B02", "B08", "B8A"]).tolist() == [0.275, 0.24, 0.32]


def test_known_sensor():
    assert known_sensor("sentinel-2a", ["B02", "B8A"]) == "sentinel-2a"
    assert known_sensor("sentinel-2a", ["rededge1"]) is None
    assert known_sensor("a drone") is None


def test_table_of_bands_round_trip(tmp_path):
    s2 = get_sensor("sentinel-2a")
    s2.to_frame().to_csv(tmp_path / "s2.csv")
    again = sensor_from_table(tmp_path / "s2.csv")
    assert again.bands == s2.bands


def test_table_of_responses():
    wavelength = np.arange(0.4, 0.9, 0.001)
    table = pd.DataFrame({"wavelength": wavelength, "red": (abs(wavelength - 0.65) < 0.0201).astype(float)})
    table["nir"] = np.exp(-4 * np.log(2) * ((wavelength - 0.8) / 0.05) ** 2)
    camera = sensor_from_table(table, units="um", pan="nir", gsd=2.0)
    assert camera["red"].wavelength == pytest.approx(650)
    assert camera.pan.fwhm == pytest.approx(50, abs=0.1)
    assert camera.pan.gsd == 2.0
    assert response_of(camera, "red")[:, 1].sum() == pytest.approx(41)


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ({"wavelength": [0.65], "fwhm": [0.03]}, {}, "units='um'"),
        ({"fwhm": [30]}, {}, "a column 'wavelength'"),
        ({"wavelength": [650]}, {}, "'fwhm', or one for each band"),
        ({"wavelength": [650], "fwhm": [0]}, {}, "a width above 0"),
        ({"wavelength": [650], "fwhm": [30], "mtf": [1.2]}, {}, "between 0 and 1"),
        ({"key": ["a", "a"], "wavelength": [650, 700], "fwhm": [30, 30]}, {}, "each key once"),
        ({"wavelength": [650], "fwhm": [30]}, {"units": "Å"}, "'nm' or 'um'"),
        ({"wavelength": [700, 650], "red": [0, 1]}, {}, "do not ascend"),
        ({"wavelength": [650, 700], "red": [0, 0]}, {}, "responds nowhere"),
    ],
)
def test_bad_tables(table, options, message):
    with pytest.raises(ParameterError, match=message):
        sensor_from_table(table, **options)


def test_unknown_pan():
    with pytest.raises(BandNotFoundError, match="no band 'pan'"):
        sensor_from_table({"wavelength": [650], "fwhm": [30]}, pan="pan")


def test_bands_are_numbered_or_named_by_the_index():
    rows = {"wavelength": [650, 700], "fwhm": [30, 30]}
    assert sensor_from_table(rows).keys == ["B1", "B2"]
    assert sensor_from_table(pd.DataFrame(rows, index=["r", "e"])).keys == ["r", "e"]


def test_band_is_frozen():
    with pytest.raises(AttributeError):
        Band("B1", "", 650, 30).fwhm = 10
