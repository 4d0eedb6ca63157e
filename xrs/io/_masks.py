"""Which pixels are usable, by the quality layer that comes with a product."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xrs.errors import ParameterError

__all__ = ["QA_PIXEL", "SCL", "Quality", "quality_named", "usable_qa_pixel", "usable_scl"]

Rule = Callable[[xr.Dataset], xr.DataArray]

SCL_CLASSES: Mapping[int, str] = {
    0: "no_data",
    1: "saturated_or_defective",
    2: "dark_area",
    3: "cloud_shadow",
    4: "vegetation",
    5: "not_vegetated",
    6: "water",
    7: "unclassified",
    8: "cloud_medium_probability",
    9: "cloud_high_probability",
    10: "thin_cirrus",
    11: "snow_or_ice",
}

QA_PIXEL_BITS: Mapping[int, str] = {
    0: "fill",
    1: "dilated_cloud",
    2: "cirrus",
    3: "cloud",
    4: "cloud_shadow",
    5: "snow",
    6: "clear",
    7: "water",
}


def _by_classes(quality: xr.Dataset, masked: list[int]) -> xr.DataArray:
    return ~quality["SCL"].isin(masked)


def _by_bits(quality: xr.Dataset, bits: np.uint16) -> xr.DataArray:
    return (quality["QA_PIXEL"] & bits) == 0


def usable_scl(masked: Collection[int] = (0, 1, 3, 8, 9, 10)) -> Rule:
    """A rule for ``open_stac(mask=...)`` by Sentinel-2's scene classification.

    Parameters
    ----------
    masked : collection of int
        Classes that become NaN. By default 0 no data, 1 saturated or defective, 3 cloud shadow, 8 and 9 cloud of
        medium and high probability, 10 thin cirrus. Kept are 2 (dark areas: water, dark soil and slopes look like
        this as often as shadow), 7 (unclassified, cloud of low probability) and 11 (snow is a surface).

    Returns
    -------
    callable
        Takes the quality Dataset and returns True where a pixel is usable.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> quality = xr.Dataset({"SCL": (("y", "x"), np.array([[4, 9, 11]], "uint8"))})
    >>> usable_scl()(quality).values.tolist()
    [[True, False, True]]
    >>> usable_scl(masked=(0, 9, 11))(quality).values.tolist()
    [[True, False, False]]
    """
    classes = sorted({int(c) for c in masked})
    if unknown := set(classes) - set(SCL_CLASSES):
        raise ParameterError(
            f"masked holds {sorted(unknown)}", "classes 0 to 11 of SCL", "usable_scl((0, 1, 3, 8, 9, 10))"
        )
    return functools.partial(_by_classes, masked=classes)


def usable_qa_pixel(masked: Collection[int] = (0, 1, 2, 3, 4)) -> Rule:
    """A rule for ``open_stac(mask=...)`` by the QA_PIXEL bits of Landsat Collection 2.

    Parameters
    ----------
    masked : collection of int
        Bits that make a pixel NaN. By default 0 fill, 1 dilated cloud, 2 cirrus, 3 cloud, 4 cloud shadow.

    Returns
    -------
    callable
        Takes the quality Dataset and returns True where a pixel is usable.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> quality = xr.Dataset({"QA_PIXEL": (("y", "x"), np.array([[21824, 22280, 1]], "uint16"))})
    >>> usable_qa_pixel()(quality).values.tolist()
    [[True, False, False]]
    """
    if not masked or not set(masked) <= set(range(16)):
        raise ParameterError(f"masked={masked!r}", "bits 0 to 15 of QA_PIXEL", "usable_qa_pixel((0, 1, 2, 3, 4))")
    bits = functools.reduce(operator.or_, (1 << int(bit) for bit in masked))
    return functools.partial(_by_bits, bits=np.uint16(bits))


@dataclass(frozen=True)
class Quality:
    """A quality layer: how its asset is called, how it is stored, what its numbers mean.

    Attributes
    ----------
    name : str
        Name of the variable.
    aliases : tuple of str
        Names of assets or bands, lower case, that hold the layer.
    dtype : str
        Type of the stored numbers.
    fill : int
        The number where nothing was seen.
    attrs : mapping
        CF attributes.
    usable : callable
        The rule of ``mask="auto"``.
    """

    name: str
    aliases: tuple[str, ...]
    dtype: str
    fill: int
    attrs: Mapping[str, Any]
    usable: Rule


SCL = Quality(
    "SCL",
    ("scl", "scl_20m", "scl_60m"),
    "uint8",
    0,
    {
        "long_name": "scene classification",
        "flag_values": np.array(list(SCL_CLASSES), dtype="uint8"),
        "flag_meanings": " ".join(SCL_CLASSES.values()),
    },
    usable_scl(),
)

QA_PIXEL = Quality(
    "QA_PIXEL",
    ("qa_pixel",),
    "uint16",
    1,
    {
        "long_name": "pixel quality assessment",
        "flag_masks": np.array([1 << bit for bit in QA_PIXEL_BITS], dtype="uint16"),
        "flag_meanings": " ".join(QA_PIXEL_BITS.values()),
    },
    usable_qa_pixel(),
)


def quality_named(name: str) -> Quality | None:
    """The quality layer an asset's or band's name stands for, if any."""
    return next((layer for layer in (SCL, QA_PIXEL) if name.lower() in layer.aliases), None)
