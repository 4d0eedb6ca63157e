"""open_stac on written catalogues: radiometry, quality bits, dates, tiles, sources."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pystac
import pytest
import xarray as xr
from odc.geo.geobox import GeoBox
from rasterio.transform import Affine
from stac_samples import BASELINE, CORNER, ENGINES, collection_of, numbers, reflectance, s2, write_item

from xrs.cube import check_reflectance, geobox_of, to_array
from xrs.errors import (
    BandNotFoundError,
    ParameterError,
    RadiometryError,
    StacItemError,
)
from xrs.io._items import parse_interval
from xrs.io.stac import DuplicateItemWarning, open_stac, usable_qa_pixel, usable_scl

# Radiometry


@pytest.mark.parametrize("engine", ENGINES)
def test_mixed_baselines_are_right_at_each_date(tmp_path: Path, engine: Any) -> None:
    truth = reflectance()
    items = [
        s2(tmp_path, "old", "2022-01-10T10:00:00Z", numbers(truth), properties={"s2:processing_baseline": "03.01"}),
        s2(tmp_path, "new", "2022-02-10T10:00:00Z", numbers(truth, offset=-0.1), properties={"s2:processing_baseline": "04.00"}),
        s2(tmp_path, "anew", "2018-02-10T10:00:00Z", numbers(truth, offset=-0.1), properties={"s2:processing_baseline": "05.00"}),
    ]  # fmt: skip
    cube = open_stac(items, engine=engine)["r10m"]["B04"]
    for date in range(3):
        np.testing.assert_allclose(cube[date], np.where(truth == 0, np.nan, truth), atol=1e-7)


@pytest.mark.parametrize(
    "fields",
    [
        {"raster:bands": [{"data_type": "uint16", "scale": 1e-4, "offset": -0.1, "nodata": 0}]},
        {"raster:scale": 1e-4, "raster:offset": -0.1, "nodata": 0},
        {"bands": [{"name": "B04", "eo:common_name": "red", "raster:scale": 1e-4, "raster:offset": -0.1, "nodata": 0}]},
    ],
    ids=["raster v1", "asset", "STAC 1.1 bands"],
)
def test_offset_of_the_item_is_applied_once(tmp_path: Path, fields: dict[str, Any]) -> None:
    truth = reflectance()
    stored = numbers(truth, offset=-0.1)
    stored[0, 0] = 0
    item = s2(
        tmp_path,
        "a",
        "2023-01-01T10:00:00Z",
        stored,
        fields={"B04": fields},
        properties={"s2:processing_baseline": "05.09"},
    )
    values = open_stac([item])["r10m"]["B04"].values[0]
    assert np.isnan(values[0, 0])
    np.testing.assert_allclose(values[1:], truth[1:], atol=1e-7)


def test_offset_that_is_in_the_pixels_already_is_not_applied(tmp_path: Path) -> None:
    truth = reflectance()
    item = s2(
        tmp_path,
        "a",
        "2023-01-01T10:00:00Z",
        numbers(truth),
        fields={"B04": {"raster:bands": [{"scale": 1e-4, "offset": -0.1, "nodata": 0}]}},
        properties={"s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": True},
    )
    np.testing.assert_allclose(open_stac([item])["r10m"]["B04"][0], np.where(truth == 0, np.nan, truth), atol=1e-7)


def test_sentinel2_without_baseline_is_refused(tmp_path: Path) -> None:
    item = s2(tmp_path, "nameless", "2023-01-01T10:00:00Z", numbers(reflectance()))
    with pytest.raises(StacItemError, match=r"'nameless'.*processing baseline.*s2:processing_baseline"):
        open_stac([item])


def test_integers_without_scale_are_refused(tmp_path: Path) -> None:
    item = s2(
        tmp_path,
        "raw",
        "2023-01-01T10:00:00Z",
        numbers(reflectance()),
        collection="other",
        properties={"platform": "x"},
    )
    cube = open_stac([item])["r10m"]["B04"]
    with pytest.raises(RadiometryError, match=r"'raw' holds uint16.*raster:bands"):
        cube.compute()


def test_scale_and_nodata_of_the_file_are_taken_where_the_item_tells_none(tmp_path: Path) -> None:
    truth = reflectance()
    item = s2(tmp_path, "hls", "2023-01-01T10:00:00Z", numbers(truth).astype("int16"), collection="HLSS30", properties={"platform": "x"}, profile={"nodata": -9999})  # fmt: skip
    import rasterio

    with rasterio.open(tmp_path / "hls" / "B04.tif", "r+") as file:
        stored = file.read(1)
        stored[2, 3] = -9999
        file.write(stored, 1)
        file.scales, file.offsets = (1e-4,), (0.0,)
    values = open_stac([item])["r10m"]["B04"].values[0]
    expected = truth.copy()
    expected[2, 3] = np.nan
    np.testing.assert_allclose(values, expected, atol=1e-7)


# Quality layers


def test_landsat_qa_pixel(tmp_path: Path) -> None:
    # Values and meanings from USGS's table for Landsat 8-9 Collection 2 QA_PIXEL.
    usable = {21824: True, 21888: True, 30048: True}
    masked = {1: False, 21826: False, 22280: False, 23888: False, 54596: False, 55052: False}
    quality = np.array([list(usable | masked)], dtype="uint16")
    truth = np.full((1, 9), 0.25)
    item = write_item(
        tmp_path,
        "LC08",
        "2023-01-01T10:00:00Z",
        {"red": (numbers(truth, 2.75e-5, -0.2), 30.0), "qa_pixel": (quality, 30.0)},
        collection="landsat-c2-l2",
        properties={"platform": "landsat-8"},
        fields={
            "red": {
                "eo:bands": [{"name": "OLI_B4", "common_name": "red", "center_wavelength": 0.65}],
                "raster:bands": [{"scale": 2.75e-5, "offset": -0.2, "nodata": 0, "data_type": "uint16"}],
            }
        },
    )
    group = open_stac([item], mask="auto")["r30m"]
    assert list(group.data_vars) == ["red", "QA_PIXEL"]
    assert group["QA_PIXEL"].dtype == "uint16"
    np.testing.assert_array_equal(group["QA_PIXEL"][0], quality)
    np.testing.assert_array_equal(group["red"].notnull().values[0, 0], list((usable | masked).values()))
    np.testing.assert_allclose(group["red"].values[0, 0, :3], 0.25, atol=2.75e-5)
    snow = open_stac([item], mask=usable_qa_pixel((0, 3, 5)))["r30m"]["red"]
    assert np.isnan(snow.values[0, 0, 2])


def s2_three_grids(folder: Path, classes: np.ndarray) -> pystac.Item:
    bands = {
        "B04": (numbers(np.full((24, 24), 0.1)), 10.0),
        "SCL": (classes, 20.0),
        "B01": (numbers(np.full((4, 4), 0.2)), 60.0),
    }
    fields = {"B01": {"eo:bands": [{"name": "B01", "common_name": "coastal", "center_wavelength": 0.4427}]}}
    return write_item(
        folder, "a", "2020-01-01T10:00:00Z", bands, fields=fields, properties={"s2:processing_baseline": "02.14"}
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_mask_on_coarser_pixels_needs_all_of_them_usable(tmp_path: Path, engine: Any) -> None:
    classes = np.full((12, 12), 4, dtype="uint8")
    classes[0, 0], classes[5, 8] = 9, 3
    tree = open_stac([s2_three_grids(tmp_path, classes)], mask="auto", engine=engine)
    assert list(tree.children) == ["r10m", "r60m"]
    assert list(tree["r60m"].data_vars) == ["B01"]
    missing = np.zeros((4, 4), dtype=bool)
    missing[0, 0] = missing[1, 2] = True
    np.testing.assert_array_equal(tree["r60m"]["B01"].isnull().values[0], missing)
    np.testing.assert_array_equal(
        tree["r10m"]["B04"].isnull().values[0], np.kron(np.isin(classes, [3, 9]), np.ones((2, 2), bool))
    )
    xr.align(tree["r60m"]["B01"].x, open_stac([s2_three_grids(tmp_path, classes)])["r60m"]["B01"].x, join="exact")


def test_mask_without_quality_layer(tmp_path: Path) -> None:
    item = s2(
        tmp_path, "bare", "2020-01-01T10:00:00Z", numbers(reflectance()), properties={"s2:processing_baseline": "02.14"}
    )
    with pytest.raises(StacItemError, match=r"'bare' has no quality layer"):
        open_stac([item], mask="auto")


def test_mask_that_is_no_rule(tmp_path: Path) -> None:
    item = s2_three_grids(tmp_path, np.full((12, 12), 4, dtype="uint8"))
    with pytest.raises(ParameterError, match="callable"):
        open_stac([item], mask="clouds")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="bool"):
        open_stac([item], mask=lambda quality: quality.SCL)
    with pytest.raises(ParameterError, match="classes 0 to 11"):
        usable_scl((12,))
    with pytest.raises(ParameterError, match="bits"):
        usable_qa_pixel(())


def test_quality_layer_is_no_band(tmp_path: Path) -> None:
    group = open_stac([s2_three_grids(tmp_path, np.full((12, 12), 4, dtype="uint8"))])["r10m"].to_dataset()
    assert to_array(group).band.values.tolist() == ["B04"]
    check_reflectance(group)


# Dates and tiles


@pytest.mark.parametrize("engine", ENGINES)
def test_tiles_of_one_moment_are_one_image(tmp_path: Path, engine: Any) -> None:
    left, right = reflectance(1) + 0.01, reflectance(2) + 0.01
    left[3:5, 6:] = 0
    beside = (CORNER[0] + 60.0, CORNER[1] - 20.0)
    items = [
        s2(tmp_path, "right", "2020-01-01T10:00:00Z", numbers(right), corner=beside, properties=BASELINE),
        s2(tmp_path, "left", "2020-01-01T10:00:00Z", numbers(left), properties=BASELINE),
        s2(tmp_path, "later", "2020-01-06T10:00:00Z", numbers(left), properties=BASELINE),
    ]
    cube = open_stac(items, engine=engine, chunks={"y": 3, "x": 5, "time": 1})["r10m"]["B04"]
    assert cube.shape == (2, 10, 14)
    expected = np.full((10, 14), np.nan)
    expected[2:, 6:] = right
    expected[:8, :8] = np.where(left > 0, left, expected[:8, :8])
    np.testing.assert_allclose(cube[0], expected, atol=1e-7)
    assert geobox_of(cube) == GeoBox((10, 14), Affine(10, 0, CORNER[0], 0, -10, CORNER[1]), "EPSG:32631")


def test_solar_day(tmp_path: Path) -> None:
    # At 178 degrees west, 23:50 and 00:10 UTC are noon of one day.
    dates = {"before": "2020-06-01T23:50:00Z", "after": "2020-06-02T00:10:00Z"}
    corners = {"before": CORNER, "after": (CORNER[0] + 80.0, CORNER[1])}
    items = [
        s2(tmp_path, n, d, numbers(reflectance() + 0.01), epsg=32601, corner=corners[n], properties=BASELINE)
        for n, d in dates.items()
    ]
    assert open_stac(items)["r10m"].sizes["time"] == 2
    day = open_stac(items, groupby="solar_day")["r10m"]["B04"]
    assert day.time.values.tolist() == [pd.Timestamp("2020-06-01T23:50:00").value]
    assert day.shape == (1, 8, 16)
    assert bool(day.notnull().all())


def test_scene_processed_twice_is_told_and_used_once(tmp_path: Path) -> None:
    truth = reflectance() + 0.01
    old = s2(tmp_path, "N0213", "2020-01-01T10:00:00Z", numbers(truth), properties={"s2:processing_baseline": "02.13"})
    new = s2(
        tmp_path,
        "N0500",
        "2020-01-01T10:00:00Z",
        numbers(truth, offset=-0.1),
        properties={"s2:processing_baseline": "05.00"},
    )
    with pytest.warns(DuplicateItemWarning, match=r"N0213.*only 'N0500' is used"):
        group = open_stac([new, old])["r10m"]
    np.testing.assert_allclose(group["B04"][0], truth, atol=1e-7)
    assert json.loads(group.attrs["xrs:sources"]) == ["N0500"]


def test_one_acquisition_from_two_collections_is_refused(tmp_path: Path) -> None:
    items = [
        s2(tmp_path, f"a{c}", "2020-01-01T10:00:00Z", numbers(reflectance()), collection=c, properties=BASELINE)
        for c in ("sentinel-2-l1c", "sentinel-2-l2a")
    ]
    with pytest.raises(StacItemError, match=r"several collections.*collections=\["):
        open_stac(items)
    assert open_stac(items, collections=["sentinel-2-l2a"])["r10m"].attrs["xrs:collections"] == "sentinel-2-l2a"


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2018", "2018-01-01", "2018-12-31T23:59:59.999999999"),
        ("2018-02", "2018-02-01", "2018-02-28T23:59:59.999999999"),
        ("2018-03-01", "2018-03-01", "2018-03-01T23:59:59.999999999"),
        ("2018-03-01/2018-04-30", "2018-03-01", "2018-04-30T23:59:59.999999999"),
        ("2018-03-01T10:00:00Z", "2018-03-01T10", "2018-03-01T10"),
        ("2018-03-01T10:00:00+02:00/..", "2018-03-01T08", None),
        ("/2018", None, "2018-12-31T23:59:59.999999999"),
        ("../..", None, None),
    ],
)
def test_intervals(text: str, start: str | None, end: str | None) -> None:
    assert parse_interval(text) == tuple(None if t is None else pd.Timestamp(t) for t in (start, end))


@pytest.mark.parametrize("text", ["spring", "2018/2017", "2018/2019/2020", "2018-13"])
def test_wrong_datetime(text: str) -> None:
    with pytest.raises(ParameterError, match="datetime="):
        parse_interval(text)


# Sources


def test_every_kind_of_source_gives_the_same(tmp_path: Path) -> None:
    item = s2(tmp_path, "a", "2020-01-01T10:00:00Z", numbers(reflectance()), properties=BASELINE)
    collection = collection_of([item])
    collection.normalize_and_save(str(tmp_path / "static"), pystac.CatalogType.SELF_CONTAINED)
    relative = json.loads((tmp_path / "a" / "a.json").read_text())
    relative["assets"]["B04"]["href"] = "./a/B04.tif"
    (tmp_path / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": [relative]}))
    absolute = pystac.ItemCollection([item.make_asset_hrefs_absolute()])
    sources = [
        tmp_path / "items.json",
        str(tmp_path / "static" / "collection.json"),
        tmp_path / "a" / "a.json",
        absolute,
        absolute.to_dict(),
        [item],
        iter([item.to_dict()]),
        pystac.Collection.from_file(tmp_path / "static" / "collection.json"),
    ]
    for source in sources:
        cube = open_stac(source, collections=["sentinel-2-l2a"])["r10m"]["B04"]
        np.testing.assert_allclose(cube[0], np.where(reflectance() == 0, np.nan, reflectance()), atol=1e-7)


def test_sources_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"type": "Point"}')
    (tmp_path / "broken.json").write_text('{"type": ')
    for source in (tmp_path / "absent.json", tmp_path / "other.json", tmp_path / "broken.json", 7):
        with pytest.raises(ParameterError):
            open_stac(source)


def test_relative_href_without_a_place(tmp_path: Path) -> None:
    s2(tmp_path, "a", "2020-01-01T10:00:00Z", numbers(reflectance()), properties=BASELINE)
    with pytest.raises(StacItemError, match=r"relative href './B04.tif'"):
        open_stac(json.loads((tmp_path / "a" / "a.json").read_text()))


def test_nothing_found(tmp_path: Path) -> None:
    item = s2(tmp_path, "a", "2020-01-01T10:00:00Z", numbers(reflectance()), properties=BASELINE)
    for filters in ({"datetime": "2019"}, {"bbox": (10, 10, 11, 11)}, {"collections": ["x"]}):
        with pytest.raises(StacItemError, match=r"none of 1 items.*sentinel-2-l2a"):
            open_stac([item], **filters)
    with pytest.raises(ParameterError, match="degrees"):
        open_stac([item], bbox=(11, 10, 10, 11))
    with pytest.raises(ParameterError, match="STAC API"):
        open_stac([item], search={"limit": 3})


def test_items_of_a_period_and_across_the_antimeridian(tmp_path: Path) -> None:
    item = s2(tmp_path, "month", "2020-01-01T00:00:00Z", numbers(reflectance()), properties=BASELINE)
    item.datetime = None
    item.properties |= {
        "datetime": None,
        "start_datetime": "2020-01-01T00:00:00Z",
        "end_datetime": "2020-01-31T00:00:00Z",
    }
    assert open_stac([item], datetime="2020-01-15")["r10m"].time.values == np.datetime64("2020-01-01")
    with pytest.raises(StacItemError, match="none of 1"):
        open_stac([item], datetime="2020-02")
    item.bbox = [179.0, 50.0, -179.0, 51.0]
    with pytest.raises(StacItemError, match="none of 1"):
        open_stac([item], bbox=(0, 50, 1, 51))


# Bands


def test_copies_of_a_band(tmp_path: Path) -> None:
    item = s2(tmp_path, "a", "2020-01-01T10:00:00Z", numbers(reflectance()), properties=BASELINE)
    copy = item.assets["B04"].clone()
    copy.media_type = "image/jp2"
    item.add_asset("B04-jp2", copy)
    coarse = item.assets["B04"].clone()
    coarse.extra_fields |= {"gsd": 20, "proj:shape": [4, 4], "proj:transform": [20, 0, CORNER[0], 0, -20, CORNER[1]]}
    item.add_asset("B04_20m", coarse)
    item.add_asset("visual", pystac.Asset("./tci.tif", media_type="image/tiff", roles=["visual"]))
    assert list(open_stac([item]).children) == ["r10m"]
    assert list(open_stac([item])["r10m"].data_vars) == ["B04"]
    assert list(open_stac([item], bands=["red"])["r10m"].data_vars) == ["B04"]
    assert list(open_stac([item], bands=["B04_20m"])["r20m"].data_vars) == ["B04_20m"]


def test_ambiguous_and_unknown_bands(tmp_path: Path) -> None:
    edge = {name: {"eo:bands": [{"name": name, "common_name": "rededge"}]} for name in ("B05", "B06")}
    stored = numbers(reflectance())
    item = write_item(
        tmp_path,
        "a",
        "2020-01-01T10:00:00Z",
        {"B05": (stored, 20.0), "B06": (stored, 20.0)},
        fields=edge,
        properties=BASELINE,
    )
    with pytest.raises(BandNotFoundError, match=r"'rededge' fits the bands \['B05', 'B06'\]"):
        open_stac([item], bands=["rededge"])
    with pytest.raises(BandNotFoundError, match=r"no band 'B99'"):
        open_stac([item], bands=["B99"])
    with pytest.raises(BandNotFoundError, match="asked for"):
        open_stac([item], bands=[])


def test_asset_with_several_bands(tmp_path: Path) -> None:
    values = np.stack([reflectance(i) + 0.01 for i in range(3)])
    bands = [
        {"name": n, "common_name": n, "center_wavelength": w}
        for n, w in (("blue", 0.49), ("green", 0.565), ("red", 0.665))
    ]
    item = write_item(
        tmp_path,
        "dove",
        "2023-01-01T10:00:00Z",
        {"analytic": (numbers(values), 3.0)},
        collection="planet",
        properties={"platform": "x"},
        fields={"analytic": {"eo:bands": bands, "raster:bands": [{"scale": 1e-4, "nodata": 0}] * 3}},
    )
    group = open_stac([item])["r3m"]
    assert list(group.data_vars) == ["blue", "green", "red"]
    np.testing.assert_allclose(to_array(group.to_dataset())[0], values, atol=1e-7)
