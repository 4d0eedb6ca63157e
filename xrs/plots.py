"""Figures: maps side by side, series of one field and spectra of places. Matplotlib loads when one is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xrs.cube import ancillaries, geobox_of, to_array, wavelengths
from xrs.errors import ParameterError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from xrs.models import Model

__all__ = [
    "check_matplotlib",
    "colour_bar",
    "composite",
    "loss_curve",
    "month_ticks",
    "new_figure",
    "outline",
    "save",
    "show_composite",
    "show_map",
    "show_series",
    "spectra",
    "stretch_of",
]

#: Colours that also the colour-blind tell apart (Okabe and Ito 2008).
BLACK, ORANGE, BLUE, RED = "#000000", "#E69F00", "#0072B2", "#D55E00"

#: Bands farther apart than this, in nm, and than three times what is usual are not joined: water vapour hides them.
_GAP = 40.0
#: Where wavelengths fall back, a detector begins, if each has so many bands; else bands are only in another order.
_DETECTOR = 10
#: So few bands are shown one by one.
_FEW = 30
#: Of a standard deviation: what nine of ten values lie within.
_NINE_OF_TEN = 1.645
_COLUMNS = 3

Place = tuple[float, float]

_STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.titlepad": 4,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 8,
}


def stretch_of(image: xr.DataArray, bands: Sequence[str], percent: float = 2.0) -> Mapping[str, tuple[float, float]]:
    """The range of each band that a composite shows from dark to bright."""
    levels = (percent, 100.0 - percent)
    return {band: tuple(np.nanpercentile(image.sel(band=band), levels).tolist()) for band in bands}


def composite(image: xr.DataArray, stretch: Mapping[str, tuple[float, float]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Three bands as red, green and blue (y, x, 3) from 0 to 1; white where any is missing."""
    layers = [(image.sel(band=band).values - low) / (high - low) for band, (low, high) in stretch.items()]
    return np.nan_to_num(np.clip(np.stack(layers, axis=-1), 0.0, 1.0), nan=1.0)


def show_composite(axes: Axes, image: xr.DataArray, stretch: Mapping[str, tuple[float, float]], *, title: str) -> None:
    """A composite of a cube (band, y, x)."""
    axes.imshow(composite(image, stretch), extent=_extent_in_km(image), interpolation="nearest")
    axes.set_title(title)


def show_map(axes: Axes, values: xr.DataArray, *, title: str, **style: Any) -> Any:
    """A map of one variable (y, x), grey where it is missing; returns what a colour bar needs."""
    axes.set_facecolor("#D9D9D9")
    shown = axes.imshow(values.values, extent=_extent_in_km(values), interpolation="nearest", **style)
    axes.set_title(title)
    return shown


def show_series(
    axes: Axes, observed: xr.DataArray, smoothed: xr.DataArray, truth: xr.DataArray | None = None, *, label: str
) -> None:
    """Observations with gaps, the line through them and, if known, the truth; bands of grey where nothing was seen."""
    shade_gaps(axes, observed)
    if truth is not None:
        axes.plot(truth["time"].values, truth.values, color=BLACK, lw=1.2, ls="--", label="truth", zorder=2)
    axes.plot(smoothed["time"].values, smoothed.values, color=BLUE, lw=2.2, label="smoothed and filled", zorder=3)
    axes.plot(
        observed["time"].values,
        observed.values,
        "o",
        color=ORANGE,
        mec=BLACK,
        mew=0.6,
        ms=6,
        label="observed",
        zorder=4,
    )
    axes.set_ylabel(label)
    axes.margins(x=0.01)
    axes.legend(loc="lower left", ncols=4, frameon=True, framealpha=0.9)


def shade_gaps(axes: Axes, observed: xr.DataArray) -> None:
    """A grey band around each date without an observation."""
    times = observed["time"].values
    half = np.median(np.diff(times)) / 2
    missing = times[~np.isfinite(observed.values)]
    for number, moment in enumerate(missing):
        axes.axvspan(moment - half, moment + half, color="#E4E4E4", lw=0, label=None if number else "clouds")


