"""Classes beside spectra: what can be told from the bands is told, what was not seen is not."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from sts_scene import truth
from support import nothing_computed

from xrs.cube import geobox_of
from xrs.cube.bands import band_variables
from xrs.errors import (
    BandNotFoundError,
    GridMismatchError,
    LayoutError,
    ModelCardError,
    ParameterError,
    RadiometryError,
    TimeAxisError,
)
from xrs.io import open_product, to_product
from xrs.models import Model
from xrs.nets.ssr_classify import SsrClassify
from xrs.operators.ssr_classify import ssr_classify
from xrs.training.ssr_classify import train_ssr_classify

FEW = [1, 3, 5, 8]
QUICK: dict[str, Any] = {"steps": 3, "features": 8, "blocks": 1, "train_batch": 4, "patch_size": 8}
NAMES = "meadow water roof"


def place() -> xr.DataArray:
    """Three kinds of ground, stripes each of one bright band."""
    scene = truth().isel(time=[0, 1]).copy(deep=True)
    for kind in range(3):
        scene[:, FEW[kind], :, kind * 20 : (kind + 1) * 20] += 0.3
    return scene


def labels() -> xr.DataArray:
    """Codes 10, 20 and 30 of these stripes; a tenth of the pixels has none."""
    scene = place()
    codes = np.broadcast_to(10 * (1 + np.arange(60) // 20), (48, 60)).copy()
    codes[::10] = 0
    attrs = {"flag_values": [10, 20, 30], "flag_meanings": NAMES}
    return xr.DataArray(codes.astype("uint8"), dims=("y", "x"), coords={d: scene[d] for d in ("y", "x")}, attrs=attrs)


def images() -> tuple[xr.DataArray, xr.DataArray]:
    return place().isel(band=FEW), place()


def probability_of(found: xr.Dataset) -> xr.DataArray:
    return found[[f"probability_{name}" for name in NAMES.split()]].to_dataarray("kind")


@cache
def model() -> Model:
    return train_ssr_classify(*images(), labels(), **QUICK)


@cache
def trained() -> Model:
    return train_ssr_classify(*images(), labels(), **{**QUICK, "steps": 400, "features": 16, "train_batch": 8})


class TestNetwork:
    @pytest.mark.parametrize("blocks", [0, 1, 3])
    def test_sees_no_farther_than_its_margin(self, blocks: int) -> None:
        network = SsrClassify((4, 9), (1, 1), classes=3, features=8, blocks=blocks).eval()
        image = torch.rand(8, 4, 17, 17, generator=torch.Generator().manual_seed(0)).requires_grad_()
        found = network(image)
        (found.scores[..., 8, 8].sum() + found.spectra[..., 8, 8].sum()).backward()
        assert image.grad is not None
        away = np.abs(np.argwhere(image.grad.abs().sum(dim=(0, 1)).numpy() > 0) - 8).max()
        assert away == network.margin

    @pytest.mark.parametrize(
        "wrong",
        [{"classes": 1}, {"bands": (4,)}, {"ratios": (1, 2)}, {"features": 0}, {"features": "8"}, {"blocks": -1}],
        ids=str,
    )
    def test_wrong_config(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ParameterError):
            SsrClassify(**{"bands": (4, 9), "ratios": (1, 1), "classes": 3, **wrong})


class TestOperator:
    def test_finds_what_can_be_told(self) -> None:
        found = ssr_classify(images()[0], trained())["class"]
        sought = np.broadcast_to(10 * (1 + np.arange(60) // 20), (2, 48, 60))
        assert (found.values == sought).mean() > 0.97

    def test_spectra_are_nearer_than_their_linear_regression(self) -> None:
        found = ssr_classify(images()[0], trained(), spectra=True)["spectra"]
        given, wanted = (np.moveaxis(cube.values, 1, -1).reshape(-1, cube.sizes["band"]) for cube in images())
        matrix = np.c_[given, np.ones(len(given))].astype(float)
        fitted = matrix @ np.linalg.lstsq(matrix, wanted, rcond=None)[0]
        assert np.square(found - place()).mean() < 0.25 * np.square(fitted - wanted).mean()

    def test_layout(self) -> None:
        found = ssr_classify(images()[0], model(), spectra=True)
        assert found["class"].dims == ("time", "y", "x")
        assert found["class"].dtype == np.int16
        assert found["class"].attrs["flag_values"] == [-1, 10, 20, 30]
        assert found["class"].attrs["flag_meanings"] == f"unseen {NAMES}"
        for name in NAMES.split():
            assert found[f"probability_{name}"].dims == ("time", "y", "x")
            assert found[f"probability_{name}"].attrs["units"] == "1"
        assert found["spectra"].dims == ("time", "band", "y", "x")
        np.testing.assert_array_equal(found["spectra"]["wavelength"], place()["wavelength"])
        assert geobox_of(found["probability_water"]) == geobox_of(place())
        one = ssr_classify(images()[0].isel(time=0), model())
        assert set(one.data_vars) == {"class", *(f"probability_{name}" for name in NAMES.split())}
        assert one["class"].dims == ("y", "x")

    def test_a_class_is_no_reflectance(self) -> None:
        ms = images()[0].assign_attrs(units="1", standard_name="surface_bidirectional_reflectance")
        found = ssr_classify(ms, model(), spectra=True)
        assert not {"units", "standard_name"} & set(found["class"].attrs)
        assert "standard_name" not in found["probability_water"].attrs
        assert found["spectra"].attrs["standard_name"] == "surface_bidirectional_reflectance"
        assert list(band_variables(found)) == ["spectra"]

    @pytest.mark.parametrize("lazy", [False, True])
    def test_a_product_holds_it(self, tmp_path: Path, lazy: bool) -> None:
        ms = images()[0]
        found = ssr_classify(ms.chunk(y=20, x=25) if lazy else ms, model(), spectra=True)
        back = open_product(to_product(found, tmp_path / "classes.zarr", progress=False))
        assert set(back.data_vars) == set(found.data_vars)
        for name, variable in found.data_vars.items():
            np.testing.assert_array_equal(back[name].values, variable.values)
        assert back["class"].dtype == np.int16
        assert back["class"].attrs["flag_meanings"] == f"unseen {NAMES}"

    @pytest.mark.parametrize("task", ["spectra", "classes"])
    def test_what_was_not_taught_is_left_out_or_refused(self, task: str) -> None:
        other = {"spectra": "classes", "classes": "spectra"}[task]
        alone, ms = train_ssr_classify(*images(), labels(), tasks=[task], **QUICK), images()[0]
        found = ssr_classify(ms, alone)
        assert ("class" in found, "spectra" in found) == (task == "classes", task == "spectra")
        asked: dict[str, Any] = {other: True}
        with pytest.raises(ModelCardError, match=f"{other} of a model that was taught {task} alone"):
            ssr_classify(ms, alone, **asked)
        with pytest.raises(ParameterError, match="neither"):
            ssr_classify(ms, alone, **{task: False, other: False})

    def test_spectra_without_classes(self) -> None:
        ms = images()[0]
        both, alone = ssr_classify(ms, model(), spectra=True), ssr_classify(ms, model(), classes=False)
        assert set(alone.data_vars) == {"spectra"}
        xr.testing.assert_identical(alone["spectra"], both["spectra"])

    def test_probabilities_sum_to_one_and_the_class_is_the_likeliest(self) -> None:
        found = ssr_classify(images()[0], trained())
        probability = probability_of(found)
        np.testing.assert_allclose(probability.sum("kind"), 1.0, atol=1e-5)
        likeliest = probability.argmax("kind")
        np.testing.assert_array_equal(found["class"], 10 * (1 + likeliest))

    def test_what_was_not_seen_has_no_class(self) -> None:
        ms = images()[0].copy(deep=True)
        ms[0, 2, 5:9, 7:11] = np.nan
        found = ssr_classify(ms, model(), spectra=True)
        gone = np.zeros((2, 48, 60), bool)
        gone[0, 5:9, 7:11] = True
        np.testing.assert_array_equal(found["class"].values == -1, gone)
        np.testing.assert_array_equal(np.isnan(probability_of(found)).all("kind"), gone)
        np.testing.assert_array_equal(np.isnan(found["spectra"]).any("band"), gone)

    def test_nothing_is_computed_before_it_must(self) -> None:
        with nothing_computed():
            found = ssr_classify(images()[0].chunk(y=20, x=25, time=1), model(), spectra=True)
        assert all(variable.chunks for variable in found.data_vars.values())

    @settings(max_examples=5, deadline=None)
    @given(st.integers(1, 2), st.integers(5, 48), st.integers(5, 60))
    def test_chunks_do_not_matter(self, time: int, y: int, x: int) -> None:
        ms = images()[0]
        lazy, whole = (ssr_classify(cube, model(), spectra=True) for cube in (ms.chunk(time=time, y=y, x=x), ms))
        for name in ("probability_water", "spectra"):
            np.testing.assert_allclose(lazy[name].values, whole[name].values, atol=1e-5)

    def test_a_model_from_a_file_does_the_same(self, tmp_path: Path) -> None:
        model().save(tmp_path / "classes.safetensors")
        one, other = (ssr_classify(images()[0], m) for m in (model(), tmp_path / "classes.safetensors"))
        xr.testing.assert_identical(one, other)


class TestTraining:
    def test_the_same_seed_gives_the_same_model(self) -> None:
        assert train_ssr_classify(*images(), labels(), **QUICK).card.sha256 == model().card.sha256

    @pytest.mark.parametrize("task", ["spectra", "classes"])
    def test_a_task_alone_leaves_the_others_head(self, task: str) -> None:
        other = {"spectra": "classes", "classes": "spectra"}[task]
        (name, *_) = (n for n in model().weights() if n.startswith(f"heads.{other}") and n.endswith("weight"))
        alone = train_ssr_classify(*images(), labels(), tasks=[task], **QUICK)
        begun = alone.build()
        fresh = SsrClassify((4, 12), (1, 1), classes=3, features=8, blocks=1, seed=0)
        np.testing.assert_allclose(begun.state_dict()[name], fresh.state_dict()[name], rtol=0, atol=1e-3)
        assert list(alone.card.training["c"]) == [task]

    def test_labels_of_every_date(self) -> None:
        both = labels().expand_dims(time=2).assign_attrs(labels().attrs)
        assert train_ssr_classify(*images(), both, **QUICK).card.sha256 == model().card.sha256

    @pytest.mark.parametrize("given", [
        lambda told: told.isel(y=slice(None, None, -1)),
        lambda told: told.isel(x=slice(None, None, -1)).transpose("x", "y"),
        lambda told: told.drop_vars(["y", "x"]),
        lambda told: told.assign_coords(x=told["x"] + 1e-6),
        lambda told: xr.concat([told.where(False, 0), told, told], "time").assign_coords(
            time=[np.datetime64("2022-01-01"), *place()["time"].values]).assign_attrs(told.attrs)[::-1],
    ], ids=["south up", "east first", "by place", "last digits", "more dates, latest first"])  # fmt: skip
    def test_labels_are_placed_by_their_coordinates(self, given: Any) -> None:
        assert train_ssr_classify(*images(), given(labels()), **QUICK).card.sha256 == model().card.sha256

    def test_learns_past_gaps_in_everything(self) -> None:
        ms, hs = (cube.copy(deep=True) for cube in images())
        ms[0, :, :9], hs[1, :, :, :7] = np.nan, np.nan
        made = train_ssr_classify(ms, hs, labels(), **QUICK)
        assert all(np.isfinite(values).all() for values in made.weights().values())


class TestWrong:
    def test_labels(self) -> None:
        with pytest.raises(LayoutError, match="flag_meanings"):
            train_ssr_classify(*images(), labels().drop_attrs(), **QUICK)
        for attrs in (
            {"flag_meanings": "meadow water water"},
            {"flag_values": [-1, 20, 30]},
            {"flag_values": [1, 2, 1 << 15]},
        ):
            with pytest.raises(LayoutError):
                train_ssr_classify(*images(), labels().assign_attrs(attrs), **QUICK)
        with pytest.raises(LayoutError, match="ndarray"):
            train_ssr_classify(*images(), labels().values, **QUICK)  # type: ignore[arg-type]
        dated = labels().expand_dims(time=[np.datetime64("2022-01-01")] * 2)
        for moved in (labels().isel(x=slice(5)), labels().assign_coords(x=labels()["x"] + 60_000.0), dated):
            with pytest.raises(GridMismatchError, match="labels"):
                train_ssr_classify(*images(), moved.assign_attrs(labels().attrs), **QUICK)
        with pytest.raises(ParameterError, match="two classes"):
            train_ssr_classify(*images(), labels().where(labels() == 10, 0).assign_attrs(labels().attrs), **QUICK)

    def test_other_dates(self) -> None:
        ms, hs = images()
        with pytest.raises(TimeAxisError):
            train_ssr_classify(ms, hs.isel(time=[0]), labels(), **QUICK)
        with pytest.raises(TimeAxisError):
            train_ssr_classify(ms, hs.assign_coords(time=hs["time"] + np.timedelta64(9, "D")), labels(), **QUICK)

    def test_units_bands_and_tasks(self) -> None:
        ms, hs = images()
        with pytest.raises(RadiometryError):
            train_ssr_classify((ms * 1e4).astype("int16"), hs, labels(), **QUICK)
        with pytest.raises(RadiometryError):
            ssr_classify(ms * 1e4, model())
        for lazy in (((ms * 1e4).chunk(), hs), (ms, (hs * 1e4).chunk()), (ms, (hs * 100).chunk())):
            with pytest.raises(RadiometryError):
                train_ssr_classify(*lazy, labels(), **QUICK)
        with pytest.raises(RadiometryError, match="as bright"):
            train_ssr_classify(ms * 0.05, hs, labels(), **QUICK)
        with pytest.raises(BandNotFoundError):
            train_ssr_classify(ms.drop_vars("wavelength"), hs, labels(), **QUICK)
        for tasks in ((), ("classes", "classes"), ("forests",)):
            with pytest.raises(ParameterError, match="tasks"):
                train_ssr_classify(ms, hs, labels(), tasks=tasks, **QUICK)
        with pytest.raises(ParameterError, match="no spectrum"):
            train_ssr_classify(ms, hs * np.nan, labels(), **QUICK)

    def test_models(self) -> None:
        from sts_scene import model as sts_model

        ms, _ = images()
        with pytest.raises(ModelCardError, match="'sts'"):
            ssr_classify(ms, sts_model())
        with pytest.raises(ModelCardError, match="the bands"):
            ssr_classify(ms.isel(band=[0, 1]), model())
        with pytest.raises(ParameterError, match="spectra"):
            ssr_classify(ms, model(), spectra="yes")  # type: ignore[arg-type]
