"""Training as a user calls it: it learns, repeats, goes on after a kill, and refuses what it cannot do."""

from __future__ import annotations

import importlib
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
import yaml
from support import cube, pan_pair
from training import TINY, assert_same_weights, tree, weights

import xrs
from xrs.cube import to_array
from xrs.errors import GridMismatchError, LayoutError, ModelCardError, ParameterError, RadiometryError
from xrs.learning.checkpoint import load_state
from xrs.training.recipe import open_data


def curve(model: Any, part: str = "held_out") -> list[float]:
    return [epoch[part] for epoch in model.card.training["loss_curve"]]


@pytest.fixture(scope="module")
def season() -> tuple[xr.DataTree, xr.DataArray]:
    """What Sentinel-2 sees of the embedded landscape on one day, and the truth at 10 m."""
    scene = xrs.scenes.landscape(
        (320, 320), resolution=5.0, times=["2023-06-10"], wavelengths=(*range(540, 741, 20), *range(780, 901, 20))
    )
    seen = xrs.observe(scene, "sentinel-2a", bands=["B03", "B04", "B08", "B05", "B8A"])
    truth = xrs.observe(scene, "sentinel-2a", bands=["B05", "B8A"], resolution=10.0)
    assert isinstance(seen, xr.DataTree)
    return seen.compute(), to_array(truth).compute()


class TestLearning:
    def test_beats_interpolation_on_places_it_never_saw(self, season: tuple[xr.DataTree, xr.DataArray]) -> None:
        seen, _ = season
        model = xrs.train(
            seen, task="sharpen", network="light", features=16, blocks=1, patches=150, patch_size=16, batch_size=16,
            epochs=25, lr=5e-3, schedule="cosine", held_out=0.2, device="cpu", progress=False,
        )  # fmt: skip
        losses = curve(model)
        assert min(losses) < 0.8 * losses[0]
        assert model.card.metrics["rmse"] < 0.8 * model.card.metrics["cubic_rmse"]
        assert model.card.metrics["sam"] < model.card.metrics["cubic_sam"]
        assert model.card.metrics["ergas"] < model.card.metrics["cubic_ergas"]

    @pytest.mark.parametrize("protocol", ["wald", "consistency", "both"])
    def test_each_protocol_lowers_its_loss(self, protocol: str) -> None:
        model = xrs.train(tree(16), protocol=protocol, epochs=8, lr=3e-3, **(TINY | {"patch_size": 24}))
        assert min(curve(model)[1:]) < curve(model)[0]
        assert curve(model, "train")[-1] < curve(model, "train")[0]

    def test_consistency_gives_the_coarse_bands_back(self) -> None:
        # A network that only interpolates loses contrast when its result is degraded again.
        model = xrs.train(tree(16), protocol="consistency", epochs=40, lr=3e-3, **(TINY | {"patch_size": 24}))
        assert model.card.metrics["rmse"] < 0.9 * model.card.metrics["cubic_rmse"]

    def test_three_grids_and_pansharpening(self) -> None:
        model = xrs.train(tree(24, sixty=True), target="r60m", epochs=1, **(TINY | {"patch_size": 12}))
        assert model.card.ratios == (1, 2, 6)
        assert model.card.images[-1].bands == ("B01", "B09")
        ms, pan, _ = pan_pair(32)
        model = xrs.train(ms, pan, epochs=1, **(TINY | {"task": "pansharpen", "patch_size": 16}))
        assert model.card.ratios == (1, 4)
        assert model.card.bands == (1, 4)

    def test_any_loss_and_optimiser(self) -> None:
        loss = {"l1": 1.0, "sam": 0.1, "ergas": 0.1, "gradient": 0.5}
        model = xrs.train(tree(), epochs=4, loss=loss, optimizer="adam", schedule="constant", clip=0.0, **TINY)
        assert np.isfinite(curve(model)).all()

    def test_auto_stops_when_held_out_patches_stop_gaining(self) -> None:
        model = xrs.train(tree(), epochs="auto", patience=3, lr=3e-3, **TINY)
        losses = curve(model)
        assert 3 < len(losses) < 1000
        assert min(losses[-3:]) > min(losses[:-3]) * (1 - 1e-3)

    def test_weights_are_those_of_the_best_epoch(self) -> None:
        model = xrs.train(tree(), epochs=12, lr=0.05, schedule="constant", **TINY)
        best = int(np.argmin(curve(model)))
        assert_same_weights(model, xrs.train(tree(), epochs=best + 1, lr=0.05, schedule="constant", **TINY))

    def test_mixed_precision_is_close(self) -> None:
        exact = xrs.train(tree(), epochs=4, **TINY)
        mixed = xrs.train(tree(), epochs=4, dtype="bfloat16", **TINY)
        assert all(w.dtype == np.float32 for w in weights(mixed).values())
        assert min(curve(mixed)) == pytest.approx(min(curve(exact)), rel=0.1)


