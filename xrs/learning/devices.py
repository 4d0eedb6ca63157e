"""Where training runs: Lightning Fabric if it is installed, else one device of plain torch."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.optim import Optimizer

from xrs.errors import ParameterError

__all__ = ["OneDevice", "make_runner"]

_DTYPES = ("float32", "bfloat16")


class OneDevice:
    """Those parts of ``lightning_fabric.Fabric`` that training uses, for one process and device."""

    world_size = 1
    global_rank = 0
    is_global_zero = True

    def __init__(self, device: str, dtype: str) -> None:
        self.device = _best_device() if device == "auto" else torch.device(device)
        self._dtype = dtype

    def setup(self, module: Module, optimizer: Optimizer) -> tuple[Module, Optimizer]:
        """Move a module to the device."""
        return module.to(self.device), optimizer

    def autocast(self) -> AbstractContextManager[Any]:
        """Mixed precision inside, if asked for."""
        return _autocast(self.device, self._dtype)

    def backward(self, loss: Tensor) -> None:
        """Accumulate gradients."""
        loss.backward()  # type: ignore[no-untyped-call]

    def clip_gradients(
        self, module: Module, optimizer: Optimizer, *, max_norm: float, error_if_nonfinite: bool
    ) -> None:
        """Shorten the gradient to ``max_norm``."""
        torch.nn.utils.clip_grad_norm_(module.parameters(), max_norm, error_if_nonfinite=error_if_nonfinite)

    def all_reduce(self, data: Tensor, reduce_op: str = "mean") -> Tensor:
        """What all processes have: here the same."""
        return data


def make_runner(device: str, dtype: str) -> Any:
    """A Fabric over the processes that ``torchrun`` started, or one device.

    Parameters
    ----------
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
    dtype : {"float32", "bfloat16"}
        ``bfloat16`` is mixed precision: weights stay float32.

    Raises
    ------
    ParameterError
        If the device is not there, the dtype unknown, or several processes were started without Lightning Fabric.
    """
    if dtype not in _DTYPES:
        raise ParameterError(f"dtype={dtype!r}", f"one of {list(_DTYPES)}")
    _check_device(device)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if find_spec("lightning_fabric") is not None:
        return _fabric(device, dtype, world)
    if world > 1:
        raise ParameterError(f"{world} processes without Lightning Fabric", "one process", "pip install 'xrs[train]'")
    return OneDevice(device, dtype)


def _fabric(device: str, dtype: str, world: int) -> Any:
    from lightning_fabric import Fabric

    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    kind, _, index = device.partition(":")

    class Processes(Fabric):  # type: ignore[misc]
        """Fabric's own mixed precision rounds a network's inputs too, and so what it adds its result to."""

        def autocast(self) -> AbstractContextManager[Any]:
            return _autocast(self.device, dtype)

    fabric = Processes(
        accelerator={"auto": _best_device().type}.get(kind, kind),
        devices=[int(index)] if index else here,
        num_nodes=world // here,
    )
    fabric.launch()
    return fabric


def _autocast(device: torch.device, dtype: str) -> AbstractContextManager[Any]:
    return torch.autocast(device.type, torch.bfloat16) if dtype == "bfloat16" else nullcontext()


def _best_device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _check_device(device: str) -> None:
    if device in {"auto", "cpu"}:
        return
    kind, _, index = device.partition(":")
    count = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}.get(kind)
    if count is None or (index and not index.isdigit()):
        raise ParameterError(f"device={device!r}", "'auto', 'cpu', 'cuda', 'cuda:0' or 'mps'")
    if int(index or 0) >= count:
        raise ParameterError(f"device={device!r} of {count} such devices here", "a device of this machine", "'auto'")
