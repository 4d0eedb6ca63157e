"""Production and yield: closed forms, units, weather in every shape, seasons with gaps."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from support import nothing_computed

from xrs.errors import GridMismatchError, ParameterError, RadiometryError, TimeAxisError
from xrs.operators.productivity import BIOMES, crop_yield, gpp, npp

DAYS = pd.date_range("2023-03-01", "2023-10-01", freq="6D")


def fapar(shape: tuple[int, int] = (4, 5)) -> xr.DataArray:
    season = 0.1 + 0.8 * np.exp(-(((np.arange(DAYS.size) - 18) / 8.0) ** 2))
    values = season[:, None, None] * np.linspace(0.5, 1.0, shape[0] * shape[1]).reshape(shape)
    coords = {"time": DAYS, "y": np.arange(shape[0])[::-1] * 10.0, "x": np.arange(shape[1]) * 10.0}
    return xr.DataArray(values.astype("float32"), dims=("time", "y", "x"), coords=coords, name="FAPAR")


def rate(values: np.ndarray, days: pd.DatetimeIndex = DAYS) -> xr.DataArray:
    return xr.DataArray(
        np.asarray(values, "float32").reshape(-1, 1, 1),
        dims=("time", "y", "x"),
        coords={"time": days, "y": [5.0], "x": [5.0]},
        attrs={"units": "kg m-2 d-1"},
    )


def by_time(values: object, units: str = "") -> xr.DataArray:
    attrs = {"units": units} if units else {}
    return xr.DataArray(np.broadcast_to(values, DAYS.shape), dims="time", coords={"time": DAYS}, attrs=attrs)


class TestGpp:
    def test_light_use_efficiency(self) -> None:
        share = fapar()
        np.testing.assert_allclose(gpp(share, 10.0), 0.0013 * share * 10.0, rtol=1e-6)
        np.testing.assert_allclose(gpp(share, 10.0, max_efficiency=0.002), 0.02 * share, rtol=1e-6)

    @pytest.mark.parametrize(("tmin", "slowed"), [(-20.0, 0.0), (-8.0, 0.0), (2.01, 0.5), (12.02, 1.0), (30.0, 1.0)])
    def test_cold(self, tmin: float, slowed: float) -> None:
        share = fapar()
        np.testing.assert_allclose(gpp(share, 10.0, tmin=tmin), slowed * gpp(share, 10.0), atol=1e-7)

    @pytest.mark.parametrize(("vpd", "slowed"), [(0.0, 1.0), (650.0, 1.0), (2575.0, 0.5), (4500.0, 0.0), (6000.0, 0.0)])
    def test_dry_air(self, vpd: float, slowed: float) -> None:
        share = fapar()
        np.testing.assert_allclose(gpp(share, 10.0, vpd=vpd), slowed * gpp(share, 10.0), atol=1e-7)

    def test_units(self) -> None:
        share = fapar()
        expected = gpp(share, 9.5, tmin=5.0, vpd=1200.0)
        watts, kelvin, hecto = by_time(9.5 / 0.0864, "W m-2"), by_time(278.15, "K"), by_time(12.0, "hPa")
        np.testing.assert_allclose(gpp(share, watts, tmin=kelvin, vpd=hecto), expected, rtol=1e-5)
        assert expected.attrs["units"] == "kg m-2 d-1"
        np.testing.assert_allclose(gpp((share * 100).assign_attrs(units="%"), 9.5), gpp(share, 9.5), rtol=1e-5)

    def test_weather_by_number_by_date_and_by_pixel(self) -> None:
        share = fapar()
        light = by_time(np.linspace(3.0, 12.0, DAYS.size))
        one = gpp(share, light)
        grid = light.broadcast_like(share).transpose("time", "y", "x")
        xr.testing.assert_equal(one, gpp(share, grid))
        alone = gpp(share.isel(time=3), float(light[3]))
        np.testing.assert_allclose(alone, one.isel(time=3), rtol=1e-6)

    def test_missing_and_lazy(self) -> None:
        share = fapar()
        share[3, 1, 2] = np.nan
        light = by_time(8.0)
        light = light.where(light.time != DAYS[5])
        expected = gpp(share, light, tmin=7.0, vpd=900.0)
        gaps = np.isnan(share.values)
        gaps[5] = True
        np.testing.assert_array_equal(np.isnan(expected), gaps)
        with nothing_computed():
            lazy = gpp(share.chunk({"time": 7, "y": 3}), light, tmin=7.0, vpd=900.0)
        assert lazy.chunks is not None
        assert lazy.dtype == np.float32
        xr.testing.assert_equal(lazy.compute(), expected)

    def test_a_summer_day_of_wheat_is_of_the_right_size(self) -> None:
        """Towers over wheat measure 10 to 20 g of carbon a day in May and June."""
        day = float(gpp(xr.DataArray([[0.9]], dims=("y", "x")), 11.0, tmin=11.0, vpd=900.0)[0, 0])
        assert 0.008 < day < 0.02

    def test_wrong_input(self) -> None:
        share = fapar()
        with pytest.raises(ParameterError, match="cropland"):
            gpp(share, 10.0, biome="wheat")
        with pytest.raises(ParameterError, match="MJ"):
            gpp(share, 10.0, max_efficiency=1.3)
        with pytest.raises(RadiometryError, match="W m-2"):
            gpp(share, 200.0)
        with pytest.raises(RadiometryError, match="'K'"):
            gpp(share, 10.0, tmin=280.0)
        with pytest.raises(RadiometryError, match="in 'mmHg'"):
            gpp(share, 10.0, vpd=by_time(9.0, "mmHg"))
        with pytest.raises(RadiometryError, match="fapar of"):
            gpp(share * 100, 10.0)
        with pytest.raises(GridMismatchError, match="'time'"):
            gpp(share, by_time(8.0).isel(time=slice(3)))
        with pytest.raises(GridMismatchError, match="'x'"):
            gpp(share, share.assign_coords(x=share.x + 3.0))
        with pytest.raises(GridMismatchError, match="'height'"):
            gpp(share, xr.DataArray([1.0], dims="height"))


def test_biomes_are_ordered() -> None:
    for name, biome in BIOMES.items():
        assert biome.coldest < biome.warmest, name
        assert biome.moist < biome.dry, name
        assert 0.001 < biome.max_efficiency < 0.0016, name


def test_net_is_a_share_of_gross() -> None:
    gross = gpp(fapar(), 8.0)
    np.testing.assert_allclose(npp(gross), 0.5 * gross, rtol=1e-6)
    np.testing.assert_allclose(npp(gross, carbon_use_efficiency=0.47), 0.47 * gross, rtol=1e-6)
    assert npp(gross).name == "npp"
    with pytest.raises(ParameterError, match="share"):
        npp(gross, carbon_use_efficiency=1.2)
    with pytest.raises(RadiometryError, match="in '1'"):
        npp(fapar().assign_attrs(units="1"))


#: A harvest that is all that grows.
ONE = {"harvest_index": 1.0, "root_shoot": 0.0, "carbon_fraction": 1.0, "moisture": 0.0, "units": "kg m-2"}


class TestYield:
    def test_integral_of_a_line_is_exact_between_dates_too(self) -> None:
        line = rate(0.001 + 1e-5 * np.arange(DAYS.size) * 6)
        start, end = 10.5, 123.25
        first = pd.Timestamp("2023-03-01")
        found = crop_yield(line, first + pd.Timedelta(days=start), first + pd.Timedelta(days=end), **ONE)
        expected = 0.001 * (end - start) + 0.5e-5 * (end**2 - start**2)
        assert found.item() == pytest.approx(expected, rel=1e-6)

    def test_shares(self) -> None:
        plain = crop_yield(rate(np.full(DAYS.size, 0.004)), "2023-04-01", "2023-07-10", **ONE)
        assert plain.item() == pytest.approx(0.4, rel=1e-6)
        found = crop_yield(
            rate(np.full(DAYS.size, 0.004)),
            "2023-04-01",
            "2023-07-10",
            harvest_index=0.5,
            root_shoot=0.25,
            carbon_fraction=0.4,
            moisture=0.2,
            calibration=(1.1, -0.3),
        )
        # 0.4 kg of carbon are 1 kg of plant, 0.8 above ground, 0.4 of it harvested, 0.5 with its water: 5 t a hectare.
        assert found.item() == pytest.approx(1.1 * 5.0 - 0.3, rel=1e-6)
        assert found.attrs["units"] == "t ha-1"

    def test_gaps_are_bridged_and_ends_are_not_guessed(self) -> None:
        days = np.arange(DAYS.size) * 6.0
        line = 0.002 + 2e-5 * days
        holed = line.copy()
        holed[[4, 9, 10, 11]] = np.nan
        season = ("2023-03-07", "2023-08-01")
        whole, bridged = (crop_yield(rate(v), *season, **ONE) for v in (line, holed))
        assert bridged.item() == pytest.approx(whole.item(), rel=1e-6)
        for missing in (slice(0, 2), slice(-12, None), slice(None)):
            cut = line.copy()
            cut[missing] = np.nan
            assert math.isnan(crop_yield(rate(cut), *season, **ONE).item())

    def test_lazy_and_any_chunking(self) -> None:
        rates = npp(gpp(fapar(), 9.0))
        rates[7, 2, 3] = np.nan
        expected = crop_yield(rates, "2023-04-01", "2023-08-15")
        with nothing_computed():
            lazy = crop_yield(rates.chunk({"time": 5, "y": 3, "x": 2}), "2023-04-01", "2023-08-15")
        assert lazy.chunks is not None
        assert (expected.dims, expected.dtype) == (("y", "x"), np.float32)
        xr.testing.assert_equal(lazy.compute(), expected)

    def test_wrong_input(self) -> None:
        line = rate(np.full(DAYS.size, 0.004))
        with pytest.raises(TimeAxisError, match="within"):
            crop_yield(line, "2023-01-01", "2023-07-01")
        with pytest.raises(TimeAxisError, match="within"):
            crop_yield(line, "2023-07-01", "2023-05-01")
        with pytest.raises(TimeAxisError):
            crop_yield(line.isel(time=0), "2023-04-01", "2023-07-01")
        with pytest.raises(RadiometryError, match="'t ha-1'"):
            crop_yield(line.assign_attrs(units="t ha-1"), "2023-04-01", "2023-07-01")
        for name, value in (("harvest_index", 0.0), ("carbon_fraction", 1.4), ("moisture", 1.0), ("root_shoot", -1.0)):
            with pytest.raises(ParameterError, match=name):
                crop_yield(line, "2023-04-01", "2023-07-01", **{name: value})
        with pytest.raises(ParameterError, match="slope, offset"):
            crop_yield(line, "2023-04-01", "2023-07-01", calibration=(1.0, np.nan))
        with pytest.raises(ParameterError, match="units="):
            crop_yield(line, "2023-04-01", "2023-07-01", units="bushels")
