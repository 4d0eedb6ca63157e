"""Hyperspectral-multispectral fusion: the bands of one sensor on the grid of another. One file a method."""
