"""Run a model over one tile: patches in batches, on the processor or a GPU.

The only module here that knows devices. Each process holds a network once per device.
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from xrs.errors import ParameterError
from xrs.kernels.types import Float32
from xrs.models.loader import Model
from xrs.nets.uncertain import mean_and_spread

__all__ = ["infer", "loaded_network", "pick_device"]

#: Makes of a batch of every image, the finest first, what the network puts out.
Run = Callable[[Sequence[Tensor]], Tensor]

_LOG = logging.getLogger("xrs.models")

#: glibc asks the system anew for arrays larger than this, and touching fresh pages halves a network's speed.
_LAYER_BYTES = 32 * 2**20

#: Patches at once where the user leaves it to us.
_BATCH = {"cpu": 1, "cuda": 16}

#: Networks a process holds; the one used longest ago goes first.
_HELD = 16

_networks: OrderedDict[tuple[str, str], nn.Module] = OrderedDict()
_fitting_batch: dict[tuple[str, str, int], int] = {}
_load_lock = threading.Lock()
_gpu_locks: dict[str, threading.Lock] = {}
_threads_lock = threading.Lock()
_thread = threading.local()


def infer(
    model: Model,
    images: Sequence[Float32],
    *,
    halo: int,
    device: str = "auto",
    dtype: str = "float32",
    batch_size: int | str = "auto",
    spread: bool = False,
) -> Float32:
    """The result of a model on one tile.

    Parameters
    ----------
    model : Model
    images : sequence of ndarray, float32, (band, y, x)
        In the order of the card, without gaps, on nested grids.
    halo : int
        Width of the margin around the tile in pixels of the last image; at least the card's margin.
    device : str
        ``"auto"`` (a GPU if there is one), ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
    dtype : {"float32", "bfloat16"}
        What convolutions compute in; sums of skip connections, and the result, stay float32.
    batch_size : int or "auto"
        Patches at once. Halved, and logged, where memory runs out.
    spread : bool
        Whether standard deviations follow the bands; the model must have an uncertainty.

    Returns
    -------
    ndarray, float32 (band, y, x)
        Bands of the last image on the grid of the first, without the halo; with ``spread`` twice as many.

    Raises
    ------
    ParameterError
        If the device is not there, or not even one patch fits its memory.
    ModelCardError
        If the weights cannot be read or do not fit the card.
    """
    chosen = pick_device(device)
    network = loaded_network(model, chosen)
    _bound_threads()
    ratio = model.card.ratios[-1]
    height, width = (n - 2 * halo for n in images[-1].shape[1:])
    side = _patch_side(network, model.card.margin * ratio) // ratio
    windows = _windows(height, width, max(side, 1))
    patches = _Patches(model, images, halo, windows)
    bands = len(model.card.result.bands)
    out = np.empty(((1 + spread) * bands, height * ratio, width * ratio), np.float32)
    run = partial(mean_and_spread, network) if spread else _plain(network)
    with _alone_on(chosen), torch.inference_mode(), _precision(chosen, dtype):
        for part, result in _batches(run, patches, chosen, batch_size):
            patches.put(out, part, result)
    if spread:
        factors = [model.card.uncertainty["factors"][band] for band in model.card.result.bands]
        out[bands:] *= np.asarray(factors, np.float32)[:, None, None]
    return out


def pick_device(device: str) -> torch.device:
    """The torch device a word stands for.

    Raises
    ------
    ParameterError
        If it is not there.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cpu" or (device == "auto" and not count):
        return torch.device("cpu")
    if not count or (":" in device and int(device.split(":")[1]) >= count):
        raise ParameterError(
            f"device={device!r}, and torch sees {count} GPU(s)",
            "a device that is there",
            "device='auto' or 'cpu', or a torch built for CUDA",
        )
    return torch.device(device) if ":" in device else torch.device("cuda", torch.cuda.current_device())


def loaded_network(model: Model, device: torch.device) -> nn.Module:
    """The network of a model on a device, ready to infer; loaded once per process and device."""
    key = (model.card.to_json(), str(device))
    with _load_lock:
        if key not in _networks:
            network = model.build().eval().requires_grad_(False)
            _networks[key] = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            _LOG.info("loaded %r on %s", model, device)
            while len(_networks) > _HELD:
                _networks.popitem(last=False)
        _networks.move_to_end(key)
        return _networks[key]


