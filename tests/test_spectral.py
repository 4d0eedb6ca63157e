"""Spectral super-resolution through the public verb: what every method of the family must pass."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import xarray as xr
from networks import SMALL
from scipy.ndimage import gaussian_filter
from support import cube, nothing_computed, rechunked

import xrs
from xrs.cube import ancillaries, assign_bands, assign_geobox, band_keys, geobox_of, to_dataset, wavelengths
from xrs.errors import (
    BandNotFoundError,
    LayoutError,
    MethodNotFoundError,
    ModelCardError,
    ParameterError,
    RadiometryError,
)
from xrs.methods import methods_of
from xrs.models import Card, ImageSpec, Model
from xrs.nets import get_network
from xrs.nets.registry import networks
from xrs.operators.spectral_pairs import spectral_pairs
from xrs.operators.spectral_superres import spectral_superres
from xrs.sensors import get_sensor, sensor_from_table, spectral_response
from xrs.spectra import SpectralLibrary, SpectralPairs

S2 = ["B02", "B03", "B04", "B05", "B08", "B8A", "B11", "B12"]
NM = np.arange(420.0, 2400.0, 60.0)
CLASSICAL = sorted(methods_of("spectral", models=False))
NETWORKS = sorted(name for name, network in networks().items() if "spectral" in network.tasks and network.images == 1)

#: Odd edges, one-pixel slivers, whole rows.
CHUNKS = [((20, 28), (40,)), ((7, 40, 1), (1, 39))]


def smooth(count: int, seed: int = 0, nm: np.ndarray = NM) -> np.ndarray:
    """Spectra of a few smooth features: of low rank, as those of the Earth's surface are."""
    rng = np.random.default_rng(seed)
    centres, widths = np.array([500.0, 700.0, 1100.0, 1600.0, 2200.0]), np.array([120.0, 80.0, 300.0, 250.0, 200.0])
    features = np.exp(-(((nm - centres[:, None]) / widths[:, None]) ** 2))
    return (0.05 + rng.uniform(0.0, 0.25, (count, 5)) @ features).astype("float32")


def library(seed: int = 0) -> SpectralLibrary:
    nm = np.arange(400.0, 2501.0, 5.0)
    return SpectralLibrary(nm, smooth(600, seed, nm))


def case(shape: tuple[int, int] = (48, 40), seed: int = 5, times: int = 0) -> tuple[xr.DataArray, xr.DataArray]:
    """A scene of smooth spectra as Sentinel-2 sees it, and at NM."""
    nm = np.arange(400.0, 2501.0, 5.0)
    spectra = smooth(max(times, 1) * shape[0] * shape[1], seed, nm)
    bands = get_sensor("sentinel-2a").find(S2)
    observed = spectra @ spectral_response("sentinel-2a", nm, S2).T, spectra[:, np.isin(nm, NM)]
    tables = {b.key: ("", b.wavelength) for b in bands}, {f"{w:g}": ("", w) for w in NM}
    ms, hs = (
        cube(shape, bands=table, times=times, values=values if times else values[0])
        for table, values in (
            (table, seen.astype("float32").reshape(-1, *shape, len(table)).transpose(0, 3, 1, 2))
            for seen, table in zip(observed, tables, strict=True)
        )
    )
    return ms.assign_attrs(platform="sentinel-2a"), hs


def model_of(name: str, outputs: int = NM.size, **card: Any) -> Model:
    """A network with random weights for the case's bands; one that sees whole images gets small windows."""
    module = get_network(name).build((len(S2),), (1,), outputs=outputs, seed=1, **SMALL.get(name, {}))
    bands = get_sensor("sentinel-2a").find(S2)
    images = (ImageSpec(tuple(S2), 1, tuple(b.wavelength for b in bands)),)
    made = ImageSpec(tuple(f"{w:g}" for w in NM[:outputs]), 1, tuple(NM[:outputs]))
    model = Model.from_module(module, Card(name, "spectral", images, outputs=made, config=SMALL.get(name, {})))
    small = {"window": 16, "margin": 4} if model.card.window else {}
    return model.with_card(dataclasses.replace(model.card, **small, **card))


