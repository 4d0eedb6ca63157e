"""What does not change with time: land cover, fields, soils and texture at any point of the world.

Fields are parcels of rotated blocks within Voronoi districts; woods follow noise or parcels; rivers and
highways are swaying lines; towns are street grids with houses. All is asked for by
coordinates in metres and a seed.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xrs.kernels.types import Float32, Float64
from xrs.scenes.cover import CROP, DECIDUOUS, EVERGREEN, GRASS, PAVED, ROOF, TRACK, WATER, crop_of
from xrs.scenes.noise import cell_edge, fbm, hash_cell, hash_pair, nearest_site, stream, unit
from xrs.scenes.town import crown_light, town_at

__all__ = ["Ground", "harvested", "survey"]

_DISTRICT = 1000.0
_LAKES = 5200.0
_TOWNS = 3900.0
_ASPHALT, _WORN = 5, 6


class Ground(NamedTuple):
    """Maps (y, x) of one tile.

    Attributes
    ----------
    cover : uint8
        Code of :mod:`xrs.scenes.cover`; all crops are ``CROP``.
    field : uint64
        Random key of the parcel or stand.
    quality : float32
        Vigour of vegetation (1 is usual), brightness of materials, turbidity of water.
    light : float32
        Share of light that texture and shadows leave.
    soil : float32, (4, y, x)
        Brightness, iron, clay and standing wetness; for roofs and roads the first is the row of the material.
    """

    cover: NDArray[np.uint8]
    field: NDArray[np.uint64]
    quality: Float32
    light: Float32
    soil: Float32


def survey(x: Float64, y: Float64, seed: int) -> Ground:
    """Describe the ground at the crossings of columns ``x`` and rows ``y`` (metres)."""
    # Rounded to millimetres: windows of one grid reach the same centre by different sums.
    columns, rows = np.round(x, 3), np.round(y, 3)
    shape = (rows.size, columns.size)
    ground = Ground(
        np.empty(shape, np.uint8),
        np.empty(shape, np.uint64),
        np.empty(shape, np.float32),
        np.empty(shape, np.float32),
        np.empty((4, *shape), np.float32),
    )
    _survey(columns, rows, np.uint64(seed), *ground)
    return ground


@njit(nogil=True, cache=True)
def harvested(cover: NDArray[np.uint8], field: NDArray[np.uint64], year: int) -> NDArray[np.uint8]:
    """The land cover with arable land told apart by the crop harvested in a year."""
    out = cover.copy()
    for i in range(cover.shape[0]):
        for j in range(cover.shape[1]):
            if cover[i, j] == CROP:
                out[i, j] = CROP + crop_of(field[i, j], year)
    return out


@njit(nogil=True, cache=True)
def _survey(
    columns: Float64,
    rows: Float64,
    seed: np.uint64,
    cover: NDArray[np.uint8],
    field: NDArray[np.uint64],
    quality: Float32,
    light: Float32,
    soil: Float32,
) -> None:
    for i in range(rows.size):
        for j in range(columns.size):
            x, y = columns[j], rows[i]
            kind, parcel, value, lit, material = _point(x, y, seed)
            cover[i, j], field[i, j], quality[i, j], light[i, j] = kind, parcel, value, lit
            if kind in (ROOF, PAVED):
                soil[0, i, j], soil[1, i, j], soil[2, i, j], soil[3, i, j] = material, 0.0, 0.0, 0.0
            else:
                soil[0, i, j], soil[1, i, j], soil[2, i, j], soil[3, i, j] = _soil(x, y, parcel, seed)


@njit(nogil=True, cache=True)
def _soil(x: float, y: float, parcel: np.uint64, seed: np.uint64) -> tuple[float, float, float, float]:
    broad = fbm(x, y, 4200.0, 4, stream(seed, 1))
    local = fbm(x, y, 160.0, 3, stream(seed, 2))
    damp = fbm(x, y, 800.0, 4, stream(seed, 3))
    tilth = unit(hash_cell(3, 3, parcel)) - 0.5
    brightness = 0.80 + 0.13 * broad + 0.05 * local + 0.16 * tilth
    iron = 0.75 + 0.45 * fbm(x, y, 6100.0, 3, stream(seed, 4))
    wetness = 0.22 + 0.17 * damp + 0.05 * local
    return max(brightness, 0.45), min(max(iron, 0.0), 1.6), min(max(0.7 - 0.4 * broad, 0.0), 1.6), max(wetness, 0.0)


@njit(nogil=True, cache=True)
def _point(x: float, y: float, seed: np.uint64) -> tuple[int, np.uint64, float, float, int]:
    """Cover, parcel, quality, light and material: the first that claims the point has it."""
    highway = _line_distance(x, y, 9000.0, 600.0, 2, stream(seed, 10))
    if highway < 8.0:
        return PAVED, seed, 1.0, 1.0, _ASPHALT
    if highway < 14.0:
        return GRASS, seed, 0.8, 1.0, 0
    shore = min(_river(x, y, seed), _lake(x, y, seed))
    if shore < 0.0:
        return WATER, seed, _turbidity(x, y, seed), 1.0, 0
    if shore < 26.0 and fbm(x, y, 140.0, 2, stream(seed, 15)) > -0.25:
        return DECIDUOUS, seed, 1.0, crown_light(x, y, 7.0, stream(seed, 40)), 0
    town = _settlement(x, y, _TOWNS, 190.0, 520.0, 0.75, stream(seed, 16))
    if town[0] < 0.0:
        return town_at(x, y, town[1], town[0], stream(seed, 17))
    return _countryside(x, y, shore, seed)


@njit(nogil=True, cache=True)
def _course(x: float, y: float, spacing: float, sway: float, octaves: int, key: np.uint64) -> float:
    """Which of the swaying parallel lines a point lies on, as a real number; lines are the integers."""
    angle = math.pi * unit(hash_cell(0, 0, key))
    across = math.cos(angle) * y - math.sin(angle) * x + sway * fbm(x, y, 4.0 * sway, octaves, key)
    return across / spacing + unit(hash_cell(0, 1, key))


@njit(nogil=True, cache=True)
def _line_distance(x: float, y: float, spacing: float, sway: float, octaves: int, key: np.uint64) -> float:
    """Distance in metres to the nearest of swaying parallel lines; 1e6 where it is far."""
    at = _course(x, y, spacing, sway, octaves, key)
    off = at - math.floor(at + 0.5)
    if abs(off) > 0.12:
        return 1e6
    dx = _course(x + 8.0, y, spacing, sway, octaves, key) - at
    dy = _course(x, y + 8.0, spacing, sway, octaves, key) - at
    return abs(off) * 8.0 / (math.sqrt(dx * dx + dy * dy) + 1e-9)


@njit(nogil=True, cache=True)
def _river(x: float, y: float, seed: np.uint64) -> float:
    """Distance to the river's bank, negative in the water."""
    distance = _line_distance(x, y, 7000.0, 850.0, 4, stream(seed, 11))
    if distance > 300.0:
        return 1e6
    return distance - (26.0 + 7.0 * fbm(x, y, 1500.0, 1, stream(seed, 12)))


