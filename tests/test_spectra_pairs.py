"""Pairs of spectra that know their bands."""

from __future__ import annotations

import numpy as np
import pytest

from xrs.errors import ParameterError
from xrs.sensors import get_sensor
from xrs.spectra import PairedBands, SpectralPairs, draw_pairs


def test_pairs_drawn_of_a_source_know_the_sensors() -> None:
    pairs = draw_pairs("soil", get_sensor("sentinel-2a").select(["B04", "B02"]), "enmap", 5)
    assert pairs.given_bands == PairedBands(("B04", "B02"), (664.6, 492.7), (31.0, 65.0))
    assert pairs.wanted_bands is not None and len(pairs.wanted_bands.keys) == 224
    assert pairs.wanted_bands.wavelengths[0] == get_sensor("enmap")["B001"].wavelength


def test_pairs_without_keys_stay_possible() -> None:
    pairs = SpectralPairs(np.zeros((3, 2)), np.zeros((3, 4)))
    assert pairs.given_bands is None and pairs.wanted_bands is None


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: SpectralPairs(np.zeros((3, 2)), np.zeros((3, 4)), PairedBands(("a", "b", "c"))),
        lambda: SpectralPairs(np.zeros((3, 2)), np.zeros((3, 4)), None, PairedBands(("a", "b", "c"))),
        lambda: PairedBands(("a", "a")),
        lambda: PairedBands(("a", "b"), (500.0,)),
        lambda: PairedBands(("a", "b"), (), (20.0,)),
    ],
)
def test_as_many_keys_as_bands(wrong: object) -> None:
    with pytest.raises(ParameterError, match="key"):
        wrong()  # type: ignore[operator]
