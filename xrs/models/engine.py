"""Run a model over one tile: patches in batches, on the processor or a GPU.

The only module here that knows devices. Each process holds a network once per device.
"""

from __future__ import annotations

import copy
import itertools
import logging
import multiprocessing
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from xrs.errors import ParameterError
from xrs.kernels.memory import keep_memory
from xrs.kernels.types import Float32
from xrs.models.card import Card
from xrs.models.loader import Model
from xrs.nets.narrowing import Layers, Narrowing, layers_of
from xrs.nets.uncertain import Uncertain, mean_and_spread

__all__ = ["infer", "loaded_network", "pick_device"]

#: Makes of a batch of every image, the finest first, what the network puts out.
Run = Callable[[Sequence[Tensor]], Tensor]

_LOG = logging.getLogger("xrs.models")

#: Of the largest image between two layers. In threads, glibc maps arrays of 64 MiB anew each time, and touching fresh
#: pages halves a network's speed.
_LAYER_BYTES = 56 * 2**20

#: The same on the processor where no margin makes small patches costly: layers then stay in the second cache.
_CACHED_BYTES = 2 * 2**20

#: Side of the smallest core a patch may have, in margins, though its layers be larger than that.
_LEAST_CORE = 3

#: Patches at once where the user leaves it to us.
_BATCH = {"cpu": 1, "cuda": 16}

#: Networks a process holds; the one used longest ago goes first.
_HELD = 16

_networks: OrderedDict[tuple[str, str, bool], _Held] = OrderedDict()
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
        Width of the margin around the tile in pixels of the last image; at least the card's margin. The tile of a model
        with a window begins at multiples of it.
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
    held = _held(model, chosen)
    _bound_threads()
    ratio = model.card.ratios[-1]
    height, width = (n - 2 * halo for n in images[-1].shape[1:])
    bands = len(model.card.result.bands)
    out = np.empty(((1 + spread) * bands, height * ratio, width * ratio), np.float32)
    run = _run_of(held.network, spread)
    with _alone_on(chosen), torch.inference_mode(), _precision(chosen, dtype):
        for windows in _groups(model.card, held.layers.get(spread), (height, width), chosen, dtype):
            patches = _Patches(model, images, halo, windows)
            if not model.card.window:
                run = _narrowed(run, held.layers[spread], patches.core, ratio)
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


def loaded_network(model: Model, device: str = "auto") -> nn.Module:
    """The network of a model for those who run it themselves, as on several dates; loaded once a process and device.

    Parameters
    ----------
    model : Model
    device : str
        See :func:`pick_device`.
    """
    chosen = pick_device(device)
    _bound_threads()
    return _held(model, chosen, watched=False).network


@dataclass(frozen=True)
class _Held:
    """A network on its device, and its layers without and with a spread."""

    network: nn.Module
    layers: Mapping[bool, Layers]


def _held(model: Model, device: torch.device, *, watched: bool = True) -> _Held:
    """A model's network; its layers are ``watched`` for those who run it on images and need no margin throughout."""
    key = (model.card.to_json(), str(device), watched)
    with _load_lock:
        if key not in _networks:
            keep_memory()
            network = model.build().eval().requires_grad_(False)
            layers = _layers(network, model.card) if watched else {}
            layout = {"memory_format": torch.channels_last} if watched else {}
            network.to(device=device, **layout)  # type: ignore[call-overload]
            _networks[key] = _Held(network, layers)
            _LOG.info("loaded %r on %s", model, device)
            while len(_networks) > _HELD:
                _networks.popitem(last=False)
        _networks.move_to_end(key)
        return _networks[key]


def _layers(network: nn.Module, card: Card) -> dict[bool, Layers]:
    if card.window:
        return {}
    probe = copy.deepcopy(network).to(torch.float64)
    spreads = (False, True) if isinstance(network, Uncertain) else (False,)
    return {spread: layers_of(_run_of(probe, spread), card.bands, card.ratios, card.margin) for spread in spreads}


