"""What improves a fused image: spectral super-resolution injected, learned from the scene alone."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import xarray as xr
from support import nothing_computed, pan_pair, rechunked, s2_tree
from test_pansharpen_worldview import degraded, fuse, scores, worldview  # noqa: F401  (fixtures)

import xrs
from xrs.errors import MethodNotFoundError, ModelCardError, ParameterError
from xrs.methods import methods_of
from xrs.operators._refine import injection, refine

QUICK: dict[str, Any] = {"method": "ssr", "steps": 2, "patches": 3, "side": 24}


def _close(a: Any, b: Any, bound: float = 1e-5) -> None:
    a, b = np.asarray(a), np.asarray(b)
    np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
    np.testing.assert_allclose(a, b, rtol=0, atol=bound * float(np.nanmax(np.abs(b))))


@pytest.mark.parametrize(("method", "inject"), [("gsa", QUICK), ("brovey", QUICK), ("awlp", "landweber")])
def test_any_chunking_gives_the_same_pixels_and_stays_lazy(method: str, inject: Any) -> None:
    ms, pan, _ = pan_pair(48, 2, times=2)
    expected = xrs.pansharpen(ms, pan, method=method, inject=inject)
    assert float(abs(expected - xrs.pansharpen(ms, pan, method=method)).max()) > 1e-4
    for py, px, my, mx in (((40, 56), (96,), (7, 41), (48,)), ((33, 62, 1), (31, 65), (48,), (1, 47))):
        with nothing_computed():
            lazy = xrs.pansharpen(rechunked(ms, my, mx), rechunked(pan, py, px), method=method, inject=inject)
        _close(lazy.compute(scheduler="threads"), expected)


def test_dates_are_independent() -> None:
    ms, pan, _ = pan_pair(32, 2, times=2)
    both = xrs.pansharpen(ms, pan, method="sfim", inject=QUICK)
    alone = xrs.pansharpen(ms.isel(time=1), pan.isel(time=1), method="sfim", inject=QUICK)
    _close(both.isel(time=1), alone)


def test_every_group_of_a_sensor_is_improved() -> None:
    tree = s2_tree(16, sixty=False)
    plain, better = tree.rsfuse.sharpen(method="sfim"), tree.rsfuse.sharpen(method="sfim", inject=QUICK)
    assert list(better) == list(plain)
    assert float(abs(better["B11"] - plain["B11"]).max()) > 1e-4
    np.testing.assert_array_equal(better["B04"], plain["B04"])


def test_missing_values_stay_local() -> None:
    tree = s2_tree(16, sixty=False)
    coarse = tree["r20m"].to_dataset().copy(deep=True)
    coarse["B11"].values[10, 12] = np.nan
    holed = xr.DataTree.from_dict({"r10m": tree["r10m"].to_dataset(), "r20m": coarse})
    plain = holed.rsfuse.sharpen(method="exp")
    assert np.isnan(plain["B11"]).sum() == 4
    assert not np.isnan(plain["B8A"]).any()
    band_by_band = holed.rsfuse.sharpen(method="exp", inject="landweber")
    joint = holed.rsfuse.sharpen(method="exp", inject=QUICK)
    for key in ("B8A", "B11"):
        np.testing.assert_array_equal(np.isnan(band_by_band[key]), np.isnan(plain[key]))
        np.testing.assert_array_equal(np.isnan(joint[key]), np.isnan(plain["B11"]))


def test_a_date_too_cloudy_to_learn_from_is_kept_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    ms, pan, _ = pan_pair(32, 2, times=2)
    ms.values[0, :, 4:, :] = np.nan
    plain, better = (xrs.pansharpen(ms, pan, method="sfim", inject=inject) for inject in (None, QUICK))
    np.testing.assert_array_equal(better[0], plain[0])
    assert float(abs(better[1] - plain[1]).max()) > 1e-4
    assert "nothing learned" in caplog.text


def test_improves_what_a_rough_method_made() -> None:
    ms, pan, truth = pan_pair(64, 2)
    given = {"method": "ssr", "steps": 100, "patches": 9, "side": 24}
    plain, better = (xrs.pansharpen(ms, pan, method="brovey", psf="box", inject=inject) for inject in (None, given))
    inner = {"y": slice(8, -8), "x": slice(8, -8)}
    errors = [float((((one - truth) ** 2).isel(inner)).mean() ** 0.5) for one in (plain, better)]
    assert errors[1] < 0.99 * errors[0]


def test_the_observation_comes_back_better() -> None:
    ms, pan, _ = pan_pair(64, 2, seed=3)
    given = {"method": "ssr", "steps": 100, "patches": 9, "side": 24}
    misfits = [
        float(
            abs(
                xrs.degrade(xrs.pansharpen(ms, pan, method="brovey", psf="box", inject=inject), 2, psf="box") - ms
            ).mean()
        )
        for inject in (None, given)
    ]
    assert misfits[1] < 0.9 * misfits[0]


def test_back_projection_ends_at_what_was_observed() -> None:
    ms, pan, _ = pan_pair(24, 4)
    given = {"method": "landweber", "iterations": 3}
    plain, better = (xrs.pansharpen(ms, pan, method="brovey", psf="box", inject=inject) for inject in (None, given))
    misfit = abs(xrs.degrade(better, 4, psf="box") - ms)
    assert float(misfit.max()) < 1e-4
    # For block means it is the plain difference of the means that is added, at once and evenly.
    added = (better - plain).values.reshape(4, 24, 4, 24, 4)
    np.testing.assert_allclose(added, np.broadcast_to(added.mean(axis=(2, 4), keepdims=True), added.shape), atol=1e-5)


def test_the_seed_decides() -> None:
    ms, pan, _ = pan_pair(32, 2)
    one, same, other = (
        xrs.pansharpen(ms, pan, method="sfim", inject=QUICK | {"seed": seed}).values for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_record_travels() -> None:
    record = methods_of("refine")["ssr"]
    assert pickle.loads(pickle.dumps(record)) is record
    ms, pan, _ = pan_pair(32, 2)
    lazy = xrs.pansharpen(ms.chunk(y=20), pan.chunk(y=40), method="sfim", inject=QUICK)
    _close(lazy.compute(scheduler="processes", num_workers=1), xrs.pansharpen(ms, pan, method="sfim", inject=QUICK))


@pytest.mark.parametrize(
    ("inject", "error"),
    [
        ("srr", MethodNotFoundError),
        ({"steps": 3}, ParameterError),
        ({"method": "ssr", "steps": 0}, ParameterError),
        ({"method": "ssr", "side": 7}, ParameterError),
        ({"method": "ssr", "speed": 7}, ParameterError),
        ({"method": "landweber", "iterations": 0}, ParameterError),
    ],
)
def test_wrong_injections_are_named(inject: Any, error: type[Exception]) -> None:
    ms, pan, _ = pan_pair(32, 2)
    with pytest.raises(error):
        xrs.pansharpen(ms, pan, method="sfim", inject=inject)


def test_history_tells() -> None:
    ms, pan, _ = pan_pair(32, 2)
    out = xrs.pansharpen(ms, pan, method="sfim", inject=QUICK)
    assert '"inject"' in out.attrs["xrs:parameters"]
    assert "ssr" in out.attrs["xrs:parameters"]


@pytest.mark.parametrize("name", ["gsa", "mtf_glp_hpm", "brovey", "awlp"])
def test_back_projection_improves_every_method_on_worldview(name: str, worldview: Any, degraded: Any) -> None:  # noqa: F811
    ms, pan, psf = degraded
    fused = fuse(name, ms, pan, psf)
    better = refine(injection("landweber"), fused[None], pan[None], ms[None], psf["ms"])[0]
    before, after = scores(fused, worldview[0]), scores(better, worldview[0])
    assert after[0] > before[0] + 0.4
    assert after[1] < before[1]
    assert after[2] < before[2]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gsa", "mtf_glp_hpm", "brovey"])
def test_improves_every_method_on_worldview(name: str, worldview: Any, degraded: Any) -> None:  # noqa: F811
    ms, pan, psf = degraded
    fused = fuse(name, ms, pan, psf)
    better = refine(injection("ssr"), fused[None], pan[None], ms[None], psf["ms"])[0]
    before, after = scores(fused, worldview[0]), scores(better, worldview[0])
    assert after[0] > before[0] + 0.1
    assert after[1] < before[1]
    assert after[2] < before[2]


def test_what_is_given_back_shows_in_the_residual() -> None:
    ms, pan, _ = pan_pair(32, 2)
    plain, better = (
        xrs.pansharpen(ms.rename("ms"), pan, method="gsa", inject=inject, uncertainty=True)
        for inject in (None, "landweber")
    )
    assert list(better) == ["ms", "ms_residual"]
    assert float(better["ms_residual"].max()) < 0.5 * float(plain["ms_residual"].max())


@pytest.mark.parametrize(
    ("inject", "error", "complaint"),
    [
        (None, ModelCardError, r"a light that learns from the scene .no model=.*uncertainty='laplace'"),
        ("landweber", ParameterError, "leave inject= out"),
    ],
)
def test_a_network_without_a_model_tells_no_uncertainty(inject: Any, error: type[Exception], complaint: str) -> None:
    ms, pan, _ = pan_pair(32, 2)
    with pytest.raises(error, match=complaint):
        xrs.pansharpen(ms, pan, method="light", inject=inject, uncertainty=True)
