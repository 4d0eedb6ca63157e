"""Figures show what they are given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from training import TINY, tree

import xrs
from xrs.errors import ParameterError

pytest.importorskip("matplotlib")


def test_loss_curve(tmp_path: Path) -> None:
    model = xrs.train(tree(), epochs=6, lr=0.03, schedule="constant", **TINY)
    figure = xrs.plots.loss_curve(model)
    curve = model.card.training["loss_curve"]
    train, held_out, best = figure.axes[0].lines
    np.testing.assert_array_equal(train.get_ydata(), [epoch["train"] for epoch in curve])
    np.testing.assert_array_equal(held_out.get_ydata(), [epoch["held_out"] for epoch in curve])
    np.testing.assert_array_equal(held_out.get_xdata(), np.arange(1, 7))
    assert best.get_ydata() == [min(epoch["held_out"] for epoch in curve)]
    xrs.plots.save(figure, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_a_model_that_was_not_trained_here(monkeypatch: pytest.MonkeyPatch) -> None:
    from models import s2_model

    model = s2_model(tree())
    with pytest.raises(ParameterError, match="without a loss curve.*xrs.train"):
        xrs.plots.loss_curve(model)
    monkeypatch.setattr("xrs.plots.find_spec", lambda name: None)
    with pytest.raises(ParameterError, match="matplotlib is not installed"):
        xrs.plots.loss_curve(model)
