"""Pansharpening methods against closed forms, scenes with known truth, and SciPy and Pillow."""

from __future__ import annotations

import functools

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage
from scipy.optimize import lsq_linear

from xrs.errors import ParameterError
from xrs.kernels import decimate, gaussian_taps, stack_taps, upsample
from xrs.lazy import Source, map_tiles
from xrs.methods import Tile, get_method, resolve_params
from xrs.methods.pansharpen.awlp import _starlet
from xrs.methods.pansharpen.bdsd_pc import _nonnegative
from xrs.methods.pansharpen.mf import _top

RATIO = 4
ADDITIVE = ["gihs", "pca", "gs", "gsa", "hpf", "mtf_glp", "mtf_glp_cbd", "mtf_glp_fs"]
MATCHED = [
    "gihs",
    "pca",
    "gs",
    "gsa",
    "awlp",
    "mf",
    "mtf_glp",
    "mtf_glp_cbd",
    "mtf_glp_fs",
    "mtf_glp_hpm",
    "mtf_glp_hpm_r",
]
OTHER = ["brovey", "bdsd_pc", "pracs", "sfim", "bt_h"]
ALL = sorted({*ADDITIVE, *MATCHED, *OTHER})
LOCAL = ["brovey", "hpf", "sfim"]


def point_spread(bands: int, ratio: int = RATIO, gain: float = 0.3) -> dict[str, np.ndarray]:
    gains = gain + 0.02 * (np.arange(bands) % 2)
    return {"ms": stack_taps([gaussian_taps(g, ratio) for g in gains]), "pan": gaussian_taps(gain, ratio)[None]}


def same_spread(bands: int) -> dict[str, np.ndarray]:
    taps = gaussian_taps(0.3, RATIO)[None]
    return {"ms": np.repeat(taps, bands, axis=0), "pan": taps}


def fuse(name, ms, pan, psf=None, ratio=RATIO, chunks=None, **params):
    """One date through the tiles; with ``chunks`` (coarse pixels) lazily, the pan in chunks of its own."""
    method = get_method(name, "pansharpen")
    known = {p.name for p in method.params}
    given = params | ({"psf": psf or point_spread(len(ms), ratio)} if "psf" in known else {})
    resolved = resolve_params(method, {k: v for k, v in given.items() if k in known})
    coarse, fine = ms[None], pan[None]
    if chunks:
        coarse = da.from_array(coarse, chunks=(1, len(ms), *chunks))
        fine = da.from_array(fine, chunks=(1, 1, chunks[1] * ratio + 3, chunks[0] * ratio))
    fused = map_tiles(
        method.apply,
        {"ms": Source(coarse, 1), "pan": Source(fine, ratio)},
        bands=len(ms),
        factor=ratio,
        halo=method.halo({"ms": 1, "pan": ratio}, **resolved),
        block=method.block,
        passes=method.passes,
        params=resolved,
        carriers=("ms",),
        bandwise=method.bandwise,
    )
    return np.asarray(fused)[0]


@functools.cache
def texture(seed: int, shape: tuple[int, int] = (96, 128)) -> np.ndarray:
    """A smooth random field with sharp edges, from 0.1 to 0.9."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.standard_normal(shape), 3) * 6 + (ndimage.gaussian_filter(
        rng.standard_normal(shape), 5) > 0)  # fmt: skip
    return ((field - field.min()) / np.ptp(field) * 0.8 + 0.1).astype(np.float32)


@functools.cache
def scene(bands: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Bands and pan (reflectance) that share a part of their texture."""
    fine = np.stack([0.6 * texture(0) + 0.4 * texture(b + 1) for b in range(bands)])
    pan = np.tensordot(np.linspace(0.2, 0.5, bands), fine, 1)[None].astype(np.float32)
    return decimate(fine, point_spread(bands)["ms"], RATIO), pan


def close(actual, expected, tolerance=1e-5):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


