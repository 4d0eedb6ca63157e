"""What a network of spatio-temporal-spectral fusion learns from: each key date, predicted from the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from xrs.cube import with_all_dims
from xrs.errors import ParameterError, TimeAxisError
from xrs.kernels import decimate, fill_gaps
from xrs.kernels.types import Bool, Float32, Float64
from xrs.methods.base import Tile
from xrs.methods.sts._evidence import Known, Series, series_of
from xrs.nets.lts_mtl import GUIDES, Evidence
from xrs.operators._pairs import choose_pairs, days_since, match_dates
from xrs.operators.fuse_sts import StsCase

__all__ = ["Example", "KeyDates", "examples_of", "key_dates", "known_of", "read_windows"]

#: Of the fine bands' variance, so much is taken for their noise in local regressions.
_NOISE = 1e-4
#: Share of variance that components must hold, unless they become too many.
_VARIANCE = 0.999
#: Side in hyperspectral pixels of the places of which some are held out.
_PLACE = 2


@dataclass(frozen=True)
class KeyDates:
    """Dates on which all three sensors saw the scene: their place in each cube, and when it was."""

    hs: NDArray[np.int64]
    ms: NDArray[np.int64]
    wide: NDArray[np.int64]
    times: pd.DatetimeIndex
    days: Float64

    def __len__(self) -> int:
        return self.days.size

    def others(self, date: int, pairs: int) -> tuple[int, ...]:
        """The key dates from which one of them is predicted; itself if there is no other."""
        rest = np.delete(np.arange(len(self)), date)
        if not rest.size:
            return (date,)
        count = min(pairs, rest.size)
        return tuple(
            int(rest[k]) for k in choose_pairs(self.days[date], self.days[rest], count, count, outside="nearest")
        )


def key_dates(case: StsCase, tolerance: object) -> KeyDates:
    """The dates that all three cubes have.

    Raises
    ------
    TimeAxisError
        If there is none.
    """
    times = {role: pd.DatetimeIndex(cube["time"].values) for role, cube in case.cubes.items()}
    partner = {role: match_dates(times["ms"], times[role], tolerance) for role in ("hs", "wide")}
    shared = np.flatnonzero((partner["hs"] >= 0) & (partner["wide"] >= 0))
    if not shared.size:
        raise TimeAxisError(
            f"no date within {pd.Timedelta(tolerance)} in all of "  # type: ignore[arg-type]
            + ", ".join(f"{role} ({t[0]:%Y-%m-%d} to {t[-1]:%Y-%m-%d}, {t.size} dates)" for role, t in times.items()),
            "a date on which all three sensors saw the scene",
            "a larger tolerance=",
        )
    of_ms = times["ms"][shared]
    start = pd.Timestamp(times["wide"][0].year, 1, 1)
    return KeyDates(partner["hs"][shared], shared, partner["wide"][shared], of_ms, days_since(of_ms, start))


@dataclass(frozen=True)
class Window:
    """Part of the scene on all key dates (date, band, y, x), NaN where nothing was seen.

    ``corner`` is its first row and column in pixels of ``hs``.
    """

    corner: tuple[int, int]
    hs: Float32
    ms: Float32
    wide: Float32


def read_windows(case: StsCase, dates: KeyDates, *, count: int, side: int, seed: int) -> list[Window]:
    """Windows of the scene, in one computation; of ``side`` squares of whole pixels of all grids, or all of it.

    Those of which most was seen are taken, out of a few more than are asked for.
    """
    unit = max(case.factors.values())
    squares = {d: case.cubes["ms"].sizes[d] // unit for d in ("y", "x")}
    sides = {d: min(side, n) for d, n in squares.items()}
    rng = np.random.default_rng([seed, 7])
    places = {tuple(int(rng.integers(squares[d] - sides[d] + 1)) for d in ("y", "x")) for _ in range(max(count, 1))}
    chosen = {role: getattr(dates, role) for role in ("hs", "ms", "wide")}
    parts: list[xr.Variable] = []
    corners = sorted(places)
    for corner in corners:
        for role, which in chosen.items():
            factor = case.factors[role]
            area = {d: slice(at * factor, (at + sides[d]) * factor) for d, at in zip(("y", "x"), corner, strict=True)}
            part = with_all_dims(case.cubes[role]).variable.isel({"time": which, **area})
            # They differ in size, so their dims must differ in name to stand in one Dataset.
            parts.append(xr.Variable([f"{d}{len(parts)}" for d in part.dims], part.data))
    read = xr.Dataset({str(n): part for n, part in enumerate(parts)}).compute()
    found = [np.ascontiguousarray(read[name].values, np.float32) for name in read]
    factor = case.factors["hs"]
    return [Window((y * factor, x * factor), *found[3 * n : 3 * n + 3]) for n, (y, x) in enumerate(corners)]


def known_of(windows: Sequence[Window], case: StsCase, components: int) -> tuple[Known, tuple[Float64, Float64]]:
    """Principal components, guides and regressions, measured where the sensors saw the windows.

    Beside them matrix and offset that lead from components to what the fine sensor sees: by its spectral response, if
    that is known, with a gain and an offset for each band; else by regression.

    Raises
    ------
    ParameterError
        If they saw no pixel together.
    """
    ratio = case.factors["ms"] // case.factors["hs"]
    pixels: list[Float64] = []
    seen_as: list[Float64] = []
    fine: list[Float64] = []
    for window in windows:
        for hs, ms in zip(window.hs, window.ms, strict=True):
            coarse = decimate(_filled(ms), case.psf["ms"], ratio)
            whole = decimate(np.isfinite(ms).all(axis=0, keepdims=True).astype(np.float32), case.psf["ms"][0], ratio)
            where = (whole[0] > 0.999) & np.isfinite(hs).all(axis=0)
            pixels.append(hs[:, where].astype(np.float64))
            seen_as.append(coarse[:, where].astype(np.float64))
            fine.append(ms[:, np.isfinite(ms).all(axis=0)].astype(np.float64))
    spectra, coarse_ms, fine_ms = (np.concatenate(part, axis=1) for part in (pixels, seen_as, fine))
    if spectra.shape[1] < 2 * (len(coarse_ms) + components):
        raise ParameterError(
            f"{spectra.shape[1]} pixels that hs and ms saw on the same dates",
            f"at least {2 * (len(coarse_ms) + components)} to learn from",
            "a larger or clearer area, or more dates",
        )
    scale = float(f"{np.abs(spectra).mean():.3g}")
    if not scale > 0:
        raise ParameterError("hs holds nothing but zeros", "an image that is not empty")
    spectra, coarse_ms, fine_ms = spectra / scale, coarse_ms / scale, fine_ms / scale
    mean, basis = _principal(spectra, components)
    fine_mean, fine_basis = _principal(fine_ms, GUIDES, share=1.0)
    ridge = max(_NOISE * float(fine_ms.var(axis=1).sum()), 1e-12)
    # The coarse grid averages the fine sensor's noise out; slopes that lean on it would fail on the fine one.
    slopes, offset = linear(coarse_ms, basis.T @ (spectra - mean[:, None]), ridge)
    known = Known(scale, mean, basis, fine_mean, fine_basis, slopes, offset, ridge)
    srf = case.srf["ms"]
    if srf is None:
        return known, linear(basis.T @ (spectra - mean[:, None]), coarse_ms)
    seen = srf @ spectra
    gains, offsets = (
        np.concatenate(part) for part in zip(*(_line(s, f) for s, f in zip(seen, coarse_ms, strict=True)), strict=True)
    )
    return known, (gains[:, None] * (srf @ basis), gains * (srf @ mean) + offsets)


def _line(given: Float64, wanted: Float64) -> tuple[Float64, Float64]:
    """Gain and offset from one band to another."""
    slopes, offset = linear(given[None], wanted[None])
    return slopes[0], offset


def linear(given: Float64, wanted: Float64, ridge: float = 0.0) -> tuple[Float64, Float64]:
    """Slopes (wanted, given) and offsets of least squares over pixels (band, pixel); ``ridge`` adds to variances."""
    centre, aim = given.mean(axis=1), wanted.mean(axis=1)
    spread = given - centre[:, None]
    gram = spread @ spread.T / given.shape[1]
    gram += (ridge + 1e-9 * max(float(np.trace(gram)), 1e-12)) * np.eye(len(gram))
    slopes = np.linalg.solve(gram, spread @ (wanted - aim[:, None]).T / given.shape[1]).T
    return slopes, aim - slopes @ centre


@dataclass(frozen=True)
class Example:
    """A key date as the network sees it (batch of one), and what it should make of it, on the fine grid.

    Attributes
    ----------
    evidence : Evidence
    fine, spectra : Tensor (m, y, x), (k, y, x)
        The fine sensor on the date itself, and the first guess of the components: of them the spectral branch makes
        what the joint estimate is held against.
    hs, hs_seen : Tensor (date, k, y, x), (date, 1, y, x)
        Components of the hyperspectral sensor, on its own grid, on the dates predicted from.
    seen : Tensor (1, y, x)
        Where date, others and fine sensor were seen.
    places : ndarray of int (y, x)
        Numbers of the places held out of training; -1 where it trains.
    """

    evidence: Evidence
    fine: Tensor
    spectra: Tensor
    hs: Tensor
    hs_seen: Tensor
    seen: Tensor
    places: NDArray[np.int64]

    @property
    def held_out(self) -> Bool:
        """Pixels (y, x) held out of training and seen."""
        return np.asarray((self.places >= 0) & self.seen[0].numpy())


def examples_of(
    windows: Sequence[Window],
    dates: KeyDates,
    case: StsCase,
    known: Known,
    pairs: int,
    *,
    held_out: float = 0.0,
    seed: int = 0,
) -> list[Example]:
    """Each key date in each window, predicted from the others; a share of places is held out on all dates."""
    found = []
    sizes = case.cubes["hs"].sizes
    numbers = _places((sizes["y"], sizes["x"]), held_out, seed)
    for window in windows:
        (top, left), (height, width) = window.corner, window.hs.shape[-2:]
        factor = window.ms.shape[-1] // width
        places = numbers[top : top + height, left : left + width].repeat(factor, axis=0).repeat(factor, axis=1)
        own = series_of(_tile(window, range(len(dates)), range(len(dates)), dates, case), known, case.psf)
        for date in range(len(dates)):
            others = dates.others(date, pairs)
            series = series_of(_tile(window, others, (date,), dates, case), known, case.psf)
            example = _example(window, own, series, date, others, dates, known, places)
            if bool(example.seen.any()):
                found.append(example)
    if not found:
        raise ParameterError("no pixel that all sensors saw on two key dates", "clearer dates, or a larger area")
    return found


def _places(size: tuple[int, int], share: float, seed: int) -> NDArray[np.int64]:
    """Numbers of the places held out, -1 elsewhere, by pixels of the hyperspectral sensor (y, x) of the whole scene."""
    height, width = (-(-n // _PLACE) for n in size)
    count = math.ceil(share * height * width)
    numbers = np.full(height * width, -1)
    numbers[np.random.default_rng([seed, 9]).permutation(numbers.size)[:count]] = np.arange(count)
    of_pixels = numbers.reshape(height, width).repeat(_PLACE, axis=0).repeat(_PLACE, axis=1)
    return np.ascontiguousarray(of_pixels[: size[0], : size[1]])


def _example(
    window: Window,
    own: Series,
    series: Series,
    date: int,
    others: Sequence[int],
    dates: KeyDates,
    known: Known,
    places: NDArray[np.int64],
) -> Example:
    weights = series.weights(0)
    hs = window.hs[list(others)]
    hs_seen = np.isfinite(hs).all(axis=1, keepdims=True)
    components = np.stack([known.components(_filled(image) / np.float32(known.scale)) for image in hs])
    factor = own.fine.shape[-1] // hs.shape[-1]
    there = np.isfinite(window.hs[date]).all(axis=0).repeat(factor, axis=0).repeat(factor, axis=1)
    seen = own.fine_seen[date] & there & (weights.sum(axis=0) > 0)
    days = dates.days
    evidence = Evidence(
        wide=_tensor(series.wide),
        fine=_tensor(series.fine[None]),
        wide_then=_tensor(series.wide_then[None]),
        spectra=_tensor(series.spectra[None]),
        weights=_tensor(weights[None]),
        days=torch.tensor([[days[date], *days[list(others)]]], dtype=torch.float32),
    )
    fine, spectra = own.fine[date], own.spectra[date]
    return Example(
        evidence, _tensor(fine), _tensor(spectra), _tensor(components), torch.from_numpy(hs_seen), _mask(seen), places
    )


def _tile(window: Window, others: Sequence[int], targets: Sequence[int], dates: KeyDates, case: StsCase) -> Tile:
    images = {
        "hs": window.hs[list(others)],
        "ms": window.ms[list(others)],
        "wide_hs": window.wide[list(others)],
        "wide_ms": window.wide[list(others)],
        "target": window.wide[list(targets)],
    }
    valid: dict[str, Bool | None] = {
        name: None if np.isfinite(image).all() else np.isfinite(image) for name, image in images.items()
    }
    days = dict.fromkeys(("hs", "ms", "wide_hs", "wide_ms"), dates.days[list(others)])
    factors = {name: case.factors[name.split("_")[0] if name != "target" else "wide"] for name in images}
    filled = {name: np.stack([_filled(image) for image in series]) for name, series in images.items()}
    return Tile(filled, valid, factors, 0, days={**days, "target": dates.days[list(targets)]})


def _filled(image: Float32) -> Float32:
    seen = np.isfinite(image)
    return image if seen.all() else fill_gaps(image, seen, max(image.shape[-2:]))


def _principal(pixels: Float64, most: int, share: float = _VARIANCE) -> tuple[Float64, Float64]:
    """Mean and principal directions (band, component): as many as hold a share of the variance, ``most`` at most."""
    mean = pixels.mean(axis=1)
    values, directions = np.linalg.eigh(np.cov(pixels, bias=True).reshape(len(pixels), len(pixels)))
    order = np.argsort(values)[::-1]
    held = np.cumsum(values[order]) / max(values.sum(), 1e-30)
    count = min(most, int(np.searchsorted(held, share)) + 1, len(pixels))
    basis = directions[:, order[:count]]
    # The sign of a direction is arbitrary: its largest entry is made positive.
    signs = np.sign(basis[np.abs(basis).argmax(axis=0), range(count)])
    return mean, basis * signs


def _tensor(image: Float32) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image, np.float32))


def _mask(seen: Bool) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(seen[None]))


def cropped(example: Example, rows: slice, columns: slice, factor: int) -> Mapping[str, Tensor]:
    """Part of an example; rows and columns in pixels of the hyperspectral sensor, ``factor`` fine ones each."""
    y, x = (slice(s.start * factor, s.stop * factor) for s in (rows, columns))
    e = example.evidence
    trained = torch.from_numpy(example.places[None, y, x] < 0)
    of_evidence = {name: getattr(e, name)[0, ..., y, x] for name in ("wide", "fine", "wide_then", "spectra", "weights")}
    return of_evidence | {
        "days": e.days[0],
        "own_fine": example.fine[..., y, x],
        "own_spectra": example.spectra[..., y, x],
        "trained": trained,
        "seen": example.seen[..., y, x] & trained,
        "hs": example.hs[..., rows, columns],
        "hs_seen": example.hs_seen[..., rows, columns] & trained[:, ::factor, ::factor],
    }
