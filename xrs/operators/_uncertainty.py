"""``uncertainty=True``: what is known of a fused band's errors, as variables beside it.

Networks give standard deviations. Other methods give the misfit between what was observed and the result seen through
the point spread: a lower bound of the error, blind to all detail that the point spread hides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from xrs.cube import band_keys, to_dataset
from xrs.errors import ModelCardError, ParameterError
from xrs.kernels import decimate, reach_of
from xrs.kernels.types import Float32, Float64
from xrs.lazy import Source, map_tiles
from xrs.methods import Binding
from xrs.methods.base import State, Tile
from xrs.models import Model

__all__ = ["check_asked", "residual", "told", "with_ancillaries", "with_ancillary", "with_misfit", "with_spread"]

#: Side of the window, in coarse pixels, whose root mean square a residual is.
_WINDOW = 3


def check_asked(uncertainty: Any) -> None:
    """Refuse what is neither True nor False: of what kind an uncertainty is, training decides."""
    if not isinstance(uncertainty, bool):
        raise ParameterError(f"uncertainty={uncertainty!r}", "True or False", "xrs.train(..., uncertainty='laplace')")


_MEANING = {
    "std": (
        "normal-equivalent standard deviation of {name}: {name} +- 1.645 {name}_std is the 90 % interval",
        "scaled by conformal risk control on held-out places at the scale the network was trained at",
    ),
    "residual": (
        "local root mean square of what was observed minus {name} seen through the point spread",
        f"in windows of {_WINDOW} x {_WINDOW} observed pixels; no standard deviation: detail that the point spread "
        "hides does not show",
    ),
}


def with_spread(binding: Binding, inject: Any) -> Binding:
    """A network's binding with which it puts out standard deviations after its bands.

    Raises
    ------
    ModelCardError
        If a model has no uncertainty.
    ParameterError
        If the bands are to be changed afterwards.
    """
    if inject is not None:
        raise ParameterError("uncertainty=True with inject= and a network", "one of the two", "leave inject= out")
    for bound in binding.params["model"]:
        model = bound.model
        if isinstance(model, Model) and model.card.uncertainty:
            continue
        shown = repr(model) if isinstance(model, Model) else f"a {model.network} that learns from the scene (no model=)"
        raise ModelCardError(
            f"uncertainty=True, and {shown} knows nothing of its errors",
            "a model trained with uncertainty",
            "model=xrs.train(..., uncertainty='laplace') or members=3; methods that are no networks tell residuals",
        )
    return replace(binding, params={**binding.params, "spread": True})


def residual(fused: Any, observed: Any, taps: Float64) -> Any:
    """How far a result seen through a point spread is from what was observed.

    Parameters
    ----------
    fused : ndarray or dask array (time, band, y, x)
    observed : ndarray or dask array (time, band, y, x)
        On a grid that is coarser by a whole ratio.
    taps : ndarray (band, tap)
        From the fine to the coarse grid.

    Returns
    -------
    ndarray or dask array (time, band, y, x)
        Root mean squares of windows of coarse pixels, on the grid of ``fused``; NaN where ``fused`` is.
    """
    ratio = int(fused.shape[-1]) // int(observed.shape[-1])
    return map_tiles(
        _misfit,
        {"fused": Source(fused, ratio), "observed": Source(observed)},
        bands=int(fused.shape[1]),
        factor=ratio,
        halo=reach_of(taps, ratio) + _WINDOW // 2,
        params={"taps": taps},
        carriers=("fused",),
        bandwise=True,
        aside=("observed",),
        name="xrs-residual",
    )


def with_ancillaries(cube: xr.Dataset, beside: xr.Dataset, kind: str) -> xr.Dataset:
    """A Dataset of bands, and after them for some a variable ``<band>_<kind>`` that tells of it."""
    for name, values in beside.data_vars.items():
        cube = with_ancillary(cube, str(name), values, kind)
    return cube


def told(source: xr.DataArray | xr.Dataset, result: xr.DataArray, beside: xr.DataArray, kind: str) -> xr.Dataset:
    """A result with what is known of its errors, laid out as what it was made of."""
    if isinstance(source, xr.Dataset):
        return with_ancillaries(to_dataset(result), to_dataset(beside), kind)
    name = str(result.name or "fused")
    return with_ancillary(result.to_dataset(name=name).assign_attrs(result.attrs), name, beside, kind)


def with_ancillary(cube: xr.Dataset, name: str, values: xr.DataArray, kind: str) -> xr.Dataset:
    """A Dataset whose variable ``name`` names a further one, ``<name>_<kind>``, as CF does."""
    own = cube[name]
    title, comment = (text.format(name=name) for text in _MEANING[kind])
    attrs = {"long_name": title, "comment": comment} | {k: v for k, v in own.attrs.items() if k == "units"}
    if kind == "std" and "standard_name" in own.attrs:
        attrs["standard_name"] = f"{own.attrs['standard_name']} standard_error"
    further = values.copy(deep=False)
    further.attrs = attrs
    beside = f"{name}_{kind}"
    return _beside(cube, [name], beside, further)


def with_misfit(cube: xr.Dataset, values: xr.DataArray) -> xr.Dataset:
    """A Dataset whose bands all name one further variable, ``misfit`` (y, x)."""
    further = values.copy(deep=False)
    further.attrs = {
        "long_name": "misfit of the spectrum to what was observed",
        "comment": "root mean square over the observed bands of the observation minus the result seen through their "
        "response, before the result was brought to fulfil it; no standard deviation: what lies between the bands does "
        "not show",
    }
    return _beside(cube, list(band_keys(cube)), "misfit", further)


def _beside(cube: xr.Dataset, names: Sequence[str], beside: str, further: xr.DataArray) -> xr.Dataset:
    """A Dataset with a further variable that those of ``names`` tell of."""

    def told(own: xr.DataArray) -> xr.DataArray:
        others = str(own.attrs.get("ancillary_variables", "")).split()
        return own.assign_attrs(ancillary_variables=" ".join([*others, beside]))

    return cube.assign({name: told(cube[name]) for name in names} | {beside: further})


def _misfit(tile: Tile, _: State, *, taps: Float64) -> Float32:
    """One tile of one date, on the fine grid and without halo."""
    ratio = tile.factors["fused"]
    difference = decimate(tile["fused"], taps, ratio) - tile["observed"]
    seen = _seen(tile, ratio)
    with np.errstate(invalid="ignore"):
        # Where nothing around was seen, 0 / 0 is NaN.
        mean = _sum_around(np.where(seen, difference.astype(np.float64) ** 2, 0.0)) / _sum_around(seen)
    rms = np.sqrt(mean).astype(np.float32)
    core: Float32 = tile.core("observed", rms)
    return core.repeat(ratio, axis=1).repeat(ratio, axis=2)


def _seen(tile: Tile, ratio: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """The coarse pixels that were observed and all of whose fine pixels have a result (band, y, x)."""
    seen = np.isfinite(tile["observed"])
    observed, fused = tile.valid["observed"], tile.valid["fused"]
    if observed is not None:
        seen &= observed
    if fused is not None:
        bands, height, width = tile["observed"].shape
        seen &= fused.reshape(bands, height, ratio, width, ratio).all(axis=(2, 4))
    return seen


def _sum_around(values: np.ndarray[Any, Any]) -> Float64:
    """Sums (band, y, x) over the windows around each pixel."""
    reach = _WINDOW // 2
    total = np.pad(values.astype(np.float64), ((0, 0), (reach, reach), (reach, reach)))
    for axis in (1, 2):
        total = np.lib.stride_tricks.sliding_window_view(total, _WINDOW, axis=axis).sum(axis=-1)
    return total
