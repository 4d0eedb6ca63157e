"""Every error the package raises on purpose: what was found, what was expected, what to do."""

from __future__ import annotations

__all__ = [
    "AssetReadError",
    "BandNotFoundError",
    "ChunkingError",
    "GridMismatchError",
    "IncompleteProductError",
    "LayoutError",
    "MethodNotFoundError",
    "ModelCardError",
    "ParameterError",
    "ProductExistsError",
    "ProductMismatchError",
    "RadiometryError",
    "StacItemError",
    "StoreFullError",
    "TimeAxisError",
    "XrsError",
]


def _sentence(text: str) -> str:
    return text if text.endswith("?") else text.rstrip(".") + "."


class XrsError(Exception):
    """Base of every error raised by xrs.

    Parameters
    ----------
    found : str
        What was there.
    expected : str
        What was needed.
    remedy : str
        The call or the step that mends it.
    """

    def __init__(self, found: str, expected: str = "", remedy: str = "") -> None:
        self.found = found
        self.expected = expected
        self.remedy = remedy
        parts = [found, expected and f"Expected: {expected}", remedy and f"Remedy: {remedy}"]
        super().__init__(" ".join(_sentence(part) for part in parts if part))

    def __reduce__(self) -> tuple[type[XrsError], tuple[str, str, str]]:
        return type(self), (self.found, self.expected, self.remedy)


class LayoutError(XrsError, ValueError):
    """An object is not a cube: dims, coordinates or kind are not what the library works on."""


class GridMismatchError(XrsError, ValueError):
    """Two grids do not nest, differ in CRS or do not overlap, or an object has no regular grid."""


class BandNotFoundError(XrsError, KeyError):
    """A band is missing, or its name fits more than one band."""

    def __str__(self) -> str:
        # KeyError would show the repr of the message.
        return str(self.args[0])


class RadiometryError(XrsError, ValueError):
    """Values are not physical reflectance: integers, or numbers that were never scaled."""


class TimeAxisError(XrsError, ValueError):
    """Time is missing, unsorted or holds duplicates."""


class ChunkingError(XrsError, ValueError):
    """Chunks cannot be worked on within the memory bound, or do not fit a store."""


class ParameterError(XrsError, ValueError):
    """An argument is outside its range, of the wrong kind or unknown."""


class MethodNotFoundError(XrsError, KeyError):
    """No method of that name in that family."""

    def __str__(self) -> str:
        return str(self.args[0])


class ModelCardError(XrsError, ValueError):
    """A model does not fit the data it was given, or its file is damaged."""


class StacItemError(XrsError, ValueError):
    """A STAC item lacks what is needed to load it."""


class AssetReadError(XrsError, OSError):
    """An asset of a STAC item is missing or cannot be read."""


class ProductExistsError(XrsError, FileExistsError):
    """The path of a product already holds something."""


class ProductMismatchError(XrsError, ValueError):
    """A half-written product was made from other data or other parameters."""


class IncompleteProductError(XrsError, ValueError):
    """A product was not written to its end."""


class StoreFullError(XrsError, OSError):
    """No space is left for a product."""
