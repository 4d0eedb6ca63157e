"""What every method must pass, whatever it does: the registry is the list of tests.

A new method gets all of this by being registered.
"""

from __future__ import annotations

import pickle

import dask
import numpy as np
import pytest
import xarray as xr
from support import cube, grid, nothing_computed, pan_pair, rechunked, s2_tree

import xrs
from xrs.cube import assign_geobox, geobox_of
from xrs.errors import GridMismatchError, LayoutError, ParameterError, RadiometryError, TimeAxisError
from xrs.methods import FAMILIES, methods_of

RATIO = 4
PAN = sorted(methods_of("pansharpen", models=False))
SHARPEN = sorted(methods_of("sharpen", models=False))
TEMPORAL = sorted(methods_of("temporal"))
ALL = [(f, name) for f in FAMILIES for name in sorted(methods_of(f))]

#: Largest difference between any two chunkings, relative to the largest value.
BOUND = {"local": 1e-6, "global": 1e-5}

#: Odd edges, one-pixel slivers, whole rows.
PAN_CHUNKS = [
    ((40, 56), (96,), (7, 17), (24,)),
    ((33, 62, 1), (31, 65), (24,), (1, 23)),
    ((96,), (50, 46), (12, 12), (5, 19)),
]


def _series(n: int = 30) -> xr.DataArray:
    rng = np.random.default_rng(3)
    da = cube((5, 7), times=n)
    season = 0.4 + 0.3 * np.sin(np.linspace(0, 3, n))[:, None, None, None]
    values = (season + 0.02 * rng.standard_normal(da.shape)).astype("float32")
    values[rng.random(da.shape) < 0.2] = np.nan
    return da.copy(data=values)


def _close(a: xr.DataArray, b: xr.DataArray, scope: str) -> None:
    np.testing.assert_array_equal(np.isnan(a.values), np.isnan(b.values))
    scale = float(np.nanmax(np.abs(b.values)))
    np.testing.assert_allclose(a.values, b.values, rtol=0, atol=BOUND[scope] * scale)


def _sharpened(tree: xr.DataTree, name: str) -> xr.DataArray:
    ds = tree.rsfuse.sharpen(method=name)
    return ds.to_dataarray("band")


def _lazy_tree(tree: xr.DataTree, sizes: dict[str, tuple[object, object]]) -> xr.DataTree:
    return xr.DataTree.from_dict(
        {name: tree[name].to_dataset().chunk({"y": sizes[name][0], "x": sizes[name][1]}) for name in tree.children}
    )


