"""observe and degrade on cubes."""

from __future__ import annotations

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from affine import Affine
from dask.base import tokenize
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from scipy.ndimage import gaussian_filter

import xrs
from xrs.cube import assign_bands, assign_geobox, geobox_of, nest, to_array
from xrs.errors import BandNotFoundError, GridMismatchError, ParameterError, RadiometryError, TimeAxisError
from xrs.operators.observe import degrade, observe
from xrs.sensors import forward_operator, get_sensor

WAVELENGTHS = np.arange(400.0, 2501.0, 20.0)


def make_scene(height=48, width=36, dates=2, size=10.0, crs="EPSG:32631", seed=0):
    """Smooth random reflectance with a grid, dates and wavelengths."""
    rng = np.random.default_rng(seed)
    values = rng.random((dates, WAVELENGTHS.size, height, width), dtype="float32")
    scene = xr.DataArray(
        values,
        dims=("time", "band", "y", "x"),
        coords={"time": pd.date_range("2023-05-01", periods=dates)},
        attrs={"units": "1", "history": "made up"},
        name="reflectance",
    )
    scene = assign_bands(scene, [f"w{w:04.0f}" for w in WAVELENGTHS], wavelength=WAVELENGTHS)
    return assign_geobox(scene, GeoBox((height, width), Affine(size, 0, 600000, 0, -size, 5700000), crs))


def no_compute(*_args, **_kwargs):
    raise AssertionError("computed")


SCENE = make_scene()


def test_sentinel2_is_a_tree_of_its_grids():
    tree = observe(SCENE, "sentinel-2a", bands=["B02", "B04", "B8A", "B11", "B01"])
    assert {n: list(g.data_vars) for n, g in tree.children.items()} == {
        "r10m": ["B02", "B04"], "r20m": ["B8A", "B11"], "r60m": ["B01"],
    }  # fmt: skip
    grids = {n: geobox_of(g.to_dataset()) for n, g in tree.children.items()}
    assert nest(grids["r10m"], grids["r20m"]).ratio == 2
    assert nest(grids["r10m"], grids["r60m"]).fine.shape == grids["r10m"].shape == (48, 36)
    red = tree["r10m"]["B04"]
    assert red.dtype == np.float32
    assert red.attrs["common_name"] == "red"
    assert red.attrs["wavelength"] == 664.6
    assert tree["r20m"].attrs["platform"] == tree.attrs["platform"] == "sentinel-2a"
    assert tree["r20m"].attrs["history"].startswith("made up\nxrs")
    assert grids["r20m"].crs == "EPSG:32631"


def test_observation_is_the_forward_operator():
    bands = ["B05", "B8A", "B12"]
    seen = observe(SCENE, "sentinel-2b", bands=bands)
    operator = forward_operator("sentinel-2b", 2, bands=bands, wavelengths=WAVELENGTHS)
    assert seen.dims == ("time", "band", "y", "x")
    assert seen.band.values.tolist() == bands
    assert seen.fwhm.values.tolist() == [14, 21, 184]
    np.testing.assert_allclose(seen.values, operator.apply(SCENE.values), rtol=1e-5)


def test_ratio_one_has_no_point_spread():
    seen = observe(SCENE, "sentinel-2a", bands=["B04"])
    weights = forward_operator("sentinel-2a", 1, bands=["B04"], wavelengths=WAVELENGTHS).response
    truth = np.einsum("w,twyx->tyx", weights[0], SCENE.values.astype("float64"))
    np.testing.assert_allclose(seen.values[:, 0], truth, rtol=1e-5)
    np.testing.assert_array_equal(seen.x, SCENE.x)


@pytest.mark.parametrize("chunks", [(1, -1, -1, -1), (2, -1, 7, 11), (1, 30, 13, 36), (-1, 1, 48, 5)])
@pytest.mark.parametrize("noise", [None, 0.01])
def test_any_chunking_gives_the_same(chunks, noise):
    bands, options = ["B04", "B8A", "B01"], {"noise": noise, "seed": 3}
    truth = observe(SCENE, "sentinel-2a", bands=bands, **options)
    # Not SCENE.chunk: that would make the wavelengths lazy as well.
    scene = SCENE.copy(data=SCENE.variable.chunk(dict(zip(SCENE.dims, chunks, strict=True))).data)
    with dask.config.set(scheduler=no_compute):
        lazy = observe(scene, "sentinel-2a", bands=bands, **options)
    assert all(v.chunks for g in lazy.children.values() for v in g.data_vars.values())
    for name, group in truth.children.items():
        xr.testing.assert_allclose(lazy[name].to_dataset().compute(), group.to_dataset(), rtol=1e-6)


