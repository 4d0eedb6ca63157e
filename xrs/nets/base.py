"""What a network is: a record that builds a torch module for given bands and ratios."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from xrs.errors import ParameterError
from xrs.reference import Reference

if TYPE_CHECKING:
    import torch

__all__ = ["Network", "Stage", "check_layout"]


@dataclass(frozen=True)
class Stage:
    """One stage of a network's training.

    Attributes
    ----------
    part : str
        The submodule whose weights are trained; the others stay as they are.
    protocol : {"wald", "consistency"}
        What it learns from.
    """

    part: str
    protocol: str


@dataclass(frozen=True)
class Network:
    """A published network.

    Attributes
    ----------
    name : str
        The literature's acronym in lower case.
    module : callable
        ``(bands, ratios, *, seed, **config) -> torch.nn.Module``: the module's class. For task ``"spectral"`` it
        takes ``outputs`` besides.
    tasks : tuple of str
        ``"sharpen"``, ``"pansharpen"`` or both; ``"refine"`` improves what was fused; ``"spectral"`` makes other bands
        than those it sees; ``"spatiotemporal"`` predicts a date from pairs of others; ``"sts"`` many bands and dates
        from three sensors, on the fine grid. A network for pansharpening alone takes exactly one panchromatic band and
        one coarse image.
    summary : str
        One line.
    reference : Reference
        The paper.
    config : mapping of str
        The module's own parameters and their defaults.
    images : int
        How many images it takes at most; 0 for any number.
    window, margin : int
        Of networks whose result depends on the whole image they see (pooling, attention): the side of the windows they
        are applied to, and what is seen around each, in pixels of the last image. 0 for all others.
    stages : tuple of Stage
        How it is trained, if not all at once.
    alone : mapping of str to mapping
        By task the parameters, in place of the defaults, with which it learns best from a single scene.
    differs : str
        Where it differs from its paper, if it does.
    """

    name: str
    module: Callable[..., torch.nn.Module]
    tasks: tuple[str, ...]
    summary: str
    reference: Reference
    config: Mapping[str, Any] = field(default_factory=dict)
    images: int = 0
    window: int = 0
    margin: int = 0
    stages: tuple[Stage, ...] = ()
    alone: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    differs: str = ""

    def build(
        self, bands: tuple[int, ...], ratios: tuple[int, ...], *, outputs: int = 0, seed: int = 0, **config: Any
    ) -> torch.nn.Module:
        """A module with fresh weights.

        ``module(*images)`` takes float32 tensors (N, bands, y, x), the finest image first and the others
        from finer to coarser, and returns the bands of the last image on the grid of the first; one for task
        ``"spectral"`` returns other bands there, and may take a single image. Sizes must nest: image *i* is
        ``ratios[i]`` times smaller than the first.

        Parameters
        ----------
        bands : tuple of int
            Bands of each image, in that order.
        ratios : tuple of int
            Pixels of the first image along the side of a pixel of each image; the first is 1.
        outputs : int
            Bands of the result, for task ``"spectral"`` alone.
        seed : int
            Of the weights. Torch's global generator is left as it was.
        **config
            In place of the record's defaults.

        Raises
        ------
        ParameterError
            If bands or ratios do not fit the network, or a parameter is unknown.
        """
        import torch

        check_layout(bands, ratios)
        self._check_images(bands, outputs)
        unknown = sorted(set(config) - set(self.config))
        if unknown:
            raise ParameterError(f"the network {self.name!r} takes no parameter {unknown[0]!r}", self._expects())
        chosen = {**self.config, **config} | ({"outputs": outputs} if outputs else {})
        with torch.random.fork_rng(devices=[]):
            return self.module(tuple(bands), tuple(ratios), seed=seed, **chosen)

    def _expects(self) -> str:
        return f"one of {sorted(self.config)}" if self.config else "no parameters"

    def _check_images(self, bands: tuple[int, ...], outputs: int) -> None:
        spectral = set(self.tasks) <= {"spectral", "retrieval"}
        if spectral != (outputs > 0):
            raise ParameterError(
                f"outputs={outputs} for the network {self.name!r}",
                "the number of bands it is to make" if spectral else "none: its result has the bands of the last image",
            )
        if not spectral and len(bands) < 2:
            raise ParameterError(f"bands {bands} for the network {self.name!r}", "those of two or more images")
        if self.images and len(bands) > self.images:
            raise ParameterError(f"{len(bands)} images for the network {self.name!r}", f"at most {self.images}")
        if self.tasks == ("pansharpen",) and bands[0] != 1:
            raise ParameterError(
                f"{bands[0]} bands in the finest image for the network {self.name!r}", "one panchromatic band"
            )


def check_layout(bands: tuple[int, ...], ratios: tuple[int, ...]) -> None:
    """Make sure that bands and ratios describe images, from fine to coarse, that nest.

    Raises
    ------
    ParameterError
        If they do not.
    """
    if len(bands) != len(ratios) or not bands:
        raise ParameterError(f"bands {bands} and ratios {ratios}", "one of each for every image")
    if min(bands) < 1:
        raise ParameterError(f"bands {bands}", "at least one for each image")
    if ratios[0] != 1 or list(ratios) != sorted(ratios):
        raise ParameterError(f"ratios {ratios}", "1 for the first image, then integers that do not fall")
    if any(ratios[-1] % ratio for ratio in ratios):
        raise ParameterError(f"ratios {ratios}", "grids that nest: each ratio divides the last")
