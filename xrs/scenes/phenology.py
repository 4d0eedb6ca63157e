"""Growth through the year: leaf area, chlorophyll and bloom of crops, grass and forest, and the soil's wetness.

Leaf area follows double logistic curves (Beck et al. 2006, 10.1016/j.rse.2005.10.021) with the calendar of
temperate western Europe. Bare soil darkens with rain and dries exponentially.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xrs.kernels.types import Float64
from xrs.scenes.cover import DECIDUOUS, EVERGREEN, GARDEN, GRASS, TRACK, crop_of
from xrs.scenes.noise import hash_cell, stream, unit

__all__ = ["CROPS", "Crop", "canopy", "days_and_years", "rain_wetness"]


@dataclass(frozen=True)
class Crop:
    """The calendar of a crop; days count from 1 January of the year of harvest, negative before it.

    Attributes
    ----------
    emergence, green_up, senescence, harvest, ploughing : float
        Days: first leaves, steepest growth, half of the leaf area dead, harvest, stubble turned under.
    growth, ripening : float
        Time scales of growth and death in days.
    winter_lai, peak_lai : float
        Leaf area index before and after spring growth.
    chlorophyll : float
        Of green leaves, ug/cm2.
    bloom : float
        Day of full bloom if petals cover the crop, else a day that never comes.
    """

    emergence: float
    green_up: float
    senescence: float
    harvest: float
    ploughing: float
    growth: float
    ripening: float
    winter_lai: float
    peak_lai: float
    chlorophyll: float
    bloom: float = 9999.0


CROPS: dict[str, Crop] = {
    "winter_wheat": Crop(-55, 98, 188, 208, 252, 11, 5, 0.7, 5.1, 48),
    "winter_barley": Crop(-75, 88, 169, 187, 240, 10, 5, 0.9, 5.0, 45),
    "rapeseed": Crop(-115, 84, 183, 200, 236, 9, 6, 1.5, 4.8, 50, 121),
    "maize": Crop(132, 180, 263, 280, 315, 9, 8, 0.0, 4.9, 47),
    "sugar_beet": Crop(112, 167, 335, 312, 325, 10, 22, 0.0, 4.6, 44),
    "potato": Crop(139, 168, 244, 267, 285, 7, 8, 0.0, 5.2, 42),
}

_TABLE: Float64 = np.array([astuple(crop) for crop in CROPS.values()], dtype="float64")
_DAYS_OF_RAIN = 45


def days_and_years(times: NDArray[np.datetime64]) -> tuple[NDArray[np.int64], Float64, Float64]:
    """Year, day of the year from 0, and days since 1970 of each date."""
    nanoseconds = times.astype("datetime64[ns]")
    years = nanoseconds.astype("datetime64[Y]")
    day = np.timedelta64(1, "D")
    return years.astype(np.int64) + 1970, (nanoseconds - years) / day, (nanoseconds - np.datetime64(0, "ns")) / day


def rain_wetness(days: Float64, seed: int) -> Float64:
    """What the rains of the last weeks leave in the topsoil, 0 (dry) to 1; the same over the whole scene."""
    return np.array([_wetness(float(day), np.uint64(seed)) for day in days])


@njit(nogil=True, cache=True)
def _wetness(day: float, seed: np.uint64) -> float:
    key = stream(seed, 90)
    today = math.floor(day)
    summer = 0.5 - 0.5 * math.cos(2.0 * math.pi * (day / 365.2425 - 0.04))
    memory = 9.0 - 6.5 * summer
    total = 0.0
    for rain_day in range(today - _DAYS_OF_RAIN, today + 1):
        draw = unit(hash_cell(rain_day, 0, key))
        if draw < 0.32:
            amount = -0.25 * math.log(max(unit(hash_cell(rain_day, 1, key)), 1e-6))
            total += amount * math.exp(-max(day - rain_day - 0.3, 0.0) / memory)
    return 1.0 - math.exp(-total)


@njit(nogil=True, cache=True)
def canopy(cover: int, field: np.uint64, year: int, day: float) -> tuple[float, float, float, float]:
    """Green and dead leaf area index, chlorophyll of green leaves in ug/cm2, and share of bloom.

    ``cover`` below ``CROP`` is a code of :mod:`xrs.scenes.cover`; anything from it on is arable land, whose
    crop follows from field and year.
    """
    if cover == TRACK:
        return 0.25 * _season(day, 95.0, 12.0, 305.0, 14.0), 0.2, 40.0, 0.0
    if cover == GRASS:
        return _grass(field, year, day)
    if cover == GARDEN:
        return 1.0 + 1.8 * _season(day, 95.0, 12.0, 305.0, 14.0), 0.35, 40.0, 0.0
    if cover == DECIDUOUS:
        return _deciduous(field, day)
    if cover == EVERGREEN:
        return 3.1 + 0.6 * _season(day, 140.0, 12.0, 310.0, 20.0), 0.35, 46.0, 0.0
    return _arable(field, year, day)


@njit(nogil=True, cache=True)
def _logistic(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


@njit(nogil=True, cache=True)
def _season(day: float, start: float, rise: float, end: float, fall: float) -> float:
    return _logistic((day - start) / rise) * _logistic((end - day) / fall)


@njit(nogil=True, cache=True)
def _grass(field: np.uint64, year: int, day: float) -> tuple[float, float, float, float]:
    use = unit(hash_cell(1, 1, field))
    green = 1.1 + 2.9 * _season(day, 96.0 + 14.0 * (use - 0.5), 10.0, 302.0, 14.0)
    if use < 0.4:  # pasture: grazed, never cut
        return 0.7 * green, 0.35, 30.0 + 25.0 * use, 0.0
    dead = 0.3
    for cut in range(4):
        age = day - (140.0 + 46.0 * cut + 36.0 * (unit(hash_cell(year, cut, field)) - 0.5))
        if age >= 0.0:
            green *= 1.0 - 0.87 * math.exp(-age / 13.0)
            dead += 0.6 * math.exp(-age / 8.0)
    return green, dead, 28.0 + 24.0 * use, 0.0


@njit(nogil=True, cache=True)
def _deciduous(field: np.uint64, day: float) -> tuple[float, float, float, float]:
    late = 14.0 * (unit(hash_cell(2, 2, field)) - 0.5)
    leaves = _logistic((day - 113.0 - late) / 4.5) * _logistic((306.0 + late - day) / 5.0)
    turning = _logistic((day - 288.0 - late) / 6.0)
    floor = 0.3 + 0.3 * _season(day, 85.0, 10.0, 320.0, 12.0)
    # Leaves on the ground and twigs: what a bare wood shows.
    return (
        floor + 4.7 * leaves * (1.0 - 0.55 * turning),
        0.9 + 2.0 * leaves * turning,
        46.0 * (1.0 - 0.7 * turning),
        0.0,
    )


@njit(nogil=True, cache=True)
def _arable(field: np.uint64, year: int, day: float) -> tuple[float, float, float, float]:
    """The crop of this year's harvest, what last year's left, and what was sown for next year's."""
    green, dead, chlorophyll, bloom = _crop(field, year, day)
    if day < 90.0:
        last = _crop(field, year - 1, day + 365.0)
        green, dead = green + last[0], dead + last[1]
    if day > 220.0:
        following = _crop(field, year + 1, day - 365.0)
        if following[0] > green:
            chlorophyll = following[2]
        green, dead = green + following[0], dead + following[1]
    return green, dead, chlorophyll, bloom