class TestPansharpen:
    @pytest.mark.parametrize("name", PAN)
    def test_any_chunking_gives_the_same_pixels_and_stays_lazy(self, name: str) -> None:
        ms, pan, _ = pan_pair(24, RATIO)
        expected = xrs.pansharpen(ms, pan, method=name)
        scope = xrs.get_method(name, "pansharpen").scope
        assert expected.dtype == np.float32
        for py, px, my, mx in PAN_CHUNKS:
            with nothing_computed():
                lazy = xrs.pansharpen(rechunked(ms, my, mx), rechunked(pan, py, px), method=name)
            assert lazy.chunks is not None
            assert lazy.dtype == np.float32
            _close(lazy.compute(scheduler="threads"), expected, scope)

    @pytest.mark.parametrize("name", PAN)
    def test_dates_are_independent(self, name: str) -> None:
        ms, pan, _ = pan_pair(16, RATIO, times=3)
        both = xrs.pansharpen(rechunked(ms, 9, 16, time=2), rechunked(pan, 40, 64, time=1), method=name)
        alone = xrs.pansharpen(ms.isel(time=1), pan.isel(time=1), method=name)
        _close(both.isel(time=1).compute(), alone, xrs.get_method(name, "pansharpen").scope)

    @pytest.mark.parametrize("name", PAN)
    def test_labels(self, name: str) -> None:
        ms, pan, _ = pan_pair(12, RATIO)
        out = xrs.pansharpen(ms.assign_attrs(platform="x", scale_factor=1e-4), pan, method=name)
        assert out.dims == ("band", "y", "x")
        assert geobox_of(out) == geobox_of(pan)
        assert list(out.band.values) == list(ms.band.values)
        assert list(out.common_name.values) == list(ms.common_name.values)
        assert out.attrs["xrs:method"] == name
        assert "scale_factor" not in out.attrs
        assert name in out.attrs["history"]

    @pytest.mark.parametrize("name", PAN)
    def test_missing_values_stay_local(self, name: str) -> None:
        ms, pan, _ = pan_pair(24, RATIO)
        whole = xrs.pansharpen(ms, pan, method=name)
        holed_ms, holed_pan = ms.copy(deep=True), pan.copy(deep=True)
        holed_ms.values[:, 5:8, 6] = np.nan
        holed_pan.values[60:62, 70:75] = np.nan
        out = xrs.pansharpen(holed_ms, holed_pan, method=name)
        expected = np.zeros(pan.shape, bool)
        expected[5 * RATIO : 8 * RATIO, 6 * RATIO : 7 * RATIO] = True
        expected[60:62, 70:75] = True
        for band in out.values:
            np.testing.assert_array_equal(np.isnan(band), expected)
        # Far from the gaps only the statistics of the scene may move, and those by little.
        far = np.s_[:, :, -8:]
        np.testing.assert_allclose(out.values[far], whole.values[far], atol=0.02)

    @pytest.mark.parametrize("name", PAN)
    def test_all_missing_gives_all_missing(self, name: str) -> None:
        ms, pan, _ = pan_pair(8, RATIO)
        assert np.isnan(xrs.pansharpen(ms * np.float32(np.nan), pan, method=name)).all()

    @pytest.mark.parametrize("name", PAN)
    def test_single_coarse_pixel(self, name: str) -> None:
        ms, pan, _ = pan_pair(1, RATIO)
        out = xrs.pansharpen(ms, pan, method=name)
        assert out.shape == (4, RATIO, RATIO)
        assert np.isfinite(out).all()

    @pytest.mark.parametrize("name", PAN)
    def test_input_is_untouched_and_tokens_are_deterministic(self, name: str) -> None:
        ms, pan, _ = pan_pair(12, RATIO)
        ms.values[0, 2, 2] = np.nan
        before = ms.copy(deep=True), pan.copy(deep=True)
        lazy = [xrs.pansharpen(rechunked(ms, 5, 12), rechunked(pan, 20, 48), method=name) for _ in range(2)]
        assert lazy[0].data.name == lazy[1].data.name
        lazy[0].compute()
        xr.testing.assert_identical(before[0], ms)
        xr.testing.assert_identical(before[1], pan)

    @pytest.mark.parametrize("name", PAN)
    def test_unit_does_not_matter(self, name: str) -> None:
        ms, pan, _ = pan_pair(16, RATIO)
        one = xrs.pansharpen(ms, pan, method=name)
        scaled = xrs.pansharpen(ms * np.float32(1000), pan * np.float32(1000), method=name)
        np.testing.assert_allclose(scaled.values / 1000, one.values, atol=2e-4)

    @pytest.mark.parametrize("name", [n for n in PAN if n != "exp"])
    def test_beats_interpolation_where_the_pan_tells_the_truth(self, name: str) -> None:
        ms, pan, truth = pan_pair(24, RATIO)
        error = {
            m: float(np.sqrt(((xrs.pansharpen(ms, pan, method=m, psf="box") - truth) ** 2).mean()))
            for m in (name, "exp")
        }
        assert error[name] < 0.95 * error["exp"]

    @pytest.mark.parametrize("name", PAN)
    def test_dataset_in_dataset_out(self, name: str) -> None:
        ms, pan, _ = pan_pair(8, RATIO)
        ds = xrs.cube.to_dataset(ms)
        out = ds.rsfuse.pansharpen(pan, method=name)
        assert isinstance(out, xr.Dataset)
        np.testing.assert_allclose(out["B03"].values, xrs.pansharpen(ms, pan, method=name).sel(band="B03").values)
        assert out["B03"].attrs["common_name"] == "green"


