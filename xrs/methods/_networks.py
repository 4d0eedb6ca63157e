"""Networks as methods: which image comes from which observation, the margin, and the call of the engine."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xrs.errors import ModelCardError, ParameterError
from xrs.kernels.types import Float32, Float64
from xrs.methods._scene import sampling
from xrs.methods._zero_shot import Untrained, untrained, zero_shot_passes
from xrs.methods.base import Binding, Method, Param, State, Tile
from xrs.models import Input, Model, Observed, check_magnitude, load_model, match_images, shipped_models
from xrs.models.spread import card_through, seen_through

__all__ = [
    "BATCH",
    "DEVICE",
    "DTYPE",
    "MODEL_PARAMS",
    "Bound",
    "given_models",
    "network_methods",
    "only_model",
    "shipped_of",
]

#: Point spread (band, tap) from the finest grid to each observation's, if known.
Psf = Mapping[str, Float64] | None

_NEEDS = {"sharpen": ("fine", "coarse", "model"), "pansharpen": ("ms", "pan", "model")}


@dataclass(frozen=True)
class Bound:
    """A model and where its images come from; the last of them is the observation that it brings to the finest grid.

    Instead of a model there may be a network yet to be trained on the scene; the state then has the model.
    """

    model: Model | Untrained
    inputs: tuple[Input, ...]

    def __str__(self) -> str:
        """What a result tells of it."""
        return str(self.model) if isinstance(self.model, Model) else f"{self.model.network}, learned from the scene"

    def images(self, tile: Tile) -> list[Float32]:
        """The network's images, without a copy where an observation has just its bands."""
        return [_bands(tile[one.role], one.bands) for one in self.inputs]

    def trained(self, state: State, psf: Psf) -> Model | None:
        """The model to apply; none on a date too cloudy to learn from."""
        model = self.model if isinstance(self.model, Model) else state.get("models", {}).get(self.target.role)
        return None if model is None else seen_through(model, self._taps(psf))

    def margin(self, psf: Psf) -> int:
        """Pixels of the target around one on which its result depends."""
        taps = self._taps(psf)
        return (card_through(self.model.card, taps) if isinstance(self.model, Model) else self.model.card(taps)).margin

    @property
    def target(self) -> Input:
        """The observation whose bands are put out, and their places in the network's order."""
        return self.inputs[-1]

    def _taps(self, psf: Psf) -> Float64 | None:
        """From the finest grid to the target's, a row for each band of the network's."""
        if psf is None or self.target.role not in psf:
            return None
        taps = np.atleast_2d(psf[self.target.role])
        return taps if len(taps) == 1 else taps[list(self.target.bands)]


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
    tile: Tile,
    state: State,
    *,
    model: Sequence[Bound],
    psf: Psf,
    device: str,
    dtype: str,
    batch_size: int | str,
    spread: bool = False,
    **_: Any,
) -> Float32:
    """The bands of all groups; with ``spread`` then their standard deviations, in the same order."""
    from xrs.models.engine import infer

    results: list[Float32] = []
    beside: list[Float32] = []
    for bound in model:
        trained = bound.trained(state, psf)
        if trained is None:
            nothing = _nothing(tile, bound)
            results.append(nothing)
            beside += [nothing] * spread
            continue
        check_magnitude(trained.card, tile[bound.target.role])
        halo = tile.halo * tile.factors[bound.target.role]
        whole = infer(
            trained, bound.images(tile), halo=halo, device=device, dtype=dtype, batch_size=batch_size, spread=spread
        )
        order = tuple(np.argsort(bound.target.bands).tolist())
        for part, image in zip((results, beside), np.split(whole, 1 + spread), strict=False):
            part.append(_bands(image, order))
    parts = results + beside
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _nothing(tile: Tile, bound: Bound) -> Float32:
    """NaN for all bands of a group."""
    size = tile.core(bound.inputs[0].role).shape[1:]
    return np.full((len(bound.target.bands), *size), np.nan, np.float32)


