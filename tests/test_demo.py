"""The demo: what it leaves, and that its scores are those of the files it leaves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cli_support import xrs_command
from matplotlib.image import imread

import xrs
from xrs.demo import SHARPENERS, SMOOTHERS, run_demo, simulate
from xrs.errors import ParameterError
from xrs.plots import composite, stretch_of

SIZE = 64


@pytest.mark.slow
def test_the_demo_leaves_product_scores_and_figure(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    result = xrs_command("demo", out, "--size", SIZE, "--every", "15D")
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in out.iterdir()) == ["figure.png", "product.json", "product.zarr", "quality.csv"]
    product = xrs.open_product(out / "product.zarr")
    assert set(product) == {"NDVI", "NDRE1"}
    assert product["NDVI"].shape == (17, SIZE, SIZE)
    assert imread(out / "figure.png").shape[1] > 1000
    scores = pd.read_csv(out / "quality.csv", index_col=["step", "method"])
    sharpening = scores.loc["sharpening"]
    assert set(sharpening.index) == set(SHARPENERS)
    assert set(scores.loc["smoothing"].index) == set(SMOOTHERS)
    assert sharpening.index[0] != "exp"
    assert sharpening["RMSE"].min() < 0.5 * sharpening.loc["exp", "RMSE"]
    for name in (*SHARPENERS, "savgol"):
        assert name in result.stdout
    assert xrs_command("demo", out, "--size", SIZE, "--every", "30D").exit_code == 0
    assert xrs.open_product(out / "product.zarr").sizes["time"] == 9


def test_what_is_seen_is_the_truth_but_for_noise_and_gaps() -> None:
    season = simulate(SIZE, pd.DatetimeIndex(["2023-05-04", "2023-07-13"]), seed=3)
    seen = season.observed["r10m"]["B08"]
    assert seen.shape == season.valid.shape
    np.testing.assert_array_equal(seen.notnull().values, season.valid.values)
    error = (seen.values - season.truth.sel(band="B08").values)[season.valid.values]
    assert error.size
    assert np.sqrt(np.mean(error**2)) < 0.03
    coarse = season.observed["r20m"]["B11"].notnull().values
    np.testing.assert_array_equal(coarse.repeat(2, 1).repeat(2, 2), season.valid.values)


@pytest.mark.parametrize("size", [32, 65])
def test_sizes_that_do_not_fit_are_refused_before_anything_is_written(size: int, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="size"):
        run_demo(tmp_path / "demo", size=size)
    assert not (tmp_path / "demo").exists()


def test_composites_stretch_each_band_and_leave_gaps_white() -> None:
    values = np.stack([np.linspace(0, 1, 101), np.linspace(2, 4, 101), np.full(101, 5.0)]).reshape(3, 1, 101)
    values[2, 0, :50] = 6.0
    values[:, 0, 10] = np.nan
    image = (
        xrs.scenes.landscape((1, 101), times=["2023-05-01"], wavelengths=[500, 600, 700]).isel(time=0).copy(data=values)
    )
    bands = list(image["band"].values)
    stretch = stretch_of(image, bands, percent=0.0)
    assert stretch[bands[1]] == (2.0, 4.0)
    shown = composite(image, stretch)
    assert shown.shape == (1, 101, 3)
    np.testing.assert_allclose(shown[0, 75], [0.75, 0.75, 0.0])
    np.testing.assert_array_equal(shown[0, 10], 1.0)
