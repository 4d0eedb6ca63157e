"""Lessons of task ``"spectral"``: other bands than those seen, from two cubes, or from a library of spectra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.nn import Module

from xrs.cube import check_reflectance
from xrs.errors import BandNotFoundError, LayoutError, ParameterError
from xrs.kernels import reach_of
from xrs.kernels.plausible import check_magnitudes
from xrs.kernels.types import Float64
from xrs.learning.checks import check_real, check_whole
from xrs.learning.loop import Term
from xrs.learning.patches import Patches
from xrs.learning.physics import Physics, Seen
from xrs.models import ImageSpec
from xrs.nets import get_network
from xrs.operators._spectral import response_rows, seeing, spec_of_sensor, wanted_bands
from xrs.sensors import Sensor, get_sensor, psf_of
from xrs.spectra import Source, SpectralLibrary, SpectralPairs, draw_pairs, get_source
from xrs.spectra.pairs import noise_parts
from xrs.training.images import facts_of, images_of_pair, spec_of
from xrs.training.lessons import Draw, Lesson, psf_facts, side_of
from xrs.training.mixtures import LAID, Grid, laid_patches, mixed_patches
from xrs.training.protocols import Images, Layout, Pairs
from xrs.training.scenes import check_alike, for_each
from xrs.training.scores import score_spectra

__all__ = ["Keys", "Told", "spectral_lesson"]

#: What the response of the sensor weighs in the loss, and how much is drawn of a library, unless told otherwise.
_PHYSICS, _EXAMPLES, _NOISE = 0.1, 20_000, 0.02
#: Side of a patch of mixed spectra, in pixels of the coarsest image.
_SIDE = 16
#: A library of one's own with fewer spectra has none to hold out.
_LEAST_SPECTRA = 16
#: Between the seeds of the examples to train on and of those held out.
_APART = 1_000_003


#: Bands on one grid, or by the side of their pixels in m.
Keys = Sequence[str] | Mapping[float, Sequence[str]]


@dataclass(frozen=True)
class Told:
    """Parameters of :func:`xrs.train` that only this task has; None for those not given."""

    library: str | SpectralLibrary | Source | None = None
    bands: Keys | None = None
    to: Any = None
    examples: int | None = None
    noise: float | tuple[float, float] | None = None
    physics_weight: float | None = None

    @property
    def given(self) -> list[str]:
        """The names of those given."""
        return [name for name, value in vars(self).items() if value is not None]


def spectral_lesson(cube: Any, told: Told, sensor: str | Sensor | None, psf: Any) -> Lesson:
    """The lesson that arguments of ``train`` ask for.

    Raises
    ------
    ParameterError
        If arguments do not go together.
    LayoutError, GridMismatchError, RadiometryError, TimeAxisError, BandNotFoundError
        If cubes do not fit together, or wavelengths are not known or not covered.
    """
    if told.physics_weight is not None:
        check_real("physics_weight", told.physics_weight)
    if told.library is None:
        return _of_cubes(cube, told, sensor, psf)
    if cube is not None:
        raise ParameterError("two cubes and a library", "one of them to learn from", "xrs.train(None, library=...)")
    return _of_library(told, sensor, psf)


@dataclass(frozen=True)
class _Bands:
    """What both lessons know.

    Attributes
    ----------
    images : tuple of ImageSpec
    outputs : ImageSpec
    rows : ndarray (band, wanted band) or None
        Response of the images' bands over the wanted ones, NaN in rows where it is not known.
    sensor : Sensor or None
        Of the images.
    kind : str or array
        The point spread of images on coarser grids, ``psf`` of :func:`xrs.train`.
    physics_weight : float or None
    """

    images: tuple[ImageSpec, ...]
    outputs: ImageSpec
    rows: Float64 | None
    sensor: Sensor | None
    kind: Any
    physics_weight: float | None

    @property
    def layout(self) -> Layout:
        """Of the images and the result."""
        counts = tuple(len(image.bands) for image in self.images)
        return Layout(counts, tuple(image.ratio for image in self.images), len(self.outputs.bands))

    def config(self, network: str, config: Mapping[str, Any]) -> dict[str, Any]:
        """With the input band to which each output band belongs, for networks that group these."""
        known = {**get_network(network).config, **config}
        if "groups" not in known or known["groups"] is not None or not known.get("grouping", True):
            return dict(config)
        from xrs.nets.hsrnet import hsrnet_groups

        centres = [nm for image in self.images for nm in image.wavelengths]
        # A row of zeros leaves the band to the distance between centres.
        srf = None if self.rows is None else np.nan_to_num(self.rows)
        return {**config, "groups": hsrnet_groups(srf, given=centres, wanted=self.outputs.wavelengths)}

    def score(self, network: Module, terms: Sequence[Term], scale: float) -> dict[str, float]:
        """Beside linear regression."""
        return score_spectra(network, terms[0], scale)

    @cached_property
    def weight(self) -> float:
        """Of the physics in the loss; 0 where no response is known."""
        known = self.rows is not None and np.isfinite(self.rows).all(axis=1).any()
        if not known and self.physics_weight:
            raise BandNotFoundError(
                f"physics_weight={self.physics_weight}, and the response of no band over the wanted ones is known",
                "bands of a known sensor that the wanted ones cover",
                "sensor=..., or bands with coordinates wavelength and fwhm",
            )
        return (_PHYSICS if self.physics_weight is None else self.physics_weight) if known else 0.0

    @property
    def psf(self) -> Mapping[str, Any]:
        """What coarser grids see the result through."""
        return psf_facts(self.kind, self.sensor) if len(self.images) > 1 else {}

    @cached_property
    def taps(self) -> Mapping[int, Float64]:
        """The point spread (band, tap) of each image on a coarser grid, by its number."""
        coarse = enumerate(self.images)
        return {n: psf_of(self.sensor, image.bands, image.ratio, self.kind) for n, image in coarse if image.ratio > 1}

    def term(self, train: Patches, held_out: Patches) -> tuple[list[Term], float]:
        """Patches as the network is to see them, and the scale they were divided by."""
        scale = train.magnitude()
        return [Term(train.divided(scale), held_out.divided(scale), physics=self._physics())], scale

    def _physics(self) -> Physics | None:
        """The images as they follow from the result."""
        if not self.weight or self.rows is None:
            return None
        ends = np.cumsum(self.layout.bands)[:-1]
        parts = zip(self.images, np.split(self.rows, ends), range(len(self.images)), strict=True)
        return Physics([_seen(rows, image.ratio, self.taps.get(n)) for image, rows, n in parts], self.weight)


def _seen(rows: Float64, ratio: int, taps: Float64 | None) -> Seen | None:
    """How an image follows from the result; bands whose response is not known are not looked at."""
    known = np.isfinite(rows).all(axis=1)
    if not known.any():
        return None
    response, spread = (
        None if a is None else torch.as_tensor(np.ascontiguousarray(a[known]), dtype=torch.float32)
        for a in (rows, taps)
    )
    assert response is not None
    edge = 0 if taps is None else -(-reach_of(taps, ratio) // ratio)
    return Seen(response, spread, ratio, edge, tuple(np.flatnonzero(known).tolist()))


@dataclass(frozen=True)
class CubeLesson(_Bands):
    """Patches of places of two cubes, or of several such pairs that are alike."""

    scenes: Sequence[tuple[Images, Any]]

    @property
    def units(self) -> str:
        """Of the result."""
        return _units(self.scenes[0][1]) or "1"

    @property
    def made(self) -> Mapping[str, Any]:
        """What the weights depend on."""
        return {"protocol": "pairs", "physics_weight": self.weight}

    def terms(self, draw: Draw, sees_around: bool) -> tuple[list[Term], float]:
        """One, of both cubes."""
        parts = draw.of([Pairs(seen, target, seen.ratio) for seen, target in self.scenes])
        _check_patches(parts[0], self.outputs.bands)
        return self.term(*parts)

    def facts(self) -> dict[str, Any]:
        """Of the cubes that are learned."""
        return facts_of(*(target for _, target in self.scenes))


def _of_cubes(cube: Any, told: Told, sensor: str | Sensor | None, psf: Any) -> CubeLesson:
    strange = [name for name in told.given if name != "physics_weight"]
    if strange:
        raise ParameterError(f"{strange[0]}= without a library", "library='land' in place of the cubes, or two cubes")
    scenes = for_each(_checked_pair, cube if _is_many(cube) else [cube])
    first, _ = scenes[0]
    instrument = seeing(dict(zip(first.names, first.arrays, strict=True)), sensor)
    specs = for_each(lambda seen, target: _specs(seen, target, instrument), *zip(*scenes, strict=True))
    check_alike(specs, [_units(target) for _, target in scenes])
    *images, outputs = specs[0]
    keys = [key for image in images for key in image.bands]
    rows = response_rows(instrument, keys, np.array(outputs.wavelengths))
    return CubeLesson(tuple(images), outputs, rows, instrument, psf, told.physics_weight, scenes)


def _is_many(cube: Any) -> bool:
    """Whether these are several pairs of cubes."""
    return isinstance(cube, tuple | list) and len(cube) > 0 and all(isinstance(pair, tuple | list) for pair in cube)


def _checked_pair(cube: Any) -> tuple[Images, Any]:
    if not isinstance(cube, tuple | list) or len(cube) != 2:
        raise LayoutError(
            f"found a {type(cube).__name__} for task='spectral'",
            "two cubes, or a library",
            "xrs.train((ms, hs), task='spectral', ...) or xrs.train(None, task='spectral', library='land', ...)",
        )
    seen, target = images_of_pair(*cube)
    for array in (*seen.arrays, target):
        check_reflectance(array)
    return seen, target


def _specs(seen: Images, target: Any, sensor: Sensor | None) -> tuple[ImageSpec, ...]:
    """What a card says of the images, and of the result."""
    images = (_known(spec_of(*both), sensor, "ms") for both in zip(seen.arrays, seen.ratios, strict=True))
    return *images, _known(spec_of(target), None, "hs")


def _units(cube: Any) -> str:
    return str(cube.attrs.get("units", ""))


def _known(spec: ImageSpec, sensor: Sensor | None, role: str) -> ImageSpec:
    """With centres, those of the sensor where the cube tells none."""
    if spec.wavelengths and np.isfinite(spec.wavelengths).all():
        return spec
    if sensor is None or not all(key in sensor for key in spec.bands):
        raise BandNotFoundError(
            f"the bands {list(spec.bands[:5])} of {role} without wavelengths",
            "the coordinate 'wavelength' in nm, or a known sensor",
            "xrs.cube.assign_bands(cube, keys, wavelength=...)",
        )
    return spec_of_sensor(sensor.select(spec.bands), spec.ratio)


def _check_patches(patches: Patches, keys: Sequence[str]) -> None:
    """Refuse what cannot be learned: digital numbers that were not in memory before, and bands that are missing."""
    for image in (*patches.inputs, patches.target):
        check_magnitudes(image, "a patch of the cubes")
    missing = [key for n, key in enumerate(keys) if not patches.mask[:, n].any()]
    if missing:
        raise BandNotFoundError(
            f"the bands {missing[:8]} of hs hold no value where patches lie", "bands with values", "leave them out"
        )


@dataclass(frozen=True)
class LibraryLesson(_Bands):
    """What two sensors see of the spectra of a library."""

    train: Source
    held_out: Source
    wanted: Sensor
    examples: int
    noise: tuple[float, float]
    units: str = "1"

    @property
    def made(self) -> Mapping[str, Any]:
        """What the weights depend on."""
        told = {"library": self.train.name, "examples": self.examples, "noise": list(self.noise)}
        return {"protocol": "library", "physics_weight": self.weight, **told}

    def terms(self, draw: Draw, sees_around: bool) -> tuple[list[Term], float]:
        """One: of single spectra, or for networks that look around a pixel of mixtures that change smoothly."""
        if not 0 < draw.share < 1:
            raise ParameterError(f"held_out={draw.share}", "a share above 0 and below 1")
        kept = round(draw.share * self.examples)
        make = self._mixed if sees_around else self._laid
        train = make(self.train, self.examples - kept, draw, draw.seed)
        held_out = make(self.held_out, kept, draw, draw.seed + _APART, draw.share)
        return self.term(train, held_out)

    def facts(self) -> dict[str, Any]:
        """Of the library."""
        return {"library": self.train.name, "spectra": self.train.summary, "reference": self.train.reference}

    def _pairs(self, source: Source, count: int, seed: int, noise: tuple[float, float]) -> SpectralPairs:
        least = LAID**2
        if count < least:
            raise ParameterError(
                f"{count} spectra to train on or to hold out", f"at least {least} of each", "examples="
            )
        assert self.sensor is not None
        return draw_pairs(source, self.sensor, self.wanted, count, seed, noise)

    def _laid(self, source: Source, count: int, draw: Draw, seed: int, share: float = 1.0) -> Patches:
        return laid_patches(self._pairs(source, count, seed, self.noise))

    def _mixed(self, source: Source, count: int, draw: Draw, seed: int, share: float = 1.0) -> Patches:
        check_whole("patches", draw.patches, 1)
        coarsest = max(self.layout.ratios)
        side = (side_of(draw.patch_size, coarsest) or _SIDE) * coarsest
        pairs = self._pairs(source, count, seed, (0.0, 0.0))
        patches = max(round(share * draw.patches), 1)
        return mixed_patches(pairs, patches, side, seed, self.noise, self._grids())

    def _grids(self) -> list[Grid]:
        """Where each image lies."""
        ends = np.cumsum([0, *self.layout.bands]).tolist()
        return [Grid(slice(*ends[n : n + 2]), self.taps.get(n), ratio) for n, ratio in enumerate(self.layout.ratios)]


def _of_library(told: Told, sensor: str | Sensor | None, psf: Any) -> LibraryLesson:
    if sensor is None or told.to is None:
        missing = "sensor" if sensor is None else "to"
        raise ParameterError(f"a library without {missing}=", "sensor=, the instrument that sees, and to=, the bands")
    examples = _EXAMPLES if told.examples is None else told.examples
    check_whole("examples", examples, 1)
    instrument, wanted = get_sensor(sensor), wanted_bands(told.to)
    keys_of = _keys_by_ratio(instrument, told.bands)
    images = tuple(spec_of_sensor(instrument.select(keys), ratio) for ratio, keys in keys_of.items())
    keys = [key for image in images for key in image.bands]
    instrument, outputs = instrument.select(keys), spec_of_sensor(wanted)
    train, held_out = _split(told.library)
    noise = noise_parts(_NOISE if told.noise is None else told.noise)
    rows = response_rows(instrument, keys, np.array(outputs.wavelengths))
    bands = images, outputs, rows, instrument, psf, told.physics_weight
    return LibraryLesson(*bands, train, held_out, wanted, examples, noise)


def _keys_by_ratio(sensor: Sensor, bands: Keys | None) -> dict[int, list[str]]:
    """The bands on each grid by its ratio to the finest, from bands by the side of their pixels.

    Raises
    ------
    ParameterError
        If grids do not nest.
    """
    if bands is None:
        return {1: [band.key for band in sensor.bands]}
    if not isinstance(bands, Mapping):
        return {1: list(bands)}
    try:
        sizes = np.array(sorted(bands), np.float64)
        ratios = np.round(sizes / sizes[0])
        nested = sizes[0] > 0 and np.allclose(sizes, ratios * sizes[0]) and not (ratios[-1] % ratios).any()
    except (TypeError, ValueError, IndexError):
        nested = False
    if not nested:
        raise ParameterError(
            f"bands by the pixels {list(bands)}", "sides in m that divide each other", "bands={10: [...], 20: [...]}"
        )
    return {int(ratio): list(bands[size]) for ratio, size in zip(ratios, sorted(bands), strict=True)}


def _split(library: Any) -> tuple[Source, Source]:
    """Sources of examples to train on and to hold out, which share no spectrum of a library of one's own."""
    if not isinstance(library, SpectralLibrary):
        return get_source(library), get_source(library)
    if len(library) < _LEAST_SPECTRA:
        raise ParameterError(
            f"a library of {len(library)} spectra to train on",
            f"at least {_LEAST_SPECTRA}",
            "more spectra, or a source of xrs.spectra.list_sources()",
        )
    order = np.random.default_rng(len(library)).permutation(len(library))
    kept = max(len(library) // 8, 2)
    return tuple(get_source(_of(library, np.sort(part))) for part in (order[kept:], order[:kept]))  # type: ignore[return-value]


def _of(library: SpectralLibrary, which: Any) -> SpectralLibrary:
    return SpectralLibrary(
        library.wavelengths, library.spectra[which], title=library.title, reference=library.reference
    )
