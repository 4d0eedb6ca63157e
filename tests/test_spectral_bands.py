"""Which bands spectral super-resolution takes and makes: by key and wavelength, in any order, or not at all."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import xarray as xr
from support import nothing_computed
from test_spectral import CLASSICAL, NM, S2, case, library, model_of

import xrs
from xrs.cube import assign_bands, band_keys, to_dataset, wavelengths
from xrs.errors import BandNotFoundError, LayoutError, ModelCardError, ParameterError
from xrs.models import ImageSpec, Model
from xrs.operators.spectral_pairs import _drawn_of
from xrs.sensors import get_sensor, sensor_from_table
from xrs.spectra import SpectralPairs, draw_pairs

LAND = ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]


def superres(ms: Any, to: Any = NM, method: str = "ridge", **kwargs: Any) -> Any:
    return xrs.spectral_superres(ms, to, method, **kwargs)


@pytest.fixture(scope="module")
def land() -> xr.DataArray:
    scene = xrs.scenes.landscape((12, 10), resolution=10.0, times=["2023-06-10"]).isel(time=0)
    return xrs.observe(scene, "sentinel-2a", bands=LAND, ratio=1).compute()


class TestPairs:
    def test_bands_of_the_cube_are_found_by_key(self) -> None:
        ms, hs = case()
        pairs = xrs.spectral_pairs(ms, hs, 300)
        expected = superres(ms, hs, library=pairs)
        assert float(np.abs(expected - hs).max()) < 2e-3
        for order in ([7, 2, 5, 0, 1, 6, 3, 4], list(range(8))[::-1]):
            np.testing.assert_array_equal(superres(ms.isel(band=order), hs, library=pairs), expected)
            again = xrs.spectral_pairs(ms.isel(band=order), hs, 300)
            np.testing.assert_array_equal(superres(ms, hs, library=again), expected)

    def test_a_part_of_the_pairs_bands_in_any_order(self) -> None:
        ms, hs = case()
        pairs = xrs.spectral_pairs(ms, hs, 300)
        whole = superres(ms, hs, library=pairs)
        some = superres(ms, hs.isel(band=[20, 3, 7]), library=pairs)
        assert band_keys(some) == [band_keys(hs)[n] for n in (20, 3, 7)]
        # One penalty serves all bands, so it may differ a little.
        np.testing.assert_allclose(some, whole.isel(band=[20, 3, 7]), atol=1e-3)
        np.testing.assert_allclose(superres(ms, NM[[3, 7]], library=pairs), whole.isel(band=[3, 7]), atol=1e-3)

    def test_bands_that_pairs_do_not_know_are_an_error(self) -> None:
        ms, hs = case()
        pairs = xrs.spectral_pairs(ms, hs, 300)
        with pytest.raises(BandNotFoundError, match=r"no bands \[450 nm, .*\] \(33\)"):
            superres(ms, np.linspace(450.0, 900.0, NM.size), library=pairs)
        with pytest.raises(BandNotFoundError, match="the pairs have no bands"):
            superres(ms, "enmap", library=pairs)
        with pytest.raises(BandNotFoundError, match="B12"):
            superres(ms.isel(band=slice(0, 7)), hs, library=pairs)
        other = assign_bands(ms, ["B2", "B3", "B4", "B5", "B6", "B7", "B10", "B11"]).assign_attrs(platform="landsat-8")
        with pytest.raises(BandNotFoundError, match="the cube has no bands"):
            superres(other, hs, library=pairs)

    def test_bands_of_one_key_that_are_elsewhere_are_an_error(self) -> None:
        ms, hs = case()
        pairs = xrs.spectral_pairs(ms, hs, 300)
        moved = assign_bands(ms.drop_attrs(), S2, wavelength=wavelengths(ms) + 20.0 * (np.arange(8) == 3))
        with pytest.raises(ParameterError, match="band B05 of the cube is centred at 724"):
            superres(moved, hs, library=pairs)
        table = {"key": band_keys(hs), "wavelength": NM + 12.0, "fwhm": np.full(NM.size, 5.0)}
        with pytest.raises(ParameterError, match="band 420 of to is centred at 432"):
            superres(ms, sensor_from_table(table), library=pairs)

    def test_bands_beyond_those_of_the_pairs_are_left_out(self) -> None:
        ms, hs = case()
        few = xrs.spectral_pairs(ms.isel(band=slice(1, None)), hs, 300)
        np.testing.assert_array_equal(
            superres(ms, hs, library=few), superres(ms.isel(band=slice(1, None)), hs, library=few)
        )

    def test_pairs_without_keys_go_by_place(self) -> None:
        ms, hs = case()
        pairs = xrs.spectral_pairs(ms, hs, 300)
        bare = SpectralPairs(pairs.given, pairs.wanted)
        np.testing.assert_array_equal(superres(ms, hs, library=bare), superres(ms, hs, library=pairs))
        turned = SpectralPairs(pairs.given[:, ::-1], pairs.wanted)
        found = superres(ms.isel(band=slice(None, None, -1)), hs, library=turned)
        np.testing.assert_allclose(found, superres(ms, hs, library=pairs), atol=1e-5)

    @pytest.mark.parametrize("count", [-1, 0, 1.5, "a"])
    def test_counts_and_seeds_that_are_none(self, count: Any) -> None:
        ms, hs = case()
        with pytest.raises(ParameterError, match="count="):
            xrs.spectral_pairs(ms, hs, count)
        if count != 0:
            with pytest.raises(ParameterError, match="seed="):
                xrs.spectral_pairs(ms, hs, 10, seed=count)


class TestOrder:
    @pytest.mark.parametrize("name", [*CLASSICAL, "spectralift"])
    def test_any_order_of_bands_gives_the_same_pixels(self, name: str) -> None:
        ms, _ = case((12, 10))
        given: dict[str, Any] = {"library": library(), "examples": 300}
        if name == "spectralift":
            given = {"model": model_of(name)}
        whole = superres(ms, method=name, uncertainty=True, **given)
        for order in ([7, 2, 5, 0, 1, 6, 3, 4], list(range(8))[::-1]):
            turned = superres(ms.isel(band=order), method=name, uncertainty=True, **given)
            for key in whole.data_vars:
                np.testing.assert_array_equal(turned[key], whole[key])


class TestQuality:
    def test_layers_are_left_out(self) -> None:
        ms, hs = case((12, 10))
        ds = to_dataset(ms)
        told = ds.assign(SCL=(("y", "x"), np.full((12, 10), 4, "uint8")))
        for given in ({"library": library(), "examples": 200}, {"library": xrs.spectral_pairs(told, hs, 50)}):
            xr.testing.assert_equal(superres(told, hs, **given), superres(ds, hs, **given))


class TestTheModelsSensor:
    def _model(self) -> Model:
        """The case's model, with what its card says of bands."""
        model = model_of("spectralift")
        bands = get_sensor("sentinel-2a").find(S2)
        image = ImageSpec(tuple(S2), 1, tuple(b.wavelength for b in bands), tuple(b.fwhm for b in bands))
        card = dataclasses.replace(model.card, images=(image,), training={"protocol": "library"})
        return model.with_card(card)

    def test_a_cube_that_knows_nothing_is_seen_with_it(self) -> None:
        ms, _ = case((12, 10))
        bare = ms.drop_vars(["wavelength", "common_name"]).drop_attrs()
        told = superres(bare, method="spectralift", model=self._model(), uncertainty=True)
        known = superres(ms, method="spectralift", model=self._model(), uncertainty=True)
        free = superres(ms, method="spectralift", model=self._model(), consistent=False)
        # Its centres and widths are not quite the measured response.
        away = float(np.abs(told["spectra"] - known["spectra"]).mean())
        assert away < 0.1 * float(np.abs(free - known["spectra"]).mean())
        assert told["misfit"].attrs["units"] == "1"

    def test_a_known_sensor_whose_bands_are_elsewhere(self) -> None:
        ms, _ = case((12, 10))
        bare = ms.drop_vars(["wavelength", "common_name"]).drop_attrs()
        bands = get_sensor("sentinel-2a").find(S2)
        table = {"key": S2, "wavelength": [b.wavelength for b in bands], "fwhm": [b.fwhm for b in bands]}
        table["wavelength"][3] += 8.0
        with pytest.raises(ModelCardError, match="B05 .* centred at 712.1 nm"):
            superres(bare, method="spectralift", model=self._model(), sensor=sensor_from_table(table))
        superres(bare, method="spectralift", model=self._model(), sensor="sentinel-2b")

    def test_the_shipped_model_is_told(self, land: xr.DataArray) -> None:
        out = xrs.spectral_superres(land)
        model = xrs.models.load_model("s2-enmap-spectralift")
        assert model.card.sha256[:12] in json.loads(out.attrs["xrs:parameters"])["model"]
        assert model.card.sha256[:12] in out.attrs["history"]

    def test_bands_that_the_shipped_model_lacks_are_named(self, land: xr.DataArray) -> None:
        with pytest.raises(ModelCardError, match=r"\['B8A', 'B12'\] are missing, and there are \['B02'"):
            xrs.spectral_superres(land.sel(band=[key for key in LAND if key not in ("B8A", "B12")]))


