"""Small members of every network, and layouts of images they take."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from xrs.nets.base import Network
from xrs.nets.registry import networks

#: Configurations that are quick, by network.
SMALL: dict[str, dict[str, Any]] = {
    "awan": {"features": 32, "blocks": 2},
    "dsen2": {"features": 8, "blocks": 2},
    "dster": {"features": 8, "blocks": 2, "heads": 2},
    "dual_sr": {"features": 8, "blocks": 1},
    "edcstfn": {"features": (4, 8)},
    "vdsen2": {"features": 8, "blocks": 3},
    "fusionnet": {"features": 8, "blocks": 2},
    "hscnn_plus": {"features": 8, "blocks": 3},
    "hsrnet": {"stages": 2},
    "light": {"features": 8, "blocks": 2},
    "mst_plus_plus": {"features": 6, "stages": 2},
    "nfgr": {"stages": 2, "blocks": 2, "features": 8},
    "pannet": {"features": 8, "blocks": 2},
    "pnn": {"features": (8, 4)},
    "ponet": {"stages": 2},
    "rercnn": {"scale_features": 4, "features": 8, "blocks": 1},
    "restfnet": {"features": 4},
    "ssrpnet": {"features": 4},
    "stf3dcnn": {"features": 8, "layers": 1},
    "tfnet": {"features": 4},
}

#: Tasks whose networks take or put out more than images.
TESTED_APART = {"sts", "ssr_cloud", "ssr_classify"}

Layout = tuple[tuple[int, ...], tuple[int, ...]]

#: Bands that networks for task "spectral" make.
OUTPUTS = 6

LAYOUTS: tuple[Layout, ...] = (
    ((4,), (1,)),
    ((4, 6), (1, 2)),
    ((4, 6, 2), (1, 2, 6)),
    ((1, 4), (1, 4)),
    ((1, 3), (1, 3)),
    ((1, 2), (1, 2)),
    ((2, 4), (1, 1)),
    ((2, 2, 2), (1, 4, 4)),
    ((2, 2, 2, 2, 2), (1, 1, 4, 4, 4)),
)


def cases() -> list[tuple[str, Layout]]:
    """Every network of images with every layout it takes; what takes or gives more than that has tests of its own."""
    return [
        (name, (bands, ratios))
        for name, network in networks().items()
        for bands, ratios in LAYOUTS
        if not set(network.tasks) & TESTED_APART and _takes(network, bands, ratios)
    ]


def _takes(network: Network, bands: tuple[int, ...], ratios: tuple[int, ...]) -> bool:
    if "spectral" in network.tasks or len(bands) == 1:
        return "spectral" in network.tasks and len(bands) == 1
    if "spatiotemporal" in network.tasks or len(set(bands)) < len(bands):
        return "spatiotemporal" in network.tasks and len(set(bands)) < len(bands)
    if "refine" in network.tasks or set(ratios) == {1}:
        return "refine" in network.tasks and set(ratios) == {1}
    return (not network.images or len(bands) <= network.images) and ("sharpen" in network.tasks or bands[0] == 1)


def result_bands(name: str, layout: Layout) -> int:
    """How many bands a network makes."""
    return OUTPUTS if "spectral" in networks()[name].tasks else layout[0][-1]


def small(name: str, layout: Layout, seed: int = 0) -> nn.Module:
    """A quick member of a network."""
    outputs = OUTPUTS if "spectral" in networks()[name].tasks else 0
    module = networks()[name].build(*layout, outputs=outputs, seed=seed, **SMALL.get(name, {})).eval()
    _wake(module, seed)
    return module


def _wake(module: nn.Module, seed: int) -> None:
    """Give values to layers that begin at zero, as training would."""
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d) and not layer.weight.any():
            with torch.no_grad():
                layer.weight.normal_(0, 0.1, generator=generator)


def assert_near(one: Tensor, other: Tensor, share: float = 1e-5) -> None:
    """Equal but for float32 rounding: their difference is within this share of the greatest value."""
    torch.testing.assert_close(one, other, rtol=0, atol=share * float(other.abs().max()))


def scene(layout: Layout, rows: int, columns: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Random images of one batch, by the size of the coarsest."""
    generator = torch.Generator().manual_seed(seed)
    bands, ratios = layout
    sides = [ratios[-1] // ratio for ratio in ratios]
    return [
        torch.rand((1, count, rows * side, columns * side), generator=generator, dtype=dtype)
        for count, side in zip(bands, sides, strict=True)
    ]
