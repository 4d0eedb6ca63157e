"""Networks as methods: which image comes from which observation, the margin, and the call of the engine."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xrs.errors import ModelCardError, ParameterError
from xrs.kernels.types import Float32
from xrs.methods.base import Method, Param, State, Tile
from xrs.models import Input, Model, Observed, load_model, match_images

__all__ = ["DEVICE", "Bound", "network_methods"]

_NEEDS = {"sharpen": ("fine", "coarse", "model"), "pansharpen": ("ms", "pan", "model")}


@dataclass(frozen=True)
class Bound:
    """A model and where its images come from; the last of them is the observation that it brings to the finest grid."""

    model: Model
    inputs: tuple[Input, ...]

    def images(self, tile: Tile) -> list[Float32]:
        """The network's images, without a copy where an observation has just its bands."""
        return [_bands(tile[one.role], one.bands) for one in self.inputs]

    @property
    def target(self) -> Input:
        """The observation whose bands are put out, and their places in the network's order."""
        return self.inputs[-1]


def network_methods(family: str) -> tuple[Method, ...]:
    """A method for each network made for a family's task. Loads torch."""
    from xrs.nets.registry import networks

    return tuple(
        Method(
            name=network.name,
            family=family,
            summary=network.summary,
            apply=_apply,
            reference=network.reference,
            params=_PARAMS,
            halo=_halo,
            bandwise=True,
            needs=_NEEDS[family],
            bind=_Bind(network.name, family),
            engines=("torch",),
            differs=network.differs,
        )
        for network in networks().values()
        if family in network.tasks
    )


def _apply(
    tile: Tile, _state: State, *, model: Sequence[Bound], device: str, dtype: str, batch_size: int | str
) -> Float32:
    from xrs.models.engine import infer

    results = []
    for bound in model:
        halo = tile.halo * tile.factors[bound.target.role]
        result = infer(bound.model, bound.images(tile), halo=halo, device=device, dtype=dtype, batch_size=batch_size)
        results.append(_bands(result, tuple(np.argsort(bound.target.bands).tolist())))
    return results[0] if len(results) == 1 else np.concatenate(results)


def _halo(factors: Mapping[str, int], *, model: Sequence[Bound], **_: Any) -> int:
    return max(-(-bound.model.card.margin // factors[bound.target.role]) for bound in model)


@dataclass(frozen=True)
class _Bind:
    """Find for each observation that is to be sharpened the model made for it."""

    network: str
    family: str

    def __call__(
        self, observed: Mapping[str, Observed], outputs: Sequence[str], *, model: Sequence[Model], **params: Any
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        for one in model:
            self._check(one)
        bound = tuple(self._for(role, observed, model) for role in outputs)
        used = dict.fromkeys(one.role for b in bound for one in b.inputs)
        return {"model": bound, **params}, tuple(used)

    def _check(self, model: Model) -> None:
        if (model.card.network, model.card.task) != (self.network, self.family):
            raise ModelCardError(
                f"the model is a {model.card.network} for task {model.card.task!r}",
                f"a {self.network} for {self.family!r}",
                f"xrs.{model.card.task}(..., method={model.card.network!r}, model=...)",
            )

    def _for(self, role: str, observed: Mapping[str, Observed], models: Sequence[Model]) -> Bound:
        # Where none fits, matching the first tells why.
        made = (m for m in models if set(m.card.images[-1].bands) == set(observed[role].bands))
        model = next(made, models[0])
        return Bound(model, match_images(model.card, observed, role))


def _models(value: Any) -> tuple[Model, ...]:
    """What users pass as ``model``, loaded."""
    if value is None:
        raise ParameterError(
            "no model was given", "a trained network", "model='file.safetensors' or model=xrs.load_model(...)"
        )
    several = value if isinstance(value, (list, tuple)) else (value,)
    for one in several:
        if not isinstance(one, (Model, str, os.PathLike)):
            raise ParameterError(f"model is a {type(one).__name__}", "a Model, a path, a URL or a name, or a list")
    return tuple(load_model(one) for one in several)


def _bands(image: Float32, order: tuple[int, ...]) -> Float32:
    return image if order == tuple(range(image.shape[0])) else np.ascontiguousarray(image[list(order)])


DEVICE = Param(
    "device",
    "auto",
    "where the network runs; auto is a GPU if there is one",
    "'auto', 'cpu', 'cuda' or 'cuda:1'",
    lambda value: isinstance(value, str) and re.fullmatch(r"auto|cpu|cuda(:\d+)?", value) is not None,
)

_PARAMS = (
    Param(
        "model",
        None,
        "the trained network: a Model, a path, a URL or a name of xrs.list_models(); several for several groups",
        "one or more models",
        lambda value: len(value) > 0,
        convert=_models,
        shared=True,
    ),
    DEVICE,
    Param(
        "dtype",
        "float32",
        "what convolutions compute in; the result is float32",
        "'float32' or 'bfloat16'",
        lambda value: value in ("float32", "bfloat16"),
    ),
    Param(
        "batch_size",
        "auto",
        "patches at once; halved where memory runs out",
        "'auto' or a whole number from 1 on",
        lambda value: value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value > 0),
    ),
)
