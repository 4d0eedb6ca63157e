"""Swaths expanded: against a truth and a regression, chunked, with gaps, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import distance_transform_edt
from support import grid, nothing_computed, rechunked, texture

import xrs
from xrs.cube import assign_bands, assign_geobox, geobox_of, shared_pixels
from xrs.errors import GridMismatchError, ModelCardError, ParameterError, RadiometryError, TimeAxisError, XrsError
from xrs.models import Model
from xrs.nets import get_network
from xrs.nets.receptive import receptive_margin
from xrs.quality import error_by_distance
from xrs.training.swath import train_swath

#: So small that a training takes seconds.
TINY: dict[str, Any] = {
    "patches": 24,
    "patch_size": 8,
    "train_batch": 8,
    "epochs": 4,
    "rings": 2,
    "ring_epochs": 1,
    "scale_features": 4,
    "features": 8,
    "blocks": 1,
    "device": "cpu",
    "progress": False,
}


@cache
def _truth(height: int = 32, width: int = 64, step: int = 160) -> xr.DataArray:
    scene = xrs.scenes.landscape(
        (height, width), resolution=30.0, times=["2023-06-20"], wavelengths=range(420, 2441, step)
    )
    return scene.isel(time=0).compute()


@cache
def _ms(height: int = 32, width: int = 64, step: int = 160) -> xr.DataArray:
    return _truth(height, width, step).isel(band=[1, 2, 4]).copy()


def _hs() -> xr.DataArray:
    return _truth().isel(x=slice(20, 40))


@cache
def _model() -> Model:
    return train_swath(_hs(), _ms(), **TINY)


def test_observed_is_kept_and_the_rest_predicted() -> None:
    hs = _hs().copy(deep=True)
    hs.values[3, 5, 6] = np.nan
    wide = xrs.expand_swath(hs, _ms(), model=_model())
    assert geobox_of(wide) == geobox_of(_ms())
    assert wide.dtype == np.float32
    assert wide.band.values.tolist() == hs.band.values.tolist()
    np.testing.assert_array_equal(wide.wavelength, hs.wavelength)
    inside = wide.values[:, :, 20:40]
    seen = np.isfinite(hs.values)
    np.testing.assert_array_equal(inside[seen], hs.values[seen])
    assert np.isfinite(wide.values).all()
    assert "expand_swath" in wide.attrs["history"]


def test_gaps_of_the_wide_cube_stay_where_they_are() -> None:
    ms = _ms().copy(deep=True)
    ms.values[1, 10, 5] = np.nan
    ms.values[0, 12, 25] = np.nan
    wide = xrs.expand_swath(_hs(), ms, model=_model())
    missing = np.zeros((32, 64), bool)
    missing[10, 5] = True  # the other gap lies where all bands were observed
    np.testing.assert_array_equal(np.isnan(wide.values), np.broadcast_to(missing, wide.shape))


@pytest.mark.parametrize("chunks", [(13, 21), (32, 64), ((31, 1), (1, 40, 23))])
def test_any_chunking_gives_the_same_pixels_and_stays_lazy(chunks: Any) -> None:
    model, expected = _model(), xrs.expand_swath(_hs(), _ms(), model=_model())
    with nothing_computed():
        lazy = rechunked(_hs(), 7, 9).rsfuse.expand_swath(rechunked(_ms(), *chunks), model=model)
    np.testing.assert_allclose(lazy.compute(scheduler="threads").values, expected.values, atol=1e-5)


@pytest.mark.parametrize("chunks", [(13, 21), ((31, 1), (1, 40, 23))])
def test_networks_that_look_at_windows_do_not_see_the_chunking(chunks: Any) -> None:
    card = _model().card
    assert card.outputs is not None
    config = {"stages": 1, "subspace": 3}
    module = get_network("hsrnet").build(card.bands, (1,), outputs=len(card.outputs.bands), seed=1, **config)
    facts = {"network": "hsrnet", "config": config, "margin": 2, "window": 8}
    model = Model.from_module(module, replace(card, **facts))
    expected = xrs.expand_swath(_hs(), _ms(), model=model)
    lazy = xrs.expand_swath(_hs(), rechunked(_ms(), *chunks), model=model)
    np.testing.assert_allclose(lazy.compute().values, expected.values, atol=1e-5)


def test_training_does_not_depend_on_the_chunking_and_repeats() -> None:
    again = train_swath(rechunked(_hs(), 7, 9), rechunked(_ms(), 13, 21), **TINY)
    assert again.card.sha256 == _model().card.sha256
    other = train_swath(_hs(), _ms(), **TINY | {"seed": 1})
    assert other.card.sha256 != again.card.sha256


def test_card_tells_the_bands_it_makes(tmp_path: Any) -> None:
    model = _model()
    card = model.card
    assert card.task == "spectral"
    assert card.outputs is not None
    assert list(card.outputs.bands) == _hs().band.values.tolist()
    assert card.margin == receptive_margin(model.build(), (3,), (1,)) == 3 + 2 + 1
    assert len(card.training["held_out_losses"]) == 3
    kept = model.save(tmp_path / "swath.safetensors")
    again = xrs.load_model(str(kept.source))
    assert again.card == card
    xr.testing.assert_identical(
        xrs.expand_swath(_hs(), _ms(), model=again), xrs.expand_swath(_hs(), _ms(), model=model)
    )


def test_dates_and_datasets() -> None:
    days = np.array(["2023-06-20", "2023-07-20"], "datetime64[ns]")
    hs, ms = (xr.concat([cube, 1.1 * cube], "time").assign_coords(time=days) for cube in (_hs(), _ms()))
    wide = xrs.expand_swath(xrs.cube.to_dataset(hs.astype("float32")), ms.astype("float32"), model=_model())
    assert isinstance(wide, xr.Dataset)
    one = xrs.expand_swath(_hs(), _ms(), model=_model())
    np.testing.assert_allclose(wide.to_dataarray("band").isel(time=0).transpose("band", "y", "x"), one, atol=1e-5)
    np.testing.assert_array_equal(wide.time, days)


def test_order_of_bands_does_not_matter() -> None:
    expected = xrs.expand_swath(_hs(), _ms(), model=_model())
    turned = xrs.expand_swath(_hs().isel(band=slice(None, None, -1)), _ms().isel(band=[2, 0, 1]), model=_model())
    np.testing.assert_allclose(turned.isel(band=slice(None, None, -1)).values, expected.values, atol=1e-6)


def _elsewhere(cube: xr.DataArray, **shift: float) -> xr.DataArray:
    return cube.assign_coords({dim: cube[dim] + by for dim, by in shift.items()})


@pytest.mark.parametrize(
    ("hs", "ms", "options", "error", "complaint"),
    [
        (lambda: _elsewhere(_hs(), x=9e4), _ms, {}, GridMismatchError, "do not overlap"),
        (lambda: _elsewhere(_hs(), x=7.0), _ms, {}, GridMismatchError, "other pixels"),
        (lambda: xrs.degrade(_hs(), 2), _ms, {}, GridMismatchError, "xrs.sharpen"),
        (lambda: _hs().drop_vars("band"), _ms, {}, XrsError, "band"),
        (lambda: (_hs() * 1e4).astype("int16"), _ms, {}, RadiometryError, "hs holds int16"),
        (_hs, lambda: (_ms() * 1e4).astype("uint16"), {}, RadiometryError, "ms holds uint16"),
        (_hs, lambda: _ms().expand_dims(time=[0]), {}, TimeAxisError, "same dates"),
        (_ms, _hs, {}, ParameterError, "hs that covers the whole of ms .32 x 20 pixels.*swapped"),
        (_hs, _ms, {"rings": -1}, ParameterError, "rings=-1"),
        (_hs, _ms, {"network": "dsen2"}, ParameterError, "spectral"),
        (_hs, _ms, {"patch_size": 32}, ParameterError, "two patches"),
        (_hs, lambda: _ms().isel(band=[0, 1]), {"model": _model}, ModelCardError, "rercnn"),
        (lambda: _hs().isel(band=slice(4)), _ms, {"model": _model}, ParameterError, "makes"),
        (_hs, _ms, {"model": _model, "rings": 2}, ParameterError, "beside a model"),
    ],
)
def test_wrong_input(hs: Any, ms: Any, options: dict[str, Any], error: type[Exception], complaint: str) -> None:
    given = {name: value() if callable(value) else value for name, value in options.items()}
    with pytest.raises(error, match=complaint):
        xrs.expand_swath(hs(), ms(), **given)


def test_with_a_model_gaps_of_a_whole_cover_are_filled() -> None:
    hs = _truth().copy(deep=True)
    hs.values[3, 5, 6] = np.nan
    filled = xrs.expand_swath(hs, _ms(), model=_model())
    assert np.isfinite(filled.values[3, 5, 6])
    np.testing.assert_array_equal(filled.values[~np.isnan(hs.values)], hs.values[~np.isnan(hs.values)])


def test_rings_without_patches_change_nothing() -> None:
    alone, rings = (train_swath(_truth(), _ms(), **TINY | {"rings": rings}) for rings in (0, 2))
    assert alone.card.sha256 == rings.card.sha256


def _regressed(hs: xr.DataArray, ms: xr.DataArray) -> xr.DataArray:
    """Each pixel's bands by the linear regression on the overlap."""
    inside, _ = shared_pixels(geobox_of(ms), geobox_of(hs))

    def predictors(cube: xr.DataArray) -> np.ndarray:
        flat = cube.values.reshape(cube.sizes["band"], -1).T.astype(float)
        return np.c_[flat, np.ones(len(flat))]

    weights, *_ = np.linalg.lstsq(predictors(ms.isel(inside)), hs.values.reshape(hs.sizes["band"], -1).T, rcond=None)
    values = (predictors(ms) @ weights).T.reshape(-1, *ms.shape[1:]).astype("float32")
    return assign_geobox(xr.DataArray(values, dims=hs.dims, coords={"band": hs.band}), geobox_of(ms))