def _halo(factors: Mapping[str, int], *, model: Sequence[Bound], psf: Psf, side: int, **_: Any) -> int:
    """What the networks see, and half a patch where one is to be trained."""
    drawn = 0 if all(isinstance(bound.model, Model) for bound in model) else side // 2
    return max(drawn, *(-(-bound.margin(psf) // factors[bound.target.role]) for bound in model))


@dataclass(frozen=True)
class _Bind:
    """Find for each observation that is to be sharpened the model made for it."""

    network: str
    family: str

    def __call__(
        self, observed: Mapping[str, Observed], outputs: Sequence[str], *, model: Sequence[Model], **params: Any
    ) -> Binding:
        for one in model:
            self._check(one)
        if model:
            bound = tuple(self._for(role, observed, model) for role in outputs)
        else:
            bound = tuple(self._shipped(role, observed) or self._untrained(role, observed) for role in outputs)
        used = dict.fromkeys(one.role for b in bound for one in b.inputs)
        passes = zero_shot_passes([b.model for b in bound if isinstance(b.model, Untrained)])
        return Binding({"model": bound, **params}, tuple(used), passes)

    def _shipped(self, role: str, observed: Mapping[str, Observed]) -> Bound | None:
        """A model that comes with the library, if one fits."""
        for model in shipped_of(self.network, self.family):
            with contextlib.suppress(ModelCardError):
                return Bound(model, match_images(model.card, observed, role))
        return None

    def _untrained(self, role: str, observed: Mapping[str, Observed]) -> Bound:
        """The network for the bands at hand, to be trained on the scene."""
        one = untrained(self.network, self.family, role, observed)
        return Bound(one, tuple(Input(name, tuple(range(len(observed[name].bands)))) for name in one.roles))

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


def only_model(models: Sequence[Model], network: str, task: str, *, made_for: str, remedy: str) -> Model:
    """The one model of a network that cannot do without, checked; ``made_for`` says for what, ``remedy`` how."""
    if not models:
        raise ModelCardError(f"no model for method={network!r}", f"one trained {made_for}", remedy)
    if len(models) > 1:
        raise ParameterError(f"{len(models)} models", "one, for all bands")
    card = models[0].card
    if (card.network, card.task) != (network, task):
        raise ModelCardError(f"the model is a {card.network} for task {card.task!r}", f"a {network} for {task!r}")
    return models[0]


def shipped_of(network: str, task: str) -> list[Model]:
    """The models of a network that come with the library."""
    models = map(load_model, shipped_models())
    return [model for model in models if (model.card.network, model.card.task) == (network, task)]


def given_models(value: Any) -> tuple[Model, ...]:
    """What users pass as ``model``, loaded."""
    if value is None:
        return ()
    several = value if isinstance(value, (list, tuple)) else (value,)
    if not several:
        raise ParameterError("an empty list of models", "one or more models", "leave model= out for a shipped one")
    for one in several:
        if not isinstance(one, (Model, str, os.PathLike)):
            raise ParameterError(f"model is a {type(one).__name__}", "a Model, a path, a URL or a name, or a list")
    return tuple(load_model(one) for one in several)


def _bands(image: Float32, order: tuple[int, ...]) -> Float32:
    return image if order == tuple(range(image.shape[0])) else np.ascontiguousarray(image[list(order)])


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


DEVICE = Param(
    "device",
    "auto",
    "where the network runs; auto is a GPU if there is one",
    "'auto', 'cpu', 'cuda' or 'cuda:1'",
    lambda value: isinstance(value, str) and re.fullmatch(r"auto|cpu|cuda(:\d+)?", value) is not None,
)

DTYPE = Param(
    "dtype",
    "float32",
    "what convolutions compute in; the result is float32",
    "'float32' or 'bfloat16'",
    lambda value: value in ("float32", "bfloat16"),
)
BATCH = Param(
    "batch_size",
    "auto",
    "patches at once; halved where memory runs out",
    "'auto' or a whole number from 1 on",
    lambda value: value == "auto" or _is_count(value),
)

#: Of networks that are of no use without a model.
MODEL_PARAMS = (
    Param(
        "model",
        None,
        "the trained network: a Model, a path, a URL or a name of xrs.list_models(); without one a shipped model that "
        "fits the bands",
        convert=given_models,
        shared=True,
    ),
    DEVICE,
    DTYPE,
    BATCH,
)

_PARAMS = (
    Param(
        "model",
        None,
        "the trained network: a Model, a path, a URL or a name of xrs.list_models(); several for several groups. "
        "Without one a shipped model that fits; if there is none, the network learns from the scene itself when the "
        "result is computed, each date by itself",
        convert=given_models,
        shared=True,
    ),
    DEVICE,
    DTYPE,
    BATCH,
    Param("psf", None, "separable point spread (band, tap) from the finest grid to each observation's"),
    Param("guide_psf", None, "for each target, that of every observation to a grid coarser by the target's ratio"),
    Param("steps", 300, "of training, where the network learns from the scene", "1 or more", _is_count),
    *sampling(patches=64, side=32),
)
