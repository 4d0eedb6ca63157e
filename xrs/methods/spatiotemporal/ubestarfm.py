"""Unbiased ESTARFM: the fine images are shifted to the local mean of the coarse ones before the change is added.

Meant for land surface temperature, whose bias between sensors varies within a day and over a scene.
"""

from __future__ import annotations

import numpy as np

from xrs.kernels.types import Float32
from xrs.methods.base import Method, Reference, State, Tile
from xrs.methods.spatiotemporal._enhanced import Rules, predict
from xrs.methods.spatiotemporal._scene import (
    KERNEL,
    SCENE,
    VALID_RANGE,
    WINDOW,
    Images,
    images_of,
    nothing,
    window_halo,
)

__all__ = ["METHOD"]


def apply(tile: Tile, state: State, *, window: int, valid_range: tuple[float, float], kernel: str) -> Float32:
    """Predict one tile, each band by itself.

    Parameters
    ----------
    tile : Tile
        ``fine`` and ``coarse`` (pair, band, y, x), ``target`` (target, band, y, x).
    state : mapping
        Of :data:`SCENE`.
    window, valid_range, kernel
        The method's parameters.

    Returns
    -------
    ndarray, float32, (target, band, y, x)
        On the fine grid, without halo. NaN where no pair saw the pixel, or nothing in the window tells of the change.
    """
    out = nothing(tile)
    if not state:
        return out
    images = images_of(tile, state, window // 2, kernel)
    thresholds = state["std"].reshape(tile["fine"].shape[:2]).astype(np.float32)
    for b in range(out.shape[1]):
        band = Images(*(array[:, b : b + 1] for array in vars(images).values()))
        rules = Rules(thresholds[:, b : b + 1], window // 2, 0, valid_range, np.inf, unbiased=True)
        out[:, b] = predict(band, rules)[:, 0]
    return out


METHOD = Method(
    name="ubestarfm",
    family="spatiotemporal",
    summary="ESTARFM with the fine images shifted to the local mean of the coarse ones; made for temperatures.",
    apply=apply,
    reference=Reference(
        "Yu, Renzullo, McVicar, Malone and Tian 2023, Generating daily 100 m resolution land surface temperature "
        "estimates continentally using an unbiased spatiotemporal fusion approach, Remote Sensing of Environment "
        "297:113784",
        "10.1016/j.rse.2023.113784",
    ),
    passes=(SCENE,),
    params=(WINDOW, VALID_RANGE, KERNEL),
    halo=window_halo,
    needs=("fine", "coarse", "target"),
    pairs=(2, 8),
    differs="Thresholds come from the standard deviation of the scene, not of blocks of it. More than two pairs and "
    "missing pixels are handled as by estarfm.",
)
