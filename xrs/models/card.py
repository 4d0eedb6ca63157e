"""What a model says of itself: stored beside its weights, and enough to plan with before they are read."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from xrs.errors import ModelCardError

__all__ = ["UNCERTAINTIES", "Card", "ImageSpec", "card_from_metadata", "input_name", "metadata_of", "shortened"]

_KEY = "xrs:card"
#: What an uncertainty is made of, and what a card says of it.
UNCERTAINTIES = ("laplace", "dropout", "ensemble")
_UNCERTAINTY = {"kind", "members", "passes", "level", "factors"}
#: Tasks whose images may lie on one grid.
_SAME_GRID = ("refine", "spatiotemporal", "sts", "ssr_cloud", "ssr_classify")
#: Tasks whose results are other bands than those of the images; these may be a single one.
_OTHER_BANDS = ("spectral", "retrieval")
#: Bands and other entries that a repr lists; of more it tells the first and the last.
_SHOWN = 20
_FEW = 6
#: Characters of a value in it.
_LONGEST = 60
_MLM = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"


@dataclass(frozen=True, repr=False)
class ImageSpec:
    """One image a network takes.

    Attributes
    ----------
    bands : tuple of str
        Keys of the bands, in the order in which the network sees them.
    ratio : int
        Pixels of the first image along the side of one pixel of this one.
    wavelengths : tuple of float
        Centres in nm; NaN where unknown, empty if none is known.
    fwhm : tuple of float
        Full widths at half maximum in nm, likewise.
    """

    bands: tuple[str, ...]
    ratio: int = 1
    wavelengths: tuple[float, ...] = ()
    fwhm: tuple[float, ...] = ()

    def __repr__(self) -> str:
        known = [nm for nm in self.wavelengths if not math.isnan(nm)]
        ends = f", {min(known):g} to {max(known):g} nm" if known else ""
        return f"<ImageSpec x{self.ratio}: {shortened(self.bands)}{ends}>"


@dataclass(frozen=True, repr=False)
class Card:
    """The description of a model.

    Attributes
    ----------
    network : str
        Its architecture; see ``xrs.nets.list_networks()``.
    task : str
        ``"sharpen"`` or ``"pansharpen"``; ``"refine"``; ``"spectral"``, other bands than those seen;
        ``"spatiotemporal"``, whose images are fine ones of some dates, coarse ones of the same dates, and the coarse
        one to predict from; ``"sts"``, whose images are the fine, the wide and the hyperspectral sensor, all on the
        fine grid; ``"retrieval"``, whose results are variables; ``"ssr_cloud"``, images of several dates;
        ``"ssr_classify"``, whose results are bands and classes.
    images : tuple of ImageSpec
        The finest first, then coarser ones. The result has the bands of the last (for task ``"spectral"`` the
        ``outputs``) on the grid of the first.
    margin : int
        Pixels of the last image around a pixel on which its result depends; -1 until
        :meth:`Model.from_module` computes it.
    window : int
        0 where a result depends on the pixels within the margin alone. Else the network looks at the whole of an image
        (pooling, attention), and is applied to windows of this side, with the margin around: pixels of the last image,
        from the first pixel of the scene on.
    scale : float
        The network sees values divided by this, and its result is multiplied by it.
    units : str
        Of the values before division; ``"1"`` is reflectance.
    config : mapping
        Parameters of the architecture that differ from the network's defaults.
    psf : mapping
        The point spread the training degraded with.
    training : mapping
        Data, protocol, seed and loss curve.
    metrics : mapping of str to float
        Scores, and of what.
    uncertainty : mapping
        Empty for a model without. Else its ``kind`` (``"laplace"``, ``"dropout"``, ``"ensemble"``), how many
        ``members`` and thinned networks (``passes``) it has, and the ``factors`` by band of the last image that scale
        its standard deviation, so that 1.645 of it covers ``level`` of the pixels.
    outputs : ImageSpec, optional
        For tasks ``"spectral"`` and ``"retrieval"``: the bands of the result, on the grid of the first image.
    licence, created_by : str
        SPDX identifier of the weights' licence; program and version that made them.
    sha256 : str
        Of the weights: names, types, shapes and values of all tensors.
    """

    network: str
    task: str
    images: tuple[ImageSpec, ...]
    margin: int = -1
    window: int = 0
    scale: float = 1.0
    units: str = "1"
    config: Mapping[str, Any] = field(default_factory=dict)
    psf: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    uncertainty: Mapping[str, Any] = field(default_factory=dict)
    outputs: ImageSpec | None = None
    licence: str = ""
    created_by: str = ""
    sha256: str = ""

    def __post_init__(self) -> None:
        _check(self)

    @property
    def bands(self) -> tuple[int, ...]:
        """Number of bands of each image."""
        return tuple(len(image.bands) for image in self.images)

    @property
    def ratios(self) -> tuple[int, ...]:
        """Ratio of each image to the first."""
        return tuple(image.ratio for image in self.images)

    @property
    def result(self) -> ImageSpec:
        """The bands of the result."""
        return self.outputs or self.images[-1]

    def to_json(self) -> str:
        """JSON with sorted keys; unknown wavelengths and widths are null."""
        facts = asdict(self)
        for image in (*facts["images"], *([facts["outputs"]] if self.outputs else [])):
            for name in ("wavelengths", "fwhm"):
                image[name] = [None if math.isnan(nm) else nm for nm in image[name]]
        return json.dumps(facts, sort_keys=True, allow_nan=False)

    def __repr__(self) -> str:
        reach = f"margin {self.margin}, window {self.window}" if self.window else f"margin {self.margin}"
        told = [
            *(f"image {image!r}" for image in self.images),
            *([f"outputs {self.outputs!r}"] if self.outputs else []),
            f"{reach}, scale {self.scale:g}, units {self.units!r}",
            *(
                f"{name}: {_entries(getattr(self, name))}"
                for name in ("config", "psf", "training", "metrics", "uncertainty")
                if getattr(self, name)
            ),
            f"licence {self.licence or 'none'}, created by {self.created_by or 'unknown'}",
        ]
        head = f"<Card {self.network} ({self.task}), sha256={self.sha256[:12]}"
        return "\n  ".join([head, *told]) + ">"


def card_from_metadata(metadata: Mapping[str, str], where: str) -> Card:
    """The card in the metadata of a safetensors file.

    Raises
    ------
    ModelCardError
        If there is none, or it lacks a field.
    """
    if _KEY not in metadata:
        raise ModelCardError(
            f"{where} holds weights without a card",
            f"metadata {_KEY!r}",
            "build the network, load the weights into it, and save xrs.models.Model.from_module(module, card)",
        )
    try:
        facts = json.loads(metadata[_KEY])
        images = tuple(_image(image) for image in facts.pop("images"))
        outputs = facts.pop("outputs", None)
        return Card(images=images, outputs=None if outputs is None else _image(outputs), **facts)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, ModelCardError):
            raise
        raise ModelCardError(
            f"the card of {where} cannot be read ({error})", "the card of this version of xrs", "save the model anew"
        ) from error


def shortened(names: Sequence[str]) -> str:
    """Names in a line: all of a few; of many the first ones, the last, and how many they are."""
    if len(names) <= _SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[:3])}, ..., {names[-1]} ({len(names)} bands)"


def _entries(facts: Mapping[str, Any]) -> str:
    """The first entries of a mapping; values that take long to tell by their number."""
    first = [f"{name} {_value(value)}" for name, value in itertools.islice(facts.items(), _FEW)]
    return ", ".join(first) + (f", ... ({len(facts)} entries)" if len(facts) > _FEW else "")


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = repr(value)
    if len(text) <= _LONGEST:
        return text
    return f"({len(value)})" if isinstance(value, (Mapping, list, tuple)) else f"{text[: _LONGEST - 3]}..."


def input_name(position: int) -> str:
    """What an image is called in exported programs and in metadata."""
    return f"images_{position}"


def metadata_of(card: Card) -> dict[str, str]:
    """Metadata of a safetensors file: the card, and the same in the terms of STAC's MLM extension."""
    described = {
        "stac_extensions": [_MLM],
        "mlm:name": f"{card.network}-{card.sha256[:12]}",
        "mlm:architecture": card.network,
        "mlm:framework": "PyTorch",
        "mlm:tasks": ["super-resolution"],
        "mlm:hyperparameters": dict(card.config),
        "mlm:input": [_mlm_input(input_name(n), image, card.scale) for n, image in enumerate(card.images)],
        "mlm:output": [{"name": card.task, "tasks": ["super-resolution"], "result": _mlm_shape(card.result)}],
        "license": card.licence,
    }
    return {_KEY: card.to_json()} | {
        key: value if isinstance(value, str) else json.dumps(value, sort_keys=True) for key, value in described.items()
    }


