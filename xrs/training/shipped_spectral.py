"""The weights that make EnMAP's bands of Sentinel-2's, made again by one command.

::

    python -m xrs.training.shipped_spectral --output s2-enmap-spectralift.safetensors

A perceptron of single pixels learns from simulated spectra alone (source ``land`` of :mod:`xrs.spectra`): what
Sentinel-2A would see of each, with noise, and what EnMAP would. No image had a part in it. It takes some minutes on one
core.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xrs.models import Model
from xrs.sensors import Sensor, get_sensor
from xrs.training.train import train

__all__ = ["BANDS", "RECIPE", "good_bands", "main", "make"]

#: Of Sentinel-2, all on one grid: those of 10 and 20 m.
BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")

#: Between these wavelengths (nm) water vapour leaves next to no light: EnMAP's B130 to B136 and B164 to B167. Its L2A
#: product holds no values of the first six of them.
_WATER = ((1330.0, 1470.0), (1790.0, 1970.0))

#: Parameters of :func:`xrs.train`.
RECIPE: dict[str, Any] = {
    "task": "spectral",
    "network": "spectralift",
    "library": "land",
    "sensor": "sentinel-2a",
    "bands": BANDS,
    "examples": 40_000,
    "noise": (0.02, 0.002),
    "loss": {"l1": 1.0, "sam": 3.0},
    "physics_weight": 0.3,
    "uncertainty": "laplace",
    "epochs": 30,
    "batch_size": 8,
    "lr": 2e-3,
    "schedule": "cosine",
    "features": 128,
    "layers": 3,
    "device": "cpu",
    "licence": "Apache-2.0",
}


def good_bands() -> Sensor:
    """EnMAP without the bands that water vapour hides: 213 of 224."""
    enmap = get_sensor("enmap")
    return enmap.select(
        [band.key for band in enmap.bands if not any(low <= band.wavelength <= high for low, high in _WATER)]
    )


def make(*, seed: int = 0, progress: bool = False, checkpoint: Path | None = None, **changed: Any) -> Model:
    """The shipped model; ``changed`` are parameters in place of those of :data:`RECIPE`."""
    given = {"to": good_bands(), **RECIPE, **changed}
    return train(None, seed=seed, progress=progress, checkpoint=checkpoint, **given)


def main(args: Sequence[str] | None = None) -> None:
    """Train the weights and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(args)
    model = make(seed=given.seed, progress=True, checkpoint=given.checkpoint)
    model.save(given.output)
    print(given.output, model.card.metrics)


if __name__ == "__main__":
    main()
