"""STAC catalogues in, Zarr data products out."""

from xrs.io.product import ProductStatus, open_product, product_status, to_product
from xrs.io.stac import DuplicateItemWarning, MissingAssetWarning, open_stac, usable_qa_pixel, usable_scl

__all__ = [
    "DuplicateItemWarning",
    "MissingAssetWarning",
    "ProductStatus",
    "open_product",
    "open_stac",
    "product_status",
    "to_product",
    "usable_qa_pixel",
    "usable_scl",
]
