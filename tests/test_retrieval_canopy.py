"""The network for canopies: its shape and start, what training teaches it, and the shipped weights on other canopies."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from support import cube

import xrs
from xrs.errors import ModelCardError, ParameterError
from xrs.models import Card, ImageSpec, load_model, shipped_models
from xrs.nets import get_network
from xrs.nets.canopy import side_by_side
from xrs.operators.retrieve import retrieve
from xrs.sensors import spectral_response
from xrs.spectra import draw_canopies
from xrs.training import retrieval
from xrs.training.retrieval import ANGLES, BANDS, VARIABLES, Examples, noisy

SHIPPED = [name for name in shipped_models() if name.startswith("s2-canopy")]


@pytest.fixture(scope="module")
def canopies() -> Examples:
    """Canopies of a seed that no training uses, seen with the ATBD's noise."""
    pytest.importorskip("prosail")
    drawn = retrieval.draw_examples(1500, seed=77).possible()
    return Examples(noisy(drawn.seen, seed=7), drawn.wanted)


def as_cube(examples: Examples) -> tuple[xr.DataArray, dict[str, xr.DataArray]]:
    """Examples as the pixels of two rows, and their angles."""
    half = len(examples.seen) // 2
    image = examples.seen[: 2 * half].reshape(2, half, -1)
    sensor = xrs.get_sensor("sentinel-2a")
    bands = {key: ("", sensor[key].wavelength) for key in BANDS["s2-canopy-10"]}
    scene = cube((2, half), 20.0, bands=bands, values=image[:, :, : -len(ANGLES)].transpose(2, 0, 1))
    degrees = np.rad2deg(np.arccos(np.clip(image[:, :, -len(ANGLES) :], -1, 1)))
    return scene, {name: xr.DataArray(degrees[..., k], dims=("y", "x")) for k, name in enumerate(ANGLES.values())}


def rmse(found: xr.DataArray, truth: np.ndarray, least: float = 0.9) -> float:
    known = np.isfinite(found.values.ravel())
    assert known.mean() > least
    return float(np.sqrt(((found.values.ravel() - truth[: known.size])[known] ** 2).mean()))


def test_members_side_by_side_add_by_the_law_of_total_variance() -> None:
    record = get_network("canopy")
    members = [record.build((11,), (1,), outputs=4, seed=seed) for seed in (1, 2, 3)]
    image = torch.randn(2, 11, 4, 5)
    target = torch.randn(2, 2, 4, 5) * 3 + 1
    for member in members:
        member.begin([image], target, torch.ones_like(target, dtype=torch.bool))
    joined = side_by_side(members, record.build((11,), (1,), outputs=4, members=3))
    with torch.no_grad():
        each = torch.stack([member(image) for member in members])
        mean, std = joined(image).chunk(2, dim=1)
    means, stds = each.chunk(2, dim=2)
    torch.testing.assert_close(mean, means.mean(dim=0), rtol=1e-4, atol=1e-5)
    variance = (stds**2).mean(dim=0) + means.var(dim=0, correction=0)
    torch.testing.assert_close(std**2, variance, rtol=1e-4, atol=1e-5)


def test_cards_for_retrieval() -> None:
    seen, told = ImageSpec(("B04", "cos_sun_zenith")), ImageSpec(("LAI", "LAI_std"))
    card = Card("canopy", "retrieval", (seen,), outputs=told)
    assert card.result is told
    with pytest.raises(ModelCardError, match="outputs"):
        Card("canopy", "retrieval", (seen,))
    with pytest.raises(ParameterError, match="outputs=0"):
        get_network("canopy").build((11,), (1,))


def test_noise_is_that_of_the_atbd() -> None:
    flat = np.tile(np.array([0.05, 0.4, 0.9, 0.8, 0.1], "float32"), (40_000, 1))
    seen = noisy(flat, seed=1)
    np.testing.assert_array_equal(seen[:, 2:], flat[:, 2:])
    error = seen[:, :2] - flat[:, :2]
    expected = np.sqrt(2 * (0.01**2 + (0.02 * flat[0, :2]) ** 2))
    np.testing.assert_allclose(error.std(axis=0), expected, rtol=0.02)
    shared = 0.01**2 + 0.02**2 * flat[0, 0] * flat[0, 1]
    assert np.cov(error.T)[0, 1] == pytest.approx(shared, rel=0.05)
    np.testing.assert_array_equal(noisy(flat, seed=1), seen)


