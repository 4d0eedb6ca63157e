"""The weights that make EnMAP's bands of Sentinel-2's, made again by one command.

::

    python -m xrs.training.shipped_spectral --output xrs/models/shipped [--only s2-enmap-ponet]

Networks learn from simulated spectra alone (source ``land`` of :mod:`xrs.spectra`): what Sentinel-2A would see of
each, with noise, and what EnMAP would. No image had a part in it. ``spectralift`` sees single pixels and takes some
minutes on one core; the others see mixtures of spectra that change from pixel to pixel and take up to an hour.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xrs.models import Model
from xrs.sensors import Sensor, get_sensor
from xrs.training.train import train

__all__ = ["BANDS", "BANDS_BY_GRID", "RECIPES", "good_bands", "main", "make"]

#: Of Sentinel-2, all on one grid, and by the side of their pixels in m.
BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
BANDS_BY_GRID = {10: ("B02", "B03", "B04", "B08"), 20: ("B05", "B06", "B07", "B8A", "B11", "B12")}

#: Between these wavelengths (nm) water vapour leaves next to no light: EnMAP's B130 to B136 and B164 to B167. Its L2A
#: product holds no values of the first six of them.
_WATER = ((1330.0, 1470.0), (1790.0, 1970.0))

_ALL: dict[str, Any] = {
    "task": "spectral",
    "library": "land",
    "sensor": "sentinel-2a",
    "noise": (0.02, 0.002),
    "loss": {"l1": 1.0, "sam": 3.0},
    "physics_weight": 0.3,
    "schedule": "cosine",
    "device": "cpu",
    "licence": "Apache-2.0",
}

#: Of networks that look around.
_MIXED: dict[str, Any] = {
    **_ALL,
    "examples": 40_000,
    "patches": 1_500,
    "patch_size": 32,
    "epochs": 16,
    "batch_size": 4,
    "lr": 1e-3,
    "subspace": 16,
}

#: Parameters of :func:`xrs.train` by the model's name.
RECIPES: dict[str, dict[str, Any]] = {
    "s2-enmap-spectralift": {
        **_ALL,
        "network": "spectralift",
        "bands": BANDS,
        "examples": 40_000,
        "uncertainty": "laplace",
        "epochs": 30,
        "batch_size": 8,
        "lr": 2e-3,
        "features": 128,
        "layers": 3,
    },
    "s2-enmap-hsrnet": {**_MIXED, "network": "hsrnet", "bands": BANDS},
    "s2-enmap-ponet": {**_MIXED, "network": "ponet", "bands": BANDS_BY_GRID, "grouping": True},
}


def good_bands() -> Sensor:
    """EnMAP without the bands that water vapour hides: 213 of 224."""
    enmap = get_sensor("enmap")
    return enmap.select(
        [band.key for band in enmap.bands if not any(low <= band.wavelength <= high for low, high in _WATER)]
    )


def make(name: str, *, seed: int = 0, progress: bool = False, checkpoint: Path | None = None, **changed: Any) -> Model:
    """One of the shipped models; ``changed`` are parameters in place of those of :data:`RECIPES`."""
    given = {"to": good_bands(), **RECIPES[name], **changed}
    return train(None, seed=seed, progress=progress, checkpoint=checkpoint, **given)


def main(args: Sequence[str] | None = None) -> None:
    """Train the weights and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder")
    parser.add_argument("--only", choices=list(RECIPES), action="append", help="this model, instead of all")
    parser.add_argument("--checkpoints", type=Path, help="folder of what was learned so far, to go on from")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(args)
    for name in given.only or RECIPES:
        checkpoint = given.checkpoints and given.checkpoints / name
        model = make(name, seed=given.seed, progress=True, checkpoint=checkpoint)
        print(model.save(given.output / f"{name}.safetensors").source, model.card.metrics)


if __name__ == "__main__":
    main()
