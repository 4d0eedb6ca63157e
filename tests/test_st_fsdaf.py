"""FSDAF against plain loops, scipy's splines, changes known by construction, and scenes whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.cluster.vq import vq
from scipy.interpolate import RBFInterpolator
from support import cube, nothing_computed, rechunked

import xrs
from xrs.errors import ParameterError
from xrs.methods._kriging import krige
from xrs.methods.base import Tile
from xrs.methods.spatiotemporal._classes import classify, k_means, merge_samples, sample_pixels
from xrs.methods.spatiotemporal._spline import REACH, inverse_distance_weights, spline_weights
from xrs.methods.spatiotemporal._unmix import class_changes, merge_purest, purest

RATIO = 4
SPECTRA = np.array([[0.06, 0.10, 0.30], [0.15, 0.22, 0.25], [0.03, 0.05, 0.04]])
SMALL = {"window": 11, "similar": 6, "classes": 3, "pure": 100}


def _classes(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Three classes in parcels of some pixels."""
    parcels = np.random.default_rng(seed).integers(0, 3, (shape[0] // 3, shape[1] // 3))
    return parcels.repeat(3, axis=0).repeat(3, axis=1)


def _of_classes(labels: np.ndarray, seed: int = 1, noise: float = 0.003) -> np.ndarray:
    image = SPECTRA[labels].transpose(2, 0, 1)
    return image + noise * np.random.default_rng(seed).standard_normal(image.shape)


def _means(image: np.ndarray, ratio: int = RATIO) -> np.ndarray:
    *dates, height, width = image.shape
    return image.reshape(*dates, height // ratio, ratio, width // ratio, ratio).mean(axis=(-3, -1))


def _fuse(fine: np.ndarray, before: np.ndarray, after: np.ndarray, chunks: tuple[int, int] | None = None, **params):
    """FSDAF on arrays (band, y, x), through the operator."""
    ours = cube(fine.shape[1:], 10.0, times=1, bands=_bands(len(fine)), values=fine[None].astype("float32"))
    both = np.stack([before, after]).astype("float32")
    theirs = cube(
        before.shape[1:], 10.0 * fine.shape[1] // before.shape[1], times=2, bands=_bands(len(fine)), values=both
    )
    if chunks:
        ours, theirs = rechunked(ours, *chunks), rechunked(theirs, -1, -1)
    out = xrs.fuse_spatiotemporal(
        ours, theirs, "fsdaf", target_times=theirs.time.values[1:], harmonize=False, **(SMALL | params)
    )
    return out.isel(time=0)


def _bands(count: int) -> dict[str, tuple[str, float]]:
    return {f"b{n}": ("", 500.0 + 100 * n) for n in range(count)}


def test_without_change_the_fine_image_comes_back() -> None:
    fine = _of_classes(_classes((36, 48)))
    coarse = _means(fine) + 0.02
    np.testing.assert_allclose(_fuse(fine, coarse, coarse), fine, atol=1e-6)


@pytest.mark.parametrize("spatial", ["tps", "idw"])
def test_a_uniform_change_is_added(spatial: str) -> None:
    fine = _of_classes(_classes((36, 48)))
    coarse, change = _means(fine), np.array([0.01, -0.02, 0.07])[:, None, None]
    np.testing.assert_allclose(_fuse(fine, coarse, coarse + change, spatial=spatial), fine + change, atol=2e-6)


def test_changes_of_classes_are_found_exactly() -> None:
    labels = _classes((48, 60))
    fine = _of_classes(labels)
    change = np.array([[0.02, -0.03, 0.10], [0.0, 0.01, -0.05], [0.01, 0.02, 0.03]])[labels].transpose(2, 0, 1)
    np.testing.assert_allclose(_fuse(fine, _means(fine), _means(fine + change)), fine + change, atol=3e-6)


def test_a_new_kind_of_ground_is_partly_seen() -> None:
    # One parcel burns, which no change of classes explains: the residual must take it there.
    fine = _of_classes(np.zeros((48, 48), int))
    after = fine.copy()
    after[:, 16:32, 16:32] -= np.array([0.02, 0.05, 0.20])[:, None, None]
    out = _fuse(fine, _means(fine), _means(after)).values
    error = np.sqrt(((out - after) ** 2).mean())
    assert error < 0.5 * np.sqrt(((fine - after) ** 2).mean())


def test_plain_loops_give_the_same() -> None:
    labels = _classes((24, 36), seed=3)
    fine = _of_classes(labels)
    change = np.array([[0.02, -0.03, 0.10], [0.0, 0.01, -0.05], [0.01, 0.02, 0.03]])[labels].transpose(2, 0, 1)
    rng = np.random.default_rng(4)
    after = fine + change
    after[:, 9:17, 10:21] += 0.06 * rng.standard_normal((3, 1, 1))
    before = _means(fine) + 0.002 * rng.standard_normal((3, 6, 9))
    after = _means(after) + 0.002 * rng.standard_normal((3, 6, 9))
    fine, before, after = (a.astype("float32").astype(float) for a in (fine, before, after))
    np.testing.assert_allclose(_fuse(fine, before, after), _by_loops(fine, before, after, labels), atol=2e-5)


def _by_loops(fine: np.ndarray, before: np.ndarray, after: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The paper's steps, a pixel at a time, given the classes."""
    bands, height, width = fine.shape
    w, classes = SMALL["window"] // 2, SMALL["classes"]
    shares = np.stack([_means((labels == k).astype(float)) for k in range(classes)])
    changes = np.stack([_class_change(shares, (after - before)[b]) for b in range(bands)])
    temporal = fine + changes[:, labels]
    residual = (after - before) - (_means(temporal) - _means(fine))
    spatial = np.stack([_spline_by_scipy(after[b]) for b in range(bands)])
    low = np.maximum(np.minimum(temporal.min((1, 2)), after.min((1, 2))), 0.0)
    high = np.minimum(np.maximum(temporal.max((1, 2)), after.max((1, 2))), 1.0)
    change = np.empty_like(fine)
    for b in range(bands):
        for i, j in np.ndindex(*residual.shape[1:]):
            left, weights = residual[b, i, j], np.empty((RATIO, RATIO))
            for p, q in np.ndindex(RATIO, RATIO):
                y, x = i * RATIO + p, j * RATIO + q
                around = labels[max(y - w, 0) : y + w + 1, max(x - w, 0) : x + w + 1]
                same = (around == labels[y, x]).mean()
                gap = spatial[b, y, x] - temporal[b, y, x]
                gap = 0.0 if (left <= 0 < gap) or (gap < 0 < left) else abs(gap)
                weights[p, q] = gap * same + abs(left) * (1 - same) + 1e-9
            weights /= weights.mean()
            weights[weights > 10] = weights.mean()
            weights /= weights.mean()
            block = np.s_[i * RATIO : (i + 1) * RATIO, j * RATIO : (j + 1) * RATIO]
            change[b][block] = (temporal[b][block] + weights * left).clip(low[b], high[b]) - fine[b][block]
    limits = 2 * fine.std(axis=(1, 2)) / classes
    out = np.empty_like(fine)
    for y, x in np.ndindex(height, width):
        found = []
        for i in range(max(y - w, 0), min(y + w + 1, height)):
            for j in range(max(x - w, 0), min(x + w + 1, width)):
                gap = abs(fine[:, i, j] - fine[:, y, x])
                if (gap <= limits).all():
                    found.append(((gap / fine[:, y, x]).sum(), np.hypot(i - y, j - x), i, j))
        found = sorted(found)[: SMALL["similar"]]
        weights = np.array([1 / ((1 + d / w) * (1 + s)) for s, d, _, _ in found])
        values = np.array([change[:, i, j] for _, _, i, j in found])
        out[:, y, x] = fine[:, y, x] + weights @ values / weights.sum()
    return out


def _class_change(shares: np.ndarray, change: np.ndarray) -> np.ndarray:
    rows, values = [], []
    for k in range(len(shares)):
        # All that have some of the class: there are fewer than the purest asked for.
        order = np.flatnonzero(shares[k] > 0.01)
        picked = np.sort(change.ravel()[order])
        low, high = picked[len(order) // 4], picked[3 * len(order) // 4]
        kept = [n for n in order if low <= change.ravel()[n] <= high]
        rows += [shares.reshape(len(shares), -1)[:, n] for n in kept]
        values += [change.ravel()[n] for n in kept]
    return np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0]


def _spline_by_scipy(image: np.ndarray) -> np.ndarray:
    reach = REACH["tps"]
    padded = np.pad(image, reach, mode="symmetric")
    offset = np.arange(-reach, reach + 1.0)
    knots = np.stack(np.meshgrid(offset, offset, indexing="ij"), -1).reshape(-1, 2)
    inside = (np.arange(RATIO) + 0.5) / RATIO - 0.5
    places = np.stack(np.meshgrid(inside, inside, indexing="ij"), -1).reshape(-1, 2)
    out = np.empty(tuple(n * RATIO for n in image.shape))
    for i, j in np.ndindex(*image.shape):
        window = padded[i : i + 2 * reach + 1, j : j + 2 * reach + 1].ravel()
        values = RBFInterpolator(knots, window, kernel="thin_plate_spline")(places)
        out[i * RATIO : (i + 1) * RATIO, j * RATIO : (j + 1) * RATIO] = values.reshape(RATIO, RATIO)
    return out


def _case(shape: tuple[int, int] = (48, 60)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A fine image and the coarse ones of two dates between which classes and a corner changed."""
    labels = _classes(shape, seed=5)
    fine = _of_classes(labels)
    after = fine + np.array([[0.02, -0.03, 0.10], [0.0, 0.01, -0.05], [0.01, 0.02, 0.03]])[labels].transpose(2, 0, 1)
    after[:, :14, :22] += 0.04
    return fine, _means(fine), _means(after)


@pytest.mark.parametrize("chunks", [(20, 28), (8, 60), (17, 33)])
def test_tiles_do_not_matter(chunks: tuple[int, int]) -> None:
    fine, before, after = _case()
    fine[:, 7:9, 30:41] = np.nan
    after[:, 5, 6] = np.nan
    with nothing_computed():
        lazy = _fuse(fine, before, after, chunks)
    np.testing.assert_array_equal(lazy.compute(scheduler="sync"), _fuse(fine, before, after))


def test_gaps_of_the_fine_image_stay_and_do_not_spread() -> None:
    fine, before, after = _case()
    holed = fine.copy()
    holed[1, 10:13, 20:27] = np.nan
    whole, out = _fuse(fine, before, after).values, _fuse(holed, before, after).values
    np.testing.assert_array_equal(np.isnan(out), np.isnan(holed).any(axis=0)[None].repeat(3, axis=0))
    # Classes of the whole scene move by next to nothing: what is far away stays.
    np.testing.assert_allclose(out[:, 30:, 36:], whole[:, 30:, 36:], atol=2e-3)


def test_under_a_cloud_of_the_coarse_sensor_similar_pixels_beside_it_tell() -> None:
    labels = _classes((48, 60), seed=5)
    fine = _of_classes(labels)
    change = np.array([[0.02, -0.03, 0.10], [0.0, 0.01, -0.05], [0.01, 0.02, 0.03]])[labels].transpose(2, 0, 1)
    after = _means(fine + change)
    after[:, 4, 5] = np.nan
    out = _fuse(fine, _means(fine), after, window=21, similar=200)
    np.testing.assert_allclose(out, fine + change, atol=3e-6)
    # No similar pixel is left in a window that sees nothing but cloud.
    after[:, :8] = np.nan
    out = _fuse(fine, _means(fine), after, window=21, similar=200).values
    assert np.isnan(out[:, :21]).all()
    np.testing.assert_allclose(out[:, 32:], (fine + change)[:, 32:], atol=3e-6)


def test_a_date_without_any_coarse_pixel_is_not_a_number() -> None:
    fine, before, after = _case()
    assert np.isnan(_fuse(fine, before, np.full_like(after, np.nan))).all()


def test_values_out_of_range_take_the_change_of_their_coarse_pixel() -> None:
    fine, before, _ = _case()
    out = _fuse(fine, before, before - 0.08).values
    # What was moved below 0 by its similar pixels has the change of its coarse pixel, cut at 0.
    assert out.min() == 0.0
    dark = fine < 0.08
    assert 0.2 < (out[dark] == 0.0).mean() < 0.8
    np.testing.assert_allclose(out[fine > 0.1], fine[fine > 0.1] - 0.08, atol=2e-6)
    np.testing.assert_allclose(_fuse(fine, before, before - 0.08, valid_range=(-1.0, 1.0)), fine - 0.08, atol=2e-6)


def test_the_own_pixels_of_the_coarse_sensor_are_needed() -> None:
    fine, *_ = _case()
    with pytest.raises(ParameterError, match="ratio="):
        _fuse(fine, fine, fine)


def test_several_dates_at_once_are_those_one_by_one() -> None:
    fine, before, after = _case()
    ours = cube(fine.shape[1:], 10.0, times=1, bands=_bands(3), values=fine[None].astype("float32"))
    dates = np.stack([before, after, 0.5 * (before + after), 2 * after - before]).astype("float32")
    theirs = cube(before.shape[1:], 40.0, times=4, bands=_bands(3), values=dates)
    out = xrs.fuse_spatiotemporal(ours, theirs, "fsdaf", harmonize=False, **SMALL)
    for t in range(1, 4):
        np.testing.assert_allclose(out.isel(time=t), _fuse(fine, before, dates[t]), atol=1e-6)


@pytest.mark.parametrize(("smooth", "bound"), [(0, 1e-2), (2, 1e-3)])
def test_the_local_spline_is_the_one_through_the_whole_scene(smooth: float, bound: float) -> None:
    # Bounds follow from a decay by about four for each coarse pixel, measured on such noise.
    from scipy.ndimage import gaussian_filter

    n, inner, reach = 23, 7, REACH["tps"]
    image = gaussian_filter(np.random.default_rng(0).standard_normal((n, n)), smooth)
    image /= image.std()
    knots = np.stack(np.meshgrid(np.arange(n), np.arange(n), indexing="ij"), -1).reshape(-1, 2).astype(float)
    fine = (np.arange(n * RATIO) + 0.5) / RATIO - 0.5
    places = np.stack(np.meshgrid(fine, fine, indexing="ij"), -1).reshape(-1, 2)
    expected = RBFInterpolator(knots, image.ravel(), kernel="thin_plate_spline")(places).reshape(n * RATIO, -1)
    local = krige(image.astype(np.float32), spline_weights(RATIO))
    a, b = inner * RATIO, (inner - reach) * RATIO
    np.testing.assert_allclose(local[b:-b, b:-b], expected[a:-a, a:-a], atol=bound)


def test_inverse_distances_are_those_of_the_published_radius() -> None:
    # Radius 32 and power 2 on coarse pixels of 16, for one fine pixel counted by hand.
    weights, p, q = inverse_distance_weights(16), 3, 10
    side = weights.shape[-1]
    expected = np.zeros((side, side))
    for i, j in np.ndindex(side, side):
        away = np.hypot((i - side // 2) * 16 + 7.5 - p, (j - side // 2) * 16 + 7.5 - q)
        expected[i, j] = away**-2.0 if away <= 32 else 0.0
    np.testing.assert_allclose(weights[p, q], expected / expected.sum(), rtol=1e-12)


def test_classes_are_found_and_given_to_the_nearest() -> None:
    labels = _classes((36, 36))
    image = _of_classes(labels).astype("float32")
    centres = k_means(image.reshape(3, -1).T, 3, seed=0)
    own, _ = vq(SPECTRA, centres)
    assert sorted(own) == [0, 1, 2]
    np.testing.assert_allclose(centres[own], SPECTRA, atol=1e-3)
    seen = np.random.default_rng(0).random(labels.shape) < 0.9
    found = classify(image, seen, centres)
    np.testing.assert_array_equal(found[seen], own[labels][seen])
    assert (found[~seen] == -1).all()


def test_no_more_classes_than_there_are_different_pixels() -> None:
    pixels = np.repeat(SPECTRA[:2], 50, axis=0).astype("float32")
    assert k_means(pixels, 5, seed=0).shape == (2, 3)


def test_pixels_are_drawn_for_their_place() -> None:
    image = np.random.default_rng(0).random((2, 240, 200)).astype("float32")
    seen = np.random.default_rng(1).random(image.shape[1:]) < 0.7

    def drawn(rows: slice, columns: slice):
        part, mask = image[:, rows, columns], seen[rows, columns]
        tile = Tile({"fine": part}, {"fine": None}, {"fine": 4}, 0, (rows.start // 4, columns.start // 4))
        return sample_pixels(tile, "fine", part, mask, seed=7)

    whole = drawn(slice(0, 240), slice(0, 200))
    parts = [drawn(slice(a, a + 60), slice(b, b + 100)) for a in (180, 0, 120, 60) for b in (100, 0)]
    merged = parts[0]
    for part in parts[1:]:
        merged = merge_samples(merged, part)
    np.testing.assert_array_equal(merged.pixels, whole.pixels)
    assert len(whole.pixels) == 10_000 < seen.sum()
    # No band of the scene is preferred.
    np.testing.assert_allclose(whole.pixels.mean(axis=0), image[:, seen].mean(axis=1), atol=0.02)


def test_the_purest_pixels_decide_and_outliers_do_not() -> None:
    rng = np.random.default_rng(0)
    shares = rng.dirichlet([0.3] * 3, (20, 30)).transpose(2, 0, 1)
    truth = np.array([[0.1, -0.2], [0.0, 0.05], [-0.03, 0.3]])
    change = np.einsum("kyx,kb->byx", shares, truth)[None]
    ranks = rng.random((20, 30))
    # A fifth of the scene changed in another way, and each class's purest pixels as well.
    odd = rng.random((20, 30)) < 0.2
    change[:, :, odd] += 0.7
    seen = np.ones((1, 20, 30), bool)
    parts = [
        purest(shares[:, :, a:b], change[..., a:b], seen[..., a:b], ranks[:, a:b], 40) for a, b in ((0, 11), (11, 30))
    ]
    whole = purest(shares, change, seen, ranks, 40)
    found = class_changes(merge_purest(*parts))
    np.testing.assert_array_equal(found, class_changes(whole))
    assert [len(rows) for rows in whole.rows[0]] == [40, 40, 40]
    for k, rows in enumerate(whole.rows[0]):
        np.testing.assert_allclose(-rows[:, 0], np.sort(shares[k].ravel())[::-1][:40])
    np.testing.assert_allclose(found[0], truth, atol=0.03)


@pytest.fixture(scope="module")
def season() -> tuple[xr.DataArray, xr.DataArray]:
    times = ["2023-05-01", "2023-05-20", "2023-06-15"]
    scene = xrs.scenes.landscape((160, 160), times=times, wavelengths=[560, 660, 830, 1610]).compute()
    return scene, xrs.degrade(scene, 16, psf="box").compute()


@pytest.mark.parametrize("spatial", ["tps", "idw"])
@pytest.mark.parametrize("t", [1, 2])
def test_closer_to_the_truth_than_no_change_and_than_the_coarse_image(
    season: tuple[xr.DataArray, xr.DataArray], t: int, spatial: str
) -> None:
    scene, coarse = season
    out = xrs.fuse_spatiotemporal(
        scene.isel(time=[0]), coarse, "fsdaf", target_times=scene.time.values[[t]], harmonize=False, spatial=spatial
    )
    truth = scene.isel(time=t).values

    def error(values: np.ndarray) -> float:
        return float(np.sqrt(((values - truth) ** 2).mean()))

    blocks = coarse.isel(time=t).values.repeat(16, axis=1).repeat(16, axis=2)
    assert error(out.isel(time=0).values) < min(error(scene.isel(time=0).values), error(blocks))
