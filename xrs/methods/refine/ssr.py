"""sSRI: what the fine image tells of the spectrum, injected into any fused image; learned from the scene itself.

Two small networks go between the bands and the fine image: sD from the fused image to the fine one, sSR back. What
sSR reads from the fine image is injected into the fused one, and the sum, seen through the point spread of the coarse
bands, must give the coarse bands back: no ground truth is needed. See :class:`xrs.nets.ssrpnet.SSRInjection`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xrs.kernels.types import Float32, Float64
from xrs.methods._networks import DEVICE
from xrs.methods._scene import Patch, consistency, sampling, scene_pass
from xrs.methods.base import Method, Param, Reference, State, Tile

__all__ = ["METHOD"]

_NETWORK = "ssri"


def apply(tile: Tile, state: State, *, device: str, **_: Any) -> Float32:
    """Inject into one tile.

    Parameters
    ----------
    tile : Tile
        ``fused`` (band, y, x) and ``fine`` on one grid; ``coarse`` (band, y, x).
    state : mapping
        ``model``, as learned from the scene; without one, where no part of it is clear, the fused image is kept.
    device : str
        Where the network runs.
    """
    from xrs.models.engine import infer

    if "model" not in state:
        return np.array(tile.core("fused"))
    halo = tile.halo * tile.factors["fused"]
    return infer(state["model"], [tile["fine"], tile["fused"]], halo=halo, device=device)


def halo(factors: Mapping[str, int], *, side: int, **_: Any) -> int:
    """Half a patch, or what the network sees."""
    return max(side // 2, -(-_margin() // factors["fused"]))


@functools.cache
def _margin() -> int:
    """Fine pixels that the network sees around one; the same for any number of bands."""
    from xrs.nets import get_network
    from xrs.nets.receptive import receptive_margin

    return receptive_margin(get_network(_NETWORK).build((1, 1), (1, 1)), (1, 1), (1, 1))


def _learn(
    drawn: Sequence[Patch],
    _state: State,
    *,
    psf: Float64,
    steps: int,
    seed: int,
    device: str,
    **_: Any,
) -> State:
    from xrs.learning.scene import learned
    from xrs.models import Card, ImageSpec
    from xrs.nets import get_network

    bands = tuple(drawn[0].images[role].shape[0] for role in ("fine", "fused"))
    module = get_network(_NETWORK).build(bands, (1, 1), seed=seed)
    images = tuple(ImageSpec(tuple(f"{role}{n}" for n in range(k))) for role, k in zip("xy", bands, strict=True))
    card = Card(network=_NETWORK, task="refine", images=images, margin=_margin())
    pairs = [consistency(drawn, ("fine", "fused"), "coarse", psf)]
    return {"model": learned(module, card, pairs, steps=steps, batch_size=2, seed=seed, device=device)}


METHOD = Method(
    name="ssr",
    family="refine",
    summary="Injection through spectral super-resolution, learned from the scene without ground truth.",
    apply=apply,
    reference=Reference(
        "He, Yuan, Li, Xiao and Zhang 2023, A self-supervised remote sensing image fusion framework with dual-stage "
        "self-learning and spectral super-resolution injection, ISPRS Journal of Photogrammetry and Remote Sensing "
        "204:131-144",
        "10.1016/j.isprsjprs.2023.07.025",
    ),
    passes=(scene_pass(_learn),),
    params=(
        Param("steps", 200, "of training", "1 or more", lambda n: isinstance(n, int) and n > 0),
        Param("psf", None, "separable point spread (band, tap) from the fine grid to the coarse one"),
        *sampling(patches=64, side=20),
        DEVICE,
    ),
    halo=halo,
    bandwise=False,
    needs=("fused", "fine", "coarse"),
    engines=("torch",),
    differs="Learned from patches of the scene instead of all of it, through the sensor's point spread instead of "
    "bicubic decimation; takes several fine bands too.",
)
