"""A method for each network that makes other bands than those it sees."""

from __future__ import annotations

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
        one = only_model(chosen, self.network, _TASK, made_for="for these bands", remedy=_REMEDY)
        inputs = match_images(one.card, observed)
        used = tuple(dict.fromkeys(image.role for image in inputs))
        return Binding({"model": one, "inputs": inputs, **params}, used, block=one.card.window)

    def _shipped(self, observed: Mapping[str, Observed]) -> tuple[Model, ...]:
        """The model that comes with the library, if there is one for the network and it fits."""
        reasons = []
        for model in shipped_of(self.network, _TASK):
            try:
                match_images(model.card, observed)
                return (model,)
            except ModelCardError as error:
                reasons.append(_missing(model, observed) or str(error))
        if reasons:
            raise ModelCardError(
                f"no model for method={self.network!r}, and the shipped one does not fit: {'; '.join(reasons)}",
                "its bands, or a model trained for those at hand",
                _REMEDY,
            )
        return ()


def _missing(model: Model, observed: Mapping[str, Observed]) -> str:
    """Which bands a model takes are not there, if some are not."""
    there = [key for seen in observed.values() for key in seen.bands]
    lacking = [key for image in model.card.images for key in image.bands if key not in there]
    if not lacking:
        return ""
    shown = there if len(there) <= 20 else [*there[:5], f"and others, {len(there)} in all"]
    return f"of its bands {lacking} are missing, and there are {shown}"


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
