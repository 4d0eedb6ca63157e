"""Made spectra, and methods of the family ``spectral`` run on them."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from xrs.methods import get_method, resolve_params
from xrs.methods.base import Tile

NAMES = ("ridge", "pls", "library", "dictionary")
WAVELENGTHS = np.arange(400.0, 1000.0, 20.0)


def response(bands: int, wavelengths: np.ndarray = WAVELENGTHS) -> np.ndarray:
    """Overlapping bell-shaped bands."""
    centres = np.linspace(450, 950, bands)
    rows = np.exp(-0.5 * ((wavelengths - centres[:, None]) / 30) ** 2)
    return rows / rows.sum(axis=1, keepdims=True)


def spectra(count: int, seed: int = 0, wavelengths: np.ndarray = WAVELENGTHS) -> np.ndarray:
    """Smooth reflectances (count, wavelength): mixtures of a few bumps, not linear in their parameters."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(400, 1000, (count, 4, 1))
    width = rng.uniform(60, 250, (count, 4, 1))
    height = rng.uniform(0.02, 0.2, (count, 4, 1))
    return (0.05 + (height * np.exp(-0.5 * ((wavelengths - centre) / width) ** 2)).sum(axis=1)).astype("float32")


def pairs(count: int = 600, bands: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    wanted = spectra(count, seed)
    rng = np.random.default_rng(seed + 1)
    seen = wanted @ response(bands).T + 0.001 * rng.standard_normal((count, bands))
    return seen.astype("float32"), wanted


def learned(name: str, given: np.ndarray, wanted: np.ndarray, **params: Any) -> tuple[Any, dict[str, Any]]:
    method = get_method(name, "spectral")
    resolved = resolve_params(method, params)
    return method.learn(given, wanted, **resolved), resolved


@cache
def common_fit(name: str) -> tuple[Any, dict[str, Any]]:
    return learned(name, *pairs())


def image_of(seen: np.ndarray, width: int) -> np.ndarray:
    """Spectra (n, band) as an image (band, n / width, width)."""
    return np.ascontiguousarray(seen.T).reshape(seen.shape[1], -1, width)


def applied(name: str, image: np.ndarray, fit: Any, params: dict[str, Any]) -> np.ndarray:
    tile = Tile({"ms": image}, {"ms": None}, {"ms": 1}, 0)
    return get_method(name, "spectral").apply(tile, {}, fit=fit, **params)


def predicted(name: str, given: np.ndarray, wanted: np.ndarray, new: np.ndarray, **params: Any) -> np.ndarray:
    """Spectra (n, wanted band) for new ones (n, band)."""
    fit, resolved = learned(name, given, wanted, **params)
    return applied(name, image_of(new, 1), fit, resolved)[:, :, 0].T


def wide(*arrays: np.ndarray) -> list[np.ndarray]:
    return [a.astype("float64") for a in arrays]


def largest_misfit(result: np.ndarray, seen: np.ndarray, srf: np.ndarray) -> float:
    """Of what the sensor would see, as a share of what it saw."""
    would = np.tensordot(srf, result.astype("float64"), axes=1)
    return float(np.abs(would / seen - 1).max())
