"""What a network can learn from without ground truth: pairs of inputs and a target, made from the scene itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import xarray as xr

from xrs.cube import band_keys
from xrs.errors import ParameterError, XrsError
from xrs.kernels import reach_of
from xrs.kernels.types import Float64
from xrs.nets import get_network
from xrs.operators.observe import degrade
from xrs.sensors import Sensor, psf_of

__all__ = ["PROTOCOLS", "Images", "Layout", "Pairs", "consistency", "make_pairs", "taps_of", "wald"]

#: Names that ``train`` takes, and the pairs each is made of.
PROTOCOLS = {
    "wald": ("wald",),
    "consistency": ("consistency",),
    "both": ("wald", "consistency"),
    "staged": ("wald", "consistency"),
}


@dataclass(frozen=True)
class Layout:
    """What a network is built for.

    Attributes
    ----------
    bands, ratios : tuple of int
        Of each image, the finest first.
    outputs : int
        Bands of the result where they are others than those of the last image, else 0.
    """

    bands: tuple[int, ...]
    ratios: tuple[int, ...]
    outputs: int = 0

    @property
    def results(self) -> int:
        """Bands of the result."""
        return self.outputs or self.bands[-1]

    def build(self, network: str, task: str, seed: int, config: Mapping[str, Any]) -> torch.nn.Module:
        """The network with random weights.

        Raises
        ------
        ParameterError
            If it is not for this task, or its parameters do not fit.
        """
        record = get_network(network)
        if task not in record.tasks:
            raise ParameterError(f"the network {network!r} for task={task!r}", f"one for {' or '.join(record.tasks)}")
        try:
            return record.build(self.bands, self.ratios, outputs=self.outputs, seed=seed, **config)
        except XrsError:
            raise
        except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
            # Networks do not check their parameters: torch does, in its own words.
            raise ParameterError(
                f"the network {network!r} with {dict(config)} ({error})", f"values such as {dict(record.config)}"
            ) from error


@dataclass(frozen=True)
class Images:
    """What a network is given, cropped to one area of whole coarsest pixels.

    Attributes
    ----------
    arrays : tuple of xarray.DataArray (time, band, y, x)
        The finest first; the bands of the last are to be brought to the grid of the first. Lazy or not.
    ratios : tuple of int
        Pixels of the finest along the side of a pixel of each; the first is 1.
    names : tuple of str
    """

    arrays: tuple[xr.DataArray, ...]
    ratios: tuple[int, ...]
    names: tuple[str, ...]

    @property
    def ratio(self) -> int:
        """Pixels of the finest along the side of a pixel of the coarsest."""
        return self.ratios[-1]

    @property
    def factors(self) -> tuple[int, ...]:
        """Pixels of each image along the side of a pixel of the coarsest."""
        return tuple(self.ratio // ratio for ratio in self.ratios)

    @property
    def bands(self) -> tuple[int, ...]:
        """Number of bands of each image."""
        return tuple(array.sizes["band"] for array in self.arrays)

    def layout(self, outputs: int = 0) -> Layout:
        """What a network of these images is built for."""
        return Layout(self.bands, self.ratios, outputs)


@dataclass(frozen=True)
class Pairs:
    """Inputs of a network and what its result is held against, both lazy if the scene is.

    Attributes
    ----------
    inputs : Images
    target : xarray.DataArray (time, band, y, x)
    factor : int
        Pixels of the target along the side of a pixel of the coarsest input.
    taps : ndarray (band, tap), optional
        Point spread from the network's result to the target; without it they share a grid.
    margin : int
        Pixels at the edges of a patch of the target that are seen through what lies outside of it.
    """

    inputs: Images
    target: xr.DataArray
    factor: int
    taps: Float64 | None = None
    margin: int = 0


def wald(images: Images, sensor: str | Sensor | None, psf: Any) -> Pairs:
    """Everything seen ``ratio`` times coarser; the target is the coarsest image as it was.

    Wald, Ranchin and Mangolini 1997, Fusion of satellite images of different spatial resolutions, PE&RS
    63(6):691-699. It assumes that what holds between the degraded scales holds between the scene's own.

    Raises
    ------
    ParameterError
        If the scene is smaller than one degraded pixel.
    """
    ratio = images.ratio
    height, width = (images.arrays[-1].sizes[d] // ratio * ratio for d in ("y", "x"))
    if not (height and width):
        sizes = images.arrays[-1].sizes
        raise ParameterError(
            f"{sizes['y']} by {sizes['x']} pixels in {images.names[-1]!r}",
            f"at least {ratio} by {ratio}, so that they can be seen {ratio} times coarser",
            "train on a larger scene",
        )
    whole = [
        array.isel(y=slice(height * factor), x=slice(width * factor))
        for array, factor in zip(images.arrays, images.factors, strict=True)
    ]
    seen = tuple(degrade(array, ratio, sensor=sensor, psf=psf) for array in whole)
    return Pairs(Images(seen, images.ratios, images.names), whole[-1], ratio)


def consistency(images: Images, sensor: str | Sensor | None, psf: Any) -> Pairs:
    """The scene at its own scale; the result, seen through the coarse bands' point spread, must give them back.

    It binds what the coarse bands tell and leaves finer detail to the network: use it beside Wald's protocol.
    """
    taps = taps_of(images, sensor, psf)
    return Pairs(images, images.arrays[-1], 1, taps, reach_of(taps, images.ratio))


def taps_of(images: Images, sensor: str | Sensor | None, psf: Any) -> Float64:
    """Point spread (band, tap) from the finest grid to that of the coarsest image, for the bands of the latter."""
    coarsest = images.arrays[-1]
    keys: list[Any] = band_keys(coarsest) if "band" in coarsest.coords else [None] * coarsest.sizes["band"]
    return psf_of(sensor, keys, images.ratio, psf)


def make_pairs(protocol: str, images: Images, sensor: str | Sensor | None, psf: Any) -> tuple[Pairs, ...]:
    """The pairs of a protocol, see :data:`PROTOCOLS`.

    Raises
    ------
    ParameterError
        If there is no such protocol, or the point spread or the scene do not fit.
    """
    if protocol not in PROTOCOLS:
        raise ParameterError(f"protocol={protocol!r}", f"one of {list(PROTOCOLS)}")
    makers = {"wald": wald, "consistency": consistency}
    return tuple(makers[name](images, sensor, psf) for name in PROTOCOLS[protocol])