def loss_curve(model: Model) -> Figure:
    """The losses of a model's training by epoch, with the best epoch on held-out patches, whose weights it has.

    Parameters
    ----------
    model : Model
        Made by :func:`xrs.train`; its card has the losses.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ParameterError
        If the card tells of no losses, or Matplotlib is not installed.

    Examples
    --------
    >>> from xrs.models import Card, ImageSpec, Model
    >>> epochs = [{"train": 0.3, "held_out": 0.4, "lr": 0.001}, {"train": 0.2, "held_out": 0.3, "lr": 0.001}]
    >>> images = ImageSpec(("B04",)), ImageSpec(("B11",), ratio=2)
    >>> figure = loss_curve(Model(Card("light", "sharpen", images, training={"loss_curve": epochs})))
    >>> figure.axes[0].get_xlabel()
    'epoch'
    """
    check_matplotlib()
    curve = model.card.training.get("loss_curve")
    if not curve:
        raise ParameterError(f"{model} without a loss curve", "a model that xrs.train made")
    train, held_out = ([epoch[part] for epoch in curve] for part in ("train", "held_out"))
    epochs = np.arange(1, len(curve) + 1)
    best = int(np.argmin(held_out))
    with new_figure(4.5, 3.0) as figure:
        axes = figure.subplots()
        axes.plot(epochs, train, color=BLUE, lw=1.2, label="training patches")
        axes.plot(epochs, held_out, color=ORANGE, lw=1.2, label="held-out patches")
        axes.plot(epochs[best], held_out[best], "o", color=BLACK, ms=5, label=f"best, epoch {epochs[best]}")
        axes.set(xlabel="epoch", ylabel="loss", yscale="log", title=f"{model.card.network}, {model.card.task}")
        axes.legend(frameon=False)
    return figure