class TestTo:
    @pytest.mark.parametrize("sensor", ["prisma", "eo1-hyperion", "landsat-8", "worldview-2", "sentinel-2a"])
    def test_any_sensor_without_the_bands_that_cannot_be_made(self, land: xr.DataArray, sensor: str) -> None:
        out = xrs.spectral_superres(land, to=sensor)
        centres = wavelengths(out)
        every = get_sensor(sensor).find()
        made = set(band_keys(out))
        assert len(made) > 0 and [b.key for b in every if b.key in made] == band_keys(out)
        # What no band of EnMAP that the model makes covers: water vapour, and beyond both ends.
        hidden = lambda nm: (nm < 410) | (nm > 2455) | ((nm > 1350) & (nm < 1450)) | ((nm > 1790) & (nm < 1950))  # noqa: E731
        assert not hidden(centres).any()
        plain = lambda nm: (430 < nm < 1250) | (1500 < nm < 1700) | (2030 < nm < 2350)  # noqa: E731
        assert all(b.key in made for b in every if plain(b.wavelength))

    def test_sentinel_2_comes_back(self, land: xr.DataArray) -> None:
        out = xrs.spectral_superres(land, to="sentinel-2a").sel(band=["B03", "B8A", "B11"])
        np.testing.assert_allclose(out, land.sel(band=["B03", "B8A", "B11"]), atol=2e-3)

    def test_a_list_of_centres_is_made_as_a_whole_or_not(self, land: xr.DataArray) -> None:
        with pytest.raises(BandNotFoundError, match=r"nm, \.\.\.\] \(\d+\)") as error:
            xrs.spectral_superres(land, to=range(430, 2260, 10))
        assert len(str(error.value)) < 450 and "bands=" not in str(error.value)

    def _sparse(self, widths: float) -> Model:
        centres = np.arange(430.0, 2431.0, 200.0)
        model = model_of("spectralift", outputs=centres.size)
        outputs = ImageSpec(tuple(f"S{n}" for n in range(centres.size)), 1, tuple(centres), (widths,) * centres.size)
        return model.with_card(dataclasses.replace(model.card, outputs=outputs))

    @pytest.mark.parametrize("width", [10.0, 200.0, np.nan])
    def test_nothing_is_made_up_between_bands_that_are_far_apart(self, width: float) -> None:
        ms, _ = case((12, 10))
        with pytest.raises(BandNotFoundError, match=r"\[4[56]0 nm, .*\] \(\d+\)"):
            superres(ms, np.arange(430.0, 2260.0, 10.0), "spectralift", model=self._sparse(width))
        halfway = sensor_from_table({"wavelength": [530.0, 630.0], "fwhm": [10.0, 10.0]})
        made = superres(ms, halfway, "spectralift", model=self._sparse(width))
        assert wavelengths(made).tolist() == [630.0]
        wide = sensor_from_table({"wavelength": [530.0, 730.0], "fwhm": [200.0, 200.0]})
        assert superres(ms, wide, "spectralift", model=self._sparse(width)).sizes["band"] == 2

    def test_wide_bands_of_a_spectrometers_model(self, land: xr.DataArray) -> None:
        assert xrs.spectral_superres(land, to=[550.0, 650.0, 750.0]).sizes["band"] == 3

    def test_some_keys_of_the_models_own_and_others(self) -> None:
        ms, _ = case((12, 10))
        out = superres(ms, [450.0, 480.0, 510.0], "spectralift", model=model_of("spectralift"), consistent=False)
        assert band_keys(out) == ["450", "480", "510"]

    def test_a_cube_with_bands_that_overlap(self) -> None:
        """As EnMAP's two detectors do: the bands' order is the cube's."""
        ms, hs = case((12, 10))
        order = [*range(12), 9, *range(12, NM.size)]
        twice = hs.isel(band=order)
        twice = assign_bands(twice, [f"D{n}" for n in range(len(order))], wavelength=NM[order] + (np.arange(34) == 12))
        pairs = xrs.spectral_pairs(ms, twice, 100)
        for given in ({"library": pairs}, {"library": library(), "examples": 200}):
            for to in (twice, to_dataset(twice)):
                out = xrs.cube.to_array(superres(ms, to, **given))
                assert band_keys(out) == band_keys(twice)
                np.testing.assert_allclose(wavelengths(out), wavelengths(twice))
        own = superres(ms, hs.isel(band=[4, 2]), "spectralift", model=model_of("spectralift"), consistent=False)
        whole = superres(ms, NM, "spectralift", model=model_of("spectralift"), consistent=False)
        np.testing.assert_array_equal(own, whole.isel(band=[4, 2]))

    def test_wavelengths_that_do_not_ascend_are_told_in_short(self) -> None:
        ms, _ = case((12, 10))
        with pytest.raises(ParameterError, match=r"to=\[2340, 2280, .*\(33\).*sensor_from_table") as error:
            superres(ms, NM[::-1])
        assert len(str(error.value)) < 300

    def test_other_wrong_input(self) -> None:
        ms, _ = case((12, 10))
        for wrong in (ms.values, None):
            with pytest.raises(LayoutError, match=r"DataArray with dims \(time, band, y, x\)"):
                superres(wrong)
        with pytest.raises(ParameterError, match="µm"):
            superres(ms.assign_coords(wavelength=ms["wavelength"] / 1000), library=library())