# --- scenes with known truth -------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["brovey", "gsa", "bdsd_pc", "mtf_glp", "mtf_glp_cbd", "mtf_glp_fs", "mtf_glp_hpm", "mtf_glp_hpm_r", "bt_h"]
)
def test_scene_of_one_texture_is_recovered(name):
    """All bands are multiples of one image: whatever regresses, scales or modulates must find them again."""
    shares = np.array([0.3, 0.5, 0.9], np.float32)[:, None, None]
    truth = shares * texture(7)
    pan = 0.7 * texture(7)[None]
    psf = same_spread(3)
    weights = [0.7 / 1.7] * 3  # Brovey's intensity in the pan's radiometry
    fused = fuse(name, decimate(truth, psf["ms"], RATIO), pan, psf, weights=weights)
    # The darkest pixel is haze to BT-H, and haze is not modulated.
    known = truth[0] > truth[0].min() + 0.01 if name == "bt_h" else np.ones(truth.shape[1:], bool)
    close(fused[:, known], truth[:, known], 2e-5)


@pytest.mark.parametrize("name", ["gsa", "mtf_glp_cbd", "mtf_glp_fs", "mtf_glp"])
def test_affine_scene_is_recovered(name):
    truth = np.stack([a * texture(7) + c for a, c in [(0.3, 0.1), (0.5, 0.0), (-0.4, 0.8)]]).astype(np.float32)
    pan = (0.7 * texture(7) + 0.1)[None].astype(np.float32)
    psf = same_spread(3)
    bands = slice(0, 2) if name == "mtf_glp" else slice(None)  # matched by spread: knows no negative gain
    fused = fuse(name, decimate(truth, psf["ms"], RATIO)[bands], pan, {"ms": psf["ms"][bands], "pan": psf["pan"]})
    # GSA takes the pan's mean for the mean of its low-passed version; the others take no means.
    close(fused, truth[bands], 5e-3 if name == "gsa" else 5e-5)


def test_gsa_makes_bands_whose_regression_is_the_pan():
    weights = np.array([0.2, 0.5, 0.3])
    fine = np.stack([0.6 * texture(0) + 0.4 * texture(b + 1) for b in range(3)])
    psf = same_spread(3)
    pan = np.tensordot(weights, fine, 1)[None].astype(np.float32)
    fused = fuse("gsa", decimate(fine, psf["ms"], RATIO), pan, psf)
    together = np.tensordot(weights, fused.astype(np.float64), 1)
    close(together - together.mean(), (pan - pan.mean(dtype=np.float64))[0], 1e-4)


@pytest.mark.parametrize("name", ["gihs", "gs"])
def test_mean_of_bands_is_the_matched_pan(name):
    ms, pan = scene()
    plain = upsample(ms, RATIO, "bilinear").astype(np.float64).mean(axis=0)
    matched = (pan[0] - pan.mean(dtype=np.float64)) * plain.std() / pan.std(dtype=np.float64) + plain.mean()
    close(fuse(name, ms, pan, kernel="bilinear").mean(axis=0, dtype=np.float64), matched)


def test_first_component_of_pca_is_the_matched_pan():
    ms, pan = scene()
    plain = upsample(ms, RATIO).astype(np.float64).reshape(3, -1)
    left, values, _ = np.linalg.svd(plain - plain.mean(axis=1, keepdims=True), full_matrices=False)
    component = left[:, 0] @ (fuse("pca", ms, pan, kernel="cubic").reshape(3, -1) - plain.mean(axis=1, keepdims=True))
    wanted = (pan - pan.mean(dtype=np.float64)).ravel()
    wanted *= values[0] / np.sqrt(wanted @ wanted)
    close(component * np.sign(component @ wanted), wanted, 2e-5)
    rest = left[:, 1:].T
    close(rest @ fuse("pca", ms, pan, kernel="cubic").reshape(3, -1), rest @ plain, 2e-5)


# --- other implementations ---------------------------------------------------------------------


