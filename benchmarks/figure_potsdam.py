"""A picture of the guide to spectra: what the shipped network makes of Sentinel-2's bands, and what EnMAP saw.

    python -m benchmarks.figure_potsdam OUT.png

EnMAP's scene of Potsdam of 2022-07-24 (L2A, © DLR), as Sentinel-2 would see it; see :mod:`benchmarks.bench_spectral`.
The network was trained on simulated spectra alone.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import xarray as xr

import xrs
from benchmarks.bench_spectral import potsdam
from xrs import plots

#: Bands farther apart than this, in nm, are not joined: water vapour hides what lies between.
GAP = 40.0


def main(out: str) -> None:
    """Make the picture."""
    ms, hs = potsdam()
    made = xrs.spectral_superres(ms, "enmap", uncertainty=True)
    truth = hs.sel(band=made["band"].values)
    places = chosen(ms)
    with plots.new_figure(10.0, 5.6) as figure:
        figure.set_layout_engine("constrained")
        axes = figure.subplots(2, 3, sharex=True)
        for ax, (name, (y, x)) in zip(axes.flat, places.items(), strict=True):
            show(ax, made.isel(y=y, x=x), truth.isel(y=y, x=x), ms.isel(y=y, x=x), name)
        for ax in axes[1]:
            ax.set_xlabel("wavelength in nm")
        for ax in axes[:, 0]:
            ax.set_ylabel("reflectance")
        handles, labels = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
        plots.save(figure, out)


def chosen(ms: xr.DataArray) -> dict[str, tuple[int, int]]:
    """The pixel nearest to a rank, in an index, that stands for each cover."""
    red, nir, swir, blue = (ms.sel(band=key).values for key in ("B04", "B08", "B11", "B02"))
    ndvi = (nir - red) / (nir + red)
    land = np.isfinite(ndvi) & (nir > 0.1)
    return {
        "dense green canopy": nearest(np.where(land, ndvi, np.nan), 0.99),
        "half green": nearest(np.where(land, ndvi, np.nan), 0.5),
        "dry plants and soil": nearest(np.where(land & (ndvi < 0.4), swir, np.nan), 0.9),
        "forest": nearest(np.where(land & (ndvi > 0.75) & (swir < 0.15), nir, np.nan), 0.3),
        "built": nearest(np.where(land & (ndvi < 0.25), blue, np.nan), 0.95),
        "water": nearest(np.where(np.isfinite(ndvi) & (nir < 0.03), nir, np.nan), 0.5),
    }


def nearest(values: np.ndarray, share: float) -> tuple[int, int]:
    """The place of the value nearest to a quantile."""
    off = np.abs(values - np.nanquantile(values, share))
    y, x = np.unravel_index(int(np.nanargmin(off)), off.shape)
    return int(y), int(x)


def show(ax: Any, made: xr.Dataset, truth: xr.DataArray, seen: xr.DataArray, title: str) -> None:
    """The spectra of one pixel, each detector's by itself."""
    nm, line, std, true = truth.wavelength.values, made["spectra"].values, made["spectra_std"].values, truth.values
    steps = np.diff(nm)
    for number, part in enumerate(np.split(np.arange(nm.size), np.flatnonzero((steps < 0) | (steps > GAP)) + 1)):
        names = ("EnMAP", "made of Sentinel-2's bands", "90 % interval") if not number else (None,) * 3
        low, high = (line[part] + sign * 1.645 * std[part] for sign in (-1, 1))
        ax.plot(nm[part], true[part], color=plots.BLACK, lw=1.0, label=names[0])
        ax.plot(nm[part], line[part], color=plots.BLUE, lw=1.6, label=names[1])
        ax.fill_between(nm[part], low, high, color=plots.BLUE, alpha=0.2, lw=0, label=names[2])
    ax.plot(seen.wavelength, seen, "o", color=plots.ORANGE, ms=4, label="Sentinel-2's bands")
    ax.set(title=title, ylim=(0, None))


if __name__ == "__main__":
    main(sys.argv[1])
