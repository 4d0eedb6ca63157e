"""What is learned from several scenes at once: they must be of one kind, and patches are drawn from each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

from xrs.errors import LayoutError, XrsError
from xrs.learning.patches import Patches
from xrs.models import ImageSpec

__all__ = ["check_alike", "for_each", "joined", "shares"]

T = TypeVar("T")


def for_each(make: Callable[..., T], *columns: Iterable[Any]) -> list[T]:
    """What is made of each scene; errors tell which of several it was."""
    scenes = list(zip(*columns, strict=True))
    made = []
    for number, scene in enumerate(scenes):
        try:
            made.append(make(*scene))
        except XrsError as error:
            if len(scenes) == 1:
                raise
            raise type(error)(
                f"scene {number} of {len(scenes)}: {error.found}", error.expected, error.remedy
            ) from error
    return made


def check_alike(scenes: Sequence[Sequence[ImageSpec]], units: Sequence[str]) -> None:
    """Refuse scenes that differ in bands, in the ratios of their grids, or in units.

    Parameters
    ----------
    scenes : sequence of (sequence of ImageSpec)
        The images of each.
    units : sequence of str
        Of each; empty where it tells none.

    Raises
    ------
    LayoutError
    """
    first, *others = [[(image.bands, image.ratio) for image in images] for images in scenes]
    for number, other in enumerate(others, 1):
        if other != first:
            raise LayoutError(
                f"scene {number} has the bands {_told(other)}", f"those of scene 0: {_told(first)}", "scene[bands]"
            )
    told = sorted({unit for unit in units if unit})
    if len(told) > 1:
        raise LayoutError(f"scenes in units {told}", "the same units in all", "apply the products' scale and offset")


def _told(images: Sequence[tuple[tuple[str, ...], int]]) -> str:
    return " and ".join(f"{list(bands)} (ratio {ratio})" for bands, ratio in images)


def shares(count: int, scenes: int) -> list[int]:
    """How many patches each scene gives of so many."""
    return [len(part) for part in np.array_split(np.arange(count), scenes)]


def joined(parts: Sequence[Patches]) -> Patches:
    """The patches of several scenes; dates are counted on, so that no two scenes share a spot."""
    if len(parts) == 1:
        return parts[0]
    spots, date = [], 0
    for part in parts:
        spots.append(part.spots + np.array([date, 0, 0]))
        date = int(spots[-1][:, 0].max()) + 1
    return Patches(
        tuple(np.concatenate(images) for images in zip(*(part.inputs for part in parts), strict=True)),
        np.concatenate([part.target for part in parts]),
        np.concatenate([part.mask for part in parts]),
        np.concatenate(spots),
    )
