"""``xrs.train``: a model from a scene."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from xrs.cube import band_keys, geobox_of, wavelengths
from xrs.cube.metadata import package_version
from xrs.errors import ParameterError, XrsError
from xrs.learning.adversarial import split_loss
from xrs.learning.checks import check_whole
from xrs.learning.loop import Epoch, Settings, Term
from xrs.learning.losses import make_loss
from xrs.learning.patches import Patches
from xrs.models import Card, ImageSpec, Model
from xrs.models.spread import config_through
from xrs.nets import get_network
from xrs.nets.receptive import receptive_margin
from xrs.sensors import Sensor, get_sensor
from xrs.training.images import images_of
from xrs.training.members import Run
from xrs.training.protocols import Images, Pairs, make_pairs, taps_of
from xrs.training.sampling import draw_patches
from xrs.training.scores import score
from xrs.training.uncertainty import Uncertainty, calibrated, check_places, wanted, with_dropout

__all__ = ["train"]

#: Share of the places that are held out, and where intervals are calibrated on them.
_HELD_OUT, _HELD_OUT_TO_CALIBRATE = 0.125, 0.25


def train(
    cube: xr.DataTree | xr.DataArray | xr.Dataset | Mapping[str, xr.DataArray | xr.Dataset],
    pan: xr.DataArray | xr.Dataset | None = None,
    *,
    task: str,
    network: str,
    target: str | None = None,
    sensor: str | Sensor | None = None,
    psf: Any = "mtf",
    protocol: str | None = None,
    consistency_weight: float = 1.0,
    loss: str | Mapping[str, float] = "l1",
    patches: int = 500,
    patch_size: int | None = None,
    held_out: float | None = None,
    most_missing: float = 0.25,
    uncertainty: str | None = None,
    members: int = 1,
    epochs: int | str = "auto",
    batch_size: int = 16,
    lr: float = 1e-3,
    optimizer: str = "nadam",
    schedule: str = "plateau",
    clip: float = 1.0,
    patience: int = 20,
    device: str = "auto",
    dtype: str = "float32",
    seed: int = 0,
    checkpoint: str | Path | None = None,
    save_every: float = 30.0,
    resume: bool = True,
    progress: bool = True,
    licence: str = "",
    **config: Any,
) -> Model:
    """Train a network on a scene of one's own, without ground truth.

    Patches are drawn from the cube without loading the rest of it, from many places and dates; some places
    are held out on all dates, to tell when to stop and how good the model is.

    Parameters
    ----------
    cube : xarray.DataTree, mapping, xarray.DataArray or xarray.Dataset
        As for :func:`xrs.sharpen` (groups of several resolutions) or :func:`xrs.pansharpen` (the coarse bands,
        with band keys); floating point, NaN where nothing was seen; lazy or not.
    pan : xarray.DataArray or xarray.Dataset, optional
        The panchromatic band, for ``task="pansharpen"``.
    task : {"sharpen", "pansharpen"}
    network : str
        See ``xrs.nets.list_networks()``.
    target : str, optional
        For ``task="sharpen"``: the group whose bands the model is to sharpen, by all groups finer than it. The
        finest of the coarse groups if not given.
    sensor : str or Sensor, optional
        The instrument; taken from the attribute ``platform`` if that names one.
    psf : {"mtf", "box", "gaussian_box"} or array (tap,)
        Point spread by the ratio, see :func:`xrs.sensors.psf_of`.
    protocol : {"wald", "consistency", "both", "staged"}, optional
        ``wald``: inputs degraded by the ratio, the target is the original. ``consistency``: inputs as they are;
        the result, degraded, must give the coarse bands back. ``both`` at once. ``staged``, of networks made for it
        (``ssrpnet``): some weights by ``wald``, then the others by ``consistency``. If not given, ``staged`` for these
        and ``wald`` for all others. See :mod:`xrs.training.protocols`.
    consistency_weight : float
        Weight of the second part of ``"both"``.
    loss : str or mapping of str to float
        ``"l1"``, ``"sam"``, ``"ergas"``, ``"gradient"``, or weights of several. ``{"l1": 1.0, "adversarial": 1e-3}``
        also trains against a discriminator, for sharper results at a larger error; see
        :mod:`xrs.learning.adversarial`. It needs the pairs of Wald's protocol, and has no say in when to stop.
    patches : int
        Patches to train on; fewer where the scene is small or cloudy.
    patch_size : int, optional
        Side of a patch in pixels of the network's result, a multiple of the ratio; 16 times the ratio if not given,
        less in a small scene.
    held_out : float, optional
        Share of the places that are held out. An eighth if not given; a quarter, in smaller places, for a model with
        uncertainty, which is calibrated on them.
    most_missing : float
        Patches with a larger share of NaN are not taken. In others gaps are filled in the inputs, and pixels
        with a gap in an input or in the target do not count in the loss.
    uncertainty : {None, "laplace", "dropout"}
        What tells how far results are off, so that ``sharpen(..., uncertainty=True)`` can. ``laplace`` trains a small
        head on the errors once the network is finished, so that accuracy is not paid for it. ``dropout`` trains the
        network with channels dropped, and compares 20 thinned networks. Either is scaled by conformal risk control
        (see :mod:`xrs.learning.conformal`) so that 90 % intervals cover 90 % on held-out places: at the scale of
        training, which under Wald's protocol is coarser than that of the results.
    members : int
        Networks with the seeds ``seed``, ``seed + 1`` and so on, whose mean is the result and whose differences are
        another source of uncertainty, also without ``uncertainty=``. Training and application take as many times
        longer.
    epochs : int or "auto"
        ``"auto"`` stops when the loss of held-out patches has not fallen by a thousandth for ``patience`` epochs, or
        after 1000.
    batch_size : int
        Patches of one step, over all devices.
    lr : float
        Learning rate of the first epoch.
    optimizer : {"nadam", "adam"}
    schedule : {"plateau", "cosine", "constant"}
        ``plateau`` halves the rate when held-out patches have not gained for 5 epochs; ``cosine`` needs a number of
        epochs.
    clip : float
        Longest gradient; 0 for any.
    patience : int
        Epochs without gain after which ``epochs="auto"`` stops.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``. With Lightning Fabric installed (``pip install
        'xrs[train]'``), ``torchrun`` trains on several devices.
    dtype : {"float32", "bfloat16"}
        ``bfloat16`` is mixed precision; weights stay float32.
    seed : int
        Of weights, patches and their order.
    checkpoint : str or Path, optional
        A file written while training (further members and heads beside it, under names that begin like it). The same
        call goes on from it and, on a CPU, ends with the weights of a run that was not interrupted.
    save_every : float
        Seconds between two writings of the checkpoint, at least.
    resume : bool
        If false, a checkpoint that is there is overwritten.
    progress : bool
        Show a progress bar.
    licence : str
        SPDX identifier for the card.
    **config
        Parameters of the network.

    Returns
    -------
    Model
        With the weights of the best epoch. Its card has the scores of held-out patches beside those of cubic
        interpolation (``metrics``), and the losses of all epochs (``training``). With uncertainty the metrics also
        have ``coverage`` and ``interval_width`` of 90 % intervals, of places they were not scaled by.

    Raises
    ------
    ParameterError
        For arguments out of range, a scene too small or too cloudy (with uncertainty, 18 held-out places or more are
        needed to calibrate), a device that is not there, a loss that is no longer finite, or a checkpoint of another
        run.
    LayoutError, GridMismatchError, RadiometryError, TimeAxisError
        As :func:`xrs.sharpen` and :func:`xrs.pansharpen`.
    ModelCardError
        If the checkpoint is damaged.

    Examples
    --------
    >>> import numpy as np, xarray as xr, xrs
    >>> def group(n, size, *keys):
    ...     centres = (np.arange(n) + 0.5) * size
    ...     values = np.random.default_rng(n).random((n, n), dtype="float32")
    ...     return xr.Dataset({k: (("y", "x"), values) for k in keys}, {"y": centres[::-1], "x": centres})
    >>> s2 = xr.DataTree.from_dict({"r10m": group(64, 10.0, "B04", "B08"), "r20m": group(32, 20.0, "B8A", "B11")})
    >>> model = xrs.train(s2, task="sharpen", network="light", epochs=1, patches=4, patch_size=16, progress=False)
    >>> model.card.ratios, model.card.images[-1].bands
    ((1, 2), ('B8A', 'B11'))
    """
    settings = Settings(
        epochs, batch_size, lr, optimizer, schedule, clip, patience, seed=seed, device=device, dtype=dtype,
        save_every=save_every,
    )  # fmt: skip
    pixel_loss, adversarial_weight = split_loss(loss)
    measure = make_loss(pixel_loss)
    images, known = images_of(cube, pan, task, target)
    instrument = sensor or known
    protocol = _protocol(network, protocol)
    plan = wanted(uncertainty, members, protocol)
    if uncertainty == "dropout":
        config = with_dropout(network, config)
    config = config_through(network, config, taps_of(images, instrument, psf))
    module = _fresh(network, task, images, seed, config)
    # Before any training: a network without a margin could not be applied to tiles.
    whole = module if plan is None else plan.probe(module, images.bands, images.ratios)
    margin = receptive_margin(whole, images.bands, images.ratios)
    pairs = make_pairs(protocol, images, instrument, psf)
    drawn = [
        draw_patches(
            one,
            count=patches,
            side=_side(patch_size, images.ratio),
            held_out=_share(held_out, plan),
            most_missing=most_missing,
            seed=seed,
            distinct=plan is not None,
        )
        for one in pairs
    ]
    if plan is not None:
        check_places(drawn[0][1], plan.level, seed)
    scale = drawn[0][0].magnitude()
    terms = _terms(pairs, drawn, scale, consistency_weight)
    made = {"protocol": protocol, "loss": loss, "consistency_weight": consistency_weight, **settings.what_matters()}
    run = Run(
        network, config, images, terms, measure, adversarial_weight, settings, made,
        None if checkpoint is None else Path(checkpoint), resume, progress,
    )  # fmt: skip
    whole, curves = run.trained(plan)
    specs = _specs(images)
    known_errors = None if plan is None else calibrated(whole, plan, terms[0], specs[-1].bands, scale, seed)
    card = Card(
        network=network,
        task=task,
        images=specs,
        margin=margin,
        scale=scale,
        units=str(images.arrays[-1].attrs.get("units", "1")),
        config=config,
        psf=_psf_facts(psf, instrument),
        training=made | _facts(images, terms, curves) | (known_errors.places if known_errors else {}),
        metrics=_finite(score(whole, terms[0], images.ratio, scale) | (known_errors.metrics if known_errors else {})),
        uncertainty=known_errors.facts if known_errors else {},
        licence=licence,
        created_by=f"xrs {package_version()}",
    )
    return Model.from_module(whole, card)


def _protocol(network: str, protocol: str | None) -> str:
    stages = get_network(network).stages
    if protocol == "staged" and not stages:
        raise ParameterError(f"protocol='staged' for the network {network!r}", "a network with stages, such as ssrpnet")
    return protocol or ("staged" if stages else "wald")


def _fresh(network: str, task: str, images: Images, seed: int, config: Mapping[str, Any]) -> torch.nn.Module:
    """The network with random weights."""
    record = get_network(network)
    if task not in record.tasks:
        raise ParameterError(f"the network {network!r} for task={task!r}", f"one for {' or '.join(record.tasks)}")
    try:
        return record.build(images.bands, images.ratios, seed=seed, **config)
    except XrsError:
        raise
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        # Networks do not check their parameters: torch does, in its own words.
        raise ParameterError(
            f"the network {network!r} with {config} ({error})", f"values such as {dict(record.config)}"
        ) from error


def _share(held_out: float | None, plan: Uncertainty | None) -> float:
    if held_out is not None:
        return held_out
    return _HELD_OUT if plan is None else _HELD_OUT_TO_CALIBRATE


def _side(patch_size: int | None, ratio: int) -> int | None:
    if patch_size is None:
        return None
    check_whole("patch_size", patch_size, ratio)
    if patch_size % ratio:
        raise ParameterError(f"patch_size={patch_size}", f"a multiple of the ratio {ratio}")
    return patch_size // ratio


def _terms(
    pairs: Sequence[Pairs], drawn: Sequence[tuple[Patches, Patches]], scale: float, consistency_weight: float
) -> list[Term]:
    if not 0 < consistency_weight < math.inf:
        raise ParameterError(f"consistency_weight={consistency_weight}", "a weight above 0")
    return [
        Term(
            train.divided(scale),
            held_out.divided(scale),
            None if one.taps is None else torch.as_tensor(one.taps, dtype=torch.float32),
            one.inputs.ratio,
            consistency_weight if n else 1.0,
        )
        for n, (one, (train, held_out)) in enumerate(zip(pairs, drawn, strict=True))
    ]


def _specs(images: Images) -> tuple[ImageSpec, ...]:
    specs = []
    for array, ratio in zip(images.arrays, images.ratios, strict=True):
        named = "band" in array.coords
        keys = band_keys(array) if named or array.sizes["band"] > 1 else ["pan"]
        centres = tuple(float(w) for w in wavelengths(array)) if named else ()
        specs.append(ImageSpec(tuple(keys), ratio, centres if any(map(math.isfinite, centres)) else ()))
    return tuple(specs)


def _psf_facts(psf: Any, sensor: str | Sensor | None) -> dict[str, Any]:
    kind = psf if isinstance(psf, str) else np.asarray(psf, np.float64).tolist()
    return {"kind": kind, "sensor": None if sensor is None else get_sensor(sensor).name}


def _facts(images: Images, terms: Sequence[Term], curves: Mapping[str, Sequence[Epoch]]) -> dict[str, Any]:
    """What the model was trained on, and how it went."""
    first, *others = ([asdict(epoch) for epoch in curve] for curve in curves.values())
    further = dict(zip(list(curves)[1:], others, strict=True))
    fine = images.arrays[0]
    box = geobox_of(fine)
    return {
        "data": {
            "title": str(fine.attrs.get("title", "")),
            "platform": str(fine.attrs.get("platform", "")),
            "crs": "" if box.crs is None else f"EPSG:{box.crs.epsg}" if box.crs.epsg else box.crs.to_wkt(),
            "bounds": list(box.boundingbox.bbox),
            "pixel": abs(box.affine.a),
            "dates": [str(date)[:10] for date in fine["time"].values[[0, -1]]] if "time" in fine.coords else [],
        },
        "patches": len(terms[0].train),
        "held_out_patches": len(terms[0].held_out),
        "patch_size": terms[0].train.inputs[0].shape[-1],
        "loss_curve": first,
    } | ({"further_loss_curves": further} if further else {})


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
