"""Spectra through clouds: what is hidden has no say, what is constant stays, and tiles do not matter."""

from __future__ import annotations

from dataclasses import replace
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
from support import grid, nothing_computed

from xrs.cube import assign_geobox, geobox_of, to_dataset
from xrs.errors import (
    BandNotFoundError,
    GridMismatchError,
    LayoutError,
    ModelCardError,
    ParameterError,
    RadiometryError,
    TimeAxisError,
    XrsError,
)
from xrs.models import Model
from xrs.nets.ssr_cloud import Evidence, SsrCloud, time_code
from xrs.operators.ssr_cloud import dates_of, ssr_cloud
from xrs.training.ssr_cloud import train_ssr_cloud

#: Bands of the multispectral sensor, and dates with spectra.
FEW, KEYED = [1, 3, 5, 8], [0, 3]
QUICK: dict[str, Any] = {"steps": 4, "features": 8, "heads": 2, "train_batch": 4, "patch_size": 8}


@cache
def clear() -> xr.DataArray:
    """Blocks that move over the scene; the last column is clear on no date, and the third date nowhere."""
    scene = truth()
    rows, columns = np.meshgrid(np.arange(scene.sizes["y"]), np.arange(scene.sizes["x"]), indexing="ij")
    open_sky = np.stack([((rows // 9 + columns // 11 + date) % 3 != 0) for date in range(scene.sizes["time"])])
    open_sky[2] = False
    open_sky[:, :, -1] = False
    coords = {d: scene[d] for d in ("time", "y", "x")}
    return xr.DataArray(open_sky, dims=("time", "y", "x"), coords=coords)


def steady() -> xr.DataArray:
    """A scene on which nothing happens."""
    scene = truth()
    return scene.copy(data=np.repeat(scene.values[:1], scene.sizes["time"], axis=0))


def cubes(scene: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """What both sensors see of it between clouds."""
    seen = scene.where(clear())
    return seen.isel(band=FEW), seen.isel(time=KEYED)


@cache
def model() -> Model:
    return train_ssr_cloud(*cubes(truth()), **QUICK)


def evidence(dates: int = 3, side: int = 9, seed: int = 0) -> Evidence:
    generator = torch.Generator().manual_seed(seed)

    def image(*shape: int) -> torch.Tensor:
        return torch.rand(1, *shape, side, side, generator=generator)

    return Evidence(
        image=image(4),
        clear=(image() > 0.5).float(),
        day=torch.tensor([100.0]),
        others=image(dates, 4),
        others_clear=(image(dates) > 0.4).float(),
        days=torch.tensor([[50.0 + 37 * k for k in range(dates)]]),
        taught=torch.ones(1),
    )


def network(seed: int = 1) -> SsrCloud:
    """With heads as large as training might make them."""
    made = SsrCloud((4, 7), (1, 1), features=8, heads=2, seed=seed).eval()
    with torch.no_grad():
        for head in (made.to_ms, made.to_hs):
            head.weight.mul_(50.0)
    return made


class TestNetwork:
    @pytest.mark.parametrize("junk", [5.0, -1e6, float("nan"), float("inf")])
    def test_what_is_hidden_shows_in_nothing(self, junk: float) -> None:
        e = evidence()
        dirty = replace(
            e,
            image=torch.where(e.clear[:, None] > 0, e.image, junk),
            others=torch.where(e.others_clear[:, :, None] > 0, e.others, junk),
        )
        one, other = network()(e), network()(dirty)
        assert torch.equal(one.hs, other.hs)
        assert torch.equal(one.ms, other.ms)

    def test_a_clouded_date_is_as_good_as_none(self) -> None:
        e = evidence(3)
        sky = e.others_clear.clone()
        sky[:, 1] = 0
        hidden = network()(replace(e, others_clear=sky))
        gone = network()(replace(e, others=e.others[:, [0, 2]], others_clear=sky[:, [0, 2]], days=e.days[:, [0, 2]]))
        torch.testing.assert_close(hidden.hs, gone.hs, atol=1e-5, rtol=1e-4)

    def test_a_date_that_is_hardly_clear_has_hardly_a_say(self) -> None:
        e = evidence(3)
        sky = torch.ones_like(e.others_clear)
        sky[:, 1] = 0
        faint = sky.clone()
        faint[:, 1] = 1e-6
        torch.testing.assert_close(
            network()(replace(e, others_clear=sky)).hs, network()(replace(e, others_clear=faint)).hs, atol=1e-3, rtol=0
        )

    def test_order_of_dates_does_not_matter(self) -> None:
        e, order = evidence(3), [2, 0, 1]
        turned = replace(e, others=e.others[:, order], others_clear=e.others_clear[:, order], days=e.days[:, order])
        torch.testing.assert_close(network()(e).hs, network()(turned).hs, atol=1e-5, rtol=1e-4)

    def test_bands_of_clear_pixels_are_kept(self) -> None:
        e = evidence()
        made = network()(e).ms
        where = e.clear[:, None].expand_as(made) > 0
        torch.testing.assert_close(made[where], e.image[where])
        assert not torch.allclose(made[~where], e.image[~where], atol=1e-2)

    def test_weights_of_clear_dates_sum_to_one(self) -> None:
        e, made = evidence(4), network()
        own = made.encoded(e.image, e.clear[:, None], time_code(e.day))
        known = made.encoded(e.others.flatten(0, 1), e.others_clear.flatten(0, 1)[:, None], time_code(e.days.flatten()))
        weights = made._weights(own, known, e.days - e.day[:, None], e.others_clear)
        some = e.others_clear.amax(dim=1)[:, None].expand_as(weights[:, 0])
        torch.testing.assert_close(weights.sum(dim=1), some)
        assert (weights[(e.others_clear == 0)[:, :, None].expand_as(weights)] == 0).all()

    @pytest.mark.parametrize("blocks", [0, 1, 2])
    def test_sees_no_farther_than_its_margin(self, blocks: int) -> None:
        made = SsrCloud((4, 7), (1, 1), features=8, heads=2, blocks=blocks).eval()
        e = evidence(2, side=21)
        image = e.others.requires_grad_()
        made(replace(e, others_clear=torch.ones_like(e.others_clear))).hs[..., 10, 10].sum().backward()
        assert image.grad is not None
        touched = np.argwhere(image.grad[0].abs().sum(dim=(0, 1)).numpy() > 0) - 10
        assert np.abs(touched).max() == made.margin

    @pytest.mark.parametrize("wrong", [{"features": 8, "heads": 3}, {"bands": (4,)}, {"ratios": (1, 2)}], ids=str)
    def test_wrong_config(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ParameterError):
            SsrCloud(**{"bands": (4, 7), "ratios": (1, 1), **wrong})


class TestConstantScene:
    """A scene on which nothing happens: what is under a cloud is what was seen before and after it."""

    @staticmethod
    @cache
    def made() -> xr.DataArray:
        ms, hs = cubes(steady())
        return ssr_cloud(ms, train_ssr_cloud(ms, hs, **{**QUICK, "steps": 60}))

    def test_under_clouds_it_is_what_was_clear(self) -> None:
        made = self.made()
        hidden = made.where(~clear() & clear().any("time"))
        error = np.sqrt(np.square(hidden - steady()).mean(["time", "y", "x"])) / steady().mean(["time", "y", "x"])
        assert float(error.max()) < 0.05

    def test_a_date_that_is_all_cloud_is_made_of_the_others(self) -> None:
        date = self.made().isel(time=2, x=slice(None, -1))
        assert date.notnull().all()
        error = np.sqrt(float(np.square(date - steady().isel(time=2)).mean()))
        assert error < 0.05 * float(steady().mean())


class TestOperator:
    def test_bands_dates_and_grid(self) -> None:
        ms, _ = cubes(truth())
        made = ssr_cloud(ms, model())
        assert made.dims == ("time", "band", "y", "x")
        assert made.dtype == np.float32
        np.testing.assert_array_equal(made["wavelength"], truth()["wavelength"])
        for name in ("time", "y", "x"):
            np.testing.assert_array_equal(made[name], ms[name])
        assert geobox_of(made) == geobox_of(ms)

    def test_nan_only_where_no_date_was_clear(self) -> None:
        made = ssr_cloud(cubes(truth())[0], model())
        never = ~clear().any("time").values
        assert (np.isnan(made.values) == never).all()

    def test_values_under_clouds_change_nothing(self) -> None:
        ms = truth().isel(band=FEW)
        noise = np.random.default_rng(0).uniform(0, 1, ms.shape).astype("float32")
        one, other, masked = (
            ssr_cloud(cube, model(), clear=clear()) for cube in (ms, ms.where(clear(), noise), ms.where(clear()))
        )
        np.testing.assert_array_equal(one.values, other.values)
        np.testing.assert_array_equal(one.values, masked.values)
        np.testing.assert_array_equal(one.values, ssr_cloud(ms.where(clear()), model()).values)

    def test_what_is_hidden_may_be_fill_values(self) -> None:
        ms = truth().isel(band=FEW)
        filled = ms.where(clear(), -9999.0)
        np.testing.assert_array_equal(ssr_cloud(filled, model(), clear=clear()).values, _whole().values)
        lazy = ssr_cloud(filled.chunk(y=20), model(), clear=clear().chunk(x=30))
        np.testing.assert_allclose(lazy.values, _whole().values, atol=1e-5)

    @pytest.mark.parametrize("junk", [np.inf, -np.inf])
    def test_infinities_are_missing(self, junk: float) -> None:
        ms, _ = cubes(truth())
        west = ms["x"] < ms["x"][7]
        one, other = (ssr_cloud(ms.where(~west, gone), model()) for gone in (junk, np.nan))
        assert np.isnan(one.isel(x=slice(0, 4))).all()
        np.testing.assert_array_equal(one.values, other.values)

    def test_a_single_date_is_as_one_whose_others_are_all_cloud(self) -> None:
        ms, _ = cubes(truth())
        alone = ssr_cloud(ms.isel(time=[0]), model())
        clouded = ssr_cloud(ms.where(ms["time"] == ms["time"][0]), model(), target_times=ms["time"].values[[0]])
        np.testing.assert_allclose(alone.values, clouded.values, atol=1e-5)
        np.testing.assert_array_equal(np.isnan(alone).any("band").values, ~clear().isel(time=[0]).values)

    @pytest.mark.parametrize("given", [
        lambda c: c.isel(time=[4, 2, 3, 1, 0]),
        lambda c: c.isel(y=slice(None, None, -1), x=slice(None, None, -1)),
        lambda c: c.assign_coords(x=c["x"] + 1e-6),
        lambda c: c.drop_vars(["time", "y", "x"]),
        lambda c: c.transpose("x", "time", "y").drop_vars("y"),
        lambda c: xr.concat([c.isel(time=[0]).assign_coords(time=c["time"][[0]] - np.timedelta64(9, "D")), c], "time"),
    ], ids=["dates", "rows and columns", "last digits", "by place", "in part by place", "more dates"])  # fmt: skip
    def test_clear_is_placed_by_its_coordinates(self, given: Any) -> None:
        full = truth().isel(band=FEW)
        np.testing.assert_array_equal(ssr_cloud(full, model(), clear=given(clear())).values, _whole().values)

    def test_nothing_is_computed_before_it_must(self) -> None:
        ms, _ = cubes(truth())
        with nothing_computed():
            made = ssr_cloud(ms.chunk(time=2, y=20, x=25), model(), uncertainty=True)
        assert all(variable.chunks for variable in made.data_vars.values())

    @settings(max_examples=4, deadline=None)
    @given(st.integers(1, 5), st.integers(11, 48), st.integers(13, 60))
    def test_chunks_do_not_matter(self, time: int, y: int, x: int) -> None:
        ms, _ = cubes(truth())
        lazy = ssr_cloud(ms.chunk(time=time, y=y, x=x), model(), clear=clear().astype(float).chunk(x=17))
        np.testing.assert_allclose(lazy.values, _whole().values, atol=1e-5)

    def test_many_dates_in_runs_of_eight(self) -> None:
        ms, _ = cubes(truth())
        days = [ms["time"].values[0] + np.timedelta64(k, "D") for k in range(0, 11)]
        made = ssr_cloud(ms.chunk(x=30), model(), target_times=days)
        assert made.data.chunks[0] == (8, 3)
        one = ssr_cloud(ms, model(), target_times=days[9:10])
        np.testing.assert_allclose(made.isel(time=[9]).values, one.values, atol=1e-5)

    def test_dates_of_ones_own(self) -> None:
        ms, _ = cubes(truth())
        chosen = [ms["time"].values[1], ms["time"].values[3] + np.timedelta64(5, "D")]
        made = ssr_cloud(ms, model(), target_times=chosen)
        np.testing.assert_array_equal(made["time"].values, chosen)
        np.testing.assert_allclose(made.isel(time=0).values, _whole().isel(time=1).values, atol=1e-6)
        assert (np.isnan(made.isel(time=1)) == ~clear().any("time")).all()

    def test_dates_out_of_reach_have_no_say(self) -> None:
        ms, hs = cubes(truth())
        near = train_ssr_cloud(ms, hs, **QUICK, reach=2)
        changed = ms.copy(deep=True)
        changed[4] = changed[4] * 0.5
        one, other = (ssr_cloud(cube, near).isel(time=0) for cube in (ms, changed))
        np.testing.assert_array_equal(one.values, other.values)
        assert not np.array_equal(
            *(ssr_cloud(cube, near).isel(time=3).values for cube in (ms, changed)), equal_nan=True
        )

    def test_dates_looked_at_are_the_nearest_and_its_own(self) -> None:
        days = np.array([0.0, 10.0, 30.0, 70.0])
        assert dates_of(days, 10.0, 2) == (0, 1, 2)
        assert dates_of(days, 11.0, 2) == (0, 1)
        assert dates_of(days, 70.0, 1) == (2, 3)
        assert dates_of(days, 5.0, 12) == (0, 1, 2, 3)

    def test_two_images_of_one_day_both_count(self) -> None:
        ms = cubes(truth())[0]
        hour = np.timedelta64(1, "h")
        twice = xr.concat([ms, ms.isel(time=[1]).assign_coords(time=ms["time"][[1]] + hour)], "time").sortby("time")
        whole = truth().isel(time=[1], band=FEW).assign_coords(time=ms["time"][[1]] + hour)
        seen = xr.where(twice["time"] == whole["time"].values[0], whole.isel(time=0, drop=True), twice)
        made = ssr_cloud(seen.transpose(*ms.dims).assign_attrs(ms.attrs), model(), target_times=ms["time"].values[[1]])
        assert made.notnull().all()

    def test_uncertainty_beside_the_bands(self) -> None:
        ms, _ = cubes(truth())
        both = ssr_cloud(to_dataset(ms), model(), uncertainty=True)
        bands = [str(key) for key in truth()["band"].values]
        assert set(both.data_vars) == {n for key in bands for n in (key, f"{key}_std")}
        std = both[f"{bands[0]}_std"]
        assert (std.notnull() == both[bands[0]].notnull()).all()
        assert float(std.min()) > 0
        assert "not calibrated" in std.attrs["comment"]

    def test_a_model_from_a_file_does_the_same(self, tmp_path: Path) -> None:
        model().save(tmp_path / "cloud.safetensors")
        made = ssr_cloud(cubes(truth())[0], tmp_path / "cloud.safetensors")
        np.testing.assert_array_equal(made.values, _whole().values)

    def test_order_of_bands_does_not_matter(self) -> None:
        ms, _ = cubes(truth())
        np.testing.assert_allclose(ssr_cloud(ms[:, ::-1], model()).values, _whole().values, atol=1e-6)


@cache
def _whole() -> xr.DataArray:
    return ssr_cloud(cubes(truth())[0], model())


class TestTraining:
    def test_the_same_seed_gives_the_same_model(self) -> None:
        assert train_ssr_cloud(*cubes(truth()), **QUICK).card.sha256 == model().card.sha256
        assert train_ssr_cloud(*cubes(truth()), **QUICK, seed=1).card.sha256 != model().card.sha256

    def test_lazy_cubes_give_the_same_model(self) -> None:
        lazy = train_ssr_cloud(*(cube.chunk(x=17, time=2) for cube in cubes(truth())), **QUICK)
        assert lazy.card.sha256 == model().card.sha256

    def test_what_lies_under_clouds_has_no_part_in_it(self) -> None:
        ms, hs = truth().isel(band=FEW), truth().isel(time=KEYED).where(clear())
        again = train_ssr_cloud(ms, hs, clear=clear(), **QUICK)
        assert again.card.sha256 == model().card.sha256

    def test_card_tells_what_it_learned_from(self) -> None:
        facts = model().card.training
        assert facts["hs_dates"] == [str(t)[:10] for t in truth()["time"].values[KEYED]]
        assert facts["clear"] == pytest.approx(float(clear().mean()), abs=1e-6)
        assert len(facts["dates"]) == truth().sizes["time"]

    @pytest.mark.slow
    def test_beats_the_nearest_clear_date(self) -> None:
        ms, hs = cubes(truth())
        made = ssr_cloud(ms, train_ssr_cloud(ms, hs, **{**QUICK, "steps": 400, "features": 16}))
        days = (ms["time"].values - ms["time"].values[0]) / np.timedelta64(1, "D")
        away = np.abs(days[:, None] - days)[:, :, None, None] + np.where(clear().values, 0.0, 1e6)
        nearest = np.take_along_axis(truth().values, away.argmin(axis=1)[:, None], axis=0)
        hidden = ~clear() & clear().any("time")
        ours, theirs = (
            np.square(cube - truth()).where(hidden).mean(["band", "y", "x"]).values for cube in (made, nearest)
        )
        # Nothing tells what happened on a date that was clear nowhere; on the others something does.
        some = clear().any(["y", "x"]).values
        assert ours[some].mean() < 0.5 * theirs[some].mean()
        assert ours[~some].mean() < theirs[~some].mean()


class TestWrong:
    def test_nothing_clear_to_learn_from(self) -> None:
        ms, hs = cubes(truth())
        with pytest.raises(ParameterError, match="clear pixels"):
            train_ssr_cloud(ms * np.nan, hs, **QUICK)
        with pytest.raises(ParameterError, match="no spectrum"):
            train_ssr_cloud(ms, hs * np.nan, **QUICK)

    def test_no_date_in_both(self) -> None:
        ms, hs = cubes(truth())
        later = hs.assign_coords(time=hs["time"] + np.timedelta64(400, "D"))
        with pytest.raises(TimeAxisError, match="multispectral"):
            train_ssr_cloud(ms, later, **QUICK)
        with pytest.raises(TimeAxisError, match="one date"):
            train_ssr_cloud(ms.isel(time=[0]), hs, **QUICK)

    def test_other_pixels(self) -> None:
        ms, hs = cubes(truth())
        with pytest.raises(GridMismatchError):
            train_ssr_cloud(ms, hs.assign_coords(x=hs["x"] + 3.0), **QUICK)

    def test_bands_without_wavelengths(self) -> None:
        ms, hs = cubes(truth())
        with pytest.raises(BandNotFoundError, match="without wavelengths"):
            train_ssr_cloud(ms.drop_vars("wavelength"), hs, **QUICK)
        with pytest.raises(BandNotFoundError, match="without wavelengths"):
            train_ssr_cloud(ms, hs.drop_vars("wavelength"), **QUICK)

    @pytest.mark.parametrize(
        "cast", [lambda c: (c.fillna(0) * 1e4).astype("int16"), lambda c: c * 1e4], ids=["int", "float"]
    )
    def test_digital_numbers(self, cast: Any) -> None:
        ms, hs = cubes(truth())
        with pytest.raises(RadiometryError):
            train_ssr_cloud(cast(ms), hs, **QUICK)
        with pytest.raises(RadiometryError):
            ssr_cloud(cast(ms), model())

    @pytest.mark.parametrize("times", [1e4, 100.0], ids=["digital numbers", "percent"])
    @pytest.mark.parametrize("role", [0, 1], ids=["multispectral", "hyperspectral"])
    def test_other_units_in_lazy_cubes_show_when_they_are_read(self, times: float, role: int) -> None:
        given = list(cubes(truth()))
        given[role] = given[role] * times
        with pytest.raises(RadiometryError):
            train_ssr_cloud(*given, **QUICK)
        with pytest.raises(RadiometryError):
            train_ssr_cloud(*(cube.chunk(x=30) for cube in given), **QUICK)

    def test_spectra_in_another_unit_than_the_bands(self) -> None:
        ms, hs = cubes(truth())
        with pytest.raises(RadiometryError, match="as bright"):
            train_ssr_cloud(ms * 0.05, hs, **QUICK)

    def test_digital_numbers_in_a_lazy_cube_show_when_they_are_read(self) -> None:
        ms, _ = cubes(truth())
        lazy = ssr_cloud((ms * 1e4).chunk(x=30), model())
        with pytest.raises(RadiometryError):
            lazy.compute()

    def test_a_model_of_another_task_or_other_bands(self) -> None:
        from sts_scene import model as sts_model

        ms, _ = cubes(truth())
        with pytest.raises(ModelCardError, match="'sts'"):
            ssr_cloud(ms, sts_model())
        with pytest.raises(ModelCardError, match="the bands"):
            ssr_cloud(ms.isel(band=[0, 1]), model())
        with pytest.raises(ModelCardError, match="centred"):
            ssr_cloud(ms.assign_coords(wavelength=ms["wavelength"] + 40.0), model())
        with pytest.raises(ModelCardError):
            ssr_cloud(ms, None)

    def test_clear_that_is_no_probability_or_lies_elsewhere(self) -> None:
        ms, _ = cubes(truth())
        with pytest.raises(ParameterError, match="probabilities"):
            ssr_cloud(ms, model(), clear=clear() * 100.0)
        with pytest.raises(ParameterError, match="probabilities"):
            ssr_cloud(ms, model(), clear=(clear() * 100.0).chunk()).compute()
        with pytest.raises(ParameterError, match="probabilities"):
            train_ssr_cloud(*cubes(truth()), clear=(clear() * 100.0).chunk(), **QUICK)
        with pytest.raises(LayoutError):
            ssr_cloud(ms, model(), clear=clear().isel(time=0))
        with pytest.raises(LayoutError, match="ndarray"):
            ssr_cloud(ms, model(), clear=clear().values)  # type: ignore[arg-type]

    @pytest.mark.parametrize("moved", [
        lambda c: c.isel(time=[0, 1]),
        lambda c: c.isel(x=slice(1, None)),
        lambda c: c.assign_coords(x=c["x"] + 60_000.0),
        lambda c: c.assign_coords(y=c["y"] + 5.0),
        lambda c: c.assign_coords(time=c["time"] + np.timedelta64(1, "D")),
        lambda c: c.assign_coords(time=np.arange(5)),
        lambda c: c.isel(time=[0, 0, 1, 2, 3, 4]),
        lambda c: c.drop_vars("y").isel(y=slice(1, None)),
        lambda c: assign_geobox(c, grid((48, 60), 10.0, "EPSG:32632")),
    ], ids=["few dates", "few pixels", "east", "half a pixel", "a day", "no dates", "twice", "by place", "CRS"])  # fmt: skip
    def test_clear_that_lies_elsewhere(self, moved: Any) -> None:
        ms, hs = cubes(truth())
        with pytest.raises(GridMismatchError, match=r"clear|Expected"):
            ssr_cloud(ms, model(), clear=moved(clear()))
        with pytest.raises(GridMismatchError):
            train_ssr_cloud(ms, hs, clear=moved(clear()), **QUICK)

    @pytest.mark.parametrize(("times", "told"), [
        (["foo"], "foo"),
        ([5], "5"),
        (["2023-03-05", None], "dates"),
        ([], "empty"),
        (["2023-04-05", "2023-03-05"], "unsorted: 2023-03-05.* follows 2023-04-05"),
        (["2023-03-05", "2023-03-05"], "2023-03-05.* more than once"),
    ], ids=str)  # fmt: skip
    def test_target_times_say_what_is_wrong(self, times: Any, told: str) -> None:
        with pytest.raises(TimeAxisError, match=told):
            ssr_cloud(cubes(truth())[0], model(), target_times=times)

    def test_uncertainty_is_asked_for_or_not(self) -> None:
        with pytest.raises(ParameterError, match="uncertainty='x'") as caught:
            ssr_cloud(cubes(truth())[0], model(), uncertainty="x")  # type: ignore[arg-type]
        assert "train" not in str(caught.value)

    def test_no_series(self) -> None:
        ms, _ = cubes(truth())
        with pytest.raises(TimeAxisError):
            ssr_cloud(ms.isel(time=0, drop=True), model())

    @pytest.mark.parametrize(
        "options",
        [
            {"steps": 0}, {"lr": 0.0}, {"reach": 0}, {"windows": 0}, {"patch_size": 1}, {"heads": 3}, {"features": 0},
            {"heads": 0}, {"features": 8.0}, {"blocks": -1},
        ],
        ids=str,
    )  # fmt: skip
    def test_parameters(self, options: dict[str, Any]) -> None:
        with pytest.raises(XrsError):
            train_ssr_cloud(*cubes(truth()), **{**QUICK, **options})
