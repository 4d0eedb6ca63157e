"""What the network of long-time-series fusion knows of its errors, and what is made of that."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sts_scene import QUICK, model, sensors, truth

import xrs
from xrs.errors import ModelCardError, ParameterError
from xrs.kernels import box_taps
from xrs.methods.base import Tile
from xrs.methods.sts._refine import Prior, refined
from xrs.models import Model
from xrs.nets.lts_mtl import LtsMtl
from xrs.nets.uncertain import LaplaceHead
from xrs.operators.fuse_sts import Sensors, StsCase
from xrs.training.steps import Steps
from xrs.training.sts import fuse_sts, train_sts
from xrs.training.sts_examples import examples_of, key_dates, known_of, read_windows
from xrs.training.sts_fit import begin, fit
from xrs.training.sts_uncertainty import HEAD_MARGIN


class TestRefinement:
    """The network's result against what was seen on the date itself."""

    SIDE, EDGE = 10, 4  # common pixels of the tile, and its halo

    def _tile(self, rng: np.random.Generator) -> Tile:
        fine, coarse = 2 * self.SIDE, self.SIDE
        shapes = {"hs": (5, coarse), "ms": (3, fine), "target": (4, fine)}
        arrays = {name: rng.normal(size=(1, b, n, n)).astype("float32") for name, (b, n) in shapes.items()}
        factors = {"hs": 1, "ms": 2, "target": 2}
        days = {name: np.array([7.0]) for name in shapes}
        return Tile(arrays, dict.fromkeys(shapes), factors, self.EDGE, days=days)

    @staticmethod
    def _gradients(side: int) -> np.ndarray:
        step = np.eye(side, k=1)[:-1] - np.eye(side)[:-1]
        return np.concatenate([np.kron(step, np.eye(side)), np.kron(np.eye(side), step)])

    def test_is_the_least_squares_solution(self) -> None:
        rng = np.random.default_rng(0)
        tile = self._tile(rng)
        side, kept = 2 * self.SIDE, 2
        image = rng.normal(size=(5, side, side)).astype("float32")
        basis, _ = np.linalg.qr(rng.normal(size=(5, kept)))
        prior = Prior(basis, np.array([0.5, 0.1]), spread=2.0)
        srf: dict[str, Any] = {role: rng.dirichlet(np.ones(5), n) for role, n in (("ms", 3), ("wide", 4))}
        found = refined(tile, image, 0, prior, noise=0.2, psf={"hs": np.tile(box_taps(2), (5, 1))}, srf=srf)

        half = np.kron(np.eye(self.SIDE), np.full((1, 2), 0.5))
        seeing = {"hs": np.kron(half, half), "ms": np.eye(side**2), "target": np.eye(side**2)}
        matrix = {"hs": basis.T, "ms": srf["ms"], "target": srf["wide"]}
        rows, wanted = [], []
        for name, space in seeing.items():
            seen = tile[name][0].reshape(len(tile[name][0]), -1)
            seen = basis.T @ seen if name == "hs" else seen
            left = seen - matrix[name] @ image.reshape(5, -1) @ space.T
            rows.append(np.kron(matrix[name] @ basis, space) / 0.4)
            wanted.append(left.reshape(-1) / 0.4)
        inverse = np.diag(1 / np.sqrt(prior.variances))
        rows += [np.kron(inverse, np.eye(side**2)), np.kron(inverse, self._gradients(side))]
        wanted += [np.zeros(len(rows[-2])), np.zeros(len(rows[-1]))]
        solution = np.linalg.lstsq(np.concatenate(rows), np.concatenate(wanted), rcond=None)[0]
        core = slice(2 * self.EDGE, -2 * self.EDGE)
        expected = image + np.einsum("bk,kyx->byx", basis, solution.reshape(kept, side, side))
        np.testing.assert_allclose(found, expected[:, core, core], atol=2e-4)

    def test_what_was_not_seen_has_no_say(self) -> None:
        rng = np.random.default_rng(1)
        tile = self._tile(rng)
        image = rng.normal(size=(5, 2 * self.SIDE, 2 * self.SIDE)).astype("float32")
        image[..., 9, 9] = np.nan
        prior = Prior(np.eye(5)[:, :2], np.ones(2), spread=1.0)
        options: dict[str, Any] = {"noise": 0.1, "psf": {"hs": np.tile(box_taps(2), (5, 1))}}
        unknown = refined(replace(tile, days=tile.days | {"hs": np.array([9.0])}), image, 0, prior, **options,
                          srf={"ms": None, "wide": None})  # fmt: skip
        np.testing.assert_array_equal(unknown, tile.core("ms", image))
        known = refined(tile, image, 0, prior, **options, srf={"ms": np.eye(3, 5), "wide": None})
        gone = np.isnan(known)
        assert gone[..., 1, 1].all()
        assert gone.sum() == 5
        assert not np.allclose(known[~gone], tile.core("ms", image)[~gone])

    def test_brings_results_of_noisy_sensors_nearer_to_the_truth(self) -> None:
        seen, rng = truth(), np.random.default_rng(4)
        noisy = [c + 0.01 * rng.standard_normal(c.shape, np.float32) for c in sensors()]
        trained = train_sts(*noisy, psf="box", **QUICK)
        share = 0.01 / float(np.sqrt(seen.var(["time", "y", "x"]).mean()))
        plain, better = (fuse_sts(*noisy, psf="box", model=trained, refine=r, noise=share) for r in (False, True))
        assert float(np.square(better - seen).mean()) < float(np.square(plain - seen).mean())

    def test_training_that_held_nothing_out_cannot_tell_how(self) -> None:
        trained = train_sts(*sensors(), psf="box", **{**QUICK, "steps": 2, "held_out": 0.0})
        assert not trained.weights()["error"].any()
        plain, same = (fuse_sts(*sensors(), psf="box", model=trained, refine=r) for r in (False, True))
        np.testing.assert_array_equal(plain, same)

    @pytest.mark.parametrize("options", [{"refine": 1}, {"noise": 0.0}], ids=str)
    def test_parameters(self, options: dict[str, Any]) -> None:
        with pytest.raises(ParameterError):
            fuse_sts(*sensors(), psf="box", model=model(), **options)


