"""Which bands items offer, what is known of them, and which of them a user asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from xrs.cube import REFLECTANCE_ATTRS
from xrs.errors import BandNotFoundError, StacItemError
from xrs.io._masks import Quality, quality_named
from xrs.io._radiometry import raster_facts

if TYPE_CHECKING:
    import pystac

__all__ = ["Band", "offered_bands", "select_bands"]

#: Roles of assets that are pictures or documents, not measurements.
_NOT_DATA = {"thumbnail", "overview", "visual", "metadata"}

_RASTER_TYPES = ("image/tiff", "image/jp2", "image/x.geotiff", "image/vnd.stac.geotiff")


@dataclass(frozen=True)
class Band:
    """One band of a collection's items.

    Attributes
    ----------
    key : str
        Name of the variable: the asset's key, or the band's name in an asset that holds several.
    asset : str
        Key of the asset.
    index : int
        Position in the asset, from zero.
    name : str
        The name the metadata give the band; the key if none.
    common_name : str or None
        Such as ``"nir"``.
    wavelength, fwhm : float or None
        In nm.
    unit : str or None
        Unit after scaling; None for reflectance.
    gsd : float
        Pixel size told, for choosing among copies of a band; infinite if unknown.
    media_type : str
        The asset's media type.
    title : str or None
        For ``long_name``.
    """

    key: str
    asset: str
    index: int
    name: str
    common_name: str | None
    wavelength: float | None
    fwhm: float | None
    unit: str | None
    gsd: float
    media_type: str
    title: str | None = field(default=None, compare=False)

    @property
    def spectral(self) -> bool:
        """Whether the band is a measurement in a spectral band, not a mask, angle or derived layer."""
        return self.common_name is not None or self.wavelength is not None

    @property
    def quality(self) -> Quality | None:
        """The quality layer the band is, if it is one."""
        return quality_named(self.key) or quality_named(self.name)

    @property
    def attrs(self) -> dict[str, Any]:
        """CF attributes of the variable."""
        names = ("common_name", "wavelength", "fwhm")
        known: dict[str, Any] = {"long_name": self.title} | {name: getattr(self, name) for name in names}
        attrs = {name: value for name, value in known.items() if value is not None}
        if self.unit is not None:
            return attrs | {"units": self.unit}
        return attrs | dict(REFLECTANCE_ATTRS) if self.spectral else attrs


def offered_bands(items: Iterable[pystac.Item]) -> dict[str, Band]:
    """The bands of all items by key; the first item that has a band describes it.

    Raises
    ------
    StacItemError
        If a key means different bands in different items.
    """
    found: dict[str, Band] = {}
    for item in items:
        for band in _bands_of(item):
            known = found.setdefault(band.key, band)
            if known.common_name != band.common_name:
                raise StacItemError(
                    f"band {band.key!r} is {known.common_name!r} in one item and {band.common_name!r} in {item.id!r}",
                    "the same bands in all items",
                    "open one collection at a time with collections=[...]",
                )
    return found


def select_bands(offered: Mapping[str, Band], queries: Sequence[str] | None) -> tuple[list[Band], Band | None]:
    """The bands asked for, in that order, and the quality layer if there is one.

    Parameters
    ----------
    offered : mapping of str to Band
        All bands by key.
    queries : sequence of str, optional
        Keys, names or common names. By default all spectral bands, or all bands if none is spectral.

    Raises
    ------
    BandNotFoundError
        If a query fits no band, or several.
    """
    quality = _best([band for band in offered.values() if band.quality is not None])
    measured = [band for band in offered.values() if band.quality is None]
    if queries is None:
        spectral = [band for band in measured if band.spectral] or measured
        chosen = [band for band in spectral if band is _best([b for b in spectral if b.name == band.name])]
    else:
        chosen = [_named(query, measured) for query in queries if quality is None or query != quality.key]
    if not chosen:
        raise BandNotFoundError(
            f"asked for {queries!r} of the bands {list(offered)}",
            "at least one band that is no quality layer",
            "name bands by asset key, band name or common name",
        )
    return list(dict.fromkeys(chosen)), quality


def _named(query: str, bands: Sequence[Band]) -> Band:
    for attribute in ("key", "name", "common_name"):
        matches = [band for band in bands if getattr(band, attribute) == query]
        if len({band.name for band in matches}) == 1:
            best = _best(matches)
            assert best is not None
            return best
        if matches:
            keys = [band.key for band in matches]
            raise BandNotFoundError(
                f"the name {query!r} fits the bands {keys}", "a name that fits one band", f"use a key: one of {keys}"
            )
    raise BandNotFoundError(
        f"no band {query!r} among {[band.key for band in bands]}",
        "an asset key, band name or common name",
        "check bands=",
    )


def _best(copies: Sequence[Band]) -> Band | None:
    """Of copies of one band, the finest, and GeoTIFF before other formats."""
    return min(copies, key=lambda b: (b.gsd, "tiff" not in b.media_type, b.key), default=None)


def _bands_of(item: pystac.Item) -> list[Band]:
    return [band for key, asset in item.assets.items() if _is_raster(asset) for band in _bands_in(key, asset.to_dict())]


def _is_raster(asset: pystac.Asset) -> bool:
    roles = set(asset.roles or ())
    if roles & _NOT_DATA:
        return False
    if asset.media_type is None:
        return "data" in roles or "raster:bands" in asset.extra_fields
    return asset.media_type.lower().startswith(_RASTER_TYPES)


def _bands_in(key: str, asset: Mapping[str, Any]) -> list[Band]:
    lists = [asset.get(name) or [] for name in ("bands", "eo:bands", "raster:bands")]
    count = max(1, *map(len, lists))
    return [_band(key, asset, index, several=count > 1) for index in range(count)]


def _band(key: str, asset: Mapping[str, Any], index: int, *, several: bool) -> Band:
    facts = raster_facts(asset, index)
    name = str(facts.get("name", f"{key}.{index + 1}" if several else key))
    unit = facts.get("unit")
    # A wavelength of the EO extension is in µm; ours are in nm.
    centre, width = (facts.get(field_name) for field_name in ("center_wavelength", "full_width_half_max"))
    return Band(
        key=name if several else key,
        asset=key,
        index=index,
        name=name,
        common_name=facts.get("common_name"),
        wavelength=None if centre is None else round(float(centre) * 1000, 6),
        fwhm=None if width is None else round(float(width) * 1000, 6),
        unit=None if unit in {None, "", "1", "none", "reflectance"} else str(unit),
        gsd=float(facts.get("spatial_resolution") or asset.get("gsd") or float("inf")),
        media_type=str(asset.get("type", "")).lower(),
        title=facts.get("description") or asset.get("title"),
    )
