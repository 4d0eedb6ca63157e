"""The weights that come with the library, made again by one command.

::

    python -m xrs.training.shipped --flanders DIR --bigearthnet DIR --output s2-20m-light.safetensors

Sentinel-2's 20 m bands by its 10 m bands, learned at 40 to 20 m where the truth is known, on scenes of three kinds:

- Sentinel-2 L2A of fields near Ieper in Flanders on clear dates (repository WorldCereal/worldcereal-classification,
  MIT; data Copernicus);
- three patches of BigEarthNet in Ireland and Portugal (repository kai-tub/bigearthnet_encoder, Apache-2.0; data
  Copernicus);
- the library's own landscapes, seen by its Sentinel-2A.

The network begins with a regression fitted to the scene it is applied to and only corrects that, so that few scenes
teach it enough.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xrs.cube.metadata import package_version
from xrs.kernels import decimate
from xrs.kernels.psf import gaussian_box_taps
from xrs.kernels.types import Float32
from xrs.learning.loop import Settings, Term, fit
from xrs.learning.losses import make_loss
from xrs.learning.patches import Patches
from xrs.models import Card, ImageSpec, Model
from xrs.nets import get_network
from xrs.sensors import get_sensor
from xrs.training.scores import score

__all__ = ["COARSE", "FINE", "bigearthnet", "flanders", "main", "make", "pairs_of", "simulated", "train_shipped"]

FINE = ("B02", "B03", "B04", "B08")
COARSE = ("B05", "B06", "B07", "B8A", "B11", "B12")

#: Bands at 10 m and at 20 m, reflectance.
Scene = tuple[Float32, Float32]

#: A network's inputs at 20 m and 40 m, and the truth at 20 m.
Pair = tuple[Float32, Float32, Float32]

CONFIG = {"features": 32, "blocks": 2, "step": 1, "window": 3}

#: As DSen2 makes its training data (10.1016/j.isprsjprs.2018.09.018).
_TAPS = gaussian_box_taps(0.5, 2)

#: Reflectance the network sees as 1.
_SCALE = 0.25

#: Side of a patch and the width at its edges that does not count, in pixels of the result.
_SIDE, _EDGE = 30, 4

#: Classes of the L2A scene classification that hide the ground, and the share of them a clear date has at most.
_HIDDEN, _MOST_HIDDEN = (0, 1, 2, 3, 8, 9, 10, 11), 0.03

#: Of the landscapes; tests use lower ones.
_FIRST_SEED = 1000

#: Every eighth window of the ground is held out.
_HELD_OUT = 8


def flanders(folder: Path) -> Iterator[Scene]:
    """Clear dates of the catalogue in ``folder``.

    Its 20 m bands are placed 10 m too far north: the best fit to the 10 m bands of every clear date is one row lower.
    """
    for item in sorted((folder / "items").iterdir()):
        if np.isin(_read([item / "SCL.tif"])[0], _HIDDEN).mean() > _MOST_HIDDEN:
            continue
        fine, coarse = (_reflectance(item / f"{key}.tif" for key in keys) for keys in (FINE, COARSE))
        if fine.min() > 0 and coarse.min() > 0:
            yield fine[:, 1:-1], coarse[:, 1:]


def bigearthnet(folder: Path) -> Iterator[Scene]:
    """Sentinel-2 patches of BigEarthNet, a folder each."""
    for patch in sorted(folder.iterdir()):
        fine, coarse = (_reflectance(next(patch.glob(f"*_{key}.tif")) for key in keys) for keys in (FINE, COARSE))
        yield fine, coarse


def simulated(count: int, seed: int) -> Iterator[Scene]:
    """Landscapes of the library, each on another day, as Sentinel-2A sees them."""
    import xrs

    days = ("2023-04-20", "2023-05-31", "2023-07-12", "2023-08-25", "2023-10-05")
    for k in range(count):
        scene = xrs.scenes.landscape((256, 256), resolution=5.0, times=[days[k % len(days)]], seed=seed + k)
        seen = xrs.observe(scene.isel(time=0), "sentinel-2a", bands=[*FINE, *COARSE], seed=seed + k).compute()
        yield _stack(seen["r10m"], FINE), _stack(seen["r20m"], COARSE)


def pairs_of(scenes: Iterable[Scene]) -> tuple[list[Pair], list[Pair]]:
    """Inputs and target at 40 to 20 m to train on, and those of held-out ground.

    Each window of the ground gives four pairs: the 40 m grid can begin at two rows and two columns of the 20 m one.
    """
    windows = [list(pairs) for scene in scenes for pairs in _windows(*scene)]
    train = [pairs for n, pairs in enumerate(windows) if (n + 1) % _HELD_OUT]
    return _flat(train), _flat(windows[_HELD_OUT - 1 :: _HELD_OUT])


def train_shipped(sources: Mapping[str, Sequence[Scene]], epochs: int, seed: int, progress: bool) -> Model:
    """The network trained on scenes of several sources, each of which weighs the same.

    Parameters
    ----------
    sources : mapping of str to sequence of (ndarray, ndarray)
        By what the card is to call them: bands at 10 m and at 20 m.
    epochs : int
    seed : int
    progress : bool
    """
    parts = [pairs_of(scenes) for scenes in sources.values()]
    longest = max(len(train) for train, _ in parts)
    balanced = _flat([train[k % len(train)] for k in range(longest)] for train, _ in parts)
    term = Term(_stacked(balanced), _stacked(_flat(held_out for _, held_out in parts)))
    config = {**CONFIG, "psf": _TAPS.tolist()}
    settings = Settings(epochs=epochs, batch_size=12, lr=2e-3, schedule="cosine", seed=seed, device="cpu")
    network = get_network("light").build((len(FINE), len(COARSE)), (1, 2), seed=seed, **config)
    history = fit(network, [term], make_loss("l1"), settings, progress=progress)
    facts = {
        "data": {name: f"{len(scenes)} scenes" for name, scenes in sources.items()},
        "protocol": "wald, 40 to 20 m",
        "loss_curve": [asdict(epoch) for epoch in history],
        **settings.what_matters(),
    }
    card = Card(
        network="light",
        task="sharpen",
        images=(_spec(FINE, 1), _spec(COARSE, 2)),
        scale=_SCALE,
        config=config,
        psf={"kind": "gaussian_box", "sensor": "sentinel-2a"},
        training=facts,
        metrics=score(network, term, 2, _SCALE),
        licence="Apache-2.0",
        created_by=f"xrs {package_version()}",
    )
    return Model.from_module(network, card)


def _stack(group: Any, keys: tuple[str, ...]) -> Float32:
    return np.stack([group[key].values for key in keys]).astype(np.float32)


def _reflectance(files: Iterable[Path]) -> Float32:
    return _read(files).astype(np.float32) * np.float32(1e-4)


def _read(files: Iterable[Path]) -> NDArray[Any]:
    import rioxarray

    return np.stack([rioxarray.open_rasterio(file).values[0] for file in files])


def _windows(fine: Float32, coarse: Float32) -> Iterator[Iterator[Pair]]:
    height, width = coarse.shape[1:]
    for row in range(0, height - _SIDE + 1, _SIDE):
        for column in range(0, width - _SIDE + 1, _SIDE):
            places = itertools.product(_beginnings(row, height), _beginnings(column, width))
            yield (_pair(fine, coarse, *place) for place in places)


def _beginnings(first: int, size: int) -> tuple[int, int]:
    """An even and an odd one."""
    return first, first + 1 if first + 1 + _SIDE <= size else first - 1


def _pair(fine: Float32, coarse: Float32, row: int, column: int) -> Pair:
    target = coarse[:, row : row + _SIDE, column : column + _SIDE] / np.float32(_SCALE)
    seen = fine[:, 2 * row : 2 * (row + _SIDE), 2 * column : 2 * (column + _SIDE)] / np.float32(_SCALE)
    return decimate(seen, _TAPS, 2), decimate(target, _TAPS, 2), target


def _stacked(pairs: Sequence[Pair]) -> Patches:
    fine, coarse, target = (np.stack(images) for images in zip(*pairs, strict=True))
    mask = np.zeros(target.shape, bool)
    # What lies outside of a patch is known neither to the network nor to the point spread.
    mask[:, :, _EDGE:-_EDGE, _EDGE:-_EDGE] = True
    return Patches((fine, coarse), target, mask, np.zeros((len(target), 3), np.int64))


def _flat(parts: Iterable[Iterable[Pair]]) -> list[Pair]:
    return list(itertools.chain.from_iterable(parts))


def _spec(keys: tuple[str, ...], ratio: int) -> ImageSpec:
    sensor = get_sensor("sentinel-2a")
    return ImageSpec(keys, ratio, tuple(sensor[key].wavelength for key in keys))


def make(
    flanders_at: Path,
    bigearthnet_at: Path,
    *,
    landscapes: int = 8,
    epochs: int = 120,
    seed: int = 0,
    progress: bool = False,
) -> Model:
    """The shipped model from data in two folders and the library's own landscapes."""
    sources = {
        "Sentinel-2 L2A, Ieper 2017-2018, WorldCereal/worldcereal-classification (MIT; Copernicus)": list(
            flanders(flanders_at)
        ),
        "Sentinel-2 L2A, BigEarthNet, kai-tub/bigearthnet_encoder (Apache-2.0; Copernicus)": list(
            bigearthnet(bigearthnet_at)
        ),
        "xrs.scenes seen by xrs.observe": list(simulated(landscapes, _FIRST_SEED)),
    }
    return train_shipped({name: scenes for name, scenes in sources.items() if scenes}, epochs, seed, progress)


def main(args: Sequence[str] | None = None) -> None:
    """Train the weights and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flanders", type=Path, required=True)
    parser.add_argument("--bigearthnet", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--landscapes", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    given = vars(parser.parse_args(args))
    output = given.pop("output")
    model = make(given.pop("flanders"), given.pop("bigearthnet"), progress=True, **given)
    model.save(output)
    print(output, model.card.metrics)


if __name__ == "__main__":
    main()