def params_of(name: str) -> dict[str, Any]:
    if name in CLASSICAL:
        return {"library": library(), "examples": 300}
    return {"model": model_of(name)}


def made(ms: Any, name: str, **kwargs: Any) -> Any:
    return spectral_superres(ms, NM, name, **{"consistent": False, **params_of(name), **kwargs})


@pytest.mark.parametrize("name", [*CLASSICAL, *NETWORKS])
class TestEveryMethod:
    def test_chunks_do_not_matter_and_nothing_is_computed_early(self, name: str) -> None:
        ms, _ = case(times=2)
        whole = made(ms, name)
        assert whole.shape == (2, NM.size, 48, 40) and whole.dtype == np.float32
        for y, x in CHUNKS:
            with nothing_computed():
                lazy = made(rechunked(ms, y, x), name)
            scale = float(np.abs(whole).max())
            np.testing.assert_allclose(lazy.compute(), whole, rtol=0, atol=1e-5 * scale)

    def test_gaps_stay_where_they_are(self, name: str) -> None:
        ms, _ = case()
        ms[2, 7, 9] = np.nan
        ms[:, 30:, :5] = np.nan
        out = made(ms, name, consistent=True)
        missing = np.isnan(ms).any("band").values
        np.testing.assert_array_equal(np.isnan(out).any("band"), missing)
        np.testing.assert_array_equal(np.isnan(out).all("band"), missing)

    def test_the_sensor_sees_its_observation_in_the_result(self, name: str) -> None:
        ms, _ = case()
        srf = spectral_response("sentinel-2a", NM, S2)
        out = made(ms, name, consistent=True)
        again = np.einsum("bw,wyx->byx", srf, out.values.astype("float64"))
        np.testing.assert_allclose(again, ms.values, rtol=1e-5)
        free = made(ms, name, uncertainty=True)
        misfit = np.sqrt(np.mean((np.einsum("bw,wyx->byx", srf, free["spectra"].values) - ms.values) ** 2, axis=0))
        np.testing.assert_allclose(free["misfit"], misfit, rtol=1e-3, atol=1e-6)
        assert "misfit" in ancillaries(free) and free["misfit"].dims == ("y", "x")


class TestTheResult:
    def test_smooth_spectra_of_low_rank_come_back(self) -> None:
        """Five unknown numbers a pixel, eight bands: what linear regression makes of them is the truth."""
        ms, hs = case()
        narrow = sensor_from_table({"key": band_keys(hs), "wavelength": NM, "fwhm": np.full(NM.size, 5.0)})
        for examples in (library(), spectral_pairs(ms, hs, 500)):
            out = spectral_superres(ms, narrow, "ridge", library=examples, examples=500, noise=0.0, consistent=False)
            assert float(np.abs(out - hs).max()) < 2e-3

    def test_bands_grid_and_history_are_labelled(self) -> None:
        ms, _ = case(times=2)
        out = spectral_superres(ms, "enmap", "ridge", library=library(), examples=100)
        enmap = get_sensor("enmap")
        assert band_keys(out) == [b.key for b in enmap.bands]
        np.testing.assert_array_equal(wavelengths(out), [b.wavelength for b in enmap.bands])
        np.testing.assert_array_equal(out["fwhm"], [b.fwhm for b in enmap.bands])
        assert geobox_of(out) == geobox_of(ms)
        assert out["x"].values.tobytes() == ms["x"].values.tobytes()
        np.testing.assert_array_equal(out["time"], ms["time"])
        assert "platform" not in out.attrs
        assert out.attrs["xrs:method"] == "ridge" and "spectral_superres" in out.attrs["history"]

    def test_a_dataset_gives_a_dataset(self) -> None:
        ms, _ = case()
        out = made(to_dataset(ms), "ridge")
        assert isinstance(out, xr.Dataset) and band_keys(out) == [f"{w:g}" for w in NM]
        told = made(to_dataset(ms), "ridge", uncertainty=True)
        assert band_keys(told) == band_keys(out) and "misfit" in told
        np.testing.assert_array_equal(told["420"], out["420"])

    def test_few_bands_cannot_show_all_that_was_seen(self) -> None:
        ms, _ = case()
        narrow = sensor_from_table({"wavelength": NM[::8], "fwhm": np.full(NM[::8].size, 20.0)})
        few = {"to": narrow, "method": "ridge", "library": library(), "examples": 300}
        np.testing.assert_array_equal(spectral_superres(ms, **few), spectral_superres(ms, consistent=False, **few))
        with pytest.raises(ParameterError, match="say the same"):
            spectral_superres(ms, consistent=True, **few)

    def test_the_noise_of_examples_and_their_seed_matter(self) -> None:
        ms, _ = case()
        one, same, other = (made(ms, "ridge", seed=seed) for seed in (1, 1, 2))
        np.testing.assert_array_equal(one, same)
        assert not np.array_equal(one, other)

    def test_the_verb_stands_on_cubes(self) -> None:
        ms, _ = case()
        out = ms.rsfuse.spectral_superres(to=NM, method="ridge", library=library(), examples=300, consistent=False)
        np.testing.assert_array_equal(out, made(ms, "ridge"))


