"""The metrics by name: what each reads, its direction, ideal value, units and paper."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from xrs.errors import ParameterError
from xrs.kernels.types import Float32, Float64
from xrs.methods.base import Reference
from xrs.quality import fullres, pixels, windows
from xrs.quality.blocks import BLOCK, q2n_sums
from xrs.quality.place import Place

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["METRICS", "STATISTICS", "Metric", "Options", "Pair", "Statistic", "list_metrics", "select_metrics"]


@dataclass(frozen=True)
class Options:
    """What metrics with a reference take: resolution ratio, peak of the data, side of the UIQI window."""

    ratio: int = 0
    peak: float = 1.0
    window: int = 8


@dataclass(frozen=True)
class Pair:
    """A tile of an estimate and its reference (band, y, x) with halo, NaN where not seen."""

    estimate: Float32
    reference: Float32
    place: Place

    def pixels(self) -> tuple[Float32, Float32]:
        """Both cores."""
        return self.place.pixels(self.estimate), self.place.pixels(self.reference)

    def windows(self, size: int) -> tuple[Float32, Float32]:
        """The pixels of the windows that begin in the core."""
        return self.place.windows(self.estimate, size), self.place.windows(self.reference, size)

    def blocks(self, size: int) -> tuple[Iterator[Float64], Iterator[Float64]]:
        """The blocks that begin in the core, also those that reach beyond the scene."""
        return (
            self.place.blocks(self.estimate, size, partial=True),
            self.place.blocks(self.reference, size, partial=True),
        )


@dataclass(frozen=True)
class Statistic:
    """A summary of a tile that adds up over tiles with ``+``, and the side of the windows it looks through."""

    summarise: Callable[[Pair, Options], Any]
    window: Callable[[Options], int]


@dataclass(frozen=True)
class Metric:
    """A measure of quality.

    Attributes
    ----------
    name, title : str
        Its name here and in the literature.
    needs : tuple of str
        The statistics it is computed from.
    value : callable
        ``(summaries, options) -> array``, (band,) where ``per_band``, else ().
    per_band : bool
        Whether each band has its own value.
    better : {"higher", "lower"}
    ideal : float
        The value of a perfect estimate.
    units : str
        ``"data"`` for the units of the data.
    reference : Reference
        Where it was published.
    protocol : {"reference", "full resolution"}
        Whether it needs a reference, or the observations alone.
    """

    name: str
    title: str
    needs: tuple[str, ...]
    value: Callable[[Mapping[str, Any], Any], Float64]
    per_band: bool
    better: Literal["higher", "lower"]
    ideal: float
    units: str
    reference: Reference
    protocol: Literal["reference", "full resolution"] = "reference"


def select_metrics(names: Iterable[str] | None, protocol: str) -> list[Metric]:
    """The metrics of one protocol by name; all if ``names`` is None.

    Raises
    ------
    ParameterError
        For an unknown name.
    """
    known = {name: m for name, m in METRICS.items() if m.protocol == protocol}
    chosen = list(known) if names is None else [names] if isinstance(names, str) else list(names)
    unknown = [name for name in chosen if name not in known]
    if unknown or not chosen:
        found = f"no metric {unknown[0]!r}" if unknown else "no metrics asked for"
        raise ParameterError(f"{found} ({protocol})", f"of {', '.join(known)}", "xrs.quality.list_metrics()")
    return [known[name] for name in chosen]


def list_metrics() -> pd.DataFrame:
    """The catalogue of metrics.

    Returns
    -------
    pandas.DataFrame
        A row for each metric: name, title, protocol, better, ideal, units, per_band, reference, doi.

    Examples
    --------
    >>> from xrs.quality import list_metrics
    >>> list_metrics().set_index("name").better["ergas"]
    'lower'
    """
    import pandas as pd

    columns = ("name", "title", "protocol", "better", "ideal", "units", "per_band")
    rows = [
        {c: getattr(m, c) for c in columns} | {"reference": m.reference.text, "doi": m.reference.doi}
        for m in METRICS.values()
    ]
    return pd.DataFrame(rows)


STATISTICS: Mapping[str, Statistic] = {
    "moments": Statistic(lambda pair, _: pixels.pair_moments(*pair.pixels()), lambda _: 1),
    "angles": Statistic(lambda pair, _: pixels.angle_sums(*pair.pixels()), lambda _: 1),
    "ratios": Statistic(lambda pair, options: pixels.relative_error_sums(*pair.pixels(), options.peak), lambda _: 1),
    "ssim": Statistic(
        lambda pair, options: windows.ssim_sums(*pair.windows(windows.SSIM_WINDOW), options.peak),
        lambda _: windows.SSIM_WINDOW,
    ),
    "uiqi": Statistic(
        lambda pair, options: windows.uiqi_sums(*pair.windows(options.window), options.window),
        lambda options: options.window,
    ),
    "gradients": Statistic(
        lambda pair, _: windows.gradient_sums(*pair.windows(windows.GRADIENT_WINDOW)),
        lambda _: windows.GRADIENT_WINDOW,
    ),
    "q2n": Statistic(lambda pair, _: q2n_sums(*pair.blocks(BLOCK)), lambda _: BLOCK),
}

_WALD = Reference("Wald, Ranchin & Mangolini (1997), Photogramm. Eng. Remote Sens. 63(6):691-699")
_ALPARONE = Reference("Alparone et al. (2008), Photogramm. Eng. Remote Sens. 74(2):193-200", "10.14358/PERS.74.2.193")

METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "cc", "CC", ("moments",), lambda s, _: pixels.correlation(s["moments"]), True, "higher", 1.0, "1", _WALD
        ),
        Metric(
            "sam", "SAM", ("angles",), lambda s, _: pixels.mean_angle(s["angles"]), False, "lower", 0.0, "degrees",
            Reference("Kruse et al. (1993), Remote Sens. Environ. 44:145-163", "10.1016/0034-4257(93)90013-N"),
        ),
        Metric(
            "psnr", "PSNR", ("moments",), lambda s, o: pixels.peak_signal_to_noise(s["moments"], o.peak),
            True, "higher", np.inf, "dB",
            Reference("Huynh-Thu & Ghanbari (2008), Electron. Lett. 44(13):800-801", "10.1049/el:20080522"),
        ),
        Metric(
            "ssim", "SSIM", ("ssim",), lambda s, _: windows.mean_of_windows(s["ssim"]), True, "higher", 1.0, "1",
            Reference("Wang et al. (2004), IEEE Trans. Image Process. 13(4):600-612", "10.1109/TIP.2003.819861"),
        ),
        Metric(
            "rmse", "RMSE", ("moments",), lambda s, _: pixels.rms_error(s["moments"]), True, "lower", 0.0, "data", _WALD
        ),
        Metric(
            "rmse_global", "RMSE (all bands)", ("moments",), lambda s, _: pixels.rms_error_of_all(s["moments"]),
            False, "lower", 0.0, "data", _WALD,
        ),
        Metric(
            "mrae", "MRAE", ("ratios",), lambda s, _: pixels.mean_relative_error(s["ratios"]),
            True, "lower", 0.0, "1",
            Reference("Arad et al. (2020), CVPR Workshops: 1806-1822", "10.1109/CVPRW50498.2020.00231"),
        ),
        Metric(
            "sre", "SRE", ("moments",), lambda s, _: pixels.signal_to_reconstruction_error(s["moments"]),
            True, "higher", np.inf, "dB",
            Reference("Lanaras et al. (2018), ISPRS J. 146:305-319", "10.1016/j.isprsjprs.2018.09.018"),
        ),
        Metric(
            "ergas", "ERGAS", ("moments",), lambda s, o: pixels.relative_global_error(s["moments"], o.ratio),
            False, "lower", 0.0, "1",
            Reference("Wald (2002), Data Fusion: Definitions and Architectures, Presses des Mines, Paris"),
        ),
        Metric(
            "uiqi", "UIQI", ("uiqi",), lambda s, _: windows.mean_of_windows(s["uiqi"]), True, "higher", 1.0, "1",
            Reference("Wang & Bovik (2002), IEEE Signal Process. Lett. 9(3):81-84", "10.1109/97.995823"),
        ),
        Metric(
            "q2n", "Q2n", ("q2n",), lambda s, _: windows.mean_of_windows(s["q2n"]), False, "higher", 1.0, "1",
            Reference(
                "Garzelli & Nencini (2009), IEEE Geosci. Remote Sens. Lett. 6(4):662-665", "10.1109/LGRS.2009.2022650"
            ),
        ),
        Metric(
            "scc", "sCC", ("gradients",), lambda s, _: windows.gradient_correlation(s["gradients"]),
            False, "higher", 1.0, "1",
            Reference("Vivone et al. (2021), IEEE Geosci. Remote Sens. Mag. 9(1):53-81", "10.1109/MGRS.2020.3019315"),
        ),
        Metric(
            "d_lambda", "D_lambda", ("pairs",), lambda s, _: fullres.spectral_distortion(s["pairs"]),
            False, "lower", 0.0, "1", _ALPARONE, "full resolution",
        ),
        Metric(
            "d_s", "D_s", ("pairs",), lambda s, _: fullres.spatial_distortion(s["pairs"]),
            False, "lower", 0.0, "1", _ALPARONE, "full resolution",
        ),
        Metric(
            "qnr", "QNR", ("pairs",),
            lambda s, _: (1 - fullres.spectral_distortion(s["pairs"])) * (1 - fullres.spatial_distortion(s["pairs"])),
            False, "higher", 1.0, "1", _ALPARONE, "full resolution",
        ),
        Metric(
            "d_lambda_k", "D_lambda^K", ("khan",), lambda s, _: 1 - windows.mean_of_windows(s["khan"]),
            False, "lower", 0.0, "1",
            Reference(
                "Khan et al. (2009), IEEE Trans. Geosci. Remote Sens. 47(11):3880-3891", "10.1109/TGRS.2009.2029094"
            ),
            "full resolution",
        ),
        Metric(
            "hqnr", "HQNR", ("pairs", "khan"),
            lambda s, _: windows.mean_of_windows(s["khan"]) * (1 - fullres.spatial_distortion(s["pairs"])),
            False, "higher", 1.0, "1",
            Reference("Vivone et al. (2021), IEEE Geosci. Remote Sens. Mag. 9(1):53-81", "10.1109/MGRS.2020.3019315"),
            "full resolution",
        ),
        Metric(
            "consistency", "consistency residual", ("residual",), lambda s, _: pixels.rms_error(s["residual"]),
            True, "lower", 0.0, "data", _WALD, "full resolution",
        ),
    )
}  # fmt: skip
