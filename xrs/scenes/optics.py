"""Optical constants from 400 to 2500 nm: leaf constituents, water, soils, materials, clouds.

Smooth analytic shapes (sums of Gaussians) or few anchors stand for measured spectra, so that any
wavelength can be asked for and nothing needs to be shipped. They follow

- leaf pigments and dry matter: the specific absorption of PROSPECT, Jacquemoud & Baret (1990,
  10.1016/0034-4257(90)90100-Z) and Feret et al. (2008, 10.1016/j.rse.2008.02.012);
- liquid water and natural waters: :mod:`xrs.spectra._optics`;
- soils: Ben-Dor et al. (1999) and Lobell & Asner (2002, 10.2136/sssaj2002.7220) for moisture;
- urban materials: Herold et al. (2004, 10.1016/j.rse.2004.02.013).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from xrs.kernels.types import Float32, Float64
from xrs.spectra._optics import lake, peaks, step, water_absorption

__all__ = ["MATERIALS", "Optics", "cloud_reflectance", "direct_light", "optics"]

#: Rows of :attr:`Optics.materials`.
MATERIALS = ("red tile", "slate", "concrete", "metal", "bright membrane", "asphalt", "worn asphalt")

# Sums of Gaussians: (height, centre in nm, standard deviation in nm).
_CHLOROPHYLL = (
    (0.058, 425, 28), (0.036, 470, 20), (0.009, 540, 45), (0.016, 605, 26), (0.020, 643, 18), (0.043, 675, 16),
    (0.006, 706, 14),
)  # cm2/ug  # fmt: skip
_CAROTENOID = ((0.09, 430, 22), (0.11, 455, 16), (0.10, 485, 16), (0.012, 515, 14))  # cm2/ug
_DRY_MATTER = ((4.0, 1480, 70), (6.0, 1730, 45), (9.0, 1930, 70), (14.0, 2110, 75), (17.0, 2310, 50), (30.0, 2520, 120))
#: Share lost, for iron content one.
_SOIL_IRON = ((0.30, 475, 42), (0.06, 660, 40), (0.08, 880, 75))
_SOIL_CLAY = ((0.045, 1414, 22), (0.07, 1912, 32), (0.075, 2206, 20), (0.025, 2172, 18), (0.03, 2345, 35))


class Optics(NamedTuple):
    """Tables (component, wavelength) that the reflectance kernel mixes, float32."""

    #: Absorption of chlorophyll and carotenoids (cm2/ug), water (1/cm), dry matter (cm2/g), brown pigment.
    leaf: Float32
    #: Dry soil of brightness one; reflectance lost to iron oxides and to clay; share left when fully wet.
    soil: Float32
    #: Absorption of water, chlorophyll, dissolved matter; backscatter of water, of 1 g/m3 suspended matter; all 1/m.
    lake: Float32
    #: Reflectance of roofs and roads, in the order of :data:`MATERIALS`.
    materials: Float32
    #: What petals reflect beyond leaves (oilseed rape).
    petals: Float32


def optics(wavelength: Float64) -> Optics:
    """All tables at centre wavelengths in nm, within 400 to 2500."""
    nm = np.asarray(wavelength, dtype="float64")
    tables = (_leaf(nm), _soil(nm), lake(nm), _materials(nm), _petals(nm))
    return Optics(*(np.ascontiguousarray(table, dtype=np.float32) for table in tables))


def cloud_reflectance(wavelength: Float64) -> Float32:
    """Reflectance of a thick water cloud: bright and flat, with liquid water's bands in the SWIR."""
    depth = 0.025 * water_absorption(np.asarray(wavelength, dtype="float64"))
    return np.asarray(0.08 + 0.66 * np.exp(-np.sqrt(depth) * 1.6), dtype=np.float32)


def direct_light(wavelength: Float64) -> Float32:
    """Share of sunlight that comes straight from the sun; the rest, mostly blue, still lights a shadow.

    Rayleigh scattering falls with the fourth power of the wavelength, aerosol's with 1.3.
    """
    um = np.asarray(wavelength, dtype="float64") / 1000.0
    depth = 0.0088 * um**-4.05 + 0.05 * um**-1.3
    return np.asarray(0.94 * np.exp(-1.2 * depth), dtype=np.float32)


def _leaf(nm: Float64) -> Float64:
    dry = 1.0 + 1.2 * np.exp(-(nm - 400.0) / 150.0) + 3.5 * step(nm, 1500, 90) + peaks(nm, _DRY_MATTER)
    brown = 1.1 * np.exp(-(((nm - 400.0) / 260.0) ** 1.5))
    return np.stack([peaks(nm, _CHLOROPHYLL), peaks(nm, _CAROTENOID), water_absorption(nm), dry, brown])


def _soil(nm: Float64) -> Float64:
    # A loam of medium brightness: steep in the visible, flat from 1500 nm, falling beyond 2200 nm.
    dry = 0.02 + 0.40 * (1.0 - np.exp(-(((nm - 330.0) / 620.0) ** 1.3))) - 0.05 * step(nm, 2330, 60)
    film = np.exp(-0.020 * np.minimum(water_absorption(nm), 60.0))
    wet = 0.50 * film * (1.0 - 0.08 * step(nm, 1300, 100))
    return np.stack([dry, peaks(nm, _SOIL_IRON), peaks(nm, _SOIL_CLAY), wet])


def _materials(nm: Float64) -> Float64:
    rise = 1.0 - np.exp(-(nm - 350.0) / 500.0)
    hydroxyl = 1.0 - peaks(nm, ((0.06, 1420, 40), (0.12, 1930, 50), (0.08, 2320, 50)))
    return np.stack(
        [
            (0.05 + 0.15 * step(nm, 590, 28) + 0.12 * rise - peaks(nm, ((0.035, 870, 70),))) * hydroxyl,
            0.075 + 0.045 * rise,
            (0.11 + 0.18 * rise) * hydroxyl,
            0.22 + 0.10 * rise + peaks(nm, ((0.04, 480, 60),)),
            0.46 + 0.08 * rise - 0.22 * step(nm, 1650, 60) - peaks(nm, ((0.08, 1730, 30), (0.08, 2310, 40))),
            0.055 + 0.075 * rise,
            0.09 + 0.15 * rise - peaks(nm, ((0.02, 2310, 40),)),
        ]
    )


def _petals(nm: Float64) -> Float64:
    return (0.11 * step(nm, 515, 9) * (1.0 - 0.8 * step(nm, 720, 25)))[None]
