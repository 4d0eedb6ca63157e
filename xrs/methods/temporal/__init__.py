"""Smooth and fill time series. One file a method."""