def test_lazy_tokens_are_deterministic_and_inputs_untouched():
    scene = SCENE.chunk({"y": 20})
    before = SCENE.copy(deep=True)
    first, second = (observe(scene, "landsat-8", ratio=3, noise=0.1) for _ in range(2))
    assert tokenize(first.data) == tokenize(second.data)
    observe(SCENE, "landsat-8")
    xr.testing.assert_identical(SCENE, before)


def test_dataset_in_dataset_out():
    from xrs.cube import to_dataset

    seen = observe(to_dataset(SCENE), "landsat-8", bands=["red", "pan"], ratio=3)
    assert isinstance(seen, xr.Dataset)
    assert list(seen.data_vars) == ["B4", "B8"]
    truth = observe(SCENE, "landsat-8", bands=["red", "pan"], ratio=3)
    np.testing.assert_allclose(to_array(seen), truth)


def test_scene_that_has_the_bands_skips_the_response():
    ms = observe(SCENE, "sentinel-2a", bands=["B04", "B08"])
    again = observe(ms, "sentinel-2a", bands=["B08", "B04"], ratio=2, psf="box")
    assert again.band.values.tolist() == ["B08", "B04"]
    means = ms.coarsen(y=2, x=2).mean().sel(band=["B08", "B04"])
    np.testing.assert_allclose(again, means, rtol=1e-5)
    with pytest.raises(BandNotFoundError, match="lacks the bands"):
        observe(SCENE, "sentinel-2a", bands=["B04"], spectral=False)


def test_cube_without_dates_or_crs():
    scene = make_scene(crs=None).isel(time=0, drop=True)
    seen = observe(scene, "landsat-9", resolution=30.0)
    assert seen.sizes == {"band": 8, "y": 16, "x": 12}
    assert geobox_of(seen).affine.a == 30
    np.testing.assert_allclose(seen, observe(SCENE, "landsat-9").isel(time=0), rtol=1e-6)


def test_crop_to_whole_coarsest_pixels():
    tree = observe(make_scene(45, 37), "sentinel-2a", bands=["B02", "B05", "B09"])
    assert {n: tuple(g.sizes[d] for d in ("y", "x")) for n, g in tree.children.items()} == {
        "r10m": (42, 36), "r20m": (21, 18), "r60m": (7, 6),
    }  # fmt: skip
    assert tree["r60m"].y.values[0] == 5700000 - 30


def test_dates():
    one = observe(SCENE, "landsat-8", times="2023-05-02")
    assert one.time.values.astype("datetime64[D]").tolist() == [pd.Timestamp("2023-05-02").date()]
    assert observe(SCENE, "landsat-8", times=slice("2023-05-02", None)).sizes["time"] == 1
    with pytest.raises(TimeAxisError, match="2024-01-01"):
        observe(SCENE, "landsat-8", times=["2023-05-01", "2024-01-01"])
    with pytest.raises(TimeAxisError, match="without dates"):
        observe(SCENE.isel(time=0, drop=True), "landsat-8", times="2023-05-02")


def test_nan_stays_local():
    scene = make_scene(dates=1).copy()
    truth = observe(scene, "sentinel-2a", bands=["B05"])
    scene[0, :, 10, 10] = np.nan
    scene[0, :, 20:22, 20:22] = np.nan
    scene[0, -1] = np.nan
    seen = observe(scene, "sentinel-2a", bands=["B05"])
    # A quarter of a block is filled; a whole one is not; 2500 nm is in no response of this band.
    assert np.argwhere(np.isnan(seen.values)).tolist() == [[0, 0, 10, 10]]
    far = np.ones((24, 18), bool)
    far[2:15, 2:15] = False
    np.testing.assert_allclose(seen.values[0, 0][far], truth.values[0, 0][far], rtol=1e-6)


