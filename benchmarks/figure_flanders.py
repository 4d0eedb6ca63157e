"""The picture of the README: a year of real Sentinel-2 scenes of fields in Flanders, sharpened, smoothed and filled.

    python -m benchmarks.figure_flanders CATALOG OUT.png

CATALOG is a STAC catalogue of Sentinel-2 L2A; the picture was made from 118 dates near Ieper, Belgium (contains
modified Copernicus Sentinel data 2017-2018).
"""

from __future__ import annotations

import sys

import xarray as xr

import xrs
from xrs import plots

#: Shown as red, green and blue.
SHOWN = ("B8A", "B11", "B05")


def main(catalogue: str, out: str) -> None:
    """Make the picture."""
    seen = xrs.open_stac(catalogue, mask="auto")
    fine = xrs.cube.to_array(seen.rsfuse.sharpen(sensor="sentinel-2a")).compute()
    ndvi = fine.rsfuse.index("NDVI").NDVI
    smooth = xrs.smooth(ndvi, robust=3)
    day = clearest(ndvi.sel(time=slice("2018-06-15", "2018-07-31")))
    cloudy = cloudiest(ndvi.sel(time=slice("2018-05-01", "2018-06-10")))
    before = xrs.cube.to_array(seen["r20m"].to_dataset()).sel(time=day).compute()
    with plots.new_figure(10.0, 5.4) as figure:
        figure.set_layout_engine("constrained")
        above, below = figure.subfigures(2, 1, height_ratios=(1.25, 1.0))
        axes = above.subplots(1, 4)
        stretch = plots.stretch_of(before, SHOWN)
        plots.show_composite(axes[0], before, stretch, title=f"20 m bands, {date_of(day)}")
        plots.show_composite(axes[1], fine.sel(time=day), stretch, title="sharpened to 10 m")
        style = {"cmap": "viridis", "vmin": 0.0, "vmax": 1.0}
        plots.show_map(axes[2], ndvi.sel(time=cloudy), title=f"NDVI seen, {date_of(cloudy)}", **style)
        shown = plots.show_map(axes[3], smooth.sel(time=cloudy), title="smoothed and filled", **style)
        above.colorbar(shown, ax=axes[3], label="NDVI", shrink=0.7)
        place = {"y": slice(22, 26), "x": slice(40, 44)}
        line = below.subplots()
        observed, fitted = (cube.isel(place).mean(("y", "x"), skipna=False) for cube in (ndvi, smooth))
        plots.show_series(line, observed, fitted, label="NDVI in a field")
        plots.save(figure, out)


def clearest(cube: xr.DataArray) -> object:
    """The date with the fewest missing pixels."""
    return cube["time"].values[int(cube.isnull().mean(("y", "x")).argmin())]


def cloudiest(cube: xr.DataArray) -> object:
    """Of the dates of which a part was seen, that with the most missing."""
    share = cube.isnull().mean(("y", "x"))
    return cube["time"].values[int(share.where(share < 0.7).argmax())]


def date_of(moment: object) -> str:
    """Day, month, year."""
    return str(moment)[:10]


if __name__ == "__main__":
    main(*sys.argv[1:])
