"""Networks that predict a date from pairs of others: what they compute, training, application, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from support import cube, nothing_computed, rechunked
from training import assert_same_weights

import xrs
from xrs.cube import assign_bands
from xrs.errors import ModelCardError, ParameterError, RadiometryError, TimeAxisError
from xrs.learning.patches import Patches
from xrs.models import Model
from xrs.nets import get_network
from xrs.nets.stf3dcnn import STF3DCNN, SeriesConv
from xrs.training.pair_losses import ms_ssim, mse
from xrs.training.pairs import _examples, _folded, train_pairs

RATIO = 4
NAMES = ("edcstfn", "stf3dcnn")
each = pytest.mark.parametrize("name", NAMES)

#: So small that a training takes a second or two.
TINY: dict[str, Any] = {"patches": 16, "patch_size": 16, "train_batch": 8, "device": "cpu", "progress": False}
SMALL: dict[str, dict[str, Any]] = {"edcstfn": {"features": (4, 8)}, "stf3dcnn": {"features": 4, "layers": 1}}

DATES, PAIRS, TARGET = 5, [0, 2, 4], 3


@cache
def _scene() -> xr.DataArray:
    """Two kinds of cover, each with a season of its own, over texture; its bands have keys and wavelengths."""
    base = cube((48, 64), times=DATES, seed=3)
    season = np.sin(np.linspace(0, 2.5, DATES)).astype("float32")
    fields = (np.add.outer(np.arange(48) // 8, np.arange(64) // 10) % 2).astype("float32")
    change = season[:, None, None, None] * (0.12 * fields - 0.05 * (1 - fields))
    return base.copy(data=(base.values[:1] + change).astype("float32"))


def _inputs() -> tuple[xr.DataArray, xr.DataArray]:
    return _scene().isel(time=PAIRS).copy(), xrs.degrade(_scene(), RATIO, psf="box").copy()


def _train(name: str, fine: xr.DataArray, coarse: xr.DataArray, **options: Any) -> Model:
    return train_pairs(fine, coarse, network=name, **({"epochs": 2} | TINY | SMALL[name] | options))


@cache
def _model(name: str) -> Model:
    return _train(name, *_inputs())


def _fuse(name: str, fine: xr.DataArray, coarse: xr.DataArray, **options: Any) -> xr.DataArray:
    given = {"model": _model(name), "harmonize": False, "device": "cpu", "target_times": _scene().time.values[TARGET]}
    return xrs.fuse_spatiotemporal(fine, coarse, method=name, **(given | options))


def _near(found: Any, wanted: Any, share: float = 1e-4) -> None:
    found, wanted = np.asarray(found), np.asarray(wanted)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=share * np.nanmax(np.abs(wanted)))


def _many_bands(count: int) -> tuple[xr.DataArray, xr.DataArray]:
    """As :func:`_inputs`, of more bands."""
    first = _scene().isel(band=[0])
    values = first.values * np.linspace(0.5, 1.5, count, dtype="float32")[:, None, None]
    names = {f"H{n:02d}": ("", 450.0 + 20 * n) for n in range(count)}
    scene = cube(first.shape[-2:], times=DATES, bands=names, values=values).drop_vars("common_name")
    return scene.isel(time=PAIRS), xrs.degrade(scene, RATIO, psf="box")


class TestNetworks:
    @pytest.mark.parametrize("dates", [1, 2, 5])
    def test_a_convolution_of_series_is_that_of_torch(self, dates: int) -> None:
        layer = SeriesConv(3, 2)
        torch.nn.init.normal_(layer.taps.bias)
        series = torch.rand(2, dates, 3, 7, 6)
        weight = layer.taps.weight.reshape(2, 3, 3, 3, 3).transpose(1, 2)
        wanted = torch.nn.functional.conv3d(series.transpose(1, 2), weight, layer.taps.bias, padding=1)
        found = layer(series.flatten(1, 2)).reshape(2, dates, 2, 7, 6)
        torch.testing.assert_close(found, wanted.transpose(1, 2))

    def test_where_nothing_is_learned_coarse_changes_are_added_and_the_lesser_weighs_more(self) -> None:
        network = STF3DCNN((1,) * 5, (1,) * 5, features=4, layers=1)
        torch.nn.init.zeros_(network.layers[-1].taps.weight)
        fine, levels = torch.rand(2, 1, 1, 6, 6), (0.2, 0.6, 0.3)
        coarse = [torch.full((1, 1, 6, 6), level) for level in levels]
        found = network(fine[0], fine[1], *coarse)
        # Changes of 0.1 from the first pair to the date, and of 0.3 from there to the second.
        wanted = 0.75 * (fine[0] + 0.1) + 0.25 * (fine[1] - 0.3)
        torch.testing.assert_close(found, wanted, rtol=0, atol=5e-3)

    def test_a_longer_series_lends_its_coarse_dates(self) -> None:
        network = STF3DCNN((1,) * 9, (1,) * 4 + (2,) * 5, features=4, layers=1, seed=1)
        for layer in network.layers:
            torch.nn.init.normal_(layer.taps.weight, generator=torch.Generator().manual_seed(2))
        fine, coarse = list(torch.rand(4, 1, 1, 8, 8)), list(torch.rand(5, 1, 1, 4, 4))
        with torch.no_grad():
            first = network(*fine, *coarse)
            assert not torch.equal(network(*fine, torch.rand(1, 1, 4, 4), *coarse[1:]), first)
            assert torch.equal(network(torch.rand(1, 1, 8, 8), *fine[1:], *coarse), first)

    def test_pairs_that_are_the_same_are_as_one_and_their_order_does_not_matter(self) -> None:
        one = get_network("edcstfn").build((2, 2, 2), (1, 2, 2), features=(4, 8), seed=2)
        two = get_network("edcstfn").build((2,) * 5, (1, 1, 2, 2, 2), features=(4, 8), seed=2)
        (f, g), (c, d, p) = torch.rand(2, 1, 2, 8, 8), torch.rand(3, 1, 2, 4, 4)
        with torch.no_grad():
            torch.testing.assert_close(two(f, f, c, c, p), one(f, c, p))
            torch.testing.assert_close(two(f, g, c, d, p), two(g, f, d, c, p))

    @pytest.mark.parametrize(
        ("name", "bands", "ratios"),
        [
            ("stf3dcnn", (2, 2), (1, 4)),
            ("stf3dcnn", (2, 2, 3), (1, 4, 4)),
            ("stf3dcnn", (2,) * 7, (1, 1, 1, 4, 4, 4, 4)),
            ("stf3dcnn", (2, 2, 2), (1, 1, 4)),
            ("edcstfn", (2,) * 9, (1,) * 4 + (4,) * 5),
        ],
    )
    def test_images_that_are_no_pairs_are_refused(self, name: str, bands: Any, ratios: Any) -> None:
        with pytest.raises(ParameterError):
            get_network(name).build(bands, ratios)


class TestLosses:
    def test_one_scale_is_the_ssim_of_another_library(self) -> None:
        metrics = pytest.importorskip("skimage.metrics")
        rng = np.random.default_rng(0)
        one = rng.random((20, 20), dtype=np.float32)
        other = (0.7 * one + 0.3 * rng.random((20, 20), dtype=np.float32)).astype(np.float32)
        options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
        _, image = metrics.structural_similarity(one, other, full=True, **options)
        given = [torch.from_numpy(a)[None, None] for a in (one, other)]
        found = ms_ssim(*given, torch.ones(1, 1, 20, 20, dtype=torch.bool))
        assert float(found) == pytest.approx(1 - image[5:-5, 5:-5].mean(), abs=1e-4)

    def test_five_scales_are_those_of_another_library(self) -> None:
        functional = pytest.importorskip("torchmetrics.functional.image")
        generator = torch.Generator().manual_seed(0)
        one = torch.rand(2, 3, 192, 192, generator=generator)
        other = 0.6 * one + 0.4 * torch.rand(2, 3, 192, 192, generator=generator)
        wanted = functional.multiscale_structural_similarity_index_measure(one, other, data_range=1.0)
        found = ms_ssim(one, other, torch.ones_like(one) > 0)
        # Edges of the images are treated differently.
        assert float(found) == pytest.approx(1 - float(wanted), abs=0.01)

    @pytest.mark.parametrize("loss", [mse, ms_ssim])
    def test_what_is_masked_does_not_count(self, loss: Any) -> None:
        target, mask = torch.rand(1, 2, 24, 24), torch.ones(1, 2, 24, 24, dtype=torch.bool)
        mask[:, :, 5:9, 6:11] = False
        assert float(loss(target, target, mask)) == pytest.approx(0.0, abs=1e-6)
        assert float(loss(torch.where(mask, target, 7.0), target, mask)) == pytest.approx(0.0, abs=1e-6)
        assert float(loss(target + 0.3, target, mask)) > 0.01


class TestTraining:
    @settings(max_examples=30, deadline=None)
    @given(st.integers(2, 9), st.sampled_from([1, 2, 4]), st.integers(0, 3))
    def test_examples_are_dates_between_others(self, dates: int, pairs: int, seed: int) -> None:
        if dates <= pairs:
            with pytest.raises(TimeAxisError, match="dates that both cubes have"):
                _examples(dates, pairs, seed)
            return
        found = _examples(dates, pairs, seed)
        assert len(set(found)) == len(found) <= 60
        for sources, target in found:
            half = max(pairs // 2, 1)
            series = [*sources[:half], target, *sources[half:]]
            steps = {np.sign(b - a) for a, b in pairwise(series)}
            assert len(series) == pairs + 1
            assert steps in ({1}, {-1})
        if pairs == 1 and dates < 8:
            assert len(found) == dates * (dates - 1)

    @each
    def test_card(self, name: str) -> None:
        card = _model(name).card
        pairs = 1 if name == "edcstfn" else 2
        assert (card.network, card.task) == (name, "spatiotemporal")
        assert card.ratios == (1,) * pairs + (RATIO,) * (pairs + 1)
        assert {image.bands for image in card.images} == {("B02", "B03", "B04", "B08")}
        assert card.images[0].wavelengths == (492.0, 560.0, 665.0, 833.0)
        assert card.scale == pytest.approx(float(np.abs(_inputs()[0]).mean()), rel=0.2)
        assert card.training["data"]["dates"] == [str(t)[:10] for t in _inputs()[0].time.values]
        assert set(card.metrics) == {"rmse", "rmse_of_mean"}
        assert len(card.sha256) == 64

    @each
    def test_same_seed_same_weights_at_any_chunking(self, name: str) -> None:
        fine, coarse = _inputs()
        again = _train(name, rechunked(fine, 17, 31), rechunked(coarse, 5, 16, time=5))
        assert_same_weights(again, _model(name))
        other = _train(name, fine, coarse, seed=1)
        assert other.card.sha256 != again.card.sha256

    def test_only_what_patches_lie_on_is_read(self) -> None:
        fine, coarse = _inputs()
        wide = xr.concat([fine] * 8, "x").assign_coords(x=fine.x.values[0] + 10.0 * np.arange(8 * 64))
        far = xrs.degrade(_scene(), RATIO, psf="box")
        far = xr.concat([far] * 8, "x").assign_coords(x=coarse.x.values[0] + 40.0 * np.arange(8 * 16))
        read = set()

        def watch(block: np.ndarray, block_info: Any = None) -> np.ndarray:
            if block_info:
                read.add(block_info[0]["chunk-location"][2:])
            return block

        lazy = rechunked(wide, 16, 16)
        lazy = lazy.copy(data=lazy.data.map_blocks(watch, dtype="float32", meta=np.empty((0,) * 4, "float32")))
        _train("edcstfn", lazy, far, patches=2, epochs=1, harmonize=False)
        assert 0 < len(read) < 3 * 32 / 2

    def test_gaps_are_no_numbers_to_learn(self) -> None:
        fine, coarse = _inputs()
        fine.values[1, :, 10:14, 20:26] = np.nan
        coarse.values[2, 1, 3, 3] = np.nan
        model = _train("stf3dcnn", fine, coarse)
        assert all(np.isfinite(values).all() for values in model.weights().values())
        assert np.isfinite(model.card.metrics["rmse"])

    def test_what_two_dates_cannot_teach_does_not_enter_a_result(self) -> None:
        fine, coarse = _inputs()
        network = _train("stf3dcnn", fine.isel(time=[0, 2]), coarse).build()
        f, g, c, d, p = torch.rand(5, 1, 4, 8, 8)
        wide = STF3DCNN((4,) * 5, (1,) * 5, **SMALL["stf3dcnn"])
        wide.load_state_dict(network.state_dict())
        network.ratio = 1
        with torch.no_grad():
            into, out = (p - c).abs() + 1e-3, (d - p).abs() + 1e-3
            # The change out of the date is that of a single pair from the date to the second.
            earlier, later = network(f, c, p), 2 * g - network(g, p, d)
            torch.testing.assert_close(wide(f, g, c, d, p), (out * earlier + into * later) / (into + out))

    def test_two_dates_are_enough_and_one_is_not(self) -> None:
        fine, coarse = _inputs()
        assert _train("stf3dcnn", fine.isel(time=[0, 2]), coarse).card.ratios == (1, RATIO, RATIO)
        with pytest.raises(TimeAxisError, match="one is predicted from the other"):
            _train("stf3dcnn", fine.isel(time=[0]), coarse)

    def test_longer_series(self) -> None:
        coarse = _inputs()[1]
        model = _train("stf3dcnn", _scene(), coarse, pairs=4)
        assert len(model.card.images) == 9
        four = _scene().isel(time=[0, 1, 3, 4])
        middle = {"target_times": coarse.time.values[2], "model": model}
        found = _fuse("stf3dcnn", four, coarse, pairs=4, **middle)
        assert np.isfinite(found.values).all()
        assert np.abs(found - _fuse("stf3dcnn", four, coarse, **middle)).max() > 0

    def test_no_step_sees_more_than_some_bands_where_all_have_the_same_weights(self) -> None:
        fine, coarse = _many_bands(20)
        seen: list[tuple[int, ...]] = []

        class Watched(STF3DCNN):
            def forward(self, *images: torch.Tensor) -> torch.Tensor:
                if self.training:
                    seen.append(tuple(images[0].shape[:2]))
                return super().forward(*images)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("xrs.training.pairs.get_network", lambda _: replace(get_network("stf3dcnn"), module=Watched))
            model = _train("stf3dcnn", fine, coarse, epochs=1)
        assert max(bands for _, bands in seen) <= 8
        assert model.card.bands[-1] == 20

    def test_bands_of_a_folded_patch_are_its_own(self) -> None:
        number = np.arange(5 * 20, dtype="float32").reshape(5, 20, 1, 1) * np.ones((2, 2), "float32")
        patches = Patches((number, -number), number + 0.5, number < 50, np.arange(15).reshape(5, 3))
        folded = _folded(patches, 3, seed=1)
        assert folded.target.shape == (15, 6, 2, 2)
        np.testing.assert_array_equal(folded.inputs[0], folded.target - 0.5)
        np.testing.assert_array_equal(folded.inputs[1], -folded.inputs[0])
        np.testing.assert_array_equal(folded.mask, folded.inputs[0] < 50)
        np.testing.assert_array_equal(folded.inputs[0][:, 0, 0, 0] // 20, np.repeat(np.arange(5), 3))
        np.testing.assert_array_equal(folded.spots, np.repeat(patches.spots, 3, axis=0))
        values = folded.inputs[0][:, :, 0, 0]
        assert np.unique(values).size == values.size

    def test_wrong_arguments(self) -> None:
        fine, coarse = _inputs()
        for options, complaint in (
            ({"pairs": 3}, "an even number"),
            ({"patch_size": 10}, "multiple of the ratio"),
            ({"loss": "l7"}, "mapping of them"),
            ({"ratio": 2}, "grids of ratio 4"),
            ({"depth": 3}, "no parameter 'depth'"),
        ):
            with pytest.raises(ParameterError, match=complaint):
                _train("stf3dcnn", fine, coarse, **options)
        with pytest.raises(ParameterError, match="task 'spatiotemporal'"):
            train_pairs(fine, coarse, network="dsen2", progress=False)
        with pytest.raises(RadiometryError):
            _train("stf3dcnn", (fine * 1e4).astype("int16"), coarse)


@each
class TestApplication:
    @pytest.mark.parametrize(
        ("fine_chunks", "coarse_chunks", "time"),
        [((48, 64), (12, 16), 1), ((17, 31), (5, 3), 2), (((47, 1), (1, 63)), (12, (1, 15)), 5)],
    )
    def test_any_chunking_gives_the_same_pixels_and_stays_lazy(
        self, name: str, fine_chunks: Any, coarse_chunks: Any, time: int
    ) -> None:
        fine, coarse = _inputs()
        fine.values[1, :, 20:23, 30:34] = np.nan
        coarse.values[1, :, 2, 3] = np.nan
        expected = _fuse(name, fine, coarse, target_times=None)
        assert expected.dtype == np.float32
        assert dict(expected.sizes) == {"time": DATES, "band": 4, "y": 48, "x": 64}
        one, other = rechunked(fine, *fine_chunks, time=time), rechunked(coarse, *coarse_chunks, time=time)
        with nothing_computed():
            lazy = [_fuse(name, one, other, target_times=None, batch_size=2) for _ in range(2)]
        assert lazy[0].data.name == lazy[1].data.name
        _near(lazy[0].compute(scheduler="threads"), expected)

    def test_a_date_does_not_depend_on_the_dates_asked_for(self, name: str) -> None:
        fine, coarse = _inputs()
        _near(_fuse(name, fine, coarse)[0], _fuse(name, fine, coarse, target_times=None)[TARGET])

    def test_what_one_pair_lacks_is_predicted_from_the_other(self, name: str) -> None:
        fine, coarse = _inputs()
        fine.values[1, 2, 20, 30] = np.nan
        found = _fuse(name, fine, coarse)
        alone = _fuse(name, fine.isel(time=[2]), coarse)
        np.testing.assert_allclose(found[0, :, 20, 30], alone[0, :, 20, 30], rtol=1e-5)
        assert np.isfinite(found.values).all()

    def test_outside_of_the_pairs_the_nearest_predicts(self, name: str) -> None:
        fine, coarse = _inputs()
        for near, dates, target in ((1, [0, 1], 4), (1, [1, 2], 0)):
            day = {"target_times": coarse.time.values[target]}
            alone = _fuse(name, fine.isel(time=[near]), coarse, **day)
            _near(_fuse(name, fine.isel(time=dates), coarse, **day), alone, 1e-6)

    def test_of_an_odd_number_of_pairs_as_many_on_each_side_are_used(self, name: str) -> None:
        fine, coarse = _inputs()
        if xrs.get_method(name, "spatiotemporal").pairs[1] < 3:
            with pytest.raises(ParameterError, match="pairs=3"):
                _fuse(name, fine, coarse, pairs=3)
        else:
            _near(_fuse(name, fine, coarse, pairs=3), _fuse(name, fine, coarse), 1e-6)

    def test_gaps_stay_where_nothing_was_seen(self, name: str) -> None:
        fine, coarse = _inputs()
        whole = _fuse(name, fine, coarse)
        fine.values[1:, :, 10, 20] = np.nan
        coarse.values[TARGET, 0, 7, 9] = np.nan
        found = _fuse(name, fine, coarse)
        missing = np.zeros((48, 64), bool)
        missing[10, 20] = missing[28:32, 36:40] = True
        np.testing.assert_array_equal(np.isnan(found.values[0]), np.broadcast_to(missing, (4, 48, 64)))
        np.testing.assert_array_equal(found.values[0, :, 44:, :8], whole.values[0, :, 44:, :8])

    def test_bands_may_come_in_another_order(self, name: str) -> None:
        fine, coarse = _inputs()
        found = _fuse(name, fine.isel(band=[3, 0, 2, 1]), coarse)
        _near(found.sel(band=fine.band), _fuse(name, fine, coarse))

    def test_a_file_gives_the_same(self, name: str, tmp_path: Path) -> None:
        fine, coarse = _inputs()
        path = tmp_path / "model.safetensors"
        _model(name).save(path)
        np.testing.assert_array_equal(_fuse(name, fine, coarse, model=str(path)), _fuse(name, fine, coarse))

    def test_coarse_images_on_the_fine_grid(self, name: str) -> None:
        fine, coarse = _inputs()
        blown = _scene().copy(data=coarse.values.repeat(RATIO, axis=2).repeat(RATIO, axis=3))
        model = _train(name, fine, blown, epochs=1)
        assert set(model.card.ratios) == {1}
        assert np.isfinite(_fuse(name, fine, blown, model=model).values).all()
        with pytest.raises(ModelCardError, match="1 times"):
            _fuse(name, fine, coarse, model=model)
        np.testing.assert_array_equal(_fuse(name, fine, blown, ratio=RATIO), _fuse(name, fine, coarse))

    def test_models_that_do_not_fit_are_refused(self, name: str) -> None:
        fine, coarse = _inputs()
        with pytest.raises(ModelCardError, match="train_pairs"):
            _fuse(name, fine, coarse, model=None)
        with pytest.raises(ModelCardError, match=f"a {name} for"):
            _fuse(name, fine, coarse, model=_model(next(other for other in NAMES if other != name)))
        with pytest.raises(ParameterError, match="one, for all bands"):
            _fuse(name, fine, coarse, model=[_model(name)] * 2)
        with pytest.raises(ModelCardError, match="B08"):
            _fuse(name, fine.isel(band=[0, 1, 2]), coarse)
        with pytest.raises(ModelCardError, match="4 times"):
            _fuse(name, fine, xrs.degrade(_scene(), 8, psf="box"))
        with pytest.raises(RadiometryError):
            _fuse(name, fine * 1e4, coarse * 1e4)
        shifted = [assign_bands(c, list("abcd"), wavelength=[520.0, 600.0, 700.0, 900.0]) for c in (fine, coarse)]
        renamed = [c.assign_coords(band=fine.band.values) for c in shifted]
        with pytest.raises(ModelCardError, match="centred at 520 nm"):
            _fuse(name, *renamed)


@pytest.mark.slow
@each
def test_training_helps(name: str) -> None:
    """On a landscape in spring and summer, held against fine images interpolated in time."""
    times = ["2023-04-05", "2023-05-10", "2023-06-15", "2023-07-20", "2023-08-25"]
    scene = xrs.scenes.landscape((128, 128), times=times, wavelengths=[560, 660, 830]).compute()
    fine, coarse = scene.isel(time=[0, 2, 4]), xrs.degrade(scene, RATIO, psf="box").compute()
    targets = scene.isel(time=[1, 3])
    config = {"features": (16, 32, 64)} if name == "edcstfn" else {"features": 8}
    options = {"patches": 96, "patch_size": 32, "device": "cpu", "progress": False}

    def error(result: xr.DataArray) -> float:
        return float(np.sqrt(((result - targets) ** 2).mean()))

    def error_after(epochs: int) -> float:
        model = train_pairs(fine, coarse, network=name, epochs=epochs, **options, **config)
        return error(
            xrs.fuse_spatiotemporal(
                fine, coarse, method=name, model=model, target_times=targets.time.values, device="cpu"
            )
        )

    trained = error_after(40)
    assert trained < error(fine.interp(time=targets.time))
    assert trained < error_after(1)
