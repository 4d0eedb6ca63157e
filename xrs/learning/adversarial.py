"""Training against a discriminator: the network also pays for what tells its results from true images.

The scores of DSen2's adversarial variant are known, its design is not. What stands here fills the gap: a discriminator
after SRGAN (Ledig et al. 2017, 10.1109/CVPR.2017.19) that scores windows, least-squares losses (Mao et al. 2017,
10.1109/ICCV.2017.304), one step of the discriminator for each of the network, by the same optimiser and rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from xrs.errors import ParameterError
from xrs.learning.learner import Learner
from xrs.learning.losses import weights_of

__all__ = ["ADVERSARIAL", "Opponent", "discriminator_loss", "generator_loss", "split_loss"]

#: Its name among the weights of losses.
ADVERSARIAL = "adversarial"


def discriminator_loss(true: Tensor, false: Tensor) -> Tensor:
    """Least squares of scores: those of true images should be 1, those of results 0.

    Examples
    --------
    >>> float(discriminator_loss(torch.tensor([0.5]), torch.tensor([0.5])))
    0.25
    """
    return ((true - 1.0).square().mean() + false.square().mean()) / 2.0


def generator_loss(false: Tensor) -> Tensor:
    """Least squares of the scores of results, which should be taken for true ones: be 1.

    Examples
    --------
    >>> float(generator_loss(torch.tensor([0.5])))
    0.125
    """
    return (false - 1.0).square().mean() / 2.0


def split_loss(loss: str | Mapping[str, float]) -> tuple[str | Mapping[str, float], float]:
    """The losses that compare pixels, and the weight of the adversarial one.

    Raises
    ------
    ParameterError
        If the adversarial loss stands alone, or a weight is negative or not finite.

    Examples
    --------
    >>> split_loss({"l1": 1.0, "adversarial": 0.001})
    ({'l1': 1.0}, 0.001)
    """
    weights = weights_of(loss)
    weight = weights.pop(ADVERSARIAL, None)
    if weight is None:
        return loss, 0.0
    if not any(weights.values()):
        raise ParameterError(
            "the adversarial loss alone", "one that compares pixels beside it", "{'l1': 1.0, 'adversarial': 0.001}"
        )
    return weights, weight


@dataclass(frozen=True)
class Opponent:
    """A discriminator that learns while the network does.

    Attributes
    ----------
    learner : Learner
        Of ``discriminator(image, mask)``, which gives scores.
    runner : OneDevice or Fabric
        See :func:`xrs.learning.devices.make_runner`.
    weight : float
        Of :func:`generator_loss`.
    """

    learner: Learner
    runner: Any
    weight: float

    def judge(self, result: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Teach the discriminator a batch, and give the network's weighted loss of it.

        Parameters
        ----------
        result, target, mask : Tensor (N, band, y, x)
            What the network made, what it should be, and where that is known.
        """
        with self.runner.autocast():
            # In one batch, since processes exchange gradients once for each call.
            scores = self.learner.wrapped(torch.cat([target, result.detach()]), torch.cat([mask, mask])).float()
        self.learner.step(discriminator_loss(*scores.chunk(2)))
        discriminator = self.learner.module
        frozen = {name: values.detach() for name, values in discriminator.named_parameters()}
        with self.runner.autocast():
            scores = functional_call(discriminator, frozen, (result, mask)).float()
        return self.weight * generator_loss(scores)
