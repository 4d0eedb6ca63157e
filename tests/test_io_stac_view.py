"""Angles of sun and view that STAC items tell, from open_stac to retrieve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pystac
import pytest
import xarray as xr
from stac_samples import BASELINE, CORNER, ENGINES, numbers, reflectance, s2, write_item

import xrs
from xrs.errors import ParameterError, StacItemError
from xrs.io.stac import open_stac

ANGLES = ["view:sun_elevation", "view:sun_azimuth", "view:off_nadir", "view:azimuth"]


def item(folder: Path, name: str, date: str, corner: tuple[float, float] = CORNER, **angles: Any) -> pystac.Item:
    """A small item; ``s2_name`` in angles is STAC's ``s2:name``, all others are of extension ``view``."""
    told = {k.replace("s2_", "s2:") if k.startswith("s2_") else f"view:{k}": v for k, v in angles.items()}
    return s2(folder, name, date, numbers(reflectance()), corner=corner, properties=BASELINE | told)


def group_of(*items: pystac.Item, **options: Any) -> xr.Dataset:
    return open_stac(items, **options)["r10m"].to_dataset()


@pytest.mark.parametrize("engine", ENGINES)
def test_angles_are_coordinates_of_each_date(tmp_path: Path, engine: Any) -> None:
    later = item(tmp_path, "b", "2020-06-01T10:00:00Z", sun_elevation=61.25, sun_azimuth=151.5, off_nadir=3.5)
    earlier = item(tmp_path, "a", "2020-01-01T10:00:00Z", sun_elevation=15, sun_azimuth=168.0, azimuth=104.5)
    group = group_of(later, earlier, engine=engine)
    assert group["view:sun_elevation"].values.tolist() == [15.0, 61.25]
    assert group["view:sun_azimuth"].values.tolist() == [168.0, 151.5]
    np.testing.assert_array_equal(group["view:off_nadir"], [np.nan, 3.5])
    np.testing.assert_array_equal(group["view:azimuth"], [104.5, np.nan])
    for name in ANGLES:
        assert name in group["B04"].coords
        assert group[name].dims == ("time",)
        assert group[name].dtype == np.float64
        assert group[name].attrs["units"] == "degree"
    assert [group[name].attrs.get("standard_name") for name in ANGLES] == [
        "solar_elevation_angle",
        "solar_azimuth_angle",
        "sensor_view_angle",
        None,
    ]


def test_items_without_angles_have_no_coordinates(tmp_path: Path) -> None:
    bare = item(tmp_path, "bare", "2020-01-01T10:00:00Z", sun_elevation=None, azimuth="nan")
    assert not [name for name in group_of(bare).coords if str(name).startswith(("view:", "s2:"))]
    told = item(tmp_path, "told", "2020-01-06T10:00:00Z", sun_elevation=20.0)
    both = group_of(bare, told)
    assert [str(name) for name in both.coords if str(name).startswith("view:")] == ["view:sun_elevation"]
    np.testing.assert_array_equal(both["view:sun_elevation"], [np.nan, 20.0])


def test_the_incidence_angle_is_kept(tmp_path: Path) -> None:
    group = group_of(item(tmp_path, "a", "2020-01-01T10:00:00Z", incidence_angle=9.25))
    assert group["view:incidence_angle"].values.tolist() == [9.25]
    assert group["view:incidence_angle"].attrs["standard_name"] == "sensor_zenith_angle"


