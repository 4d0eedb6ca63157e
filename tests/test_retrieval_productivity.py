"""Production and yield: closed forms, units, weather in every shape, seasons with gaps."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from support import nothing_computed

from xrs.errors import GridMismatchError, LayoutError, ParameterError, RadiometryError, TimeAxisError
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

    @pytest.mark.parametrize(
        ("unit", "one"),
        [
            ("W/m2", 1 / 0.0864), ("W m**-2", 1 / 0.0864), ("W m^-2", 1 / 0.0864), ("MJ/m2/day", 1.0),
            ("MJ m-2 day-1", 1.0), ("MJ.m-2.d-1", 1.0), ("J m**-2 d-1", 1e6), ("kJ / m2 / day", 1e3),
        ],
    )  # fmt: skip
    def test_spellings_of_light(self, unit: str, one: float) -> None:
        share = fapar()
        np.testing.assert_allclose(gpp(share, by_time(9.5 * one, unit)), gpp(share, 9.5), rtol=1e-5)

    def test_spellings_of_weather(self) -> None:
        share = fapar()
        expected = gpp(share, 9.5, tmin=5.0, vpd=1200.0)
        for unit, value in (("degC", 5.0), ("Celsius", 5.0), ("°C", 5.0), ("K", 278.15), ("kelvin", 278.15)):
            found = gpp(share, 9.5, tmin=by_time(value, unit), vpd=1200.0)
            np.testing.assert_allclose(found, expected, rtol=1e-5)
        for unit, value in (("Pa", 1200.0), ("hPa", 12.0), ("mbar", 12.0), ("kPa", 1.2)):
            np.testing.assert_allclose(gpp(share, 9.5, tmin=5.0, vpd=by_time(value, unit)), expected, rtol=1e-5)
        per_second = npp(gpp(share, 9.5)) / 86_400.0
        net = crop_yield(npp(gpp(share, 9.5)), "2023-04-01", "2023-08-01")
        found = crop_yield(per_second.assign_attrs(units="kg m-2 s-1"), "2023-04-01", "2023-08-01")
        np.testing.assert_allclose(found, net, rtol=1e-5)

    @pytest.mark.parametrize("unit", ["J m**-2", "J m-2", "MJ/m2"])
    def test_energy_without_a_time_is_refused(self, unit: str) -> None:
        with pytest.raises(RadiometryError, match="without a time.*W m-2.*ERA5"):
            gpp(fapar(), by_time(9.5, unit))

    @pytest.mark.parametrize("unit", ["W m2", "umol m-2 s-1", "d-1", "/", "()", "m-2 W d", "1"])
    def test_other_units_are_refused(self, unit: str) -> None:
        with pytest.raises(RadiometryError, match="par in"):
            gpp(fapar(), by_time(9.5, unit))

    def test_lazy_values_are_checked_when_computed(self) -> None:
        share = fapar()
        wrong = {
            "fapar of": lambda: gpp((share * 100).chunk({"time": 7}), 10.0),
            "par of": lambda: gpp(share, by_time(200.0).chunk({"time": 7})),
            "tmin of": lambda: gpp(share, 10.0, tmin=by_time(280.0).chunk()),
            "vpd of": lambda: gpp(share, 10.0, vpd=by_time(900.0, "kPa").chunk()),
            "production of": lambda: npp(share.chunk()),
        }
        for message, call in wrong.items():
            with nothing_computed():
                lazy = call()
            with pytest.raises(RadiometryError, match=message):
                lazy.compute()
        with pytest.raises(RadiometryError, match="production of"):
            crop_yield((share * 5.0).chunk(), "2023-04-01", "2023-08-01").compute()

    def test_infinite_values_are_refused(self) -> None:
        share = fapar()
        for wrong in (share.where(share > 0.2, np.inf), share.where(share > 0.2, -np.inf)):
            with pytest.raises(RadiometryError, match="inf"):
                gpp(wrong, 10.0)
            with pytest.raises(RadiometryError, match="inf"):
                gpp(wrong.chunk(), 10.0).compute()

    def test_air_that_is_too_moist_is_in_another_unit(self) -> None:
        share = fapar()
        for wrong in (3.5, 19.0, by_time(np.linspace(0.1, 3.5, DAYS.size))):
            with pytest.raises(RadiometryError, match="kPa"):
                gpp(share, 10.0, vpd=wrong)
        with pytest.raises(RadiometryError, match="names no unit"):
            gpp(share, 10.0, vpd=by_time(900.0).chunk())
        with nothing_computed(), pytest.raises(RadiometryError, match="names no unit"):
            gpp(share, 10.0, vpd=by_time(3.5).chunk().mean())
        moist = gpp(share, 10.0, vpd=by_time(3.5, "Pa"))
        np.testing.assert_allclose(moist, gpp(share, 10.0), rtol=1e-6)
        some = np.full(DAYS.size, 3.5)
        some[4] = 800.0
        assert float(gpp(share, 10.0, vpd=by_time(some))[4].max()) < float(gpp(share, 10.0)[4].max())

    def test_what_is_no_cube_or_no_number(self) -> None:
        share = fapar()
        with pytest.raises(LayoutError, match="float"):
            gpp(0.5, 10.0)
        with pytest.raises(LayoutError, match=r"Dataset.*'FAPAR'"):
            gpp(share.to_dataset(), 10.0)
        for name, options in (
            ("par", {"par": "a"}), ("par", {"par": None}), ("tmin", {"par": 9.0, "tmin": "a"}),
            ("vpd", {"par": 9.0, "vpd": by_time(9.0).astype(str)}),
            ("max_efficiency", {"par": 9.0, "max_efficiency": "a"}), ("biome", {"par": 9.0, "biome": ["cropland"]}),
        ):  # fmt: skip
            with pytest.raises(ParameterError, match=name):
                gpp(share, **options)
        with pytest.raises(LayoutError, match="Dataset"):
            npp(share.to_dataset())
        with pytest.raises(LayoutError, match="ndarray"):
            crop_yield(share.values, "2023-04-01", "2023-08-01")


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


def test_gross_and_net_are_told_apart() -> None:
    gross = gpp(fapar(), 8.0)
    season = ("2023-04-01", "2023-08-01")
    with pytest.raises(ParameterError, match="gross_primary.*npp"):
        crop_yield(gross, *season)
    with pytest.raises(ParameterError, match="net_primary"):
        npp(npp(gross))
    # What does not say which it is may be either.
    silent = gross.copy()
    del silent.attrs["standard_name"]
    xr.testing.assert_equal(crop_yield(npp(silent), *season), crop_yield(npp(gross), *season))
    assert np.isfinite(crop_yield(silent, *season)).all()


def test_shares_that_are_no_numbers() -> None:
    net = npp(gpp(fapar(), 8.0))
    season = ("2023-04-01", "2023-08-01")
    with pytest.raises(ParameterError, match="carbon_use_efficiency='a'"):
        npp(gpp(fapar(), 8.0), carbon_use_efficiency="a")
    for dates in (("foo", "2023-08-01"), ("2023-04-01", ["x"])):
        with pytest.raises(ParameterError, match="a date"):
            crop_yield(net, *dates)
    for name in ("harvest_index", "root_shoot", "carbon_fraction", "moisture"):
        for wrong in ("a", None, math.nan):
            with pytest.raises(ParameterError, match=name):
                crop_yield(net, *season, **{name: wrong})
    for wrong in (("a", 0), 3, None, "ab", (1.0, 0.0, 0.0)):
        with pytest.raises(ParameterError, match="calibration"):
            crop_yield(net, *season, calibration=wrong)


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