@njit(nogil=True, cache=True)
def _lake(x: float, y: float, seed: np.uint64) -> float:
    return _settlement(x, y, _LAKES, 110.0, 380.0, 0.6, stream(seed, 13))[0]


@njit(nogil=True, cache=True)
def _settlement(
    x: float, y: float, spacing: float, least: float, most: float, share: float, key: np.uint64
) -> tuple[float, np.uint64]:
    """Distance to the edge of the nearest of scattered blobs (negative inside), and that blob's key."""
    i, j, dx, dy = nearest_site(x / spacing, y / spacing, key)
    blob = hash_cell(i, j, key + np.uint64(1))
    if unit(blob) > share:
        return 1e6, blob
    radius = least + (most - least) * unit(hash_cell(1, 0, blob)) ** 2
    distance = spacing * math.sqrt(dx * dx + dy * dy)
    if distance > 2.5 * radius:
        return 1e6, blob
    return distance - radius * (1.0 + 0.33 * fbm(x, y, 1.5 * radius, 2, blob)), blob


@njit(nogil=True, cache=True)
def _turbidity(x: float, y: float, seed: np.uint64) -> float:
    return math.exp(0.9 + 0.38 * fbm(x, y, 1800.0, 3, stream(seed, 14)))


@njit(nogil=True, cache=True)
def _countryside(x: float, y: float, shore: float, seed: np.uint64) -> tuple[int, np.uint64, float, float, int]:
    woodland = fbm(x, y, 3300.0, 4, stream(seed, 20))
    if woodland > 1.17:
        i, j, _, _ = nearest_site(x / 420.0, y / 420.0, stream(seed, 21))
        return _wood(x, y, hash_cell(i, j, stream(seed, 22)), seed)
    key = stream(seed, 23)
    # Old boundaries bend with the land.
    u = x + 38.0 * fbm(x, y, 900.0, 1, stream(seed, 24))
    v = y + 38.0 * fbm(x, y, 900.0, 1, stream(seed, 25))
    i, j, dx, dy = nearest_site(u / _DISTRICT, v / _DISTRICT, key)
    district = hash_cell(i, j, stream(seed, 26))
    edge, beyond = cell_edge(i, j, dx, dy, key)
    edge *= _DISTRICT
    if edge < 6.0:
        return _boundary_line(x, y, edge, unit(hash_pair(hash_cell(i, j, key), beyond)), district, seed)
    farm = _farm(x, y, dx * _DISTRICT, dy * _DISTRICT, district)
    if farm < 0.0:
        return town_at(x, y, district, farm, stream(seed, 27))
    return _parcel(x, y, dx * _DISTRICT, dy * _DISTRICT, shore, district, seed)


