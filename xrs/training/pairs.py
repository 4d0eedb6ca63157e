"""Training for spatio-temporal fusion: the dates that both sensors saw are predicted from each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
import xarray as xr
from numpy.typing import NDArray
from torch.nn import Module

from xrs.cube import band_keys, check_time, package_version, to_array, wavelengths, with_all_dims
from xrs.errors import ParameterError, TimeAxisError
from xrs.kernels.types import Float32
from xrs.learning.checks import check_whole
from xrs.learning.loop import Epoch, Settings, Term, fit
from xrs.learning.losses import LOSSES, Loss, weights_of
from xrs.learning.patches import Patches
from xrs.models import Card, ImageSpec, Model
from xrs.nets import get_network
from xrs.nets.receptive import receptive_margin
from xrs.operators._fusion import check_floats
from xrs.operators._pairs import common_area, match_dates, matched_bands, on_own_grid
from xrs.operators.harmonize import matched_radiometry
from xrs.training.pair_losses import PAIR_LOSSES
from xrs.training.protocols import Images, Pairs
from xrs.training.sampling import draw_patches

__all__ = ["train_pairs"]

Cube = TypeVar("Cube", xr.DataArray, xr.Dataset)

#: Loss and pairs of an example, as published.
_PUBLISHED: Mapping[str, tuple[Mapping[str, float], int]] = {
    "stf3dcnn": ({"mse": 1.0}, 2),
    "edcstfn": ({"mse": 1.0, "ms_ssim": 0.8}, 1),
}
_ELSE: tuple[Mapping[str, float], int] = ({"mse": 1.0}, 1)
#: Side of a patch in fine pixels, and at least so many coarse ones, unless told otherwise.
_SIDE, _LEAST_SIDE = 48, 4
#: Examples drawn from, at most: more dates than this needs tell little more, and plans grow with them.
_MOST_EXAMPLES = 60
#: Patches predicted at once.
_TOGETHER = 16
#: Bands of a patch in training, at most, where the network has the same weights for all.
_BANDS = 8

#: Dates predicted from, by index, and the date to be predicted.
Example = tuple[tuple[int, ...], int]


def train_pairs(
    fine: Cube,
    coarse: xr.DataArray | xr.Dataset,
    *,
    network: str = "stf3dcnn",
    tolerance: Any = "1D",
    harmonize: bool | str = True,
    ratio: int | None = None,
    pairs: int | None = None,
    loss: str | Mapping[str, float] | None = None,
    patches: int = 500,
    patch_size: int | None = None,
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
    """A network for :func:`xrs.fuse_spatiotemporal`, trained on the dates that both cubes have.

    Each of these dates is predicted from others: from one, earlier or later, and, where an example has more ``pairs``,
    from as many on either side, forwards and backwards in time. Patches are drawn from all such examples without
    loading the rest of the cubes; some places are held out on all dates. There are no examples of changes that occur
    between these dates only.

    Parameters
    ----------
    fine, coarse : xarray.DataArray or xarray.Dataset, (time, [band,] y, x)
        As of :func:`xrs.fuse_spatiotemporal`, with band keys; leave dates out that are to test the model.
    network : str
        One for task ``"spatiotemporal"``; see ``xrs.nets.list_networks()``.
    tolerance, harmonize, ratio
        As of :func:`xrs.fuse_spatiotemporal`: what is fused later is to be prepared alike.
    pairs : int, optional
        Dates an example is predicted from, besides examples of one: 1, or an even number. As published if not given
        (two for ``stf3dcnn``, one for ``edcstfn``), and 1 where there are too few dates. Models of some pairs serve
        others as well.
    loss : str or mapping of str to float, optional
        ``"mse"``, ``"ms_ssim"``, or those of :func:`xrs.train`, or weights of several. As published if not given.
    patches : int
        Patches to train on; fewer where the scene is small or cloudy. A network with the same weights for all bands
        (``stf3dcnn``) gets at most 8 bands in each, drawn at random, so that a step takes no more memory with more.
    patch_size : int, optional
        Side of a patch in fine pixels, a multiple of the ratio; 48, or four coarse pixels, if not given, less in a
        small scene.
    held_out, most_missing, epochs, lr, patience, seed
        As of :func:`xrs.train`.
    train_batch : int
        Patches of one step.
    device, dtype, progress, licence
        As of :func:`xrs.train`.
    **config
        Parameters of the network.

    Returns
    -------
    Model
        Its card has the RMSE of held-out patches beside that of the mean of the fine images they were predicted from
        (``metrics``), and dates and loss curve (``training``).

    Raises
    ------
    TimeAxisError
        If fewer than two dates belong together.
    BandNotFoundError, GridMismatchError, RadiometryError, LayoutError
        As :func:`xrs.fuse_spatiotemporal`.
    ParameterError
        For arguments out of range, and a scene too small or too cloudy.

    Examples
    --------
    >>> import xrs
    >>> times = ["2023-05-01", "2023-06-01", "2023-07-01"]
    >>> scene = xrs.scenes.landscape((32, 64), times=times, wavelengths=[660, 830])
    >>> coarse = xrs.degrade(scene, 4, psf="box")
    >>> model = train_pairs(
    ...     scene, coarse, patches=4, patch_size=16, epochs=1, features=4, layers=1, progress=False
    ... )
    >>> model.card.task, model.card.ratios
    ('spatiotemporal', (1, 1, 4, 4, 4))
    """
    settings = Settings(
        epochs, train_batch, lr, optimizer="adam", patience=patience, seed=seed, device=device, dtype=dtype
    )
    dated = _dated(fine, coarse, tolerance, harmonize, ratio)
    published_loss, published_pairs = _PUBLISHED.get(network, _ELSE)
    wanted = dated.pairs(published_pairs) if pairs is None else pairs
    layouts = [dated.examples(count, seed) for count in dict.fromkeys((wanted, 1))]
    card = _card(network, dated, wanted, config)
    module = get_network(network).build(card.bands, card.ratios, seed=seed, **config)
    # Before any training: a network without a margin could not be applied to tiles.
    margin = receptive_margin(module, card.bands, card.ratios)
    chosen = published_loss if loss is None else loss
    measure = _loss(chosen)
    groups = _groups(module, card.bands[0])
    check_whole("patches", patches, 1)
    drawn = [
        draw_patches(
            examples,
            count=math.ceil(patches / groups),
            side=dated.side(patch_size),
            held_out=held_out,
            most_missing=most_missing,
            seed=seed,
        )
        for examples in layouts
    ]
    scale = drawn[0][0].magnitude()
    whole = drawn[0][1].divided(scale)
    folded = [[_folded(part.divided(scale), groups, seed) for part in parts] for parts in drawn]
    terms = [Term(train, checked) for train, checked in folded]
    curve = fit(module, terms, measure, settings, progress=progress)
    made = {"loss": chosen, "harmonize": harmonize, "tolerance": str(tolerance), **settings.what_matters()}
    told = {
        "margin": margin,
        "scale": scale,
        "units": str(dated.fine.attrs.get("units", "1")),
        "training": made | _facts(dated, terms, curve),
        "metrics": _scores(module.cpu(), whole, scale),
        "licence": licence,
        "created_by": f"xrs {package_version()}",
    }
    return Model.from_module(module, _card(network, dated, wanted, config, **told))


@dataclass(frozen=True)
class _Dated:
    """Both cubes (time, band, y, x) on the dates they share, cropped to one area."""

    fine: xr.DataArray
    coarse: xr.DataArray
    ratio: int

    def pairs(self, most: int) -> int:
        """How many pairs an example may have, given that many are wanted."""
        return most if self.fine.sizes["time"] > most else 1

    def side(self, patch_size: int | None) -> int:
        """The side of a patch in coarse pixels."""
        sizes = self.coarse.sizes["y"], self.coarse.sizes["x"]
        if patch_size is None:
            return min(max(_SIDE // self.ratio, _LEAST_SIDE), *sizes, max(sizes) // 2)
        check_whole("patch_size", patch_size, self.ratio)
        if patch_size % self.ratio:
            raise ParameterError(f"patch_size={patch_size}", f"a multiple of the ratio {self.ratio}")
        return patch_size // self.ratio

    def examples(self, pairs: int, seed: int) -> Pairs:
        """Examples as if they were dates: the images each is predicted from, and what is to be predicted."""
        found = _examples(self.fine.sizes["time"], pairs, seed)
        references = np.array([sources for sources, _ in found]).T
        targets = np.array([target for _, target in found])
        fine = [_of_dates(self.fine, dates) for dates in references]
        coarse = [_of_dates(self.coarse, dates) for dates in (*references, targets)]
        names = tuple(f"{role}{n}" for role, images in (("fine", fine), ("coarse", coarse)) for n in range(len(images)))
        ratios = (1,) * pairs + (self.ratio,) * (pairs + 1)
        return Pairs(Images((*fine, *coarse), ratios, names), _of_dates(self.fine, targets), self.ratio)


def _groups(module: Module, bands: int) -> int:
    """Into how many groups the bands of a patch are parted for training."""
    return math.ceil(bands / _BANDS) if getattr(module, "bandwise", False) else 1


def _folded(patches: Patches, groups: int, seed: int) -> Patches:
    """Each patch as one for each group of its bands, which are drawn at random; some bands may be left over."""
    if groups == 1:
        return patches
    count, bands = patches.target.shape[:2]
    each = bands // groups
    rng = np.random.default_rng([seed, 5])
    order = np.stack([rng.permutation(bands)[: groups * each] for _ in range(count)])

    def folded(image: NDArray[Any]) -> NDArray[Any]:
        chosen = np.take_along_axis(image, order[:, :, None, None], axis=1)
        return chosen.reshape(count * groups, each, *image.shape[2:])

    inputs = tuple(folded(image) for image in patches.inputs)
    return Patches(inputs, folded(patches.target), folded(patches.mask), patches.spots.repeat(groups, axis=0))


def _examples(dates: int, pairs: int, seed: int) -> list[Example]:
    """Every series of ``pairs`` dates and one between them, forwards and backwards; some of them if they are many.

    Of one pair: every ordered couple of dates.
    """
    check_whole("pairs", pairs, 1)
    if pairs > 1 and pairs % 2:
        raise ParameterError(f"pairs={pairs}", "1, or an even number: as many on either side of the date")
    if dates <= pairs:
        raise TimeAxisError(
            f"{dates} dates that both cubes have", f"{pairs + 1} or more for pairs={pairs}", "pairs=1, or more dates"
        )
    middle = (pairs + 1) // 2
    found = [
        (line[:middle] + line[middle + 1 :], line[middle])
        for series in combinations(range(dates), pairs + 1)
        for line in (series, series[::-1])
    ]
    order = np.random.default_rng([seed, 4]).permutation(len(found))[:_MOST_EXAMPLES]
    return [found[k] for k in sorted(order)]


def _of_dates(cube: xr.DataArray, dates: Any) -> xr.DataArray:
    return xr.DataArray(cube.variable.isel(time=dates))


def _dated(fine: Any, coarse: Any, tolerance: Any, harmonize: bool | str, ratio: int | None) -> _Dated:
    """Both cubes, checked, of the dates they share."""
    ours, theirs = to_array(fine), to_array(coarse)
    for role, cube in (("fine", ours), ("coarse", theirs)):
        check_floats(role, cube)
        check_time(cube)
        band_keys(cube)
    ours, theirs = matched_bands(ours, theirs)
    ours, theirs, found = common_area(ours, theirs)
    if ratio not in (None, found):
        if found > 1:
            raise ParameterError(f"ratio={ratio} for grids of ratio {found}", f"ratio={found}, or none")
        ours, theirs, found = common_area(ours, on_own_grid(theirs, int(ratio)))
    partner = match_dates(pd.DatetimeIndex(ours["time"].values), pd.DatetimeIndex(theirs["time"].values), tolerance)
    shared = np.flatnonzero(partner >= 0)
    if shared.size < 2:
        raise TimeAxisError(
            f"{shared.size} date(s) of fine within {pd.Timedelta(tolerance)} of one of coarse",
            "two or more: one is predicted from the other",
            "a larger tolerance=, or cubes of more dates",
        )
    ours, theirs = ours.isel(time=shared), theirs.isel(time=partner[shared])
    if harmonize:
        regression = "ols" if harmonize is True else str(harmonize)
        theirs = matched_radiometry(theirs, ours, method=regression, tolerance=tolerance, known=True)
    # In chunks, so that examples share what they have in common, and are not copied.
    one, other = (cube if cube.chunks else cube.chunk(time=1) for cube in map(with_all_dims, (ours, theirs)))
    return _Dated(one, other, found)


def _loss(loss: str | Mapping[str, float]) -> Loss:
    """A loss by name, or a weighted sum of several, those of spatio-temporal fusion among them."""
    known = {**LOSSES, **PAIR_LOSSES}
    weights = weights_of(loss)
    if not set(weights) <= set(known) or not sum(weights.values()):
        raise ParameterError(f"loss={loss!r}", f"one of {list(known)}, or a mapping of them to weights above 0")

    def weighted(prediction: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return torch.stack([w * known[name](prediction, target, mask) for name, w in weights.items() if w]).sum()

    return weighted


def _card(network: str, dated: _Dated, pairs: int, config: Mapping[str, Any], **told: Any) -> Card:
    if "spatiotemporal" not in get_network(network).tasks:
        raise ParameterError(f"the network {network!r}", "one for task 'spatiotemporal'", "xrs.nets.list_networks()")
    fine, coarse = _spec(dated.fine, 1), _spec(dated.coarse, dated.ratio)
    images = (fine,) * pairs + (coarse,) * (pairs + 1)
    return Card(network=network, task="spatiotemporal", images=images, config=config, **told)


def _spec(cube: xr.DataArray, ratio: int) -> ImageSpec:
    centres = tuple(float(w) for w in wavelengths(cube))
    return ImageSpec(tuple(band_keys(cube)), ratio, centres if any(map(math.isfinite, centres)) else ())


@torch.inference_mode()
def _run(module: Module, inputs: Sequence[Float32]) -> Float32:
    """A network's results for patches (patch, band, y, x), some at a time."""
    module.eval()
    starts = range(0, len(inputs[0]), _TOGETHER)
    parts = [module(*(torch.from_numpy(i[n : n + _TOGETHER]) for i in inputs)).numpy() for n in starts]
    return np.concatenate(parts)


def _scores(module: Module, patches: Patches, scale: float) -> dict[str, float]:
    """Of held-out patches: of the network, and of the mean of the fine images it predicts from."""
    predictions = {
        "rmse": _run(module, patches.inputs),
        "rmse_of_mean": np.mean(patches.inputs[: len(patches.inputs) // 2], axis=0),
    }
    errors = {name: (found - patches.target)[patches.mask] for name, found in predictions.items()}
    return {name: float(np.sqrt(np.square(e, dtype=np.float64).mean())) * scale for name, e in errors.items()}


def _facts(dated: _Dated, terms: Sequence[Term], curve: Sequence[Epoch]) -> dict[str, Any]:
    """What the model was trained on, and how it went."""
    return {
        "data": {
            "title": str(dated.fine.attrs.get("title", "")),
            "platform": str(dated.fine.attrs.get("platform", "")),
            "dates": [str(date)[:10] for date in dated.fine["time"].values],
        },
        "patches": [len(term.train) for term in terms],
        "held_out_patches": [len(term.held_out) for term in terms],
        "patch_size": terms[0].train.inputs[0].shape[-1],
        "loss_curve": [asdict(epoch) for epoch in curve],
    }