def test_examples_are_canopies_seen_by_both_satellites() -> None:
    pytest.importorskip("prosail")
    examples = retrieval.draw_examples(4, seed=5)
    drawn = draw_canopies(4, seed=5000)
    keys = BANDS["s2-canopy-10"]
    for n, sensor in enumerate(("sentinel-2a", "sentinel-2b", "sentinel-2a", "sentinel-2b")):
        bands = spectral_response(sensor, drawn.wavelengths, keys) @ drawn.spectra[n]
        np.testing.assert_allclose(examples.seen[n, : len(keys)], bands, rtol=1e-5)
    np.testing.assert_allclose(examples.wanted[:, 0], drawn.parameters["lai"], rtol=1e-6)
    sun = np.cos(np.deg2rad(drawn.parameters["sun_zenith"]))
    np.testing.assert_allclose(examples.seen[:, len(keys) + 1], sun, rtol=1e-6)


def test_training_learns_and_is_reproducible() -> None:
    """On a world where all variables are what two bands say, without a simulation."""
    rng = np.random.default_rng(0)
    seen = rng.uniform(0.1, 0.5, (4000, 13)).astype("float32")
    share = 0.5 + (seen[:, 7] - seen[:, 2]) / 0.8
    wanted = np.tile(share[:, None], (1, len(VARIABLES)))
    examples = Examples(seen, wanted * np.float32(0.5))
    keys = BANDS["s2-canopy-8"]
    made = [retrieval.train_canopy(examples, keys, members=2, copies=1, epochs=40, seed=3) for _ in range(2)]
    assert made[0].card.sha256 == made[1].card.sha256
    found = retrieval.scores(made[0], examples, seed=9)
    assert found["LAI RMSE"] < 0.5 * float(examples.wanted[:, 0].std())
    assert 0.8 < found["LAI coverage"] < 0.97
    scene, angles = as_cube(examples)
    assert rmse(retrieve(scene, "FAPAR", model=made[0], **angles), examples.wanted[:, 1]) < 0.05


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("model", SHIPPED)
def test_shipped_weights_on_other_canopies(model: str, variable: str, canopies: Examples) -> None:
    """The figures of their cards hold on canopies and noise of other seeds, within the spread of 1,500 draws."""
    scene, angles = as_cube(canopies)
    truth = canopies.wanted[:, list(VARIABLES).index(variable)]
    both = retrieve(scene, variable, model=model, uncertainty=True, **angles)
    facts = load_model(model).card.metrics
    assert rmse(both[variable], truth) < 1.12 * facts[f"{variable} RMSE"]
    error = np.abs(both[variable].values.ravel() - truth[: both[variable].size])
    covered = (error <= 1.645 * both[f"{variable}_std"].values.ravel())[np.isfinite(error)].mean()
    assert covered == pytest.approx(0.9, abs=0.04)


@pytest.mark.parametrize("model", SHIPPED)
def test_shipped_leaf_area_is_nearer_than_snaps(model: str, canopies: Examples) -> None:
    """0.89 is the theoretical figure of snap by the ATBD."""
    scene, angles = as_cube(canopies)
    found = retrieve(scene, model=model, **angles)
    truth = canopies.wanted[: found.size, 0]
    assert rmse(found, truth) < rmse(retrieve(scene, method="snap", domain="any", **angles), truth)
    usual = np.isfinite(found.values.ravel()) & (truth <= 6)
    error = (found.values.ravel() - truth)[usual]
    assert float(np.sqrt((error**2).mean())) < 0.89
    # A little of the leaf area of thicker canopies, which look alike, is in the estimates of these: 0.10 to 0.13.
    assert abs(float(error.mean())) < 0.2


@pytest.mark.parametrize(("variable", "most"), [("FAPAR", 0.07), ("FCOVER", 0.065), ("CCC", 70.0), ("CWC", 0.03)])
def test_snap_on_simulated_canopies_is_near_its_theoretical_figures(
    variable: str, most: float, canopies: Examples
) -> None:
    """0.05, 0.04, 56 ug/cm2 and 0.03 g/cm2 by the ATBD, on other soils than these."""
    scene, angles = as_cube(canopies)
    truth = canopies.wanted[:, list(VARIABLES).index(variable)]
    assert rmse(retrieve(scene, variable, "snap", domain="any", **angles), truth) < most