def bilinear(ms: np.ndarray) -> np.ndarray:
    zoom = (1, RATIO, RATIO)
    return ndimage.zoom(ms.astype(np.float64), zoom, order=1, mode="grid-mirror", grid_mode=True)


@pytest.mark.parametrize(
    ("kernel", "code"), [("cubic", Image.Resampling.BICUBIC), ("lanczos", Image.Resampling.LANCZOS)]
)
def test_interpolation_is_pillows(kernel, code):
    ms, pan = scene(1)
    size = (ms.shape[2] * RATIO, ms.shape[1] * RATIO)
    pillow = np.asarray(Image.fromarray(ms[0]).resize(size, code))
    inner = np.s_[3 * RATIO : -3 * RATIO, 3 * RATIO : -3 * RATIO]
    # Brovey of one band is its pan; of no detail, the interpolated band.
    close(fuse("hpf", ms, pan, weight=0.0, kernel=kernel)[0][inner], pillow[inner], 2e-6)


def test_brovey_by_hand():
    ms, pan = scene()
    plain = bilinear(ms)
    weights = [0.5, 0.3, 0.4]
    expected = plain * pan / np.tensordot(weights, plain, 1)
    close(fuse("brovey", ms, pan, kernel="bilinear", weights=weights), expected)
    close(fuse("brovey", ms, pan, kernel="bilinear"), plain * pan / plain.mean(axis=0))


def test_gihs_by_hand():
    ms, pan = scene()
    plain, pan64 = bilinear(ms), pan.astype(np.float64)
    intensity = plain.mean(axis=0)
    matched = (pan64 - pan64.mean()) * intensity.std() / pan64.std() + intensity.mean()
    close(fuse("gihs", ms, pan, kernel="bilinear"), plain + matched - intensity)


@pytest.mark.parametrize("size", [None, 3, 7])
def test_box_methods_by_scipy(size):
    ms, pan = scene()
    plain, low = bilinear(ms), ndimage.uniform_filter(pan.astype(np.float64), (0, size or 5, size or 5), mode="reflect")
    close(fuse("hpf", ms, pan, kernel="bilinear", size=size, weight=0.5), plain + 0.5 * (pan - low))
    close(fuse("sfim", ms, pan, kernel="bilinear", size=size), plain * pan / low)


def starlet_by_scipy(image: np.ndarray) -> np.ndarray:
    low = image.astype(np.float64)
    for taps in ([1, 4, 6, 4, 1], [1, 0, 4, 0, 6, 0, 4, 0, 1]):
        for axis in (-2, -1):
            low = ndimage.convolve1d(low, np.array(taps) / 16, axis=axis, mode="reflect")
    return low


def test_awlp_by_scipy():
    ms, pan = scene()
    assert _starlet(RATIO).size == 13
    plain, low = bilinear(ms), starlet_by_scipy(pan)
    seen = bilinear(decimate(pan, gaussian_taps(0.3, RATIO), RATIO))
    match = plain.std(axis=(1, 2), keepdims=True) / seen.std()
    close(fuse("awlp", ms, pan, kernel="bilinear"), plain + plain / plain.mean(axis=0) * match * (pan - low))


