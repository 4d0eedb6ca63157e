"""Networks that make the bands of ``hs`` of those of ``ms``, trained on the scene at hand.

They learn at the scale of ``hs``, from pairs of a spectrum and what the bands of ``ms`` are there, and are applied to
``ms`` as it is. Each date learns by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xrs.kernels import decimate, reach_of, upsample
from xrs.kernels.resample import reach_of_kernel
from xrs.kernels.types import Float32, Float64
from xrs.methods._networks import BATCH, DEVICE, DTYPE
from xrs.methods._scene import Patch, consistency, sampling, scene_pass
from xrs.methods.base import Method, Param, Pass, State, Tile
from xrs.methods.hsms._common import PSF, SRF, Psf, taps_of
from xrs.methods.hsms._sample import Sample, draw, merge_samples
from xrs.nets import get_network
from xrs.sensors import apply_response

__all__ = ["METHODS"]

_KERNEL = "lanczos"


def _apply(
    tile: Tile,
    state: State,
    *,
    correct: bool,
    psf: Psf,
    device: str,
    dtype: str,
    batch_size: int | str,
    **_: Any,
) -> Float32:
    """What the network makes of ``ms``; with ``correct``, and what that leaves of ``hs``, interpolated."""
    from xrs.models.engine import infer

    ratio, model = tile.factors["ms"], state.get("model")
    shape = tile.core("ms").shape[1:]
    if model is None:
        return np.full((len(tile["hs"]), *shape), np.nan, np.float32)
    around = _around(psf, ratio) if correct else 0
    margin = _coarse(model.card.margin, ratio)
    image = _without(tile["ms"], (tile.halo - around - margin) * ratio)
    made = infer(model, [image], halo=margin * ratio, device=device, dtype=dtype, batch_size=batch_size)
    if not correct:
        return made
    left = _without(tile["hs"], tile.halo - around) - decimate(made, taps_of(psf, "hs"), ratio)
    made += upsample(left, ratio, _KERNEL)
    return _without(made, around * ratio)


def _without(image: Float32, width: int) -> Float32:
    """An image without a margin of so many pixels."""
    return np.ascontiguousarray(image[:, width : image.shape[1] - width, width : image.shape[2] - width])


def _around(psf: Psf, ratio: int) -> int:
    """Pixels of ``hs`` around one on which its correction depends."""
    return reach_of_kernel(_KERNEL) + reach_of(taps_of(psf, "hs"), ratio)


def _coarse(margin: int, ratio: int) -> int:
    return -(-margin // ratio)


def _halo_of(margin: int) -> Any:
    def halo(factors: Mapping[str, int], *, correct: bool, psf: Psf, side: int = 0, **_: Any) -> int:
        ratio = factors["ms"]
        applied = _coarse(margin, ratio) + (_around(psf, ratio) if correct else 0)
        return max(applied, side // 2, reach_of(taps_of(psf, "ms"), ratio))

    return halo


def _learn_patches(
    drawn: Sequence[Patch], _state: State, *, psf: Psf, steps: int, seed: int, device: str, **_: Any
) -> State:
    """Train on ``ms`` as the sensor of ``hs`` would see it, with surroundings."""
    from xrs.learning.spectra import learned_spectra

    pairs = consistency(drawn, ("ms",), "hs", taps_of(psf, "ms").mean(axis=0, keepdims=True))
    low = np.stack([decimate(image, taps_of(psf, "ms"), pairs.ratio) for image in pairs.inputs[0]])
    settings: dict[str, Any] = {
        "loss": "mse",
        "steps": steps,
        "batch_size": 8,
        "lr": 1e-4,
        "seed": seed,
        "device": device,
    }
    return {"model": learned_spectra("srecnn", low, pairs.target, pairs.mask, **settings)}


def _draw_pixels(tile: Tile, _state: State, *, psf: Psf, samples: int, seed: int, **_: Any) -> Sample:
    return draw(tile, psf, samples, seed)


def _learn_pixels(
    sample: Sample, _state: State, *, srf: Float64, steps: int, seed: int, device: str, **_: Any
) -> State:
    """Train on what the response makes of spectra."""
    from xrs.learning.spectra import learned_spectra

    spectra = np.ascontiguousarray(sample.hs.T)[:, :, None, None]
    given = np.ascontiguousarray(apply_response(sample.hs[:, :, None], srf)[:, :, 0].T)[:, :, None, None]
    settings: dict[str, Any] = {
        "loss": "l1",
        "steps": steps,
        "batch_size": 256,
        "lr": 1e-3,
        "seed": seed,
        "device": device,
    }
    return {"model": learned_spectra("spectralift", given, spectra, np.ones(spectra.shape, bool), **settings)}


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _params(steps: int, *drawing: Param) -> tuple[Param, ...]:
    return (
        Param("steps", steps, "of training", "1 or more", _is_count),
        *drawing,
        Param(
            "correct",
            False,
            "whether what the result, seen through the point spread, leaves of hs is interpolated and added",
            "True or False",
            lambda value: isinstance(value, bool),
        ),
        DEVICE,
        DTYPE,
        BATCH,
        PSF,
        SRF,
    )


METHODS = (
    Method(
        name="srecnn",
        family="hsms",
        summary="A convolutional network from the bands of ms to those of hs, learned from the scene.",
        apply=_apply,
        reference=get_network("srecnn").reference,
        passes=(scene_pass(_learn_patches),),
        params=_params(300, *sampling(patches=64, side=16)),
        halo=_halo_of(5),
        needs=("hs", "ms"),
        engines=("torch",),
        differs=get_network("srecnn").differs
        + " Trained on the scene at the scale of hs, by mean squared error and Adam with a rate of 1e-4.",
    ),
    Method(
        name="spectralift",
        family="hsms",
        summary="A perceptron from the bands of ms in a pixel to those of hs, learned from hs and the response.",
        apply=_apply,
        reference=get_network("spectralift").reference,
        passes=(Pass(_draw_pixels, merge_samples, _learn_pixels),),
        params=_params(
            500,
            Param("samples", 4000, "pixels of hs to learn from, at most", "1 or more", _is_count),
            Param("seed", 0, "of the pixels drawn, their order and the first weights", "0 or more", lambda n: n >= 0),
        ),
        halo=_halo_of(0),
        needs=("hs", "ms"),
        engines=("torch",),
        differs=get_network("spectralift").differs
        + " The response is the operator's, known or estimated, and ms is brought to the unit of hs before.",
    ),
)
