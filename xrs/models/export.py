"""Models for other programs: ``torch.export`` archives and ONNX files, for any batch, height and width."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from xrs.errors import ParameterError
from xrs.models.card import Card, input_name, metadata_of
from xrs.models.weights import write_bytes

if TYPE_CHECKING:
    from xrs.models.loader import Model

__all__ = ["export"]

#: Pixels of the coarsest image in the example that is traced; any would do.
_ROWS, _COLUMNS = 6, 7


def export(model: Model, path: str | os.PathLike[str]) -> Path:
    """Write a model for other programs; see :meth:`xrs.models.Model.export`."""
    place = Path(path).expanduser().resolve()
    if place.suffix not in _WRITERS:
        raise ParameterError(f"a file {place.name!r} to export to", f"a name that ends in {' or '.join(_WRITERS)}")
    if place.suffix == ".onnx" and not (find_spec("onnx") and find_spec("onnxscript")):
        raise ParameterError("ONNX without onnx and onnxscript", "both", "pip install 'xrs[onnx]'")
    try:
        data = _WRITERS[place.suffix](_program(model), model.card, metadata_of(model.card))
    except Exception as error:
        # Exporters raise whatever the step they fail in does.
        raise ParameterError(
            f"the network {model.card.network!r} cannot be written as {place.suffix} ({_reason(error)})",
            "a network whose every step the exporter knows, for images of any size",
            "the other of .pt2 and .onnx, or another network",
        ) from error
    write_bytes(data, place)
    return place


class _Positional(nn.Module):
    """A network whose images have the same names whatever those of its own ``forward`` are."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *images: Tensor) -> Tensor:
        result: Tensor = self.network(*images)
        return result


def _program(model: Model) -> ExportedProgram:
    card = model.card
    sides = [card.ratios[-1] // ratio for ratio in card.ratios]
    examples = tuple(
        torch.zeros(2, bands, _ROWS * side, _COLUMNS * side) for bands, side in zip(card.bands, sides, strict=True)
    )
    batch, height, width = Dim("batch", min=1), Dim("height"), Dim("width")
    shapes = tuple({0: batch, 2: side * height, 3: side * width} for side in sides)
    network = _Positional(model.build().eval().requires_grad_(False))
    return torch.export.export(network, examples, dynamic_shapes={"images": shapes})


def _pt2(program: ExportedProgram, card: Card, metadata: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files=dict(metadata))
    return buffer.getvalue()


def _onnx(program: ExportedProgram, card: Card, metadata: Mapping[str, str]) -> bytes:
    names = [input_name(n) for n in range(len(card.images))]
    made: Any = torch.onnx.export(program, input_names=names, output_names=["result"], dynamo=True, verbose=False)
    made.model.metadata_props.update(metadata)
    data: bytes = made.model_proto.SerializeToString()
    return data


_WRITERS: Mapping[str, Callable[[ExportedProgram, Card, Mapping[str, str]], bytes]] = {".onnx": _onnx, ".pt2": _pt2}


def _reason(error: BaseException) -> str:
    """The first line of what lies at the bottom of an error."""
    while error.__cause__ is not None:
        error = error.__cause__
    first = str(error).strip().splitlines()[:1]
    return f"{type(error).__name__}: {first[0] if first else ''}"
