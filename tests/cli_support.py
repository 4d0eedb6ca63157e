"""What tests of the command line share: how to call it, and small inputs on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pystac
import xarray as xr
from click.testing import CliRunner, Result
from stac_samples import write_item, write_tiff
from support import pan_pair, s2_tree

from xrs.cli import main


def xrs_command(*words: object) -> Result:
    """Call the command; anything but an orderly exit is an error of the test."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def write_catalogue(folder: Path, dates: int = 3, n: int = 4) -> Path:
    """An item collection of Sentinel-2-like scenes with bands of 10 and 20 m and SCL; 6 n by 6 n fine pixels."""
    tree = s2_tree(n, times=dates, sixty=False)
    items = []
    for t, moment in enumerate(tree["r10m"]["time"].values):
        bands = {"B04": "r10m", "B08": "r10m", "B11": "r20m"}
        stored = {
            key: (np.round(tree[group][key].values[t] * 1e4).astype("uint16"), 10.0 if group == "r10m" else 20.0)
            for key, group in bands.items()
        }
        scl = np.full((3 * n, 3 * n), 4, "uint8")
        scl[t % 3, :2] = 9
        fields = {key: {"raster:bands": [{"nodata": 0, "scale": 1e-4, "offset": 0.0}]} for key in bands}
        name, date = f"scene-{t}", f"{np.datetime_as_string(moment, unit='s')}Z"
        properties = {"s2:processing_baseline": "02.06"}
        items.append(
            write_item(folder, name, date, stored | {"SCL": (scl, 20.0)}, fields=fields, properties=properties)
        )
    for item in items:
        item.make_asset_hrefs_absolute()
    path = folder / "items.json"
    pystac.ItemCollection(items, clone_items=False).save_object(str(path))
    return path


def write_pair(folder: Path) -> tuple[Path, Path, xr.DataArray, xr.DataArray]:
    """A multispectral and a pan GeoTIFF of integers with nodata, and what they hold."""
    ms, pan, _ = pan_pair(12, 4)
    stored = [np.round(a.values * 1e4).astype("uint16") for a in (ms, pan)]
    stored[0][:, 5, 5] = 0
    corner = (5e5, 5.6e6)
    write_tiff(folder / "ms.tif", stored[0], 10.0, corner=corner, nodata=0)
    write_tiff(folder / "pan.tif", stored[1], 2.5, corner=corner, nodata=0)
    seen = ms.copy(data=np.where(stored[0] == 0, np.nan, stored[0]).astype("float32"))
    return folder / "ms.tif", folder / "pan.tif", seen, pan.copy(data=stored[1].astype("float32"))
