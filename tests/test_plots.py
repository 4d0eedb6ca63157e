"""Figures show what they are given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from support import cube
from training import TINY, tree

import xrs
from xrs.cube import assign_bands, to_dataset
from xrs.errors import ParameterError

pytest.importorskip("matplotlib")

#: Two detectors that overlap from 900 to 990 nm, and water vapour from 1330 to 1480 nm.
NM = np.r_[400.0:1000:10, 900.0:1330:12, 1480.0:1700:12]


def hyperspectral(shape: tuple[int, int] = (6, 6), size: float = 10.0) -> xr.DataArray:
    return cube(shape, size, bands={f"B{n:03}": ("", float(nm)) for n, nm in enumerate(NM)})


def drawn(axes: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(line.get_xdata(), line.get_ydata()) for line in axes.lines]


def test_loss_curve(tmp_path: Path) -> None:
    model = xrs.train(tree(), epochs=6, lr=0.03, schedule="constant", **TINY)
    figure = xrs.plots.loss_curve(model)
    curve = model.card.training["loss_curve"]
    train, held_out, best = figure.axes[0].lines
    np.testing.assert_array_equal(train.get_ydata(), [epoch["train"] for epoch in curve])
    np.testing.assert_array_equal(held_out.get_ydata(), [epoch["held_out"] for epoch in curve])
    np.testing.assert_array_equal(held_out.get_xdata(), np.arange(1, 7))
    assert best.get_ydata() == [min(epoch["held_out"] for epoch in curve)]
    xrs.plots.save(figure, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_a_model_that_was_not_trained_here(monkeypatch: pytest.MonkeyPatch) -> None:
    from models import s2_model

    model = s2_model(tree())
    with pytest.raises(ParameterError, match="without a loss curve.*xrs.train"):
        xrs.plots.loss_curve(model)
    monkeypatch.setattr("xrs.plots.find_spec", lambda name: None)
    with pytest.raises(ParameterError, match="matplotlib is not installed"):
        xrs.plots.loss_curve(model)


def test_spectra_are_those_of_the_places_with_gaps_where_bands_lack() -> None:
    hs = hyperspectral()
    x, y = float(hs.x[4]), float(hs.y[1])
    figure = xrs.plots.spectra(hs, {"field": (x + 4.9, y - 4.9), "edge": (float(hs.x[0]) - 5.0, float(hs.y[0]) + 5.0)})
    field, edge = figure.axes
    assert (field.get_title(loc="left"), edge.get_title(loc="left")) == ("field", "edge")
    for axes, (row, column) in ((field, (1, 4)), (edge, (0, 0))):
        lines = drawn(axes)
        np.testing.assert_array_equal(np.concatenate([nm for nm, _ in lines]), NM)
        np.testing.assert_array_equal(np.concatenate([v for _, v in lines]), hs.values[:, row, column])
        assert [nm[0] for nm, _ in lines] == [400.0, 900.0, 1480.0]
    assert not figure.legends


def test_bands_in_another_order_are_sorted_and_missing_values_break_the_line() -> None:
    order = ("B08", "B02", "B04", "B03")
    s2 = cube((3, 3)).sel(band=list(order)).copy()
    s2[1, 0, 0] = np.nan
    ((nm, values),) = drawn(xrs.plots.spectra(s2, [(float(s2.x[0]), float(s2.y[0]))]).axes[0])
    np.testing.assert_array_equal(nm, [492, 560, 665, 833])
    np.testing.assert_array_equal(values, s2.values[[1, 3, 2, 0], 0, 0])
    assert np.isnan(values[0])


def test_a_second_sensor_and_the_truth_lie_beside_the_cube() -> None:
    hs, truth, ms = hyperspectral(), hyperspectral((3, 3), 20.0), cube((12, 12), 5.0)
    place = (float(hs.x[3]), float(hs.y[2]))
    labels = {"truth": "EnMAP", "seen": "Sentinel-2"}
    figure = xrs.plots.spectra(hs, [place], truth=truth, seen=to_dataset(ms), labels=labels)
    lines = drawn(figure.axes[0])
    assert len(lines) == 7
    np.testing.assert_array_equal(np.concatenate([v for _, v in lines[:3]]), truth.values[:, 1, 1])
    np.testing.assert_array_equal(np.concatenate([v for _, v in lines[3:6]]), hs.values[:, 2, 3])
    np.testing.assert_array_equal(lines[6][0], [492, 560, 665, 833])
    # A place on the corner of four pixels is of the lower right one.
    np.testing.assert_array_equal(lines[6][1], ms.values[:, 5, 7])
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told == ["EnMAP", "spectrum", "Sentinel-2"]


@pytest.mark.parametrize("split", [False, True])
def test_nine_of_ten_values_lie_within_what_is_shaded(split: bool) -> None:
    bands = {f"B{n}": ("", 500.0 + 10 * n) for n in range(30)} | {"B30": ("", 1600.0)}
    mean = cube((2, 2), bands=bands)
    std = xr.full_like(mean, 0.01)
    made = to_dataset(mean) if split else mean.to_dataset(name="spectra")
    for name in list(made.data_vars):
        made[f"{name}_std"] = std.sel(band=name, drop=True) if split else std
        made[name].attrs["ancillary_variables"] = f"{name}_std"
    figure = xrs.plots.spectra(made, [(float(mean.x[1]), float(mean.y[0]))])
    shade, single = figure.axes[0].collections
    corners = shade.get_paths()[0].vertices
    at = corners[corners[:, 0] == 550.0][:, 1]
    # 0.95 of a normal distribution lie below 1.645 standard deviations.
    np.testing.assert_allclose([at.min(), at.max()], float(mean[5, 0, 1]) + np.array([-0.01645, 0.01645]), atol=1e-4)
    np.testing.assert_allclose(np.ptp(single.get_segments()[0][:, 1]), 0.0329, atol=1e-4)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["spectrum", "90 % interval"]


def test_places_at_random_have_values_and_follow_the_seed() -> None:
    hs = hyperspectral().where(xr.DataArray(np.arange(6) > 2, dims="x"))
    titles = [[axes.get_title(loc="left") for axes in xrs.plots.spectra(hs, 4, seed=seed).axes] for seed in (3, 3, 4)]
    assert titles[0] == titles[1] != titles[2]
    for title in titles[0]:
        x, y = map(float, title.split(", "))
        assert x in hs.x.values[3:] and y in hs.y.values
    assert len(xrs.plots.spectra(hs, 50).axes) == 18
    with pytest.raises(ParameterError, match="no values at 36 pixels"):
        xrs.plots.spectra(hs * np.nan, 2)


def test_only_the_places_are_computed() -> None:
    seen: list[Any] = []

    def block(values: np.ndarray, block_info: Any = None) -> np.ndarray:
        seen.append(block_info[0]["chunk-location"])
        return values

    hs = hyperspectral((8, 8))
    values = da.from_array(hs.values, chunks=(-1, 2, 2))
    lazy = hs.copy(data=values.map_blocks(block, dtype="float32", meta=np.zeros((0, 0, 0), "float32")))
    xrs.plots.spectra(lazy, [(float(hs.x[0]), float(hs.y[7])), (float(hs.x[1]), float(hs.y[7]))])
    assert seen == [(0, 3, 0)]


def test_spectra_of_what_has_none_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    hs = hyperspectral()
    inside = [(float(hs.x[0]), float(hs.y[0]))]
    series = cube((3, 3), times=2)
    unknown = assign_bands(hs.drop_vars("wavelength"), list(hs.band.values))
    for given, told in (
        ((hs, [(0.0, 0.0)]), "place 0, 0 .*outside cube=.*x from 500000 to 500060"),
        ((hs, {"lake": (0.0, 0.0)}), "place lake"),
        ((hs, [(1.0, 2.0, 3.0)]), r"coordinates \(x, y\)"),
        ((hs, ["north"]), r"coordinates \(x, y\)"),
        ((hs, []), "no places"),
        ((hs, 0), "places=0"),
        ((series, 1), r"2 dates.*isel\(time=0\)"),
        ((unknown, 1), "unknown wavelength.*assign_bands"),
    ):
        with pytest.raises(ParameterError, match=told):
            xrs.plots.spectra(*given)
    with pytest.raises(ParameterError, match="outside truth="):
        xrs.plots.spectra(hs, inside, truth=hs.isel(x=slice(1, None)))
    with pytest.raises(ParameterError, match="labels of"):
        xrs.plots.spectra(hs, inside, labels={"made": "x"})
    assert len(xrs.plots.spectra(series.isel(time=[0]), 1).axes) == 1
    monkeypatch.setattr("xrs.plots.find_spec", lambda name: None)
    with pytest.raises(ParameterError, match="matplotlib is not installed"):
        xrs.plots.spectra(hs, inside)
