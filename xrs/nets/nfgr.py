"""Unfolding of the degradation model with a normaliser-free group residual network as prior, after He 2022c (PNXnet).

With the fine image ``P = Phi X`` and the coarse one ``M = D B X``, each stage takes a gradient step and one of the
prior::

    X <- X - eps_P Phi^T (Phi X - P) - eps_M (DB)^T (DB X - M) + rho (prior(X) - X)

from the interpolated M. Phi: fine bands as mixtures of the result's bands (weights from a softmax, learned); B:
separable blur that begins as the Gaussian with the sensor's gain at Nyquist, learned; D: decimation; the transposes are
exact. Phi, B and D are the same in all stages; eps and rho are learned for each.

The prior has no normalisation; its signals keep a known variance instead::

    x <- x + alpha f(x / beta_l),   beta_l = sqrt(1 + l alpha²),   Var x grows by alpha² a block

as every f has unit variance: its weights are standardised and scaled, ``W' = g gamma (W - mean) / (std sqrt(N))`` for
each output with fan-in N and a learned gain g, where gamma undoes what the activation does to the variance (ReLU:
sqrt(2 / (1 - 1/pi)) = 1.7129; published tables hold a sampled 1.7139).

What is known of the paper: degradation models guide the unfolding, the rule of the residual blocks, the growth of
their variance, and the scaled weights. Gaps filled here: 5 stages with priors of their own; a prior of 4 blocks, each
activation, grouped 3 x 3 convolution (a group a band, 64 features), activation, 1 x 1 convolution that mixes the
groups; plain 3 x 3 convolutions into and out of the prior, which adds to what enters it; scalar steps; alpha = 0.2.
Features that enter the blocks with another variance than 1 keep the same growth in proportion.

He, Yuan, Li and Zhang 2022, IEEE Transactions on Geoscience and Remote Sensing 60; Brock, De and Smith 2021,
Characterizing signal propagation to close the performance gap in unnormalized ResNets, arXiv:2101.08692
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from xrs.kernels.psf import gaussian_taps, stack_taps
from xrs.nets._blocks import conv, he_uniform, upsampled
from xrs.nets.base import Network
from xrs.reference import Reference
from xrs.sensors.torch_forward import apply_response, decimate, decimate_adjoint

__all__ = ["NETWORK", "NFGR", "NFBlock", "NFStack", "ScaledConv", "activation_gain"]

#: Least variance times fan-in that is divided by, as in the reference implementation of Brock et al.
_EPS = 1e-4


def activation_gain(slope: float = 0.0) -> float:
    """The factor after which a leaky ReLU of standard normal values has variance 1; slope 0 is ReLU.

    Examples
    --------
    >>> round(activation_gain(), 4)
    1.7129
    """
    return math.sqrt(2.0 / (1.0 + slope**2 - (1.0 - slope) ** 2 / math.pi))


class ScaledConv(nn.Conv2d):
    """Convolution with scaled, standardised weights: its output keeps the variance of independent inputs.

    Parameters
    ----------
    inputs, outputs, size, groups : int
        As of any convolution; the size is kept.
    gamma : float
        Of the activation before it.

    Examples
    --------
    >>> weight = ScaledConv(8, 4, 3).standardised()
    >>> torch.allclose(weight.var((1, 2, 3), correction=0), torch.tensor(1 / 72))
    True
    """

    def __init__(self, inputs: int, outputs: int, size: int, groups: int = 1, gamma: float = 1.0) -> None:
        super().__init__(inputs, outputs, size, padding=size // 2, groups=groups)
        self.gamma = gamma
        self.gain = nn.Parameter(torch.ones(outputs, 1, 1, 1))

    def standardised(self) -> Tensor:
        """``g gamma (W - mean) / (std sqrt(N))``."""
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), correction=0, keepdim=True)
        fan_in = self.weight[0].numel()
        return (self.weight - mean) * (self.gain * self.gamma * torch.rsqrt((variance * fan_in).clamp_min(_EPS)))

    def forward(self, x: Tensor) -> Tensor:
        """As of a convolution that keeps the size."""
        return self._conv_forward(x, self.standardised(), self.bias)


class NFBlock(nn.Module):
    """``x + alpha f(x / beta)`` with f: activation, grouped 3 x 3, activation, 1 x 1.

    The activation is positively homogeneous, so 1 / beta and alpha are taken into the weights' scale.

    Parameters
    ----------
    features, groups : int
        Of the grouped convolution.
    alpha, beta : float
        The standard deviation that the block adds, and the one it meets.
    slope : float
        Of the leaky ReLU; 0 is ReLU.
    """

    def __init__(self, features: int, groups: int, *, alpha: float, beta: float, slope: float = 0.0) -> None:
        super().__init__()
        gamma = activation_gain(slope)
        self.slope = slope
        self.spatial = ScaledConv(features, features, 3, groups, gamma / beta)
        self.mix = ScaledConv(features, features, 1, gamma=gamma * alpha)

    def forward(self, x: Tensor) -> Tensor:
        """Of the same shape."""
        branch = self.spatial(leaky_relu(x, self.slope))
        return x + self.mix(leaky_relu(branch, self.slope, inplace=True))


class NFStack(nn.Sequential):
    """Blocks whose variance is known: from unit variance, after l blocks it is ``1 + l alpha²``."""

    def __init__(self, blocks: int, features: int, *, groups: int, alpha: float = 0.2, slope: float = 0.0) -> None:
        betas = (math.sqrt(1.0 + index * alpha**2) for index in range(blocks))
        super().__init__(*(NFBlock(features, groups, alpha=alpha, beta=beta, slope=slope) for beta in betas))


class _Stage(nn.Module):
    """The steps and the prior of one stage."""

    def __init__(self, bands: tuple[int, ...], ratio: int, features: int, stack: NFStack) -> None:
        super().__init__()
        self.ratio = ratio
        # A step of ratio² removes the mean misfit of a coarse pixel at once; one over the fine bands averages theirs.
        self.eps_fine = nn.Parameter(torch.tensor(1.0 / bands[0]))
        self.eps_coarse = nn.Parameter(torch.tensor(float(ratio**2)))
        self.rho = nn.Parameter(torch.tensor(1.0))
        self.prior = nn.Sequential(conv(bands[1], features), stack, conv(features, bands[1]))

    def forward(self, x: Tensor, fine: Tensor, coarse: Tensor, response: Tensor, taps: Tensor) -> Tensor:
        # Misfits are small differences of large values: they need all digits even where the prior does with fewer.
        with torch.autocast(x.device.type, enabled=False):
            misfit = apply_response(x, response) - fine
            x_fine = self.eps_fine * apply_response(misfit, response.T)
            misfit = decimate(x, taps, self.ratio) - coarse
            x_coarse = self.eps_coarse * decimate_adjoint(misfit, taps, self.ratio)
        return x - x_fine - x_coarse + self.rho * self.prior(x)


class NFGR(nn.Module):
    """The unfolded network for a fine and a coarse image.

    Parameters
    ----------
    bands, ratios : tuple of int
        Of the fine and the coarse image.
    stages, blocks : int
        Stages, and blocks of the prior in each.
    features : int
        Of the prior; taken to the nearest multiple of 8 in each group (a group is a band), for whose sizes
        grouped convolutions are fast.
    alpha : float
        The standard deviation that a block adds.
    slope : float
        Of the leaky ReLU in the prior; 0 is ReLU.
    gain : float or sequence of float
        Transfer of the coarse sensor at its Nyquist frequency, for all bands or each.
    seed : int
        Of the weights (He-uniform, those out of the priors a hundredth of it; biases zero).

    Examples
    --------
    >>> network = NFGR((1, 4), (1, 4), stages=1)
    >>> network(torch.zeros(1, 1, 12, 16), torch.zeros(1, 4, 3, 4)).shape
    torch.Size([1, 4, 12, 16])
    """

    def __init__(
        self,
        bands: tuple[int, ...],
        ratios: tuple[int, ...],
        *,
        stages: int = 5,
        blocks: int = 4,
        features: int = 64,
        alpha: float = 0.2,
        slope: float = 0.0,
        gain: float | Sequence[float] = 0.3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.ratio = ratios[1]
        groups = bands[1]
        features = max(round(features / (8 * groups)), 1) * 8 * groups
        taps = stack_taps([gaussian_taps(value, self.ratio) for value in np.broadcast_to(gain, groups).tolist()])
        self.taps = nn.Parameter(torch.as_tensor(taps, dtype=torch.float32))
        self.logits = nn.Parameter(torch.zeros(bands[0], bands[1]))
        self.stages = nn.ModuleList(
            _Stage(bands, self.ratio, features, NFStack(blocks, features, groups=groups, alpha=alpha, slope=slope))
            for _ in range(stages)
        )
        he_uniform(self, seed)
        self._quieten_priors()

    def _quieten_priors(self) -> None:
        """Begin with the data terms alone: from large random priors training gets less far in the same time."""
        with torch.no_grad():
            for name, weights in self.stages.named_parameters():
                if name.endswith("prior.2.weight"):
                    weights.mul_(0.01)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """The coarse image's bands (N, band, y, x) on the grid of the fine one."""
        response = torch.softmax(self.logits, dim=1)
        x = upsampled(coarse, self.ratio)
        for stage in self.stages:
            x = stage(x, fine, coarse, response, self.taps)
        return x


NETWORK = Network(
    name="nfgr",
    module=NFGR,
    tasks=("pansharpen", "sharpen"),
    summary="Unfolded degradation model with a normaliser-free group residual network as prior, after He 2022c.",
    reference=Reference(
        "He, Yuan, Li and Zhang 2022, A knowledge optimization-driven network with normalizer-free group ResNet prior "
        "for remote sensing image pan-sharpening, IEEE Transactions on Geoscience and Remote Sensing 60; blocks: "
        "Brock, De and Smith 2021, Characterizing signal propagation to close the performance gap in unnormalized "
        "ResNets, arXiv:2101.08692"
    ),
    config={
        "stages": 5,
        "blocks": 4,
        "features": 64,
        "alpha": 0.2,
        "slope": 0.0,
        "gain": 0.3,
    },
    images=2,
    differs="After He 2022c: number of stages and blocks, widths, step sizes and the learned operators are our own.",
)