class TestSharpen:
    @pytest.mark.parametrize("name", SHARPEN)
    def test_any_chunking_gives_the_same_pixels_and_stays_lazy(self, name: str) -> None:
        tree = s2_tree(8)
        expected = _sharpened(tree, name)
        assert expected.dtype == np.float32
        assert list(expected.band.values) == ["B01", "B02", "B03", "B04", "B05", "B08", "B8A", "B09", "B11"]
        for sizes in (
            {"r10m": (20, 48), "r20m": (7, 24), "r60m": (3, 8)},
            {"r10m": ((47, 1), (1, 30, 17)), "r20m": (24, (1, 23)), "r60m": (8, 5)},
        ):
            with nothing_computed():
                lazy = _sharpened(_lazy_tree(tree, sizes), name)
            _close(lazy.compute(scheduler="threads"), expected, xrs.get_method(name, "sharpen").scope)

    @pytest.mark.parametrize("name", SHARPEN)
    def test_missing_values_stay_local(self, name: str) -> None:
        tree = s2_tree(8, sixty=False)
        tree["r20m"]["B11"].values[3:5, 10] = np.nan
        out = tree.rsfuse.sharpen(method=name)
        hole = np.zeros((48, 48), bool)
        hole[6:10, 20:22] = True
        np.testing.assert_array_equal(np.isnan(out["B11"].values), hole)
        assert not np.isnan(out["B8A"].values[~hole]).any()
        assert not np.isnan(out["B02"].values).any()

    @pytest.mark.parametrize("name", SHARPEN)
    def test_dates_are_independent(self, name: str) -> None:
        tree = s2_tree(5, times=2, sixty=False)
        both = tree.rsfuse.sharpen(method=name)
        alone = tree.isel(time=1).rsfuse.sharpen(method=name)
        assert both["B11"].dims == ("time", "y", "x")
        _close(both["B11"].isel(time=1), alone["B11"], xrs.get_method(name, "sharpen").scope)

    @pytest.mark.parametrize("name", SHARPEN)
    def test_fine_bands_pass_unchanged(self, name: str) -> None:
        tree = s2_tree(4, sixty=False)
        out = tree.rsfuse.sharpen(method=name)
        for key in ("B02", "B08"):
            np.testing.assert_array_equal(out[key].values, tree["r10m"][key].values)


class TestTemporal:
    @pytest.mark.parametrize("name", TEMPORAL)
    def test_any_chunking_gives_the_same_pixels_and_stays_lazy(self, name: str) -> None:
        da = _series()
        expected = xrs.smooth(da, method=name)
        assert expected.dtype == np.float32
        for time, y, x in ((7, 2, 7), (30, (1, 4), 3), (1, 5, 1)):
            with nothing_computed():
                lazy = xrs.smooth(rechunked(da, y, x, time=time), method=name)
            _close(lazy.compute(scheduler="threads"), expected, "local")

    @pytest.mark.parametrize("name", TEMPORAL)
    def test_pixels_without_values_stay_missing(self, name: str) -> None:
        da = _series()
        da.values[:, :, 2, 3] = np.nan
        out = xrs.smooth(da, method=name)
        assert np.isnan(out.values[:, :, 2, 3]).all()
        assert np.isfinite(np.delete(out.values, 3, axis=3)[8:-8]).all()

    @pytest.mark.parametrize("name", TEMPORAL)
    def test_labels(self, name: str) -> None:
        da = _series()
        out = xrs.smooth(da, method=name, times="7D")
        assert out.sizes["time"] == 21
        assert geobox_of(out) == geobox_of(da)
        assert out.attrs["xrs:method"] == name
        single = da.isel(band=0, drop=True)
        assert xrs.smooth(single, method=name).dims == ("time", "y", "x")

    @pytest.mark.parametrize("name", TEMPORAL)
    def test_input_is_untouched(self, name: str) -> None:
        da = _series()
        before = da.copy(deep=True)
        xrs.smooth(da, method=name)
        xr.testing.assert_identical(before, da)


