"""Three cubes brought together: what every method of family ``sts`` must pass, two methods in a row, wrong inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from sts_scene import CENTRES, DATES, KEYS, SHAPE, lazily, model, sensors, truth
from support import nothing_computed, rechunked

import xrs
from xrs.cube import geobox_of
from xrs.errors import (
    BandNotFoundError,
    GridMismatchError,
    MethodNotFoundError,
    ParameterError,
    RadiometryError,
    TimeAxisError,
)
from xrs.methods import methods_of
from xrs.operators.fuse_sts import like_bands
from xrs.training.sts import fuse_sts

NAMES = sorted(methods_of("sts"))
PAIR = ("starfm", "gsa_hs")


def _fused(name: Any, hs: xr.DataArray, ms: xr.DataArray, wide: xr.DataArray, **options: Any) -> xr.DataArray:
    given = {"model": model()} if name == "lts_mtl" else {}
    return fuse_sts(hs, ms, wide, name, psf="box", **{**given, **options})


@pytest.mark.parametrize("name", [*NAMES, PAIR])
class TestEvery:
    def test_bands_of_one_grid_of_another_dates_of_the_third(self, name: Any) -> None:
        hs, ms, wide = sensors()
        fused = _fused(name, hs, ms, wide)
        assert dict(fused.sizes) == {"time": DATES, "band": len(CENTRES), "y": SHAPE[0], "x": SHAPE[1]}
        assert geobox_of(fused) == geobox_of(ms)
        assert list(fused["band"].values) == list(hs["band"].values)
        assert (fused["time"].values == wide["time"].values).all()
        assert fused.dtype == np.float32
        assert np.isfinite(fused.values).all()

    def test_lazy(self, name: Any) -> None:
        cubes = [lazily(c) for c in sensors()]
        with nothing_computed():
            fused = _fused(name, *cubes)
        assert fused.chunks is not None

    def test_chunks_change_nothing(self, name: Any) -> None:
        hs, ms, wide = sensors()
        whole = _fused(name, hs, ms, wide)
        parts = _fused(name, rechunked(hs, 8, 20), rechunked(ms, 24, 17, time=3), rechunked(wide, 12, 30, time=2))
        np.testing.assert_allclose(parts.values, whole.values, atol=2e-4 if name == "map_sts" else 1e-5)

    def test_dates_asked_for_are_those_of_all(self, name: Any) -> None:
        hs, ms, wide = sensors()
        chosen = wide["time"].values[[1, 2]]
        some = _fused(name, hs, ms, wide, target_times=chosen)
        assert (some["time"].values == chosen).all()
        np.testing.assert_allclose(some.values, _fused(name, hs, ms, wide).isel(time=[1, 2]).values, atol=1e-5)

    def test_common_area_alone(self, name: Any) -> None:
        hs, ms, wide = sensors()
        fused = _fused(name, hs.isel(x=slice(2, None)), ms.isel(y=slice(0, 46)), wide.isel(y=slice(1, None)))
        # The two-stage operators crop to the fine and each coarse grid in turn, the joint ones to squares of all.
        box = geobox_of(fused)
        assert fused.sizes["x"] == 54
        assert fused.sizes["y"] in (36, 42, 45)
        assert box.boundingbox.left == geobox_of(ms).boundingbox.left + 60

    def test_dataset_gives_dataset(self, name: Any) -> None:
        hs, ms, wide = sensors()
        fused = _fused(name, xrs.cube.to_dataset(hs), ms, wide)
        assert isinstance(fused, xr.Dataset)
        assert list(fused.data_vars) == list(hs["band"].values)


@pytest.mark.slow
@pytest.mark.parametrize(("hs_ratio", "wide_ratio"), [(2, 3), (4, 2), (3, 1), (2, 2)])
@pytest.mark.parametrize("name", NAMES)
def test_any_two_ratios(name: str, hs_ratio: int, wide_ratio: int) -> None:
    hs, ms, wide = sensors(hs_ratio, wide_ratio)
    given = {"model": model(hs_ratio, wide_ratio)} if name == "lts_mtl" else {}
    fused = fuse_sts(hs, ms, wide, name, psf="box", **given)
    assert dict(fused.sizes) == dict(truth().sizes)
    assert np.isfinite(fused.values).all()


def test_two_methods_are_one_after_the_other() -> None:
    hs, ms, wide = sensors()
    keyed = xrs.operators.fuse_hsms.fuse_hsms(hs, ms, "gsa_hs", psf="box")
    expected = xrs.fuse_spatiotemporal(keyed, like_bands(wide, keyed), "starfm", pairs=2)
    np.testing.assert_array_equal(_fused(PAIR, hs, ms, wide).values, expected.values)


@pytest.mark.slow
def test_parameters_reach_either_of_two_methods() -> None:
    hs, ms, wide = sensors()
    one = _fused(PAIR, hs, ms, wide)
    assert not np.allclose(one.values, _fused(PAIR, hs, ms, wide, spectral={"kernel": "nearest"}).values)
    assert not np.allclose(one.values, _fused(PAIR, hs, ms, wide, temporal={"harmonize": False}).values)


@pytest.mark.slow
def test_network_in_a_row_is_trained_where_no_model_is_given() -> None:
    hs, ms, wide = sensors()
    training = {"patches": 8, "patch_size": 12, "epochs": 1, "features": 4, "layers": 1, "progress": False}
    fused = _fused(("stf3dcnn", "gsa_hs"), hs, ms, wide, temporal=training)
    assert np.isfinite(fused.values).all()


def test_bands_of_the_wide_sensor_are_the_nearest() -> None:
    hs, _, wide = sensors()
    like = like_bands(wide, hs)
    assert list(like["band"].values) == list(hs["band"].values)
    nearest = [int(np.abs(wide["wavelength"].values - centre).argmin()) for centre in CENTRES]
    np.testing.assert_array_equal(like.values, wide.values[:, nearest])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
def test_any_corner_keeps_whole_squares_of_all_grids(of_hs: int, of_ms: int, of_wide: int) -> None:
    hs, ms, wide = sensors()
    cubes = hs.isel(x=slice(of_hs, None)), ms.isel(x=slice(of_ms, None)), wide.isel(x=slice(of_wide, None))
    with nothing_computed():
        fused = _fused("map_sts", *map(lazily, cubes))
    first = max(3 * of_hs, of_ms, 2 * of_wide)
    left = (geobox_of(fused).boundingbox.left - geobox_of(ms).boundingbox.left) / 10
    assert left == -(-first // 6) * 6
    assert fused.sizes["x"] % 6 == 0
    assert fused.sizes["x"] == SHAPE[1] - left


def _of(which: int, change: Callable[[xr.DataArray], xr.DataArray]) -> Callable[..., tuple[xr.DataArray, ...]]:
    def changed(*cubes: xr.DataArray) -> tuple[xr.DataArray, ...]:
        return tuple(change(c) if n == which else c for n, c in enumerate(cubes))

    return changed


def _later(cube: xr.DataArray) -> xr.DataArray:
    return cube.assign_coords(time=cube["time"].values + np.timedelta64(9, "D"))


def _moved(cube: xr.DataArray) -> xr.DataArray:
    return cube.assign_coords(x=cube["x"].values + 7.0)


def _same(*cubes: xr.DataArray) -> tuple[xr.DataArray, ...]:
    return cubes


@pytest.mark.parametrize(
    ("change", "options", "error", "complaint"),
    [
        (_of(0, _later), {}, TimeAxisError, "no date of hs"),
        (_of(1, _later), {}, TimeAxisError, "no date of ms"),
        (_of(2, _later), {}, TimeAxisError, "within"),
        (_of(0, lambda c: c.isel(time=0)), {}, TimeAxisError, "dim 'time'"),
        (_of(2, lambda c: c.isel(time=[4, 0, 2])), {}, TimeAxisError, "ascend|sorted|order"),
        (_of(1, lambda c: (c * 1e4).astype("int16")), {}, RadiometryError, "ms holds int16"),
        (_of(2, lambda c: (c * 1e4).astype("uint16")), {}, RadiometryError, "wide holds uint16"),
        (_of(2, _moved), {}, GridMismatchError, "pixel"),
        (
            _of(0, lambda c: c.isel(x=slice(0, 4)).assign_coords(x=c["x"].values[:4] + 9000.0)),
            {},
            GridMismatchError,
            "pixel",
        ),
        (_same, {"target_times": ["2023-08-01"]}, TimeAxisError, "no coarse image"),
        (_same, {"target_times": []}, TimeAxisError, "empty"),
        (_same, {"nonsense": 1}, ParameterError, "nonsense"),
        (_same, {"psf": "estimate"}, ParameterError, "estimate"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_wrong_input(name: str, change: Any, options: dict[str, Any], error: type[Exception], complaint: str) -> None:
    hs, ms, wide = change(*sensors())
    given = {"model": model()} if name == "lts_mtl" else {}
    with pytest.raises(error, match=complaint):
        fuse_sts(hs, ms, wide, name, **{"psf": "box", **given, **options})


@pytest.mark.parametrize(
    ("method", "options", "error", "complaint"),
    [
        ("no_such", {}, MethodNotFoundError, "no_such"),
        (("starfm",), {}, ParameterError, "1 methods"),
        (("starfm", "no_such"), {}, MethodNotFoundError, "no_such"),
        (PAIR, {"kernel": "nearest"}, ParameterError, "temporal="),
    ],
)
def test_wrong_methods(method: Any, options: dict[str, Any], error: type[Exception], complaint: str) -> None:
    with pytest.raises(error, match=complaint):
        fuse_sts(*sensors(), method, psf="box", **options)


def test_two_methods_need_wavelengths() -> None:
    hs, ms, wide = sensors()
    bare = wide.drop_vars("wavelength")
    with pytest.raises(BandNotFoundError, match="wavelength"):
        fuse_sts(hs, ms, bare, PAIR, psf="box")


def test_fine_pixels_must_be_finer() -> None:
    _, ms, wide = sensors()
    with pytest.raises(GridMismatchError, match="larger pixels"):
        fuse_sts(ms, ms, wide, "map_sts", psf="box")


@pytest.mark.parametrize("name", NAMES)
def test_one_date_of_the_hyperspectral_sensor_is_enough(name: str) -> None:
    hs, ms, wide = sensors()
    fused = _fused(name, hs.isel(time=[1]), ms, wide)
    assert np.isfinite(fused.values).all()


def test_dates_within_the_tolerance_belong_together() -> None:
    hs, ms, wide = sensors()
    shifted = hs.assign_coords(time=hs["time"].values + np.timedelta64(6, "h"))
    fused = _fused("lts_mtl", shifted, ms, wide, outside="nearest")
    np.testing.assert_allclose(fused.values, _fused("lts_mtl", hs, ms, wide).values, atol=1e-5)
    with pytest.raises(TimeAxisError):
        _fused("lts_mtl", shifted, ms, wide, outside="nearest", tolerance="1h")


def test_comparison_has_a_row_for_each_date_and_their_mean() -> None:
    from xrs.training.sts_compare import compare_sts

    scene = truth() / float(truth().max())
    hs, ms, wide = (c / float(truth().max()) for c in sensors())
    table = compare_sts(
        hs, ms, wide, scene, [PAIR, "map_sts"], psf="box", params={"map_sts": {"iterations": 2, "components": 3}}
    )
    assert list(table.columns) == ["CC", "SAM", "PSNR", "SSIM", "time"]
    dates = [str(pd.Timestamp(t).date()) for t in wide["time"].values]
    assert list(table.loc["starfm+gsa_hs"].index) == [*dates, "mean"]
    alone = xrs.quality.psnr(_fused(PAIR, hs, ms, wide), scene, peak=1.0)
    np.testing.assert_allclose(table.loc["starfm+gsa_hs"]["PSNR"][dates], alone.mean("band").values, rtol=1e-5)
    assert table.loc[("map_sts", "mean"), "time"] > 0
    assert len(KEYS) < len(dates)


def test_a_date_the_wide_sensor_did_not_see_is_refused() -> None:
    hs, ms, wide = sensors()
    away = wide.time.values[1] + np.timedelta64(5, "D")
    with pytest.raises(TimeAxisError, match="no coarse image"):
        _fused("map_sts", hs, ms, wide, target_times=away)


def test_hours_between_the_sensors_do_not_count() -> None:
    hs, ms, wide = sensors()
    late = np.timedelta64(10, "h")
    moved = [cube.assign_coords(time=cube.time + late) for cube in (hs, ms)]
    np.testing.assert_allclose(_fused("map_sts", *moved, wide), _fused("map_sts", hs, ms, wide), atol=1e-6)


def test_dates_that_cannot_be_predicted_are_left_out_unless_asked_for() -> None:
    hs, ms, wide = sensors()
    early = [cube.isel(time=slice(None, -1)) for cube in (hs, ms)]
    out = _fused("map_sts", *early, wide)
    assert out.time.values[-1] == early[0].time.values[-1]


@pytest.mark.parametrize("name", NAMES)
def test_a_date_outside_of_the_others_is_refused_if_asked_for(name: str) -> None:
    hs, ms, wide = sensors()
    early = [cube.isel(time=slice(None, -1)) for cube in (hs, ms)]
    with pytest.raises(TimeAxisError, match="outside of the pairs"):
        _fused(name, *early, wide, target_times=wide.time.values[-1])
