"""The network of long-time-series fusion as a method, by a model trained on the scene or on others like it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xrs.errors import ModelCardError
from xrs.kernels.types import Float32, Float64
from xrs.methods._networks import DEVICE, given_models, only_model
from xrs.methods.base import Binding, Method, Param, State, Tile
from xrs.methods.sts._blocks import BLOCK, MARGIN, is_positive
from xrs.methods.sts._evidence import Known, Series, evidence_reach, series_of
from xrs.methods.sts._refine import Prior, refined
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


def _apply(
    tile: Tile,
    _: State,
    *,
    model: Sequence[_Bound],
    refine: bool,
    noise: float,
    psf: Mapping[str, Float64],
    srf: Mapping[str, Float64 | None],
    device: str,
    spread: bool = False,
    **_params: Any,
) -> Float32:
    """All targets (target, band, y, x): the joint estimate; on a date of the fine sensor the spectral branch's.

    With ``spread`` standard deviations of the joint estimate follow the bands.
    """
    from xrs.models.engine import pick_device

    (bound,) = model
    check_magnitude(bound.model.card, tile["hs"])
    loaded = _loaded(bound.model, str(pick_device(device)))
    taps = {role: psf[role][list(bound.bands[role])] for role in psf}
    series = series_of(bound.ordered(tile), loaded.known, taps)
    order = np.argsort(bound.bands["hs"])
    prior = replace(loaded.prior, basis=loaded.prior.basis[order]) if refine and loaded.prior else None
    height, width = tile.core("ms").shape[-2:]
    out = np.empty((len(series.targets), (1 + spread) * len(order), height, width), np.float32)
    for target, image in enumerate(out):
        made, std = _result(loaded, series, target, spread)
        bands = image[: len(order)]
        if prior is None:
            bands[:] = tile.core("ms", made)[order]
        else:
            bands[:] = refined(tile, made[order], target, prior, noise=noise, psf=psf, srf=srf)
        if std is not None:
            image[len(order) :] = np.where(np.isnan(bands), np.float32(np.nan), tile.core("ms", std)[order])
    return out


def _result(loaded: _Loaded, series: Series, target: int, spread: bool) -> tuple[Float32, Float32 | None]:
    """Bands (band, y, x) on one date, halo included, and their standard deviations.

    NaN where neither the date nor one around it was seen.
    """
    from xrs.nets.lts_mtl import estimate

    weights = series.weights(target)
    days = np.array([series.targets[target], *series.days])
    images = (series.wide[target], series.fine, series.wide_then, series.spectra, weights, days)
    told = estimate(loaded.members, *images, heads=loaded.heads, spread=spread)
    # Where the wide sensor saw nothing on the date: what the dates around it tell.
    between = np.einsum("dyx,dkyx->kyx", weights, told.spectral)
    out: Float32 = np.where(series.wide_seen[target], told.joint, between)
    own = series.own(target)
    if own >= 0:
        out = np.where(series.fine_seen[own], told.spectral[own], out)
    bands = loaded.known.spectra(np.where(weights.sum(axis=0) > 0, out, np.float32(np.nan)))
    return bands, None if told.std is None else told.std * loaded.scales[:, None, None]


def known_of_model(model: Model) -> Known:
    """What training measured of the scene, as the model's weights hold it."""
    held = {name: np.asarray(values, np.float64) for name, values in _first_of(model).items()}
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


def _first_of(model: Model) -> dict[str, NDArray[Any]]:
    """The weights of the only member, or of the first."""
    weights = dict(model.weights())
    if not model.card.uncertainty:
        return weights
    first = "members.0."
    return {name.removeprefix(first): values for name, values in weights.items() if name.startswith(first)}


@dataclass(frozen=True)
class _Loaded:
    """A model's networks, ready to infer, what it knows of the scene, and of its errors if it does.

    ``scales`` (band,) lead from a network's standard deviations to those of the images.
    """

    members: tuple[Any, ...]
    heads: tuple[Any, ...]
    known: Known
    prior: Prior | None
    scales: Float32


@lru_cache(maxsize=4)
def _loaded(model: Model, device: str) -> _Loaded:
    from xrs.models.engine import loaded_network

    network: Any = loaded_network(model, device)
    told = model.card.uncertainty
    members, heads = (tuple(network.members), tuple(network.heads)) if told else ((network,), ())
    known, held = known_of_model(model), _first_of(model)
    spread = known.scale * float(np.sqrt(np.square(held["spectra_spread"], dtype=np.float64).sum() / len(known.basis)))
    prior = Prior.of(known.basis, np.asarray(held["error"], np.float64) * known.scale**2, spread)
    factors = [told["factors"][band] if told else 1.0 for band in model.card.result.bands]
    return _Loaded(members, heads, known, prior, np.array(factors, np.float32) * np.float32(known.scale))


def _halo(
    factors: Mapping[str, int], *, model: Sequence[_Bound], refine: bool, psf: Mapping[str, Float64], **_: Any
) -> int:
    fine = factors["ms"]
    ratios = {"hs": fine // factors["hs"], "wide": fine // factors["target"]}
    card = model[0].model.card
    return -(-(evidence_reach(psf, ratios) + card.margin) // fine) + MARGIN * refine


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
            made_for="on the dates that the three cubes have",
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
        block = BLOCK if params["refine"] else 0
        return Binding({"model": (_Bound(one, bands),), **params}, ("hs", "ms", "wide"), block=block)


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
    Param(
        "refine",
        True,
        "whether what sensors of known spectral response saw on the date itself is weighed against the network's "
        "result, by its errors where it was not trained",
        "True or False",
        lambda value: isinstance(value, bool),
    ),
    Param(
        "noise",
        0.05,
        "standard deviation of the sensors' noise over that of the scene",
        "a number above 0",
        is_positive,
    ),
    Param("psf", None, "separable point spreads (band, tap)"),
    Param("srf", None, "spectral responses (band, hs band)"),
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
