"""Cloud-free spectra from a cloudy series of few bands: attention over the dates that were clear, and a spectral head.

On one grid, for a target date and other dates ``s`` of the same sensor, each with the probability ``c_s`` that a pixel
is clear, and images ``Y_s`` that are zero where ``c_s`` is::

    h_s  = f(c_s Y_s, c_s, day of the year)          the same f for every date, the target too
    a_s  = c_s exp(<q(h), k(h_s, days between)>)     for each head; divided by their sum over s
    g    = sum_s a_s v(h_s, days between)
    z    = trunk(g, first guess, h)                  first guess = sum_s a_s Y_s
    M    = c Y + (1 - c) (first guess + ms(z))       the auxiliary head: the bands without clouds
    X    = R M + hs(M, z)                            the spectral head, on R, the linear regression

A date of probability zero has no weight and shows nothing of its values, whatever they are. All that is seen lies
within the margin around a pixel; nothing is pooled over the image, so results do not depend on tiles.

The idea, one network for the gaps and the spectra, has no published reference known to us: own design.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xrs.errors import ParameterError
from xrs.kernels.types import Float32, Float64
from xrs.nets._blocks import conv, he_uniform
from xrs.nets.base import Network
from xrs.reference import Reference

__all__ = ["NETWORK", "Estimates", "Evidence", "SsrCloud", "check_counts", "reconstruct", "time_code"]

_YEAR = 365.2425
#: Waves a year that tell dates apart.
_WAVES = (1, 2, 4, 8)
#: Distances in days that features tell: a sign, and a scale that is fine for near dates.
_NEAR, _FAR = 10.0, 90.0
_CODE = 2 * len(_WAVES)
_BETWEEN = 4
#: Features of all dates at once, at most: more rows are worked on one after the other.
_AT_ONCE = 2**24


@dataclass(frozen=True)
class Evidence:
    """What is known for the target dates of a batch.

    Attributes
    ----------
    image, clear : Tensor (N, m, y, x), (N, y, x)
        Of the target date; zeros where there is no image.
    day : Tensor (N,)
        Of the target, counted from any first of January.
    others, others_clear : Tensor (N, date, m, y, x), (N, date, y, x)
        Of the other dates.
    days : Tensor (N, date)
    taught : Tensor (N,)
        1 where the network knows the target's day of the year from training, 0 where it has to do without.
    """

    image: Tensor
    clear: Tensor
    day: Tensor
    others: Tensor
    others_clear: Tensor
    days: Tensor
    taught: Tensor


@dataclass(frozen=True)
class Estimates:
    """The bands without clouds, the spectra, and the logarithm of the spectra's error (Laplace's b)."""

    ms: Tensor
    hs: Tensor
    log_error: Tensor


def check_counts(**counts: tuple[Any, int]) -> None:
    """Make sure that parameters, given with the least they may be, are whole numbers.

    Raises
    ------
    ParameterError
        With the first that is not.
    """
    for name, (value, least) in counts.items():
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
            raise ParameterError(f"{name}={value!r}", f"an integer of {least} or more")


def time_code(days: Tensor) -> Tensor:
    """Sines and cosines of the day of the year (..., 8)."""
    angle = days[..., None] * (2 * math.pi / _YEAR) * torch.tensor(_WAVES, dtype=days.dtype, device=days.device)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def _between(days: Tensor) -> Tensor:
    """What features see of the days from a target to another date (..., 4)."""
    near, far = days / _NEAR, days / _FAR
    return torch.stack([far, far.abs(), near.tanh(), (near / 3).abs().tanh()], dim=-1)


class SsrCloud(nn.Module):
    """The encoder, the attention, the trunk and both heads.

    Parameters
    ----------
    bands : tuple of int
        Of the multispectral and of the hyperspectral sensor.
    ratios : tuple of int
        Both 1: they share a grid.
    features : int
        Of the encoder; the trunk has twice as many.
    heads : int
        Of the attention; they divide the features.
    blocks : int
        Of the encoder, each looking one pixel farther.
    seed : int
        Of the weights.
    """

    centre: Tensor
    spread: Tensor

    def __init__(
        self,
        bands: tuple[int, ...],
        ratios: tuple[int, ...],
        *,
        features: int = 32,
        heads: int = 4,
        blocks: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if len(bands) != 2 or set(ratios) != {1}:
            raise ParameterError(f"bands {bands} and ratios {ratios}", "multi- and hyperspectral bands on one grid")
        check_counts(features=(features, 1), heads=(heads, 1), blocks=(blocks, 0))
        if features % heads:
            raise ParameterError(f"heads={heads} of features={features}", "heads that divide the features")
        ms, hs = bands
        wide = 2 * features
        self.features, self.heads, self.blocks = features, heads, blocks
        self.begin = conv(ms + 1 + _CODE, features)
        self.body = nn.ModuleList(
            nn.Sequential(conv(features, features), nn.ReLU(), conv(features, features, 1)) for _ in range(blocks)
        )
        self.query = conv(features, features, 1)
        self.key = conv(features + _BETWEEN, features, 1)
        self.nearness = conv(_BETWEEN, heads, 1)
        self.value = conv(features + _BETWEEN + _CODE, features, 1)
        self.join = conv(2 * features + ms + _BETWEEN + _CODE, wide, 1)
        self.trunk = nn.ModuleList(nn.Sequential(conv(wide, wide, 1), nn.ReLU(), conv(wide, wide, 1)) for _ in range(2))
        self.to_ms = conv(wide, ms, 1)
        self.regression = conv(ms, hs, 1)
        self.mix = conv(ms + wide, wide, 1)
        self.to_hs = conv(wide, hs, 1)
        self.to_error = conv(wide, hs, 1)
        he_uniform(self, seed)
        with torch.no_grad():
            for head in (self.to_ms, self.to_hs, self.to_error, self.nearness):
                head.weight.mul_(0.01)
            # Near dates first: the weight falls to a third within the longer of the scales.
            self.nearness.weight[:, 1] = -1.0
            self.nearness.weight[:, 3] = -1.0
        self.register_buffer("centre", torch.zeros(ms))
        self.register_buffer("spread", torch.ones(ms))

    @property
    def margin(self) -> int:
        """Pixels around one on which a result depends."""
        return 1 + self.blocks

    def forward(self, evidence: Evidence) -> Estimates:
        """The estimates on the target dates (N, ., y, x)."""
        e = evidence
        batch, dates = e.days.shape
        clear = e.clear[:, None]
        image = self._scaled(e.image, clear)
        others = self._scaled(e.others.flatten(0, 1), e.others_clear.flatten(0, 1)[:, None])
        code = time_code(e.day) * e.taught[:, None]
        own = self.encoded(image, clear, code)
        known = self.encoded(others, e.others_clear.flatten(0, 1)[:, None], time_code(e.days.flatten()))
        apart = e.days - e.day[:, None]
        weights = self._weights(own, known, apart, e.others_clear)
        between = _as_bands(_between(apart.flatten()), known)
        of_target = _as_bands(code.repeat_interleave(dates, dim=0), known)
        value = torch.relu(self.value(torch.cat([known, between, of_target], dim=1)))
        size = value.shape[-2:]
        parts = value.reshape(batch, dates, self.heads, -1, *size)
        pooled = (parts * weights[:, :, :, None]).sum(dim=1).flatten(1, 2)
        share = weights.mean(dim=2)[:, :, None]
        guess = (others.reshape(batch, dates, -1, *size) * share).sum(dim=1)
        when = (between.reshape(batch, dates, -1, *size) * share).sum(dim=1)
        x = torch.relu(self.join(torch.cat([pooled, own, guess, when, _as_bands(code, own)], dim=1)))
        for block in self.trunk:
            x = x + block(x)
        made = clear * image + (1 - clear) * (guess + self.to_ms(x))
        return self._spectra(made, x)

    def encoded(self, image: Tensor, clear: Tensor, code: Tensor) -> Tensor:
        """Features (N, f, y, x) of images on their own, in units of their spread and zero where not clear."""
        x = torch.relu(self.begin(torch.cat([image, clear, _as_bands(code, image)], dim=1)))
        for block in self.body:
            x = x + block(x)
        return torch.relu(x)

    def _weights(self, own: Tensor, known: Tensor, apart: Tensor, clear: Tensor) -> Tensor:
        """Of the other dates (N, date, head, y, x): they sum to 1, or to 0 where none is clear."""
        batch, dates = apart.shape
        between = _between(apart.flatten())
        size = own.shape[-2:]
        query = self.query(own).reshape(batch, 1, self.heads, -1, *size)
        key = self.key(torch.cat([known, _as_bands(between, known)], dim=1)).reshape(
            batch, dates, self.heads, -1, *size
        )
        scores = (query * key).mean(dim=3) + self.nearness(between[:, :, None, None]).reshape(batch, dates, -1, 1, 1)
        there = clear[:, :, None]
        # Of clear dates only: a hidden one must not even shift the others' exponents.
        highest = scores.masked_fill(there == 0, -torch.inf).amax(dim=1, keepdim=True)
        highest = torch.where(highest.isfinite(), highest, 0.0)
        weights = there * torch.exp((scores - highest).masked_fill(there == 0, 0.0))
        return weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-12)

    def _spectra(self, made: Tensor, x: Tensor) -> Estimates:
        ms = made * self.spread[:, None, None] + self.centre[:, None, None]
        features = torch.relu(self.mix(torch.cat([made, x], dim=1)))
        hs = self.regression(ms) + self.to_hs(features)
        return Estimates(ms, hs, self.to_error(features.detach()) - 4.0)

    def _scaled(self, image: Tensor, clear: Tensor) -> Tensor:
        """Bands in units of their spread, times the probability; zero where that is, NaN or not."""
        scaled = (image - self.centre[:, None, None]) / self.spread[:, None, None]
        return torch.where(clear > 0, scaled * clear, 0.0)


def reconstruct(
    network: SsrCloud,
    image: Float32,
    clear: Float32,
    day: float,
    others: Float32,
    known: Float32,
    days: Float64,
    *,
    taught: bool = True,
) -> tuple[Float32, Float32]:
    """Spectra (h, y, x) of one date and the b of their error, without the margin that all images have.

    Parameters
    ----------
    network : SsrCloud
        Ready to infer.
    image, clear : ndarray (m, y, x), (y, x)
        Of the date; zeros if there is no image.
    day : float
    others, known : ndarray (date, m, y, x), (date, y, x)
        Of the other dates, of which there may be none, and how clear they are.
    days : ndarray (date,)
    taught : bool
        Whether it learned what the date looks like.
    """
    if not days.size:
        # A date that is clear nowhere is as good as none.
        others, known, days = np.zeros_like(image)[None], np.zeros_like(clear)[None], np.array([day])
    margin, device = network.margin, network.centre.device
    height, width = (n - 2 * margin for n in clear.shape)
    rows = max(_AT_ONCE // ((len(days) + 1) * network.features * (width + 2 * margin)), 1)
    bands = network.regression.out_channels
    out = np.empty((2, bands, height, width), np.float32)
    when = torch.tensor([day]).float(), torch.as_tensor(days).float()[None], torch.tensor([float(taught)])
    inner = slice(margin, margin + width)
    for first in range(0, height, rows):
        part = slice(first, min(first + rows, height) + 2 * margin)
        images = [torch.from_numpy(np.ascontiguousarray(i[..., part, :]))[None] for i in (image, clear, others, known)]
        given = (*images[:2], when[0], *images[2:], *when[1:])
        with torch.inference_mode():
            found = network(Evidence(*(tensor.to(device) for tensor in given)))
        for place, result in zip(out, (found.hs, found.log_error.exp()), strict=True):
            core = result[0, :, margin : result.shape[2] - margin, inner]
            place[:, first : first + core.shape[1]] = core.cpu().numpy()
    return out[0], out[1]


def _as_bands(codes: Tensor, like: Tensor) -> Tensor:
    """Numbers (N, n), the same in all pixels of images (N, band, y, x), as bands."""
    return codes.to(like)[:, :, None, None].expand(-1, -1, *like.shape[-2:])


NETWORK = Network(
    name="ssr_cloud",
    module=SsrCloud,
    tasks=("ssr_cloud",),
    summary="Cloud-free spectra from a cloudy series of few bands: attention over clear dates, and a spectral head.",
    reference=Reference("Own design, not published"),
    config={"features": 32, "heads": 4, "blocks": 1},
    images=2,
)
