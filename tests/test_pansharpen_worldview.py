"""Wald's protocol on WorldView-2: the figures of the field's reference toolbox, within its own differences."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from xrs.kernels import decimate, gaussian_taps, stack_taps
from xrs.lazy import Source, map_tiles
from xrs.methods import get_method, resolve_params

RATIO = 4
CROP = 20
PEAK = 2047.0

#: PSNR (dB, of the mean squared error over all bands), SAM (degrees), ERGAS of the reference toolbox.
TOOLBOX = {
    "pracs": (25.46, 7.67, 6.37),
    "gsa": (26.46, 7.83, 5.56),
    "mtf_glp_fs": (26.60, 7.78, 5.48),
    "mf": (26.90, 7.42, 5.43),
    "bt_h": (27.35, 6.90, 5.21),
    "awlp": (27.39, 7.20, 5.18),
    "mtf_glp_hpm": (27.46, 7.39, 5.05),
}


@pytest.fixture(scope="module")
def worldview(shared_data):
    with xr.open_dataset(shared_data / "worldview2.nc") as scene:
        return scene["ms"].values.astype(np.float32), scene["pan"].values.astype(np.float32)[None]


@pytest.fixture(scope="module")
def degraded(worldview):
    truth, pan = worldview
    gains = [0.35] * 7 + [0.27]
    psf = {"ms": stack_taps([gaussian_taps(g, RATIO) for g in gains]), "pan": gaussian_taps(0.34, RATIO)[None]}
    return decimate(truth, psf["ms"], RATIO), decimate(pan, gaussian_taps(0.11, RATIO), RATIO), psf


def fuse(name, ms, pan, psf, **given):
    method = get_method(name, "pansharpen")
    known = {p.name for p in method.params}
    params = resolve_params(method, given | ({"psf": psf} if "psf" in known else {}))
    return map_tiles(
        method.apply,
        {"ms": Source(ms[None], 1), "pan": Source(pan[None], RATIO)},
        bands=len(ms),
        factor=RATIO,
        halo=method.halo({"ms": 1, "pan": RATIO}, **params),
        passes=method.passes,
        params=params,
    )[0]


def scores(fused, truth):
    inner = np.s_[:, CROP:-CROP, CROP:-CROP]
    estimate, truth = fused[inner].astype(np.float64), truth[inner].astype(np.float64)
    errors = ((estimate - truth) ** 2).mean(axis=(1, 2))
    cosine = (estimate * truth).sum(axis=0) / np.sqrt((estimate**2).sum(axis=0) * (truth**2).sum(axis=0))
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean()
    ergas = 100 / RATIO * np.sqrt((errors / truth.mean(axis=(1, 2)) ** 2).mean())
    return 10 * np.log10(PEAK**2 / errors.mean()), angle, ergas


@pytest.mark.parametrize("kernel", ["cubic", "lanczos"])
@pytest.mark.parametrize("name", TOOLBOX)
def test_as_good_as_the_reference_toolbox(name, kernel, worldview, degraded):
    ms, pan, psf = degraded
    psnr, angle, ergas = scores(fuse(name, ms, pan, psf, kernel=kernel), worldview[0])
    wanted = TOOLBOX[name]
    assert abs(psnr - wanted[0]) < 0.5
    assert abs(angle - wanted[1]) < 0.2
    assert abs(ergas - wanted[2]) < 0.3


def test_best_is_good_enough(worldview, degraded):
    assert max(scores(fuse(name, *degraded), worldview[0])[0] for name in ("awlp", "bt_h", "mtf_glp_hpm")) >= 27.4


def test_scene_is_on_the_nested_phase(worldview):
    """The pan, decimated after shifts by a pixel, explains the bands best without one."""
    ms, pan = worldview
    inner = np.s_[8:-8, 8:-8]
    design = np.column_stack([*(band[inner].ravel() for band in ms), np.ones(ms[0][inner].size)]).astype(np.float64)
    basis = np.linalg.qr(design)[0]

    def unexplained(y, x):
        low = (
            decimate(np.roll(pan, (y, x), (1, 2)), gaussian_taps(0.34, RATIO), RATIO)[0][inner]
            .ravel()
            .astype(np.float64)
        )
        low -= low.mean()
        return 1 - np.sum((basis.T @ low) ** 2) / (low @ low)

    assert min((unexplained(y, x), y, x) for y in (-1, 0, 1) for x in (-1, 0, 1))[1:] == (0, 0)
