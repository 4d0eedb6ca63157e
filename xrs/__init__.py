"""Fuse what many satellites see into one cube."""
