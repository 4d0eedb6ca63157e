"""Weights that Keras wrote as HDF5, such as DSen2's published ones."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xrs.errors import ModelCardError
from xrs.models.card import Card, ImageSpec
from xrs.models.loader import Model

if TYPE_CHECKING:
    import h5py

__all__ = ["load_keras_hdf5", "read_keras_tensors"]

#: Digital numbers of 2000, the unit of the published weights, as reflectance.
_SCALE = 0.2


def load_keras_hdf5(
    path: str | os.PathLike[str],
    images: Sequence[ImageSpec],
    *,
    scale: float = _SCALE,
    licence: str = "",
) -> Model:
    """DSen2 or VDSen2 with weights in the layout of the published Keras files.

    Parameters
    ----------
    path : str or path
        HDF5 with a group for each layer; see :func:`read_keras_tensors`.
    images : sequence of ImageSpec
        Bands in the order in which the weights were trained; the published ones saw the 10 m bands as
        B04, B03, B02, B08, the 20 m bands as B05, B06, B07, B8A, B11, B12, the 60 m bands as B01, B09.
    scale : float
        The network sees values divided by this; 0.2 is reflectance of digital numbers divided by 2000.
    licence : str
        Of the weights.

    Returns
    -------
    Model
        In memory; save it to have it as safetensors.

    Raises
    ------
    ModelCardError
        If the file is not of this layout, or its tensors are not those of DSen2 with these bands.

    Notes
    -----
    Layers are taken by their order, since their names differ between versions of Keras. Kernels (y, x, input,
    output) become torch's (output, input, y, x).
    The layout is that of github.com/lanha/DSen2; Lanaras et al. 2018, 10.1016/j.isprsjprs.2018.09.018.
    """
    import torch

    from xrs.nets import get_network

    tensors = read_keras_tensors(path)
    config = {"features": int(tensors[0].shape[0]), "blocks": (len(tensors) // 2 - 2) // 2}
    card = Card("dsen2", "sharpen", tuple(images), scale=scale, config=config, licence=licence, created_by="Keras")
    module = get_network("dsen2").build(card.bands, card.ratios, **config)
    state = module.state_dict()
    if [values.shape for values in tensors] != [tuple(values.shape) for values in state.values()]:
        raise ModelCardError(
            f"{os.fspath(path)} holds {len(tensors)} tensors of the shapes {[t.shape for t in tensors[:2]]}...",
            f"{len(state)} of DSen2 for {card.bands} bands, {[tuple(s.shape) for s in list(state.values())[:2]]}...",
            "give the images, with their bands, for which the weights were trained",
        )
    module.load_state_dict({name: torch.from_numpy(values) for name, values in zip(state, tensors, strict=True)})
    return Model.from_module(module, card)


def read_keras_tensors(path: str | os.PathLike[str]) -> list[NDArray[np.float32]]:
    """Kernels and biases of all layers in order, kernels as torch has them.

    The file's root, or its group ``model_weights``, has an attribute ``layer_names``; each layer's group has
    ``weight_names``. Layers without weights are passed over.

    Raises
    ------
    ModelCardError
        If the file is no HDF5 or has another layout.
    """
    try:
        import h5py
    except ImportError as error:
        raise ModelCardError("h5py is not installed", "h5py, which reads HDF5", "pip install 'xrs[keras]'") from error
    where = os.fspath(path)
    try:
        with h5py.File(where, "r") as file:
            return [_as_torch(values) for values in _tensors(file.get("model_weights", file))]
    except (OSError, KeyError) as error:
        raise ModelCardError(
            f"{where} cannot be read as weights of Keras ({error})",
            "HDF5 with the attributes 'layer_names' and 'weight_names', as model.save_weights(...) writes it",
            "fetch it again, or write it with Keras 2",
        ) from error


def _tensors(root: h5py.Group) -> list[NDArray[Any]]:
    found = []
    for layer in map(_text, root.attrs["layer_names"]):
        group = root[layer]
        found += [np.asarray(group[_text(name)]) for name in group.attrs["weight_names"]]
    return found


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _as_torch(values: NDArray[Any]) -> NDArray[np.float32]:
    # Transposed convolutions keep (y, x, output, input), which this makes torch's (input, output, y, x).
    turned = values.transpose(3, 2, 0, 1) if values.ndim == 4 else values
    return np.ascontiguousarray(turned, np.float32)
