"""Spatio-temporal fusion: fine images on the dates of coarse ones. One file a method."""
