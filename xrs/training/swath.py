"""A narrow hyperspectral swath carried over a wide multispectral one: what is known grows ring by ring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from torch.nn import Module

from xrs.cube import (
    assign_geobox,
    band_keys,
    geobox_of,
    package_version,
    provenance,
    shared_pixels,
    to_array,
    to_dataset,
    with_all_dims,
)
from xrs.cube.bands import BAND_COORDS
from xrs.errors import ParameterError
from xrs.kernels.types import Float32
from xrs.lazy import Source, map_tiles
from xrs.learning.loop import Epoch, Settings, Term, fit
from xrs.learning.losses import make_loss
from xrs.learning.patches import Patches
from xrs.methods.base import State, Tile
from xrs.models import Card, Model, load_model, match_images
from xrs.models.engine import infer
from xrs.operators._fusion import check_floats, common_dates, observed
from xrs.training.images import facts_of, spec_of
from xrs.training.protocols import Images, Pairs
from xrs.training.sampling import Spot, draw_patches, read_patches
from xrs.training.scores import predicted

__all__ = ["expand_swath", "train_swath"]

Cube = xr.DataArray | xr.Dataset


def expand_swath(
    hs: Cube,
    ms: Cube,
    *,
    model: Model | str | None = None,
    device: str = "auto",
    dtype: str = "float32",
    batch_size: int | str = "auto",
    **training: Any,
) -> Cube:
    """Hyperspectral bands over the whole extent of a multispectral cube, of which they cover a part.

    A network learns on the overlap to make the bands of ``hs`` from those of ``ms``, and is trained again as what it
    predicts around the overlap is added ring by ring; see :func:`train_swath`. What the overlap does not show cannot be
    learned from it: where there is a truth, :func:`xrs.quality.error_by_distance` tells how errors go on outside.

    Parameters
    ----------
    hs : xarray.DataArray or xarray.Dataset, ([time,] band, y, x)
        The narrow swath: floating point, with band keys, NaN where nothing was seen. What lies beyond ``ms`` is left
        out.
    ms : xarray.DataArray or xarray.Dataset, ([time,] band, y, x)
        The wide one, on pixels that lie on those of ``hs``, of the same dates.
    model : Model or str, optional
        From :func:`train_swath`, or a file of one; trained on the two cubes if not given. With one, ``hs`` may also
        cover all of ``ms``: what is missing in it is predicted.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``: of training and prediction.
    dtype : {"float32", "bfloat16"}
        What convolutions compute in.
    batch_size : int or "auto"
        Patches at once in prediction.
    **training
        Parameters of :func:`train_swath`.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        As ``hs``: its bands in float32 on the grid of ``ms``; lazy if either is. Observed values are kept; the others
        are predicted, and NaN where ``ms`` lacks a band. Training draws patches and computes no more than those.

    Raises
    ------
    GridMismatchError
        If the pixels do not lie on each other, or none is shared.
    BandNotFoundError, LayoutError, RadiometryError, TimeAxisError
        If bands have no keys, values are integers, or dates differ.
    ModelCardError
        If a model was made for other bands.
    ParameterError
        For arguments out of range, an overlap too small or too cloudy to learn from, and without a model for an
        ``ms`` that does not reach beyond ``hs``.

    References
    ----------
    After He et al. 2019, Remote Sensing 11:2203; see :func:`train_swath`.

    Examples
    --------
    >>> import xrs
    >>> scene = xrs.scenes.landscape((32, 64), times=["2023-07-12"], wavelengths=range(450, 900, 50)).isel(time=0)
    >>> ms = scene.isel(band=[0, 2, 4, 8])
    >>> wide = expand_swath(
    ...     scene.isel(x=slice(0, 32)), ms, patches=4, patch_size=8, epochs=1, rings=0, blocks=1, progress=False
    ... )
    >>> dict(wide.sizes)
    {'band': 9, 'y': 32, 'x': 64}
    """
    swath = _swath(hs, ms)
    if model is None:
        swath.check_beyond()
        model = train_swath(hs, ms, device=device, dtype=dtype, **training)
    elif training:
        raise ParameterError(f"{sorted(training)} beside a model", "parameters of training, or a model")
    trained = load_model(model)
    predicted = _predicted(swath, trained, device, dtype, batch_size)
    like = to_array(hs)
    result = _labelled(swath.over_all().fillna(predicted), like, swath.ms)
    shown = {"network": trained.card.network, "sha256": trained.card.sha256[:12]}
    result.attrs = provenance(like, "expand_swath", shown)
    return to_dataset(result) if isinstance(hs, xr.Dataset) else result


def train_swath(
    hs: Cube,
    ms: Cube,
    *,
    network: str = "rercnn",
    rings: int = 4,
    ring_epochs: int = 5,
    pseudo_weight: float = 0.5,
    loss: str | Mapping[str, float] = "l1",
    patches: int = 500,
    patch_size: int = 16,
    held_out: float = 0.125,
    most_missing: float = 0.25,
    epochs: int | str = "auto",
    train_batch: int = 16,
    lr: float = 1e-3,
    patience: int = 20,
    device: str = "auto",
    dtype: str = "float32",
    seed: int = 0,
    progress: bool = True,
    licence: str = "",
    **config: Any,
) -> Model:
    """The network by which :func:`expand_swath` predicts, trained by the recurrent expanding strategy.

    1. The network learns on patches of the overlap.
    2. It predicts patches of the next ring around what is known.
    3. It is trained for some epochs on the overlap, and on these predictions as if they were observed, with weight
       ``pseudo_weight ** k`` in ring k. A ring without a patch to predict is passed over.
    4. So on to the farthest ring.

    The extent of ``hs`` is what is known; rings are as wide as leads ``rings`` of them to the farthest edge of ``ms``.
    The network that was best on held-out patches of the overlap is kept in each step. That there is such a strategy is
    published; widths, weights and epochs are ours.

    Predictions are no new knowledge: held against its own predictions the network has little to learn but that they
    stay as they are when the image is turned. See the guide on hyperspectral images for what was measured.

    Parameters
    ----------
    hs, ms : xarray.DataArray or xarray.Dataset
        As of :func:`expand_swath`.
    network : str
        One for task ``"spectral"``; see ``xrs.nets.list_networks()``.
    rings : int
        0 for training on the overlap alone.
    ring_epochs : int
        Epochs for each ring.
    pseudo_weight : float
        From 0 to 1.
    loss : str or mapping of str to float
        See :func:`xrs.train`.
    patches : int
        Patches of the overlap, and of each ring; fewer where there is less to draw from.
    patch_size : int
        Their side in pixels.
    held_out, most_missing, epochs, lr, patience, seed
        As of :func:`xrs.train`; ``epochs`` of the overlap alone.
    train_batch : int
        Patches of one step.
    device, dtype, progress, licence
        As of :func:`xrs.train`.
    **config
        Parameters of the network.

    Returns
    -------
    Model
        Its card has the held-out patches' RMSE (``metrics``), and the loss curves of all steps (``training``).

    Raises
    ------
    GridMismatchError, BandNotFoundError, LayoutError, RadiometryError, TimeAxisError, ParameterError
        As :func:`expand_swath`.

    Examples
    --------
    >>> import xrs
    >>> scene = xrs.scenes.landscape((32, 64), times=["2023-07-12"], wavelengths=range(450, 900, 50)).isel(time=0)
    >>> narrow, ms = scene.isel(x=slice(0, 32)), scene.isel(band=[0, 2, 4, 8])
    >>> model = train_swath(narrow, ms, patches=4, patch_size=8, epochs=1, ring_epochs=1, blocks=1, progress=False)
    >>> model.card.task, len(model.card.outputs.bands)
    ('spectral', 9)
    """
    if rings < 0 or ring_epochs < 1 or not 0 <= pseudo_weight <= 1:
        found = f"rings={rings}, ring_epochs={ring_epochs}, pseudo_weight={pseudo_weight}"
        raise ParameterError(found, "0 rings or more, 1 epoch or more, a weight from 0 to 1")
    settings = Settings(epochs, train_batch, lr, patience=patience, seed=seed, device=device, dtype=dtype)
    swath = _swath(hs, ms)
    overlap = _images(swath.ms_overlap)
    module = overlap.layout(swath.hs.sizes["band"]).build(network, "spectral", seed, config)
    train, checked = draw_patches(
        Pairs(overlap, swath.hs, 1),
        count=patches,
        side=patch_size,
        held_out=held_out,
        most_missing=most_missing,
        seed=seed,
    )
    scale = train.magnitude()
    known = Term(train.divided(scale), checked.divided(scale))
    learn = partial(fit, module, loss=make_loss(loss), progress=progress)
    curves = [learn([known], settings=settings)]
    terms = [known]
    for ring in range(1, rings + 1):
        spots = swath.spots(ring, rings, patch_size, patches, seed)
        seen = read_patches(Pairs(_images(swath.ms), swath.ms, 1), spots, patch_size, most_missing)
        if not seen:
            continue
        pseudo = _pseudo_labelled(seen.divided(scale), module)
        terms.append(Term(pseudo, pseudo[:0], weight=pseudo_weight**ring))
        curves.append(learn(terms, begin=False, settings=replace(settings, epochs=ring_epochs, seed=seed + ring)))
    card = Card(
        network=network,
        task="spectral",
        images=(spec_of(swath.ms),),
        outputs=spec_of(swath.hs),
        scale=scale,
        units=str(swath.hs.attrs.get("units", "1")),
        config=config,
        training=_facts(swath, curves, settings, loss=loss, rings=rings, pseudo_weight=pseudo_weight),
        metrics={"rmse": _rmse(module.cpu(), known.held_out) * scale},
        licence=licence,
        created_by=f"xrs {package_version()}",
    )
    return Model.from_module(module, card)


@dataclass(frozen=True)
class _Swath:
    """Both cubes (time, band, y, x): ``hs`` cropped to the overlap, and where that lies in ``ms``."""

    hs: xr.DataArray
    ms: xr.DataArray
    window: Mapping[str, slice]

    @property
    def ms_overlap(self) -> xr.DataArray:
        return self.ms.isel(self.window)

    def check_beyond(self) -> None:
        """Refuse a multispectral cube that has no pixels around the overlap."""
        sizes = {d: self.ms.sizes[d] for d in ("y", "x")}
        if all(self.hs.sizes[d] == size for d, size in sizes.items()):
            raise ParameterError(
                f"hs that covers the whole of ms ({sizes['y']} x {sizes['x']} pixels)",
                "ms reaching beyond hs",
                "ms is the wide cube: were they swapped? To fill gaps of hs give a model: train_swath(hs, ms)",
            )

    def over_all(self) -> xr.DataArray:
        """``hs`` on the grid of ``ms``, NaN around, without coordinates."""
        around = {d: (w.start, self.ms.sizes[d] - w.stop) for d, w in self.window.items()}
        values = self.hs.variable.astype(np.float32)
        return xr.DataArray(values.pad(around, mode="constant", constant_values=np.nan))

    def spots(self, ring: int, rings: int, side: int, count: int, seed: int) -> list[Spot]:
        """Patches whose centres lie in a ring, at most ``count``, from a lattice of half patches."""
        rows, columns = (_corners(self.ms.sizes[d], side) for d in ("y", "x"))
        away = np.maximum(self._beyond("y", rows, side)[:, None], self._beyond("x", columns, side)[None])
        width = max(away.max(), 1.0) / rings
        found = np.argwhere((away > (ring - 1) * width) & (away <= ring * width))
        dates = np.repeat(np.arange(self.ms.sizes["time"]), len(found))
        places = np.tile(found, (self.ms.sizes["time"], 1))
        chosen = np.sort(np.random.default_rng([seed, ring]).permutation(len(places))[:count])
        return [(int(dates[k]), int(rows[places[k, 0]]), int(columns[places[k, 1]])) for k in chosen]

    def _beyond(self, dim: str, corners: NDArray[np.int64], side: int) -> NDArray[np.float64]:
        """How far the patches' centres lie outside the overlap along a dim."""
        centres, window = corners + side / 2, self.window[dim]
        return np.maximum(np.maximum(window.start - centres, centres - window.stop), 0.0)


