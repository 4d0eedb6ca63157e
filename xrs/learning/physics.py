"""What the sensors of a network's images would see in its result, held against what they did see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import max_pool2d

from xrs.sensors.torch_forward import apply_response, decimate

__all__ = ["Physics", "Seen"]


@dataclass(frozen=True)
class Seen:
    """How one image follows from the result.

    Attributes
    ----------
    response : Tensor (band, band of the result)
        Of the bands whose response is known; rows sum to 1.
    taps : Tensor (band, tap), optional
        Point spread from the result's grid to the image's, ``ratio`` times coarser.
    ratio : int
    edge : int
        Pixels at the edges of a patch of the image that are seen through what lies outside of it.
    bands : tuple of int
        Which bands of the image these are; all if empty.
    """

    response: Tensor
    taps: Tensor | None = None
    ratio: int = 1
    edge: int = 0
    bands: tuple[int, ...] = ()

    def __call__(self, result: Tensor) -> Tensor:
        """The image (N, band, y, x) of a result."""
        seen = apply_response(result, self.response.to(result))
        return seen if self.taps is None else decimate(seen, self.taps, self.ratio)


@dataclass(frozen=True)
class Physics:
    """The term ``weight`` times the mean of |Phi(X) - Y| over pixels and bands, X the result and Y the images.

    Attributes
    ----------
    seen : sequence of Seen or None
        Of each image; None where it is not known how it follows.
    weight : float
    """

    seen: Sequence[Seen | None]
    weight: float

    def loss(self, images: Sequence[Tensor], result: Tensor, mask: Tensor) -> Tensor:
        """The term.

        Parameters
        ----------
        images : sequence of Tensor (N, band, y, x)
        result : Tensor (N, band, y, x)
        mask : Tensor of bool (N, band, y, x)
            Of the target; a pixel of which no band counts does not count here.
        """
        return self.weight * self.residual(images, result, mask)

    def residual(self, images: Sequence[Tensor], result: Tensor, mask: Tensor) -> Tensor:
        """The mean of |Phi(X) - Y|, every band weighing the same."""
        pixels = mask.any(dim=1, keepdim=True)
        total, bands = result.new_zeros(()), 0
        for image, seen in zip(images, self.seen, strict=True):
            if seen is not None:
                inner = slice(seen.edge, image.shape[-1] - seen.edge)
                counted = _whole(pixels, seen.ratio)[..., inner, inner].to(result)
                observed = image[:, list(seen.bands)] if seen.bands else image
                error = ((seen(result) - observed)[..., inner, inner].abs() * counted).sum(dim=(0, 2, 3))
                total = total + (error / counted.sum().clamp(min=1)).sum()
                bands += observed.shape[1]
        return total / max(bands, 1)


def _whole(pixels: Tensor, ratio: int) -> Tensor:
    """The blocks of ``ratio`` by ``ratio`` pixels that all count."""
    return pixels if ratio == 1 else max_pool2d((~pixels).float(), ratio) == 0
