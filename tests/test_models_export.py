"""Exported models against their modules, ONNX through onnxruntime."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import OUTPUTS, SMALL, Layout, assert_near, cases, scene
from torch import Tensor

from xrs.errors import ParameterError
from xrs.models import Card, ImageSpec, Model
from xrs.models.card import card_from_metadata
from xrs.nets.registry import networks

#: Networks that tell the most at the least time; the others take minutes together.
QUICK = ("dsen2", "dual_sr", "light", "nfgr", "pnn")
ALL = [
    (name, layout) for name, layout in cases() if "refine" not in networks()[name].tasks and not networks()[name].window
]
ALL.append(("ssri", ((1, 4), (1, 1))))
#: The layout of most images that each network takes.
ONE_EACH = dict(sorted(ALL, key=lambda case: len(case[1][0])))
CASES = [
    pytest.param(
        *case, marks=() if case[0] in QUICK and case[1] == ONE_EACH[case[0]] else pytest.mark.slow, id=str(case)
    )
    for case in ALL
]


def model_of(name: str, layout: Layout, **config: Any) -> Model:
    bands, ratios = layout
    images = tuple(
        ImageSpec(tuple(f"{n}_{k}" for k in range(count)), ratio)
        for n, (count, ratio) in enumerate(zip(bands, ratios, strict=True))
    )
    task = networks()[name].tasks[0]
    outputs = ImageSpec(tuple(f"out{k}" for k in range(OUTPUTS))) if task == "spectral" else None
    card = Card(name, task, images, margin=0, scale=0.2, config=SMALL.get(name, {}) | config, outputs=outputs)
    module = networks()[name].build(bands, ratios, outputs=OUTPUTS if outputs else 0, **card.config)
    return Model.from_module(module, card)


def batch(layout: Layout) -> list[Tensor]:
    """Images of another size and number than those that were traced."""
    return [torch.cat(images) for images in zip(*(scene(layout, 9, 5, seed) for seed in range(3)), strict=True)]


def as_onnx(path: Path, images: list[Tensor]) -> tuple[Tensor, dict[str, str]]:
    """What onnxruntime makes of images with a file, and the file's metadata."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    named = {f"images_{n}": image.numpy() for n, image in enumerate(images)}
    return torch.from_numpy(session.run(["result"], named)[0]), session.get_modelmeta().custom_metadata_map


@pytest.mark.parametrize(("name", "layout"), CASES)
def test_every_network(tmp_path: Path, name: str, layout: Layout) -> None:
    check_both(model_of(name, layout), batch(layout), tmp_path)


@pytest.mark.slow
def test_parts_that_are_off_at_first(tmp_path: Path) -> None:
    layout: Layout = ((4, 3), (1, 2))
    check_both(model_of("light", layout, window=3, dropout=0.2), batch(layout), tmp_path)


def check_both(model: Model, images: list[Tensor], folder: Path) -> None:
    pytest.importorskip("onnxruntime")
    with torch.no_grad():
        expected = model.build().eval()(*images)
    result, metadata = as_onnx(model.export(folder / "new" / "model.onnx"), images)
    assert_near(result, expected)
    assert card_from_metadata(metadata, "model.onnx").to_json() == model.card.to_json()
    facts = {"xrs:card": ""}
    program = torch.export.load(model.export(folder / "model.pt2"), extra_files=facts)
    with torch.no_grad():
        assert_near(program.module()(*images), expected)
    assert json.loads(facts["xrs:card"]) == json.loads(model.card.to_json())


def test_sizes_that_do_not_nest_are_refused(tmp_path: Path) -> None:
    program = torch.export.load(model_of("pnn", ((1, 4), (1, 4))).export(tmp_path / "model.pt2"))
    with pytest.raises(AssertionError, match="images"):
        program.module()(torch.zeros(1, 1, 24, 24), torch.zeros(1, 4, 5, 6))


def test_metadata_names_the_inputs(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    layout: Layout = ((1, 4), (1, 4))
    _, metadata = as_onnx(model_of("pnn", layout).export(tmp_path / "model.onnx"), batch(layout))
    described = json.loads(metadata["mlm:input"])
    assert [image["name"] for image in described] == ["images_0", "images_1"]
    assert described[1]["value_scaling"] == [{"type": "scale", "value": 0.2}]


class TestRefused:
    def test_other_suffixes(self, tmp_path: Path) -> None:
        with pytest.raises(ParameterError, match=r"model.tflite.*\.onnx or \.pt2"):
            model_of("pnn", ((1, 4), (1, 4))).export(tmp_path / "model.tflite")

    def test_missing_packages(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("xrs.models.export.find_spec", lambda name: None)
        with pytest.raises(ParameterError, match=r"onnx.*pip install 'xrs\[onnx\]'"):
            model_of("pnn", ((1, 4), (1, 4))).export(tmp_path / "model.onnx")

    @pytest.mark.parametrize("suffix", ["pt2", "onnx"])
    def test_networks_that_cannot_be_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
    ) -> None:
        pytest.importorskip("onnxscript")

        class Branching(torch.nn.Module):
            def forward(self, *images: Tensor) -> Tensor:
                return images[0] if images[0].sum() > 0 else images[1]

        model = model_of("pnn", ((1, 4), (1, 4)))
        monkeypatch.setattr(Model, "build", lambda self: Branching())
        with pytest.raises(ParameterError, match=rf"'pnn' cannot be written as \.{suffix} \("):
            model.export(tmp_path / f"model.{suffix}")
        assert not list(tmp_path.iterdir())
