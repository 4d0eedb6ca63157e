"""Training of networks that make other bands: from two cubes, from libraries, with the sensor's response in the loss."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
import yaml
from scipy.ndimage import correlate1d
from support import grid, nothing_computed, rechunked, texture
from training import assert_same_weights

import xrs
from xrs.cube import assign_bands, assign_geobox, to_dataset
from xrs.errors import (
    BandNotFoundError,
    GridMismatchError,
    LayoutError,
    ParameterError,
    RadiometryError,
    TimeAxisError,
)
from xrs.kernels import reach_of
from xrs.learning.physics import Physics, Seen
from xrs.models.card import card_from_metadata, metadata_of
from xrs.sensors import psf_of, spectral_response
from xrs.spectra import SpectralLibrary, SpectralPairs, draw_pairs
from xrs.training.mixtures import Grid, mixed_patches

#: Bands of Sentinel-2 and nearby narrow ones.
FEW = ["B02", "B03", "B04", "B8A"]
NARROW = np.arange(450.0, 900.0, 30.0)

TINY: dict[str, Any] = {
    "task": "spectral",
    "network": "spectralift",
    "features": 16,
    "layers": 1,
    "patches": 32,
    "patch_size": 8,
    "batch_size": 8,
    "epochs": 2,
    "device": "cpu",
    "progress": False,
}
LIBRARY: dict[str, Any] = {
    **{name: value for name, value in TINY.items() if name != "patch_size"},
    "library": "soil",
    "sensor": "sentinel-2a",
    "bands": FEW,
    "to": NARROW,
    "examples": 1280,
}


def labelled(values: np.ndarray, keys: list[str], nm: Any, pixel: float = 10.0, **coords: Any) -> xr.DataArray:
    named = assign_bands(xr.DataArray(values, dims=("band", "y", "x")), keys, wavelength=nm, **coords)
    return assign_geobox(named, grid(values.shape[1:], pixel))


@cache
def _truth(seed: int = 0, size: int = 48) -> xr.DataArray:
    """Smooth spectra of three parts."""
    parts = texture((3, size, size), seed)
    spectra = 0.2 + 0.4 * np.stack([np.sin(NARROW / 120 + phase) ** 2 for phase in range(3)])
    values = np.einsum("kw,kyx->wyx", spectra, parts).astype("float32")
    return labelled(values, [f"{nm:g}" for nm in NARROW], NARROW, fwhm=np.full(NARROW.size, 30.0))


def hs(**options: Any) -> xr.DataArray:
    return _truth(**options).copy()


def ms(**options: Any) -> xr.DataArray:
    seen: Any = xrs.observe(_truth(**options), "sentinel-2a", bands=FEW, ratio=1, noise=None)
    return seen


def predicted(model: Any, cube: xr.DataArray, **options: Any) -> xr.DataArray:
    options = {"consistent": False, **options}
    result: Any = xrs.spectral_superres(cube, to=NARROW, method=model.card.network, model=model, **options)
    return result


def rmse(one: Any, other: Any) -> float:
    return float(np.sqrt(np.square(np.asarray(one) - np.asarray(other), dtype=np.float64).mean()))


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    """Options of networks without features and layers."""
    return {name: value for name, value in options.items() if name not in ("features", "layers")}


class TestTwoCubes:
    def test_learns_a_known_linear_map(self) -> None:
        rng = np.random.default_rng(1)
        slopes, offsets = rng.uniform(-0.5, 1.0, (15, 4)), rng.uniform(0.0, 0.2, 15)

        def pair(seed: int) -> tuple[xr.DataArray, xr.DataArray]:
            given = labelled(texture((4, 64, 64), seed), FEW, [492.4, 559.8, 664.6, 864.7])
            values = np.einsum("wb,byx->wyx", slopes, given.values) + offsets[:, None, None]
            return given, labelled(values.astype("float32"), [f"{nm:g}" for nm in NARROW], NARROW)

        model = xrs.train(pair(0), **TINY | {"epochs": 30, "lr": 3e-3, "physics_weight": 0.0, "sensor": "sentinel-2a"})
        given, truth = pair(5)
        assert rmse(predicted(model, given), truth) < 0.05 * float(truth.std())
        assert model.card.metrics["linear_rmse"] < 1e-5  # the baseline is the map itself

    def test_card_tells_bands_widths_and_scores(self, tmp_path: Path) -> None:
        model = xrs.train((ms(), hs()), sensor="sentinel-2a", **TINY)
        card = model.card
        assert card.images[0].bands == tuple(FEW)
        assert card.images[0].fwhm[3] == pytest.approx(21.0, abs=1.5)
        assert card.outputs is not None
        assert card.outputs.wavelengths == tuple(NARROW)
        assert card.outputs.fwhm == (30.0,) * NARROW.size
        assert (card.margin, card.window, card.units) == (0, 0, "1")
        scored = {f"{base}{name}" for base in ("", "linear_") for name in ("rmse", "sam", "psnr")} | {"residual"}
        assert set(card.metrics) == scored
        assert card.training["protocol"] == "pairs"
        kept = model.save(tmp_path / "model.safetensors")
        assert xrs.load_model(str(kept.source)).card == card

    def test_cards_without_widths_can_be_read(self) -> None:
        model = xrs.train((ms(), hs()), sensor="sentinel-2a", **TINY)
        metadata = metadata_of(model.card)
        old = {name: text.replace('"fwhm": ', '"ignored": ') for name, text in metadata.items()}
        assert card_from_metadata(old, "old").images[0].fwhm == ()
        assert xrs.load_model("s2-20m-light").card.images[0].fwhm == ()

    def test_lazy_cubes_of_any_chunks_give_the_same(self) -> None:
        with nothing_computed():
            lazy = rechunked(ms(), 7, 9), rechunked(hs(), 13, 21)
        assert_same_weights(*(xrs.train(pair, sensor="sentinel-2a", **TINY) for pair in (lazy, (ms(), hs()))))

    def test_the_shared_part_of_larger_cubes_is_used(self) -> None:
        wide = xrs.train((ms(), hs().isel(x=slice(8, 40))), sensor="sentinel-2a", **TINY)
        cut = xrs.train((ms().isel(x=slice(8, 40)), hs().isel(x=slice(8, 40))), sensor="sentinel-2a", **TINY)
        assert_same_weights(wide, cut)

    def test_two_grids(self) -> None:
        fine, coarse = ms().sel(band=["B02", "B03", "B04"]), xrs.degrade(ms().sel(band=["B8A"]), 2, psf="box")
        cube = {"r10m": to_dataset(fine), "r20m": to_dataset(coarse)}
        options = {"network": "ponet", "stages": 1, "grouping": True, "sensor": "sentinel-2a", "psf": "box"}
        model = xrs.train((cube, hs()), **_plain(TINY) | options)
        card = model.card
        assert (card.bands, card.ratios) == ((3, 1), (1, 2))
        assert card.window == 128
        assert card.config["groups"] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 3]
        assert card.metrics["residual"] < 0.1

    def test_networks_of_windows(self) -> None:
        changed = {"network": "mst_plus_plus", "stages": 1, "features": 4, "held_out": 0.5, "patches": 80, "members": 2}
        options = _plain(TINY) | changed | {"epochs": 1}
        model = xrs.train((ms(), hs()), sensor="sentinel-2a", **options)
        assert (model.card.window, model.card.margin) == (128, 16)
        assert model.card.uncertainty["kind"] == "ensemble"
        assert np.isfinite(predicted(model, ms())).all()

    def test_goes_on_from_a_checkpoint(self, tmp_path: Path) -> None:
        options = {"sensor": "sentinel-2a", "checkpoint": tmp_path / "run"}
        xrs.train((ms(), hs()), **TINY | options)
        resumed = xrs.train((ms(), hs()), **TINY | options | {"epochs": 4})
        straight = xrs.train((ms(), hs()), **TINY | {"sensor": "sentinel-2a", "epochs": 4})
        assert_same_weights(resumed, straight)
        with pytest.raises(ParameterError, match="another scene"):
            xrs.train((ms(), hs()), **TINY | options | {"physics_weight": 3.0})


class TestPhysics:
    def test_no_residual_of_what_the_sensor_saw(self) -> None:
        """On two grids, against the forward operator on arrays."""
        truth, rng = hs(), np.random.default_rng(0)
        fine, sharp = ms(), ms().sel(band=["B04", "B8A"])
        taps = psf_of("sentinel-2a", ["B04", "B8A"], 2, "mtf")
        coarse = xrs.degrade(sharp, 2, sensor="sentinel-2a", psf="mtf")
        rows = spectral_response("sentinel-2a", NARROW, FEW)
        response, part, spread = (torch.as_tensor(a, dtype=torch.float32) for a in (rows, rows[[2, 3]], taps))
        images = [torch.from_numpy(cube.values[None]) for cube in (fine, coarse)]
        result = torch.from_numpy(truth.values[None])
        mask = torch.ones(result.shape, dtype=torch.bool)
        physics = Physics([Seen(response), Seen(part, spread, 2, edge=3)], 2.0)
        assert float(physics.loss(images, result, mask)) < 1e-6
        noise = torch.from_numpy(rng.standard_normal(result.shape).astype("float32"))
        far = [float(physics.loss(images, result + size * noise, mask)) for size in (0.1, 0.2)]
        assert far[1] == pytest.approx(2 * far[0], rel=1e-3)
        mask[..., 10:, :] = False  # what is masked does not count
        broken = result.clone()
        broken[..., 20:, :] = 9.0
        assert float(physics.loss(images, broken, mask)) < 1e-6

    def test_lowers_what_the_sensor_would_see_otherwise(self) -> None:
        """A hyperspectral cube a tenth too bright: either it is right, or the multispectral one."""
        wrong = hs() * np.float32(1.1)
        wrong.attrs = hs().attrs
        found = []
        for weight in (0.0, 30.0):
            model = xrs.train((ms(), wrong), sensor="sentinel-2a", **TINY | {"physics_weight": weight, "epochs": 25})
            seen: Any = xrs.observe(predicted(model, ms()), "sentinel-2a", bands=FEW, ratio=1, noise=None)
            found.append(float(np.abs(seen - ms()).mean()))
            assert ("residual" in model.card.metrics) == (weight > 0)
        assert found[1] < 0.3 * found[0]

    def test_bands_that_are_not_covered_are_left_out(self) -> None:
        """Narrow bands end at 870 nm: B11 follows from none of them."""
        swir = ms().sel(band=["B8A"])
        swir = swir.assign_coords(band=["B11"], wavelength=("band", [1613.7]), fwhm=("band", [91.0]))
        both = xr.concat([ms().drop_vars("common_name"), swir.drop_vars("common_name")], "band")
        model = xrs.train((both, hs()), sensor="sentinel-2a", **TINY)
        assert model.card.training["physics_weight"] == 0.1
        with pytest.raises(BandNotFoundError, match="physics_weight=1"):
            xrs.train((both.sel(band=["B11"]), hs()), sensor="sentinel-2a", **TINY | {"physics_weight": 1.0})


class TestLibrary:
    def test_single_spectra_teach_networks_of_single_pixels(self) -> None:
        model = xrs.train(None, **LIBRARY | {"epochs": 10, "examples": 2560, "lr": 3e-3})
        fresh = draw_pairs("soil", xrs.get_sensor("sentinel-2a").select(FEW), _sensor(), 256, seed=77)
        cube = labelled(fresh.given.T.reshape(4, 16, 16), FEW, [492.4, 559.8, 664.6, 864.7])
        error = rmse(predicted(model, cube).values.reshape(len(NARROW), -1).T, fresh.wanted)
        assert error < 0.1 * fresh.wanted.std()
        assert model.card.training["library"] == "soil"
        assert model.card.training["patch_size"] == 8

    def test_mixed_patches_teach_networks_that_look_around(self) -> None:
        options = {"network": "hsrnet", "stages": 1, "patch_size": 8}
        model = xrs.train(None, **_plain(LIBRARY) | options)
        assert model.card.config["groups"] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 3]
        assert model.card.training["held_out_patches"] == 4
        given = xrs.train(None, **_plain(LIBRARY) | options | {"groups": [0] * 15})
        assert given.card.config["groups"] == [0] * 15

    def test_bands_on_two_grids(self) -> None:
        options = {"network": "ponet", "stages": 2, "patch_size": 16, "bands": {10: FEW[:3], 20: FEW[3:]}, "psf": "box"}
        model = xrs.train(None, **_plain(LIBRARY) | options)
        assert [(image.bands, image.ratio) for image in model.card.images] == [(tuple(FEW[:3]), 1), (("B8A",), 2)]
        assert model.card.psf == {"kind": "box", "sensor": "sentinel-2a"}
        assert model.card.training["patch_size"] == 16
        held = {name: value for name, value in _plain(LIBRARY).items() if name != "bands"}
        with pytest.raises(ParameterError, match="a multiple of the ratio 2"):
            xrs.train(None, **held | options | {"patch_size": 9})
        same = xrs.train(None, **held | options | {"bands": {60.0: FEW[3:], 30.0: FEW[:3]}})
        assert_same_weights(model, same)

    def test_repeats_and_goes_on(self, tmp_path: Path) -> None:
        first = xrs.train(None, **LIBRARY, checkpoint=tmp_path / "run")
        resumed = xrs.train(None, **LIBRARY | {"epochs": 4}, checkpoint=tmp_path / "run")
        straight = xrs.train(None, **LIBRARY | {"epochs": 4})
        assert_same_weights(resumed, straight)
        assert first.card.sha256 != xrs.train(None, **LIBRARY | {"seed": 1}).card.sha256

    def test_intervals_cover_draws_that_had_no_part(self, tmp_path: Path) -> None:
        # A hundred places: with few of them intervals are wider than they need be.
        options = {"examples": 25600, "uncertainty": "laplace", "noise": (0.0, 0.004)}
        model = xrs.train(None, **LIBRARY | options)
        assert model.card.margin == 0
        assert model.card.metrics["coverage"] == pytest.approx(0.9, abs=0.06)
        model = xrs.load_model(str(model.save(tmp_path / "model.safetensors").source))
        seen = xrs.get_sensor("sentinel-2a").select(FEW)
        fresh = draw_pairs("soil", seen, _sensor(), 1024, seed=78, noise=(0.0, 0.004))
        cube = labelled(fresh.given.T.reshape(4, 32, 32), FEW, [492.4, 559.8, 664.6, 864.7])
        told: Any = predicted(model, cube.rename("spectra"), uncertainty=True, sensor="sentinel-2a")
        half = 1.645 * told["spectra_std"].values
        inside = np.abs(told["spectra"].values - fresh.wanted.T.reshape(-1, 32, 32)) <= half
        assert inside.mean() == pytest.approx(0.9, abs=0.06)

    def test_a_library_of_ones_own(self) -> None:
        rng = np.random.default_rng(0)
        nm = np.arange(400.0, 1001.0, 10.0)
        spectra = 0.3 + 0.2 * np.sin(nm / rng.uniform(80, 200, (40, 1)) + rng.uniform(0, 6, (40, 1)))
        own = SpectralLibrary(nm, spectra, title="waves")
        assert xrs.train(None, **LIBRARY | {"library": own}).card.training["data"]["library"] == "waves"
        with pytest.raises(ParameterError, match="library of 8 spectra"):
            xrs.train(None, **LIBRARY | {"library": SpectralLibrary(nm, spectra[:8])})


def _sensor() -> Any:
    return xrs.sensors.sensor_from_table(
        {"key": [f"{nm:g}" for nm in NARROW], "wavelength": NARROW, "fwhm": np.full(NARROW.size, 30.0)}
    )


class TestMixing:
    def test_shares_are_those_of_four_spectra(self) -> None:
        units = np.eye(6, dtype="float32")
        patches = mixed_patches(SpectralPairs(units, 2 * units), 12, 16, seed=3)
        (given,), wanted = patches.inputs, patches.target
        assert given.shape == (12, 6, 16, 16)
        np.testing.assert_allclose(given.sum(axis=1), 1.0, rtol=1e-5)
        assert given.min() >= 0
        np.testing.assert_allclose(wanted, 2 * given, rtol=1e-5)
        assert ((given > 0).any(axis=(2, 3)).sum(axis=1) <= 4).all()
        np.testing.assert_array_equal(mixed_patches(SpectralPairs(units, units), 12, 16, seed=3).inputs[0], given)

    def test_neighbours_are_alike_and_noise_is_not(self) -> None:
        pairs = SpectralPairs(np.eye(4, dtype="float32"), np.eye(4, dtype="float32"))
        clean, noisy = (mixed_patches(pairs, 20, 32, 0, (0.0, n)).inputs[0] for n in (0.0, 0.01))
        assert (noisy - clean).std() == pytest.approx(0.01, rel=0.05)
        steps, spread = np.abs(np.diff(clean, axis=3)).mean(), clean.std()
        assert steps < 0.3 * spread

    @pytest.mark.parametrize("ratio", [2, 3])
    def test_coarse_images_are_the_same_place_through_the_point_spread(self, ratio: int) -> None:
        pairs = SpectralPairs(np.eye(4, dtype="float32"), np.eye(4, dtype="float32"))
        taps = psf_of("sentinel-2a", ["B05", "B11"], ratio)
        grids = [Grid(slice(0, 2)), Grid(slice(2, 4), taps, ratio)]
        patches = mixed_patches(pairs, 6, 8 * ratio, 4, grids=grids)
        fine, coarse = patches.inputs
        assert fine.shape[2:] == (8 * ratio, 8 * ratio)
        assert coarse.shape[2:] == (8, 8)
        np.testing.assert_array_equal(fine, patches.target[:, :2])
        # SciPy's blur of the whole: it must agree where nothing outside of the patch is seen.
        reach = reach_of(taps, ratio)
        inner = (slice(None), slice(reach, -reach), slice(reach, -reach))
        for n, row in enumerate(taps):
            blurred = correlate1d(correlate1d(patches.target[:, 2 + n], row, axis=1), row, axis=2)
            expected = blurred[:, ratio // 2 :: ratio, ratio // 2 :: ratio]
            np.testing.assert_allclose(coarse[:, n][inner], expected[inner], atol=1e-5)


class TestRecipe:
    def test_two_cubes(self, tmp_path: Path) -> None:
        from xrs.training.recipe import run

        for name, cube in (("ms", ms()), ("hs", hs())):
            to_dataset(cube).to_netcdf(tmp_path / f"{name}.nc")
        data = {name: {"path": f"{name}.nc"} for name in ("ms", "hs")}
        facts = {"data": data, "output": "model.safetensors", "sensor": "sentinel-2a", **TINY}
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(facts))
        model, path = run(tmp_path / "recipe.yaml")
        assert path == str(tmp_path / "model.safetensors")
        assert_same_weights(model, xrs.train((ms(), hs()), sensor="sentinel-2a", **TINY))

    def test_library(self, tmp_path: Path) -> None:
        from xrs.training.recipe import run

        facts = {**LIBRARY, "to": NARROW.tolist(), "output": "model.safetensors"}
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(facts))
        assert_same_weights(run(tmp_path / "recipe.yaml")[0], xrs.train(None, **LIBRARY))
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(facts | {"library": {"file": "own.csv"}}))
        with pytest.raises(ParameterError, match="a source's name, or path"):
            run(tmp_path / "recipe.yaml")


def _moved(cube: xr.DataArray, **shift: float) -> xr.DataArray:
    return cube.assign_coords({dim: cube[dim] + by for dim, by in shift.items()})


def _without(cube: xr.DataArray, *names: str) -> xr.DataArray:
    return cube.drop_vars(names, errors="ignore").drop_attrs(deep=False)


@pytest.mark.parametrize(
    ("cubes", "options", "error", "complaint"),
    [
        (ms, {}, LayoutError, "two cubes, or a library"),
        (lambda: None, {}, LayoutError, "two cubes, or a library"),
        (lambda: (ms(), hs()), {"library": "soil"}, ParameterError, "two cubes and a library"),
        (lambda: (ms(), hs()), {"to": "enmap"}, ParameterError, "to= without a library"),
        (lambda: (ms(), hs()), {"target": "r20m"}, ParameterError, "target= for task='spectral'"),
        (lambda: (ms(), hs()), {"network": "dsen2"}, ParameterError, "dsen2"),
        (lambda: (ms(), hs()), {"physics_weight": -1.0}, ParameterError, "physics_weight"),
        (lambda: (ms(), _moved(hs(), x=3.0)), {}, GridMismatchError, "other pixels"),
        (lambda: (ms(), xrs.degrade(hs(), 2)), {}, GridMismatchError, "pixels"),
        (lambda: (ms(), hs().expand_dims(time=[0])), {}, TimeAxisError, "same dates"),
        (lambda: (ms(), (hs() * 1e4).astype("int16")), {}, RadiometryError, "int16"),
        (lambda: (ms(), hs() * 1e4), {}, RadiometryError, "holds values from"),
        (lambda: (ms(), rechunked(hs() * 1e4, 9, 9)), {}, RadiometryError, "holds values from"),
        (lambda: (ms(), _without(hs(), "wavelength", "fwhm")), {}, BandNotFoundError, "hs without wavelengths"),
        (lambda: (_without(ms(), "wavelength", "fwhm"), hs()), {}, BandNotFoundError, "ms without wavelengths"),
        (lambda: (ms(), hs().where(hs().band != "600")), {"sensor": "sentinel-2a"}, BandNotFoundError, "600"),
    ],
)
def test_wrong_cubes(cubes: Any, options: dict[str, Any], error: type[Exception], complaint: str) -> None:
    with pytest.raises(error, match=complaint):
        xrs.train(cubes(), **TINY | options)


@pytest.mark.parametrize(
    ("options", "error", "complaint"),
    [
        ({"library": "sand"}, ParameterError, "no source 'sand'"),
        (
            {"bands": {10: ["B04"], 15: ["B05"]}, "network": "ponet"},
            ParameterError,
            "sides in m that divide each other",
        ),
        ({"bands": {}}, ParameterError, "sides in m that divide each other"),
        ({"bands": {"fine": ["B04"]}}, ParameterError, "sides in m that divide each other"),
        ({"bands": {10: ["B04"], 20: ["B05"]}}, ParameterError, "image"),
        ({"sensor": "sentinel-9"}, ParameterError, "no sensor"),
        ({"sensor": None}, ParameterError, "without sensor="),
        ({"to": None}, ParameterError, "without to="),
        ({"to": "hal-9000"}, ParameterError, "no sensor"),
        ({"to": [0.5, 0.6]}, ParameterError, "nm|µm"),
        ({"to": [2300.0, 2600.0]}, BandNotFoundError, "2600"),
        ({"bands": ["B99"]}, BandNotFoundError, "B99"),
        ({"examples": 200}, ParameterError, "spectra to train on or to hold out"),
        ({"noise": -0.1}, ParameterError, "noise"),
        ({"network": "dsen2"}, ParameterError, "dsen2"),
        ({"uncertainty": "laplace"}, ParameterError, "places to calibrate"),
        ({"uncertainty": "dropout"}, ParameterError, "dropout"),
        ({"task": "sharpen"}, ParameterError, "library= for task='sharpen'"),
    ],
)
def test_wrong_libraries(options: dict[str, Any], error: type[Exception], complaint: str) -> None:
    with pytest.raises(error, match=complaint):
        xrs.train(None, **LIBRARY | options)