class TestLazy:
    def test_widths_that_xarray_chunked_are_no_work(self) -> None:
        ms, _ = case((12, 10))
        lazy = ms.assign_coords(fwhm=("band", [b.fwhm for b in get_sensor("sentinel-2a").find(S2)])).chunk(y=6)
        lazy.attrs = {}
        with nothing_computed():
            out = superres(lazy, library=library(), examples=200)
        assert out.chunks is not None

    def test_spectra_of_a_named_source_are_drawn_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        drawn = []

        def counted(*args: Any, **kwargs: Any) -> SpectralPairs:
            drawn.append(args)
            return draw_pairs(*args, **kwargs)

        monkeypatch.setattr("xrs.operators.spectral_pairs.draw_pairs", counted)
        _drawn_of.cache_clear()
        ms, _ = case((12, 10))
        lazy = superres(to_dataset(ms.chunk(y=6)), library="soil", examples=300)
        one, other = lazy["420"].compute(), lazy["480"].compute()
        assert len(drawn) == 1
        np.testing.assert_array_equal(one, superres(ms, library="soil", examples=300).sel(band="420"))
        assert len(drawn) == 1 and not np.array_equal(one, other)
        superres(ms, library="soil", examples=300, seed=1)
        assert len(drawn) == 2

    def test_sensors_that_differ_in_their_responses_alone_are_two(self) -> None:
        ms, _ = case((12, 10))
        bands = get_sensor("sentinel-2a").find(S2)
        nm = np.arange(400.0, 2500.0)
        flat = {b.key: (np.abs(nm - b.wavelength) <= b.fwhm / 2).astype("float64") for b in bands}
        sensor = sensor_from_table({"wavelength": nm, **flat})
        tilted = {
            k: np.column_stack([r[:, 0], r[:, 1] * np.linspace(1, 9, len(r))]) for k, r in sensor.responses.items()
        }
        skewed = dataclasses.replace(sensor, responses=tilted)
        assert sensor == skewed
        one, other = (superres(ms, library="soil", examples=300, sensor=s) for s in (sensor, skewed))
        assert not np.array_equal(one, other)


