"""Pixels of one asset, in physical values, on a part of its own grid or of a finer one that nests in it.

Both engines carry and tokenise only an asset's address. So the address they get is the whole description of what to
read, as JSON: two reads that differ in scale, offset or grid never share a Dask key.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass

import numpy as np
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox

from xrs.errors import AssetReadError, RadiometryError

__all__ = ["AssetSource", "MissingAssetWarning", "read_pixels"]

#: Of a pixel.
_TOLERANCE = 1e-3


class MissingAssetWarning(UserWarning):
    """An asset could not be read, and its pixels are missing because ``on_missing="skip"`` was asked."""


@dataclass(frozen=True)
class AssetSource:
    """Where a band of an item lies and how its numbers are to be understood.

    Attributes
    ----------
    item, href : str
        Identifier of the item, address of the file.
    band : int
        Position in the file, from one.
    transform : tuple of float
        The six numbers of the file's affine transform, from the item.
    shape : tuple of int
        Rows and columns, from the item.
    scale, offset, nodata : float or None
        ``value = stored * scale + offset``; None takes what the file says.
    dtype : str
        Type of the values; integers are given as they are stored.
    fill : float
        The value of missing pixels.
    reflectance : bool
        Whether integers without a scale are an error.
    skip : bool
        Whether a file that cannot be read is missing, with a warning, instead of an error.
    """

    item: str
    href: str
    band: int
    transform: tuple[float, ...]
    shape: tuple[int, int]
    scale: float | None
    offset: float | None
    nodata: float | None
    dtype: str
    fill: float
    reflectance: bool
    skip: bool

    def to_json(self) -> str:
        """The description as text; :meth:`from_json` gives it back."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> AssetSource:
        """The source that :meth:`to_json` described."""
        fields = json.loads(text)
        return cls(**fields | {"transform": tuple(fields["transform"]), "shape": tuple(fields["shape"])})


def read_pixels(source: AssetSource, geobox: GeoBox) -> np.ndarray:
    """Read the pixels of a source on a grid.

    Parameters
    ----------
    source : AssetSource
        What to read.
    geobox : GeoBox
        A grid of the source's CRS whose pixels are the source's, or whole fractions of them (then each source pixel
        fills its block).

    Returns
    -------
    numpy.ndarray
        (y, x) of the source's dtype; its fill where the source has no data or does not reach.

    Raises
    ------
    AssetReadError
        If the file is missing, damaged, or on another grid than its item says (unless ``source.skip``).
    RadiometryError
        If integers of a spectral band have no scale.
    """
    out = np.full(geobox.shape, source.fill, dtype=source.dtype)
    ratio, rows, columns = _spans(source, geobox)
    if rows is None or columns is None:
        return out
    values, problem = _attempt(source, rows, columns)
    if values is None:
        _missing(source, problem)
        return out
    fine = values.repeat(ratio, axis=0).repeat(ratio, axis=1) if ratio > 1 else values
    out[rows.target, columns.target] = fine[rows.cut, columns.cut]
    return out


@dataclass(frozen=True)
class _Span:
    """Along one axis: where pixels go, which of the file's are read, which of those (repeated) are wanted."""

    target: slice
    start: int
    stop: int
    cut: slice


def _spans(source: AssetSource, geobox: GeoBox) -> tuple[int, _Span | None, _Span | None]:
    own, wanted = Affine(*source.transform), geobox.affine
    column, row = (~wanted) @ (own.c, own.f)
    ratio = round(own.a / wanted.a)
    off = max(abs(row - round(row)), abs(column - round(column)), abs(own.a / wanted.a - ratio) * max(geobox.shape))
    if ratio < 1 or off > _TOLERANCE:
        raise AssetReadError(
            f"{source.href} has pixels of {own.a:g} that do not nest in pixels of {wanted.a:g}", "nested pixels"
        )
    return (
        ratio,
        _span(-round(row), geobox.shape[0], source.shape[0], ratio),
        _span(-round(column), geobox.shape[1], source.shape[1], ratio),
    )


def _span(first: int, length: int, available: int, ratio: int) -> _Span | None:
    """The overlap of wanted pixels, the first of which lies ``first`` (fine) pixels into the file, with the file."""
    low, high = max(0, first), min(first + length, available * ratio)
    if high <= low:
        return None
    start, stop = low // ratio, -(-high // ratio)
    return _Span(slice(low - first, high - first), start, stop, slice(low - start * ratio, high - start * ratio))


def _attempt(source: AssetSource, rows: _Span, columns: _Span) -> tuple[np.ndarray | None, str]:
    """The values, or why there are none.

    The reason is text: errors chained to rasterio's cannot be unpickled, so they would never come back from a
    worker process.
    """
    try:
        return _read(source, rows, columns), ""
    except (rasterio.errors.RasterioError, OSError) as error:
        return None, str(error.__cause__ or error)


def _read(source: AssetSource, rows: _Span, columns: _Span) -> np.ndarray:
    with rasterio.open(source.href) as file:
        _check_file(source, file)
        window = rasterio.windows.Window(
            columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start
        )
        stored = file.read(source.band, window=window)
        if np.dtype(source.dtype).kind != "f":
            return stored.astype(source.dtype)
        scale = file.scales[source.band - 1] if source.scale is None else source.scale
        offset = file.offsets[source.band - 1] if source.offset is None else source.offset
        nodata = file.nodatavals[source.band - 1] if source.nodata is None else source.nodata
    if source.reflectance and stored.dtype.kind != "f" and scale == 1:
        raise RadiometryError(
            f"asset {source.href} of item {source.item!r} holds {stored.dtype}, but nobody tells its scale",
            "raster:bands with scale and offset (or raster:scale at the asset)",
            "write them into the item's assets before opening",
        )
    values = (stored * float(scale) + float(offset)).astype(source.dtype)
    if nodata is not None:
        values[stored == nodata] = source.fill
    return values


def _check_file(source: AssetSource, file: rasterio.DatasetReader) -> None:
    if source.band > file.count:
        raise rasterio.errors.RasterioIOError(f"it has {file.count} bands")
    pixel = abs(source.transform[0])
    apart = max(abs(a - b) for a, b in zip(tuple(file.transform)[:6], source.transform, strict=True))
    if file.shape != source.shape or apart > _TOLERANCE * pixel:
        raise rasterio.errors.RasterioIOError(
            f"it has shape {file.shape} and transform {tuple(file.transform)[:6]}, "
            f"but its item tells {source.shape} and {source.transform}"
        )


def _missing(source: AssetSource, problem: str) -> None:
    problem = f"asset {source.href} (band {source.band}) of item {source.item!r} cannot be read ({problem})"
    if not source.skip:
        remedy = "fetch the file or mend the item, or open with on_missing='skip' to leave its pixels missing"
        raise AssetReadError(problem, "a complete file as its item tells", remedy)
    warnings.warn(f"{problem}; its pixels are missing", MissingAssetWarning, stacklevel=3)