def pyramid_by_scipy(image: np.ndarray) -> np.ndarray:
    cross = ndimage.generate_binary_structure(2, 1)
    for _ in range(2):
        image = (ndimage.grey_dilation(image, footprint=cross) + ndimage.grey_erosion(image, footprint=cross)) / 2
        image = image.reshape(image.shape[0] // 2, 2, image.shape[1] // 2, 2).mean(axis=(1, 3))
    for _ in range(2):
        image = ndimage.zoom(image, 2, order=1, mode="grid-mirror", grid_mode=True)
    return image


def test_mf_by_scipy():
    ms, pan = scene()
    plain, pan64 = bilinear(ms), pan.astype(np.float64)
    tile = Tile({"ms": ms, "pan": pan}, {"ms": None, "pan": None}, {"ms": 1, "pan": RATIO}, 0)
    close(_top(tile)[0], pyramid_by_scipy(pan64[0]))
    match = plain.std(axis=(1, 2), keepdims=True) / pan64.std()
    constant = plain.mean(axis=(1, 2), keepdims=True) - match * pan64.mean()
    expected = plain * (match * pan64 + constant) / (match * pyramid_by_scipy(pan64[0]) + constant)
    close(fuse("mf", ms, pan, kernel="bilinear"), expected)


def test_constrained_least_squares_is_scipys():
    rng = np.random.default_rng(0)
    for _ in range(20):
        design, target = rng.standard_normal((60, 6)) + 0.5, rng.standard_normal(60)
        design[:, 5] *= 1e4  # radiometries differ
        peer = lsq_linear(design, target, bounds=(0, np.inf), tol=1e-14, method="bvls")
        ours = _nonnegative(design.T @ design, design.T @ target)
        np.testing.assert_allclose(np.linalg.norm(design @ ours - target), np.sqrt(2 * peer.cost), rtol=1e-9)


def test_haze_is_a_share_of_the_first_percentile():
    method = get_method("bt_h", "pansharpen")
    ms, pan = scene()
    params = resolve_params(method, {"haze": (0.95, 0.45, 0.05), "psf": point_spread(3)})
    halo = method.halo({"ms": 1, "pan": RATIO}, **params)
    margin = ((0, 0), (halo, halo), (halo, halo))
    padded = np.pad(ms, margin, mode="symmetric")
    wide = np.pad(pan, tuple((RATIO * a, RATIO * b) for a, b in margin), mode="symmetric")
    tile = Tile({"ms": padded, "pan": wide}, {"ms": None, "pan": None}, {"ms": 1, "pan": RATIO}, halo)
    (one,) = method.passes
    state = one.solve(one.summarise(tile, {}, **params), {}, **params)
    percentiles = np.percentile(ms.reshape(3, -1), 1, axis=1, method="inverted_cdf")
    np.testing.assert_allclose(state["offset"], np.array([0.95, 0.45, 0.05]) * percentiles, rtol=2e-4)


# --- properties --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mtf_glp", "mtf_glp_cbd", "mtf_glp_fs", "mtf_glp_hpm", "mtf_glp_hpm_r"])
def test_degraded_result_gives_the_bands_back(name):
    """They miss by less than half of what interpolation alone does, and by 2 % of the bands' mean."""
    ms, pan = scene()
    psf = point_spread(3)
    missed = [decimate(image, psf["ms"], RATIO) - ms for image in (fuse(name, ms, pan, psf), upsample(ms, RATIO))]
    ours, plain = (np.sqrt(np.mean(m.astype(np.float64) ** 2)) for m in missed)
    assert ours < plain / 2
    assert ours < 0.02 * ms.mean()


@pytest.mark.parametrize("name", sorted({*MATCHED, "hpf", "sfim"}))
def test_constant_pan_brings_nothing(name):
    ms, pan = scene()
    close(fuse(name, ms, np.full_like(pan, 0.37), kernel="cubic"), upsample(ms, RATIO), 2e-6)


@pytest.mark.parametrize("name", ALL)
def test_scale_of_radiometry_does_not_matter(name):
    ms, pan = scene()
    close(fuse(name, ms * 1e4, pan * 1e4) / 1e4, fuse(name, ms, pan), 1e-5)


@pytest.mark.parametrize("name", ADDITIVE)
def test_common_offset_goes_through(name):
    ms, pan = scene()
    close(fuse(name, ms + 2, pan + 2), fuse(name, ms, pan) + 2)


@pytest.mark.parametrize("name", sorted(set(MATCHED) - {"gsa"}))
def test_matched_pan_needs_no_calibration(name):
    ms, pan = scene()
    close(fuse(name, ms, 3 * pan + 1), fuse(name, ms, pan), 3e-5)


@pytest.mark.parametrize("name", ALL)
def test_order_of_bands_does_not_matter(name):
    ms, pan = scene(4)
    psf, order = point_spread(4), [2, 0, 3, 1]
    moved = {"ms": psf["ms"][order], "pan": psf["pan"]}
    close(fuse(name, ms[order], pan, moved), fuse(name, ms, pan, psf)[order])


@pytest.mark.parametrize("name", ALL)
def test_darkness_makes_no_infinities(name):
    ms, pan = (image.copy() for image in scene())
    ms[:, :10] = 0
    ms[0, :, ::3] = -0.01
    pan[:, ::5, 8:40] = 0
    assert np.isfinite(fuse(name, ms, pan)).all()
    assert np.isfinite(fuse(name, np.zeros_like(ms), np.zeros_like(pan))).all()


# --- tiles -------------------------------------------------------------------------------------


def with_gaps(ms, pan):
    ms, pan = ms.copy(), pan.copy()
    ms[1, 3:6, 4:8] = np.nan
    ms[:, 15:, :5] = np.nan
    pan[:, 50:54, 60:77] = np.nan
    return ms, pan


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("name", ALL)
def test_any_tiles_same_pixels(name, gaps):
    ms, pan = with_gaps(*scene()) if gaps else scene()
    whole, cut = fuse(name, ms, pan), fuse(name, ms, pan, chunks=(7, 11))
    assert whole.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(cut), np.isnan(whole))
    assert np.isnan(whole).mean() < 0.2
    close(np.nan_to_num(cut), np.nan_to_num(whole), 1e-6 if name in LOCAL else 1e-5)


