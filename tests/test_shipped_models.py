"""The local regression a light network can start from, the point spread it is told, and the weights that are shipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from sharpening import DSEN2, exact_case, scores, t33uub
from training import TINY, tree

import xrs
from xrs.errors import ParameterError
from xrs.kernels import decimate, stack_taps
from xrs.kernels.psf import gaussian_taps
from xrs.models import Card, ImageSpec, Model
from xrs.models.spread import seen_through
from xrs.nets import get_network
from xrs.nets._regression import LocalRegression, PointSpread
from xrs.training import shipped


def groups(fine: np.ndarray, coarse: np.ndarray, size: float = 10.0) -> xr.DataTree:
    def group(bands: np.ndarray, keys: tuple[str, ...], pixel: float) -> xr.Dataset:
        y, x = ((np.arange(n) + 0.5) * pixel for n in bands.shape[1:])
        named = {key: (("y", "x"), band) for key, band in zip(keys, bands, strict=True)}
        return xr.Dataset(named, {"y": y[::-1], "x": x})

    return xr.DataTree.from_dict(
        {"r10m": group(fine, shipped.FINE, size), "r20m": group(coarse, shipped.COARSE, 2 * size)}
    )


def stacked(result: xr.Dataset) -> np.ndarray:
    return np.stack([result[key].values for key in shipped.COARSE])


def small_model(**config: Any) -> Model:
    config = {"features": 8, "blocks": 1, "step": 1, "window": 3, **config}
    images = (ImageSpec(shipped.FINE), ImageSpec(shipped.COARSE, ratio=2))
    module = get_network("light").build((4, 6), (1, 2), **config)
    return Model.from_module(module, Card("light", "sharpen", images, config=config))


def test_bands_that_are_sums_of_fine_ones_are_found_exactly() -> None:
    fine, _, _, truth = exact_case()
    spread = PointSpread(gaussian_taps(0.3, 2).tolist(), 3, 2)
    regression = LocalRegression(4, 3, 5, 2).double()
    torch.nn.init.constant_(regression.log_ridge, -30.0)
    image, target = torch.from_numpy(fine[None]).double(), decimate(truth[:3], gaussian_taps(0.3, 2), 2)
    found = regression(image, spread.guides(image), torch.from_numpy(target[None]).double())
    np.testing.assert_allclose(found[0].detach().numpy(), truth[:3], atol=2e-5)


def test_the_regression_is_ridge_regression_towards_the_prior() -> None:
    rng = np.random.default_rng(3)
    fine, coarse, prior = rng.normal(size=(4, 9, 9)), rng.normal(size=(2, 9, 9)), rng.normal(size=(2, 4))
    regression = LocalRegression(4, 2, 3, 1).double()
    torch.nn.init.constant_(regression.log_ridge, np.log(0.1))
    regression.prior.data = torch.from_numpy(prior)
    guide, target = torch.from_numpy(fine[None]), torch.from_numpy(coarse[None])
    found = regression(guide, guide, target)[0, :, 4, 4].detach().numpy()
    x, y = fine[:, 3:6, 3:6].reshape(4, 9).T, coarse[:, 3:6, 3:6].reshape(2, 9).T
    rows = np.vstack([(x - x.mean(axis=0)) / 3, np.sqrt(0.1) * np.eye(4)])
    right = np.vstack([(y - y.mean(axis=0)) / 3, np.sqrt(0.1) * prior.T])
    weights = np.linalg.lstsq(rows, right, rcond=None)[0]
    np.testing.assert_allclose(found, y.mean(axis=0) + (fine[:, 4, 4] - x.mean(axis=0)) @ weights, rtol=1e-10)


def test_corrections_lead_to_what_was_observed_and_leave_what_fits() -> None:
    truth = exact_case()[3]
    taps = stack_taps([gaussian_taps(gain, 2) for gain in (0.3, 0.25, 0.3)])
    spread = PointSpread(taps.tolist(), 3, 2)
    target = torch.from_numpy(truth[None, :3])
    seen = torch.from_numpy(decimate(truth[:3], taps, 2)[None])
    torch.testing.assert_close(spread.corrected(target, seen, 5), target, atol=1e-6, rtol=0)
    flat = torch.full_like(target, 0.3)
    errors = [float((spread.seen(spread.corrected(flat, seen, n)) - seen).square().mean()) for n in (0, 3, 30)]
    assert errors[0] > 5 * errors[1] > 5 * errors[2]


@pytest.mark.parametrize("psf", [np.ones((2, 4)) / 4, np.ones((1, 1, 2))])
def test_a_point_spread_of_other_bands_is_refused(psf: np.ndarray) -> None:
    with pytest.raises(ParameterError, match="psf of shape"):
        PointSpread(psf.tolist(), 3, 2)


@pytest.mark.parametrize("window", [1, 4])
def test_a_window_has_a_middle(window: int) -> None:
    with pytest.raises(ParameterError, match="window"):
        get_network("light").build((4, 6), (1, 2), window=window)


def test_the_same_weights_serve_another_point_spread() -> None:
    model = small_model()
    other = seen_through(model, gaussian_taps(0.2, 2))
    assert other.card.sha256 == model.card.sha256
    assert other.card.margin > model.card.margin
    assert "psf" not in model.card.config
    assert seen_through(other, gaussian_taps(0.2, 2)) is other
    for name, values in other.weights().items():
        np.testing.assert_array_equal(values, model.weights()[name])


def test_networks_without_a_point_spread_stay_as_they_are() -> None:
    images = (ImageSpec(("B04", "B08")), ImageSpec(("B11",), ratio=2))
    config = {"features": 8, "blocks": 1}
    module = get_network("dsen2").build((2, 1), (1, 2), **config)
    model = Model.from_module(module, Card("dsen2", "sharpen", images, config=config))
    assert seen_through(model, DSEN2) is model


@pytest.mark.parametrize("gain", [0.25, 0.4])
def test_the_result_keeps_what_was_observed_through_the_given_point_spread(gain: float) -> None:
    fine, _, _, truth = exact_case()
    coarse = np.concatenate([truth[:3], truth[:3]])
    taps = gaussian_taps(gain, 2)
    seen = decimate(coarse, taps, 2)
    model = small_model(projections=8)
    fused = stacked(xrs.sharpen(groups(fine, seen), method="light", model=model, psf={"r20m": taps}))
    other = stacked(xrs.sharpen(groups(fine, seen), method="light", model=model, psf={"r20m": DSEN2}))
    kept, lost = (float(np.abs(decimate(image, taps, 2) - seen).mean()) for image in (fused, other))
    assert kept < 0.2 * lost


def test_training_tells_the_network_the_point_spread() -> None:
    model = xrs.train(tree(24), **TINY | {"window": 3, "psf": "gaussian_box", "epochs": 1, "patch_size": 16})
    taps = np.asarray(model.card.config["psf"])
    np.testing.assert_allclose(taps, np.broadcast_to(DSEN2, taps.shape))


def test_pairs_show_the_ground_at_both_scales() -> None:
    rng = np.random.default_rng(0)
    scenes = [(rng.random((4, 128, 128), np.float32), rng.random((6, 64, 64), np.float32)) for _ in range(2)]
    train, held_out = shipped.pairs_of(scenes)
    assert (len(train), len(held_out)) == (28, 4)
    fine, coarse, target = train[3]
    assert (fine.shape, coarse.shape, target.shape) == ((4, 30, 30), (6, 15, 15), (6, 30, 30))
    np.testing.assert_array_equal(coarse, decimate(target, DSEN2, 2))
    np.testing.assert_allclose(target, scenes[0][1][:, 1:31, 1:31] * 4, rtol=1e-6)


def test_the_script_makes_the_same_weights_twice() -> None:
    sources = {"landscapes": list(shipped.simulated(2, seed=0))}
    one, other = (shipped.train_shipped(sources, epochs=1, seed=5, progress=False) for _ in range(2))
    assert one.card.sha256 == other.card.sha256
    assert one.card.training["data"] == {"landscapes": "2 scenes"}


@pytest.fixture(scope="module")
def light() -> Model:
    return xrs.load_model("s2-20m-light")


def test_the_shipped_card_tells_what_it_was_made_of(light: Model) -> None:
    assert light.card.images[0].bands == shipped.FINE
    assert light.card.images[1].bands == shipped.COARSE
    assert light.card.licence == "Apache-2.0"
    assert all("T33UUB" not in source for source in light.card.training["data"])
    assert light.card.metrics["rmse"] < 0.4 * light.card.metrics["cubic_rmse"]
    assert sum(values.size for values in light.weights().values()) < 60_000


def test_the_shipped_weights_beat_the_classical_methods_on_a_landscape_they_never_saw() -> None:
    (fine, truth), *_ = shipped.simulated(1, seed=7)
    seen = groups(decimate(fine, DSEN2, 2), decimate(truth, DSEN2, 2), 20.0)
    psf = {"r20m": DSEN2}
    errors = {
        method: scores(stacked(xrs.sharpen(seen, method=method, psf=psf)), truth, 6)[0]
        for method in ("light", "aatprk", "supreme")
    }
    assert errors["light"] < 0.9 * min(errors["aatprk"], errors["supreme"])


def test_the_shipped_weights_beat_the_classical_methods_on_a_real_scene(shared_data: Path) -> None:
    fine, coarse, truth = t33uub(shared_data)
    seen, psf = groups(fine, coarse, 20.0), {"r20m": DSEN2}
    light = scores(stacked(xrs.sharpen(seen, method="light", psf=psf)), truth, 10)[0]
    best = scores(stacked(xrs.sharpen(seen, method="aatprk", psf=psf)), truth, 10)[0]
    assert best == pytest.approx(54.9, abs=0.1)
    assert light < 42