class TestHeldOut:
    def test_places_are_the_same_on_all_dates_and_in_all_windows(self) -> None:
        case = StsCase.of(dict(zip(("hs", "ms", "wide"), sensors(), strict=True)), Sensors(), "box")
        dates = key_dates(case, "1D")
        whole, *parts = (read_windows(case, dates, count=n, side=s, seed=3) for n, s in ((1, 10**6), (6, 4)))
        known, _ = known_of(whole, case, 4)
        every, some = (
            examples_of(w, dates, case, known, 2, held_out=0.2, seed=5) for w in (whole, [w for p in parts for w in p])
        )
        for example in every:
            np.testing.assert_array_equal(example.places, every[0].places)
        assert (every[0].places >= 0).mean() == pytest.approx(0.2, abs=0.02)
        corners = [w.corner for p in parts for w in p]
        assert len(set(corners)) > 1
        for (row, column), example in zip(np.repeat(corners, len(dates), axis=0), some, strict=True):
            size = example.places.shape
            expected = every[0].places[3 * row : 3 * row + size[0], 3 * column : 3 * column + size[1]]
            np.testing.assert_array_equal(example.places, expected)

    def test_nothing_is_learned_there(self) -> None:
        """What was seen at held-out places may be anything."""
        case = StsCase.of(dict(zip(("hs", "ms", "wide"), sensors(), strict=True)), Sensors(), "box")
        dates = key_dates(case, "1D")
        read = read_windows(case, dates, count=1, side=10**6, seed=0)
        known, response = known_of(read, case, 4)
        examples = examples_of(read, dates, case, known, 2, held_out=0.2, seed=0)
        spoilt = [replace(e, fine=e.fine + 9 * torch.from_numpy(e.held_out)) for e in examples]
        networks = []
        for learned in (examples, spoilt):
            network = LtsMtl((4, 4, 12), (1, 1, 1), components=known.basis.shape[1], features=4, blocks=1)
            begin(network, examples, known, response)
            fit(network, learned, np.tile(box_taps(3), (known.basis.shape[1], 1)), 3, Steps(3, 4, 6, 1e-3, 0, "cpu"))
            networks.append(network.state_dict())
        for name, values in networks[0].items():
            torch.testing.assert_close(values, networks[1][name])


@cache
def uncertain(**options: Any) -> Model:
    """Trained to know its errors; more places are held out, for the scene is small."""
    return train_sts(*sensors(), psf="box", **{**QUICK, "steps": 20, "held_out": 0.3, **options})


