"""open_stac on a real catalogue: pixels, grids, masks and laziness against rasterio."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from odc.geo.geobox import GeoBox

from xrs.cube import geobox_of, nest
from xrs.io.stac import open_stac, usable_scl

SUMMER = "2018-06/2018-07"


@pytest.fixture(scope="module")
def catalog(shared_data: Path) -> Path:
    return shared_data / "flanders" / "catalog.json"


@pytest.fixture(scope="module")
def masked(catalog: Path) -> xr.DataTree:
    return open_stac(catalog, datetime=SUMMER, mask="auto").load()


@pytest.fixture(scope="module")
def bare(catalog: Path) -> xr.DataTree:
    return open_stac(catalog).load()


def stored(catalog: Path, band: str) -> np.ndarray:
    """The numbers of one band as rasterio reads them, in the order of the folders' dates."""
    files = sorted(catalog.parent.glob(f"items/*/{band}.tif"), key=lambda path: path.parent.name.split("_")[-1])
    layers = []
    for path in files:
        with rasterio.open(path) as file:
            layers.append(file.read(1))
    return np.stack(layers)


def test_groups_and_types(bare: xr.DataTree) -> None:
    assert list(bare.children) == ["r10m", "r20m"]
    assert list(bare["r10m"].data_vars) == ["B02", "B03", "B04", "B08", "SCL"]
    assert list(bare["r20m"].data_vars) == ["B05", "B06", "B07", "B8A", "B11", "B12", "SCL"]
    for group in bare.children.values():
        for name, variable in group.data_vars.items():
            assert variable.dims == ("time", "y", "x")
            assert variable.dtype == ("uint8" if name == "SCL" else "float32")


@pytest.mark.parametrize(("group", "band"), [("r10m", "B02"), ("r10m", "B08"), ("r20m", "B11"), ("r20m", "B8A")])
def test_pixels_are_those_of_the_files(catalog: Path, bare: xr.DataTree, group: str, band: str) -> None:
    numbers = stored(catalog, band)
    expected = np.where(numbers == 0, np.nan, numbers / 10_000)
    assert bare[group][band].shape[0] == 118
    np.testing.assert_allclose(bare[group][band].values, expected, rtol=1e-6)


def test_grids_are_those_of_the_files(catalog: Path, bare: xr.DataTree) -> None:
    for group, band in (("r10m", "B04"), ("r20m", "B05")):
        with rasterio.open(next(catalog.parent.glob(f"items/*/{band}.tif"))) as file:
            assert geobox_of(bare[group].to_dataset()) == GeoBox(file.shape, file.transform, "EPSG:32631")
    assert nest(geobox_of(bare["r10m"].to_dataset()), geobox_of(bare["r20m"].to_dataset())).ratio == 2


def test_quality_is_kept_and_laid_on_finer_pixels_in_blocks(
    catalog: Path, masked: xr.DataTree, bare: xr.DataTree
) -> None:
    classes = stored(catalog, "SCL")
    np.testing.assert_array_equal(bare["r20m"]["SCL"].values, classes)
    np.testing.assert_array_equal(bare["r10m"]["SCL"].values, np.kron(classes, np.ones((1, 2, 2), "uint8")))
    xr.testing.assert_equal(masked["r20m"]["SCL"], bare["r20m"]["SCL"].sel(time=masked["r20m"].time))
    assert masked["r20m"]["SCL"].attrs["flag_meanings"].split()[9] == "cloud_high_probability"
    assert masked["r10m"]["B02"].attrs["ancillary_variables"] == "SCL"


@pytest.mark.parametrize(("group", "side"), [("r10m", 2), ("r20m", 1)])
def test_auto_mask(catalog: Path, masked: xr.DataTree, bare: xr.DataTree, group: str, side: int) -> None:
    unmasked = bare[group].to_dataset().sel(time=masked[group].time)
    summer = np.isin(bare["r20m"].time, masked[group].time)
    cloudy = np.isin(stored(catalog, "SCL")[summer], [0, 1, 3, 8, 9, 10])
    expected = np.kron(cloudy, np.ones((1, side, side), dtype=bool))
    for name in set(unmasked.data_vars) - {"SCL"}:
        np.testing.assert_array_equal(masked[group][name].values, np.where(expected, np.nan, unmasked[name].values))


def test_mask_of_ones_own(catalog: Path) -> None:
    short = {"datetime": "2018-07", "bands": ["B11"]}
    by_rule = open_stac(catalog, mask=usable_scl((0, 1, 2, 3, 6, 7, 8, 9, 10, 11)), **short)
    by_hand = open_stac(catalog, mask=lambda quality: quality.SCL.isin([4, 5]), **short)
    xr.testing.assert_equal(by_rule["r20m"].to_dataset(), by_hand["r20m"].to_dataset())
    assert 0.1 < float(by_hand["r20m"]["B11"].isnull().mean()) < 0.9


