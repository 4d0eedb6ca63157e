"""``xrs sharpen``, ``pansharpen`` and ``compare``: rasters in, products and GeoTIFFs out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
from cli_support import write_catalogue, write_pair, xrs_command
from stac_samples import write_tiff
from support import s2_tree

import xrs
from xrs.cube import to_array


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path, xr.DataArray, xr.DataArray]:
    return write_pair(tmp_path)


def is_cog(path: Path) -> bool:
    with rasterio.open(path) as file:
        return file.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == "COG"


def test_pansharpen_to_a_geotiff(pair: tuple[Path, Path, xr.DataArray, xr.DataArray], tmp_path: Path) -> None:
    ms, pan, seen, guide = pair
    out = tmp_path / "sharp.tif"
    result = xrs_command("pansharpen", ms, pan, out, "--method", "gsa")
    assert result.exit_code == 0, result.output
    expected = xrs.pansharpen(seen, guide, method="gsa")
    with rasterio.open(out) as file:
        np.testing.assert_allclose(file.read(), expected.values, rtol=1e-5)
        assert np.isnan(file.nodata)
        assert file.descriptions == ("B1", "B2", "B3", "B4")
        assert file.crs.to_epsg() == 32631
        assert file.bounds.left == 5e5
        assert file.res == (2.5, 2.5)
    assert np.isnan(expected.values[:, 20:24, 20:24]).all()
    assert is_cog(out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ms.tif", "pan.tif", "sharp.tif"]


def test_pansharpen_to_a_product(pair: tuple[Path, Path, xr.DataArray, xr.DataArray], tmp_path: Path) -> None:
    ms, pan, seen, guide = pair
    words = ("--method", "sfim", "--set", "size=5")
    assert xrs_command("pansharpen", ms, pan, tmp_path / "sharp.zarr", *words).exit_code == 0
    product = to_array(xrs.open_product(tmp_path / "sharp.zarr"))
    np.testing.assert_allclose(product.values, xrs.pansharpen(seen, guide, method="sfim", size=5).values, rtol=1e-5)
    again = xrs_command("info", tmp_path / "sharp.zarr")
    assert "complete product" in again.stdout


def test_grids_that_do_not_nest_are_told(tmp_path: Path) -> None:
    values = np.full((8, 8), 500, "uint16")
    write_tiff(tmp_path / "ms.tif", values, 10.0)
    write_tiff(tmp_path / "pan.tif", np.full((20, 20), 500, "uint16"), 4.0)
    result = xrs_command("pansharpen", tmp_path / "ms.tif", tmp_path / "pan.tif", tmp_path / "out.tif")
    assert result.exit_code == 1
    assert "regrid" in result.stderr
    assert not (tmp_path / "out.tif").exists()


def test_what_is_no_raster_is_told(pair: tuple[Path, Path, xr.DataArray, xr.DataArray], tmp_path: Path) -> None:
    ms, *_ = pair
    (tmp_path / "text.tif").write_text("no raster")
    for bad in ("text.tif", "absent.tif", "absent.nc"):
        result = xrs_command("pansharpen", ms, tmp_path / bad, tmp_path / "out.tif")
        assert result.exit_code == 1
        assert bad in result.stderr


def test_an_existing_geotiff_is_kept_unless_told(
    pair: tuple[Path, Path, xr.DataArray, xr.DataArray], tmp_path: Path
) -> None:
    ms, pan, *_ = pair
    out = tmp_path / "out.tif"
    out.write_text("mine")
    kept = xrs_command("pansharpen", ms, pan, out, "--method", "exp")
    assert kept.exit_code == 1
    assert "--overwrite" in kept.stderr
    assert out.read_text() == "mine"
    assert xrs_command("pansharpen", ms, pan, out, "--method", "exp", "--overwrite").exit_code == 0
    assert is_cog(out)


def test_sharpen_rasters_of_several_sizes(tmp_path: Path) -> None:
    tree = s2_tree(4, sixty=False)
    paths = []
    for group, pixel in (("r10m", 10.0), ("r20m", 20.0)):
        for key, band in tree[group].data_vars.items():
            paths.append(tmp_path / f"{key}.tif")
            write_tiff(paths[-1], band.values, pixel, corner=(5e5, 5.6e6))
    result = xrs_command("sharpen", *paths, tmp_path / "fine.tif", "--method", "atprk", "--sensor", "sentinel-2a")
    assert result.exit_code == 0, result.output
    expected = xrs.sharpen(tree, "atprk", sensor="sentinel-2a")
    with rasterio.open(tmp_path / "fine.tif") as file:
        assert set(file.descriptions) == set(map(str, expected.data_vars))
        for name, values in zip(file.descriptions, file.read(), strict=True):
            np.testing.assert_allclose(values, expected[name].values, rtol=1e-5)


def test_sharpen_a_file_with_groups(tmp_path: Path) -> None:
    tree = s2_tree(4, times=2)
    tree.to_netcdf(tmp_path / "tree.nc")
    assert xrs_command("sharpen", tmp_path / "tree.nc", tmp_path / "out.zarr", "--method", "sfim").exit_code == 0
    expected = xrs.sharpen(tree, "sfim")
    product = xrs.open_product(tmp_path / "out.zarr")
    assert set(product) == set(expected)
    np.testing.assert_allclose(product["B11"].values, expected["B11"].values, rtol=1e-5)
    many = xrs_command("sharpen", tmp_path / "tree.nc", tmp_path / "out.tif", "--method", "sfim")
    assert many.exit_code == 1
    assert "2 dates" in many.stderr
    assert not (tmp_path / "out.tif").exists()


def test_bands_of_one_name_are_told(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_tiff(tmp_path / folder / "B04.tif", np.ones((8, 8), "float32"), 10.0)
    write_tiff(tmp_path / "B11.tif", np.ones((4, 4), "float32"), 20.0)
    inputs = [tmp_path / "a" / "B04.tif", tmp_path / "b" / "B04.tif", tmp_path / "B11.tif"]
    result = xrs_command("sharpen", *inputs, tmp_path / "out.tif")
    assert result.exit_code == 1
    assert "each band once" in result.stderr


def test_compare_a_pair(pair: tuple[Path, Path, xr.DataArray, xr.DataArray], tmp_path: Path) -> None:
    ms, pan, seen, guide = pair
    words = ("--methods", "exp", "gsa", "--border", "0", "--csv", tmp_path / "scores.csv")
    result = xrs_command("compare", ms, pan, *words)
    assert result.exit_code == 0, result.output
    assert "ERGAS" in result.stdout
    table = pd.read_csv(tmp_path / "scores.csv", index_col="method")
    expected = xrs.compare(seen, guide, methods=["exp", "gsa"], border=0)
    assert list(table.index) == list(expected.index)
    np.testing.assert_allclose(table["ERGAS"], expected["ERGAS"], rtol=1e-4)


def test_compare_a_catalogue(tmp_path: Path) -> None:
    catalog = write_catalogue(tmp_path, dates=2, n=8)
    result = xrs_command("compare", catalog, "--datetime", "2024-04-01", "--methods", "exp,sfim")
    assert result.exit_code == 0, result.output
    assert "sfim" in result.stdout


@pytest.mark.slow
def test_workers_write_the_same_geotiff(pair: tuple[Path, Path, xr.DataArray, xr.DataArray], tmp_path: Path) -> None:
    ms, pan, *_ = pair
    for name, words in (("threads", ()), ("workers", ("--workers", "2"))):
        assert xrs_command("pansharpen", ms, pan, tmp_path / f"{name}.tif", "--method", "gsa", *words).exit_code == 0
    assert (tmp_path / "threads.tif").read_bytes() == (tmp_path / "workers.tif").read_bytes()


@pytest.mark.parametrize("words", [(), ("--no-cog",), ("--compress", "none", "--no-cog")])
def test_integers_and_compression(
    pair: tuple[Path, Path, xr.DataArray, xr.DataArray], tmp_path: Path, words: tuple[str, ...]
) -> None:
    ms, pan, *_ = pair
    plain, out = tmp_path / "plain.tif", tmp_path / "integers.tif"
    assert xrs_command("pansharpen", ms, pan, plain, "--method", "sfim").exit_code == 0
    result = xrs_command("pansharpen", ms, pan, out, "--method", "sfim", "--dtype", "uint16", *words)
    assert result.exit_code == 0, result.output
    with rasterio.open(plain) as floats, rasterio.open(out) as integers:
        values = floats.read()
        assert integers.dtypes == ("uint16",) * floats.count
        assert integers.nodata == 0
        assert (integers.compression is None) == ("none" in words)
        expected = np.where(np.isnan(values), 0, np.clip(np.rint(values), 1, 65535))
        np.testing.assert_array_equal(integers.read(), expected)
