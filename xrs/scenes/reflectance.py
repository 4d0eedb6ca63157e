"""From ground and date to reflectance: leaves, canopies over soil, waters, roofs and roads.

Each pixel and wavelength is computed afresh from a handful of parameters, so nothing is stored and any
subset of wavelengths costs in proportion.

- Leaf: spectral invariants, Lewis & Disney (2007, 10.1016/j.rse.2006.12.015): of the light that enters, a share
  ``p`` meets the leaf's inside again, so ``W = (1 - p) a / (1 - p a)`` with ``a = exp(-absorption)``.
- Canopy: Goudriaan's two-stream solution over soil as in Campbell & Norman (1998, 10.1007/978-1-4612-1626-1,
  eqs. 15.7 to 15.9). Needles clump into shoots, with the same recollision formula
  (Rautiainen & Stenberg 2005, Remote Sensing of Environment 96, 98-107).
- Soil: brightness, iron and clay; moisture mixes towards a wet spectrum (Lobell & Asner 2002, 10.2136/sssaj2002.7220).
- Water: Gordon et al. (1988, 10.1029/JD093iD09p10909) below the surface, Lee et al. (2002,
  10.1364/AO.41.005755) above it, from absorption and backscatter.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xrs.kernels.types import Float32, Float64
from xrs.scenes.cover import EVERGREEN, PAVED, ROOF, WATER
from xrs.scenes.ground import Ground
from xrs.scenes.optics import Optics
from xrs.scenes.phenology import canopy

__all__ = ["reflect", "vegetation"]

# Of a leaf: recollision inside it, and what never meets a pigment; together they give the R + T of about 0.1
# in the red, 0.3 in the green and 0.95 in the near infrared that green leaves are known for.
_LEAF_P, _SURFACE = np.float32(0.80), np.float32(0.10)
_SHOOT_P = np.float32(0.38)
# Extinction for beam and for diffuse light; the first makes Goudriaan's factor 2 K / (K + 1).
_BEAM, _EXTINCTION = np.float32(2 * 0.6 / 1.6), np.float32(0.68)
_WATER_THICKNESS, _DRY_MATTER = np.float32(0.013), np.float32(0.0065)
_ONE, _TWO, _ZERO = np.float32(1.0), np.float32(2.0), np.float32(0.0)
_GLINT = np.float32(0.004)


def reflect(ground: Ground, years: NDArray[np.int64], days: Float64, rain: Float64, tables: Optics) -> Float32:
    """Surface reflectance (time, band, y, x) of a tile.

    Parameters
    ----------
    ground : Ground
    years, days : ndarray (time,)
        Year, and day of the year from 0.
    rain : ndarray (time,)
        Wetness of the topsoil, 0 to 1.
    tables : Optics
    """
    out = np.empty((years.size, tables.leaf.shape[1], *ground.cover.shape), np.float32)
    state = np.empty((_STATES, ground.cover.shape[1]), np.float32)
    for t in range(years.size):
        _image(ground, int(years[t]), float(days[t]), float(rain[t]), tables, state, out[t])
    return out


def vegetation(ground: Ground, years: NDArray[np.int64], days: Float64) -> Float32:
    """Green leaf area index and chlorophyll of leaves in ug/cm2: (time, 2, y, x); zero where nothing grows."""
    out = np.empty((years.size, 2, *ground.cover.shape), np.float32)
    state = np.empty((_STATES, ground.cover.shape[1]), np.float32)
    for t in range(years.size):
        _growth(ground, int(years[t]), float(days[t]), state, out[t])
    return out


#: Rows of the state of a line of pixels: leaf area; the leaf's chlorophyll, carotenoid, water and brown pigment; bloom;
#: moisture of the soil.
_STATES = 8


@njit(nogil=True, cache=True, error_model="numpy")
def _row_state(ground: Ground, i: int, year: int, day: float, rain: float, state: Float32) -> None:
    last_cover, last_field = -1, np.uint64(0)
    green, dead, chlorophyll, bloom = 0.0, 0.0, 0.0, 0.0
    for j in range(ground.cover.shape[1]):
        cover, field = int(ground.cover[i, j]), ground.field[i, j]
        if cover in (WATER, ROOF, PAVED):
            state[:, j] = _ZERO
            continue
        if cover != last_cover or field != last_field:
            green, dead, chlorophyll, bloom = canopy(cover, field, year, day)
            last_cover, last_field = cover, field
        quality = ground.quality[i, j]
        alive = green * quality
        total = alive + dead
        share = alive / total if total > 0.0 else 0.0
        state[0, j] = total
        state[1, j] = chlorophyll * share * (0.55 + 0.45 * quality)
        state[2, j] = 0.2 * state[1, j] + 1.5 * share
        state[3, j] = _WATER_THICKNESS * (0.04 + 0.96 * share)
        state[4, j] = 0.85 * (1.0 - share)
        state[5, j] = bloom * quality
        state[6, j] = min(1.0, ground.soil[3, i, j] + 0.85 * rain)
        state[7, j] = alive


@njit(nogil=True, cache=True, error_model="numpy")
def _growth(ground: Ground, year: int, day: float, state: Float32, out: Float32) -> None:
    for i in range(ground.cover.shape[0]):
        _row_state(ground, i, year, day, 0.0, state)
        for j in range(ground.cover.shape[1]):
            alive, total = state[7, j], state[0, j]
            out[0, i, j] = alive
            out[1, i, j] = state[1, j] * total / alive if alive > 0.01 else 0.0


@njit(nogil=True, cache=True, error_model="numpy")
def _image(ground: Ground, year: int, day: float, rain: float, tables: Optics, state: Float32, out: Float32) -> None:
    for i in range(out.shape[1]):
        _row_state(ground, i, year, day, rain, state)
        for b in range(out.shape[0]):
            for j in range(out.shape[2]):
                cover = ground.cover[i, j]
                if cover == WATER:
                    value = _water(ground.quality[i, j], tables, b)
                elif cover in (ROOF, PAVED):
                    value = tables.materials[int(ground.soil[0, i, j]), b] * ground.quality[i, j]
                else:
                    soil = _soil(ground.soil[:, i, j], state[6, j], tables.soil, b)
                    value = _plants(state[:, j], soil, cover == EVERGREEN, tables, b)
                value *= ground.light[i, j]
                out[b, i, j] = min(max(value, _ZERO), _ONE)


@njit(nogil=True, cache=True, error_model="numpy")
def _soil(soil: Float32, moisture: np.float32, table: Float32, b: int) -> np.float32:
    dry = soil[0] * (table[0, b] - soil[1] * table[1, b] * table[0, b] - soil[2] * table[2, b])
    return dry * (_ONE - moisture * (_ONE - table[3, b]))


@njit(nogil=True, cache=True, error_model="numpy")
def _plants(state: Float32, soil: np.float32, needles: bool, tables: Optics, b: int) -> np.float32:
    leaf = tables.leaf
    depth = state[1] * leaf[0, b] + state[2] * leaf[1, b] + state[3] * leaf[2, b] + _DRY_MATTER * leaf[3, b]
    depth += state[4] * leaf[4, b]
    a = np.float32(math.exp(-depth))
    albedo = _SURFACE + (_ONE - _SURFACE) * (_ONE - _LEAF_P) * a / (_ONE - _LEAF_P * a)
    if needles:
        albedo = (_ONE - _SHOOT_P) * albedo / (_ONE - _SHOOT_P * albedo)
    root = np.float32(math.sqrt(_ONE - albedo))
    deep = _BEAM * (_ONE - root) / (_ONE + root)
    through = np.float32(math.exp(-_TWO * _EXTINCTION * root * state[0]))
    below = (deep - soil) / (deep * soil - _ONE) * through
    value = (deep + below) / (_ONE + deep * below)
    return value + state[5] * tables.petals[0, b] * (_ONE - through)


@njit(nogil=True, cache=True, error_model="numpy")
def _water(turbidity: np.float32, tables: Optics, b: int) -> np.float32:
    """``turbidity`` is suspended matter in g/m3; algae and dissolved matter go with it."""
    lake = tables.lake
    scatter = lake[3, b] + turbidity * lake[4, b]
    absorb = lake[0, b] + turbidity * lake[1, b] + np.float32(0.9) * lake[2, b]
    u = scatter / (absorb + scatter)
    below = u * (np.float32(0.0949) + np.float32(0.0794) * u)
    return np.float32(math.pi * 0.52) * below / (_ONE - np.float32(1.7) * below) + _GLINT
