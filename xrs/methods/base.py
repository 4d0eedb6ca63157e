"""What a method is: a frozen record of plain functions on plain arrays.

Nothing here or below knows xarray or Dask. ``lazy`` cuts the observations into tiles, runs the
passes that learn what must be known of the whole scene, and calls ``apply`` on each tile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xrs.kernels.types import Float32, Float64
from xrs.reference import Reference

__all__ = ["Binding", "Deferred", "Float32", "Method", "Param", "Pass", "Reference", "State", "Tile"]

#: What the passes learned of the scene: small, picklable, float64.
State = Mapping[str, Any]


@dataclass(frozen=True)
class Tile:
    """One window of every observation of one date, halo included, gaps filled.

    Attributes
    ----------
    arrays : mapping of str to ndarray, float32, (band, y, x)
        The observations by name (``ms``, ``pan``; ``r10m``, ``r20m``), C-contiguous. NaN are
        filled from their neighbourhood; the framework puts them back afterwards. Families that see
        several dates at once get (date, band, y, x), and put NaN back themselves.
    valid : mapping of str to ndarray of bool or None, (band, y, x)
        Where each was seen; None where all of it was. Of the shape of ``arrays``.
    factors : mapping of str to int
        Pixels of each observation along the side of one pixel of the coarsest.
    halo : int
        Width of the margin in pixels of the coarsest observation.
    origin : tuple of int
        Row and column of the core's first pixel in the scene, in pixels of the coarsest.
    days : mapping of str to ndarray, float64, (date,)
        When each image of an observation was taken, where several dates are seen at once.
    """

    arrays: Mapping[str, Float32]
    valid: Mapping[str, NDArray[np.bool_] | None]
    factors: Mapping[str, int]
    halo: int
    origin: tuple[int, int] = (0, 0)
    days: Mapping[str, Float64] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Float32:
        return self.arrays[name]

    def core(self, name: str, array: NDArray[Any] | None = None) -> NDArray[Any]:
        """Cut the halo off an array (..., y, x) on the grid of observation ``name``."""
        array = self.arrays[name] if array is None else array
        margin = self.halo * self.factors[name]
        return array[..., margin:-margin, margin:-margin] if margin else array

    def seen(self, name: str) -> NDArray[np.bool_] | None:
        """Where every band of an observation was seen, without halo (y, x); None if everywhere."""
        valid = self.valid[name]
        return None if valid is None else np.asarray(self.core(name, valid).all(axis=0))


@dataclass(frozen=True)
class Pass:
    """One reduction over the whole scene, per date.

    ``summarise`` turns a tile (its core only, valid pixels only) into something small,
    ``merge`` joins two such, in any order, and ``solve`` turns the last one into new state.
    The summaries must be such that the cutting of the scene into tiles does not matter. ``least``
    tells from the parameters how many coarsest pixels a scene must have along each side.
    """

    summarise: Callable[..., Any]  # (tile, state, **params) -> summary
    merge: Callable[[Any, Any], Any]
    solve: Callable[..., State]  # (summary, state, **params) -> state
    least: Callable[..., int] | None = None  # (**params) -> pixels


@dataclass(frozen=True)
class Param:
    """A parameter of a method, named and set by default as in its paper.

    ``check`` returns whether a value is allowed; ``expects`` says so in words. ``convert`` makes of what users
    pass what the method takes, before that. A ``shared`` value is large: it travels once to a worker, not with
    every task.
    """

    name: str
    default: Any
    doc: str
    expects: str = ""
    check: Callable[[Any], bool] | None = None
    convert: Callable[[Any], Any] | None = None
    shared: bool = False


@dataclass(frozen=True)
class Deferred:
    """A ``shared`` value that is computed when a result is, once for all tiles: ``function(*args)``."""

    function: Callable[..., Any]
    args: tuple[Any, ...] = ()

    def value(self) -> Any:
        """What it stands for."""
        return self.function(*self.args)


@dataclass(frozen=True)
class Binding:
    """What a method is for the bands of one scene; see :attr:`Method.bind`.

    Attributes
    ----------
    params : mapping of str
        Of ``apply``, ready for these bands.
    used : tuple of str
        The observations needed.
    passes : tuple of Pass
        In place of the record's.
    block : int
        In place of the record's.
    """

    params: Mapping[str, Any]
    used: tuple[str, ...]
    passes: tuple[Pass, ...] = ()
    block: int = 0


def no_halo(factors: Mapping[str, int], **params: Any) -> int:
    """The margin of a method that works on single pixels."""
    return 0


@dataclass(frozen=True)
class Method:
    """A published method.

    Attributes
    ----------
    name, family : str
        The literature's acronym in lower case; one of :data:`xrs.methods.FAMILIES`.
    summary : str
        One line.
    apply : callable
        ``(tile, state, **params) -> array (band, y, x)``, float32, on the output grid, **without
        the halo** (see :meth:`Tile.core`). For family ``temporal`` see ``methods/temporal``.
    reference : Reference
        The paper.
    passes : tuple of Pass
        What must be learned of the whole scene before ``apply``; empty for local methods.
    params : tuple of Param
        Keyword arguments of ``apply`` and of the passes.
    halo : callable
        ``(factors, **params) -> int``: margin in pixels of the coarsest grid that ``apply`` and
        ``summarise`` need.
    block : int
        If not 0, tiles begin at multiples of this many coarsest pixels, so that a method that solves
        block by block meets the same blocks at any chunking.
    bandwise : bool
        Whether an output band depends on no other coarse band.
    needs : tuple of str
        The observations, and ``model`` if it is a network.
    bind : callable or None
        ``(observed, outputs, **params) -> Binding`` for methods that fit only certain bands: given
        :class:`xrs.models.Observed` of every observation by name and the names of those whose bands are put
        out. Raises ModelCardError.
    learn : callable or None
        ``(given, wanted, **params) -> fit`` for methods of family ``spectral`` that learn from examples of spectra; see
        there.
    pairs : tuple of int
        For family ``spatiotemporal``: the fewest and the most dates of the fine cube that it predicts a date from.
    engines : tuple of str
        What the kernels run on.
    differs : str
        Where it differs from its paper, if it does.
    """

    name: str
    family: str
    summary: str
    apply: Callable[..., Float32]
    reference: Reference
    passes: tuple[Pass, ...] = ()
    params: tuple[Param, ...] = ()
    halo: Callable[..., int] = field(default=no_halo)
    block: int = 0
    bandwise: bool = False
    needs: tuple[str, ...] = ("ms", "pan")
    bind: Callable[..., Binding] | None = None
    learn: Callable[..., Any] | None = None
    pairs: tuple[int, int] = (1, 1)
    engines: tuple[str, ...] = ("numba",)
    differs: str = ""

    @property
    def scope(self) -> str:
        """``global`` if statistics of the whole scene enter, else ``local``."""
        return "global" if self.passes else "local"

    @property
    def needs_model(self) -> bool:
        """Whether it is a network, of no use without trained weights."""
        return "model" in self.needs

    def __dask_tokenize__(self) -> tuple[str, str, str]:
        return "xrs.Method", self.family, self.name

    def __reduce__(self) -> tuple[Callable[[str, str], Method], tuple[str, str]]:
        # Methods travel by name: functions and lambdas stay where they are defined.
        from xrs.methods.registry import get_method

        return get_method, (self.name, self.family)
