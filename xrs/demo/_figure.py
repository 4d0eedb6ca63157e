"""The figure of the demo: before, after and truth in space and in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xrs import plots
from xrs.scenes import LABELS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw", "largest_field"]

#: Shown as red, green and blue.
_SHOWN = ("B11", "B8A", "B05")
#: Side of the maps in pixels of 10 m.
_SIDE = 128
_CROP = "winter_wheat"


def draw(
    path: str | Path,
    *,
    images: Mapping[str, xr.DataArray],
    ndvi: Mapping[str, xr.DataArray],
    cover: xr.Dataset,
    method: str,
) -> None:
    """Draw and save the figure.

    Parameters
    ----------
    path : str or Path
        Its suffix tells the format.
    images : mapping of str to DataArray (band, y, x)
        ``observed`` at 20 m, ``sharpened`` and ``truth`` at 10 m, of one date.
    ndvi : mapping of str to DataArray (time, y, x)
        ``observed`` with gaps, ``smoothed`` and ``truth``.
    cover : Dataset (y, x)
        Land cover and parcels.
    method : str
        What sharpened.
    """
    field = largest_field(cover, _CROP)
    window = _window_around(field)
    cut_images, cut_ndvi = ({n: _cut(c, window) for n, c in cubes.items()} for cubes in (images, ndvi))
    with plots.new_figure(7.4, 7.0) as figure:
        parts: Any = figure.subfigures(2, 1, height_ratios=(5.4, 2.2))
        axes = parts[0].subplots(2, 4, sharey=True, gridspec_kw={"wspace": 0.05})
        _draw_sharpening(axes[0], cut_images, method)
        _draw_filling(axes[1], cut_ndvi, field.isel(window))
        _draw_field(parts[1].subplots(), ndvi, field, cover)
        plots.save(figure, path)


def largest_field(cover: xr.Dataset, crop: str) -> xr.DataArray:
    """Where the largest parcel of a crop lies (y, x); the largest parcel of all if that crop does not grow here."""
    code = next(c for c, name in LABELS.items() if name == crop)
    parcels = cover["field"].where(cover["cover"] == code, 0)
    parcels = parcels if bool(parcels.any()) else cover["field"]
    keys, counts = np.unique(parcels.values[parcels.values > 0], return_counts=True)
    return cover["field"] == keys[np.argmax(counts)]


def _draw_sharpening(axes: Sequence[Axes], images: Mapping[str, xr.DataArray], method: str) -> None:
    truth = images["truth"]
    stretch = plots.stretch_of(truth, _SHOWN)
    titles = {
        "observed": f"a  20 m bands, {_day(truth)}",
        "sharpened": f"b  sharpened by {method}",
        "truth": "c  truth at 10 m",
    }
    for one, (name, title) in zip(axes, titles.items(), strict=False):
        plots.show_composite(one, images[name], stretch, title=title)
    axes[1].set_xlabel(f"{', '.join(_SHOWN)} as red, green, blue; axes in km")
    error = truth.isel(band=0, drop=True).copy(data=np.abs(images["sharpened"].values - truth.values).mean(axis=0))
    top = float(error.quantile(0.99))
    shown = plots.show_map(axes[3], error, title="d  |b − c|, mean of bands", cmap="magma", vmin=0.0, vmax=top)
    plots.colour_bar(axes[3], shown, "reflectance")


def _draw_filling(axes: Sequence[Axes], ndvi: Mapping[str, xr.DataArray], field: xr.DataArray) -> None:
    moment = _half_seen(ndvi["observed"])
    now = {name: cube.isel(time=moment) for name, cube in ndvi.items()}
    titles = {
        "observed": f"e  NDVI seen, {_day(now['observed'])}",
        "smoothed": "f  smoothed and filled",
        "truth": "g  truth",
    }
    for one, (name, title) in zip(axes, titles.items(), strict=False):
        shown = plots.show_map(one, now[name], title=title, cmap="viridis", vmin=0.0, vmax=1.0)
        plots.outline(one, field)
    plots.colour_bar(axes[1], shown, "NDVI")
    error = now["truth"].copy(data=now["smoothed"].values - now["truth"].values)
    shown = plots.show_map(axes[3], error, title="h  f − g", cmap="PuOr", vmin=-0.2, vmax=0.2)
    plots.colour_bar(axes[3], shown, "NDVI")


def _draw_field(axes: Axes, ndvi: Mapping[str, xr.DataArray], field: xr.DataArray, cover: xr.Dataset) -> None:
    inside = {name: cube.where(field) for name, cube in ndvi.items()}
    seen = inside["observed"].notnull().sum(("y", "x")) >= 0.5 * float(field.sum())
    means = {name: cube.mean(("y", "x")) for name, cube in inside.items()}
    code = int(cover["cover"].where(field).max())
    hectares = float(field.sum()) / 100
    plots.show_series(axes, means["observed"].where(seen), means["smoothed"], means["truth"], label="NDVI")
    axes.set_ylim(0.0, 1.0)
    axes.set_title(f"i  mean NDVI of the outlined field: {LABELS[code].replace('_', ' ')}, {hectares:.1f} ha")
    plots.month_ticks(axes)


def _window_around(field: xr.DataArray) -> dict[str, slice]:
    """A square of whole 20 m pixels around the middle of a field."""
    window = {}
    for dim, other in (("y", "x"), ("x", "y")):
        size = field.sizes[dim]
        middle = int(np.flatnonzero(field.any(other).values).mean())
        start = min(max(middle - _SIDE // 2, 0), max(size - _SIDE, 0)) // 2 * 2
        window[dim] = slice(start, min(start + _SIDE, size))
    return window


def _cut(cube: xr.DataArray, window: Mapping[str, slice]) -> xr.DataArray:
    """The part of a cube of 10 or 20 m that lies in a window of 10 m pixels."""
    step = round(abs(float(cube["x"][1] - cube["x"][0])) / 10)
    return cube.isel({dim: slice(part.start // step, part.stop // step) for dim, part in window.items()})


def _half_seen(observed: xr.DataArray) -> int:
    """The date of which nearest to half was seen."""
    share = observed.notnull().mean(("y", "x"))
    return int(np.abs(share.values - 0.5).argmin())


def _day(image: xr.DataArray) -> str:
    moment = image["time"].dt
    return f"{moment.day.item()} {moment.strftime('%B').item()}"
