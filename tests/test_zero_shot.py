"""Networks without a model: they learn from the scene they are applied to, when the result is computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from models import s2_model
from support import nothing_computed, pan_pair, rechunked, s2_tree

import xrs
from xrs.errors import ParameterError
from xrs.methods import _networks

QUICK: dict[str, Any] = {"steps": 1, "patches": 3, "side": 32}


def _close(a: Any, b: Any, bound: float = 1e-5) -> None:
    a, b = np.asarray(a), np.asarray(b)
    np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
    np.testing.assert_allclose(a, b, rtol=0, atol=bound * float(np.nanmax(np.abs(b))))


@pytest.mark.parametrize("name", ["light", "fusionnet"])
def test_any_chunking_gives_the_same_pixels_and_stays_lazy(name: str) -> None:
    ms, pan, _ = pan_pair(48, 2)
    expected = xrs.pansharpen(ms, pan, method=name, **QUICK)
    for py, px, my, mx in (((40, 56), (96,), (7, 41), (48,)), ((33, 62, 1), (31, 65), (48,), (1, 47))):
        with nothing_computed():
            lazy = xrs.pansharpen(rechunked(ms, my, mx), rechunked(pan, py, px), method=name, **QUICK)
        _close(lazy.compute(scheduler="threads"), expected)


def test_all_groups_of_a_sensor_are_learned() -> None:
    tree = s2_tree(24)
    fine = tree.rsfuse.sharpen(method="light", **QUICK | {"side": 40})
    assert {"B05", "B11", "B01", "B09"} <= set(fine)
    assert all(np.isfinite(fine[key]).all() for key in fine)


def test_learns_more_than_interpolation_knows() -> None:
    ms, pan, truth = pan_pair(64, 2)
    learned = xrs.pansharpen(ms, pan, method="light", psf="box", steps=30, patches=4, side=32)
    plain = xrs.pansharpen(ms, pan, method="exp")
    inner = {"y": slice(8, -8), "x": slice(8, -8)}
    errors = [float((((one - truth) ** 2).isel(inner)).mean() ** 0.5) for one in (plain, learned)]
    assert errors[1] < 0.5 * errors[0]


def test_a_shipped_model_that_fits_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = s2_tree(8, sixty=False)
    model = s2_model(tree, "light")
    monkeypatch.setattr(_networks, "shipped_models", lambda: ["other", "fits"])
    monkeypatch.setattr(_networks, "load_model", lambda name: {"other": s2_model(tree, "dsen2"), "fits": model}[name])
    fine = tree.rsfuse.sharpen(method="light")
    monkeypatch.undo()
    _close(fine["B11"], tree.rsfuse.sharpen(method="light", model=model)["B11"])


def test_a_result_tells_which_weights_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = s2_tree(24, sixty=False)
    lazy, model = tree.map_over_datasets(lambda group: group.chunk()), s2_model(tree, "light")
    told = [xrs.sharpen(lazy, "light", **QUICK)["B05"].attrs["xrs:parameters"]]
    monkeypatch.setattr(_networks, "shipped_of", lambda *_: [model])
    told.append(xrs.sharpen(lazy, "light")["B05"].attrs["xrs:parameters"])
    assert "light, learned from the scene" in told[0]
    assert model.card.sha256[:12] in told[1]
    ms, pan, _ = pan_pair(48)
    sharp = xrs.pansharpen(ms.chunk(), pan.chunk(), method="light", **QUICK)
    assert "light, learned from the scene" in sharp.attrs["xrs:parameters"]


def test_a_date_too_cloudy_to_learn_from_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    ms, pan, _ = pan_pair(48, 2, times=2)
    ms.values[0, :, 4:, :] = np.nan
    out = xrs.pansharpen(ms, pan, method="light", **QUICK)
    assert np.isnan(out[0]).all()
    assert np.isfinite(out[1]).all()
    assert "nothing learned" in caplog.text


def test_small_patches_say_what_they_lack() -> None:
    ms, pan, _ = pan_pair(24, 4)
    with pytest.raises(ParameterError, match="side"):
        xrs.pansharpen(ms, pan, method="light", steps=1, side=8)


def test_a_scene_smaller_than_a_patch_is_refused_before_anything_is_computed() -> None:
    ms, pan, _ = pan_pair(8, 2)
    with nothing_computed(), pytest.raises(ParameterError, match="8 by 8 coarsest pixels"):
        xrs.pansharpen(rechunked(ms, 8, 8), rechunked(pan, 16, 16), method="light")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"inject": True}, "inject=True"),
        ({"inject": ["ssr"]}, "inject="),
        ({"uncertainty": "laplace"}, "True or False"),
    ],
)
def test_what_is_no_choice_is_refused(options: dict[str, Any], complaint: str) -> None:
    ms, pan, _ = pan_pair(8, 2)
    with pytest.raises(ParameterError, match=complaint):
        xrs.pansharpen(ms, pan, method="gsa", **options)
