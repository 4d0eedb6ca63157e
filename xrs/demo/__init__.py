"""The whole job on the embedded scene, held against its truth."""

from xrs.demo._job import SHARPENERS, SMOOTHERS, Result, Season, run_demo, simulate

__all__ = ["SHARPENERS", "SMOOTHERS", "Result", "Season", "run_demo", "simulate"]
