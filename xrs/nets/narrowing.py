"""Compute no more margin than the layers to come need.

A network of convolutions that keep the size, given a core and the margin on which the core depends, computes every
layer on the whole of it, though each layer needs a little less than the one before. Where the margin is not small
beside the core, much of the work is for pixels nothing depends on. Here the result of each convolution is cut to what
the rest of the network can still see.

How much that is, is found by one run on a strip whose middle is NaN. If NaN have spread over r coarsest pixels when
they come out of a convolution, and the whole network looks m around a pixel, the layers after it look at most m - r
around: were it more, NaN would spread farther than m in the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from xrs.nets.receptive import nan_strip

__all__ = ["Layers", "Narrowing", "Reach", "layers_of"]

#: Functions that take images of the same area: those of a wider area, which passed by a convolution, are cut.
_JOINS = {
    torch.add, torch.sub, torch.mul, torch.div, torch.cat, torch.stack, torch.where, torch.lerp,
    Tensor.add, Tensor.sub, Tensor.mul, Tensor.div, Tensor.__add__, Tensor.__sub__, Tensor.__mul__, Tensor.__truediv__,
    Tensor.__radd__, Tensor.__rsub__, Tensor.__rmul__, Tensor.__rtruediv__, Tensor.add_, Tensor.sub_, Tensor.mul_,
}  # fmt: skip


@dataclass(frozen=True)
class Reach:
    """What of a convolution's result the network can still see.

    Attributes
    ----------
    step : int
        Fine pixels along the side of one of its pixels.
    margin : int
        Around the core, in pixels of the coarsest image.
    """

    step: int
    margin: int


@dataclass(frozen=True)
class Layers:
    """The convolutions of a network in the order of their calls.

    Attributes
    ----------
    reaches : tuple of Reach or None
        None where the result lies on no grid that nests with the images, and is left as it is.
    width : float
        Values for each fine pixel that the largest image which enters or leaves a convolution has.
    """

    reaches: tuple[Reach | None, ...]
    width: float


class Narrowing(TorchFunctionMode):
    """While active, convolutions' results are cut to what the network can still see; for one run of the network.

    The result of the run may be cut too, about its centre, to the core or more.

    Parameters
    ----------
    layers : Layers
    core : tuple of int
        Rows and columns of the core, in pixels of the coarsest image.
    cell : int
        Fine pixels along the side of one of those.
    """

    def __init__(self, layers: Layers, core: tuple[int, int], cell: int) -> None:
        super().__init__()
        self._reaches = iter(layers.reaches)
        self._core = core
        self._cell = cell

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call ``func``, with its images or its result cut."""
        if func in _JOINS:
            args = _of_one_area(args)
        result = func(*args, **(kwargs or {}))
        return self._cut(result) if func is torch.conv2d else result

    def _cut(self, image: Tensor) -> Tensor:
        reach = next(self._reaches)
        if reach is None:
            return image
        rows, columns = ((n + 2 * reach.margin) * self._cell // reach.step for n in self._core)
        return _centre(image, rows, columns)


def layers_of(
    run: Callable[[Sequence[Tensor]], Tensor], bands: tuple[int, ...], ratios: tuple[int, ...], margin: int
) -> Layers:
    """Watch the convolutions of a network.

    Parameters
    ----------
    run : callable
        Gives a network's result of its images, in float64 on the CPU.
    bands, ratios : tuple of int
        Of each image, the finest first.
    margin : int
        Of the network; see :func:`xrs.nets.receptive.receptive_margin`.

    Examples
    --------
    >>> from xrs.nets import get_network
    >>> network = get_network("dsen2").build((4, 6), (1, 2), features=8, blocks=2).double()
    >>> layers = layers_of(lambda images: network(*images), (4, 6), (1, 2), margin=4)
    >>> [reach.margin for reach in layers.reaches]
    [3, 3, 2, 2, 1, 1]
    >>> layers.width
    10.0
    """
    strips = [_watched(run, bands, ratios, axis, 2 * margin + 3) for axis in (2, 3)]
    reaches = [
        _joined([_reach(result, axis, ratios[-1], margin) for axis, (_, result) in zip((2, 3), calls, strict=True)])
        for calls in zip(*strips, strict=True)
    ]
    widths = [image.shape[1] / (_step(image, 2, ratios[-1], margin) or 1) ** 2 for call in strips[0] for image in call]
    return Layers(tuple(reaches), max(widths, default=1.0))


class _Watch(TorchFunctionMode):
    """Keeps what enters and leaves each convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Tensor, Tensor]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is torch.conv2d:
            self.calls.append((args[0], result))
        return result


@torch.inference_mode()
def _watched(
    run: Callable[[Sequence[Tensor]], Tensor], bands: tuple[int, ...], ratios: tuple[int, ...], axis: int, cells: int
) -> list[tuple[Tensor, Tensor]]:
    with _Watch() as watch:
        run(nan_strip(bands, ratios, axis, cells))
    return watch.calls


def _joined(along: Sequence[Reach | None]) -> Reach | None:
    """What holds along both axes."""
    known = [reach for reach in along if reach is not None]
    return max(known, key=lambda reach: reach.margin) if len(known) == len(along) else None


def _reach(result: Tensor, axis: int, cell: int, margin: int) -> Reach | None:
    step = _step(result, axis, cell, margin)
    if step is None:
        return None
    # Only coarsest pixels that are NaN as a whole count, and the channel in which they begin farthest from the ends:
    # what lies between the end and their beginning is what the rest of the network looks at, but for the strip's one
    # pixel beyond the margin.
    missing = result[0].isnan().movedim(axis - 1, 1).flatten(2).all(2)
    missing = missing.reshape(len(missing), -1, cell // step).all(2)
    if not missing.any(1).all():
        return None
    begin = max(int(side.int().argmax(1).max()) for side in (missing, missing.flip(1)))
    return Reach(step, max(begin - 1, 0))


def _step(image: Tensor, axis: int, cell: int, margin: int) -> int | None:
    """Fine pixels along the side of a strip's pixel, if it lies on a grid that nests with the images."""
    across = image.shape[5 - axis]
    nests = cell % across == 0 and image.shape[axis] == (2 * margin + 3) * across
    return cell // across if nests else None


def _of_one_area(args: tuple[Any, ...]) -> tuple[Any, ...]:
    if args and isinstance(args[0], (list, tuple)):
        return (_cut_to_smallest(args[0], _is_image), *args[1:])
    return tuple(_cut_to_smallest(args, _is_no_constant))


def _cut_to_smallest(values: Iterable[Any], has_area: Callable[[Any], bool]) -> list[Any]:
    values = list(values)
    sizes = {tuple(value.shape[2:]) for value in values if has_area(value)}
    if len(sizes) < 2:
        return values
    rows, columns = (min(size[axis] for size in sizes) for axis in (0, 1))
    return [_centre(value, rows, columns) if has_area(value) else value for value in values]


def _is_image(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 4


def _is_no_constant(value: Any) -> bool:
    # A single pixel is spread over the others, which is right in the middle of the core if it is one.
    return _is_image(value) and value.shape[2:] != (1, 1)


def _centre(image: Tensor, rows: int, columns: int) -> Tensor:
    """The middle of an image; all of it along an axis where it is no larger."""
    top, left = (max(size - wanted, 0) // 2 for size, wanted in zip(image.shape[2:], (rows, columns), strict=True))
    return image[:, :, top : image.shape[2] - top, left : image.shape[3] - left]
