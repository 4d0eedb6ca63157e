"""sSRPNet: pansharpening without ground truth, by an initial fusion and an injection through spectral super-resolution.

With the initial fusion F0 of pan P and multispectral image M (stage 1: TFNet, trained one scale coarser), stage 2 is ::

    p    = PIP_P(sD(F0), P)             sD: bands to pan (spectral degradation)
    F1   = PIP_M(F0, sSR(p))            sSR: pan to bands (spectral super-resolution)
    out  = (F1 + F0) / 2                trained by | D out - M |, D: the sensor's blur and decimation
    result = (out + F0) / 2

    PIP(x, y) = a g(y - x) + b x        g: conv 3 x 3 to 32, LeakyReLU, conv 3 x 3, no bias

sD and sSR are small HSCNN+ of 102 721 and 102 244 parameters for 4 bands. Stage 2 alone, on any fused image, is the
plug-in sSRI: :class:`SSRInjection`.

The published a = b = 0.5 and random g begin stage 2 far below F0, and a few hundred steps are spent on the way back to
it. Here b begins at 1 and the last weights of PIP_M's g at zero, so that out begins at F0.

He, Yuan, Li, Xiao and Zhang 2023, ISPRS Journal of Photogrammetry and Remote Sensing 204:131-144
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from xrs.nets._blocks import conv, he_uniform
from xrs.nets.base import Network, Stage
from xrs.nets.tfnet import TFNet
from xrs.reference import Reference

__all__ = ["NETWORKS", "PIP", "SSRI", "ExpansionNet", "SSRInjection", "SSRPNet"]


class PIP(nn.Module):
    """Progressive injection: ``a g(y - x) + b x`` brings into ``x`` what ``y`` knows better.

    Examples
    --------
    >>> PIP(4)(torch.ones(1, 4, 8, 8), torch.ones(1, 4, 8, 8))[0, 0, 0, 0]  # y = x leaves b x
    tensor(0.5000, grad_fn=<SelectBackward0>)
    """

    def __init__(self, bands: int, features: int = 32) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(0.5))
        self.b = nn.Parameter(torch.tensor(0.5))
        self.g = nn.Sequential(conv(bands, features, bias=False), nn.LeakyReLU(0.01), conv(features, bands, bias=False))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Of the same shape as both."""
        return self.a * self.g(y - x) + self.b * x


