"""Spectral indices: band matching, values, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from support import cube, nothing_computed

import xrs
from xrs.cube import assign_bands, to_dataset
from xrs.errors import BandNotFoundError, LayoutError, ParameterError, RadiometryError
from xrs.indices import match_bands

#: Sentinel-2's ten land bands as catalogues of EO v1.1 describe them: three bands named ``rededge``.
S2 = {
    "B02": ("blue", 492.4),
    "B03": ("green", 559.8),
    "B04": ("red", 664.6),
    "B05": ("rededge", 704.1),
    "B06": ("rededge", 740.5),
    "B07": ("rededge", 782.8),
    "B08": ("nir", 832.8),
    "B8A": ("nir08", 864.7),
    "B11": ("swir16", 1613.7),
    "B12": ("swir22", 2202.4),
}


@pytest.fixture
def s2() -> xr.DataArray:
    return cube((6, 7), bands=S2, times=2)


def test_bands_of_sentinel_2(s2: xr.DataArray) -> None:
    names = ["B", "G", "R", "RE1", "RE2", "RE3", "N", "N2", "S1", "S2"]
    for obj in (s2, to_dataset(s2)):
        assert list(match_bands(obj, names).values()) == list(S2)


def test_hyperspectral_takes_the_middle_of_the_range() -> None:
    wavelengths = np.arange(600.0, 900.0, 10)
    keys = [f"w{w:.0f}" for w in wavelengths]
    da = xr.DataArray(np.full((len(keys), 1, 1), 0.2), dims=("band", "y", "x"), coords={"y": [0.5], "x": [0.5]})
    da = assign_bands(da, keys, wavelength=wavelengths)
    assert match_bands(da, ["N", "R"]) == {"N": "w830", "R": "w650"}


def test_ambiguous_band_is_settled_by_name(s2: xr.DataArray) -> None:
    bare = s2.drop_vars("common_name")
    with pytest.raises(BandNotFoundError, match=r"\['B07', 'B08', 'B8A'\].*bands="):
        xrs.index(bare, "NDVI")
    chosen = xrs.index(bare, "NDVI", bands={"N": "B8A"}).NDVI
    np.testing.assert_allclose(
        chosen, ((s2.sel(band="B8A") - s2.sel(band="B04")) / (s2.sel(band="B8A") + s2.sel(band="B04"))), rtol=1e-5
    )


def test_values_by_hand(s2: xr.DataArray) -> None:
    v = {k: s2.sel(band=k, drop=True) for k in S2}
    out = s2.rsfuse.index(["NDVI", "EVI", "NDRE1", "NDWI", "NBR"])
    by_hand = {
        "NDVI": (v["B08"] - v["B04"]) / (v["B08"] + v["B04"]),
        "EVI": 2.5 * (v["B08"] - v["B04"]) / (v["B08"] + 6 * v["B04"] - 7.5 * v["B02"] + 1),
        "NDRE1": (v["B06"] - v["B05"]) / (v["B06"] + v["B05"]),
        "NDWI": (v["B03"] - v["B08"]) / (v["B03"] + v["B08"]),
        "NBR": (v["B08"] - v["B12"]) / (v["B08"] + v["B12"]),
    }
    for name, expected in by_hand.items():
        np.testing.assert_allclose(out[name], expected, rtol=2e-5, atol=1e-6)
        assert out[name].dtype == np.float32
        assert out[name].attrs["long_name"]


def test_constants_are_arguments(s2: xr.DataArray) -> None:
    red, nir = s2.sel(band="B04", drop=True), s2.sel(band="B08", drop=True)
    np.testing.assert_allclose(xrs.index(s2, "SAVI", L=0.5).SAVI, 1.5 * (nir - red) / (nir + red + 0.5), rtol=1e-5)
    with pytest.raises(ParameterError, match="no constant 'M'.*'L'"):
        xrs.index(s2, "SAVI", M=1)


def test_kernel_index(s2: xr.DataArray) -> None:
    red, nir = s2.sel(band="B04", drop=True), s2.sel(band="B08", drop=True)
    expected = np.tanh((nir - red) ** 2 / (4 * 0.3**2))
    np.testing.assert_allclose(xrs.index(s2, "kNDVI", sigma=0.3).kNDVI, expected, atol=1e-5)


def test_missing_stays_with_the_bands_it_concerns(s2: xr.DataArray) -> None:
    s2.loc[{"band": "B12"}][0, 2, 3] = np.nan
    out = xrs.index(s2, ["NDVI", "NBR"])
    assert not np.isnan(out.NDVI).any()
    assert int(np.isnan(out.NBR).sum()) == 1


def test_zero_denominator_is_missing(s2: xr.DataArray) -> None:
    s2.values[:, :, 0, 0] = 0
    assert np.isnan(xrs.index(s2, "NDVI").NDVI.values[:, 0, 0]).all()


def test_lazy_and_equal_at_any_chunking(s2: xr.DataArray) -> None:
    with nothing_computed():
        lazy = xrs.index(to_dataset(s2).chunk(time=1, y=4, x=3), "EVI").EVI
    np.testing.assert_array_equal(lazy.compute(), xrs.index(s2, "EVI").EVI)


def test_integers_and_unscaled_values_are_refused(s2: xr.DataArray) -> None:
    with pytest.raises(RadiometryError, match="uint16"):
        xrs.index((s2 * 1e4).astype("uint16"), "NDVI")
    with pytest.raises(RadiometryError, match="holds values from"):
        xrs.index(s2 * 1e4, "NDVI")
    with pytest.raises(RadiometryError, match="scale and offset"):
        xrs.index((s2 * 1e4).chunk(), "NDVI").NDVI.compute()


def test_unknown_names(s2: xr.DataArray) -> None:
    with pytest.raises(ParameterError, match="NDVI"):
        xrs.index(s2, "ndvi")
    with pytest.raises(ParameterError, match="no index was named"):
        xrs.index(s2, [])
    with pytest.raises(LayoutError, match="no dim 'band'"):
        xrs.index(s2.isel(band=0), "NDVI")
    with pytest.raises(BandNotFoundError, match="thermal|Thermal"):
        xrs.index(s2, "NSTv1")


def test_every_index_of_optical_domains_runs_on_ten_bands(s2: xr.DataArray) -> None:
    table = xrs.list_indices()
    known = {"A", "B", "G", "R", "RE1", "RE2", "RE3", "N", "N2", "S1", "S2"} - {"A"}
    runnable = [r.name for r in table.itertuples() if set(r.bands.split(", ")) <= known and "PAR" not in r.constants]
    assert len(runnable) > 180
    out = xrs.index(s2.isel(y=[0, 1], x=[0, 1], time=[0]), runnable)
    assert len(out) == len(runnable)
    assert all(v.dtype == np.float32 and v.shape == (1, 2, 2) for v in out.values())
