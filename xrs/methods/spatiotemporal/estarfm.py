"""ESTARFM: the coarse change since two or more pairs, converted and averaged over pixels similar in all of them.

With ``F_k`` and ``C_k`` the images of pair ``k`` and ``C_0`` the coarse image of the date predicted,
``F_0 = sum_k T_k (F_k + sum W V (C_0 - C_k))``: the inner sum runs over the similar pixels of a window, whose weights
``W`` fall with their distance and with how unlike the sensors see them; ``V`` is the slope of the fine on the coarse
values of the similar pixels; ``T_k`` is in inverse proportion to the change of the coarse window since pair ``k``.
"""

from __future__ import annotations

import numpy as np

from xrs.kernels.types import Float32
from xrs.methods.base import Method, Param, Reference, State, Tile
from xrs.methods.spatiotemporal._enhanced import Rules, predict
from xrs.methods.spatiotemporal._scene import KERNEL, SCENE, VALID_RANGE, WINDOW, images_of, nothing, window_halo

__all__ = ["METHOD"]


def apply(
    tile: Tile,
    state: State,
    *,
    window: int,
    classes: float,
    similar: int | None,
    valid_range: tuple[float, float],
    kernel: str,
) -> Float32:
    """Predict one tile.

    Parameters
    ----------
    tile : Tile
        ``fine`` and ``coarse`` (pair, band, y, x), ``target`` (target, band, y, x).
    state : mapping
        Of :data:`SCENE`.
    window, classes, similar, valid_range, kernel
        The method's parameters.

    Returns
    -------
    ndarray, float32, (target, band, y, x)
        On the fine grid, without halo. NaN where no pair saw the pixel in all bands, or nothing in the window tells of
        the change.
    """
    if not state:
        return nothing(tile)
    thresholds = (2.0 / classes * state["std"]).reshape(tile["fine"].shape[:2]).astype(np.float32)
    change = _CHANGE * valid_range[1]
    rules = Rules(thresholds, window // 2, similar or 0, valid_range, change, unbiased=False)
    return predict(images_of(tile, state, window // 2, kernel), rules)


#: Coarse images that differ by less than this share of the largest value give no conversion coefficient.
_CHANGE = 0.02

METHOD = Method(
    name="estarfm",
    family="spatiotemporal",
    summary="Averages the coarse change, converted by local regression, over pixels similar in every pair.",
    apply=apply,
    reference=Reference(
        "Zhu, Chen, Gao, Chen and Masek 2010, An enhanced spatial and temporal adaptive reflectance fusion model for "
        "complex heterogeneous regions, Remote Sensing of Environment 114(11):2610-2623",
        "10.1016/j.rse.2010.05.032",
    ),
    passes=(SCENE,),
    params=(
        WINDOW,
        Param(
            "classes",
            4.0,
            "similar pixels differ by less than two standard deviations over this many classes",
            "above 0",
            lambda m: m > 0,
        ),
        Param(
            "similar",
            20,
            "how many of the most similar pixels are kept; None keeps all, as the paper does",
            "None, or 6 or more",
            lambda n: n is None or n > 5,
        ),
        VALID_RANGE,
        KERNEL,
    ),
    halo=window_halo,
    needs=("fine", "coarse", "target"),
    pairs=(2, 8),
    differs="By default the 20 most similar pixels are kept, as the authors' later program does. Thresholds come from "
    "the standard deviation of the scene, not of blocks of it. With more than two pairs, pixels must be similar in all "
    "of them, and the conversion coefficient is the slope over all. A pixel that some pairs did not see is predicted "
    "from the others; a similar pixel that the coarse sensor did not see on the date predicted leaves its weight to "
    "the rest.",
)
