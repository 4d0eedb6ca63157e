"""Every network that predicts a date from pairs of others, by a model of the user's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xrs.kernels.types import Bool, Float32, Float64
from xrs.methods._networks import BATCH, DEVICE, DTYPE, given_models, only_model
from xrs.methods.base import Binding, Method, Param, State, Tile
from xrs.models import Input, Model, Observed, check_magnitude, match_images
from xrs.nets.registry import networks

__all__ = ["METHODS"]

_TASK = "spatiotemporal"
#: Pairs at most for networks of any number.
_MANY = 8


@dataclass(frozen=True)
class _Bound:
    """A model, and which of the observations' bands are those of its images."""

    model: Model
    fine: Input
    coarse: Input

    def of(self, pairs: int) -> Model:
        """The same weights for so many pairs."""
        images = self.model.card.images
        return self.model.with_card(replace(self.model.card, images=(images[0],) * pairs + (images[-1],) * (pairs + 1)))

    def images(self, tile: Tile, pairs: Sequence[int], target: int) -> list[Float32]:
        """The network's images, bands in its order."""
        dated = [("fine", k, self.fine) for k in pairs] + [("coarse", k, self.coarse) for k in pairs]
        dated.append(("target", target, self.coarse))
        return [np.ascontiguousarray(tile[name][date, list(one.bands)]) for name, date, one in dated]


def _apply(
    tile: Tile, _: State, *, model: _Bound, device: str, dtype: str, batch_size: int | str, **_params: Any
) -> Float32:
    """All targets (target, band, y, x), each from the pairs around it that were seen at a pixel."""
    from xrs.models.engine import infer

    check_magnitude(model.model.card, tile["fine"])
    order = np.argsort(model.fine.bands)
    seen = [_seen(tile, "fine", k) & _seen(tile, "coarse", k) for k in range(len(tile["fine"]))]
    shape = (len(tile["target"]), *tile.core("fine").shape[1:])
    out = np.full(shape, np.nan, np.float32)
    for target, day in enumerate(tile.days["target"]):
        there = _seen(tile, "target", target)
        for pairs, known in _choices(_around(tile.days["fine"], day), seen):
            where = known & there
            if where.any():
                images = model.images(tile, pairs, target)
                found = infer(
                    model.of(len(pairs)), images, halo=tile.halo, device=device, dtype=dtype, batch_size=batch_size
                )
                out[target][:, where] = found[order][:, where]
    return out


def _around(days: Float64, target: float) -> tuple[int, ...]:
    """The pairs to predict from: as many before as after the target, or the one nearest to it."""
    split = int(np.clip(np.searchsorted(days, target, "right"), 1, max(days.size - 1, 1)))
    half = min(split, days.size - split) if days[0] <= target <= days[-1] else 0
    return tuple(range(split - half, split + half)) if half else (int(np.abs(days - target).argmin()),)


def _choices(pairs: tuple[int, ...], seen: Sequence[Bool]) -> list[tuple[tuple[int, ...], Bool]]:
    """Pairs to predict from, and the pixels (y, x) whose nearest pairs were seen: both, or one of them alone."""
    if len(pairs) == 1:
        return [(pairs, seen[pairs[0]])]
    before, after = pairs[len(pairs) // 2 - 1], pairs[len(pairs) // 2]
    return [
        (pairs, seen[before] & seen[after]),
        ((before,), seen[before] & ~seen[after]),
        ((after,), seen[after] & ~seen[before]),
    ]


def _seen(tile: Tile, name: str, date: int) -> Bool:
    """Where all bands of one image were seen, on the fine grid without the halo (y, x)."""
    step = tile.factors["fine"] // tile.factors[name]
    valid = tile.valid[name]
    if valid is None:
        return np.ones(tile.core("fine").shape[2:], bool)
    whole = tile.core(name, valid[date]).all(axis=0)
    return np.asarray(whole.repeat(step, axis=0).repeat(step, axis=1))


def _halo(_: Mapping[str, int], *, model: _Bound, **_params: Any) -> int:
    return model.model.card.margin


@dataclass(frozen=True)
class _Bind:
    """Check that a model is of this network, and was made for these bands and this ratio."""

    network: str

    def __call__(
        self, observed: Mapping[str, Observed], _outputs: Sequence[str], *, model: Sequence[Model], **params: Any
    ) -> Binding:
        one = only_model(
            model,
            self.network,
            _TASK,
            made_for="on the dates that both cubes have",
            remedy=f"model=xrs.train_pairs(fine, coarse, network={self.network!r})",
        )
        card = one.card
        one_pair = replace(card, images=(card.images[0], card.images[-1]))
        fine, coarse = match_images(one_pair, observed, "coarse")
        return Binding({"model": _Bound(one, fine, coarse), **params}, ("fine", "coarse", "target"))


_PARAMS = (
    Param(
        "model",
        None,
        "the trained network: a Model, a path or a URL; see xrs.train_pairs",
        convert=given_models,
        shared=True,
    ),
    DEVICE,
    DTYPE,
    BATCH,
)

METHODS = tuple(
    Method(
        name=network.name,
        family=_TASK,
        summary=network.summary,
        apply=_apply,
        reference=network.reference,
        params=_PARAMS,
        halo=_halo,
        needs=("fine", "coarse", "target", "model"),
        bind=_Bind(network.name),
        pairs=(1, network.images // 2 or _MANY),
        engines=("torch",),
        differs=network.differs,
    )
    for network in networks().values()
    if _TASK in network.tasks
)
