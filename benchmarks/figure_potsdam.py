"""A picture of the guide to spectra: what the shipped network makes of Sentinel-2's bands, and what EnMAP saw.

    python -m benchmarks.figure_potsdam OUT.png

EnMAP's scene of Potsdam of 2022-07-24 (L2A, © DLR), as Sentinel-2 would see it; see :mod:`benchmarks.bench_spectral`.
The network was trained on simulated spectra alone.
"""

from __future__ import annotations

import sys

import numpy as np
import xarray as xr

import xrs
from benchmarks.bench_spectral import potsdam
from xrs import plots

#: What the legend calls them.
LABELS = {"cube": "made of Sentinel-2's bands", "truth": "EnMAP", "seen": "Sentinel-2's bands"}


def main(out: str) -> None:
    """Make the picture."""
    ms, hs = potsdam()
    made = xrs.spectral_superres(ms, "enmap", uncertainty=True)
    truth = hs.sel(band=made["band"].values)
    plots.save(plots.spectra(made, chosen(ms), truth=truth, seen=ms, labels=LABELS), out)


def chosen(ms: xr.DataArray) -> dict[str, tuple[float, float]]:
    """The pixel nearest to a rank, in an index, that stands for each cover."""
    red, nir, swir, blue = (ms.sel(band=key, drop=True) for key in ("B04", "B08", "B11", "B02"))
    ndvi = (nir - red) / (nir + red)
    land = np.isfinite(ndvi) & (nir > 0.1)
    green = ndvi.where(land)
    return {
        "dense green canopy": nearest(green, 0.99),
        "half green": nearest(green, 0.5),
        "dry plants and soil": nearest(swir.where(land & (ndvi < 0.4)), 0.9),
        "forest": nearest(nir.where(land & (ndvi > 0.75) & (swir < 0.15)), 0.3),
        "built": nearest(blue.where(land & (ndvi < 0.25)), 0.95),
        "water": nearest(nir.where(np.isfinite(ndvi) & (nir < 0.03)), 0.5),
    }


def nearest(values: xr.DataArray, share: float) -> tuple[float, float]:
    """The place of the value nearest to a quantile."""
    off = np.abs(values - values.quantile(share))
    place = off.isel(off.argmin(("y", "x")))
    return float(place.x), float(place.y)


if __name__ == "__main__":
    main(sys.argv[1])
