"""Whether numbers can be reflectance: asked of every pixel, so that the answer does not depend on tiles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xrs.errors import RadiometryError

__all__ = ["MOST_REFLECTANCE", "check_magnitudes", "extremes"]

#: Clouds, snow and glint reflect a few times what a white surface does, and Sentinel-2's largest number is 6.55.
#: Percent, digital numbers and fill values are beyond this.
MOST_REFLECTANCE = 10.0


def extremes(values: NDArray[Any]) -> tuple[float, float]:
    """The least and the largest of the finite values; NaN where there is none.

    Examples
    --------
    >>> import numpy as np
    >>> extremes(np.array([0.25, np.nan, -9999.0, np.inf], "float32"))
    (-9999.0, 0.25)
    """
    found = _least_and_most(values, True)
    return _least_and_most(values, np.isfinite(values)) if np.isinf(found).any() else found


def check_magnitudes(values: NDArray[Any], name: str) -> None:
    """Refuse values that cannot be reflectance, in any pixel. What is not finite is missing, and passes.

    Parameters
    ----------
    values : ndarray
    name : str
        What the values are of, for the message.

    Raises
    ------
    RadiometryError
        If the magnitude of one is above ``MOST_REFLECTANCE``.
    """
    least, most = extremes(values)
    if max(-least, most) > MOST_REFLECTANCE:
        raise RadiometryError(
            f"{name} holds values from {least:.4g} to {most:.4g}",
            f"reflectance, around 0 to 1 and never beyond {MOST_REFLECTANCE:g}, and NaN where nothing was seen",
            "apply the product's scale and offset first, e.g. da.astype('float32') * 1e-4 (0.01 for percent), and put "
            "NaN for fill values, e.g. da.where(da != -9999)",
        )


def _least_and_most(values: NDArray[Any], among: Any) -> tuple[float, float]:
    # These two pass over NaN, and make no copy whatever the strides.
    least = np.fmin.reduce(values, axis=None, initial=np.nan, where=among)
    return float(least), float(np.fmax.reduce(values, axis=None, initial=np.nan, where=among))
