"""Networks that are trained in stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import pan_pair

import xrs
from xrs.errors import ParameterError
from xrs.learning import stages as learning_stages
from xrs.nets import get_network

QUICK: dict[str, Any] = {
    "task": "pansharpen",
    "network": "ssrpnet",
    "epochs": 2,
    "patches": 4,
    "patch_size": 16,
    "features": 4,
    "progress": False,
}


def _weights(model: xrs.models.Model) -> dict[str, np.ndarray]:
    return dict(model.weights())


def _copy(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_each_stage_trains_its_part_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], bool]] = []
    fit = learning_stages.fit

    def spy(network: Any, terms: Any, *args: Any, **options: Any) -> Any:
        before = _copy(network)
        history = fit(network, terms, *args, **options)
        seen.append((before, _copy(network), terms[0].taps is not None))
        return history

    monkeypatch.setattr(learning_stages, "fit", spy)
    ms, pan, _ = pan_pair(48, 2)
    model = xrs.train(ms, pan, **QUICK)
    assert model.card.training["protocol"] == "staged"
    assert [consistency for *_, consistency in seen] == [False, True]
    for (before, after, _), part in zip(seen, ("initial", "injection"), strict=True):
        changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
        assert changed == {part}


def test_a_finished_stage_is_not_trained_again(tmp_path: Path) -> None:
    ms, pan, _ = pan_pair(48, 2)
    whole = xrs.train(ms, pan, **QUICK)
    first = xrs.train(ms, pan, checkpoint=tmp_path / "run.safetensors", **QUICK)
    again = xrs.train(ms, pan, checkpoint=tmp_path / "run.safetensors", **QUICK)
    assert len(list(tmp_path.iterdir())) == 2
    for name, value in _weights(whole).items():
        np.testing.assert_array_equal(_weights(first)[name], value)
        np.testing.assert_array_equal(_weights(again)[name], value)


def test_other_networks_have_no_stages() -> None:
    ms, pan, _ = pan_pair(48, 2)
    assert not get_network("pnn").stages
    with pytest.raises(ParameterError, match="ssrpnet"):
        xrs.train(ms, pan, **{**QUICK, "network": "light", "protocol": "staged"})


def test_works_without_a_model() -> None:
    ms, pan, _ = pan_pair(48, 2)
    fused = xrs.pansharpen(ms, pan, method="ssrpnet", steps=1, patches=2, side=40)
    assert np.isfinite(fused).all()
