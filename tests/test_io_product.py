"""What a product holds: values, coordinates, CRS, attributes, conventions, STAC item; on any store."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from affine import Affine
from odc.geo.geobox import GeoBox

from xrs.cube import assign_bands, assign_geobox, geobox_of
from xrs.errors import (
    ChunkingError,
    GridMismatchError,
    IncompleteProductError,
    LayoutError,
    ParameterError,
    RadiometryError,
    TimeAxisError,
)
from xrs.io.product import open_product, product_status, to_product

GRID = GeoBox((70, 90), Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32631")


def make_cube(chunks=None, grid=GRID, dates=3, seed=0):
    height, width = grid.shape
    values = np.random.default_rng(seed).random((dates, 2, height, width), np.float32)
    values[:, :, 5:20, 3:9] = np.nan
    data = values if chunks is None else da.from_array(values, chunks=chunks)
    cube = xr.DataArray(
        data,
        dims=("time", "band", "y", "x"),
        coords={"time": pd.date_range("2018-03-01", periods=dates, freq="5D")},
        name="reflectance",
        attrs={
            "standard_name": "surface_bidirectional_reflectance",
            "units": "1",
            "history": "made by a test",
            "xrs:method": "none",
            "xrs:sources": ["https://example.com/a.json", "https://example.com/b.json"],
            "scale_factor": 1e-4,
            "nodata": 0,
        },
    )
    cube = assign_bands(
        cube, ["B04", "B8A"], common_name=["red", "nir08"], wavelength=[665.0, 865.0], fwhm=[31.0, 21.0]
    )
    return assign_geobox(cube, grid)


def digest(folder):
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(Path(folder).rglob("*"))
        if p.is_file()
    }


@pytest.mark.parametrize("chunks", [None, (1, 2, 32, 32), (3, 1, 70, 17), ((2, 1), (1, 1), (31, 39), (50, 40))])
def test_roundtrip(tmp_path, chunks):
    cube = make_cube(chunks)
    before = cube.copy(deep=True)
    assert to_product(cube, tmp_path / "p.zarr", progress=False) == str(tmp_path / "p.zarr")
    back = open_product(tmp_path / "p.zarr")
    assert back["reflectance"].dtype == np.float32
    assert back["reflectance"].chunks
    np.testing.assert_array_equal(back["reflectance"].values, cube.values)
    for name in ("time", "band", "y", "x", "common_name", "wavelength", "fwhm"):
        np.testing.assert_array_equal(back[name].values, cube[name].values)
    assert back["band"].dtype.kind == "U"
    assert back["wavelength"].attrs == {"units": "nm"}
    assert geobox_of(back) == GRID
    assert back["reflectance"].attrs["history"] == "made by a test"
    assert "scale_factor" not in back["reflectance"].attrs
    assert back.attrs["xrs:method"] == "none"
    xr.testing.assert_identical(cube, before)
    assert product_status(tmp_path / "p.zarr").state == "complete"


def test_other_readers_see_the_same(tmp_path):
    import rioxarray  # noqa: F401

    cube = make_cube((1, 2, 32, 32))
    to_product(cube, tmp_path / "p.zarr", progress=False, title="A title")
    plain = zarr.open_array(tmp_path / "p.zarr", path="0/reflectance", mode="r")
    np.testing.assert_array_equal(plain[:], cube.values)
    assert plain.metadata.zarr_format == 3
    assert plain.shards is not None
    assert plain.metadata.dimension_names == ("time", "band", "y", "x")
    tree = xr.open_datatree(tmp_path / "p.zarr", engine="zarr", decode_coords="all", consolidated=False)
    assert tree["0"]["reflectance"].rio.crs.to_epsg() == 32631
    assert tree["0"].dataset.rio.transform() == GRID.affine
    assert tree.attrs["Conventions"] == "CF-1.11"
    assert tree.attrs["title"] == "A title"
    assert str(tree["0"]["time"].values[1])[:10] == "2018-03-06"


def test_times_are_integers_of_the_coarsest_unit(tmp_path):
    cube = make_cube()
    to_product(cube, tmp_path / "days.zarr", progress=False)
    cube = cube.assign_coords(time=cube["time"] + np.timedelta64(1500, "ms"))
    to_product(cube, tmp_path / "ms.zarr", progress=False)
    for name, unit in (("days", "days"), ("ms", "milliseconds")):
        stored = zarr.open_array(tmp_path / f"{name}.zarr", path="0/time", mode="r")
        assert stored.dtype == np.int64
        assert stored.attrs["units"] == f"{unit} since 1970-01-01"
    np.testing.assert_array_equal(open_product(tmp_path / "ms.zarr")["time"].values, cube["time"].values)


def test_dataset_with_flags_and_its_own_packing(tmp_path):
    cube = make_cube((1, 2, 32, 32))
    flags = xr.DataArray(
        da.from_array(np.random.default_rng(1).integers(0, 12, (3, 70, 90)).astype("u1"), chunks=(1, 40, 40)),
        dims=("time", "y", "x"),
        attrs={"flag_values": [4, 5], "flag_meanings": "vegetation soil"},
    )
    red = cube.sel(band="B04", drop=True).astype("float64")
    red.attrs["ancillary_variables"] = "scl"
    ds = xr.Dataset({"B04": red, "scl": flags, "usable": flags > 4})
    to_product(ds, tmp_path / "p.zarr", packing="int16", overviews=2, progress=False)
    back = open_product(tmp_path / "p.zarr")
    assert {str(k): str(v.dtype) for k, v in back.data_vars.items()} == {
        "B04": "float32",
        "scl": "uint8",
        "usable": "bool",
    }
    assert zarr.open_array(tmp_path / "p.zarr", path="0/B04", mode="r").dtype == np.int16
    assert np.nanmax(np.abs(back["B04"].values - red.values)) <= 0.5e-4 + 1e-7
    np.testing.assert_array_equal(np.isnan(back["B04"].values), np.isnan(red.values))
    np.testing.assert_array_equal(back["scl"].values, flags.values)
    np.testing.assert_array_equal(back["usable"].values, flags.values > 4)
    assert back["B04"].attrs["ancillary_variables"] == "scl"
    assert list(back["scl"].attrs["flag_values"]) == [4, 5]
    coarse = open_product(tmp_path / "p.zarr", level=2)
    np.testing.assert_array_equal(coarse["scl"].values, flags.values[:, ::4, ::4])


@pytest.mark.parametrize("packing", [None, "int16"])
@pytest.mark.parametrize("shards", [None, {"y": 32, "x": 16, "time": 2}])
def test_overviews_are_means_of_blocks(tmp_path, packing, shards):
    cube = make_cube((1, 2, 30, 90))
    to_product(cube, tmp_path / "p.zarr", overviews=3, packing=packing, shards=shards, progress=False)
    expected = cube.compute().astype("float64")
    for level in (1, 2, 3):
        expected = expected.coarsen(y=2, x=2, boundary="pad").mean()
        found = open_product(tmp_path / "p.zarr", level=level)
        # Each level is rounded once more when packed.
        tolerance = 1e-6 if packing is None else level * 0.5e-4 + 1e-6
        np.testing.assert_allclose(found["reflectance"].values, expected.values, atol=tolerance, rtol=0)
        grid = geobox_of(found)
        assert grid.crs == GRID.crs
        assert grid.affine.almost_equals(Affine(10 * 2**level, 0, 500_000, 0, -10 * 2**level, 5_000_000))
    with pytest.raises(ParameterError, match="0 to 3"):
        open_product(tmp_path / "p.zarr", level=4)


def test_overviews_until_512(tmp_path):
    grid = GeoBox((3, 1200), GRID.affine, GRID.crs)
    to_product(make_cube(grid=grid, dates=1), tmp_path / "p.zarr", progress=False)
    layout = zarr.open_group(tmp_path / "p.zarr", mode="r").attrs["multiscales"]["layout"]
    assert [level["spatial:shape"] for level in layout] == [[3, 1200], [2, 600], [1, 300]]


def test_conventions_are_valid(tmp_path):
    to_product(make_cube(), tmp_path / "p.zarr", overviews=1, progress=False)
    root = dict(zarr.open_group(tmp_path / "p.zarr", mode="r").attrs)
    assert {c["name"] for c in root["zarr_conventions"]} == {"proj", "spatial", "multiscales"}
    assert root["proj:code"] == "EPSG:32631"
    assert root["spatial:bbox"] == [500_000.0, 4_999_300.0, 500_900.0, 5_000_000.0]
    assert [level["asset"] for level in root["multiscales"]["layout"]] == ["0", "1"]
    child = dict(zarr.open_group(tmp_path / "p.zarr", path="1", mode="r").attrs)
    assert child["spatial:transform"] == [20.0, 0.0, 500_000.0, 0.0, -20.0, 5_000_000.0]
    zarr_cm = pytest.importorskip("zarr_cm", reason="zarr-cm validates the conventions where it is installed")
    zarr_cm.validate_all(root)
    zarr_cm.validate_all(child)


def test_stac_item(tmp_path, monkeypatch):
    import pystac

    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1600000000")
    to_product(make_cube(), tmp_path / "p.zarr", packing="int16", title="T", progress=False)
    item = pystac.Item.from_file(str(tmp_path / "p.json"))
    assert item.id == "p"
    assert item.properties["created"] == "2020-09-13T12:26:40Z"
    assert item.common_metadata.start_datetime.isoformat() == "2018-03-01T00:00:00+00:00"
    assert item.common_metadata.end_datetime.isoformat() == "2018-03-11T00:00:00+00:00"
    assert item.properties["proj:code"] == "EPSG:32631"
    assert item.properties["proj:shape"] == [70, 90]
    assert item.properties["proj:transform"] == [10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0]
    assert item.properties["processing:lineage"] == "made by a test"
    assert [link.target for link in item.get_links("derived_from")] == [
        "https://example.com/a.json",
        "https://example.com/b.json",
    ]
    bands = item.assets["data"].extra_fields["bands"]
    assert bands[1] == {
        "name": "B8A",
        "eo:common_name": "nir08",
        "eo:center_wavelength": 0.865,
        "eo:full_width_half_max": 0.021,
        "data_type": "int16",
        "nodata": -32768,
        "raster:scale": 1e-4,
        "raster:offset": 0.0,
        "unit": "1",
    }
    assert Path(item.assets["data"].get_absolute_href()) == tmp_path / "p.zarr"
    west, south, east, north = item.bbox
    assert west == pytest.approx(3.0, abs=1e-6)
    assert (south, north) == pytest.approx((45.1472, 45.1535), abs=1e-3)
    assert east > west
    assert pystac.Item.from_dict(item.to_dict()).validate is not None


def test_equal_inputs_give_equal_bytes(tmp_path):
    for name in ("one", "two"):
        to_product(make_cube((1, 2, 32, 32)), tmp_path / name / "p.zarr", progress=False)
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    assert not [k for k in digest(tmp_path / "one") if ".xrs" in k or k.endswith(".partial")]
    assert not (tmp_path / "one" / "p.zarr" / ".xrs").exists()


@pytest.mark.parametrize("grid", [GeoBox((7, 5), Affine(1, 0, 0, 0, -1, 7), None), GRID[:1, :1]])
def test_no_crs_and_single_pixels(tmp_path, grid):
    cube = make_cube(grid=grid, dates=1)
    to_product(cube, tmp_path / "p.zarr", progress=False)
    back = open_product(tmp_path / "p.zarr")
    np.testing.assert_array_equal(back["reflectance"].values, cube.values)
    assert back.odc.crs == grid.crs
    item = json.loads((tmp_path / "p.json").read_text())
    assert (item["geometry"] is None) == (grid.crs is None)


def test_all_nan_and_two_dims(tmp_path):
    cube = make_cube().isel(time=0, band=0, drop=True) * np.float32("nan")
    to_product(cube, tmp_path / "p.zarr", packing="int16", overviews=2, progress=False)
    for level in (0, 2):
        assert np.isnan(open_product(tmp_path / "p.zarr", level=level)["reflectance"].values).all()
    assert not (tmp_path / "p.json").exists()


@pytest.mark.parametrize("codec", ["lz4", "zstd", "none"])
def test_codecs(tmp_path, codec):
    cube = make_cube()
    to_product(cube, tmp_path / "p.zarr", codec=codec, progress=False)
    np.testing.assert_array_equal(open_product(tmp_path / "p.zarr")["reflectance"].values, cube.values)


def test_memory_url():
    import fsspec

    cube = make_cube((1, 2, 32, 32))
    to_product(cube, "memory://bucket/p.zarr", shards={"y": 32}, progress=False)
    np.testing.assert_array_equal(open_product("memory://bucket/p.zarr")["reflectance"].values, cube.values)
    assert fsspec.filesystem("memory").exists("/bucket/p.json")
    assert not fsspec.filesystem("memory").exists("/bucket/p.zarr/.xrs")
    to_product(cube + 1, "memory://bucket/p.zarr", overwrite=True, progress=False)
    np.testing.assert_array_equal(open_product("memory://bucket/p.zarr")["reflectance"].values, cube.values + 1)


def test_file_url_and_store_objects(tmp_path):
    cube = make_cube((1, 2, 32, 32))
    to_product(cube, f"file://{tmp_path}/p.zarr", progress=False)
    to_product(cube, tmp_path / "q" / "p.zarr", progress=False)
    assert digest(tmp_path / "p.zarr") == digest(tmp_path / "q" / "p.zarr")
    store = zarr.storage.MemoryStore()
    to_product(cube, store, progress=False)
    np.testing.assert_array_equal(open_product(store)["reflectance"].values, cube.values)


def test_obstore(tmp_path):
    obstore = pytest.importorskip("obstore", reason="obstore is not installed")
    store = zarr.storage.ObjectStore(obstore.store.LocalStore(str(tmp_path)))
    cube = make_cube((1, 2, 32, 32))
    to_product(cube, store, progress=False)
    np.testing.assert_array_equal(open_product(store)["reflectance"].values, cube.values)


def test_products_are_inputs(tmp_path):
    to_product(make_cube((1, 2, 32, 32)), tmp_path / "p.zarr", packing="int16", progress=False)
    one, two = open_product(tmp_path / "p.zarr"), open_product(tmp_path / "p.zarr")
    assert one["reflectance"].data.name == two["reflectance"].data.name
    to_product(one, tmp_path / "q.zarr", packing="int16", progress=False)
    xr.testing.assert_equal(open_product(tmp_path / "q.zarr").compute(), one.compute())


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda c: c.rename(y="lat"), GridMismatchError),
        (lambda c: c.drop_vars("y"), GridMismatchError),
        (lambda c: c.isel(y=slice(None, None, -1)), GridMismatchError),
        (lambda c: c.isel(time=[0, 2, 1]), TimeAxisError),
        (lambda c: c.isel(time=[0, 0, 1]), TimeAxisError),
        (lambda c: c.rename(time="step"), LayoutError),
        (lambda c: c.astype("complex64"), LayoutError),
        (lambda c: c.rename("a/b"), LayoutError),
        (lambda c: c.isel(time=slice(0, 0)), TimeAxisError),
        (lambda c: c.values, LayoutError),
    ],
)
def test_wrong_cubes_write_nothing(tmp_path, change, error):
    with pytest.raises(error):
        to_product(change(make_cube()), tmp_path / "p.zarr", progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"packing": "int8"}, ParameterError),
        ({"packing": {"scale": -1}}, ParameterError),
        ({"packing": {"factor": 1}}, ParameterError),
        ({"codec": "jpeg"}, ParameterError),
        ({"overviews": 99}, ParameterError),
        ({"overviews": -1}, ParameterError),
        ({"shards": {"y": 0}}, ChunkingError),
        ({"shards": {"y": 33}, "overviews": 1}, ChunkingError),
        ({"shards": {"y": 32}, "chunks": {"y": 20}}, ChunkingError),
        ({"chunks": {"y": "auto"}}, ChunkingError),
    ],
)
def test_wrong_parameters_write_nothing(tmp_path, options, error):
    with pytest.raises(error):
        to_product(make_cube(), tmp_path / "p.zarr", progress=False, **options)
    assert list(tmp_path.iterdir()) == []


def test_values_beyond_the_packing_are_refused(tmp_path):
    with pytest.raises(RadiometryError, match="do not fit int16"):
        to_product(make_cube() * 10, tmp_path / "p.zarr", packing="int16", progress=False)
    with pytest.raises(IncompleteProductError, match="half written"):
        open_product(tmp_path / "p.zarr")


def test_misaligned_chunks_are_realigned(tmp_path):
    cube = make_cube((2, 1, 13, 41))
    to_product(
        cube, tmp_path / "p.zarr", shards={"time": 1, "y": 16, "x": 30}, chunks={"y": 8, "x": 15}, progress=False
    )
    stored = zarr.open_array(tmp_path / "p.zarr", path="0/reflectance", mode="r")
    assert (stored.shards[0], *stored.shards[2:]) == (1, 16, 30)
    assert stored.chunks[2:] == (8, 15)
    np.testing.assert_array_equal(stored[:], cube.values)


@pytest.mark.slow
def test_distributed_gives_the_same_bytes(tmp_path):
    from distributed import Client, LocalCluster

    cube = make_cube((1, 2, 32, 32))
    to_product(cube, tmp_path / "threads" / "p.zarr", shards={"y": 32, "x": 32}, progress=False)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        to_product(cube, tmp_path / "workers" / "p.zarr", shards={"y": 32, "x": 32}, progress=True)
        with pytest.raises(RadiometryError, match="do not fit int16"):
            to_product(cube * 10, tmp_path / "q.zarr", packing="int16", progress=False)
    assert digest(tmp_path / "threads") == digest(tmp_path / "workers")
