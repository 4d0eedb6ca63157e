"""What a cube is: its layout, bands, grid and metadata. Knows neither Dask nor torch."""

from xrs.cube.bands import ancillaries, assign_bands, band_keys, find_band, find_bands, is_flag, wavelengths
from xrs.cube.grid import (
    Nesting,
    assign_geobox,
    coarsen,
    crs_of,
    describe,
    geobox_of,
    nest,
    refine,
    same_grid,
    shared_pixels,
)
from xrs.cube.layout import (
    DIMS,
    check_reflectance,
    check_time,
    is_lazy,
    to_array,
    to_dataset,
    with_all_dims,
)
from xrs.cube.metadata import REFLECTANCE_ATTRS, package_version, provenance, to_json

__all__ = [
    "DIMS",
    "REFLECTANCE_ATTRS",
    "Nesting",
    "ancillaries",
    "assign_bands",
    "assign_geobox",
    "band_keys",
    "check_reflectance",
    "check_time",
    "coarsen",
    "crs_of",
    "describe",
    "find_band",
    "find_bands",
    "geobox_of",
    "is_flag",
    "is_lazy",
    "nest",
    "package_version",
    "provenance",
    "refine",
    "same_grid",
    "shared_pixels",
    "to_array",
    "to_dataset",
    "to_json",
    "wavelengths",
    "with_all_dims",
]
