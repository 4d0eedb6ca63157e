"""Training by a number of steps on crops of a scene."""

from __future__ import annotations

from dataclasses import dataclass

from xrs.errors import ParameterError
from xrs.learning.checks import check_real, check_whole

__all__ = ["Steps"]


@dataclass(frozen=True)
class Steps:
    """How to train: steps, patches of a step and their side in hyperspectral pixels, learning rate."""

    steps: int
    batch: int
    side: int
    lr: float
    seed: int
    device: str

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("batch", 1), ("side", 3), ("seed", 0)):
            check_whole(name, getattr(self, name), least)
        check_real("lr", self.lr)
        if not self.lr:
            raise ParameterError(f"lr={self.lr}", "a learning rate above 0")