def spectra(
    cube: xr.DataArray | xr.Dataset,
    places: int | Sequence[Place] | Mapping[str, Place] = 6,
    *,
    truth: xr.DataArray | xr.Dataset | None = None,
    seen: xr.DataArray | xr.Dataset | None = None,
    seed: int = 0,
    labels: Mapping[str, str] | None = None,
) -> Figure:
    """Spectra of a few places: reflectance against wavelength, one panel for each place.

    Only these places are computed. Lines are interrupted where values are NaN and where wavelengths have gaps (water
    vapour): steps above 40 nm and three times the median. Detectors that overlap are drawn each by itself.

    Parameters
    ----------
    cube : xarray.DataArray or xarray.Dataset
        Dims (band, y, x), with wavelengths; of a single date. If a Dataset has standard deviations of its bands
        (``uncertainty=True``), the interval that nine of ten values should lie within is shaded.
    places : int, sequence of (x, y) or mapping of str to (x, y)
        Coordinates of the cube's CRS, under names if it is a mapping. Or how many pixels to choose at random: the first
        with values of 56 and 8 times as many, which are computed; so there are fewer where few have any.
    truth : xarray.DataArray or xarray.Dataset, optional
        A cube of the same CRS on any grid and with any bands; drawn as a line.
    seen : xarray.DataArray or xarray.Dataset, optional
        Likewise, such as another sensor's wide bands; drawn as points.
    seed : int
        Of the random choice.
    labels : mapping of str to str, optional
        What the legend calls ``"cube"``, ``"truth"`` and ``"seen"``.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ParameterError
        If a place lies outside, a cube has several dates or bands of unknown wavelength, none of the chosen pixels has
        values, or Matplotlib is not installed.

    Examples
    --------
    >>> import xrs
    >>> scene = xrs.scenes.landscape((20, 20), times=["2023-07-12"]).isel(time=0)
    >>> s2 = xrs.observe(scene, "sentinel-2a", resolution=10.0)
    >>> enmap = xrs.observe(scene, "enmap", resolution=10.0)
    >>> figure = xrs.plots.spectra(enmap, 2, seen=s2, seed=1)
    >>> [axes.get_xlabel() for axes in figure.axes]
    ['wavelength in nm', 'wavelength in nm']
    """
    check_matplotlib()
    names = {"cube": "spectrum", "truth": "truth", "seen": "seen"}
    if labels is not None and not set(labels) <= set(names):
        raise ParameterError(f"labels of {sorted(set(labels) - set(names))}", f"some of {list(names)}")
    line, points = _at_places(cube, places, seed)
    others = {role: _at(other, points, role) for role, other in (("truth", truth), ("seen", seen)) if other is not None}
    rows = -(-len(points) // _COLUMNS)
    columns = -(-len(points) // rows)
    with new_figure(max(10.0 / _COLUMNS * columns, 4.5), max(2.6 * rows + 0.4, 3.0)) as figure:
        axes = figure.subplots(rows, columns, sharex=True, squeeze=False)
        for number, ax in enumerate(axes.flat):
            if number >= len(points):
                ax.remove()
                continue
            _draw_place(
                ax,
                {role: one.isel(place=number) for role, one in ({"cube": line} | others).items()},
                names | dict(labels or {}),
            )
            ax.set(title=list(points)[number], ylabel="" if number % columns else "reflectance")
            if number + columns >= len(points):
                ax.set_xlabel("wavelength in nm")
                ax.tick_params(labelbottom=True)
        handles, told = axes[0, 0].get_legend_handles_labels()
        if len(handles) > 1:
            figure.legend(handles, told, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _draw_place(axes: Axes, spectra_of: Mapping[str, xr.Dataset], names: Mapping[str, str]) -> None:
    """The spectra of one place by role."""
    if "truth" in spectra_of:
        _draw_line(axes, spectra_of["truth"], color=BLACK, lw=1.0, label=names["truth"])
    _draw_line(axes, spectra_of["cube"], color=BLUE, lw=1.6, label=names["cube"])
    if "seen" in spectra_of:
        dots = spectra_of["seen"]
        axes.plot(dots["nm"], dots["value"], "o", color=ORANGE, ms=4, label=names["seen"])
    axes.set_ylim(0.0, None)


def _at_places(cube: Any, places: Any, seed: int) -> tuple[xr.Dataset, dict[str, Place]]:
    """The cube at the places that were named, or that are chosen; and these."""
    if not isinstance(places, (int, np.integer)):
        named = dict(places) if isinstance(places, Mapping) else {_told(place): place for place in places}
        return _at(cube, named, "cube"), named
    if places < 1:
        raise ParameterError(f"places={places}", "one or more, or their coordinates: [(x, y), ...]")
    y, x = (to_array(cube)[dim].values for dim in ("y", "x"))
    # More than wanted: some may be without values.
    drawn = np.random.default_rng(seed).choice(y.size * x.size, min(8 * places + 56, y.size * x.size), replace=False)
    chosen = {_told(place): place for place in ((float(x[n % x.size]), float(y[n // x.size])) for n in drawn)}
    found = _at(cube, chosen, "cube")
    kept = np.flatnonzero(np.isfinite(found["value"].values).any(axis=1))[:places]
    if not kept.size:
        raise ParameterError(
            f"no values at {len(chosen)} pixels chosen at random",
            "a cube with values",
            "name the places: [(x, y), ...]",
        )
    names = list(chosen)
    return found.isel(place=kept), {names[n]: chosen[names[n]] for n in kept}


def _told(place: Any) -> str:
    try:
        x, y = (float(number) for number in place)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"the place {place!r}", "coordinates (x, y)") from error
    return f"{x:.10g}, {y:.10g}"


def _at(cube: xr.DataArray | xr.Dataset, places: Mapping[str, Place], role: str) -> xr.Dataset:
    """``value`` and ``std`` (place, band), and ``nm`` (band,)."""
    array = to_array(cube)
    if "time" in array.dims:
        if array.sizes["time"] > 1:
            raise ParameterError(f"{role}= with {array.sizes['time']} dates", "one date", "cube.isel(time=0)")
        cube, array = cube.isel(time=0), array.isel(time=0)
    nm = wavelengths(array)
    if "band" not in array.dims or not np.isfinite(nm).all():
        raise ParameterError(
            f"{role}= with bands of unknown wavelength",
            "a cube (band, y, x) with the wavelength of each band",
            "xrs.cube.assign_bands(cube, keys, wavelength=[...])",
        )
    where = _pixels(array, places, role)
    parts = {"value": array.isel(where)}
    if isinstance(cube, xr.Dataset) and (spread := ancillaries(cube, "std")).data_vars:
        parts["std"] = to_array(spread).isel(where).reindex(band=array["band"].values)
    values = {name: (("place", "band"), part.transpose("place", "band").data) for name, part in parts.items()}
    return xr.Dataset(values | {"nm": ("band", nm)}).compute()


def _pixels(array: xr.DataArray, places: Mapping[str, Place], role: str) -> dict[str, xr.DataArray]:
    """Where places lie in the grid of a cube."""
    geobox = geobox_of(array)
    box = geobox.boundingbox
    if not places:
        raise ParameterError("no places", "one or more coordinates: [(x, y), ...]")
    for place in places.values():
        _told(place)
    x, y = np.array([tuple(place) for place in places.values()], "float64").T
    inside = (x >= box.left) & (x < box.right) & (y <= box.top) & (y > box.bottom)
    if not inside.all():
        name = list(places)[int(inside.argmin())]
        raise ParameterError(
            f"the place {name} ({_told(places[name])}) outside {role}=",
            f"x from {box.left:.10g} to {box.right:.10g}, y from {box.bottom:.10g} to {box.top:.10g}",
        )
    index = {"y": (box.top - y) // abs(geobox.resolution.y), "x": (x - box.left) // geobox.resolution.x}
    return {
        dim: xr.DataArray(np.minimum(steps.astype(np.intp), array.sizes[dim] - 1), dims="place")
        for dim, steps in index.items()
    }


def _draw_line(axes: Axes, spectrum: xr.Dataset, *, color: str, lw: float, label: str) -> None:
    """One spectrum, interrupted at gaps, with its interval; few bands as points, too."""
    nm, value = spectrum["nm"].values, spectrum["value"].values
    half = _NINE_OF_TEN * spectrum["std"].values if "std" in spectrum else None
    for number, run in enumerate(_runs(nm)):
        marker = "." if run.size == 1 or nm.size < _FEW else ""
        axes.plot(nm[run], value[run], color=color, lw=lw, marker=marker, label=None if number else label)
        if half is None:
            continue
        style: dict[str, Any] = {"color": color, "alpha": 0.2, "label": None if number else "90 % interval"}
        low, high = value[run] - half[run], value[run] + half[run]
        if run.size == 1:
            axes.vlines(nm[run], low, high, lw=4.0, **style)
        else:
            axes.fill_between(nm[run], low, high, lw=0, **style)


def _runs(nm: np.ndarray[Any, np.dtype[np.float64]]) -> list[np.ndarray[Any, np.dtype[np.intp]]]:
    """Positions of bands that a line joins."""
    detectors = np.split(np.arange(nm.size), np.flatnonzero(np.diff(nm) < 0) + 1)
    if min(map(len, detectors)) < _DETECTOR:
        detectors = [np.argsort(nm, kind="stable")]
    steps = [np.diff(nm[part]) for part in detectors]
    wide = max(_GAP, 3.0 * float(np.median(np.concatenate(steps)))) if nm.size > 1 else _GAP
    return [
        run
        for part, step in zip(detectors, steps, strict=True)
        for run in np.split(part, np.flatnonzero(step > wide) + 1)
    ]


def _extent_in_km(image: xr.DataArray) -> tuple[float, float, float, float]:
    """Left, right, bottom and top edge in km from the lower left corner."""
    step = abs(float(image["x"][1] - image["x"][0]))
    return 0.0, image.sizes["x"] * step / 1000, 0.0, image.sizes["y"] * step / 1000


def colour_bar(axes: Axes, shown: Any, label: str) -> None:
    """A thin colour bar below a map, which keeps its size."""
    bar = axes.figure.colorbar(shown, cax=axes.inset_axes((0.03, -0.22, 0.94, 0.045)), orientation="horizontal")
    bar.set_label(label, labelpad=1)
    bar.outline.set_linewidth(0.5)


def outline(axes: Axes, field: xr.DataArray) -> None:
    """The border of a field (y, x) on a map of the same pixels."""
    _, right, _, top = _extent_in_km(field)
    step = right / field.sizes["x"]
    x = np.arange(field.sizes["x"]) * step + step / 2
    y = top - np.arange(field.sizes["y"]) * step - step / 2
    axes.contour(x, y, field.values.astype(float), levels=[0.5], colors=[RED], linewidths=1.2)


def month_ticks(axes: Axes) -> None:
    """A tick for each month, by its name."""
    from matplotlib import dates

    locator: Any = dates.MonthLocator
    formatter: Any = dates.DateFormatter
    axes.xaxis.set_major_locator(locator())
    axes.xaxis.set_major_formatter(formatter("%b"))


@contextmanager
def new_figure(width: float, height: float) -> Iterator[Figure]:
    """An empty figure for print, sizes in inches; what is drawn within the block has the style of print."""
    import matplotlib as mpl
    from matplotlib.figure import Figure as New

    with mpl.rc_context(_STYLE):
        yield New(figsize=(width, height), layout="constrained")


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure; the suffix of the path tells the format."""
    figure.savefig(path, dpi=180)


def check_matplotlib() -> None:
    """Refuse to begin where figures cannot be drawn."""
    if find_spec("matplotlib") is None:
        raise ParameterError("matplotlib is not installed", "it, for figures", "pip install 'xrs[plot]'")
