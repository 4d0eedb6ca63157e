"""How well a network does on held-out patches, in the data's own unit, beside plain interpolation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import Module

from xrs.kernels import upsample
from xrs.kernels.types import Float32
from xrs.learning.loop import Term
from xrs.quality.pixels import angle_sums, mean_angle, pair_moments, relative_global_error, rms_error

__all__ = ["score"]


def score(network: Module, term: Term, ratio: int, scale: float) -> dict[str, float]:
    """RMSE (mean of the bands, unit of the data), SAM (degrees) and ERGAS of held-out patches.

    Of what the term's protocol compares: at the degraded scale for Wald's. ``cubic_`` is the same of cubic
    interpolation.
    """

    def predicted(images: list[Float32]) -> Float32:
        tensors = [torch.from_numpy(image[None]) for image in images]
        return _seen(network(*tensors), term)

    def interpolated(images: list[Float32]) -> Float32:
        return _seen(torch.from_numpy(upsample(images[-1], ratio)[None]), term)

    network.eval()
    with torch.inference_mode():
        return _score(term, predicted, ratio, scale, "") | _score(term, interpolated, ratio, scale, "cubic_")


def _seen(result: torch.Tensor, term: Term) -> Float32:
    return np.asarray(term.observed(result)[0].numpy(), np.float32)


def _score(
    term: Term, estimate: Callable[[list[Float32]], Float32], ratio: int, scale: float, prefix: str
) -> dict[str, float]:
    patches = term.held_out
    results = [estimate([image[n] for image in patches.inputs]) for n in range(len(patches))]
    bands = patches.target.shape[1]
    # All pixels of all patches in one row of each band; what is masked is NaN and so left out.
    result = np.stack(results, axis=1).reshape(bands, 1, -1) * np.float32(scale)
    target = np.where(patches.mask, patches.target, np.nan).transpose(1, 0, 2, 3).reshape(bands, 1, -1)
    target = np.ascontiguousarray(target, np.float32) * np.float32(scale)
    moments = pair_moments(result, target)
    return {
        f"{prefix}rmse": float(np.nanmean(rms_error(moments))),
        f"{prefix}sam": float(mean_angle(angle_sums(result, target))),
        f"{prefix}ergas": float(relative_global_error(moments, ratio)),
    }
