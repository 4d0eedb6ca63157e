"""Small models with random weights for the scenes of ``support``."""

from __future__ import annotations

from typing import Any

import xarray as xr
from networks import SMALL

from xrs.cube import band_keys, to_array, wavelengths
from xrs.models import Card, ImageSpec, Model
from xrs.nets import get_network


def spec(cube: xr.DataArray | xr.Dataset, ratio: int = 1) -> ImageSpec:
    return ImageSpec(tuple(band_keys(cube)), ratio, tuple(float(w) for w in wavelengths(cube)))


def model_of(
    network: str, task: str, images: tuple[ImageSpec, ...], seed: int = 0, config: Any = None, **facts: Any
) -> Model:
    config = SMALL.get(network, {}) if config is None else config
    card = Card(network, task, images, config=config, **{"scale": 0.2, **facts})
    return Model.from_module(get_network(network).build(card.bands, card.ratios, seed=seed, **config), card)


def s2_model(tree: xr.DataTree, network: str = "dsen2", target: str = "r20m", **facts: Any) -> Model:
    ratios = {"r10m": 1, "r20m": 2, "r60m": 6}
    names = [name for name in ratios if ratios[name] <= ratios[target]]
    images = tuple(spec(to_array(tree[name].to_dataset()), ratios[name]) for name in names)
    return model_of(network, "sharpen", images, **facts)


def pan_model(ms: xr.DataArray, network: str = "pnn", ratio: int = 4, **facts: Any) -> Model:
    return model_of(network, "pansharpen", (ImageSpec(("pan",)), spec(ms, ratio)), **facts)
