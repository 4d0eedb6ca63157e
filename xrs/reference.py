"""Where something was published."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Reference"]


@dataclass(frozen=True)
class Reference:
    """Where a method, a metric or a network was published."""

    text: str
    doi: str = ""
