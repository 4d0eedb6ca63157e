"""Angles of sun and view: given or told, in degrees or radians, lazy, missing, impossible, unknown to the network."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from support import nothing_computed, rechunked
from test_retrieval import LEAFY, NAMES, field, run

from xrs.errors import GridMismatchError, LayoutError, ParameterError
from xrs.methods import methods_of
from xrs.operators.retrieve import retrieve

WITH_ANGLES = [name for name in NAMES if "angles" in methods_of("retrieval")[name].needs]


class TestAngles:
    @pytest.mark.parametrize("name", WITH_ANGLES)
    def test_however_they_are_told(self, name: str) -> None:
        scene = field(times=2)
        sun = xr.DataArray([30.0, 55.0], dims="time", coords={"time": scene.time})
        by_time = retrieve(scene, method=name, sun_zenith=sun)
        for date, degrees in enumerate((30.0, 55.0)):
            alone = retrieve(scene.isel(time=date), method=name, sun_zenith=degrees)
            np.testing.assert_array_equal(by_time.isel(time=date), alone)
        told = scene.assign_coords({"view:sun_elevation": ("time", 90.0 - sun.values)})
        np.testing.assert_array_equal(retrieve(told, method=name), by_time)
        on_grid = sun.expand_dims(y=scene.y, x=scene.x).transpose("time", "y", "x")
        np.testing.assert_array_equal(retrieve(scene, method=name, sun_zenith=on_grid), by_time)
        lazy = retrieve(rechunked(scene, 4, 5), method=name, sun_zenith=on_grid.chunk({"y": 3}))
        np.testing.assert_allclose(lazy, by_time, atol=1e-5)
        assert not np.allclose(by_time.isel(time=0), retrieve(scene.isel(time=0), method=name, sun_zenith=65.0))

    def test_missing_angles_leave_gaps(self) -> None:
        scene = field(LEAFY)
        view = xr.DataArray(np.full((7, 9), 5.0), dims=("y", "x"))
        view[2, 3] = np.nan
        found = run("snap", scene, view_zenith=view)
        assert np.isnan(found.values[2, 3])
        assert np.isnan(found).sum() == 1

    def test_azimuths_of_items(self) -> None:
        scene = field(LEAFY).assign_attrs({"view:sun_azimuth": 160.0, "view:azimuth": 100.0, "view:off_nadir": 8.0})
        expected = run("snap", field(LEAFY), view_zenith=8.0, relative_azimuth=60.0)
        np.testing.assert_array_equal(run("snap", scene), expected)
        better = scene.assign_attrs({"view:incidence_angle": 8.0, "view:off_nadir": 7.0})
        np.testing.assert_array_equal(run("snap", better), expected)

    @pytest.mark.parametrize("name", WITH_ANGLES)
    def test_wrong_angles(self, name: str) -> None:
        scene = field(times=2)
        with pytest.raises(ParameterError, match="nothing tells sun_zenith"):
            retrieve(scene, method=name)
        with pytest.raises(ParameterError, match="120 degrees"):
            retrieve(scene, method=name, sun_zenith=120.0)
        with pytest.raises(GridMismatchError, match="'time'"):
            dates = pd.date_range("2020-01-01", periods=2)
            retrieve(scene, method=name, sun_zenith=xr.DataArray([30.0, 30.0], {"time": dates}))
        with pytest.raises(LayoutError, match="orbit"):
            retrieve(scene, method=name, sun_zenith=xr.DataArray([30.0, 30.0], dims="orbit"))

    @pytest.mark.parametrize("name", WITH_ANGLES)
    def test_radians_are_converted_or_refused(self, name: str) -> None:
        scene = field(times=2)
        degrees = xr.DataArray([30.0, 55.0], dims="time")
        expected = retrieve(scene, method=name, sun_zenith=degrees)
        for unit in ("rad", "radian", "Radians"):
            radians = np.deg2rad(degrees).assign_attrs(units=unit)
            np.testing.assert_allclose(retrieve(scene, method=name, sun_zenith=radians), expected, atol=1e-5)
            lazy = retrieve(scene, method=name, sun_zenith=radians.chunk({"time": 1}))
            np.testing.assert_allclose(lazy, expected, atol=1e-5)
        told = scene.assign_coords({"view:sun_elevation": np.deg2rad(90.0 - degrees).assign_attrs(units="radian")})
        np.testing.assert_allclose(retrieve(told, method=name), expected, atol=1e-5)
        for wrong in (0.6, np.deg2rad(degrees), 1.57):
            with pytest.raises(ParameterError, match="radians"):
                retrieve(scene, method=name, sun_zenith=wrong)
        with pytest.raises(ParameterError, match="radians"):
            retrieve(scene, method=name, sun_zenith=np.deg2rad(degrees).chunk()).compute()
        with pytest.raises(ParameterError, match="radians"):
            retrieve(scene.assign_attrs({"view:sun_elevation": 0.9}), method=name)
        with pytest.raises(ParameterError, match="'gon'"):
            retrieve(scene, method=name, sun_zenith=degrees.assign_attrs(units="gon"))

    def test_the_sun_may_be_overhead_in_places_and_where_its_unit_is_told(self) -> None:
        scene = field(LEAFY)
        degrees = xr.DataArray(np.linspace(0.0, 12.0, 63).reshape(7, 9), dims=("y", "x"))
        assert np.isfinite(run("snap", scene, sun_zenith=degrees, domain="any")).all()
        one = xr.DataArray(0.6, attrs={"units": "degree"})
        near = run("snap", scene, sun_zenith=degrees.where(degrees > 5.0, 0.6), domain="any")
        np.testing.assert_array_equal(run("snap", scene, sun_zenith=one, domain="any")[0, 0], near[0, 0])

    @pytest.mark.parametrize("name", WITH_ANGLES)
    @pytest.mark.parametrize("degrees", [400.0, 95.0, -10.0, np.inf])
    def test_lazy_angles_are_checked_when_computed(self, name: str, degrees: float) -> None:
        scene = field(times=2)
        sun = xr.DataArray([40.0, degrees], dims="time").chunk({"time": 1})
        with nothing_computed():
            lazy = retrieve(scene, method=name, sun_zenith=sun)
        assert lazy.isel(time=0).notnull().any().compute()
        with pytest.raises(ParameterError, match="0 to 90 degrees"):
            lazy.compute()

    def test_a_lazy_number_stays_lazy(self) -> None:
        scene = field()
        sun = xr.DataArray([40.0, 40.0]).chunk().mean()
        with nothing_computed():
            lazy = retrieve(scene, sun_zenith=sun)
        np.testing.assert_allclose(lazy.compute(), run("canopy", scene), atol=1e-5)

    @pytest.mark.parametrize("name", WITH_ANGLES)
    def test_angles_that_are_no_numbers(self, name: str) -> None:
        scene = field()
        with pytest.raises(ParameterError, match="sun_zenith='abc'"):
            retrieve(scene, method=name, sun_zenith="abc")
        with pytest.raises(ParameterError, match="sun_zenith='thirty'"):
            retrieve(scene.assign_attrs(sun_zenith="thirty"), method=name)
        with pytest.raises(ParameterError, match="sun_zenith holds"):
            retrieve(scene, method=name, sun_zenith=xr.DataArray("abc"))
        overridden = retrieve(scene.assign_attrs(sun_zenith="thirty"), method=name, sun_zenith=40.0)
        np.testing.assert_array_equal(overridden, run(name, scene))

    @pytest.mark.parametrize(
        "angles", [{"sun_zenith": 10.0}, {"sun_zenith": 80.0}, {"sun_zenith": 40.0, "view_zenith": 30.0}]
    )
    def test_angles_of_which_the_network_knows_none(self, angles: dict[str, float]) -> None:
        """The training has suns of 20 to 70 degrees and views of up to 12."""
        for scene in (field(times=2), rechunked(field(times=2), 4, 4)):
            with pytest.raises(ParameterError, match="all would be NaN.*Expected.* degrees"):
                retrieve(scene, **angles)
        sun = xr.DataArray([10.0, 40.0], dims="time")
        found = retrieve(field(times=2), sun_zenith=sun)
        assert np.isnan(found.isel(time=0)).all()
        assert np.isfinite(found.isel(time=1)).any()
        assert np.isnan(retrieve(field(times=2), sun_zenith=sun * np.nan)).all()
