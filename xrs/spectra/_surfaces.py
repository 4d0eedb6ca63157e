"""Reflectance of soils, waters, built surfaces and snow from random parameters, many at once.

Every function takes wavelengths in nm and a generator, and returns float64 (count, wavelength). Published physics
is used where there is some; where only measured curves were published, their shapes are drawn around them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from xrs.kernels.types import Float64
from xrs.spectra._optics import ice_absorption, lake, peaks, step, water_absorption

__all__ = ["Soils", "built", "snow", "soil", "soil_kinds", "water", "waviness"]

#: Parameters of dry soils by name, float64 (n,).
Soils = Mapping[str, Float64]

#: Reflectance at 1600 nm of a dry soil of brightness one.
_SOIL_1600 = 0.18
# Water films on grains: Fresnel transmission into water, and what diffuse light meets from inside.
_INTO_WATER, _BACK_INSIDE = 0.98, 0.45
_HYDROXYL = ((0.6, 1414, 24), (1.0, 1912, 36))


def soil_kinds(rng: np.random.Generator, count: int) -> Soils:
    """What distinguishes dry soils of one brightness."""
    return {
        "scale": rng.uniform(350, 1000, count),
        "power": rng.uniform(0.9, 1.7, count),
        "floor": rng.uniform(0.0, 0.12, count),
        "fall": rng.uniform(0.0, 0.22, count),
        "goethite": rng.beta(1.0, 2.5, count),
        "hematite": rng.beta(0.6, 4.0, count),
        "water": rng.beta(1.2, 4.0, count) * 0.25,
        "clay": rng.beta(1.0, 3.0, count) * 0.16,
        "carbonate": rng.beta(0.6, 4.0, count) * 0.15,
    }


def soil(nm: Float64, kinds: Soils, brightness: Float64, moisture: Float64) -> Float64:
    """Reflectance of soils with films of water on a share of their grains.

    The wet share reflects what passes a film of water, is reflected by the dry soil any number of times, and passes
    it again (Lekner & Dorf 1988, 10.1364/AO.27.001278; Bablet et al. 2018, 10.1016/j.rse.2018.07.031).
    """
    k = {name: value[:, None] for name, value in kinds.items()}
    rise = k["floor"] + 1.0 - np.exp(-(np.maximum((nm - 330.0) / k["scale"], 0.0) ** k["power"]))
    iron = k["goethite"] * peaks(nm, ((0.28, 480, 45), (0.07, 660, 45), (0.09, 910, 80)))
    iron = iron + k["hematite"] * peaks(nm, ((0.35, 520, 45), (0.12, 650, 40), (0.10, 865, 65)))
    hydroxyl = (k["water"] + 0.5 * k["clay"]) * peaks(nm, _HYDROXYL)
    clay = k["clay"] * peaks(nm, ((1.0, 2207, 20), (0.35, 2172, 18), (0.3, 2350, 35)))
    carbonate = k["carbonate"] * peaks(nm, ((1.0, 2340, 32), (0.15, 2150, 25)))
    shape = rise * (1.0 - k["fall"] * step(nm, 2250.0, 120.0)) * (1.0 - iron)
    at_1600 = np.array([np.interp(1600.0, nm, row) for row in shape])[:, None]
    dry = brightness[:, None] * _SOIL_1600 * shape / at_1600 * (1.0 - hydroxyl) * (1.0 - clay) * (1.0 - carbonate)
    dry = 0.95 * (1.0 - np.exp(-dry / 0.95))  # bright soils end below one
    film = np.exp(-2.0 * 0.04 * moisture[:, None] * water_absorption(nm))
    back = _INTO_WATER * (1.0 - _BACK_INSIDE) * dry * film / (1.0 - _BACK_INSIDE * dry * film)
    share = np.sqrt(moisture)[:, None]
    return (1.0 - share) * dry + share * back


def water(nm: Float64, rng: np.random.Generator, count: int) -> Float64:
    """Deep natural waters from clear to turbid.

    Gordon et al. (1988, 10.1029/JD093iD09p10909) below the surface and Lee et al. (2002, 10.1364/AO.41.005755)
    above it, with the sky mirrored by the surface added.
    """
    pure, algae, dissolved, molecules, sediment = lake(nm)
    chlorophyll = _log_uniform(rng, 0.3, 100.0, count)
    humus = _log_uniform(rng, 0.02, 5.0, count)
    solids = _log_uniform(rng, 0.1, 150.0, count)
    slope = rng.uniform(-0.5, 1.0, count)[:, None]
    absorption = pure + chlorophyll**0.8 * algae + humus * dissolved + 0.03 * solids * np.exp(-0.011 * (nm - 440.0))
    backscatter = molecules + (solids + 0.3 * chlorophyll**0.6) * sediment * (nm / 550.0) ** -slope
    u = backscatter / (absorption + backscatter)
    below = (0.089 + 0.125 * u) * u
    sky = _log_uniform(rng, 0.001, 0.05, count) * (1.0 + rng.uniform(0, 1, count)[:, None] * (nm / 500.0) ** -4.0)
    return np.pi * 0.52 * below / (1.0 - 1.7 * below) + sky


def snow(nm: Float64, rng: np.random.Generator, count: int) -> Float64:
    """Snow and glacier ice: asymptotic radiative transfer (Kokhanovsky & Zege 2004, 10.1364/AO.43.001589).

    Seen from above. Absorption by ice along 13 grain diameters (0.05 to 10 mm: fresh snow to bare ice) and by soot and
    dust, whose amounts and powers of the wavelength are our own.
    """
    grain = _log_uniform(rng, 0.05, 10.0, count)
    soot = _log_uniform(rng, 1e-7, 2e-3, count) * (nm / 550.0) ** -1.0
    dust = _log_uniform(rng, 1e-7, 5e-3, count) * (nm / 550.0) ** -3.5
    albedo = np.exp(-np.sqrt(13.0 * grain * (ice_absorption(nm) + soot + dust)))
    escape = 3.0 / 7.0 * (1.0 + 2.0 * np.cos(np.deg2rad(rng.uniform(20, 75, count))))[:, None]
    return rng.uniform(0.85, 1.0, count)[:, None] * albedo ** (escape * 9.0 / 7.0)


def built(nm: Float64, rng: np.random.Generator, count: int) -> Float64:
    """Roofs, roads and walls, in the shapes of Herold et al. (2004, 10.1016/j.rse.2004.02.013)."""
    kinds = rng.integers(len(_MATERIALS), size=count)
    out = np.empty((count, nm.size))
    for kind, material in enumerate(_MATERIALS):
        rows = np.flatnonzero(kinds == kind)
        out[rows] = material(nm, rng, rows.size)
    return np.clip(out * np.exp(waviness(nm, rng, count, 0.05)), 0.002, 1.0)


def waviness(nm: Float64, rng: np.random.Generator, count: int, size: float) -> Float64:
    """Smooth random curves of standard deviation ``size``: six cosines over the logarithm of the wavelength."""
    place = (np.log(nm) - np.log(400.0)) / np.log(2500.0 / 400.0)
    waves = np.cos(np.pi * np.arange(6)[:, None] * place)
    weights = rng.normal(size=(count, 6)) / (1.0 + np.arange(6))
    return size * weights @ waves


def _log_uniform(rng: np.random.Generator, low: float, high: float, count: int) -> Float64:
    return np.exp(rng.uniform(np.log(low), np.log(high), count))[:, None]


def _column(rng: np.random.Generator, low: float, high: float, count: int) -> Float64:
    return rng.uniform(low, high, count)[:, None]


def _rise(nm: Float64, rng: np.random.Generator, count: int) -> Float64:
    return 1.0 - np.exp(-(nm - 340.0) / _column(rng, 150, 900, count))


def _asphalt(nm: Float64, rng: np.random.Generator, count: int) -> Float64:
    oil = _column(rng, 0, 0.08, count) * peaks(nm, ((1.0, 2310, 35), (0.5, 1730, 30)))
    return (_column(rng, 0.03, 0.09, count) + _column(rng, 0.02, 0.22, count) * _rise(nm, rng, count)) * (1.0 - oil)


def _concrete(nm: Float64, rng: np.random.Generator, count: int) -> Float64:
    base = _column(rng, 0.05, 0.2, count) + _column(rng, 0.05, 0.45, count) * _rise(nm, rng, count)
    hydroxyl = _column(rng, 0, 0.18, count) * peaks(nm, _HYDROXYL)
    carbonate = _column(rng, 0, 0.12, count) * peaks(nm, ((1.0, 2335, 40),))
    return base * (1.0 - hydroxyl - carbonate) * (1.0 - _column(rng, 0, 0.15, count) * step(nm, 2200.0, 120.0))


def _tile(nm: Float64, rng: np.random.Generator, count: int) -> Float64:
    red = _column(rng, 0.05, 0.25, count) * step(nm, _column(rng, 550, 610, count), _column(rng, 18, 40, count))
    base = _column(rng, 0.03, 0.08, count) + red + _column(rng, 0.02, 0.3, count) * _rise(nm, rng, count)
    iron = _column(rng, 0.02, 0.15, count) * peaks(nm, ((1.0, 870, 70), (0.4, 660, 40)))
    return base * (1.0 - iron) * (1.0 - _column(rng, 0, 0.12, count) * peaks(nm, _HYDROXYL))


def _metal(nm: Float64, rng: np.random.Generator, count: int) -> Float64:
    oxide = _column(rng, 0, 0.15, count) * peaks(nm, ((1.0, 1020, 220),))
    return _column(rng, 0.08, 0.6, count) * (1.0 + _column(rng, -0.3, 0.5, count) * (nm - 400) / 2100) * (1.0 - oxide)


def _polymer(nm: Float64, rng: np.random.Generator, count: int) -> Float64:
    white = _column(rng, 0.1, 0.75, count) * step(nm, _column(rng, 380, 420, count), 10.0)
    fall = 1.0 - _column(rng, 0, 0.6, count) * step(nm, _column(rng, 1500, 1900, count), 120.0)
    bonds = ((0.25, 1190, 20), (0.35, 1420, 30), (1.0, 1730, 28), (0.6, 2140, 40), (1.3, 2310, 40))
    return white * fall * (1.0 - _column(rng, 0, 0.4, count) * peaks(nm, bonds))


def _paint(nm: Float64, rng: np.random.Generator, count: int) -> Float64:
    colour = _column(rng, 0, 0.4, count) * step(nm, _column(rng, 480, 720, count), _column(rng, 10, 40, count))
    patch = _column(rng, 0, 0.2, count) * np.exp(-0.5 * ((nm - _column(rng, 440, 560, count)) / 40.0) ** 2)
    return _column(rng, 0.03, 0.2, count) + colour + patch


_MATERIALS: tuple[Callable[[Float64, np.random.Generator, int], Float64], ...] = (
    _asphalt, _asphalt, _concrete, _concrete, _tile, _metal, _polymer, _paint,
)  # fmt: skip
