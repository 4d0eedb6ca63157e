"""From stored numbers to physical values: scale, offset and nodata, as an item's metadata tell them.

Sentinel-2 products of processing baseline 04.00 and later hold reflectance shifted by 1000 digital numbers. Items
tell it in the raster extension's offset, or only in their baseline; the sensing date tells nothing, since old
scenes were processed anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xrs.errors import StacItemError

if TYPE_CHECKING:
    import pystac

__all__ = ["Radiometry", "baseline_of", "is_sentinel2", "radiometry_of", "raster_facts"]

#: Quantification of Sentinel-2 reflectance, and the shift since baseline 04.00 (Sentinel-2 Products Specification).
_S2_SCALE = 1e-4
_S2_SHIFT = -0.1
_S2_SHIFTED_SINCE = 4.0

#: Properties by which archives tell that they already subtracted the shift from the pixels.
_SHIFT_APPLIED = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")


@dataclass(frozen=True)
class Radiometry:
    """``value = stored * scale + offset``; what is None stands in the file.

    Attributes
    ----------
    scale, offset : float or None
        Factors from stored numbers to physical values.
    nodata : float or None
        The stored number that means missing.
    """

    scale: float | None
    offset: float | None
    nodata: float | None


def radiometry_of(item: pystac.Item, facts: Mapping[str, Any], *, spectral: bool) -> Radiometry:
    """Scale, offset and nodata of one band of an item.

    Parameters
    ----------
    item : pystac.Item
        The item.
    facts : mapping
        The band's metadata, as :func:`raster_facts` gives them.
    spectral : bool
        Whether the band is a measurement in a spectral band; Sentinel-2's defaults hold for those only.

    Raises
    ------
    StacItemError
        If a Sentinel-2 item tells neither offset nor baseline.
    """
    scale, offset, nodata = (_number(facts.get(name)) for name in ("scale", "offset", "nodata"))
    if not (spectral and is_sentinel2(item)):
        return Radiometry(scale, offset, nodata)
    if scale is None:
        scale = _S2_SCALE
    if any(item.properties.get(name) is True for name in _SHIFT_APPLIED):
        offset = 0.0
    elif offset is None:
        offset = _S2_SHIFT if _baseline_number(item) >= _S2_SHIFTED_SINCE else 0.0
    return Radiometry(scale, offset, 0.0 if nodata is None else nodata)


def raster_facts(asset: Mapping[str, Any], index: int) -> dict[str, Any]:
    """What is said of one band of an asset: STAC 1.1 ``bands``, the raster and EO extensions, without prefixes."""
    facts: dict[str, Any] = {k: asset[k] for k in ("nodata", "data_type", "unit") if k in asset}
    facts |= _without_prefix({k: v for k, v in asset.items() if k not in {"raster:bands", "eo:bands"}})
    for name in ("eo:bands", "raster:bands", "bands"):
        bands = asset.get(name) or []
        if index < len(bands):
            facts |= _without_prefix(bands[index]) | {k: v for k, v in bands[index].items() if ":" not in k}
    return facts


def is_sentinel2(item: pystac.Item) -> bool:
    """Whether an item is of Sentinel-2, by its constellation, platform, or properties of the extension ``s2``."""
    names = (item.properties.get("constellation"), item.properties.get("platform"), item.collection_id)
    return any(str(name).lower().startswith("sentinel-2") for name in names) or any(
        key.startswith("s2:") for key in item.properties
    )


def baseline_of(item: pystac.Item) -> str | None:
    """The processing baseline of an item, such as ``"05.09"``."""
    for name in ("s2:processing_baseline", "processing:version", "sentinel:processing_baseline"):
        if item.properties.get(name) is not None:
            return str(item.properties[name])
    return None


def _baseline_number(item: pystac.Item) -> float:
    text = baseline_of(item)
    try:
        return float(str(text))
    except ValueError:
        raise StacItemError(
            f"the Sentinel-2 item {item.id!r} tells neither an offset nor its processing baseline (found {text!r})",
            "raster:bands with offset, or s2:processing_baseline",
            "set item.properties['s2:processing_baseline'], e.g. '05.09' (the N0509 in the product's name)",
        ) from None


def _without_prefix(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {k.split(":", 1)[1]: v for k, v in fields.items() if k.startswith(("raster:", "eo:"))}


def _number(value: Any) -> float | None:
    # STAC writes not-a-number as the string "nan".
    return None if value is None else float(value)
