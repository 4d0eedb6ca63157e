"""What networks of spatio-temporal fusion share: the images of some pairs of dates, and of one to be predicted."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from xrs.errors import ParameterError
from xrs.nets._blocks import upsampled

__all__ = ["by_date", "check_pairs"]


def check_pairs(network: str, bands: tuple[int, ...], ratios: tuple[int, ...], most: int = 0) -> None:
    """Make sure that images are those of pairs: fine ones, as many coarse ones, and the coarse one to predict from.

    Parameters
    ----------
    network : str
    bands, ratios : tuple of int
        Of each image.
    most : int
        Pairs at most; 0 for any even number. One pair is always right.

    Raises
    ------
    ParameterError
        If they are not.
    """
    pairs = len(bands) // 2
    wanted = (1,) * pairs + (ratios[-1],) * (pairs + 1)
    if ratios != wanted or len(set(bands)) > 1:
        raise ParameterError(
            f"bands {bands} and ratios {ratios} for the network {network!r}",
            "fine images of some dates, coarse ones of the same dates and of one more, all of the same bands",
        )
    if pairs > 1 and (pairs % 2 or 0 < most < pairs):
        raise ParameterError(
            f"{pairs} pairs for the network {network!r}", f"1 or {most}" if most else "1, or an even number"
        )


def by_date(images: Sequence[Tensor], ratio: int, mode: str) -> tuple[Sequence[Tensor], list[Tensor], Tensor]:
    """Fine images, coarse ones of the same dates, and the coarse one to predict from, all (N, band, y, x) and fine.

    Coarse ones are interpolated, ``"bilinear"`` or ``"bicubic"``.
    """
    pairs = len(images) // 2
    *coarse, target = (upsampled(image, ratio, mode) for image in images[pairs:])
    return images[:pairs], coarse, target
