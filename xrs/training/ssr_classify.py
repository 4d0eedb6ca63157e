"""Classes with spectra: the network trained on images, spectra of some, and labels of some of their pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor, nn

from xrs.cube import check_reflectance, package_version, to_array, with_all_dims
from xrs.errors import LayoutError, ParameterError, TimeAxisError
from xrs.kernels import fill_gaps
from xrs.kernels.plausible import check_magnitudes
from xrs.kernels.types import Bool, Float32, Float64
from xrs.learning.checks import check_whole
from xrs.learning.losses import sam
from xrs.models import Card, Model
from xrs.nets import get_network
from xrs.nets.lts_mtl import TaskWeights
from xrs.nets.ssr_classify import TASKS, SsrClassify
from xrs.operators._fusion import check_floats
from xrs.operators.ssr_cloud import check_wavelengths, on_one_grid, placed
from xrs.training.ssr_cloud import begin, check_one_unit, read_parts, spec_of
from xrs.training.ssr_cloud_fit import descend
from xrs.training.steps import Steps
from xrs.training.sts_examples import linear

__all__ = ["train_ssr_classify"]

Cube = xr.DataArray | xr.Dataset

#: Of the spectral angle beside squared errors.
_ANGLE = 0.1
#: The highest class: results are int16.
_MOST = 32767
#: Label of a pixel that has none.
_NONE = -1


def train_ssr_classify(
    multispectral: Cube,
    hyperspectral: Cube,
    labels: xr.DataArray,
    *,
    tasks: Sequence[str] = TASKS,
    windows: int = 8,
    window_size: int = 256,
    steps: int = 600,
    train_batch: int = 16,
    patch_size: int = 16,
    lr: float = 3e-3,
    device: str = "auto",
    seed: int = 0,
    licence: str = "",
    **config: Any,
) -> Model:
    """The network of :func:`xrs.ssr_classify`: classes and spectra learned beside each other.

    Both tasks share all features. Their losses are joined by learned weights (Liebel and Koerner 2018,
    arXiv:1805.06334, as in ``lts_mtl``). Pixels without a label count for the spectra, and pixels without a spectrum
    for the classes.

    Parameters
    ----------
    multispectral : xarray.DataArray or xarray.Dataset, ([time,] band, y, x)
        Reflectance with band keys and wavelengths; NaN is missing.
    hyperspectral : xarray.DataArray or xarray.Dataset, ([time,] band, y, x)
        Spectra on the same grid and dates; NaN where there are none.
    labels : xarray.DataArray ([time,] y, x)
        Integers with the CF attributes ``flag_values`` and ``flag_meanings``; any other value is no label. Dates are
        found by value and pixels by their coordinates; a dim without a coordinate is taken by place.
    tasks : sequence of str
        ``"spectra"``, ``"classes"`` or both. The head of a task that is left out stays as it began, and
        :func:`xrs.ssr_classify` does not use it.
    windows, window_size : int
        Parts of the scene that are read, and their side in pixels.
    steps, train_batch, patch_size, lr
        As of :func:`xrs.train_ssr_cloud`.
    device, seed, licence
        As of :func:`xrs.train`.
    **config
        Parameters of the network.

    Returns
    -------
    Model
        Its card tells classes, loss curve and the tasks' learned c (``training``).

    Raises
    ------
    TimeAxisError
        If the cubes have other dates.
    GridMismatchError, BandNotFoundError, RadiometryError
        As :func:`xrs.train_ssr_cloud`; labels must have the dates and pixels of the images.
    LayoutError
        If the labels have other dims or no flags, or one that is no class.
    ParameterError
        If nothing is labelled, or fewer than two classes are told.

    References
    ----------
    Liebel and Koerner 2018, Auxiliary tasks in multi-task learning, arXiv:1805.06334. The network is our own design.

    Examples
    --------
    >>> import xrs
    >>> scene = xrs.scenes.landscape((32, 32), times=["2023-06-10"], wavelengths=range(450, 900, 25)).compute()
    >>> cover = xrs.scenes.classes(scene).cover.compute()
    >>> model = train_ssr_classify(scene.isel(band=[1, 4, 8, 14]), scene, cover, steps=2, features=8)
    >>> model.card.task, model.card.training["classes"]["names"][:2]
    ('ssr_classify', ['water', 'roof'])
    """
    how = Steps(steps, train_batch, patch_size, lr, seed, device)
    for name, value in (("windows", windows), ("window_size", window_size)):
        check_whole(name, value, 1)
    chosen = _tasks(tasks)
    ms, hs = (_checked(*one) for one in (("multispectral", multispectral), ("hyperspectral", hyperspectral)))
    ms, hs, codes = on_one_grid(ms, hs, _dated(labels, ms))
    values, names = flags_of(labels)
    _check_dates(ms, hs)
    parts = read_parts([with_all_dims(ms), with_all_dims(hs), codes], count=windows, side=window_size, seed=seed)
    areas = [_area(given, wanted, told, values) for given, wanted, told in parts]
    scale = _scale(areas, chosen)
    areas = [_Area(a.ms / scale, a.hs / scale, a.known, a.label, a.seen) for a in areas]
    config = dict(config) | {"classes": len(values)}
    module = get_network("ssr_classify").build((ms.sizes["band"], hs.sizes["band"]), (1, 1), seed=seed, **config)
    assert isinstance(module, SsrClassify)
    given, wanted = _pixels(areas, lambda a: a.known)
    check_one_unit(given, wanted, ms, hs)
    begin(module, _pixels(areas, lambda a: a.seen)[0], given, wanted)
    side = min(patch_size, *(n for area in areas for n in area.label.shape[1:]))
    learner = _Learner(module, chosen, _left(given, wanted))
    rng = np.random.default_rng([seed, 9])
    curve = descend(
        learner, lambda device: learner(*_batch(areas, side, train_batch, chosen, rng, device)), how, learner.weighing
    )
    card = Card(
        network="ssr_classify",
        task="ssr_classify",
        images=(spec_of(ms), spec_of(hs)),
        margin=module.margin,
        scale=scale,
        units=str(hs.attrs.get("units", "1")),
        config=config,
        training={
            "classes": {"values": values, "names": names},
            "tasks": list(chosen),
            "c": dict(zip(chosen, learner.weighing.c.detach().tolist(), strict=True)),
            "loss_curve": curve,
            "steps": steps,
            "train_batch": train_batch,
            "patch_size": side,
            "lr": lr,
            "seed": seed,
        },
        licence=licence,
        created_by=f"xrs {package_version()}",
    )
    return Model.from_module(module, card)


def flags_of(labels: xr.DataArray) -> tuple[list[int], list[str]]:
    """Values and names of classes.

    Raises
    ------
    LayoutError
        If the labels do not tell them.
    """
    values = [int(v) for v in np.atleast_1d(labels.attrs.get("flag_values", []))]
    names = str(labels.attrs.get("flag_meanings", "")).split()
    if len(values) < 2 or not len(values) == len(names) == len(set(values)) == len(set(names)):
        raise LayoutError(
            f"labels with {len(values)} flag_values and {len(names)} flag_meanings",
            "as many of both, two or more, each value and each name once",
            "labels.assign_attrs(flag_values=[1, 2], flag_meanings='water land')",
        )
    if min(values) < 0 or max(values) > _MOST:
        raise LayoutError(f"classes from {min(values)} to {max(values)}", f"from 0 to {_MOST}; -1 is of unseen pixels")
    return values, names


@dataclass(frozen=True)
class _Area:
    """Part of a scene: bands and spectra (date, band, y, x), labels from 0 on or ``_NONE``, and what was seen."""

    ms: Float32
    hs: Float32
    known: Bool
    label: NDArray[np.int64]
    seen: Bool


class _Learner(nn.Module):
    """The network with the weights of its tasks; gives their joint loss.

    The loss of the spectra is told in units of what their linear regression leaves: about 1 at first, as that of the
    classes is.
    """

    def __init__(self, network: SsrClassify, tasks: Sequence[str], unit: float) -> None:
        super().__init__()
        self.network, self.tasks, self.unit = network, tuple(tasks), unit
        self.weighing = TaskWeights(len(tasks))

    def forward(self, ms: Tensor, hs: Tensor, known: Tensor, label: Tensor) -> Tensor:
        """Of images (N, band, y, x), where spectra are known (N, 1, y, x), and labels (N, y, x)."""
        found = self.network(ms)
        square = ((found.spectra - hs).square() * known).sum() / (known.sum() * hs.shape[1]).clamp(min=1)
        spectra = (square + _ANGLE * sam(found.spectra, hs, (known > 0).expand_as(hs))) / self.unit
        entropy = nn.functional.cross_entropy(found.scores, label, ignore_index=_NONE, reduction="sum")
        classes = entropy / (label != _NONE).sum().clamp(min=1)
        losses = dict(zip(TASKS, (spectra, classes), strict=True))
        total: Tensor = self.weighing([losses[task] for task in self.tasks])
        return total


def _tasks(tasks: Sequence[str]) -> tuple[str, ...]:
    chosen = (tasks,) if isinstance(tasks, str) else tuple(tasks)
    if not chosen or not set(chosen) <= set(TASKS) or len(set(chosen)) < len(chosen):
        raise ParameterError(f"tasks={tasks!r}", f"one or both of {list(TASKS)}")
    return chosen


def _checked(role: str, cube: Cube) -> xr.DataArray:
    found = to_array(cube)
    check_floats(role, found)
    check_reflectance(found)
    check_wavelengths(role, found)
    return found


def _dated(labels: xr.DataArray, ms: xr.DataArray) -> xr.DataArray:
    """Labels on every date of the images (time, y, x), as numbers with NaN for none."""
    found = placed("labels", labels, with_all_dims(ms))
    return found if "time" in found.dims else found.expand_dims(time=ms.sizes.get("time", 1))


def _check_dates(ms: xr.DataArray, hs: xr.DataArray) -> None:
    times = [np.atleast_1d(cube["time"].values) if "time" in cube.coords else np.array([]) for cube in (ms, hs)]
    if ms.sizes.get("time", 1) != hs.sizes.get("time", 1) or (
        all(t.size for t in times) and not np.array_equal(times[0], times[1])
    ):
        raise TimeAxisError("multispectral and hyperspectral have other dates", "the same dates on both")


def _area(ms: NDArray[Any], hs: NDArray[Any], labels: NDArray[Any], values: Sequence[int]) -> _Area:
    for role, image in (("multispectral", ms), ("hyperspectral", hs)):
        check_magnitudes(image, role)
    seen, known = (np.isfinite(image).all(axis=1) for image in (ms, hs))
    label = np.full(labels.shape, _NONE, np.int64)
    for number, value in enumerate(values):
        label[labels == value] = number
    label[~seen] = _NONE
    whole = [_filled(image) for image in ms.astype(np.float32)]
    return _Area(np.stack(whole), np.nan_to_num(hs).astype(np.float32), known & seen, label, seen)


def _filled(image: Float32) -> Float32:
    seen = np.isfinite(image)
    return image if seen.all() else fill_gaps(image, seen, max(image.shape[-2:]))


def _scale(areas: Sequence[_Area], tasks: Sequence[str]) -> float:
    told = np.unique(np.concatenate([np.unique(a.label) for a in areas]))
    if "classes" in tasks and (told != _NONE).sum() < 2:
        raise ParameterError(
            f"labels of {(told != _NONE).sum()} class(es) where the images were seen", "labels of two classes or more"
        )
    spectra = np.concatenate([np.moveaxis(a.hs, 1, -1)[a.known].ravel() for a in areas])
    scale = float(f"{np.abs(spectra).mean(dtype=np.float64):.3g}") if spectra.size else 0.0
    if not scale > 0:
        raise ParameterError("no spectrum but zeros and NaN where the images were seen", "spectra of some pixels")
    return scale


def _pixels(areas: Sequence[_Area], where: Callable[[_Area], Bool]) -> tuple[Float64, Float64]:
    """Bands and spectra (band, pixel)."""
    both = ([np.moveaxis(getattr(a, n), 1, 0)[:, where(a)] for a in areas] for n in ("ms", "hs"))
    given, wanted = (np.concatenate(part, axis=1).astype(np.float64) for part in both)
    return given, wanted


def _left(given: Float64, wanted: Float64) -> float:
    """The mean square of what the linear regression of spectra (band, pixel) on bands leaves."""
    slopes, offset = linear(given, wanted)
    return max(float(np.square(slopes @ given + offset[:, None] - wanted).mean()), 1e-9)


def _batch(
    areas: Sequence[_Area],
    side: int,
    count: int,
    tasks: Sequence[str],
    rng: np.random.Generator,
    device: torch.device,
) -> list[Tensor]:
    """Patches of images, spectra, where these are known, and labels."""
    drawn = [_patch(areas, side, "classes" in tasks, rng) for _ in range(count)]
    images = [np.stack(part) for part in zip(*drawn, strict=True)]
    return [torch.from_numpy(image).to(device) for image in images]


def _patch(areas: Sequence[_Area], side: int, labelled: bool, rng: np.random.Generator) -> list[NDArray[Any]]:
    """One patch; if it is to be labelled, around a labelled pixel: there may be few."""
    area = areas[int(rng.integers(len(areas)))]
    date, row, column = (int(rng.integers(n)) for n in area.label.shape)
    if labelled and (area.label != _NONE).any():
        places = np.argwhere(area.label != _NONE)
        date, row, column = (int(n) for n in places[rng.integers(len(places))])
    size = area.label.shape[1:]
    starts = [min(max(at - int(rng.integers(side)), 0), n - side) for at, n in zip((row, column), size, strict=True)]
    window = tuple(slice(start, start + side) for start in starts)
    flips = tuple(axis - 2 for axis in (0, 1) if rng.random() < 0.5)
    parts = area.ms[date], area.hs[date], area.known[date][None].astype(np.float32), area.label[date]
    return [np.ascontiguousarray(np.flip(part[..., *window], flips)) for part in parts]
