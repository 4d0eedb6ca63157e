"""Figures: maps side by side and series of one field. Matplotlib loads when one is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

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
    "stretch_of",
]

#: Colours that also the colour-blind tell apart (Okabe and Ito 2008).
BLACK, ORANGE, BLUE, RED = "#000000", "#E69F00", "#0072B2", "#D55E00"

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
