"""Absorption by water and ice and what natural waters hold, from 400 to 2500 nm, and shapes to build spectra from.

- liquid water: Hale & Querry (1973, 10.1364/AO.12.000555) and Kou et al. (1993, 10.1364/AO.32.003531);
- natural waters: Pope & Fry (1997, 10.1364/AO.36.008710) and Lee et al. (2002, 10.1364/AO.41.005755);
- ice: Warren & Brandt (2008, 10.1029/2007JD009744), thinned to anchors.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from xrs.kernels.types import Float64

__all__ = ["ice_absorption", "lake", "peaks", "step", "water_absorption"]

# Absorption of pure water, 1/cm, at anchors in nm; interpolated in its logarithm.
_WATER_NM = (
    400, 420, 450, 480, 500, 530, 550, 580, 600, 620, 650, 680, 700, 720, 740, 760, 800, 820, 850, 900, 925, 950, 970,
    1000, 1050, 1070, 1100, 1130, 1150, 1200, 1260, 1300, 1350, 1400, 1430, 1450, 1480, 1530, 1600, 1660, 1700, 1780,
    1820, 1860, 1900, 1920, 1940, 1970, 2000, 2050, 2100, 2150, 2210, 2260, 2300, 2350, 2400, 2450, 2500,
)  # fmt: skip
_WATER_PER_CM = (
    6.6e-5, 4.5e-5, 9.2e-5, 1.3e-4, 2e-4, 4.3e-4, 5.7e-4, 9e-4, 2.2e-3, 2.8e-3, 3.4e-3, 4.7e-3, 6.2e-3, 0.0125, 0.0255,
    0.0265, 0.0215, 0.0275, 0.043, 0.068, 0.145, 0.38, 0.47, 0.37, 0.17, 0.155, 0.19, 0.45, 1.02, 1.25, 1.08, 1.25, 2.9,
    13.0, 26.0, 30.0, 28.5, 16.0, 7.0, 5.6, 6.0, 8.2, 8.3, 11.5, 55.0, 100.0, 120.0, 97.0, 68.0, 42.0, 27.0, 20.5, 17.0,
    19.0, 23.0, 32.0, 46.0, 66.0, 92.0,
)  # fmt: skip

# Imaginary part of ice's refractive index at anchors in nm.
_ICE_NM = (
    400, 450, 500, 550, 600, 650, 700, 750, 800, 830, 860, 900, 950, 1000, 1030, 1060, 1100, 1150, 1200, 1250, 1300,
    1350, 1400, 1430, 1460, 1493, 1527, 1563, 1613, 1650, 1700, 1760, 1830, 1860, 1890, 1923, 1961, 2000, 2041, 2083,
    2130, 2170, 2220, 2250, 2290, 2330, 2370, 2430, 2500,
)  # fmt: skip
_ICE_INDEX = (
    2.365e-11, 9.239e-11, 5.889e-10, 2.289e-9, 5.73e-9, 1.43e-8, 2.9e-8, 5.87e-8, 1.34e-7, 1.45e-7, 2.15e-7, 4.2e-7,
    6.02e-7, 1.62e-6, 2.33e-6, 1.96e-6, 1.7e-6, 2.29e-6, 6.71e-6, 1.29e-5, 1.32e-5, 1.39e-5, 1.98e-5, 1.028e-4,
    2.942e-4, 5.532e-4, 4.908e-4, 3.858e-4, 2.659e-4, 2.361e-4, 1.875e-4, 1.522e-4, 1.302e-4, 1.432e-4, 2.566e-4,
    7.06e-4, 1.442e-3, 1.64e-3, 1.458e-3, 1.023e-3, 5.255e-4, 3.235e-4, 2.228e-4, 2.035e-4, 2.538e-4, 3.858e-4,
    5.187e-4, 6.259e-4, 7.53e-4,
)  # fmt: skip


def peaks(nm: Float64, shapes: Iterable[tuple[float, float, float]]) -> Float64:
    """Sum of Gaussians, each given by height, centre and standard deviation in nm."""
    return np.asarray(sum(height * np.exp(-0.5 * ((nm - at) / width) ** 2) for height, at, width in shapes))


def step(nm: Float64, at: float | Float64, width: float | Float64) -> Float64:
    """Logistic step from 0 to 1."""
    return np.asarray(1.0 / (1.0 + np.exp(-(nm - at) / width)))


def water_absorption(nm: Float64) -> Float64:
    """Absorption of liquid water, 1/cm."""
    return np.exp(np.interp(nm, _WATER_NM, np.log(_WATER_PER_CM)))


def ice_absorption(nm: Float64) -> Float64:
    """Absorption of ice, 1/mm."""
    index = np.exp(np.interp(nm, _ICE_NM, np.log(_ICE_INDEX)))
    return 4 * np.pi * index / (nm * 1e-6)


def lake(nm: Float64) -> Float64:
    """Absorption of water, 1 mg/m3 chlorophyll, dissolved matter; backscatter of water, 1 g/m3 sediment: 1/m."""
    algae = 0.035 * np.exp(-0.5 * ((nm - 440) / 35) ** 2) + 0.017 * np.exp(-0.5 * ((nm - 675) / 13) ** 2)
    dissolved = np.exp(-0.016 * (nm - 440.0))
    molecules = 0.00111 * (nm / 500.0) ** -4.32
    sediment = 0.0105 * (nm / 550.0) ** -0.7
    return np.stack([100.0 * water_absorption(nm), algae, dissolved, molecules, sediment])
