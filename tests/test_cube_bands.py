"""Bands as metadata: keys once, facts read without the user's scheduler, quality layers told apart."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from support import cube, nothing_computed, s2_tree

import xrs
from xrs.cube import band_keys, band_widths, to_array, to_dataset, wavelengths
from xrs.cube.bands import without_quality
from xrs.errors import LayoutError, RadiometryError


def _with_widths() -> xr.DataArray:
    da = cube((8, 8))
    return da.assign_coords(fwhm=("band", np.full(da.sizes["band"], 30.0)))


def test_what_stands_beside_bands_needs_no_scheduler() -> None:
    da = _with_widths()
    lazy = da.chunk(y=4)
    assert lazy["fwhm"].chunks is not None, "xarray keeps these in memory now: the test tests nothing"
    with nothing_computed():
        array, dataset = to_array(lazy), to_dataset(lazy)
        again = to_array(dataset)
    for made in (array, again):
        np.testing.assert_array_equal(wavelengths(made), wavelengths(da))
        np.testing.assert_array_equal(band_widths(made), 30.0)
        assert made["fwhm"].chunks is None and made.chunks is not None
    assert dataset["B04"].attrs["wavelength"] == 665.0


def test_keys_that_repeat_are_no_cube() -> None:
    twice = cube((8, 8)).isel(band=[0, 1, 1])
    for refuse in (band_keys, to_array):
        with pytest.raises(LayoutError, match=r"\['B03'\] more than once"):
            refuse(twice)
    with pytest.raises(LayoutError, match="more than once"):
        xrs.spectral_superres(twice)
    with pytest.raises(LayoutError, match="more than once"):
        xrs.degrade(twice, 2)


class TestQualityLayers:
    def test_integers_beside_reflectance_are_left_out(self) -> None:
        ds = to_dataset(cube((8, 8)))
        with_layer = ds.assign(SCL=(("y", "x"), np.full((8, 8), 4, "uint8")))
        assert band_keys(without_quality(with_layer)) == list(ds)
        assert list(without_quality(ds)) == list(ds)

    def test_bands_that_were_not_scaled_stay(self) -> None:
        ds = to_dataset(cube((8, 8)))
        raw = ds.assign(B04=(ds["B04"] * 10_000).astype("int16").assign_attrs(ds["B04"].attrs))
        assert "B04" in without_quality(raw)
        bare = raw.assign(B04=raw["B04"].drop_attrs())
        assert "B04" in without_quality(bare, ["B04"]) and "B04" not in without_quality(bare)
        assert list(without_quality(bare[["B04"]])) == ["B04"]

    def test_groups_of_a_tree_too(self) -> None:
        tree = s2_tree(4, sixty=False)
        told = tree.copy()
        layer = xr.DataArray(np.full((12, 12), 4, "uint8"), dims=("y", "x"))
        told["r20m"] = told["r20m"].to_dataset().assign(SCL=layer)
        xr.testing.assert_allclose(xrs.sharpen(told, "sfim"), xrs.sharpen(tree, "sfim"))

    def test_integers_of_a_known_sensor_are_an_error(self) -> None:
        ds = to_dataset(cube((8, 8)))
        bare = ds.assign(B04=(ds["B04"] * 10_000).astype("int16").drop_attrs()).assign_attrs(platform="sentinel-2a")
        with pytest.raises(RadiometryError):
            xrs.spectral_superres(bare, method="ridge")
