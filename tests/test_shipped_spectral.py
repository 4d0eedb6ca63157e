"""The weights that make EnMAP's bands of Sentinel-2's: what they say of themselves, and real spectra they never saw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from support import grid

import xrs
from xrs.cube import assign_bands, assign_geobox, to_array
from xrs.quality import sam
from xrs.spectra import draw_pairs
from xrs.training import shipped_spectral as shipped

NAME = "s2-enmap-spectralift"

#: Quick trainings, by the network.
FEW: dict[str, dict[str, Any]] = {
    "spectralift": {"examples": 3200, "epochs": 1, "uncertainty": None, "features": 8, "layers": 1},
    "hsrnet": {"examples": 640, "patches": 8, "patch_size": 8, "epochs": 1, "stages": 1, "subspace": 4},
    "ponet": {"examples": 640, "patches": 8, "patch_size": 8, "epochs": 1, "stages": 1, "subspace": 4},
}


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
    cube = labelled(values, keys[held].tolist(), "enmap")
    return cube.isel(y=slice(cube.sizes["y"] // 2 * 2), x=slice(cube.sizes["x"] // 2 * 2))


def seen(scene: xr.DataArray, bands: Any, ratio: int = 1) -> Any:
    return xrs.observe(scene, "sentinel-2a", bands=list(bands), ratio=ratio, noise=None)


def interpolated(ms: xr.DataArray, made: xr.DataArray) -> xr.DataArray:
    """Straight lines between the bands: the simplest there is."""
    known = np.array([xrs.get_sensor("sentinel-2a")[key].wavelength for key in ms["band"].values])
    order = np.argsort(known)
    pixels = ms.values.reshape(len(known), -1)[order]
    lines = np.stack([np.interp(made["wavelength"], known[order], pixel) for pixel in pixels.T], axis=1)
    return made.copy(data=lines.reshape(made.shape).astype("float32"))


def test_the_bands_are_those_that_water_leaves() -> None:
    left_out = set(xrs.get_sensor("enmap").keys) - set(shipped.good_bands().keys)
    assert left_out == {*(f"B{n}" for n in range(130, 137)), *(f"B{n}" for n in range(164, 168))}


@pytest.mark.parametrize("name", shipped.RECIPES)
def test_the_card_tells_what_it_was_made_of(name: str) -> None:
    model = xrs.load_model(name)
    card = model.card
    assert sorted(key for image in card.images for key in image.bands) == sorted(shipped.BANDS)
    assert [image.ratio for image in card.images] == ([1, 2] if card.network == "ponet" else [1])
    assert card.outputs is not None
    assert list(card.outputs.bands) == shipped.good_bands().keys
    assert len(card.outputs.fwhm) == len(card.outputs.bands) == 213
    assert card.licence == "Apache-2.0"
    assert (card.training["library"], card.training["noise"]) == ("land", [0.02, 0.002])
    assert card.metrics["rmse"] < card.metrics["linear_rmse"]
    assert card.metrics["sam"] < card.metrics["linear_sam"]
    assert sum(values.nbytes for values in model.weights().values()) < 2_000_000


def test_all_weights_together_are_small() -> None:
    places = Path(xrs.models.__file__).parent / "shipped"
    assert sum(file.stat().st_size for file in places.iterdir()) < 5_000_000


@pytest.mark.parametrize("name", shipped.RECIPES)
def test_the_script_makes_such_a_model(name: str) -> None:
    few = FEW[shipped.RECIPES[name]["network"]]
    one, other = (shipped.make(name, seed=3, **few) for _ in range(2))
    assert one.card.sha256 == other.card.sha256
    like = xrs.load_model(name).card
    assert (one.card.images, one.card.outputs) == (like.images, like.outputs)


def test_draws_that_had_no_part_lie_within_the_intervals() -> None:
    model = xrs.load_model(NAME)
    assert model.card.metrics["coverage"] == pytest.approx(0.9, abs=0.03)
    given = xrs.get_sensor("sentinel-2a").select(shipped.BANDS)
    fresh = draw_pairs("land", given, shipped.good_bands(), 1024, seed=987, noise=(0.02, 0.002))
    ms = labelled(fresh.given.T.reshape(-1, 32, 32), shipped.BANDS, "sentinel-2a").rename("spectra")
    told: Any = xrs.spectral_superres(ms, shipped.good_bands(), model=model, consistent=False, uncertainty=True)
    error = np.abs(told["spectra"].values - fresh.wanted.T.reshape(-1, 32, 32))
    assert (error <= 1.645 * told["spectra_std"].values).mean() == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize("method", ["spectralift", "hsrnet"])
@pytest.mark.parametrize("consistent", ["auto", False])
def test_real_spectra_they_never_saw(potsdam: xr.DataArray, method: str, consistent: Any) -> None:
    ms = seen(potsdam, shipped.BANDS)
    made: Any = xrs.spectral_superres(ms, "enmap", method, sensor="sentinel-2a", consistent=consistent)
    truth = potsdam.sel(band=made.band.values)
    assert truth.sizes["band"] == 213
    # The goal that was set is 4 degrees.
    angle = float(sam(made, truth))
    assert angle <= 4.0
    assert angle < 0.8 * float(sam(interpolated(ms, made), truth))


def test_bands_of_two_grids_as_they_are(potsdam: xr.DataArray) -> None:
    groups = {f"r{side}m": seen(potsdam, bands, side // 10) for side, bands in shipped.BANDS_BY_GRID.items()}
    made = to_array(xrs.spectral_superres(groups, "enmap", "ponet", sensor="sentinel-2a"))
    fine, coarse = groups.values()
    truth = potsdam.sel(band=made.band.values)
    angle = float(sam(made, truth))
    assert angle <= 4.0
    spread = coarse.interp(y=fine.y, x=fine.x, kwargs={"fill_value": "extrapolate"}).astype("float32")
    both = xr.concat([fine, spread], "band", coords="minimal", compat="override", combine_attrs="override")
    plain = xrs.spectral_superres(both, "enmap", sensor="sentinel-2a")
    assert angle < 0.9 * float(sam(plain, truth))


def test_wavelengths_of_ones_own_from_two_grids() -> None:
    scene = xrs.scenes.landscape((32, 32), resolution=10.0, times=["2023-06-10"]).isel(time=0)
    s2: Any = xrs.observe(scene, "sentinel-2a", bands=list(shipped.BANDS))
    made = xrs.spectral_superres(s2, to=[500.0, 600.0, 700.0, 800.0], method="ponet")
    assert isinstance(made, xr.Dataset)
    cube = to_array(made)
    assert cube["wavelength"].values.tolist() == [500.0, 600.0, 700.0, 800.0]
    assert cube.sizes["x"] == 32
    # Dark red light, bright near infrared where plants grow.
    assert float(cube.sel(band="800").mean()) > 2 * float(cube.sel(band="600").mean())
