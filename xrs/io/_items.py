"""STAC items from wherever they lie: a static catalogue, an item collection, a list, an API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from xrs.errors import ParameterError, StacItemError

if TYPE_CHECKING:
    import pystac

__all__ = ["acquired", "find_items", "parse_interval"]

Interval = tuple[pd.Timestamp | None, pd.Timestamp | None]


def find_items(
    source: Any,
    *,
    collections: Sequence[str] | None,
    bbox: Sequence[float] | None,
    datetime: str | None,
    search: Mapping[str, Any] | None,
) -> list[pystac.Item]:
    """The items of a source that pass the filters, sorted by date and identifier.

    Raises
    ------
    StacItemError
        If none is left.
    ParameterError
        If the source is no STAC, or ``search`` is given for a source that is no API.
    """
    box = None if bbox is None else _check_bbox(bbox)
    interval = parse_interval(datetime)
    found = _searched(source, collections, box, datetime, search)
    if found is None:
        if search:
            raise ParameterError(
                f"search={dict(search)!r} for a source without a STAC API",
                "a STAC API, which answers searches",
                "filter the items and pass the list",
            )
        found = _listed(source)
    # Servers may answer more than was asked (some ignore filters), so their answers pass the same filters.
    kept = [item for item in found if _passes(item, collections, box, interval)]
    if not kept:
        raise StacItemError(
            f"none of {len(found)} items passes collections={collections!r}, bbox={box}, datetime={datetime!r}",
            "at least one item",
            "widen the filters; the items' collections are "
            + repr(sorted({str(item.collection_id) for item in found})),
        )
    return sorted(kept, key=lambda item: (acquired(item), item.id))


def acquired(item: pystac.Item) -> pd.Timestamp:
    """When an item was sensed, UTC without time zone; the start of its range if it has no single time."""
    when = item.datetime or item.common_metadata.start_datetime
    if when is None:
        raise StacItemError(
            f"item {item.id!r} has no datetime", "datetime or start_datetime", "mend the item's properties"
        )
    return _utc(pd.Timestamp(when))


def parse_interval(text: str | None) -> Interval:
    """First and last moment of a STAC datetime: ``"2018"``, ``"2018-03/2018-04-30"``, ``"2018-03-01/.."``."""
    if text is None:
        return None, None
    parts = text.split("/")
    if len(parts) > 2:
        raise ParameterError(f"datetime={text!r}", "one date or 'start/end'", "datetime='2018-03-01/2018-04-30'")
    first, last = _period(parts[0], text), _period(parts[-1], text)
    start, end = (first[0] if first else None), (last[1] if last else None)
    if start is not None and end is not None and start > end:
        raise ParameterError(f"datetime={text!r} ends before it starts", "start/end in order", "swap the two dates")
    return start, end


def _period(text: str, whole: str) -> tuple[pd.Timestamp, pd.Timestamp] | None:
    """First and last moment of a year, month, day or instant; None where the interval is open."""
    if text in {"", ".."}:
        return None
    try:
        if "T" in text or " " in text:
            moment = _utc(pd.Timestamp(text))
            return moment, moment
        period = pd.Period(text)
    except ValueError as error:
        raise ParameterError(
            f"datetime={whole!r}", "dates such as '2018', '2018-03', '2018-03-01T10:00:00Z' or '..'", str(error)
        ) from error
    return period.start_time, period.end_time


def _utc(moment: pd.Timestamp) -> pd.Timestamp:
    return moment if moment.tzinfo is None else moment.tz_convert("UTC").tz_localize(None)


def _check_bbox(bbox: Sequence[float]) -> tuple[float, float, float, float]:
    values = [float(v) for v in bbox]
    flat = _flat(values)
    if len(flat) != 4 or flat[0] >= flat[2] or flat[1] >= flat[3] or not np.isfinite(flat).all():
        raise ParameterError(f"bbox={tuple(bbox)!r}", "(west, south, east, north) in degrees", "check the order")
    return flat[0], flat[1], flat[2], flat[3]


def _flat(bbox: Sequence[float]) -> list[float]:
    """A box without heights."""
    return [*bbox[:2], *bbox[3:5]] if len(bbox) == 6 else list(bbox)


def _passes(
    item: pystac.Item,
    collections: Sequence[str] | None,
    box: tuple[float, float, float, float] | None,
    interval: Interval,
) -> bool:
    if collections is not None and item.collection_id not in collections:
        return False
    if box is not None and item.bbox is not None and not _overlap(box, _flat(item.bbox)):
        return False
    (start, end), (first, last) = interval, (acquired(item), _ended(item))
    return (start is None or last >= start) and (end is None or first <= end)


def _ended(item: pystac.Item) -> pd.Timestamp:
    end = item.common_metadata.end_datetime if item.datetime is None else None
    return acquired(item) if end is None else _utc(pd.Timestamp(end))


def _overlap(box: Sequence[float], item: Sequence[float]) -> bool:
    west, south, east, north = item
    after, before = box[2] > west, box[0] < east
    across_antimeridian = west > east
    meets = (after or before) if across_antimeridian else (after and before)
    return meets and box[1] < north and south < box[3]


def _searched(
    source: Any,
    collections: Sequence[str] | None,
    box: tuple[float, ...] | None,
    datetime: str | None,
    search: Mapping[str, Any] | None,
) -> list[pystac.Item] | None:
    """What a STAC API answers, all pages; None if the source is no API."""
    if not isinstance(source, str) or not source.startswith(("http://", "https://")):
        return None
    from pystac_client import Client

    if not _is_api(_read_json(source)):
        return None
    asked = {"collections": collections, "bbox": box, "datetime": datetime, **(search or {})}
    return list(Client.open(source).search(**asked).items())


def _is_api(document: Mapping[str, Any]) -> bool:
    return any("item-search" in str(part) for part in document.get("conformsTo", ()))


def _read_json(href: str) -> dict[str, Any]:
    import pystac

    try:
        return dict(pystac.StacIO.default().read_json(href))
    except Exception as error:  # pystac raises bare Exception for what a server refuses, and urllib3's errors
        raise ParameterError(
            f"source {href!r} cannot be read as JSON ({error})",
            "a STAC catalogue, collection, item collection or API",
            "check the path or URL",
        ) from error


def _listed(source: Any) -> list[pystac.Item]:
    """All items of a source without an API."""
    import pystac

    if isinstance(source, str | Path):
        href = str(source)
        return _from_document(_read_json(href), href if "://" in href else str(Path(href).resolve()))
    if isinstance(source, Mapping):
        return _from_document(dict(source), None)
    if isinstance(source, pystac.Catalog):
        return list(source.get_items(recursive=True))
    if isinstance(source, pystac.Item):
        return [source]
    if isinstance(source, Iterable):
        return [one for part in source for one in _listed(part)]
    raise ParameterError(
        f"source is a {type(source).__name__}",
        "a path, a URL, a catalogue, an item collection or items",
        "pass e.g. the path of a catalog.json or a list of pystac.Item",
    )


def _from_document(document: dict[str, Any], href: str | None) -> list[pystac.Item]:
    import pystac

    kind = document.get("type")
    if kind == "FeatureCollection":
        return [_item(feature, href) for feature in document["features"]]
    if kind == "Feature":
        return [_item(document, href)]
    if kind in {"Catalog", "Collection"}:
        return list(pystac.read_dict(document, href=href).get_items(recursive=True))
    raise ParameterError(
        f"a JSON document of type {kind!r}" + (f" at {href}" if href else ""),
        "a STAC Catalog, Collection, FeatureCollection or Feature",
        "point to the catalogue's JSON",
    )


def _item(document: dict[str, Any], href: str | None) -> pystac.Item:
    import pystac

    item = pystac.Item.from_dict(document)
    if item.get_self_href() is None and href is not None:
        # Relative hrefs of its assets are relative to the file the item stands in.
        item.set_self_href(href)
    return item
