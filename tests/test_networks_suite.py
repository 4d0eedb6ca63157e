"""What every network must pass as a method, with small random weights: the registry is the list of tests."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import torch
import xarray as xr
from models import pan_model, s2_model
from support import nothing_computed, pan_pair, rechunked, s2_tree

import xrs
from xrs.cube import geobox_of
from xrs.lazy.cluster import local_cluster
from xrs.methods import methods_of
from xrs.models import engine

RATIO = 4
PAN = sorted(name for name, m in methods_of("pansharpen").items() if m.needs_model)
SHARPEN = sorted(name for name, m in methods_of("sharpen").items() if m.needs_model)

PAN_CHUNKS = [((40, 56), (96,), (7, 17), (24,)), ((33, 62, 1), (31, 65), (24,), (1, 23))]
TREE_CHUNKS = [{"r10m": (20, 48), "r20m": (7, 24)}, {"r10m": ((47, 1), (1, 30, 17)), "r20m": (24, (1, 23))}]


def _close(a: Any, b: Any, bound: float = 1e-5) -> None:
    a, b = np.asarray(a), np.asarray(b)
    np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
    np.testing.assert_allclose(a, b, rtol=0, atol=bound * float(np.nanmax(np.abs(b))))


def _lazy(tree: xr.DataTree, sizes: Any) -> xr.DataTree:
    return xr.DataTree.from_dict(
        {name: tree[name].to_dataset().chunk({"y": sizes[name][0], "x": sizes[name][1]}) for name in tree.children}
    )


@pytest.mark.parametrize("name", PAN)
class TestPansharpen:
    def test_any_chunking_and_batch_gives_the_same_pixels_and_stays_lazy(self, name: str) -> None:
        ms, pan, _ = pan_pair(24, RATIO)
        model = pan_model(ms, name)
        expected = xrs.pansharpen(ms, pan, method=name, model=model)
        assert expected.dtype == np.float32
        assert geobox_of(expected) == geobox_of(pan)
        for batch, (py, px, my, mx) in enumerate(PAN_CHUNKS, 1):
            with nothing_computed():
                lazy = [
                    xrs.pansharpen(
                        rechunked(ms, my, mx), rechunked(pan, py, px), method=name, model=model, batch_size=batch
                    )
                    for _ in range(2)
                ]
            assert lazy[0].data.name == lazy[1].data.name
            _close(lazy[0].compute(scheduler="threads"), expected)

    def test_missing_values_stay_local(self, name: str) -> None:
        ms, pan, _ = pan_pair(40, RATIO)
        model = pan_model(ms, name)
        whole = xrs.pansharpen(ms, pan, method=name, model=model)
        holed = ms.copy(deep=True)
        holed.values[1, 3, 4] = np.nan
        out = xrs.pansharpen(holed, pan, method=name, model=model)
        hole = np.zeros((4, *pan.shape), bool)
        hole[1, 3 * RATIO : 4 * RATIO, 4 * RATIO : 5 * RATIO] = True
        np.testing.assert_array_equal(np.isnan(out.values), hole)
        # The filled pixel is the only one that changed, and it is seen no farther than the margin.
        edge = (4 + model.card.margin + 1) * RATIO
        _close(out.values[:, edge:], whole.values[:, edge:])
        _close(out.values[:, :, edge:], whole.values[:, :, edge:])

    def test_missing_pan_and_all_missing(self, name: str) -> None:
        ms, pan, _ = pan_pair(8, RATIO)
        model = pan_model(ms, name)
        holed = pan.copy(deep=True)
        holed.values[5:7, 9] = np.nan
        out = xrs.pansharpen(ms, holed, method=name, model=model)
        np.testing.assert_array_equal(np.isnan(out.values), np.broadcast_to(np.isnan(holed.values), out.shape))
        assert np.isnan(xrs.pansharpen(ms * np.float32(np.nan), pan, method=name, model=model)).all()

    def test_dates_are_independent_and_input_is_untouched(self, name: str) -> None:
        ms, pan, _ = pan_pair(8, RATIO, times=2)
        model = pan_model(ms, name)
        before = ms.copy(deep=True), pan.copy(deep=True)
        both = xrs.pansharpen(rechunked(ms, 5, 8, time=2), rechunked(pan, 32, 32), method=name, model=model).compute()
        _close(both.isel(time=1), xrs.pansharpen(ms.isel(time=1), pan.isel(time=1), method=name, model=model))
        xr.testing.assert_identical(before[0], ms)
        xr.testing.assert_identical(before[1], pan)

    def test_unit_does_not_matter_where_the_scale_follows(self, name: str) -> None:
        ms, pan, _ = pan_pair(8, RATIO)
        one = xrs.pansharpen(ms, pan, method=name, model=pan_model(ms, name, scale=0.2))
        numbers = xrs.pansharpen(
            ms * np.float32(1e4), pan * np.float32(1e4), method=name, model=pan_model(ms, name, scale=2e3)
        )
        _close(numbers.values / 1e4, one.values)


@pytest.mark.parametrize("name", SHARPEN)
class TestSharpen:
    def test_any_chunking_gives_the_same_pixels_and_stays_lazy(self, name: str) -> None:
        tree = s2_tree(8, sixty=False)
        model = s2_model(tree, name)
        expected = tree.rsfuse.sharpen(method=name, model=model).to_dataarray("band")
        for sizes in TREE_CHUNKS:
            with nothing_computed():
                lazy = _lazy(tree, sizes).rsfuse.sharpen(method=name, model=model).to_dataarray("band")
            _close(lazy.compute(scheduler="threads"), expected)

    def test_equals_the_bare_network_inside(self, name: str) -> None:
        model = s2_model(s2_tree(1, sixty=False), name)
        tree = s2_tree(-(-(4 * model.card.margin + 8) // 6), sixty=False)
        fine, coarse = (tree[group].to_dataset().to_dataarray("band").values for group in ("r10m", "r20m"))
        with torch.inference_mode():
            bare = model.build()(torch.from_numpy(fine)[None] / 0.2, torch.from_numpy(coarse)[None] / 0.2)[0] * 0.2
        out = tree.rsfuse.sharpen(method=name, model=model)[["B05", "B8A", "B11"]].to_dataarray("band").values
        inside = np.s_[
            :, 2 * model.card.margin : -2 * model.card.margin, 2 * model.card.margin : -2 * model.card.margin
        ]
        assert out[inside].size
        _close(out[inside], bare.numpy()[inside])

    def test_missing_values_stay_local(self, name: str) -> None:
        tree = s2_tree(8, sixty=False)
        tree["r20m"]["B11"].values[3:5, 10] = np.nan
        out = tree.rsfuse.sharpen(method=name, model=s2_model(tree, name))
        hole = np.zeros((48, 48), bool)
        hole[6:10, 20:22] = True
        np.testing.assert_array_equal(np.isnan(out["B11"].values), hole)
        assert out["B8A"].notnull().all()


class TestBandsAndGroups:
    def test_order_of_bands_does_not_matter(self) -> None:
        tree = s2_tree(4, sixty=False)
        model = s2_model(tree)
        turned = xr.DataTree.from_dict({n: tree[n].to_dataset()[list(tree[n].data_vars)[::-1]] for n in tree.children})
        xr.testing.assert_allclose(
            turned.rsfuse.sharpen(method="dsen2", model=model),
            tree.rsfuse.sharpen(method="dsen2", model=model),
            atol=1e-6,
        )

    def test_a_model_for_each_group(self) -> None:
        tree = s2_tree(6)
        both = [s2_model(tree), s2_model(tree, target="r60m")]
        expected = tree.rsfuse.sharpen(method="dsen2", model=both)
        assert list(expected) == ["B01", "B02", "B03", "B04", "B05", "B08", "B8A", "B09", "B11"]
        sizes = {"r10m": (20, 36), "r20m": (7, 18), "r60m": (3, 6)}
        lazy = _lazy(tree, sizes).rsfuse.sharpen(method="dsen2", model=both)
        _close(lazy.to_dataarray("band").compute(), expected.to_dataarray("band"))
        sixty = tree.rsfuse.sharpen(method="dsen2", model=both[1], bands=["B09"])
        assert list(sixty) == ["B02", "B03", "B04", "B08", "B09"]
        _close(sixty["B09"], expected["B09"])

    def test_groups_no_model_needs_are_left_alone(self) -> None:
        tree = s2_tree(4)
        twenty = s2_model(tree)
        tree["r60m"]["B01"].values[:] = np.nan
        out = tree.rsfuse.sharpen(method="dsen2", model=twenty, bands=["B11", "B05"])
        assert list(out) == ["B02", "B03", "B04", "B05", "B08", "B11"]
        assert out.to_dataarray().notnull().all()

    def test_compare_shows_a_network_the_groups_between(self) -> None:
        tree = s2_tree(24)
        both = [s2_model(tree), s2_model(tree, target="r60m")]
        table = xrs.compare(tree, methods=["exp", "dsen2"], params={"dsen2": {"model": both}}, border=2)
        assert table["RMSE"].notnull().all()

    def test_compare_takes_networks_that_are_given_a_model(self) -> None:
        ms, pan, _ = pan_pair(16, RATIO)
        params = {"pnn": {"model": pan_model(ms)}}
        table = xrs.compare(ms, pan, methods=None, params=params, border=4)
        assert "pnn" in table.index
        assert "fusionnet" not in table.index


class TestEngine:
    def test_patches_join_without_seams(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tree = s2_tree(16, sixty=False)
        model = s2_model(tree)
        whole = tree.rsfuse.sharpen(method="dsen2", model=model)["B11"]
        for side in (14, 30, 64):
            monkeypatch.setattr(engine, "_patch_area", lambda *_, side=side: (side // 2 + 2 * model.card.margin) ** 2)
            for batch in (1, 3):
                out = tree.rsfuse.sharpen(method="dsen2", model=model, batch_size=batch)["B11"]
                _close(out, whole)

    @pytest.mark.parametrize(("height", "width"), [(512, 512), (300, 7), (1, 1), (97, 640)])
    @pytest.mark.parametrize(("margin", "area"), [(8, 29000), (0, 100), (16, 64 * 64), (3, 10**9)])
    def test_windows_cover_a_tile_and_keep_to_their_area(self, height: int, width: int, margin: int, area: int) -> None:
        covered = np.zeros((height, width), int)
        for rows, columns in engine._windows(height, width, margin, area):
            covered[rows, columns] += 1
            tall, wide = (s.stop - s.start + 2 * margin for s in (rows, columns))
            assert tall * wide <= area
        assert covered.all()
        assert covered.shape == (height, width)

    def test_memory_that_runs_out_halves_the_batch(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        tree = s2_tree(8, sixty=False)
        model = s2_model(tree, seed=7)
        expected = tree.rsfuse.sharpen(method="dsen2", model=model)["B11"]
        network = engine._held(model, torch.device("cpu")).network
        sizes, forward = [], network.forward

        def small_memory(*images: torch.Tensor) -> torch.Tensor:
            sizes.append(len(images[0]))
            if len(images[0]) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return forward(*images)

        monkeypatch.setattr(network, "forward", small_memory)
        monkeypatch.setattr(engine, "_patch_area", lambda *_: (8 + 2 * model.card.margin) ** 2)
        with caplog.at_level("WARNING", logger="xrs.models"):
            for _ in range(2):
                out = tree.rsfuse.sharpen(method="dsen2", model=model, batch_size=8)["B11"]
                _close(out, expected)
        assert sizes == [8, 4, 2, 2, 2, 2, 1, 2, 2, 2, 2, 1]
        assert [r.getMessage().split(":")[1] for r in caplog.records] == [" going on with 4", " going on with 2"]

    def test_one_patch_that_does_not_fit_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tree = s2_tree(4, sixty=False)
        model = s2_model(tree, seed=8)

        def no_memory(*_: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

        monkeypatch.setattr(engine._held(model, torch.device("cpu")).network, "forward", no_memory)
        with pytest.raises(xrs.errors.ParameterError, match="one patch does not fit"):
            tree.rsfuse.sharpen(method="dsen2", model=model)

    def test_bfloat16_is_close(self) -> None:
        tree = s2_tree(6, sixty=False)
        model = s2_model(tree)
        one = tree.rsfuse.sharpen(method="dsen2", model=model)["B11"]
        half = tree.rsfuse.sharpen(method="dsen2", model=model, dtype="bfloat16")["B11"]
        assert half.dtype == np.float32
        correction = one - xrs.sharpen(tree, method="exp")["B11"]
        difference = float(np.sqrt(((half - one) ** 2).mean()))
        assert 0 < difference < 0.05 * float(np.sqrt((correction**2).mean()))

    def test_threads_to_come_keep_torchs_number(self) -> None:
        ms, pan, _ = pan_pair(8, RATIO)
        before = torch.get_num_threads()
        xrs.pansharpen(rechunked(ms, 4, 4), rechunked(pan, 16, 16), method="pnn", model=pan_model(ms)).compute(
            scheduler="threads", num_workers=2
        )
        assert torch.get_num_threads() == before


def _count_builds() -> None:
    """Count in this process how often a model is built, and note torch's threads where one runs."""
    from xrs.models import Model

    build, infer = Model.build, engine.infer
    engine.builds, engine.threads = [], set()  # type: ignore[attr-defined]

    def counted(self: Model) -> torch.nn.Module:
        engine.builds.append(self.card.sha256)  # type: ignore[attr-defined]
        return build(self)

    def watched(*args: Any, **kwargs: Any) -> Any:
        out = infer(*args, **kwargs)
        engine.threads.add(torch.get_num_threads())  # type: ignore[attr-defined]
        return out

    Model.build = counted  # type: ignore[method-assign]
    engine.infer = watched


