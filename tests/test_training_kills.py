"""Training that is killed again and again, at any moment, ends where an uninterrupted run does."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from training import TINY, assert_same_weights, tree

import xrs
from xrs.learning.checkpoint import load_state

#: So many epochs that a kill finds the run in their midst, on a quick machine and on a busy one.
EPOCHS, KILLS = 150, 5

RUN = """
import sys
sys.path.insert(0, {folder!r})
import torch, xrs
torch.set_num_threads(1)
from training import TINY, tree
print("begun", flush=True)
xrs.train(tree(16), epochs={epochs}, checkpoint={path!r}, save_every=0.0, **(TINY | {call!r}))
"""


def start(path: Path, call: dict[str, Any]) -> subprocess.Popen[str]:
    text = RUN.format(folder=str(Path(__file__).parent), path=str(path), epochs=EPOCHS, call=call)
    process = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def kill(process: subprocess.Popen[str]) -> bool:
    """Kill a process; whether it was still running."""
    running = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return running


def epochs_in(path: Path) -> int:
    return len(load_state(path)[1]["history"]) if path.exists() else 0


def wait_for(condition: Any, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while not condition() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.0005)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "call", [{}, {"patch_size": 16, "loss": {"l1": 1.0, "adversarial": 1e-3}}], ids=["pixels", "adversarial"]
)
def test_killed_at_random_and_while_writing(tmp_path: Path, call: dict[str, Any]) -> None:
    path = tmp_path / "run.checkpoint"
    rng = random.Random(0)
    reached, halves = [0], 0
    for n in range(KILLS):
        process = start(path, call)
        # Anything of this run, then a random moment, or at once when a checkpoint is half written.
        wait_for(lambda: epochs_in(path) > reached[-1], process)
        known = set(tmp_path.glob(".*"))
        if n % 2:
            wait_for(lambda known=known: set(tmp_path.glob(".*")) - known, process)
        else:
            time.sleep(rng.random() * 0.3)
        assert kill(process) or epochs_in(path) == EPOCHS
        halves += bool(set(tmp_path.glob(".*")) - known)
        reached.append(epochs_in(path))
    assert reached == sorted(reached)
    resumed = xrs.train(tree(16), epochs=EPOCHS, checkpoint=path, **(TINY | call))
    whole = xrs.train(tree(16), epochs=EPOCHS, **(TINY | call))
    assert_same_weights(resumed, whole)
    assert resumed.card.training["loss_curve"] == whole.card.training["loss_curve"]
    print(f"epochs reached: {reached}, kills while writing: {halves}")
    assert halves
