"""Numbers that users give."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xrs.errors import ParameterError

__all__ = ["check_real", "check_whole"]


def check_whole(name: str, value: Any, least: int) -> None:
    """Make sure that an argument is an integer of ``least`` or more.

    Raises
    ------
    ParameterError
        If it is not.

    Examples
    --------
    >>> check_whole("batch_size", 16, 1)
    """
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise ParameterError(f"{name}={value!r}", f"an integer of {least} or more")


def check_real(name: str, value: Any) -> None:
    """Make sure that an argument is a finite number of 0 or more.

    Raises
    ------
    ParameterError
        If it is not.

    Examples
    --------
    >>> check_real("clip", 0.5)
    """
    if not isinstance(value, int | float | np.number) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise ParameterError(f"{name}={value!r}", "a finite number of 0 or more")