@dataclass(frozen=True)
class _Patches:
    """The windows of a tile, as batches of tensors and back; places in pixels of the last image."""

    model: Model
    images: Sequence[Float32]
    halo: int
    windows: Sequence[tuple[slice, slice]]

    def stacked(self, part: slice, device: torch.device) -> list[Tensor]:
        """Each image's patches (N, band, y, x) with the network's margin, scaled."""
        card = self.model.card
        return [
            self._of_image(torch.from_numpy(image), card.ratios[-1] // ratio, part).to(device, non_blocking=True)
            for image, ratio in zip(self.images, card.ratios, strict=True)
        ]

    def put(self, out: Float32, part: slice, result: Tensor) -> None:
        """Write the cores of a batch of results to their place."""
        card = self.model.card
        ratio = card.ratios[-1]
        cut = card.margin * ratio
        target = torch.from_numpy(out)
        for window, patch in zip(self.windows[part], result, strict=True):
            rows, columns = (slice(s.start * ratio, s.stop * ratio) for s in window)
            core = patch[:, cut : patch.shape[1] - cut, cut : patch.shape[2] - cut]
            target[:, rows, columns] = core.to(device="cpu", dtype=torch.float32).mul_(card.scale)

    def _of_image(self, image: Tensor, factor: int, part: slice) -> Tensor:
        margin = self.model.card.margin
        views = []
        for window in self.windows[part]:
            rows, columns = (
                slice((s.start + self.halo - margin) * factor, (s.stop + self.halo + margin) * factor) for s in window
            )
            views.append(image[:, rows, columns])
        batch = torch.empty((len(views), *views[0].shape), memory_format=torch.channels_last)
        for patch, view in zip(batch, views, strict=True):
            torch.div(view, self.model.card.scale, out=patch)
        return batch


def _plain(network: nn.Module) -> Run:
    """A network's result alone."""
    return lambda images: network(*images)


def _batches(
    run: Run, patches: _Patches, device: torch.device, batch_size: int | str
) -> Iterator[tuple[slice, Tensor]]:
    """Results batch by batch; a batch that does not fit the memory is halved, for good."""
    wanted = _BATCH[device.type] if batch_size == "auto" else int(batch_size)
    key = (patches.model.card.sha256, str(device), wanted)
    size = _fitting_batch.get(key, wanted)
    first = 0
    while first < len(patches.windows):
        part = slice(first, min(first + size, len(patches.windows)))
        result = _attempt(run, patches, part, device)
        if result is None:
            size = _halved(part.stop - part.start, device)
            _fitting_batch[key] = size
            continue
        yield part, result
        first = part.stop


def _attempt(run: Run, patches: _Patches, part: slice, device: torch.device) -> Tensor | None:
    """A batch's result, None if memory ran out; the failed call's tensors are gone when this returns."""
    try:
        return run(patches.stacked(part, device))
    except RuntimeError as error:
        if not _out_of_memory(error):
            raise
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return None


def _halved(size: int, device: torch.device) -> int:
    if size == 1:
        raise ParameterError(
            f"one patch does not fit the memory of {device}",
            "a device with more free memory",
            "device='cpu', fewer threads or workers, or a smaller network",
        )
    _LOG.warning("a batch of %d patches does not fit the memory of %s: going on with %d", size, device, size // 2)
    return size // 2


def _out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _patch_side(network: nn.Module, margin: int) -> int:
    """Pixels of the first image along the side of a patch's core: its widest layer takes about ``_LAYER_BYTES``.

    Larger ones leave the cache and smaller ones compute more margin; where the margin is wide, the latter counts more.
    """
    layers = [layer.out_channels for layer in network.modules() if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))]
    whole = math.isqrt(_LAYER_BYTES // (4 * max(layers, default=1)))
    return int(np.clip(whole - 2 * margin, max(4 * margin, 64), 1024))


def _windows(height: int, width: int, side: int) -> list[tuple[slice, slice]]:
    """Windows of one size that cover an area; the last of a row or column may overlap the one before."""
    return [(rows, columns) for rows in _spans(height, side) for columns in _spans(width, side)]


def _spans(total: int, side: int) -> list[slice]:
    parts = max(round(total / side), 1)
    size = -(-total // parts)
    return [slice(start, start + size) for start in (min(i * size, total - size) for i in range(parts))]


def _precision(device: torch.device, dtype: str) -> AbstractContextManager[object]:
    return torch.autocast(device.type, torch.bfloat16) if dtype == "bfloat16" else nullcontext()


def _alone_on(device: torch.device) -> AbstractContextManager[object]:
    """One tile at a time on a GPU, so that a batch that fits once fits always."""
    if device.type == "cpu":
        return nullcontext()
    with _load_lock:
        return _gpu_locks.setdefault(str(device), threading.Lock())


def _bound_threads() -> None:
    """One torch thread in each of Dask's threads and processes: there are as many of those as cores.

    Torch keeps a number for each thread and one for threads to come; the latter is put back, so that training in
    the same process is not slowed.
    """
    if getattr(_thread, "bound", False) or _in_main():
        return
    with _threads_lock:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        other = threading.Thread(target=torch.set_num_threads, args=(before,))
        other.start()
        other.join()
    _thread.bound = True


def _in_main() -> bool:
    return threading.current_thread() is threading.main_thread() and multiprocessing.parent_process() is None