class TestFigure:
    """Sentinel-2 T33UUB, zero-shot: trained at 80 to 40 m, applied at 40 to 20 m, where the truth is known."""

    @pytest.mark.slow
    def test_light_network(self, shared_data: Path) -> None:
        from sharpening import scores

        cubes = {}
        for name in ("r10m", "r20m"):
            with xr.open_dataset(shared_data / "sentinel2_T33UUB.nc", group=name) as group:
                cubes[name] = (group["reflectance_dn"] * 1e-4).astype("float32")
        low = {name: xrs.degrade(cube, 2, psf="gaussian_box") for name, cube in cubes.items()}
        model = xrs.train(
            low, task="sharpen", network="light", psf="gaussian_box", epochs=80, schedule="cosine", device="cpu",
            progress=False,
        )  # fmt: skip
        truth = cubes["r20m"]
        fused = xrs.sharpen(low, "light", model=model)[list(truth.band.values)].to_dataarray("band")
        # Bicubic interpolation has 144, SupReME 56.
        assert scores(fused.values, truth.values, 10)[0] < 66


class TestCard:
    def test_tells_what_was_trained_on(self, tmp_path: Path) -> None:
        scene = tree(times=2)
        model = xrs.train(scene, epochs=2, psf="box", sensor="sentinel-2a", licence="CC-BY-4.0", **TINY)
        card = model.card
        assert card.images[0].bands == ("B02", "B03", "B04", "B08")
        assert card.images[1].wavelengths == (704.0, 865.0, 1610.0)
        assert card.psf == {"kind": "box", "sensor": "sentinel-2a"}
        assert card.training["data"]["dates"] == ["2024-04-01", "2024-04-06"]
        assert card.training["data"]["crs"] == "EPSG:32631"
        assert card.training["protocol"] == "wald"
        assert card.licence == "CC-BY-4.0"
        mean = float(to_array(scene["r20m"].to_dataset()).mean())
        assert card.scale == pytest.approx(mean, rel=0.1)
        model.save(tmp_path / "mine.safetensors")
        assert xrs.load_model(tmp_path / "mine.safetensors").card == card

    def test_sharpens(self, season: tuple[xr.DataTree, xr.DataArray]) -> None:
        seen, truth = season
        model = xrs.train(seen, epochs=1, **TINY)
        fine = xrs.sharpen(seen, "light", model=model)
        assert fine["B05"].shape == truth.isel(band=0).shape
        assert np.isfinite(fine["B05"].values).all()


class TestRepeating:
    def test_same_seed_same_weights(self) -> None:
        one, same = (xrs.train(tree(), epochs=3, seed=4, **TINY) for _ in range(2))
        assert_same_weights(one, same)
        assert one.card == same.card
        other = xrs.train(tree(), epochs=3, seed=5, **TINY)
        assert one.card.sha256 != other.card.sha256

    def test_random_numbers_of_others_are_left_alone(self) -> None:
        torch.manual_seed(0)
        before = torch.random.get_rng_state()
        xrs.train(tree(), epochs=1, **TINY)
        assert torch.equal(before, torch.random.get_rng_state())

    def test_lazy_is_the_same(self) -> None:
        scene = tree(times=2)
        lazy = scene.map_over_datasets(lambda ds: ds.chunk(time=1, y=17, x=23) if ds.data_vars else ds)
        one, other = xrs.train(scene, epochs=2, **TINY), xrs.train(lazy, epochs=2, **TINY)
        for name, values in weights(one).items():
            np.testing.assert_allclose(weights(other)[name], values, rtol=1e-3, atol=1e-5)


RUN = """
import sys, xrs
sys.path.insert(0, {folder!r})
from training import TINY, tree
xrs.train(tree(), epochs=400, schedule="plateau", lr=2e-3, checkpoint={path!r}, save_every=0.0, seed=1, **TINY)
"""


