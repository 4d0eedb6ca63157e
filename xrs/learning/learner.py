"""A module with its optimiser, on the devices of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn import Module
from torch.optim import Adam, NAdam

from xrs.learning.checkpoint import flat_optimizer, restore_optimizer

__all__ = ["OPTIMIZERS", "Learner"]

#: DSen2 was trained with NAdam; torch's defaults are Keras' of that time.
OPTIMIZERS: Mapping[str, type[NAdam] | type[Adam]] = {"nadam": NAdam, "adam": Adam}


class Learner:
    """A module that learns.

    Parameters
    ----------
    module : torch.nn.Module
        Trained in place.
    runner : OneDevice or Fabric
        See :func:`xrs.learning.devices.make_runner`.
    optimizer : {"nadam", "adam"}
    clip : float
        Longest gradient; 0 for any.

    Attributes
    ----------
    module : torch.nn.Module
    wrapped : torch.nn.Module
        The same as the runner set it up: gradients of its results are those of all processes.
    """

    def __init__(self, module: Module, runner: Any, optimizer: str, clip: float) -> None:
        self.module = module
        self._runner = runner
        self._clip = clip
        # The runner's optimiser is a wrapper, whose state cannot be set.
        self._own = OPTIMIZERS[optimizer](module.parameters())
        self.wrapped, self._optimizer = runner.setup(module, self._own)

    def set_rate(self, lr: float) -> None:
        """Set the learning rate."""
        for group in self._own.param_groups:
            group["lr"] = lr

    def step(self, loss: Tensor) -> None:
        """One step against the gradient of a loss."""
        self._optimizer.zero_grad()
        self._runner.backward(loss)
        if self._clip:
            # What is not finite shows in the loss, by an error that says what to do.
            self._runner.clip_gradients(self.wrapped, self._optimizer, max_norm=self._clip, error_if_nonfinite=False)
        self._optimizer.step()

    def state(self, name: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What a checkpoint holds: tensors, whose names begin with ``name``, and the rest of the optimiser's state."""
        moments, record = flat_optimizer(self._own)
        tensors = {f"{name}weights/{key}": value for key, value in self.module.state_dict().items()}
        return tensors | {f"{name}optimizer/{key}": value for key, value in moments.items()}, record

    def restore(self, tensors: Mapping[str, Tensor], record: Mapping[str, Any], name: str = "") -> None:
        """Put back what :meth:`state` gave."""
        self.module.load_state_dict(_under(f"{name}weights/", tensors))
        restore_optimizer(self._own, _under(f"{name}optimizer/", tensors), record)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
