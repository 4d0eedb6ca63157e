"""``xrs.train``: a model from a scene, from two cubes, or from a library of spectra."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import xarray as xr

from xrs.cube.metadata import package_version
from xrs.errors import LayoutError, ParameterError
from xrs.learning.adversarial import split_loss
from xrs.learning.loop import Epoch, Settings, Term
from xrs.learning.losses import make_loss
from xrs.models import Card, Model
from xrs.nets import get_network
from xrs.nets.receptive import margin_and_window
from xrs.sensors import Sensor
from xrs.spectra import Source, SpectralLibrary
from xrs.training.images import images_of, spec_of
from xrs.training.lessons import Draw, Lesson, SceneLesson, protocol_of
from xrs.training.members import Run
from xrs.training.scenes import check_alike, for_each
from xrs.training.spectral import Keys, Told, spectral_lesson
from xrs.training.uncertainty import calibrated, check_places, wanted, with_dropout

__all__ = ["train"]

Image = xr.DataArray | xr.Dataset
Cube = xr.DataTree | Image | Mapping[str, Image]
Pair = tuple[Cube, Image]


def train(
    cube: Cube | Pair | Sequence[Cube] | Sequence[Pair] | None,
    pan: Image | Sequence[Image] | None = None,
    *,
    task: str,
    network: str,
    target: str | None = None,
    sensor: str | Sensor | None = None,
    psf: Any = "mtf",
    protocol: str | None = None,
    consistency_weight: float = 1.0,
    library: str | SpectralLibrary | Source | None = None,
    bands: Keys | None = None,
    to: Any = None,
    examples: int | None = None,
    noise: float | tuple[float, float] | None = None,
    physics_weight: float | None = None,
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
    """Train a network on scenes of one's own, without ground truth; for other bands, on two cubes or a library.

    Patches are drawn from the cube without loading the rest of it, from many places and dates; some places
    are held out on all dates, to tell when to stop and how good the model is.

    Parameters
    ----------
    cube : xarray.DataTree, mapping, xarray.DataArray or xarray.Dataset, or two of them
        As for :func:`xrs.sharpen` (groups of several resolutions) or :func:`xrs.pansharpen` (the coarse bands,
        with band keys); floating point, NaN where nothing was seen; lazy or not. For ``task="spectral"`` a pair
        ``(ms, hs)`` of the same dates, or None beside a ``library``: ``ms`` with bands on one grid (or in groups on
        several, for networks such as ``ponet``), ``hs`` on the finest of these; both reflectance with wavelengths.
        What they share is used. A list of scenes of the same bands and units (of pairs, for ``task="spectral"``) is
        learned from in equal parts; they may lie anywhere.
    pan : xarray.DataArray or xarray.Dataset, optional
        The panchromatic band, for ``task="pansharpen"``; of several scenes a list.
    task : {"sharpen", "pansharpen", "spectral"}
    network : str
        See ``xrs.nets.list_networks()``.
    target : str, optional
        For ``task="sharpen"``: the group whose bands the model is to sharpen, by all groups finer than it. The
        finest of the coarse groups if not given.
    sensor : str or Sensor, optional
        The instrument; taken from the attribute ``platform`` if that names one. For ``task="spectral"`` that of
        ``ms``, else known by its wavelengths and widths; with a library it must be given.
    psf : {"mtf", "box", "gaussian_box"} or array (tap,)
        Point spread by the ratio, see :func:`xrs.sensors.psf_of`.
    protocol : {"wald", "consistency", "both", "staged"}, optional
        ``wald``: inputs degraded by the ratio, the target is the original. ``consistency``: inputs as they are;
        the result, degraded, must give the coarse bands back. ``both`` at once. ``staged``, of networks made for it
        (``ssrpnet``): some weights by ``wald``, then the others by ``consistency``. If not given, ``staged`` for these
        and ``wald`` for all others. See :mod:`xrs.training.protocols`.
    consistency_weight : float
        Weight of the second part of ``"both"``.
    library : str, SpectralLibrary or Source, optional
        For ``task="spectral"`` in place of cubes: a source of ``xrs.spectra.list_sources()``, or spectra of one's own,
        of which an eighth is held out. Networks of single pixels learn from single spectra, and others from patches in
        which some of them mix in smooth fields.
    bands : sequence of str, or mapping of float to sequence of str, optional
        With a library: the bands of ``sensor`` that the network sees, on one grid; all but the panchromatic one if not
        given. On several grids, by the side of their pixels in m: ``{10: ["B04", "B08"], 20: ["B8A", "B11"]}``.
    to : str, Sensor or array_like, optional
        With a library: the bands it is to make, those of a sensor or centres in nm.
    examples : int, optional
        With a library: spectra that are drawn, those held out included; 20000 if not given.
    noise : float or (float, float), optional
        With a library: of what ``sensor`` sees, relative and absolute, see :func:`xrs.spectra.draw_pairs`; 0.02 if not
        given.
    physics_weight : float, optional
        For ``task="spectral"``: how much the mean of ``|Phi(X) - Y|`` adds to the loss, Phi(X) what the sensor would
        see in the result and Y what it saw. 0.1 if not given, for the bands whose response is known and that the
        result covers.
    loss : str or mapping of str to float
        ``"l1"``, ``"sam"``, ``"ergas"``, ``"gradient"``, or weights of several. ``{"l1": 1.0, "adversarial": 1e-3}``
        also trains against a discriminator, for sharper results at no smaller error; see
        :mod:`xrs.learning.adversarial`. It needs the pairs of Wald's protocol, and has no say in when to stop.
    patches : int
        Patches to train on, of all scenes together; fewer where a scene is small or cloudy.
    patch_size : int, optional
        Side of a patch in pixels of the network's result, a multiple of the ratio; 16 times the ratio if not given,
        less in a small scene. With a library of no account for networks of single pixels. For networks that
        look at the whole of a window (pooling, attention) it is smaller than the windows they are applied to, to whose
        statistics they adapt.
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
        interpolation, or for other bands of linear regression (``metrics``), and the losses of all epochs
        (``training``). With uncertainty the metrics also have ``coverage`` and ``interval_width`` of 90 % intervals, of
        places they were not scaled by.

    Raises
    ------
    ParameterError
        For arguments out of range, a scene too small or too cloudy (with uncertainty, 18 held-out places or more are
        needed to calibrate), a device that is not there, a loss that is no longer finite, or a checkpoint of another
        run; for a network of another task, arguments that do not go together, too few spectra, or an unknown library
        or sensor.
    LayoutError, GridMismatchError, RadiometryError, TimeAxisError
        As :func:`xrs.sharpen` and :func:`xrs.pansharpen`; also if ``hs`` does not lie on the pixels and dates of
        ``ms``, or holds digital numbers.
    BandNotFoundError
        If wavelengths are not known, or those of the library do not cover a band.
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

    Other bands than those seen, learned from a library:

    >>> few = {"bands": ["B03", "B04", "B8A"], "to": [550, 600, 650, 700, 750, 800], "examples": 600}
    >>> model = xrs.train(
    ...     None, task="spectral", network="spectralift", library="soil", sensor="sentinel-2a", **few, epochs=1,
    ...     features=8, layers=1, progress=False,
    ... )  # fmt: skip
    >>> model.card.outputs.wavelengths
    (550.0, 600.0, 650.0, 700.0, 750.0, 800.0)
    """
    settings = Settings(
        epochs, batch_size, lr, optimizer, schedule, clip, patience, seed=seed, device=device, dtype=dtype,
        save_every=save_every,
    )  # fmt: skip
    pixel_loss, adversarial_weight = split_loss(loss)
    measure = make_loss(pixel_loss)
    told = Told(library, bands, to, examples, noise, physics_weight)
    lesson = _lesson(cube, pan, task, network, target, sensor, psf, protocol, consistency_weight, told)
    plan = wanted(uncertainty, members, lesson.made["protocol"])
    if uncertainty == "dropout":
        config = with_dropout(network, config)
    layout, config = lesson.layout, lesson.config(network, config)
    module = layout.build(network, task, seed, config)
    # Before any training: a network without a margin could not be applied to tiles.
    whole = module if plan is None else plan.probe(module, layout)
    margin, window = margin_and_window(get_network(network), whole, layout.bands, layout.ratios)
    draw = Draw(patches, patch_size, held_out, most_missing, seed, distinct=plan is not None)
    terms, scale = lesson.terms(draw, sees_around=margin + window > 0)
    if plan is not None:
        check_places(terms[0].held_out, plan.level, seed)
    made = {**lesson.made, "loss": loss, **settings.what_matters()}
    run = Run(
        network, task, config, layout, terms, measure, adversarial_weight, settings, made,
        None if checkpoint is None else Path(checkpoint), resume, progress,
    )  # fmt: skip
    whole, curves = run.trained(plan)
    result = lesson.outputs or lesson.images[-1]
    known = None if plan is None else calibrated(whole, plan, terms[0], result.bands, scale, seed)
    card = Card(
        network=network,
        task=task,
        images=lesson.images,
        outputs=lesson.outputs,
        margin=margin,
        window=window,
        scale=scale,
        units=lesson.units,
        config=config,
        psf=lesson.psf,
        training=made | {"data": lesson.facts()} | _course(terms[0], curves) | (known.places if known else {}),
        metrics=_finite(lesson.score(whole, terms, scale) | (known.metrics if known else {})),
        uncertainty=known.facts if known else {},
        licence=licence,
        created_by=f"xrs {package_version()}",
    )
    return Model.from_module(whole, card)


def _lesson(
    cube: Any,
    pan: Any,
    task: str,
    network: str,
    target: str | None,
    sensor: str | Sensor | None,
    psf: Any,
    protocol: str | None,
    consistency_weight: float,
    told: Told,
) -> Lesson:
    """What there is to learn from."""
    if task != "spectral":
        if told.given:
            raise ParameterError(f"{told.given[0]}= for task={task!r}", "it with task='spectral' alone")
        found = for_each(lambda one, own_pan: images_of(one, own_pan, task, target), *_scenes(cube, pan))
        images, sensors = (list(column) for column in zip(*found, strict=True))
        specs = [tuple(map(spec_of, one.arrays, one.ratios)) for one in images]
        check_alike(specs, [str(one.arrays[-1].attrs.get("units", "")) for one in images])
        known = [sensor or own for own in sensors]
        return SceneLesson(images, known, psf, protocol_of(network, protocol), consistency_weight)
    strange = [name for name, value in (("pan", pan), ("target", target), ("protocol", protocol)) if value is not None]
    if strange:
        raise ParameterError(f"{strange[0]}= for task='spectral'", "none: hs, or the library, is what is learned")
    return spectral_lesson(cube, told, sensor, psf)


def _scenes(cube: Any, pan: Any) -> tuple[list[Any], list[Any]]:
    """The cubes of all scenes, and the pan of each."""
    cubes = list(cube) if isinstance(cube, list | tuple) else [cube]
    pans = list(pan) if isinstance(pan, list | tuple) else [pan] if pan is not None else [None] * len(cubes)
    if len(cubes) != len(pans) or not cubes:
        raise LayoutError(f"found {len(cubes)} scenes and {len(pans)} pans", "a pan for each scene")
    return cubes, pans


def _course(term: Term, curves: Mapping[str, Sequence[Epoch]]) -> dict[str, Any]:
    """What the model was trained on, and how it went."""
    first, *others = ([asdict(epoch) for epoch in curve] for curve in curves.values())
    further = dict(zip(list(curves)[1:], others, strict=True))
    return {
        "patches": len(term.train),
        "held_out_patches": len(term.held_out),
        "patch_size": term.train.inputs[0].shape[-1],
        "loss_curve": first,
    } | ({"further_loss_curves": further} if further else {})


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
