"""How well a network does on held-out patches, in the data's own unit, beside the simplest there is."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import Module

from xrs.kernels import upsample
from xrs.kernels.types import Float32, Float64
from xrs.learning.loop import Term
from xrs.learning.patches import Patches
from xrs.nets.uncertain import mean_and_spread
from xrs.quality.pixels import (
    PairMoments,
    angle_sums,
    mean_angle,
    pair_moments,
    peak_signal_to_noise,
    relative_global_error,
    rms_error,
)

__all__ = ["predicted", "score", "score_spectra"]

#: Patches predicted at once.
_TOGETHER = 16


@torch.inference_mode()
def predicted(network: Module, patches: Patches) -> Float32:
    """All a network puts out for patches (patch, band, y, x), where it is: its bands, and its spread if it has one."""
    network.eval()
    device = next((weights.device for weights in network.parameters()), torch.device("cpu"))
    parts = []
    for start in range(0, len(patches), _TOGETHER):
        images = [torch.from_numpy(image[start : start + _TOGETHER]).to(device) for image in patches.inputs]
        parts.append(mean_and_spread(network, images).cpu().numpy())
    return np.concatenate(parts)


def score(network: Module, term: Term, ratio: int, scale: float) -> dict[str, float]:
    """RMSE (mean of the bands, unit of the data), SAM (degrees) and ERGAS of held-out patches.

    Of what the term's protocol compares: at the degraded scale for Wald's. ``cubic_`` is the same of cubic
    interpolation.
    """
    own = predicted(network, term.held_out)[:, : term.held_out.target.shape[1]]
    cubic = _each_upsampled(term.held_out.inputs[-1], ratio)
    scores: dict[str, float] = {}
    for prefix, results in (("", own), ("cubic_", cubic)):
        moments, angle = _compared(_seen(results, term), term.held_out, scale)
        ergas = float(relative_global_error(moments, ratio))
        scores |= {f"{prefix}rmse": _mean(rms_error(moments)), f"{prefix}sam": angle, f"{prefix}ergas": ergas}
    return scores


def score_spectra(network: Module, term: Term, scale: float) -> dict[str, float]:
    """RMSE (mean of the bands, unit of the data), SAM (degrees) and PSNR (dB) of held-out patches.

    PSNR is the mean of the bands', with 1 as peak. ``linear_`` is the same of the linear regression of single pixels
    that fits the patches to train on best. ``residual`` is the mean of |Phi(X) - Y|, where the response is known.
    """
    patches = term.held_out
    own = predicted(network, patches)[:, : patches.target.shape[1]]
    scores: dict[str, float] = {}
    for prefix, results in (("", own), ("linear_", _regressed(term))):
        if results is None:
            continue
        moments, angle = _compared(results, patches, scale)
        psnr = _mean(peak_signal_to_noise(moments, 1.0))
        scores |= {f"{prefix}rmse": _mean(rms_error(moments)), f"{prefix}sam": angle, f"{prefix}psnr": psnr}
    if term.physics is not None:
        images, result, mask = [torch.from_numpy(i) for i in patches.inputs], torch.from_numpy(own), patches.mask
        scores["residual"] = float(term.physics.residual(images, result, torch.from_numpy(mask))) * scale
    return scores


def _compared(results: Float32, patches: Patches, scale: float) -> tuple[PairMoments, float]:
    """Moments and mean angle of all pixels that count."""
    # All pixels of all patches in one row of each band; what is masked is NaN and so left out.
    result, target = (
        np.ascontiguousarray(images.swapaxes(0, 1).reshape(images.shape[1], 1, -1), np.float32) * np.float32(scale)
        for images in (results, np.where(patches.mask, patches.target, np.float32(np.nan)))
    )
    return pair_moments(result, target), float(mean_angle(angle_sums(result, target)))


def _mean(values: Float64) -> float:
    return float(np.nanmean(values))


@torch.inference_mode()
def _seen(results: Float32, term: Term) -> Float32:
    return np.asarray(term.observed(torch.from_numpy(results)).numpy(), np.float32)


def _each_upsampled(images: Float32, ratio: int) -> Float32:
    return images if ratio == 1 else np.stack([upsample(image, ratio) for image in images])


def _regressed(term: Term) -> Float32 | None:
    """The held-out patches' target by linear regression of pixels on their bands; None without any to learn of."""
    learned, given = _columns(term.train), _columns(term.held_out)
    seen = term.train.mask.all(axis=1).ravel()
    target = term.train.target.swapaxes(0, 1).reshape(term.train.target.shape[1], -1)
    count, _, height, width = term.held_out.target.shape
    if not seen.any():
        return None
    x, y = learned[:, seen], target[:, seen].astype(np.float64)
    weights = np.linalg.lstsq(x @ x.T, x @ y.T, rcond=None)[0]
    made = (weights.T @ given).reshape(-1, count, height, width)
    return np.ascontiguousarray(made.swapaxes(0, 1), np.float32)


def _columns(patches: Patches) -> Float64:
    """The bands of all images at each pixel, and 1: (band + 1, pixel)."""
    side = patches.inputs[0].shape[-1]
    images = [_each_upsampled(image, side // image.shape[-1]) for image in patches.inputs]
    rows = [image.swapaxes(0, 1).reshape(image.shape[1], -1) for image in images]
    return np.concatenate([*rows, np.ones((1, rows[0].shape[1]))]).astype(np.float64)