@dataclass(frozen=True)
class _Patches:
    """The windows of a tile, as batches of tensors and back; places in pixels of the last image."""

    model: Model
    images: Sequence[Float32]
    halo: int
    windows: Sequence[tuple[slice, slice]]

    @property
    def core(self) -> tuple[int, int]:
        """Rows and columns of every window."""
        rows, columns = self.windows[0]
        return rows.stop - rows.start, columns.stop - columns.start

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
        target = torch.from_numpy(out)
        for window, patch in zip(self.windows[part], result, strict=True):
            rows, columns = (slice(s.start * ratio, s.stop * ratio) for s in window)
            core = target[:, rows, columns]
            top, left = ((n - wanted) // 2 for n, wanted in zip(patch.shape[1:], core.shape[1:], strict=True))
            core.copy_(patch[:, top : top + core.shape[1], left : left + core.shape[2]])
            if card.scale != 1.0:
                core.mul_(card.scale)

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


def _run_of(network: nn.Module, spread: bool) -> Run:
    """All that a network puts out with a spread, or its result alone."""
    return partial(mean_and_spread, network) if spread else lambda images: network(*images)


def _narrowed(run: Run, layers: Layers, core: tuple[int, int], cell: int) -> Run:
    """The same, with no more margin in each layer than is needed."""

    def narrowed(images: Sequence[Tensor]) -> Tensor:
        with Narrowing(layers, core, cell):
            return run(images)

    return narrowed


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


def _patch_area(layers: Layers, margin: int, ratio: int, device: torch.device, dtype: str) -> int:
    """Pixels of the last image that a patch may have: its largest layer takes ``_LAYER_BYTES``, or ``_CACHED_BYTES``.

    More where the margin would be most of it.
    """
    size = _CACHED_BYTES if device.type == "cpu" and not margin else _LAYER_BYTES
    of_layer = size / (layers.width * (2 if dtype == "bfloat16" else 4))
    return max(int(of_layer) // ratio**2, (_LEAST_CORE * margin + 2 * margin) ** 2, 1)


def _groups(
    card: Card, layers: Layers | None, size: tuple[int, int], device: torch.device, dtype: str
) -> list[list[tuple[slice, slice]]]:
    """Windows that cover a tile, in groups of one size."""
    if layers is not None:
        area = _patch_area(layers, card.margin, card.ratios[-1], device, dtype)
        return [_windows(*size, card.margin, area)]
    groups: dict[tuple[int, int], list[tuple[slice, slice]]] = {}
    rows, columns = ([slice(n, min(n + card.window, end)) for n in range(0, end, card.window)] for end in size)
    for y, x in itertools.product(rows, columns):
        groups.setdefault((y.stop - y.start, x.stop - x.start), []).append((y, x))
    return list(groups.values())


def _windows(height: int, width: int, margin: int, area: int) -> list[tuple[slice, slice]]:
    """Windows of one size that cover an area, with their margin at most ``area`` pixels, in the way that costs least.

    The last of a row or column may overlap the one before. Without a margin all ways cost alike, and windows are whole
    rows, which lie together in memory.
    """
    if not margin:
        rows, columns = -(-height // max(area // width, 1)), -(-width // area)
        return [(y, x) for y in _spans(height, rows) for x in _spans(width, columns)]
    divisions = (_division(height, width, margin, area, rows) for rows in range(1, height + 1))
    _, rows, columns = min(one for one in divisions if one is not None)
    return [(y, x) for y in _spans(height, rows) for x in _spans(width, columns)]


def _division(height: int, width: int, margin: int, area: int, rows: int) -> tuple[int, int, int] | None:
    """Pixels computed, rows and columns, if there are so many rows of windows; None if they are too tall."""
    tall = -(-height // rows)
    columns = -(-width // max(area // (tall + 2 * margin) - 2 * margin, 1))
    wide = -(-width // columns)
    if rows < height and (tall + 2 * margin) * (wide + 2 * margin) > area:
        return None
    # Layers have the whole margin at first and none in the end.
    return rows * columns * (tall + margin) * (wide + margin), rows, columns


def _spans(total: int, parts: int) -> list[slice]:
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