@njit(nogil=True, cache=True)
def _boundary_line(
    x: float, y: float, edge: float, kind: float, district: np.uint64, seed: np.uint64
) -> tuple[int, np.uint64, float, float, int]:
    """A road, a track or a hedge between two districts, by ``kind`` from 0 to 1; grass beside it."""
    if kind < 0.45 and edge < 4.5:
        return PAVED, seed, 1.0, 1.0, _WORN
    if kind > 0.7:
        return DECIDUOUS, district, 0.95, crown_light(x, y, 6.0, stream(seed, 40)), 0
    if kind >= 0.45 and edge < 2.5:
        return TRACK, district, 1.0, 1.0, 0
    return GRASS, seed, 0.8, 1.0, 0


@njit(nogil=True, cache=True)
def _farm(x: float, y: float, dx: float, dy: float, district: np.uint64) -> float:
    if unit(hash_cell(5, 0, district)) > 0.4:
        return 1.0
    ox = 500.0 * (unit(hash_cell(5, 1, district)) - 0.5)
    oy = 500.0 * (unit(hash_cell(5, 2, district)) - 0.5)
    return math.hypot(dx - ox, dy - oy) - 55.0 - 12.0 * fbm(x, y, 60.0, 1, district)


@njit(nogil=True, cache=True)
def _parcel(
    x: float, y: float, dx: float, dy: float, shore: float, district: np.uint64, seed: np.uint64
) -> tuple[int, np.uint64, float, float, int]:
    """Rows of parcels, turned with the district; boundaries within a row lie at random."""
    angle = math.pi * unit(hash_cell(0, 0, district))
    c, s = math.cos(angle), math.sin(angle)
    u, v = c * dx + s * dy, c * dy - s * dx
    length = 190.0 + 220.0 * unit(hash_cell(0, 1, district))
    width = 75.0 + 130.0 * unit(hash_cell(0, 2, district))
    row = math.floor(v / length)
    column, left, right = _between(u, width, row, district)
    parcel = hash_cell(row, column, district)
    across = min(u - left, right - u)
    along = min(v - row * length, (row + 1) * length - v)
    if min(across, along) < 1.8:
        return GRASS, seed, 0.75, 1.0, 0
    pu, pv = 0.5 * (left + right), (row + 0.5) * length
    px, py = x - dx + c * pu - s * pv, y - dy + s * pu + c * pv
    trees = fbm(px, py, 3300.0, 4, stream(seed, 20))
    if trees > 0.94 or unit(hash_cell(1, 5, parcel)) < 0.05:
        return _wood(x, y, parcel, seed)
    low = fbm(px, py, 1700.0, 3, stream(seed, 28)) + max(0.0, 1.5 - shore / 120.0)
    if low > 0.88 or unit(hash_cell(1, 6, parcel)) < 0.1:
        return GRASS, parcel, _vigour(x, y, parcel, 0.10, seed), 1.0, 0
    vigour = _vigour(x, y, parcel, 0.13, seed)
    if along < 14.0:
        vigour *= 0.9  # the headland, where machines turn
    elif (u - left) % 24.0 < 1.0:
        vigour *= 0.8  # a tramline
    return CROP, parcel, vigour, 1.0, 0


@njit(nogil=True, cache=True)
def _between(u: float, width: float, row: int, district: np.uint64) -> tuple[int, float, float]:
    """The parcel of a row at ``u`` and its two sides."""
    nearest = math.floor(u / width + 0.5)
    at = _boundary(nearest, width, row, district)
    if u < at:
        return nearest - 1, _boundary(nearest - 1, width, row, district), at
    return nearest, at, _boundary(nearest + 1, width, row, district)


@njit(nogil=True, cache=True)
def _boundary(column: int, width: float, row: int, district: np.uint64) -> float:
    return width * (column + 0.7 * (unit(hash_cell(column, row, district + np.uint64(9))) - 0.5))


@njit(nogil=True, cache=True)
def _vigour(x: float, y: float, parcel: np.uint64, spread: float, seed: np.uint64) -> float:
    patches = fbm(x, y, 110.0, 4, stream(seed, 30))
    broad = fbm(x, y, 600.0, 2, stream(seed, 31))
    field = unit(hash_cell(4, 4, parcel)) - 0.5
    return min(max(1.0 + spread * patches + 0.08 * broad + 0.2 * field, 0.35), 1.3)


@njit(nogil=True, cache=True)
def _wood(x: float, y: float, stand: np.uint64, seed: np.uint64) -> tuple[int, np.uint64, float, float, int]:
    vigour = 1.0 + 0.12 * fbm(x, y, 70.0, 3, stream(seed, 32)) + 0.3 * (unit(hash_cell(4, 4, stand)) - 0.5)
    if fbm(x, y, 2300.0, 2, stream(seed, 33)) + 1.6 * (unit(hash_cell(1, 7, stand)) - 0.5) > 0.25:
        return EVERGREEN, stand, vigour, crown_light(x, y, 5.0, stream(seed, 41)), 0
    return DECIDUOUS, stand, vigour, crown_light(x, y, 8.0, stream(seed, 40)), 0
