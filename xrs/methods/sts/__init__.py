"""Spatio-temporal-spectral fusion: fine in space, time and spectrum at once. One file a method."""
