"""The embedded scene: a landscape whose every pixel is known, for demos, tests, training and benchmarks."""

from xrs.scenes.cover import LABELS
from xrs.scenes.landscape import classes, landscape, truth
from xrs.scenes.phenology import CROPS, Crop
from xrs.scenes.sky import clouds, cloudy

__all__ = ["CROPS", "LABELS", "Crop", "classes", "clouds", "cloudy", "landscape", "truth"]