class TestCheckpoints:
    def test_a_killed_run_goes_on_to_the_same_weights(self, tmp_path: Path) -> None:
        path = tmp_path / "run.checkpoint"
        script = RUN.format(folder=str(Path(__file__).parent), path=str(path))
        process = subprocess.Popen([sys.executable, "-c", script])
        try:
            end = time.monotonic() + 120
            while not (path.exists() and len(load_state(path)[1]["history"]) >= 3):
                assert time.monotonic() < end
                assert process.poll() is None
                time.sleep(0.01)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        reached = len(load_state(path)[1]["history"])
        assert reached < 400
        call: dict[str, Any] = {"lr": 2e-3, "seed": 1, **TINY}
        resumed = xrs.train(tree(), epochs=reached + 6, checkpoint=path, **call)
        whole = xrs.train(tree(), epochs=reached + 6, **call)
        assert_same_weights(resumed, whole)
        assert resumed.card.training["loss_curve"] == whole.card.training["loss_curve"]

    @pytest.mark.parametrize("optimizer", ["nadam", "adam"])
    def test_a_run_can_be_prolonged(self, tmp_path: Path, optimizer: str) -> None:
        path = tmp_path / "run.checkpoint"
        call: dict[str, Any] = {"optimizer": optimizer, **TINY}
        xrs.train(tree(), epochs=2, checkpoint=path, **call)
        longer = xrs.train(tree(), epochs=5, checkpoint=path, **call)
        assert_same_weights(longer, xrs.train(tree(), epochs=5, **call))

    def test_another_run_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "run.checkpoint"
        xrs.train(tree(), epochs=1, checkpoint=path, **TINY)
        for other in ({"seed": 1}, {"lr": 0.1}, {"loss": "sam"}, {"features": 12}):
            with pytest.raises(ParameterError, match="another scene, network or settings"):
                xrs.train(tree(), epochs=2, checkpoint=path, **(TINY | other))
        with pytest.raises(ParameterError, match="another scene"):
            xrs.train(tree(seed=3), epochs=2, checkpoint=path, **TINY)
        assert len(curve(xrs.train(tree(), epochs=2, checkpoint=path, resume=False, **(TINY | {"seed": 1})))) == 2

    def test_damaged_and_foreign_files_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "run.checkpoint"
        path.write_bytes(b"not a checkpoint at all")
        with pytest.raises(ModelCardError, match="cannot be read"):
            xrs.train(tree(), epochs=1, checkpoint=path, **TINY)
        xrs.train(tree(), epochs=1, **TINY).save(path)
        with pytest.raises(ModelCardError, match="is no checkpoint"):
            xrs.train(tree(), epochs=1, checkpoint=path, **TINY)


class TestRefusals:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"task": "smooth"},
            {"network": "no_such"},
            {"network": "pannet"},
            {"target": "r5m"},
            {"protocol": "hope"},
            {"loss": "l7"},
            {"epochs": 0},
            {"epochs": "some"},
            {"batch_size": 0},
            {"lr": 0.0},
            {"optimizer": "sgd"},
            {"schedule": "cosine", "epochs": "auto"},
            {"patches": 0},
            {"patch_size": 7},
            {"patch_size": 64},
            {"device": "tpu"},
            {"device": "cuda:99"},
            {"dtype": "float16"},
            {"psf": "sharp"},
            {"protocol": "consistency", "patch_size": 2},
            {"consistency_weight": 0.0},
            {"no_such_config": 1},
            {"features": "many"},
            {"features": 0},
            {"epochs": True},
            {"epochs": 2.5},
            {"batch_size": 2.5},
            {"lr": "fast"},
            {"clip": -1.0},
            {"patience": 0},
            {"seed": -1},
            {"save_every": -1.0},
            {"patches": "all"},
            {"patch_size": 8.0},
            {"held_out": 1.5},
            {"loss": 3},
            {"loss": ["l1", "sam"]},
            {"loss": {"l1": "much"}},
        ],
        ids=str,
    )
    def test_arguments(self, wrong: dict[str, Any]) -> None:
        call = {"epochs": 1, **TINY} | wrong
        if wrong.get("network"):
            call = {k: v for k, v in call.items() if k not in ("features", "blocks")}
        with pytest.raises(ParameterError):
            xrs.train(tree(), **call)

    def test_a_folder_as_checkpoint(self, tmp_path: Path) -> None:
        with pytest.raises(ModelCardError, match="cannot be read"):
            xrs.train(tree(), epochs=1, checkpoint=tmp_path, **TINY)

    def test_inputs(self) -> None:
        ms, pan, _ = pan_pair(16)
        call = TINY | {"task": "pansharpen", "epochs": 1}
        with pytest.raises(LayoutError, match="no pan"):
            xrs.train(ms, **call)
        with pytest.raises(LayoutError, match="4 bands"):
            xrs.train(ms, cube((64, 64), 2.5), **call)
        with pytest.raises(GridMismatchError):
            xrs.train(ms, pan.isel(y=slice(1, None)).coarsen(y=3, x=3, boundary="trim").mean(), **call)
        with pytest.raises(RadiometryError):
            xrs.train((ms * 1e4).astype("int16"), pan, **call)
        with pytest.raises(ParameterError, match="pan"):
            xrs.train(tree(), pan, epochs=1, **TINY)
        with pytest.raises(LayoutError, match="two grids"):
            xrs.train({"r10m": ms}, epochs=1, **TINY)

    def test_a_rate_that_explodes(self) -> None:
        with pytest.raises(ParameterError, match="finite loss"):
            xrs.train(tree(), epochs=50, lr=1e30, clip=0.0, **TINY)


