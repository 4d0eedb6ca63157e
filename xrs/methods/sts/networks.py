"""The network of long-time-series fusion as a method, by a model trained on the scene or on others like it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from xrs.errors import ModelCardError
from xrs.kernels.types import Float32, Float64
from xrs.methods._networks import DEVICE, given_models, only_model
from xrs.methods.base import Binding, Method, Param, State, Tile
from xrs.methods.sts._evidence import Known, Series, evidence_reach, series_of
from xrs.models import ImageSpec, Model, Observed, check_magnitude
from xrs.nets.registry import networks

__all__ = ["METHODS"]

_TASK = "sts"
#: The order of a card's images.
_ROLES = ("ms", "wide", "hs")


@dataclass(frozen=True)
class _Bound:
    """A model, and the place of its bands among those observed."""

    model: Model
    bands: Mapping[str, tuple[int, ...]]

    def ordered(self, tile: Tile) -> Tile:
        """The tile with the bands in the network's order."""
        if all(order == tuple(range(len(order))) for order in self.bands.values()):
            return tile
        roles = {"hs": "hs", "ms": "ms", "wide_hs": "wide", "wide_ms": "wide", "target": "wide"}
        orders = {name: list(self.bands[roles[name]]) for name in tile.arrays}
        arrays = {name: np.ascontiguousarray(image[:, orders[name]]) for name, image in tile.arrays.items()}
        valid = {name: None if seen is None else seen[:, orders[name]] for name, seen in tile.valid.items()}
        return Tile(arrays, valid, tile.factors, tile.halo, tile.origin, tile.days)


def _apply(tile: Tile, _: State, *, model: _Bound, psf: Mapping[str, Float64], device: str, **_params: Any) -> Float32:
    """All targets (target, band, y, x): the joint estimate; on a date of the fine sensor the spectral branch's."""
    from xrs.models.engine import pick_device

    check_magnitude(model.model.card, tile["hs"])
    network, known = _loaded(model.model, str(pick_device(device)))
    seen = model.ordered(tile)
    taps = {role: psf[role][list(model.bands[role])] for role in psf}
    series = series_of(seen, known, taps)
    order = np.argsort(model.bands["hs"])
    out = np.empty((len(series.targets), len(order), *tile.core("ms").shape[-2:]), np.float32)
    for target in range(len(out)):
        out[target] = known.spectra(tile.core("ms", _components(network, series, target)))[order]
    return out


def _components(network: Any, series: Series, target: int) -> Float32:
    """Components (k, y, x) on one date, halo included; NaN where neither it nor a date around it was seen."""
    from xrs.nets.lts_mtl import estimate

    weights = series.weights(target)
    days = np.array([series.targets[target], *series.days])
    joint, dated = estimate(network, series.wide[target], series.fine, series.wide_then, series.spectra, weights, days)
    # Where the wide sensor saw nothing on the date: what the dates around it tell.
    between = np.einsum("dyx,dkyx->kyx", weights, dated)
    out: Float32 = np.where(series.wide_seen[target], joint, between)
    own = series.own(target)
    if own >= 0:
        out = np.where(series.fine_seen[own], dated[own], out)
    return np.where(weights.sum(axis=0) > 0, out, np.float32(np.nan))


def known_of_model(model: Model) -> Known:
    """What training measured of the scene, as the model's weights hold it."""
    held = {name: np.asarray(values, np.float64) for name, values in model.weights().items()}
    return Known(
        scale=model.card.scale,
        mean=held["mean"],
        basis=held["basis"],
        fine_mean=held["fine_mean"],
        fine_basis=held["fine_basis"],
        slopes=held["spectra_of_fine.weight"][:, :, 0, 0],
        offset=held["spectra_of_fine.bias"],
        ridge=float(held["ridge"][0]),
    )


@lru_cache(maxsize=4)
def _loaded(model: Model, device: str) -> tuple[Any, Known]:
    """A model's network, ready to infer, and what it knows of the scene."""
    network = model.build().eval().requires_grad_(False).to(device)
    return network, known_of_model(model)


def _halo(factors: Mapping[str, int], *, model: _Bound, psf: Mapping[str, Float64], **_: Any) -> int:
    fine = factors["ms"]
    ratios = {"hs": fine // factors["hs"], "wide": fine // factors["target"]}
    card = model.model.card
    return -(-(evidence_reach(psf, ratios) + card.margin) // fine)


@dataclass(frozen=True)
class _Bind:
    """Check that a model is of this network, and was made for these bands and ratios."""

    network: str

    def __call__(
        self, observed: Mapping[str, Observed], _outputs: Sequence[str], *, model: Sequence[Model], **params: Any
    ) -> Binding:
        one = only_model(
            model,
            self.network,
            _TASK,
            dates="the three cubes",
            remedy="xrs.fuse_sts trains one if none is given; model=xrs.train_sts(hs, ms, wide)",
        )
        card = one.card
        ratios = {role: observed[role].ratio for role in ("hs", "wide")}
        if ratios != dict(card.training["ratios"]):
            raise ModelCardError(
                f"pixels of {ratios} fine ones", f"of {dict(card.training['ratios'])}, for which the model was made"
            )
        bands = {
            role: _places(card.network, image, role, observed[role])
            for role, image in zip(_ROLES, card.images, strict=True)
        }
        return Binding({"model": _Bound(one, bands), **params}, ("hs", "ms", "wide"))


def _places(network: str, image: ImageSpec, role: str, seen: Observed) -> tuple[int, ...]:
    """Where the bands of a card's image stand in a cube."""
    if set(seen.bands) != set(image.bands):
        raise ModelCardError(
            f"{role} has the bands {list(seen.bands)}",
            f"for the {network} model, {list(image.bands)}",
            "select or rename bands (xrs.cube.assign_bands), or train a model for these",
        )
    return tuple(seen.bands.index(key) for key in image.bands)


_PARAMS = (
    Param(
        "model",
        None,
        "the trained network: a Model, a path or a URL; see xrs.train_sts",
        convert=given_models,
        shared=True,
    ),
    DEVICE,
    Param("psf", None, "separable point spreads (band, tap)"),
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
        needs=("hs", "ms", "wide", "model"),
        bind=_Bind(network.name),
        engines=("torch",),
        differs=network.differs,
    )
    for network in networks().values()
    if _TASK in network.tasks
)
