"""Networks that know a point spread: the same weights for an image with another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from xrs.models.card import Card
from xrs.models.loader import Model, network_of

__all__ = ["card_through", "config_through", "seen_through"]


def config_through(network: str, config: Mapping[str, Any], taps: ArrayLike | None) -> dict[str, Any]:
    """The parameters of a network that is told the point spread; unchanged if it takes none or none is known.

    Parameters
    ----------
    network : str
    config : mapping
    taps : array (tap,) or (band, tap), optional
        From the finest grid to that of the last image.
    """
    from xrs.nets import get_network

    if taps is None or "psf" not in get_network(network).config:
        return dict(config)
    return {**config, "psf": np.asarray(taps, np.float64).tolist()}


def card_through(card: Card, taps: ArrayLike | None) -> Card:
    """A card whose network is told the point spread, with the margin that then is needed."""
    config = config_through(card.network, card.config, taps)
    if card.margin >= 0 and config == dict(card.config):
        return card
    described = replace(card, config=config, margin=-1, training={}, metrics={}, sha256="")
    return replace(card, config=config, margin=_margin(_Key(described)))


def seen_through(model: Model, taps: ArrayLike | None) -> Model:
    """The model for an image with this point spread: the same weights.

    Parameters
    ----------
    model : Model
        Unchanged; returned as it is if its network knows no point spread.
    taps : array (tap,) or (band, tap), optional
        From the finest grid to that of the last image, bands in the card's order.

    Examples
    --------
    >>> from xrs.models import Card, ImageSpec, Model
    >>> from xrs.nets import get_network
    >>> images = (ImageSpec(("B04", "B08")), ImageSpec(("B11",), ratio=2))
    >>> model = Model.from_module(get_network("light").build((2, 1), (1, 2)), Card("light", "sharpen", images))
    >>> seen_through(model, [0.25, 0.25, 0.25, 0.25]).card.config["psf"]
    [0.25, 0.25, 0.25, 0.25]
    """
    card = card_through(model.card, taps)
    return model if card is model.card else model.with_card(card)


class _Key:
    """A card that can be looked up."""

    def __init__(self, card: Card) -> None:
        self.card, self.json = card, card.to_json()

    def __hash__(self) -> int:
        return hash(self.json)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.json == other.json


@lru_cache(maxsize=64)
def _margin(key: _Key) -> int:
    from xrs.nets import get_network
    from xrs.nets.receptive import margin_and_window

    card = key.card
    return margin_and_window(get_network(card.network), network_of(card), card.bands, card.ratios)[0]