@pytest.mark.parametrize(("family", "name"), ALL)
def test_records_are_whole_and_travel(family: str, name: str) -> None:
    method = xrs.get_method(name, family)
    assert pickle.loads(pickle.dumps(method)) is method
    assert dask.base.tokenize(method) == dask.base.tokenize(method)
    assert method.summary
    assert method.reference.text
    # Papers and patents from before DOIs have none; then the text tells where they stand.
    assert method.reference.doi.startswith("10.") or len(method.reference.text) > 40
    assert all(p.doc for p in method.params)
    with pytest.raises(ParameterError, match="no_such"):
        xrs.methods.resolve_params(method, {"no_such": 1})


class TestWrongInput:
    def test_grids_that_do_not_nest(self) -> None:
        ms, pan, _ = pan_pair(6, RATIO)
        shifted = pan.assign_coords(x=pan.x + 1.25, y=pan.y - 1.25)
        with pytest.raises(GridMismatchError, match=r"\[2::4\].*xrs.regrid"):
            xrs.pansharpen(ms, shifted, method="brovey")
        mended = xrs.regrid(shifted, like=ms, ratio=RATIO)
        assert xrs.pansharpen(ms, mended, method="brovey").shape == (4, 24, 24)

    def test_crs_that_differ(self) -> None:
        ms, pan, _ = pan_pair(6, RATIO)
        with pytest.raises(GridMismatchError, match="CRS differ"):
            xrs.pansharpen(ms, assign_geobox(pan, grid(pan.shape, 2.5, "EPSG:32632")), method="brovey")
        with pytest.raises(GridMismatchError, match="has none"):
            xrs.pansharpen(ms, pan.drop_vars("spatial_ref"), method="brovey")

    def test_neither_has_a_crs(self) -> None:
        ms, pan, _ = pan_pair(6, RATIO)
        out = xrs.pansharpen(ms.drop_vars("spatial_ref"), pan.drop_vars("spatial_ref"), method="brovey")
        assert out.shape == (4, 24, 24)

    def test_no_overlap(self) -> None:
        ms, pan, _ = pan_pair(6, RATIO)
        with pytest.raises(GridMismatchError, match="do not share"):
            xrs.pansharpen(ms, pan.assign_coords(x=pan.x + 6000.0), method="brovey")

    def test_partial_overlap_is_cropped(self) -> None:
        ms, pan, _ = pan_pair(8, RATIO)
        out = xrs.pansharpen(ms.isel(y=slice(2, 8)), pan.isel(x=slice(5, 29)), method="sfim")
        assert out.shape == (4, 24, 20)
        assert float(out.x[0]) == float(pan.x[8])

    def test_integers(self) -> None:
        ms, pan, _ = pan_pair(4, RATIO)
        with pytest.raises(RadiometryError, match="uint16"):
            xrs.pansharpen((ms * 1e4).astype("uint16"), pan, method="brovey")

    def test_pan_with_several_bands(self) -> None:
        ms, _, truth = pan_pair(4, RATIO)
        with pytest.raises(LayoutError, match="4 bands"):
            xrs.pansharpen(ms, truth, method="brovey")

    def test_dates_that_differ(self) -> None:
        ms, pan, _ = pan_pair(4, RATIO, times=3)
        with pytest.raises(TimeAxisError, match="dates"):
            xrs.pansharpen(ms, pan.isel(time=slice(0, 2)), method="brovey")
        with pytest.raises(TimeAxisError, match="have none"):
            xrs.pansharpen(ms, pan.isel(time=0), method="brovey")

    def test_unknown_method(self) -> None:
        ms, pan, _ = pan_pair(4, RATIO)
        with pytest.raises(xrs.errors.MethodNotFoundError, match="mtf_glp_hpm"):
            xrs.pansharpen(ms, pan, method="mtf_glp_hmp")

    def test_times_unsorted_or_doubled(self) -> None:
        da = _series(6)
        with pytest.raises(TimeAxisError, match="unsorted.*sortby"):
            xrs.smooth(da.isel(time=[0, 2, 1, 3]))
        with pytest.raises(TimeAxisError, match="more than once"):
            xrs.smooth(da.isel(time=[0, 1, 1, 2]))

    def test_one_group_only(self) -> None:
        tree = s2_tree(3)
        with pytest.raises(LayoutError, match="two grids"):
            xrs.sharpen({"r10m": tree["r10m"].to_dataset()})
