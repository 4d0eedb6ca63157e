"""A method's functions as the operator runs them: told of the sensors, and not run where nothing was seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from xrs.kernels.types import Float32
from xrs.methods.base import Method, Pass, State, Tile
from xrs.methods.hsms._common import seen_coarse
from xrs.methods.hsms._observation import Known, Observation, observe_pass

__all__ = ["guarded"]


def guarded(method: Method, passes: tuple[Pass, ...], known: Known) -> tuple[Callable[..., Float32], tuple[Pass, ...]]:
    """``apply`` and all passes of a method, those that learn what is not known of the two sensors included.

    The state is ``{"observation": Observation, "method": State}``, or empty where nothing was learned.
    """
    names = tuple(p.name for p in method.params if p.name in ("psf", "srf"))
    learns = "srf" in names or len(known.psfs) > 1
    given = None if learns else Observation.of(known)
    own = tuple(
        Pass(_Summarise(one.summarise, names, given), one.merge, _Solve(one.solve, names, given), one.least)
        for one in passes
    )
    all_passes = (observe_pass(known), *own) if learns else own
    return _Apply(method.apply, names, given, bool(all_passes)), all_passes


@dataclass(frozen=True)
class _Informed:
    """A function that gets what is known of the sensors, and its own state alone."""

    function: Callable[..., Any]
    names: tuple[str, ...]
    given: Observation | None

    def run(self, subject: Any, state: State, params: dict[str, Any]) -> Any:
        observation = self._observation(state)
        known = {"psf": observation.psf, "srf": observation.srf}
        if isinstance(subject, Tile) and "srf" in self.names:
            subject = observation.match(subject)
        return self.function(subject, state.get("method", {}), **(params | {name: known[name] for name in self.names}))

    def _observation(self, state: State) -> Observation:
        return self.given or state["observation"]


@dataclass(frozen=True)
class _Summarise(_Informed):
    def __call__(self, tile: Tile, state: State | None, **params: Any) -> Any:
        state = state or {}
        if self.given is None and not state:
            return None
        seen = seen_coarse(tile, self._observation(state).psf)
        return self.run(tile, state, params) if seen is None or seen.any() else None


@dataclass(frozen=True)
class _Solve(_Informed):
    def __call__(self, summary: Any, state: State | None, **params: Any) -> State:
        state = state or {}
        return {**state, "method": self.run(summary, state, params)}


@dataclass(frozen=True)
class _Apply(_Informed):
    learns: bool

    def __call__(self, tile: Tile, state: State | None, **params: Any) -> Float32:
        if self.learns and not state:
            return np.full((len(tile["hs"]), *tile.core("ms").shape[1:]), np.nan, np.float32)
        fused: Float32 = self.run(tile, state or {}, params)
        return fused
