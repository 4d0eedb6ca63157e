"""``inject=``: a second method improves what the first one fused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xrs.errors import ParameterError
from xrs.kernels.types import Float64
from xrs.lazy import Source, map_tiles
from xrs.methods import Method, get_method, resolve_params

__all__ = ["injection", "refine"]

Injection = tuple[Method, dict[str, Any]]


def injection(inject: str | Method | Mapping[str, Any]) -> Injection:
    """The method that ``inject=`` names, and its parameters.

    Raises
    ------
    MethodNotFoundError, ParameterError
    """
    if not isinstance(inject, str | Method | Mapping):
        raise ParameterError(f"inject={inject!r}", "a name, a Method, or a mapping with 'method' and its parameters")
    if not isinstance(inject, Mapping):
        record = get_method(inject, "refine")
        return record, resolve_params(record, {})
    given = dict(inject)
    if "method" not in given:
        raise ParameterError(f"inject={given}", "a name, or a mapping with 'method' and its parameters")
    record = get_method(given.pop("method"), "refine")
    return record, resolve_params(record, given)


def refine(chosen: Injection, fused: Any, fine: Any, coarse: Any, psf: Float64) -> Any:
    """Improve a fused array (time, band, y, x) by the fine and the coarse one it came from.

    Parameters
    ----------
    chosen : Injection
    fused, fine, coarse : ndarray or dask array, (time, band, y, x)
    psf : ndarray (band, tap)
        From the fine to the coarse grid.
    """
    record, params = chosen
    ratio = int(fine.shape[-1]) // int(coarse.shape[-1])
    factors = {"fused": ratio, "fine": ratio, "coarse": 1}
    arrays = {"fused": fused, "fine": fine, "coarse": coarse}
    sources = {name: Source(arrays[name], factors[name]) for name in record.needs}
    params = params | {"psf": psf}
    return map_tiles(
        record.apply,
        sources,
        bands=int(fused.shape[1]),
        factor=ratio,
        halo=record.halo(factors, **params),
        passes=record.passes,
        params=params,
        carriers=("fused",),
        bandwise=record.bandwise,
        aside=("coarse",),
        name=f"xrs-{record.name}",
    )
