"""Two streams for a fine multispectral and a coarse hyperspectral image: spatial and spectral super-resolution.

With the fine image M (few bands), the coarse one H (many bands), interpolation ``up`` and a point spread D from the
fine to the coarse grid::

    P        = M - up(D M)                          what the coarse grid does not show
    spatial  = up(H) + A P + S(P, M, up(H))         the many bands, with details guided by the few
    spectral = L M + T(M)                           the many bands read from the few
    F        = g spatial + (1 - g) spectral         g: softmax over the two streams, for each pixel and band

A and L are convolutions of one pixel; S and T residual blocks of 3 x 3 convolutions between two such. D
(separable taps, the Gaussian of the sensor's transfer at first) and the spectral response Phi from the many bands to
the few (rows above zero that sum to 1, or those of the sensors) are learned too. Training starts from the linear
regression as A and L, and from the response that fits best (:meth:`DualSR.begin`). With the degraders the network
trains itself, without ground truth (:meth:`DualSR.extra_loss`)::

    |Phi H - D M|                                   both sensors saw one scene: this fits the degraders
    |Phi F - M| + |D F - H|                         option A: the result, degraded, gives both images back
    |Phi spatial - M| + |D spectral - H|            option B, crosswise: each stream bears the other's degrader
    lambda |Q (spatial - spectral)|                 the streams agree in details, Q = 1 - up D; of them the
                                                    spatial one learns what M alone cannot tell

each term weighted by ``L / (2 c^2) + ln(1 + c^2)`` with a learned c (Liebel and Koerner 2018, arXiv:1805.06334).

Our own design, experimental; not published.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from xrs.errors import ParameterError
from xrs.kernels import gaussian_taps
from xrs.nets._blocks import ResidualBlock, conv, he_uniform, regression, upsampled
from xrs.nets.base import Network
from xrs.reference import Reference
from xrs.sensors.torch_forward import apply_response, decimate

__all__ = ["NETWORK", "DualSR"]

#: Logits of the degraders are so many times their parameters: they learn as fast as the convolutions.
_PACE = 10.0
#: The terms' c at first, near where they settle for errors of some thousandths to hundredths.
_FIRST_C = 0.25
#: The least c² in their weights.
_LEAST_SQUARE = 1e-6
#: Steps, and their rate, in which a response to be learned is fitted before training.
_RESPONSE_STEPS, _RESPONSE_RATE = 300, 0.01


class DualSR(nn.Module):
    """The two streams, their gate and the degraders.

    Parameters
    ----------
    bands, ratios : tuple of int
        Of the fine and the coarse image.
    features, blocks : int
        Of each stream.
    options : {"a", "b", "ab"}
        The constraints the network trains itself with.
    agreement : float
        Lambda.
    gain : float
        Transfer of the coarse sensor at its Nyquist frequency, from which the point spread starts.
    response : sequence of sequence of float, optional
        The sensors' spectral response, weights (fine band, coarse band) as :func:`xrs.sensors.spectral_response`
        gives them, in the order of the bands. Learned if not given.
    seed : int
        Of the weights (He-uniform, those of the last layers a hundredth of it; biases zero).

    Examples
    --------
    >>> network = DualSR((4, 60), (1, 3), features=8, blocks=1)
    >>> fine, coarse = torch.rand(1, 4, 12, 15), torch.rand(1, 60, 4, 5)
    >>> network(fine, coarse).shape
    torch.Size([1, 60, 12, 15])
    >>> round(float(network.gate(fine, coarse).detach().mean()), 1)  # neither stream is preferred at first
    0.5
    """

    def __init__(
        self,
        bands: tuple[int, ...],
        ratios: tuple[int, ...],
        *,
        features: int = 64,
        blocks: int = 2,
        options: str = "ab",
        agreement: float = 1.0,
        gain: float = 0.3,
        response: Sequence[Sequence[float]] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if options not in ("a", "b", "ab"):
            raise ParameterError(f"options={options!r}", "'a', 'b' or 'ab'")
        self.ratio, self.options, self.agreement = ratios[1], options, agreement
        fine, coarse = bands
        self.inject = conv(fine, coarse, 1, bias=False)
        self.look = _stream(2 * fine + coarse, features, blocks)
        self.details = conv(features, coarse, 1)
        self.linear = conv(fine, coarse, 1)
        self.read = _stream(fine, features, blocks)
        self.expand = conv(features, coarse, 1)
        self.choose = conv(2 * features, coarse, 1)
        he_uniform(self, seed)
        self._quieten()
        taps = torch.as_tensor(gaussian_taps(gain, self.ratio), dtype=torch.float32)
        self.tap_logits = nn.Parameter(taps.log() / _PACE)
        self.response_logits = nn.Parameter(_first_response(response, fine, coarse), requires_grad=response is None)
        self.spreads = nn.Parameter(torch.full((2 + 2 * len(options),), _FIRST_C))

    @property
    def taps(self) -> Tensor:
        """The point spread D: separable, symmetric, sums to 1 (tap,)."""
        logits = (self.tap_logits + self.tap_logits.flip(0)) / 2
        return torch.softmax(_PACE * logits, dim=0)

    @property
    def response(self) -> Tensor:
        """The spectral response Phi (fine band, coarse band); rows sum to 1."""
        return torch.softmax(_PACE * self.response_logits, dim=1)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """The coarse image's bands (N, band, y, x) on the grid of the fine one."""
        spatial, spectral, gate = self._parts(fine, coarse)
        return torch.lerp(spectral, spatial, gate)

    def streams(self, fine: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """The spatial and the spectral stream, each of the result's shape."""
        spatial, spectral, _ = self._parts(fine, coarse)
        return spatial, spectral

    def gate(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """The spatial stream's share g in each value of the result, of its shape, from 0 to 1.

        The entropy ``-g ln g - (1 - g) ln(1 - g)`` is greatest where the network cannot tell which stream is right.
        """
        return self._parts(fine, coarse)[2]

    @torch.no_grad()
    def begin(self, images: Sequence[Tensor], _: Tensor, mask: Tensor) -> None:
        """Start A and L with the linear regression of the coarse bands on the fine ones, and Phi with its best fit.

        All as the coarse grid shows them: a wrong response would lead the streams astray before it is learned.

        Parameters
        ----------
        images : sequence of Tensor
            Fine and coarse images to train on.
        mask : Tensor of bool (N, band, y, x)
            Where they hold values that count, on either grid.
        """
        fine, coarse = self._coarsened(images[0]), images[1]
        whole = _whole(mask.all(dim=1, keepdim=True), coarse)
        slopes, offsets = regression(fine, coarse, whole[:, 0])
        self.inject.weight.copy_(slopes)
        self.linear.weight.copy_(slopes)
        self.linear.get_parameter("bias").copy_(offsets)
        if self.response_logits.requires_grad:
            self._fit_response(fine, coarse, whole)

    @torch.enable_grad()
    def _fit_response(self, fine: Tensor, coarse: Tensor, where: Tensor) -> None:
        optimizer = torch.optim.Adam([self.response_logits], lr=_RESPONSE_RATE)
        for _ in range(_RESPONSE_STEPS):
            misfit = _distance(apply_response(coarse, self.response), fine, where)
            self.response_logits.grad = torch.autograd.grad(misfit, self.response_logits)[0]
            optimizer.step()

    def extra_loss(self, images: Sequence[Tensor], result: Tensor, seen: Tensor) -> Tensor:
        """What the network trains itself with; see the head of the module.

        Parameters
        ----------
        images : sequence of Tensor
            The fine and the coarse image.
        result : Tensor
            What :meth:`forward` made of them.
        seen : Tensor of bool (N, 1, y, x)
            Where the images hold values that count, on the fine grid.
        """
        fine, coarse = images
        terms = torch.stack(list(self._terms(fine, coarse, result.float(), seen)))
        squares = self.spreads.square().clamp(min=_LEAST_SQUARE)
        return (terms / (2 * squares) + torch.log1p(squares)).sum()

    def _terms(self, fine: Tensor, coarse: Tensor, result: Tensor, seen: Tensor) -> Iterator[Tensor]:
        whole = _whole(seen, coarse)
        spatial, spectral = (stream.float() for stream in self.streams(fine, coarse))
        yield _distance(apply_response(coarse, self.response), self._coarsened(fine), whole)
        # From here on the degraders are given: learned from their own misfit they would excuse that of the streams.
        response, taps = self.response.detach(), self.taps.detach()
        gap = spatial - spectral
        yield self.agreement * _distance(gap, upsampled(decimate(gap, taps, self.ratio), self.ratio, "bicubic"), seen)
        for narrow, wide in self._constrained(result, spatial, spectral):
            yield _distance(apply_response(narrow, response), fine, seen)
            yield _distance(decimate(wide, taps, self.ratio), coarse, whole)

    def _constrained(self, result: Tensor, spatial: Tensor, spectral: Tensor) -> list[tuple[Tensor, Tensor]]:
        """What must give the fine image back, and what the coarse one, by option."""
        pairs = {"a": (result, result), "b": (spatial, spectral)}
        return [pairs[option] for option in self.options]

    def _parts(self, fine: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Both streams, and the first one's share."""
        # Details are small differences of large values: they need all digits even where convolutions do with fewer.
        with torch.autocast(fine.device.type, enabled=False):
            details = self._sharpness(fine)
            wide = upsampled(coarse, self.ratio, "bicubic")
            spatial, spectral = wide + self.inject(details), self.linear(fine)
        looked, read = self.look(torch.cat([details, fine, wide], dim=1)), self.read(fine)
        spatial, spectral = spatial + self.details(looked), spectral + self.expand(read)
        # Of two streams the softmax is the logistic function of one difference.
        return spatial, spectral, torch.sigmoid(self.choose(torch.cat([looked, read], dim=1)).to(spatial.dtype))

    def _coarsened(self, image: Tensor) -> Tensor:
        return decimate(image, self.taps, self.ratio)

    def _sharpness(self, image: Tensor) -> Tensor:
        """What of a fine image its coarse version does not show."""
        return image - upsampled(self._coarsened(image), self.ratio, "bicubic")

    def _quieten(self) -> None:
        """Begin with the details, and the values, of the fine bands' mean: from random ones training ends worse."""
        with torch.no_grad():
            for layer in (self.details, self.expand, self.choose):
                layer.weight.mul_(0.01)
            self.linear.weight.fill_(1 / self.linear.in_channels)
            self.inject.weight.fill_(1 / self.inject.in_channels)


def _stream(inputs: int, features: int, blocks: int) -> nn.Sequential:
    """From many bands to features, and residual blocks."""
    return nn.Sequential(conv(inputs, features, 1), nn.ReLU(), *(ResidualBlock(features) for _ in range(blocks)))


def _distance(one: Tensor, other: Tensor, where: Tensor) -> Tensor:
    """Mean absolute difference of images (N, band, y, x) over the pixels of a mask (N, 1, y, x)."""
    return ((one - other).abs() * where).sum() / (where.sum() * one.shape[1]).clamp(min=1)


def _whole(seen: Tensor, coarse: Tensor) -> Tensor:
    """Where all of a coarse pixel was seen (N, 1, y, x)."""
    return adaptive_avg_pool2d(seen.float(), (coarse.shape[2], coarse.shape[3])) == 1


def _first_response(response: Sequence[Sequence[float]] | None, fine: int, coarse: int) -> Tensor:
    """Logits of a given response; of one to be learned, equal weights."""
    if response is None:
        return torch.zeros(fine, coarse)
    weights = torch.as_tensor(response, dtype=torch.float32)
    if weights.shape != (fine, coarse) or not (weights >= 0).all() or not (weights.sum(1) > 0).all():
        raise ParameterError(f"a response of shape {tuple(weights.shape)}", f"weights of 0 or more, ({fine}, {coarse})")
    return (weights / weights.sum(dim=1, keepdim=True)).clamp(min=1e-7).log() / _PACE


NETWORK = Network(
    name="dual_sr",
    module=DualSR,
    tasks=("sharpen", "pansharpen"),
    summary="Two streams, spatial and spectral super-resolution, joined by a gate; for hyperspectral images.",
    reference=Reference(
        "Own design, not published; weights of the loss's terms after Liebel and Koerner 2018, Auxiliary tasks in "
        "multi-task learning, arXiv:1805.06334"
    ),
    config={"features": 64, "blocks": 2, "options": "ab", "agreement": 1.0, "gain": 0.3, "response": None},
    images=2,
    differs="Own design, experimental.",
)
