"""A method for each network that makes variables of reflectance and angles."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xrs.errors import BandNotFoundError, ModelCardError, ParameterError
from xrs.kernels.types import Bool, Float32
from xrs.methods._networks import MODEL_PARAMS, only_model, shipped_of
from xrs.methods.base import Binding, Method, State, Tile
from xrs.methods.retrieval._bands import find_sentinel2, reflectance
from xrs.methods.retrieval._variables import limited, variable_of
from xrs.models import Model, Observed
from xrs.nets.registry import networks

__all__ = ["METHODS", "known_angles"]

_TASK = "retrieval"

#: Images of the network after its bands: cosines of the view zenith, of the sun's zenith and of the relative azimuth.
_ANGLES = 3


def _apply(
    tile: Tile,
    _: State,
    *,
    model: Model,
    variable: str,
    bands: Sequence[int],
    device: str,
    dtype: str,
    batch_size: int | str,
    spread: bool = False,
    **_params: Any,
) -> Float32:
    """The variable; with ``spread`` then its standard deviation."""
    from xrs.models.engine import infer

    image = np.concatenate([reflectance(tile, bands), tile["angles"]])
    every = infer(model, [image], halo=0, device=device, dtype=dtype, batch_size=batch_size)
    outputs = model.card.result.bands
    values = limited(every[outputs.index(variable)], variable_of(variable))
    values[~_known(image, model)] = np.nan
    if not spread:
        return values[None]
    std = every[outputs.index(f"{variable}_std")]
    return np.stack([values, np.where(np.isfinite(values), std, np.float32(np.nan))])


def _known(image: Float32, model: Model) -> Bool:
    """Whether pixels (y, x) lie within the ranges of the training data."""
    low, high = (np.array(model.card.training[side], np.float32)[:, None, None] for side in ("low", "high"))
    return np.asarray(((image >= low) & (image <= high)).all(axis=0))


def known_angles(model: Model) -> dict[str, tuple[float, float]]:
    """The lowest and highest cosine of each angle in the training data."""
    training = model.card.training
    ranges = zip(model.card.images[0].bands, training["low"], training["high"], strict=True)
    return {name.removeprefix("cos_"): (low, high) for name, low, high in list(ranges)[-_ANGLES:]}


@dataclass(frozen=True)
class _Bind:
    """Find the model for the bands at hand."""

    network: str

    def __call__(
        self, observed: Mapping[str, Observed], outputs: Sequence[str], *, model: Sequence[Model], **params: Any
    ) -> Binding:
        one = only_model(
            model or self._shipped(observed),
            self.network,
            _TASK,
            made_for="for these bands",
            remedy="model=xrs.training.retrieval.train_canopy(...)",
        )
        variables = [name for name in one.card.result.bands if not name.endswith("_std")]
        if outputs[0] not in variables:
            raise ParameterError(f"variable={outputs[0]!r} by this model", f"one of {variables}")
        bands = find_sentinel2(observed, one.card.images[0].bands[:-_ANGLES])
        return Binding({"model": one, "variable": outputs[0], "bands": bands, **params}, ("ms", "angles"))

    def _shipped(self, observed: Mapping[str, Observed]) -> tuple[Model, ...]:
        """The model that comes with the library for the most of the bands; that for the fewest if none fits."""
        by_bands = sorted(shipped_of(self.network, _TASK), key=lambda m: len(m.card.images[0].bands), reverse=True)
        for model in by_bands:
            with contextlib.suppress(BandNotFoundError, ModelCardError):
                find_sentinel2(observed, model.card.images[0].bands[:-_ANGLES])
                return (model,)
        return tuple(by_bands[-1:])


METHODS = tuple(
    Method(
        name=network.name,
        family=_TASK,
        summary=network.summary,
        apply=_apply,
        reference=network.reference,
        params=MODEL_PARAMS,
        needs=("ms", "angles", "model"),
        bind=_Bind(network.name),
        engines=("torch",),
        differs=network.differs,
    )
    for network in networks().values()
    if _TASK in network.tasks
)
