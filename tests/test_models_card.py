"""What a card and the table of models show: short, and with what tells models apart."""

from __future__ import annotations

import pytest

import xrs
from xrs.models import Card, ImageSpec, Model, shipped_models

MANY = ImageSpec(tuple(f"B{n:03}" for n in range(1, 225)), 1, (*(400.0 + 9.0 * n for n in range(223)), float("nan")))


def test_an_image_of_many_bands_is_told_in_a_line() -> None:
    told = repr(MANY)
    assert "\n" not in told and len(told) < 100
    assert "B001" in told and "B224 (224 bands)" in told and "400 to 2398 nm" in told
    assert repr(ImageSpec(("B04", "B08"), 2)) == "<ImageSpec x2: B04, B08>"


def test_a_card_is_told_in_a_few_lines() -> None:
    curve = [{"train": 0.1, "held_out": 0.2}] * 500
    card = Card(
        "spectralift",
        "spectral",
        (ImageSpec(("B04", "B08"), 1, (665.0, 833.0)),),
        outputs=MANY,
        training={"loss_curve": curve, "seed": 3} | {f"setting {n}": n for n in range(30)},
        metrics={"rmse": 0.0123456789},
        uncertainty={
            "kind": "laplace",
            "members": 1,
            "passes": 0,
            "level": 0.9,
            "factors": dict.fromkeys(MANY.bands, 1.0),
        },
        sha256="0123456789abcdef" * 4,
    )
    told = repr(card)
    assert len(told.splitlines()) <= 10 and len(told) < 800
    for part in (
        "spectralift (spectral)",
        "0123456789ab",
        "665 to 833 nm",
        "(224 bands)",
        "loss_curve (500)",
        "(32 entries)",
        "rmse 0.01235",
        "factors (224)",
    ):
        assert part in told


@pytest.mark.parametrize("name", shipped_models())
def test_cards_of_shipped_models_are_short(name: str) -> None:
    card = xrs.load_model(name).card
    assert len(repr(card)) < 900 and card.network in repr(card)
    # The first is what the file says, the second what it shows.
    assert len(card.to_json()) > len(repr(card))


def test_the_table_of_models_is_short_and_cards_have_the_rest() -> None:
    table = xrs.list_models().set_index("name")
    assert max(len(str(cell)) for row in table.itertuples() for cell in row) < 130
    for name, row in table.iterrows():
        model = xrs.load_model(str(name))
        assert isinstance(model, Model) and row.bands.startswith(model.card.result.bands[0])
        assert row.sha256 == model.card.sha256
        if len(model.card.result.bands) <= 20:
            assert tuple(row.bands.split(", ")) == model.card.result.bands
        else:
            assert f"({len(model.card.result.bands)} bands)" in row.bands