def _check(card: Card) -> None:
    ratios = card.ratios
    if not ratios or ratios[0] != 1 or any(b % a for a, b in itertools.pairwise(ratios)):
        raise ModelCardError(f"a card with images of the ratios {ratios}", "ratios from 1 on, that nest")
    if len(set(ratios)) < len(ratios) and card.task not in _SAME_GRID:
        raise ModelCardError(f"a card for {card.task!r} with images of the ratios {ratios}", "ratios that rise")
    if (card.task in _OTHER_BANDS) != (card.outputs is not None) or (card.outputs and card.outputs.ratio != 1):
        found = "no outputs" if card.outputs is None else f"outputs of ratio {card.outputs.ratio}"
        raise ModelCardError(
            f"a card for {card.task!r} with {found}", f"outputs on the grid of the first image for {_OTHER_BANDS} alone"
        )
    if len(ratios) < 2 and card.task not in _OTHER_BANDS:
        raise ModelCardError(f"a card for {card.task!r} with one image", "two images or more")
    for image in (*card.images, card.result):
        if not image.bands or len(set(image.bands)) < len(image.bands):
            raise ModelCardError(f"a card with an image of the bands {image.bands}", "bands with keys of their own")
        for name, nm in (("wavelengths", image.wavelengths), ("widths", image.fwhm)):
            if len(nm) not in (0, len(image.bands)):
                raise ModelCardError(f"{len(nm)} {name} of the bands {image.bands}", "one for each")
    if not (card.scale > 0 and math.isfinite(card.scale)) or card.margin < -1 or card.window < 0:
        raise ModelCardError(
            f"a card with scale={card.scale}, margin={card.margin} and window={card.window}",
            "a scale above 0, a margin",
        )
    if card.uncertainty:
        _check_uncertainty(card.uncertainty, card.result.bands)


