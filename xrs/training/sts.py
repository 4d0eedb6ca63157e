"""Long-time-series spatio-temporal-spectral fusion: the network trained on the cubes it is to fuse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import xarray as xr

from xrs.cube import band_keys, check_time, package_version, to_array, to_dataset, wavelengths
from xrs.errors import ParameterError
from xrs.learning.checks import check_whole
from xrs.methods import Method, get_method
from xrs.models import Card, ImageSpec, Model
from xrs.nets import get_network
from xrs.nets.lts_mtl import LtsMtl
from xrs.operators._fusion import check_floats
from xrs.operators._uncertainty import check_asked
from xrs.operators.fuse_spatiotemporal import fuse_spatiotemporal
from xrs.operators.fuse_sts import Sensors, StsCase, first_stage, no_spread, stages_of
from xrs.operators.fuse_sts import fuse_sts as fused
from xrs.training.pairs import train_pairs
from xrs.training.steps import Steps
from xrs.training.sts_examples import examples_of, key_dates, known_of, read_windows
from xrs.training.sts_fit import begin, errors_held_out, fit
from xrs.training.sts_uncertainty import HEAD_MARGIN, calibration, check_held_out, learned_head
from xrs.training.uncertainty import wanted, with_dropout

__all__ = ["fuse_sts", "train_sts"]

Cube = xr.DataArray | xr.Dataset


def fuse_sts(
    hyperspectral: Cube,
    multispectral: Cube,
    wide: Cube,
    method: str | Method | Sequence[str | Method] = "lts_mtl",
    *,
    target_times: Any = None,
    tolerance: Any = "1D",
    pairs: int = 2,
    outside: str = "error",
    sensors: Sensors | None = None,
    psf: Any = "mtf",
    uncertainty: bool = False,
    **params: Any,
) -> Cube:
    """Fine pixels, many bands and many dates at once, from three sensors that have one of them each.

    Parameters
    ----------
    hyperspectral : xarray.DataArray or xarray.Dataset, (time, band, y, x)
        Many bands, coarse pixels, few dates; floating point, NaN where nothing was seen.
    multispectral : xarray.DataArray or xarray.Dataset, (time, band, y, x)
        Fine pixels on few dates, of which some at least are those of ``hyperspectral``; on a grid that nests in that of
        ``hyperspectral``.
    wide : xarray.DataArray or xarray.Dataset, (time, band, y, x)
        The sensor that sees many dates, those of the other two among them; on the grid of ``multispectral`` or one that
        it nests in. The ratios of the two coarse grids need not divide each other.
    method : str, Method or sequence of two
        One of ``xrs.list_methods("sts")``; or a method of family ``"spatiotemporal"`` and one of family ``"hsms"``,
        ``("estarfm", "cnmf")``: first the second one brings ``hyperspectral`` to the fine grid, then the first one to
        the dates of ``wide``, each band by the one of ``wide`` nearest in wavelength.
    target_times : array_like, optional
        Dates to predict, each within the tolerance of one of ``wide``. If not given, those of ``wide``; with
        ``outside="error"`` and several dates of the other sensors those from their first to their last.
    tolerance : timedelta or str
        How far apart dates of two sensors may be that count as one.
    pairs : int
        Dates of ``hyperspectral`` and ``multispectral`` that each date is predicted from: the nearest on both sides,
        then the nearest.
    outside : {"error", "nearest"}
        What to do with a date before the first or after the last of those.
    sensors : Sensors, optional
        The instruments, see :class:`xrs.Sensors`: point spread and spectral response.
    psf : {"mtf", "box", "gaussian_box"} or array
        See :func:`xrs.sensors.psf_of`.
    uncertainty : bool
        Whether standard deviations are to stand beside the bands, for a network alone: those of its own result, before
        it is refined. A model must have been trained with ``uncertainty="laplace"`` or ``members``; one that is trained
        here is so.
    **params
        Parameters of the method. For a network either ``model``, or parameters of its training, by default that of
        :func:`train_sts`. For two methods mappings of parameters ``temporal`` and ``spectral``; a network among them
        that has no ``model`` in its mapping is trained if it is the temporal one (:func:`train_pairs`, whose
        parameters the mapping may then hold); what the first method makes is then held in memory.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        As ``hyperspectral`` (with ``uncertainty`` a Dataset): its bands in float32 on the grid of ``multispectral`` and
        the dates asked for; lazy if any input is, but for training, which reads some windows of the cubes at once. What
        is NaN where is the method's affair: ``lts_mtl`` fills gaps of ``wide`` from the dates around, and leaves NaN
        where none of these were seen.

    Raises
    ------
    TimeAxisError
        If no date is common to the sensors, or one to predict lies outside of them.
    GridMismatchError
        If the grids do not nest, or share no area.
    BandNotFoundError
        If two sensors have no wavelength in common, or two methods meet bands without wavelengths.
    RadiometryError
        If a cube holds integers.
    ModelCardError
        If a model does not fit.
    ParameterError, MethodNotFoundError
        For a bad parameter or an unknown method.

    References
    ----------
    Peng, Li, Zhou and Li 2024, A long-time-series spatio-temporal-spectral fusion method via multi-task learning,
    10.5194/isprs-archives-XLVIII-1-2024-567-2024

    Examples
    --------
    >>> import xrs
    >>> times = ["2023-04-10", "2023-05-10", "2023-06-10"]
    >>> scene = xrs.scenes.landscape((48, 48), times=times, wavelengths=range(450, 900, 25)).compute()
    >>> keyed = scene.isel(time=[0, 2])
    >>> ms, hs = keyed.isel(band=[1, 4, 8, 14]), xrs.degrade(keyed, 3)
    >>> wide = xrs.degrade(scene.isel(band=[1, 4, 8, 14]), 2)
    >>> fused = fuse_sts(hs, ms, wide, steps=2, features=4, blocks=1)
    >>> dict(fused.sizes)
    {'time': 3, 'band': 18, 'y': 48, 'x': 48}
    """
    check_asked(uncertainty)
    sensors = Sensors() if sensors is None else sensors
    chosen: dict[str, Any] = {"target_times": target_times, "tolerance": tolerance, "pairs": pairs, "outside": outside}
    if not isinstance(method, str | Method):
        if uncertainty:
            raise no_spread("+".join(str(getattr(one, "name", one)) for one in method))
        return _two_stages((hyperspectral, multispectral, wide), method, sensors, psf, params, chosen)
    record = get_method(method, "sts")
    if record.needs_model and params.get("model") is None:
        own = {p.name for p in record.params}
        training = {name: value for name, value in params.items() if name not in own}
        params = {name: value for name, value in params.items() if name in own}
        how: dict[str, Any] = {"psf": psf, "tolerance": tolerance, "pairs": pairs, **training}
        if uncertainty and how.get("members", 1) == 1:
            how.setdefault("uncertainty", "laplace")
        device = params.get("device", "auto")
        params["model"] = train_sts(
            hyperspectral, multispectral, wide, network=record.name, sensors=sensors, device=device, **how
        )
    chosen |= {"sensors": sensors, "psf": psf, "uncertainty": uncertainty}
    return fused(hyperspectral, multispectral, wide, record, **chosen, **params)


def _two_stages(
    given: tuple[Cube, Cube, Cube],
    methods: Sequence[str | Method],
    sensors: Sensors,
    psf: Any,
    params: dict[str, Any],
    chosen: dict[str, Any],
) -> Cube:
    """Two methods in a row; a temporal one that needs a model is trained on what the other one made."""
    temporal, spectral = stages_of(methods, params)
    record = get_method(temporal, "spatiotemporal")
    options = dict(params.get("temporal", {}))
    if not record.needs_model or options.get("model") is not None:
        hs, ms, wide = given
        return fused(hs, ms, wide, methods, sensors=sensors, psf=psf, **chosen, **params)
    cubes = dict(zip(("hs", "ms", "wide"), map(to_array, given), strict=True))
    for role, cube in cubes.items():
        check_floats(role, cube)
        check_time(cube)
    tolerance = chosen["tolerance"]
    keyed, like = first_stage(cubes, spectral, sensors, psf, tolerance, params.get("spectral", {}))
    # Drawn from many times over: the first stage is made once.
    keyed = keyed.persist()
    own = {p.name for p in record.params}
    training = {name: value for name, value in options.items() if name not in own}
    options = {name: value for name, value in options.items() if name in own}
    options["model"] = train_pairs(keyed, like, network=record.name, tolerance=tolerance, **training)
    result = fuse_spatiotemporal(keyed, like, record, **chosen, **options)
    return to_dataset(result) if isinstance(given[0], xr.Dataset) else result


def train_sts(
    hyperspectral: Cube,
    multispectral: Cube,
    wide: Cube,
    *,
    network: str = "lts_mtl",
    sensors: Sensors | None = None,
    psf: Any = "mtf",
    tolerance: Any = "1D",
    pairs: int = 2,
    components: int = 10,
    windows: int = 8,
    window_size: int = 96,
    steps: int = 600,
    train_batch: int = 8,
    patch_size: int = 30,
    held_out: float = 0.125,
    uncertainty: str | None = None,
    members: int = 1,
    lr: float = 2e-3,
    device: str = "auto",
    seed: int = 0,
    licence: str = "",
    **config: Any,
) -> Model:
    """The network of :func:`fuse_sts`, trained on the three cubes without ground truth.

    1. Windows of the scene are read on the key dates, those on which all three sensors saw it.
    2. Principal components of the hyperspectral bands, and linear regressions between the sensors, are measured.
    3. Each key date is predicted from the other key dates and its wide image, as dates between them will be. The joint
       estimate and the spatial branch's are held against what the spectral branch makes of the date's own fine and
       hyperspectral images, the temporal branch's against the fine image, and the spectral branch's, seen through the
       point spread, against the hyperspectral images.

    With a single key date it is predicted from itself. How dates are left out, first guesses by local regression
    (:mod:`xrs.methods.sts._local`), and all that the paper does not tell are ours.

    Parameters
    ----------
    hyperspectral, multispectral, wide : xarray.DataArray or xarray.Dataset
        As of :func:`fuse_sts`, with band keys.
    network : str
        One for task ``"sts"``.
    sensors, psf, tolerance, pairs
        As of :func:`fuse_sts`: the model serves the same number of pairs best.
    components : int
        Principal components at most; fewer if these hold 99.9 % of the variance.
    windows : int
        Parts of the scene that are read; one that is no larger than a window is read once.
    window_size : int
        Their side in fine pixels.
    steps : int
        Of training.
    train_batch : int
        Patches of one step.
    patch_size : int
        Their side in fine pixels.
    held_out : float
        Share of places, squares of two by two hyperspectral pixels, that are held out of training on all dates, from 0
        to below 1: by the errors there the result is refined. With 0 it cannot be.
    uncertainty : {None, "laplace"}
        Whether the model is to know its errors: a small head reads from the images where they are large. Intervals are
        scaled at the held-out places, of which 18 are needed at least.
    members : int
        Networks of other seeds, whose mean is the result. With several the model knows its errors by their spread too.
    lr : float
        Learning rate at first; it falls as a cosine.
    device, seed, licence
        As of :func:`xrs.train`.
    **config
        Parameters of the network, ``kernels=(1, 3)`` for instance.

    Returns
    -------
    Model
        Its card tells key dates, loss curve and the tasks' learned c (``training``).

    Raises
    ------
    TimeAxisError
        If no date is common to all three.
    GridMismatchError, BandNotFoundError, LayoutError, RadiometryError, ParameterError
        As :func:`fuse_sts`, and for a scene too small or too cloudy to learn from.

    Examples
    --------
    >>> import xrs
    >>> scene = xrs.scenes.landscape(
    ...     (48, 48), times=["2023-04-10", "2023-06-10"], wavelengths=range(450, 900, 25)
    ... ).compute()
    >>> ms, wide = scene.isel(band=[1, 4, 8, 14]), xrs.degrade(scene.isel(band=[1, 4, 8, 14]), 2)
    >>> model = train_sts(xrs.degrade(scene, 3), ms, wide, steps=2, features=4, blocks=1)
    >>> model.card.task, model.card.training["dates"]
    ('sts', ['2023-04-10', '2023-06-10'])
    """
    cubes = {"hs": to_array(hyperspectral), "ms": to_array(multispectral), "wide": to_array(wide)}
    for role, cube in cubes.items():
        check_floats(role, cube)
        check_time(cube)
        band_keys(cube)
    check_whole("pairs", pairs, 1)
    if not (isinstance(held_out, int | float) and 0 <= held_out < 1):
        raise ParameterError(f"held_out={held_out!r}", "a share from 0 to below 1")
    case = StsCase.of(cubes, Sensors() if sensors is None else sensors, psf)
    dates = key_dates(case, tolerance)
    fine_of = {role: case.factors["ms"] // case.factors[role] for role in ("hs", "wide")}
    how = Steps(steps, train_batch, max(patch_size // fine_of["hs"], 3), lr, seed, device)
    read = read_windows(case, dates, count=windows, side=max(window_size // case.factors["ms"], 1), seed=seed)
    known, response = known_of(read, case, components)
    examples = examples_of(read, dates, case, known, pairs, held_out=held_out, seed=seed)
    specs = tuple(_spec(case.cubes[role]) for role in ("ms", "wide", "hs"))
    config = dict(config) | {"components": known.basis.shape[1]}
    bands = tuple(len(spec.bands) for spec in specs)
    plan = wanted(uncertainty, members, "sts")
    if uncertainty == "dropout":
        config = with_dropout(network, config)
    if plan is not None:
        check_held_out(examples, plan.level)
    taps = np.tile(case.psf["hs"].mean(axis=0), (known.basis.shape[1], 1))
    modules, heads, facts = [], [], []
    for number in range(members):
        one = replace(how, seed=seed + number)
        module = _fresh(network, bands, one.seed, config)
        begin(module, examples, known, response)
        facts.append(fit(module, examples, taps, fine_of["hs"], one))
        modules.append(module)
        if uncertainty == "laplace":
            heads.append(learned_head(module, bands, examples, fine_of["hs"], one))
    errors = errors_held_out(modules, examples)
    if errors.size:
        for module in modules:
            module.error = torch.as_tensor(errors @ errors.T / errors.shape[1], dtype=torch.float32)
    told = None if plan is None else calibration(modules, heads, plan, examples, specs[-1].bands, known.scale, seed)
    curve, weights = facts[0]
    card = Card(
        network=network,
        task="sts",
        images=specs,
        margin=modules[0].margin + HEAD_MARGIN * bool(heads),
        scale=known.scale,
        units=str(cubes["hs"].attrs.get("units", "1")),
        config=config,
        training={
            "ratios": fine_of,
            "dates": [str(t.date()) for t in dates.times],
            "pairs": pairs,
            "loss_curve": curve,
            "c": weights,
            "steps": steps,
            "train_batch": train_batch,
            "lr": lr,
            "held_out": held_out,
            "seed": seed,
            "psf": psf if isinstance(psf, str) else "given",
        }
        | ({} if told is None else told.places),
        metrics={} if told is None else told.metrics,
        uncertainty={} if told is None else told.facts,
        licence=licence,
        created_by=f"xrs {package_version()}",
    )
    return Model.from_module(modules[0] if plan is None else plan.of(modules, heads), card)


def _fresh(network: str, bands: tuple[int, ...], seed: int, config: Mapping[str, Any]) -> LtsMtl:
    record = get_network(network)
    module = record.build(bands, (1, 1, 1), seed=seed, **config) if "sts" in record.tasks else None
    if not isinstance(module, LtsMtl):
        raise ParameterError(f"the network {network!r}", "one for task 'sts'", "xrs.nets.list_networks()")
    return module


def _spec(cube: xr.DataArray) -> ImageSpec:
    return ImageSpec(tuple(band_keys(cube)), 1, tuple(float(w) for w in wavelengths(cube)))
