"""Catalogues as commands open them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xarray as xr

__all__ = ["looks_like_stac", "open_catalogue"]


def looks_like_stac(source: str) -> bool:
    """Whether a source is JSON or an address of the web, and no raster."""
    suffix = Path(source).suffix.lower()
    return suffix in {".json", ".geojson"} or (
        source.startswith(("http://", "https://")) and not suffix.startswith(".t")
    )


def open_catalogue(catalog: str, *, mask: str = "none", **filters: Any) -> xr.DataTree:
    """:func:`xrs.open_stac` with options as the shell gives them: empty ones are none."""
    from xrs.io.stac import open_stac

    given = {name: _plain(value) for name, value in filters.items()}
    return open_stac(catalog, mask="auto" if mask == "auto" else None, **given)


def _plain(value: Any) -> Any:
    return (list(value) or None) if isinstance(value, Sequence) and not isinstance(value, str) else value