def test_shipped_weights_are_small() -> None:
    assert len(SHIPPED) == 2
    size = sum(array.nbytes for name in SHIPPED for array in load_model(name).weights().values())
    assert size < 200_000
    assert {load_model(name).card.task for name in SHIPPED} == {"retrieval"}


def test_the_model_with_the_most_bands_that_fit_is_taken() -> None:
    sensor = xrs.get_sensor("sentinel-2a")
    bands = {key: ("", sensor[key].wavelength) for key in BANDS["s2-canopy-10"]}
    scene = cube((3, 4), 20.0, bands=bands)
    for keys, name in (*((BANDS[name], name) for name in SHIPPED), (BANDS["s2-canopy-8"], "s2-canopy-8")):
        part = scene.sel(band=list(keys))
        np.testing.assert_array_equal(retrieve(part, sun_zenith=40.0), retrieve(part, sun_zenith=40.0, model=name))


def test_the_embedded_landscape_whose_canopies_follow_other_physics() -> None:
    """Sparse canopies come out right, thick ones too thin, and in order; bounds set after looking."""
    dates = ["2023-04-20", "2023-05-31", "2023-07-12"]
    scene = xrs.scenes.landscape((64, 64), resolution=20.0, times=dates, seed=3)
    seen = xrs.observe(scene, "sentinel-2a", bands=BANDS["s2-canopy-10"], resolution=20.0).compute()
    truth = xrs.scenes.truth(scene).lai.values
    for method in ("canopy", "snap"):
        found = retrieve(seen, method=method, sun_zenith=38.0).values
        known = np.isfinite(found)
        assert np.corrcoef(found[known], truth[known])[0, 1] > 0.8
        sparse, thick = known & (truth < 2), known & (truth > 4)
        assert float(np.sqrt(((found - truth)[sparse] ** 2).mean())) < 0.5
        assert 2.0 < float(found[thick].mean()) < float(truth[thick].mean())


def seasonal(shared_data):  # type: ignore[no-untyped-def]
    """Flanders at 20 m, clear pixels of 2018, and the sun's zenith by date."""
    import json

    import pandas as pd

    folder = shared_data / "flanders"
    tree = xrs.open_stac(folder / "catalog.json", datetime="2018", mask="auto")
    told = [json.loads(path.read_text())["properties"] for path in folder.glob("items/*/*.json")]
    sun = {pd.Timestamp(p["datetime"]).tz_localize(None): 90 - p["view:sun_elevation"] for p in told}
    # The catalogue places the 20 m bands one row of 10 m too far north.
    coarse = tree["r20m"].to_dataset().isel(y=slice(1, None)).drop_vars("SCL")
    fine = tree["r10m"].to_dataset().isel(y=slice(1, -1))
    means = {str(key): band.coarsen(y=2, x=2).reduce(np.mean) for key, band in fine.items()}
    moved = {key: (band.dims, band.data, fine[key].attrs) for key, band in means.items()}
    zenith = xr.DataArray([sun[pd.Timestamp(t)] for t in coarse.time.values], dims="time", coords={"time": coarse.time})
    return coarse.assign(moved).compute(), zenith


def test_leaf_area_of_maize_in_flanders(shared_data) -> None:  # type: ignore[no-untyped-def]
    """Sown in May 2018, fully grown in July, harvested in September: bounds set before looking at the result."""
    scene, sun = seasonal(shared_data)
    with xr.open_dataset(shared_data / "flanders" / "labels_10m.nc") as labels:
        maize = (labels["CT"].values == 1200)[1:-1].reshape(31, 2, 32, 2).all(axis=(1, 3))
    for method in ("canopy", "snap"):
        lai = retrieve(scene, method=method, sun_zenith=sun, view_zenith=5.0)
        of_maize = lai.where(xr.DataArray(maize, dims=("y", "x"))).median(("y", "x"))
        by_month = of_maize.groupby("time.month").median()
        assert float(by_month.sel(month=5)) < 0.6
        assert 2.0 < float(by_month.sel(month=7)) < 6.0
        assert float(by_month.sel(month=10)) < 1.0
