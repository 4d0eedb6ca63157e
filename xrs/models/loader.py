"""Models: a card with its weights, in a file, at a URL or in memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from xrs.errors import ModelCardError
from xrs.models.card import Card, shortened
from xrs.models.weights import Weights, hash_of, pack, read_bytes, unpack, write_bytes

if TYPE_CHECKING:
    import pandas as pd
    import torch

__all__ = ["Model", "list_models", "load_model", "shipped_models"]

_SHIPPED = files("xrs.models") / "shipped"
_SUFFIX = ".safetensors"
#: Characters of what a model was trained on, in the table of models.
_TRAINING = 80


class Model:
    """A network with its weights and what is known of it.

    A model from a file pickles as its place and card; the weights are read where they are used, and
    checked against the card's SHA-256. A model in memory pickles with its weights. Made by
    :func:`load_model`, :meth:`from_module` or :func:`xrs.training.train`.

    Parameters
    ----------
    card : Card
    source : str, optional
        Path or URL of the file.
    weights : mapping of str to ndarray, optional
        Tensors by their names in the module's state, if there is no file.

    Attributes
    ----------
    card : Card
    source : str or None
    """

    def __init__(self, card: Card, source: str | None = None, weights: Weights | None = None) -> None:
        self.card = card
        self.source = source
        self._weights = weights

    @classmethod
    def from_module(cls, module: torch.nn.Module, card: Card) -> Model:
        """A model in memory with the present weights of a module.

        Parameters
        ----------
        module : torch.nn.Module
            The network of the card, built for the card's images.
        card : Card
            Its hash is filled in, and if it has no margin, that (from the network's receptive field) and its window.

        Raises
        ------
        ParameterError
            If a result of the network depends on the whole image; see :func:`xrs.nets.receptive.receptive_margin`.

        Examples
        --------
        >>> from xrs.models import Card, ImageSpec, Model
        >>> from xrs.nets import get_network
        >>> config = {"features": 8, "blocks": 1}
        >>> card = Card(
        ...     network="dsen2",
        ...     task="sharpen",
        ...     images=(ImageSpec(("B04", "B08")), ImageSpec(("B11",), ratio=2)),
        ...     config=config,
        ... )
        >>> model = Model.from_module(get_network("dsen2").build((2, 1), (1, 2), **config), card)
        >>> model.card.sha256 == Model.from_module(model.build(), card).card.sha256
        True
        """
        from xrs.nets import get_network
        from xrs.nets.receptive import margin_and_window

        weights = {name: tensor.detach().cpu().numpy().copy() for name, tensor in module.state_dict().items()}
        margin, window = card.margin, card.window
        if margin < 0:
            margin, window = margin_and_window(get_network(card.network), module, card.bands, card.ratios)
        return cls(replace(card, margin=margin, window=window, sha256=hash_of(weights)), weights=weights)

    def weights(self) -> Weights:
        """The tensors by name; read and checked each time if the model stands for a file.

        Raises
        ------
        ModelCardError
            If the file is gone, damaged or another one by now.
        """
        if self._weights is not None:
            return self._weights
        source = str(self.source)
        card, weights = unpack(read_bytes(source), source)
        if card.sha256 != self.card.sha256:
            raise ModelCardError(
                f"{source} holds other weights ({card.sha256[:12]}...) than when it was loaded",
                f"{self.card.sha256[:12]}...",
                "load it again",
            )
        return weights

    def build(self) -> torch.nn.Module:
        """The network as a torch module with these weights.

        Raises
        ------
        ModelCardError
            If the weights are not those of the architecture the card names.
        """
        import torch

        module = network_of(self.card)
        state = {name: torch.from_numpy(values.copy()) for name, values in self.weights().items()}
        try:
            module.load_state_dict(state)
        except RuntimeError as error:
            raise ModelCardError(
                f"the weights do not fit the network {self.card.network!r} ({str(error).splitlines()[-1].strip()})",
                f"the tensors of {self.card.network}({dict(self.card.config)})",
                "correct 'network' or 'config' of the card",
            ) from error
        return module

    def with_card(self, card: Card) -> Model:
        """The same weights with another card; its hash of them must be this card's."""
        return Model(replace(card, sha256=self.card.sha256), self.source, self._weights)

    def save(self, path: str | os.PathLike[str]) -> Model:
        """Write card and weights to one safetensors file; returns the model of that file.

        Parameters
        ----------
        path : str or path
            A local file; its folder is made, an earlier file replaced.
        """
        place = Path(path).expanduser().resolve()
        write_bytes(pack(self.card, self.weights()), place)
        return Model(self.card, str(place))

    def export(self, path: str | os.PathLike[str]) -> Path:
        """Write the network with its weights for other programs.

        Parameters
        ----------
        path : str or path
            ``.pt2`` is an archive of ``torch.export``, ``.onnx`` an ONNX file (``pip install 'xrs[onnx]'``).

        Returns
        -------
        Path
            Of the file. It takes float32 images (batch, band, y, x) as the card describes them, ``images_0``,
            ``images_1`` and so on, of any size as long as they nest, divided by the card's scale, without NaN. Its
            ``result`` is to be multiplied by the scale. Around a pixel it needs the card's margin. The card is in the
            file's metadata (``xrs:card``), and the same in the terms of STAC's MLM extension.

        Raises
        ------
        ParameterError
            If the suffix is another, a package is missing, or the network has steps that the format lacks.

        Examples
        --------
        >>> import tempfile
        >>> from xrs.models import Card, ImageSpec, Model
        >>> from xrs.nets import get_network
        >>> card = Card("pnn", "pansharpen", (ImageSpec(("pan",)), ImageSpec(("red", "nir"), 4)))
        >>> model = Model.from_module(get_network("pnn").build((1, 2), (1, 4)), card)
        >>> model.export(tempfile.mkdtemp() + "/pnn.pt2").name
        'pnn.pt2'
        """
        from xrs.models.export import export

        return export(self, path)

    def __reduce__(self) -> tuple[Callable[..., Model], tuple[Any, ...]]:
        return Model, (self.card, self.source, self._weights)

    def __dask_tokenize__(self) -> tuple[str, str]:
        return "xrs.Model", self.card.to_json()

    def __repr__(self) -> str:
        first, last = self.card.images[0], self.card.result
        return (
            f"<Model {self.card.network} sha256={self.card.sha256[:12]} ({self.card.task} x{last.ratio}): "
            f"{shortened(last.bands)} by {shortened(first.bands)}>"
        )


def load_model(source: str | os.PathLike[str] | Model, *, in_memory: bool = False) -> Model:
    """A model from a file, a URL or by the name of a shipped one.

    Parameters
    ----------
    source : str, path or Model
        A safetensors file with a card, a URL that fsspec knows, or a name of :func:`list_models`.
    in_memory : bool
        Whether the weights travel with the model, for workers that do not see the file. Otherwise each process
        reads them where they are used.

    Returns
    -------
    Model

    Raises
    ------
    ModelCardError
        If there is no such model, the file is damaged or has no card, or is a pickle: those are never read.

    Examples
    --------
    >>> model = load_model("mine.safetensors")  # doctest: +SKIP
    """
    if isinstance(source, Model):
        return Model(source.card, weights=source.weights()) if in_memory else source
    place = _place(os.fspath(source))
    card, weights = unpack(read_bytes(place), place)
    return Model(card, weights=weights) if in_memory else Model(card, place)


def list_models() -> pd.DataFrame:
    """The models that come with the library.

    Returns
    -------
    pandas.DataFrame
        A row for each model: name, network, task, bands, inputs, ratio, licence, training, sha256. ``bands`` (of the
        result) and ``inputs`` (of the images, ``;`` between images) name up to 20 bands; of more the first ones, the
        last, and how many. ``training`` is short likewise. For programs: ``load_model(name).card`` has all bands
        (``card.result.bands``, ``card.images``) and all of ``card.training``.

    Examples
    --------
    >>> from xrs.models import list_models, load_model
    >>> table = list_models().set_index("name")
    >>> table.loc["s2-enmap-spectralift", "bands"]
    'B001, B002, B003, ..., B224 (213 bands)'
    >>> len(load_model("s2-enmap-spectralift").card.result.bands)
    213
    """
    import pandas as pd

    columns = ("name", "network", "task", "bands", "inputs", "ratio", "licence", "training", "sha256")
    rows = [_row(name) for name in shipped_models()]
    return pd.DataFrame(rows, columns=columns)


def network_of(card: Card) -> torch.nn.Module:
    """The network of a card, with fresh weights."""
    from xrs.nets import get_network

    count = card.uncertainty.get("members", 1)
    outputs = 0 if card.outputs is None else len(card.outputs.bands)
    record = get_network(card.network)
    members = [record.build(card.bands, card.ratios, outputs=outputs, **card.config) for _ in range(count)]
    if not card.uncertainty:
        return members[0]
    from xrs.nets.uncertain import LaplaceHead, Uncertain

    heads = []
    if card.uncertainty["kind"] == "laplace":
        heads = [LaplaceHead(card.bands, card.ratios, outputs=outputs) for _ in members]
    return Uncertain(members, heads, card.uncertainty["passes"])


def _row(name: str) -> dict[str, Any]:
    card = load_model(name).card
    return {
        "name": name,
        "network": card.network,
        "task": card.task,
        "bands": shortened(card.result.bands),
        "inputs": "; ".join(shortened(image.bands) for image in card.images if image is not card.result),
        "ratio": card.ratios[-1],
        "licence": card.licence,
        "training": shorten(_data_of(card), _TRAINING, placeholder=" ..."),
        "sha256": card.sha256,
    }


def _data_of(card: Card) -> str:
    data = card.training.get("data", "")
    return "; ".join(f"{name}: {value}" for name, value in data.items()) if isinstance(data, Mapping) else str(data)


def shipped_models() -> list[str]:
    """The names of the models that come with the library."""
    return sorted(f.name.removesuffix(_SUFFIX) for f in _SHIPPED.iterdir() if f.name.endswith(_SUFFIX))


def _place(source: str) -> str:
    """The path or URL a user's word stands for."""
    if "://" in source:
        return source
    path = Path(source).expanduser()
    if path.is_file():
        return str(path.resolve())
    if source in shipped_models():
        return str(_SHIPPED / f"{source}{_SUFFIX}")
    names = ", ".join(shipped_models()) or "none is shipped"
    raise ModelCardError(
        f"no file and no model {source!r}", f"a safetensors file, a URL, or a name ({names})", "xrs.list_models()"
    )
