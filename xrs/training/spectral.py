"""Lessons of task ``"spectral"``: other bands than those seen, from two cubes, or from a library of spectra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.ndimage import gaussian_filter
from torch.nn import Module

from xrs.cube import check_reflectance
from xrs.cube.layout import plausible_reflectance
from xrs.errors import BandNotFoundError, LayoutError, ParameterError, RadiometryError
from xrs.kernels import reach_of
from xrs.kernels.types import Float32, Float64
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
from xrs.training.lessons import Draw, Lesson, psf_facts
from xrs.training.protocols import Images, Layout, Pairs
from xrs.training.scores import score_spectra

__all__ = ["Told", "mixed_patches", "spectral_lesson"]

#: What the response of the sensor weighs in the loss, and how much is drawn of a library, unless told otherwise.
_PHYSICS, _EXAMPLES, _NOISE = 0.1, 20_000, 0.02
#: Side of a patch of single spectra laid side by side, and of a patch mixed of some.
_TILE, _SIDE = 8, 16
#: Spectra in a mixed patch.
_MIXED = 4
#: A library of one's own with fewer spectra has none to hold out.
_LEAST_SPECTRA = 16
#: Between the seeds of the examples to train on and of those held out.
_APART = 1_000_003


@dataclass(frozen=True)
class Told:
    """Parameters of :func:`xrs.train` that only this task has; None for those not given."""

    library: str | SpectralLibrary | Source | None = None
    bands: Sequence[str] | None = None
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
    return _of_library(told, sensor)


@dataclass(frozen=True)
class _Bands:
    """What both lessons know: the bands, and the response (band, wanted band), NaN in rows where it is not known."""

    images: tuple[ImageSpec, ...]
    outputs: ImageSpec
    rows: Float64 | None
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

    def physics(self, taps: Mapping[int, Float64]) -> Physics | None:
        """The images as they follow from the result, by the point spread of those on coarser grids."""
        if not self.weight or self.rows is None:
            return None
        ends = np.cumsum(self.layout.bands)[:-1]
        parts = zip(self.images, np.split(self.rows, ends), range(len(self.images)), strict=True)
        return Physics([_seen(rows, image.ratio, taps.get(n)) for image, rows, n in parts], self.weight)


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
    """Patches of places of two cubes."""

    scene: Images
    target: Any
    kind: Any
    sensor: str | Sensor | None

    @property
    def units(self) -> str:
        """Of the result."""
        return str(self.target.attrs.get("units", "1"))

    @property
    def psf(self) -> Mapping[str, Any]:
        """What coarser grids see the result through."""
        return psf_facts(self.kind, self.sensor) if len(self.images) > 1 else {}

    @property
    def made(self) -> Mapping[str, Any]:
        """What the weights depend on."""
        return {"protocol": "pairs", "physics_weight": self.weight}

    def terms(self, draw: Draw, sees_around: bool) -> tuple[list[Term], float]:
        """One, of both cubes."""
        parts = draw.of(Pairs(self.scene, self.target, self.scene.ratio))
        _check_patches(parts[0], self.outputs.bands)
        scale = parts[0].magnitude()
        coarse = enumerate(zip(self.images, self.scene.ratios, strict=True))
        taps = {n: psf_of(self.sensor, image.bands, ratio, self.kind) for n, (image, ratio) in coarse if ratio > 1}
        train, held_out = (part.divided(scale) for part in parts)
        return [Term(train, held_out, physics=self.physics(taps))], scale

    def facts(self) -> dict[str, Any]:
        """Of the cube that is learned."""
        return facts_of(self.target)


def _of_cubes(cube: Any, told: Told, sensor: str | Sensor | None, psf: Any) -> CubeLesson:
    strange = [name for name in told.given if name != "physics_weight"]
    if strange:
        raise ParameterError(f"{strange[0]}= without a library", "library='land' in place of the cubes, or two cubes")
    if not isinstance(cube, tuple | list) or len(cube) != 2:
        raise LayoutError(
            f"found a {type(cube).__name__} for task='spectral'",
            "two cubes, or a library",
            "xrs.train((ms, hs), task='spectral', ...) or xrs.train(None, task='spectral', library='land', ...)",
        )
    scene, target = images_of_pair(*cube)
    for array in (*scene.arrays, target):
        check_reflectance(array)
    instrument = seeing(dict(zip(scene.names, scene.arrays, strict=True)), sensor)
    images = tuple(_known(spec_of(*both), instrument, "ms") for both in zip(scene.arrays, scene.ratios, strict=True))
    outputs = _known(spec_of(target), None, "hs")
    keys = [key for image in images for key in image.bands]
    rows = response_rows(instrument, keys, np.array(outputs.wavelengths))
    return CubeLesson(images, outputs, rows, told.physics_weight, scene, target, psf, instrument)


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
        if not plausible_reflectance(image):
            raise RadiometryError(
                "patches with a median above 20", "reflectance, around 0 to 1", "apply the product's scale and offset"
            )
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
    given: Sensor
    wanted: Sensor
    examples: int
    noise: tuple[float, float]
    units: str = "1"

    @property
    def psf(self) -> Mapping[str, Any]:
        """None: all bands lie on one grid."""
        return {}

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
        scale = train.magnitude()
        return [Term(train.divided(scale), held_out.divided(scale), physics=self.physics({}))], scale

    def facts(self) -> dict[str, Any]:
        """Of the library."""
        return {"library": self.train.name, "spectra": self.train.summary, "reference": self.train.reference}

    def _pairs(self, source: Source, count: int, seed: int, noise: tuple[float, float]) -> SpectralPairs:
        if count < _TILE**2:
            raise ParameterError(
                f"{count} spectra to train on or to hold out", f"at least {_TILE**2} of each", "more examples="
            )
        return draw_pairs(source, self.given, self.wanted, count, seed, noise)

    def _laid(self, source: Source, count: int, draw: Draw, seed: int, share: float = 1.0) -> Patches:
        pairs = self._pairs(source, count, seed, self.noise)
        return _of_images(_tiles(pairs.given), _tiles(pairs.wanted))

    def _mixed(self, source: Source, count: int, draw: Draw, seed: int, share: float = 1.0) -> Patches:
        check_whole("patches", draw.patches, 1)
        pairs = self._pairs(source, count, seed, (0.0, 0.0))
        patches = max(round(share * draw.patches), 1)
        return mixed_patches(pairs, patches, draw.patch_size or _SIDE, seed, self.noise)


def _of_library(told: Told, sensor: str | Sensor | None) -> LibraryLesson:
    if sensor is None or told.to is None:
        missing = "sensor" if sensor is None else "to"
        raise ParameterError(f"a library without {missing}=", "sensor=, the instrument that sees, and to=, the bands")
    examples = _EXAMPLES if told.examples is None else told.examples
    check_whole("examples", examples, 1)
    given, wanted = get_sensor(sensor), wanted_bands(told.to)
    given = given.select(told.bands) if told.bands is not None else given.select([band.key for band in given.bands])
    train, held_out = _split(told.library)
    noise = noise_parts(_NOISE if told.noise is None else told.noise)
    images, outputs = (spec_of_sensor(given),), spec_of_sensor(wanted)
    rows = response_rows(given, images[0].bands, np.array(outputs.wavelengths))
    return LibraryLesson(images, outputs, rows, told.physics_weight, train, held_out, given, wanted, examples, noise)


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


def mixed_patches(
    pairs: SpectralPairs, count: int, side: int, seed: int, noise: tuple[float, float] = (0.0, 0.0)
) -> Patches:
    """Patches of smooth mixtures of spectra, with edges from soft to hard, for networks that look around a pixel.

    Each mixes four spectra by abundances from 0 to 1 of sum 1: a softmax of Gaussian fields, correlated over one pixel
    to half a patch, and as steep as leads from gradual to almost pure. Both sensors see the mixture of what they see of
    the spectra, as they are linear.

    Parameters
    ----------
    pairs : SpectralPairs
        Without noise.
    count, side : int
        Of patches.
    seed : int
    noise : (float, float)
        Of the given bands, relative and absolute, independent in each pixel.
    """
    rng = np.random.default_rng([seed, 5])
    chosen = rng.integers(len(pairs), size=(count, _MIXED))
    shares = np.stack([_abundances(side, rng) for _ in range(count)])
    given, wanted = (np.einsum("nkb,nkyx->nbyx", a[chosen], shares) for a in (pairs.given, pairs.wanted))
    relative, absolute = noise
    seen = given * (1 + relative * rng.standard_normal(given.shape)) + absolute * rng.standard_normal(given.shape)
    return _of_images(seen, wanted)


def _abundances(side: int, rng: np.random.Generator) -> Float64:
    """Shares (spectrum, y, x) of sum 1."""
    smooth, steep = np.exp(rng.uniform(np.log((1.0, 1.0)), np.log((max(side / 2, 1.0), 10.0))))
    fields = gaussian_filter(rng.standard_normal((_MIXED, side, side)), (0, smooth, smooth), mode="wrap")
    fields *= steep / max(float(fields.std()), 1e-12)
    powers = np.exp(fields - fields.max(axis=0))
    return np.asarray(powers / powers.sum(axis=0))


def _tiles(spectra: Float32) -> Float32:
    """Spectra (n, band) side by side in patches (patch, band, y, x); those that fill none are left out."""
    count = len(spectra) // _TILE**2
    return spectra[: count * _TILE**2].reshape(count, _TILE, _TILE, -1).transpose(0, 3, 1, 2)


def _of_images(given: ArrayLike, wanted: ArrayLike) -> Patches:
    images = [np.ascontiguousarray(image, np.float32) for image in (given, wanted)]
    spots = np.zeros((len(images[0]), 3), np.int64)
    spots[:, 1] = np.arange(len(spots))
    return Patches((images[0],), images[1], np.ones(images[1].shape, bool), spots)