class TestName:
    def test_is_the_function_however_it_is_reached(self) -> None:
        assert importlib.import_module("xrs.train") is xrs.train
        assert pickle.loads(pickle.dumps(xrs.train)) is xrs.train
        code = "import xrs.train; from xrs import train; assert train is xrs.train and callable(train)"
        subprocess.run([sys.executable, "-c", code], check=True)


class TestRecipes:
    def recipe(self, folder: Path, **more: Any) -> Path:
        scene = tree(times=2)
        for name in scene.children:
            (scene[name].to_dataset() * 1e4).to_netcdf(folder / "scene.nc", group=name, mode="a")
        facts = {
            "data": {"path": "scene.nc", "groups": ["r10m", "r20m"], "scale": 1e-4},
            "output": "out/model.safetensors",
            "epochs": 2,
        }
        path = folder / "recipe.yaml"
        path.write_text(yaml.safe_dump(facts | TINY | more))
        return path

    def test_writes_a_model(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        from xrs.training.recipe import main

        main([str(self.recipe(tmp_path))])
        model = xrs.load_model(tmp_path / "out" / "model.safetensors")
        assert model.card.ratios == (1, 2)
        assert "rmse" in capsys.readouterr().out
        direct = xrs.train(tree(times=2), epochs=2, **TINY)
        assert model.card.scale == pytest.approx(direct.card.scale, rel=1e-2)
        assert curve(model) == pytest.approx(curve(direct), rel=1e-2)

    def test_refusals(self, tmp_path: Path) -> None:
        from xrs.training.recipe import run

        with pytest.raises(xrs.XrsError, match="cannot be read"):
            run(tmp_path / "none.yaml")
        (tmp_path / "list.yaml").write_text("- 1")
        with pytest.raises(ParameterError, match="holds a list"):
            run(tmp_path / "list.yaml")
        (tmp_path / "short.yaml").write_text("task: sharpen")
        with pytest.raises(ParameterError, match="no 'data'"):
            run(tmp_path / "short.yaml")
        with pytest.raises(ParameterError, match="stac, or path"):
            open_data({"file": "scene.nc"}, tmp_path)
        with pytest.raises(xrs.XrsError, match="cannot be read"):
            open_data({"path": "scene.nc"}, tmp_path)

    def test_nodata_becomes_nan(self, tmp_path: Path) -> None:
        values = np.full((4, 4), 500, "int16")
        values[1, 2] = 0
        xr.Dataset({"B04": (("y", "x"), values)}, {"y": np.arange(4.0)[::-1], "x": np.arange(4.0)}).to_netcdf(
            tmp_path / "band.nc"
        )
        found = open_data({"path": "band.nc", "scale": 1e-4, "nodata": 0}, tmp_path)
        assert int(np.isnan(found["B04"]).sum()) == 1
        assert float(found["B04"].max()) == pytest.approx(0.05)
        assert found["B04"].dtype == np.float32