@njit(nogil=True, cache=True)
def _crop(field: np.uint64, year: int, day: float) -> tuple[float, float, float, float]:
    """Leaf area that one harvest year's crop shows on a day counted from its 1 January."""
    c = _TABLE[crop_of(field, year)]
    emergence, green_up, senescence, harvest, ploughing = c[0], c[1], c[2], c[3], c[4]
    growth, ripening, winter, peak = c[5], c[6], c[7], c[8]
    shift = 20.0 * (unit(hash_cell(year, 21, field)) - 0.5)
    fertile = 0.82 + 0.36 * unit(hash_cell(year, 22, field))
    d = day - shift
    chlorophyll = c[9] * (0.6 + 0.4 * fertile)
    if d < emergence:
        return 0.0, 0.0, chlorophyll, 0.0
    if d < harvest:
        start = winter * (1.0 - math.exp(-(d - emergence) / 35.0))
        # Subtracting its value at emergence keeps the rise from jumping.
        rise = _logistic((d - green_up) / growth) - _logistic((emergence - green_up) / growth)
        full = fertile * (start + (peak - winter) * rise)
        alive = _logistic((senescence - d) / ripening)
        bloom = math.exp(-0.5 * ((d - c[10]) / 8.0) ** 2)
        return full * alive, 0.75 * full * (1.0 - alive), chlorophyll, bloom
    return _after_harvest(field, year, d, harvest, ploughing)


@njit(nogil=True, cache=True)
def _after_harvest(
    field: np.uint64, year: int, d: float, harvest: float, ploughing: float
) -> tuple[float, float, float, float]:
    """Stubble with volunteers until it is ploughed; then bare soil or a cover crop that frost kills."""
    if d < ploughing:
        age = d - harvest
        return 0.25 * (1.0 - math.exp(-age / 25.0)), 0.25 + 0.75 * math.exp(-age / 25.0), 38.0, 0.0
    summer_follows = _TABLE[crop_of(field, year + 1), 0] > 0.0
    if not summer_follows or ploughing > 270.0 or unit(hash_cell(year, 23, field)) < 0.3:
        return 0.0, 0.1 * math.exp(-(d - ploughing) / 25.0), 40.0, 0.0
    rise = _logistic((d - ploughing - 28.0) / 6.0)
    alive = _logistic((375.0 - d) / 9.0)
    standing = _logistic((418.0 - d) / 4.0)
    return 2.6 * rise * alive, 1.1 * rise * (1.0 - alive) * standing, 40.0, 0.0