class TestUncertainty:
    @pytest.mark.parametrize("options", [{"uncertainty": "laplace"}, {"members": 2}], ids=str)
    def test_a_std_stands_beside_the_result(self, options: dict[str, Any]) -> None:
        trained = uncertain(**options)
        told = fuse_sts(*sensors(), psf="box", model=trained, uncertainty=True)
        assert list(told.data_vars) == ["fused", "fused_std"]
        assert told["fused"].attrs["ancillary_variables"] == "fused_std"
        assert "before what the sensors saw" in told["fused_std"].attrs["comment"]
        assert bool((told["fused_std"] > 0).all())
        np.testing.assert_array_equal(told["fused"], fuse_sts(*sensors(), psf="box", model=trained))
        by_band = fuse_sts(
            xrs.cube.to_dataset(sensors()[0]), *sensors()[1:], psf="box", model=trained, uncertainty=True
        )
        np.testing.assert_array_equal(by_band["H03_std"], told["fused_std"].sel(band="H03"))

    def test_it_is_the_same_at_any_chunking_and_from_a_file(self, tmp_path: Path) -> None:
        trained = uncertain(uncertainty="laplace")
        trained.save(tmp_path / "told.safetensors")
        whole = fuse_sts(*sensors(), psf="box", model=trained, uncertainty=True)
        cut = [c.chunk({"x": 12, "y": 12, "time": 2}) for c in sensors()]
        parts = fuse_sts(*cut, psf="box", model=str(tmp_path / "told.safetensors"), uncertainty=True)
        for name in whole.data_vars:
            np.testing.assert_allclose(parts[name], whole[name], atol=1e-5)

    def test_the_network_itself_is_that_without(self) -> None:
        alone = train_sts(*sensors(), psf="box", **{**QUICK, "steps": 20, "held_out": 0.3})
        told = uncertain(uncertainty="laplace")
        one, other = (fuse_sts(*sensors(), psf="box", model=m) for m in (alone, told))
        np.testing.assert_array_equal(one, other)

    def test_a_head_sees_no_farther_than_its_margin(self) -> None:
        head = LaplaceHead((3, 2, 7), (1, 1, 1))
        images = [torch.rand(1, bands, 25, 25).requires_grad_() for bands in (7, 3, 2, 7)]
        head(*images)[..., 12, 12].sum().backward()
        for image in images:
            assert image.grad is not None
            away = np.abs(np.argwhere(image.grad[0].abs().sum(dim=0).numpy() > 0) - 12).max()
            assert away <= HEAD_MARGIN

    def test_held_out_places_are_covered(self) -> None:
        """By halves, each scaled by the other; few places make intervals too wide rather than too narrow."""
        metrics = uncertain(uncertainty="laplace").card.metrics
        assert 0.85 < metrics["coverage"] <= 1.0
        assert metrics["interval_width"] > 0

    def test_nan_where_the_result_is(self) -> None:
        hs, ms, wide = sensors()
        ms = ms.copy(deep=True)
        ms[:, :, 12:18, 20:30] = np.nan
        told = fuse_sts(hs, ms, wide, psf="box", model=uncertain(uncertainty="laplace"), uncertainty=True)
        assert np.isnan(told["fused"]).any()
        np.testing.assert_array_equal(np.isnan(told["fused"]), np.isnan(told["fused_std"]))

    @pytest.mark.slow
    def test_a_model_trained_for_it_here_knows(self) -> None:
        told = fuse_sts(*sensors(), psf="box", uncertainty=True, **{**QUICK, "steps": 2, "held_out": 0.3})
        assert bool((told["fused_std"] > 0).all())

    def test_methods_and_models_that_know_nothing(self) -> None:
        with pytest.raises(ModelCardError, match="knows nothing"):
            fuse_sts(*sensors(), psf="box", model=model(), uncertainty=True)
        for method in ("map_sts", ("starfm", "gsa_hs")):
            with pytest.raises(ParameterError, match="uncertainty=True for"):
                fuse_sts(*sensors(), method, psf="box", uncertainty=True)

    @pytest.mark.parametrize(
        "options",
        [
            {"uncertainty": "laplace", "held_out": 0.1},
            {"uncertainty": "dropout"},
            {"members": 0},
            {"uncertainty": True},
        ],
        ids=str,
    )
    def test_training_refuses(self, options: dict[str, Any]) -> None:
        with pytest.raises(ParameterError):
            train_sts(*sensors(), psf="box", **{**QUICK, **options})
