"""Bring the coarse bands of one sensor to its finest grid. One file a method."""
