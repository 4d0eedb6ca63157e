"""Networks that learn the bands of ``hs`` from the scene they are applied to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from hsms import BANDS, RATIO, RESPONSE, pair, rmse, scene
from support import nothing_computed, rechunked

from xrs.errors import ParameterError
from xrs.kernels import decimate, upsample
from xrs.methods import get_method
from xrs.nets import get_network
from xrs.operators.fuse_hsms import fuse_hsms

NAMES = ("spectralift", "srecnn")

#: Parameters that make a method quick enough for a test.
QUICK: dict[str, dict[str, Any]] = {
    "spectralift": {"steps": 3, "samples": 500},
    "srecnn": {"steps": 2, "patches": 6, "side": 8},
}

each = pytest.mark.parametrize("name", NAMES)


def run(name: str, hs: Any, ms: Any, **kwargs: Any) -> Any:
    return fuse_hsms(hs, ms, method=name, **{"psf": "box", **QUICK[name], **kwargs})


def close(a: Any, b: Any, bound: float = 1e-5) -> None:
    np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
    np.testing.assert_allclose(a, b, rtol=0, atol=bound * float(np.nanmax(np.abs(b))))


@each
@pytest.mark.parametrize("correct", [False, True])
def test_any_chunking_gives_the_same_pixels_and_stays_lazy(name: str, correct: bool) -> None:
    hs, ms, _ = pair()
    expected = run(name, hs, ms, correct=correct)
    for my, mx, hy, hx in (((17, 19), (36,), (5, 7), (12,)), ((11, 24, 1), (10, 26), (12,), (1, 11))):
        with nothing_computed():
            lazy = run(name, rechunked(hs, hy, hx, band=7), rechunked(ms, my, mx), correct=correct)
        close(lazy.compute(scheduler="threads").values, expected.values)


@each
def test_missing_values_stay_local_and_dates_apart(name: str) -> None:
    hs, ms, _ = pair(times=2)
    hs.values[1, 3, 2:4, 5] = np.nan
    ms.values[1, 1, 20:22, 25:30] = np.nan
    out = run(name, hs, ms)
    expected = np.zeros(ms.shape[2:], bool)
    expected[2 * RATIO : 4 * RATIO, 5 * RATIO : 6 * RATIO] = True
    expected[20:22, 25:30] = True
    for band in out.values[1]:
        np.testing.assert_array_equal(np.isnan(band), expected)
    close(out.values[0], run(name, hs.isel(time=0), ms.isel(time=0)).values)
    ms.values[1] = np.nan
    out = run(name, hs, ms)
    assert np.isfinite(out[0]).all()
    assert np.isnan(out[1]).all()


@each
def test_seeds_and_units(name: str) -> None:
    hs, ms, _ = pair()
    one, again, other = (run(name, hs, ms, seed=seed) for seed in (1, 1, 2))
    xr.testing.assert_identical(one, again)
    assert not np.array_equal(one, other)
    np.testing.assert_allclose(run(name, hs * np.float32(1000), ms * np.float32(500), seed=1) / 1000, one, atol=2e-3)


@each
def test_constant_and_dark_scenes(name: str) -> None:
    hs, ms, _ = pair()
    flat = run(name, xr.zeros_like(hs) + np.float32(0.25), xr.zeros_like(ms) + np.float32(0.25))
    np.testing.assert_allclose(flat, 0.25, atol=0.01)
    assert np.isfinite(run(name, xr.zeros_like(hs), xr.zeros_like(ms))).all()


@pytest.mark.parametrize(("name", "steps", "share"), [("spectralift", 200, 0.5), ("srecnn", 60, 0.8)])
def test_beats_interpolation_and_correction_brings_it_nearer_to_hs(name: str, steps: int, share: float) -> None:
    hs, ms, truth = pair(24)
    plain = truth.copy(data=upsample(hs.values, RATIO, "lanczos"))
    told, nearer = (
        fuse_hsms(hs, ms, method=name, psf="box", srf=RESPONSE, steps=steps, correct=correct)
        for correct in (False, True)
    )
    assert rmse(told, truth) < share * rmse(plain, truth)
    taps = np.full(RATIO, 1 / RATIO)
    left = [float(np.square(decimate(out.values, taps, RATIO) - hs.values).mean()) for out in (told, nearer)]
    assert left[1] < 0.3 * left[0]


@pytest.mark.parametrize(("name", "reach"), [("spectralift", 0), ("srecnn", 5)])
def test_how_far_a_pixel_sees(name: str, reach: int) -> None:
    network = get_network(name).build((4,), (1,), outputs=3)
    with torch.no_grad():
        for layer in network.body[::2]:
            layer.weight.abs_().add_(0.01)
    image = torch.ones(1, 4, 17, 17, requires_grad=True)
    network(image)[0, :, 8, 8].sum().backward()
    assert image.grad is not None
    rows = np.flatnonzero(image.grad.abs().sum(dim=(0, 1, 3)).numpy())
    assert (rows.min(), rows.max()) == (8 - reach, 8 + reach)


def test_least_that_can_be_learned_from(caplog: pytest.LogCaptureFixture) -> None:
    assert np.isfinite(run("spectralift", *pair(1)[:2])).all()
    hs, ms, _ = pair()
    hs.values[:, 3:] = np.nan
    assert np.isnan(run("srecnn", hs, ms)).all()
    assert "nothing learned" in caplog.text


def test_start_is_the_linear_regression_on_standardised_bands() -> None:
    spectra = scene(12, 12)
    image = torch.from_numpy(np.einsum("cb,byx->cyx", RESPONSE, spectra).astype("float32"))[None]
    target = torch.from_numpy(spectra)[None]
    mask = torch.ones(1, BANDS, 12, 12, dtype=torch.bool)
    for name in NAMES:
        network = get_network(name).build((4,), (1,), outputs=BANDS)
        network.begin([image], target, mask)
        with torch.no_grad():
            left, first = target - network(image), network.body[0](image)
        # ms tells most of spectra of four materials, and linear regression finds it.
        assert float(left.square().mean()) < 0.02 * float(target.var(dim=(2, 3)).mean())
        scaled = (image - image.mean(dim=(2, 3), keepdim=True)) / image.std(dim=(2, 3), correction=0, keepdim=True)
        fresh: Any = get_network(name).build((4,), (1,), outputs=BANDS)
        with torch.no_grad():
            fresh._centre()
        inner = np.s_[:, :, 1:-1, 1:-1]
        with torch.no_grad():
            torch.testing.assert_close(first[inner], fresh.body[0](scaled)[inner], atol=1e-4, rtol=1e-4)


def test_records() -> None:
    for name in NAMES:
        method = get_method(name, "hsms")
        assert not method.needs_model
        assert method.differs
    with pytest.raises(ParameterError, match="steps"):
        run("spectralift", *pair(4)[:2], steps=0)
