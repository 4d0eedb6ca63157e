"""STAC catalogues in, Zarr data products out."""