def _check_uncertainty(facts: Mapping[str, Any], bands: Sequence[str]) -> None:
    if set(facts) != _UNCERTAINTY or facts["kind"] not in UNCERTAINTIES:
        raise ModelCardError(
            f"a card with the uncertainty {dict(facts)}", f"{sorted(_UNCERTAINTY)}, kind one of {list(UNCERTAINTIES)}"
        )
    factors = facts["factors"]
    if set(factors) != set(bands) or not all(0 < factor < math.inf for factor in factors.values()):
        raise ModelCardError(f"a card with the factors {factors}", f"one above 0 for each of {list(bands)}")
    if facts["members"] < 1 or facts["passes"] < 0 or not 0 < facts["level"] < 1:
        raise ModelCardError(f"a card with the uncertainty {dict(facts)}", "members, passes and a level from 0 to 1")


def _image(facts: Mapping[str, Any]) -> ImageSpec:
    # Cards written by earlier versions know no widths.
    centres, widths = (
        tuple(math.nan if nm is None else float(nm) for nm in told)
        for told in (facts["wavelengths"], facts.get("fwhm", ()))
    )
    return ImageSpec(tuple(facts["bands"]), int(facts["ratio"]), centres, widths)


def _mlm_input(name: str, image: ImageSpec, scale: float) -> dict[str, Any]:
    return {
        "name": name,
        "bands": list(image.bands),
        "input": _mlm_shape(image),
        "value_scaling": [{"type": "scale", "value": scale}],
    }


def _mlm_shape(image: ImageSpec) -> dict[str, Any]:
    return {
        "shape": [-1, len(image.bands), -1, -1],
        "dim_order": ["batch", "bands", "height", "width"],
        "data_type": "float32",
    }
