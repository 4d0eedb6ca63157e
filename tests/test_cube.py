"""The conventions of a cube: layout, bands, grids, metadata."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from support import cube, grid, nothing_computed

from xrs.cube import (
    assign_bands,
    assign_geobox,
    check_reflectance,
    check_time,
    coarsen,
    describe,
    find_band,
    geobox_of,
    nest,
    provenance,
    refine,
    same_grid,
    to_array,
    to_dataset,
    with_all_dims,
)
from xrs.errors import BandNotFoundError, GridMismatchError, LayoutError, RadiometryError, TimeAxisError


class TestLayout:
    @pytest.mark.parametrize("times", [0, 3])
    def test_dataset_and_back(self, times: int) -> None:
        da = cube((4, 5), times=times)
        back = to_array(to_dataset(da))
        xr.testing.assert_equal(back, da)
        assert geobox_of(back) == geobox_of(da)
        assert back.wavelength.attrs["units"] == "nm"

    def test_order_of_dims(self) -> None:
        da = cube((4, 5), times=2)
        assert to_array(da.transpose("x", "band", "y", "time")).dims == ("time", "band", "y", "x")
        assert with_all_dims(da.isel(time=0, band=0)).dims == ("time", "band", "y", "x")

    def test_variables_without_a_place_are_left_out(self) -> None:
        ds = to_dataset(cube((4, 5))).assign(
            angle=0.3, SCL=(("y", "x"), np.ones((4, 5), "uint8"), {"flag_values": [0, 1], "flag_meanings": "a b"})
        )
        assert list(to_array(ds).band.values) == ["B02", "B03", "B04", "B08"]

    def test_not_a_cube(self) -> None:
        with pytest.raises(LayoutError, match="rename"):
            to_array(xr.DataArray(np.zeros((2, 2)), dims=("lat", "lon")))
        with pytest.raises(LayoutError, match="ndarray"):
            to_array(np.zeros((2, 2)))  # type: ignore[arg-type]
        with pytest.raises(LayoutError, match="no dims y and x"):
            to_array(xr.Dataset({"a": 1.0}))


class TestBands:
    def test_by_key_name_and_wavelength(self) -> None:
        da = cube((2, 2))
        for obj in (da, to_dataset(da)):
            assert find_band(obj, "B08") == "B08"
            assert find_band(obj, "red") == "B04"
            assert find_band(obj, 663) == "B04"

    def test_cubes_chunked_along_bands_need_no_scheduler(self) -> None:
        lazy = cube((2, 2)).chunk(band=1)
        with nothing_computed():
            assert find_band(lazy, "red") == "B04"
            assert find_band(lazy, 663) == "B04"

    def test_ambiguous_common_name(self) -> None:
        da = assign_bands(cube((2, 2)).isel(band=[0, 1]), ["B05", "B06"], common_name=["rededge", "rededge"])
        with pytest.raises(BandNotFoundError, match=r"\['B05', 'B06'\].*use a key"):
            find_band(da, "rededge")

    def test_missing(self) -> None:
        with pytest.raises(BandNotFoundError, match="swir"):
            find_band(cube((2, 2)), "swir16")
        with pytest.raises(BandNotFoundError, match="1600 nm"):
            find_band(cube((2, 2)), 1600.0)
        with pytest.raises(BandNotFoundError, match="no wavelengths"):
            find_band(cube((2, 2)).drop_vars("wavelength"), 665.0)

    def test_as_many_keys_as_bands(self) -> None:
        with pytest.raises(LayoutError, match="4 bands and 1 keys"):
            assign_bands(cube((2, 2)), ["a"])


class TestGrid:
    def test_from_coordinates(self) -> None:
        da = cube((4, 6), 20.0)
        assert geobox_of(da) == grid((4, 6), 20.0)

    def test_without_crs(self) -> None:
        assert geobox_of(cube((4, 6), crs=None)).crs is None

    def test_crs_by_any_grid_mapping_name(self) -> None:
        da = cube((3, 3)).rename(spatial_ref="crs")
        assert geobox_of(da).crs == "EPSG:32631"

    def test_single_pixel_takes_its_size_from_the_geotransform(self) -> None:
        assert geobox_of(cube((1, 1), 20.0)) == grid((1, 1), 20.0)
        with pytest.raises(GridMismatchError, match="single pixel"):
            geobox_of(cube((1, 1)).drop_vars("spatial_ref"))

    def test_irregular_or_missing_coordinates(self) -> None:
        da = cube((3, 3))
        with pytest.raises(GridMismatchError, match="unevenly"):
            geobox_of(da.assign_coords(x=[0.0, 10.0, 25.0]))
        with pytest.raises(GridMismatchError, match="assign_geobox"):
            geobox_of(da.drop_vars("x"))
        with pytest.raises(GridMismatchError, match="descending"):
            geobox_of(da.sortby("y"))

    @settings(max_examples=60, deadline=None)
    @given(
        ratio=st.integers(2, 6),
        offset=st.tuples(st.integers(-9, 9), st.integers(-9, 9)),
        fine_shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
        coarse_shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    )
    def test_nesting_finds_the_common_area(
        self, ratio: int, offset: tuple[int, int], fine_shape: tuple[int, int], coarse_shape: tuple[int, int]
    ) -> None:
        fine = GeoBox(fine_shape, Affine(10, 0, 1000, 0, -10, 9000), "EPSG:32631")
        corner = fine.affine @ (offset[1] * 1.0, offset[0] * 1.0)
        coarse = GeoBox(coarse_shape, Affine(10 * ratio, 0, corner[0], 0, -10 * ratio, corner[1]), "EPSG:32631")
        # Coarse pixels that lie wholly inside the fine grid, one by one.
        inside = [
            [k for k in range(n) if o + k * ratio >= 0 and o + (k + 1) * ratio <= m]
            for n, o, m in zip(coarse_shape, offset, fine_shape, strict=True)
        ]
        if not all(inside):
            with pytest.raises(GridMismatchError, match="do not share"):
                nest(fine, coarse)
            return
        found = nest(fine, coarse)
        assert found.ratio == ratio
        assert (found.coarse_window["y"].start, found.coarse_window["y"].stop) == (inside[0][0], inside[0][-1] + 1)
        assert same_grid(refine(found.coarse, ratio), found.fine)
        assert same_grid(coarsen(found.fine, ratio), found.coarse)

    def test_phase_off_by_half_a_pixel_is_told_as_such(self) -> None:
        fine, coarse = grid((16, 16), 10.0), grid((4, 4), 40.0, corner=(5e5 + 5, 5.6e6 - 5))
        with pytest.raises(GridMismatchError, match=r"\[2::4\].*xrs.regrid"):
            nest(fine, coarse)

    def test_ratio_that_is_no_integer(self) -> None:
        with pytest.raises(GridMismatchError, match="ratio 1.5"):
            nest(grid((8, 8), 10.0), grid((4, 4), 15.0))
        with pytest.raises(GridMismatchError, match="ratio 3"):
            nest(grid((8, 8), 10.0), grid((4, 4), 20.0), ratio=3)

    def test_assign_checks_the_size(self) -> None:
        with pytest.raises(GridMismatchError, match="3 by 3"):
            assign_geobox(cube((3, 3)), grid((4, 4), 10.0))

    def test_description_names_what_differs(self) -> None:
        assert describe(grid((4, 6), 20.0)) == "[EPSG:32631, 20 x 20, 4 by 6, corner (500000, 5600000)]"


class TestChecks:
    def test_reflectance(self) -> None:
        da = cube((3, 3))
        check_reflectance(da)
        check_reflectance(da * np.nan)
        with pytest.raises(RadiometryError, match="uint16.*scale"):
            check_reflectance((da * 1e4).astype("uint16"))
        with pytest.raises(RadiometryError, match="holds values from"):
            check_reflectance(da * 1e4)

    def test_time(self) -> None:
        da = cube((2, 2), times=3)
        check_time(da)
        for bad, words in (
            (da.isel(time=0), "a dim 'time'"),
            (da.drop_vars("time"), "no coordinate"),
            (da.assign_coords(time=[1, 2, 3]), "datetime64"),
            (da.isel(time=[1, 0, 2]), "unsorted"),
            (da.isel(time=[0, 0, 2]), "more than once"),
        ):
            with pytest.raises(TimeAxisError, match=words):
                check_time(bad)
        with pytest.raises(TimeAxisError, match="at least 5"):
            check_time(da, least=5)


def test_provenance_keeps_no_storage_attributes_and_appends_history() -> None:
    da = cube((2, 2)).assign_attrs(scale_factor=1e-4, nodata=0, title="t", history="made")
    attrs = provenance(da, "gsa", {"a": 1, "when": pd.Timestamp("2020-01-01")}, doi="10.1/x")
    assert "scale_factor" not in attrs
    assert "nodata" not in attrs
    assert attrs["title"] == "t"
    assert attrs["history"].splitlines()[0] == "made"
    assert attrs == provenance(da, "gsa", {"a": 1, "when": pd.Timestamp("2020-01-01")}, doi="10.1/x")
