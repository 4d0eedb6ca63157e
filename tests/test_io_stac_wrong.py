"""open_stac on what is wrong: files that are missing or damaged, grids that do not fit, bad options."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.geom import box
from rasterio.transform import Affine
from stac_samples import BASELINE, CORNER, ENGINES, numbers, reflectance, s2, write_item

from xrs.cube import geobox_of, nest
from xrs.errors import (
    AssetReadError,
    GridMismatchError,
    ParameterError,
    StacItemError,
    XrsError,
)
from xrs.io._grids import crop
from xrs.io.stac import MissingAssetWarning, open_stac

# Missing and damaged


def two_dates(folder: Path) -> list[pystac.Item]:
    stored = numbers(np.random.default_rng(0).uniform(0.1, 0.5, (300, 300)))
    return [s2(folder, n, f"2020-01-0{i}T10:00:00Z", stored, properties=BASELINE) for i, n in ((1, "good"), (2, "bad"))]


def damage(folder: Path, how: str) -> None:
    path = folder / "bad" / "B04.tif"
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path.write_bytes(b"")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("how", ["missing", "truncated", "empty"])
def test_asset_that_cannot_be_read_is_named(tmp_path: Path, how: str, engine: Any) -> None:
    items = two_dates(tmp_path)
    damage(tmp_path, how)
    cube = open_stac(items, engine=engine)["r10m"]["B04"]
    with pytest.raises(AssetReadError, match=r"bad/B04\.tif .*item 'bad' cannot be read.*on_missing='skip'") as caught:
        cube.compute()
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("how", ["missing", "truncated", "empty"])
def test_asset_that_cannot_be_read_is_skipped(tmp_path: Path, how: str, engine: Any) -> None:
    items = two_dates(tmp_path)
    damage(tmp_path, how)
    cube = open_stac(items, engine=engine, on_missing="skip")["r10m"]["B04"]
    with pytest.warns(MissingAssetWarning, match=r"bad/B04\.tif .*item 'bad'"):
        values = cube.values
    assert np.isfinite(values[0]).all()
    assert np.isnan(values[1]).all()


def test_asset_the_item_does_not_have(tmp_path: Path) -> None:
    stored = numbers(reflectance())
    items = [
        write_item(tmp_path, n, f"2020-01-0{i}T10:00:00Z", dict.fromkeys(bands, (stored, 10.0)), properties=BASELINE)
        for i, (n, bands) in enumerate({"both": ["B02", "B04"], "one": ["B02"]}.items(), 1)
    ]
    with pytest.raises(AssetReadError, match=r"item 'one' has no asset 'B04'"):
        open_stac(items)
    with pytest.warns(MissingAssetWarning, match=r"item 'one' has no asset 'B04'"):
        group = open_stac(items, on_missing="skip")["r10m"]
    assert group["B04"].isnull().mean(("y", "x")).values.tolist() == [0.0, 1.0]
    assert open_stac(items, bands=["B02"])["r10m"].sizes["time"] == 2


def test_file_on_another_grid_than_its_item_tells(tmp_path: Path) -> None:
    item = s2(tmp_path, "a", "2020-01-01T10:00:00Z", numbers(reflectance()), properties=BASELINE)
    item.assets["B04"].extra_fields["proj:transform"][2] += 5
    with pytest.raises(AssetReadError, match="its item tells"):
        open_stac([item])["r10m"]["B04"].compute()


def test_item_without_proj(tmp_path: Path) -> None:
    items = two_dates(tmp_path)
    for name in ("proj:shape", "proj:transform"):
        del items[1].assets["B04"].extra_fields[name]
    with pytest.raises(StacItemError, match=r"item 'bad' lacks proj:shape, proj:transform.*rio-stac"):
        open_stac(items)
    del items[1].properties["proj:code"]
    with pytest.raises(StacItemError, match=r"lacks proj:code"):
        open_stac(items)


def test_grids_at_the_item_and_old_names_of_the_crs(tmp_path: Path) -> None:
    item = s2(tmp_path, "a", "2020-01-01T10:00:00Z", numbers(reflectance()), properties=BASELINE)
    del item.properties["proj:code"]
    fields = item.assets["B04"].extra_fields
    item.properties |= {"proj:epsg": 32631, "proj:shape": fields.pop("proj:shape")}
    fields.pop("proj:transform")
    item.properties["proj:bbox"] = [CORNER[0], CORNER[1] - 80, CORNER[0] + 80, CORNER[1]]
    group = open_stac([item])["r10m"].to_dataset()
    assert geobox_of(group) == GeoBox((8, 8), Affine(10, 0, CORNER[0], 0, -10, CORNER[1]), "EPSG:32631")
    assert np.isfinite(group["B04"].values).any()


def test_crs_that_differ(tmp_path: Path) -> None:
    stored = numbers(reflectance())
    items = [
        s2(tmp_path, f"z{zone}", f"2020-01-0{i}T10:00:00Z", stored, epsg=32600 + zone, properties=BASELINE)
        for i, zone in ((1, 31), (2, 32))
    ]
    with pytest.raises(GridMismatchError, match=r"2 CRS \(EPSG:32631: 1 items, e.g. 'z31'; EPSG:32632.*open_stac\("):
        open_stac(items)


def test_phases_that_differ(tmp_path: Path) -> None:
    stored = numbers(reflectance())
    corners = {"a": CORNER, "b": (CORNER[0] + 5, CORNER[1])}
    items = [
        s2(tmp_path, n, f"2020-01-0{i}T10:00:00Z", stored, corner=c, properties=BASELINE)
        for i, (n, c) in enumerate(corners.items(), 1)
    ]
    with pytest.raises(GridMismatchError, match="do not share their pixels"):
        open_stac(items)


def test_box_beside_the_pixels(tmp_path: Path) -> None:
    item = s2(tmp_path, "a", "2020-01-01T10:00:00Z", numbers(reflectance()), properties=BASELINE)
    west, south, east, north = item.bbox or ()
    item.bbox = [west - 1, south - 1, east + 1, north + 1]
    with pytest.raises(GridMismatchError, match="misses"):
        open_stac([item], bbox=(west - 0.5, south - 0.5, west - 0.4, south - 0.4))


@pytest.mark.parametrize(
    "wrong",
    [
        {"engine": "gdal"},
        {"on_missing": "ignore"},
        {"groupby": "day"},
        {"chunks": {"time": 0}},
        {"chunks": {"band": 1}},
    ],
)
def test_wrong_options(tmp_path: Path, wrong: dict[str, Any]) -> None:
    item = s2(tmp_path, "a", "2020-01-01T10:00:00Z", numbers(reflectance()), properties=BASELINE)
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        open_stac([item], **wrong)


def test_engine_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    item = s2(tmp_path, "a", "2020-01-01T10:00:00Z", numbers(reflectance()), properties=BASELINE)
    monkeypatch.setitem(__import__("sys").modules, "stackstac", None)
    monkeypatch.delitem(__import__("sys").modules, "xrs.io._stackstac", raising=False)
    with pytest.raises(ParameterError, match=r"pip install 'xrs\[stackstac\]'") as caught:
        open_stac([item], engine="stackstac")
    assert isinstance(caught.value, XrsError)


# Grids


edges = st.floats(0.02, 0.98)


@settings(max_examples=25, deadline=None)
@given(edges, edges, st.floats(0.001, 0.5), st.floats(0.001, 0.5), st.sampled_from([2, 3, 6]))
def test_cropped_grids_nest_and_are_no_pixel_too_wide(
    u: float, v: float, width: float, height: float, ratio: int
) -> None:
    fine = GeoBox((120, 120), Affine(10, 0, *CORNER[:1], 0, -10, CORNER[1]), "EPSG:32631")
    coarse = GeoBox((120 // ratio, 120 // ratio), fine.affine @ Affine.scale(ratio), fine.crs)
    west, south, east, north = tuple(fine.extent.to_crs("EPSG:4326").boundingbox)
    bbox = (west + u * (east - west), south + v * (north - south), 0.0, 0.0)
    bbox = (*bbox[:2], min(bbox[0] + width * (east - west), east), min(bbox[1] + height * (north - south), north))
    cut = crop({"fine": fine, "coarse": coarse}, bbox)
    found = nest(cut["fine"], cut["coarse"])
    assert (found.fine.shape, found.coarse.shape) == (cut["fine"].shape, cut["coarse"].shape)
    area = box(*bbox, "EPSG:4326").to_crs(fine.crs, resolution=(bbox[2] - bbox[0]) / 200).boundingbox
    whole, held = fine.boundingbox, cut["coarse"].boundingbox
    left, bottom = max(area.left, whole.left), max(area.bottom, whole.bottom)
    right, top = min(area.right, whole.right), min(area.top, whole.top)
    outer = (held.left - left, held.bottom - bottom, right - held.right, top - held.top)
    # The part of the box on the grid is held, with less than a pixel around it.
    assert max(outer) < 0.1
    assert min(outer) > -10 * ratio - 0.1