class ExpansionNet(nn.Module):
    """A small HSCNN+ between two sets of bands on one grid: sD and sSR.

    Each layer is a convolution with ReLU, the last one too; edges repeat. Head: two parallel 3 x 3 to 16, each
    followed by a 1 x 1 to 16, all four concatenated. Then ``blocks`` expansions: 1 x 1 to 64, two parallel
    3 x 3 to 16, each followed by a 1 x 1 to 8, the four concatenated, 1 x 1 to 16, joined to the input.
    Tail: 1 x 1. In the released code both branches of the head pass through one of its two 1 x 1
    convolutions and the other lies idle; here each branch has its own. The tail's weights begin positive:
    what enters it is, so its ReLU is open at first.

    HSCNN+: Shi, Chen, Xiong, Liu and Wu 2018, CVPR Workshops, 939-947

    Examples
    --------
    >>> sum(weights.numel() for weights in ExpansionNet(4, 1).parameters())
    102721
    """

    def __init__(self, inputs: int, outputs: int, blocks: int = 4) -> None:
        super().__init__()
        self.head = _Parallel(inputs, 16)
        self.body = nn.Sequential(*(_Expansion(64 + 16 * index) for index in range(blocks)))
        self.tail = nn.Conv2d(64 + 16 * blocks, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The other bands (N, band, y, x), from zero on."""
        return torch.relu(self.tail(self.body(self.head(x))))

    def open_tail(self) -> None:
        """Make the tail's weights positive."""
        with torch.no_grad():
            self.tail.weight.abs_()


class SSRInjection(nn.Module):
    """The plug-in sSRI: improve any fused image by what spectral super-resolution reads from the fine image.

    Parameters
    ----------
    bands : int
        Of the fused image.
    fine : int
        Of the fine image; 1 for a pan, as published.
    seed : int
        Of the weights (He-uniform, biases zero). They begin where the result is the fused image.

    Examples
    --------
    >>> injection = SSRInjection(4)
    >>> injection(torch.ones(1, 4, 8, 8), torch.ones(1, 1, 8, 8)).shape
    torch.Size([1, 4, 8, 8])
    """

    def __init__(self, bands: int, fine: int = 1, *, seed: int = 0) -> None:
        super().__init__()
        self.degrade = ExpansionNet(bands, fine)
        self.expand = ExpansionNet(fine, bands)
        self.pip_fine = PIP(fine)
        self.pip_bands = PIP(bands)
        he_uniform(self, seed)
        self.degrade.open_tail()
        self.expand.open_tail()
        self._begin_at_the_fused()

    def _begin_at_the_fused(self) -> None:
        with torch.no_grad():
            self.pip_fine.b.fill_(1.0)
            self.pip_bands.b.fill_(1.0)
            self.pip_bands.get_parameter("g.2.weight").zero_()

    def forward(self, fused: Tensor, fine: Tensor) -> Tensor:
        """``out = (F1 + F0) / 2`` of F0 (N, band, y, x) and the fine image on the same grid."""
        seen = self.pip_fine(self.degrade(fused), fine)
        return (self.pip_bands(fused, self.expand(seen)) + fused) / 2


class SSRPNet(nn.Module):
    """Both stages: the initial fusion and the injection; training fits ``initial`` first, then ``injection``.

    Parameters
    ----------
    bands, ratios : tuple of int
        Of the fine and the coarse image. The paper has one fine band; more are taken alike.
    features, residual, skip
        Of the initial fusion, see :class:`~xrs.nets.tfnet.TFNet`.
    seed : int
        Of the weights (He-uniform, biases zero).

    Examples
    --------
    >>> network = SSRPNet((1, 4), (1, 4))
    >>> network(torch.zeros(1, 1, 12, 16), torch.zeros(1, 4, 3, 4)).shape
    torch.Size([1, 4, 12, 16])
    """

    def __init__(
        self,
        bands: tuple[int, ...],
        ratios: tuple[int, ...],
        *,
        features: int = 32,
        residual: bool = True,
        skip: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.initial = TFNet(bands, ratios, features=features, residual=residual, skip=skip, seed=seed)
        self.injection = SSRInjection(bands[1], bands[0], seed=seed + 1)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """The coarse image's bands (N, band, y, x) on the grid of the fine one."""
        fused = self.initial(fine, coarse)
        return (self.injection(fused, fine) + fused) / 2


class _Parallel(nn.Module):
    """Two 3 x 3 convolutions side by side, each followed by a 1 x 1; all four concatenated."""

    def __init__(self, inputs: int, narrow: int) -> None:
        super().__init__()
        self.wide = nn.ModuleList(_activated(inputs, 16, 3) for _ in range(2))
        self.narrow = nn.ModuleList(_activated(16, narrow, 1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        wide = [layer(x) for layer in self.wide]
        narrow = [layer(part) for layer, part in zip(self.narrow, wide, strict=True)]
        return torch.cat([*wide, *narrow], dim=1)


class _Expansion(nn.Module):
    """Adds 16 features to its input."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(_activated(inputs, 64, 1), _Parallel(64, 8), _activated(48, 16, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.layers(x)], dim=1)


def _activated(inputs: int, outputs: int, size: int) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, size, padding=size // 2, padding_mode="replicate")
    return nn.Sequential(layer, nn.ReLU())


class SSRI(nn.Module):
    """The plug-in with the signature of all networks: a fine and a fused image on one grid.

    Examples
    --------
    >>> SSRI((1, 4), (1, 1))(torch.ones(1, 1, 8, 8), torch.ones(1, 4, 8, 8)).shape
    torch.Size([1, 4, 8, 8])
    """

    def __init__(self, bands: tuple[int, ...], ratios: tuple[int, ...], *, seed: int = 0) -> None:
        super().__init__()
        self.injection = SSRInjection(bands[1], bands[0], seed=seed)

    def forward(self, fine: Tensor, fused: Tensor) -> Tensor:
        """The fused image (N, band, y, x) with what the fine one tells."""
        improved: Tensor = self.injection(fused, fine)
        return improved


_REFERENCE = Reference(
    "He, Yuan, Li, Xiao and Zhang 2023, A self-supervised remote sensing image fusion framework with dual-stage "
    "self-learning and spectral super-resolution injection, ISPRS Journal of Photogrammetry and Remote Sensing "
    "204:131-144"
)

NETWORKS = (
    Network(
        name="ssrpnet",
        module=SSRPNet,
        tasks=("pansharpen", "sharpen"),
        summary="Initial two-stream fusion, then injection through spectral super-resolution; needs no ground truth.",
        reference=_REFERENCE,
        config={"features": 32, "residual": True, "skip": True},
        images=2,
        stages=(Stage("initial", "wald"), Stage("injection", "consistency")),
        differs="The initial network is ResTFNet with strides that follow the ratio; each branch of the heads of "
        "sD and sSR has its own 1 x 1 convolution; the injection begins at the initial fusion; takes several fine "
        "bands too.",
    ),
    Network(
        name="ssri",
        module=SSRI,
        tasks=("refine",),
        summary="Injection through spectral super-resolution into a fused image.",
        reference=_REFERENCE,
        images=2,
        differs="Each branch of the heads of sD and sSR has its own 1 x 1 convolution; begins at the fused image; "
        "takes several fine bands too.",
    ),
)
