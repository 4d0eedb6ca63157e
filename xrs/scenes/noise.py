"""Noise as a pure function of world coordinates: hashed lattices, gradient noise, jittered cells.

Nothing is drawn from a generator's stream, so any point can be asked for at any time and in any order.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

__all__ = ["cell_edge", "fbm", "gradient_noise", "hash_cell", "hash_pair", "nearest_site", "stream", "unit"]

_ROW = np.uint64(0x9E3779B97F4A7C15)
_COLUMN = np.uint64(0xC2B2AE3D27D4EB4F)
_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31, _S32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_TO_UNIT = 1.0 / 4294967296.0

#: Scales gradient noise with uniform gradients to unit variance (found by sampling).
_TO_STD = 13.47
#: How far, in cells, a site may lie from its cell's centre; below 0.3 the nearest site is among 3 by 3 cells.
_JITTER = 0.58


@njit(nogil=True, cache=True)
def _mix(h: np.uint64) -> np.uint64:
    """The finaliser of SplitMix64 (Steele et al. 2014, 10.1145/2714064.2660195)."""
    h = (h ^ (h >> _S30)) * _M1
    h = (h ^ (h >> _S27)) * _M2
    return h ^ (h >> _S31)


@njit(nogil=True, cache=True)
def stream(seed: np.uint64, salt: int) -> np.uint64:
    """A key for one independent field of noise."""
    return _mix(np.uint64(seed) + _ROW * np.uint64(salt + 1))


@njit(nogil=True, cache=True)
def hash_cell(i: int, j: int, key: np.uint64) -> np.uint64:
    """64 random bits of a lattice cell."""
    return _mix(key + np.uint64(i) * _ROW + np.uint64(j) * _COLUMN)


@njit(nogil=True, cache=True)
def hash_pair(one: np.uint64, other: np.uint64) -> np.uint64:
    """64 random bits of two cells, whichever comes first."""
    return _mix(one ^ other)


@njit(nogil=True, cache=True)
def unit(h: np.uint64) -> float:
    """The upper 32 bits as a number in [0, 1)."""
    return float(h >> _S32) * _TO_UNIT


@njit(nogil=True, cache=True)
def _slope(h: np.uint64, dx: float, dy: float) -> float:
    return (float(h >> _S32) * _TO_UNIT - 0.5) * dx + (float(h & _LOW) * _TO_UNIT - 0.5) * dy


@njit(nogil=True, cache=True)
def gradient_noise(x: float, y: float, key: np.uint64) -> float:
    """Perlin's gradient noise (2002, 10.1145/566570.566636) on the unit lattice: mean 0, variance 1."""
    fi, fj = math.floor(x), math.floor(y)
    i, j = int(fi), int(fj)
    dx, dy = x - fi, y - fj
    wx = dx * dx * dx * (dx * (dx * 6.0 - 15.0) + 10.0)
    wy = dy * dy * dy * (dy * (dy * 6.0 - 15.0) + 10.0)
    top = _slope(hash_cell(i, j, key), dx, dy)
    top += wx * (_slope(hash_cell(i + 1, j, key), dx - 1.0, dy) - top)
    low = _slope(hash_cell(i, j + 1, key), dx, dy - 1.0)
    low += wx * (_slope(hash_cell(i + 1, j + 1, key), dx - 1.0, dy - 1.0) - low)
    return _TO_STD * (top + wy * (low - top))


@njit(nogil=True, cache=True)
def fbm(x: float, y: float, size: float, octaves: int, key: np.uint64) -> float:
    """Fractional Brownian motion: octaves of gradient noise from ``size`` metres down; variance 1."""
    total, power, gain = 0.0, 0.0, 1.0
    u, v = x / size, y / size
    for octave in range(octaves):
        total += gain * gradient_noise(u, v, key + np.uint64(octave))
        power += gain * gain
        gain *= 0.5
        # Turned by 37 degrees at each octave, so that the lattices do not line up.
        u, v = 2.0 * (0.8 * u - 0.6 * v), 2.0 * (0.6 * u + 0.8 * v)
    return total / math.sqrt(power)


@njit(nogil=True, cache=True)
def _site(i: int, j: int, key: np.uint64) -> tuple[float, float]:
    h = hash_cell(i, j, key)
    return (
        i + 0.5 + _JITTER * (float(h >> _S32) * _TO_UNIT - 0.5),
        j + 0.5 + _JITTER * (float(h & _LOW) * _TO_UNIT - 0.5),
    )


@njit(nogil=True, cache=True)
def nearest_site(x: float, y: float, key: np.uint64) -> tuple[int, int, float, float]:
    """The cell of the jittered unit lattice whose site is nearest, and the offset from that site."""
    ci, cj = math.floor(x), math.floor(y)
    best, bi, bj, bx, by = 1e9, ci, cj, 0.0, 0.0
    for i in range(ci - 1, ci + 2):
        for j in range(cj - 1, cj + 2):
            sx, sy = _site(i, j, key)
            dx, dy = x - sx, y - sy
            d = dx * dx + dy * dy
            if d < best:
                best, bi, bj, bx, by = d, i, j, dx, dy
    return bi, bj, bx, by


@njit(nogil=True, cache=True)
def cell_edge(i: int, j: int, dx: float, dy: float, key: np.uint64) -> tuple[float, np.uint64]:
    """Distance to the nearest side of the Voronoi cell of site (i, j), and the hash of the cell beyond.

    ``dx`` and ``dy`` are the point's offset from the site, as :func:`nearest_site` tells them.
    """
    sx, sy = _site(i, j, key)
    best = 1e9
    beyond = key
    for k in range(i - 1, i + 2):
        for m in range(j - 1, j + 2):
            if k == i and m == j:
                continue
            ox, oy = _site(k, m, key)
            vx, vy = ox - sx, oy - sy
            length = math.sqrt(vx * vx + vy * vy)
            d = 0.5 * length - (dx * vx + dy * vy) / length
            if d < best:
                best = d
                beyond = hash_cell(k, m, key)
    return best, beyond