class TestNetworks:
    def test_what_a_model_does_not_make_is_taken_from_what_it_does(self) -> None:
        ms, _ = case()
        model = model_of("spectralift")
        whole = spectral_superres(ms, NM, "spectralift", model=model, consistent=False)
        some = spectral_superres(ms, NM[[8, 3]][::-1], "spectralift", model=model, consistent=False)
        np.testing.assert_array_equal(some, whole.isel(band=[3, 8]))
        between = spectral_superres(ms, [450.0, 510.0], "spectralift", model=model, consistent=False)
        mean = (whole.isel(band=[0, 1]).mean("band"), whole.isel(band=[1, 2]).mean("band"))
        np.testing.assert_allclose(between, xr.concat(mean, "band"), rtol=0.02, atol=1e-3)
        with pytest.raises(BandNotFoundError, match="the bands wanted"):
            spectral_superres(ms, [2450.0, 2490.0], "spectralift", model=model)

    def test_a_model_agrees_in_its_own_bands_before_others_are_made(self) -> None:
        ms, _ = case()
        model = model_of("spectralift")
        whole = spectral_superres(ms, NM, "spectralift", model=model, consistent=True)
        some = spectral_superres(ms, NM[[3, 8]], "spectralift", model=model, consistent=True)
        np.testing.assert_array_equal(some, whole.isel(band=[3, 8]))

    def test_bands_a_model_does_not_take_may_be_missing(self) -> None:
        ms, _ = case()
        extra = ms.isel(band=[0]).assign_coords(band=["B09"], wavelength=("band", [943.0])) * np.nan
        both = xr.concat([extra, ms], "band", coords="minimal", compat="override").assign_attrs(ms.attrs)
        out = spectral_superres(both, NM, "spectralift", model=model_of("spectralift"))
        assert np.isfinite(out).all()

    def test_windows_begin_at_the_scene(self) -> None:
        """A tile of the scene's second half, from a window's edge on, is the scene's result there."""
        name = next(n for n in NETWORKS if get_network(n).window)
        ms, _ = case((48, 48))
        model = model_of(name)
        whole = spectral_superres(ms, NM, name, model=model, consistent=False)
        moved = spectral_superres(ms.isel(x=slice(12, None)), NM, name, model=model, consistent=False)
        same = spectral_superres(ms.isel(x=slice(12, None)).chunk(x=5, y=7), NM, name, model=model, consistent=False)
        np.testing.assert_allclose(same, moved, atol=1e-5)
        assert float(np.abs(whole[..., 12:].values - moved.values).max()) > 1e-6