def test_sentinel2_names(tmp_path: Path) -> None:
    named = item(tmp_path, "a", "2020-01-01T10:00:00Z", s2_mean_solar_zenith=65.5, s2_mean_solar_azimuth=167.25)
    # View's own names come first.
    both = item(tmp_path, "b", "2020-01-06T10:00:00Z", sun_elevation=25.0, s2_mean_solar_zenith=64.0)
    group = group_of(named, both)
    assert group["view:sun_elevation"].values.tolist() == [24.5, 25.0]
    np.testing.assert_array_equal(group["view:sun_azimuth"], [167.25, np.nan])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("azimuths", "mean"),
    [
        ((350.0, 20.0, None), 5.0),
        ((350.0, 10.0, None), 0.0),
        ((300.0, 340.0, 320.0), 320.0),
        ((170.0, None, None), 170.0),
        # Once east and twice south is two south for one east: 90 + atan(2).
        ((90.0, 180.0, 180.0), 153.434948823),
        ((10.0, 190.0, None), np.nan),
        ((None, None, None), np.nan),
    ],
)
def test_mean_of_a_dates_items(tmp_path: Path, engine: Any, azimuths: tuple[float | None, ...], mean: float) -> None:
    tiles = [
        item(
            tmp_path,
            f"tile{i}",
            "2020-01-01T10:00:00Z",
            (CORNER[0] + 80.0 * i, CORNER[1]),
            sun_azimuth=azimuth,
            sun_elevation=(30.0, 31.0, 35.0)[i],
        )
        for i, azimuth in enumerate(azimuths)
    ]
    later = item(tmp_path, "later", "2020-01-06T10:00:00Z", sun_azimuth=160.0)
    group = group_of(*tiles, later, engine=engine)
    assert group.sizes["time"] == 2
    np.testing.assert_allclose(group["view:sun_azimuth"], [mean, 160.0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(group["view:sun_elevation"], [32.0, np.nan])


def test_mean_of_a_solar_day(tmp_path: Path) -> None:
    beside = (CORNER[0] + 80.0, CORNER[1])
    items = [
        item(tmp_path, "a", "2020-01-01T10:00:00Z", sun_elevation=15.0),
        item(tmp_path, "b", "2020-01-01T10:00:20Z", beside, sun_elevation=16.0),
    ]
    assert group_of(*items)["view:sun_elevation"].values.tolist() == [15.0, 16.0]
    assert group_of(*items, groupby="solar_day")["view:sun_elevation"].values.tolist() == [15.5]


def test_only_the_item_that_is_used_counts(tmp_path: Path) -> None:
    old = s2(tmp_path, "old", "2020-01-01T10:00:00Z", numbers(reflectance()), properties={"s2:processing_baseline": "02.13", "view:sun_elevation": 10.0})  # fmt: skip
    new = item(tmp_path, "new", "2020-01-01T10:00:00Z", sun_elevation=20.0)
    with pytest.warns(UserWarning, match="only 'new' is used"):
        assert group_of(old, new)["view:sun_elevation"].values.tolist() == [20.0]


def test_angle_that_is_no_number(tmp_path: Path) -> None:
    wrong = item(tmp_path, "wrong", "2020-01-01T10:00:00Z", sun_azimuth="south")
    with pytest.raises(StacItemError, match=r"'wrong' has view:sun_azimuth='south'"):
        group_of(wrong)


# What becomes of them

BANDS_10M = {
    "B02": ("blue", 0.492, 0.05),
    "B03": ("green", 0.559, 0.08),
    "B04": ("red", 0.665, 0.04),
    "B08": ("nir", 0.833, 0.45),
}
BANDS_20M = {
    "B05": ("rededge071", 0.704, 0.1),
    "B06": ("rededge075", 0.740, 0.32),
    "B07": ("rededge078", 0.783, 0.42),
    "B8A": ("nir08", 0.865, 0.46),
    "B11": ("swir16", 1.614, 0.2),
    "B12": ("swir22", 2.202, 0.1),
}


def field(folder: Path, name: str, date: str, **properties: Any) -> pystac.Item:
    """A leafy field in all bands of 10 and 20 m."""
    rng = np.random.default_rng(1)
    sides = {**dict.fromkeys(BANDS_10M, (24, 10.0)), **dict.fromkeys(BANDS_20M, (12, 20.0))}
    stored, fields = {}, {}
    for key, (common, centre, level) in (BANDS_10M | BANDS_20M).items():
        side, pixel = sides[key]
        stored[key] = (numbers(level * rng.uniform(0.97, 1.03, (side, side))), pixel)
        fields[key] = {"eo:bands": [{"name": key, "common_name": common, "center_wavelength": centre}]}
    return write_item(folder, name, date, stored, fields=fields, properties=BASELINE | properties)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> xr.DataTree:
    folder = tmp_path_factory.mktemp("fields")
    high = {"s2:mean_solar_zenith": 30.0, "s2:mean_solar_azimuth": 150.0, "view:azimuth": 105.0, "view:off_nadir": 8.0}
    low = {"view:sun_elevation": 35.0, "view:sun_azimuth": 170.0, "view:azimuth": 285.0, "view:off_nadir": 4.0}
    items = [field(folder, "a", "2020-06-01T10:00:00Z", **high), field(folder, "b", "2020-09-01T10:00:00Z", **low)]
    return open_stac(items)


def has_angles(cube: xr.DataArray | xr.Dataset) -> None:
    expected = {
        "view:sun_elevation": [60.0, 35.0],
        "view:sun_azimuth": [150.0, 170.0],
        "view:off_nadir": [8.0, 4.0],
        "view:azimuth": [105.0, 285.0],
    }
    for name, values in expected.items():
        assert cube.coords[name].dims == ("time",)
        assert cube.coords[name].values.tolist() == values
        assert cube.coords[name].attrs["units"] == "degree"


def test_angles_survive_the_verbs(tree: xr.DataTree) -> None:
    sharpened = tree.rsfuse.sharpen()
    has_angles(sharpened)
    has_angles(sharpened["B11"])
    has_angles(sharpened.rsfuse.index("NDVI"))
    has_angles(xrs.cube.to_array(tree["r10m"].to_dataset()))
    has_angles(xrs.retrieve(sharpened, "LAI", "snap", domain="any"))


def test_angles_survive_a_product(tree: xr.DataTree, tmp_path: Path) -> None:
    group = tree["r20m"].to_dataset()
    place = xrs.to_product(group, tmp_path / "field.zarr", overviews=1, progress=False)
    for level in (0, 1):
        opened = xrs.open_product(place, level=level)
        has_angles(opened)
        assert opened["view:sun_azimuth"].attrs == group["view:sun_azimuth"].attrs
        assert set(opened.data_vars) == set(BANDS_20M)


def test_missing_angles_survive_a_product(tmp_path: Path) -> None:
    group = group_of(
        item(tmp_path, "a", "2020-01-01T10:00:00Z"), item(tmp_path, "b", "2020-01-06T10:00:00Z", sun_elevation=20.0)
    )
    opened = xrs.open_product(xrs.to_product(group, tmp_path / "part.zarr", progress=False))
    np.testing.assert_array_equal(opened["view:sun_elevation"], [np.nan, 20.0])


@pytest.mark.parametrize("method", ["snap", "canopy"])
def test_retrieval_finds_the_sun(tree: xr.DataTree, method: str) -> None:
    sharpened = tree.rsfuse.sharpen().compute()

    def by_date(*values: float) -> xr.DataArray:
        return xr.DataArray(list(values), dims="time", coords={"time": sharpened.time})

    bare = sharpened.drop_vars(ANGLES)
    given = {"view_zenith": by_date(8.0, 4.0), "relative_azimuth": by_date(45.0, -115.0)}
    expected = xrs.retrieve(bare, "LAI", method, sun_zenith=by_date(30.0, 55.0), **given)
    found = xrs.retrieve(sharpened, "LAI", method)
    assert float(expected.notnull().mean()) > 0.5
    np.testing.assert_array_equal(found, expected)
    # Were the sun ignored, this would be the same too.
    other = xrs.retrieve(bare, "LAI", method, sun_zenith=by_date(55.0, 30.0), **given)
    assert float(np.abs(other - expected).max()) > 0.01
    with pytest.raises(ParameterError, match="sun_zenith"):
        xrs.retrieve(bare, "LAI", method)


def test_date_without_its_sun_is_missing(tree: xr.DataTree) -> None:
    sharpened = tree.rsfuse.sharpen("exp").compute()
    whole = xrs.retrieve(sharpened, "LAI", "snap", domain="any")
    unknown = sharpened.assign_coords({"view:sun_elevation": sharpened["view:sun_elevation"].where([True, False])})
    part = xrs.retrieve(unknown, "LAI", "snap", domain="any")
    assert bool(whole.notnull().all())
    np.testing.assert_array_equal(part[0], whole[0])
    assert bool(part[1].isnull().all())


# Real items


def noaa_sun(when: pd.Timestamp, latitude: float, longitude: float) -> tuple[float, float]:
    """The sun's elevation and azimuth in degrees by NOAA's low-accuracy formulas (Spencer's series)."""
    hour = when.hour + when.minute / 60 + when.second / 3600
    g = 2 * np.pi / 365 * (when.dayofyear - 1 + (hour - 12) / 24)
    waves = np.array([f(n * g) for n in (0, 1, 2, 3) for f in (np.cos, np.sin)])
    equation = 229.18 * waves @ [0.000075, 0, 0.001868, -0.032077, -0.014615, -0.040849, 0, 0]
    declination = waves @ [0.006918, 0, -0.399912, 0.070257, -0.006758, 0.000907, -0.002697, 0.00148]
    turn = np.deg2rad((hour * 60 + equation + 4 * longitude) / 4 - 180)
    lat = np.deg2rad(latitude)
    up = np.sin(lat) * np.sin(declination) + np.cos(lat) * np.cos(declination) * np.cos(turn)
    east = -np.cos(declination) * np.sin(turn)
    north = np.cos(lat) * np.sin(declination) - np.sin(lat) * np.cos(declination) * np.cos(turn)
    return float(np.rad2deg(np.arcsin(up))), float(np.rad2deg(np.arctan2(east, north)) % 360)


def test_flanders(shared_data: Path) -> None:
    folder = shared_data / "flanders"
    tree = open_stac(folder / "catalog.json")
    documents = [json.loads(path.read_text()) for path in folder.glob("items/*/*.json")]
    told = {pd.Timestamp(d["properties"]["datetime"]).tz_localize(None): d["properties"] for d in documents}
    west, south, east, north = documents[0]["bbox"]
    for group in tree.children.values():
        dates = [pd.Timestamp(t) for t in group.time.values]
        for name in ("view:sun_elevation", "view:sun_azimuth"):
            np.testing.assert_allclose(group[name], [told[t][name] for t in dates], rtol=0, atol=1e-9)
        assert "view:azimuth" not in group.coords
        # The items' means are of the whole tile, up to 110 km from this place.
        suns = np.array([noaa_sun(t, (south + north) / 2, (west + east) / 2) for t in dates])
        assert np.abs(group["view:sun_elevation"].values - suns[:, 0]).max() < 1.5
        assert np.abs(group["view:sun_azimuth"].values - suns[:, 1]).max() < 3.0


def test_flanders_needs_no_sun(shared_data: Path) -> None:
    folder = shared_data / "flanders"
    sharpened = open_stac(folder / "catalog.json", datetime="2018-07-01/2018-07-10").rsfuse.sharpen("exp").compute()
    documents = [json.loads(path.read_text())["properties"] for path in folder.glob("items/*_201807*/*.json")]
    zenith = {pd.Timestamp(d["datetime"]).tz_localize(None): 90 - d["view:sun_elevation"] for d in documents}
    sun = xr.DataArray([zenith[pd.Timestamp(t)] for t in sharpened.time.values], dims="time")
    expected = xrs.retrieve(sharpened.drop_vars(["view:sun_elevation", "view:sun_azimuth"]), sun_zenith=sun)
    found = xrs.retrieve(sharpened)
    assert int(expected.notnull().sum()) > 1000
    np.testing.assert_array_equal(found, expected)
