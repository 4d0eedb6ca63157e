"""Back-projection: what the coarse bands do not find in a fused image is given back to it, again and again.

With the fused image F, the coarse bands M and their point spread and decimation D::

    F <- F + ratio² D^T (M - D F)

so that D F comes to M. Details that the coarse bands cannot see stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from xrs.errors import ParameterError
from xrs.kernels import decimate, reach_of
from xrs.kernels.resample import decimate_adjoint
from xrs.kernels.types import Float32, Float64
from xrs.methods.base import Method, Param, Reference, State, Tile

__all__ = ["METHOD"]


def apply(tile: Tile, _state: State, *, iterations: int, psf: Float64, **_: Any) -> Float32:
    """Correct one tile.

    Parameters
    ----------
    tile : Tile
        ``fused`` and ``coarse`` (band, y, x).
    iterations : int
    psf : ndarray (band, tap)
        From the fused image's grid to that of ``coarse``.
    """
    fused, ratio = tile["fused"].copy(), tile.factors["fused"]
    for _step in range(iterations):
        missing = tile["coarse"] - decimate(fused, psf, ratio)
        fused += np.float32(ratio**2) * decimate_adjoint(missing, psf, ratio)
    return np.ascontiguousarray(tile.core("fused", fused))


def halo(factors: Mapping[str, int], *, iterations: int, psf: Float64 | None = None, **_: Any) -> int:
    """Each iteration looks from a pixel to a coarse one and back."""
    if psf is None:
        raise ParameterError("no point spread", "taps (band, tap) from the fine grid to the coarse one")
    return 2 * iterations * (reach_of(psf, factors["fused"]) + 1)


METHOD = Method(
    name="landweber",
    family="refine",
    summary="Gives back what the coarse bands do not find in the fused image.",
    apply=apply,
    reference=Reference(
        "Landweber 1951, An iteration formula for Fredholm integral equations of the first kind, American Journal of "
        "Mathematics 73(3):615-624; for images: Irani and Peleg 1991, Improving resolution by image registration, "
        "CVGIP: Graphical Models and Image Processing 53(3):231-239",
        "10.2307/2372313",
    ),
    params=(
        Param("iterations", 5, "steps", "1 or more", lambda n: isinstance(n, int) and n > 0),
        Param("psf", None, "separable point spread (band, tap) from the fine grid to the coarse one"),
    ),
    halo=halo,
    bandwise=True,
    needs=("fused", "coarse"),
)
