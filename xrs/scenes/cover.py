"""Names and codes of land cover, and which crop a field bears in a year."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numba import njit

from xrs.scenes.noise import hash_cell, unit

__all__ = [
    "CROP",
    "DECIDUOUS",
    "EVERGREEN",
    "GARDEN",
    "GRASS",
    "LABELS",
    "PARCELS",
    "PAVED",
    "ROOF",
    "TRACK",
    "WATER",
    "crop_of",
]

WATER, ROOF, PAVED, TRACK, GARDEN, GRASS, DECIDUOUS, EVERGREEN, CROP = range(1, 10)

#: Class code to name; the codes from ``CROP`` on are crops, in the order of :data:`xrs.scenes.phenology.CROPS`.
LABELS: Mapping[int, str] = {
    WATER: "water",
    ROOF: "roof",
    PAVED: "paved",
    TRACK: "track",
    GARDEN: "garden",
    GRASS: "grassland",
    DECIDUOUS: "deciduous_forest",
    EVERGREEN: "evergreen_forest",
    CROP: "winter_wheat",
    CROP + 1: "winter_barley",
    CROP + 2: "rapeseed",
    CROP + 3: "maize",
    CROP + 4: "sugar_beet",
    CROP + 5: "potato",
}

#: Covers of which a patch has an owner, and so a key.
PARCELS = (GRASS, DECIDUOUS, EVERGREEN, CROP)

#: Cumulative shares of the arable land.
_SHARES = np.array([0.30, 0.42, 0.53, 0.78, 0.90, 1.0])


@njit(nogil=True, cache=True)
def crop_of(field: np.uint64, year: int) -> int:
    """The crop, from 0, that a field bears at the harvest of a year."""
    draw = unit(hash_cell(year, 7, field))
    crop = 0
    while draw >= _SHARES[crop]:
        crop += 1
    return crop