class TestSeveralGrids:
    """``ponet`` with bands of 10 and 20 m as they are."""

    def _tree(self, smooth: float = 0.0) -> xr.DataTree:
        ms = self._smoothed(case()[0], smooth)
        coarse = ms.isel(band=slice(4, None)).coarsen(y=2, x=2).mean()
        coarse = assign_geobox(coarse.drop_vars("spatial_ref", errors="ignore"), geobox_of(ms).zoom_out(2))
        groups = {"r10m": to_dataset(ms.isel(band=slice(4))), "r20m": to_dataset(coarse)}
        tree = xr.DataTree.from_dict(groups)
        tree.attrs["platform"] = "sentinel-2a"
        return tree

    def _smoothed(self, image: xr.DataArray, width: float) -> xr.DataArray:
        return image.copy(data=gaussian_filter(image.values, (0, width, width)))

    def _model(self) -> Model:
        config = {**SMALL["ponet"], "subspace": 4}
        module = get_network("ponet").build((4, 4), (1, 2), outputs=NM.size, seed=1, **config)
        bands = [get_sensor("sentinel-2a").find(keys) for keys in (S2[:4], S2[4:])]
        images = tuple(
            ImageSpec(tuple(b.key for b in part), ratio, tuple(b.wavelength for b in part))
            for ratio, part in zip((1, 2), bands, strict=True)
        )
        outputs = ImageSpec(tuple(f"{w:g}" for w in NM), 1, tuple(NM))
        model = Model.from_module(module, Card("ponet", "spectral", images, outputs=outputs, config=config))
        return model.with_card(dataclasses.replace(model.card, window=8, margin=2))

    def test_any_chunking_and_lazy(self) -> None:
        tree, model = self._tree(), self._model()
        given: dict[str, Any] = {"to": NM, "method": "ponet", "model": model, "sensor": "sentinel-2a"}
        for consistent in (False, True):
            whole = tree.rsfuse.spectral_superres(**given, consistent=consistent)
            assert isinstance(whole, xr.Dataset) and whole.sizes["y"] == 48
            lazy = tree.map_over_datasets(lambda ds: ds.chunk({"y": 7, "x": 11}) if ds.sizes else ds)
            with nothing_computed():
                made = lazy.rsfuse.spectral_superres(**given, consistent=consistent)
            for key in ("420", "1020", "2340"):
                np.testing.assert_allclose(made[key].compute(), whole[key], atol=1e-5)

    def test_the_sensor_sees_both_grids_in_the_result(self) -> None:
        tree = self._tree()
        out = tree.rsfuse.spectral_superres(
            to=NM, method="ponet", model=self._model(), sensor="sentinel-2a", consistent=True
        )
        made = out.to_dataarray("band").values.astype("float64")
        srf = spectral_response("sentinel-2a", NM, S2)
        again = np.einsum("bw,wyx->byx", srf, made)
        fine, coarse = (tree[name].to_dataset().to_dataarray("band").values for name in ("r10m", "r20m"))
        np.testing.assert_allclose(again[:4], fine, rtol=1e-4)
        means = again[4:].reshape(4, 24, 2, 20, 2).mean((2, 4))
        np.testing.assert_allclose(means, coarse, rtol=1e-4)

    def test_it_is_trained_on_a_tree_and_a_cube(self) -> None:
        tree, hs = self._tree(2.0), self._smoothed(case()[1], 2.0)
        settings = {"epochs": 1, "patches": 16, "patch_size": 16, "progress": False, "sensor": "sentinel-2a"}
        groups = {name: tree[name].to_dataset() for name in ("r10m", "r20m")}
        model = xrs.train((groups, hs), task="spectral", network="ponet", stages=2, subspace=4, **settings)
        out = tree.rsfuse.spectral_superres(to=NM, method="ponet", model=model, sensor="sentinel-2a")
        fine, coarse = (tree[name].to_dataset().to_dataarray("band").values for name in ("r10m", "r20m"))
        given = np.concatenate([fine, coarse.repeat(2, 1).repeat(2, 2), np.ones((1, 48, 40))]).reshape(9, -1).T
        truth = hs.values.reshape(NM.size, -1).T
        left = np.linalg.lstsq(given, truth, rcond=None)[1].sum() / truth.size
        assert float(((out.to_dataarray("band") - hs) ** 2).mean()) < left


