"""The weights that make EnMAP's bands of Sentinel-2's: what they say of themselves, and real spectra they never saw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from support import grid

import xrs
from xrs.cube import assign_bands, assign_geobox
from xrs.models import Model
from xrs.quality import sam
from xrs.spectra import draw_pairs
from xrs.training import shipped_spectral as shipped

NAME = "s2-enmap-spectralift"


@pytest.fixture(scope="module")
def model() -> Model:
    return xrs.load_model(NAME)


def labelled(values: np.ndarray, keys: Any, sensor: str) -> xr.DataArray:
    bands = [xrs.get_sensor(sensor)[key] for key in keys]
    cube = assign_bands(
        xr.DataArray(values, dims=("band", "y", "x"), attrs={"platform": sensor}),
        list(keys),
        wavelength=[band.wavelength for band in bands],
        fwhm=[band.fwhm for band in bands],
    )
    return assign_geobox(cube, grid(values.shape[1:], 30.0))


@pytest.fixture(scope="module")
def potsdam(shared_data: Path) -> xr.DataArray:
    """EnMAP's image of Potsdam, July 2022, the bands that it holds."""
    with xr.open_dataset(shared_data / "enmap_potsdam.nc") as file:
        numbers, keys = file["reflectance_dn"].values, np.array([f"B{n:03d}" for n in file["band"].values])
    held = (numbers > -9999).any(axis=(1, 2))
    values = np.where(numbers[held] < -9999, np.nan, numbers[held] * 1e-4).astype("float32")
    return labelled(values, keys[held].tolist(), "enmap")


def test_the_bands_are_those_that_water_leaves() -> None:
    left_out = set(xrs.get_sensor("enmap").keys) - set(shipped.good_bands().keys)
    assert left_out == {*(f"B{n}" for n in range(130, 137)), *(f"B{n}" for n in range(164, 168))}


def test_the_card_tells_what_it_was_made_of(model: Model) -> None:
    card = model.card
    assert card.images[0].bands == shipped.BANDS
    assert card.outputs is not None
    assert list(card.outputs.bands) == shipped.good_bands().keys
    assert len(card.outputs.fwhm) == len(card.outputs.bands) == 213
    assert card.licence == "Apache-2.0"
    assert (card.training["library"], card.training["noise"]) == ("land", [0.02, 0.002])
    assert card.metrics["rmse"] < card.metrics["linear_rmse"]
    assert card.metrics["sam"] < card.metrics["linear_sam"]
    assert card.metrics["coverage"] == pytest.approx(0.9, abs=0.03)
    assert sum(values.nbytes for values in model.weights().values()) < 1_500_000


def test_the_script_makes_such_a_model() -> None:
    few = {"examples": 3200, "epochs": 1, "uncertainty": None, "features": 8, "layers": 1}
    one, other = (shipped.make(seed=3, **few) for _ in range(2))
    assert one.card.sha256 == other.card.sha256
    assert one.card.outputs == xrs.load_model(NAME).card.outputs


def test_draws_that_had_no_part_lie_within_the_intervals(model: Model) -> None:
    given = xrs.get_sensor("sentinel-2a").select(shipped.BANDS)
    fresh = draw_pairs("land", given, shipped.good_bands(), 1024, seed=987, noise=(0.02, 0.002))
    ms = labelled(fresh.given.T.reshape(-1, 32, 32), shipped.BANDS, "sentinel-2a").rename("spectra")
    told: Any = xrs.spectral_superres(ms, shipped.good_bands(), model=model, consistent=False, uncertainty=True)
    error = np.abs(told["spectra"].values - fresh.wanted.T.reshape(-1, 32, 32))
    assert (error <= 1.645 * told["spectra_std"].values).mean() == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize("consistent", ["auto", False])
def test_real_spectra_it_never_saw(potsdam: xr.DataArray, consistent: Any) -> None:
    ms: Any = xrs.observe(potsdam, "sentinel-2a", bands=list(shipped.BANDS), ratio=1, noise=None)
    made: Any = xrs.spectral_superres(ms, "enmap", sensor="sentinel-2a", consistent=consistent)
    truth = potsdam.sel(band=made.band.values)
    assert truth.sizes["band"] == 213
    # The goal that was set is 4 degrees; interpolation between the bands is the simplest there is.
    angle = float(sam(made, truth))
    known = [xrs.get_sensor("sentinel-2a")[key].wavelength for key in shipped.BANDS]
    order = np.argsort(known)
    pixels = ms.values.reshape(len(known), -1)[order]
    lines = np.stack([np.interp(truth.wavelength, np.array(known)[order], pixel) for pixel in pixels.T], axis=1)
    simple = made.copy(data=lines.reshape(made.shape).astype("float32"))
    assert angle <= 4.0
    assert angle < 0.8 * float(sam(simple, truth))
