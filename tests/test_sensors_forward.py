"""The forward operator: NumPy and torch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import correlate1d

from xrs.errors import ParameterError
from xrs.kernels import decimate
from xrs.sensors import ForwardOperator, forward_operator, psf_of, spectral_response

torch = pytest.importorskip("torch")
from xrs.sensors import torch_forward  # noqa: E402


@st.composite
def operators(draw):
    """Any operator, a scene and an observation of it."""
    ratio = draw(st.integers(1, 5))
    height, width, dates = draw(st.integers(1, 6)), draw(st.integers(1, 6)), draw(st.integers(1, 3))
    bands, spectrum = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    kind = draw(st.sampled_from(["mtf", "box", "gaussian_box"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    response = rng.random((bands, spectrum)) if draw(st.booleans()) else None
    times = rng.permutation(dates)[: draw(st.integers(1, dates))] if draw(st.booleans()) else None
    operator = ForwardOperator(psf_of(None, ["b"] * bands, ratio, kind), ratio, response, times, dates)
    shape = (dates, bands if response is None else spectrum, height * ratio, width * ratio)
    seen = (dates if times is None else times.size, bands, height, width)
    return operator, rng.standard_normal(shape).astype("float32"), rng.standard_normal(seen).astype("float32")


def dot(a, b):
    return float(np.sum(np.asarray(a, "float64") * np.asarray(b, "float64")))


@settings(max_examples=60, deadline=None)
@given(operators())
def test_adjoint(case):
    operator, scene, seen = case
    left, right = dot(operator.apply(scene), seen), dot(scene, operator.adjoint(seen))
    assert left == pytest.approx(right, abs=1e-4 * np.sqrt(scene.size))


@settings(max_examples=60, deadline=None)
@given(operators())
def test_torch_agrees_with_numpy(case):
    operator, scene, seen = case
    layer = torch_forward.TorchForward(operator)
    np.testing.assert_allclose(layer(torch.from_numpy(scene)).numpy(), operator.apply(scene), atol=1e-5)
    np.testing.assert_allclose(layer.adjoint(torch.from_numpy(seen)).numpy(), operator.adjoint(seen), atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(operators())
def test_torch_adjoint_in_float64(case):
    operator, scene, seen = case
    layer = torch_forward.TorchForward(operator).double()
    x, y = torch.from_numpy(scene).double(), torch.from_numpy(seen).double()
    assert float((layer(x) * y).sum()) == pytest.approx(float((x * layer.adjoint(y)).sum()), abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(operators())
def test_gradient_is_the_adjoint_of_the_residual(case):
    operator, scene, seen = case
    layer = torch_forward.TorchForward(operator)
    x = torch.from_numpy(scene).requires_grad_()
    residual = layer(x) - torch.from_numpy(seen)
    (0.5 * residual.square().sum()).backward()
    truth = operator.adjoint(operator.apply(scene) - seen)
    np.testing.assert_allclose(x.grad.numpy(), truth, atol=2e-5 * max(1.0, np.abs(truth).max()))


def test_taps_can_be_learned():
    taps = torch.full((1, 4), 0.25, requires_grad=True)
    torch_forward.decimate(torch.rand(1, 1, 8, 8), taps, 2).sum().backward()
    assert taps.grad is not None
    assert torch.isfinite(taps.grad).all()


@pytest.mark.parametrize("ratio", [2, 3])
def test_operator_against_scipy(ratio):
    rng = np.random.default_rng(1)
    wavelengths = np.arange(400.0, 2501.0, 20.0)
    scene = rng.random((2, wavelengths.size, 8 * ratio, 6 * ratio), dtype="float32")
    operator = forward_operator("landsat-8", ratio, bands=["B4", "B6"], wavelengths=wavelengths, times=[1], n_times=2)
    bands = np.einsum(
        "bw,wyx->byx", spectral_response("landsat-8", wavelengths, ["B4", "B6"]), scene[1].astype("float64")
    )
    taps = operator.taps[0]
    # Symmetric taps of even number sit half a pixel off a sample: scipy's origin moves them there.
    origin = -1 if ratio % 2 == 0 else 0
    blurred = bands
    for axis in (1, 2):
        blurred = correlate1d(blurred, taps, axis=axis, mode="reflect", origin=origin)
    first = ratio // 2 - (1 if ratio % 2 == 0 else 0)
    np.testing.assert_allclose(operator.apply(scene)[0], blurred[:, first::ratio, first::ratio], rtol=1e-5)


def test_box_is_the_block_mean():
    scene = np.random.default_rng(0).random((1, 2, 12, 8), dtype="float32")
    got = forward_operator("sentinel-2a", 4, bands=["B02", "B03"], psf="box").apply(scene)
    np.testing.assert_allclose(got, scene.reshape(1, 2, 3, 4, 2, 4).mean(axis=(3, 5)), rtol=1e-6)


def test_taps_narrower_than_the_block():
    taps, image = np.ones((1, 1)), np.random.default_rng(0).random((1, 1, 9, 9), dtype="float32")
    got = torch_forward.decimate(torch.from_numpy(image), torch.from_numpy(taps), 3).numpy()
    np.testing.assert_allclose(got, image[..., 1::3, 1::3])
    np.testing.assert_allclose(got[0], decimate(image[0], taps, 3))


def test_errors():
    with pytest.raises(ParameterError, match="as many in both"):
        ForwardOperator(np.ones((2, 1)), 1, np.ones((3, 4)))
    with pytest.raises(ParameterError, match="at most once"):
        ForwardOperator(np.ones((1, 1)), 1, times=np.array([0, 0]))
    with pytest.raises(ParameterError, match="n_times"):
        ForwardOperator(np.ones((1, 1)), 1, times=np.array([0])).adjoint(np.ones((1, 1, 2, 2), "float32"))
    with pytest.raises(ParameterError, match="multiples of 2"):
        forward_operator("s2a", 2, bands=["B05"]).apply(np.ones((1, 1, 3, 4), "float32"))
    with pytest.raises(ParameterError, match="a response of 2"):
        ForwardOperator(np.ones((1, 1)), 1, np.ones((1, 2))).apply(np.ones((1, 3, 2, 2), "float32"))
