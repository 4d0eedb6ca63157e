"""Read published tables of spectral responses (wavelength and response, a block for each band)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

#: File, and the sensor's keys in the file's order.
TABLES = {
    "sentinel-2a": ("S2A_MSI_V4.txt", "B01 B02 B03 B04 B05 B06 B07 B08 B8A B09 B10 B11 B12"),
    "sentinel-2b": ("S2B_MSI_V4.txt", "B01 B02 B03 B04 B05 B06 B07 B08 B8A B09 B10 B11 B12"),
    "sentinel-2c": ("S2C_MSI_V4.txt", "B01 B02 B03 B04 B05 B06 B07 B08 B8A B09 B10 B11 B12"),
    "landsat-8": ("L8_OLI.txt", "B1 B2 B3 B4 B5 B6 B7 B8 B9"),
    "landsat-9": ("L9_OLI.txt", "B1 B2 B3 B4 B5 B6 B7 B8 B9"),
    "sentinel-3-olci": ("S3A_OLCI.txt", " ".join(f"Oa{i:02d}" for i in range(1, 22))),
    "gf-6-wfv": ("GF6_WFV.txt", "B1 B2 B3 B4 B5 B6 B7 B8"),
    "worldview-2": ("WorldView2.txt", "coastal blue green yellow red rededge nir1 nir2 pan"),
    "worldview-3": (
        "WorldView3.txt",
        "coastal blue green yellow red rededge nir1 nir2 swir1 swir2 swir3 swir4 swir5 swir6 swir7 swir8 pan",
    ),
    "eo1-ali": ("EO1_ALI.txt", "Pan MS-1p MS-1 MS-2 MS-3 MS-4 MS-4p MS-5p MS-5 MS-7"),
    "planetscope-sd8": ("PlanetScope_SD8.txt", "coastal_blue blue green_i green yellow red rededge nir"),
}


def read_responses(folder: Path, sensor: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Wavelength in nm and response by band key."""
    name, keys = TABLES[sensor]
    blocks: list[list[list[float]]] = [[]]
    for line in (folder / name).read_text().splitlines():
        if line[:1] in "#;":
            if blocks[-1]:
                blocks.append([])
        elif line.strip():
            blocks[-1].append([float(v) for v in line.split()[:2]])
    tables = [np.array(b) for b in blocks if b]
    unit = [1000.0 if t[:, 0].max() < 100 else 1.0 for t in tables]
    pairs = [(t[:, 0] * u, np.maximum(t[:, 1], 0)) for t, u in zip(tables, unit, strict=True)]
    return dict(zip(keys.split(), pairs, strict=True))