class TestCompare:
    def _scene(self) -> tuple[xr.DataArray, xr.DataArray]:
        return case((12, 24))

    @pytest.mark.parametrize(
        ("words", "given"),
        [
            ("methods=", {"methods": []}),
            ("methods='ridge'", {"methods": "ridge"}),
            (r"params= of \['rigde'\]", {"methods": ["ridge"], "params": {"rigde": {}}}),
            (r"training= of \['srecnn'\]", {"methods": ["ridge"], "training": {"srecnn": {}}}),
            (r"training= of \['ridge'\]", {"methods": ["ridge"], "training": {"ridge": {}}}),
            ("'srecnn' without a model", {"methods": ["ridge", "srecnn"]}),
            ("'srecnn' without a model", {"params": {"srecnn": {"device": "cpu"}}}),
        ],
    )
    def test_what_cannot_be_compared(self, words: str, given: dict[str, Any]) -> None:
        ms, hs = self._scene()
        with pytest.raises(ParameterError, match=words):
            xrs.compare_spectral(ms, hs, **given)

    def test_bands_in_any_order(self) -> None:
        ms, hs = self._scene()
        tables = [
            xrs.compare_spectral(m, hs, ["ridge"], examples=100) for m in (ms, ms.isel(band=slice(None, None, -1)))
        ]
        np.testing.assert_array_equal(tables[0][["PSNR", "physics"]], tables[1][["PSNR", "physics"]])
        assert tables[0].loc["ridge", "PSNR"] > 40
