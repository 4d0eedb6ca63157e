"""Sources: they draw any number of spectra from a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np

from xrs.errors import ParameterError
from xrs.kernels.types import Float64
from xrs.spectra._blocks import BLOCK, WAVELENGTHS, blocks_of, generator
from xrs.spectra._surfaces import built, snow, soil, soil_kinds, water, waviness
from xrs.spectra.canopy import DRY, WIDE, canopy_block, simulate_canopies
from xrs.spectra.library import SpectralLibrary

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Source", "get_source", "list_sources"]


@dataclass(frozen=True, repr=False)
class Source:
    """Where spectra come from.

    Attributes
    ----------
    name, summary, reference : str
        Its name, and what it draws after whom.
    block : callable
        ``block(number, seed)`` gives the library of one block of :data:`BLOCK` spectra.
    """

    name: str
    summary: str
    reference: str
    block: Callable[[int, int], SpectralLibrary]

    def draw(self, count: int, seed: int = 0) -> SpectralLibrary:
        """Draw spectra.

        Parameters
        ----------
        count : int
            How many; the first are the same however many are drawn.
        seed : int

        Returns
        -------
        SpectralLibrary
            With ``classes``: the source's name, or what a mixture holds most of.

        Examples
        --------
        >>> get_source("soil").draw(3, seed=2)
        <SpectralLibrary: soil: 3 spectra, 421 wavelengths 400 to 2500 nm, soil 3>
        """
        parts = list(self.blocks(count, seed))
        return SpectralLibrary(
            parts[0].wavelengths,
            np.concatenate([part.spectra for part in parts]),
            classes=tuple(kind for part in parts for kind in part.classes),
            title=self.name,
            reference=self.reference,
        )

    def blocks(self, count: int, seed: int = 0) -> Iterator[SpectralLibrary]:
        """The same spectra, a block at a time: for more than memory holds."""
        for number in blocks_of(count):
            part, kept = self.block(number, seed), min(BLOCK, count - number * BLOCK)
            yield SpectralLibrary(part.wavelengths, part.spectra[:kept], classes=part.classes[:kept])

    def __repr__(self) -> str:
        return f"<Source {self.name}: {self.summary}>"


def list_sources() -> pd.DataFrame:
    """All sources by name: what they draw, and after whom.

    Examples
    --------
    >>> list(list_sources().index)
    ['land', 'canopy', 'plants', 'litter', 'soil', 'water', 'built', 'snow']
    """
    import pandas as pd

    rows = [{"name": s.name, "summary": s.summary, "reference": s.reference} for s in _SOURCES.values()]
    return pd.DataFrame(rows).set_index("name")


def get_source(source: str | SpectralLibrary | Source) -> Source:
    """A source by its name, or one that draws from a library.

    Parameters
    ----------
    source : str, SpectralLibrary or Source
        A name of :func:`list_sources`. Of a library, about a third of the draws are its own spectra, and the others
        mixtures of two to four of them; so a library of a few hundred spectra makes any number of examples.

    Raises
    ------
    ParameterError
        If there is no such source, or the library has too few spectra: one, or all alike.
    """
    if isinstance(source, Source):
        return source
    if isinstance(source, SpectralLibrary):
        if not np.ptp(source.spectra, axis=0).any():
            raise ParameterError(
                f"too few spectra to draw from: {source}, {'one' if len(source) == 1 else 'all alike'}",
                "two or more that differ; a hundred or more to learn from",
                "a larger library, or a source of xrs.spectra.list_sources()",
            )
        summary = f"{len(source)} spectra and mixtures of them"
        return Source(source.title or "library", summary, source.reference, partial(_of_library, source))
    if not isinstance(source, str) or source not in _SOURCES:
        raise ParameterError(f"no source {source!r}", f"a SpectralLibrary, or one of {list(_SOURCES)}")
    return _SOURCES[source]


def _library(spectra: Float64, kind: str) -> SpectralLibrary:
    return _block(WAVELENGTHS, spectra, (kind,) * len(spectra))


def _block(wavelengths: Float64, spectra: Float64, classes: tuple[str, ...]) -> SpectralLibrary:
    """Blocks are kept for the next draw, so nobody may change them."""
    library = SpectralLibrary(wavelengths, spectra.astype(np.float32), classes=classes)
    library.spectra.setflags(write=False)
    return library


def _soil(rng: np.random.Generator, count: int) -> Float64:
    brightness = np.exp(rng.normal(np.log(1.4), 0.5, count))
    return soil(WAVELENGTHS, soil_kinds(rng, count), brightness, rng.beta(0.6, 2.0, count))


def _plants(rng: np.random.Generator, count: int) -> Float64:
    return simulate_canopies(rng, count, WIDE, wider=True).spectra.astype(np.float64)


def _litter(rng: np.random.Generator, count: int) -> Float64:
    return simulate_canopies(rng, count, DRY, wider=True).spectra.astype(np.float64)


_PURE: dict[str, Callable[[np.random.Generator, int], Float64]] = {
    "plants": _plants,
    "litter": _litter,
    "soil": _soil,
    "water": lambda rng, count: water(WAVELENGTHS, rng, count),
    "built": lambda rng, count: built(WAVELENGTHS, rng, count),
    "snow": lambda rng, count: snow(WAVELENGTHS, rng, count),
}

#: Spectra of each class in the pool that a block of land is mixed from.
_SHARES = {"plants": 96, "litter": 40, "soil": 48, "water": 16, "built": 40, "snow": 16}
#: Of land: relative size of what models leave out, smooth over wavelengths.
_WAVINESS = 0.03


@lru_cache(maxsize=32)
def _pure(kind: str, number: int, seed: int) -> SpectralLibrary:
    return _library(_PURE[kind](generator(kind, seed, number), BLOCK), kind)


@lru_cache(maxsize=32)
def _land(number: int, seed: int) -> SpectralLibrary:
    rng = generator("land", seed, number)
    pools = [_PURE[kind](rng, count) for kind, count in _SHARES.items()]
    kinds = tuple(kind for kind, count in _SHARES.items() for _ in range(count))
    pool = SpectralLibrary(WAVELENGTHS, np.concatenate(pools).astype(np.float32), classes=kinds)
    return _mixed(pool, rng, _WAVINESS)


def _mixed(pool: SpectralLibrary, rng: np.random.Generator, size: float) -> SpectralLibrary:
    """A block of single spectra and of mixtures of two to four, each shaded by up to nine tenths where ``size`` > 0."""
    parts = rng.integers(len(pool), size=(BLOCK, 4))
    weights = rng.dirichlet(np.ones(4), BLOCK) * (np.arange(4) < rng.choice([1, 1, 2, 2, 3, 4], size=BLOCK)[:, None])
    weights /= weights.sum(axis=1, keepdims=True)
    spectra = np.einsum("nk,nkw->nw", weights, pool.spectra[parts].astype(np.float64))
    if size > 0.0:
        spectra *= np.exp(waviness(pool.wavelengths, rng, BLOCK, size))
        spectra *= 1.0 - rng.beta(0.7, 2.0, BLOCK)[:, None] * _direct_light(pool.wavelengths)
    largest = parts[np.arange(BLOCK), weights.argmax(axis=1)]
    classes = tuple(pool.classes[i] for i in largest) if pool.classes else ()
    return _block(pool.wavelengths, spectra, classes)


def _of_library(library: SpectralLibrary, number: int, seed: int) -> SpectralLibrary:
    return _mixed(library, generator("library", seed, number), 0.0)


def _direct_light(nm: Float64) -> Float64:
    """Share of sunlight that comes straight from the sun: Rayleigh's law and a clear sky's aerosol."""
    um = nm / 1000.0
    return 0.9 * np.exp(-1.2 * (0.0088 * um**-4.05 + 0.05 * um**-1.3))


def _canopy(number: int, seed: int) -> SpectralLibrary:
    return _library(canopy_block(number, seed).spectra.astype(np.float64), "canopy")


def _source(name: str, summary: str, reference: str) -> Source:
    return Source(name, summary, reference, partial(_pure, name))


_SOURCES = {
    source.name: source
    for source in (
        Source(
            "land", "all of the following but canopy, their mixtures, shade; the general one", "as of its parts", _land
        ),
        Source("canopy", "canopies as in operational retrieval", "Weiss & Baret 2016; Jacquemoud et al. 2009", _canopy),
        _source("plants", "canopies of a wider range of leaves", "Jacquemoud et al. 2009, 10.1016/j.rse.2008.01.026"),
        _source("litter", "straw, dry grass, litter", "Jacquemoud et al. 2009, 10.1016/j.rse.2008.01.026"),
        _source("soil", "bare soils, dry to wet", "Bablet et al. 2018, 10.1016/j.rse.2018.07.031"),
        _source("water", "deep waters, clear to turbid", "Lee et al. 2002, 10.1364/AO.41.005755"),
        _source("built", "roofs and roads", "Herold et al. 2004, 10.1016/j.rse.2004.02.013"),
        _source("snow", "snow and glacier ice", "Kokhanovsky & Zege 2004, 10.1364/AO.43.001589"),
    )
}
