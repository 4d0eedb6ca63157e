"""Fuse a multispectral cube with a panchromatic band. One file a method."""
