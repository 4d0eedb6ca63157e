"""One model from several scenes: all of them are learned from, and scenes of different kinds are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import yaml
from support import nothing_computed, pan_pair, s2_tree
from training import TINY, assert_same_weights, tree

import xrs
from xrs.errors import LayoutError, ParameterError
from xrs.models import ImageSpec
from xrs.training.images import images_of
from xrs.training.lessons import Draw
from xrs.training.protocols import wald
from xrs.training.recipe import run
from xrs.training.scenes import check_alike, for_each, joined, shares

SPECTRAL: dict[str, Any] = {
    "task": "spectral",
    "network": "spectralift",
    "features": 8,
    "layers": 1,
    "patches": 16,
    "patch_size": 8,
    "epochs": 2,
    "device": "cpu",
    "progress": False,
}


def brighter(cube: xr.DataTree, by: float) -> xr.DataTree:
    return cube.map_over_datasets(lambda group: group.map(lambda band: band + np.float32(by), keep_attrs=True))


def noise_scene(seed: int, follows: int) -> xr.DataTree:
    """Two fine bands of noise, brighter in the second kind of scene, and a coarse one that is the mean of either."""
    fine = np.random.default_rng(seed).random((2, 64, 64), dtype="float32") + np.float32(3 * follows)
    coarse = fine[follows].reshape(32, 2, 32, 2).mean(axis=(1, 3))

    def group(bands: dict[str, np.ndarray], size: float) -> xr.Dataset:
        centres = (np.arange(640 // int(size)) + 0.5) * size
        return xr.Dataset(
            {key: (("y", "x"), image) for key, image in bands.items()}, {"y": centres[::-1], "x": centres}
        )

    return xr.DataTree.from_dict(
        {"r10m": group({"B04": fine[0], "B08": fine[1]}, 10.0), "r20m": group({"B8A": coarse}, 20.0)}
    )


def draw(**options: Any) -> Draw:
    return Draw(
        **{"patches": 21, "patch_size": 8, "held_out": 0.25, "most_missing": 0.25, "seed": 0, "distinct": False}
        | options
    )


def pairs_of(*scenes: xr.DataTree) -> list[Any]:
    return [wald(images_of(scene, None, "sharpen", None)[0], None, "box") for scene in scenes]


class TestPatches:
    def test_every_scene_gives_as_many(self) -> None:
        scenes = [tree(16, seed=seed) for seed in range(3)]
        train, held_out = draw().of(pairs_of(*(brighter(scene, 10.0 * n) for n, scene in enumerate(scenes))))
        assert len(train) == 21
        for part in (train, held_out):
            level = part.target.mean(axis=(1, 2, 3)) // 10
            assert np.unique(level, return_counts=True)[1].tolist() == [len(part) // 3] * 3
            # Whatever is told by places must not take those of two scenes for one.
            dates = [set(part.spots[level == n, 0]) for n in range(3)]
            assert not any(dates[n] & dates[m] for n, m in ((0, 1), (0, 2), (1, 2)))

    def test_one_scene_is_as_before(self) -> None:
        alone, of_list = (draw().of(pairs) for pairs in (pairs_of(tree(16)), pairs_of(tree(16), tree(16, seed=5))[:1]))
        np.testing.assert_array_equal(alone[0].target, of_list[0].target)
        assert joined([alone[0]]) is alone[0]

    def test_patches_are_of_one_size_in_scenes_large_and_small(self) -> None:
        train, _ = draw(patch_size=None).of(pairs_of(tree(40), tree(12)))
        assert train.target.shape[-1] == train.inputs[-1].shape[-1] * 2

    @pytest.mark.parametrize(("count", "scenes", "expected"), [(7, 3, [3, 2, 2]), (4, 1, [4]), (3, 3, [1, 1, 1])])
    def test_shares(self, count: int, scenes: int, expected: list[int]) -> None:
        assert shares(count, scenes) == expected


class TestTraining:
    def test_learns_from_each(self) -> None:
        first, second = tree(16), tree(16, seed=7)
        both = xrs.train([first, second], epochs=2, **TINY)
        again = xrs.train((first, second), epochs=2, **TINY)
        assert_same_weights(both, again)
        alone = xrs.train(first, epochs=2, **TINY)
        assert both.card.sha256 != alone.card.sha256
        assert both.card.sha256 != xrs.train([first, tree(16, seed=8)], epochs=2, **TINY).card.sha256
        assert_same_weights(alone, xrs.train([first], epochs=2, **TINY))
        assert len(both.card.training["data"]["scenes"]) == 2
        assert both.card.images == alone.card.images

    def test_what_one_scene_does_not_show_another_does(self) -> None:
        # There the coarse band follows the other of the fine ones.
        test = noise_scene(9, follows=1)
        truth = test["r10m"]["B08"].values

        def error(model: Any) -> float:
            made = xrs.sharpen(test, "light", model=model)["B8A"].values
            return float(np.sqrt(np.mean((made - truth)[8:-8, 8:-8] ** 2)))

        options = TINY | {"patches": 64, "patch_size": 16, "lr": 5e-3, "psf": "box", "schedule": "cosine", "epochs": 30}
        one = xrs.train(noise_scene(0, follows=0), **options)
        both = xrs.train([noise_scene(0, follows=0), noise_scene(1, follows=1)], **options)
        assert error(both) < 0.85 * error(one)

    def test_pansharpening(self) -> None:
        ms, pan, _ = pan_pair(32)
        options = TINY | {"task": "pansharpen", "patch_size": 16}
        model = xrs.train([ms, ms * 1.5], [pan, pan * 1.5], epochs=1, **options)
        assert model.card.ratios == (1, 4)
        for pans in (pan, [pan], [pan] * 3):
            with pytest.raises(LayoutError, match="a pan for each scene"):
                xrs.train([ms, ms], pans, epochs=1, **options)

    def test_lazy_scenes_are_read_where_patches_lie(self) -> None:
        lazy = [scene.chunk({"y": 16, "x": 16}) for scene in (tree(16), tree(16, seed=7))]
        with nothing_computed():
            images_of(lazy[0], None, "sharpen", None)
        assert_same_weights(
            xrs.train(lazy, epochs=1, **TINY), xrs.train([tree(16), tree(16, seed=7)], epochs=1, **TINY)
        )

    def test_pairs_of_other_bands(self) -> None:
        def pair(seed: int) -> Any:
            scene = xrs.scenes.landscape(
                (48, 48), resolution=10.0, times=["2023-06-10"], wavelengths=range(450, 900, 30), seed=seed
            ).isel(time=0)
            few = scene.isel(band=slice(None, None, 3))
            return few.compute(), scene.compute()

        model = xrs.train([pair(0), pair(1)], **SPECTRAL)
        assert len(model.card.training["data"]["scenes"]) == 2
        assert model.card.sha256 != xrs.train(pair(0), **SPECTRAL).card.sha256
        few, scene = pair(1)
        with pytest.raises(LayoutError, match="scene 1 has the bands"):
            xrs.train([pair(0), (few, scene.isel(band=slice(5)))], **SPECTRAL)
        with pytest.raises(LayoutError, match="scene 1 of 2: found"):
            xrs.train([pair(0), (few,)], **SPECTRAL)


class TestRefused:
    def test_other_bands(self) -> None:
        other = s2_tree(10)
        other["r20m"] = other["r20m"].to_dataset().rename({next(iter(other["r20m"].data_vars)): "B99"})
        with pytest.raises(LayoutError, match=r"scene 1 has the bands .*B99"):
            xrs.train([tree(10), other], epochs=1, **TINY)

    def test_other_units(self) -> None:
        specs = [(ImageSpec(("B04",)),)] * 3
        check_alike(specs, ["1", "", "1"])
        with pytest.raises(LayoutError, match="units"):
            check_alike(specs, ["1", "%", "1"])

    def test_which_scene_it_was(self) -> None:
        with pytest.raises(ParameterError, match=r"scene 1 of 2: .* pixels of the coarsest input"):
            xrs.train([tree(16), tree(3)], epochs=1, **TINY)

        def fail(n: int) -> None:
            raise ParameterError("found", "expected", "remedy")

        with pytest.raises(ParameterError, match=r"^found\. Expected: expected\. Remedy: remedy\.$"):
            for_each(fail, [0])

    def test_too_few_patches_and_no_scene(self) -> None:
        with pytest.raises(ParameterError, match="patches=1"):
            xrs.train([tree(16), tree(16)], epochs=1, **TINY | {"patches": 1})
        with pytest.raises(LayoutError, match="0 scenes"):
            xrs.train([], epochs=1, **TINY)


def test_recipe(tmp_path: Path) -> None:
    data = []
    for seed in (0, 7):
        path = tmp_path / f"scene{seed}.nc"
        tree(16, seed=seed).to_netcdf(path)
        data.append({"path": path.name, "groups": ["r10m", "r20m"]})
    facts = {"data": data, "output": "model.safetensors", "epochs": 1, **TINY}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(facts))
    model, _ = run(tmp_path / "recipe.yaml")
    assert_same_weights(model, xrs.train([tree(16), tree(16, seed=7)], epochs=1, **TINY))
