"""Training by Lightning Fabric: the same as without, and on several processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from training import TINY, assert_same_weights, tree

import xrs
from xrs.learning import loop
from xrs.learning.checkpoint import load_state
from xrs.learning.devices import OneDevice

pytest.importorskip("lightning_fabric")

CALLS = [
    pytest.param({}, id="pixels"),
    pytest.param(
        {"patch_size": 16, "loss": {"l1": 1.0, "adversarial": 1e-3}}, id="adversarial", marks=pytest.mark.slow
    ),
]

#: What each process runs: train, and keep the weights it ended with.
RUN = """
import os, sys
sys.path.insert(0, {folder!r})
import numpy as np, torch
torch.set_num_threads(1)
from safetensors.numpy import save_file
import xrs
from training import TINY, tree
from xrs.learning import loop
written = []
save = loop.save_state
loop.save_state = lambda *args: written.append(1) or save(*args)
model = xrs.train(tree(16), checkpoint={checkpoint!r}, save_every=0.0, **(TINY | {call!r}))
np.save({out!r} + "/written" + os.environ["RANK"], len(written))
save_file(dict(model.weights()), {out!r} + "/rank" + os.environ["RANK"] + ".safetensors")
"""


def torchrun(*command: str) -> None:
    """Run a script or module in two processes on this machine."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    called = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *command]
    done = subprocess.run(called, check=False, capture_output=True, text=True, timeout=280, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]


def together(folder: Path, **call: Any) -> tuple[dict[str, np.ndarray], list[int]]:
    """The weights two processes end with, which must be the same, and how often each wrote a checkpoint."""
    script = folder / "run.py"
    text = RUN.format(
        folder=str(Path(__file__).parent), checkpoint=str(folder / "run.checkpoint"), call=call, out=str(folder)
    )
    script.write_text(text)
    torchrun(str(script))
    one, other = (load_file(folder / f"rank{rank}.safetensors") for rank in (0, 1))
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])
    return one, [int(np.load(folder / f"written{rank}.npy")) for rank in (0, 1)]


def curve(model: Any) -> list[float]:
    return [epoch["held_out"] for epoch in model.card.training["loss_curve"]]


@pytest.mark.parametrize("more", [*CALLS, pytest.param({"dtype": "bfloat16"}, id="bfloat16")])
def test_same_weights_as_plain_torch(monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]) -> None:
    fabric = xrs.train(tree(16), epochs=2, **(TINY | more))
    monkeypatch.setattr(loop, "make_runner", OneDevice)
    assert_same_weights(fabric, xrs.train(tree(16), epochs=2, **(TINY | more)))


class TestTwoProcesses:
    @pytest.mark.slow
    @pytest.mark.timeout(900)
    @pytest.mark.parametrize("more", CALLS)
    def test_learn_together_and_go_on(self, tmp_path: Path, more: dict[str, Any]) -> None:
        together(tmp_path, epochs=2, **more)
        resumed, written = together(tmp_path, epochs=4, **more)
        assert written[0] > 0
        assert written[1] == 0
        history = load_state(tmp_path / "run.checkpoint")[1]["history"]
        alone = xrs.train(tree(16), epochs=4, **(TINY | more))
        assert [epoch["held_out"] for epoch in history] == pytest.approx(curve(alone), rel=0.02)
        (tmp_path / "whole").mkdir()
        whole, _ = together(tmp_path / "whole", epochs=4, **more)
        for name in whole:
            np.testing.assert_array_equal(resumed[name], whole[name])

    def test_a_recipe_is_written_once(self, tmp_path: Path) -> None:
        from test_training_train import TestRecipes

        recipe = TestRecipes().recipe(tmp_path, epochs=4)
        torchrun("-m", "xrs.train", str(recipe))
        model = xrs.load_model(tmp_path / "out" / "model.safetensors")
        assert curve(model) == pytest.approx(curve(xrs.train(tree(times=2), epochs=4, **TINY)), rel=0.02)
        assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
            "model.safetensors",
            "model.safetensors.checkpoint",
        ]
