"""Area-to-point kriging of what a regression leaves over, shared by its global and its local form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from xrs.kernels.types import Float32
from xrs.methods._kriging import (
    RADIUS,
    Variogram,
    fit_range,
    krige,
    kriging_weights,
    merge_variograms,
    variogram,
)
from xrs.methods.base import Pass, State, Tile
from xrs.methods.sharpen._groups import Group

__all__ = ["add_residuals", "residual_pass"]

#: ``(tile, state, **params) -> [(group, residuals (band, y, x) at its grid, halo included)]``
Residuals = Callable[..., list[tuple[Group, Float32]]]


def residual_pass(residuals: Residuals) -> Pass:
    """The pass that learns kriging weights from the semivariograms of the residuals."""
    return Pass(_Summarise(residuals), _merge, _solve)


def add_residuals(prediction: Float32, group: Group, residuals: Float32, state: State) -> None:
    """Add kriged residuals to a prediction (band, y, x) without halo, in place."""
    for band, weights in enumerate(state["kriging"][group.name]):
        prediction[band] += krige(group.core(residuals[band], RADIUS), weights)


@dataclass(frozen=True)
class _Summarise:
    residuals: Residuals

    def __call__(self, tile: Tile, state: State, **params: Any) -> Any:
        return {
            group.name: (
                tuple(variogram(image, seen, group.halo) for image, seen in zip(images, group.valid, strict=True)),
                group.taps,
                group.ratio,
            )
            for group, images in self.residuals(tile, state, **params)
        }


def _merge(one: Any, other: Any) -> Any:
    return {
        name: (tuple(map(merge_variograms, parts, other[name][0])), taps, ratio)
        for name, (parts, taps, ratio) in one.items()
    }


def _solve(summary: Any, state: State, **_: Any) -> State:
    return {
        **state,
        "kriging": {
            name: [_weights(one, row, ratio) for one, row in zip(parts, taps, strict=True)]
            for name, (parts, taps, ratio) in summary.items()
        },
    }


def _weights(observed: Variogram, taps: Any, ratio: int) -> Any:
    taps = np.trim_zeros(taps)
    return kriging_weights(taps, ratio, fit_range(observed, taps, ratio))
