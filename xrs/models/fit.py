"""Whether a model fits what was observed, and which band goes where."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from xrs.errors import ModelCardError, RadiometryError
from xrs.kernels.plausible import extremes
from xrs.kernels.types import Float32
from xrs.models.card import Card, ImageSpec

__all__ = ["Input", "Observed", "check_magnitude", "match_images"]

#: Centres further apart than this (nm, or share of the wavelength) are different bands. Sentinel-2A and 2B
#: differ by 17 nm at 2200 nm.
_NM, _SHARE = 10.0, 0.02


#: A value above so many times the model's scale (the mean of what it was trained on) has another unit, or is a fill
#: value: clouds and glint are 10 to 40 times what is common on land, and digital numbers 1e4 times reflectance.
_TOO_BRIGHT = 100.0
#: Values that all lie below so small a share of the scale, and are not all zero, have another unit. It is less than one
#: step of 1e-4, in which products are stored, where the scale is below 0.33.
_TOO_DARK = 3e-4


@dataclass(frozen=True)
class Observed:
    """What is known of an observation before it is read.

    Attributes
    ----------
    bands : tuple of str
        Keys; empty strings where the bands have none.
    wavelengths : tuple of float
        Centres in nm; NaN where unknown.
    ratio : int
        Pixels of the finest observation along the side of one of its pixels.
    """

    bands: tuple[str, ...]
    wavelengths: tuple[float, ...]
    ratio: int


@dataclass(frozen=True)
class Input:
    """Where an image of a network comes from: the observation's name, and its bands by index."""

    role: str
    bands: tuple[int, ...]


def match_images(card: Card, observed: Mapping[str, Observed], target: str | None = None) -> tuple[Input, ...]:
    """Find each image of a card among the observations, bands by key.

    Parameters
    ----------
    card : Card
    observed : mapping of str to Observed
        All observations by name.
    target : str, optional
        The observation whose bands are put out: the last image, with all of its bands. None where the card names
        other bands of the result.

    Raises
    ------
    ModelCardError
        If bands, ratios or wavelengths do not fit; the message names them.
    """
    if target is None:
        return tuple(_match(card, image, observed) for image in card.images)
    *guides, last = card.images
    inputs = [_match(card, image, observed) for image in guides]
    _check_target(card, last, observed[target], target)
    return (*inputs, _input(card, last, target, observed[target]))


def check_magnitude(card: Card, image: Float32) -> None:
    """Refuse digital numbers and fill values where a model knows reflectance, and the reverse.

    Too bright is asked of each value, so that it does not depend on tiles: a single one beyond 100 times the model's
    scale is an error wherever tiles are cut.

    Too dark can only be asked of a whole tile, for one dark value is no error: the largest magnitude is below 3e-4 of
    the scale, and not zero. That dark is reflectance where a model knows digital numbers, or reflectance that was
    scaled twice, in tiles without the brightest targets. Water and shade that are stored in steps of 1e-4 are never
    that dark, however small the tile, for a model whose scale is below 0.33. Of zeros alone nothing can be said: they
    pass.

    Parameters
    ----------
    card : Card
    image : ndarray
        What is to be sharpened, without gaps.

    Raises
    ------
    RadiometryError
    """
    least, largest = extremes(image)
    magnitude = max(-least, largest)
    if magnitude > _TOO_BRIGHT * card.scale or 0 < magnitude < _TOO_DARK * card.scale:
        raise RadiometryError(
            f"values from {least:.4g} to {largest:.4g}",
            f"values of about {card.scale:.3g}, on which the {card.network} model was trained (units {card.units!r})",
            "apply the product's scale and offset, e.g. da.astype('float32') * 1e-4, put NaN for fill values, or use a "
            "model of this unit",
        )


def _match(card: Card, image: ImageSpec, observed: Mapping[str, Observed]) -> Input:
    for role, seen in observed.items():
        if seen.ratio == image.ratio and _holds(seen, image):
            return _input(card, image, role, seen)
    found = "; ".join(f"{role} (ratio {seen.ratio}): {_names(seen)}" for role, seen in observed.items())
    raise ModelCardError(
        f"the observations are {found}",
        f"for the {card.network} model, the bands {list(image.bands)} at {image.ratio} times the finest pixel",
        "load these bands, rename them with xrs.cube.assign_bands, or use a model made for the ones at hand",
    )


def _check_target(card: Card, image: ImageSpec, seen: Observed, target: str) -> None:
    if set(seen.bands) != set(image.bands) or len(seen.bands) != len(image.bands):
        raise ModelCardError(
            f"{target} has the bands {_names(seen)}",
            f"for the {card.network} model, {list(image.bands)}",
            "a model for each group to be sharpened (model=[one, other]), bands=[...] of groups that have one, or "
            "other names (xrs.cube.assign_bands)",
        )
    if seen.ratio != image.ratio:
        raise ModelCardError(
            f"the pixels of {target} are {seen.ratio} times the finest",
            f"{image.ratio} times, for which the {card.network} model was made",
            "use a model of this ratio, or xrs.regrid",
        )


def _input(card: Card, image: ImageSpec, role: str, seen: Observed) -> Input:
    bands = (0,) if len(image.bands) == len(seen.bands) == 1 else tuple(seen.bands.index(key) for key in image.bands)
    for index, key, centre in zip(bands, image.bands, image.wavelengths or [math.nan] * len(bands), strict=True):
        found = seen.wavelengths[index]
        if abs(found - centre) > max(_NM, _SHARE * centre):
            raise ModelCardError(
                f"band {key} of {role} is centred at {found:g} nm",
                f"{centre:g} nm, where the {card.network} model was trained",
                "use a model of this sensor, or correct the coordinate 'wavelength'",
            )
    return Input(role, bands)


def _holds(seen: Observed, image: ImageSpec) -> bool:
    # A pan is the only band of its grid: its name tells nothing.
    return set(image.bands) <= set(seen.bands) or (image.ratio == 1 and len(image.bands) == len(seen.bands) == 1)


def _names(seen: Observed) -> str:
    return str(list(seen.bands)) if all(seen.bands) else f"{len(seen.bands)} bands without keys"