def test_noise():
    flat = xr.full_like(make_scene(120, 120, dates=2), 0.3)
    clean = observe(flat, "landsat-8", bands=["B4", "B5"])
    noisy = observe(flat, "landsat-8", bands=["B4", "B5"], noise={"B4": 0.02}, seed=1)
    error = (noisy - clean).values
    assert (error[:, 1] == 0).all()
    assert error[:, 0].std() == pytest.approx(0.02, rel=0.05)
    assert abs(error[:, 0].mean()) < 2e-3
    # Dates and neighbours are independent, and another seed is another noise.
    assert abs(np.corrcoef(error[0, 0].ravel(), error[1, 0].ravel())[0, 1]) < 0.1
    assert abs(np.corrcoef(error[0, 0, 1:].ravel(), error[0, 0, :-1].ravel())[0, 1]) < 0.1
    assert not np.allclose(noisy, observe(flat, "landsat-8", bands=["B4", "B5"], noise=0.02, seed=2))
    # A date and a band keep their noise whatever stands beside them.
    alone = observe(flat, "landsat-8", bands=["B4"], noise=0.02, seed=1, times="2023-05-02")
    np.testing.assert_array_equal(alone.values[0, 0], noisy.values[1, 0])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sensor": "gf-6-wfv"}, GridMismatchError, "sampled at 16 and the scene at 10"),
        ({"sensor": "worldview-2"}, GridMismatchError, "make the scene finer"),
        ({"sensor": "modis"}, GridMismatchError, "at least 50 by 50"),
        ({"sensor": "landsat-8", "ratio": 2, "resolution": 20}, ParameterError, "one of the two"),
        ({"sensor": "landsat-8", "ratio": 0}, ParameterError, "ratio=0"),
        ({"sensor": "landsat-8", "resolution": 25}, GridMismatchError, "multiple of the scene's pixel size"),
        ({"sensor": "landsat-8", "bands": ["B77"]}, BandNotFoundError, "B77"),
        ({"sensor": "enmap", "noise": -1.0}, ParameterError, "0 or more"),
        ({"sensor": "hyperion", "ratio": 2}, BandNotFoundError, "B001"),
        ({"sensor": "nothing"}, ParameterError, "no sensor 'nothing'"),
        ({"sensor": "landsat-8", "psf": "lens"}, ParameterError, "psf='lens'"),
    ],
)
def test_bad_arguments(options, error, message):
    with pytest.raises(error, match=message):
        observe(SCENE, **options)


def test_bad_scenes():
    with pytest.raises(RadiometryError, match="int16"):
        observe(SCENE.astype("int16"), "landsat-8")
    with pytest.raises(ParameterError, match="missing"):
        observe(SCENE.drop_vars("wavelength"), "landsat-8")
    with pytest.raises(GridMismatchError, match="in degrees"):
        observe(make_scene(size=0.001, crs="EPSG:4326"), "landsat-8")


def test_user_sensor_from_a_drone():
    drone = xrs.sensors.sensor_from_table({"key": ["g", "n"], "wavelength": [550, 850], "fwhm": [40, 40]}, gsd=20)
    assert observe(SCENE, drone).sizes["x"] == 18
    with pytest.raises(GridMismatchError, match="sampled at nan"):
        observe(SCENE, xrs.sensors.sensor_from_table({"wavelength": [550], "fwhm": [40]}))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(2, 4), st.integers(1, 5), st.integers(1, 5), st.integers(0, 3),
    st.sampled_from(["mtf", "box", "gaussian_box"]), st.integers(1, 9), st.booleans(),
)  # fmt: skip
def test_degrade_at_any_chunking(ratio, rows, columns, extra, psf, chunk, with_gaps):
    height, width = rows * ratio + min(extra, ratio - 1), columns * ratio
    values = np.random.default_rng(0).random((2, height, width), dtype="float32")
    if with_gaps:
        values[0, :ratio, :ratio] = np.nan
    cube = xr.DataArray(
        values, dims=("band", "y", "x"),
        coords={"band": ["B05", "B8A"], "y": np.arange(height)[::-1] * 20.0, "x": np.arange(width) * 20.0},
    )  # fmt: skip
    eager = degrade(cube, ratio, sensor="sentinel-2a", psf=psf)
    lazy = degrade(cube.chunk({"y": chunk, "x": chunk}), ratio, sensor="sentinel-2a", psf=psf)
    assert eager.shape == (2, rows, columns)
    # Band by band: a gap in one leaves the other.
    assert np.argwhere(np.isnan(eager.values)).tolist() == ([[0, 0, 0]] if with_gaps else [])
    xr.testing.assert_allclose(lazy.compute(), eager, rtol=1e-6)


def test_degrade_keeps_what_was_there():
    ms = observe(SCENE, "sentinel-2a", bands=["B05", "B11"])
    low = degrade(ms, 2, sensor="sentinel-2a")
    assert set(low.coords) == set(ms.coords)
    assert low.attrs["xrs:method"] == "degrade"
    assert nest(geobox_of(ms), geobox_of(low)).ratio == 2
    np.testing.assert_allclose(
        low, forward_operator("sentinel-2a", 2, bands=["B05", "B11"]).apply(ms.values), rtol=1e-5
    )


