"""``python -m xrs.training recipe.yaml``: train as a file says; ``torchrun -m xrs.training`` on several devices."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from xrs.training.recipe import run


def main(arguments: Sequence[str] | None = None) -> None:
    """Train by a recipe, and write the model."""
    parser = argparse.ArgumentParser(prog="python -m xrs.training", description="Train a model as a recipe says.")
    parser.add_argument("recipe", help="A YAML file; see xrs.training.recipe.run.")
    model, path = run(parser.parse_args(arguments).recipe)
    # Of several processes only the first writes.
    if os.environ.get("RANK", "0") == "0":
        model.save(path)
        scores = ", ".join(f"{name} {value:.4g}" for name, value in model.card.metrics.items())
        print(f"{path}: {scores}")


if __name__ == "__main__":
    main()
