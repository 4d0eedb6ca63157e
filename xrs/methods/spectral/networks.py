"""A method for each network that makes other bands than those it sees."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xrs.errors import ModelCardError
from xrs.kernels.types import Float32
from xrs.methods._networks import MODEL_PARAMS, only_model, shipped_of
from xrs.methods.base import Binding, Method, State, Tile
from xrs.models import Input, Model, Observed, check_magnitude, match_images
from xrs.nets.registry import networks

__all__ = ["METHODS"]

_TASK = "spectral"
_REMEDY = "model=xrs.train((ms, hs), task='spectral', network=...), or library='land' in place of the cubes"


def _apply(
    tile: Tile,
    _: State,
    *,
    model: Model,
    inputs: Sequence[Input],
    device: str,
    dtype: str,
    batch_size: int | str,
    spread: bool = False,
    **_params: Any,
) -> Float32:
    """The wanted bands; with ``spread`` then their standard deviations."""
    from xrs.models.engine import infer

    images = [np.ascontiguousarray(tile[one.role][list(one.bands)]) for one in inputs]
    check_magnitude(model.card, images[-1])
    return infer(model, images, halo=tile.halo, device=device, dtype=dtype, batch_size=batch_size, spread=spread)


def _halo(_: Mapping[str, int], *, model: Model, **_params: Any) -> int:
    # The last image is the coarsest observation there is.
    return model.card.margin


@dataclass(frozen=True)
class _Bind:
    """Find the model for the bands at hand, and its images among the observations."""

    network: str

    def __call__(
        self, observed: Mapping[str, Observed], outputs: Sequence[str], *, model: Sequence[Model], **params: Any
    ) -> Binding:
        chosen = model or self._shipped(observed)
        one = only_model(
            chosen, self.network, _TASK, made_for="for these bands; none that is shipped fits them", remedy=_REMEDY
        )
        inputs = match_images(one.card, observed)
        used = tuple(dict.fromkeys(image.role for image in inputs))
        return Binding({"model": one, "inputs": inputs, **params}, used, block=one.card.window)

    def _shipped(self, observed: Mapping[str, Observed]) -> tuple[Model, ...]:
        """The model that comes with the library, if one fits."""
        for model in shipped_of(self.network, _TASK):
            with contextlib.suppress(ModelCardError):
                match_images(model.card, observed)
                return (model,)
        return ()


METHODS = tuple(
    Method(
        name=network.name,
        family=_TASK,
        summary=network.summary,
        apply=_apply,
        reference=network.reference,
        params=MODEL_PARAMS,
        halo=_halo,
        needs=("ms", "model") if network.images == 1 else ("ms", "coarse", "model"),
        bind=_Bind(network.name),
        engines=("torch",),
        differs=network.differs,
    )
    for network in networks().values()
    if _TASK in network.tasks
)
