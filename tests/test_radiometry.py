"""Values that are no reflectance are refused wherever they lie and however a cube is chunked; so are cubes of nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from models import pan_model
from support import nothing_computed, pan_pair, rechunked

import xrs
from xrs.cube import assign_bands, check_reflectance
from xrs.errors import GridMismatchError, LayoutError, RadiometryError, TimeAxisError
from xrs.kernels.plausible import MOST_REFLECTANCE, extremes
from xrs.methods import methods_of
from xrs.models import check_magnitude

SIZE = 16
TEN = ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]
CLASSICAL = sorted(methods_of("spectral", models=False))


def landscape() -> xr.DataArray:
    scene = xrs.scenes.landscape((SIZE, SIZE), resolution=10.0, times=["2023-06-10"])
    return xrs.observe(scene, "sentinel-2a", bands=TEN, resolution=10.0).compute().isel(time=0)


S2 = landscape()


def spectra(scene: xr.DataArray, method: str = "ridge", **options: Any) -> xr.DataArray:
    learned = {"library": "soil", "examples": 100} if method in CLASSICAL else {}
    return xrs.spectral_superres(scene, to=[500.0, 650.0, 850.0, 1650.0], method=method, **learned, **options)


def leaf_area(scene: xr.DataArray, method: str = "snap", **options: Any) -> xr.DataArray:
    return xrs.retrieve(scene, "LAI", method, sun_zenith=30.0, **options)


def ndvi(scene: xr.DataArray) -> xr.DataArray:
    return xrs.index(scene, "NDVI").NDVI


#: What takes reflectance alone.
BOUND: Mapping[str, Callable[[xr.DataArray], xr.DataArray]] = {
    "ridge": spectra,
    "spectralift": lambda scene: spectra(scene, "spectralift"),
    "snap": lambda scene: leaf_area(scene, domain="any"),
    "canopy": lambda scene: leaf_area(scene, "canopy"),
    "index": ndvi,
}


def with_one(value: float, band: str = "B08", y: int = 5, x: int = 5) -> xr.DataArray:
    """The scene with another value in one place."""
    scene = S2.copy(deep=True)
    scene.loc[{"band": band}].values[y, x] = value
    return scene


UNSCALED: Mapping[str, Callable[[xr.DataArray], xr.DataArray]] = {
    "digital numbers": lambda scene: scene * 1e4,
    "digital numbers among zeros": lambda scene: (scene * 1e4).where(scene.x > scene.x[12], 0.0),
    "percent": lambda scene: scene * 100,
    "fill values": lambda scene: scene.where(scene.x > scene.x[3], -9999.0),
    "fill values of float64": lambda scene: scene.astype("float64").where(scene.x > scene.x[3], -1.7e308),
    "one fill value": lambda _: with_one(-9999.0),
}


class TestReflectance:
    @pytest.mark.parametrize("unscaled", UNSCALED)
    @pytest.mark.parametrize("verb", BOUND)
    def test_other_numbers_are_refused_in_memory_and_lazily(self, verb: str, unscaled: str) -> None:
        scene = UNSCALED[unscaled](S2)
        with pytest.raises(RadiometryError, match=r"scale and offset.*NaN for fill values"):
            BOUND[verb](scene)
        with nothing_computed():
            lazy = BOUND[verb](rechunked(scene, 7, 5))
        with pytest.raises(RadiometryError, match=r"scale and offset.*NaN for fill values"):
            lazy.compute(scheduler="sync")

    @pytest.mark.parametrize("method", CLASSICAL)
    def test_every_classical_method_refuses_lazy_digital_numbers(self, method: str) -> None:
        with pytest.raises(RadiometryError, match="reflectance, around 0 to 1"):
            spectra(rechunked(S2 * 1e4, 7, SIZE), method).compute(scheduler="sync")

    @settings(max_examples=15, deadline=None)
    @given(
        y=st.integers(0, SIZE - 1),
        x=st.integers(0, SIZE - 1),
        chunk=st.tuples(st.integers(1, SIZE), st.integers(1, SIZE)),
        value=st.sampled_from([-9999.0, 65535.0, 10.01, -10.01, -3.4e38]),
    )
    def test_one_pixel_is_enough_at_any_chunking(self, y: int, x: int, chunk: tuple[int, int], value: float) -> None:
        lazy = ndvi(rechunked(with_one(value, y=y, x=x), *chunk))
        with pytest.raises(RadiometryError, match="never beyond 10"):
            lazy.compute(scheduler="sync")

    @settings(max_examples=10, deadline=None)
    @given(
        chunk=st.tuples(st.integers(3, SIZE), st.integers(3, SIZE)),
        value=st.sampled_from([-0.1, 1.6, 6.55, 9.99]),
    )
    def test_the_brightest_targets_pass_at_any_chunking(self, chunk: tuple[int, int], value: float) -> None:
        scene = with_one(value)
        for verb in ("ridge", "snap"):
            lazy = BOUND[verb](rechunked(scene, *chunk)).compute(scheduler="sync")
            np.testing.assert_allclose(lazy, BOUND[verb](scene), rtol=1e-5, atol=1e-6)

    def test_tiles_that_do_not_read_it_are_made(self) -> None:
        lazy = ndvi(rechunked(with_one(-9999.0, y=1), 4, SIZE))
        np.testing.assert_array_equal(lazy[4:].compute(scheduler="sync"), ndvi(S2)[4:])

    @pytest.mark.parametrize("verb", BOUND)
    @pytest.mark.parametrize("infinite", [np.inf, -np.inf])
    def test_infinite_values_are_missing(self, verb: str, infinite: float) -> None:
        expected = BOUND[verb](with_one(np.nan))
        assert np.isnan(expected.values[..., 5, 5]).all()
        for scene in (with_one(infinite), rechunked(with_one(infinite), 7, 5)):
            found = BOUND[verb](scene).compute(scheduler="sync")
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)

    def test_told_is_what_was_found(self) -> None:
        with pytest.raises(RadiometryError, match="from -9999 to 0"):
            check_reflectance(with_one(-9999.0))
        check_reflectance(S2 * np.nan)
        check_reflectance(S2[:0])

    def test_thermal_bands_of_an_index_hold_any_number(self) -> None:
        kelvin = assign_bands(S2[:3].copy(deep=True), ["N", "S2", "T"])
        kelvin.values[2] = 300.0
        near, short, _ = kelvin.values.astype("float64")
        for scene in (kelvin, kelvin.chunk(y=5)):
            found = xrs.index(scene, "NSTv1").NSTv1.compute(scheduler="sync")
            np.testing.assert_allclose(found, (near - short) / (near + short) * 300.0, rtol=1e-4, atol=1e-3)

    def test_values_of_any_unit_can_be_sharpened(self) -> None:
        ms, pan, _ = pan_pair(8, 4)
        found = xrs.pansharpen(ms * 1e4, pan * 1e4, method="brovey")
        np.testing.assert_allclose(found, xrs.pansharpen(ms, pan, method="brovey") * 1e4, rtol=1e-4)


def sharpened(ms: xr.DataArray, pan: xr.DataArray, scale: float = 0.2) -> xr.DataArray:
    return xrs.pansharpen(ms, pan, method="pnn", model=pan_model(ms, scale=scale))


class TestNetworks:
    """Networks that take any unit refuse other numbers than those they were trained on."""

    ms, pan, _ = pan_pair(12, 4)

    def with_one(self, value: float) -> xr.DataArray:
        ms = self.ms.copy(deep=True)
        ms.values[1, 4, 4] = value
        return ms

    @pytest.mark.parametrize("value", [-9999.0, 65535.0, 30.0])
    @pytest.mark.parametrize("chunk", [2, 5, 12])
    def test_one_pixel_is_enough_at_any_chunking(self, value: float, chunk: int) -> None:
        with pytest.raises(RadiometryError, match="scale and offset"):
            sharpened(self.with_one(value), self.pan)
        with pytest.raises(RadiometryError, match="scale and offset"):
            sharpened(rechunked(self.with_one(value), chunk, chunk), self.pan).compute(scheduler="sync")

    @pytest.mark.parametrize("times", [10.0, 15.0, 40.0])
    def test_clouds_and_glint_pass(self, times: float) -> None:
        ms = self.with_one(times * 0.2)
        lazy = sharpened(rechunked(ms, 5, 3), self.pan).compute(scheduler="sync")
        np.testing.assert_allclose(lazy, sharpened(ms, self.pan), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("chunk", [1, 3, 6])
    def test_the_darkest_water_passes_in_tiles_of_its_own(self, chunk: int) -> None:
        ms = self.ms.copy(deep=True)
        # What is stored in steps of 1e-4: nothing, or a single step.
        ms.values[:, :, :9] = np.random.default_rng(0).integers(0, 2, ms[:, :, :9].shape) * np.float32(1e-4)
        lazy = sharpened(rechunked(ms, chunk, chunk), self.pan).compute(scheduler="sync")
        np.testing.assert_allclose(lazy, sharpened(ms, self.pan), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize(("scale", "factor"), [(0.2, 1e4), (0.2, 1e-4), (2000.0, 1.0)])
    def test_another_unit_is_refused_at_any_chunking(self, scale: float, factor: float) -> None:
        for ms in (self.ms * factor, rechunked(self.ms * factor, 5, 3)):
            with pytest.raises(RadiometryError, match="scale and offset"):
                sharpened(ms, self.pan * factor, scale).compute(scheduler="sync")

    def test_what_is_missing_tells_nothing(self) -> None:
        card = pan_model(self.ms).card
        check_magnitude(card, np.full((4, 2, 2), np.nan, "float32"))
        check_magnitude(card, np.zeros((4, 2, 2), "float32"))


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(st.integers(0, 4), st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 99),
    step=st.integers(1, 3),
    dtype=st.sampled_from(["float16", "float32", "float64"]),
)
def test_extremes_are_those_of_the_finite_values(shape: tuple[int, int, int], seed: int, step: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 20, shape).astype(dtype)
    values[rng.random(shape) < 0.3] = np.nan
    values[rng.random(shape) < 0.1 * (seed % 2)] = np.inf
    values[rng.random(shape) < 0.1 * (seed % 3)] = -np.inf
    seen = values[:, ::step, ::-step]
    finite = seen[np.isfinite(seen)]
    expected = (finite.min(), finite.max()) if finite.size else (np.nan, np.nan)
    np.testing.assert_array_equal(extremes(seen), expected)


def fine_and_coarse(scene: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    return scene.isel(band=[0, 1, 2, 6]), xrs.degrade(scene.isel(band=[3, 8]), 2)


SERIES = xr.concat([S2, S2 + 0.01, S2 + 0.02], "time").assign_coords(
    time=np.array(["2023-06-10", "2023-06-20", "2023-07-01"], "datetime64[ns]")
)
FINE, COARSE = fine_and_coarse(SERIES)
PAN = FINE.mean("band")

EMPTY: Mapping[str, Callable[[Any], Any]] = {
    **{verb: lambda part, verb=verb: BOUND[verb](SERIES.isel(part)) for verb in BOUND},
    "sharpen": lambda part: xrs.sharpen({"r10m": FINE.isel(part), "r20m": COARSE.isel(part)}),
    "pansharpen": lambda part: xrs.pansharpen(COARSE.isel(part), PAN.isel(part), method="brovey"),
    "fuse_hsms": lambda part: xrs.fuse_hsms(COARSE.isel(part), FINE.isel(part)),
    "fuse_spatiotemporal": lambda part: xrs.fuse_spatiotemporal(FINE.isel(part), COARSE.isel(part)),
    "smooth": lambda part: xrs.smooth(SERIES.isel(part)),
    "gap_fill": lambda part: xrs.gap_fill(SERIES.isel(part)),
    "composite": lambda part: xrs.composite(SERIES.isel(part), freq="1MS"),
    "enhance": lambda part: xrs.enhance(SERIES.isel(part)),
    "harmonics": lambda part: xrs.harmonics(SERIES.isel(part)),
    "regrid": lambda part: xrs.regrid(SERIES.isel(part), like=S2),
    "degrade": lambda part: xrs.degrade(SERIES.isel(part), 2),
    "evaluate": lambda part: xrs.evaluate(SERIES.isel(part), SERIES.isel(part), ratio=2),
}
#: What says of itself that there are no dates, or no pixels, before ``lazy`` can.
ERRORS = (LayoutError, TimeAxisError, GridMismatchError)


@pytest.mark.parametrize("part", [{"time": slice(0)}, {"y": slice(0)}, {"x": slice(0)}], ids=str)
@pytest.mark.parametrize("verb", EMPTY)
def test_cubes_of_nothing_are_refused(verb: str, part: dict[str, slice]) -> None:
    with pytest.raises(ERRORS, match=r"cube of \d+ dates|found 0 dates|grid is empty|has 0 by|by 0 pixels"):
        EMPTY[verb](part)


def test_classes_are_made_of_reflectance_alone() -> None:
    scene = xrs.scenes.landscape((24, 24), times=["2023-06-10"], wavelengths=range(450, 900, 25)).compute()
    cover = xrs.scenes.classes(scene).cover.compute()
    ms = scene.isel(band=[1, 4, 8, 14])
    model = xrs.train_ssr_classify(ms.isel(time=0), scene.isel(time=0), cover, steps=2, features=8)
    with pytest.raises(LayoutError, match="0 dates"):
        xrs.ssr_classify(ms.isel(time=slice(0)), model)
    ms.values[0, 0, 3, 3] = -9999.0
    for found in (ms, rechunked(ms, 8, 5)):
        with pytest.raises(RadiometryError, match="NaN for fill values"):
            xrs.ssr_classify(found, model).compute(scheduler="sync")


def test_the_limit_is_above_what_sentinel_2_can_store() -> None:
    assert MOST_REFLECTANCE > 65535 * 1e-4
