"""What networks and other methods tell of their errors: sources, intervals, variables beside bands, products."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import torch
import xarray as xr
from models import spec
from scipy import stats
from support import nothing_computed, pan_pair, s2_tree
from training import assert_same_weights

import xrs
from xrs.cube import ancillaries, band_keys, check_reflectance, to_array, to_dataset
from xrs.errors import ModelCardError, ParameterError
from xrs.learning.losses import laplace
from xrs.methods import methods_of
from xrs.models import Card, ImageSpec, Model
from xrs.nets import get_network
from xrs.nets.receptive import receptive_margin
from xrs.nets.uncertain import LaplaceHead, Uncertain, WithHead
from xrs.quality import coverage

RATIO = 4
KINDS = {"laplace": (1, 0), "dropout": (1, 5), "ensemble": (3, 0)}
CHUNKS = [{"r10m": (20, 48), "r20m": (7, 24)}, {"r10m": ((47, 1), (1, 30, 17)), "r20m": (24, (1, 23))}]


def uncertain(
    images: tuple[ImageSpec, ...], kind: str, network: str = "light", task: str = "sharpen", factor: float = 1.0
) -> Model:
    """A small model with random weights and an uncertainty of this kind."""
    members, passes = KINDS[kind]
    config: dict[str, Any] = {"features": 8, "blocks": 2} | ({"dropout": 0.3} if passes else {})
    facts = {"kind": kind, "members": members, "passes": passes, "level": 0.9}
    facts["factors"] = dict.fromkeys(images[-1].bands, factor)
    card = Card(network, task, images, config=config, scale=0.2, uncertainty=facts)
    layout = card.bands, card.ratios
    built = [get_network(network).build(*layout, seed=seed, **config) for seed in range(members)]
    for module in built:
        # Fresh networks differ little from interpolation.
        module.tail.weight.data.mul_(30.0)
    heads = [LaplaceHead(*layout, seed=9)] if kind == "laplace" else []
    for head in heads:
        head.last.weight.data.mul_(30.0)
    return Model.from_module(Uncertain(built, heads, passes), card)


def of_tree(groups: xr.DataTree, kind: str, **options: Any) -> Model:
    images = tuple(spec(to_array(groups[n].to_dataset()), r) for n, r in (("r10m", 1), ("r20m", 2)))
    return uncertain(images, kind, **options)


def lazy(groups: xr.DataTree, sizes: Any) -> xr.DataTree:
    return xr.DataTree.from_dict(
        {name: groups[name].to_dataset().chunk({"y": sizes[name][0], "x": sizes[name][1]}) for name in groups.children}
    )


def close(a: Any, b: Any, bound: float = 1e-5) -> None:
    a, b = np.asarray(a), np.asarray(b)
    np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
    np.testing.assert_allclose(a, b, rtol=0, atol=bound * float(np.nanmax(np.abs(b))))


class TestSources:
    @pytest.mark.parametrize("kind", KINDS)
    def test_nothing_beyond_the_margin_changes_the_spread(self, kind: str) -> None:
        model = of_tree(s2_tree(2, sixty=False), kind)
        network, margin = model.build().eval(), model.card.margin
        alone = receptive_margin(network.members[0], model.card.bands, model.card.ratios)
        assert margin > alone if kind == "laplace" else margin == alone
        side = 2 * margin + 7
        images = [torch.rand(1, 4, 2 * side, 2 * side), torch.rand(1, 3, side, side)]
        changed = [image.clone() for image in images]
        for image, step in zip(changed, (2, 1), strict=True):
            image[..., : 3 * step, : 3 * step] += 1.0
        with torch.inference_mode():
            before, after = network.spread(*images), network.spread(*changed)
        inner = 2 * (3 + margin)
        for one, other in zip(before, after, strict=True):
            assert not torch.equal(one, other)
            torch.testing.assert_close(one[..., inner:, :], other[..., inner:, :])
            torch.testing.assert_close(one[..., inner:], other[..., inner:])

    def test_members_and_heads_add_by_the_law_of_total_variance(self) -> None:
        class Constant(torch.nn.Module):
            def __init__(self, value: float) -> None:
                super().__init__()
                self.value = value

            def forward(self, *images: torch.Tensor) -> torch.Tensor:
                return torch.full_like(images[0], self.value)

        # A mixture of Laplace distributions, drawn from.
        means, scales = (0.2, 0.5, 1.1), (0.3, 0.1, 0.6)
        network = Uncertain([Constant(m) for m in means], [Constant(np.log(s)) for s in scales])  # type: ignore[arg-type]
        mean, std = network.spread(torch.zeros(1, 1, 1, 1))
        drawn = np.concatenate(
            [stats.laplace.rvs(m, s, 400_000, random_state=5) for m, s in zip(means, scales, strict=True)]
        )
        assert float(mean) == pytest.approx(drawn.mean(), abs=2e-3)
        assert float(std) == pytest.approx(drawn.std(), rel=5e-3)

    def test_the_result_is_that_of_the_whole_network(self) -> None:
        model = of_tree(s2_tree(2, sixty=False), "dropout")
        network = model.build().eval()
        images = [torch.rand(2, 4, 12, 12), torch.rand(2, 3, 6, 6)]
        whole = get_network("light").build((4, 3), (1, 2), features=8, blocks=2).eval()
        whole.load_state_dict(network.members[0].state_dict())
        with torch.inference_mode():
            mean, _ = network.spread(*images)
            torch.testing.assert_close(mean, whole(*images))
            torch.testing.assert_close(mean, network(*images))

    def test_thinned_networks_are_the_same_in_all_pixels_and_batches(self) -> None:
        member = of_tree(s2_tree(2, sixty=False), "dropout").build().eval().members[0]
        images = [torch.rand(1, 4, 1, 1).expand(3, 4, 48, 48), torch.rand(1, 3, 1, 1).expand(3, 3, 24, 24)]
        with torch.inference_mode():
            results = [member(*images, thinned=n) for n in range(4)]
            again = member(*(i[:1] for i in images), thinned=2)
        for result in results:
            inner = result[..., 16:-16, 16:-16]
            # Pixels that share a place in their coarse pixel are alike.
            torch.testing.assert_close(inner[..., ::2, ::2], inner[:1, :, :1, :1].expand_as(inner[..., ::2, ::2]))
        torch.testing.assert_close(again, results[2][:1])
        assert len({float(r.sum()) for r in results}) == 4

    def test_thinned_networks_have_the_mean_of_the_whole(self) -> None:
        # The chain's last block alone drops channels, after which all is linear.
        member = of_tree(s2_tree(2, sixty=False), "dropout").build().eval().members[0]
        images = [torch.rand(1, 4, 12, 12), torch.rand(1, 3, 6, 6)]
        with torch.inference_mode():
            thinned = torch.stack([member(*images, thinned=n) for n in range(3000)])
            whole = member(*images)
        doubt = thinned.std(0) / 3000**0.5
        assert float(((thinned.mean(0) - whole) / doubt).abs().mean()) < 1.5

    def test_a_head_learns_and_the_network_stays(self) -> None:
        member = get_network("light").build((2, 1), (1, 2), features=8, blocks=1, dropout=0.5)
        before = {k: v.clone() for k, v in member.state_dict().items()}
        pair = WithHead(member, LaplaceHead((2, 1), (1, 2)))
        pair.train()
        assert not member.training
        images = [torch.rand(4, 2, 8, 8), torch.rand(4, 1, 4, 4)]
        optimizer = torch.optim.Adam(pair.parameters(), lr=0.1)
        target = torch.rand(4, 1, 8, 8)
        for _ in range(3):
            optimizer.zero_grad()
            laplace(pair(*images), target, torch.ones_like(target, dtype=torch.bool)).backward()
            optimizer.step()
        for name, values in member.state_dict().items():
            assert torch.equal(values, before[name])

    def test_the_loss_is_the_likelihood(self) -> None:
        rng = np.random.default_rng(0)
        mean, logs, target = (torch.from_numpy(rng.normal(size=(2, 3, 5, 5))) for _ in range(3))
        mask = torch.from_numpy(rng.random((2, 3, 5, 5)) < 0.7)
        found = laplace(torch.cat([mean, logs], dim=1), target, mask)
        density = stats.laplace.logpdf(target.numpy(), mean.numpy(), np.exp(logs.numpy()))
        # Without the constant ln 2, and counted from -7.
        assert float(found) == pytest.approx(-density[mask.numpy()].mean() - np.log(2) + 7.0)


class TestCards:
    def test_files_keep_it(self, tmp_path: Path) -> None:
        groups = s2_tree(4, sixty=False)
        model = of_tree(groups, "laplace", factor=1.7)
        again = xrs.load_model(model.save(tmp_path / "m.safetensors").source)
        assert again.card == model.card
        assert_same_weights(again, model)
        xr.testing.assert_identical(
            xrs.sharpen(groups, "light", model=again, uncertainty=True),
            xrs.sharpen(groups, "light", model=model, uncertainty=True),
        )

    def test_factors_scale_the_standard_deviation(self) -> None:
        groups = s2_tree(4, sixty=False)
        one, two = (
            xrs.sharpen(groups, "light", model=of_tree(groups, "laplace", factor=f), uncertainty=True)
            for f in (1.0, 2.0)
        )
        close(two["B11_std"], 2 * one["B11_std"])
        xr.testing.assert_equal(one["B11"], two["B11"])

    @pytest.mark.parametrize(
        "wrong",
        [{"kind": "hope"}, {"factors": {}}, {"factors": {"B11": 0.0}}, {"members": 0}, {"level": 1.0}, {"more": 1}],
        ids=str,
    )
    def test_what_is_none_is_refused(self, wrong: dict[str, Any]) -> None:
        facts = {"kind": "laplace", "members": 1, "passes": 0, "level": 0.9, "factors": {"B11": 1.0}} | wrong
        with pytest.raises(ModelCardError):
            Card("light", "sharpen", (ImageSpec(("B04",)), ImageSpec(("B11",), 2)), uncertainty=facts)


@pytest.mark.parametrize("kind", KINDS)
class TestNetworks:
    def test_any_chunking_gives_the_same_and_stays_lazy(self, kind: str) -> None:
        groups = s2_tree(8, sixty=False)
        model = of_tree(groups, kind)
        expected = groups.rsfuse.sharpen(method="light", model=model, uncertainty=True)
        plain = groups.rsfuse.sharpen(method="light", model=model)
        assert list(expected) == [*plain, "B05_std", "B8A_std", "B11_std"]
        for band in ("B05", "B8A", "B11"):
            assert float(expected[f"{band}_std"].min()) > 0
            close(expected[band], plain[band])
        for batch, sizes in enumerate(CHUNKS, 1):
            with nothing_computed():
                found = lazy(groups, sizes).rsfuse.sharpen(
                    method="light", model=model, uncertainty=True, batch_size=batch
                )
            close(found.to_dataarray().compute(), expected.to_dataarray())

    def test_missing_values_stay_local(self, kind: str) -> None:
        groups = s2_tree(8, sixty=False)
        model = of_tree(groups, kind)
        whole = xrs.sharpen(groups, "light", model=model, uncertainty=True)
        groups["r20m"]["B11"].values[3:5, 2] = np.nan
        out = xrs.sharpen(groups, "light", model=model, uncertainty=True)
        hole = np.zeros((48, 48), bool)
        hole[6:10, 4:6] = True
        for name in ("B11", "B11_std"):
            np.testing.assert_array_equal(np.isnan(out[name].values), hole)
        assert out["B8A_std"].notnull().all()
        edge = 2 * (5 + model.card.margin + 1)
        close(out["B8A_std"].values[edge:], whole["B8A_std"].values[edge:])

    def test_pansharpening_of_arrays_and_datasets(self, kind: str) -> None:
        ms, pan, _ = pan_pair(8, RATIO)
        model = uncertain((ImageSpec(("pan",)), spec(ms, RATIO)), kind, task="pansharpen")
        both = xrs.pansharpen(ms, pan, "light", model=model, uncertainty=True)
        assert list(both) == ["fused", "fused_std"]
        assert both["fused_std"].dims == both["fused"].dims == ("band", "y", "x")
        named = xrs.pansharpen(ms.rename("ms"), pan, "light", model=model, uncertainty=True)
        assert list(named) == ["ms", "ms_std"]
        bands = xrs.pansharpen(to_dataset(ms), pan, "light", model=model, uncertainty=True)
        assert list(bands) == ["B02", "B03", "B04", "B08", "B02_std", "B03_std", "B04_std", "B08_std"]
        np.testing.assert_array_equal(bands["B03_std"], both["fused_std"].sel(band="B03"))
        assert to_array(both).name == "fused"
        assert "ancillary_variables" not in to_array(both).attrs


class TestGroups:
    def test_several_models_and_chosen_bands(self) -> None:
        groups = s2_tree(6)
        twenty = of_tree(groups, "laplace")
        names = (("r10m", 1), ("r20m", 2), ("r60m", 6))
        sixty = uncertain(tuple(spec(to_array(groups[n].to_dataset()), r) for n, r in names), "ensemble")
        both = xrs.sharpen(groups, "light", model=[twenty, sixty], uncertainty=True)
        alone = xrs.sharpen(groups, "light", model=sixty, bands=["B09"], uncertainty=True)
        assert list(alone) == ["B02", "B03", "B04", "B08", "B09", "B09_std"]
        close(alone["B09_std"], both["B09_std"])
        first = xrs.sharpen(groups, "light", model=twenty, bands=["B11"], uncertainty=True)
        close(first["B11_std"], both["B11_std"])

    @pytest.mark.slow
    def test_processes(self) -> None:
        groups = s2_tree(4, sixty=False)
        model = of_tree(groups, "dropout")
        expected = xrs.sharpen(groups, "light", model=model, uncertainty=True)["B11_std"]
        chunked = lazy(groups, {"r10m": (12, 24), "r20m": (6, 12)})
        found = xrs.sharpen(chunked, "light", model=pickle.loads(pickle.dumps(model)), uncertainty=True)["B11_std"]
        assert found.data.name == xrs.sharpen(chunked, "light", model=model, uncertainty=True)["B11_std"].data.name
        close(found.compute(scheduler="processes", num_workers=2), expected)

    def test_bands_and_their_spread_are_computed_together(self) -> None:
        groups = s2_tree(4, sixty=False)
        chunked = lazy(groups, {"r10m": (-1, -1), "r20m": (-1, -1)})
        found = xrs.sharpen(chunked, "light", model=of_tree(groups, "laplace"), uncertainty=True)
        (graph,) = dask.optimize(found)
        tasks = [k for k in dict(graph.__dask_graph__()) if isinstance(k, tuple) and str(k[0]).startswith("xrs-light")]
        assert len(tasks) == 1

    def test_what_cannot_be_told_is_named(self) -> None:
        groups = s2_tree(4, sixty=False)
        from models import s2_model

        with pytest.raises(ModelCardError, match="uncertainty='laplace'"):
            xrs.sharpen(groups, "dsen2", model=s2_model(groups), uncertainty=True)
        with pytest.raises(ParameterError, match="leave inject= out"):
            xrs.sharpen(groups, "light", model=of_tree(groups, "laplace"), uncertainty=True, inject="ssr")


class TestResidual:
    @pytest.mark.parametrize("method", ["exp", "gsa", "mtf_glp", "brovey", "supreme", "atprk"])
    def test_any_chunking_gives_the_same_and_stays_lazy(self, method: str) -> None:
        groups = s2_tree(8, sixty=False)
        expected = xrs.sharpen(groups, method, uncertainty=True)
        assert list(expected)[-3:] == ["B05_residual", "B8A_residual", "B11_residual"]
        with nothing_computed():
            found = [xrs.sharpen(lazy(groups, sizes), method, uncertainty=True) for sizes in CHUNKS]
        for one in found:
            for name in list(expected)[-3:]:
                np.testing.assert_allclose(one[name], expected[name], rtol=1e-3, atol=1e-5)

    def test_a_result_that_gives_the_observation_back_has_none(self) -> None:
        ms, _, _ = pan_pair(12, RATIO)
        # Repeated pixels seen through the block mean are what was observed.
        flat = ms.isel(y=np.repeat(range(12), RATIO), x=np.repeat(range(12), RATIO)).values
        from xrs.kernels import box_taps
        from xrs.operators._uncertainty import residual

        taps = np.tile(box_taps(RATIO), (4, 1))
        found = residual(flat[None], ms.values[None], taps)
        assert found.shape == (1, *flat.shape)
        assert float(np.abs(found).max()) < 1e-6
        np.testing.assert_allclose(residual(flat[None] + np.float32(0.03), ms.values[None], taps), 0.03, rtol=1e-4)

    def test_it_is_the_local_mean_square(self) -> None:
        from xrs.kernels import box_taps
        from xrs.operators._uncertainty import residual

        coarse = np.zeros((1, 1, 7, 7), np.float32)
        coarse[0, 0, 3, 3] = 0.6
        found = residual(np.zeros((1, 1, 14, 14), np.float32), coarse, box_taps(2)[None])
        expected = np.zeros((7, 7))
        # One misfit of 0.6 among the nine pixels of each window that holds it.
        expected[2:5, 2:5] = 0.6 / 3
        np.testing.assert_allclose(found[0, 0], expected.repeat(2, 0).repeat(2, 1), rtol=1e-6)

    def test_point_spread_is_the_operators(self) -> None:
        groups = s2_tree(8, sixty=False)
        found = xrs.sharpen(groups, "gsa", uncertainty=True, psf="box")
        seen = xrs.degrade(to_array(found[["B11"]]), 2, psf="box")
        misfit = (seen - groups["r20m"]["B11"]).values[0]
        window = np.sqrt((misfit[4:7, 8:11] ** 2).mean())
        np.testing.assert_allclose(found["B11_residual"].values[10:12, 18:20], window, rtol=1e-4)

    def test_missing_values_stay_local(self) -> None:
        groups = s2_tree(8, sixty=False)
        whole = xrs.sharpen(groups, "mtf_glp", uncertainty=True)
        groups["r20m"]["B11"].values[3, 4] = np.nan
        groups["r10m"]["B04"].values[30, 31] = np.nan
        out = xrs.sharpen(groups, "mtf_glp", uncertainty=True)
        for band in ("B05", "B8A", "B11"):
            np.testing.assert_array_equal(np.isnan(out[f"{band}_residual"].values), np.isnan(out[band].values))
        close(out["B8A_residual"].values[:, 44:], whole["B8A_residual"].values[:, 44:], 5e-2)

    def test_every_pansharpening_method_has_one(self) -> None:
        ms, pan, _ = pan_pair(8, RATIO)
        for method in methods_of("pansharpen", models=False):
            both = xrs.pansharpen(ms, pan, method, uncertainty=True)
            assert list(both) == ["fused", "fused_residual"]
            assert both["fused_residual"].notnull().all()


class TestAncillary:
    @pytest.fixture
    def fine(self) -> xr.Dataset:
        groups = s2_tree(8, sixty=False)
        for group in groups.children:
            for band in groups[group].data_vars.values():
                band.attrs["units"] = "1"
        return xrs.sharpen(groups, "light", model=of_tree(groups, "laplace", factor=0.05), uncertainty=True)

    def test_attributes(self, fine: xr.Dataset) -> None:
        assert fine["B11"].attrs["ancillary_variables"] == "B11_std"
        assert "90 % interval" in fine["B11_std"].attrs["long_name"]
        assert "scale the network was trained at" in fine["B11_std"].attrs["comment"]
        assert "standard_name" not in fine["B11_std"].attrs
        ms, pan, _ = pan_pair(8, RATIO)
        ms.attrs |= {"standard_name": "surface_bidirectional_reflectance", "units": "1"}
        model = uncertain((ImageSpec(("pan",)), spec(ms, RATIO)), "laplace", task="pansharpen")
        told = xrs.pansharpen(to_dataset(ms), pan, "light", model=model, uncertainty=True)["B02_std"]
        assert told.attrs["standard_name"] == "surface_bidirectional_reflectance standard_error"
        assert told.attrs["units"] == "1"

    def test_they_are_no_bands(self, fine: xr.Dataset) -> None:
        bands = ["B02", "B03", "B04", "B05", "B08", "B8A", "B11"]
        assert band_keys(fine) == bands
        assert list(to_array(fine).band.values) == bands
        assert list(ancillaries(fine)) == ["B05_std", "B8A_std", "B11_std"]
        assert list(ancillaries(fine, "std")) == ["B05", "B8A", "B11"]
        assert list(ancillaries(fine, "residual")) == []
        check_reflectance(fine.assign(B11_std=fine["B11_std"] + 100))
        assert set(xrs.degrade(fine, 2)) == set(bands)
        assert list(xrs.index(fine, "NDVI")) == ["NDVI"]
        assert xrs.evaluate(fine, fine, ratio=2)["rmse"] == 0
        again = xrs.sharpen({"fine": fine[["B02", "B05", "B05_std"]], "coarse": s2_tree(8)["r20m"].to_dataset()}, "exp")
        assert "B05_std" not in again

    def test_alone_it_is_a_cube(self, fine: xr.Dataset) -> None:
        assert band_keys(fine[["B11_std"]]) == ["B11_std"]
        keys = ["B05", "B8A", "B11"]
        truth = fine[keys] + 1.644 * ancillaries(fine, "std")
        assert (coverage(fine[keys], ancillaries(fine, "std"), truth) == 1).all()

    @pytest.mark.parametrize("packing", [None, "int16"])
    def test_products(self, fine: xr.Dataset, packing: str | None, tmp_path: Path) -> None:
        import json

        dated = fine.expand_dims(time=np.array(["2024-05-01"], "datetime64[ns]"))
        place = xrs.to_product(dated, tmp_path / "p.zarr", packing=packing, overviews=1, progress=False)
        found = xrs.open_product(place)
        assert set(found) == set(fine)
        assert set(band_keys(found)) == set(band_keys(fine))
        assert found["B11"].attrs["ancillary_variables"] == "B11_std"
        assert found["B11_std"].attrs == fine["B11_std"].attrs
        assert found["B11_std"].chunks is not None
        bound = 0.0 if packing is None else 0.5001e-4
        np.testing.assert_allclose(found["B11_std"].values[0], fine["B11_std"].values, rtol=0, atol=bound)
        small = xrs.open_product(place, level=1)
        blocks = fine["B11_std"].coarsen(y=2, x=2).mean()
        np.testing.assert_allclose(small["B11_std"].values[0], blocks, rtol=1e-5, atol=1e-4 if packing else 0)
        item = json.loads((tmp_path / "p.json").read_text())
        assert [band["name"] for band in item["assets"]["data"]["bands"]] == band_keys(fine)

    def test_products_name_nothing_that_is_not_there(self, fine: xr.Dataset, tmp_path: Path) -> None:
        place = xrs.to_product(fine[["B11", "B8A", "B8A_std"]], tmp_path / "p.zarr", progress=False)
        found = xrs.open_product(place)
        assert "ancillary_variables" not in found["B11"].attrs
        assert found["B8A"].attrs["ancillary_variables"] == "B8A_std"
        place = xrs.to_product(fine["B11"], tmp_path / "one.zarr", progress=False)
        assert "ancillary_variables" not in xrs.open_product(place)["B11"].attrs
