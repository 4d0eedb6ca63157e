"""SupReME against a dense solution of its objective, written out with explicit matrices."""

from __future__ import annotations

import numpy as np
import pytest
from sharpening import DSEN2, landscape, sharpen

from xrs.kernels import decimate
from xrs.kernels.psf import box_taps
from xrs.methods import get_method, resolve_params
from xrs.methods.base import Tile
from xrs.methods.sharpen import supreme


def _decimation(size: int, taps: np.ndarray, ratio: int) -> np.ndarray:
    """Blur with mirrored edges and keep one in ``ratio``, along one side, as a matrix."""
    matrix = np.zeros((size // ratio, size))
    for i in range(size // ratio):
        for t, weight in enumerate(taps):
            place = i * ratio + t - (taps.size - ratio) // 2
            place = -1 - place if place < 0 else place
            matrix[i, 2 * size - 1 - place if place >= size else place] += weight
    return matrix


def _differences(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Forward differences along y and x of an image laid out row by row; zero across the last ones."""

    def along(n: int) -> np.ndarray:
        matrix = np.eye(n, k=1) - np.eye(n)
        matrix[-1] = 0.0
        return matrix

    return np.kron(along(height), np.eye(width)), np.kron(np.eye(height), along(width))


def _dense(
    fine: np.ndarray, coarse: np.ndarray, state: dict[str, np.ndarray], penalty: np.ndarray, taps: np.ndarray
) -> np.ndarray:
    count, height, width = fine.shape
    blur = np.kron(_decimation(height, taps, 2), _decimation(width, taps, 2))
    scale, basis = state["scale"], state["basis"]
    pixels = height * width
    rows = [np.kron(basis[b : b + 1], np.eye(pixels) if b < count else blur) for b in range(len(basis))]
    data = [image.ravel() / s for image, s in zip([*fine, *coarse], scale, strict=True)]
    down, right = _differences(height, width)
    normalised = fine / scale[:count, None, None]
    gradients = [np.hypot(down @ image.ravel(), right @ image.ravel()) for image in normalised]
    weights = np.maximum(np.exp(-0.5 * (np.max(gradients, axis=0) / state["edge"]) ** 2), 0.5)
    smooth = down.T @ (weights[:, None] * down) + right.T @ (weights[:, None] * right)
    system = sum(r.T @ r for r in rows) + np.kron(np.diag(penalty), smooth)
    z = np.linalg.solve(system, sum(r.T @ d for r, d in zip(rows, data, strict=True)))
    bands = (basis[count:] @ z.reshape(basis.shape[1], pixels)) * scale[count:, None]
    return bands.reshape(-1, height, width)


def _tiny() -> tuple[Tile, dict[str, np.ndarray]]:
    fine = landscape((12, 16), 3)
    coarse = decimate(landscape((12, 16), 2, seed=5), DSEN2, 2)
    tile = Tile({"fine": fine, "r20m": coarse}, {"fine": None, "r20m": None}, {"fine": 2, "r20m": 1}, 0)
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 5)))[0][:, :4]
    return tile, {"scale": np.linspace(0.2, 0.4, 5), "basis": basis, "edge": 0.3}


def test_the_minimum_is_that_of_a_dense_solution() -> None:
    tile, state = _tiny()
    params = resolve_params(get_method("supreme", "sharpen"), {"psf": {"r20m": DSEN2}})
    out = supreme.apply(tile, state, **params)
    penalty = 0.005 * np.array([1.0, 1.5, 4.0, 8.0])
    expected = _dense(tile["fine"], tile["r20m"], state, penalty, DSEN2)
    np.testing.assert_allclose(out, expected, atol=2e-4 * np.abs(expected).max())


def test_unseen_pixels_have_no_say() -> None:
    tile, state = _tiny()
    params = resolve_params(get_method("supreme", "sharpen"), {"psf": {"r20m": DSEN2}})
    seen = np.ones(tile["r20m"].shape, bool)
    seen[:, 2, 3] = False
    results = []
    for value in (0.0, 0.9):
        coarse = np.where(seen, tile["r20m"], np.float32(value))
        holed = Tile({"fine": tile["fine"], "r20m": coarse}, {"fine": None, "r20m": seen}, tile.factors, 0)
        results.append(supreme.apply(holed, state, **params))
    np.testing.assert_array_equal(*results)


def test_bands_in_the_span_of_the_fine_ones_are_recovered() -> None:
    fine = landscape((64, 80))
    truth = np.einsum("bf,fyx->byx", np.random.default_rng(1).uniform(0.1, 0.8, (3, 4)), fine).astype(np.float32)
    coarse = decimate(truth, DSEN2, 2)
    out = sharpen("supreme", fine, {"r20m": coarse}, {"r20m": DSEN2}, components=4, regularisation=1e-6)
    np.testing.assert_allclose(out, truth, atol=2e-3 * truth.max())


def test_blocks_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    fine = landscape((288, 272))
    truth = 0.8 * fine[:3] + 0.2 * landscape((288, 272), 3, seed=9)
    coarse = decimate(truth.astype(np.float32), box_taps(2), 2)
    blocks = sharpen("supreme", fine, {"r20m": coarse}, {"r20m": box_taps(2)})
    monkeypatch.setattr(supreme, "_BLOCK", 144)
    whole = sharpen("supreme", fine, {"r20m": coarse}, {"r20m": box_taps(2)})
    assert np.abs(blocks - whole).max() < 5e-4
    assert np.sqrt(((blocks - whole) ** 2).mean()) < 2e-5


def test_components_are_bounded_by_the_bands() -> None:
    fine = landscape((24, 24), 2)
    coarse = decimate(landscape((24, 24), 1, seed=3), DSEN2, 2)
    assert sharpen("supreme", fine, {"r20m": coarse}, {"r20m": DSEN2}).shape == (1, 24, 24)
