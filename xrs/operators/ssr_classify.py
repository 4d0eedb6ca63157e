"""Classes, and spectra if asked for, from the few bands of each date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xrs.cube import check_reflectance, to_array, with_all_dims
from xrs.errors import ModelCardError, ParameterError
from xrs.kernels.types import Float32
from xrs.lazy import Source, map_tiles
from xrs.methods import Method, Tile
from xrs.models import Card, ImageSpec, Model, check_magnitude
from xrs.nets.registry import get_network
from xrs.operators._fusion import check_floats, label, with_bands
from xrs.operators.ssr_cloud import bands_of, model_for

__all__ = ["ssr_classify"]

_TASK = "ssr_classify"
#: Class of a pixel that was not seen.
_UNSEEN = -1


def ssr_classify(
    multispectral: xr.DataArray | xr.Dataset,
    model: Any,
    *,
    classes: bool | None = None,
    spectra: bool | None = None,
    device: str = "auto",
) -> xr.Dataset:
    """Classes of every pixel from its few bands, by a network that was taught spectra beside them.

    Parameters
    ----------
    multispectral : xarray.DataArray or xarray.Dataset, ([time,] band, y, x)
        Reflectance, NaN where nothing was seen. Each date is classified by itself.
    model : Model, str or path
        From :func:`xrs.train_ssr_classify`.
    classes, spectra : bool, optional
        What to put out. If not told: classes if the model was taught classes, and spectra if there are no classes.
    device : str
        ``"auto"`` (a GPU if there is one), ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.

    Returns
    -------
    xarray.Dataset
        Lazy if the cube is. ``class`` ([time,] y, x), int16 with ``flag_values`` and ``flag_meanings``, -1 (``unseen``)
        where a band is missing; ``probability_water`` and so on ([time,] y, x), one for each class, float32, which sum
        to 1, NaN there; ``spectra`` ([time,] band, y, x). Probabilities are those of the network, and are not
        calibrated; ``class`` names them as its ``ancillary_variables``.

    Raises
    ------
    ModelCardError
        If the model is of another task, made for other bands, or was not taught what is asked for.
    ParameterError
        If neither classes nor spectra are asked for.
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
    >>> found = ssr_classify(ms, model, spectra=True)
    >>> list(found.data_vars)[:3], found.spectra.dims
    (['class', 'probability_water', 'probability_roof'], ('band', 'y', 'x'))
    """
    cube = to_array(multispectral)
    check_floats("multispectral", cube)
    check_reflectance(cube)
    one = model_for(_TASK, model)
    card = one.card
    look = _Look(device, *_asked(card, classes, spectra))
    series = with_all_dims(cube).isel(band=list(bands_of(card, cube)))
    told = card.training["classes"]
    parts = {"classes": ImageSpec(tuple(told["names"]))} if look.classes else {}
    parts |= {"spectra": card.result} if look.spectra else {}
    data = map_tiles(
        look,
        {"ms": Source(series.data, reflectance=True)},
        bands=sum(len(part.bands) for part in parts.values()),
        factor=1,
        halo=card.margin,
        shared={"model": one},
        name=f"xrs-{_TASK}",
    )
    record = Method(_TASK, "spectral", "", look, get_network(_TASK).reference)
    params = {"network": card.network, "sha256": card.sha256[:12]}
    first, made = 0, {}
    for name, part in parts.items():
        values_of_part = data[:, first : first + len(part.bands)]
        like = with_bands(cube, part, cube["time"].values if "time" in cube.dims else None)
        made[name] = label(values_of_part, like, cube, method=record, family=_TASK, params=params)
        first += len(part.bands)
    variables = _of_classes(made["classes"], told["values"]) if look.classes else {}
    variables |= {"spectra": made["spectra"]} if look.spectra else {}
    attrs = next(iter(made.values())).attrs
    history = {name: text for name, text in attrs.items() if name.startswith(("xrs:", "history"))}
    return xr.Dataset(variables, attrs=history)


def _asked(card: Card, classes: bool | None, spectra: bool | None) -> tuple[bool, bool]:
    """Whether classes and spectra are put out.

    Raises
    ------
    ModelCardError
        If the model was not taught what is asked for: that part of the network is as it was drawn.
    ParameterError
        If nothing is asked for.
    """
    for name, value in (("classes", classes), ("spectra", spectra)):
        if not (value is None or isinstance(value, bool)):
            raise ParameterError(f"{name}={value!r}", "True, False or None")
    taught = card.training["tasks"]
    classes = "classes" in taught if classes is None else classes
    spectra = not classes if spectra is None else spectra
    for name, asked in (("classes", classes), ("spectra", spectra)):
        if asked and name not in taught:
            raise ModelCardError(
                f"{name} of a model that was taught {' and '.join(taught)} alone",
                f"one that was taught {name}",
                f"xrs.train_ssr_classify(..., tasks=['spectra', 'classes']), or leave {name}= out",
            )
    if not (classes or spectra):
        raise ParameterError(
            f"neither classes nor spectra of a model that was taught {' and '.join(taught)}",
            "one of them",
            "leave classes= and spectra= out",
        )
    return classes, spectra


def _of_classes(probability: xr.DataArray, values: Sequence[int]) -> dict[str, xr.DataArray]:
    """The class of the highest probability, and the probability of each."""
    names = [str(name) for name in probability["band"].values]
    found = xr.apply_ufunc(
        _most_probable,
        probability,
        input_core_dims=[["band"]],
        kwargs={"values": np.asarray(values, np.int16)},
        dask="parallelized",
        output_dtypes=[np.int16],
        keep_attrs=True,  # the grid's coordinates have some
    )
    found.attrs = {
        "long_name": "class of the highest probability",
        "flag_values": [_UNSEEN, *values],
        "flag_meanings": " ".join(["unseen", *names]),
        "ancillary_variables": " ".join(f"probability_{name}" for name in names),
    }
    variables = {"class": found}
    for index, name in enumerate(names):
        one = probability.isel(band=index, drop=True)
        one.attrs = {"units": "1", "long_name": f"probability of class {name}, not calibrated"}
        variables[f"probability_{name}"] = one
    return variables


def _most_probable(probability: Float32, *, values: NDArray[np.int16]) -> NDArray[np.int16]:
    unseen = np.isnan(probability).any(axis=-1)
    return np.where(unseen, np.int16(_UNSEEN), values[np.nan_to_num(probability).argmax(axis=-1)])


@dataclass(frozen=True)
class _Look:
    """The network over a tile of one date: probabilities (class, y, x), then the spectra; what is asked for of them."""

    device: str
    classes: bool
    spectra: bool

    def __call__(self, tile: Tile, _: Mapping[str, Any], *, model: Model) -> Float32:
        """Without the halo."""
        from xrs.models.engine import loaded_network
        from xrs.nets.ssr_classify import classified

        check_magnitude(model.card, tile["ms"])
        network: Any = loaded_network(model, self.device)
        scale = np.float32(model.card.scale)
        probability, spectra = classified(network, tile["ms"] / scale)
        asked = [*([probability] * self.classes), *([spectra * scale] * self.spectra)]
        return np.concatenate(asked)
