"""Closed-form starts: ridge regressions whose penalty generalised cross-validation chooses."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

__all__ = ["MOST", "Fit", "begin_as_regression", "neighbourhood_regression", "ridge"]

#: Penalties that are tried, over the mean power of what is penalised; the last leaves nothing of it.
_PENALTIES = [0.0, *torch.logspace(-8, 6, 57, dtype=torch.float64).tolist()]

#: By how much columns without a penalty are made larger, so that it does not count for them.
_FREE = 1e4

#: Share of the largest power below which a direction was not seen.
_UNSEEN = 1e-12

#: Least power, of what is constant.
_LEAST = 1e-100

#: Pixels a start is computed from at most, evenly spread over the examples.
MOST = 2**15

#: Of a pixel: itself, then its eight neighbours.
_PLACES = [(0, 0), *((i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0))]


@dataclass(frozen=True)
class Fit:
    """Slopes (wanted, given) and offsets (wanted,), and how many numbers of the examples they used up."""

    slopes: Tensor
    offsets: Tensor
    spent: float


def ridge(given: Tensor, wanted: Tensor, *, free: int = 0, spent: float = 0.0, offset: bool = True) -> Fit:
    """Ridge regression of rows, with the penalty that generalised cross-validation finds best for all of ``wanted``.

    Golub, Heath and Wahba 1979, 10.1080/00401706.1979.10489751.

    Parameters
    ----------
    given, wanted : Tensor (row, column)
    free : int
        The first so many columns of ``given`` bear no penalty.
    spent : float
        Numbers that were used up by regressions of which ``wanted`` is what is left.
    offset : bool
        Whether there are offsets; else these are zero.
    """
    given, wanted = given.double(), wanted.double()
    centre, mean = (rows.mean(dim=0) * offset for rows in (given, wanted))
    scale = torch.ones_like(centre)
    scale[:free] = _FREE
    own, goal = (given - centre) * scale, wanted - mean
    powers, directions = torch.linalg.eigh(own.T @ own)
    shares, total = directions.T @ (own.T @ goal), goal.square().sum()
    powers = powers.clamp(min=0)
    usual = float(own[:, free:].square().sum(dim=0).mean()) if free < len(centre) else 0.0
    trials = [_trial(powers, shares, total, penalty * usual, len(given) - spent - 1) for penalty in _PENALTIES]
    _, used, gain = min(trials, key=lambda trial: trial[0])
    slopes = (directions @ (gain[:, None] * shares) * scale[:, None]).T
    return Fit(slopes, mean - slopes @ centre, used)


def _trial(powers: Tensor, shares: Tensor, total: Tensor, penalty: float, rows: float) -> tuple[float, float, Tensor]:
    """The score of a penalty, the numbers it uses up, and the gain of each direction."""
    gain = 1 / (powers + penalty + _UNSEEN * powers[-1].clamp(min=_LEAST))
    left = float(total - ((2 * gain - powers * gain**2)[:, None] * shares**2).sum())
    used = float((powers * gain).sum())
    score = left / (rows - used) ** 2 if rows > used else float("inf")
    return score, used, gain


def neighbourhood_regression(image: Tensor, target: Tensor, mask: Tensor, *, offset: bool = True) -> Fit:
    """The convolution of 3 x 3 pixels that leads nearest from an image to a target.

    What a pixel's neighbours differ from it bears a penalty, the pixel itself none: where they tell nothing, as between
    single pixels, it is the linear regression.

    Parameters
    ----------
    image, target : Tensor (N, band, y, x)
    mask : Tensor of bool (N, y, x)
        Where both were seen.
    offset : bool
        As of :func:`ridge`.

    Returns
    -------
    Fit
        Slopes (target band, image band, 3, 3).
    """
    wide = pad(image, (1, 1, 1, 1), mode="replicate")
    inside = _with_neighbours(mask) if min(mask.shape[1:]) > 2 else mask
    rows = (inside if inside.any() else mask).nonzero()
    n, y, x = rows[:: -(-len(rows) // MOST)].T
    seen = [wide[n, :, y + 1 + i, x + 1 + j] for i, j in _PLACES]
    bands = image.shape[1]
    given = torch.cat([seen[0], *(one - seen[0] for one in seen[1:])], dim=1)
    fit = ridge(given, target[n, :, y, x], free=bands, offset=offset)
    parts = fit.slopes.reshape(len(fit.slopes), len(_PLACES), bands)
    kernel = torch.zeros(len(parts), bands, 3, 3, dtype=parts.dtype)
    for number, (i, j) in enumerate(_PLACES):
        kernel[:, :, 1 + i, 1 + j] = parts[:, number] if number else parts[:, 0] - parts[:, 1:].sum(dim=1)
    return Fit(kernel, fit.offsets, fit.spent)


def begin_as_regression(layer: nn.Conv2d, image: Tensor, target: Tensor, mask: Tensor) -> bool:
    """Make a convolution of 3 x 3 pixels that regression of a target on an image; whether any pixel was seen.

    Parameters
    ----------
    layer : torch.nn.Conv2d
        If it has no biases, neither has the regression.
    image, target : Tensor (N, band, y, x)
    mask : Tensor of bool (N, band, y, x)
        Where both were seen.
    """
    seen = mask.all(dim=1)
    if not seen.any():
        return False
    fit = neighbourhood_regression(image, target, seen, offset=layer.bias is not None)
    layer.weight.copy_(fit.slopes)
    if layer.bias is not None:
        layer.bias.copy_(fit.offsets)
    return True


def _with_neighbours(mask: Tensor) -> Tensor:
    """Pixels all of whose neighbours were seen too, those at the edge left out."""
    wide = pad(mask, (1, 1, 1, 1), value=False)
    height, width = mask.shape[1:]
    kept = mask.clone()
    for i, j in _PLACES:
        kept &= wide[:, 1 + i : 1 + i + height, 1 + j : 1 + j + width]
    return kept
