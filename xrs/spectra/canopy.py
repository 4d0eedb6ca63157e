"""Simulated canopies: PROSPECT-D leaves in a 4SAIL canopy, through the package prosail (GPL-3, an optional extra)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import NamedTuple

import numpy as np

from xrs.errors import ParameterError
from xrs.kernels.types import Float32, Float64
from xrs.spectra._blocks import BLOCK, WAVELENGTHS, blocks_of, generator
from xrs.spectra._surfaces import soil, soil_kinds

__all__ = ["Canopies", "canopy_block", "draw_canopies", "simulate_canopies"]


class Span(NamedTuple):
    """A truncated Gaussian, and the limits it shrinks to at the largest leaf area."""

    low: float
    high: float
    mean: float
    std: float
    low_dense: float
    high_dense: float


_MOST_LAI = 15.0
_LAI = Span(0.0, _MOST_LAI, 2.0, 3.0, 0.0, _MOST_LAI)

#: Table of Weiss & Baret (2016) with its co-distribution with leaf area.
OPERATIONAL: Mapping[str, Span] = {
    "ala": Span(30, 80, 60, 30, 55, 65),
    "hotspot": Span(0.1, 0.5, 0.2, 0.5, 0.1, 0.5),
    "N": Span(1.2, 1.8, 1.5, 0.3, 1.3, 1.8),
    "cab": Span(20, 90, 45, 30, 45, 90),
    "cm": Span(0.003, 0.011, 0.005, 0.005, 0.005, 0.011),
    "cw_relative": Span(0.6, 0.85, 0.75, 0.08, 0.70, 0.80),
    "cbrown": Span(0, 2, 0, 0.3, 0, 0.2),
    "soil_brightness": Span(0.5, 3.5, 1.2, 2.0, 0.5, 1.2),
}

#: Green plants beyond the operational table: thin and thick leaves, needles, pale and red ones.
WIDE: Mapping[str, Span] = {
    "ala": Span(20, 80, 55, 20, 40, 70),
    "hotspot": Span(0.01, 0.5, 0.1, 0.2, 0.01, 0.5),
    "N": Span(1.0, 2.6, 1.6, 0.4, 1.0, 2.6),
    "cab": Span(5, 90, 40, 25, 15, 90),
    "cm": Span(0.001, 0.02, 0.006, 0.006, 0.002, 0.018),
    "cw_relative": Span(0.3, 0.92, 0.7, 0.2, 0.5, 0.9),
    "cbrown": Span(0, 2, 0, 0.4, 0, 0.4),
    "soil_brightness": Span(0.3, 3.5, 1.0, 1.0, 0.3, 1.5),
}

#: Straw, litter and dry grass.
DRY: Mapping[str, Span] = {
    "ala": Span(20, 80, 50, 25, 40, 70),
    "hotspot": Span(0.01, 0.5, 0.1, 0.2, 0.01, 0.5),
    "N": Span(1.3, 3.0, 2.0, 0.6, 1.3, 3.0),
    "cab": Span(0, 8, 0, 0.8, 0, 8),
    "cm": Span(0.003, 0.03, 0.008, 0.01, 0.003, 0.03),
    "cw_relative": Span(0.02, 0.5, 0.1, 0.2, 0.02, 0.5),
    "cbrown": Span(0, 4, 0.3, 0.7, 0, 3),
    "soil_brightness": Span(0.3, 3.5, 1.0, 1.0, 0.3, 3.5),
}


@dataclass(frozen=True, eq=False, repr=False)
class Canopies:
    """Simulated canopies.

    Attributes
    ----------
    parameters : mapping of str to ndarray (n,)
        See :func:`draw_canopies`; float64.
    spectra : ndarray (n, wavelength)
        Bidirectional reflectance factor, float32.
    wavelengths : ndarray (wavelength,)
        400 to 2500 nm.
    soils : ndarray (n, wavelength)
        Reflectance of the soil below, float32.
    """

    parameters: Mapping[str, Float64]
    spectra: Float32
    wavelengths: Float64
    soils: Float32

    def __len__(self) -> int:
        return len(self.spectra)

    def __repr__(self) -> str:
        ends = f"{self.wavelengths[0]:g} to {self.wavelengths[-1]:g} nm"
        spans = (f"{name} {values.min():.3g} to {values.max():.3g}" for name, values in self.parameters.items())
        return f"<Canopies: {len(self)}, {self.wavelengths.size} wavelengths {ends}\n  {', '.join(spans)}>"


def draw_canopies(count: int, seed: int = 0) -> Canopies:
    """Canopies with leaves, structure and soils as in operational retrieval from Sentinel-2.

    Parameters
    ----------
    count : int
        The first canopies are the same however many are drawn.
    seed : int

    Returns
    -------
    Canopies
        With these ``parameters``:

        - leaf (PROSPECT-D): ``N`` layers; ``cab``, ``car``, ``anth`` chlorophyll, carotenoids and anthocyanins in
          µg/cm²; ``cbrown`` brown pigment; ``cw`` water and ``cm`` dry matter in g/cm²;
        - canopy (4SAIL): ``lai``; ``ala`` mean leaf angle of an ellipsoidal distribution, degrees; ``hotspot``;
        - soil: ``soil_brightness`` (1 reflects 0.18 at 1600 nm when dry) and ``soil_moisture`` (0 to 1);
        - angles in degrees: ``sun_zenith``, ``view_zenith``, ``relative_azimuth``;
        - what follows of them: ``fapar``, share of direct sunlight from that sun, 400 to 700 nm and every wavelength
          alike, that leaves absorb (black-sky); ``fcover``, share of the ground that leaves hide from above; ``ccc``
          and ``cwc``, chlorophyll (µg/cm²) and water (g/cm²) of the canopy, by its ground.

    Raises
    ------
    ParameterError
        If ``count`` is not positive, or prosail is not installed (``pip install 'xrs[canopy]'``; its licence is GPL-3).

    Notes
    -----
    Leaf, structure and soil brightness follow the truncated Gaussians of Weiss & Baret (2016, S2ToolBox Level 2
    products, version 1.1), each drawn into limits that narrow with LAI as they do there. The limits were checked
    against their use in the R package prosail of Féret & de Boissieu, except those of soil brightness at the largest
    LAI (0.5 to 1.2), which are from memory. As in that package, carotenoids are a quarter of chlorophyll and there are
    no anthocyanins.

    Not from there: soils (brightness, moisture, iron, clay: see source ``soil``), and angles, uniform over what
    Sentinel-2 meets: sun 20 to 70, view 0 to 12, azimuth 0 to 180 degrees. Leaves and canopies are those of
    Féret et al. (2017, 10.1016/j.rse.2017.03.004) and Verhoef et al. (2007, 10.1109/TGRS.2007.895844).

    Examples
    --------
    >>> canopies = draw_canopies(4, seed=1)
    >>> canopies.spectra.shape, bool((canopies.parameters["fapar"] < 1).all())
    ((4, 421), True)
    """
    blocks = [canopy_block(block, seed) for block in blocks_of(count)]
    names = blocks[0].parameters
    return Canopies(
        {name: np.concatenate([b.parameters[name] for b in blocks])[:count] for name in names},
        np.concatenate([b.spectra for b in blocks])[:count],
        WAVELENGTHS,
        np.concatenate([b.soils for b in blocks])[:count],
    )


@lru_cache(maxsize=32)
def canopy_block(block: int, seed: int) -> Canopies:
    """One block of :func:`draw_canopies`."""
    return simulate_canopies(generator("canopy", seed, block), BLOCK, OPERATIONAL, wider=False)


def simulate_canopies(rng: np.random.Generator, count: int, spans: Mapping[str, Span], *, wider: bool) -> Canopies:
    """Canopies with parameters from ``spans``; ``wider`` frees carotenoids and anthocyanins of chlorophyll."""
    drawn = _parameters(rng, count, spans, wider)
    kinds = soil_kinds(rng, count)
    soils = soil(WAVELENGTHS, kinds, drawn["soil_brightness"], drawn["soil_moisture"])
    spectra = np.empty((count, WAVELENGTHS.size), np.float32)
    for i in range(count):
        one = {name: float(value[i]) for name, value in drawn.items()}
        spectra[i], drawn["fapar"][i], drawn["fcover"][i] = _simulate(one, soils[i])
    return Canopies(drawn, spectra, WAVELENGTHS, soils.astype(np.float32))


def _parameters(rng: np.random.Generator, count: int, spans: Mapping[str, Span], wider: bool) -> dict[str, Float64]:
    lai = _truncated(rng.random(count), _LAI)
    drawn = {name: _shrunk(_truncated(rng.random(count), span), span, lai) for name, span in spans.items()}
    relative = drawn.pop("cw_relative")
    drawn |= {"lai": lai, "cw": drawn["cm"] * relative / (1.0 - relative)}
    drawn["car"] = drawn["cab"] * (rng.uniform(0.12, 0.45, count) if wider else 0.25)
    drawn["anth"] = 6.0 * rng.beta(0.5, 3.0, count) if wider else np.zeros(count)
    drawn["soil_moisture"] = rng.beta(0.8, 2.0, count)
    drawn["sun_zenith"] = rng.uniform(20.0, 70.0, count)
    drawn["view_zenith"] = rng.uniform(0.0, 12.0, count)
    drawn["relative_azimuth"] = rng.uniform(0.0, 180.0, count)
    drawn |= {"ccc": drawn["cab"] * lai, "cwc": drawn["cw"] * lai, "fapar": np.empty(count), "fcover": np.empty(count)}
    return drawn


def _truncated(share: Float64, span: Span) -> Float64:
    """Quantiles of a truncated Gaussian."""
    from scipy.special import ndtr, ndtri

    low, high = ndtr((span.low - span.mean) / span.std), ndtr((span.high - span.mean) / span.std)
    return np.clip(span.mean + span.std * ndtri(low + share * (high - low)), span.low, span.high)


def _shrunk(value: Float64, span: Span, lai: Float64) -> Float64:
    """Values moved from a span's limits to those at this leaf area."""
    dense = lai / _MOST_LAI
    low = span.low + dense * (span.low_dense - span.low)
    high = span.high + dense * (span.high_dense - span.high)
    return low + (value - span.low) * (high - low) / (span.high - span.low)