def test_engines_agree(catalog: Path, masked: xr.DataTree) -> None:
    other = open_stac(catalog, datetime=SUMMER, mask="auto", engine="stackstac").load()
    assert list(other.children) == list(masked.children)
    for name in masked.children:
        xr.testing.assert_identical(masked[name].to_dataset(), other[name].to_dataset())


def test_only_json_is_read_before_compute(catalog: Path, tmp_path: Path) -> None:
    shutil.copytree(catalog.parent, tmp_path / "json", ignore=shutil.ignore_patterns("*.tif", "*.nc"))
    for engine in ("odc", "stackstac"):
        tree = open_stac(tmp_path / "json" / "catalog.json", mask="auto", engine=engine)
        assert tree["r10m"].sizes == {"time": 118, "y": 64, "x": 64}
        assert all(variable.chunks for group in tree.children.values() for variable in group.data_vars.values())


def test_any_chunks_give_the_same(catalog: Path) -> None:
    period = {"datetime": "2018-05", "mask": "auto", "bands": ["B02", "B11"]}
    whole = open_stac(catalog, **period).load()
    for chunks in ({"time": 1, "y": 17, "x": 64}, {"time": 3, "x": 9}):
        odd = open_stac(catalog, chunks=chunks, **period)
        assert max(odd["r10m"]["B02"].chunksizes["x"]) == chunks["x"]
        for name in whole.children:
            xr.testing.assert_equal(odd[name].to_dataset(), whole[name].to_dataset())


def test_keys_are_deterministic_and_tell_reads_apart(catalog: Path) -> None:
    def keys(**options: object) -> set[object]:
        return set(open_stac(catalog, datetime="2018-05", bands=["B04"], **options)["r10m"]["B04"].__dask_graph__())

    assert keys() == keys()
    reads = [
        {key for key in keys(**o) if "B04" in str(key)} for o in ({}, {"on_missing": "skip"}, {"chunks": {"time": 1}})
    ]
    assert not reads[0] & reads[1]
    assert not reads[0] & reads[2]


def test_graph_pickles(catalog: Path) -> None:
    band = open_stac(catalog, datetime="2018-05-07/2018-05-09", bands=["B04"], mask="auto")["r10m"]["B04"]
    xr.testing.assert_identical(pickle.loads(pickle.dumps(band)).compute(), band.compute())


def test_few_tasks(catalog: Path) -> None:
    tree = open_stac(catalog, mask="auto")
    graphs = [v.__dask_graph__() for group in tree.children.values() for v in group.data_vars.values()]
    # One for each file, and a few for each chunk of 16 dates.
    assert len({key for graph in graphs for key in graph}) < 118 * 12 + 400


def test_dates_and_attributes(bare: xr.DataTree) -> None:
    ten = bare["r10m"].to_dataset()
    assert (np.diff(ten.time.values) > np.timedelta64(0)).all()
    assert str(ten.time.values[0]) == "2017-08-04T10:53:28.000000000"
    red = ten["B04"]
    assert (red.attrs["common_name"], red.attrs["wavelength"], red.attrs["fwhm"]) == ("red", 664.6, 31.0)
    assert red.attrs["standard_name"] == "surface_bidirectional_reflectance"
    assert not {"nodata", "scale_factor", "scale", "offset", "_FillValue"} & set(red.attrs)
    assert ten.attrs["processing_baseline"] == "02.07"
    assert "S2_31UDS_20180718T110326" in ten.attrs["xrs:sources"]
    assert ten.odc.crs.epsg == 32631
    assert red.encoding["grid_mapping"] == "spatial_ref"


def test_bbox_gives_a_part_of_the_same_grid(catalog: Path, bare: xr.DataTree) -> None:
    part = open_stac(catalog, bbox=(3.0221, 50.8142, 3.0256, 50.8168), datetime="2018-07-18")
    fine, coarse = (part[name].to_dataset() for name in ("r10m", "r20m"))
    grid = nest(geobox_of(fine), geobox_of(coarse))
    assert grid.fine.shape == geobox_of(fine).shape
    assert grid.coarse.shape == geobox_of(coarse).shape
    assert 20 <= fine.sizes["x"] < 32
    expected = bare["r10m"]["B04"].sel(time=fine.time, x=fine.x, y=fine.y)
    xr.testing.assert_equal(fine["B04"], expected)


@pytest.mark.parametrize(
    ("datetime", "count"),
    [("2018", 91), ("2018-07", 9), ("2017-08-04T10:53:28Z", 1), ("../2017-08-31", 4), ("2018-11-20/..", 2)],
)
def test_datetime(catalog: Path, datetime: str, count: int) -> None:
    assert open_stac(catalog, datetime=datetime, bands=["B02"])["r10m"].sizes["time"] == count


def test_bands_by_key_and_common_name(catalog: Path) -> None:
    tree = open_stac(catalog, datetime="2018-07", bands=["nir", "B12"])
    assert [list(group.data_vars) for group in tree.children.values()] == [["B08", "SCL"], ["B12", "SCL"]]