def _swath(hs: Cube, ms: Cube) -> _Swath:
    """Both cubes, checked."""
    cubes = {"hs": to_array(hs), "ms": to_array(ms)}
    for role, cube in cubes.items():
        check_floats(role, cube)
        band_keys(cube)
    common_dates(cubes)
    in_ms, in_hs = shared_pixels(geobox_of(cubes["ms"]), geobox_of(cubes["hs"]))
    return _Swath(with_all_dims(cubes["hs"].isel(in_hs)), with_all_dims(cubes["ms"]), in_ms)


def _corners(size: int, side: int) -> NDArray[np.int64]:
    return np.unique(np.append(np.arange(0, size - side + 1, max(side // 2, 1)), size - side))


def _images(ms: xr.DataArray) -> Images:
    return Images((ms,), (1,), ("ms",))


def _pseudo_labelled(seen: Patches, module: Module) -> Patches:
    """Patches with what the network predicts in place of the target."""
    target = predicted(module, seen)
    mask = np.broadcast_to(seen.mask.all(axis=1, keepdims=True), target.shape)
    return Patches(seen.inputs, target, mask, seen.spots)


def _rmse(module: Module, patches: Patches) -> float:
    error = (predicted(module, patches) - patches.target)[patches.mask]
    return float(np.sqrt(np.square(error, dtype=np.float64).mean()))


def _facts(swath: _Swath, curves: list[list[Epoch]], settings: Settings, **chosen: Any) -> dict[str, Any]:
    """What the model was trained on, and how it went."""
    steps = [[epoch.held_out for epoch in curve] for curve in curves]
    return settings.what_matters() | chosen | {"data": facts_of(swath.hs), "held_out_losses": steps}


def _predicted(swath: _Swath, model: Model, device: str, dtype: str, batch_size: int | str) -> xr.DataArray:
    (image,) = match_images(model.card, {"ms": observed(swath.ms, 1)})
    keys = band_keys(swath.hs)
    if set(keys) != set(model.card.result.bands):
        raise ParameterError(
            f"a model that makes {list(model.card.result.bands)[:6]}...", f"the bands of hs, {keys[:6]}..."
        )
    data = map_tiles(
        _predict,
        {"ms": Source(swath.ms.data)},
        bands=len(keys),
        factor=1,
        halo=model.card.margin,
        block=model.card.window,
        params={
            "order": image.bands,
            "outputs": tuple(model.card.result.bands.index(key) for key in keys),
            "device": device,
            "dtype": dtype,
            "batch_size": batch_size,
        },
        shared={"model": model},
        name="xrs-expand-swath",
    )
    return xr.DataArray(data, dims=("time", "band", "y", "x"))


def _predict(
    tile: Tile,
    _: State,
    *,
    order: tuple[int, ...],
    outputs: tuple[int, ...],
    model: Model,
    device: str,
    dtype: str,
    batch_size: int | str,
) -> Float32:
    image = np.ascontiguousarray(tile["ms"][list(order)])
    result = infer(model, [image], halo=tile.halo, device=device, dtype=dtype, batch_size=batch_size)
    return result[list(outputs)]


def _labelled(values: xr.DataArray, hs: xr.DataArray, ms: xr.DataArray) -> xr.DataArray:
    """Values (time, band, y, x) without coordinates, with the bands of one cube, and dates and grid of the other."""
    kept = {n: c.variable for n, c in hs.coords.items() if n in ("band", *BAND_COORDS) or c.dims == ("band",)}
    kept |= {n: c.variable for n, c in ms.coords.items() if n == "time" or c.dims == ("time",)}
    result = values.rename(hs.name)
    if "time" not in hs.dims:
        result = result.isel(time=0)
        kept = {n: c for n, c in kept.items() if "time" not in c.dims}
    return assign_geobox(result.assign_coords(kept), geobox_of(ms))
