"""Networks by name: the catalogue, what it refuses, and promises that every network keeps."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Layout, assert_near, cases, result_bands, scene, small

from xrs.errors import ParameterError
from xrs.nets import get_network, list_networks

CASES = cases()
case = pytest.mark.parametrize(("name", "layout"), CASES, ids=str)


def test_catalogue_tells_of_every_network() -> None:
    table = list_networks()
    assert {"dsen2", "vdsen2", "pnn", "pannet", "fusionnet", "light", "nfgr", "ssrpnet", "dual_sr", "rercnn"} <= set(
        table["name"]
    )
    assert (table["summary"].str.len() > 0).all()
    assert (table["reference"].str.len() > 0).all()
    tasks = {
        "sharpen",
        "pansharpen",
        "refine",
        "spectral",
        "spatiotemporal",
        "sts",
        "ssr_cloud",
        "ssr_classify",
        "retrieval",
    }
    assert set(", ".join(table["tasks"]).split(", ")) == tasks


def test_the_room_loads_without_torch() -> None:
    code = "import xrs.nets, sys; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "False"


def test_unknown_name_suggests_a_near_one() -> None:
    with pytest.raises(ParameterError, match="did you mean 'dsen2'"):
        get_network("desn2")


@pytest.mark.parametrize(
    ("bands", "ratios", "complaint"),
    [
        ((4,), (1,), "two or more images"),
        ((4, 6), (1, 2, 6), "one of each"),
        ((4, 0), (1, 2), "at least one"),
        ((4, 6), (2, 4), "1 for the first"),
        ((4, 6, 2), (1, 4, 2), "do not fall"),
        ((4, 6, 2), (1, 2, 3), "divides the last"),
    ],
)
def test_layouts_that_do_not_nest_are_refused(bands: tuple[int, ...], ratios: tuple[int, ...], complaint: str) -> None:
    with pytest.raises(ParameterError, match=complaint):
        get_network("dsen2").build(bands, ratios)


def test_networks_refuse_what_they_cannot_take() -> None:
    with pytest.raises(ParameterError, match="panchromatic"):
        get_network("pnn").build((4, 6), (1, 2))
    with pytest.raises(ParameterError, match="at most 2"):
        get_network("nfgr").build((4, 6, 2), (1, 2, 6))
    with pytest.raises(ParameterError, match="the number of bands"):
        get_network("rercnn").build((4,), (1,))
    with pytest.raises(ParameterError, match="bands of the last image"):
        get_network("dsen2").build((4, 6), (1, 2), outputs=3)
    with pytest.raises(ParameterError, match="no parameter 'depth'"):
        get_network("dsen2").build((4, 6), (1, 2), depth=3)


@case
def test_same_seed_same_weights(name: str, layout: Layout) -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one, again, other = (small(name, layout, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


@case
def test_pickles_to_the_same_network(name: str, layout: Layout) -> None:
    module = small(name, layout)
    again = pickle.loads(pickle.dumps(module))
    images = scene(layout, 3, 4)
    with torch.inference_mode():
        assert torch.equal(module(*images), again(*images))


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(CASES), st.integers(1, 7), st.integers(1, 7))
def test_result_has_the_last_bands_on_the_first_grid(drawn: tuple[str, Layout], rows: int, columns: int) -> None:
    name, layout = drawn
    images = scene(layout, rows, columns)
    before = [image.clone() for image in images]
    with torch.inference_mode():
        result = small(name, layout)(*images)
    assert result.shape == (1, result_bands(name, layout), *images[0].shape[2:])
    assert result.dtype == torch.float32
    assert result.isfinite().all()
    assert all(torch.equal(image, copy) for image, copy in zip(images, before, strict=True))


@case
def test_images_of_a_batch_do_not_meet(name: str, layout: Layout) -> None:
    module = small(name, layout)
    one, other = scene(layout, 3, 5, seed=1), scene(layout, 3, 5, seed=2)
    with torch.inference_mode():
        both = module(*(torch.cat(pair) for pair in zip(one, other, strict=True)))
        assert_near(both[:1], module(*one))
        assert_near(both[1:], module(*other))


@case
def test_gradients_reach_every_parameter(name: str, layout: Layout) -> None:
    module = small(name, layout).train()
    images = scene(layout, 6, 6)
    result = module(*images)
    loss = (result * torch.rand(1, generator=torch.Generator().manual_seed(3))).square().sum()
    if hasattr(module, "extra_loss"):
        loss = loss + module.extra_loss(images, result, torch.ones_like(images[0][:, :1]) > 0)
    loss.backward()
    for key, weights in module.named_parameters():
        assert weights.grad is not None, f"{key} has no gradient"
        assert weights.grad.isfinite().all()
        assert weights.grad.any(), f"the gradient of {key} is zero"


@case
def test_half_precision_comes_near(name: str, layout: Layout) -> None:
    module = small(name, layout)
    images = scene(layout, 4, 5)
    with torch.inference_mode():
        exact = module(*images)
        with torch.autocast("cpu", torch.bfloat16):
            rough = module(*images).float()
    assert (rough - exact).square().mean().sqrt() < 0.02 * exact.std()


@case
def test_channels_last_gives_the_same(name: str, layout: Layout) -> None:
    module = small(name, layout)
    images = scene(layout, 4, 5)
    with torch.inference_mode():
        plain = module(*images)
        module = module.to(memory_format=torch.channels_last)
        turned = module(*(image.to(memory_format=torch.channels_last) for image in images))
    assert_near(turned, plain)
