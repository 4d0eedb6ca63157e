"""Classes, and spectra if asked for, from the few bands of each date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xrs.cube import check_reflectance, to_array, with_all_dims
from xrs.cube.bands import BAND_COORDS
from xrs.errors import ParameterError
from xrs.kernels.types import Float32
from xrs.lazy import Source, map_tiles
from xrs.methods import Method, Tile
from xrs.models import ImageSpec, Model, check_magnitude
from xrs.nets.registry import get_network
from xrs.operators._fusion import check_floats, label, with_bands
from xrs.operators.ssr_cloud import bands_of, model_for

__all__ = ["ssr_classify"]

_TASK = "ssr_classify"
#: Class of a pixel that was not seen.
_UNSEEN = -1


def ssr_classify(
    multispectral: xr.DataArray | xr.Dataset, model: Any, *, spectra: bool = False, device: str = "auto"
) -> xr.Dataset:
    """Classes of every pixel from its few bands, by a network that was taught spectra beside them.

    Parameters
    ----------
    multispectral : xarray.DataArray or xarray.Dataset, ([time,] band, y, x)
        Reflectance, NaN where nothing was seen. Each date is classified by itself.
    model : Model, str or path
        From :func:`xrs.train_ssr_classify`.
    spectra : bool
        Whether the spectra come with the classes.
    device : str
        ``"auto"`` (a GPU if there is one), ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.

    Returns
    -------
    xarray.Dataset
        Lazy if the cube is. ``class`` ([time,] y, x), int16 with ``flag_values`` and ``flag_meanings``, -1 (``unseen``)
        where a band is missing; ``probability`` ([time,] class_name, y, x), float32, which sum to 1, NaN there;
        ``spectra`` ([time,] band, y, x) if asked for. Probabilities are those of the network, and are not calibrated.

    Raises
    ------
    ModelCardError
        If the model is of another task, or made for other bands.
    LayoutError, RadiometryError
        If the cube is no reflectance.

    Notes
    -----
    Own design; nothing published is followed.

    Examples
    --------
    >>> import xrs
    >>> from xrs.training.ssr_classify import train_ssr_classify
    >>> scene = xrs.scenes.landscape((32, 32), times=["2023-06-10"], wavelengths=range(450, 900, 25)).compute()
    >>> cover = xrs.scenes.classes(scene).cover.compute()
    >>> ms = scene.isel(band=[1, 4, 8, 14], time=0)
    >>> model = train_ssr_classify(ms, scene.isel(time=0), cover, steps=2, features=8)
    >>> sorted(ssr_classify(ms, model, spectra=True).data_vars)
    ['class', 'probability', 'spectra']
    """
    cube = to_array(multispectral)
    check_floats("multispectral", cube)
    check_reflectance(cube)
    if not isinstance(spectra, bool):
        raise ParameterError(f"spectra={spectra!r}", "True or False")
    one = model_for(_TASK, model)
    card = one.card
    classes = card.training["classes"]
    names, values = list(classes["names"]), list(classes["values"])
    look = _Look(device, spectra)
    series = with_all_dims(cube).isel(band=list(bands_of(card, cube)))
    parts = [ImageSpec(tuple(names)), *([card.result] if spectra else [])]
    data = map_tiles(
        look,
        {"ms": Source(series.data, reflectance=True)},
        bands=sum(len(part.bands) for part in parts),
        factor=1,
        halo=card.margin,
        shared={"model": one},
        name=f"xrs-{_TASK}",
    )
    record = Method(_TASK, "spectral", "", look, get_network(_TASK).reference)
    params = {"network": card.network, "sha256": card.sha256[:12]}
    first, made = 0, []
    for part in parts:
        values_of_part = data[:, first : first + len(part.bands)]
        like = with_bands(cube, part, cube["time"].values if "time" in cube.dims else None)
        made.append(label(values_of_part, like, cube, method=record, family=_TASK, params=params))
        first += len(part.bands)
    return _dataset(made, names, values)


def _dataset(made: Sequence[xr.DataArray], names: Sequence[str], values: Sequence[int]) -> xr.Dataset:
    """Probabilities and spectra as variables, and the class of the highest probability."""
    probability = made[0].rename(band="class_name")
    probability = probability.drop_vars([n for n in BAND_COORDS if n in probability.coords])
    history = {name: text for name, text in probability.attrs.items() if name.startswith(("xrs:", "history"))}
    found = xr.apply_ufunc(
        _most_probable,
        probability,
        input_core_dims=[["class_name"]],
        kwargs={"values": np.asarray(values, np.int16)},
        dask="parallelized",
        output_dtypes=[np.int16],
    )
    flags = {"flag_values": [_UNSEEN, *values], "flag_meanings": " ".join(["unseen", *names])}
    variables = {
        "class": found.assign_attrs(flags, long_name="class of the highest probability"),
        "probability": probability.assign_attrs(units="1", long_name="probability of each class, not calibrated"),
    }
    variables["probability"].attrs.pop("standard_name", None)
    if len(made) > 1:
        variables["spectra"] = made[1]
    return xr.Dataset(variables, attrs=history)


def _most_probable(probability: Float32, *, values: NDArray[np.int16]) -> NDArray[np.int16]:
    unseen = np.isnan(probability).any(axis=-1)
    return np.where(unseen, np.int16(_UNSEEN), values[np.nan_to_num(probability).argmax(axis=-1)])


@dataclass(frozen=True)
class _Look:
    """The network over a tile of one date: probabilities (class, y, x), then the spectra if asked for."""

    device: str
    spectra: bool

    def __call__(self, tile: Tile, _: Mapping[str, Any], *, model: Model) -> Float32:
        """Without the halo."""
        from xrs.models.engine import loaded_network
        from xrs.nets.ssr_classify import classified

        check_magnitude(model.card, tile["ms"])
        network: Any = loaded_network(model, self.device)
        scale = np.float32(model.card.scale)
        probability, spectra = classified(network, tile["ms"] / scale)
        return np.concatenate([probability, spectra * scale]) if self.spectra else probability