class TestWrongInput:
    def test_named_errors(self) -> None:
        ms, hs = case()
        bare = ms.drop_vars(["wavelength", "common_name"]).assign_attrs(platform="")
        drawn = spectral_pairs(ms, hs, 50)
        unnamed = SpectralPairs(drawn.given, drawn.wanted)
        cases: list[tuple[type[Exception], str, Any, dict[str, Any]]] = [
            (MethodNotFoundError, "no method 'rigde'", ms, {"method": "rigde"}),
            (LayoutError, "band", ms.drop_vars("band"), {"method": "ridge"}),
            (BandNotFoundError, "response", bare, {"method": "ridge"}),
            (RadiometryError, "holds values from", ms * 10_000, {"method": "ridge"}),
            (RadiometryError, "int16", (ms * 10_000).astype("int16"), {"method": "ridge"}),
            (ParameterError, "consistent", ms, {"method": "ridge", "consistent": "perhaps"}),
            (ParameterError, "ascend", ms, {"method": "ridge", "to": [700.0, 600.0]}),
            (ParameterError, "nm", ms, {"method": "ridge", "to": [0.5, 0.6, 0.7]}),
            (ParameterError, "no sensor", ms, {"method": "ridge", "to": "enmapp"}),
            (ParameterError, "marsh", ms, {"method": "ridge", "library": "marsh"}),
            (ModelCardError, "no model", ms, {"method": "srecnn"}),
            (ModelCardError, "spectralift", ms, {"method": "srecnn", "model": model_of("spectralift")}),
            (ModelCardError, "B02", ms.isel(band=slice(1, None)), {"method": "srecnn", "model": model_of("srecnn")}),
            (
                BandNotFoundError,
                "consistent=True",
                bare,
                {"to": NM, "method": "srecnn", "model": model_of("srecnn"), "consistent": True},
            ),
            (ParameterError, "pairs of 8 and 33", ms, {"method": "ridge", "library": unnamed}),
        ]
        for error, words, wrong, kwargs in cases:
            with pytest.raises(error, match=words):
                spectral_superres(wrong, **kwargs)

    def test_a_model_of_another_sensor(self) -> None:
        ms, _ = case()
        moved = assign_bands(ms, S2, wavelength=wavelengths(ms) + 60.0)
        with pytest.raises(ModelCardError, match="centred at"):
            spectral_superres(moved, NM, "srecnn", model=model_of("srecnn"))

    def test_several_grids_need_a_method_that_takes_them(self) -> None:
        ms, _ = case()
        coarse = xrs.degrade(ms.isel(band=slice(4, None)), 2)
        tree = xr.DataTree.from_dict({"r10m": to_dataset(ms.isel(band=slice(4))), "r20m": to_dataset(coarse)})
        with pytest.raises(LayoutError, match="sharpen"):
            spectral_superres(tree, NM, "ridge")

    def test_pairs_of_cubes_that_do_not_fit(self) -> None:
        ms, hs = case()
        with pytest.raises(ParameterError, match="no pixel"):
            spectral_pairs(ms, hs.where(False), 10)
        assert spectral_pairs(ms, hs, 10).given.shape == (10, 8)
        lazy = spectral_pairs(rechunked(ms, 11, 13), rechunked(hs, (5, 43), 40), 10)
        np.testing.assert_array_equal(lazy.wanted, spectral_pairs(ms, hs, 10).wanted)
