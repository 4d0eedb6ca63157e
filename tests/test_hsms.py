"""Hyperspectral-multispectral fusion: the suite every method of the family must pass, and the operator."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hsms import BANDS, NM, RATIO, RESPONSE, label, pair, rmse, scene
from hypothesis import given, settings
from hypothesis import strategies as st
from support import nothing_computed, rechunked

from xrs.cube import geobox_of, to_dataset
from xrs.errors import (
    BandNotFoundError,
    GridMismatchError,
    LayoutError,
    MethodNotFoundError,
    ParameterError,
    RadiometryError,
    TimeAxisError,
)
from xrs.kernels import decimate, gaussian_taps, moments_of, upsample
from xrs.methods import methods_of
from xrs.methods.base import Tile
from xrs.methods.hsms._observation import Known, learn_observation, observe_pass
from xrs.methods.hsms._registration import correlate_pass
from xrs.operators._hsms import known_response, possible_psfs, registered
from xrs.operators.fuse_hsms import fuse_hsms
from xrs.sensors import spectral_response

METHODS = sorted(methods_of("hsms", models=False))

#: Largest difference between any two chunkings, relative to the largest value.
BOUND = 1e-5

#: Odd edges, one-pixel slivers, whole rows.
CHUNKS = [
    ((17, 19), (36,), (5, 7), (12,)),
    ((11, 24, 1), (10, 26), (12,), (1, 11)),
    ((36,), (20, 16), (6, 6), (5, 7)),
]

#: Parameters that make a method quick enough for a suite.
QUICK: dict[str, dict[str, Any]] = {
    "cnmf": {"iterations": 20, "endmembers": 6},
}


def run(name: str, hs: Any, ms: Any, **kwargs: Any) -> Any:
    return fuse_hsms(hs, ms, method=name, **{"psf": "box", **QUICK.get(name, {}), **kwargs})


def close(a: xr.DataArray, b: xr.DataArray) -> None:
    np.testing.assert_array_equal(np.isnan(a.values), np.isnan(b.values))
    np.testing.assert_allclose(a.values, b.values, rtol=0, atol=BOUND * float(np.nanmax(np.abs(b.values))))


@pytest.mark.parametrize("name", METHODS)
class TestSuite:
    def test_any_chunking_gives_the_same_pixels_and_stays_lazy(self, name: str) -> None:
        hs, ms, _ = pair()
        expected = run(name, hs, ms)
        assert expected.dtype == np.float32
        for my, mx, hy, hx in CHUNKS:
            with nothing_computed():
                lazy = run(name, rechunked(hs, hy, hx, band=7), rechunked(ms, my, mx))
            assert lazy.chunks is not None
            assert lazy.dtype == np.float32
            close(lazy.compute(scheduler="threads"), expected)

    def test_dates_are_independent_and_one_without_light_is_missing(self, name: str) -> None:
        hs, ms, _ = pair(9, times=3)
        hs.values[2], ms.values[0, :, :14], hs.values[0, :, 4:] = np.nan, np.nan, np.nan
        alone = run(name, hs.isel(time=1), ms.isel(time=1))
        for cubes in ((hs, ms), (rechunked(hs, 5, 9, time=2), rechunked(ms, 20, 27, time=1))):
            out = run(name, *cubes).compute()
            close(out.isel(time=1), alone)
            assert np.isnan(out.isel(time=[0, 2])).all()

    def test_labels(self, name: str) -> None:
        hs, ms, _ = pair(8)
        out = run(name, hs.assign_attrs(platform="x", scale_factor=1e-4), ms)
        assert out.dims == ("band", "y", "x")
        assert geobox_of(out) == geobox_of(ms)
        assert list(out.band.values) == list(hs.band.values)
        assert list(out.wavelength.values) == list(hs.wavelength.values)
        assert out.attrs["xrs:method"] == name
        assert "scale_factor" not in out.attrs
        assert f'method="{name}"' in out.attrs["history"]

    def test_missing_values_stay_local(self, name: str) -> None:
        hs, ms, _ = pair()
        whole = run(name, hs, ms)
        hs.values[3, 2:4, 5] = np.nan
        ms.values[1, 20:22, 25:30] = np.nan
        out = run(name, hs, ms)
        expected = np.zeros(ms.shape[1:], bool)
        expected[2 * RATIO : 4 * RATIO, 5 * RATIO : 6 * RATIO] = True
        expected[20:22, 25:30] = True
        for band in out.values:
            np.testing.assert_array_equal(np.isnan(band), expected)
        # Far from the gaps only what is learned of the scene may move, and that by little.
        assert np.sqrt(((out - whole).values[:, :, :6] ** 2).mean()) < 0.02

    @pytest.mark.parametrize("missing", [("hs",), ("ms",), ("hs", "ms")])
    def test_all_missing_gives_all_missing(self, name: str, missing: tuple[str, ...]) -> None:
        hs, ms, _ = pair(4)
        cubes = {"hs": hs, "ms": ms}
        out = run(name, *(c * np.float32(np.nan) if role in missing else c for role, c in cubes.items()))
        assert out.shape == (BANDS, 4 * RATIO, 4 * RATIO)
        assert np.isnan(out).all()

    def test_single_coarse_pixel(self, name: str) -> None:
        hs, ms, _ = pair(1)
        out = run(name, hs, ms)
        assert out.shape == (BANDS, RATIO, RATIO)
        assert np.isfinite(out).all()

    def test_constant_images(self, name: str) -> None:
        hs, ms, _ = pair(5)
        flat = run(name, xr.zeros_like(hs) + np.float32(0.25), xr.zeros_like(ms) + np.float32(0.25))
        np.testing.assert_allclose(flat, 0.25, atol=0.01)
        assert np.isfinite(run(name, xr.zeros_like(hs), xr.zeros_like(ms))).all()
        assert np.isfinite(run(name, hs, xr.zeros_like(ms))).all()

    def test_input_is_untouched_and_tokens_are_deterministic(self, name: str) -> None:
        hs, ms, _ = pair(8)
        hs.values[0, 2, 2] = np.nan
        before = hs.copy(deep=True), ms.copy(deep=True)
        lazy = [run(name, rechunked(hs, 5, 8), rechunked(ms, 10, 24)) for _ in range(2)]
        assert lazy[0].data.name == lazy[1].data.name
        assert run(name, rechunked(hs, 5, 8), rechunked(ms, 10, 24), psf="mtf").data.name != lazy[0].data.name
        close(pickle.loads(pickle.dumps(lazy[0])).compute(), lazy[1].compute())
        xr.testing.assert_identical(before[0], hs)
        xr.testing.assert_identical(before[1], ms)

    def test_unit_does_not_matter(self, name: str) -> None:
        hs, ms, _ = pair(8)
        one = run(name, hs, ms)
        scaled = run(name, hs * np.float32(1000), ms * np.float32(1000))
        np.testing.assert_allclose(scaled.values / 1000, one.values, atol=1e-3)

    def test_radiometry_of_ms_does_not_matter(self, name: str) -> None:
        hs, ms, _ = pair(8)
        one = run(name, hs, ms)
        other = run(name, hs, ms * np.float32(7) + np.float32(0.3))
        assert rmse(other, one) < 2e-3

    def test_beats_interpolation(self, name: str) -> None:
        hs, ms, truth = pair(16)
        fused = fuse_hsms(hs, ms, method=name, psf="box")
        interpolated = truth.copy(data=upsample(hs.values, RATIO, "lanczos"))
        assert rmse(fused, truth) < 0.6 * rmse(interpolated, truth)

    def test_dataset_in_dataset_out(self, name: str) -> None:
        hs, ms, _ = pair(6)
        out = run(name, to_dataset(hs), to_dataset(ms))
        assert isinstance(out, xr.Dataset)
        np.testing.assert_allclose(out["H004"].values, run(name, hs, ms).sel(band="H004").values)
        assert out["H004"].attrs["wavelength"] == NM[4]


class TestInjection:
    """Where the bands of ``hs`` follow from those of ``ms``, the methods that inject detail find the truth."""

    def test_bands_that_are_sums_of_those_of_ms(self) -> None:
        _, ms, _ = pair(12)
        weights = np.random.default_rng(0).uniform(-1, 1, (BANDS, 4))
        truth = (np.einsum("bc,cyx->byx", weights, ms.values) + 2.0).astype("float32")
        hs = label(decimate(truth, gaussian_taps(0.3, RATIO), RATIO), 30.0, NM, "H")
        np.testing.assert_allclose(fuse_hsms(hs, ms, method="mtf_glp_hs"), truth, atol=1e-4)

    def test_bands_that_are_multiples_of_one_of_ms(self) -> None:
        _, ms, _ = pair(12)
        which, gain = np.arange(BANDS) % 4, np.linspace(0.3, 2.0, BANDS)
        truth = (gain[:, None, None] * ms.values[which] + 0.1).astype("float32")
        hs = label(decimate(truth, gaussian_taps(0.3, RATIO), RATIO), 30.0, NM, "H")
        np.testing.assert_allclose(fuse_hsms(hs, ms, method="gsa_hs"), truth, atol=1e-4)
        np.testing.assert_allclose(fuse_hsms(hs, ms, method="mtf_glp_hs"), truth, atol=1e-4)


class TestOperator:
    def test_one_band_with_and_without_a_name(self) -> None:
        hs, ms, _ = pair(6)
        one = fuse_hsms(hs.isel(band=[3]), ms, method="mtf_glp_hs")
        bare = fuse_hsms(hs.isel(band=3, drop=True), ms, method="mtf_glp_hs")
        assert bare.dims == ("y", "x")
        np.testing.assert_array_equal(bare, one[0])
        np.testing.assert_array_equal(
            fuse_hsms(hs.drop_vars(["band", "wavelength"]), ms, method="mtf_glp_hs")[3:4], one
        )

    @settings(max_examples=20, deadline=None)
    @given(st.data())
    def test_shapes_chunks_and_gaps(self, data: st.DataObject) -> None:
        n, m = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
        hs, ms, _ = pair(n, m)
        rng = np.random.default_rng(data.draw(st.integers(0, 99)))
        share = data.draw(st.sampled_from([0.0, 0.1, 0.5]))
        hs.values[:, rng.random((n, m)) < share] = np.nan
        ms.values[:, rng.random((n * RATIO, m * RATIO)) < share / 4] = np.nan
        sizes = [data.draw(st.integers(1, k)) for k in (n, m, n * RATIO, m * RATIO)]
        expected = run("mtf_glp_hs", hs, ms)
        lazy = run("mtf_glp_hs", rechunked(hs, *sizes[:2]), rechunked(ms, *sizes[2:])).compute()
        np.testing.assert_array_equal(np.isnan(lazy), np.isnan(expected))
        np.testing.assert_allclose(lazy, expected, atol=1e-4)
        gaps = np.isnan(hs.values[0]).repeat(RATIO, 0).repeat(RATIO, 1) | np.isnan(ms.values[0])
        lost = np.isnan(expected.values[0])
        assert (lost == gaps).all() or lost.all()

    def test_only_the_common_area(self) -> None:
        hs, ms, _ = pair(8)
        out = fuse_hsms(hs.isel(y=slice(2, None)), ms.isel(x=slice(4, None)), method="mtf_glp_hs")
        assert out.sizes == {"band": BANDS, "y": 18, "x": 18}
        assert float(out.x[0]) == float(ms.x[6])

    def test_residual_is_what_the_result_leaves(self) -> None:
        hs, ms, _ = pair(10)
        told = fuse_hsms(hs.rename("scene"), ms, method="mtf_glp_hs", psf="box", uncertainty=True)
        assert told["scene"].attrs["ancillary_variables"] == "scene_residual"
        off = decimate(told["scene"].values, np.full(RATIO, 1 / RATIO), RATIO) - hs.values
        np.testing.assert_allclose(
            np.sqrt((off[:, 3:6, 3:6] ** 2).mean(axis=(1, 2))), told["scene_residual"].values[:, 13, 13], rtol=1e-4
        )
        both = fuse_hsms(to_dataset(hs), ms, method="mtf_glp_hs", uncertainty=True)
        assert {"H003", "H003_residual"} <= set(both)

    def test_wrong_inputs(self) -> None:
        hs, ms, _ = pair(4, times=2)
        for cubes in ((hs.astype("int16"), ms), (hs, ms.astype("uint16"))):
            with pytest.raises(RadiometryError, match="integers|int16"):
                fuse_hsms(*cubes, method="gsa_hs")
        with pytest.raises(TimeAxisError):
            fuse_hsms(hs, ms.isel(time=[0]), method="gsa_hs")
        with pytest.raises(TimeAxisError):
            fuse_hsms(hs, ms.assign_coords(time=ms.time + np.timedelta64(1, "D")), method="gsa_hs")
        hs, ms = hs.isel(time=0), ms.isel(time=0)
        with pytest.raises(GridMismatchError, match="ratio"):
            fuse_hsms(hs, hs, method="gsa_hs")
        with pytest.raises(GridMismatchError):
            fuse_hsms(hs, ms.assign_coords(x=ms.x + 5.0), method="gsa_hs")
        with pytest.raises(GridMismatchError):
            fuse_hsms(hs, ms.assign_coords(x=ms.x + 5000.0), method="gsa_hs")
        with pytest.raises(MethodNotFoundError, match="cnmf"):
            fuse_hsms(hs, ms, method="cnfm")
        with pytest.raises(LayoutError):
            fuse_hsms(hs.rename(y="row"), ms)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"psf": "mft"},
            {"psf": np.array([0.5, 0.5])},
            {"srf": "table"},
            {"srf": np.ones((3, BANDS))},
            {"srf": np.zeros((4, BANDS))},
            {"srf": np.eye(4, BANDS) - 0.01},
            {"register": (1.0, 2.0, 3.0)},
            {"register": (np.nan, 0.0)},
            {"register": "both"},
            {"uncertainty": True, "psf": "estimate"},
            {"kernel": "bicubic"},
            {"nothing": 1},
        ],
        ids=str,
    )
    def test_wrong_parameters(self, wrong: dict[str, Any]) -> None:
        hs, ms, _ = pair(4)
        with pytest.raises(ParameterError):
            fuse_hsms(hs, ms, **{"method": "gsa_hs", **wrong})

    def test_sensors_without_common_wavelengths(self) -> None:
        hs, ms, _ = pair(4)
        with pytest.raises(BandNotFoundError, match="450"):
            fuse_hsms(hs, ms.assign_coords(wavelength=("band", [1600.0, 1700.0, 2100.0, 2200.0])), method="gsa_hs")

    def test_a_constant_band_of_ms_adds_nothing(self) -> None:
        hs, ms, _ = pair(8)
        dead = xr.concat([ms, ms.isel(band=[0]).assign_coords(band=["dead"]) * 0 + 0.5], "band")
        for name in ("gsa_hs", "mtf_glp_hs"):
            np.testing.assert_allclose(run(name, hs, dead), run(name, hs, ms), atol=1e-4)


class TestSensors:
    def test_response_of_known_sensors(self) -> None:
        nm = np.arange(420.0, 1000.0, 10.0)
        hs = label(np.zeros((nm.size, 2, 2), "float32"), 30.0, nm, "H")
        keys = ["B02", "B03", "B04", "B08"]
        ms = label(np.zeros((4, 6, 6), "float32"), 10.0, [492.0, 560.0, 665.0, 833.0], "M").assign_coords(band=keys)
        expected = spectral_response("sentinel-2a", nm, keys)
        for cube, sensor in ((ms, "S2A"), (ms.assign_attrs(platform="sentinel-2a"), None)):
            np.testing.assert_array_equal(known_response(hs, cube, None, sensor, "auto"), expected)
        assert known_response(hs, ms, None, "S2A", "estimate") is None
        assert known_response(hs, ms, None, None, "auto") is None
        shaped = known_response(hs, ms.assign_coords(fwhm=("band", [66.0, 36.0, 31.0, 106.0])), None, None, "auto")
        assert shaped is not None
        np.testing.assert_allclose(shaped @ nm, expected @ nm, atol=4.0)
        # B11 lies outside.
        assert known_response(hs, ms.assign_coords(band=[*keys[:3], "B11"]), None, "S2A", "auto") is None

    def test_wavelengths_of_the_sensor_of_hs(self) -> None:
        keys = [f"B{i:03d}" for i in range(15, 60)]
        hs = label(np.zeros((45, 2, 2), "float32"), 30.0, np.zeros(45), "H").drop_vars("wavelength")
        ms = label(np.zeros((2, 6, 6), "float32"), 10.0, [560.0, 660.0], "M").assign_coords(band=["MS-2", "MS-3"])
        response = known_response(hs.assign_coords(band=keys), ms, "eo1-hyperion", "eo1-ali", "auto")
        assert response is not None
        np.testing.assert_allclose(response.sum(axis=1), 1.0)

    def test_estimated_response_gain_and_offset(self) -> None:
        hs, ms, _ = pair(24)
        gain, offset = np.array([2.0, 0.5, 1.0, 3.0]), np.array([0.1, -0.05, 0.0, 0.2])
        low = decimate(ms.values, np.full(RATIO, 1 / RATIO), RATIO)
        seen = (gain[:, None, None] * low + offset[:, None, None]).astype("float32")
        moments = moments_of(np.concatenate([hs.values, seen]))
        psfs = possible_psfs(hs, 4, RATIO, None, "box")
        found = learn_observation(moments, Known(psfs, None))
        assert (found.srf >= 0).all()
        np.testing.assert_allclose(found.srf.sum(axis=1), 1.0)
        np.testing.assert_allclose(found.srf @ NM, RESPONSE @ NM, atol=12.0)
        np.testing.assert_allclose(found.gain, gain, rtol=0.03)
        np.testing.assert_allclose(found.offset, offset, atol=0.01)
        moments = moments_of(np.concatenate([np.einsum("cb,byx->cyx", RESPONSE, hs.values).astype("float32"), seen]))
        known = learn_observation(moments, Known(psfs, RESPONSE))
        np.testing.assert_allclose(known.gain, gain, rtol=1e-3)
        np.testing.assert_allclose(known.offset, offset, atol=1e-3)

    @pytest.mark.parametrize("gain", [0.15, 0.3, 0.6])
    def test_estimated_point_spread(self, gain: float) -> None:
        hs, ms, _ = pair(24, taps=gaussian_taps(gain, RATIO))
        psfs = possible_psfs(hs, 4, RATIO, None, "estimate")
        layers = [hs.values, *(decimate(ms.values, psf["ms"], RATIO) for psf in psfs)]
        found = learn_observation(moments_of(np.concatenate(layers)), Known(psfs, None))
        np.testing.assert_allclose(np.trim_zeros(found.psf["hs"][0]), gaussian_taps(gain, RATIO), atol=1e-9)
        truth = fuse_hsms(hs, ms, method="mtf_glp_hs", psf=gaussian_taps(gain, RATIO))
        close(fuse_hsms(rechunked(hs, 10, 24), rechunked(ms, 30, 72), method="mtf_glp_hs", psf="estimate"), truth)

    def test_matrix_given(self) -> None:
        hs, ms, truth = pair(12)
        told = run("cnmf", hs, ms, srf=RESPONSE * 3.0)
        assert rmse(told, truth) < rmse(truth.copy(data=upsample(hs.values, RATIO)), truth)
        # What the sensors see of any pixel must follow from the rows, whatever these sum to.
        close(told, run("cnmf", hs, ms, srf=RESPONSE))


class TestRegistration:
    @staticmethod
    def moved(down: float, right: float, n: int = 24) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
        """``hs`` that must be moved by so many of its pixels, ``ms``, and ``hs`` where it belongs."""
        from scipy.ndimage import shift

        margin = 12
        large = scene(n * RATIO + 2 * margin, n * RATIO + 2 * margin)
        inner = np.s_[:, margin:-margin, margin:-margin]
        off = np.stack([shift(b, (-down * RATIO, -right * RATIO), order=5, mode="reflect") for b in large])
        right_place, wrong = (decimate(v[inner].copy(), np.full(RATIO, 1 / RATIO), RATIO) for v in (large, off))
        ms = np.einsum("cb,byx->cyx", RESPONSE, large[inner]).astype("float32")
        return label(wrong, 30.0, NM, "H"), label(ms, 10.0, RESPONSE @ NM, "M"), label(right_place, 30.0, NM, "H")

    @pytest.mark.parametrize("shift", [(0.0, 0.0), (0.3, -0.4), (-0.5, 0.5), (1.4, 0.7)])
    def test_finds_the_shift_better_than_phase_correlation(self, shift: tuple[float, float]) -> None:
        from skimage.registration import phase_cross_correlation

        hs, ms, right_place = self.moved(*shift)
        known = Known(possible_psfs(hs, 4, RATIO, None, "box"), None)
        found = self.found(hs, ms, known)
        low = decimate(ms.values, np.full(RATIO, 1 / RATIO), RATIO).mean(axis=0)
        made = np.einsum("cb,byx->cyx", RESPONSE, hs.values).mean(axis=0)
        peer = phase_cross_correlation(low, made, upsample_factor=100)[0]
        error = np.abs(np.array([found, peer]) - np.array(shift)).max(axis=1)
        assert error[0] < 0.06
        assert error[0] <= error[1]
        assert np.abs(found - peer).max() < 0.3

        def off(cube: xr.DataArray) -> float:
            return rmse(cube[:, 4:-4, 4:-4], right_place[:, 4:-4, 4:-4])

        moved = registered(hs, ms, RATIO, known, True)[0]
        assert off(moved) <= 0.6 * off(hs)
        assert off(moved) <= off(registered(hs, ms, RATIO, known, tuple(peer))[0])
        # The other way: ms comes to lie where hs does.
        onto_hs = registered(hs, ms, RATIO, known, "ms")[1]
        inner = slice(2 * RATIO, -2 * RATIO)
        left = self.found(hs[:, 2:-2, 2:-2], onto_hs[:, inner, inner], known)
        np.testing.assert_allclose(left, 0, atol=0.05)

    def test_result_is_registered_and_does_not_depend_on_chunks(self) -> None:
        hs, ms, right_place = self.moved(0.4, -0.6)
        given = {"method": "mtf_glp_hs", "psf": "box"}
        best = fuse_hsms(right_place, ms, **given)
        out = fuse_hsms(hs, ms, register=True, **given)
        assert rmse(out, best) < 0.6 * rmse(fuse_hsms(hs, ms, **given), best)
        for way in ("hs", "ms"):
            out = fuse_hsms(hs, ms, register=way, **given)
            with nothing_computed():
                lazy = fuse_hsms(rechunked(hs, 7, (1, 23)), rechunked(ms, 31, 72), register=way, **given)
            close(lazy.compute(), out)

    def test_shift_of_whole_pixels(self) -> None:
        hs, ms, _ = pair(8)
        hs.values[:, 3, 4] = np.nan
        moved = registered(hs, ms, RATIO, Known(possible_psfs(hs, 4, RATIO, None, "box"), None), (2.0, -1.0))[0]
        np.testing.assert_allclose(moved.values[:, 2:, :-1], hs.values[:, :-2, 1:], atol=1e-6)
        assert np.isnan(moved.values[:, :2]).all()
        assert np.isnan(moved.values[:, :, -1]).all()

    def test_a_date_without_light_is_missing(self) -> None:
        hs, ms, _ = pair(9, times=2)
        ms.values[1] = np.nan
        out = fuse_hsms(hs, ms, method="gsa_hs", register=True)
        assert np.isfinite(out.values[0, :, 3:-3, 3:-3]).all()
        assert np.isnan(out.values[1]).all()

    @staticmethod
    def found(hs: xr.DataArray, ms: xr.DataArray, known: Known) -> np.ndarray:
        """The shift learned of the whole scene."""
        halo = 5
        arrays = {
            name: np.pad(cube.values, ((0, 0), *[(halo * factor,) * 2] * 2), mode="symmetric")
            for name, cube, factor in (("hs", hs, 1), ("ms", ms, RATIO))
        }
        tile, state = Tile(arrays, dict.fromkeys(arrays), {"hs": 1, "ms": RATIO}, halo), {}
        for one in (observe_pass(known), correlate_pass()):
            state = one.solve(one.summarise(tile, state), state)
        return np.array(state["shift"])
