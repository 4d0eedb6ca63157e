"""Classes and spectra from the few bands of one image: shared features, and a head for each.

::

    z      = features of the image
    X      = R Y + spectra(z)        R the linear regression
    scores = classes(z)

What the spectral head must find in a few bands, it finds in the features that the classes are told from. The idea has
no published reference known to us: own design.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from xrs.errors import ParameterError
from xrs.kernels.types import Float32
from xrs.nets._blocks import conv, he_uniform
from xrs.nets.base import Network
from xrs.nets.ssr_cloud import check_counts
from xrs.reference import Reference

__all__ = ["NETWORK", "TASKS", "Labelled", "SsrClassify", "classified"]

#: What it learns, in the order of its losses.
TASKS = ("spectra", "classes")


@dataclass(frozen=True)
class Labelled:
    """The spectra (N, band, y, x), and the logits of the classes (N, class, y, x)."""

    spectra: Tensor
    scores: Tensor


class SsrClassify(nn.Module):
    """Shared features and two heads.

    Parameters
    ----------
    bands : tuple of int
        Of the multispectral and of the hyperspectral sensor.
    ratios : tuple of int
        Both 1: they share a grid.
    classes : int
        Two or more.
    features : int
    blocks : int
        Of the shared part, each looking one pixel farther.
    seed : int
        Of the weights.

    Examples
    --------
    >>> network = SsrClassify((4, 30), (1, 1), classes=5)
    >>> network(torch.zeros(1, 4, 8, 8)).scores.shape
    torch.Size([1, 5, 8, 8])
    """

    centre: Tensor
    spread: Tensor

    def __init__(
        self,
        bands: tuple[int, ...],
        ratios: tuple[int, ...],
        *,
        classes: int = 2,
        features: int = 48,
        blocks: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if len(bands) != 2 or set(ratios) != {1}:
            raise ParameterError(f"bands {bands} and ratios {ratios}", "multi- and hyperspectral bands on one grid")
        check_counts(classes=(classes, 2), features=(features, 1), blocks=(blocks, 0))
        ms, hs = bands
        self.blocks = blocks
        self.begin = conv(ms, features, 1)
        self.body = nn.ModuleList(
            nn.Sequential(conv(features, features), nn.ReLU(), conv(features, features, 1)) for _ in range(blocks)
        )
        self.regression = conv(ms, hs, 1)
        self.heads = nn.ModuleDict(
            {
                task: nn.Sequential(conv(features, features, 1), nn.ReLU(), conv(features, outputs, 1))
                for task, outputs in zip(TASKS, (hs, classes), strict=True)
            }
        )
        he_uniform(self, seed)
        with torch.no_grad():
            for head in self.heads.values():
                head.get_submodule("2").get_parameter("weight").mul_(0.01)
        self.register_buffer("centre", torch.zeros(ms))
        self.register_buffer("spread", torch.ones(ms))

    @property
    def margin(self) -> int:
        """Pixels around one on which a result depends."""
        return self.blocks

    def forward(self, image: Tensor) -> Labelled:
        """Spectra and logits of images (N, m, y, x) without gaps."""
        scaled = (image - self.centre[:, None, None]) / self.spread[:, None, None]
        x = torch.relu(self.begin(scaled))
        for block in self.body:
            x = x + block(x)
        x = torch.relu(x)
        return Labelled(self.regression(image) + self.heads["spectra"](x), self.heads["classes"](x))


def classified(network: SsrClassify, image: Float32) -> tuple[Float32, Float32]:
    """Probabilities of the classes and spectra (., y, x) of an image (m, y, x), without the margin that it has."""
    margin = network.margin
    with torch.inference_mode():
        found = network(torch.from_numpy(np.ascontiguousarray(image))[None].to(network.centre.device))
    probability, spectra = (part[0].cpu().numpy() for part in (found.scores.softmax(dim=1), found.spectra))
    inner = (slice(None), *(slice(margin, n - margin) for n in image.shape[1:]))
    return probability[inner], spectra[inner]


NETWORK = Network(
    name="ssr_classify",
    module=SsrClassify,
    tasks=("ssr_classify",),
    summary="Classes and spectra from the few bands of one image: shared features, and a head for each.",
    reference=Reference("Own design, not published"),
    config={"classes": 2, "features": 48, "blocks": 2},
    images=2,
)