def _rmse_outside(wide: xr.DataArray, truth: xr.DataArray, hs: xr.DataArray) -> float:
    outside = error_by_distance(wide, truth, hs, width=truth.sizes["x"]).iloc[-1]
    assert outside["n"] == truth.sizes["y"] * (truth.sizes["x"] - hs.sizes["x"])
    return float(outside["rmse"])


@pytest.mark.parametrize("seed", [10, 11])
def test_learns_what_no_regression_finds_where_the_overlap_shows_it(seed: int) -> None:
    """Bands that are known functions of others, of one texture all over: what holds within holds outside."""
    a, b, c = (3 * texture((3, 64, 160), seed) - 0.6).clip(0.05)
    bands = np.stack([2 * a * b, a / (a + b), np.sqrt(c), abs(a - c), np.maximum(b, c), (a + c) / 2])
    ms, truth = (
        assign_geobox(assign_bands(xr.DataArray(values, dims=("band", "y", "x")), list(keys)), grid((64, 160), 30.0))
        for values, keys in ((np.stack([a, b, c]), "abc"), (bands, "uvwxyz"))
    )
    hs = truth.isel(x=slice(0, 64))
    settings = TINY | {"patches": 64, "patch_size": 16, "epochs": 60, "lr": 2e-3, "features": 16, "scale_features": 8}
    model = train_swath(hs, ms, **settings | {"seed": seed})
    ours = _rmse_outside(xrs.expand_swath(hs, ms, model=model), truth, hs)
    assert ours < _rmse_outside(_regressed(hs, ms), truth, hs) / 2
    assert 2 / 3 < ours / model.card.metrics["rmse"] < 3 / 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", [6, 7])
