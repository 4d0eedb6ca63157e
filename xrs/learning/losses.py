"""Losses on masked images (N, band, y, x): each is zero for a perfect result and differentiable everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from xrs.errors import ParameterError
from xrs.learning.checks import check_real

__all__ = ["LOSSES", "Loss", "ergas", "gradient", "l1", "laplace", "make_loss", "sam", "weights_of"]

#: (prediction, target, mask) -> scalar; the mask is bool and of the images' shape.
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]

_TINY = 1e-8


def l1(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute error of the pixels in the mask."""
    return _mean((prediction - target).abs(), mask)


def sam(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean of 1 - cos of the angle between spectra, over pixels whose bands are all in the mask.

    As the spectral angle (Kruse et al. 1993, 10.1016/0034-4257(93)90013-N), without the arc cosine, whose
    gradient is infinite at zero.
    """
    dot = (prediction * target).sum(dim=1)
    squares = (prediction**2).sum(dim=1) * (target**2).sum(dim=1)
    return _mean(1.0 - dot / (squares + _TINY).sqrt(), mask.all(dim=1))


def ergas(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Root of the mean over bands of MSE / mean², over all pixels of the batch at once.

    ERGAS (Wald 2002, Data fusion, ISBN 2-911762-38-X) without its factor 100 / ratio. Bands whose mean is zero
    weigh as if it were 1e-4.
    """
    dims = (0, 2, 3)
    count = mask.sum(dim=dims).clamp(min=1)
    square = (((prediction - target) ** 2) * mask).sum(dim=dims) / count
    mean = (target * mask).sum(dim=dims) / count
    return ((square / (mean**2).clamp(min=_TINY)).mean() + _TINY).sqrt() - math.sqrt(_TINY)


def gradient(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute error of the differences between neighbours along rows and columns, both in the mask."""
    error = prediction - target
    rows = _mean(error.diff(dim=2).abs(), mask[:, :, 1:] & mask[:, :, :-1])
    columns = _mean(error.diff(dim=3).abs(), mask[:, :, :, 1:] & mask[:, :, :, :-1])
    return (rows + columns) / 2


def laplace(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean negative log-likelihood of Laplace distributions, counted from the least there can be.

    The prediction has twice the bands of the target: means, then log b; log b >= -7 makes the result positive.
    """
    mean, logs = prediction.chunk(2, dim=1)
    return _mean((target - mean).abs() * torch.exp(-logs) + logs + 7.0, mask)


LOSSES: Mapping[str, Loss] = {"l1": l1, "sam": sam, "ergas": ergas, "gradient": gradient}


def weights_of(loss: str | Mapping[str, float]) -> dict[str, float]:
    """The weights of losses by name.

    Raises
    ------
    ParameterError
        If that is no name and no mapping, or a weight is no finite number of 0 or more.

    Examples
    --------
    >>> weights_of("l1")
    {'l1': 1.0}
    """
    if not isinstance(loss, str | Mapping):
        raise ParameterError(f"loss={loss!r}", "a name, or a mapping of names to weights", "{'l1': 1.0, 'sam': 0.1}")
    weights = {loss: 1.0} if isinstance(loss, str) else dict(loss)
    for name, weight in weights.items():
        check_real(f"the weight of the loss {name!r}", weight)
    return weights


def make_loss(loss: str | Mapping[str, float]) -> Loss:
    """A loss by name, or a weighted sum of several.

    Parameters
    ----------
    loss : str or mapping of str to float
        ``"l1"``, or for instance ``{"l1": 1.0, "sam": 0.1, "gradient": 0.5}``.

    Raises
    ------
    ParameterError
        If a name is unknown, or the weights are negative or all zero.

    Examples
    --------
    >>> one, zero = torch.ones(1, 2, 3, 3), torch.zeros(1, 2, 3, 3)
    >>> float(make_loss({"l1": 2.0, "gradient": 1.0})(one, zero, one > 0))
    2.0
    """
    weights = weights_of(loss)
    unknown = sorted(set(weights) - set(LOSSES))
    if unknown:
        raise ParameterError(f"loss {unknown[0]!r}", f"one of {list(LOSSES)}, or a mapping of them to weights")
    if not sum(weights.values()):
        raise ParameterError(f"loss weights {weights}", "at least one above 0")

    def weighted(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        parts = [w * LOSSES[name](prediction, target, mask) for name, w in weights.items() if w]
        return torch.stack(parts).sum()

    return weighted


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum() / mask.sum().clamp(min=1)
