"""Uncertainty from training: heads, members and thinned networks, and intervals that cover what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from support import cube, pan_pair
from training import TINY, assert_same_weights, tree

import xrs
from xrs.cube import ancillaries, to_array, to_dataset
from xrs.errors import ParameterError
from xrs.quality import ause, coverage


def noisy(side: int = 256, seed: int = 0) -> tuple[xr.DataTree, np.ndarray]:
    """A tree whose coarse band is the block mean of a fine one plus Laplace noise whose size a second fine band tells.

    Also the standard deviation of that noise at the coarse pixels.
    """
    rng = np.random.default_rng(seed)
    fine = cube((side, side), 10.0, bands={"B04": ("red", 665.0), "B08": ("nir", 833.0)}, seed=seed)
    std = 0.002 + 0.03 * (fine.values[1] > np.median(fine.values[1]))
    coarse = fine.isel(band=[0]).coarsen(y=2, x=2).mean()
    local = xr.DataArray(std, dims=("y", "x")).coarsen(y=2, x=2).mean().values
    noise = local * rng.laplace(0, 1 / np.sqrt(2), local.shape)
    below = cube((side // 2, side // 2), 20.0, bands={"B11": ("swir16", 1610.0)}, values=coarse.values + noise)
    return xr.DataTree.from_dict({"r10m": to_dataset(fine), "r20m": to_dataset(below.astype("float32"))}), local


CALL: dict[str, Any] = TINY | {"patches": 100, "held_out": 0.4}


class TestTraining:
    def test_a_head_finds_the_noise_that_is_there(self) -> None:
        groups, local = noisy()
        call = TINY | {"patches": 100, "patch_size": 16}
        model = xrs.train(groups, uncertainty="laplace", epochs=40, lr=5e-3, schedule="cosine", **call)
        # At the scale of training: what is sharpened is what was degraded, and the truth is what was observed.
        low = xrs.degrade(groups, 2)
        fine = xrs.sharpen(low, "light", model=model, uncertainty=True)
        ranks = stats.spearmanr(fine["B11_std"].values.ravel(), local.ravel())
        assert ranks.statistic > 0.75
        truth = to_array(groups["r20m"].to_dataset())
        assert 0.8 < float(coverage(fine[["B11"]], ancillaries(fine, "std"), truth)[0]) < 0.97
        assert float(ause(fine[["B11"]], ancillaries(fine, "std"), truth)[0]) < 0.4

    @pytest.mark.parametrize(
        ("options", "kind", "members", "passes"),
        [
            ({"uncertainty": "laplace"}, "laplace", 1, 0),
            ({"uncertainty": "dropout"}, "dropout", 1, 20),
            ({"members": 2}, "ensemble", 2, 0),
            ({"uncertainty": "laplace", "members": 2}, "laplace", 2, 0),
        ],
        ids=str,
    )
    def test_every_kind(self, options: dict[str, Any], kind: str, members: int, passes: int, tmp_path: Path) -> None:
        groups = tree(24)
        model = xrs.train(groups, epochs=2, **(CALL | options))
        facts = model.card.uncertainty
        assert (facts["kind"], facts["members"], facts["passes"]) == (kind, members, passes)
        assert set(facts["factors"]) == {"B05", "B8A", "B11"}
        assert 0 <= model.card.metrics["coverage"] <= 1
        assert model.card.metrics["interval_width"] > 0
        assert model.card.training["calibration_places"] >= 9
        runs = members * (2 if kind == "laplace" else 1)
        assert len(model.card.training.get("further_loss_curves", {})) == runs - 1
        again = xrs.load_model(model.save(tmp_path / "m.safetensors").source)
        assert again.card == model.card
        fine = xrs.sharpen(groups, "light", model=again, uncertainty=True)
        assert float(fine["B11_std"].min()) > 0

    def test_a_head_leaves_the_network_as_it_is(self) -> None:
        groups = tree(24)
        told, only = (
            xrs.train(groups, epochs=3, **(CALL | options)) for options in ({"uncertainty": "laplace"}, {"members": 2})
        )
        for name, values in told.weights().items():
            if name.startswith("members.0."):
                np.testing.assert_array_equal(values, only.weights()[name])
        assert not any(name.startswith("heads") for name in only.weights())

    def test_members_are_runs_of_their_own_seeds(self) -> None:
        groups = tree(24)
        first, both = (xrs.train(groups, epochs=2, members=n, **CALL) for n in (2, 3))
        for name, values in first.weights().items():
            np.testing.assert_array_equal(values, both.weights()[name])
        assert both.card.training["loss_curve"] == first.card.training["loss_curve"]

    def test_stopped_runs_go_on(self, tmp_path: Path) -> None:
        groups, path = tree(24), tmp_path / "run.checkpoint"
        call: dict[str, Any] = CALL | {"uncertainty": "laplace", "members": 2}
        xrs.train(groups, epochs=2, checkpoint=path, **call)
        assert {p.name.split("-")[0] for p in tmp_path.iterdir()} == {
            "run.checkpoint", "run.checkpoint.member1", "run.checkpoint.head0", "run.checkpoint.head1",
        }  # fmt: skip
        whole = xrs.train(groups, epochs=4, **call)
        # As if the run had been killed in the second member.
        for file in tmp_path.glob("*head1*"):
            file.unlink()
        resumed = xrs.train(groups, epochs=4, checkpoint=path, **call)
        assert_same_weights(resumed, whole)
        assert resumed.card == whole.card

    def test_scale_and_unit_follow(self) -> None:
        groups = tree(24)
        numbers = groups.map_over_datasets(lambda ds: ds * np.float32(1e4) if ds.data_vars else ds)
        one, other = (xrs.train(g, epochs=2, uncertainty="laplace", **CALL) for g in (groups, numbers))
        assert other.card.metrics["interval_width"] == pytest.approx(1e4 * one.card.metrics["interval_width"], rel=0.02)
        fine = xrs.sharpen(numbers, "light", model=other, uncertainty=True)["B11_std"]
        near = xrs.sharpen(groups, "light", model=one, uncertainty=True)["B11_std"]
        np.testing.assert_allclose(fine, 1e4 * near, rtol=0.05)

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"uncertainty": "evidential"}, "'laplace' or 'dropout'"),
            ({"members": 0}, "1 or more"),
            ({"uncertainty": "laplace", "protocol": "consistency"}, "protocol='wald'"),
            ({"uncertainty": "dropout", "dropout": 0.0}, "above 0"),
            ({"uncertainty": "laplace"}, "places to calibrate"),
        ],
        ids=str,
    )
    def test_refusals(self, wrong: dict[str, Any], message: str) -> None:
        with pytest.raises(ParameterError, match=message):
            xrs.train(tree(10), epochs=1, **(TINY | wrong))

    def test_networks_without_dropout_say_so(self) -> None:
        ms, pan, _ = pan_pair(16)
        with pytest.raises(ParameterError, match="uncertainty='laplace'"):
            xrs.train(ms, pan, task="pansharpen", network="pnn", uncertainty="dropout", progress=False)

    def test_dropout_trains_and_repeats(self) -> None:
        one, same = (xrs.train(tree(24), epochs=2, uncertainty="dropout", **CALL) for _ in range(2))
        assert_same_weights(one, same)
        assert one.card.config["dropout"] == 0.1


class TestFigures:
    """90 % intervals cover 88 to 92 % on held-out patches."""

    OPTIONS = ({"uncertainty": "laplace"}, {"uncertainty": "dropout"}, {"members": 3})

    @pytest.mark.slow
    @pytest.mark.parametrize("options", OPTIONS, ids=str)
    def test_embedded_scene(self, options: dict[str, Any]) -> None:
        waves = (*range(540, 741, 20), *range(780, 901, 20))
        scene = xrs.scenes.landscape((960, 960), resolution=5.0, times=["2023-06-10"], wavelengths=waves)
        seen = xrs.observe(scene, "sentinel-2a", bands=["B03", "B04", "B08", "B05", "B8A"]).compute()
        model = xrs.train(
            seen, task="sharpen", network="light", patch_size=16, patches=600, epochs=20, schedule="cosine",
            device="cpu", progress=False, **options,
        )  # fmt: skip
        assert 0.88 <= model.card.metrics["coverage"] <= 0.92

    @pytest.mark.slow
    @pytest.mark.parametrize("options", OPTIONS, ids=str)
    def test_t33uub(self, options: dict[str, Any], shared_data: Path) -> None:
        groups = {}
        for name in ("r10m", "r20m"):
            with xr.open_dataset(shared_data / "sentinel2_T33UUB.nc", group=name) as group:
                groups[name] = (group["reflectance_dn"] * 1e-4).astype("float32")
        model = xrs.train(
            groups, task="sharpen", network="light", psf="gaussian_box", patch_size=16, patches=600, epochs=20,
            schedule="cosine", device="cpu", progress=False, **options,
        )  # fmt: skip
        assert 0.88 <= model.card.metrics["coverage"] <= 0.92