def test_degrade_of_a_pan_uses_its_gain():
    pan = xr.DataArray(
        np.random.default_rng(0).random((32, 32), dtype="float32"),
        dims=("y", "x"), coords={"y": np.arange(32.0)[::-1], "x": np.arange(32.0)},
    )  # fmt: skip
    wv2 = degrade(pan, 4, sensor="wv2")
    named = degrade(pan.expand_dims(band=["pan"]), 4, sensor="wv2")
    assert wv2.dims == ("y", "x")
    np.testing.assert_array_equal(named.isel(band=0), wv2)
    assert not np.allclose(wv2, degrade(pan, 4))


def test_one_band_of_one_date():
    ms = observe(SCENE, "sentinel-2a", bands=["B05", "B11"])
    one = ms.isel(time=1, band=0)
    low = degrade(one, 2, sensor="sentinel-2a")
    assert low.dims == ("y", "x")
    assert (low.band.item(), low.wavelength.item(), low.time.values) == ("B05", 704.1, ms.time.values[1])
    np.testing.assert_allclose(low, degrade(ms, 2, sensor="sentinel-2a").isel(time=1, band=0), rtol=1e-6)
    again = observe(one, "sentinel-2a", bands=["B05"], ratio=2, noise=0.0)
    np.testing.assert_allclose(again.isel(band=0), low, rtol=1e-6)
    with pytest.raises(TimeAxisError, match="a dim 'time'"):
        observe(one, "sentinel-2a", bands=["B05"], ratio=2, times="2023-05-02")


def test_degrade_of_a_tree_keeps_the_groups_nested():
    tree = observe(make_scene(96, 84), "sentinel-2a", bands=["B02", "B05", "B09"])
    low = degrade(tree, 6, sensor="sentinel-2a")
    grids = [geobox_of(g.to_dataset()) for g in low.children.values()]
    assert [g.shape for g in grids] == [(6, 12), (3, 6), (1, 2)] or [g.shape for g in grids] == [
        (12, 12),
        (6, 6),
        (2, 2),
    ]
    assert nest(grids[0], grids[2]).fine.shape == grids[0].shape
    assert low.attrs == tree.attrs


def test_degrade_refuses():
    with pytest.raises(ParameterError, match="ratio=1"):
        degrade(SCENE, 1)
    with pytest.raises(RadiometryError, match="uint16"):
        degrade(SCENE.astype("uint16"), 2)
    with pytest.raises(GridMismatchError, match="at least 100 by 100"):
        degrade(SCENE, 100)


def test_dsen2_degradation_of_real_bands(shared_data):
    with xr.open_dataset(shared_data / "sentinel2_T33UUB.nc", group="r20m") as group:
        (name,) = group.data_vars
        bands = group[name].astype("float32").isel(band=[0, 5]).load()
    low = degrade(bands, 2, psf="gaussian_box")
    for band in bands.band.values:
        blurred = gaussian_filter(bands.sel(band=band).values.astype("float64"), 0.5)
        truth = blurred.reshape(150, 2, 150, 2).mean(axis=(1, 3))
        np.testing.assert_allclose(low.sel(band=band), truth, rtol=1e-5)


def test_real_hyperion_seen_as_ali(shared_data):
    """Two instruments over one place: each ALI band is most like the same band made from Hyperion."""
    with xr.open_dataset(shared_data / "paris_hyperion_ali.nc") as data:
        hyperion, ali = data["hyperion"].load(), data["ali"].load()
    channels = [get_sensor("hyperion")[f"B{n:03d}"].wavelength for n in hyperion.band.values]
    scene = assign_bands(hyperion, [str(n) for n in hyperion.band.values], wavelength=channels)
    grid = {"y": np.arange(72)[::-1] * 30.0, "x": np.arange(72) * 30.0}
    keys = ["MS-1", "MS-2", "MS-3", "MS-4p", "MS-5p", "MS-5", "MS-7"]
    seen = observe(scene.assign_coords(grid), "eo1-ali", bands=keys).values.reshape(len(keys), -1)
    real = ali.sel(ali_band=keys).values.reshape(len(keys), -1)
    likeness = np.corrcoef(seen, real)[: len(keys), len(keys) :]
    assert likeness.argmax(axis=0).tolist() == list(range(len(keys)))
    assert likeness.diagonal().min() > 0.75