def _simulate(p: Mapping[str, float], ground: Float64) -> tuple[Float64, float, float]:
    """Reflectance, and what leaves absorb and hide."""
    prosail = _prosail()
    _, reflected, passed = prosail.run_prospect(
        p["N"], p["cab"], p["car"], p["cbrown"], p["cw"], p["cm"], ant=p["anth"], prospect_version="D"
    )
    every = int(WAVELENGTHS[1] - WAVELENGTHS[0])
    terms = prosail.run_sail(
        reflected[::every], passed[::every], p["lai"], p["ala"], p["hotspot"], p["sun_zenith"], p["view_zenith"],
        p["relative_azimuth"], typelidf=2, factor="ALLALL", rsoil0=ground,
    )  # fmt: skip
    beam, up_diffuse, down_diffuse, up, seen = terms[0], terms[3], terms[6], terms[13], terms[17]
    light_below = (beam + down_diffuse) / (1.0 - ground * up_diffuse)
    absorbed = 1.0 - up - (1.0 - ground) * light_below
    fapar = float(np.broadcast_to(absorbed, ground.shape)[WAVELENGTHS <= 700.0].mean())
    return seen, fapar, 1.0 - float(np.exp(-_shade_from_above(p["ala"]) * p["lai"]))


def _shade_from_above(mean_angle: float) -> float:
    """Area that one unit of leaf area covers, seen from above."""
    from prosail.FourSAIL import campbell

    angles = np.deg2rad(np.arange(18) * 5.0 + 2.5)
    return float((campbell(mean_angle, 18) * np.cos(angles)).sum())


def _prosail() -> ModuleType:
    try:
        import prosail
    except ImportError as error:
        raise ParameterError(
            "prosail is not installed", "it, for simulated canopies", "pip install 'xrs[canopy]' (its licence is GPL-3)"
        ) from error
    return prosail