def test_is_never_far_from_a_regression_on_a_landscape(seed: int) -> None:
    """Where a strip sees only some of the crops, either may be the better one: from 0.8 to 1.1 in what was measured."""
    scene = xrs.scenes.landscape(
        (288, 768), resolution=10.0, times=["2023-06-20"], wavelengths=range(420, 2441, 40), seed=seed
    )
    truth = scene.isel(time=0).coarsen(y=3, x=3).mean().astype("float32").compute().transpose("band", "y", "x")
    ms = xrs.observe(truth, "sentinel-2a", bands=["B02", "B03", "B04", "B08"], ratio=1).compute()
    hs = truth.isel(x=slice(0, 32))
    small = {"patches": 96, "train_batch": 8, "epochs": 40, "held_out": 0.15, "device": "cpu", "progress": False}
    wide = xrs.expand_swath(hs, ms, **small, scale_features=16, features=32, blocks=3)
    mean = hs.mean(["y", "x"]).astype("float32").broadcast_like(truth).transpose(*truth.dims)
    ours, linear, constant = (_rmse_outside(given, truth, hs) for given in (wide, _regressed(hs, ms), mean))
    assert ours < 1.25 * linear
    assert ours < constant / 1.5


@pytest.mark.parametrize("chunked", [False, True])
def test_distance_against_scipy(chunked: bool) -> None:
    rng = np.random.default_rng(0)
    truth = _truth()
    estimate = truth + rng.normal(0, 0.02, truth.shape).astype("float32")
    estimate.values[2, 4, 50] = np.nan
    overlap = truth.isel(x=slice(20, 40), y=slice(5, 30))
    outside = np.ones((32, 64), bool)
    outside[5:30, 20:40] = False
    away = distance_transform_edt(outside)
    error, seen = (estimate - truth).values, np.isfinite(estimate.values).all(axis=0)
    given = rechunked(estimate, 13, 21) if chunked else estimate
    table = error_by_distance(given, truth, overlap, width=8)
    for _, row in table.iterrows():
        at = seen & (away <= row["distance"]) & (away > row["distance"] - 8)
        assert row["n"] == at.sum()
        np.testing.assert_allclose(row["rmse"], np.sqrt((error[:, at].astype(float) ** 2).mean()), rtol=1e-5)
        one, two = estimate.values[:, at].astype(float), truth.values[:, at].astype(float)
        cosine = (one * two).sum(0) / np.linalg.norm(one, axis=0) / np.linalg.norm(two, axis=0)
        np.testing.assert_allclose(row["sam"], np.degrees(np.arccos(cosine)).mean(), rtol=1e-5)
    assert table["n"].sum() == seen.sum()


def test_distance_refuses_what_does_not_fit() -> None:
    truth = _truth()
    with pytest.raises(GridMismatchError, match="overlap"):
        error_by_distance(truth, truth, _elsewhere(truth, x=9e4))
    with pytest.raises(ParameterError, match="width=0"):
        error_by_distance(truth, truth, truth, width=0)