@settings(max_examples=12, deadline=None)
@given(
    name=st.sampled_from(ALL),
    ratio=st.sampled_from([2, 3, 4, 5, 6]),
    bands=st.integers(1, 5),
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    kernel=st.sampled_from(["nearest", "bilinear", "cubic", "lanczos"]),
    data=st.data(),
)
def test_any_ratio_shape_and_kernel(name, ratio, bands, shape, kernel, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    ms = rng.uniform(0.1, 1, (bands, *shape)).astype(np.float32)
    pan = rng.uniform(0.1, 1, (1, shape[0] * ratio, shape[1] * ratio)).astype(np.float32)
    chunks = tuple(data.draw(st.integers(1, n)) for n in shape)
    whole = fuse(name, ms, pan, ratio=ratio, kernel=kernel)
    assert whole.shape == (bands, *pan.shape[1:])
    assert np.isfinite(whole).all()
    if name in LOCAL:
        close(fuse(name, ms, pan, ratio=ratio, kernel=kernel, chunks=chunks), whole, 1e-6)


# --- wrong input -------------------------------------------------------------------------------


def test_wrong_input_is_told():
    ms, pan = scene()
    tile = Tile({"ms": ms, "pan": pan}, {"ms": None, "pan": None}, {"ms": 1, "pan": RATIO}, 1)
    method = get_method("mtf_glp", "pansharpen")
    with pytest.raises(ParameterError, match="point spread"):
        method.passes[0].summarise(tile, {}, kernel="bilinear", psf=None)
    with pytest.raises(ParameterError, match="point spread"):
        method.halo({"ms": 1, "pan": RATIO}, kernel="cubic", psf=None)
    with pytest.raises(ParameterError, match="rows of taps"):
        method.passes[0].summarise(tile, {}, kernel="bilinear", psf=point_spread(2))
    with pytest.raises(ParameterError, match="halo"):
        get_method("brovey", "pansharpen").apply(tile, {}, kernel="lanczos", weights=None)
    with pytest.raises(ParameterError, match="odd"):
        resolve_params(get_method("hpf", "pansharpen"), {"size": 4})
    with pytest.raises(ParameterError, match="bilinear"):
        resolve_params(method, {"kernel": "quintic"})
