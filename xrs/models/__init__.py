"""Trained networks: cards, weights, and their application to tiles. Torch loads with the first inference."""

from xrs.models.card import Card, ImageSpec
from xrs.models.fit import Input, Observed, check_magnitude, match_images
from xrs.models.keras_hdf5 import load_keras_hdf5
from xrs.models.loader import Model, list_models, load_model, shipped_models

__all__ = [
    "Card",
    "ImageSpec",
    "Input",
    "Model",
    "Observed",
    "check_magnitude",
    "list_models",
    "load_keras_hdf5",
    "load_model",
    "match_images",
    "shipped_models",
]
