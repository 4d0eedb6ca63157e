"""The verbs beyond what the suite asks of every method: regrid, compare, smooth, the accessor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter
from support import cube, nothing_computed, pan_pair, rechunked, s2_tree

import xrs
from xrs.cube import assign_geobox, coarsen, geobox_of
from xrs.errors import GridMismatchError, LayoutError, ParameterError, RadiometryError, TimeAxisError
from xrs.operators.compare import wald


class TestRegrid:
    def test_moves_half_a_pixel_as_interpolation_does(self) -> None:
        ms, pan, _ = pan_pair(12, 4)
        plane = xr.full_like(pan, 0.0) + (pan.x - pan.x[0]).astype("float32") * 1e-3
        off = plane.assign_coords(x=pan.x + 1.25)
        out = xrs.regrid(off, like=ms, ratio=4)
        assert geobox_of(out) == geobox_of(pan)
        inside = np.s_[8:-8, 8:-8]
        np.testing.assert_allclose(out.values[inside], plane.values[inside] - 1.25e-3, atol=1e-6)

    def test_without_crs_and_lazy(self) -> None:
        ms, pan, _ = pan_pair(8, 4)
        bare_ms, bare = ms.drop_vars("spatial_ref"), pan.drop_vars("spatial_ref").assign_coords(x=pan.x.values + 1.25)
        with nothing_computed():
            lazy = xrs.regrid(bare.chunk(y=16), like=bare_ms, ratio=4)
        assert geobox_of(lazy).crs is None
        inside = np.s_[6:-6, 6:-6]
        np.testing.assert_allclose(
            lazy.values[inside], xrs.regrid(bare, like=bare_ms, ratio=4).values[inside], atol=1e-6
        )

    @pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic", "lanczos", "average"])
    def test_no_seams_at_any_chunking_between_crs(self, resampling: str) -> None:
        from affine import Affine
        from odc.geo.geobox import GeoBox

        da = cube((40, 50), 10.0, times=2)
        da.values[:, :, 10:14, 20] = np.nan
        left, top = geobox_of(da).center_pixel.extent.to_crs("EPSG:3035").centroid.coords[0]
        target = GeoBox((50, 60), Affine(11.0, 0, left - 300, 0, -11.0, top + 250), "EPSG:3035")
        whole = xrs.regrid(da, geobox=target, resampling=resampling)
        assert 0.3 < float(np.isfinite(whole).mean()) < 0.95
        for sizes in ({"y": 7, "x": 50}, {"y": 40, "x": 13, "time": 1}):
            lazy = xrs.regrid(da.chunk(sizes), geobox=target, resampling=resampling)
            # GDAL rounds coordinates within its window.
            np.testing.assert_allclose(lazy.values, whole.values, atol=1e-5)
            assert lazy.data.name == xrs.regrid(da.chunk(sizes), geobox=target, resampling=resampling).data.name

    def test_dataset_with_dates(self) -> None:
        da = cube((12, 12), 10.0, times=2)
        out = xrs.cube.to_dataset(da).rsfuse.regrid(geobox=coarsen(geobox_of(da), 3), resampling="average")
        assert out["B03"].shape == (2, 4, 4)
        expected = da.sel(band="B03").coarsen(y=3, x=3).mean()
        np.testing.assert_allclose(out["B03"].values, expected.values, atol=1e-6)

    def test_wrong_arguments(self) -> None:
        ms, pan, _ = pan_pair(4, 4)
        with pytest.raises(ParameterError, match="one of them"):
            xrs.regrid(pan)
        with pytest.raises(ParameterError, match="ratio=0"):
            xrs.regrid(pan, like=ms, ratio=0)
        with pytest.raises(GridMismatchError, match="on both"):
            xrs.regrid(pan.drop_vars("spatial_ref"), like=ms)
        with pytest.raises(RadiometryError, match="int"):
            xrs.regrid((pan * 100).astype("int16"), like=ms)


class TestCompare:
    def test_walds_case_is_the_degraded_pair_and_the_original(self) -> None:
        ms, pan, _ = pan_pair(18, 4)
        low, guide, truth = wald(ms, pan, psf="box")
        assert truth.sizes["y"] == 16
        xr.testing.assert_equal(truth, ms.isel(y=slice(16), x=slice(16)))
        np.testing.assert_allclose(low.values, truth.coarsen(y=4, x=4).mean().values, rtol=1e-5)
        np.testing.assert_allclose(
            guide.values, pan.isel(y=slice(64), x=slice(64)).coarsen(y=4, x=4).mean().values, rtol=1e-5
        )

    def test_table_ranks_methods(self) -> None:
        ms, pan, _ = pan_pair(32, 4)
        table = xrs.compare(ms, pan, methods=["exp", "mtf_glp", "gsa"], peak=1.0)
        assert list(table.columns) == ["CC", "SAM", "PSNR", "SSIM", "ERGAS", "RMSE", "Q2n", "time"]
        assert table["ERGAS"].is_monotonic_increasing
        assert table.loc["mtf_glp", "PSNR"] > table.loc["exp", "PSNR"] + 1
        assert np.isfinite(table.to_numpy()).all()

    def test_groups_of_one_sensor(self) -> None:
        table = xrs.compare(s2_tree(20), methods=["exp", "mtf_glp"], border=2)
        assert table.loc["mtf_glp", "RMSE"] < table.loc["exp", "RMSE"]

    def test_parameters_of_single_methods(self) -> None:
        ms, pan, _ = pan_pair(24, 4)
        with pytest.raises(ParameterError, match="no_such"):
            xrs.compare(ms, pan, methods=["gsa"], params={"gsa": {"no_such": 1}})

    def test_scores_are_those_of_numpy(self) -> None:
        ms, pan, _ = pan_pair(24, 4)
        low, guide, truth = wald(ms, pan)
        fused = xrs.pansharpen(low, guide, "sfim")
        crop = np.s_[:, 8:-8, 8:-8]
        by_hand = np.sqrt(((fused.values[crop].astype("f8") - truth.values[crop]) ** 2).mean((1, 2))).mean()
        table = xrs.compare(ms, pan, methods=["sfim"])
        assert table.loc["sfim", "RMSE"] == pytest.approx(by_hand, rel=1e-6)


class TestSmooth:
    def test_weights_leave_values_out(self) -> None:
        da = cube((3, 4), times=20)
        weights = xr.DataArray(np.where(np.arange(20) % 5 == 0, 0.0, 1.0), dims="time", coords={"time": da.time})
        spoiled = da.where(weights > 0, 9.0)
        np.testing.assert_allclose(
            xrs.smooth(spoiled, weights=weights).values, xrs.smooth(da.where(weights > 0)).values, rtol=1e-6
        )
        with pytest.raises(GridMismatchError, match="weights have 19"):
            xrs.smooth(da, weights=weights[:19])

    def test_times_asked_for(self) -> None:
        da = cube((2, 2), times=10)
        wanted = pd.DatetimeIndex(["2024-04-03", "2024-04-21 12:00"])
        out = xrs.smooth(da, "linear", times=wanted)
        np.testing.assert_array_equal(out.time.values, wanted.values)
        np.testing.assert_allclose(out.values, da.interp(time=wanted).values, rtol=1e-5)
        with pytest.raises(TimeAxisError, match="unsorted"):
            xrs.smooth(da, times=wanted[::-1])

    def test_integers_are_refused(self) -> None:
        with pytest.raises(RadiometryError, match="int16"):
            xrs.smooth((cube((2, 2), times=4) * 100).astype("int16"))


class TestSharpen:
    def test_groups_that_cover_different_areas_are_cropped_to_whole_coarsest_pixels(self) -> None:
        tree = s2_tree(6)
        part = xr.DataTree.from_dict(
            {
                "r10m": tree["r10m"].to_dataset().isel(y=slice(5, None)),
                "r20m": tree["r20m"].to_dataset().isel(x=slice(0, 16)),
                "r60m": tree["r60m"].to_dataset(),
            }
        )
        out = part.rsfuse.sharpen("sfim")
        assert dict(out.sizes) == {"y": 30, "x": 30}
        assert float(out.y[0]) == float(tree["r10m"].y[6])

    def test_chosen_bands(self) -> None:
        out = s2_tree(4).rsfuse.sharpen("sfim", bands=["B11"])
        assert list(out) == ["B02", "B03", "B04", "B08", "B11"]
        with pytest.raises(xrs.errors.BandNotFoundError, match="B99"):
            s2_tree(4).rsfuse.sharpen("sfim", bands=["B99"])

    def test_not_a_tree(self) -> None:
        with pytest.raises(LayoutError, match="DataTree"):
            xrs.sharpen(cube((4, 4)))  # type: ignore[arg-type]


def test_accessor_says_what_it_can() -> None:
    assert "pansharpen" in repr(cube((2, 2)).rsfuse)
    assert "sharpen" in repr(s2_tree(2).rsfuse)


def test_version_and_names() -> None:
    assert xrs.__version__
    assert "pansharpen" in dir(xrs)
    with pytest.raises(AttributeError, match="no_such"):
        _ = xrs.no_such


def _t33uub(folder: Path) -> dict[str, xr.DataArray]:
    """Both grids of the scene degraded as DSen2 does, and the truth."""
    from xrs.kernels import decimate
    from xrs.kernels.psf import gaussian_box_taps

    tree = xr.open_datatree(folder / "sentinel2_T33UUB.nc")
    cubes = {}
    for name in ("r10m", "r20m"):
        dn = tree[name]["reflectance_dn"].astype("float32")
        low = decimate(np.ascontiguousarray(dn.values), gaussian_box_taps(0.5, 2), 2)
        reference = gaussian_filter(dn.values[0].astype("f8"), 0.5, mode="reflect")
        np.testing.assert_allclose(low[0], reference.reshape(low.shape[1], 2, -1, 2).mean((1, 3)), rtol=1e-4)
        bare = dn.isel(y=slice(None, None, 2), x=slice(None, None, 2)).copy(data=low)
        cubes[name] = assign_geobox(bare, coarsen(geobox_of(dn), 2))
    cubes["truth"] = tree["r20m"]["reflectance_dn"].astype("float32")
    return cubes


def test_sharpening_a_real_scene_beats_published_code(shared_data: Path) -> None:
    # 40 to 20 m, six bands, 10 px left out: bicubic 147.1, SupReME's published code 87.5 DN.
    from xrs.kernels.psf import gaussian_box_taps, stack_taps

    scene = _t33uub(shared_data)
    psf = {"r20m": stack_taps([gaussian_box_taps(0.5, 2)] * 6)}
    fused = xrs.sharpen({n: scene[n] for n in ("r10m", "r20m")}, "supreme", psf=psf)
    keys = list(scene["truth"].band.values)
    error = fused[keys].to_dataarray("band").values - scene["truth"].values
    rmse = np.sqrt((error[:, 10:-10, 10:-10].astype("f8") ** 2).mean((1, 2))).mean()
    assert rmse < 80


@pytest.mark.parametrize("name", [None, "reflectance"])
def test_names_of_lazy_cubes_are_kept(name: str | None) -> None:
    series = rechunked(cube((8, 8), times=4), 4, 4).rename(name)
    ms, pan, _ = (part.rename(name) for part in pan_pair(8, 4))
    for result in (
        xrs.smooth(series, method="linear"),
        xrs.degrade(series, 2),
        xrs.gap_fill(series, method="linear"),
        xrs.composite(series, freq="MS"),
        xrs.harmonize(series, series),
        xrs.fuse_spatiotemporal(series, xrs.degrade(series, 4), method="interpolate"),
        xrs.pansharpen(rechunked(ms, 8, 8), rechunked(pan, 32, 32), method="gsa"),
    ):
        assert result.name == name