def _counted() -> tuple[list[str], set[int]]:
    return engine.builds, engine.threads  # type: ignore[attr-defined]


class TestWorkers:
    def test_threads_load_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ms, pan, _ = pan_pair(24, RATIO)
        model = pan_model(ms, seed=99)
        from xrs.models import Model

        monkeypatch.setattr(Model, "build", Model.build)
        monkeypatch.setattr(engine, "infer", engine.infer)
        _count_builds()
        lazy = xrs.pansharpen(rechunked(ms, 6, 6), rechunked(pan, 24, 24), method="pnn", model=model)
        lazy.compute(scheduler="threads", num_workers=4)
        assert _counted() == ([model.card.sha256], {1})

    @pytest.mark.slow
    def test_processes(self, tmp_path: Path) -> None:
        ms, pan, _ = pan_pair(12, RATIO)
        expected = xrs.pansharpen(ms, pan, method="pnn", model=pan_model(ms))
        for model in (pan_model(ms), pan_model(ms).save(tmp_path / "m.safetensors")):
            lazy = xrs.pansharpen(rechunked(ms, 6, 12), rechunked(pan, 24, 48), method="pnn", model=model)
            _close(lazy.compute(scheduler="processes", num_workers=2), expected)

    @pytest.mark.slow
    def test_distributed_loads_once_a_process(self, tmp_path: Path) -> None:
        ms, pan, _ = pan_pair(24, RATIO)
        kept = pan_model(ms)
        saved = kept.save(tmp_path / "m.safetensors")
        expected = xrs.pansharpen(ms, pan, method="pnn", model=kept)
        big = pan_model(ms, config={"features": (256, 128)}, seed=3)
        with local_cluster(2) as client:
            client.run(_count_builds)
            for model in (str(saved.source), kept, big):
                lazy = xrs.pansharpen(rechunked(ms, 6, 6), rechunked(pan, 24, 24), method="pnn", model=model)
                out = lazy.compute()
                if model is not big:
                    _close(out, expected)
            found = client.run(_counted)
        for builds, threads in found.values():
            assert sorted(builds) == sorted({kept.card.sha256, big.card.sha256})
            assert threads == {1}

    def test_tasks_do_not_carry_the_weights(self) -> None:
        ms, pan, _ = pan_pair(24, RATIO)
        model = pan_model(ms, config={"features": (64, 32)})
        size = sum(v.nbytes for v in model.weights().values())
        lazy = xrs.pansharpen(rechunked(ms, 6, 6), rechunked(pan, 24, 24), method="pnn", model=model)
        tasks = {
            k: v for k, v in dict(lazy.__dask_graph__()).items() if isinstance(k, tuple) and k[0] == lazy.data.name
        }
        assert len(tasks) == 16
        assert all(len(pickle.dumps(task)) < size / 10 for task in tasks.values())

    def test_tokens_of_equal_models_agree(self, tmp_path: Path) -> None:
        ms, pan, _ = pan_pair(6, RATIO)
        kept = pan_model(ms)
        names = {
            xrs.pansharpen(ms.chunk(), pan.chunk(), method="pnn", model=m).data.name
            for m in (kept, str(kept.save(tmp_path / "a.safetensors").source), kept.save(tmp_path / "b.safetensors"))
        }
        assert len(names) == 1
        other = xrs.pansharpen(ms.chunk(), pan.chunk(), method="pnn", model=pan_model(ms, seed=1))
        assert other.data.name not in names


@pytest.mark.parametrize(("family", "name"), [("pansharpen", n) for n in PAN] + [("sharpen", n) for n in SHARPEN])
def test_records_are_whole_and_travel(family: str, name: str) -> None:
    method = xrs.get_method(name, family)
    assert pickle.loads(pickle.dumps(method)) is method
    assert dask.base.tokenize(method) == dask.base.tokenize(method)
    assert method.needs_model
    assert method.summary
    assert method.reference.text
    assert all(p.doc for p in method.params)


def test_classical_methods_and_building_the_record_load_no_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys, xrs; xrs.get_method('gsa', 'sharpen'); xrs.get_method('gsa', 'pansharpen'); xrs.list_models();"
        "import xrs.operators.pansharpen, xrs.operators.compare; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
