"""Streets, houses, gardens and trees, down to single roofs and crowns, with the shadows they throw.

The sun stands in the south-south-east, as at the passes of mid-morning satellites.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from xrs.scenes.cover import DECIDUOUS, GARDEN, PAVED, ROOF
from xrs.scenes.noise import fbm, gradient_noise, hash_cell, nearest_site, unit

__all__ = ["crown_light", "town_at"]

#: Unit vector towards the sun (azimuth 155 degrees): x east, y north.
_SUN_X, _SUN_Y = 0.42, -0.91
_SHADE = 0.32


@njit(nogil=True, cache=True)
def crown_light(x: float, y: float, size: float, key: np.uint64) -> float:
    """Light on a canopy of crowns ``size`` metres wide: a bright side, a dark one, gaps between."""
    # Bent, so that rows of crowns and of pixels do not beat.
    u = x + 14.0 * gradient_noise(x / 90.0, y / 90.0, key + np.uint64(5))
    v = y + 14.0 * gradient_noise(x / 90.0, y / 90.0, key + np.uint64(6))
    i, j, dx, dy = nearest_site(u / size, v / size, key)
    tall = 0.88 + 0.24 * unit(hash_cell(i, j, key + np.uint64(1)))
    facing = dx * _SUN_X + dy * _SUN_Y
    gap = max(0.0, math.sqrt(dx * dx + dy * dy) - 0.42)
    return min(max(tall * (1.0 + 0.32 * facing) - 0.8 * gap, 0.45), 1.2)


@njit(nogil=True, cache=True)
def town_at(
    x: float, y: float, town: np.uint64, inside: float, key: np.uint64
) -> tuple[int, np.uint64, float, float, int]:
    """Cover, parcel, quality, light and material at a point ``-inside`` metres within a town."""
    angle = math.pi * unit(hash_cell(6, 0, town))
    c, s = math.cos(angle), math.sin(angle)
    u, v = c * x + s * y, c * y - s * x
    bend = 12.0 * fbm(u, v, 260.0, 1, town)
    u, v = u + bend, v - bend
    block_u, block_v = 84.0, 126.0
    a, b = math.floor(u / block_u), math.floor(v / block_v)
    du, dv = u - a * block_u, v - b * block_v
    street = min(du, block_u - du, dv, block_v - dv)
    block = hash_cell(a, b, town)
    if street < 4.0:
        return PAVED, block, 1.0, 1.0, 5
    if street < 5.5:
        return PAVED, block, 0.9, 1.0, 2
    draw = unit(block)
    if draw < 0.08:
        return _greenery(x, y, 0.55, block, key)
    # The sun's direction in the turned frame, for shadows.
    sun_u, sun_v = c * _SUN_X + s * _SUN_Y, c * _SUN_Y - s * _SUN_X
    if draw < 0.2 and inside > -260.0:
        return _plot(x, y, du - 5.5, dv - 5.5, sun_u, sun_v, 36.5, 57.5, 12.0, block, key)
    return _plot(x, y, du - 5.5, dv - 5.5, sun_u, sun_v, 18.25, 23.0, 8.0, block, key)


@njit(nogil=True, cache=True)
def _plot(
    x: float,
    y: float,
    u: float,
    v: float,
    sun_u: float,
    sun_v: float,
    plot_u: float,
    plot_v: float,
    height: float,
    block: np.uint64,
    key: np.uint64,
) -> tuple[int, np.uint64, float, float, int]:
    a, b = math.floor(u / plot_u), math.floor(v / plot_v)
    plot = hash_cell(a, b, block)
    du, dv = u - (a + 0.5) * plot_u, v - (b + 0.5) * plot_v
    half_u = plot_u * (0.24 + 0.16 * unit(hash_cell(0, 1, plot)))
    half_v = plot_v * (0.20 + 0.14 * unit(hash_cell(0, 2, plot)))
    built = unit(plot) < 0.88
    if built and abs(du) < half_u and abs(dv) < half_v:
        return ROOF, plot, *_roof(du, dv, sun_u, sun_v, height, plot)
    shaded = False
    for step in range(1, 4):
        reach = 0.3 * step * height
        shaded |= abs(du + reach * sun_u) < half_u and abs(dv + reach * sun_v) < half_v
    kind, parcel, quality, light, material = _greenery(x, y, 0.35 if height < 10.0 else 0.05, plot, key)
    yard = 0.25 if height < 10.0 else 0.85
    if kind == GARDEN and unit(hash_cell(0, 4, plot)) < yard:
        kind, quality, material = PAVED, 0.9, 2 if unit(hash_cell(0, 5, plot)) < 0.5 else 6
    return kind, parcel, quality, _SHADE if built and shaded else light, material


@njit(nogil=True, cache=True)
def _roof(du: float, dv: float, sun_u: float, sun_v: float, height: float, plot: np.uint64) -> tuple[float, float, int]:
    """Brightness, light and material: gable roofs on houses, flat ones on halls."""
    draw = unit(hash_cell(0, 3, plot))
    brightness = 0.8 + 0.4 * unit(hash_cell(0, 6, plot))
    if height >= 10.0:
        material = 3 if draw < 0.45 else 4 if draw < 0.6 else 1 if draw < 0.85 else 2
        return brightness, 1.0, material
    material = 0 if draw < 0.58 else 1 if draw < 0.88 else 2
    along_u = unit(hash_cell(0, 7, plot)) < 0.5
    slope = math.copysign(1.0, dv) * sun_v if along_u else math.copysign(1.0, du) * sun_u
    return brightness, 1.0 + 0.28 * slope, material


@njit(nogil=True, cache=True)
def _greenery(
    x: float, y: float, trees: float, parcel: np.uint64, key: np.uint64
) -> tuple[int, np.uint64, float, float, int]:
    """Lawn with single trees; ``trees`` is their share."""
    i, j, _, _ = nearest_site(x / 7.0, y / 7.0, key)
    if unit(hash_cell(i, j, key + np.uint64(3))) < trees:
        return DECIDUOUS, parcel, 0.9, crown_light(x, y, 7.0, key), 0
    return GARDEN, parcel, 0.75 + 0.4 * unit(hash_cell(3, 1, parcel)), 1.0, 0
